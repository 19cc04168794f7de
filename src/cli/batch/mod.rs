//! `keyrung batch`: a catalogue on this machine.

mod outlook;
pub mod packager;
mod progress;
mod rehearsal;
mod report;
mod schema;
pub mod title;

use std::collections::BTreeMap;
use std::num::{NonZeroU32, NonZeroUsize};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use clap::Args;

use crate::batch::shard::ShardError;
use crate::batch::{Draft, Flaw, Limits, Position, Problem, Shard, Title, Titles, schedule};
use crate::limits;
use crate::package::input::{InputPlace, InputSpec};

use super::args::Global;
use super::error::CliError;
use super::exit::Exit;
use super::output::Output;
use super::package::PackageArgs;
use super::signal;

use packager::Packages;
use progress::Board;
use report::Report;
use title::TitleForm;

/// Package many titles, resumably
///
/// JOBS has one title a line, a JSON object, or is TOML, a table of defaults and a [[title]] for each, when its name ends
/// in .toml. A title has inputs, out, and any option of package with underscores: segment_duration, key_provider, context ({...})...
/// Paths are relative to the working folder, as package's are.
///
/// A title whose package is there and the same, made of the same inputs with the same settings, is skipped, so the same
/// command goes on where a run was stopped, by Ctrl-C, a kill or a power cut. What fails in a way that may pass is tried
/// again; no failure stops another title. How each ended stands in JOBS.report.jsonl.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  keyrung batch jobs.jsonl --dry-run
  keyrung batch jobs.toml --shard 3/8
  keyrung batch --schema > jobs.schema.json

A line of jobs.jsonl:
  {\"content_id\": \"film-1\", \"inputs\": [\"1080p.ts\", \"360p.ts\"], \"out\": \"packages/film-1\"}

Exit codes beside those of every command: 10 some titles failed for good, 11 some failed in a way that is worth a retry \
(and perhaps others for good).")]
pub struct BatchArgs {
    /// The jobs file
    #[arg(value_name = "JOBS", required_unless_present = "schema")]
    jobs: Option<PathBuf>,
    /// Print the JSON Schema of a title
    #[arg(long, conflicts_with = "jobs")]
    schema: bool,
    /// Look into all inputs, print what would be done and what it takes, and write nothing
    #[arg(long)]
    dry_run: bool,
    /// This machine's part of the titles, I from 1 to N [default: all, or as an array job of AWS Batch, Kubernetes or
    /// Slurm tells]
    #[arg(long, value_name = "I/N")]
    shard: Option<Shard>,
    /// How many shards there are, where a scheduler tells only which this is: in an indexed job of Kubernetes, or under GNU
    /// parallel (seq 4 | parallel -N0 keyrung batch JOBS --shards 4)
    #[arg(long, value_name = "N", conflicts_with = "shard")]
    shards: Option<NonZeroU32>,
    /// Titles at once [default: as many as threads]
    #[arg(long, value_name = "N")]
    at_once: Option<NonZeroUsize>,
    /// Worker threads of all titles together [default: all cores]
    #[arg(long, value_name = "N")]
    threads: Option<NonZeroUsize>,
    /// Memory of all titles together, in MiB; one that wants more runs alone [default: half of the machine's]
    #[arg(long, value_name = "MIB")]
    max_memory: Option<u64>,
    /// How often a title that failed in a way that may pass is tried again, after 1, 2, 4 ... 60 seconds
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(..=100))]
    retries: u32,
    /// Where the report is written [default: JOBS.report.jsonl, or of a shard JOBS.shard-I-of-N.report.jsonl]
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
}

/// Runs the command. A failure of titles is no failure of the command's own.
///
/// # Errors
/// When the jobs file is wrong, or the report cannot be written.
pub fn run(args: &BatchArgs, global: &Global) -> Result<Exit, CliError> {
    let output = global.output();
    let form = TitleForm::new();
    let Some(jobs) = args.jobs.as_deref().filter(|_| !args.schema) else {
        output.raw(format!("{:#}\n", schema::schema(&form)).as_bytes());
        return Ok(Exit::Done);
    };
    let shard = args.shard()?;
    let started = Instant::now();
    let titles = read(jobs, &form, shard, output)?;
    let cancel = signal::cancel_flag()?;
    let limits = args.limits(titles.len())?;
    if args.dry_run {
        return rehearsal::run(&titles, &form, limits.at_once, &cancel, global);
    }
    let bytes = titles.iter().filter_map(|title| title.bytes).sum();
    let board = Board::new(global, titles.len() as u64, bytes, limits.at_once);
    let place = args.report.clone().unwrap_or_else(|| report::place(jobs, shard));
    if is_same_file(&place, jobs) {
        return Err(CliError::usage(format!("{}: the report would overwrite the jobs file", place.display())));
    }
    let report = Report::open(place, jobs, output, &board)?;
    let packages = Packages { form: &form, cancel: &cancel, board: &board };
    let is_over = AtomicBool::new(false);
    let tally = thread::scope(|scope| {
        let clock = scope.spawn(|| {
            while !is_over.load(Ordering::SeqCst) {
                board.show();
                thread::park_timeout(Duration::from_millis(100));
            }
        });
        let tally = schedule::run(titles, &limits, &packages, &report, &cancel);
        is_over.store(true, Ordering::SeqCst);
        clock.thread().unpark();
        tally
    });
    board.finish();
    report.close(&tally, shard, started.elapsed())
}

fn is_same_file(one: &Path, other: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let identity = |path: &Path| path.metadata().ok().map(|file| (file.dev(), file.ino()));
    identity(one).is_some_and(|one| identity(other) == Some(one))
}

/// Bytes of memory that this process may have: the machine's, or what its control group allows, in a container.
fn memory() -> u64 {
    let system = rustix::system::sysinfo();
    let machine = system.totalram.saturating_mul(u64::from(system.mem_unit));
    let groups = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let own = groups.lines().find_map(|line| line.strip_prefix("0::/")).unwrap_or_default();
    let limit = |group: &Path| {
        let most = std::fs::read_to_string(Path::new("/sys/fs/cgroup").join(group).join("memory.max")).ok()?;
        most.trim().parse::<u64>().ok()
    };
    Path::new(own).ancestors().filter_map(limit).fold(machine, u64::min)
}

impl BatchArgs {
    fn shard(&self) -> Result<Option<Shard>, CliError> {
        if self.shard.is_some() {
            return Ok(self.shard);
        }
        let environment = |name: &str| std::env::var(name).ok();
        Shard::detect(environment, self.shards.map(NonZeroU32::get)).map_err(|error| {
            let hint = match error {
                ShardError::NoCount(_) => "--shards N tells how many there are",
                _ => "--shard I/N tells which this is: --shard \"$SLURM_ARRAY_TASK_ID/4\", --shard {}/4 under GNU parallel",
            };
            CliError::usage(error.to_string()).hint(hint)
        })
    }

    fn limits(&self, titles: usize) -> Result<Limits, CliError> {
        let cores = thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
        let threads = self.threads.unwrap_or(cores).get().min(1024);
        let at_once = self.at_once.map_or(threads, NonZeroUsize::get).min(1024).clamp(1, titles.max(1));
        let memory = match self.max_memory {
            Some(mebibytes) => {
                mebibytes.checked_mul(1 << 20).ok_or_else(|| CliError::usage("--max-memory is too large"))?
            }
            None => memory() / 2,
        };
        Ok(Limits { at_once, threads, memory, retries: self.retries, first_wait: Duration::from_secs(1) })
    }
}

/// Reads a jobs file and keeps the titles that are in `shard`.
///
/// # Errors
/// Everything that is wrong with the file, [`limits::BATCH_PROBLEMS`] of it with their places.
fn read(jobs: &Path, form: &TitleForm, shard: Option<Shard>, output: Output) -> Result<Vec<Title>, CliError> {
    let mut titles = Vec::new();
    let mut all = Catalogue::default();
    let mut problems = Vec::new();
    for title in open(jobs)? {
        match title {
            Err(Flaw::Read(error)) => return Err(unreadable(jobs, &error)),
            Err(Flaw::Problem(problem)) => problems.push(problem),
            // Its default is made of DEST's full name, which may be another on another machine.
            Ok(draft) if shard.is_some() && !draft.fields.iter().any(|field| field.name == "content_id") => {
                let message = "content_id is missing: shards follow it".to_owned();
                problems.push(Problem { at: draft.at, message });
            }
            Ok(draft) => match form.read(&draft).and_then(|args| all.add(&draft, &args)) {
                Ok(title) if shard.is_none_or(|shard| shard.holds(&title.content_id)) => titles.push(title),
                Ok(_) => {}
                Err(more) => problems.extend(more),
            },
        }
    }
    problems.extend(all.nested());
    refuse(jobs, problems, output)?;
    if all.count == 0 {
        return Err(CliError::usage(format!("{}: there is no title in it", jobs.display())));
    }
    Ok(titles)
}

/// Opens a jobs file.
///
/// # Errors
/// When it cannot be read.
pub(super) fn open(jobs: &Path) -> Result<Titles, CliError> {
    Titles::open(jobs).map_err(|error| unreadable(jobs, &error))
}

pub(super) fn unreadable(jobs: &Path, error: &std::io::Error) -> CliError {
    CliError::new(Exit::Input, format!("{}: {error}", jobs.display()))
}

/// Tells all problems of a jobs file, each with its place.
///
/// # Errors
/// When there are any.
pub(super) fn refuse(jobs: &Path, mut problems: Vec<Problem>, output: Output) -> Result<(), CliError> {
    // What is wrong with the default block is wrong with every title.
    problems.sort();
    problems.dedup();
    let Some(first) = problems.first() else {
        return Ok(());
    };
    let name = jobs.display();
    let count = problems.len();
    // In the order of the file, the first of them last: that is the error.
    for problem in problems.iter().skip(1).take(limits::BATCH_PROBLEMS - 1) {
        output.warning(&format!("{name}:{}: {}", problem.at, problem.message));
    }
    let of = if count > 1 { format!(" (the first of {count} problems)") } else { String::new() };
    Err(CliError::usage(format!("{name}:{}: {}{of}", first.at, first.message))
        .hint("nothing was packaged; keyrung batch --schema lists the fields of a title"))
}

/// What no two titles of a file may share.
#[derive(Debug, Default)]
pub(super) struct Catalogue {
    ids: BTreeMap<String, u64>,
    outs: BTreeMap<String, Position>,
    count: u64,
}

impl Catalogue {
    /// Titles whose DEST lies in another's.
    pub(super) fn nested(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        for (out, at) in &self.outs {
            let mut above = out.as_str();
            while let Some((folder, _)) = above.rsplit_once('/') {
                above = folder;
                if let Some(other) = self.outs.get(above) {
                    let message = format!("out: {out} lies in that of line {}", other.line);
                    problems.push(Problem { at: *at, message });
                    break;
                }
            }
        }
        problems
    }

    /// Adds a title.
    ///
    /// # Errors
    /// When another has its content id or DEST.
    pub(super) fn add(&mut self, draft: &Draft, args: &PackageArgs) -> Result<Title, Vec<Problem>> {
        self.count += 1;
        let line = draft.at.line;
        let fail = |error: CliError| vec![Problem { at: draft.at, message: error.message }];
        let content_id = args.content_id().map_err(fail)?.to_string();
        let out = args.dest().and_then(|dest| Ok(dest.full_name()?)).map_err(fail)?;
        let out = plain(&out);
        let mut problems = Vec::new();
        let mut shared = |what: &str, value: &str, before: Option<u64>| {
            if let Some(before) = before {
                let message = format!("{what}: the title of line {before} has {value} too");
                let field = draft.fields.iter().find(|field| field.name == what);
                problems.push(Problem { at: field.map_or(draft.at, |field| field.at), message });
            }
        };
        shared("content_id", &content_id, self.ids.get(&content_id).copied());
        shared("out", &out, self.outs.get(&out).map(|other| other.line));
        self.ids.entry(content_id.clone()).or_insert(line);
        self.outs.entry(out.clone()).or_insert(draft.at);
        if !problems.is_empty() {
            return Err(problems);
        }
        let specs = args.specs().map_err(fail)?;
        let bytes = specs.iter().map(size).sum();
        let json = serde_json::to_string(&draft.to_json()).unwrap_or_default();
        Ok(Title { line, content_id, out, bytes, memory: outlook::memory(args, &specs), json })
    }
}

/// A full name without `.` and `..`, so that one DEST has one.
pub(super) fn plain(name: &str) -> String {
    if !name.starts_with('/') {
        return name.trim_end_matches('/').to_owned();
    }
    let mut parts = Vec::new();
    for part in name.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    format!("/{}", parts.join("/"))
}

/// Bytes of an input; None for one that would have to be asked for over a network. One that is not there has none.
fn size(spec: &InputSpec) -> Option<u64> {
    match &spec.place {
        InputPlace::File(path) => Some(path.metadata().map_or(0, |metadata| metadata.len())),
        _ => None,
    }
}
