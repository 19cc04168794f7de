//! Where the Temporal server is and how to be let in. The variables are those of Temporal's own tools.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use clap::builder::FalseyValueParser;

use crate::batch::temporal::{CallError, LinkError, Server, Temporal};
use crate::cli::error::CliError;
use crate::cli::exit::Exit;
use crate::keys::{ContentId, KeyError};
use crate::limits::MAX_DOCUMENT_BYTES;
use crate::storage::durable;

/// The variable that holds an API key.
const API_KEY: &str = "TEMPORAL_API_KEY";
/// How long a connection may take.
const PATIENCE: Duration = Duration::from_secs(8);

/// The way to a server.
#[derive(Debug, Args)]
#[command(next_help_heading = "The Temporal server")]
pub struct LinkArgs {
    /// The server: HOST:PORT, or a URL
    #[arg(
        long,
        value_name = "HOST:PORT",
        env = "TEMPORAL_ADDRESS",
        hide_env_values = true,
        default_value = "127.0.0.1:7233"
    )]
    address: String,
    /// The namespace, which must be there
    #[arg(long, value_name = "NAME", env = "TEMPORAL_NAMESPACE", hide_env_values = true, default_value = "default")]
    namespace: String,
    /// Speak TLS; the options below mean it too
    #[arg(long, env = "TEMPORAL_TLS", hide_env_values = true, value_parser = FalseyValueParser::new())]
    tls: bool,
    /// Who signed the server's certificate (PEM) [default: the system's roots]
    #[arg(long, value_name = "FILE", env = "TEMPORAL_TLS_SERVER_CA_CERT_PATH", hide_env_values = true)]
    tls_ca: Option<PathBuf>,
    /// This client's certificate (PEM)
    #[arg(
        long,
        value_name = "FILE",
        env = "TEMPORAL_TLS_CLIENT_CERT_PATH",
        hide_env_values = true,
        requires = "tls_key"
    )]
    tls_certificate: Option<PathBuf>,
    /// Its private key (PEM)
    #[arg(
        long,
        value_name = "FILE",
        env = "TEMPORAL_TLS_CLIENT_KEY_PATH",
        hide_env_values = true,
        requires = "tls_certificate"
    )]
    tls_key: Option<PathBuf>,
    /// The name in the server's certificate, where it is not the host
    #[arg(long, value_name = "NAME", env = "TEMPORAL_TLS_SERVER_NAME", hide_env_values = true)]
    tls_server_name: Option<String>,
    /// A file with an API key (Temporal Cloud), which TEMPORAL_API_KEY can hold instead; means TLS
    #[arg(long, value_name = "FILE")]
    api_key_file: Option<PathBuf>,
}

impl LinkArgs {
    /// Connects.
    ///
    /// # Errors
    /// When a file cannot be read, or no server answers as it should.
    pub fn connect(&self) -> Result<Temporal, CliError> {
        let client = match (&self.tls_certificate, &self.tls_key) {
            (Some(certificate), Some(key)) => Some((public(certificate)?, secret(key)?)),
            _ => None,
        };
        let server = Server {
            address: self.address.clone(),
            namespace: self.namespace.clone(),
            api_key: self.api_key()?,
            tls: self.tls || self.tls_server_name.is_some(),
            ca: self.tls_ca.as_deref().map(public).transpose()?,
            client,
            server_name: self.tls_server_name.clone(),
            patience: PATIENCE,
        };
        Ok(Temporal::connect(&server)?)
    }

    /// Where it is, for people.
    pub fn told(&self) -> String {
        format!("{}, namespace {}", self.address, self.namespace)
    }

    fn api_key(&self) -> Result<Option<String>, CliError> {
        let text = match &self.api_key_file {
            Some(file) => Some(secret(file)?),
            None => std::env::var(API_KEY).ok().map(String::into_bytes),
        };
        let Some(text) = text else { return Ok(None) };
        let key = String::from_utf8(text).ok().map(|key| key.trim().to_owned());
        let key = key.filter(|key| key.bytes().all(|byte| byte.is_ascii_graphic()));
        let place = self.api_key_file.as_ref().map_or_else(|| API_KEY.to_owned(), |file| file.display().to_string());
        // An empty variable is as good as none.
        key.map(|key| Some(key).filter(|key| !key.is_empty()))
            .ok_or_else(|| CliError::usage(format!("{place}: this is no API key")))
    }
}

fn public(file: &Path) -> Result<Vec<u8>, CliError> {
    durable::read_limited(file, MAX_DOCUMENT_BYTES).map_err(|error| CliError::usage(error.to_string()))
}

fn secret(file: &Path) -> Result<Vec<u8>, CliError> {
    Ok(durable::read_confided(file, MAX_DOCUMENT_BYTES).map_err(KeyError::from)?)
}

/// The name of a batch.
///
/// # Errors
/// For what cannot be one.
pub fn batch(text: &str) -> Result<String, String> {
    let good = text.parse::<ContentId>().is_ok();
    let wrong = || "a batch's name is 1 to 128 of A-Z a-z 0-9 . _ - with no full stop in front".to_owned();
    if good { Ok(text.to_owned()) } else { Err(wrong()) }
}

impl From<LinkError> for CliError {
    fn from(error: LinkError) -> Self {
        let (exit, hint) = match &error {
            LinkError::Address(_) => {
                (Exit::Usage, "it is HOST:PORT or a URL; an API key and certificates need TLS (https)")
            }
            LinkError::Unreachable { .. } => (
                Exit::Temporary,
                "--address and TEMPORAL_ADDRESS name another; one to try with: temporal server start-dev",
            ),
            LinkError::Refused { .. } => (Exit::Usage, "TEMPORAL_API_KEY, or --tls-certificate and --tls-key, let in"),
            LinkError::Namespace { .. } => (Exit::Usage, "temporal operator namespace create makes one"),
            LinkError::TooOld(_) => (Exit::Usage, "use a newer server, or turn them on for this namespace"),
            LinkError::Runtime(_) => (Exit::Internal, "is there a limit on processes (ulimit -u)?"),
        };
        Self::new(exit, error.to_string()).hint(hint)
    }
}

impl From<CallError> for CliError {
    fn from(error: CallError) -> Self {
        let exit = if error.passes { Exit::Temporary } else { Exit::Usage };
        let told = Self::new(exit, error.to_string());
        if error.passes { told.hint("the same command goes on when the server is well again") } else { told }
    }
}
