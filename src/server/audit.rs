//! The audit log: one line of JSON for each decision about a key. No token, no query and no key is ever in one.

use std::io::{self, Write};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use serde::Serialize;
use tokio::sync::mpsc;

use crate::keys::KeyId;
use crate::limits::{SERVER_AUDIT_PAUSE, SERVER_AUDIT_QUEUE, SERVER_AUDIT_RETRY};
use crate::server::vault::Record;
use crate::server::{Notice, Outside};

/// How a request for a key ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Decision {
    /// The key was given.
    Given,
    /// It was not, and will not be to this viewer.
    Refused,
    /// The viewer has asked too often.
    Limited,
    /// It could not be had in time.
    Unavailable,
}

impl Decision {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Given => "given",
            Self::Refused => "refused",
            Self::Limited => "limited",
            Self::Unavailable => "unavailable",
        }
    }
}

/// One decision.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) time: SystemTime,
    pub(super) request: RequestId,
    pub(super) client: IpAddr,
    pub(super) decision: Decision,
    /// Why, in one word.
    pub(super) reason: &'static str,
    /// None where what was asked for is no key id.
    pub(super) key: Option<KeyId>,
    /// Known once the key's record was read.
    pub(super) record: Option<Arc<Record>>,
    /// Who has let the viewer in, and as whom.
    pub(super) authorizer: Option<&'static str>,
    pub(super) subject: Option<String>,
    pub(super) token: Option<String>,
}

/// Names a request in the log and to whom it went wrong for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct RequestId {
    /// Told apart from those of another run.
    pub(super) run: u32,
    /// Counted within it.
    pub(super) number: u64,
}

impl std::fmt::Display for RequestId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:08x}-{:x}", self.run, self.number)
    }
}

/// The line: stable names, absent where unknown.
#[derive(Serialize)]
struct Line<'a> {
    time: String,
    request_id: String,
    decision: Decision,
    reason: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    key_id: Option<KeyId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    content_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    authorizer: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    token_id: Option<&'a str>,
    client: IpAddr,
}

impl Entry {
    fn write(&self, out: &mut Vec<u8>) {
        let time = Timestamp::try_from(self.time).map(|time| format!("{time:.3}")).unwrap_or_default();
        let line = Line {
            time,
            request_id: self.request.to_string(),
            decision: self.decision,
            reason: self.reason,
            key_id: self.key,
            content_id: self.record.as_ref().map(|record| record.content_id.as_str()),
            authorizer: self.authorizer,
            subject: self.subject.as_deref(),
            token_id: self.token.as_deref(),
            client: self.client,
        };
        // Texts and numbers into memory: nothing of it can fail.
        let _ = serde_json::to_writer(&mut *out, &line);
        out.push(b'\n');
    }
}

/// A log that is open, with a thread of its own that writes it.
#[derive(Debug)]
pub(super) struct Audit {
    sender: mpsc::Sender<Entry>,
    failing: Arc<AtomicBool>,
}

/// A line's place in the queue. Nothing can keep the line from being written any more but the end of the process.
pub(super) struct Reserved<'a>(Option<mpsc::Permit<'a, Entry>>);

impl Reserved<'_> {
    /// Without a log there is nothing to wait for.
    pub(super) const NONE: Self = Self(None);

    pub(super) fn send(self, entry: Entry) {
        if let Some(permit) = self.0 {
            permit.send(entry);
        }
    }
}

impl Audit {
    /// Starts to write to `out`. The thread ends when all that was sent is written and nobody can send any more.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub(super) fn start(out: Box<dyn Write + Send>, outside: Arc<dyn Outside>) -> io::Result<(Self, JoinHandle<()>)> {
        let (sender, receiver) = mpsc::channel(SERVER_AUDIT_QUEUE);
        let failing = Arc::new(AtomicBool::new(false));
        let writer = Writer { out, failing: Arc::clone(&failing), outside };
        let thread = thread::Builder::new().name("keyrung-audit".into()).spawn(move || writer.run(receiver))?;
        Ok((Self { sender, failing }, thread))
    }

    /// A place for one line: waits while the queue is full, so that no decision is ever made that is not written down.
    pub(super) async fn reserve(&self) -> Option<Reserved<'_>> {
        self.sender.reserve().await.ok().map(|permit| Reserved(Some(permit)))
    }

    /// Whether lines are being written.
    pub(super) fn is_well(&self) -> bool {
        !self.failing.load(Ordering::Relaxed) && !self.sender.is_closed()
    }
}

struct Writer {
    out: Box<dyn Write + Send>,
    failing: Arc<AtomicBool>,
    outside: Arc<dyn Outside>,
}

impl Writer {
    fn run(mut self, mut receiver: mpsc::Receiver<Entry>) {
        let (mut entries, mut lines) = (Vec::new(), Vec::new());
        while receiver.blocking_recv_many(&mut entries, SERVER_AUDIT_QUEUE) > 0 {
            lines.clear();
            for entry in entries.drain(..) {
                entry.write(&mut lines);
            }
            self.put(&lines);
            // Lines that come meanwhile wake nobody: under load, that costs requests more than the line itself.
            thread::sleep(SERVER_AUDIT_PAUSE);
        }
    }

    /// Writes all of it, however long a full disk takes to be cleared: meanwhile the queue fills, and requests wait.
    fn put(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let error = match self.out.write(bytes) {
                Ok(0) => io::ErrorKind::WriteZero.into(),
                Ok(count) => {
                    bytes = bytes.get(count..).unwrap_or_default();
                    if self.failing.swap(false, Ordering::Relaxed) {
                        self.outside.notice(Notice::AuditWell);
                    }
                    continue;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => error,
            };
            if !self.failing.swap(true, Ordering::Relaxed) {
                self.outside.notice(Notice::AuditFailed(error));
            }
            thread::sleep(SERVER_AUDIT_RETRY);
        }
        // A log that cannot be flushed has already said so, or will with the next line.
        let _ = self.out.flush();
    }
}

/// How long the end of a run waits for the last lines.
pub(super) const LAST_LINES: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests;
