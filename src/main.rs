//! The `keyrung` command.

use std::process::ExitCode;

fn main() -> ExitCode {
    keyrung::cli::main()
}
