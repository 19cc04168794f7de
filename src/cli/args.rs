//! What every command takes, and which commands there are.

use clap::{Args, Parser, Subcommand, ValueEnum};

use super::output::{Color, Format, Output, Volume};

/// Turn MPEG-TS renditions into a protected HLS ladder
///
/// Every segment is encrypted with AES-128 under one data key, which is kept sealed.
#[derive(Debug, Parser)]
#[command(name = "keyrung", version, arg_required_else_help = true, max_term_width = 110)]
#[command(after_help = "To begin with:
  keyrung package 1080p.ts 720p.ts 360p.ts --out film
  keyrung serve film

KEYRUNG_HOME is the folder of the keyring and the sealed keys [default: ~/.local/share/keyrung; on macOS \
~/Library/Application Support/keyrung]. keyrung help COMMAND tells more of a command.

Exit codes: 0 done, 1 a bug, 2 usage, 3 input refused, 4 key refused, 5 storage failed, 6 verify found errors, 7 try again later, 10 \
and 11 batch: titles failed for good, or are worth a retry, 130 \
interrupted, 143 terminated.")]
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
    /// When to use colour; auto is on a terminal, unless NO_COLOR is set
    #[arg(
        long,
        global = true,
        value_enum,
        default_value_t,
        value_name = "auto|always|never",
        hide_possible_values = true
    )]
    pub color: Color,
    /// How to show progress, on standard error; auto is a bar on a terminal, else nothing
    #[arg(
        long,
        global = true,
        value_enum,
        default_value_t,
        value_name = "auto|plain|json|none",
        hide_possible_values = true
    )]
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

/// The commands. What each is for stands at its arguments: a comment here would take its place.
#[derive(Debug, Subcommand)]
pub enum Command {
    Package(Box<super::package::PackageArgs>),
    Inspect(super::inspect::InspectArgs),
    Batch(super::batch::BatchArgs),
    Submit(Box<super::temporal::submit::SubmitArgs>),
    Worker(Box<super::temporal::worker::WorkerArgs>),
    Status(Box<super::temporal::status::StatusArgs>),
    Verify(Box<super::verify::VerifyArgs>),
    #[cfg(feature = "server")]
    Serve(super::serve::ServeArgs),
    Key(super::key::KeyArgs),
    #[cfg(feature = "server")]
    Token(super::token::TokenArgs),
    File(super::file::FileArgs),
    Gc(super::gc::GcArgs),
    #[cfg(feature = "aws")]
    Aws(super::aws::AwsArgs),
    Completions(super::completions::CompletionsArgs),
    Man(super::man::ManArgs),
}
