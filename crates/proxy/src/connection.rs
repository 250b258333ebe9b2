//! One client connection: PROXY header, TLS, which protocol; then one request after the other, or
//! for HTTP/2 all that `h2` says.
//!
//! What lives here lives as long as the connection, so it is little: the work of an exchange is
//! in a future of its own that exists only while there is one.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::Instant;

use config::ProxyProtocol;
use net::{Buffer, Deadline, Stream, TlsServer, accept_tls};
use tokio::time::timeout;
use wire::proxy_protocol::Header;

use crate::channel::Channel;
use crate::client::{Client, Peer};
use crate::client_address::ClientAddress;
use crate::exchange::{self, Next};
use crate::h2;
use crate::proxy_header::{self, NoHeader};
use crate::worker::OpenConnection;

/// Serves a connection until either side has enough.
pub(crate) async fn serve(open: OpenConnection, mut stream: Stream, peer: Option<SocketAddr>) {
    poll_fn(|cx| {
        open.register(cx.waker());
        Poll::Ready(())
    })
    .await;
    let worker = &open.worker;
    let listener = &worker.plan.snapshot.listeners[open.listener];
    let mut buffer = Buffer::default();
    let proxied = match &listener.proxy_protocol {
        None => None,
        Some(settings) => {
            let receiving = receive_header(&open, &mut stream, &mut buffer, settings, peer);
            match Box::pin(receiving).await {
                Ok(header) => header.map(Box::new),
                Err(NoHeader) => return,
            }
        }
    };
    let stream = match &worker.plan.tls_servers[open.listener] {
        None => stream,
        // What was read is no header, and no beginning of TLS either.
        Some(_) if !buffer.is_empty() => return,
        // Apart, so that a connection needs no memory for its handshake once that is over.
        Some(server) => match Box::pin(begin_tls(&open, stream, server)).await {
            Ok(stream) => stream,
            Err(_) => return,
        },
    };
    let told = proxied.as_ref().and_then(|header| header.addresses);
    let pools = &worker.plan.snapshot.pools;
    let is_destination_told = pools.iter().any(|pool| pool.proxy_protocol.is_some());
    let peer = Rc::new(Peer {
        address: ClientAddress::new(told.map(|told| told.source).or(peer)),
        listener: open.listener,
        tls: stream.tls().cloned(),
        proxied,
        destination: match told {
            Some(told) => Some(told.destination),
            None if is_destination_told => stream.local_addr(),
            None => None,
        },
        introduction: RefCell::default(),
    });
    if peer.tls.as_ref().is_some_and(|tls| tls.is_http2) {
        return Box::pin(h2::serve(open, stream, buffer, peer)).await;
    }
    let idle_timeout = listener.timeouts.idle;
    let mut client = Client::new(
        Channel::Connection(stream),
        Rc::clone(&peer),
        Deadline::new(Instant::now() + idle_timeout),
    );
    client.bytes_received = buffer.filled().len() as u64;
    client.buffer = buffer;
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
            Next::CloseInOrder => {
                client.close_in_order(listener.timeouts.body).await;
                break;
            }
            Next::CloseGently => {
                client.close_gently(listener.timeouts.body).await;
                break;
            }
        }
    }
}

/// The PROXY header, which has as long as a request head.
async fn receive_header(
    open: &OpenConnection,
    stream: &mut Stream,
    buffer: &mut Buffer,
    settings: &ProxyProtocol,
    peer: Option<SocketAddr>,
) -> Result<Option<Header>, NoHeader> {
    let worker = &open.worker;
    let patience = worker.plan.snapshot.listeners[open.listener].timeouts.head;
    let metrics = &worker.metrics.listeners[open.listener];
    let receiving = proxy_header::receive(stream, buffer, settings, peer, metrics);
    timeout(patience, receiving).await.unwrap_or(Err(NoHeader))
}

/// The TLS handshake, which has as long as a request head.
async fn begin_tls(
    open: &OpenConnection,
    stream: Stream,
    server: &Arc<TlsServer>,
) -> io::Result<Stream> {
    let worker = &open.worker;
    let patience = worker.plan.snapshot.listeners[open.listener].timeouts.head;
    let result = match timeout(patience, accept_tls(stream, server)).await {
        Ok(result) => result,
        Err(_) => Err(io::ErrorKind::TimedOut.into()),
    };
    let metrics = &worker.metrics.listeners[open.listener];
    match &result {
        Ok(stream) => {
            metrics.tls_handshakes.increment();
            if stream.tls().is_some_and(|tls| tls.is_resumed) {
                metrics.tls_resumed.increment();
            }
        }
        // Checks of whoever is in front connect and close: nothing is wrong with that.
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {}
        Err(_) => metrics.tls_failed.increment(),
    }
    result
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
