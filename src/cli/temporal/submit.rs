//! `keyrung submit`: gives the titles of a jobs file to a Temporal server.

use std::cell::RefCell;
use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::Args;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::json;
use sha2::{Digest, Sha256};

use crate::batch::temporal::{Submission, Submitted, Terms};
use crate::batch::{Draft, Flaw, Problem};
use crate::cli::args::{Global, ProgressMode};
use crate::cli::batch::title::TitleForm;
use crate::cli::batch::{open, plain, refuse, unreadable};
use crate::cli::error::CliError;
use crate::cli::exit::Exit;
use crate::cli::progress::err;
use crate::cli::signal;
use crate::cli::table::{counted, tallied};
use crate::limits::BATCH_PROBLEMS;

use super::link::{self, LinkArgs};
use super::placed::{Placed, placed};

/// Give the titles of a jobs file to a Temporal server
///
/// JOBS is what keyrung batch takes. All of it is checked first; of JSON Lines one title is held in memory at a time. The
/// same command may be run again: what is in the queue, running or complete is left alone, what has failed or was
/// cancelled starts again, as the file now has it. Paths become absolute: they have to mean the same on every worker.
///
/// Titles are stored on the server. They name keys and hold none; a key sealed by AWS KMS (wrapped_key) may be in one.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  keyrung submit jobs.jsonl
  keyrung submit jobs.jsonl --batch june --open 50000
  keyrung submit jobs.jsonl --dry-run")]
pub struct SubmitArgs {
    /// The jobs file
    #[arg(value_name = "JOBS")]
    jobs: PathBuf,
    /// What the titles belong to; a title's id is batch and content id [default: the name of JOBS without its end]
    #[arg(long, value_name = "NAME", value_parser = link::batch)]
    batch: Option<String>,
    /// Check the file and submit nothing; no server is needed
    #[arg(long)]
    dry_run: bool,
    /// The task queue that workers take them from
    #[arg(long, value_name = "NAME", default_value = "keyrung")]
    task_queue: String,
    /// Titles of the batch that are open at once; it waits for workers when there are more
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1..))]
    open: u64,
    /// How often a title may fail in ways that may pass, before it has failed for good; kills do not count
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..))]
    tries: u32,
    /// The longest wait before a try; the first is 1 second, each next one twice as long
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = seconds())]
    longest_wait: u64,
    /// A worker that has said nothing of a title for so long has lost it to others
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = seconds())]
    heartbeat_timeout: u64,
    /// The longest that one try may take
    #[arg(long, value_name = "SECONDS", default_value_t = 6 * 3600, value_parser = seconds())]
    try_timeout: u64,
    /// The longest that a title may take in all, in the queue and between tries too
    #[arg(long, value_name = "SECONDS", default_value_t = 7 * 24 * 3600, value_parser = seconds())]
    title_timeout: u64,
    // Last, for its heading goes on.
    #[command(flatten)]
    link: LinkArgs,
}

fn seconds() -> clap::builder::RangedU64ValueParser {
    clap::value_parser!(u64).range(1..=365 * 24 * 3600)
}

/// Submits.
///
/// # Errors
/// When the file is wrong, no server answers, or it does not take a title.
pub fn run(args: &SubmitArgs, global: &Global) -> Result<Exit, CliError> {
    let output = global.output();
    let form = TitleForm::new();
    let batch = args.batch()?;
    let count = check(&args.jobs, &form, output)?;
    if args.dry_run {
        output.json(&json!({ "dry_run": true, "batch": batch, "titles": count }));
        output.text(&format!("{} of batch {batch} can be submitted; nothing was\n", counted(count, "title")));
        return Ok(Exit::Done);
    }
    let cancel = signal::cancel_flag()?;
    let temporal = args.link.connect()?;
    let terms = args.terms(batch.clone());
    let told = Told::new(global, count);
    let titles = open(&args.jobs)?.map(|title| {
        let changed = |problem: Problem| {
            let what = format!("{}:{}: {}", args.jobs.display(), problem.at, problem.message);
            CliError::usage(what).hint("the file was changed while it was submitted; the same command goes on")
        };
        match title {
            Err(Flaw::Read(error)) => Err(unreadable(&args.jobs, &error)),
            Err(Flaw::Problem(problem)) => Err(changed(problem)),
            Ok(draft) => match read(&form, &draft) {
                Ok(Placed { content_id, title, .. }) => Ok(Submission { content_id, line: draft.at.line, title }),
                Err(problems) => Err(problems.into_iter().next().map_or_else(|| CliError::usage("a title"), changed)),
            },
        }
    });
    let done = temporal.submit(titles, &terms, &|done| told.show(done), &cancel);
    told.finish();
    let done = done?;
    if done.titles() < count {
        let text = format!("interrupted: {} of {count} titles are submitted", done.titles());
        return Err(CliError::new(Exit::Interrupted, text).hint("the same command goes on with those that are not"));
    }
    let workers = temporal.workers(&args.task_queue)?;
    output.json(&json!({
        "batch": batch, "task_queue": args.task_queue, "titles": count, "started": done.started,
        "open": done.open, "complete": done.complete, "workers": workers,
    }));
    output.text(&format!("batch {batch}: {}: {}\n", counted(count, "title"), parts(&done)));
    if workers == 0 && done.started + done.open > 0 {
        output.warning(&format!("no worker has asked for titles of {} lately: keyrung worker is one", args.task_queue));
    }
    output.note(&format!("keyrung status --batch {batch} tells how they stand"));
    Ok(Exit::Done)
}

impl SubmitArgs {
    fn batch(&self) -> Result<String, CliError> {
        let stem = || self.jobs.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
        self.batch.clone().map_or_else(|| link::batch(&stem()), Ok).map_err(|error| {
            CliError::usage(format!("{}: {error}", self.jobs.display())).hint("--batch NAME gives it another")
        })
    }

    fn terms(&self, batch: String) -> Terms {
        Terms {
            batch,
            queue: self.task_queue.clone(),
            tries: self.tries,
            heartbeat: Duration::from_secs(self.heartbeat_timeout),
            attempt: Duration::from_secs(self.try_timeout),
            all: Duration::from_secs(self.title_timeout),
            longest_wait: Duration::from_secs(self.longest_wait),
            open: self.open,
        }
    }
}

fn read(form: &TitleForm, draft: &Draft) -> Result<Placed, Vec<Problem>> {
    placed(draft, &form.read(draft)?)
}

/// Reads the whole file and counts its titles. Of each only a hash stays in memory.
///
/// # Errors
/// Everything that is wrong with it, [`BATCH_PROBLEMS`] of it with their places.
fn check(jobs: &Path, form: &TitleForm, output: crate::cli::output::Output) -> Result<u64, CliError> {
    if jobs.metadata().is_ok_and(|metadata| !metadata.is_file()) {
        return Err(CliError::usage(format!("{}: is no file, and has to be read twice", jobs.display())));
    }
    let mut seen = Seen::default();
    let mut count = 0;
    let mut problems = Vec::new();
    for title in open(jobs)? {
        match title {
            Err(Flaw::Read(error)) => return Err(unreadable(jobs, &error)),
            Err(Flaw::Problem(problem)) => problems.push(problem),
            Ok(draft) => match read(form, &draft) {
                Ok(placed) => {
                    count += 1;
                    problems.extend(seen.add(&draft, &placed));
                }
                Err(more) => problems.extend(more),
            },
        }
        // A file with a million mistakes must not be held in memory either.
        if problems.len() > BATCH_PROBLEMS * 100 {
            break;
        }
    }
    refuse(jobs, problems, output)?;
    if count == 0 {
        return Err(CliError::usage(format!("{}: there is no title in it", jobs.display())));
    }
    Ok(count)
}

/// Hashes of what no two titles may share.
#[derive(Default)]
struct Seen {
    ids: HashSet<u64>,
    outs: HashSet<u64>,
    /// Of all folders that a DEST lies in.
    above: HashSet<u64>,
}

impl Seen {
    fn add(&mut self, draft: &Draft, placed: &Placed) -> Vec<Problem> {
        let Placed { content_id, out, .. } = placed;
        let mut problems = Vec::new();
        let mut wrong = |name: &str, message: String| {
            let field = draft.fields.iter().find(|field| field.name == name);
            problems.push(Problem { at: field.map_or(draft.at, |field| field.at), message });
        };
        if !self.ids.insert(hash(content_id)) {
            wrong("content_id", format!("content_id: a title before this one has {content_id} too"));
        }
        let out = plain(out);
        let out = out.as_str();
        let is_new = self.outs.insert(hash(out));
        let mut folders = Vec::new();
        let mut above = out;
        while let Some((folder, _)) = above.rsplit_once('/') {
            above = folder;
            folders.push(hash(folder));
        }
        if !is_new {
            wrong("out", format!("out: a title before this one has {out} too"));
        } else if self.above.contains(&hash(out)) || folders.iter().any(|folder| self.outs.contains(folder)) {
            wrong("out", format!("out: {out} lies in that of a title before this one, or that in it"));
        }
        self.above.extend(folders);
        problems
    }
}

/// Enough of a hash to tell ten million names apart.
fn hash(text: &str) -> u64 {
    Sha256::digest(text.as_bytes()).iter().take(8).fold(0, |number, byte| number << 8 | u64::from(*byte))
}

fn parts(done: &Submitted) -> String {
    tallied(&[(done.started, "started"), (done.open, "open already"), (done.complete, "complete already")])
}

/// Tells how submitting goes on.
struct Told {
    mode: Mode,
    count: u64,
    started: Instant,
    last: RefCell<Instant>,
}

enum Mode {
    Bar(ProgressBar),
    Lines,
    Json,
    Nothing,
}

impl Told {
    fn new(global: &Global, count: u64) -> Self {
        let mode = match global.progress {
            _ if global.quiet => Mode::Nothing,
            ProgressMode::Auto if std::io::IsTerminal::is_terminal(&std::io::stderr()) => {
                let bar = ProgressBar::with_draw_target(Some(count), ProgressDrawTarget::stderr());
                let style = ProgressStyle::with_template("{bar:30} {pos} of {len} titles  {msg}");
                bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
                Mode::Bar(bar)
            }
            ProgressMode::Auto | ProgressMode::None => Mode::Nothing,
            ProgressMode::Plain => Mode::Lines,
            ProgressMode::Json => Mode::Json,
        };
        Self { mode, count, started: Instant::now(), last: RefCell::new(Instant::now()) }
    }

    fn show(&self, done: &Submitted) {
        let every = match self.mode {
            Mode::Nothing => return,
            Mode::Bar(_) => Duration::from_millis(100),
            Mode::Json => Duration::from_secs(1),
            Mode::Lines => Duration::from_secs(2),
        };
        if self.last.borrow().elapsed() < every {
            return;
        }
        self.last.replace(Instant::now());
        let waits = if done.is_full { "; as many are open as may be" } else { "" };
        let text = format!("{}{waits}", parts(done));
        match &self.mode {
            Mode::Bar(bar) => {
                bar.set_position(done.titles());
                bar.set_message(text);
            }
            Mode::Lines => err(&format!("{} of {} titles: {text}\n", done.titles(), self.count)),
            Mode::Json => {
                let line = json!({
                    "titles": self.count, "started": done.started, "open": done.open, "complete": done.complete,
                    "waits": done.is_full, "elapsed": self.started.elapsed().as_secs_f64(),
                });
                err(&format!("{line}\n"));
            }
            Mode::Nothing => {}
        }
    }

    fn finish(&self) {
        if let Mode::Bar(bar) = &self.mode {
            bar.finish_and_clear();
        }
    }
}
