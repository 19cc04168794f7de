//! A worker's life: it takes titles until it is told to stop, lets those that run come to their end, and leaves.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use temporalio_client::Client;
use temporalio_common::worker::WorkerDeploymentOptions;
use temporalio_sdk::runtime::worker_tuner::{FixedSizeSlotSupplier, TunerHolder};
use temporalio_sdk::runtime::{PollerBehavior, RuntimeOptions};
use temporalio_sdk::{Runtime, Worker, WorkerOptions};

use super::worker::{Bench, Settings};
use super::{CallError, Work};

/// How long a title that was told to stop may take for it.
const STOPS_WITHIN: Duration = Duration::from_secs(5);
/// How often it is looked whether the worker is to stop.
const LOOK: Duration = Duration::from_millis(50);
/// Requests for titles that wait on the server at once.
const POLLERS: usize = 5;
/// The longest that the client keeps heartbeats back. They bring the news that a title was cancelled.
const THROTTLE: Duration = Duration::from_secs(5);

/// A worker that has stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Drained {
    /// Titles that did not stop in time. The server gives them to others when it has not heard of them for a while.
    pub left: u64,
}

/// Packages titles until `stop` is set.
pub async fn work(
    client: Client,
    settings: &Settings,
    work: Arc<dyn Work>,
    stop: &AtomicBool,
) -> Result<Drained, CallError> {
    let refused = |why: String| CallError { asked: "take this worker", why, passes: false };
    let options = RuntimeOptions::builder().disable_environment_info(true).build().map_err(refused)?;
    let runtime = Runtime::from_current_tokio(options).map_err(|error| refused(error.to_string()))?;
    let running = Arc::new(AtomicU64::new(0));
    let slots = |count| FixedSizeSlotSupplier::new(count);
    let tuner = TunerHolder::builder()
        .activity_task_slot_supplier(slots(settings.titles))
        .workflow_task_slot_supplier(slots(1))
        .local_activity_task_slot_supplier(slots(1))
        .nexus_task_slot_supplier(slots(1))
        .build();
    let version = concat!("keyrung-", env!("CARGO_PKG_VERSION")).to_owned();
    let options = WorkerOptions::new(settings.queue.clone())
        .register_activities(Bench::new(work, Arc::clone(&running)))
        .tuner(tuner)
        .activity_task_poller_behavior(PollerBehavior::SimpleMaximum(settings.titles.clamp(1, POLLERS)))
        .max_heartbeat_throttle_interval(THROTTLE)
        .graceful_shutdown_period(settings.grace)
        .deployment_options(WorkerDeploymentOptions::from_build_id(version))
        .build();
    let mut worker = Worker::new(&runtime, client, options).map_err(|error| refused(error.to_string()))?;
    let shutdown = worker.shutdown_handle();
    let mut run = std::pin::pin!(worker.run());
    let told = async {
        while !stop.load(Ordering::SeqCst) {
            tokio::time::sleep(LOOK).await;
        }
    };
    tokio::select! {
        ended = &mut run => return ended.map(|()| Drained { left: 0 }).map_err(|error| refused(error.to_string())),
        () = told => shutdown(),
    }
    // What still runs after the grace is told to stop. The client would wait for ever for what does not.
    match tokio::time::timeout(settings.grace + STOPS_WITHIN, run).await {
        Ok(ended) => ended.map(|()| Drained { left: 0 }).map_err(|error| refused(error.to_string())),
        Err(_) => Ok(Drained { left: running.load(Ordering::SeqCst) }),
    }
}
