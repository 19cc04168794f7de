//! What every command takes, and which commands there are.

use clap::{Args, Parser, Subcommand, ValueEnum};

use super::output::{Color, Format, Output, Volume};

/// Turn MPEG-TS renditions into a protected HLS ladder
///
/// Every segment is encrypted with AES-128 under one data key, which is kept sealed.
#[derive(Debug, Parser)]
#[command(name = "keyrung", version, arg_required_else_help = true, max_term_width = 110)]
pub struct Cli {
    #[command(flatten)]
    pub global: Global,
    #[command(subcommand)]
    pub command: Command,
}

/// What every command takes.
#[derive(Debug, Clone, Copy, Args)]
#[command(next_help_heading = "Options of every command")]
pub struct Global {
    /// Write the result as one JSON document, and nothing else, to standard output
    #[arg(long, global = true)]
    pub json: bool,
    /// Say nothing but errors
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub quiet: bool,
    /// Say more
    #[arg(short, long, global = true)]
    pub verbose: bool,
    /// When to use colour
    #[arg(long, global = true, value_enum, default_value_t, value_name = "WHEN")]
    pub color: Color,
    /// How to show progress, on standard error
    #[arg(long, global = true, value_enum, default_value_t, value_name = "HOW")]
    pub progress: ProgressMode,
}

/// How progress is shown.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum ProgressMode {
    /// A bar on a terminal, else nothing
    #[default]
    Auto,
    /// A line every few seconds
    Plain,
    /// A JSON object every second
    Json,
    /// Nothing
    None,
}

impl Global {
    /// How results and messages are written.
    pub fn output(&self) -> Output {
        let volume = match (self.quiet, self.verbose) {
            (true, _) => Volume::Quiet,
            (false, true) => Volume::Verbose,
            (false, false) => Volume::Normal,
        };
        Output::new(if self.json { Format::Json } else { Format::Text }, volume, self.color)
    }
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make a protected HLS ladder of MPEG-TS inputs
    Package(Box<super::package::PackageArgs>),
    /// Show programs, streams, key frames and faults of inputs
    Inspect(super::inspect::InspectArgs),
    /// Serve packages and their keys to players on this machine
    #[cfg(feature = "server")]
    Serve(super::serve::ServeArgs),
    /// Make, list and remove sealed keys; back up the keyring that seals them
    Key(super::key::KeyArgs),
    /// Remove what killed runs left behind
    Gc(super::gc::GcArgs),
    /// Print a shell's completions
    Completions(super::completions::CompletionsArgs),
    /// Write the manual pages
    Man(super::man::ManArgs),
}
