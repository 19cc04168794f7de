//! `keyrung key list` and `keyrung key show`: what a key store holds, and nothing secret of it.

use clap::Args;
use serde_json::json;

use crate::cli::error::CliError;
use crate::cli::key_access::{KeyStoreArgs, OpenArgs, claim_of, shown};
use crate::cli::output::Output;
use crate::cli::table::{Side, Table};
use crate::keys::{Claim, ClaimState, KeyId, SealedKey, home};

/// List the sealed keys, and the packages that they decrypt
#[derive(Debug, Args)]
pub struct ListArgs {
    #[command(flatten)]
    key_store: KeyStoreArgs,
}

/// Show what is stored of a key; nothing secret
///
/// With --json this is the sealed key's record as the key store keeps it.
#[derive(Debug, Args)]
pub struct ShowArgs {
    /// The key's id
    #[arg(value_name = "KEY_ID")]
    key_id: KeyId,
    /// Also open the key, and forget it again: fails as its use would. Implied by --key-provider
    #[arg(long)]
    check: bool,
    #[command(flatten)]
    open: OpenArgs,
    #[command(flatten)]
    key_store: KeyStoreArgs,
}

/// Lists keys. One that cannot be read is named, and does not hide the others.
///
/// # Errors
/// Whatever the key store reports.
pub fn list(args: &ListArgs, output: Output) -> Result<(), CliError> {
    let Some(store) = args.key_store.open()? else {
        let place = home::key_store(&home::resolve()?);
        output.json(&json!({ "key_store": place, "keys": [], "damaged": [] }));
        output.note(&format!("there is no key store {} yet", place.display()));
        return Ok(());
    };
    let mut keys: Vec<(SealedKey, Option<Claim>)> = Vec::new();
    let mut damaged = Vec::new();
    for id in store.list()? {
        let read = store.get(&id).and_then(|key| claim_of(&store, &key).map(|claim| (key, claim)));
        match read {
            Ok(found) => keys.push(found),
            Err(error) => {
                output.warning(&error.to_string());
                damaged.push(json!({ "key_id": id, "error": error.to_string() }));
            }
        }
    }
    keys.sort_by_key(|(key, _)| (key.created, key.key_id));
    let mut table = Table::new(&[
        ("key id", Side::Left),
        ("content id", Side::Left),
        ("provider", Side::Left),
        ("created", Side::Left),
        ("package", Side::Left),
    ]);
    let mut rows = Vec::new();
    for (key, claim) in &keys {
        table.row(vec![
            key.key_id.to_string(),
            key.content_id.to_string(),
            shown(&key.provider),
            key.created.to_string(),
            claim.as_ref().map_or("-".to_owned(), package),
        ]);
        rows.push(json!({
            "key_id": key.key_id, "content_id": key.content_id, "provider": key.provider, "key": key.key,
            "created": key.created,
            "package": claim.as_ref().map(|claim| json!({ "dest": claim.dest, "state": claim.state })),
        }));
    }
    output.json(&json!({ "key_store": store.place(), "keys": rows, "damaged": damaged }));
    if keys.is_empty() {
        output.note(&format!("the key store {} holds no key", store.place().display()));
    } else {
        output.text(&table.render());
    }
    Ok(())
}

/// Shows a key.
///
/// # Errors
/// When there is none of this id, or it is to be opened and does not; whatever the key store reports.
pub fn show(args: &ShowArgs, output: Output) -> Result<(), CliError> {
    let (store, key) = args.key_store.find(&args.key_id)?;
    let claim = claim_of(&store, &key)?;
    let is_checked = args.check || args.open.names_provider();
    if is_checked {
        args.open.access()?.unseal(&key)?;
    }
    output.json(&key);
    let context: Vec<String> = key.context.pairs().map(|(name, value)| format!("{name}={value}")).collect();
    let lines = [
        ("key id", key.key_id.to_string()),
        ("content id", key.content_id.to_string()),
        ("sealed by", shown(&key.provider)),
        ("under", shown(&key.key)),
        ("bound to", context.join(" ")),
        ("created", key.created.to_string()),
        ("package", claim.as_ref().map_or("none".to_owned(), package)),
    ];
    let mut text: String = lines.iter().map(|(name, value)| format!("{name:<11} {value}\n")).collect();
    if is_checked {
        text += "opens       yes\n";
    }
    output.text(&text);
    Ok(())
}

/// The package of a claim, for people.
fn package(claim: &Claim) -> String {
    match claim.state {
        ClaimState::Published => shown(&claim.dest),
        ClaimState::Open | ClaimState::Withdrawn => format!("{} (not finished)", shown(&claim.dest)),
    }
}
