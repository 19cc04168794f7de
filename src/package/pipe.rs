//! Makes the segments of standard input, in one pass: each rendition has one open segment, whose packets are picked as
//! soon as it is settled which it holds, and encrypted and written by another thread. What may still be needed of the
//! input is kept, and no more.

use std::collections::BTreeMap;
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::thread;

use crate::crypto::cbc::{BLOCK, CbcStream};
use crate::crypto::iv::Iv;
use crate::segment::{Assembler, Segment, Taken};
use crate::ts::{EndOfInput, PACKET_LEN, Stride};

use super::build::{FaultPolicy, check_faults};
use super::conductor::Conductor;
use super::error::PackageError;
use super::input::Reader;
use super::plan::PlannedInput;
use super::sink::{Output, Protection, Sink, Stored};

/// Clear bytes of a rendition that are gathered before they are handed on.
const BATCH: usize = 64 * 1024;
/// Pieces that may wait for the thread that encrypts and writes: enough to keep it busy, and little memory.
const WAITING: usize = 16;

/// Packages standard input as it comes: this thread reads, scans and picks packets, another encrypts and writes.
///
/// # Errors
/// When the input is refused, cannot be read, or storage fails.
pub fn run(
    conductor: &mut Conductor,
    input: &mut PlannedInput,
    faults: FaultPolicy,
    sink: &Sink<'_>,
) -> Result<Vec<Stored>, PackageError> {
    thread::scope(|scope| {
        let (pieces, taken) = mpsc::sync_channel(WAITING);
        let maker = scope.spawn(move || Maker::new(sink).run(taken));
        // The maker ends before its pieces do only when it fails.
        let picked = pick(conductor, input, faults, sink, pieces, || maker.is_finished());
        let made = maker.join().map_err(|_| PackageError::Internal("the writing thread panicked".to_owned()))?;
        // When the maker fails, nobody takes what is picked: its error is the one to report.
        let stored = made?;
        picked.map(|()| stored)
    })
}

/// Hands the pieces of all segments on, to the end of the input.
fn pick(
    conductor: &mut Conductor,
    input: &mut PlannedInput,
    faults: FaultPolicy,
    sink: &Sink<'_>,
    pieces: SyncSender<Piece>,
    stop: impl Fn() -> bool,
) -> Result<(), PackageError> {
    let PlannedInput { name, reader: Reader::Pipe(pipe), stride, .. } = input else {
        return Err(PackageError::Internal("standard input is not a pipe".to_owned()));
    };
    let count = conductor.renditions().len();
    let mut pickers: Vec<Picker> = (0..count).map(|rendition| Picker::new(rendition, pieces.clone())).collect();
    let mut at_least = 1;
    loop {
        sink.check()?;
        let position = conductor.position(0);
        pipe.fill(position, at_least, &stop)?;
        let end = pipe.end();
        let consumed = conductor.push(0, name, pipe.from(position), end)?;
        sink.progress.scanned(consumed as u64);
        check_faults(conductor, 0, name, faults)?;
        at_least = if consumed == 0 { pipe.from(position).len() + 1 } else { 1 };
        let mut needed = u64::MAX;
        let mut complete: Vec<Vec<Segment>> = vec![Vec::new(); count];
        for (rendition, segment) in conductor.take_complete() {
            if let Some(list) = complete.get_mut(rendition) {
                list.push(segment);
            }
        }
        for (picker, complete) in pickers.iter_mut().zip(complete) {
            for segment in complete {
                let to = segment.range().end;
                picker.go_on(segment, to, pipe.from(0), pipe.base(), *stride)?;
                picker.finish()?;
            }
            let settled = conductor.settled(picker.rendition);
            let Some(rendition) = conductor.renditions().get_mut(picker.rendition) else {
                continue;
            };
            let cutter = rendition.cutter();
            if let Some(open) = cutter.open_segment(picker.resumes_at()) {
                picker.go_on(open, settled, pipe.from(0), pipe.base(), *stride)?;
                needed = needed.min(picker.next);
            } else {
                needed = needed.min(cutter.needed().unwrap_or(settled));
            }
            needed = needed.min(settled).min(cutter.needed_behind_open().unwrap_or(u64::MAX));
        }
        pipe.release(needed.min(conductor.position(0)));
        if end == EndOfInput::Reached {
            return Ok(());
        }
    }
}

/// What the maker is given of a rendition's segments, in their order.
struct Piece {
    rendition: usize,
    what: What,
}

enum What {
    /// The segment of this index begins.
    Begin(u64),
    /// Whole blocks of it, before encryption.
    Blocks(Vec<u8>),
    /// The last bytes of it, and all that is known of it.
    Last(Segment, Vec<u8>),
}

/// Picks the packets of one rendition's open segment.
struct Picker {
    rendition: usize,
    pieces: SyncSender<Piece>,
    open: Option<Open>,
    next: u64,
}

struct Open {
    assembler: Assembler,
    batch: Vec<u8>,
}

impl Open {
    /// Takes all whole blocks out.
    fn whole_blocks(&mut self) -> Vec<u8> {
        let (blocks, rest) = self.batch.as_chunks::<BLOCK>();
        let mut next = Vec::with_capacity(BATCH + PACKET_LEN);
        next.extend_from_slice(rest);
        let whole = blocks.len() * BLOCK;
        let mut taken = std::mem::replace(&mut self.batch, next);
        taken.truncate(whole);
        taken
    }
}

impl Picker {
    fn new(rendition: usize, pieces: SyncSender<Piece>) -> Self {
        Self { rendition, pieces, open: None, next: 0 }
    }

    /// Where the open segment will be gone on with; what lies before it is done.
    fn resumes_at(&self) -> u64 {
        if self.open.is_some() { self.next } else { 0 }
    }

    /// Goes on with a segment, as it is now described, up to the offset `to`.
    fn go_on(&mut self, segment: Segment, to: u64, held: &[u8], base: u64, stride: Stride) -> Result<(), PackageError> {
        let open = match &mut self.open {
            Some(open) => {
                open.assembler.update(segment);
                open
            }
            None => {
                self.next = segment.range().start;
                hand_on(&self.pieces, self.rendition, What::Begin(segment.index))?;
                let assembler = Assembler::new(segment);
                let mut batch = Vec::with_capacity(BATCH + PACKET_LEN);
                batch.extend_from_slice(&assembler.preamble());
                self.open.insert(Open { assembler, batch })
            }
        };
        loop {
            self.next = open.assembler.skip_lost(self.next);
            if self.next >= to {
                break;
            }
            let Some(start) = self.next.checked_sub(base) else {
                return Err(PackageError::Internal("bytes of the input were forgotten too early".to_owned()));
            };
            // The next packet of 192 bytes may be due behind what has come.
            let bytes = usize::try_from(start).ok().and_then(|start| held.get(start..)).unwrap_or_default();
            let Some(mut packet) = bytes.first_chunk::<PACKET_LEN>().copied() else {
                break; // the truncated tail
            };
            if open.assembler.take(self.next, &mut packet) == Taken::Kept {
                open.batch.extend_from_slice(&packet);
                if open.batch.len() >= BATCH {
                    hand_on(&self.pieces, self.rendition, What::Blocks(open.whole_blocks()))?;
                }
            }
            self.next += stride.len() as u64;
        }
        Ok(())
    }

    fn finish(&mut self) -> Result<(), PackageError> {
        let Some(Open { assembler, batch }) = self.open.take() else {
            return Ok(());
        };
        hand_on(&self.pieces, self.rendition, What::Last(assembler.into_segment(), batch))
    }
}

/// Fails when the maker has failed; whoever asks it learns why.
fn hand_on(pieces: &SyncSender<Piece>, rendition: usize, what: What) -> Result<(), PackageError> {
    pieces.send(Piece { rendition, what }).map_err(|_| PackageError::Interrupted)
}

/// Encrypts and writes the pieces.
struct Maker<'a> {
    sink: &'a Sink<'a>,
    /// The segment of each rendition that is being written.
    begun: BTreeMap<usize, Begun>,
    stored: Vec<Stored>,
}

struct Begun {
    output: Output,
    stream: Option<CbcStream>,
    iv: Option<Iv>,
    clear: u64,
}

impl<'a> Maker<'a> {
    fn new(sink: &'a Sink<'a>) -> Self {
        Self { sink, begun: BTreeMap::new(), stored: Vec::new() }
    }

    fn run(mut self, pieces: Receiver<Piece>) -> Result<Vec<Stored>, PackageError> {
        for Piece { rendition, what } in pieces {
            match what {
                What::Begin(index) => self.begin(rendition, index)?,
                What::Blocks(bytes) => self.go_on(rendition, bytes)?,
                What::Last(segment, bytes) => self.finish(rendition, segment, bytes)?,
            }
        }
        Ok(self.stored)
    }

    fn begin(&mut self, rendition: usize, index: u64) -> Result<(), PackageError> {
        let iv = self.sink.iv(rendition, index)?;
        let stream = match (self.sink.protection, iv) {
            (Protection::Aes128 { key, .. }, Some(iv)) => Some(CbcStream::new(key, iv)),
            _ => None,
        };
        let output = self.sink.create(rendition, index, None)?;
        self.begun.insert(rendition, Begun { output, stream, iv, clear: 0 });
        Ok(())
    }

    fn go_on(&mut self, rendition: usize, mut bytes: Vec<u8>) -> Result<(), PackageError> {
        let begun = self.begun.get_mut(&rendition).ok_or_else(not_begun)?;
        begun.clear += bytes.len() as u64;
        if let Some(stream) = &mut begun.stream {
            stream.encrypt_blocks(&mut bytes).map_err(|error| PackageError::Internal(error.to_string()))?;
        }
        self.sink.write(&mut begun.output, &bytes)
    }

    fn finish(&mut self, rendition: usize, segment: Segment, mut bytes: Vec<u8>) -> Result<(), PackageError> {
        let Begun { mut output, stream, iv, clear } = self.begun.remove(&rendition).ok_or_else(not_begun)?;
        let clear = clear + bytes.len() as u64;
        if let Some(stream) = stream {
            stream.finish(&mut bytes);
        }
        self.sink.write(&mut output, &bytes)?;
        // An open segment takes nothing of the budget: all renditions have one, and could wait for each other. What is on
        // its way does.
        let permit = self.sink.reserve(output.bytes(), || false)?;
        output.hold(permit);
        self.stored.push(self.sink.finish(output, rendition, segment, clear, iv));
        Ok(())
    }
}

fn not_begun() -> PackageError {
    PackageError::Internal("a segment goes on that has not begun".to_owned())
}
