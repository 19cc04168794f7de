//! The listener: connections with a bound on their number, their time and their head, and an orderly end.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::limits::{
    SERVER_CHUNK_BYTES, SERVER_DRAIN, SERVER_HEADER_TIMEOUT, SERVER_MAX_CONNECTIONS, SERVER_MAX_HEAD_BYTES,
    SERVER_MAX_HEADERS,
};
use crate::server::package::{Catalog, ServedPackage};
use crate::server::{KeySource, ServeError, route};

/// The bounds that tests make smaller.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    pub(super) header_timeout: Duration,
    pub(super) connections: usize,
    pub(super) drain: Duration,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { header_timeout: SERVER_HEADER_TIMEOUT, connections: SERVER_MAX_CONNECTIONS, drain: SERVER_DRAIN }
    }
}

/// Serves until `shutdown` is there, then lets requests in flight end, for at most [`SERVER_DRAIN`]. Blocks.
///
/// `on_ready` is called once, with the address that is listened on (port 0 asks the system for one). `shutdown` is
/// polled inside the server's tokio runtime, so it may be one of tokio's signals.
///
/// # Errors
///
/// [`ServeError::NotLoopback`], [`Listen`](ServeError::Listen), [`Runtime`](ServeError::Runtime),
/// [`Duplicate`](ServeError::Duplicate), and [`Malformed`](ServeError::Malformed) for a content id with no place in a
/// URL. Once it serves, nothing of a client's doing ends it.
pub fn run(
    listen: SocketAddr,
    packages: Vec<ServedPackage>,
    keys: impl KeySource,
    on_ready: impl FnOnce(SocketAddr),
    shutdown: impl Future<Output = ()>,
) -> Result<(), ServeError> {
    run_within(Bounds::default(), listen, packages, keys, on_ready, shutdown)
}

pub(super) fn run_within(
    bounds: Bounds,
    listen: SocketAddr,
    packages: Vec<ServedPackage>,
    keys: impl KeySource,
    on_ready: impl FnOnce(SocketAddr),
    shutdown: impl Future<Output = ()>,
) -> Result<(), ServeError> {
    if !listen.ip().is_loopback() {
        return Err(ServeError::NotLoopback { listen });
    }
    let router = route::router(Catalog::new(packages)?, keys);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_name("keyrung-serve")
        .build()
        .map_err(|source| ServeError::Runtime { source })?;
    let result = runtime.block_on(async {
        let failed = |source| ServeError::Listen { listen, source };
        let listener = TcpListener::bind(listen).await.map_err(failed)?;
        on_ready(listener.local_addr().map_err(failed)?);
        serve(bounds, listener, router, shutdown).await;
        Ok(())
    });
    // A key provider that hangs on its own thread must not keep the process.
    runtime.shutdown_timeout(Duration::from_millis(100));
    result
}

async fn serve(bounds: Bounds, listener: TcpListener, router: Router, shutdown: impl Future<Output = ()>) {
    let mut shutdown = pin!(shutdown);
    let places = Arc::new(Semaphore::new(bounds.connections));
    let (stop, stopped) = watch::channel(());
    let mut connections = JoinSet::new();
    loop {
        let accepted = async {
            // The place is taken before the connection is: those beyond the limit wait in the system's queue.
            let place = Arc::clone(&places).acquire_owned().await;
            (place, listener.accept().await)
        };
        tokio::select! {
            () = &mut shutdown => break,
            Some(_) = connections.join_next() => {}
            (place, accepted) = accepted => match accepted {
                Ok((stream, _)) => {
                    let connection = connection(bounds, stream, router.clone(), stopped.clone());
                    connections.spawn(async move {
                        connection.await;
                        drop(place);
                    });
                }
                // The client went away, or there are no descriptors left: both pass.
                Err(_) => sleep(Duration::from_millis(50)).await,
            },
        }
    }
    drop(listener);
    drop(stop);
    let drained = async { while connections.join_next().await.is_some() {} };
    // Beyond the deadline, dropping the set ends what is left.
    let _ = timeout(bounds.drain, drained).await;
}

/// One connection, until the client closes it, breaks a limit, or the server is to stop and has answered.
async fn connection(bounds: Bounds, stream: TcpStream, router: Router, mut stopped: watch::Receiver<()>) {
    // A playlist's last bytes must not wait for an acknowledgement; where it cannot be set, they do.
    let _ = stream.set_nodelay(true);
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(bounds.header_timeout)
        .max_headers(SERVER_MAX_HEADERS)
        .max_header_size(SERVER_MAX_HEAD_BYTES)
        .max_buf_size(SERVER_CHUNK_BYTES)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    let mut served = pin!(served);
    tokio::select! {
        _ = served.as_mut() => {}
        // The sender is never used, only dropped.
        _ = stopped.changed() => {
            served.as_mut().graceful_shutdown();
            let _ = served.await;
        }
    }
}
