//! `keyrung file`: whole files, encrypted and decrypted as Elastic Transcoder and MediaConvert do it.

pub(super) mod decrypt;
mod encrypt;
mod pour;
pub(super) mod sealed;

use clap::{Args, Subcommand};

use super::error::CliError;
use super::output::Output;
use super::package::DurabilityArg;
use crate::storage::Durability;

/// Encrypt and decrypt whole files for Elastic Transcoder, MediaConvert and keyrung package
///
/// Mezzanines, thumbnails, captions, watermarks, album art: any file, in AES-CBC (PKCS#7), AES-CTR or AES-GCM under a data
/// key of its own, which a key provider seals. What is needed to decrypt it, but for the provider, is one small JSON document.
#[derive(Debug, Args)]
pub struct FileArgs {
    #[command(subcommand)]
    command: FileCommand,
}

/// What each is for stands at its arguments.
#[derive(Debug, Subcommand)]
enum FileCommand {
    Encrypt(Box<encrypt::EncryptArgs>),
    Decrypt(Box<decrypt::DecryptArgs>),
}

/// Runs the command.
///
/// # Errors
/// Whatever stands against it.
pub fn run(args: FileArgs, output: Output) -> Result<(), CliError> {
    match args.command {
        FileCommand::Encrypt(args) => encrypt::run(&args, output),
        FileCommand::Decrypt(args) => decrypt::run(&args, output),
    }
}

/// What a file that is made survives.
#[derive(Debug, Clone, Copy, Args)]
struct DurabilityArgs {
    /// What the new file survives: a killed process, or loss of power too (it is flushed to the disk)
    #[arg(long, value_enum, default_value_t, value_name = "process|power", hide_possible_values = true)]
    durability: DurabilityArg,
}

impl DurabilityArgs {
    fn get(self) -> Durability {
        match self.durability {
            DurabilityArg::Process => Durability::Process,
            DurabilityArg::Power => Durability::Power,
        }
    }
}
