//! Titles from a Temporal server: every title is a standalone activity, packaged by whichever worker asks for it.
//!
//! The server keeps what is to be done and who is at it; what has been done is in the packages themselves. A title that is
//! packaged twice, because a worker was killed or the server forgot, is found packaged the second time, or gets the very
//! same bytes. Nothing that travels through the server is secret: a title names its keys, the worker opens them.
//!
//! Calls block: those who use this need to know neither tokio nor Temporal's own types.

mod drain;
mod link;
mod raw;
mod retry;
mod status;
mod submit;
mod task;
mod worker;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use serde_json::{Map, Value};
use temporalio_client::Client;
use temporalio_client::tonic::{Code, Status};
use tokio::runtime::{Builder, Runtime};

use crate::package::progress::Progress;

pub use drain::Drained;
pub use link::{LinkError, Server};
pub use status::{Counts, Ended, Open, Overview};
pub use submit::{Submission, Submitted, Terms};
pub use task::{Beat, Order};
pub use worker::Settings;

/// Packages titles, on threads of its caller's.
pub trait Work: Send + Sync + 'static {
    /// Packages a title; what it gives back is kept on the server as long as the title's completion.
    ///
    /// # Errors
    /// Whatever stands against it.
    fn package(
        &self,
        title: &Map<String, Value>,
        cancel: &Arc<AtomicBool>,
        progress: &dyn Progress,
    ) -> Result<Value, Failure>;
}

/// Why a title was not packaged. It is stored on the server: nothing in it may be secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// What kind of failure, one word.
    pub kind: &'static str,
    /// The exit code of a command that failed so.
    pub code: u8,
    /// What comes of another try.
    pub again: Again,
    /// What happened.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
}

/// What comes of another try.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Again {
    /// The same.
    Fails,
    /// It may work: what stood against it may pass by itself.
    MayWork,
    /// The title was told to stop, and has not failed.
    Stopped,
}

/// The server did not do what it was asked for.
#[derive(Debug, thiserror::Error)]
#[error("the Temporal server does not {asked}: {why}")]
pub struct CallError {
    /// What was asked for.
    pub asked: &'static str,
    /// Its answer.
    pub why: String,
    /// Whether asking again may help.
    pub passes: bool,
}

impl CallError {
    fn new(asked: &'static str, status: &Status) -> Self {
        let lasting = matches!(
            status.code(),
            Code::InvalidArgument
                | Code::PermissionDenied
                | Code::Unauthenticated
                | Code::FailedPrecondition
                | Code::Unimplemented
                | Code::NotFound
        );
        // A status' Debug goes on for a page.
        Self { asked, why: status.message().to_owned(), passes: !lasting }
    }
}

/// A Temporal server that answers.
pub struct Temporal {
    runtime: Runtime,
    client: Client,
}

impl std::fmt::Debug for Temporal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Temporal")
    }
}

impl Temporal {
    /// Connects to a server and sees that it can do what is needed.
    ///
    /// # Errors
    /// When no server answers, or not as it should.
    pub fn connect(server: &Server) -> Result<Self, LinkError> {
        let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build();
        let runtime = runtime.map_err(|error| LinkError::Runtime(error.to_string()))?;
        let client = runtime.block_on(link::connect(server))?;
        Ok(Self { runtime, client })
    }

    /// Packages the titles that the server has, until `stop` is set.
    ///
    /// # Errors
    /// When the server refuses this worker.
    pub fn work(&self, settings: &Settings, work: Arc<dyn Work>, stop: &AtomicBool) -> Result<Drained, CallError> {
        self.runtime.block_on(drain::work(self.client.clone(), settings, work, stop))
    }

    /// Gives titles to the server, as fast as it takes them and never more than [`Terms::open`] that are not closed.
    /// Those that it has, or has had, are counted and left alone. What a title could not be read for ends it.
    ///
    /// # Errors
    /// When the server does not take a title, or one cannot be read.
    pub fn submit<E: From<CallError>>(
        &self,
        titles: impl Iterator<Item = Result<Submission, E>>,
        terms: &Terms,
        tell: &dyn Fn(&Submitted),
        cancel: &AtomicBool,
    ) -> Result<Submitted, E> {
        self.runtime.block_on(submit::submit(&self.client, titles, terms, tell, cancel))
    }

    /// How many workers have asked for titles of this queue within the last minutes.
    ///
    /// # Errors
    /// When the server does not tell.
    pub fn workers(&self, queue: &str) -> Result<usize, CallError> {
        self.runtime.block_on(raw::pollers(&self.client, queue))
    }

    /// How a batch goes on, or all of them. `open` and `failed` bound how many titles are told of one by one.
    ///
    /// # Errors
    /// When the server does not tell.
    pub fn status(&self, batch: Option<&str>, open: usize, failed: usize) -> Result<Overview, CallError> {
        self.runtime.block_on(status::overview(&self.client, batch, (open, failed)))
    }

    /// Gives the titles of a batch that have failed for good to the workers again, as they were submitted. Tells how many.
    ///
    /// # Errors
    /// When the server does not do it.
    pub fn retry_failed(&self, batch: Option<&str>, cancel: &AtomicBool) -> Result<u64, CallError> {
        self.runtime.block_on(retry::failed(&self.client, batch, cancel))
    }

    /// Asks the titles of a batch that are not closed to stop. Tells how many.
    ///
    /// # Errors
    /// When the server does not do it.
    pub fn cancel(&self, batch: Option<&str>, cancel: &AtomicBool) -> Result<u64, CallError> {
        self.runtime.block_on(retry::cancel(&self.client, batch, cancel))
    }
}
