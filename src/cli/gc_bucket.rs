//! `keyrung gc` in buckets: generations and unfinished packages that nothing needs.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::json;

use crate::keys::{Claim, KeyStore};
use crate::storage::object::{Encryption, Held, Location, NotALocation, Upload, stale};

use super::error::CliError;
use super::gc::{GcArgs, Report};
use super::key_access::shown;
use super::table::bytes;

/// Removes it, below the DESTs that were named.
///
/// # Errors
/// When a DEST that was named cannot be one; whatever the store reports.
pub fn run(args: &GcArgs, store: Option<&KeyStore>, open: &[Claim], report: &mut Report) -> Result<(), CliError> {
    let named = args.dests.iter().filter_map(|dest| dest.to_str()).filter(|dest| Location::is_meant(dest));
    let mut seen = BTreeSet::new();
    for text in named {
        let at: Location = text.parse().map_err(|error: NotALocation| CliError::usage(error.to_string()))?;
        if seen.insert(at.clone()) {
            below(args, &at, store, open, report)?;
        }
    }
    Ok(())
}

fn below(
    args: &GcArgs,
    at: &Location,
    store: Option<&KeyStore>,
    open: &[Claim],
    report: &mut Report,
) -> Result<(), CliError> {
    let mut held = Held::default();
    let dest = at.to_string();
    for claim in open.iter().filter(|claim| claim.dest == dest) {
        let given_up = match store {
            Some(store) if args.claims => give_up(store, claim, at, report)?,
            _ => false,
        };
        match &claim.generation {
            _ if given_up => {}
            Some(generation) => drop(held.generations.insert(generation.clone())),
            None => held.plain = true,
        }
    }
    for group in stale(at, &held, Duration::from_secs(u64::from(args.older_than) * 3600))? {
        if !report.dry_run {
            group.remove()?;
        }
        let what = format!("{} ({} objects, {})", group.at, group.count(), bytes(group.bytes));
        let value = json!({
            "kind": "objects", "prefix": group.at.to_string(), "objects": group.count(), "bytes": group.bytes,
        });
        report.removed("objects", &what, value);
    }
    Ok(())
}

/// Gives up an open claim, unless its package is there. No lock tells whether a run is at work on it: one that is
/// publishes all the same, and what is visible stays.
fn give_up(store: &KeyStore, claim: &Claim, at: &Location, report: &mut Report) -> Result<bool, CliError> {
    let what = format!("{} for {}", claim.content_id, claim.dest);
    if Upload::record_at(at, &Encryption::Bucket)?.is_some() && claim.generation.is_none() {
        report.output.note(&format!("the claim on {} stays: there is a package", shown(&what)));
        return Ok(false);
    }
    if !report.dry_run {
        if store.claim_read(&claim.content_id)?.as_ref() != Some(claim) {
            return Ok(false);
        }
        store.claim_delete(&claim.content_id)?;
    }
    let value = json!({
        "kind": "claim", "content_id": claim.content_id, "dest": claim.dest, "key_id": claim.key.key_id,
    });
    report.removed("claim", &what, value);
    report.output.note(&format!("its key stays: keyrung key delete {} removes it", claim.key.key_id));
    Ok(true)
}
