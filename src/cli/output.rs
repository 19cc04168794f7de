//! The only place that writes to standard output and standard error.

use std::io::{self, IsTerminal, Write};

use serde::Serialize;

use super::error::CliError;
use super::exit::Exit;

/// When to use colour.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Color {
    /// On a terminal, unless NO_COLOR is set
    #[default]
    Auto,
    /// Always
    Always,
    /// Never
    Never,
}

/// The form of the result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Text for people.
    Text,
    /// One JSON document.
    Json,
}

/// How much is said beside the result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Volume {
    /// Errors only.
    Quiet,
    /// Notes and warnings too.
    Normal,
    /// Details too.
    Verbose,
}

/// How results and messages are written.
#[derive(Debug, Clone, Copy)]
pub struct Output {
    format: Format,
    volume: Volume,
    color: Color,
}

impl Output {
    /// Writes in this way.
    #[must_use]
    pub fn new(format: Format, volume: Volume, color: Color) -> Self {
        Self { format, volume, color }
    }

    /// How much is said.
    #[must_use]
    pub fn volume(self) -> Volume {
        self.volume
    }

    /// The form of the result.
    #[must_use]
    pub fn format(self) -> Format {
        self.format
    }

    /// The result for people; nothing with `--json`.
    pub fn text(self, text: &str) {
        if self.format == Format::Text {
            put_or_exit(text.as_bytes());
        }
    }

    /// The result as JSON; nothing without `--json`.
    pub fn json(self, value: &impl Serialize) {
        if self.format == Format::Json {
            put_or_exit(&document(value));
        }
    }

    /// Bytes that are the result, whatever the format.
    pub fn raw(self, bytes: &[u8]) {
        put_or_exit(bytes);
    }

    /// A result whose loss would cost more than itself: text, or `value` with `--json`. That nobody reads it is a
    /// failure here too.
    ///
    /// # Errors
    /// When standard output does not take it.
    pub fn deliver(self, text: &[u8], value: &impl Serialize) -> Result<(), CliError> {
        let written = match self.format {
            Format::Text => put(text),
            Format::Json => put(&document(value)),
        };
        written.map_err(|error| CliError::new(Exit::Storage, format!("cannot write to standard output: {error}")))
    }

    /// A note on standard error.
    pub fn note(self, text: &str) {
        if self.volume != Volume::Quiet {
            self.line("note", "36", text);
        }
    }

    /// A warning on standard error.
    pub fn warning(self, text: &str) {
        if self.volume != Volume::Quiet {
            self.line("warning", "33", text);
        }
    }

    /// An error: on standard error, or as a document with `--json`. Returns its exit.
    pub fn error(self, error: &CliError) -> Exit {
        if self.format == Format::Json {
            let value = serde_json::json!({ "error": error.message, "hint": error.hint, "code": error.exit.code() });
            // The exit code still tells when nothing can be written.
            let _ = put(&document(&value));
        } else {
            self.line("error", "31", &error.message);
            if let Some(hint) = &error.hint {
                self.line("hint", "36", hint);
            }
        }
        error.exit
    }

    fn line(self, label: &str, code: &str, text: &str) {
        let colored = match self.color {
            Color::Always => true,
            Color::Never => false,
            Color::Auto => io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none(),
        };
        // Messages are one line each; what they quote from stored documents must not move the cursor.
        let text = super::key_access::shown(text);
        let line =
            if colored { format!("\x1b[1;{code}m{label}:\x1b[0m {text}\n") } else { format!("{label}: {text}\n") };
        // Nothing can be done when even standard error is gone.
        let _ = io::stderr().lock().write_all(line.as_bytes());
    }
}

fn document(value: &impl Serialize) -> Vec<u8> {
    let mut text = serde_json::to_vec_pretty(value).unwrap_or_default();
    text.push(b'\n');
    text
}

fn put(bytes: &[u8]) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(bytes)?;
    out.flush()
}

/// Writes to standard output. A reader that has gone away is no failure of ours: `keyrung ... | head` ends quietly. A
/// result that a full disk did not take is one.
fn put_or_exit(bytes: &[u8]) {
    let Err(error) = put(bytes) else { return };
    if error.kind() == io::ErrorKind::BrokenPipe {
        std::process::exit(i32::from(Exit::Done.code()));
    }
    let output = Output::new(Format::Text, Volume::Quiet, Color::Auto);
    let exit = output.error(&CliError::new(Exit::Storage, format!("cannot write to standard output: {error}")));
    std::process::exit(i32::from(exit.code()));
}
