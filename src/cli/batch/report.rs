//! What `keyrung batch` tells: a line of `JOBS.report.jsonl` for each title as it ends, failures as they come, and a
//! closing table.

use std::collections::BTreeSet;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{BufRead, BufReader, Read, Seek, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};

use crate::batch::schedule::Ended;
use crate::batch::{Class, Shard, Tally, Title, Watcher};
use crate::cli::error::CliError;
use crate::cli::exit::Exit;
use crate::cli::output::{Format, Output, Volume};
use crate::cli::signal;
use crate::cli::table::{Side, Table, bytes, counted, tallied};
use crate::keys::CreatedAt;
use crate::limits;
use crate::storage::StorageError;

use super::packager::{By, Packaged, Packages};
use super::progress::Board;

/// Failures that the closing table lists; the report has all of them.
const LISTED: usize = 20;

/// Writes down how titles end.
pub struct Report<'a> {
    output: Output,
    board: &'a Board,
    path: PathBuf,
    state: Mutex<State>,
}

struct State {
    file: File,
    /// Why the report could not be written, the first time.
    broken: Option<String>,
    made: Made,
    failures: Vec<Listed>,
    /// What to do about them, each once.
    hints: BTreeSet<String>,
    failed: u64,
}

/// What the titles came to.
#[derive(Debug, Default, Clone, Copy)]
struct Made {
    made: u64,
    skipped: u64,
    bytes_in: u64,
    bytes_out: u64,
}

struct Listed {
    content_id: String,
    line: u64,
    attempts: u32,
    class: Class,
    message: String,
}

/// The report's place: beside the jobs file, each shard its own.
pub fn place(jobs: &Path, shard: Option<Shard>) -> PathBuf {
    let mut name = jobs.as_os_str().to_owned();
    if let Some(shard) = shard {
        name.push(format!(".shard-{}", shard.to_string().replace('/', "-of-")));
    }
    name.push(".report.jsonl");
    name.into()
}

impl<'a> Report<'a> {
    /// Makes the report's file; that of an earlier run is replaced. While another run writes it, this one takes a file
    /// beside it.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn open(path: PathBuf, jobs: &Path, output: Output, board: &'a Board) -> Result<Self, CliError> {
        let mode = jobs.metadata().map_or(0o600, |jobs| jobs.mode() & 0o666);
        let (path, file) = match locked(&path, mode)? {
            Some(file) => (path, file),
            None => {
                let mut other = path.clone().into_os_string();
                other.push(format!(".{}", std::process::id()));
                let other = PathBuf::from(other);
                output.note(&format!("another run writes {}: this one writes {}", path.display(), other.display()));
                let file = locked(&other, mode)?
                    .ok_or_else(|| CliError::from(StorageError::Locked { path: other.clone() }))?;
                (other, file)
            }
        };
        let state = State {
            file,
            broken: None,
            made: Made::default(),
            failures: Vec::new(),
            hints: BTreeSet::new(),
            failed: 0,
        };
        Ok(Self { output, board, path, state: Mutex::new(state) })
    }

    fn write(&self, title: &Title, rest: Value) {
        let mut line = json!({
            "content_id": title.content_id, "line": title.line, "out": title.out, "at": CreatedAt::now(),
        });
        if let (Value::Object(line), Value::Object(rest)) = (&mut line, rest) {
            line.extend(rest);
        }
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        // The whole line at once: a run that is killed leaves none behind that is cut.
        if let Err(error) = state.file.write_all(format!("{line}\n").as_bytes()) {
            state.broken.get_or_insert(error.to_string());
        }
    }

    /// Tells all of it at the end. Returns how the command ends.
    ///
    /// # Errors
    /// When the report could not be written: what it would have told is lost.
    pub fn close(self, tally: &Tally, shard: Option<Shard>, elapsed: Duration) -> Result<Exit, CliError> {
        let state = self.state.into_inner().unwrap_or_else(PoisonError::into_inner);
        let Made { made, skipped, bytes_in, bytes_out } = state.made;
        let titles = tally.done + tally.permanent + tally.transient + tally.interrupted;
        let error = error_of(tally, state.broken.as_deref(), &self.path);
        let mut summary = json!({
            "titles": titles,
            "made": made,
            "skipped": skipped,
            "failed": tally.permanent,
            "to_retry": tally.transient,
            "interrupted": tally.interrupted,
            "bytes_in": bytes_in,
            "bytes_out": bytes_out,
            "elapsed": elapsed.as_secs_f64(),
            "shard": shard.map(|shard| shard.to_string()),
            "report": self.path.display().to_string(),
        });
        if let (Value::Object(summary), Some(error)) = (&mut summary, &error) {
            summary.insert("error".to_owned(), json!(error.message));
            summary.insert("hint".to_owned(), json!(error.hint));
            summary.insert("code".to_owned(), json!(error.exit.code()));
        }
        self.output.json(&summary);
        if self.output.volume() != Volume::Quiet {
            if !state.failures.is_empty() {
                let mut table = Table::new(&[
                    ("failed", Side::Left),
                    ("line", Side::Right),
                    ("tries", Side::Right),
                    ("again?", Side::Left),
                    ("why", Side::Left),
                ]);
                for one in &state.failures {
                    let again = if one.class == Class::Transient { "may work" } else { "no" };
                    table.row(vec![
                        one.content_id.clone(),
                        one.line.to_string(),
                        one.attempts.to_string(),
                        again.to_owned(),
                        crate::cli::key_access::shown(&one.message),
                    ]);
                }
                self.output.text(&table.render());
                for hint in &state.hints {
                    self.output.text(&format!("hint: {hint}\n"));
                }
                let more = state.failed.saturating_sub(state.failures.len() as u64);
                if more > 0 {
                    self.output.text(&format!("and {more} more\n"));
                }
            }
            let seconds = elapsed.as_secs_f64();
            let parts = tallied(&[
                (made, "packaged"),
                (skipped, "complete already"),
                (tally.permanent, "failed for good"),
                (tally.transient, "failed, may work later"),
                (tally.interrupted, "not done"),
            ]);
            let parts = if parts.is_empty() { "nothing to do".to_owned() } else { parts };
            let of = shard.map(|shard| format!(" of shard {shard}")).unwrap_or_default();
            self.output.text(&format!(
                "{}{of}: {parts}; {} in {seconds:.2} s; report in {}\n",
                counted(titles, "title"),
                bytes(bytes_out),
                self.path.display()
            ));
        }
        match error {
            // One document is all that there is to be.
            Some(error) if self.output.format() == Format::Json => return Ok(error.exit),
            Some(error) => return Err(error),
            None => {}
        }
        Ok(match tally {
            // Titles that may work later come first: a scheduler that gives up on the others must not give up on them.
            Tally { transient: 1.., .. } => Exit::TitlesToRetry,
            Tally { permanent: 1.., .. } => Exit::TitlesFailed,
            _ => Exit::Done,
        })
    }
}

/// What stands against the run as a whole.
fn error_of(tally: &Tally, broken: Option<&str>, report: &Path) -> Option<CliError> {
    if tally.interrupted > 0 {
        let done = format!("interrupted: of the titles {} are complete and {} are not", tally.done, tally.interrupted);
        let error = CliError::new(Exit::Interrupted, done).hint("the same command goes on with those that are not");
        return Some(signal::name(error));
    }
    broken.map(|why| {
        CliError::new(Exit::Storage, format!("{}: {why}", report.display()))
            .hint("the packages are not touched by it: the same command writes a new report")
    })
}

/// A file to append to, made with the jobs file's mode: it holds titles too.
fn options(mode: u32) -> OpenOptions {
    let mut options = File::options();
    options.create(true).read(true).append(true).mode(mode);
    options
}

fn locked(path: &Path, mode: u32) -> Result<Option<File>, CliError> {
    let mut file = options(mode).open(path).map_err(|error| failed(path, error))?;
    if !is_report(&mut file).map_err(|error| failed(path, error))? {
        let message = format!("{} holds something else than a report, and is not overwritten", path.display());
        return Err(CliError::usage(message).hint("--report FILE puts the report elsewhere"));
    }
    match file.try_lock() {
        Ok(()) => {
            file.set_len(0).map_err(|error| failed(path, error))?;
            Ok(Some(file))
        }
        Err(TryLockError::WouldBlock) => Ok(None),
        // A file system without locks.
        Err(TryLockError::Error(_)) => {
            file.set_len(0).map_err(|error| failed(path, error))?;
            Ok(Some(file))
        }
    }
}

/// Whether a file is empty or begins as a report does.
fn is_report(file: &mut File) -> std::io::Result<bool> {
    let mut line = Vec::new();
    BufReader::new(file.take(limits::BATCH_LINE_BYTES * 2)).read_until(b'\n', &mut line)?;
    file.rewind()?;
    let is_line = |line: &[u8]| serde_json::from_slice::<Value>(line).is_ok_and(|line| line["status"].is_string());
    // A full disk or loss of power leaves the first line cut, or zeros. A jobs file's line may begin alike, but is whole.
    let is_whole = serde_json::from_slice::<serde::de::IgnoredAny>(&line).is_ok();
    let is_cut = !is_whole && !line.ends_with(b"\n") && line.starts_with(b"{\"content_id\":");
    let is_cut = is_cut || line.iter().all(|byte| *byte == 0);
    Ok(is_cut || is_line(&line))
}

fn failed(path: &Path, error: std::io::Error) -> CliError {
    CliError::from(StorageError::new("write", path, error)).hint("--report FILE puts the report elsewhere")
}

impl Watcher<Packages<'_>> for Report<'_> {
    fn begins(&self, title: &Title, number: usize) {
        self.board.begins(number, &title.content_id);
    }

    fn waits(&self, title: &Title, failure: &CliError, wait: Duration, number: usize) {
        self.board.leaves(number);
        let text =
            format!("{}: {}; tried again in {:.0} s", title.content_id, failure.message, wait.as_secs_f64().max(1.0));
        self.board.aside(|| self.output.note(&text));
    }

    fn ends(&self, title: &Title, ended: &Ended<Packages<'_>>, number: usize) {
        let size = title.bytes.unwrap_or(0);
        let times = json!({ "attempts": ended.attempts, "elapsed": ended.elapsed.as_secs_f64() });
        let mut rest = match &ended.result {
            Ok(packaged) => self.is_done(title, packaged),
            Err(failure) => self.has_failed(title, failure, ended.attempts),
        };
        if let (Value::Object(rest), Value::Object(times)) = (&mut rest, times) {
            rest.extend(times);
        }
        self.write(title, rest);
        self.board.ends(number, size, ended.result.is_err());
    }

    fn leaves(&self, title: &Title) {
        self.write(title, json!({ "status": "interrupted" }));
    }
}

impl Report<'_> {
    fn is_done(&self, title: &Title, packaged: &Packaged) -> Value {
        let is_made = packaged.by == By::ThisRun;
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.made.made += u64::from(is_made);
        state.made.skipped += u64::from(!is_made);
        state.made.bytes_in += packaged.bytes_in;
        state.made.bytes_out += if is_made { packaged.bytes_out } else { 0 };
        drop(state);
        if self.output.volume() == Volume::Verbose {
            let what = if is_made { "packaged" } else { "complete already" };
            let text = format!(
                "{}: {what}, {}, {}, {}",
                title.content_id,
                counted(packaged.renditions as u64, "rendition"),
                counted(packaged.segments as u64, "segment"),
                bytes(packaged.bytes_out)
            );
            self.board.aside(|| self.output.note(&text));
        }
        let mut told = packaged.to_json();
        told["status"] = json!(if is_made { "made" } else { "skipped" });
        told
    }

    fn has_failed(&self, title: &Title, failure: &CliError, attempts: u32) -> Value {
        let class = Packages::class_of(failure);
        if class == Class::Interrupted {
            return json!({ "status": "interrupted" });
        }
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.failed += 1;
        if state.failures.len() < LISTED {
            state.failures.push(Listed {
                content_id: title.content_id.clone(),
                line: title.line,
                attempts,
                class,
                message: failure.message.clone(),
            });
            state.hints.extend(failure.hint.clone());
        }
        let is_listed = state.failed <= LISTED as u64;
        drop(state);
        // A store that is down fails them all; the report has every one.
        if is_listed || self.output.volume() == Volume::Verbose {
            let text = format!("{} (line {}) failed: {}", title.content_id, title.line, failure.message);
            self.board.aside(|| self.output.warning(&text));
        }
        json!({
            "status": "failed",
            "class": if class == Class::Transient { "transient" } else { "permanent" },
            "error": failure.message,
            "hint": failure.hint,
            "code": failure.exit.code(),
            // What was asked for, so that the dead can be picked out of the report and run again.
            "title": serde_json::from_str::<Value>(&title.json).unwrap_or_default(),
        })
    }
}
