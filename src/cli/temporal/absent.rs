//! The three commands where keyrung is built without Temporal: they say how to get it.

use crate::cli::error::CliError;

fn absent() -> CliError {
    CliError::usage("this keyrung is built without Temporal")
        .hint("cargo install --locked --path . --features temporal, in keyrung's sources")
}

/// A command that is not there.
macro_rules! absent {
    ($name:ident, $args:ident, $about:literal) => {
        /// The command that is not there.
        pub mod $name {
            use std::ffi::OsString;

            use clap::Args;

            use crate::cli::args::Global;
            use crate::cli::error::CliError;
            use crate::cli::exit::Exit;

            #[doc = $about]
            ///
            /// This keyrung is built without Temporal: cargo install --locked --path . --features temporal
            #[derive(Debug, Args)]
            pub struct $args {
                /// Whatever it is
                #[arg(trailing_var_arg = true, allow_hyphen_values = true, hide = true)]
                rest: Vec<OsString>,
            }

            /// Says so.
            ///
            /// # Errors
            /// Always.
            pub fn run(args: &$args, _global: &Global) -> Result<Exit, CliError> {
                let _ = &args.rest;
                Err(super::absent())
            }
        }
    };
}

absent!(submit, SubmitArgs, "Give the titles of a jobs file to a Temporal server (not built in)");
absent!(worker, WorkerArgs, "Package the titles that a Temporal server has (not built in)");
absent!(status, StatusArgs, "Tell how submitted titles stand (not built in)");
