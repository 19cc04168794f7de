//! What runs a title: a thread of its own, a heartbeat beside it, and the end that the server is told.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use serde_json::Value;
use temporalio_sdk::ApplicationFailure;
use temporalio_sdk::activities::{
    ActivityContext, ActivityDefinitions, ActivityError, ActivityImplementer, ExecutableActivity,
};
use tokio::sync::oneshot;

use crate::package::progress::Progress;

use super::task::{Beat, Order, Package, Why};
use super::{Again, Failure, Work};

/// Heartbeats within the time that a title may say nothing: some may be lost.
const BEATS: u32 = 6;
/// The least and the longest between two of them.
const OFTEN: Duration = Duration::from_millis(200);
const SELDOM: Duration = Duration::from_secs(10);
/// The longest message that is stored.
const MESSAGE: usize = 2000;

/// How a worker works.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The task queue that it takes titles of.
    pub queue: String,
    /// Titles at once.
    pub titles: usize,
    /// How long titles may go on after the worker was told to stop.
    pub grace: Duration,
}

/// What runs titles.
pub struct Bench {
    work: Arc<dyn Work>,
    running: Arc<AtomicU64>,
}

impl Bench {
    /// One that does `work`, and counts in `running` what it is at.
    pub fn new(work: Arc<dyn Work>, running: Arc<AtomicU64>) -> Self {
        Self { work, running }
    }
}

impl ActivityImplementer for Bench {
    fn register_all(self: Arc<Self>, defs: &mut ActivityDefinitions) {
        defs.register_activity::<Package>(self);
    }
}

impl ExecutableActivity for Package {
    type Implementer = Bench;
    const REQUIRES_INSTANCE: bool = true;

    fn definition() -> Self {
        Self
    }

    fn execute(
        receiver: Option<Arc<Bench>>,
        ctx: ActivityContext,
        order: Order,
    ) -> Pin<Box<dyn Future<Output = Result<Value, ActivityError>> + Send>> {
        Box::pin(async move {
            match receiver {
                Some(bench) => bench.run(&ctx, order).await,
                None => Err(told(&internal(), true)),
            }
        })
    }
}

/// How far a title is. Its thread writes, the heartbeat reads.
#[derive(Debug, Default)]
struct Meter {
    total: AtomicU64,
    scanned: AtomicU64,
    written: AtomicU64,
    segments: AtomicU64,
}

impl Meter {
    fn beat(&self, failures: u32) -> Beat {
        let total = self.total.load(Ordering::Relaxed);
        Beat {
            total: (total > 0).then_some(total),
            scanned: self.scanned.load(Ordering::Relaxed),
            written: self.written.load(Ordering::Relaxed),
            segments: self.segments.load(Ordering::Relaxed),
            failures,
        }
    }
}

impl Progress for Meter {
    fn total(&self, bytes: Option<u64>) {
        self.total.store(bytes.unwrap_or(0), Ordering::Relaxed);
    }

    fn scanned(&self, bytes: u64) {
        self.scanned.fetch_add(bytes, Ordering::Relaxed);
    }

    fn written(&self, bytes: u64) {
        self.written.fetch_add(bytes, Ordering::Relaxed);
    }

    fn segment(&self) {
        self.segments.fetch_add(1, Ordering::Relaxed);
    }
}

impl Bench {
    async fn run(&self, ctx: &ActivityContext, order: Order) -> Result<Value, ActivityError> {
        let _running = Running::new(&self.running);
        // Details that cannot be read, those of another version, are as good as none.
        let before: Option<Beat> = ctx.heartbeat_details().deserialize().ok().flatten();
        let failures = before.map_or(0, |beat| beat.failures);
        let cancel = Arc::new(AtomicBool::new(false));
        let meter = Arc::new(Meter::default());
        let every = ctx.info().heartbeat_timeout.map_or(SELDOM, |timeout| (timeout / BEATS).clamp(OFTEN, SELDOM));
        let tries = order.tries;
        let mut end = self.begin(order, &cancel, &meter).map_err(|failure| told(&failure, false))?;
        let mut tick = tokio::time::interval(every);
        let end = loop {
            tokio::select! {
                end = &mut end => break end,
                // The first of them says who has failed how often before, as the last one of the attempt before did.
                _ = tick.tick() => { let _ = ctx.record_heartbeat(meter.beat(failures)).await; }
                // The server asks for it, or the time that a drain may take is up.
                () = ctx.cancelled(), if !cancel.load(Ordering::SeqCst) => cancel.store(true, Ordering::SeqCst),
            }
        };
        let failure = match end {
            Ok(Ok(made)) => return Ok(made),
            Ok(Err(failure)) => failure,
            // The thread has ended without a word.
            Err(_) => internal(),
        };
        match failure.again {
            // After a drain the server gives the title to another worker, as what was cancelled is cancelled.
            Again::Stopped => {
                let _ = ctx.record_heartbeat(meter.beat(failures)).await;
                Err(ActivityError::cancelled())
            }
            Again::Fails => Err(told(&failure, true)),
            Again::MayWork => {
                let failures = failures.saturating_add(1);
                // Goes with the failure: the next attempt finds it.
                let _ = ctx.record_heartbeat(meter.beat(failures)).await;
                Err(told(&failure, failures >= tries))
            }
        }
    }

    /// Starts the thread of a title.
    fn begin(
        &self,
        order: Order,
        cancel: &Arc<AtomicBool>,
        meter: &Arc<Meter>,
    ) -> Result<oneshot::Receiver<Result<Value, Failure>>, Failure> {
        let (tell, end) = oneshot::channel();
        let (work, cancel, meter) = (Arc::clone(&self.work), Arc::clone(cancel), Arc::clone(meter));
        let run = move || {
            // A bug that one title meets must not stop the others.
            let packaged = catch_unwind(AssertUnwindSafe(|| work.package(&order.title, &cancel, &*meter)));
            let _ = tell.send(packaged.unwrap_or_else(|_| Err(internal())));
        };
        thread::Builder::new().name("title".to_owned()).spawn(run).map(|_| end).map_err(|error| Failure {
            message: format!("cannot start a thread: {error}"),
            again: Again::MayWork,
            hint: None,
            ..internal()
        })
    }
}

/// Counts a title as long as it runs.
struct Running(Arc<AtomicU64>);

impl Running {
    fn new(count: &Arc<AtomicU64>) -> Self {
        count.fetch_add(1, Ordering::SeqCst);
        Self(Arc::clone(count))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// A bug. Once more may be the same, or not: it counts as what may pass.
fn internal() -> Failure {
    Failure {
        kind: "Internal",
        code: 1,
        again: Again::MayWork,
        message: "internal failure".to_owned(),
        hint: Some("this is a bug in keyrung; please report it with the input".to_owned()),
    }
}

/// A failure as the server keeps it.
fn told(failure: &Failure, is_last: bool) -> ActivityError {
    let message: String = failure.message.chars().take(MESSAGE).collect();
    let why = Why { code: failure.code, hint: failure.hint.clone() };
    let failure = ApplicationFailure::builder(message).type_name(failure.kind.to_owned()).non_retryable(is_last);
    ActivityError::application(failure.details(why).build())
}
