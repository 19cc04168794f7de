//! `keyrung inspect`: what inputs hold.
use super::error::CliError;
use super::output::Output;
use clap::Args;

/// Show programs, streams, key frames and faults of inputs
#[derive(Debug, Args)]
pub struct InspectArgs {
    /// Files to look into, or -
    #[arg(required = true, value_name = "INPUT")]
    inputs: Vec<String>,
}

/// x
pub fn run(_args: InspectArgs, _output: Output) -> Result<(), CliError> {
    Ok(())
}
