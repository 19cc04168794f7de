//! Titles that have ended: giving them to the workers again, and forgetting runs that others took the place of. And
//! titles that are to end.

use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::{StreamExt, stream};
use temporalio_client::{ActivityCancelOptions, Client};

use super::CallError;
use super::raw::{self, Put};
use super::status::{self, Run};
use super::task::Package;

/// Requests that are on their way at once.
const WIDTH: usize = 16;

const FAILED: &str = "ExecutionStatus IN ('Failed', 'TimedOut')";
const NOT_COMPLETE: &str = "ExecutionStatus IN ('Failed', 'TimedOut', 'Canceled', 'Terminated')";
const OPEN: &str = "ExecutionStatus = 'Running'";

/// Starts those that have failed again, with what they were submitted with.
pub async fn failed(client: &Client, batch: Option<&str>, cancel: &AtomicBool) -> Result<u64, CallError> {
    let runs = status::runs(client, batch, FAILED, usize::MAX).await?;
    each(runs, cancel, |run| again(client, run)).await
}

async fn again(client: &Client, run: Run) -> Result<bool, CallError> {
    let Some(seen) = status::describe(client, &run.id).await? else {
        return Ok(false);
    };
    let mut is_new = false;
    if seen.raw_info().run_id == run.run
        && let Some(input) = seen.raw_input()
    {
        is_new =
            raw::start(client, run.id.clone(), &raw::rules_of(seen.raw_info()), input.clone()).await? == Put::Started;
    }
    // Only now, so that a title is never unknown.
    raw::delete(client, &run.id, &run.run).await?;
    Ok(is_new)
}

/// Deletes the runs of a batch that have failed, or were cancelled, and were started again.
pub async fn forget(client: &Client, batch: &str, cancel: &AtomicBool) -> Result<(), CallError> {
    let runs = status::runs(client, Some(batch), NOT_COMPLETE, usize::MAX).await?;
    let forget = async |run: Run| {
        let latest = status::describe(client, &run.id).await?;
        let is_old = latest.is_some_and(|latest| latest.raw_info().run_id != run.run);
        if is_old {
            raw::delete(client, &run.id, &run.run).await?;
        }
        Ok(is_old)
    };
    each(runs, cancel, forget).await.map(|_| ())
}

/// Asks those that are not closed to stop.
pub async fn cancel(client: &Client, batch: Option<&str>, cancel: &AtomicBool) -> Result<u64, CallError> {
    let runs = status::runs(client, batch, OPEN, usize::MAX).await?;
    let stop = async |run: Run| {
        let handle = client.get_activity_handle(Package, run.id, Some(run.run));
        let options = ActivityCancelOptions::builder().reason("keyrung status --cancel").build();
        status::unless_gone(handle.cancel(options).await, "cancel a title").map(|done| done.is_some())
    };
    each(runs, cancel, stop).await
}

/// Does something with each of some runs, and counts for how many it was of use.
async fn each<F: Future<Output = Result<bool, CallError>>>(
    runs: Vec<Run>,
    cancel: &AtomicBool,
    action: impl Fn(Run) -> F,
) -> Result<u64, CallError> {
    let wanted = runs.into_iter().take_while(|_| !cancel.load(Ordering::SeqCst));
    let mut answers = std::pin::pin!(stream::iter(wanted).map(action).buffer_unordered(WIDTH));
    let mut count = 0;
    while let Some(answer) = answers.next().await {
        count += u64::from(answer?);
    }
    Ok(count)
}
