//! The command line: one file for each command. Nothing else prints, and nobody else knows exit codes.

mod args;
#[cfg(feature = "aws")]
mod aws;
mod batch;
#[cfg(feature = "aws")]
mod bucket_args;
mod completions;
mod error;
mod exit;
mod file;
mod gc;
#[cfg(feature = "aws")]
mod gc_bucket;
mod input_decryption;
mod inspect;
mod key;
mod key_access;
mod man;
mod output;
mod package;
mod package_job;
mod package_report;
mod progress;
#[cfg(feature = "server")]
mod serve;
#[cfg(feature = "server")]
mod serve_descriptors;
#[cfg(feature = "server")]
mod serve_outside;
#[cfg(feature = "server")]
pub mod served_keys;
mod signal;
mod table;
mod temporal;
#[cfg(feature = "server")]
mod token;
mod verify;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::Parser;

use args::{Cli, Command};
use error::CliError;
use exit::Exit;
use output::{Color, Format, Output, Volume};

/// Runs the command that the process was started with.
#[must_use]
pub fn main() -> ExitCode {
    harden();
    let arguments: Vec<OsString> = std::env::args_os().collect();
    let cli = match Cli::try_parse_from(&arguments) {
        Ok(cli) => cli,
        Err(error) => return ExitCode::from(refuse_arguments(&arguments, &error).code()),
    };
    let output = cli.global.output();
    let result = match cli.command {
        Command::Package(args) => package::run(*args, &cli.global),
        Command::Inspect(args) => inspect::run(args, output),
        Command::Submit(args) => return ended(output, temporal::submit::run(&args, &cli.global)),
        Command::Worker(args) => return ended(output, temporal::worker::run(&args, &cli.global)),
        Command::Status(args) => return ended(output, temporal::status::run(&args, &cli.global)),
        Command::Verify(args) => match verify::run(&args, &cli.global) {
            Ok(exit) => return ExitCode::from(exit.code()),
            Err(error) => Err(error),
        },
        #[cfg(feature = "server")]
        Command::Serve(args) => serve::run(args, output),
        Command::Key(args) => key::run(args, output),
        Command::File(args) => file::run(args, output),
        #[cfg(feature = "server")]
        Command::Token(args) => token::run(args, output),
        Command::Gc(args) => gc::run(&args, output),
        #[cfg(feature = "aws")]
        Command::Aws(args) => aws::run(&args, output),
        Command::Batch(args) => match batch::run(&args, &cli.global) {
            Ok(exit) => return ExitCode::from(exit.code()),
            Err(error) => Err(error),
        },
        Command::Completions(args) => completions::run(&args, output),
        Command::Man(args) => man::run(&args, output),
    };
    let exit = match result {
        Ok(()) => Exit::Done,
        Err(error) => output.error(&signal::name(error)),
    };
    ExitCode::from(exit.code())
}

/// The exit code of a command that has one of its own.
fn ended(output: Output, result: Result<Exit, CliError>) -> ExitCode {
    ExitCode::from(result.unwrap_or_else(|error| output.error(&signal::name(error))).code())
}

/// Keys must not reach core dumps, or a panic's message.
fn harden() {
    use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};
    // Where the system refuses, the run goes on without.
    let _ = setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) });
    #[cfg(target_os = "linux")]
    let _ = set_dumpable_behavior(DumpableBehavior::NotDumpable);
    std::panic::set_hook(Box::new(|info| {
        let place = info.location().map(ToString::to_string).unwrap_or_default();
        let error = CliError::new(Exit::Internal, format!("internal failure at {place}"))
            .hint("this is a bug in keyrung; please report it");
        Output::new(Format::Text, Volume::Normal, Color::Auto).error(&error);
    }));
}

/// Help and versions go to standard output; what is wrong becomes one line and a hint.
fn refuse_arguments(arguments: &[OsString], error: &clap::Error) -> Exit {
    use clap::error::ErrorKind;
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            let _ = error.print();
            return Exit::Done;
        }
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            let _ = error.print();
            return Exit::Usage;
        }
        _ => {}
    }
    let text = error.to_string();
    let message = text.split("\n\n").next().unwrap_or_default().trim_start_matches("error: ");
    let message = message.split_whitespace().collect::<Vec<_>>().join(" ");
    let json = arguments.iter().any(|argument| argument == "--json");
    let output = Output::new(if json { Format::Json } else { Format::Text }, Volume::Normal, Color::Auto);
    output.error(&CliError::usage(message).hint("keyrung help COMMAND lists what a command takes"))
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    /// A panic tells its place. Its message may hold anything, a key among it.
    #[test]
    fn a_panic_does_not_tell_its_message() {
        const INNER: &str = "KEYRUNG_TEST_PANIC";
        let key = "5ec4e75ec4e75ec4e75ec4e75ec4e75e";
        if std::env::var_os(INNER).is_some() {
            super::harden();
            panic!("the key is {key}");
        }
        let name = "cli::tests::a_panic_does_not_tell_its_message";
        let mut inner = Command::new(std::env::current_exe().unwrap());
        let run = inner.args([name, "--exact", "--nocapture"]).env(INNER, "1").output().unwrap();
        let told = [run.stderr, run.stdout].concat();
        let told = String::from_utf8_lossy(&told);
        assert!(!run.status.success() && told.contains("error: internal failure at src"), "{told}");
        assert!(!told.contains(key), "{told}");
    }
}
