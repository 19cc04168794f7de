//! What the key server gets from the command: its settings, at the start and at every reload, its logs, and its words.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use crate::limits::SERVER_MAX_CONFIG_BYTES;
use crate::server::config::{self, Config, Flags};
use crate::server::{Notice, ServedPackage, Settings};

use super::error::CliError;
use super::output::Output;
use super::serve_descriptors::bound_connections;

/// Where settings come from.
pub struct Sources {
    /// `--config`.
    pub file: Option<PathBuf>,
    /// Flags, which stand above all else.
    pub flags: Flags,
    /// The packages' folders.
    pub folders: Vec<PathBuf>,
}

impl Sources {
    /// The configuration as it is now.
    ///
    /// # Errors
    /// When the file cannot be read, or a setting cannot be used.
    pub fn config(&self) -> Result<Config, CliError> {
        let refused = |text: String| CliError::usage(text).hint("keyrung serve --print-config shows all settings");
        let text = match &self.file {
            None => None,
            Some(file) => Some(read(file).map_err(|error| refused(format!("{}: {error}", file.display())))?),
        };
        // What is not text cannot be a setting's name or value.
        let environment = std::env::vars_os().filter_map(|(name, value)| {
            let name = name.into_string().ok()?;
            Some((name, value.to_string_lossy().into_owned()))
        });
        let file = text
            .as_ref()
            .zip(self.file.as_ref())
            .map(|(text, file)| config::File { text, folder: file.parent().unwrap_or(Path::new("")) });
        config::load(file, environment, &self.flags).map_err(|error| match (&error, &self.file) {
            (config::ConfigError::File { .. }, Some(file)) => refused(format!("{}: {error}", file.display())),
            _ => refused(error.to_string()),
        })
    }

    /// All that a server is made from, as it is now.
    ///
    /// # Errors
    /// As [`Sources::config`]; when a folder holds no package, or there is nothing to serve.
    pub fn settings(&self) -> Result<Settings, CliError> {
        let config = self.config()?;
        if self.folders.is_empty() && !config.is_authorized() {
            return Err(CliError::usage(
                "there is nothing to serve: no FOLDER, and no authorizer in the configuration",
            )
            .hint("FOLDER is what keyrung package made"));
        }
        let packages = self.folders.iter().map(|folder| ServedPackage::open(folder)).collect::<Result<_, _>>()?;
        Ok(Settings { config, packages })
    }
}

fn read(file: &Path) -> io::Result<String> {
    let mut text = String::new();
    File::open(file)?.take(SERVER_MAX_CONFIG_BYTES + 1).read_to_string(&mut text)?;
    if text.len() as u64 > SERVER_MAX_CONFIG_BYTES {
        return Err(io::Error::other(format!("a configuration has {SERVER_MAX_CONFIG_BYTES} bytes at most")));
    }
    Ok(text)
}

/// The command, as the server sees it.
pub struct Outside {
    /// Where settings come from.
    pub sources: Sources,
    /// Where words go.
    pub output: Output,
    /// What is said once it listens.
    #[allow(clippy::type_complexity)]
    pub ready: Box<dyn Fn(SocketAddr, Option<SocketAddr>) + Send + Sync>,
}

impl crate::server::Outside for Outside {
    fn ready(&self, address: SocketAddr, metrics: Option<SocketAddr>) {
        (self.ready)(address, metrics);
    }

    fn notice(&self, notice: Notice) {
        match notice.is_warning() {
            true => self.output.warning(&notice.to_string()),
            false => self.output.note(&notice.to_string()),
        }
    }

    fn reload(&self) -> Result<Settings, String> {
        let mut settings = self.sources.settings().map_err(|error| error.message)?;
        // As at the start: what the system does not allow is no change.
        bound_connections(&mut settings.config);
        Ok(settings)
    }

    fn audit(&self, file: &Path) -> io::Result<Box<dyn Write + Send>> {
        if file == Path::new("-") {
            return Ok(Box::new(io::stderr()));
        }
        // Who watched what is nobody else's affair.
        Ok(Box::new(OpenOptions::new().append(true).create(true).mode(0o600).open(file)?))
    }
}
