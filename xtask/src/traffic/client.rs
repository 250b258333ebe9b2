//! One connection that sends requests and checks the answers.

use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Instant;

use memchr::memmem;
use rustls::ClientConfig;

use super::endpoint::content_length;
use super::tls::Session;
use crate::socket::{self, Interest, Poller, Transfer};

/// ```text
/// Closed ─start→ Sending → ExpectHead → ExpectBody ─┬→ Free ─start→ Sending
///                                                   └→ ExpectEnd → Closed
/// ```
#[derive(Clone, Copy)]
enum State {
    /// There is no socket: the next request dials.
    Closed,
    Sending {
        sent: usize,
    },
    ExpectHead,
    ExpectBody {
        bytes_left: u64,
    },
    /// Answered, and the peer is to close.
    ExpectEnd,
    /// Answered, and ready for the next request.
    Free,
}

/// What the caller learns from a step.
pub(crate) enum Event {
    /// The answer is complete and right.
    Answered,
    /// The answer is wrong, or the connection broke.
    Wrong(String),
    /// The connection can take a request.
    Free,
}

/// What every client of a load sends and expects.
pub(crate) struct Exchange {
    pub(crate) target: SocketAddr,
    pub(crate) request: Vec<u8>,
    pub(crate) answer_bytes: u64,
    /// True if the peer closes after the answer.
    pub(crate) closes: bool,
    /// What TLS handshakes offer; `None` without TLS.
    pub(crate) tls: Option<Arc<ClientConfig>>,
}

pub(crate) struct Client {
    token: u64,
    stream: Option<TcpStream>,
    /// With TLS: the session on the stream.
    session: Option<Session>,
    state: State,
    /// True while the socket waits to be writable.
    is_blocked: bool,
    /// The beginning of an answer whose head has not ended.
    head: Vec<u8>,
    /// When the request in hand was due.
    pub(crate) due: Instant,
}

impl Client {
    pub(crate) fn new(token: u64, now: Instant) -> Self {
        Self {
            token,
            stream: None,
            session: None,
            state: State::Closed,
            is_blocked: false,
            head: Vec::new(),
            due: now,
        }
    }

    pub(crate) fn is_open(&self) -> bool {
        matches!(self.state, State::Free)
    }

    /// Sends a request that was due at `due`. The client must be free.
    /// Returns what went wrong, if anything did.
    pub(crate) fn start(
        &mut self,
        due: Instant,
        exchange: &Exchange,
        poller: &Poller,
    ) -> Option<String> {
        self.due = due;
        if self.stream.is_none() {
            match self.dial(exchange, poller) {
                Ok(stream) => self.stream = Some(stream),
                Err(error) => return Some(format!("connect: {error}")),
            }
        }
        self.state = State::Sending { sent: 0 };
        match self.send(exchange, poller)? {
            Event::Wrong(what) => Some(what),
            Event::Answered | Event::Free => None,
        }
    }

    fn dial(&mut self, exchange: &Exchange, poller: &Poller) -> std::io::Result<TcpStream> {
        let stream = socket::dial(exchange.target)?;
        poller.add(&stream, self.token, Interest::Read)?;
        self.session = exchange.tls.as_ref().map(Session::new).transpose()?;
        Ok(stream)
    }

    /// Goes on after the socket became ready.
    pub(crate) fn advance(
        &mut self,
        exchange: &Exchange,
        poller: &Poller,
        buffer: &mut [u8],
    ) -> Option<Event> {
        match self.state {
            State::Closed => None,
            State::Sending { .. } => self.send(exchange, poller),
            State::ExpectHead => self.receive_head(exchange, buffer),
            State::ExpectBody { bytes_left } => self.receive_body(bytes_left, exchange, buffer),
            State::ExpectEnd => self.receive_end(buffer),
            State::Free => {
                // The peer closed an idle connection. It may; the next request dials again.
                if let Some(Transfer::Ended) = self.read(buffer) {
                    self.close();
                }
                None
            }
        }
    }

    fn send(&mut self, exchange: &Exchange, poller: &Poller) -> Option<Event> {
        let (State::Sending { mut sent }, Some(stream)) = (self.state, &self.stream) else {
            return None;
        };
        while sent < exchange.request.len() {
            let bytes = &exchange.request[sent..];
            let transfer = match &mut self.session {
                Some(session) => session.write(stream, bytes),
                None => socket::write(stream, bytes),
            };
            match transfer {
                Transfer::Moved(count) => sent += count,
                Transfer::Blocked => {
                    self.state = State::Sending { sent };
                    return self.watch(Interest::Write, poller);
                }
                Transfer::Ended => return self.fail("broken while sending".to_owned()),
            }
        }
        self.state = State::ExpectHead;
        self.watch(Interest::Read, poller)
    }

    /// Waits for `interest`, if it does not yet.
    fn watch(&mut self, interest: Interest, poller: &Poller) -> Option<Event> {
        let blocks = interest == Interest::Write;
        if self.is_blocked == blocks {
            return None;
        }
        self.is_blocked = blocks;
        let watched = poller.modify(self.stream.as_ref()?, self.token, interest);
        watched
            .err()
            .and_then(|error| self.fail(format!("epoll: {error}")))
    }

    fn receive_head(&mut self, exchange: &Exchange, buffer: &mut [u8]) -> Option<Event> {
        let count = match self.read(buffer)? {
            Transfer::Moved(count) => count,
            Transfer::Blocked => return None,
            Transfer::Ended => return self.fail("closed before the answer".to_owned()),
        };
        if self.head.is_empty() {
            return self.take_head(&buffer[..count], exchange);
        }
        let mut bytes = std::mem::take(&mut self.head);
        bytes.extend_from_slice(&buffer[..count]);
        self.take_head(&bytes, exchange)
    }

    fn take_head(&mut self, bytes: &[u8], exchange: &Exchange) -> Option<Event> {
        let Some(end) = memmem::find(bytes, b"\r\n\r\n") else {
            self.head = bytes.to_vec();
            return None;
        };
        let (head, body) = bytes.split_at(end + 4);
        if !head.starts_with(b"HTTP/1.1 200 ") {
            let line = head.split(|&byte| byte == b'\r').next().unwrap_or_default();
            let what = format!("answer {}", line.escape_ascii());
            // After a whole answer the connection is as good as after a right one.
            if content_length(head) == Some(body.len() as u64) && !exchange.closes {
                self.state = State::Free;
                return Some(Event::Wrong(what));
            }
            return self.fail(what);
        }
        if content_length(head) != Some(exchange.answer_bytes) {
            return self.fail(format!("Content-Length {:?}", content_length(head)));
        }
        match exchange.answer_bytes.checked_sub(body.len() as u64) {
            Some(bytes_left) => self.take_body(bytes_left, exchange),
            None => self.fail("more bytes than announced".to_owned()),
        }
    }

    fn receive_body(
        &mut self,
        bytes_left: u64,
        exchange: &Exchange,
        buffer: &mut [u8],
    ) -> Option<Event> {
        let room = buffer.len().min(bytes_left as usize);
        let transfer = match (&mut self.session, self.stream.as_ref()?) {
            (Some(session), stream) => session.read(stream, &mut buffer[..room]),
            (None, stream) => socket::discard(stream, &mut buffer[..room]),
        };
        match transfer {
            Transfer::Moved(count) => self.take_body(bytes_left - count as u64, exchange),
            Transfer::Blocked => None,
            Transfer::Ended => self.fail("closed within the answer".to_owned()),
        }
    }

    fn take_body(&mut self, bytes_left: u64, exchange: &Exchange) -> Option<Event> {
        if bytes_left > 0 {
            self.state = State::ExpectBody { bytes_left };
            return None;
        }
        self.state = if exchange.closes {
            State::ExpectEnd
        } else {
            State::Free
        };
        Some(Event::Answered)
    }

    fn receive_end(&mut self, buffer: &mut [u8]) -> Option<Event> {
        match self.read(buffer)? {
            Transfer::Blocked => None,
            Transfer::Moved(_) => self.fail("more bytes than announced".to_owned()),
            Transfer::Ended => {
                self.close();
                Some(Event::Free)
            }
        }
    }

    fn read(&mut self, buffer: &mut [u8]) -> Option<Transfer> {
        Some(match (&mut self.session, self.stream.as_ref()?) {
            (Some(session), stream) => session.read(stream, buffer),
            (None, stream) => socket::read(stream, buffer),
        })
    }

    fn fail(&mut self, what: String) -> Option<Event> {
        self.close();
        Some(Event::Wrong(what))
    }

    fn close(&mut self) {
        self.stream = None;
        self.session = None;
        self.state = State::Closed;
        self.is_blocked = false;
        self.head.clear();
    }
}
