//! `keyrung completions`: what a shell needs to complete the command line.

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use super::args::Cli;
use super::error::CliError;
use super::output::Output;

/// Print a shell's completions
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  keyrung completions bash > ~/.local/share/bash-completion/completions/keyrung
  keyrung completions zsh > ~/.zfunc/_keyrung
  keyrung completions fish > ~/.config/fish/completions/keyrung.fish")]
pub struct CompletionsArgs {
    /// The shell
    #[arg(value_enum, value_name = "SHELL")]
    shell: Shell,
}

/// Prints them.
///
/// # Errors
/// None so far.
pub fn run(args: &CompletionsArgs, output: Output) -> Result<(), CliError> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "keyrung", &mut script);
    output.raw(&script);
    Ok(())
}
