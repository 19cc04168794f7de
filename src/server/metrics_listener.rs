//! The listener of `/metrics`: on loopback, without TLS, for whoever watches over the server.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::http::{Method, Request, StatusCode};
use axum::response::Response;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};

use crate::limits::{SERVER_HEADER_TIMEOUT, SERVER_METRICS_CONNECTIONS, SERVER_METRICS_LIFE};
use crate::server::metrics::MEDIA_TYPE;
use crate::server::respond::{self, Problem};
use crate::server::route::health;
use crate::server::running::Running;

/// Serves until it is dropped.
pub(super) async fn serve(running: Arc<Running>, listener: TcpListener) {
    let places = Arc::new(Semaphore::new(SERVER_METRICS_CONNECTIONS));
    let mut connections = tokio::task::JoinSet::new();
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        let Ok((stream, _)) = listener.accept().await else {
            sleep(Duration::from_millis(200)).await;
            continue;
        };
        while connections.try_join_next().is_some() {}
        let running = Arc::clone(&running);
        connections.spawn(async move {
            let service = service_fn(|request| {
                let running = Arc::clone(&running);
                async move { Ok::<_, Infallible>(answer(&running, &request).await) }
            });
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(SERVER_HEADER_TIMEOUT)
                .serve_connection(TokioIo::new(stream), service);
            // A client that breaks off is its own affair.
            let _ = timeout(SERVER_METRICS_LIFE, connection).await;
            drop(place);
        });
    }
}

async fn answer(running: &Running, request: &Request<Incoming>) -> Response {
    match (request.method(), request.uri().path()) {
        (&Method::GET | &Method::HEAD, "/metrics") => {
            respond::of(StatusCode::OK, MEDIA_TYPE, "no-store", running.figures().into())
        }
        (&Method::GET | &Method::HEAD, "/livez") => health("alive\n"),
        (&Method::GET | &Method::HEAD, "/readyz") if running.is_ready().await => health("ready\n"),
        (&Method::GET | &Method::HEAD, "/readyz") => Problem::NotReady.response(),
        (&Method::GET | &Method::HEAD, _) => Problem::NotFound.response(),
        _ => Problem::Method.response(),
    }
}
