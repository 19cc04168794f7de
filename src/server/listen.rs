//! The listeners: connections with a bound on their number, reloads, and an orderly end.

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::{JoinSet, spawn_blocking};
use tokio::time::{Instant, interval, sleep, sleep_until, timeout};

use crate::limits::{SERVER_OPEN_FILES, SERVER_RATE_SWEEP};
use crate::server::audit;
use crate::server::connection;
use crate::server::generation::Gate;
use crate::server::limit::Connections;
use crate::server::metrics_listener;
use crate::server::outside::{Control, Outside, Settings};
use crate::server::running::Running;
use crate::server::vault::Open;
use crate::server::{Notice, ServeError};

/// Serves until [`Control::Stop`], then lets requests in flight end. Blocks.
///
/// # Errors
/// What keeps it from starting: settings, files that they name, addresses that cannot be listened on. Once it serves,
/// nothing of a client's doing ends it, and a reload that fails changes nothing.
pub fn run(
    settings: Settings,
    open: Arc<dyn Open>,
    outside: Arc<dyn Outside>,
    controls: mpsc::UnboundedReceiver<Control>,
) -> Result<(), ServeError> {
    let (listen, metrics_listen) = (settings.config.listen, settings.config.metrics_listen);
    let connections = settings.config.limits.connections;
    // Every file that is open may keep a thread, and so may one that was given up on a volume that hangs. What is left is
    // the vault's, for its calls to the store and to providers.
    let calls = settings.config.keys.calls.min(SERVER_OPEN_FILES);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .max_blocking_threads(2 * SERVER_OPEN_FILES + 2 * calls + OTHER_THREADS)
        .enable_all()
        .thread_name("keyrung-serve")
        .build()
        .map_err(|source| ServeError::Runtime { source })?;
    let result = runtime.block_on(async {
        let running = Arc::new(Running::new(settings, open, Arc::clone(&outside))?);
        let listener = bind(listen).await?;
        let failed = |source| ServeError::Listen { listen, source };
        let address = listener.local_addr().map_err(failed)?;
        let metrics = match metrics_listen {
            None => None,
            Some(listen) => Some(bind(listen).await?),
        };
        let metrics_address = metrics.as_ref().and_then(|metrics| metrics.local_addr().ok());
        let mut tasks = JoinSet::new();
        tasks.spawn(sweep(Arc::clone(&running)));
        if let Some(listener) = metrics {
            tasks.spawn(metrics_listener::serve(Arc::clone(&running), listener));
        }
        // Key sets at URLs may take long; until they are there, /readyz says so.
        let refreshing = Arc::clone(&running);
        tasks.spawn(async move { refreshing.refresh().await });
        outside.ready(address, metrics_address);
        serve(&running, listener, connections, controls).await;
        tasks.shutdown().await;
        Ok::<_, ServeError>(running)
    });
    // A key provider that hangs on its own thread must not keep the process.
    runtime.shutdown_timeout(Duration::from_millis(100));
    let running = result?;
    let until = std::time::Instant::now() + audit::LAST_LINES;
    let threads = running.end();
    // It was the last that could send a line, but for a reload that hangs.
    drop(running);
    while threads.iter().any(|thread| !thread.is_finished()) && std::time::Instant::now() < until {
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}

/// Threads that block for something else: reloads, the rates' sweep, names that are resolved, `/readyz`.
const OTHER_THREADS: usize = 16;

async fn bind(listen: SocketAddr) -> Result<TcpListener, ServeError> {
    TcpListener::bind(listen).await.map_err(|source| ServeError::Listen { listen, source })
}

/// Accepts until it is to stop; then drains.
async fn serve(
    running: &Arc<Running>,
    listener: TcpListener,
    places: usize,
    mut controls: mpsc::UnboundedReceiver<Control>,
) {
    let (stop, stopped) = watch::channel(());
    let mut accepting = Accepting {
        running: Arc::clone(running),
        listener,
        places: Arc::new(Semaphore::new(places.min(Semaphore::MAX_PERMITS))),
        of_clients: Connections::default(),
        connections: JoinSet::new(),
        stopped,
    };
    let mut reload = JoinSet::new();
    let mut is_again = false;
    loop {
        tokio::select! {
            control = controls.recv() => match control {
                // One at a time, and one more if it was asked for meanwhile.
                Some(Control::Reload) if reload.is_empty() => { reload.spawn(reloaded(Arc::clone(running))); }
                Some(Control::Reload) => is_again = true,
                Some(Control::Stop) | None => break,
            },
            Some(_) = reload.join_next() => if std::mem::take(&mut is_again) {
                reload.spawn(reloaded(Arc::clone(running)));
            },
            () = accepting.next() => {}
        }
    }
    reload.detach_all();
    let generation = running.generation();
    running.drain();
    if matches!(generation.gate, Gate::Authorizers(_)) && !generation.shutdown.delay.is_zero() {
        running.outside.notice(Notice::Draining);
        let until = Instant::now() + generation.shutdown.delay;
        let mut end = std::pin::pin!(sleep_until(until));
        loop {
            tokio::select! {
                () = end.as_mut() => break,
                () = accepting.next() => {}
            }
        }
    }
    let deadline = generation.shutdown.deadline;
    drop(generation);
    accepting.end(stop, deadline).await;
}

async fn reloaded(running: Arc<Running>) {
    let reloading = Arc::clone(&running);
    // A panic in there is as good as a reload that failed.
    let _ = spawn_blocking(move || reloading.reload()).await;
    running.refresh().await;
}

/// Rates of those who have not asked for long are forgotten.
async fn sweep(running: Arc<Running>) {
    let mut ticks = interval(SERVER_RATE_SWEEP);
    loop {
        ticks.tick().await;
        let generation = running.generation();
        // It goes through all of them: not on a thread that answers.
        let _ = spawn_blocking(move || generation.rates.sweep()).await;
    }
}

struct Accepting {
    running: Arc<Running>,
    listener: TcpListener,
    places: Arc<Semaphore>,
    of_clients: Connections,
    connections: JoinSet<()>,
    stopped: watch::Receiver<()>,
}

impl Accepting {
    /// Waits for a connection to come or to go. May be dropped at any time.
    async fn next(&mut self) {
        let accepted = async {
            // The place is waited for before the connection is taken: those beyond the limit wait in the system's queue.
            let place = self.places.acquire().await;
            drop(place);
            self.listener.accept().await
        };
        tokio::select! {
            Some(_) = self.connections.join_next() => {}
            accepted = accepted => match accepted {
                Ok((stream, peer)) => self.take(stream, peer),
                Err(error) if is_of_client(&error) => {}
                // There are no descriptors left: it passes when one connection ends.
                Err(error) => {
                    self.running.outside.notice(Notice::Accept(error));
                    sleep(Duration::from_millis(200)).await;
                }
            },
        }
    }

    fn take(&mut self, stream: TcpStream, peer: SocketAddr) {
        let running = Arc::clone(&self.running);
        let generation = running.generation();
        let most = match generation.gate {
            Gate::Local => 0,
            // Many clients come from there.
            Gate::Authorizers(_) if generation.proxies.trusts(peer.ip().to_canonical()) => 0,
            Gate::Authorizers(_) => generation.limits.connections_per_client,
        };
        drop(generation);
        let Some(of_client) = self.of_clients.take(peer.ip(), most) else {
            return running.metrics.closed("client");
        };
        // Only this task takes places, so the one that was seen is there.
        let Ok(place) = Arc::clone(&self.places).try_acquire_owned() else { return };
        let stopped = self.stopped.clone();
        self.connections.spawn(async move {
            running.metrics.connections.inc();
            connection::serve(Arc::clone(&running), stream, peer, stopped).await;
            running.metrics.connections.dec();
            drop((place, of_client));
        });
    }

    /// Takes what has come so far, closes the listener, and lets requests in flight end until the deadline.
    async fn end(mut self, stop: watch::Sender<()>, deadline: Duration) {
        // Connections that the system has accepted already would be reset with the listener.
        while self.places.available_permits() > 0
            && let Some((stream, peer)) = self.pending().await
        {
            self.take(stream, peer);
        }
        drop(self.listener);
        drop(stop);
        let mut connections = self.connections;
        let drained = async { while connections.join_next().await.is_some() {} };
        if timeout(deadline, drained).await.is_err() {
            self.running.outside.notice(Notice::CutOff(connections.len()));
        }
        connections.shutdown().await;
    }

    /// A connection that waits to be taken.
    async fn pending(&self) -> Option<(TcpStream, SocketAddr)> {
        poll_fn(|cx| match self.listener.poll_accept(cx) {
            Poll::Ready(Ok(accepted)) => Poll::Ready(Some(accepted)),
            Poll::Ready(Err(_)) | Poll::Pending => Poll::Ready(None),
        })
        .await
    }
}

/// The client went away before it was accepted.
fn is_of_client(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}
