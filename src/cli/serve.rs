//! `keyrung serve`: keys for viewers who may have them, and packages.

use std::fmt::Write;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use serde_json::json;
use tokio::sync::mpsc::unbounded_channel;

use crate::keys::{ContentId, KeyId};
use crate::server::config::{self, Config, Flags};
use crate::server::{Control, ServeError, ServedPackage, check, run as serve};

use super::error::CliError;
use super::exit::Exit;
use super::key_access::{KeyStoreArgs, OpenArgs};
use super::output::Output;
use super::serve_descriptors::bound_connections;
use super::serve_outside::{Outside, Sources};
use super::served_keys::ServedKeys;
use super::signal;

/// Serve keys to viewers who may have them, and packages
///
/// With an authorizer in the configuration, the keys of the whole key store are given to whoever it lets, on any
/// address. Without one only this machine is answered, and only the keys of the packages named here are given; requests
/// that a proxy passed on are refused. Either way the packages' files are served, and a page with a player at /.
///
/// Settings come from --config, from variables KEYRUNG_SERVE_..., and from flags, the later above the earlier;
/// --print-config shows all of them. SIGHUP reads them again, with certificates and secrets; what cannot be used changes
/// nothing. SIGINT (Ctrl-C) and SIGTERM let requests in flight end, with exit code 0; a second one ends it at once.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  keyrung serve film
  keyrung serve films/* --listen 127.0.0.1:0
  keyrung serve --config /etc/keyrung/serve.toml --check-config
  keyrung serve --print-config")]
pub struct ServeArgs {
    /// Folders that keyrung package made
    #[arg(value_name = "FOLDER")]
    folders: Vec<PathBuf>,
    /// Settings in TOML
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Address and port to listen on, loopback without an authorizer; port 0 lets the system choose [default: 127.0.0.1:8484]
    #[arg(long, value_name = "ADDR", value_parser = address)]
    listen: Option<SocketAddr>,
    /// Loopback address and port of /metrics [default: none]
    #[arg(long, value_name = "ADDR", value_parser = address)]
    metrics_listen: Option<SocketAddr>,
    /// Network of proxies that are believed when they name the client; may be given several times
    #[arg(long, value_name = "CIDR")]
    trusted_proxy: Vec<String>,
    /// Origin whose pages may read answers: scheme, host and port; may be given several times
    #[arg(long, value_name = "ORIGIN")]
    allowed_origin: Vec<String>,
    /// Serve over TLS with this certificate chain (PEM)
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_certificate: Option<PathBuf>,
    /// The certificate's private key (PEM)
    #[arg(long, value_name = "FILE", requires = "tls_certificate")]
    tls_key: Option<PathBuf>,
    /// Say whether the settings can be used, and end
    #[arg(long)]
    check_config: bool,
    /// Print all settings with their values and what they are for, and end
    #[arg(long, conflicts_with = "check_config")]
    print_config: bool,
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

/// Serves until a signal comes.
///
/// # Errors
/// When settings cannot be used, a folder holds no package, without an authoriser a package's key does not open, or an address
/// cannot be listened on.
pub fn run(args: ServeArgs, output: Output) -> Result<(), CliError> {
    let sources = args.sources();
    if args.print_config {
        let config = sources.config()?;
        output.json(&config::value(&config));
        output.text(&config::print(&config));
        return Ok(());
    }
    let mut settings = sources.settings()?;
    if args.check_config {
        check(settings)?;
        args.key_store.or(sources.config()?.key_store.as_deref()).open()?;
        output.json(&json!({"config": "good"}));
        output.text("the settings are good\n");
        return Ok(());
    }
    let (control, controls) = unbounded_channel();
    let stop = control.clone();
    // When nobody listens any more it has ended already.
    signal::watch(move || {
        let _ = stop.send(Control::Stop);
    })?;
    // Without anything that a reload would read, a terminal that hangs up is to end it.
    if args.config.is_some() || settings.config.is_authorized() || settings.config.tls.is_some() {
        signal::watch_hangup(move || {
            let _ = control.send(Control::Reload);
        })?;
    }
    let entries = settings.packages.iter().map(Entry::of).collect::<Result<Vec<_>, _>>()?;
    let key_store = args.key_store.or(settings.config.key_store.as_deref());
    if !settings.config.is_authorized() {
        for entry in &entries {
            entry.check_key(&key_store, &args.open)?;
        }
    }
    let keys = ServedKeys::open(&key_store, &args.open)?;
    if let Some(allowed) = bound_connections(&mut settings.config) {
        let connections = settings.config.limits.connections;
        output.warning(&format!("{allowed} open files are allowed: that is enough for {connections} connections"));
    }
    let announcement = Announcement { entries, scheme: scheme(&settings.config) };
    let outside =
        Outside { sources, output, ready: Box::new(move |at, metrics| announcement.print(at, metrics, output)) };
    serve(settings, Arc::new(keys), Arc::new(outside), controls)?;
    output.note("stopped");
    Ok(())
}

impl ServeArgs {
    fn sources(&self) -> Sources {
        let mut flags = Flags::default();
        let text = |path: &PathBuf| path.to_string_lossy().into_owned();
        for (name, value) in [
            ("listen", self.listen.map(|address| address.to_string())),
            ("metrics_listen", self.metrics_listen.map(|address| address.to_string())),
            ("tls.certificate", self.tls_certificate.as_ref().map(text)),
            ("tls.key", self.tls_key.as_ref().map(text)),
        ] {
            if let Some(value) = value {
                flags.set(name, value);
            }
        }
        for (name, values) in [("trusted_proxies", &self.trusted_proxy), ("allowed_origins", &self.allowed_origin)] {
            if !values.is_empty() {
                flags.set(name, values.clone());
            }
        }
        Sources { file: self.config.clone(), flags, folders: self.folders.clone() }
    }
}

fn scheme(config: &Config) -> &'static str {
    if config.tls.is_some() { "https" } else { "http" }
}

/// A package, its key's id, and its master playlist's place on the server.
struct Entry {
    content_id: ContentId,
    folder: PathBuf,
    key_id: Option<KeyId>,
    path: String,
}

impl Entry {
    fn of(package: &ServedPackage) -> Result<Self, CliError> {
        let folder = package.folder.clone();
        let malformed = |error: crate::keys::KeyError| {
            CliError::new(Exit::Input, format!("{}: keyrung.json: {error}", package.folder.display()))
        };
        let content_id: ContentId = package.content_id.parse().map_err(malformed)?;
        let key_id = package.key_ids.first().map(|id| id.parse()).transpose().map_err(malformed)?;
        // A content id and the names in a package are plain: nothing in them needs escaping in a URL or a shell.
        let path = format!("{content_id}/{}", package.master);
        Ok(Self { content_id, folder, key_id, path })
    }

    /// Opens the key once, through the provider that it names: who watches at home is told at once what is wrong.
    fn check_key(&self, key_store: &KeyStoreArgs, open: &OpenArgs) -> Result<(), CliError> {
        let Some(key_id) = self.key_id else { return Ok(()) };
        let (_, sealed) = key_store.find(&key_id)?;
        if sealed.content_id != self.content_id {
            let text = format!("{}: its key {key_id} is for content id {}", self.folder.display(), sealed.content_id);
            return Err(CliError::new(Exit::Key, text).hint("its commit record was changed: package it again"));
        }
        open.access()?.unseal(&sealed)?;
        Ok(())
    }
}

/// What is said once it listens.
struct Announcement {
    entries: Vec<Entry>,
    scheme: &'static str,
}

impl Announcement {
    fn print(&self, address: SocketAddr, metrics: Option<SocketAddr>, output: Output) {
        let base = format!("{}://{address}/", self.scheme);
        let metrics = metrics.map(|address| format!("http://{address}/metrics"));
        let package = |entry: &Entry| {
            json!({
                "content_id": entry.content_id, "folder": entry.folder, "key_id": entry.key_id,
                "url": format!("{base}{}", entry.path),
            })
        };
        output.json(&json!({
            "address": address.to_string(), "url": base, "metrics": metrics,
            "packages": self.entries.iter().map(package).collect::<Vec<_>>(),
        }));
        let mut text = match self.entries.is_empty() {
            true => format!("keys at {base}v1/keys/\n"),
            false => format!("{base} in a browser with HLS of its own, or\n"),
        };
        for entry in &self.entries {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "ffplay {base}{}", entry.path);
        }
        if let Some(metrics) = metrics {
            let _ = writeln!(text, "figures at {metrics}");
        }
        output.text(&text);
    }
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
            ServeError::Authorizers(_) | ServeError::Tls(_) => {
                Self::usage(message).hint("keyrung serve --check-config looks at settings without serving")
            }
            ServeError::Audit { .. } => Self::new(Exit::Storage, message),
            ServeError::Runtime { .. } => Self::new(Exit::Internal, message),
            ServeError::Version { .. } => {
                Self::new(Exit::Input, message).hint("use the version of keyrung that made it, or a later one")
            }
            _ => Self::new(Exit::Input, message).hint("FOLDER is what keyrung package made"),
        }
    }
}
