//! One stream, as the exchange on it holds it.

use std::io;
use std::rc::Rc;
use std::task::{Context, Poll};

use message::ResponseHead;
use net::Buffer;
use wire::h2::{ErrorCode, Read, StreamKey};

use super::Connection;

/// A stream. Dropping it gives up what is not over.
pub(crate) struct Stream {
    connection: Rc<Connection>,
    /// `None`: it is promised, and opened with the head of the request.
    key: Option<StreamKey>,
}

/// Bytes owed to the peer beyond which heads wait that there may be many of.
const OWED_MAX: usize = 64 * 1024;

/// A stream that nothing more can be sent on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Closed;

/// Why there is no response on a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoHead {
    /// The endpoint has not worked on the request and will not (RFC 9113 §8.7).
    Refused,
    /// The connection ended before any of the request had left.
    NotSent,
    /// The stream, or its connection, broke off.
    Broken,
}

impl Stream {
    /// A stream that the peer has opened.
    pub(super) fn accepted(connection: &Rc<Connection>, key: StreamKey) -> Self {
        connection.begin(key);
        Self {
            connection: Rc::clone(connection),
            key: Some(key),
        }
    }

    /// A stream of a connection that takes one more.
    pub(super) fn promised(connection: &Rc<Connection>) -> Option<Self> {
        connection.reserve().then(|| Self {
            connection: Rc::clone(connection),
            key: None,
        })
    }

    /// Reads data into `buffer`, which must have room. Zero: the peer has ended the stream.
    pub(crate) fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut Buffer,
    ) -> Poll<io::Result<usize>> {
        let Some(key) = self.key else {
            return Poll::Pending;
        };
        let mut wire = self.connection.wire.borrow_mut();
        // Without a look first, a wait would take memory.
        let read = match wire.read(key, &mut []) {
            Read::Data(_) => wire.read(key, buffer.spare()),
            read => read,
        };
        let owes = !wire.output().is_empty();
        drop(wire);
        if owes {
            self.connection.wake_driver();
        }
        Poll::Ready(match read {
            Read::Data(count) => {
                buffer.fill(count);
                Ok(count)
            }
            Read::End => Ok(0),
            Read::Reset(_) => Err(io::ErrorKind::ConnectionReset.into()),
            Read::Nothing if self.connection.is_over() => {
                Err(io::ErrorKind::ConnectionReset.into())
            }
            Read::Nothing => {
                self.connection.watch(key, cx);
                return Poll::Pending;
            }
        })
    }

    /// Appends the trailers that came behind the data, as lines.
    pub(crate) fn trailers(&self, out: &mut Vec<u8>) {
        if let Some(key) = self.key {
            out.extend_from_slice(self.connection.wire.borrow().trailers(key));
        }
    }

    /// Sends a head, and with it the end if there is no body. Opens the stream if it is promised.
    pub(crate) fn send_head(&mut self, head: &[u8], is_end: bool) -> Result<(), Closed> {
        if self.connection.is_over() {
            return Err(Closed);
        }
        match self.key {
            Some(key) if self.connection.reset_code(key).is_some() => return Err(Closed),
            Some(key) => self
                .connection
                .wire
                .borrow_mut()
                .send_head(key, head, is_end),
            None => {
                let opened = self.connection.wire.borrow_mut().open(head, is_end);
                let key = opened.ok_or(Closed)?;
                self.connection.begin(key);
                self.connection.unreserve();
                self.connection.ask();
                self.key = Some(key);
            }
        }
        self.connection.wake_driver();
        Ok(())
    }

    /// Sends some of `data`, and with the last of it the end if `is_end`.
    pub(crate) fn poll_send(
        &mut self,
        cx: &mut Context<'_>,
        data: &[u8],
        is_end: bool,
    ) -> Poll<Result<usize, Closed>> {
        let (Some(key), false) = (self.key, self.connection.is_over()) else {
            return Poll::Ready(Err(Closed));
        };
        let sent = self
            .connection
            .wire
            .borrow_mut()
            .send_data(key, data, is_end);
        match sent {
            Ok(0) if !data.is_empty() => {
                self.connection.watch(key, cx);
                Poll::Pending
            }
            Ok(count) => {
                self.connection.wake_driver();
                Poll::Ready(Ok(count))
            }
            Err(_) => Poll::Ready(Err(Closed)),
        }
    }

    /// Ready once so little is owed to the peer that more can be sent without a window.
    pub(crate) fn poll_room(&self, cx: &mut Context<'_>) -> Poll<()> {
        let owed = self.connection.wire.borrow().output().len();
        if owed < OWED_MAX || self.connection.is_over() {
            return Poll::Ready(());
        }
        self.connection.watch_output(cx);
        Poll::Pending
    }

    /// Ends the message, with `trailers`, lines of text, perhaps none.
    pub(crate) fn send_trailers(&mut self, trailers: &[u8]) {
        if let (Some(key), false) = (self.key, self.connection.is_over()) {
            self.connection
                .wire
                .borrow_mut()
                .send_trailers(key, trailers);
            self.connection.wake_driver();
        }
    }

    /// The next head of a response.
    pub(crate) fn poll_response(
        &mut self,
        cx: &mut Context<'_>,
        head: &mut ResponseHead,
    ) -> Poll<Result<(), NoHead>> {
        let Some(key) = self.key else {
            return Poll::Pending;
        };
        if let Some(arrived) = self.connection.take_head(key) {
            *head = arrived;
            return Poll::Ready(Ok(()));
        }
        match self.connection.reset_code(key) {
            Some(ErrorCode::RefusedStream) => Poll::Ready(Err(NoHead::Refused)),
            Some(_) => Poll::Ready(Err(NoHead::Broken)),
            None if self.connection.is_over() => {
                let has_sent = self.connection.wire.borrow().has_sent(key);
                Poll::Ready(Err(if has_sent {
                    NoHead::Broken
                } else {
                    NoHead::NotSent
                }))
            }
            None => {
                self.connection.watch(key, cx);
                Poll::Pending
            }
        }
    }

    /// Whether the endpoint can switch protocols, once it has said so.
    pub(crate) fn poll_may_switch(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        let wire = self.connection.wire.borrow();
        if self.connection.is_over() || wire.has_settings() {
            return Poll::Ready(wire.allows_connect_protocol());
        }
        self.connection.watch_settings(cx);
        Poll::Pending
    }

    /// Ready once the peer has given the stream up.
    pub(crate) fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(key) = self.key else {
            return Poll::Pending;
        };
        if self.connection.is_over() || self.connection.reset_code(key).is_some() {
            return Poll::Ready(());
        }
        self.connection.watch(key, cx);
        Poll::Pending
    }

    /// Ends the stream in a way that the peer sees: its message is not whole.
    pub(crate) fn abort(&mut self) {
        if let Some(key) = self.key {
            self.connection
                .wire
                .borrow_mut()
                .reset(key, ErrorCode::InternalError);
            self.connection.wake_driver();
        }
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        match self.key {
            None => self.connection.unreserve(),
            Some(key) => self.connection.wire.borrow_mut().free(key),
        }
        // It may owe a reset, or be idle now.
        self.connection.wake_driver();
    }
}
