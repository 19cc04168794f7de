//! Places for answers that take memory and descriptors until the client has taken them: files, playlists, the list of
//! packages. Streams of HTTP/2 are many more than connections, and a client that takes nothing costs nothing.

use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::{Body, Bytes, HttpBody};
use hyper::body::{Frame, SizeHint};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::limits::SERVER_OPEN_FILES;
use crate::server::limit::{self, Connections};

/// All places, and how many of them each client has.
#[derive(Debug)]
pub(super) struct Places {
    all: Arc<Semaphore>,
    of_clients: Connections,
}

/// One of them, until it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    _of_all: OwnedSemaphorePermit,
    _of_client: limit::Place,
}

impl Places {
    /// As many as there may be connections, [`SERVER_OPEN_FILES`] at most.
    pub(super) fn new(connections: usize) -> Self {
        Self { all: Arc::new(Semaphore::new(SERVER_OPEN_FILES.min(connections))), of_clients: Connections::default() }
    }

    /// Waits for a place. None when the client has, or waits for, as many as `most`; 0 is no limit.
    pub(super) async fn take(&self, client: IpAddr, most: usize) -> Option<Place> {
        let of_client = self.of_clients.take(client, most)?;
        let of_all = Arc::clone(&self.all).acquire_owned().await.ok()?;
        Some(Place { _of_all: of_all, _of_client: of_client })
    }
}

impl Place {
    /// The body, which keeps the place until it is taken to its end or given up.
    pub(super) fn of(self, body: Body) -> Body {
        Body::new(Placed { body, _place: self })
    }
}

struct Placed {
    body: Body,
    _place: Place,
}

impl HttpBody for Placed {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use axum::body::to_bytes;
    use tokio::time::timeout;

    use super::*;

    #[tokio::test]
    async fn a_place_is_kept_until_the_body_is_taken_or_dropped() {
        let places = Places::new(2);
        let (one, other): (IpAddr, IpAddr) = ("192.0.2.1".parse().unwrap(), "192.0.2.2".parse().unwrap());
        let first = places.take(one, 1).await.unwrap().of(Body::from("text"));
        assert!(places.take(one, 1).await.is_none(), "it has one");
        let second = places.take(other, 1).await.unwrap().of(Body::from("text"));
        let waiting = timeout(Duration::from_millis(20), places.take("192.0.2.3".parse().unwrap(), 1)).await;
        assert!(waiting.is_err(), "there are two");
        assert_eq!(to_bytes(first, 10).await.unwrap(), "text");
        let again = places.take(one, 1).await.expect("it was given back");
        drop(second);
        assert!(places.take(other, 0).await.is_some());
        drop(again);
        assert_eq!(places.all.available_permits(), 2);
    }

    #[test]
    fn there_are_never_more_than_connections_or_the_limit() {
        assert_eq!(Places::new(7).all.available_permits(), 7);
        assert_eq!(Places::new(usize::MAX).all.available_permits(), SERVER_OPEN_FILES);
    }
}
