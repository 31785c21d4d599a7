//! The accept loop. poem's own keeps a connection open for ever that sends half a request's head, and spins when the
//! process runs out of file descriptors; this one limits connections, heads and shutdown.

use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use poem::http::uri::Scheme;
use poem::web::{LocalAddr, RemoteAddr};
use poem::{Endpoint, Response};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::Semaphore;
use tokio_io_timeout::TimeoutStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::warn;

/// Connections open at the same time; further ones wait in the system's queue.
const CONNECTIONS: usize = 1800;
/// Connections that the system keeps ready for us. Beyond them it drops what comes, which is tried again after one
/// second, then two, then four: soon Twilio has waited too long.
const BACKLOG: u32 = 4096;
/// How long a client may take for a request's head, and how long a kept connection may be idle.
const HEAD_TIMEOUT: Duration = Duration::from_secs(20);
/// How long a client may leave an answer unread.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);
/// The largest head, and what a connection buffers at the most.
const HEAD_BYTES: usize = 64 * 1024;
/// How long requests in flight may take once the server stops; longer than any webhook.
const LAST_REQUESTS: Duration = Duration::from_secs(16);

/// Listens on `address`, which may have been listened on a moment ago.
pub fn listen(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_reuseaddr(cfg!(unix))?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Serves `endpoint` on `listener` until `stop`, then finishes the requests in flight.
pub async fn serve(
    listener: TcpListener,
    endpoint: impl Endpoint<Output = Response> + 'static,
    stop: CancellationToken,
) -> std::io::Result<()> {
    let local = listener.local_addr()?;
    let endpoint = Arc::new(endpoint);
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    let connections = TaskTracker::new();
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => break,
            accepted = accept(&listener, &places) => accepted,
        };
        let Some((stream, peer, place)) = accepted else { continue };
        let (endpoint, stop) = (endpoint.clone(), stop.clone());
        connections.spawn(async move {
            serve_connection(stream, local, peer, endpoint, stop).await;
            drop(place);
        });
    }
    drop(listener);
    connections.close();
    if tokio::time::timeout(LAST_REQUESTS, connections.wait()).await.is_err() {
        warn!("Some requests were not finished in time");
    }
    Ok(())
}

type Accepted = (TcpStream, SocketAddr, tokio::sync::OwnedSemaphorePermit);

async fn accept(listener: &TcpListener, places: &Arc<Semaphore>) -> Option<Accepted> {
    let place = places.clone().acquire_owned().await.ok()?;
    match listener.accept().await {
        Ok((stream, peer)) => Some((stream, peer, place)),
        Err(error) => {
            // Out of file descriptors, most likely: give the others time to end.
            warn!(%error, "A connection could not be accepted");
            tokio::time::sleep(Duration::from_millis(100)).await;
            None
        }
    }
}

async fn serve_connection(
    stream: TcpStream,
    local: SocketAddr,
    peer: SocketAddr,
    endpoint: Arc<impl Endpoint<Output = Response> + 'static>,
    stop: CancellationToken,
) {
    stream.set_nodelay(true).ok();
    // hyper's timer for the head starts with the first byte, so a silent connection is ended here, and one that opens
    // HTTP/2 at once (over clear text nobody needs it, and its idle connections would stay open).
    let mut first = [0; 3];
    let peeked = tokio::select! {
        peeked = tokio::time::timeout(HEAD_TIMEOUT, stream.peek(&mut first)) => peeked,
        () = stop.cancelled() => return,
    };
    match peeked {
        Ok(Ok(bytes)) if bytes > 0 && !(bytes == 3 && &first == b"PRI") => {}
        _ => return,
    }
    let asked = Arc::new(AtomicBool::new(false));
    let begun = asked.clone();
    let service = hyper::service::service_fn(move |request: hyper::Request<hyper::body::Incoming>| {
        let endpoint = endpoint.clone();
        begun.store(true, Ordering::Relaxed);
        async move {
            let addresses = (LocalAddr(local.into()), RemoteAddr(peer.into()), Scheme::HTTP);
            let request = poem::Request::from((request, addresses.0, addresses.1, addresses.2));
            Ok::<_, Infallible>(hyper::Response::from(endpoint.get_response(request).await))
        }
    });
    let mut builder = auto::Builder::new(TokioExecutor::new()).http1_only();
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT).max_buf_size(HEAD_BYTES);
    let mut stream = TimeoutStream::new(stream);
    stream.set_write_timeout(Some(WRITE_TIMEOUT));
    let connection = builder.serve_connection_with_upgrades(TokioIo::new(Box::pin(stream)), service);
    tokio::pin!(connection);
    tokio::select! {
        _ = connection.as_mut() => return,
        // Half a head is no request in flight.
        () = stop.cancelled() => if !asked.load(Ordering::Relaxed) { return },
    }
    connection.as_mut().graceful_shutdown();
    connection.await.ok();
}
