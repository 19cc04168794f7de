//! One connection, from its handshake to its end: bounds on its time, HTTP/1.1 or HTTP/2.

use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use axum::http::{Request, Response};
use hyper::body::{Frame, Incoming, SizeHint};
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulConnection;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use crate::limits::{
    SERVER_CHUNK_BYTES, SERVER_H2_KEEP_ALIVE, SERVER_H2_LOCAL_RESETS, SERVER_H2_PENDING_RESETS, SERVER_LAST_WORDS,
};
use crate::server::authorizers::ClientCertificate;
use crate::server::config::Limits;
use crate::server::cookie::Transport;
use crate::server::generation::Gate;
use crate::server::route;
use crate::server::running::Running;
use crate::server::tls::HTTP_2;

/// The other end.
#[derive(Debug)]
pub(super) struct Client {
    pub(super) address: IpAddr,
    pub(super) transport: Transport,
    /// Verified in the handshake.
    pub(super) certificate: Option<Arc<ClientCertificate>>,
}

/// Serves a connection until the client closes it, breaks a limit, or the server is to stop and has answered.
pub(super) async fn serve(
    running: Arc<Running>,
    stream: TcpStream,
    peer: SocketAddr,
    mut stopped: watch::Receiver<()>,
) {
    // An answer's last bytes must not wait for an acknowledgement; where it cannot be set, they do.
    let _ = stream.set_nodelay(true);
    let generation = running.generation();
    let limits = generation.limits.clone();
    let first_request = Instant::now() + limits.header_timeout;
    let Some(tls) = &generation.tls else {
        // This machine's own players speak HTTP/1.1. Proxies may speak HTTP/2 without TLS.
        let protocol = match generation.gate {
            Gate::Local => Some(Ok(Protocol::Http1)),
            Gate::Authorizers(_) => begun(told_apart(&stream), limits.header_timeout, &mut stopped).await,
        };
        drop(generation);
        let client = Client { address: peer.ip(), transport: Transport::Plain, certificate: None };
        return match protocol {
            Some(Ok(protocol)) => speak(running, stream, protocol, client, &limits, first_request, stopped).await,
            // It hung up: a load balancer that only looks whether the port is open.
            Some(Err(_)) => {}
            None => running.metrics.closed("slow"),
        };
    };
    let accepted = begun(tls.acceptor.accept(stream), limits.header_timeout, &mut stopped).await;
    let Some(Ok(stream)) = accepted else {
        return running.metrics.handshake_failed();
    };
    drop(generation);
    let (_, session) = stream.get_ref();
    let protocol = if session.alpn_protocol() == Some(HTTP_2) { Protocol::Http2 } else { Protocol::Http1 };
    let leaf = session.peer_certificates().and_then(|chain| chain.first());
    // rustls has verified it; one that cannot be read is as good as none.
    let certificate = leaf.and_then(|leaf| ClientCertificate::from_der(leaf).ok()).map(Arc::new);
    let client = Client { address: peer.ip(), transport: Transport::Tls, certificate };
    speak(running, stream, protocol, client, &limits, first_request, stopped).await;
}

/// The beginning of a connection, unless it takes too long; a moment still once the server is to stop.
async fn begun<F: Future>(beginning: F, within: Duration, stopped: &mut watch::Receiver<()>) -> Option<F::Output> {
    let mut beginning = pin!(timeout(within, beginning));
    tokio::select! {
        begun = beginning.as_mut() => begun.ok(),
        _ = stopped.changed() => timeout(SERVER_LAST_WORDS, beginning).await.ok()?.ok(),
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Protocol {
    Http1,
    Http2,
}

/// The protocol that a client without TLS begins to speak. Nothing is taken from the stream.
async fn told_apart(stream: &TcpStream) -> io::Result<Protocol> {
    // No method of HTTP/1.1 begins as HTTP/2's preface does (RFC 9113 section 3.4).
    const PREFACE: &[u8] = b"PRI";
    let mut start = [0; PREFACE.len()];
    loop {
        let count = stream.peek(&mut start).await?;
        let seen = start.get(..count).unwrap_or_default();
        match () {
            () if count == 0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            () if seen == PREFACE => return Ok(Protocol::Http2),
            () if !PREFACE.starts_with(seen) => return Ok(Protocol::Http1),
            // A byte or two do not wake anyone twice.
            () => sleep(Duration::from_millis(5)).await,
        }
    }
}

async fn speak<S>(
    running: Arc<Running>,
    stream: S,
    protocol: Protocol,
    client: Client,
    limits: &Limits,
    first_request: Instant,
    stopped: watch::Receiver<()>,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let activity = Arc::new(Activity::default());
    let shared = Arc::new((Arc::clone(&running), client, Arc::clone(&activity)));
    let service = service_fn(move |request: Request<Incoming>| {
        let shared = Arc::clone(&shared);
        async move {
            let (running, client, activity) = &*shared;
            let open = activity.begin(running);
            let (head, body) = route::answer(running, client, request).await.into_parts();
            Ok::<_, Infallible>(Response::from_parts(head, Watched { body, open }))
        }
    });
    let io = TokioIo::new(stream);
    let idle = limits.idle_timeout.max(limits.request_timeout + SERVER_LAST_WORDS);
    let watch = Watch { running: &running, activity: &activity, idle, first_request };
    match protocol {
        Protocol::Http1 => {
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(limits.header_timeout)
                .max_headers(limits.head_fields)
                .max_header_size(limits.head_bytes)
                .max_buf_size(SERVER_CHUNK_BYTES.max(limits.head_bytes))
                .serve_connection(io, service);
            watch.over(connection, stopped).await;
        }
        Protocol::Http2 => {
            let connection = http2::Builder::new(TokioExecutor::new())
                .timer(TokioTimer::new())
                .max_concurrent_streams(limits.streams)
                .max_header_list_size(u32::try_from(limits.head_bytes).unwrap_or(u32::MAX))
                // Streams that are opened and reset at once (CVE-2023-44487), and errors that a client provokes.
                .max_pending_accept_reset_streams(SERVER_H2_PENDING_RESETS)
                .max_local_error_reset_streams(SERVER_H2_LOCAL_RESETS)
                .max_send_buf_size(SERVER_CHUNK_BYTES)
                .keep_alive_interval(SERVER_H2_KEEP_ALIVE)
                .keep_alive_timeout(SERVER_H2_KEEP_ALIVE)
                .serve_connection(io, service);
            watch.over(connection, stopped).await;
        }
    }
}

/// What happens on a connection, as far as it takes to see that nothing does.
#[derive(Debug, Default)]
struct Activity {
    /// Requests begun and pieces of answers taken.
    moves: AtomicU64,
    /// Requests that are not answered to the end.
    open: AtomicUsize,
}

impl Activity {
    fn begin(self: &Arc<Self>, running: &Arc<Running>) -> Open {
        self.moves.fetch_add(1, Ordering::Relaxed);
        self.open.fetch_add(1, Ordering::Relaxed);
        running.metrics.requests.inc();
        Open { activity: Arc::clone(self), running: Arc::clone(running) }
    }
}

/// A request that is being answered, until it is dropped.
struct Open {
    activity: Arc<Activity>,
    running: Arc<Running>,
}

impl Drop for Open {
    fn drop(&mut self) {
        self.activity.open.fetch_sub(1, Ordering::Relaxed);
        self.running.metrics.requests.dec();
    }
}

/// An answer's body that tells when it is taken.
struct Watched {
    body: Body,
    open: Open,
}

impl HttpBody for Watched {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        self.open.activity.moves.fetch_add(1, Ordering::Relaxed);
        let frame = Pin::new(&mut self.body).poll_frame(cx);
        if let Poll::Ready(Some(Err(error))) = &frame {
            self.open.running.file_failed(format_args!("a file cannot be given to its end: {error}"));
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Ends connections on which nothing happens, and all when the server stops.
struct Watch<'a> {
    running: &'a Running,
    activity: &'a Activity,
    idle: Duration,
    /// When a first request has to have come.
    first_request: Instant,
}

impl Watch<'_> {
    async fn over<C: GracefulConnection>(self, connection: C, mut stopped: watch::Receiver<()>) {
        let mut connection = pin!(connection);
        let mut next_look = pin!(sleep_until(self.first_request));
        let (mut seen, mut is_ending, mut is_stopping) = (0, false, false);
        loop {
            tokio::select! {
                _ = connection.as_mut() => return,
                // The sender is never used, only dropped.
                _ = stopped.changed(), if !is_stopping => {
                    is_stopping = true;
                    if self.activity.moves.load(Ordering::Relaxed) > 0 {
                        connection.as_mut().graceful_shutdown();
                    } else {
                        // It was taken a moment ago: its first request is on the way, and would be lost.
                        next_look.as_mut().reset(Instant::now() + SERVER_LAST_WORDS);
                    }
                }
                () = next_look.as_mut() => {
                    let moves = self.activity.moves.load(Ordering::Relaxed);
                    let is_open = self.activity.open.load(Ordering::Relaxed) > 0;
                    match (moves == seen, is_open) {
                        // Not even a first request: the head is too slow, or nothing comes.
                        (true, false) if moves == 0 => return self.running.metrics.closed("slow"),
                        (true, true) => return self.running.metrics.closed("stalled"),
                        (true, false) if is_ending => return self.running.metrics.closed("idle"),
                        (true, false) => {
                            is_ending = true;
                            connection.as_mut().graceful_shutdown();
                        }
                        (false, _) if is_stopping => connection.as_mut().graceful_shutdown(),
                        (false, _) => is_ending = false,
                    }
                    seen = moves;
                    let pause = if is_ending { SERVER_LAST_WORDS } else { self.idle };
                    next_look.as_mut().reset(Instant::now() + pause);
                }
            }
        }
    }
}
