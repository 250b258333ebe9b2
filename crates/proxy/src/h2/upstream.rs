//! HTTP/2 connections to endpoints: each carries many exchanges, and one that is being made is
//! waited for by all who would use it.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use balance::ConnectionPlace;
use message::ResponseHead;
use net::Buffer;
use tokio::task::spawn_local;
use wire::h1::Limits;
use wire::h2::{self, ErrorCode, Event, Settings};

use super::connection::SILENCE_MAX;
use super::driver::{Driver, Over};
use super::{Connection, Stream};

/// The connections of a worker to one endpoint.
#[derive(Default)]
pub(crate) struct Shared {
    connections: RefCell<Vec<Rc<Connection>>>,
    connecting: RefCell<Option<Rc<Connecting>>>,
}

/// What endpoints may send on a connection. They are ours, so the windows are wide; the heads are
/// held to what clients' are by default.
const SETTINGS: Settings = Settings {
    limits: Limits {
        head_bytes: 64 * 1024,
        fields: 200,
        line_bytes: 8 * 1024,
    },
    streams_max: 0,
    stream_window: 256 * 1024,
    connection_window: 64 * 1024 * 1024,
    connect_protocol: false,
};

/// Streams that a connection carries at most: so many that all of them together cannot fill the
/// half of its window that is given back at once. So whoever does not read its own response holds
/// up nobody else's.
pub(super) const STREAMS_MAX: usize =
    (SETTINGS.connection_window / 2 / SETTINGS.stream_window) as usize;

/// Time that an endpoint has to answer a PING, which it gets once it is silent for too long: the
/// connection is dead then, and what waits on it may move.
const PING_TIMEOUT: Duration = Duration::from_secs(5);

/// Least time between two PINGs: servers of gRPC end connections that get more than a few while
/// nothing else happens on them.
const PING_INTERVAL: Duration = Duration::from_secs(60);

/// A connection that is being made, and who waits for it.
#[derive(Default)]
pub(crate) struct Connecting {
    is_over: Cell<bool>,
    waiting: RefCell<Vec<Waker>>,
}

/// A part in a connection that is being made.
pub(crate) enum Joined {
    /// It is on this one to make it. Dropping it lets another one try.
    First(Rc<Connecting>),
    /// Somebody makes it.
    Later(Rc<Connecting>),
}

impl Shared {
    /// A stream of a connection that takes one more.
    pub(crate) fn stream(&self) -> Option<Stream> {
        let mut connections = self.connections.borrow_mut();
        connections.retain(|connection| {
            !connection.is_over() && !connection.wire.borrow().is_going_away()
        });
        connections.iter().find_map(Stream::promised)
    }

    /// Takes part in the connection that is being made, or begins one.
    pub(crate) fn join(&self) -> Joined {
        let mut connecting = self.connecting.borrow_mut();
        match &*connecting {
            Some(connecting) if !connecting.is_over.get() => Joined::Later(Rc::clone(connecting)),
            _ => {
                let first = Rc::new(Connecting::default());
                *connecting = Some(Rc::clone(&first));
                Joined::First(first)
            }
        }
    }

    /// Begins to speak HTTP/2 on `stream`, in a task of its own, until it is not used for `idle`.
    /// Returns a stream of it. Whoever waits for what is `joined` waits on until the endpoint has
    /// said how many streams it takes.
    pub(crate) fn begin(
        &self,
        stream: net::Stream,
        idle: Duration,
        place: Option<ConnectionPlace>,
        joined: Option<Joined>,
    ) -> Option<Stream> {
        let now = Instant::now();
        let mut wire = h2::Connection::client(SETTINGS, now);
        if stream.tls().is_some() {
            wire.set_scheme("https");
        }
        let connection = Rc::new(Connection::new(wire));
        connection.hold(place);
        let first = Stream::promised(&connection);
        self.connections.borrow_mut().push(Rc::clone(&connection));
        spawn_local(async move {
            let driver = Driver::new(
                connection,
                stream,
                Buffer::default(),
                now + idle,
                usize::MAX,
            );
            drive(driver, idle, joined).await;
        });
        first
    }

    /// No new exchange goes to the connections that are there.
    pub(crate) fn forget(&self) {
        self.connections.borrow_mut().clear();
    }

    /// Closes a connection that carries no exchange and that counts for the pool. False if there
    /// is none.
    pub(crate) fn close_one(&self) -> bool {
        let mut connections = self.connections.borrow_mut();
        let Some(index) = connections.iter().position(|one| one.leave_place()) else {
            return false;
        };
        connections.remove(index);
        true
    }

    /// How many connections carry no exchange.
    pub(crate) fn idle(&self) -> usize {
        let connections = self.connections.borrow();
        let is_idle = |connection: &&Rc<Connection>| !connection.is_over() && !connection.is_busy();
        connections.iter().filter(is_idle).count()
    }
}

impl Joined {
    /// Ready once the connection is there, or will not be.
    pub(crate) fn poll_over(&self, cx: &Context<'_>) -> Poll<()> {
        let (Self::First(connecting) | Self::Later(connecting)) = self;
        if connecting.is_over.get() {
            return Poll::Ready(());
        }
        let mut waiting = connecting.waiting.borrow_mut();
        if !waiting.iter().any(|waker| waker.will_wake(cx.waker())) {
            waiting.push(cx.waker().clone());
        }
        Poll::Pending
    }
}

impl Drop for Joined {
    fn drop(&mut self) {
        if let Self::First(connecting) = self {
            connecting.is_over.set(true);
            for waker in connecting.waiting.take() {
                waker.wake();
            }
        }
    }
}

/// Reads and writes until the connection is over. `joined` is over once it takes streams.
async fn drive(mut driver: Driver, idle: Duration, mut joined: Option<Joined>) {
    let connection = Rc::clone(&driver.connection);
    let mut idle_until = None;
    // The silence in which the endpoint was asked last whether it is there, and when that was.
    let (mut pinged, mut pinged_at) = (None, None);
    let over = poll_fn(|cx| {
        let mut receive = |wire: &mut h2::Connection, event: Event| {
            if let Event::Response(key) = event {
                let mut head = ResponseHead::default();
                wire.take_response(&mut head);
                if !connection.receive_head(key, head) {
                    wire.reset(key, ErrorCode::EnhanceYourCalm);
                    connection.reset(key, ErrorCode::EnhanceYourCalm);
                }
            }
        };
        loop {
            match driver.poll(cx, &mut receive) {
                Poll::Ready(Over::Idle) => match connection.asked() {
                    None if !connection.is_busy() => return Poll::Ready(Over::Idle),
                    Some(asked) if pinged == Some(asked) => return Poll::Ready(Over::Closed),
                    Some(asked) if asked.elapsed() >= SILENCE_MAX => {
                        connection.wire.borrow_mut().ping();
                        (pinged, pinged_at) = (Some(asked), Some(Instant::now()));
                    }
                    // A request has come at the last moment.
                    _ => {}
                },
                Poll::Ready(over) => return Poll::Ready(over),
                Poll::Pending => {}
            }
            let (has_settings, streams_left) = {
                let wire = connection.wire.borrow();
                (wire.has_settings(), wire.streams_left())
            };
            if has_settings {
                joined = None;
            }
            let is_busy = connection.is_busy();
            if !is_busy && streams_left == 0 {
                // It is going away, or of no use.
                return Poll::Ready(Over::Idle);
            }
            if is_busy {
                idle_until = None;
            }
            let until = match connection.asked() {
                Some(asked) if pinged == Some(asked) => pinged_at.map(|at| at + PING_TIMEOUT),
                Some(asked) => {
                    let again = pinged_at.map(|at| at + PING_INTERVAL);
                    again.max(Some(asked + SILENCE_MAX))
                }
                None if is_busy => None,
                None => Some(*idle_until.get_or_insert_with(|| Instant::now() + idle)),
            };
            if !driver.allow_until(until) {
                return Poll::Pending;
            }
        }
    })
    .await;
    if matches!(over, Over::Idle) {
        connection.wire.borrow_mut().go_away();
        connection.wire.borrow_mut().go_away();
    }
    if !matches!(over, Over::Closed) {
        driver.shut(Duration::ZERO).await;
    }
    // Last of all: of a request that has not left by now, its exchange is told that it never will.
    connection.end();
    drop(joined);
}
