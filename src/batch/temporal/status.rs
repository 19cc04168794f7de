//! How the titles of a batch stand.

use std::collections::VecDeque;
use std::time::SystemTime;

use futures_util::{StreamExt, stream};
use temporalio_client::errors::{ActivityInteractionError, ClientError};
use temporalio_client::tonic::Code;
use temporalio_client::{
    ActivityCountOptions, ActivityDescribeOptions, ActivityExecutionDescription, ActivityExecutionInfoLike,
    ActivityListOptions, Client, PendingActivityState,
};
use temporalio_common::protos::temporal::api::activity::v1::activity_execution_outcome::Value as Outcome;
use temporalio_common::protos::temporal::api::failure::v1::Failure;
use temporalio_common::protos::temporal::api::failure::v1::failure::FailureInfo;

use super::CallError;
use super::raw;
use super::task::{self, Beat, Order, Package, Why};

/// Requests that are on their way at once.
const WIDTH: usize = 16;
/// Open titles that are asked how far they are, for each that is to be told. The server's list does not say which run.
const LOOKED_AT: usize = 4;

/// How many titles stand how.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Packaged.
    pub complete: u64,
    /// In the queue, being packaged, or waiting to be tried again.
    pub open: u64,
    /// Failed for good.
    pub failed: u64,
    /// Cancelled before their end.
    pub cancelled: u64,
}

impl Counts {
    /// All titles.
    #[must_use]
    pub fn titles(&self) -> u64 {
        self.complete + self.open + self.failed + self.cancelled
    }
}

/// How a batch stands.
#[derive(Debug, Clone, Default)]
pub struct Overview {
    /// How many titles stand how.
    pub counts: Counts,
    /// Titles that are being packaged, or wait to be tried again; some of them where they are many.
    pub open: Vec<Open>,
    /// Titles that have failed for good; some of them where they are many.
    pub failed: Vec<Ended>,
}

/// A title that is not closed and was begun.
#[derive(Debug, Clone)]
pub struct Open {
    /// Its batch.
    pub batch: String,
    /// Identifies its content.
    pub content_id: String,
    /// Whether a worker is at it; else it waits to be tried again.
    pub is_running: bool,
    /// Whether it was asked to stop.
    pub is_cancelled: bool,
    /// The worker that is at it, or was the last.
    pub worker: String,
    /// Which attempt this is.
    pub attempt: u32,
    /// When it began.
    pub since: Option<SystemTime>,
    /// How far it is.
    pub beat: Beat,
    /// Why the last attempt failed, kind and message.
    pub last_failure: Option<(String, String)>,
}

/// A title that has failed for good.
#[derive(Debug, Clone)]
pub struct Ended {
    /// Its batch.
    pub batch: String,
    /// Identifies its content.
    pub content_id: String,
    /// The line of the jobs file that it came from.
    pub line: Option<u64>,
    /// What kind of failure.
    pub kind: String,
    /// The exit code of a command that failed so.
    pub code: Option<u8>,
    /// What happened.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
    /// How many attempts there were, killed ones among them.
    pub attempts: u32,
}

/// A run of an activity.
#[derive(Debug, Clone)]
pub struct Run {
    /// The activity's id.
    pub id: String,
    /// The run's own.
    pub run: String,
}

/// How a batch stands, or all of them, with so many open titles and so many that have failed.
pub async fn overview(client: &Client, batch: Option<&str>, most: (usize, usize)) -> Result<Overview, CallError> {
    let (most_open, most_failed) = most;
    let counts = counts(client, batch).await?;
    let mut overview = Overview { counts, ..Overview::default() };
    if counts.open > 0 && most_open > 0 {
        // The list begins with the latest, and workers with the first.
        let open = runs(client, batch, "ExecutionStatus = 'Running'", most_open.saturating_mul(LOOKED_AT)).await?;
        let look = async |run: Run| Ok(describe(client, &run.id).await?.and_then(|seen| Open::of(&run, &seen)));
        overview.open = gather(open, look).await?;
        overview.open.sort_by_key(|open| !open.is_running);
        overview.open.truncate(most_open);
    }
    if counts.failed > 0 && most_failed > 0 {
        let failed = runs(client, batch, "ExecutionStatus IN ('Failed', 'TimedOut')", most_failed).await?;
        let look = async |run: Run| Ok(describe(client, &run.id).await?.and_then(|seen| Ended::of(&run, &seen)));
        overview.failed = gather(failed, look).await?;
        overview.failed.sort_by_key(|ended| ended.line);
    }
    Ok(overview)
}

async fn gather<T, F: Future<Output = Result<Option<T>, CallError>>>(
    runs: Vec<Run>,
    look: impl Fn(Run) -> F,
) -> Result<Vec<T>, CallError> {
    let mut answers = std::pin::pin!(stream::iter(runs).map(look).buffered(WIDTH));
    let mut out = Vec::new();
    while let Some(answer) = answers.next().await {
        out.extend(answer?);
    }
    Ok(out)
}

/// How many titles of a batch, or of all, stand how.
pub async fn counts(client: &Client, batch: Option<&str>) -> Result<Counts, CallError> {
    let query = format!("{} GROUP BY ExecutionStatus", task::of(batch));
    let answer = client.count_activities(query, ActivityCountOptions::default()).await;
    let answer = answer.map_err(|error| refused("count titles", &error))?;
    let mut counts = Counts::default();
    for group in answer.groups() {
        let place = match group.get::<String>(0).unwrap_or_default().as_str() {
            "Completed" => &mut counts.complete,
            "Failed" | "TimedOut" => &mut counts.failed,
            "Canceled" | "Terminated" => &mut counts.cancelled,
            _ => &mut counts.open,
        };
        *place += group.count() as u64;
    }
    Ok(counts)
}

/// How many titles of a batch are not closed.
pub async fn open(client: &Client, batch: &str) -> Result<u64, CallError> {
    let query = format!("{} AND ExecutionStatus = 'Running'", task::of(Some(batch)));
    let answer = client.count_activities(query, ActivityCountOptions::default()).await;
    answer.map(|count| count.count() as u64).map_err(|error| refused("count titles", &error))
}

/// The runs of a batch that are so, the first ones that were started; no more than `most`.
pub async fn runs(client: &Client, batch: Option<&str>, so: &str, most: usize) -> Result<Vec<Run>, CallError> {
    let query = format!("{} AND {so}", task::of(batch));
    let mut list = client.list_activities(query, ActivityListOptions::default());
    let mut runs = VecDeque::new();
    while let Some(found) = list.next().await {
        let found = found.map_err(|error| refused("list titles", &error))?;
        if runs.len() >= most {
            runs.pop_front();
        }
        runs.push_back(Run { id: found.activity_id().to_owned(), run: found.activity_run_id().to_owned() });
    }
    Ok(runs.into_iter().rev().collect())
}

/// All about the latest run of a title; none when the server has forgotten it.
pub async fn describe(client: &Client, id: &str) -> Result<Option<ActivityExecutionDescription<Package>>, CallError> {
    let options = ActivityDescribeOptions::builder()
        .include_input(true)
        .include_outcome(true)
        .include_heartbeat_details(true)
        .include_last_failure(true)
        .build();
    unless_gone(client.get_activity_handle(Package, id, None).describe(options).await, "tell of a title")
}

/// What came of a call; none when the title is gone.
pub fn unless_gone<T>(
    answer: Result<T, ActivityInteractionError>,
    asked: &'static str,
) -> Result<Option<T>, CallError> {
    match answer {
        Ok(answer) => Ok(Some(answer)),
        Err(ActivityInteractionError::NotFound(_)) => Ok(None),
        Err(ActivityInteractionError::Rpc(status)) if status.code() == Code::NotFound => Ok(None),
        Err(ActivityInteractionError::Rpc(status)) => Err(CallError::new(asked, &status)),
        Err(error) => Err(CallError { asked, why: error.to_string(), passes: false }),
    }
}

fn refused(asked: &'static str, error: &ClientError) -> CallError {
    match error {
        ClientError::Rpc(status) => CallError::new(asked, status),
        error => CallError { asked, why: error.to_string(), passes: true },
    }
}

impl Open {
    /// None where it was not begun, or another run took the place of this one.
    fn of(run: &Run, seen: &ActivityExecutionDescription<Package>) -> Option<Self> {
        let info = seen.raw_info();
        let is_running = !matches!(seen.run_state(), PendingActivityState::Scheduled);
        if info.run_id != run.run || !(is_running || info.last_failure.is_some()) {
            return None;
        }
        let (batch, content_id) = task::parts(&run.id);
        Some(Self {
            batch: batch.to_owned(),
            content_id: content_id.to_owned(),
            is_running,
            is_cancelled: matches!(seen.run_state(), PendingActivityState::CancelRequested),
            // `last_worker_identity()` of 1.1.1 has its test the wrong way round.
            worker: info.last_worker_identity.clone(),
            attempt: seen.attempt(),
            since: seen.last_started_time(),
            beat: raw::read(info.heartbeat_details.as_ref()).unwrap_or_default(),
            last_failure: info.last_failure.as_ref().map(|failure| (kind(failure), failure.message.clone())),
        })
    }
}

impl Ended {
    /// None where another run took the place of this one.
    fn of(run: &Run, seen: &ActivityExecutionDescription<Package>) -> Option<Self> {
        let info = seen.raw_info();
        if info.run_id != run.run {
            return None;
        }
        let (batch, content_id) = task::parts(&run.id);
        let outcome = match seen.raw_outcome() {
            Some(Outcome::Failure(failure)) => Some(failure),
            _ => None,
        };
        // A title that timed out may have failed before, which tells more.
        let failure = outcome.filter(|failure| !is_timeout(failure)).or(info.last_failure.as_ref()).or(outcome);
        let why: Why = failure.and_then(|failure| raw::read(details(failure))).unwrap_or_default();
        let timed_out = outcome.is_some_and(is_timeout);
        Some(Self {
            batch: batch.to_owned(),
            content_id: content_id.to_owned(),
            line: raw::read::<Order>(seen.raw_input()).map(|order| order.line),
            kind: if timed_out { "Timeout".to_owned() } else { failure.map(kind).unwrap_or_default() },
            code: (why.code > 0).then_some(why.code),
            message: match failure.map(|failure| failure.message.clone()).unwrap_or_default() {
                message if timed_out => format!("it took too long: {message}"),
                message => message,
            },
            hint: why.hint,
            attempts: seen.attempt(),
        })
    }
}

fn is_timeout(failure: &Failure) -> bool {
    matches!(failure.failure_info, Some(FailureInfo::TimeoutFailureInfo(_)))
}

fn kind(failure: &Failure) -> String {
    match &failure.failure_info {
        Some(FailureInfo::ApplicationFailureInfo(info)) => info.r#type.clone(),
        Some(FailureInfo::TimeoutFailureInfo(_)) => "Timeout".to_owned(),
        _ => String::new(),
    }
}

fn details(failure: &Failure) -> Option<&temporalio_common::protos::temporal::api::common::v1::Payloads> {
    match &failure.failure_info {
        Some(FailureInfo::ApplicationFailureInfo(info)) => info.details.as_ref(),
        _ => None,
    }
}
