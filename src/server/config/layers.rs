//! File, environment and flags, laid over each other.

use std::path::Path;

use toml::{Table, Value};

use super::Config;
use super::keys::{self, Kind, Setting};
use crate::server::authorizers;

/// What was set on the command line: names and values, as in the file.
#[derive(Debug, Clone, Default)]
pub struct Flags(Vec<(&'static str, Value)>);

impl Flags {
    /// Sets a setting. `name` is one of [`all`](super::all_settings).
    pub fn set(&mut self, name: &'static str, value: impl Into<Value>) {
        self.0.push((name, value.into()));
    }
}

/// A configuration file that was read.
#[derive(Debug, Clone, Copy)]
pub struct File<'a> {
    /// What is in it.
    pub text: &'a str,
    /// The folder that it lies in: relative paths in it begin there.
    pub folder: &'a Path,
}

/// Why settings are refused. Values of settings are never secrets: these stand in files of their own.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The file is not TOML, or holds what is no setting.
    #[error("line {line}: {reason}")]
    File {
        /// Where, counted from 1.
        line: usize,
        /// What is wrong.
        reason: String,
    },
    /// A variable that begins as the server's do, and is none of them.
    #[error("the environment's {variable} is no setting of the key server")]
    Unknown {
        /// The variable.
        variable: String,
    },
    /// A variable's value is not what its setting takes.
    #[error("the environment's {variable}: {reason}")]
    Variable {
        /// The variable.
        variable: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A flag's value is not what its setting takes, or it does not go with the others.
    #[error("{0}")]
    Invalid(String),
}

/// The settings: flags above the environment, the environment above the file, the file above the defaults.
///
/// # Errors
/// [`ConfigError`], with the place in the file, or the variable.
pub fn load(
    file: Option<File<'_>>,
    environment: impl Iterator<Item = (String, String)>,
    flags: &Flags,
) -> Result<Config, ConfigError> {
    let mut table = Table::new();
    if let Some(file) = file {
        let text = file.text;
        let wrong = |error: toml::de::Error| {
            let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
            ConfigError::File { line: before.matches('\n').count() + 1, reason: one_line(error.message()) }
        };
        table = toml::from_str(text).map_err(wrong)?;
        // Read as settings too: only here the error knows its line.
        toml::from_str::<Config>(text).map_err(wrong)?;
        paths_beneath(file.folder, &mut table);
    }
    let mut authorizer_is_set = false;
    for (variable, text) in environment.filter(|(name, _)| name.starts_with(keys::PREFIX)) {
        let known = keys::all().iter().find(|setting| keys::variable(setting.name) == variable);
        let Some(setting) = known else { return Err(ConfigError::Unknown { variable }) };
        authorizer_is_set |= setting.name == "authorizer";
        let wrong = |reason: String| ConfigError::Variable { variable: variable.clone(), reason };
        let value = parse(setting, &text).map_err(wrong)?;
        // Alone, so that the error is this variable's. What needs another of its table is looked at in the end.
        if !setting.name.starts_with("tls.") {
            let mut alone = Table::new();
            lay(&mut alone, setting.name, value.clone());
            alone.try_into::<Config>().map_err(|error| wrong(one_line(error.message())))?;
        }
        lay(&mut table, setting.name, value);
    }
    for (name, value) in &flags.0 {
        lay(&mut table, name, value.clone());
    }
    let invalid = |error: toml::de::Error| ConfigError::Invalid(one_line(error.message()));
    let mut config: Config = table.try_into().map_err(invalid)?;
    if let Some(file) = file.filter(|_| !authorizer_is_set) {
        config.authorizer = authorizers::settings_beneath(file.folder, config.authorizer);
    }
    check(&config)?;
    Ok(config)
}

/// Relative paths in the file are relative to its folder; those of environment and flags to the working folder.
fn paths_beneath(folder: &Path, table: &mut Table) {
    for setting in keys::all().iter().filter(|setting| setting.kind == Kind::Path) {
        let (inner, key) = match setting.name.split_once('.') {
            Some((name, key)) => (table.get_mut(name).and_then(Value::as_table_mut), key),
            None => (Some(&mut *table), setting.name),
        };
        let Some(Value::String(path)) = inner.and_then(|inner| inner.get_mut(key)) else { continue };
        // Standard error, and prefixes in buckets.
        if path != "-" && !path.contains("://") {
            *path = folder.join(&*path).to_string_lossy().into_owned();
        }
    }
}

/// What the reader of settings has to say goes over several lines at times.
fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn parse(setting: &Setting, text: &str) -> Result<Value, String> {
    Ok(match setting.kind {
        Kind::Text | Kind::Path => text.into(),
        Kind::Number => Value::Integer(text.parse().map_err(|_| format!("{text:?} is no whole number"))?),
        Kind::List => {
            Value::Array(text.split(',').map(str::trim).filter(|part| !part.is_empty()).map(Value::from).collect())
        }
        Kind::Toml => {
            let table: Table =
                toml::from_str(&format!("value = {text}")).map_err(|error| error.message().to_owned())?;
            table.get("value").cloned().unwrap_or(Value::Array(Vec::new()))
        }
    })
}

/// Sets `name` in the table; its own table is made where it is missing.
fn lay(table: &mut Table, name: &str, value: Value) {
    match name.split_once('.') {
        None => {
            table.insert(name.to_owned(), value);
        }
        Some((first, rest)) => {
            let inner = table.entry(first).or_insert_with(|| Table::new().into());
            if let Value::Table(inner) = inner {
                lay(inner, rest, value);
            }
        }
    }
}

/// What single values cannot tell.
fn check(config: &Config) -> Result<(), ConfigError> {
    let refuse = |text: &str| Err(ConfigError::Invalid(text.to_owned()));
    let limits = &config.limits;
    if limits.connections == 0 || limits.streams == 0 {
        return refuse("limits.connections and limits.streams are 1 at least");
    }
    if limits.head_bytes < 8192 || limits.uri_bytes > limits.head_bytes {
        return refuse("limits.head_bytes is 8192 at least, and not less than limits.uri_bytes");
    }
    for (name, time) in [
        ("limits.header_timeout", limits.header_timeout),
        ("limits.idle_timeout", limits.idle_timeout),
        ("limits.request_timeout", limits.request_timeout),
    ] {
        if time.is_zero() {
            return refuse(&format!("{name} is more than nothing"));
        }
    }
    for (rate, burst, name) in
        [(limits.client_rate, limits.client_burst, "client"), (limits.subject_rate, limits.subject_burst, "subject")]
    {
        if rate > 0 && burst == 0 {
            return refuse(&format!("limits.{name}_burst is 1 at least where there is a {name}_rate"));
        }
    }
    if config.metrics_listen.is_some_and(|address| !address.ip().is_loopback()) {
        return refuse("metrics_listen is a loopback address: figures are not for everyone");
    }
    if let Some(open) = config.trusted_proxies.iter().find(|network| network.prefix_len() == 0) {
        return refuse(&format!("trusted_proxies: {open} is everybody, and then nobody's address is known"));
    }
    Ok(())
}
