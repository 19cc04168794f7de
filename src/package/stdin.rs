//! Standard input as a window that moves on: it cannot be read twice, so what may still be needed of it is kept.

use std::io::{self, Read};
use std::ops::Range;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use crate::ladder::LadderError;
use crate::limits;
use crate::ts::EndOfInput;

use super::error::PackageError;

/// Bytes that are read at once.
const CHUNK: usize = 256 * 1024;
/// What a pipe is asked to hold instead of its 64 KiB: as much as everyone may have (pipe(7)). Whoever writes into a full
/// pipe and whoever reads from an empty one has to be put to sleep and woken, which takes longer than the copying.
const PIPE_BYTES: usize = 1024 * 1024;
/// How long standard input is waited for until it is looked whether the run is to stop.
const PATIENCE: Timespec = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };

/// Standard input, with what may still be needed of it.
#[derive(Debug)]
pub struct Pipe {
    /// The offset of the first byte held.
    base: u64,
    buffer: Vec<u8>,
    /// Where in the buffer the bytes held lie.
    held: Range<usize>,
    limit: usize,
    ended: bool,
    cancel: Arc<AtomicBool>,
}

impl Pipe {
    /// Nothing read yet. `cancel` is set when the run is to stop, which whoever waits for input has to see too.
    #[must_use]
    pub fn new(cancel: Arc<AtomicBool>) -> Self {
        widen(io::stdin());
        Self { base: 0, buffer: Vec::new(), held: 0..0, limit: limits::PIPE_WINDOW, ended: false, cancel }
    }

    /// The bytes held from `offset` on.
    #[must_use]
    pub fn from(&self, offset: u64) -> &[u8] {
        let held = self.buffer.get(self.held.clone()).unwrap_or_default();
        let start = offset.saturating_sub(self.base).min(held.len() as u64) as usize;
        held.get(start..).unwrap_or_default()
    }

    /// The offset of the first byte held.
    #[must_use]
    pub fn base(&self) -> u64 {
        self.base
    }

    /// Whether all has been read.
    #[must_use]
    pub fn end(&self) -> EndOfInput {
        if self.ended { EndOfInput::Reached } else { EndOfInput::NotYet }
    }

    /// Reads until `at_least` bytes from `from` on are held, or the end. Whoever writes may be silent for long: `stop`
    /// tells when nobody waits any more.
    ///
    /// # Errors
    /// When reading fails, more than [`limits::PIPE_WINDOW`] would have to be held, or the run is to stop.
    pub fn fill(&mut self, from: u64, at_least: usize, stop: impl Fn() -> bool) -> Result<(), PackageError> {
        let mut stdin = io::stdin().lock();
        while !self.ended && self.from(from).len() < at_least {
            let stopped = || self.cancel.load(Ordering::Relaxed) || stop();
            wait(&stdin, stopped).map_err(unreadable)?;
            if stopped() {
                return Err(PackageError::Interrupted);
            }
            self.read(&mut stdin)?;
        }
        Ok(())
    }

    /// Forgets what lies before `offset`.
    pub fn release(&mut self, offset: u64) {
        let gone = offset.saturating_sub(self.base).min(self.held.len() as u64) as usize;
        self.held.start += gone;
        self.base += gone as u64;
    }

    /// Reads once, at most a chunk, behind what is held.
    fn read(&mut self, source: &mut impl Read) -> Result<(), PackageError> {
        if self.held.len() >= self.limit {
            let what = "the programs or streams are interleaved too far apart to be cut in one pass".to_owned();
            let source = LadderError::Limit { what, limit: self.limit as u64 };
            return Err(PackageError::Input { input: name(), source });
        }
        self.make_room();
        // Not all the room that there may be: a redirected file would fill it, beyond the limit.
        let free = self.buffer.get_mut(self.held.end..self.held.end + CHUNK).unwrap_or_default();
        let got = loop {
            match source.read(free) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => break other.map_err(unreadable)?,
            }
        };
        self.held.end += got;
        self.ended = got == 0;
        Ok(())
    }

    /// Makes room for a chunk behind what is held: at the buffer's front where at least half as much has gone as would
    /// have to be moved, so that a byte is moved twice at most on the whole; else at its end.
    fn make_room(&mut self) {
        if self.buffer.len() - self.held.end >= CHUNK {
            return;
        }
        if self.held.start >= CHUNK.max(self.held.len() / 2) {
            self.buffer.copy_within(self.held.clone(), 0);
            self.held = 0..self.held.len();
        } else {
            self.buffer.resize(self.held.end + CHUNK.max(self.held.len() / 2), 0);
        }
    }
}

/// Waits until there is something to read, or it is to stop.
fn wait(stdin: &io::StdinLock<'_>, stopped: impl Fn() -> bool) -> io::Result<()> {
    while !stopped() {
        let mut polled = [PollFd::new(stdin, PollFlags::IN)];
        match poll(&mut polled, Some(&PATIENCE)) {
            Ok(0) | Err(Errno::INTR) => {}
            Ok(_) => break,
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

fn name() -> String {
    "standard input".to_owned()
}

fn unreadable(source: io::Error) -> PackageError {
    PackageError::Read { input: name(), source }
}

/// Asks for a larger pipe. Where `input` is none, or nobody may have more, it stays as it is.
fn widen(input: impl AsFd) {
    #[cfg(target_os = "linux")]
    if rustix::pipe::fcntl_getpipe_size(&input).is_ok_and(|bytes| bytes < PIPE_BYTES) {
        let _ = rustix::pipe::fcntl_setpipe_size(&input, PIPE_BYTES);
    }
    #[cfg(not(target_os = "linux"))]
    let _ = input;
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pipe(limit: usize) -> Pipe {
        Pipe { base: 0, buffer: Vec::new(), held: 0..0, limit, ended: false, cancel: Arc::default() }
    }

    fn read(pipe: &mut Pipe, source: &mut impl Read) {
        pipe.read(source).expect("a source that does not fail, within the limit");
    }

    /// Gives as many bytes at once as each of `pieces` allows.
    struct Source<'a> {
        bytes: &'a [u8],
        pieces: std::vec::IntoIter<usize>,
    }

    impl Read for Source<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let count = self.pieces.next().unwrap_or(0).min(buffer.len());
            self.bytes.read(&mut buffer[..count])
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// Whatever comes at once, and however much is kept: what is held is the input's, and the buffer follows it.
        #[test]
        fn the_window_is_the_inputs(steps in prop::collection::vec((1..=CHUNK, 0..3 * CHUNK), 1..40)) {
            let mut input = vec![0; 40 * CHUNK];
            blake3::Hasher::new().finalize_xof().fill(&mut input);
            let pieces: Vec<usize> = steps.iter().map(|step| step.0).collect();
            let mut source = Source { bytes: &input, pieces: pieces.into_iter() };
            let mut pipe = pipe(usize::MAX);
            let (mut base, mut at, mut most) = (0, 0, 0);
            for (piece, kept) in steps {
                read(&mut pipe, &mut source);
                at += piece;
                prop_assert!(pipe.base() == base as u64 && pipe.from(0) == &input[base..at]);
                prop_assert!(pipe.from(at as u64 - 1) == &input[at - 1..at]);
                most = most.max(at - base);
                base = base.max(at.saturating_sub(kept));
                pipe.release(base as u64);
                pipe.release(0); // what is gone stays gone
                prop_assert!(pipe.base() == base as u64 && pipe.from(0) == &input[base..at]);
            }
            prop_assert!(pipe.buffer.len() <= most * 2 + 2 * CHUNK, "{} bytes for {most}", pipe.buffer.len());
        }
    }

    /// A source that always has more than is asked for, as a redirected file.
    #[test]
    fn too_much_is_not_held() {
        let mut pipe = pipe(8 * CHUNK);
        for chunks in 1..=8 {
            read(&mut pipe, &mut io::repeat(0x47));
            assert_eq!(pipe.from(0).len(), chunks * CHUNK);
        }
        let error = pipe.read(&mut io::repeat(0x47)).expect_err("it holds all that it may").to_string();
        assert_eq!(
            error,
            "standard input: the programs or streams are interleaved too far apart to be cut in one pass (limit 2097152)"
        );
        pipe.release(1);
        read(&mut pipe, &mut io::repeat(0x47));
        assert_eq!(pipe.end(), EndOfInput::NotYet);
    }

    #[test]
    fn nothing_more_is_the_end() {
        let mut pipe = pipe(CHUNK);
        read(&mut pipe, &mut io::empty());
        assert_eq!((pipe.end(), pipe.from(0)), (EndOfInput::Reached, [].as_slice()));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_pipe_is_widened_and_a_file_is_left_alone() {
        let (reader, _writer) = io::pipe().expect("a pipe");
        widen(&reader);
        let most = std::fs::read_to_string("/proc/sys/fs/pipe-max-size").expect("Linux tells it");
        let most: usize = most.trim().parse().expect("a number of bytes");
        assert_eq!(rustix::pipe::fcntl_getpipe_size(&reader), Ok(PIPE_BYTES.min(most)));
        widen(std::fs::File::open("/dev/null").expect("it is there"));
    }
}
