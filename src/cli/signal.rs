//! Ctrl-C and termination: the first signal asks the run to stop and clean up, the second ends it at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::thread;

#[cfg(feature = "server")]
use signal_hook::consts::SIGHUP;
use signal_hook::consts::{SIGINT, SIGTERM, SIGXFSZ};

use super::error::CliError;
use super::exit::Exit;

/// The last signal that came.
static LAST: AtomicI32 = AtomicI32::new(SIGINT);

/// A flag that SIGINT and SIGTERM set.
///
/// # Errors
/// When the system lets no handler be installed.
pub fn cancel_flag() -> Result<Arc<AtomicBool>, CliError> {
    let cancel = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&cancel);
    watch(move || flag.store(true, Ordering::SeqCst))?;
    Ok(cancel)
}

/// Calls `first` when SIGINT or SIGTERM comes, and ends the process when another does.
///
/// # Errors
/// When the system lets no handler be installed.
pub fn watch(first: impl FnOnce() + Send + 'static) -> Result<(), CliError> {
    let failed = |error: std::io::Error| CliError::new(Exit::Internal, format!("cannot watch for signals: {error}"));
    // SIGXFSZ is watched so that a file beyond the user's limit is an error of the write and not the end of the process.
    let mut signals = signal_hook::iterator::Signals::new([SIGINT, SIGTERM, SIGXFSZ]).map_err(failed)?;
    let mut first = Some(first);
    thread::spawn(move || {
        for signal in signals.forever().filter(|signal| *signal != SIGXFSZ) {
            LAST.store(signal, Ordering::SeqCst);
            match first.take() {
                Some(first) => first(),
                None => std::process::exit(i32::from(interrupted().code())),
            }
        }
    });
    Ok(())
}

/// Calls `reload` whenever SIGHUP comes, which then no longer ends the process.
///
/// # Errors
/// When the system lets no handler be installed.
#[cfg(feature = "server")]
pub fn watch_hangup(reload: impl Fn() + Send + 'static) -> Result<(), CliError> {
    let failed = |error: std::io::Error| CliError::new(Exit::Internal, format!("cannot watch for signals: {error}"));
    let mut signals = signal_hook::iterator::Signals::new([SIGHUP]).map_err(failed)?;
    thread::spawn(move || signals.forever().for_each(|_| reload()));
    Ok(())
}

fn interrupted() -> Exit {
    if LAST.load(Ordering::SeqCst) == SIGTERM { Exit::Terminated } else { Exit::Interrupted }
}

/// Gives an interrupted command the exit of its signal.
pub fn name(error: CliError) -> CliError {
    if error.exit == Exit::Interrupted { CliError { exit: interrupted(), ..error } } else { error }
}
