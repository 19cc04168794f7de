//! Bytes of any length through a cipher, in constant memory: one thread reads, one encrypts, one writes.

use std::fs::{File, Metadata};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use crate::cli::error::CliError;
use crate::cli::exit::Exit;
use crate::cli::output::Output;
use crate::storage::{LargeFile, Replace};

/// Bytes that are read at once: few enough for the caches.
const PIECE: usize = 256 * 1024;
/// How long a pipe is waited for until it is looked whether the run is to stop.
const PATIENCE: Timespec = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };
/// Pieces that wait to be encrypted, and to be written.
const PIECES: usize = 3;

/// Whether a name means standard input or output.
pub fn is_standard(path: &Path) -> bool {
    path == Path::new("-")
}

/// What is read.
pub struct Input {
    name: String,
    file: File,
    /// Of a regular file: its state when it was opened. Others cannot be read twice.
    opened: Option<Metadata>,
    /// Where reading begins: others may have read from standard input before, in bytes.
    start: u64,
}

impl Input {
    /// Opens a file, or standard input for `-`.
    ///
    /// # Errors
    /// When it is not there or cannot be read.
    pub fn open(path: &Path) -> Result<Self, CliError> {
        let name = if is_standard(path) { "standard input".to_owned() } else { path.display().to_string() };
        let failed = |error: io::Error| CliError::new(Exit::Input, format!("{name}: {error}"));
        let file = if is_standard(path) {
            // Past the standard library's buffer.
            File::from(io::stdin().as_fd().try_clone_to_owned().map_err(failed)?)
        } else {
            File::open(path).map_err(failed)?
        };
        Self::of(name.clone(), file).map_err(failed)
    }

    /// A file that is open already.
    ///
    /// # Errors
    /// When the system does not tell its state.
    pub fn of(name: String, mut file: File) -> io::Result<Self> {
        let metadata = file.metadata()?;
        let start = if metadata.is_file() { file.stream_position()? } else { 0 };
        Ok(Self { name, file, opened: metadata.is_file().then_some(metadata), start })
    }

    /// Its name in messages.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How many bytes there are to read, where that is known.
    pub fn len(&self) -> Option<u64> {
        self.opened.as_ref().map(|opened| opened.len().saturating_sub(self.start))
    }

    /// Goes back to the beginning of what can be read twice.
    ///
    /// # Errors
    /// When the system cannot.
    pub fn rewind(&mut self) -> Result<(), CliError> {
        let back = self.file.seek(SeekFrom::Start(self.start)).map(drop);
        back.map_err(|error| CliError::new(Exit::Input, format!("{}: {error}", self.name)))
    }

    /// Hands out all bytes in pieces, which `take` may keep and put another buffer in the place of; their number.
    ///
    /// # Errors
    /// When it cannot be read or changed meanwhile, the run is to stop, or `take` fails.
    pub fn each(
        &mut self,
        cancel: &AtomicBool,
        mut take: impl FnMut(&mut Vec<u8>) -> Result<(), CliError>,
    ) -> Result<u64, CliError> {
        let mut piece = Vec::new();
        let mut total = 0;
        loop {
            let ready = self.is_ready();
            if cancel.load(Ordering::Relaxed) {
                return Err(CliError::new(Exit::Interrupted, "interrupted"));
            }
            if !ready.map_err(|error| CliError::new(Exit::Input, format!("{}: {error}", self.name)))? {
                continue;
            }
            piece.resize(PIECE, 0);
            match self.file.read(&mut piece) {
                Ok(0) => break,
                Ok(count) => {
                    total += count as u64;
                    piece.truncate(count);
                    take(&mut piece)?;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(CliError::new(Exit::Input, format!("{}: {error}", self.name))),
            }
        }
        self.check_unchanged(total)?;
        Ok(total)
    }

    /// Whether a read would not wait: a signal does not end one that does.
    fn is_ready(&self) -> io::Result<bool> {
        if self.opened.is_some() {
            return Ok(true);
        }
        match poll(&mut [PollFd::new(&self.file, PollFlags::IN)], Some(&PATIENCE)) {
            Ok(0) | Err(Errno::INTR) => Ok(false),
            Ok(_) => Ok(true),
            Err(error) => Err(error.into()),
        }
    }

    fn check_unchanged(&self, read: u64) -> Result<(), CliError> {
        let Some(opened) = &self.opened else { return Ok(()) };
        let now = self.file.metadata().ok();
        let same = now.is_some_and(|now| {
            now.len() == opened.len() && now.modified().ok() == opened.modified().ok() && Some(read) == self.len()
        });
        if same { Ok(()) } else { Err(CliError::new(Exit::Input, format!("{} changed while it was read", self.name))) }
    }
}

/// What is written.
pub enum Target {
    /// A file, which appears when it is complete.
    File(LargeFile),
    /// Standard output.
    Stdout(Output),
}

impl Target {
    /// Begins a file, or takes standard output for `-`.
    ///
    /// # Errors
    /// When the file is there and may not be replaced, or cannot be made; when the bytes would go to a terminal.
    pub fn create(path: &Path, replace: Replace, output: Output) -> Result<Self, CliError> {
        if !is_standard(path) {
            return LargeFile::create(path, replace).map(Self::File).map_err(|error| match error {
                exists @ crate::storage::StorageError::Exists { .. } => {
                    CliError::from(exists).hint("--force replaces the file when the new one is complete")
                }
                error => error.into(),
            });
        }
        if io::IsTerminal::is_terminal(&io::stdout()) {
            return Err(CliError::usage("a file's bytes are not written to a terminal").hint("name a file, or > FILE"));
        }
        Ok(Self::Stdout(output))
    }

    fn write(&self, bytes: &[u8]) -> Result<(), CliError> {
        match self {
            Self::File(file) => Ok(file.file().write_all(bytes).map_err(|error| file.failed(error))?),
            Self::Stdout(output) => {
                output.raw(bytes);
                Ok(())
            }
        }
    }
}

/// What the cipher gets.
pub enum Piece<'a> {
    /// The next bytes.
    Bytes(&'a [u8]),
    /// There are no more.
    End,
}

/// Bytes read and bytes written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Poured {
    pub read: u64,
    pub written: u64,
}

/// Takes all bytes of `input` through `cipher`, which puts what comes of them behind a buffer, to `target`.
///
/// # Errors
/// When reading, the cipher or writing fails, or the run is to stop.
pub fn pour(
    input: &mut Input,
    target: &Target,
    cancel: &AtomicBool,
    mut cipher: impl FnMut(Piece<'_>, &mut Vec<u8>) -> Result<(), CliError>,
) -> Result<Poured, CliError> {
    let (filled, to_encrypt) = sync_channel::<Vec<u8>>(PIECES);
    let (used, to_fill) = sync_channel(PIECES + 1);
    let (full, to_write) = sync_channel::<Vec<u8>>(PIECES);
    let (empty, spare) = sync_channel(PIECES + 1);
    let gone = |who: &str| CliError::new(Exit::Internal, format!("the {who} has gone"));
    let panicked = |who: &str| CliError::new(Exit::Internal, format!("the {who} panicked"));
    thread::scope(|scope| {
        let writer = scope.spawn(move || write_all(target, &to_write, |buffer| empty.try_send(buffer).is_ok()));
        let reader = scope.spawn(move || {
            input.each(cancel, |piece| {
                let full = std::mem::replace(piece, to_fill.try_recv().unwrap_or_default());
                filled.send(full).map_err(|_| gone("cipher"))
            })
        });
        let mut send = |piece: Piece<'_>| {
            let mut buffer: Vec<u8> = spare.try_recv().unwrap_or_default();
            buffer.clear();
            cipher(piece, &mut buffer)?;
            full.send(buffer).map_err(|_| gone("writer"))
        };
        let encrypted = to_encrypt.iter().try_for_each(|piece| {
            send(Piece::Bytes(&piece))?;
            // When there are enough of them, this one is not needed again.
            let _ = used.try_send(piece);
            Ok(())
        });
        // Ends the reader where the cipher has failed.
        drop(to_encrypt);
        let read = reader.join().unwrap_or_else(|_| Err(panicked("reader")));
        let read = encrypted.and(read).and_then(|read| send(Piece::End).map(|()| read));
        // Ends the writer, whose error comes before that it has gone.
        drop(full);
        let written = writer.join().unwrap_or_else(|_| Err(panicked("writer")))?;
        Ok(Poured { read: read?, written })
    })
}

fn write_all(target: &Target, full: &Receiver<Vec<u8>>, give_back: impl Fn(Vec<u8>) -> bool) -> Result<u64, CliError> {
    let mut written = 0;
    for buffer in full {
        target.write(&buffer)?;
        written += buffer.len() as u64;
        give_back(buffer);
    }
    Ok(written)
}
