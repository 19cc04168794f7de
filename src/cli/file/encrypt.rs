//! `keyrung file encrypt`.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use clap::Args;
use serde::Serialize;

use super::DurabilityArgs;
use super::pour::{Input, Piece, Target, is_standard, pour};
use super::sealed::{self, WrappedKeyArgs};
use crate::cli::error::CliError;
use crate::cli::exit::Exit;
use crate::cli::key_access::{ContextArgs, ProviderArgs};
use crate::cli::output::{Format, Output};
use crate::cli::signal;
use crate::crypto::file::{FileCipher, FileIv, FileMode, FileScheme};
use crate::crypto::key::{FileKey, FileKeyLength};
use crate::keys::services::{IvTextError, parse_iv};
use crate::keys::{FileProtection, KeyError, KeyProvider, Service, WrappedKey};
use crate::limits::MAX_DOCUMENT_BYTES;
use crate::storage::{LargeFile, Replace, StorageError, durable};

/// Encrypt a file under a data key of its own
///
/// Prints the document that says how it was encrypted, with the sealed key in it: for MediaConvert the DecryptionSettings of
/// an input, for Elastic Transcoder the Encryption of one. keyrung file decrypt and keyrung package --input-decryption take it too.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  keyrung file encrypt film.mxf film.mxf.enc > film.json
  keyrung file encrypt film.mxf film.mxf.enc --mode ctr --save-document film.json
  keyrung file encrypt art.png art.png.enc --document elastic-transcoder --mode cbc --key-bits 128
  tar c captions | keyrung file encrypt - captions.tar.enc --save-document captions.json

The layout is what openssl and every common library have: CBC with PKCS#7 padding; CTR as it is (after an IV of 12 bytes the
counter starts at 0); GCM with the 16-byte tag at the end and no associated data, at most 64 GiB.")]
pub struct EncryptArgs {
    /// File to encrypt, or - for standard input
    #[arg(value_name = "INPUT")]
    input: PathBuf,
    /// Encrypted file to make, or - for standard output
    #[arg(value_name = "OUTPUT")]
    output: PathBuf,
    /// cbc, ctr or gcm; only gcm notices when the file is changed
    #[arg(long, default_value = "gcm", value_name = "MODE")]
    mode: FileMode,
    /// Bits of the data key: 128, 192 or 256
    #[arg(long, default_value_t, value_name = "BITS", conflicts_with = "wrapped_key")]
    key_bits: FileKeyLength,
    /// Initialisation vector in base64 or hex: 16 bytes, or 12 with gcm and ctr; never use one twice with one key [default: random]
    #[arg(long, value_name = "IV", value_parser = iv)]
    iv: Option<FileIv>,
    /// Whose document to make, and whose encryption context to bind the key to: mediaconvert or elastic-transcoder
    #[arg(long, default_value_t, value_name = "SERVICE")]
    document: Service,
    /// Write the document to FILE instead of standard output
    #[arg(long, value_name = "FILE")]
    save_document: Option<PathBuf>,
    /// AWS region that the MediaConvert job will run in; when the key's is another, the document names the key's
    #[arg(long, value_name = "REGION")]
    job_region: Option<String>,
    #[command(flatten)]
    wrapped: WrappedKeyArgs,
    #[command(flatten)]
    provider: ProviderArgs,
    #[command(flatten)]
    context: ContextArgs,
    /// Replace OUTPUT, and the file of --save-document, where they are there; keep a copy of the old document until the
    /// command has ended: a kill between the two would leave the old OUTPUT with the new document
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    durability: DurabilityArgs,
}

/// Reads `--iv`.
pub fn iv(text: &str) -> Result<FileIv, IvTextError> {
    parse_iv(text)
}

/// The result with `--json`.
#[derive(Serialize)]
struct Report<'a, D: Serialize> {
    output: String,
    mode: String,
    key_bits: usize,
    provider: &'a str,
    bytes_in: u64,
    bytes_out: u64,
    service: String,
    document: D,
}

/// Runs the command.
///
/// # Errors
/// Whatever stands against it; then OUTPUT is as it was.
pub fn run(args: &EncryptArgs, output: Output) -> Result<(), CliError> {
    args.check(output)?;
    let replace = if args.force { Replace::Allow } else { Replace::Refuse };
    let scheme = args.scheme()?;
    let mut input = Input::open(&args.input)?;
    if let Some(length) = input.len() {
        scheme.encrypted_len(length).map_err(|error| refused(&input, error))?;
    }
    if let (Some(path), Replace::Refuse) = (&args.save_document, replace)
        && path.symlink_metadata().is_ok()
    {
        let exists = crate::storage::StorageError::Exists { operation: "write", path: path.clone() };
        return Err(CliError::from(exists).hint("--force replaces it"));
    }
    let target = Target::create(&args.output, replace, output)?;
    let cancel = signal::cancel_flag()?;
    let provider = args.provider.open_or_create(None, output)?;
    let (key, protection) = args.key(scheme, &provider, output)?;
    let document = protection.to_document().map_err(|error| CliError::usage(error.to_string()))?;
    let mut text = serde_json::to_vec_pretty(&document).unwrap_or_default();
    text.push(b'\n');
    let save = |path: &PathBuf| match replace {
        Replace::Refuse => durable::create_new(path, &text, 0o644),
        Replace::Allow => durable::replace_file(path, &text, 0o644),
    };
    if let (Some(path), Target::Stdout(_)) = (&args.save_document, &target) {
        save(path)?;
    }
    let poured = encrypt(&mut input, &target, &key, scheme, &cancel)?;
    let report = Report {
        output: args.output.display().to_string(),
        mode: scheme.mode().to_string(),
        key_bits: key.length().bytes() * 8,
        provider: provider.name(),
        bytes_in: poured.read,
        bytes_out: poured.written,
        service: protection.service.to_string(),
        document,
    };
    // Without its document a file is lost: it is stored, or delivered, before the file can be seen.
    match (target, &args.save_document) {
        (Target::File(file), Some(path)) => {
            publish_with_document(file, args, path, save)?;
            output.json(&report);
        }
        (Target::File(file), None) => {
            output.deliver(&text, &report)?;
            file.publish(args.durability.get())?;
        }
        // Saved above; --json was refused.
        (Target::Stdout(_), _) => {}
    }
    if provider.name() == "local" {
        output.note(
            "the key is sealed by the local keyring: only keyrung with that keyring can open it, no service of AWS can",
        );
    }
    Ok(())
}

/// Stores the document, then lets the file be seen. When that fails, an old file that is still there gets its document
/// back: it is lost without it.
fn publish_with_document(
    file: LargeFile,
    args: &EncryptArgs,
    path: &Path,
    save: impl Fn(&PathBuf) -> Result<(), StorageError>,
) -> Result<(), CliError> {
    let before = durable::read_limited(path, MAX_DOCUMENT_BYTES).ok();
    let ours = file.file().metadata().map(|metadata| metadata.ino()).ok();
    save(&path.to_path_buf())?;
    let Err(error) = file.publish(args.durability.get()) else { return Ok(()) };
    let there = std::fs::symlink_metadata(&args.output).map(|metadata| metadata.ino()).ok();
    if let Some(before) = before
        && there != ours
    {
        durable::replace_file(path, &before, 0o644)?;
    }
    Err(error.into())
}

fn encrypt(
    input: &mut Input,
    target: &Target,
    key: &FileKey,
    scheme: FileScheme,
    cancel: &AtomicBool,
) -> Result<super::pour::Poured, CliError> {
    let cipher = FileCipher::new(key, scheme);
    let mut encryptor = Some(cipher.encryptor());
    let name = input.name().to_owned();
    pour(input, target, cancel, |piece, out| {
        match (piece, &mut encryptor) {
            (Piece::Bytes(bytes), Some(encryptor)) => {
                return encryptor
                    .update(bytes, out)
                    .map_err(|error| CliError::new(Exit::Input, format!("{name}: {error}")));
            }
            (Piece::Bytes(_), None) => {}
            (Piece::End, encryptor) => {
                if let Some(encryptor) = encryptor.take() {
                    encryptor.finish(out);
                }
            }
        }
        Ok(())
    })
}

fn refused(input: &Input, error: crate::crypto::file::FileCipherError) -> CliError {
    CliError::new(Exit::Input, format!("{}: {error}", input.name())).hint("--mode ctr has no limit")
}

impl EncryptArgs {
    fn check(&self, output: Output) -> Result<(), CliError> {
        if is_standard(&self.output) {
            if output.format() == Format::Json {
                return Err(CliError::usage("--json and the encrypted file cannot both go to standard output"));
            }
            if self.save_document.is_none() {
                let text = "the encrypted file goes to standard output, so the document cannot";
                return Err(CliError::usage(text).hint("--save-document FILE"));
            }
        }
        if self.document == Service::ElasticTranscoder && matches!(self.iv, Some(FileIv::Short(_))) {
            return Err(CliError::usage("Elastic Transcoder takes an IV of 16 bytes, and this has 12"));
        }
        Ok(())
    }

    fn scheme(&self) -> Result<FileScheme, CliError> {
        match self.iv {
            Some(iv) => FileScheme::new(self.mode, iv).map_err(|error| CliError::usage(error.to_string())),
            None => Ok(FileScheme::random(self.mode, self.document.gcm_iv()).map_err(KeyError::from)?),
        }
    }

    fn key(
        &self,
        scheme: FileScheme,
        provider: &dyn KeyProvider,
        output: Output,
    ) -> Result<(FileKey, FileProtection), CliError> {
        let context = self.context.over(self.document.context().context())?;
        if context != self.document.context().context() {
            output.warning(&format!("{} gives another encryption context, and cannot open the key", self.document));
        }
        let (key, wrapped, region) = match self.wrapped.key()? {
            Some(wrapped) => {
                let md5 = self.wrapped.wrapped_key_md5.as_ref();
                let key = sealed::open(provider, &wrapped, md5, &context, output)?;
                (key, wrapped, None)
            }
            None => {
                let (key, ciphertext) = provider.generate_file_key(self.key_bits, &context)?;
                let wrapped = WrappedKey::from_bytes(&ciphertext.blob);
                let wrapped = wrapped.map_err(|error| CliError::new(Exit::Internal, error.to_string()))?;
                (key, wrapped, region_of(&ciphertext.key))
            }
        };
        let region = region.filter(|region| self.job_region.as_ref().is_some_and(|job| job != region));
        let service = self.document;
        Ok((key, FileProtection { scheme, key: wrapped, md5: None, region, service }))
    }
}

/// The region of an ARN.
fn region_of(key: &str) -> Option<String> {
    let mut parts = key.split(':');
    (parts.next() == Some("arn")).then(|| parts.nth(2)).flatten().filter(|region| !region.is_empty()).map(str::to_owned)
}
