//! `keyrung token`: what a player shows to the key server.

mod mint;
mod url;

use std::path::Path;
use std::time::{Duration, SystemTime};

use clap::{Args, Subcommand};
use serde::Deserialize;

use crate::limits;
use crate::server::authorizers::{Life, Settings, settings_beneath};
use crate::storage::durable::read_limited;

use super::error::CliError;
use super::exit::Exit;
use super::output::Output;

/// Make tokens and signed URLs for the key server
///
/// For tests, scripts, and sites without an identity provider of their own. Secrets and private keys are read from files,
/// which others may not be able to read.
#[derive(Debug, Args)]
pub struct TokenArgs {
    #[command(subcommand)]
    command: TokenCommand,
}

/// What each is for stands at its arguments.
#[derive(Debug, Subcommand)]
enum TokenCommand {
    Mint(Box<mint::MintArgs>),
    Url(url::UrlArgs),
}

/// Runs the command.
///
/// # Errors
/// When a file cannot be read or used, or what is asked for would open nothing.
pub fn run(args: TokenArgs, output: Output) -> Result<(), CliError> {
    match args.command {
        TokenCommand::Mint(args) => mint::run(*args, output),
        TokenCommand::Url(args) => url::run(args, output),
    }
}

/// What of the server's configuration is looked at.
#[derive(Deserialize)]
struct Config {
    #[serde(default)]
    authorizer: Vec<Settings>,
}

/// The authorisers of a configuration file, their files relative to its folder.
fn authorizers(config: &Path) -> Result<Vec<Settings>, CliError> {
    let bytes = read_limited(config, limits::MAX_JOB_BYTES)?;
    let unreadable = |what: &str| CliError::usage(format!("{}: {what}", config.display()));
    let text = String::from_utf8(bytes).map_err(|_| unreadable("is not UTF-8"))?;
    let read: Config = toml::from_str(&text).map_err(|error| unreadable(error.message()))?;
    Ok(settings_beneath(config.parent().unwrap_or(Path::new("")), read.authorizer))
}

/// Now, and the end of what begins now, in seconds since 1970.
fn times(life: Life, maximum: Option<Life>) -> Result<(u64, u64), CliError> {
    let seconds = life.get().as_secs();
    if seconds == 0 {
        return Err(CliError::usage("--life is at least 1s"));
    }
    if let Some(maximum) = maximum.filter(|maximum| life > *maximum) {
        let text = format!("--life {life} is longer than the server's maximum_life, {maximum}");
        return Err(CliError::usage(text).hint("the server would refuse it"));
    }
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs();
    let end = now.checked_add(seconds).filter(|end| *end <= limits::TOKEN_LAST_SECOND);
    end.map(|end| (now, end)).ok_or_else(|| CliError::usage(format!("--life {life} ends after the year 9999")))
}

/// RFC 3339.
fn shown(seconds: u64) -> String {
    let seconds = i64::try_from(seconds).unwrap_or(i64::MAX);
    jiff::Timestamp::from_second(seconds).map(|time| time.to_string()).unwrap_or_default()
}

/// A secret or key that cannot be used.
fn refused(error: impl std::fmt::Display) -> CliError {
    CliError::new(Exit::Key, error.to_string())
}
