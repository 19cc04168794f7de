//! Giving titles to the server, as often as one likes.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use serde_json::{Map, Value};
use temporalio_client::Client;
use temporalio_common::protos::temporal::api::common::v1::RetryPolicy;

use super::CallError;
use super::raw::{self, Put, Rules};
use super::retry;
use super::status;
use super::task::{self, Order};

/// Titles that are on their way to the server at once. More are not faster: the server writes each to its database.
const WIDTH: usize = 16;
/// How often it is asked whether there is room again.
const LOOK: Duration = Duration::from_millis(500);
/// How long the server's lists may lag behind; longer ones are not waited for.
const LISTED_WITHIN: Duration = Duration::from_secs(10);
/// How long before the first retry; each next wait is twice as long.
const FIRST_WAIT: Duration = Duration::from_secs(1);

/// A title that is to be submitted.
#[derive(Debug, Clone)]
pub struct Submission {
    /// Identifies its content.
    pub content_id: String,
    /// The line of the jobs file that it begins on.
    pub line: u64,
    /// The title; its paths have to mean the same on every worker.
    pub title: Map<String, Value>,
}

/// What titles are submitted with.
#[derive(Debug, Clone)]
pub struct Terms {
    /// The batch that they belong to.
    pub batch: String,
    /// The task queue whose workers package them.
    pub queue: String,
    /// How often a title may fail in ways that may pass. Killed workers do not count.
    pub tries: u32,
    /// How long a title's worker may say nothing until another one gets it.
    pub heartbeat: Duration,
    /// How long one attempt may take.
    pub attempt: Duration,
    /// How long a title may take in all, waiting included.
    pub all: Duration,
    /// The longest wait before an attempt.
    pub longest_wait: Duration,
    /// How many titles of the batch may be open at once.
    pub open: u64,
}

impl Terms {
    fn rules(&self) -> Rules {
        // Unlimited attempts, which kills would use up. How often a title itself may fail the worker counts.
        let retry = RetryPolicy {
            initial_interval: FIRST_WAIT.min(self.longest_wait).try_into().ok(),
            backoff_coefficient: 2.0,
            maximum_interval: self.longest_wait.try_into().ok(),
            ..RetryPolicy::default()
        };
        Rules {
            task_queue: Some(raw::queue(&self.queue)),
            schedule_to_close_timeout: self.all.try_into().ok(),
            start_to_close_timeout: self.attempt.try_into().ok(),
            heartbeat_timeout: self.heartbeat.try_into().ok(),
            retry_policy: Some(retry),
            ..Rules::default()
        }
    }
}

/// How many titles were submitted, and how they stood.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Submitted {
    /// They are in the queue now.
    pub started: u64,
    /// They were there already.
    pub open: u64,
    /// They were complete already.
    pub complete: u64,
    /// As many are open as may be: it waits for workers.
    pub is_full: bool,
}

impl Submitted {
    /// How many in all.
    #[must_use]
    pub fn titles(&self) -> u64 {
        self.started + self.open + self.complete
    }
}

/// Submits titles. Ends early, with what was done by then, when `cancel` is set.
pub async fn submit<E: From<CallError>>(
    client: &Client,
    mut titles: impl Iterator<Item = Result<Submission, E>>,
    terms: &Terms,
    tell: &dyn Fn(&Submitted),
    cancel: &AtomicBool,
) -> Result<Submitted, E> {
    let rules = &terms.rules();
    let mut done = Submitted::default();
    let mut open = status::open(client, &terms.batch).await?;
    let mut on_their_way = FuturesUnordered::new();
    let mut is_over = false;
    loop {
        while !is_over && on_their_way.len() < WIDTH && open + (on_their_way.len() as u64) < terms.open {
            match titles.next() {
                _ if cancel.load(Ordering::SeqCst) => is_over = true,
                None => is_over = true,
                Some(title) => on_their_way.push(put(client, title?, terms, rules)),
            }
        }
        match on_their_way.next().await {
            Some(put) => match put? {
                Put::Started => (done.started, open) = (done.started + 1, open + 1),
                Put::Open => done.open += 1,
                Put::Complete => done.complete += 1,
            },
            None if is_over => break,
            None => {
                done.is_full = true;
                tell(&done);
                tokio::time::sleep(LOOK).await;
                is_over = cancel.load(Ordering::SeqCst);
                open = status::open(client, &terms.batch).await?;
                // Not one by one, each with a question of its own.
                done.is_full = open + WIDTH as u64 > terms.open && open > 0;
                if done.is_full {
                    open = terms.open;
                }
            }
        }
        tell(&done);
    }
    done.is_full = false;
    if done.started > 0 {
        retry::forget(client, &terms.batch, cancel).await?;
        listed(client, terms, done.titles()).await?;
    }
    Ok(done)
}

/// Waits until the server's lists have what was submitted, so that whoever asks next is not told of less.
async fn listed(client: &Client, terms: &Terms, titles: u64) -> Result<(), CallError> {
    let asked = Instant::now();
    while status::counts(client, Some(&terms.batch)).await?.titles() < titles && asked.elapsed() < LISTED_WITHIN {
        tokio::time::sleep(LOOK / 5).await;
    }
    Ok(())
}

async fn put(client: &Client, title: Submission, terms: &Terms, rules: &Rules) -> Result<Put, CallError> {
    let id = task::id(&terms.batch, &title.content_id);
    let order = Order { title: title.title, line: title.line, tries: terms.tries };
    raw::start(client, id, rules, raw::payload(&order)).await
}
