//! `keyrung key`: sealed keys, and the local keyring's own key.

mod delete;
mod export;
mod keyring;
mod look;
mod make;

use clap::{Args, Subcommand};

use super::error::CliError;
use super::output::Output;

/// Make, list and remove sealed keys; back up the keyring that seals them
///
/// A package has one data key. The key store keeps it sealed: of no use without the local keyring, which is one file in
/// KEYRUNG_HOME. Losing the keyring is losing every package: keyrung key backup keeps a copy.
#[derive(Debug, Args)]
pub struct KeyArgs {
    #[command(subcommand)]
    command: KeyCommand,
}

#[derive(Debug, Subcommand)]
enum KeyCommand {
    /// Make a key and store it sealed
    Generate(make::GenerateArgs),
    /// Seal a key that exists already and store it
    Import(make::ImportArgs),
    /// List the sealed keys, and the packages that they decrypt
    List(look::ListArgs),
    /// Show what is stored of a key; nothing secret
    Show(look::ShowArgs),
    /// Write a key, unsealed, to standard output
    Export(export::ExportArgs),
    /// Remove a sealed key for good
    Delete(delete::DeleteArgs),
    /// Write a copy of the local keyring to a new file
    Backup(keyring::BackupArgs),
    /// Put a copy of the local keyring back
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
        KeyCommand::Delete(args) => delete::run(&args, output),
        KeyCommand::Backup(args) => keyring::backup(&args, output),
        KeyCommand::Restore(args) => keyring::restore(&args, output),
    }
}
