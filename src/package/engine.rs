//! Makes the segments of files: worker threads, each with as many segments in hand as the AES backend encrypts side
//! by side (lanes). The order in which they finish changes nothing of what they hold.

use std::sync::Mutex;
use std::sync::PoisonError;
use std::thread;

use crate::crypto::cbc::BLOCK;
use crate::crypto::lanes::{LaneCipher, tile_stride};
use crate::segment::{Assembler, Segment, Taken};
use crate::storage::Permit;
use crate::ts::{PACKET_LEN, Stride};

use super::error::PackageError;
use super::input::InputFile;
use super::queue::{ClosesOnPanic, Queue, Wait};
use super::sink::{Output, Protection, Sink, Stored};

/// Segments that a worker has in hand: as many blocks as every AES unit works on at once. More would fill the widest
/// of them a little better, and the caches worse.
const LANES: usize = 8;
/// Bytes that a lane encrypts and writes at once: few enough for the caches, and whole pages of a file.
const LANE_BYTES: usize = 128 * 1024;
/// Bytes that a lane may hold beyond them: the rest of its last packet, what was read in place of packets that turned
/// out to be dropped, and the padding.
const SLACK: usize = 64 * PACKET_LEN + BLOCK;
/// Bytes that are read at once where packets must be picked out of what is read.
const SCRATCH_BYTES: usize = 256 * 1024;

/// A segment to be made.
#[derive(Debug)]
pub struct Work {
    /// The number of its rendition.
    pub rendition: usize,
    /// What it holds.
    pub segment: Segment,
    /// Where from.
    pub file: InputFile,
    /// The packets' format there.
    pub stride: Stride,
    /// The memory that it may take, where that is bounded.
    pub permit: Option<Permit>,
}

/// Runs `produce` in this thread, which puts work into the queue, and `threads` workers that do it.
///
/// # Errors
/// The first error of the producer or a worker; the others stop.
pub fn run(
    threads: usize,
    sink: &Sink<'_>,
    produce: impl FnOnce(&Queue<Work>) -> Result<(), PackageError>,
) -> Result<Vec<Stored>, PackageError> {
    let queue = Queue::new(LANES * threads);
    let stored = Mutex::new(Vec::new());
    let failed: Mutex<Option<PackageError>> = Mutex::new(None);
    let fail = |error: PackageError| {
        failed.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
        queue.close();
    };
    thread::scope(|scope| {
        // Nor must the workers wait for a producer that is dead: the scope waits for them.
        let _guard = ClosesOnPanic(&queue);
        let workers: Vec<_> = (0..threads)
            .map(|_| {
                scope.spawn(|| {
                    let _guard = ClosesOnPanic(&queue);
                    match Worker::new(threads, sink).run(&queue) {
                        Ok(own) => stored.lock().unwrap_or_else(PoisonError::into_inner).extend(own),
                        Err(error) => fail(error),
                    }
                })
            })
            .collect();
        if let Err(error) = produce(&queue) {
            fail(error);
        }
        queue.close();
        for worker in workers {
            if worker.join().is_err() {
                fail(PackageError::Internal("a worker thread panicked".to_owned()));
            }
        }
    });
    match failed.into_inner().unwrap_or_else(PoisonError::into_inner) {
        Some(error) => Err(error),
        None => Ok(stored.into_inner().unwrap_or_else(PoisonError::into_inner)),
    }
}

struct Worker<'a> {
    sink: &'a Sink<'a>,
    threads: usize,
    cipher: Option<LaneCipher>,
    lanes: Vec<Lane>,
    /// Last cipher block of each lane.
    chains: Vec<[u8; BLOCK]>,
    tile: Vec<u8>,
    stride: usize,
    scratch: Vec<u8>,
    stored: Vec<Stored>,
}

/// A segment in hand.
struct Lane {
    rendition: usize,
    assembler: Assembler,
    input: InputFile,
    stride: Stride,
    /// Byte offset of the next packet to read, and of the end.
    next: u64,
    end: u64,
    output: Output,
    iv: Option<crate::crypto::iv::Iv>,
    /// Bytes that lie in the tile, and how many have been put there in all.
    filled: usize,
    clear: u64,
    /// Whether the tile holds the last of it, padding included.
    last: bool,
    /// Packets read and packets kept, to tell how much reading fills a lane.
    read: u64,
    kept: u64,
}

impl<'a> Worker<'a> {
    fn new(threads: usize, sink: &'a Sink<'a>) -> Self {
        let cipher = match sink.protection {
            Protection::None => None,
            Protection::Aes128 { key, .. } => Some(LaneCipher::new(key)),
        };
        Self {
            sink,
            threads,
            cipher,
            lanes: Vec::new(),
            chains: Vec::new(),
            tile: Vec::new(),
            stride: tile_stride(LANE_BYTES + SLACK),
            scratch: Vec::new(),
            stored: Vec::new(),
        }
    }

    fn run(mut self, queue: &Queue<Work>) -> Result<Vec<Stored>, PackageError> {
        loop {
            let wait = if self.lanes.is_empty() { Wait::ForItems } else { Wait::Never };
            for work in queue.take(LANES - self.lanes.len(), self.threads, wait) {
                self.begin(work)?;
            }
            if self.lanes.is_empty() {
                return Ok(self.stored);
            }
            self.sink.check()?;
            self.round()?;
        }
    }

    fn begin(&mut self, work: Work) -> Result<(), PackageError> {
        let index = work.segment.index;
        let output = self.sink.create(work.rendition, index, work.permit)?;
        let iv = self.sink.iv(work.rendition, index)?;
        let range = work.segment.range();
        let assembler = Assembler::new(work.segment);
        let at = self.lanes.len() * self.stride;
        if self.tile.len() < at + self.stride {
            self.tile.resize(at + self.stride, 0);
        }
        let preamble = assembler.preamble();
        let slot = self.tile.get_mut(at..at + preamble.len());
        slot.ok_or_else(|| PackageError::Internal("a preamble does not fit a lane".to_owned()))?
            .copy_from_slice(&preamble);
        self.chains.push(iv.map_or([0; BLOCK], |iv| iv.bytes()));
        self.lanes.push(Lane {
            rendition: work.rendition,
            assembler,
            end: range.end.min(work.file.identity.len),
            input: work.file,
            stride: work.stride,
            next: range.start,
            output,
            iv,
            filled: preamble.len(),
            clear: preamble.len() as u64,
            last: false,
            read: 0,
            kept: 0,
        });
        Ok(())
    }

    /// Fills every lane, encrypts what all of them have, and writes it.
    fn round(&mut self) -> Result<(), PackageError> {
        let padding = self.cipher.is_some();
        for (lane, slot) in self.lanes.iter_mut().zip(self.tile.chunks_mut(self.stride)) {
            lane.fill(slot, &mut self.scratch, padding)?;
        }
        // A lane that goes on is full. One that ends encrypts along with the others beyond its end, which is not used.
        let blocks = self.lanes.iter().map(|lane| lane.filled.min(LANE_BYTES).div_ceil(BLOCK)).max().unwrap_or(0);
        if let Some(cipher) = &self.cipher {
            cipher.encrypt(&mut self.chains, &mut self.tile, self.stride, blocks);
        }
        let done = blocks * BLOCK;
        for (lane, slot) in self.lanes.iter_mut().zip(self.tile.chunks_mut(self.stride)) {
            let count = done.min(lane.filled);
            if let Some(bytes) = slot.get(..count) {
                self.sink.write(&mut lane.output, bytes)?;
            }
            slot.copy_within(count..lane.filled, 0);
            lane.filled -= count;
        }
        let mut number = 0;
        while number < self.lanes.len() {
            if self.lanes.get(number).is_some_and(|lane| lane.last && lane.filled == 0) {
                self.end(number);
            } else {
                number += 1;
            }
        }
        Ok(())
    }

    /// Takes a finished lane out; the last one takes its place in the tile.
    fn end(&mut self, number: usize) {
        let last = self.lanes.len() - 1;
        let filled = self.lanes.get(last).map_or(0, |lane| lane.filled);
        if number != last {
            self.tile.copy_within(last * self.stride..last * self.stride + filled, number * self.stride);
        }
        self.chains.swap_remove(number);
        let lane = self.lanes.swap_remove(number);
        let segment = lane.assembler.into_segment();
        self.stored.push(self.sink.finish(lane.output, lane.rendition, segment, lane.clear, lane.iv));
    }
}

impl Lane {
    /// Fills the lane's part of the tile with whole packets, to [`LANE_BYTES`] at least, and with the padding after the
    /// last.
    fn fill(&mut self, slot: &mut [u8], scratch: &mut Vec<u8>, padding: bool) -> Result<(), PackageError> {
        while !self.last && self.filled < LANE_BYTES {
            self.next = self.assembler.skip_lost(self.next);
            let end = self.assembler.next_lost().map_or(self.end, |lost| lost.min(self.end));
            if end < self.next + PACKET_LEN as u64 {
                if end < self.end {
                    self.next = end;
                    continue;
                }
                self.pad(slot, padding);
                break;
            }
            let dense = self.stride == Stride::Ts188 && self.kept * 4 >= self.read * 3;
            if dense { self.fill_in_place(slot, end)? } else { self.fill_picking(slot, scratch, end)? }
        }
        Ok(())
    }

    /// Reads straight into the tile, then closes the gaps of what is not kept.
    fn fill_in_place(&mut self, slot: &mut [u8], end: u64) -> Result<(), PackageError> {
        let missing = (LANE_BYTES - self.filled).div_ceil(PACKET_LEN);
        // What is dropped leaves room: as much as before is expected, so that one read does.
        let dropped = (missing as u64 * (self.read - self.kept) / (self.kept + 1)) as usize;
        let room = (LANE_BYTES + SLACK - BLOCK - self.filled) / PACKET_LEN;
        let left = ((end - self.next) / PACKET_LEN as u64) as usize;
        let count = (missing + dropped).min(room).min(left);
        let Some(bytes) = slot.get_mut(self.filled..self.filled + count * PACKET_LEN) else {
            return Err(PackageError::Internal("a lane overflowed".to_owned()));
        };
        read(&self.input, bytes, self.next)?;
        let (packets, _) = bytes.as_chunks_mut::<PACKET_LEN>();
        // Kept packets in a row are moved together.
        let (mut kept, mut run) = (0, 0);
        for number in 0..packets.len() {
            let taken = match packets.get_mut(number) {
                Some(packet) => self.assembler.take(self.next, packet),
                None => Taken::Dropped,
            };
            self.next += PACKET_LEN as u64;
            if taken == Taken::Dropped {
                packets.copy_within(run..number, kept);
                kept += number - run;
                run = number + 1;
            }
        }
        packets.copy_within(run.., kept);
        kept += packets.len() - run;
        self.count(packets.len(), kept);
        Ok(())
    }

    /// Reads elsewhere and copies what is kept.
    fn fill_picking(&mut self, slot: &mut [u8], scratch: &mut Vec<u8>, end: u64) -> Result<(), PackageError> {
        let step = self.stride.len() as u64;
        let room = (LANE_BYTES - self.filled).div_ceil(PACKET_LEN);
        // As much as will fill the room, by what was kept so far.
        let expected = (room as u64 * (self.read + 1) / (self.kept + 1)).max(1);
        let most = (SCRATCH_BYTES as u64 / step).min((end - self.next).div_ceil(step));
        let count = expected.min(most) as usize;
        // The last packet may end at the input's end, without the bytes that follow others.
        let want = (count as u64 * step).min(self.input.identity.len - self.next) as usize;
        scratch.resize(want, 0);
        read(&self.input, scratch, self.next)?;
        let (mut seen, mut kept) = (0, 0);
        for chunk in scratch.chunks_mut(self.stride.len()) {
            if kept == room || self.next >= end {
                break;
            }
            if let Some(packet) = chunk.first_chunk_mut::<PACKET_LEN>()
                && self.assembler.take(self.next, packet) == Taken::Kept
            {
                let at = self.filled + kept * PACKET_LEN;
                if let Some(place) = slot.get_mut(at..at + PACKET_LEN) {
                    place.copy_from_slice(packet);
                }
                kept += 1;
            }
            seen += 1;
            self.next += step;
        }
        self.count(seen, kept);
        Ok(())
    }

    fn count(&mut self, read: usize, kept: usize) {
        self.filled += kept * PACKET_LEN;
        self.clear += (kept * PACKET_LEN) as u64;
        self.read += read as u64;
        self.kept += kept as u64;
    }

    fn pad(&mut self, slot: &mut [u8], padding: bool) {
        if padding {
            let fill = BLOCK - self.filled % BLOCK;
            if let Some(bytes) = slot.get_mut(self.filled..self.filled + fill) {
                bytes.fill(fill as u8);
            }
            self.filled += fill;
        }
        self.last = true;
    }
}

fn read(input: &InputFile, bytes: &mut [u8], offset: u64) -> Result<(), PackageError> {
    input.read_at(bytes, offset)
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::sync::atomic::AtomicBool;

    use super::*;
    use crate::crypto::digest::DigestKind;
    use crate::package::progress::Silent;
    use crate::package::site::{Destination, Site};
    use crate::storage::{Durability, Replace};

    /// The scan reads hostile input in the producer's thread: a bug there must end the run, not hang it.
    #[test]
    fn a_producer_that_panics_sets_its_workers_free() {
        let dir = tempfile::tempdir().unwrap();
        let dest = Destination::Folder(dir.path().join("out"));
        let site = Site::open(&dest, Replace::Refuse, Durability::Process).unwrap();
        let sink = Sink {
            site: &site,
            names: Vec::new(),
            folders: Vec::new(),
            budget: None,
            protection: Protection::None,
            digest: DigestKind::default(),
            cancel: &AtomicBool::new(false),
            progress: &Silent,
        };
        let ended = catch_unwind(AssertUnwindSafe(|| run(2, &sink, |_| panic!("as a bug would"))));
        assert!(ended.is_err());
    }
}
