//! `keyrung key`: sealed keys, and the local keyring's own key.

mod delete;
mod export;
mod keyring;
mod look;
mod make;
mod rewrap;

use clap::{Args, Subcommand};

use super::error::CliError;
use super::output::Output;

/// Make, list and remove sealed keys; back up the keyring that seals them
///
/// A package has one data key. The key store keeps it sealed: of no use without the provider that sealed it. That is a key
/// of AWS KMS, or the local keyring, which is one file in KEYRUNG_HOME. Losing the keyring is losing every package that it
/// sealed: keyrung key backup keeps a copy.
#[derive(Debug, Args)]
pub struct KeyArgs {
    #[command(subcommand)]
    command: KeyCommand,
}

/// What each is for stands at its arguments.
#[derive(Debug, Subcommand)]
enum KeyCommand {
    Generate(make::GenerateArgs),
    Import(make::ImportArgs),
    List(look::ListArgs),
    Show(look::ShowArgs),
    Export(export::ExportArgs),
    Rewrap(rewrap::RewrapArgs),
    Delete(delete::DeleteArgs),
    Backup(keyring::BackupArgs),
    Restore(keyring::RestoreArgs),
}

/// Runs the command.
///
/// # Errors
/// Whatever stands against it.
pub fn run(args: KeyArgs, output: Output) -> Result<(), CliError> {
    match args.command {
        KeyCommand::Generate(args) => make::generate(&args, output),
        KeyCommand::Import(args) => make::import(&args, output),
        KeyCommand::List(args) => look::list(&args, output),
        KeyCommand::Show(args) => look::show(&args, output),
        KeyCommand::Export(args) => export::run(&args, output),
        KeyCommand::Rewrap(args) => rewrap::run(&args, output),
        KeyCommand::Delete(args) => delete::run(&args, output),
        KeyCommand::Backup(args) => keyring::backup(&args, output),
        KeyCommand::Restore(args) => keyring::restore(&args, output),
    }
}
