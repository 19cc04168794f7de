//! Packages a title as `keyrung package` would.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use serde_json::{Value, json};

use crate::batch::{Class, Draft, Packager, Problem, Share, Title};
use crate::cli::error::{Again, CliError};
use crate::cli::exit::Exit;
use crate::cli::output::{Color, Format, Output, Volume};
use crate::cli::package::{Around, Earlier, Finished, PackageArgs};
use crate::package::job::Ended;
use crate::package::progress::Progress;

use super::progress::Board;
use super::title::TitleForm;

/// Packages titles.
pub struct Packages<'a> {
    /// Reads them.
    pub form: &'a TitleForm,
    /// Stops them.
    pub cancel: &'a Arc<AtomicBool>,
    /// Shows how they go on.
    pub board: &'a Board,
}

/// A title that is packaged.
#[derive(Debug)]
pub struct Packaged {
    /// Who packaged it.
    pub by: By,
    /// The package's key; none when it is clear.
    pub key_id: Option<String>,
    /// How many renditions.
    pub renditions: usize,
    /// How many segments in all.
    pub segments: usize,
    /// Bytes of the inputs; 0 when an earlier run made the package.
    pub bytes_in: u64,
    /// Bytes of the package.
    pub bytes_out: u64,
    /// What a person should know, codes and messages.
    pub warnings: Vec<Value>,
    /// How often the inputs were found damaged, by kind.
    pub faults: Value,
    /// The job of Elastic Transcoder with the key in it.
    pub job: Option<Value>,
}

/// Which run packaged a title.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    /// This one.
    ThisRun,
    /// An earlier one: there was nothing to do.
    AnEarlierRun,
}

/// A title's words, which are `package`'s own.
///
/// # Errors
/// What is wrong with it; the first of it.
pub fn read(form: &TitleForm, json: &str) -> Result<PackageArgs, CliError> {
    let problem = |problems: Vec<Problem>| {
        let told = problems.into_iter().next().map(|problem| problem.message);
        CliError::usage(told.unwrap_or_default())
    };
    form.read(&Draft::from_json(json).map_err(|error| problem(vec![error]))?).map_err(problem)
}

/// Packages a title with so many threads at most.
///
/// # Errors
/// Whatever stands against it, in the words of jobs files.
pub fn package(
    form: &TitleForm,
    json: &str,
    threads: NonZeroUsize,
    cancel: &Arc<AtomicBool>,
    progress: &dyn Progress,
) -> Result<Packaged, CliError> {
    let mut args = read(form, json)?;
    args.limit_threads(threads);
    // What there is to say goes into the report, or to the server.
    let output = Output::new(Format::Text, Volume::Quiet, Color::Never);
    let finished = args.execute(&Around { output, cancel, progress }, Earlier::Wanted);
    finished.map(Packaged::of).map_err(for_titles)
}

impl Packages<'_> {
    /// What is to be thought of a failure.
    pub fn class_of(failure: &CliError) -> Class {
        match (failure.exit, failure.again) {
            (Exit::Interrupted, _) => Class::Interrupted,
            (_, Again::MayWork) => Class::Transient,
            (_, Again::Fails) => Class::Permanent,
        }
    }
}

impl Packager for Packages<'_> {
    type Done = Packaged;
    type Failure = CliError;

    fn package(&self, title: &Title, share: Share, number: usize) -> Result<Packaged, CliError> {
        let threads = NonZeroUsize::new(share.threads).unwrap_or(NonZeroUsize::MIN);
        package(self.form, &title.json, threads, self.cancel, self.board.place(number))
    }

    fn class(&self, failure: &CliError) -> Class {
        Self::class_of(failure)
    }

    fn panicked(&self) -> CliError {
        internal()
    }
}

/// A bug.
pub fn internal() -> CliError {
    CliError::new(Exit::Internal, "internal failure").hint("this is a bug in keyrung; please report it with the input")
}

/// A failure in the words of jobs files, which have fields and no flags.
pub fn for_titles(error: CliError) -> CliError {
    let words = |text: &str| {
        let text = text.replace("--force", "\"force\": true");
        text.replace("--content-id", "content_id")
            .replace("--key-store", "key_store")
            .replace("--key-provider", "key_provider")
    };
    let hint = error.hint.as_deref().map(words);
    CliError { hint, ..error }
}

impl Packaged {
    fn of(finished: Finished) -> Self {
        let Finished { ended, filled, warnings, .. } = finished;
        let setting = |text: &&str| json!({ "code": "setting", "message": text });
        let mut told: Vec<Value> = warnings.iter().map(setting).collect();
        match ended {
            Ended::Made(outcome) => {
                told.extend(outcome.warnings.iter().map(crate::cli::package_report::warning_json));
                Self {
                    by: By::ThisRun,
                    key_id: outcome.key.as_ref().map(|key| key.key_id.to_string()),
                    renditions: outcome.built.renditions.len(),
                    segments: outcome.built.renditions.iter().map(|rendition| rendition.segments.len()).sum(),
                    bytes_in: outcome.built.bytes_in,
                    bytes_out: outcome.built.bytes_out,
                    warnings: told,
                    faults: faults(&outcome.built.faults),
                    job: filled,
                }
            }
            Ended::WasPublished(published) => {
                let record = published.record;
                Self {
                    by: By::AnEarlierRun,
                    renditions: record.renditions.len(),
                    segments: record.renditions.iter().map(|rendition| rendition.segments.len()).sum(),
                    bytes_in: 0,
                    bytes_out: record.files.iter().map(|file| file.bytes).sum(),
                    key_id: record.key_id,
                    warnings: told,
                    faults: json!({}),
                    job: filled,
                }
            }
        }
    }

    /// As the report has it, and the server.
    pub fn to_json(&self) -> Value {
        json!({
            "key_id": self.key_id,
            "renditions": self.renditions,
            "segments": self.segments,
            "bytes_in": self.bytes_in,
            "bytes_out": self.bytes_out,
            "warnings": self.warnings,
            "faults": self.faults,
            "job": self.job,
        })
    }
}

/// Counts of damage by kind, over all inputs; `keyrung inspect` tells the places.
fn faults(inputs: &[(String, crate::ladder::Faults)]) -> Value {
    let mut kinds = serde_json::Map::new();
    for (kind, tally) in inputs.iter().flat_map(|(_, faults)| faults.iter()) {
        let before = kinds.get(kind.name()).and_then(Value::as_u64).unwrap_or(0);
        kinds.insert(kind.name().to_owned(), json!(before + tally.count));
    }
    Value::Object(kinds)
}
