//! Makes a ladder: drives the scans, the engines and the playlists, into a staging folder.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::crypto::digest::{Digest, DigestKind};
use crate::ladder::{CutPolicy, FaultKind, Faults, Place};
use crate::limits;
use crate::playlist::value::KeyUri;
use crate::segment::Segment;
use crate::storage::Budget;
use crate::ts::Stride;

use super::conductor::{Align, Conductor};
use super::engine::{self, Work};
use super::error::PackageError;
use super::input::{InputFile, Reader};
use super::outcome::{Playlists, RenditionOutcome, gather, playlists};
use super::pipe;
use super::plan::Plan;
use super::progress::Progress;
use super::record::FileRecord;
use super::sink::{Protection, Sink, Stored};
use super::site::Site;

/// What to do about damaged input.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum FaultPolicy {
    /// Survive it and report it.
    #[default]
    Report,
    /// Refuse it.
    Refuse,
}

/// How a ladder is cut and made.
#[derive(Debug, Clone, Copy)]
pub struct Making {
    /// How long segments are.
    pub policy: CutPolicy,
    /// Whether renditions share one grid.
    pub align: Align,
    /// What to do about damage.
    pub faults: FaultPolicy,
    /// Worker threads.
    pub threads: usize,
    /// The checksum of each segment.
    pub digest: DigestKind,
    /// Bytes that segments on their way to or from a network may take in memory.
    pub memory: u64,
}

/// A ladder that is stored, but for its record.
#[derive(Debug)]
pub struct Built {
    /// The renditions.
    pub renditions: Vec<RenditionOutcome>,
    /// EXT-X-TARGETDURATION, in seconds.
    pub target_duration: u64,
    /// Every file, in the order of publication.
    pub files: Vec<FileRecord>,
    /// Bytes of the inputs.
    pub bytes_in: u64,
    /// Bytes of all files.
    pub bytes_out: u64,
    /// The damage of each input, with its name.
    pub faults: Vec<(String, Faults)>,
}

/// The name of the multivariant playlist.
pub const MASTER_FILE: &str = "master.m3u8";

/// Makes the ladder.
///
/// # Errors
/// When an input is refused or changes, the renditions do not align, or storage fails.
pub fn build(
    plan: &mut Plan,
    making: &Making,
    site: &Site,
    protection: Protection<'_>,
    key_uri: impl Fn(&str) -> Result<Option<KeyUri>, PackageError>,
    cancel: &AtomicBool,
    progress: &dyn Progress,
) -> Result<Built, PackageError> {
    let names: Vec<String> = plan.renditions.iter().map(|rendition| rendition.name.clone()).collect();
    let folders = names.iter().map(|name| site.make_folder(name)).collect::<Result<Vec<_>, _>>()?;
    let budget = budget(plan, site, making.memory);
    let sink = Sink { site, names, folders, budget, protection, digest: making.digest, cancel, progress };
    let mut conductor = Conductor::new(plan.inputs.len(), &plan.renditions, making.policy, making.align);
    progress.total(total(plan));
    let stored = match plan.inputs.as_mut_slice() {
        [input] if matches!(input.reader, Reader::Pipe(_)) => pipe::run(&mut conductor, input, making.faults, &sink)?,
        _ => {
            let files = files(plan)?;
            let watch = Watch { cancel, progress };
            engine::run(making.threads, &sink, |queue| {
                drive(plan, &mut conductor, making.faults, &watch, &mut |rendition, segment| {
                    let Some((file, stride)) = files.get(rendition).cloned() else {
                        return Err(PackageError::Internal("a segment of no input".to_owned()));
                    };
                    // A closed queue means that a worker failed; its error is the one to report.
                    let permit = sink.reserve(held_bytes(&segment), || queue.is_closed())?;
                    let work = Work { rendition, segment, file, stride, permit };
                    if queue.push(work) { Ok(()) } else { Err(PackageError::Interrupted) }
                })
            })?
        }
    };
    site.land(cancel)?;
    sink.check()?;
    for input in &plan.inputs {
        if let Reader::File { input, .. } = &input.reader {
            input.check_unchanged()?;
        }
    }
    finish(plan, &mut conductor, &sink, stored, key_uri)
}

/// The memory for segments in hand, where bytes come or go over a network, so that they are held in it. Of what is read
/// over one, half is kept for what lies ahead: the segments in hand must fit into the rest, or all is fetched again.
fn budget(plan: &Plan, site: &Site, memory: u64) -> Option<Arc<Budget>> {
    let remote = |reader: &Reader| matches!(reader, Reader::File { input, .. } if input.is_remote());
    match (plan.inputs.iter().any(|input| remote(&input.reader)), site) {
        (true, _) => Some(Budget::new(memory / 2)),
        (false, Site::Folder(_)) => None,
        #[cfg(feature = "aws")]
        (false, Site::Bucket(_)) => Some(Budget::new(memory)),
    }
}

/// The most that a segment takes in memory: all of it, unless it is so large that it is sent in parts.
fn held_bytes(segment: &Segment) -> u64 {
    let range = segment.range();
    range.end.saturating_sub(range.start).min(limits::S3_SINGLE_PUT_BYTES * 2)
}

/// Scans all inputs without making anything, for a dry run: every segment is described, none is read again.
///
/// # Errors
/// As [`build`], but for storage.
pub fn rehearse(
    plan: &mut Plan,
    making: &Making,
    cancel: &AtomicBool,
    progress: &dyn Progress,
) -> Result<(Conductor, Vec<(usize, Segment)>), PackageError> {
    let mut conductor = Conductor::new(plan.inputs.len(), &plan.renditions, making.policy, making.align);
    progress.total(total(plan));
    let mut segments = Vec::new();
    let watch = Watch { cancel, progress };
    drive(plan, &mut conductor, making.faults, &watch, &mut |rendition, segment| {
        segments.push((rendition, segment));
        Ok(())
    })?;
    Ok((conductor, segments))
}

/// Who stops a scan, and who is told how it goes on.
struct Watch<'a> {
    cancel: &'a AtomicBool,
    progress: &'a dyn Progress,
}

type Emit<'a> = dyn FnMut(usize, Segment) -> Result<(), PackageError> + 'a;

/// Scans all inputs side by side, always the one that has come least far.
fn drive(
    plan: &mut Plan,
    conductor: &mut Conductor,
    faults: FaultPolicy,
    watch: &Watch<'_>,
    emit: &mut Emit<'_>,
) -> Result<(), PackageError> {
    let mut at_least = 1;
    while let Some(number) = conductor.next_input() {
        if watch.cancel.load(Ordering::Relaxed) {
            return Err(PackageError::Interrupted);
        }
        let Some(input) = plan.inputs.get_mut(number) else {
            return Err(PackageError::Internal("no such input".to_owned()));
        };
        let position = conductor.position(number);
        let name = input.name.clone();
        let (bytes, end) = input.reader.window(position, at_least)?;
        let held = bytes.len();
        let consumed = conductor.push(number, &name, bytes, end)?;
        watch.progress.scanned(consumed as u64);
        at_least = if consumed == 0 { held + 1 } else { 1 };
        if let Reader::Pipe(pipe) = &mut input.reader {
            pipe.release(position + consumed as u64); // only a dry run comes here with one, and reads nothing again
        }
        check_faults(conductor, number, &name, faults)?;
        for (rendition, segment) in conductor.take_complete() {
            emit(rendition, segment)?;
        }
    }
    Ok(())
}

fn total(plan: &Plan) -> Option<u64> {
    let sizes = plan.inputs.iter().map(|input| match &input.reader {
        Reader::File { input, .. } => Some(input.identity.len),
        Reader::Pipe(_) => None,
    });
    sizes.sum()
}

/// The file and the packet format of each rendition.
fn files(plan: &Plan) -> Result<Vec<(InputFile, Stride)>, PackageError> {
    let of = |rendition: &super::plan::PlannedRendition| {
        let input = plan.inputs.get(rendition.input)?;
        match &input.reader {
            Reader::File { input: file, .. } => Some((file.clone(), input.stride)),
            Reader::Pipe(_) => None,
        }
    };
    let files: Option<Vec<_>> = plan.renditions.iter().map(of).collect();
    files.ok_or_else(|| PackageError::Internal("a file was expected".to_owned()))
}

/// Refuses damage as soon as it is found, where it is to be refused.
pub(super) fn check_faults(
    conductor: &Conductor,
    number: usize,
    name: &str,
    policy: FaultPolicy,
) -> Result<(), PackageError> {
    if policy == FaultPolicy::Report {
        return Ok(());
    }
    match conductor.faults(number).and_then(Faults::first_damage) {
        Some((kind, place)) => Err(PackageError::Strict { input: name.to_owned(), what: describe(kind, place) }),
        None => Ok(()),
    }
}

/// A fault and its place, for a person.
#[must_use]
pub fn describe(kind: FaultKind, place: Place) -> String {
    let mut text = format!("{} at byte {}", kind.name().replace('_', " "), place.offset);
    if let Some(pid) = place.pid {
        text.push_str(&format!(", PID {pid}"));
    }
    if let Some(time) = place.time {
        text.push_str(&format!(", time {time}"));
    }
    if place.bytes > 0 {
        text.push_str(&format!(", {} bytes", place.bytes));
    }
    text
}

fn finish(
    plan: &Plan,
    conductor: &mut Conductor,
    sink: &Sink<'_>,
    stored: Vec<Stored>,
    key_uri: impl Fn(&str) -> Result<Option<KeyUri>, PackageError>,
) -> Result<Built, PackageError> {
    let sources: Vec<String> = plan.inputs.iter().map(|input| input.name.clone()).collect();
    let mut renditions = gather(conductor, &sources, stored)?;
    for (rendition, folder) in renditions.iter_mut().zip(&sink.folders) {
        rendition.playlist = format!("{folder}/index.m3u8");
    }
    let Playlists { master, media, target_duration } = playlists(&mut renditions, key_uri)?;
    let mut files = Vec::new();
    for rendition in &renditions {
        for (stored, _) in &rendition.segments {
            files.push(FileRecord { path: stored.path.clone(), bytes: stored.bytes, digest: stored.digest.clone() });
        }
    }
    // In the order in which they would become visible: what a playlist names is there before it (spec S3-012).
    for (path, text) in media.iter().map(|(path, text)| (path.as_str(), text)).chain([(MASTER_FILE, &master)]) {
        sink.site.playlist(path, text.as_bytes())?;
        let mut sum = Digest::new(sink.digest);
        sum.update(text.as_bytes());
        files.push(FileRecord { path: path.to_owned(), bytes: text.len() as u64, digest: sum.finish() });
    }
    let faults = sources
        .iter()
        .enumerate()
        .map(|(number, name)| (name.clone(), conductor.faults(number).cloned().unwrap_or_default()));
    Ok(Built {
        target_duration,
        bytes_in: (0..plan.inputs.len()).map(|number| conductor.position(number)).sum(),
        bytes_out: files.iter().map(|file| file.bytes).sum(),
        faults: faults.collect(),
        renditions,
        files,
    })
}
