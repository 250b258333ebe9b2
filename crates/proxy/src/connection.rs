//! One client connection: PROXY header, TLS, which protocol; then one request after the other, or
//! for HTTP/2 all that `h2` says.
//!
//! What lives here lives as long as the connection, so it is little: the work of an exchange is
//! in a future of its own that exists only while there is one.

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::task::Poll;
use std::time::Instant;

use net::{Buffer, Deadline, Stream, TlsServer, accept_tls};
use tokio::time::timeout;

use crate::channel::Channel;
use crate::client::{Client, Peer};
use crate::client_address::ClientAddress;
use crate::exchange::{self, Next};
use crate::h2;
use crate::worker::OpenConnection;

/// Serves a connection until either side has enough.
pub(crate) async fn serve(open: OpenConnection, stream: Stream, peer: Option<SocketAddr>) {
    poll_fn(|cx| {
        open.register(cx.waker());
        Poll::Ready(())
    })
    .await;
    let worker = &open.worker;
    let listener = &worker.plan.snapshot.listeners[open.listener];
    let stream = match &worker.plan.tls_servers[open.listener] {
        None => stream,
        // Apart, so that a connection needs no memory for its handshake once that is over.
        Some(server) => match Box::pin(begin_tls(&open, stream, server)).await {
            Ok(stream) => stream,
            Err(_) => return,
        },
    };
    let peer = Rc::new(Peer {
        address: ClientAddress::new(peer),
        listener: open.listener,
        tls: stream.tls().cloned(),
    });
    if peer.tls.as_ref().is_some_and(|tls| tls.is_http2) {
        return Box::pin(h2::serve(open, stream, Buffer::default(), peer)).await;
    }
    let idle_timeout = listener.timeouts.idle;
    let mut client = Client::new(
        Channel::Connection(stream),
        Rc::clone(&peer),
        Deadline::new(Instant::now() + idle_timeout),
    );
    let may_know = listener.http2 && peer.tls.is_none();
    if may_know && wait_for_preface(&open, &mut client).await {
        let (channel, buffer, _) = client.into_parts();
        if let Channel::Connection(stream) = channel {
            Box::pin(h2::serve(open, stream, buffer, peer)).await;
        }
        return;
    }

    while wait_for_request(&open, &mut client).await {
        let next = Box::pin(exchange::run(worker, &mut client)).await;
        match next {
            Next::Wait => client.buffer.release(),
            Next::KeepAlive(now) => {
                client.limit_exchange(None);
                client.buffer.release();
                client.allow_until(now + idle_timeout);
            }
            Next::Close => break,
            Next::CloseGently => {
                client.close_gently().await;
                break;
            }
        }
    }
}

/// The TLS handshake, which has as long as a request head.
async fn begin_tls(
    open: &OpenConnection,
    stream: Stream,
    server: &std::sync::Arc<TlsServer>,
) -> io::Result<Stream> {
    let plan = &open.worker.plan;
    let patience = plan.snapshot.listeners[open.listener].timeouts.head;
    match timeout(patience, accept_tls(stream, server)).await {
        Ok(result) => result,
        Err(_) => Err(io::ErrorKind::TimedOut.into()),
    }
}

/// True if the client speaks HTTP/2 without having been asked: its first bytes say so (RFC 9113
/// §3.3). Waits until they do or do not.
async fn wait_for_preface(open: &OpenConnection, client: &mut Client) -> bool {
    while wait_for_bytes(open, client).await {
        let arrived = client.buffer.filled();
        let length = arrived.len().min(h2::PREFACE.len());
        if arrived[..length] != h2::PREFACE[..length] {
            return false;
        }
        if length == h2::PREFACE.len() {
            return true;
        }
    }
    false
}

/// Reads on. False if there is nothing more to come.
async fn wait_for_bytes(open: &OpenConnection, client: &mut Client) -> bool {
    poll_fn(|cx| match client.poll_read(cx) {
        Poll::Ready(read) => Poll::Ready(matches!(read, Ok(1..))),
        Poll::Pending if open.worker.is_draining() => Poll::Ready(false),
        Poll::Pending => client.poll_timeout(cx).map(|()| false),
    })
    .await
}

/// True once something may have arrived; false when it is time to close. Holds no buffer
/// meanwhile.
async fn wait_for_request(open: &OpenConnection, client: &mut Client) -> bool {
    if !client.buffer.is_empty() {
        return true; // A pipelined request.
    }
    poll_fn(|cx| {
        if client.poll_readable(cx).is_ready() {
            return Poll::Ready(true);
        }
        if open.worker.is_draining() {
            return Poll::Ready(false);
        }
        client.poll_timeout(cx).map(|()| false)
    })
    .await
}
