//! `keyrung serve`: packages and their keys, for players on this machine.

use std::collections::HashMap;
use std::fmt::Write;
use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use crate::keys::{ContentId, KeyId};
use crate::server::{KeyBytes, ServeError, ServedPackage, run as serve};

use super::error::CliError;
use super::exit::Exit;
use super::key_access::{KeyStoreArgs, OpenArgs};
use super::output::Output;
use super::signal;

/// Serve packages and their keys to players on this machine
///
/// Serves the files of the packages, the keys of exactly these packages, and a page with a player at /. There is no
/// authoriser yet: only this machine is answered, and requests that a proxy passed on are refused. Keys are opened when
/// it starts. SIGINT (Ctrl-C) and SIGTERM end it, with exit code 0; a second one ends it at once.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  keyrung serve film
  keyrung serve films/* --listen 127.0.0.1:0")]
pub struct ServeArgs {
    /// Folders that keyrung package made
    #[arg(required = true, value_name = "FOLDER")]
    folders: Vec<PathBuf>,
    /// Loopback address and port to listen on; port 0 lets the system choose
    #[arg(long, default_value = "127.0.0.1:8484", value_name = "ADDR", value_parser = address)]
    listen: SocketAddr,
    #[command(flatten)]
    open: OpenArgs,
    #[command(flatten)]
    key_store: KeyStoreArgs,
}

fn address(text: &str) -> Result<SocketAddr, String> {
    let numeric = match text.strip_prefix("localhost:") {
        Some(port) => format!("127.0.0.1:{port}"),
        None => text.to_owned(),
    };
    numeric.parse().map_err(|_| "an address is IP:PORT, such as 127.0.0.1:8484".to_owned())
}

/// A package, its key's id, and its master playlist's place on the server.
struct Entry {
    content_id: ContentId,
    folder: PathBuf,
    key_id: Option<KeyId>,
    path: String,
}

/// Serves until a signal comes.
///
/// # Errors
/// When a folder holds no package, a key does not open, or the address cannot be listened on.
pub fn run(args: ServeArgs, output: Output) -> Result<(), CliError> {
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    signal::watch(move || drop(stop))?;
    let packages = args.folders.iter().map(|folder| ServedPackage::open(folder)).collect::<Result<Vec<_>, _>>()?;
    let entries = packages.iter().map(entry).collect::<Result<Vec<_>, _>>()?;
    let keys = unseal(&entries, &args)?;
    let source = move |id: &str| -> Option<KeyBytes> { keys.get(id).cloned() };
    let ready = |address: SocketAddr| announce(address, &entries, output);
    serve(args.listen, packages, source, ready, async {
        // Whatever comes, it is the end: the sender is only ever dropped.
        let _ = stopped.await;
    })?;
    output.note("stopped");
    Ok(())
}

fn entry(package: &ServedPackage) -> Result<Entry, CliError> {
    let folder = package.folder.clone();
    let malformed = |error: crate::keys::KeyError| {
        CliError::new(Exit::Input, format!("{}: keyrung.json: {error}", package.folder.display()))
    };
    let content_id: ContentId = package.content_id.parse().map_err(malformed)?;
    let key_id = package.key_ids.first().map(|id| id.parse()).transpose().map_err(malformed)?;
    // A content id and the names in a package are plain: nothing in them needs escaping in a URL or a shell.
    let path = format!("{content_id}/{}", package.master);
    Ok(Entry { content_id, folder, key_id, path })
}

/// The keys of exactly these packages, each opened through the provider that it names. All of them are open before anyone can
/// ask.
fn unseal(entries: &[Entry], args: &ServeArgs) -> Result<HashMap<String, KeyBytes>, CliError> {
    let mut keys = HashMap::new();
    let access = args.open.access()?;
    for entry in entries {
        let Some(key_id) = entry.key_id else { continue };
        let (_, sealed) = args.key_store.find(&key_id)?;
        if sealed.content_id != entry.content_id {
            let text = format!("{}: its key {key_id} is for content id {}", entry.folder.display(), sealed.content_id);
            return Err(CliError::new(Exit::Key, text).hint("its commit record was changed: package it again"));
        }
        keys.insert(key_id.to_string(), KeyBytes::new(*access.unseal(&sealed)?.expose()));
    }
    Ok(keys)
}

fn announce(address: SocketAddr, entries: &[Entry], output: Output) {
    let base = format!("http://{address}/");
    let package = |entry: &Entry| {
        json!({
            "content_id": entry.content_id, "folder": entry.folder, "key_id": entry.key_id,
            "url": format!("{base}{}", entry.path),
        })
    };
    output.json(&json!({
        "address": address.to_string(), "url": base, "packages": entries.iter().map(package).collect::<Vec<_>>(),
    }));
    let mut text = format!("{base} in a browser with HLS of its own, or\n");
    for entry in entries {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "ffplay {base}{}", entry.path);
    }
    output.text(&text);
}

impl From<ServeError> for CliError {
    fn from(error: ServeError) -> Self {
        let message = error.to_string();
        match error {
            ServeError::NotLoopback { .. } => {
                Self::usage(message).hint("without an authoriser it answers this machine only: --listen 127.0.0.1:8484")
            }
            ServeError::Listen { .. } => {
                Self::usage(message).hint("choose another with --listen; port 0 lets the system choose")
            }
            ServeError::Duplicate { .. } => Self::usage(message).hint("serve them one at a time"),
            ServeError::Runtime { .. } => Self::new(Exit::Internal, message),
            ServeError::Version { .. } => {
                Self::new(Exit::Input, message).hint("use the version of keyrung that made it, or a later one")
            }
            _ => Self::new(Exit::Input, message).hint("FOLDER is what keyrung package made"),
        }
    }
}
