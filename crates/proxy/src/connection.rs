//! One client connection: PROXY header, TLS, which protocol; then one request after the other, for
//! HTTP/2 all that `h2` says, and what is not HTTP to us is relayed.
//!
//! What lives here lives as long as the connection, so it is little: the work of an exchange is
//! in a future of its own that exists only while there is one.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::mem::take;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::Instant;

use config::{Listener, ListenerProtocol, ProxyProtocol};
use net::{Buffer, Deadline, Stream, TlsServer, accept_tls};
use tokio::time::timeout;
use wire::client_hello::ClientHello;
use wire::proxy_protocol::Header;

use crate::channel::Channel;
use crate::client::{Client, Peer};
use crate::client_address::ClientAddress;
use crate::exchange::{self, Next};
use crate::failure::Failure;
use crate::first_bytes::{self, Beginning, NoBeginning};
use crate::h2;
use crate::proxy_header::{self, NoHeader};
use crate::relay;
use crate::worker::OpenConnection;

/// Serves a connection until either side has enough.
pub(crate) async fn serve(open: OpenConnection, mut stream: Stream, address: Option<SocketAddr>) {
    poll_fn(|cx| {
        open.register(cx.waker());
        Poll::Ready(())
    })
    .await;
    let worker = &open.worker;
    let listener = &worker.plan.snapshot.listeners[open.listener];
    let mut buffer = Buffer::default();
    // What comes first on some connections is read apart, so that all others need no memory for it.
    let mut proxied = None;
    if let Some(settings) = &listener.proxy_protocol {
        let receiving = receive_header(&open, &mut stream, &mut buffer, settings, address);
        match Box::pin(receiving).await {
            Ok(header) => proxied = header.map(Box::new),
            Err(NoHeader::Gone) => return,
            Err(NoHeader::Bad) => {
                let peer = describe(&open, &stream, address, None);
                return refuse(&open, &peer, &buffer, Failure::ProxyHeader);
            }
        }
    }
    let mut beginning = None;
    if first_bytes::matter(listener) {
        let looking = look(&open, &mut stream, &mut buffer, address, &mut proxied);
        let Some(first) = Box::pin(looking).await else {
            return;
        };
        beginning = Some(first);
    }
    if let Some(Beginning::Tls(hello)) = &mut beginning
        && let Some(route) = passed_through(listener, hello)
    {
        let peer = describe(&open, &stream, address, proxied);
        let sni = hello.sni.take();
        return Box::pin(relay(&open, stream, buffer, peer, Some(route), sni)).await;
    }
    let detects = matches!(listener.protocol, ListenerProtocol::Detect { .. });
    let may_be_tls = !detects || matches!(beginning, Some(Beginning::Tls(_)));
    if let Some(server) = worker.plan.tls_servers[open.listener]
        .as_ref()
        .filter(|_| may_be_tls)
    {
        match Box::pin(begin_tls(&open, stream, take(&mut buffer), server)).await {
            Ok(encrypted) => stream = encrypted,
            Err(_) => return,
        }
        let is_http2 = stream.tls().is_some_and(|tls| tls.is_http2);
        if detects && !is_http2 {
            let looking = look(&open, &mut stream, &mut buffer, address, &mut proxied);
            let Some(first) = Box::pin(looking).await else {
                return;
            };
            beginning = Some(first);
        } else {
            beginning = None;
        }
    }
    let peer = describe(&open, &stream, address, proxied);
    let is_http = match listener.protocol {
        ListenerProtocol::Http => true,
        ListenerProtocol::Detect { .. } => matches!(beginning, None | Some(Beginning::Http)),
        ListenerProtocol::Tcp | ListenerProtocol::Udp(_) => false,
    };
    if !is_http {
        let sni = match beginning {
            Some(Beginning::Tls(hello)) => hello.sni,
            _ => peer.tls.as_ref().and_then(|tls| tls.sni.clone()),
        };
        return Box::pin(relay(&open, stream, buffer, peer, listener.relay, sni)).await;
    }
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
    let may_know = (listener.http2 || detects) && peer.tls.is_none();
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

/// What the connection, or the inside of its TLS, begins with. `None`: it is of no use, which is
/// written down if it is the client's fault.
async fn look(
    open: &OpenConnection,
    stream: &mut Stream,
    buffer: &mut Buffer,
    address: Option<SocketAddr>,
    proxied: &mut Option<Box<Header>>,
) -> Option<Beginning> {
    let listener = &open.worker.plan.snapshot.listeners[open.listener];
    match first_bytes::receive(listener, stream, buffer).await {
        Ok(beginning) => Some(beginning),
        Err(NoBeginning::Gone) => None,
        Err(NoBeginning::BadHello) => {
            let peer = describe(open, stream, address, proxied.take());
            refuse(open, &peer, buffer, Failure::ClientHello);
            None
        }
    }
}

/// What is known of the client of `stream`, which comes from `address`.
fn describe(
    open: &OpenConnection,
    stream: &Stream,
    address: Option<SocketAddr>,
    proxied: Option<Box<Header>>,
) -> Rc<Peer> {
    let told = proxied.as_ref().and_then(|header| header.addresses);
    let pools = &open.worker.plan.snapshot.pools;
    let is_destination_told = pools.iter().any(|pool| pool.proxy_protocol.is_some());
    Rc::new(Peer {
        address: ClientAddress::new(told.map(|told| told.source).or(address)),
        listener: open.listener,
        tls: stream.tls().cloned(),
        proxied,
        destination: match told {
            Some(told) => Some(told.destination),
            None if is_destination_told => stream.local_addr(),
            None => None,
        },
        introduction: RefCell::default(),
    })
}

/// Where TLS goes that is not ours to end.
fn passed_through(listener: &Listener, hello: &ClientHello) -> Option<usize> {
    let name = hello.sni.as_deref().unwrap_or_default().as_bytes();
    let offers = |protocol: &[u8]| hello.alpn.iter().any(|offered| **offered == *protocol);
    listener.passthrough.find(name, offers)
}

/// Passes the connection on as it is.
fn relay(
    open: &OpenConnection,
    stream: Stream,
    buffer: Buffer,
    peer: Rc<Peer>,
    route: Option<usize>,
    sni: Option<Box<str>>,
) -> impl Future<Output = ()> {
    let patience = open.worker.plan.snapshot.listeners[open.listener]
        .timeouts
        .head;
    let deadline = Deadline::new(Instant::now() + patience);
    let mut client = Client::new(Channel::Connection(stream), peer, deadline).half_closing();
    client.bytes_received = buffer.filled().len() as u64;
    client.buffer = buffer;
    relay::tcp::serve(&open.worker, client, route, sni)
}

/// Writes down that a connection is closed for what it began with.
fn refuse(open: &OpenConnection, peer: &Peer, arrived: &Buffer, failure: Failure) {
    let worker = &open.worker;
    let metrics = &worker.metrics.listeners[open.listener];
    match failure {
        Failure::ProxyHeader => metrics.proxy_headers_rejected.increment(),
        _ => metrics.hellos_rejected.increment(),
    }
    let bytes = (arrived.filled().len() as u64, 0);
    relay::refuse(worker, peer, failure, bytes);
}

/// The PROXY header, which has as long as a request head.
async fn receive_header(
    open: &OpenConnection,
    stream: &mut Stream,
    buffer: &mut Buffer,
    settings: &ProxyProtocol,
    address: Option<SocketAddr>,
) -> Result<Option<Header>, NoHeader> {
    let worker = &open.worker;
    let patience = worker.plan.snapshot.listeners[open.listener].timeouts.head;
    let receiving = proxy_header::receive(stream, buffer, settings, address);
    match timeout(patience, receiving).await {
        Ok(received) => received,
        Err(_) if buffer.is_empty() => Err(NoHeader::Gone),
        Err(_) => Err(NoHeader::Bad),
    }
}

/// The TLS handshake, whose beginning has `arrived`. It has as long as a request head.
async fn begin_tls(
    open: &OpenConnection,
    stream: Stream,
    arrived: Buffer,
    server: &Arc<TlsServer>,
) -> io::Result<Stream> {
    let worker = &open.worker;
    let patience = worker.plan.snapshot.listeners[open.listener].timeouts.head;
    let result = match timeout(patience, accept_tls(stream, arrived, server)).await {
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
    loop {
        // Some may have come with what was before.
        let arrived = client.buffer.filled();
        let length = arrived.len().min(h2::PREFACE.len());
        if arrived[..length] != h2::PREFACE[..length] {
            return false;
        }
        if length == h2::PREFACE.len() {
            return true;
        }
        if !wait_for_bytes(open, client).await {
            return false;
        }
    }
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
