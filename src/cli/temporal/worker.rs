//! `keyrung worker`: one of the machines that package what was submitted.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use clap::Args;
use serde_json::json;

use crate::batch::temporal::Settings;
use crate::cli::args::Global;
use crate::cli::error::CliError;
use crate::cli::exit::Exit;
use crate::cli::signal;

use super::link::LinkArgs;
use super::work::Titles;

/// Package the titles that a Temporal server has
///
/// It takes titles that keyrung submit gave to the server until SIGTERM or SIGINT (Ctrl-C) comes. Then it takes no more,
/// lets those that run come to their end within --grace, hands back the others, and ends with 0; a second signal ends it
/// at once. A worker that is killed loses nothing: its titles are given to others when they have said nothing for a
/// while, and these make the same bytes.
///
/// All workers need the same view of inputs, packages, key store and keyring: the same paths and one KEYRUNG_HOME on a
/// shared file system, or buckets and AWS KMS.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  keyrung worker
  keyrung worker --address temporal.example:7233 --titles 4 -v")]
pub struct WorkerArgs {
    /// Titles of this task queue
    #[arg(long, value_name = "NAME", default_value = "keyrung")]
    task_queue: String,
    /// Titles at once [default: as many as threads]
    #[arg(long, value_name = "N")]
    titles: Option<NonZeroUsize>,
    /// Threads of all titles together [default: all cores]
    #[arg(long, value_name = "N")]
    threads: Option<NonZeroUsize>,
    /// How long titles may go on after SIGTERM; leave it some seconds less than what kills the worker then
    #[arg(long, value_name = "SECONDS", default_value_t = 20, value_parser = clap::value_parser!(u64).range(..=86400))]
    grace: u64,
    // Last, for its heading goes on.
    #[command(flatten)]
    link: LinkArgs,
}

/// Packages titles until a signal comes.
///
/// # Errors
/// When no server answers, or it refuses this worker.
pub fn run(args: &WorkerArgs, global: &Global) -> Result<Exit, CliError> {
    let output = global.output();
    let cores = thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
    let threads = args.threads.unwrap_or(cores).get().min(1024);
    let titles = args.titles.map_or(threads, NonZeroUsize::get).min(1024);
    let each = NonZeroUsize::new(threads / titles).unwrap_or(NonZeroUsize::MIN);
    let stop = signal::cancel_flag()?;
    let temporal = args.link.connect()?;
    let settings = Settings { queue: args.task_queue.clone(), titles, grace: Duration::from_secs(args.grace) };
    let work = Arc::new(Titles::new(each, output));
    output.note(&format!("takes titles of {} from {}, {titles} at once", args.task_queue, args.link.told()));
    let drained = temporal.work(&settings, Arc::<Titles>::clone(&work), &stop)?;
    if drained.left > 0 {
        let text =
            "titles did not stop in time; the server gives them to others when they have said nothing for a while";
        output.warning(&format!("{} {text}", drained.left));
    }
    let count = |count: &AtomicU64| count.load(Ordering::SeqCst);
    let (made, found, failed, stopped) =
        (count(&work.made), count(&work.found), count(&work.failed), count(&work.stopped));
    output
        .json(&json!({ "packaged": made, "found": found, "failed": failed, "stopped": stopped, "left": drained.left }));
    output.text(&format!("drained: {made} packaged, {found} found packaged, {failed} failed, {stopped} handed back\n"));
    Ok(Exit::Done)
}
