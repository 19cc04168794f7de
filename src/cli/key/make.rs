//! `keyrung key generate` and `keyrung key import`: a new sealed key.

use std::fs::File;
use std::io::{self, IsTerminal, Read};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use clap::Args;
use zeroize::Zeroizing;

use crate::cli::error::CliError;
use crate::cli::exit::Exit;
use crate::cli::key_access::{ContextArgs, KeyStoreArgs, ProviderArgs};
use crate::cli::output::Output;
use crate::crypto::key::ContentKey;
use crate::keys::{ContentId, KeyProvider, KeyStore, SealedKey};

/// Make a key and store it sealed
///
/// Prints the key's id, with --json the whole record. keyrung package --key KEY_ID --content-id ID uses it.
#[derive(Debug, Args)]
pub struct GenerateArgs {
    /// Do not open the key: it is made sealed, for a later run (AWS KMS: GenerateDataKeyWithoutPlaintext)
    #[arg(long)]
    sealed_only: bool,
    #[command(flatten)]
    binding: Binding,
}

/// Seal a key that exists already and store it
///
/// Prints the key's id, with --json the whole record.
#[derive(Debug, Args)]
pub struct ImportArgs {
    /// File of 16 raw bytes or 32 hex digits, or - for standard input
    #[arg(value_name = "FILE")]
    file: PathBuf,
    #[command(flatten)]
    binding: Binding,
}

/// What a new key is for, and where it is kept.
#[derive(Debug, Args)]
struct Binding {
    /// Content that the key is for; packages made with the key must have the same
    #[arg(long, value_name = "ID")]
    content_id: ContentId,
    #[command(flatten)]
    context: ContextArgs,
    #[command(flatten)]
    provider: ProviderArgs,
    #[command(flatten)]
    key_store: KeyStoreArgs,
}

/// Makes a key.
///
/// # Errors
/// Whatever the keyring and the key store report.
pub fn generate(args: &GenerateArgs, output: Output) -> Result<(), CliError> {
    let binding = &args.binding;
    let context = binding.context.context(&binding.content_id)?;
    if args.sealed_only && binding.context.is_preset() {
        let text = "a key that nobody has seen is bound to its content by the encryption context alone";
        return Err(CliError::usage(text).hint("leave out --sealed-only, or --context-preset"));
    }
    let (keychain, store) = binding.key_store.open_or_create(&binding.provider, None, output)?;
    let sealed = |ciphertext| SealedKey::new(binding.content_id.clone(), keychain.name(), context.clone(), ciphertext);
    let sealed = if args.sealed_only {
        sealed(keychain.generate_sealed(&context)?)?
    } else {
        let (key, ciphertext) = keychain.generate(&context)?;
        sealed(ciphertext)?.bound(&key)
    };
    keep(&store, &sealed, output)
}

/// Takes in a key.
///
/// # Errors
/// When FILE cannot be read or holds no key; whatever the keyring and the key store report.
pub fn import(args: &ImportArgs, output: Output) -> Result<(), CliError> {
    let binding = &args.binding;
    let context = binding.context.context(&binding.content_id)?;
    let key = read(&args.file)?;
    let (keychain, store) = binding.key_store.open_or_create(&binding.provider, None, output)?;
    let ciphertext = keychain.seal(&key, &context)?;
    let sealed = SealedKey::new(binding.content_id.clone(), keychain.name(), context, ciphertext)?.bound(&key);
    keep(&store, &sealed, output)
}

fn keep(store: &KeyStore, sealed: &SealedKey, output: Output) -> Result<(), CliError> {
    store.put(sealed)?;
    output.json(sealed);
    output.text(&format!("{}\n", sealed.key_id));
    Ok(())
}

/// More than any spelling of a key has.
const ROOM: usize = 128;

fn read(file: &Path) -> Result<ContentKey, CliError> {
    let failed = |e: io::Error| CliError::new(Exit::Input, format!("cannot read {}: {e}", file.display()));
    let mut opened = if file == Path::new("-") {
        let stdin = io::stdin();
        if stdin.is_terminal() {
            let hint = "pipe it: openssl rand -hex 16 | keyrung key import - --content-id ID";
            return Err(CliError::usage("a key is not typed in: the terminal would show it").hint(hint));
        }
        // Past the standard library's buffer, which nobody wipes.
        File::from(stdin.as_fd().try_clone_to_owned().map_err(failed)?)
    } else {
        File::open(file).map_err(failed)?
    };
    let mut bytes = Zeroizing::new([0; ROOM]);
    let mut filled = 0;
    while let Some(rest) = bytes.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match opened.read(rest) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(failed(e)),
        }
    }
    parse(bytes.get(..filled).unwrap_or_default()).map_err(|why| {
        CliError::new(Exit::Key, format!("{} holds no key: {why}", file.display()))
            .hint("a key is 16 raw bytes or 32 hex digits: openssl rand -hex 16 makes one")
    })
}

/// A key in any of its spellings.
fn parse(bytes: &[u8]) -> Result<ContentKey, String> {
    let mut key = Zeroizing::new([0; ContentKey::LEN]);
    if bytes.len() == ContentKey::LEN {
        if bytes.iter().all(u8::is_ascii_hexdigit) {
            return Err("16 hex digits are half a key".to_owned());
        }
        key.copy_from_slice(bytes);
        return Ok(ContentKey::from_bytes(&mut key));
    }
    let digits = bytes.trim_ascii();
    if digits.len() == 2 * ContentKey::LEN {
        if hex::decode_to_slice(digits, key.as_mut_slice()).is_err() {
            return Err("its 32 characters are not all hex digits".to_owned());
        }
        return Ok(ContentKey::from_bytes(&mut key));
    }
    let length = if bytes.len() == ROOM { format!("{ROOM} bytes or more") } else { format!("{} bytes", bytes.len()) };
    Err(format!("it has {length}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_read_in_each_spelling() {
        let raw: [u8; 16] = *b"\x000123456789abcd\n";
        let hex = hex::encode(raw);
        for spelling in [&raw[..], hex.as_bytes(), hex.to_uppercase().as_bytes(), format!(" {hex}\r\n").as_bytes()] {
            assert_eq!(parse(spelling).map(|key| *key.expose()), Ok(raw), "{spelling:?}");
        }
    }

    #[test]
    fn anything_else_is_no_key() {
        let cases: [(&[u8], &str); 6] = [
            (b"", "it has 0 bytes"),
            (b"0123456789abcdef", "16 hex digits are half a key"),
            (&[1; 15], "it has 15 bytes"),
            (&[1; 24], "it has 24 bytes"),
            (b"0123456789abcdef0123456789abcdeg", "its 32 characters are not all hex digits"),
            (&[b'a'; ROOM], "it has 128 bytes or more"),
        ];
        for (bytes, why) in cases {
            assert_eq!(parse(bytes).map(|_| ()), Err(why.to_owned()));
        }
    }
}
