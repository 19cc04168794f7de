//! `keyrung batch --dry-run`: what would be done, title by title, and what all of it takes.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

use serde_json::{Value, json};

use crate::batch::{Class, Title};
use crate::cli::args::Global;
use crate::cli::error::CliError;
use crate::cli::exit::Exit;
use crate::cli::output::{Color, Format, Output, Volume};
use crate::cli::package::Around;
use crate::cli::table::{Side, Table, bytes, counted};
use crate::package::progress::Silent;

use super::outlook::{Outlook, State, outlook};
use super::packager::{self, Packages};
use super::title::TitleForm;

/// Looks into the inputs of all titles, `at_once` of them at a time. Estimates: the head of each input tells its bit rate,
/// its size then tells its duration.
///
/// # Errors
/// When it is interrupted.
pub fn run(
    titles: &[Title],
    form: &TitleForm,
    at_once: usize,
    cancel: &Arc<AtomicBool>,
    global: &Global,
) -> Result<Exit, CliError> {
    let output = global.output();
    let next = AtomicUsize::new(0);
    let looked: Mutex<Vec<(usize, Result<Outlook, CliError>)>> = Mutex::default();
    thread::scope(|scope| {
        for _ in 0..at_once {
            scope.spawn(|| {
                while let Some((number, title)) = take(titles, &next, cancel) {
                    let seen = catch_unwind(AssertUnwindSafe(|| look(title, form, cancel)));
                    let seen = seen.unwrap_or_else(|_| Err(packager::internal()));
                    looked.lock().unwrap_or_else(PoisonError::into_inner).push((number, seen));
                }
            });
        }
    });
    if cancel.load(Ordering::SeqCst) {
        return Err(CliError::new(Exit::Interrupted, "interrupted; nothing was written"));
    }
    let mut looked = looked.into_inner().unwrap_or_else(PoisonError::into_inner);
    looked.sort_by_key(|(number, _)| *number);
    Ok(tell(titles, &looked, output))
}

fn take<'a>(titles: &'a [Title], next: &AtomicUsize, cancel: &AtomicBool) -> Option<(usize, &'a Title)> {
    if cancel.load(Ordering::SeqCst) {
        return None;
    }
    let number = next.fetch_add(1, Ordering::SeqCst);
    titles.get(number).map(|title| (number, title))
}

fn look(title: &Title, form: &TitleForm, cancel: &Arc<AtomicBool>) -> Result<Outlook, CliError> {
    let args = packager::read(form, &title.json)?;
    let output = Output::new(Format::Text, Volume::Quiet, Color::Never);
    outlook(&args, &Around { output, cancel, progress: &Silent }).map_err(packager::for_titles)
}

fn tell(titles: &[Title], looked: &[(usize, Result<Outlook, CliError>)], output: Output) -> Exit {
    let mut table = Table::new(&[
        ("title", Side::Left),
        ("line", Side::Right),
        ("state", Side::Left),
        ("renditions", Side::Right),
        ("input", Side::Right),
        ("segments", Side::Right),
        ("puts", Side::Right),
        ("KMS calls", Side::Right),
        ("to", Side::Left),
    ]);
    let mut documents = Vec::new();
    let mut sum = Outlook::default();
    let (mut complete, mut refused, mut transient) = (0u64, 0u64, 0u64);
    for (number, seen) in looked {
        let Some(title) = titles.get(*number) else {
            continue;
        };
        let mut document = json!({ "content_id": title.content_id, "line": title.line, "out": title.out });
        match seen {
            Err(error) => {
                refused += 1;
                let class = Packages::class_of(error);
                transient += u64::from(class == Class::Transient);
                let class = if class == Class::Transient { "transient" } else { "permanent" };
                output.warning(&format!("{} (line {}) would fail: {}", title.content_id, title.line, error.message));
                let row =
                    [title.content_id.as_str(), &title.line.to_string(), "refused", "", "", "", "", "", &title.out];
                table.row(row.map(str::to_owned).into());
                extend(
                    &mut document,
                    json!({ "state": "refused", "class": class, "error": error.message, "hint": error.hint, "code": error.exit.code() }),
                );
            }
            Ok(outlook) => {
                let is_complete = outlook.state == State::Complete;
                let state = match outlook.state {
                    State::ToMake => "to do",
                    State::ToReplace => "to replace",
                    State::Complete => "complete",
                };
                complete += u64::from(is_complete);
                if !is_complete {
                    sum.add(outlook);
                }
                // Of a catalogue that is run every day, most is complete.
                if !is_complete || output.volume() == Volume::Verbose {
                    table.row(vec![
                        title.content_id.clone(),
                        title.line.to_string(),
                        state.to_owned(),
                        outlook.renditions.to_string(),
                        bytes(outlook.bytes),
                        outlook.segments.to_string(),
                        outlook.puts.to_string(),
                        outlook.kms_calls.to_string(),
                        title.out.clone(),
                    ]);
                }
                extend(&mut document, numbers(outlook));
                extend(&mut document, json!({ "state": state.replace(' ', "_") }));
            }
        }
        documents.push(document);
    }
    let to_do = looked.len() as u64 - complete - refused;
    let mut total = numbers(&sum);
    extend(&mut total, json!({ "to_do": to_do, "complete": complete, "refused": refused }));
    output.json(&json!({ "dry_run": true, "titles": documents, "total": total }));
    let exit = match (transient, refused) {
        (1.., _) => Exit::TitlesToRetry,
        (0, 1..) => Exit::TitlesFailed,
        (0, 0) => Exit::Done,
    };
    if output.volume() == Volume::Quiet {
        return exit;
    }
    if to_do + refused > 0 || output.volume() == Volume::Verbose {
        output.text(&table.render());
    }
    output.text(&format!(
        "to do: {} of {}, about {}, {}, {}; complete: {complete}; refused: {refused}\n\
         segments and puts are estimates; nothing was written\n",
        counted(to_do, "title"),
        bytes(sum.bytes),
        counted(sum.segments, "segment"),
        counted(sum.puts, "object put"),
        counted(sum.kms_calls, "KMS call"),
    ));
    exit
}

fn numbers(outlook: &Outlook) -> Value {
    json!({
        "renditions": outlook.renditions, "bytes": outlook.bytes, "segments": outlook.segments,
        "puts": outlook.puts, "kms_calls": outlook.kms_calls,
    })
}

fn extend(document: &mut Value, more: Value) {
    if let (Value::Object(document), Value::Object(more)) = (document, more) {
        document.extend(more);
    }
}
