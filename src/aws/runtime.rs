//! The one runtime that this process's calls to AWS run on, started by the first of them.

use std::sync::{Mutex, OnceLock, PoisonError};

use tokio::runtime::{Builder, Runtime};

use crate::aws::AwsError;

/// Threads of the runtime. They only wait for the network and do TLS; everything that costs CPU has threads of its own.
const WORKERS: usize = 2;

/// The runtime. It lives as long as the process.
///
/// # Errors
/// [`AwsError::Runtime`].
pub fn runtime() -> Result<&'static Runtime, AwsError> {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    // Two first callers must not each start one.
    static STARTING: Mutex<()> = Mutex::new(());
    if let Some(runtime) = RUNTIME.get() {
        return Ok(runtime);
    }
    let _starting = STARTING.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(runtime) = RUNTIME.get() {
        return Ok(runtime);
    }
    let started = Builder::new_multi_thread()
        .worker_threads(WORKERS)
        .thread_name("aws")
        .enable_io()
        .enable_time()
        .build()
        .map_err(|e| AwsError::Runtime(e.to_string()))?;
    Ok(RUNTIME.get_or_init(|| started))
}

/// Runs `future` to its end while the calling thread waits; any number of threads may do so at once. Not to be called from
/// asynchronous code: it would hold up that code's own runtime, and tokio panics.
///
/// # Errors
/// [`AwsError::Runtime`].
pub fn block_on<F: Future>(future: F) -> Result<F::Output, AwsError> {
    Ok(runtime()?.block_on(future))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_threads_share_one_runtime() {
        let ids: Vec<_> = std::thread::scope(|scope| {
            let runs: Vec<_> = (0..8)
                .map(|_| scope.spawn(|| block_on(async { tokio::runtime::Handle::current().id() }).unwrap()))
                .collect();
            runs.into_iter().map(|run| run.join().unwrap()).collect()
        });
        assert!(ids.iter().all(|id| *id == ids[0]));
    }
}
