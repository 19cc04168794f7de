//! Resources in S3.

use std::io::{self, Read};
use std::sync::Arc;

use url::Url;

use super::fetch::{FetchError, Opened};
use crate::limits;
use crate::storage::StorageError;
use crate::storage::object::{Blocks, Location, ObjectReader};

/// Opens objects.
#[derive(Debug)]
pub(super) struct Objects(Arc<Blocks>);

impl Objects {
    /// None opened yet; nothing is asked before the first is.
    pub(super) fn new() -> Self {
        Self(Blocks::new(limits::VERIFY_OBJECT_BYTES))
    }

    /// Opens the object of an `s3:` URL, or `range` (offset and length) of it.
    ///
    /// # Errors
    /// [`FetchError::Missing`]; [`FetchError::Range`].
    pub(super) fn open(&self, url: &Url, range: Option<(u64, u64)>) -> Result<Opened, FetchError> {
        let missing = |error: StorageError| FetchError::Missing(error.to_string());
        let text = format!("s3://{}{}", url.host_str().unwrap_or_default(), decoded(url.path())?);
        let location: Location = text.parse().map_err(|error| FetchError::Unsafe(format!("{error}")))?;
        let reader = ObjectReader::open(&location, &self.0).map_err(missing)?;
        let whole = reader.len();
        let (offset, length) = range.unwrap_or((0, whole));
        let Some(end) = offset.checked_add(length).filter(|end| *end <= whole) else {
            return Err(FetchError::Range(format!("{length} bytes at {offset} of {whole}")));
        };
        let reader = Box::new(Part { reader, next: offset, end });
        Ok(Opened { reader, length: Some(length), content_type: None, url: url.clone(), redirects: 0 })
    }
}

/// A path with `%XX` read.
fn decoded(path: &str) -> Result<String, FetchError> {
    let mut bytes = Vec::with_capacity(path.len());
    let mut rest = path.as_bytes();
    while let [first, behind @ ..] = rest {
        let hex = behind.get(..2).filter(|_| *first == b'%').and_then(|digits| hex::decode(digits).ok());
        match hex.as_deref() {
            Some([byte]) => {
                bytes.push(*byte);
                rest = behind.get(2..).unwrap_or_default();
            }
            _ => {
                bytes.push(*first);
                rest = behind;
            }
        }
    }
    String::from_utf8(bytes).map_err(|_| FetchError::Unsafe("the name of an object is not UTF-8".to_owned()))
}

/// A part of an object that is being read.
struct Part {
    reader: Arc<ObjectReader>,
    next: u64,
    end: u64,
}

impl Read for Part {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let count = (out.len() as u64).min(self.end - self.next) as usize;
        let Some(out) = out.get_mut(..count) else { return Ok(0) };
        self.reader.read_at(out, self.next).map_err(io::Error::other)?;
        self.next += count as u64;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_objects() {
        assert_eq!(decoded("/a/b%20c.ts").ok().as_deref(), Some("/a/b c.ts"));
        assert_eq!(decoded("/100%/%zz%4").ok().as_deref(), Some("/100%/%zz%4"));
        assert!(decoded("/%ff").is_err());
    }
}
