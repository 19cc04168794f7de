//! A title as a worker packages it: as `keyrung package` would.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use serde_json::{Map, Value, json};

use crate::batch::Class;
use crate::batch::temporal::{Again, Failure, Work};
use crate::cli::batch::packager::{self, By, Packaged, Packages};
use crate::cli::batch::title::TitleForm;
use crate::cli::error::CliError;
use crate::cli::exit::Exit;
use crate::cli::output::{Output, Volume};
use crate::cli::table::counted;
use crate::package::progress::Progress;

/// Packages titles and says so.
#[derive(Debug)]
pub struct Titles {
    form: TitleForm,
    threads: NonZeroUsize,
    output: Output,
    /// How many were packaged.
    pub made: AtomicU64,
    /// How many an earlier attempt or run had packaged.
    pub found: AtomicU64,
    /// How often one failed.
    pub failed: AtomicU64,
    /// How many were stopped before their end.
    pub stopped: AtomicU64,
}

impl Titles {
    /// With so many threads for each.
    pub fn new(threads: NonZeroUsize, output: Output) -> Self {
        Self {
            form: TitleForm::new(),
            threads,
            output,
            made: AtomicU64::new(0),
            found: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            stopped: AtomicU64::new(0),
        }
    }

    /// Counts how a title ended, and tells it.
    fn count(&self, title: &Map<String, Value>, ended: &Result<Packaged, Failure>, started: Instant) {
        let name = title.get("content_id").and_then(Value::as_str).unwrap_or_default();
        let seconds = started.elapsed().as_secs_f64();
        let details = |text: &str| {
            if self.output.volume() == Volume::Verbose {
                self.output.note(&format!("{name}: {text}"));
            }
        };
        match ended {
            Ok(packaged) if packaged.by == By::ThisRun => {
                self.made.fetch_add(1, Ordering::SeqCst);
                let segments = counted(packaged.segments as u64, "segment");
                details(&format!("packaged, {segments} in {seconds:.2} s"));
            }
            Ok(_) => {
                self.found.fetch_add(1, Ordering::SeqCst);
                details("its package is there already");
            }
            Err(failure) if failure.again == Again::Stopped => {
                self.stopped.fetch_add(1, Ordering::SeqCst);
                details("stopped");
            }
            Err(failure) => {
                self.failed.fetch_add(1, Ordering::SeqCst);
                self.output.warning(&format!("{name}: {}", failure.message));
            }
        }
    }
}

impl Work for Titles {
    fn package(
        &self,
        title: &Map<String, Value>,
        cancel: &Arc<AtomicBool>,
        progress: &dyn Progress,
    ) -> Result<Value, Failure> {
        let started = Instant::now();
        let json = serde_json::to_string(title).unwrap_or_default();
        let ended = packager::package(&self.form, &json, self.threads, cancel, progress).map_err(failure);
        self.count(title, &ended, started);
        ended.map(|packaged| told(&packaged))
    }
}

/// What the server keeps of a title that is packaged.
fn told(packaged: &Packaged) -> Value {
    let mut told = packaged.to_json();
    told["made"] = json!(packaged.by == By::ThisRun);
    told
}

fn failure(error: CliError) -> Failure {
    let again = match Packages::class_of(&error) {
        Class::Interrupted => Again::Stopped,
        Class::Transient => Again::MayWork,
        Class::Permanent => Again::Fails,
    };
    Failure { kind: kind(error.exit), code: error.exit.code(), again, message: error.message, hint: error.hint }
}

/// What kind of failure ends so: the type of the activity's failure.
fn kind(exit: Exit) -> &'static str {
    match exit {
        Exit::Usage => "Usage",
        Exit::Input => "Input",
        Exit::Key => "Key",
        Exit::Storage => "Storage",
        Exit::Temporary => "Temporary",
        Exit::Interrupted | Exit::Terminated => "Stopped",
        _ => "Internal",
    }
}
