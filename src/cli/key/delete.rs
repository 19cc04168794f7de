//! `keyrung key delete`: removes a sealed key for good.

use std::path::Path;

use clap::Args;
use serde_json::json;

use crate::cli::error::CliError;
use crate::cli::key_access::{KeyStoreArgs, claim_of, shown};
use crate::cli::output::Output;
use crate::keys::{ClaimState, KeyId};
use crate::storage::{Staging, StorageError};

/// Remove a sealed key for good
///
/// What was encrypted under it can never be decrypted again. The content id becomes free for another package.
#[derive(Debug, Args)]
pub struct DeleteArgs {
    /// The key's id
    #[arg(value_name = "KEY_ID")]
    key_id: KeyId,
    /// Delete it even though a package needs it
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    key_store: KeyStoreArgs,
}

/// Removes the key, and the claim that holds a copy of it.
///
/// # Errors
/// When there is no such key, or a package needs it and `--yes` was not given; whatever the key store reports.
pub fn run(args: &DeleteArgs, output: Output) -> Result<(), CliError> {
    let (store, key) = args.key_store.find(&args.key_id)?;
    let (id, content_id) = (key.key_id, &key.content_id);
    let claim = claim_of(&store, &key)?;
    if let Some(claim) = &claim {
        let dest = shown(&claim.dest);
        if !args.yes {
            let error = match claim.state {
                ClaimState::Published => format!("key {id} decrypts the package {dest} (content id {content_id})"),
                ClaimState::Open | ClaimState::Withdrawn => {
                    format!("key {id} is that of the unfinished package {dest} (content id {content_id})")
                }
            };
            let hint = match claim.state {
                ClaimState::Published => "with --yes it is deleted, and the package can never be decrypted again",
                ClaimState::Open | ClaimState::Withdrawn => {
                    "with --yes it is deleted, and the package is begun anew with another key"
                }
            };
            return Err(CliError::usage(error).hint(hint));
        }
        if claim.state == ClaimState::Open && matches!(Staging::discard_stale(Path::new(&claim.dest)), Ok(false)) {
            return Err(StorageError::Locked { path: claim.dest.clone().into() }.into());
        }
        store.claim_delete(content_id)?;
    }
    store.delete(&id)?;
    let published = claim.filter(|claim| claim.state == ClaimState::Published).map(|claim| claim.dest);
    output.json(&json!({ "deleted": id, "content_id": content_id, "package": published }));
    output.text(&format!("deleted key {id} of content id {content_id}\n"));
    if let Some(dest) = published {
        output.warning(&format!("the package {} can never be decrypted again", shown(&dest)));
    }
    Ok(())
}
