//! `keyrung package --input-decryption`: how inputs are encrypted as whole files.

use std::path::Path;
use std::str::FromStr;

use crate::crypto::file::{FileIv, FileMode, FileScheme};
use crate::keys::services::parse_iv;
use crate::keys::{FileProtection, KeyMd5, KeyProvider, Service, WrappedKey};
use crate::package::decrypt::InputDecryption;
use crate::package::input::InputSpec;

use super::error::CliError;
use super::file::{decrypt, sealed};
use super::output::Output;

/// How one input is encrypted, as it was typed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum InputDecryptionArg {
    /// It is not.
    None,
    /// As a document tells.
    Document(String),
    /// As these fields tell.
    Fields(Fields),
}

/// `mode=...,iv=...,wrapped-key=...` and more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fields {
    scheme: FileScheme,
    /// Base64 or `@FILE`; read when it is needed.
    wrapped_key: String,
    md5: Option<KeyMd5>,
    region: Option<String>,
    service: Service,
}

const WANTED: &str =
    "it is @FILE, none, or mode=MODE,iv=IV,wrapped-key=KEY[,wrapped-key-md5=MD5][,region=REGION][,service=SERVICE]";

impl FromStr for InputDecryptionArg {
    type Err = String;

    /// No message holds a value: one of them may be a key.
    fn from_str(text: &str) -> Result<Self, String> {
        if text == "none" {
            return Ok(Self::None);
        }
        if let Some(file) = text.strip_prefix('@') {
            return Ok(Self::Document(file.to_owned()));
        }
        let (mut mode, mut iv, mut wrapped_key) = (None, None, None);
        let (mut md5, mut region, mut service) = (None, None, None);
        for field in text.split(',') {
            let (name, value) = field.split_once('=').ok_or(WANTED)?;
            let text = |e: &dyn std::fmt::Display| format!("{name}: {e}");
            let twice = match name {
                "mode" => mode.replace(value.parse::<FileMode>().map_err(|e| text(&e))?).is_some(),
                "iv" => iv.replace(parse_iv(value).map_err(|e| text(&e))?).is_some(),
                "wrapped-key" => wrapped_key.replace(value.to_owned()).is_some(),
                "wrapped-key-md5" => md5.replace(value.parse::<KeyMd5>().map_err(|e| text(&e))?).is_some(),
                "region" => region.replace(value.to_owned()).is_some(),
                "service" => service.replace(value.parse::<Service>().map_err(|e| text(&e))?).is_some(),
                _ => return Err(WANTED.to_owned()),
            };
            if twice {
                return Err(format!("{name} is there twice"));
            }
        }
        let (Some(mode), Some(iv), Some(wrapped_key)) = (mode, iv, wrapped_key) else {
            return Err(WANTED.to_owned());
        };
        let scheme = scheme(mode, iv)?;
        Ok(Self::Fields(Fields { scheme, wrapped_key, md5, region, service: service.unwrap_or_default() }))
    }
}

fn scheme(mode: FileMode, iv: FileIv) -> Result<FileScheme, String> {
    FileScheme::new(mode, iv).map_err(|error| error.to_string())
}

impl InputDecryptionArg {
    fn protection(&self) -> Result<Option<FileProtection>, CliError> {
        match self {
            Self::None => Ok(None),
            Self::Document(path) => decrypt::from_file(Path::new(path)).map(Some),
            Self::Fields(fields) => {
                let key: WrappedKey = sealed::read(&fields.wrapped_key)?;
                let Fields { scheme, md5, region, service, .. } = fields.clone();
                Ok(Some(FileProtection { scheme, key, md5, region, service }))
            }
        }
    }
}

/// Tells the inputs how they are encrypted. One argument goes for all of them, several for one each.
///
/// # Errors
/// When they are neither; when a key is refused.
pub fn apply(
    args: &[String],
    specs: &mut [InputSpec],
    provider: impl Fn(Option<&str>) -> Result<Box<dyn KeyProvider>, CliError>,
    output: Output,
) -> Result<(), CliError> {
    if args.len() > 1 && args.len() != specs.len() {
        let message = format!("--input-decryption was given {} times for {} inputs", args.len(), specs.len());
        return Err(CliError::usage(message)
            .hint("once for all inputs, or once for each, in their order; none is for a clear one"));
    }
    let read =
        |text: &String| text.parse().map_err(|why: String| CliError::usage(format!("--input-decryption: {why}")));
    let args = args.iter().map(read).collect::<Result<Vec<InputDecryptionArg>, _>>()?;
    let how = args.iter().map(|arg| open(arg, &provider, output)).collect::<Result<Vec<_>, _>>()?;
    for (number, spec) in specs.iter_mut().enumerate() {
        spec.decryption = how.get(if how.len() == 1 { 0 } else { number }).cloned().flatten();
    }
    Ok(())
}

fn open(
    arg: &InputDecryptionArg,
    provider: &impl Fn(Option<&str>) -> Result<Box<dyn KeyProvider>, CliError>,
    output: Output,
) -> Result<Option<InputDecryption>, CliError> {
    let Some(protection) = arg.protection()? else {
        return Ok(None);
    };
    let provider = provider(protection.region.as_deref())?;
    let context = protection.service.context().context();
    let key = sealed::open(provider.as_ref(), &protection.key, protection.md5.as_ref(), &context, output)?;
    Ok(Some(InputDecryption::new(&key, protection.scheme, protection.key.bytes())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_read() {
        let text = "mode=AES_CTR,iv=AQEBAQEBAQEBAQEBAQEBAQ==,wrapped-key=c2VhbGVk==,region=eu-west-1,service=elastic-transcoder";
        let Ok(InputDecryptionArg::Fields(fields)) = text.parse() else { panic!("not fields") };
        assert_eq!((fields.scheme.mode(), fields.scheme.iv().bytes()), (FileMode::Ctr, &[1; 16][..]));
        assert_eq!((fields.wrapped_key.as_str(), fields.region.as_deref()), ("c2VhbGVk==", Some("eu-west-1")));
        assert_eq!((fields.service, fields.md5), (Service::ElasticTranscoder, None));
        assert_eq!("none".parse(), Ok(InputDecryptionArg::None));
        assert_eq!("@a=b.json".parse(), Ok(InputDecryptionArg::Document("a=b.json".into())));
    }

    #[test]
    fn others_are_refused_without_their_values() {
        let secret = "00112233445566778899aabbccddeeff";
        for bad in [
            String::new(),
            secret.to_owned(),
            format!("mode=ctr,iv={secret}"),
            format!("mode={secret},iv={secret},wrapped-key={secret}"),
            format!("mode=ctr,mode=ctr,iv={secret},wrapped-key={secret}"),
            format!("mode=ctr,iv={secret}0,wrapped-key={secret}"),
            format!("mode=cbc,iv={},wrapped-key={secret}", &secret[..24]),
            format!("mode=ctr,iv={secret},key={secret}"),
            format!("mode=ctr,iv={secret},wrapped-key={secret},wrapped-key-md5={secret}"),
        ] {
            let error = bad.parse::<InputDecryptionArg>().unwrap_err();
            assert!(!error.contains(&secret[..8]), "{bad}: {error}");
        }
    }
}
