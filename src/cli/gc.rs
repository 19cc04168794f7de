//! `keyrung gc`: removes what killed runs left behind. What a run is at work on stays.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::{Value, json};

use crate::keys::{Claim, ClaimState, KeyStore, home};
use crate::package::record::RECORD_FILE;
use crate::storage::{Durability, Replace, Staging, StorageError, durable, full_name};

use super::error::CliError;
use super::key_access::{KeyStoreArgs, shown};
use super::output::Output;

/// Remove what killed runs left behind
///
/// Staging folders beside the DESTs and beside those that unfinished packages were meant for, temporary files in
/// KEYRUNG_HOME and the key store, and in buckets what replaced and unfinished packages have left. What a run is at work on stays, and so do packages and keys.
#[derive(Debug, Args)]
pub struct GcArgs {
    /// Folders, and s3://BUCKET/PREFIX, that packages were, or were to be, written to
    #[arg(value_name = "DEST")]
    pub(super) dests: Vec<PathBuf>,
    /// Give up unfinished packages too: free their content ids (a new run then makes another key)
    #[arg(long)]
    pub(super) claims: bool,
    /// Tell what would be removed, and remove nothing
    #[arg(long)]
    dry_run: bool,
    #[cfg(feature = "aws")]
    /// In buckets: leave what is younger than so many hours; players may be at a package that was replaced
    #[arg(long, default_value = "24", value_name = "HOURS")]
    pub(super) older_than: u32,
    #[command(flatten)]
    key_store: KeyStoreArgs,
}

/// What has been done so far.
pub(super) struct Report {
    pub(super) output: Output,
    pub(super) dry_run: bool,
    removed: Vec<Value>,
    in_use: Vec<Value>,
}

impl Report {
    pub(super) fn removed(&mut self, kind: &str, what: &str, value: Value) {
        let verb = if self.dry_run { "would remove" } else { "removed" };
        self.output.text(&format!("{verb} {kind} {}\n", shown(what)));
        self.removed.push(value);
    }

    fn in_use(&mut self, what: &str) {
        self.output.note(&format!("{} stays: a run is at work on it", shown(what)));
        self.in_use.push(json!(what));
    }
}

/// Removes it.
///
/// # Errors
/// When a DEST that was named cannot be one; whatever storage reports.
pub fn run(args: &GcArgs, output: Output) -> Result<(), CliError> {
    let mut report = Report { output, dry_run: args.dry_run, removed: Vec::new(), in_use: Vec::new() };
    let store = args.key_store.open()?;
    let open = store.as_ref().map(|store| open_claims(store, output)).transpose()?.unwrap_or_default();
    let mut seen = BTreeSet::new();
    for dest in args.dests.iter().filter(|dest| !is_bucket(dest)) {
        if seen.insert(full_name(dest)?) {
            staging(dest, &mut report)?;
        }
    }
    for dest in open.iter().map(|claim| PathBuf::from(&claim.dest)).filter(|dest| !is_bucket(dest)) {
        // The folder of someone's claim may be on a disk that is not there.
        if seen.insert(dest.clone())
            && let Err(error) = staging(&dest, &mut report)
        {
            output.warning(&error.to_string());
        }
    }
    temporaries(store.as_ref(), &mut report)?;
    if let Some(store) = store.as_ref().filter(|_| args.claims) {
        for claim in &open {
            if !is_bucket(Path::new(&claim.dest)) {
                give_up(store, claim, &mut report)?;
            }
        }
    }
    #[cfg(feature = "aws")]
    super::gc_bucket::run(args, store.as_ref(), &open, &mut report)?;
    output.json(&json!({ "dry_run": args.dry_run, "removed": report.removed, "in_use": report.in_use }));
    if report.removed.is_empty() {
        output.note("there is nothing to remove");
    }
    Ok(())
}

/// Whether a DEST is in a bucket.
fn is_bucket(dest: &Path) -> bool {
    dest.to_str().is_some_and(|text| text.starts_with("s3://"))
}

fn open_claims(store: &KeyStore, output: Output) -> Result<Vec<Claim>, CliError> {
    let mut open = Vec::new();
    for id in store.claims()? {
        match store.claim_read(&id) {
            Ok(claim) => open.extend(claim.filter(|claim| claim.state != ClaimState::Published)),
            Err(error) => output.warning(&error.to_string()),
        }
    }
    Ok(open)
}

/// The staging folder beside `dest`, and an old package that was put aside there.
fn staging(dest: &Path, report: &mut Report) -> Result<(), StorageError> {
    let left: Vec<PathBuf> = Staging::leftovers(dest)?;
    if left.is_empty() {
        return Ok(());
    }
    let was_there = dest.exists();
    if !report.dry_run && !Staging::discard_stale(dest)? {
        report.in_use(&dest.display().to_string());
        return Ok(());
    }
    if !was_there && dest.exists() {
        report.output.text(&format!("put back {}\n", shown(&dest.display().to_string())));
    }
    let dry_run = report.dry_run;
    for path in left.iter().filter(|path| dry_run || !path.exists()) {
        report.removed("staging", &path.display().to_string(), json!({ "kind": "staging", "path": path }));
    }
    Ok(())
}

/// Temporary files of killed writers in the home and the key store.
fn temporaries(store: Option<&KeyStore>, report: &mut Report) -> Result<(), CliError> {
    let mut folders: Vec<PathBuf> = home::resolve().into_iter().collect();
    folders.extend(store.into_iter().flat_map(|store| [store.place().to_path_buf(), store.place().join("claims")]));
    for folder in folders {
        let left = temporaries_in(&folder);
        if left.is_empty() {
            continue;
        }
        if !report.dry_run {
            durable::sweep(&folder)?;
        }
        for path in left {
            if report.dry_run || !path.exists() {
                report.removed("temporary", &path.display().to_string(), json!({ "kind": "temporary", "path": path }));
            } else {
                report.in_use(&path.display().to_string());
            }
        }
    }
    Ok(())
}

fn temporaries_in(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let is_temporary = |name: &str| name.starts_with('.') && name.ends_with(".tmp");
    let mut left: Vec<PathBuf> =
        entries.filter(|entry| is_temporary(&entry.file_name().to_string_lossy())).map(|entry| entry.path()).collect();
    left.sort();
    left
}

/// Removes an open claim whose DEST has no package, while no run can be at work on it.
fn give_up(store: &KeyStore, claim: &Claim, report: &mut Report) -> Result<(), CliError> {
    let dest = Path::new(&claim.dest);
    let has_package = || dest.join(RECORD_FILE).exists();
    let what = format!("{} for {}", claim.content_id, claim.dest);
    if has_package() {
        report.output.note(&format!("the claim on {} stays: there is a package", shown(&what)));
        return Ok(());
    }
    if !report.dry_run {
        // Held while the claim goes: a run takes it before it reads its claim.
        let _held = match Staging::open(dest, Replace::Allow, Durability::Process) {
            Ok(held) => held,
            Err(StorageError::Locked { .. }) => {
                report.in_use(&claim.dest);
                return Ok(());
            }
            Err(error) => {
                report.output.warning(&format!("the claim on {} stays: {error}", shown(&what)));
                return Ok(());
            }
        };
        let is_same = store.claim_read(&claim.content_id)?.as_ref() == Some(claim);
        if !is_same || has_package() {
            return Ok(());
        }
        store.claim_delete(&claim.content_id)?;
    }
    let value = json!({
        "kind": "claim", "content_id": claim.content_id, "dest": claim.dest, "key_id": claim.key.key_id,
    });
    report.removed("claim", &what, value);
    report.output.note(&format!("its key stays: keyrung key delete {} removes it", claim.key.key_id));
    Ok(())
}
