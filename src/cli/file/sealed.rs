//! Sealed keys that come from outside, on the command line or in a document, and the providers that open them.

use std::path::Path;

use clap::Args;

use crate::cli::error::CliError;
use crate::cli::exit::Exit;
use crate::cli::output::Output;
use crate::crypto::key::FileKey;
use crate::keys::{Ciphertext, EncryptionContext, KeyError, KeyMd5, KeyProvider, Md5Of, WrappedKey};
use crate::limits::MAX_DOCUMENT_BYTES;
use crate::storage::durable;

/// A sealed key that somebody else provides.
#[derive(Debug, Clone, Args)]
pub struct WrappedKeyArgs {
    /// A data key that the provider has sealed (AWS KMS: CiphertextBlob), in base64, or @FILE
    #[arg(long, value_name = "BASE64|@FILE")]
    pub wrapped_key: Option<String>,
    /// MD5 of the sealed key, in base64, to be checked
    #[arg(long, value_name = "BASE64", requires = "wrapped_key")]
    pub wrapped_key_md5: Option<KeyMd5>,
}

impl WrappedKeyArgs {
    /// The key, where one was given.
    ///
    /// # Errors
    /// When the file cannot be read, or it is no sealed key.
    pub fn key(&self) -> Result<Option<WrappedKey>, CliError> {
        self.wrapped_key.as_deref().map(read).transpose()
    }
}

/// Reads a sealed key: base64, or `@` and the name of a file.
///
/// # Errors
/// When the file cannot be read, or it is no sealed key; the message never holds what was given.
pub fn read(text: &str) -> Result<WrappedKey, CliError> {
    let key = match text.strip_prefix('@') {
        Some(path) => {
            WrappedKey::from_file(&durable::read_limited(Path::new(path), MAX_DOCUMENT_BYTES).map_err(input)?)
        }
        None => text.parse(),
    };
    key.map_err(|error| {
        let hint = "seal the key first: keyrung key import or aws kms encrypt; what they give is the sealed key";
        CliError::new(Exit::Key, format!("--wrapped-key: {error}")).hint(hint)
    })
}

/// A file that was to be read, and cannot be.
pub fn input(error: crate::storage::StorageError) -> CliError {
    CliError { exit: Exit::Input, ..error.into() }
}

/// Opens a sealed key and compares its checksum.
///
/// # Errors
/// When the provider does not open it, or the checksum is that of something else.
pub fn open(
    provider: &dyn KeyProvider,
    key: &WrappedKey,
    md5: Option<&KeyMd5>,
    context: &EncryptionContext,
    output: Output,
) -> Result<FileKey, CliError> {
    let ciphertext = Ciphertext { key: String::new(), blob: key.bytes().to_vec() };
    let opened = provider.unseal_file_key(&ciphertext, context).map_err(|error| match error {
        KeyError::Unsealable { .. } => {
            let pairs: Vec<String> = context.pairs().map(|(key, value)| format!("{key}={value}")).collect();
            let message = format!(
                "the sealed key does not open with {} under the encryption context {}",
                provider.name(),
                if pairs.is_empty() { "(none)".to_owned() } else { pairs.join(", ") }
            );
            let hint = "it was changed, sealed by another key, or under another context: --context, --context-preset";
            CliError::new(Exit::Key, message).hint(hint)
        }
        error => error.into(),
    })?;
    if let Some(md5) = md5 {
        check_md5(key, md5, opened.expose(), output)?;
    }
    Ok(opened)
}

/// Compares the checksum of a sealed key.
///
/// # Errors
/// When it is that of something else.
pub fn check_md5(key: &WrappedKey, md5: &KeyMd5, plain: &[u8], output: Output) -> Result<(), CliError> {
    match key.check(md5, plain) {
        Ok(Md5Of::Ciphertext) => Ok(()),
        Ok(Md5Of::Plaintext) => {
            output.warning("the MD5 checksum is that of the plaintext key; it should be of the sealed one, which gives nothing away");
            Ok(())
        }
        Err(error) => Err(CliError::new(Exit::Key, error.to_string())
            .hint(format!("the sealed key that was given has {}", key.md5()))),
    }
}
