//! `keyrung key backup` and `keyrung key restore`: the local keyring's own key.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use crate::cli::error::CliError;
use crate::cli::exit::Exit;
use crate::cli::output::Output;
use crate::keys::{KeyError, LocalKeyring, Restored, home};
use crate::storage::{Replace, StorageError};

/// Write a copy of the local keyring to a new file
///
/// The file opens every key that this keyring has sealed or will seal. Keep it where only you have access, and not on
/// this machine alone.
#[derive(Debug, Args)]
pub struct BackupArgs {
    /// File to make, with mode 0600; one that exists is never overwritten
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

/// Put a copy of the local keyring back
///
/// The keyring goes to KEYRUNG_HOME. Sealed keys are restored by putting the key store's files back.
#[derive(Debug, Args)]
pub struct RestoreArgs {
    /// File that keyrung key backup made
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Replace another keyring that is there; what that one sealed cannot be opened any more
    #[arg(long)]
    force: bool,
}

/// Copies the keyring out.
///
/// # Errors
/// When there is no keyring, or FILE exists; whatever storage reports.
pub fn backup(args: &BackupArgs, output: Output) -> Result<(), CliError> {
    let keyring = LocalKeyring::open(&home::resolve()?).map_err(|error| match error {
        KeyError::NoKeyring { .. } => CliError { hint: None, ..error.into() }
            .hint("there is nothing to back up yet: keyrung package or keyrung key generate makes the keyring"),
        error => error.into(),
    })?;
    keyring.backup(&args.file).map_err(|error| match error {
        KeyError::Storage(StorageError::Exists { .. }) => {
            CliError { hint: None, ..error.into() }.hint("choose another name: a backup is never overwritten")
        }
        error => error.into(),
    })?;
    output.json(&json!({ "backup": args.file, "kek_id": keyring.kek_id() }));
    output.text(&format!("keyring {} was copied to {}\n", keyring.kek_id(), args.file.display()));
    output.note("whoever has this file can open every key that the keyring sealed");
    Ok(())
}

/// Copies the keyring in.
///
/// # Errors
/// When FILE is no keyring or others have access to it, or another keyring is there; whatever storage reports.
pub fn restore(args: &RestoreArgs, output: Output) -> Result<(), CliError> {
    let home = home::resolve()?;
    let replace = if args.force { Replace::Allow } else { Replace::Refuse };
    let restored = LocalKeyring::restore(&home, &args.file, replace).map_err(|error| match error {
        KeyError::NoKeyring { path } => CliError::new(Exit::Key, format!("there is no backup {}", path.display())),
        KeyError::Storage(StorageError::Exists { path, .. }) => CliError::usage(format!(
            "another keyring is at {}",
            path.display()
        ))
        .hint(
            "--force replaces it, and what it sealed cannot be opened any more: keyrung key backup FILE keeps a copy",
        ),
        error => error.into(),
    })?;
    let keyring = LocalKeyring::open(&home)?;
    let word = match restored {
        Restored::Created => "created",
        Restored::Unchanged => "unchanged",
        Restored::Replaced => "replaced",
    };
    output.json(&json!({ "restored": word, "keyring": keyring.path(), "kek_id": keyring.kek_id() }));
    let (id, place) = (keyring.kek_id(), keyring.path().display());
    output.text(&match restored {
        Restored::Created => format!("keyring {id} is at {place}\n"),
        Restored::Unchanged => format!("keyring {id} was at {place} already\n"),
        Restored::Replaced => format!("keyring {id} is at {place}, in the place of another\n"),
    });
    Ok(())
}
