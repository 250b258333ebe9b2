//! Moves bytes between a socket and a connection.

use std::future::poll_fn;
use std::io;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use net::{Buffer, Deadline};
use wire::h2::{self, ConnectionError, Event};

use super::Connection;

/// What a client sends first (RFC 9113 §3.4).
pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// The task that reads and writes a connection.
pub(super) struct Driver {
    pub(super) connection: Rc<Connection>,
    stream: net::Stream,
    /// What has arrived and was not consumed.
    buffer: Buffer,
    deadline: Deadline,
    /// When to end the connection, as it does not do what it is for.
    until: Option<Instant>,
    /// So much may be owed to the peer before nothing more is read from it.
    owed_max: usize,
}

/// Why a connection is over.
#[derive(Debug)]
pub(super) enum Over {
    /// The peer closed it, or it broke.
    Closed,
    /// It did nothing for too long.
    Idle,
    /// The peer broke a rule. What we owe says so.
    Broken(ConnectionError),
}

/// A deadline that is none.
const FAR: Duration = Duration::from_secs(24 * 3600);

impl Driver {
    /// A driver for a connection on `stream`, from which what is in `buffer` was read. The
    /// connection has to do something until `until`. While more than `owed_max` bytes are owed to
    /// the peer, nothing is read from it: heads have no windows, so that it could ask for more and
    /// more that it does not take. One side at most may do so, or both might wait for each other.
    pub(super) fn new(
        connection: Rc<Connection>,
        stream: net::Stream,
        buffer: Buffer,
        until: Instant,
        owed_max: usize,
    ) -> Self {
        Self {
            connection,
            stream,
            buffer,
            deadline: Deadline::new(until),
            until: Some(until),
            owed_max,
        }
    }

    /// Ends the connection at this time, or not by itself. True if that is news, for which it has
    /// to be polled again.
    pub(super) fn allow_until(&mut self, until: Option<Instant>) -> bool {
        std::mem::replace(&mut self.until, until) != until
    }

    /// When the connection will be ended.
    pub(super) fn is_bounded(&self) -> bool {
        self.until.is_some()
    }

    /// Reads what has arrived and sends what is owed. `receive` is told what happens but for what
    /// concerns one stream, whose holder is woken. Ready once the connection is over.
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        receive: &mut dyn FnMut(&mut h2::Connection, Event),
    ) -> Poll<Over> {
        self.connection.drive(cx);
        loop {
            let is_clogged = self.is_clogged();
            if !is_clogged && let Poll::Ready(over) = self.poll_receive(cx, receive) {
                return Poll::Ready(over);
            }
            if self.poll_flush(cx).is_err() {
                return Poll::Ready(Over::Closed);
            }
            if !is_clogged || self.is_clogged() {
                return self.poll_deadline(cx);
            }
        }
    }

    fn is_clogged(&self) -> bool {
        self.connection.wire.borrow().output().len() > self.owed_max
    }

    fn poll_receive(
        &mut self,
        cx: &mut Context<'_>,
        receive: &mut dyn FnMut(&mut h2::Connection, Event),
    ) -> Poll<Over> {
        loop {
            while !self.buffer.is_empty() {
                let mut wire = self.connection.wire.borrow_mut();
                let (taken, event) = match wire.receive(self.buffer.filled(), Instant::now()) {
                    Ok(received) => received,
                    Err(broken) => return Poll::Ready(Over::Broken(broken)),
                };
                self.buffer.consume(taken);
                match event {
                    None => {}
                    Some(Event::Body(key)) => self.connection.wake(key),
                    Some(Event::Reset(key, code)) => self.connection.reset(key, code),
                    Some(Event::Window) => {
                        self.connection.settle();
                        wake_writable(&self.connection, &mut wire);
                    }
                    Some(event) => receive(&mut wire, event),
                }
            }
            match self.stream.poll_read(cx, &mut self.buffer) {
                Poll::Ready(Ok(0) | Err(_)) => return Poll::Ready(Over::Closed),
                Poll::Ready(Ok(_)) => self.connection.hear(),
                Poll::Pending => break,
            }
        }
        // A peer may take its time: no memory is held meanwhile.
        self.buffer.release();
        Poll::Pending
    }

    /// Sends what is owed, as far as the socket takes it.
    fn poll_flush(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        let mut wire = self.connection.wire.borrow_mut();
        let mut has_sent = false;
        while !wire.output().is_empty() {
            match self.stream.poll_write(cx, wire.output()) {
                Poll::Ready(Ok(0)) => return Err(io::ErrorKind::WriteZero.into()),
                Poll::Ready(Ok(count)) => wire.sent(count),
                Poll::Ready(Err(error)) => return Err(error),
                Poll::Pending => break,
            }
            has_sent = true;
        }
        if has_sent {
            self.connection.has_sent();
            wake_writable(&self.connection, &mut wire);
        }
        Ok(())
    }

    fn poll_deadline(&mut self, cx: &mut Context<'_>) -> Poll<Over> {
        loop {
            let mut wire = self.connection.wire.borrow_mut();
            let next = [self.until, wire.deadline()].into_iter().flatten().min();
            match next {
                Some(next) => self.deadline.set(next),
                // A timer that is armed fires once, and is armed for a day.
                None if self.deadline.poll_passed(cx).is_pending() => return Poll::Pending,
                None => {
                    self.deadline.set(Instant::now() + FAR);
                    continue;
                }
            }
            if self.deadline.poll_passed(cx).is_pending() {
                return Poll::Pending;
            }
            let now = Instant::now();
            if self.until.is_some_and(|until| until <= now) {
                return Poll::Ready(Over::Idle);
            }
            if let Err(broken) = wire.expire(now) {
                return Poll::Ready(Over::Broken(broken));
            }
        }
    }

    /// Sends what is owed, which has `patience` to leave, and says that nothing more comes.
    pub(super) async fn shut(&mut self, patience: Duration) {
        self.deadline.set(Instant::now() + patience);
        poll_fn(|cx| {
            // The peer may be gone: then there is nobody to tell.
            let is_gone = self.poll_flush(cx).is_err();
            let has_left = self.connection.wire.borrow().output().is_empty();
            if is_gone || (has_left && self.stream.poll_shutdown(cx).is_ready()) {
                return Poll::Ready(());
            }
            self.deadline.poll_passed(cx)
        })
        .await;
    }

    /// The socket, to close it.
    pub(super) fn into_stream(self) -> net::Stream {
        self.stream
    }
}

fn wake_writable(connection: &Connection, wire: &mut h2::Connection) {
    while let Some(key) = wire.poll_writable() {
        connection.wake(key);
    }
}
