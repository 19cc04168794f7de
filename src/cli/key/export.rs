//! `keyrung key export`: a plaintext key, by explicit wish.

use std::io::{self, IsTerminal};

use clap::Args;
use zeroize::Zeroizing;

use crate::cli::error::CliError;
use crate::cli::key_access::{KeyStoreArgs, OpenArgs};
use crate::cli::output::{Format, Output};
use crate::keys::KeyId;
use crate::keys::audit::{Entry, Operation};

/// Write a key, unsealed, to standard output
///
/// 16 raw bytes, as players get them. Whoever has them can decrypt the package.
#[derive(Debug, Args)]
#[command(after_help = "Example, a segment decrypted with openssl:
  openssl enc -d -aes-128-cbc -K $(keyrung key export KEY_ID --hex) -iv IV -in 00000.ts")]
pub struct ExportArgs {
    /// The key's id
    #[arg(value_name = "KEY_ID")]
    key_id: KeyId,
    /// Write 32 hex digits and a newline instead of raw bytes
    #[arg(long)]
    hex: bool,
    #[command(flatten)]
    open: OpenArgs,
    #[command(flatten)]
    key_store: KeyStoreArgs,
}

/// Writes the key.
///
/// # Errors
/// When there is none of this id, its provider does not open it, or raw bytes would go to a terminal.
pub fn run(args: &ExportArgs, output: Output) -> Result<(), CliError> {
    let raw = output.format() == Format::Text && !args.hex;
    if raw && io::stdout().is_terminal() {
        return Err(CliError::usage("raw key bytes are not written to a terminal").hint("--hex, or > FILE"));
    }
    let (_, sealed) = args.key_store.find(&args.key_id)?;
    let access = args.open.access()?;
    let key = access.unseal(&sealed)?;
    access.audit.record(&Entry {
        operation: Operation::Export,
        provider: &sealed.provider,
        key: &sealed.key,
        key_id: Some(sealed.key_id),
        context: &sealed.context,
        source: None,
        request_id: None,
        failure: None,
    })?;
    let mut digits = Zeroizing::new([0; 32]);
    // 16 bytes are 32 digits.
    let _ = hex::encode_to_slice(key.expose(), digits.as_mut_slice());
    let digits = std::str::from_utf8(digits.as_slice()).unwrap_or_default();
    match (output.format(), raw) {
        // Both values are plain: nothing in them needs escaping. A serializer would leave copies of the key behind.
        (Format::Json, _) => {
            let json = format!("{{\n  \"key_id\": \"{}\",\n  \"key_hex\": \"{digits}\"\n}}\n", sealed.key_id);
            output.raw(Zeroizing::new(json).as_bytes());
        }
        (Format::Text, true) => output.raw(key.expose()),
        (Format::Text, false) => output.raw(Zeroizing::new(format!("{digits}\n")).as_bytes()),
    }
    output.note(&format!("the plaintext of key {} was written to standard output", sealed.key_id));
    Ok(())
}
