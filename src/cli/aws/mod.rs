//! `keyrung aws`: permissions, written down and tested.

mod check;
mod policy;

use clap::{Args, Subcommand};

use super::error::CliError;
use super::output::Output;

/// AWS permissions: print the policies that keyrung needs, try what it may do
#[derive(Debug, Args)]
#[command(subcommand_required = true, arg_required_else_help = true)]
pub struct AwsArgs {
    #[command(subcommand)]
    command: AwsCommand,
}

#[derive(Debug, Subcommand)]
enum AwsCommand {
    Policy(policy::PolicyArgs),
    Check(check::CheckArgs),
}

/// Runs the command.
///
/// # Errors
/// As the subcommand.
pub fn run(args: &AwsArgs, output: Output) -> Result<(), CliError> {
    match &args.command {
        AwsCommand::Policy(args) => policy::run(args, output),
        AwsCommand::Check(args) => check::run(args, output),
    }
}
