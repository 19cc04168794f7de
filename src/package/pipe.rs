//! Makes the segments of standard input, in one pass: each rendition has one open segment, which is encrypted as soon
//! as it is settled which packets it holds. What may still be needed of the input is kept, and no more.

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

/// Clear bytes that are gathered before they are encrypted and written.
const BATCH: usize = 64 * 1024;

/// Packages standard input as it comes.
///
/// # Errors
/// When the input is refused, cannot be read, or storage fails.
pub fn run(
    conductor: &mut Conductor,
    input: &mut PlannedInput,
    faults: FaultPolicy,
    sink: &Sink<'_>,
) -> Result<Vec<Stored>, PackageError> {
    let PlannedInput { name, reader: Reader::Pipe(pipe), stride, .. } = input else {
        return Err(PackageError::Internal("standard input is not a pipe".to_owned()));
    };
    let count = conductor.renditions().len();
    let mut writers: Vec<Writer> = (0..count).map(Writer::new).collect();
    let mut stored = Vec::new();
    let mut at_least = 1;
    loop {
        sink.check()?;
        let position = conductor.position(0);
        pipe.fill(position, at_least)?;
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
        for (writer, complete) in writers.iter_mut().zip(complete) {
            for segment in complete {
                let to = segment.range().end;
                writer.go_on(segment, to, pipe.from(0), pipe.base(), *stride, sink)?;
                stored.extend(writer.finish(sink)?);
            }
            let settled = conductor.settled(writer.rendition);
            let Some(rendition) = conductor.renditions().get_mut(writer.rendition) else {
                continue;
            };
            let cutter = rendition.cutter();
            if let Some(open) = cutter.open_segment(writer.resumes_at()) {
                writer.go_on(open, settled, pipe.from(0), pipe.base(), *stride, sink)?;
                needed = needed.min(writer.next);
            } else {
                needed = needed.min(cutter.needed().unwrap_or(settled));
            }
            needed = needed.min(settled).min(cutter.needed_behind_open().unwrap_or(u64::MAX));
        }
        pipe.release(needed.min(conductor.position(0)));
        if end == EndOfInput::Reached {
            return Ok(stored);
        }
    }
}

/// One rendition's open segment.
struct Writer {
    rendition: usize,
    open: Option<Open>,
    next: u64,
}

struct Open {
    assembler: Assembler,
    output: Output,
    stream: Option<CbcStream>,
    iv: Option<Iv>,
    clear: u64,
    batch: Vec<u8>,
}

impl Writer {
    fn new(rendition: usize) -> Self {
        Self { rendition, open: None, next: 0 }
    }

    /// Where the open segment will be gone on with; what lies before it is done.
    fn resumes_at(&self) -> u64 {
        if self.open.is_some() { self.next } else { 0 }
    }

    /// Goes on with a segment, as it is now described, up to the offset `to`.
    fn go_on(
        &mut self,
        segment: Segment,
        to: u64,
        held: &[u8],
        base: u64,
        stride: Stride,
        sink: &Sink<'_>,
    ) -> Result<(), PackageError> {
        let open = match &mut self.open {
            Some(open) => {
                open.assembler.update(segment);
                open
            }
            None => {
                let index = segment.index;
                self.next = segment.range().start;
                let iv = sink.iv(self.rendition, index)?;
                let stream = match (sink.protection, iv) {
                    (Protection::Aes128 { key, .. }, Some(iv)) => Some(CbcStream::new(key, iv)),
                    _ => None,
                };
                let output = sink.create(self.rendition, index, None)?;
                let assembler = Assembler::new(segment);
                let batch = assembler.preamble();
                let clear = batch.len() as u64;
                self.open.insert(Open { assembler, output, stream, iv, clear, batch })
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
                open.clear += PACKET_LEN as u64;
                open.batch.extend_from_slice(&packet);
                if open.batch.len() >= BATCH {
                    open.flush(sink)?;
                }
            }
            self.next += stride.len() as u64;
        }
        Ok(())
    }

    fn finish(&mut self, sink: &Sink<'_>) -> Result<Option<Stored>, PackageError> {
        let Some(mut open) = self.open.take() else {
            return Ok(None);
        };
        open.flush(sink)?;
        if let Some(stream) = open.stream.take() {
            stream.finish(&mut open.batch);
        }
        sink.write(&mut open.output, &open.batch)?;
        // An open segment takes nothing of the budget: all renditions have one, and could wait for each other. What is on
        // its way does.
        let permit = sink.reserve(open.output.bytes(), || false)?;
        open.output.hold(permit);
        let segment = open.assembler.into_segment();
        Ok(Some(sink.finish(open.output, self.rendition, segment, open.clear, open.iv)))
    }
}

impl Open {
    /// Encrypts and writes what is whole blocks.
    fn flush(&mut self, sink: &Sink<'_>) -> Result<(), PackageError> {
        let whole = self.batch.len() / BLOCK * BLOCK;
        let Some(blocks) = self.batch.get_mut(..whole) else {
            return Ok(());
        };
        if let Some(stream) = &mut self.stream {
            stream.encrypt_blocks(blocks).map_err(|error| PackageError::Internal(error.to_string()))?;
        }
        sink.write(&mut self.output, blocks)?;
        self.batch.drain(..whole);
        Ok(())
    }
}
