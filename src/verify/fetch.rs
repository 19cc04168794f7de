//! Getting resources: out of the target's folder, or over HTTP. The one place that decides where a target may lead.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use url::Url;

use super::http::{Client, HttpError, Reach, io_failure};
use crate::limits;

/// What a resource is asked for as; decides which credentials go with the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Playlists, segments, records.
    Media,
    /// Keys.
    Key,
}

/// Why a resource was not had.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// It leads where it must not.
    #[error("{0}")]
    Unsafe(String),
    /// It is not there, or may not be read.
    #[error("{0}")]
    Missing(String),
    /// Time ran out.
    #[error("the server did not answer in time")]
    Slow,
    /// The server was given up.
    #[error("not asked for: the server was too slow before")]
    GivenUp,
    /// It is longer than what is read.
    #[error("longer than {0} bytes")]
    TooLarge(u64),
    /// It is compressed, and was asked for as it is.
    #[error("Content-Encoding: {0}")]
    Encoded(String),
    /// The byte range goes beyond its end.
    #[error("{0}")]
    Range(String),
    /// The run was stopped.
    #[error("stopped")]
    Stopped,
}

/// Credentials and bounds of requests.
#[derive(Debug, Clone)]
pub struct Requests {
    /// Headers that the user gave, Cookie among them.
    pub headers: Vec<(String, String)>,
    /// Origins besides the target's own that may see these headers.
    pub trusted: Vec<String>,
    /// Which addresses may be asked.
    pub reach: Reach,
    /// The longest that one request may take.
    pub timeout: Duration,
}

/// A resource that is being read.
pub struct Opened {
    /// Its bytes.
    pub reader: Box<dyn Read + Send>,
    /// How many they are, when that is known.
    pub length: Option<u64>,
    /// Content-Type, over HTTP.
    pub content_type: Option<String>,
    /// Where it came from after redirects.
    pub url: Url,
    /// Redirects that were followed.
    pub redirects: usize,
}

/// Fetches.
#[derive(Debug)]
pub struct Fetcher<'a> {
    /// The folder that local resources must lie in.
    root: Option<PathBuf>,
    origin: Option<String>,
    client: Client,
    requests: Requests,
    deadline: Instant,
    timeouts: AtomicUsize,
    cancel: &'a AtomicBool,
    #[cfg(feature = "aws")]
    objects: super::object::Objects,
}

impl<'a> Fetcher<'a> {
    /// For a target at `base`; local ones stay in `root`.
    #[must_use]
    pub fn new(base: &Url, root: Option<PathBuf>, requests: Requests, cancel: &'a AtomicBool) -> Self {
        let origin = is_http(base).then(|| base.origin().ascii_serialization());
        let client = Client::new(requests.reach, requests.timeout);
        let deadline = Instant::now() + limits::VERIFY_TOTAL_TIME;
        Self {
            root,
            origin,
            client,
            requests,
            deadline,
            timeouts: AtomicUsize::new(0),
            cancel,
            #[cfg(feature = "aws")]
            objects: super::object::Objects::new(),
        }
    }

    /// The folder of a local target.
    #[must_use]
    pub fn root(&self) -> Option<&Path> {
        self.root.as_deref()
    }

    /// Opens `url`, which `from` names, or `range` (offset and length) of it.
    ///
    /// # Errors
    /// See [`FetchError`].
    pub fn open(
        &self,
        from: &Url,
        url: &Url,
        range: Option<(u64, u64)>,
        purpose: Purpose,
    ) -> Result<Opened, FetchError> {
        if self.cancel.load(Ordering::Relaxed) {
            return Err(FetchError::Stopped);
        }
        may_lead(from, url)?;
        match url.scheme() {
            "http" | "https" => self.open_http(url, range, purpose),
            #[cfg(feature = "aws")]
            "s3" => self.objects.open(url, range),
            _ => self.open_file(url, range),
        }
    }

    /// Reads a whole resource of at most `most` bytes.
    ///
    /// # Errors
    /// See [`FetchError`]; with [`FetchError::TooLarge`] come no bytes.
    pub fn read(&self, from: &Url, url: &Url, most: u64, purpose: Purpose) -> Result<(Vec<u8>, Opened), FetchError> {
        let mut opened = self.open(from, url, None, purpose)?;
        if opened.length.is_some_and(|length| length > most) {
            return Err(FetchError::TooLarge(most));
        }
        let mut bytes = Vec::new();
        let reader = std::mem::replace(&mut opened.reader, Box::new(io::empty()));
        reader.take(most + 1).read_to_end(&mut bytes).map_err(|error| self.broken(&error))?;
        if bytes.len() as u64 > most {
            return Err(FetchError::TooLarge(most));
        }
        Ok((bytes, opened))
    }

    /// What an error while reading means.
    pub fn broken(&self, error: &io::Error) -> FetchError {
        match io_failure(error) {
            HttpError::Slow => {
                self.timeouts.fetch_add(1, Ordering::Relaxed);
                FetchError::Slow
            }
            other => FetchError::Missing(other.to_string()),
        }
    }

    fn open_file(&self, url: &Url, range: Option<(u64, u64)>) -> Result<Opened, FetchError> {
        let missing = |error: io::Error| FetchError::Missing(error.to_string());
        let path = url.to_file_path().map_err(|()| FetchError::Unsafe("the URI is no path of a file".to_owned()))?;
        let root = self.root.as_deref().ok_or_else(|| FetchError::Unsafe("a file on this machine".to_owned()))?;
        // Links are followed first, so that none leads out.
        let outside = || FetchError::Unsafe("the path leads out of the target's folder".to_owned());
        let real = match fs::canonicalize(&path) {
            Ok(real) => real,
            Err(_) if !path.starts_with(root) => return Err(outside()),
            Err(error) => return Err(missing(error)),
        };
        if !real.starts_with(root) {
            return Err(outside());
        }
        // Opening a pipe or a device could block for ever.
        if !fs::metadata(&real).map_err(missing)?.is_file() {
            return Err(FetchError::Missing("not a file".to_owned()));
        }
        let mut file = File::open(&real).map_err(missing)?;
        let whole = file.metadata().map_err(missing)?.len();
        let (offset, length) = range.unwrap_or((0, whole));
        if offset.checked_add(length).is_none_or(|end| end > whole) {
            return Err(FetchError::Range(format!("{length} bytes at {offset} of {whole}")));
        }
        file.seek(SeekFrom::Start(offset)).map_err(missing)?;
        let reader = Box::new(file.take(length));
        Ok(Opened { reader, length: Some(length), content_type: None, url: url.clone(), redirects: 0 })
    }

    fn open_http(&self, url: &Url, range: Option<(u64, u64)>, purpose: Purpose) -> Result<Opened, FetchError> {
        let named = url.origin().ascii_serialization();
        let mut url = url.clone();
        for redirects in 0..=limits::VERIFY_REDIRECTS {
            if self.timeouts.load(Ordering::Relaxed) >= limits::VERIFY_TIMEOUTS || Instant::now() > self.deadline {
                return Err(FetchError::GivenUp);
            }
            let answer = self.ask(&url, &named, range, purpose)?;
            if matches!(answer.status, 301 | 302 | 303 | 307 | 308) {
                let location =
                    answer.location.ok_or_else(|| FetchError::Missing("a redirect to nowhere".to_owned()))?;
                let next = url.join(&location).map_err(|error| FetchError::Unsafe(format!("a redirect: {error}")))?;
                may_lead(&url, &next)?;
                url = next;
                continue;
            }
            if !matches!(answer.status, 200 | 206) {
                let status = answer.status;
                return Err(match (status, range) {
                    (416, Some((offset, length))) => {
                        FetchError::Range(format!("{length} bytes at {offset}: status 416"))
                    }
                    _ => FetchError::Missing(format!("the server answers {status}")),
                });
            }
            if let Some(encoding) = answer.encoding {
                return Err(FetchError::Encoded(encoding));
            }
            let (reader, length) = match range {
                // A server may ignore ranges (RFC 9110 14.2).
                Some((offset, length)) => {
                    let mut body = answer.body;
                    if answer.status == 200 {
                        let skipped = io::copy(&mut (&mut body).take(offset), &mut io::sink());
                        skipped.map_err(|error| self.broken(&error))?;
                    }
                    (Box::new(body.take(length)) as Box<dyn Read + Send>, None)
                }
                None => (answer.body, answer.length),
            };
            return Ok(Opened { reader, length, content_type: answer.content_type, url, redirects });
        }
        Err(FetchError::Unsafe(format!("more than {} redirects", limits::VERIFY_REDIRECTS)))
    }

    /// Whether the run was stopped.
    #[must_use]
    pub fn stopped(&self) -> bool {
        self.cancel.load(Ordering::Relaxed)
    }

    fn ask(
        &self,
        url: &Url,
        named: &str,
        range: Option<(u64, u64)>,
        purpose: Purpose,
    ) -> Result<super::http::Answer, FetchError> {
        let headers = self.headers(url, named, purpose);
        let mut tries = 0;
        loop {
            tries += 1;
            match self.client.get(url, range, headers) {
                // One more try: a load balancer that moves is no finding.
                Ok(answer) if tries == 1 && matches!(answer.status, 500 | 502..=504) => {}
                Ok(answer) => return Ok(answer),
                Err(HttpError::Refused(text)) => return Err(FetchError::Unsafe(text)),
                Err(HttpError::Slow) => {
                    self.timeouts.fetch_add(1, Ordering::Relaxed);
                    return Err(FetchError::Slow);
                }
                Err(HttpError::Failed(text)) if tries > 1 => return Err(FetchError::Missing(text)),
                Err(HttpError::Failed(_)) => {}
            }
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    /// The user's headers go to the target's own origin, and to key servers that the user named; a playlist from
    /// elsewhere must not have them sent where it likes. The keys of a local playlist may be anywhere; `named` is the origin of the URL as it was
    /// named, before redirects.
    fn headers(&self, url: &Url, named: &str, purpose: Purpose) -> &[(String, String)] {
        let origin = url.origin().ascii_serialization();
        let own = match &self.origin {
            Some(own) => *own == origin,
            // A redirect may lead on to anybody.
            None => purpose == Purpose::Key && origin == named,
        };
        if own || self.requests.trusted.contains(&origin) { &self.requests.headers } else { &[] }
    }
}

/// Whether a URL is one of HTTP.
#[must_use]
pub fn is_http(url: &Url) -> bool {
    matches!(url.scheme(), "http" | "https")
}

/// Whether what stands in `from` may lead to `to`.
fn may_lead(from: &Url, to: &Url) -> Result<(), FetchError> {
    let allowed = match (from.scheme(), to.scheme()) {
        ("file", "file" | "http" | "https") | ("http", "http" | "https") | ("https", "https") => true,
        // The user named one bucket; the keys of what lies in it may be anywhere.
        ("s3", "s3") => from.host_str() == to.host_str(),
        ("s3", "http" | "https") => true,
        ("https", "http") => return Err(FetchError::Unsafe("https must not lead to http".to_owned())),
        _ => false,
    };
    if allowed {
        Ok(())
    } else {
        Err(FetchError::Unsafe(format!("a {}: URI is not followed from {}:", to.scheme(), from.scheme())))
    }
}
