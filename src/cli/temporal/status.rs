//! `keyrung status`: how submitted titles stand; trying again and cancelling them.

use std::fmt::Write;
use std::time::SystemTime;

use clap::Args;
use serde_json::{Value, json};

use crate::batch::temporal::{Counts, Ended, Open, Overview};
use crate::cli::args::Global;
use crate::cli::error::CliError;
use crate::cli::exit::Exit;
use crate::cli::output::Output;
use crate::cli::signal;
use crate::cli::table::{self, Side, Table};

use super::link::{self, LinkArgs};

/// Titles of each kind that are told of.
const TOLD: usize = 20;

/// Tell how submitted titles stand
///
/// How many are complete, open (in the queue, being packaged, or waiting to be tried again), failed for good, cancelled;
/// how far those are that are being packaged; why those failed that did. The server forgets closed titles after the
/// namespace's retention.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  keyrung status --batch june
  keyrung status --batch june --failed --json | jq -r '.failures[] | [.line, .message] | @tsv'
  keyrung status --batch june --retry-failed
  until keyrung status --batch june -q; [ $? -ne 11 ]; do sleep 60; done

Exit codes beside those of every command: 0 all titles are complete, 11 some are open, 10 none is open and some have failed
or were cancelled. With --retry-failed and --cancel: 0.")]
pub struct StatusArgs {
    /// Of this batch [default: of all]
    #[arg(long, value_name = "NAME", value_parser = link::batch)]
    batch: Option<String>,
    /// Tell of every title that has failed, not only of the first 20
    #[arg(long, conflicts_with_all = ["retry_failed", "cancel"])]
    failed: bool,
    /// Start those that have failed for good again, as they were submitted; the batch has to be named
    #[arg(long, requires = "batch", conflicts_with = "cancel")]
    retry_failed: bool,
    /// Stop those that are open; keyrung submit starts them again; the batch has to be named
    #[arg(long, requires = "batch")]
    cancel: bool,
    #[command(flatten)]
    link: LinkArgs,
}

/// Tells, or does.
///
/// # Errors
/// When no server answers, or it has no title of the batch.
pub fn run(args: &StatusArgs, global: &Global) -> Result<Exit, CliError> {
    let output = global.output();
    let stop = signal::cancel_flag()?;
    let temporal = args.link.connect()?;
    let batch = args.batch.as_deref();
    if args.retry_failed || args.cancel {
        let (name, count, text) = if args.cancel {
            ("cancelled", temporal.cancel(batch, &stop)?, "told to stop")
        } else {
            ("retried", temporal.retry_failed(batch, &stop)?, "tried again")
        };
        output.json(&json!({ "batch": batch, name: count }));
        output.text(&format!("{text}: {}\n", table::counted(count, "title")));
        return Ok(Exit::Done);
    }
    let (open, failed) = if args.failed { (0, usize::MAX) } else { (TOLD, TOLD) };
    let overview = temporal.status(batch, open, failed)?;
    if overview.counts.titles() == 0 {
        let what = batch.map_or_else(String::new, |batch| format!(" of batch {batch}"));
        return Err(CliError::usage(format!("the Temporal server has no titles{what}"))
            .hint("keyrung submit names the batch; closed titles are forgotten after the namespace's retention"));
    }
    tell(args, &overview, output);
    Ok(exit(overview.counts))
}

/// What is open comes first: whoever waits for the end goes on waiting.
fn exit(counts: Counts) -> Exit {
    match counts {
        Counts { open: 1.., .. } => Exit::TitlesToRetry,
        Counts { failed: 1.., .. } | Counts { cancelled: 1.., .. } => Exit::TitlesFailed,
        _ => Exit::Done,
    }
}

fn tell(args: &StatusArgs, overview: &Overview, output: Output) {
    let Overview { counts, open, failed } = overview;
    let (running, waiting): (Vec<&Open>, Vec<&Open>) = open.iter().partition(|title| title.is_running);
    output.json(&json!({
        "batch": args.batch, "titles": counts.titles(), "complete": counts.complete, "open": counts.open,
        "failed": counts.failed, "cancelled": counts.cancelled,
        "running": running.iter().map(|title| open_json(title)).collect::<Vec<_>>(),
        "waiting": waiting.iter().map(|title| open_json(title)).collect::<Vec<_>>(),
        "failures": failed.iter().map(failure_json).collect::<Vec<_>>(),
    }));
    let name = |batch: &str, content_id: &str| match args.batch {
        Some(_) => content_id.to_owned(),
        None => format!("{batch}/{content_id}"),
    };
    let mut text = String::new();
    if !args.failed {
        text = summary(*counts);
        if !running.is_empty() {
            let columns = [("running", Side::Left), ("done", Side::Right), ("written", Side::Right)];
            let more =
                [("segments", Side::Right), ("try", Side::Right), ("since", Side::Right), ("worker", Side::Left)];
            let mut table = Table::new(&[&columns[..], &more[..]].concat());
            for title in &running {
                let cancelled = if title.is_cancelled { " (told to stop)" } else { "" };
                table.row(vec![
                    format!("{}{cancelled}", name(&title.batch, &title.content_id)),
                    percent(title).map_or_else(|| "-".to_owned(), |percent| format!("{percent} %")),
                    table::bytes(title.beat.written),
                    title.beat.segments.to_string(),
                    title.attempt.to_string(),
                    seconds(title).map_or_else(|| "-".to_owned(), |seconds| format!("{seconds:.0} s")),
                    title.worker.clone(),
                ]);
            }
            text.push_str(&table.render());
        }
    }
    // Writing to a String cannot fail.
    for title in &waiting {
        let why = title.last_failure.as_ref().map(|(_, message)| message.as_str()).unwrap_or_default();
        let _ = writeln!(text, "waits  {}, try {}: {why}", name(&title.batch, &title.content_id), title.attempt);
    }
    for title in failed {
        let line = title.line.map(|line| format!(" (line {line})")).unwrap_or_default();
        let _ = writeln!(text, "failed  {}{line}: {}", name(&title.batch, &title.content_id), title.message);
        if let Some(hint) = &title.hint {
            let _ = writeln!(text, "        hint: {hint}");
        }
    }
    if counts.failed > failed.len() as u64 {
        let _ = writeln!(text, "{} more have failed: --failed tells of all", counts.failed - failed.len() as u64);
    }
    output.text(&shown(&text));
}

/// What comes from the server must not move the cursor.
fn shown(text: &str) -> String {
    text.lines().fold(String::new(), |out, line| out + &crate::cli::key_access::shown(line) + "\n")
}

fn summary(counts: Counts) -> String {
    let parts = table::tallied(&[
        (counts.complete, "complete"),
        (counts.open, "open"),
        (counts.failed, "failed"),
        (counts.cancelled, "cancelled"),
    ]);
    format!("{}: {parts}\n", table::counted(counts.titles(), "title"))
}

/// About how much of a title is done: segments against what the inputs hold.
fn percent(title: &Open) -> Option<u64> {
    let total = title.beat.total.filter(|total| *total > 0)?;
    Some((title.beat.written.min(total).saturating_mul(100)) / total)
}

fn seconds(title: &Open) -> Option<f64> {
    Some(SystemTime::now().duration_since(title.since?).unwrap_or_default().as_secs_f64())
}

fn open_json(title: &Open) -> Value {
    json!({
        "batch": title.batch, "content_id": title.content_id, "worker": title.worker, "attempt": title.attempt,
        "percent": percent(title), "total": title.beat.total, "scanned": title.beat.scanned,
        "written": title.beat.written, "segments": title.beat.segments, "seconds": seconds(title),
        "cancel_requested": title.is_cancelled,
        "last_failure": title.last_failure.as_ref().map(|(kind, message)| json!({ "kind": kind, "message": message })),
    })
}

fn failure_json(title: &Ended) -> Value {
    json!({
        "batch": title.batch, "content_id": title.content_id, "line": title.line, "kind": title.kind, "code": title.code,
        "message": title.message, "hint": title.hint, "attempts": title.attempts,
    })
}
