//! Files of a package: opened without following links, sent in chunks.

use std::fs::File;
use std::io::{self, Seek, SeekFrom};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use axum::body::{Bytes, HttpBody};
use hyper::body::{Frame, SizeHint};
use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, Stat, fstat, openat, statat};
use tokio::io::{AsyncRead, ReadBuf};

use crate::limits::SERVER_CHUNK_BYTES;
use crate::server::package::is_plain_path;

/// An open folder. What is opened below it is of this folder, whatever takes its place in the meantime.
#[derive(Debug)]
pub(super) struct Folder(OwnedFd);

const DIRECTORY: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

impl Folder {
    /// `root` is the user's own word and may be a link.
    ///
    /// # Errors
    ///
    /// The system's.
    pub(super) fn open(root: &Path) -> io::Result<Self> {
        Ok(Self(openat(CWD, root, DIRECTORY, Mode::empty())?))
    }

    /// Opens a regular file below it. No component of `path` may be a link.
    ///
    /// # Errors
    ///
    /// The system's, and `InvalidInput` for a path that is not plain or a file that is not a regular one.
    pub(super) fn file(&self, path: &str) -> io::Result<File> {
        if !is_plain_path(path) {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let (parents, name) = path.rsplit_once('/').map_or((None, path), |(parents, name)| (Some(parents), name));
        let mut below: Option<OwnedFd> = None;
        for parent in parents.into_iter().flat_map(|p| p.split('/')) {
            let dir = below.as_ref().unwrap_or(&self.0);
            below = Some(openat(dir, parent, DIRECTORY | OFlags::NOFOLLOW, Mode::empty())?);
        }
        // NONBLOCK: a named pipe put in a file's place must not hold a thread until somebody writes to it.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let file = openat(below.as_ref().unwrap_or(&self.0), name, flags, Mode::empty())?;
        if FileType::from_raw_mode(fstat(&file)?.st_mode) != FileType::RegularFile {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        Ok(file.into())
    }

    /// What the system says of a name in the folder itself.
    ///
    /// # Errors
    ///
    /// The system's.
    pub(super) fn stat(&self, name: &str) -> io::Result<Stat> {
        Ok(statat(&self.0, name, AtFlags::SYMLINK_NOFOLLOW)?)
    }
}

/// Opens a regular file below `root`. `root` is the user's own word and may be a link; no component of `path` may be.
///
/// # Errors
///
/// The system's, and `InvalidInput` for a path that is not plain or a file that is not a regular one.
pub(super) fn open_beneath(root: &Path, path: &str) -> io::Result<File> {
    Folder::open(root)?.file(path)
}

/// `length` bytes of a file, read as the client takes them.
#[derive(Debug)]
pub(super) struct FileBody {
    file: tokio::fs::File,
    left: u64,
}

impl FileBody {
    /// Blocks; to be called off the runtime's own threads.
    ///
    /// # Errors
    ///
    /// If the file cannot be sought.
    pub(super) fn new(mut file: File, start: u64, length: u64) -> io::Result<Self> {
        if start > 0 {
            file.seek(SeekFrom::Start(start))?;
        }
        let mut file = tokio::fs::File::from_std(file);
        file.set_max_buf_size(SERVER_CHUNK_BYTES);
        Ok(Self { file, left: length })
    }
}

impl HttpBody for FileBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        let want = usize::try_from(self.left).unwrap_or(usize::MAX).min(SERVER_CHUNK_BYTES);
        let mut chunk = vec![0; want];
        let mut buf = ReadBuf::new(&mut chunk);
        ready!(Pin::new(&mut self.file).poll_read(cx, &mut buf))?;
        let got = buf.filled().len();
        if got == 0 {
            // The length is promised already; breaking the connection is the only way left to say that it was wrong.
            return Poll::Ready(Some(Err(io::ErrorKind::UnexpectedEof.into())));
        }
        chunk.truncate(got);
        self.left = self.left.saturating_sub(got as u64);
        Poll::Ready(Some(Ok(Frame::data(chunk.into()))))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    #[test]
    fn only_regular_files_that_are_really_below_are_opened() {
        let outside = tempfile::tempdir().unwrap();
        fs::write(outside.path().join("secret"), "s").unwrap();
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        fs::create_dir(root.join("d")).unwrap();
        fs::write(root.join("d/f"), "f").unwrap();
        symlink(outside.path().join("secret"), root.join("d/link")).unwrap();
        symlink(outside.path(), root.join("linked")).unwrap();
        symlink("f", root.join("d/near")).unwrap();
        rustix::fs::mkfifoat(CWD, root.join("pipe"), Mode::RUSR | Mode::WUSR).unwrap();

        assert!(open_beneath(root, "d/f").is_ok());
        for path in
            ["d/link", "linked/secret", "d/near", "d", "pipe", "d/f/x", "nothing", "../secret", "/etc/passwd", ""]
        {
            assert!(open_beneath(root, path).is_err(), "{path:?}");
        }
        let link_to_root = outside.path().join("root");
        symlink(root, &link_to_root).unwrap();
        assert!(open_beneath(&link_to_root, "d/f").is_ok());
    }
}
