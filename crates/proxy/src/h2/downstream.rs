//! A client's HTTP/2 connection: every stream that it opens becomes an exchange.

use std::future::poll_fn;
use std::rc::Rc;
use std::task::Poll;
use std::time::{Duration, Instant};

use net::{Buffer, Deadline};
use tokio::task::spawn_local;
use wire::h1::BadMessage;
use wire::h2::{self, Event, RULES as HTTP2_RULES, Settings, StreamKey};

use super::driver::{Driver, Over};
use super::{Connection, Stream};
use crate::arrival::limits;
use crate::channel::Channel;
use crate::client::{Client, Peer};
use crate::exchange;
use crate::worker::{OpenConnection, Worker};

/// How long streams are taken after a client was told that none will be: those that were on their
/// way (RFC 9113 §6.8).
const GOING_AWAY: Duration = Duration::from_millis(500);

/// What may be owed to a client that still is read from: all content that waits for the socket,
/// and a few heads for each stream that it may open by default.
const OWED_MAX: usize = 256 * 1024;

/// Serves a connection until either side has enough. `buffer` holds what was read from `stream`.
pub(crate) async fn serve(
    open: OpenConnection,
    stream: net::Stream,
    buffer: Buffer,
    peer: Rc<Peer>,
) {
    let worker = &open.worker;
    let listener = &worker.plan.snapshot.listeners[open.listener];
    let metrics = &worker.metrics.listeners[open.listener];
    let now = Instant::now();
    let settings = Settings {
        limits: limits(&listener.limits),
        streams_max: listener.http2_limits.streams,
        stream_window: listener.http2_limits.stream_window,
        connection_window: listener.http2_limits.connection_window,
        connect_protocol: true,
    };
    let connection = Rc::new(Connection::new(h2::Connection::server(settings, now)));
    let mut driver = Driver::new(
        Rc::clone(&connection),
        stream,
        buffer,
        now + listener.timeouts.head,
        OWED_MAX,
    );
    let begin = |key: StreamKey, wire: &mut h2::Connection, rejected: Option<BadMessage>| {
        let stream = Stream::accepted(&connection, key);
        begin_exchange(worker, stream, &peer, wire, rejected);
    };
    let mut is_last_call = false;
    let over = poll_fn(|cx| {
        let mut receive = |wire: &mut h2::Connection, event: Event| match event {
            Event::Request(key) => begin(key, wire, None),
            Event::Rejected(key, bad) => begin(key, wire, Some(bad)),
            _ => {}
        };
        loop {
            let over = driver.poll(cx, &mut receive);
            let is_busy = connection.is_busy();
            match over {
                Poll::Ready(Over::Idle) if is_busy => {
                    // A request has come at the last moment; or the last call is over: streams
                    // that are open end well.
                    if is_last_call {
                        connection.wire.borrow_mut().go_away();
                    }
                    driver.allow_until(None);
                }
                Poll::Ready(over) => return Poll::Ready(over),
                Poll::Pending if worker.is_draining() && !is_last_call => {
                    is_last_call = true;
                    connection.wire.borrow_mut().go_away();
                    driver.allow_until(Some(Instant::now() + GOING_AWAY));
                }
                Poll::Pending if is_last_call => {
                    if !is_busy && !driver.is_bounded() {
                        return Poll::Ready(Over::Idle);
                    }
                    return Poll::Pending;
                }
                Poll::Pending if is_busy => {
                    // Each exchange has a bound of its own.
                    driver.allow_until(None);
                    return Poll::Pending;
                }
                Poll::Pending if driver.is_bounded() => return Poll::Pending,
                Poll::Pending => {
                    connection.rest();
                    driver.allow_until(Some(Instant::now() + listener.timeouts.idle));
                }
            }
        }
    })
    .await;
    if let Over::Broken(broken) = &over
        && let Some(rule) = HTTP2_RULES.iter().position(|rule| *rule == broken.rule)
    {
        metrics.http2_abuse[rule].increment();
    }
    if matches!(over, Over::Idle) {
        connection.wire.borrow_mut().go_away();
        connection.wire.borrow_mut().go_away();
    }
    connection.end();
    if !matches!(over, Over::Closed) {
        let patience = listener.timeouts.body;
        driver.shut(patience).await;
        // A close with bytes unread would take back what says why, and what was taken.
        let channel = Channel::Connection(driver.into_stream());
        let mut client = Client::new(channel, peer, Deadline::new(now));
        client.close_gently(patience).await;
    }
}

/// Serves the request that has just come on `stream` in a task of its own.
fn begin_exchange(
    worker: &Rc<Worker>,
    stream: Stream,
    peer: &Rc<Peer>,
    wire: &mut h2::Connection,
    rejected: Option<BadMessage>,
) {
    let mut scratch = worker.take_scratch();
    wire.take_request(scratch.request());
    let worker = Rc::clone(worker);
    let peer = Rc::clone(peer);
    spawn_local(async move {
        let deadline = worker.take_deadline();
        let mut client = Client::new(Channel::Stream(stream), peer, deadline);
        exchange::run_stream(&worker, &mut client, scratch, rejected).await;
        let (_, _, deadline) = client.into_parts();
        worker.return_deadline(deadline);
    });
}
