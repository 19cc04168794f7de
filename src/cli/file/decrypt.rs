//! `keyrung file decrypt`.

use std::io::{Seek, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use clap::Args;

use super::DurabilityArgs;
use super::encrypt::iv;
use super::pour::{Input, Piece, Poured, Target, is_standard, pour};
use super::sealed::{self, WrappedKeyArgs};
use crate::cli::error::CliError;
use crate::cli::exit::Exit;
use crate::cli::key_access::{ContextArgs, ProviderArgs};
use crate::cli::output::{Format, Output};
use crate::cli::signal;
use crate::crypto::file::{FileCipher, FileCipherError, FileIv, FileMode, FileScheme};
use crate::keys::{FileProtection, Service};
use crate::limits::MAX_DOCUMENT_BYTES;
use crate::storage::large::{Visible, spool};
use crate::storage::{Replace, durable};

/// Decrypt a file
///
/// How it was encrypted is told by the document that keyrung file encrypt made, by a job's DecryptionSettings or Encryption,
/// or by --mode, --iv and --wrapped-key. A file in GCM appears only after its tag was found right.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  keyrung file decrypt film.mxf.enc film.mxf --document film.json
  keyrung file decrypt film.mxf.enc film.mxf --mode ctr --iv MTIzNDU2Nzg5MDEyMzQ1Ng== --wrapped-key @key.b64
  keyrung file decrypt captions.tar.enc - --document captions.json | tar x")]
pub struct DecryptArgs {
    /// File to decrypt, or - for standard input
    #[arg(value_name = "INPUT")]
    input: PathBuf,
    /// File to make, or - for standard output
    #[arg(value_name = "OUTPUT")]
    output: PathBuf,
    /// The document: MediaConvert's DecryptionSettings, Elastic Transcoder's Encryption, or what has one of them in it
    #[arg(long, value_name = "FILE", required_unless_present_all = ["mode", "iv", "wrapped_key"], conflicts_with_all = ["mode", "iv", "wrapped_key"])]
    document: Option<PathBuf>,
    /// cbc, ctr or gcm
    #[arg(long, value_name = "MODE", requires_all = ["iv", "wrapped_key"])]
    mode: Option<FileMode>,
    /// Initialisation vector in base64 or hex
    #[arg(long, value_name = "IV", value_parser = iv, requires = "mode")]
    iv: Option<FileIv>,
    #[command(flatten)]
    wrapped: WrappedKeyArgs,
    #[command(flatten)]
    provider: ProviderArgs,
    #[command(flatten)]
    context: ContextArgs,
    /// Replace OUTPUT where it is there
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    durability: DurabilityArgs,
}

/// Runs the command.
///
/// # Errors
/// Whatever stands against it; then OUTPUT is as it was.
pub fn run(args: &DecryptArgs, output: Output) -> Result<(), CliError> {
    if is_standard(&args.output) && output.format() == Format::Json {
        return Err(CliError::usage("--json and the file cannot both go to standard output"));
    }
    let protection = args.protection()?;
    let input = Input::open(&args.input)?;
    let target = Target::create(&args.output, if args.force { Replace::Allow } else { Replace::Refuse }, output)?;
    let cancel = signal::cancel_flag()?;
    let context = args.context.over(protection.service.context().context())?;
    let provider = args.provider.access()?.named_in(args.provider.name(), protection.region.as_deref())?;
    let key = sealed::open(provider.as_ref(), &protection.key, protection.md5.as_ref(), &context, output)?;
    let cipher = FileCipher::new(&key, protection.scheme);
    let poured = decrypt(input, &target, &cipher, &cancel)?;
    if let Target::File(file) = target {
        file.publish(args.durability.get())?;
        output.text(&format!("{} bytes decrypted to {}\n", poured.written, args.output.display()));
    }
    output.json(&serde_json::json!({
        "output": args.output.display().to_string(), "mode": protection.scheme.mode().to_string(),
        "key_bits": key.length().bytes() * 8, "bytes_in": poured.read, "bytes_out": poured.written,
    }));
    Ok(())
}

fn decrypt(mut input: Input, target: &Target, cipher: &FileCipher, cancel: &AtomicBool) -> Result<Poured, CliError> {
    let secret = matches!(target, Target::File(file) if file.visible() == Visible::No);
    if cipher.scheme().mode() == FileMode::Gcm && !secret {
        // Others see what is written: nothing is, before the tag was found right.
        input = authenticated(input, cipher, cancel)?;
    }
    let name = input.name().to_owned();
    let refused = |error| refused(&name, error);
    let mut decryptor = Some(cipher.decryptor());
    pour(&mut input, target, cancel, |piece, out| match (piece, &mut decryptor) {
        (Piece::Bytes(bytes), Some(decryptor)) => decryptor.update(bytes, out).map_err(refused),
        (Piece::Bytes(_), None) => Ok(()),
        (Piece::End, decryptor) => decryptor.take().map_or(Ok(()), |decryptor| decryptor.finish(out).map_err(refused)),
    })
}

/// Checks the tag of all of an input and goes back to its beginning. What cannot be read twice is kept, encrypted, in a file
/// without a name.
fn authenticated(mut input: Input, cipher: &FileCipher, cancel: &AtomicBool) -> Result<Input, CliError> {
    let name = input.name().to_owned();
    let mut authenticator = cipher.authenticator();
    let kept = if input.len().is_none() { Some(spool()?) } else { None };
    input.each(cancel, |bytes| {
        if let Some(mut kept) = kept.as_ref() {
            let failed = |error| crate::storage::StorageError::new("write", &std::env::temp_dir(), error);
            kept.write_all(bytes).map_err(|error: std::io::Error| failed(error))?;
        }
        authenticator.update(bytes).map_err(|error| refused(&name, error))
    })?;
    authenticator.finish().map_err(|error| refused(&name, error))?;
    let mut again = match kept {
        None => input,
        Some(mut kept) => {
            // What Input reads begins where the file stands.
            kept.rewind().map_err(|error| CliError::new(Exit::Storage, format!("{name}: {error}")))?;
            Input::of(name.clone(), kept).map_err(|error| CliError::new(Exit::Storage, format!("{name}: {error}")))?
        }
    };
    again.rewind()?;
    Ok(again)
}

fn refused(name: &str, error: FileCipherError) -> CliError {
    CliError::new(Exit::Input, format!("{name}: {error}"))
}

impl DecryptArgs {
    fn protection(&self) -> Result<FileProtection, CliError> {
        if let Some(path) = &self.document {
            let protection = from_file(path)?;
            let md5 = self.wrapped.wrapped_key_md5.or(protection.md5);
            return Ok(FileProtection { md5, ..protection });
        }
        let (Some(mode), Some(iv), Some(key)) = (self.mode, self.iv, self.wrapped.key()?) else {
            return Err(CliError::usage("--document, or --mode, --iv and --wrapped-key say how to decrypt the file"));
        };
        let scheme = FileScheme::new(mode, iv).map_err(|error| CliError::usage(error.to_string()))?;
        let md5 = self.wrapped.wrapped_key_md5;
        Ok(FileProtection { scheme, key, md5, region: None, service: Service::default() })
    }
}

/// Reads a document.
///
/// # Errors
/// When it cannot be read, or is none.
pub fn from_file(path: &Path) -> Result<FileProtection, CliError> {
    let json = durable::read_limited(path, MAX_DOCUMENT_BYTES).map_err(sealed::input)?;
    FileProtection::from_json(&json).map_err(|error| document_refused(&path.display().to_string(), &error))
}

/// A document that was refused: because of its key, or for its form.
pub fn document_refused(name: &str, error: &crate::keys::services::DocumentError) -> CliError {
    use crate::keys::services::DocumentError;
    let exit = match error {
        DocumentError::Key(_) | DocumentError::Md5(_) => Exit::Key,
        _ => Exit::Usage,
    };
    CliError::new(exit, format!("{name}: {error}"))
}
