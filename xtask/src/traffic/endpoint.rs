//! Endpoints that cost little: fixed answers, made before the first request.
//!
//! `/0`, `/1k`, `/100k` and `/1m` answer that many bytes, anything else 404. A request body is read and
//! dropped; its length must be announced with Content-Length, as every load balancer forwards it
//! when the client announced it. Requests are not checked: what sends them is under test
//! elsewhere.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsRawFd;

use anyhow::Result;
use memchr::memmem;

use crate::socket::{self, Interest, Poller, Transfer};

/// Two endpoints and all connections to them.
pub(super) struct Endpoints {
    listeners: Vec<Listener>,
    answers: Vec<Answer>,
    /// By file descriptor.
    connections: Vec<Option<Connection>>,
}

struct Listener {
    socket: TcpListener,
    address: SocketAddr,
    requests: u64,
    connections: u64,
}

struct Answer {
    path: &'static [u8],
    bytes: Vec<u8>,
}

struct Connection {
    stream: TcpStream,
    listener: usize,
    /// The beginning of a request head whose end has not arrived.
    head: Vec<u8>,
    /// Bytes of the request's body that are still to come.
    body_bytes_left: u64,
    /// What to answer once the body is here.
    answer: usize,
    /// How much of `answer` has been sent, while the socket takes no more.
    sent: Option<usize>,
    closes: bool,
}

/// How a connection goes on.
#[derive(PartialEq)]
enum Next {
    Wait,
    Close,
}

impl Endpoints {
    pub(super) fn listen(poller: &Poller) -> Result<Self> {
        let mut listeners = Vec::new();
        for index in 0..LISTENERS {
            let (socket, address) = socket::listen()?;
            poller.add(&socket, index, Interest::Read)?;
            listeners.push(Listener {
                socket,
                address,
                requests: 0,
                connections: 0,
            });
        }
        Ok(Self {
            listeners,
            answers: vec![
                Answer::new(b"", 404, 0),
                Answer::new(b"/0", 200, 0),
                Answer::new(b"/1k", 200, 1024),
                Answer::new(b"/100k", 200, 100 * 1024),
                Answer::new(b"/1m", 200, 1024 * 1024),
            ],
            connections: Vec::new(),
        })
    }

    pub(super) fn addresses(&self) -> Vec<SocketAddr> {
        self.listeners
            .iter()
            .map(|listener| listener.address)
            .collect()
    }

    pub(super) fn request_counts(&self) -> Vec<u64> {
        self.listeners
            .iter()
            .map(|listener| listener.requests)
            .collect()
    }

    pub(super) fn connection_count(&self) -> u64 {
        self.listeners
            .iter()
            .map(|listener| listener.connections)
            .sum()
    }

    /// Does what the event `token` is about.
    pub(super) fn advance(&mut self, token: u64, poller: &Poller, buffer: &mut [u8]) -> Result<()> {
        let Some(index) = token.checked_sub(LISTENERS) else {
            return self.accept(token as usize, poller);
        };
        let index = index as usize;
        let Some(connection) = self.connections.get_mut(index).and_then(Option::as_mut) else {
            return Ok(());
        };
        let requests = &mut self.listeners[connection.listener].requests;
        let next = if connection.sent.is_some() {
            connection.send(&self.answers, poller)?
        } else {
            connection.receive(&self.answers, requests, poller, buffer)?
        };
        if next == Next::Close {
            self.connections[index] = None;
        }
        Ok(())
    }

    fn accept(&mut self, listener: usize, poller: &Poller) -> Result<()> {
        for _ in 0..ACCEPTS_PER_EVENT {
            let Some(stream) = socket::accept(&self.listeners[listener].socket)? else {
                break;
            };
            self.listeners[listener].connections += 1;
            let connection = Connection {
                stream,
                listener,
                head: Vec::new(),
                body_bytes_left: 0,
                answer: 0,
                sent: None,
                closes: false,
            };
            let index = connection.stream.as_raw_fd() as usize;
            poller.add(&connection.stream, connection.token(), Interest::Read)?;
            if self.connections.len() <= index {
                self.connections.resize_with(index + 1, || None);
            }
            self.connections[index] = Some(connection);
        }
        Ok(())
    }
}

impl Answer {
    fn new(path: &'static [u8], status: u16, body_bytes: usize) -> Self {
        let reason = if status == 200 { "OK" } else { "Not Found" };
        let mut bytes = format!(
            "HTTP/1.1 {status} {reason}\r\nServer: endpoint\r\nDate: Sat, 01 Jan 2028 00:00:00 GMT\r\n\
             Content-Type: text/plain\r\nContent-Length: {body_bytes}\r\n\r\n"
        )
        .into_bytes();
        bytes.resize(bytes.len() + body_bytes, b'x');
        Self { path, bytes }
    }
}

impl Connection {
    fn token(&self) -> u64 {
        LISTENERS + self.stream.as_raw_fd() as u64
    }

    /// Reads once, and answers each request that is complete.
    fn receive(
        &mut self,
        answers: &[Answer],
        requests: &mut u64,
        poller: &Poller,
        buffer: &mut [u8],
    ) -> Result<Next> {
        let count = match socket::read(&self.stream, buffer) {
            Transfer::Moved(count) => count,
            Transfer::Blocked => return Ok(Next::Wait),
            Transfer::Ended => return Ok(Next::Close),
        };
        if self.head.is_empty() {
            return self.take(&buffer[..count], answers, requests, poller);
        }
        let mut bytes = std::mem::take(&mut self.head);
        bytes.extend_from_slice(&buffer[..count]);
        self.take(&bytes, answers, requests, poller)
    }

    fn take(
        &mut self,
        mut bytes: &[u8],
        answers: &[Answer],
        requests: &mut u64,
        poller: &Poller,
    ) -> Result<Next> {
        while !bytes.is_empty() {
            if self.body_bytes_left == 0 {
                let Some(end) = memmem::find(bytes, b"\r\n\r\n") else {
                    self.head = bytes.to_vec();
                    return Ok(Next::Wait);
                };
                let (head, rest) = bytes.split_at(end + 4);
                self.take_head(head, answers);
                bytes = rest;
            }
            let body = self.body_bytes_left.min(bytes.len() as u64);
            self.body_bytes_left -= body;
            bytes = &bytes[body as usize..];
            if self.body_bytes_left > 0 {
                return Ok(Next::Wait);
            }
            *requests += 1;
            self.sent = Some(0);
            let next = self.send(answers, poller)?;
            if next == Next::Close {
                return Ok(next);
            }
            if self.sent.is_some() {
                // Nobody here pipelines: what follows an unfinished answer is no request.
                debug_assert!(
                    bytes.is_empty(),
                    "a second request before the first was answered"
                );
                return Ok(Next::Wait);
            }
        }
        Ok(Next::Wait)
    }

    fn take_head(&mut self, head: &[u8], answers: &[Answer]) {
        let mut words = head.split(|&byte| byte == b' ');
        let path = words.nth(1).unwrap_or_default();
        self.answer = answers
            .iter()
            .position(|answer| answer.path == path)
            .unwrap_or(0);
        self.body_bytes_left = content_length(head).unwrap_or(0);
        self.closes = memmem::find(head, b"onnection: close").is_some();
    }

    /// Sends what is left of the answer.
    fn send(&mut self, answers: &[Answer], poller: &Poller) -> Result<Next> {
        let answer = &answers[self.answer].bytes;
        let mut sent = self.sent.unwrap_or(0);
        let was_blocked = sent > 0;
        while sent < answer.len() {
            match socket::write(&self.stream, &answer[sent..]) {
                Transfer::Moved(count) => sent += count,
                Transfer::Blocked => {
                    self.sent = Some(sent);
                    poller.modify(&self.stream, self.token(), Interest::Write)?;
                    return Ok(Next::Wait);
                }
                Transfer::Ended => return Ok(Next::Close),
            }
        }
        self.sent = None;
        if self.closes {
            return Ok(Next::Close);
        }
        if was_blocked {
            poller.modify(&self.stream, self.token(), Interest::Read)?;
        }
        Ok(Next::Wait)
    }
}

/// The value of Content-Length in a head, if there is one.
pub(super) fn content_length(head: &[u8]) -> Option<u64> {
    const NAME: &[u8] = b"content-length:";
    let line = memchr::memchr_iter(b'\n', head)
        .map(|end| &head[end + 1..])
        .find(|line| line.len() > NAME.len() && line[..NAME.len()].eq_ignore_ascii_case(NAME))?;
    let digits = line[NAME.len()..].trim_ascii_start();
    let end = digits.iter().position(|byte| !byte.is_ascii_digit())?;
    std::str::from_utf8(&digits[..end]).ok()?.parse().ok()
}

const LISTENERS: u64 = 2;
const ACCEPTS_PER_EVENT: usize = 64;

#[cfg(test)]
mod tests {
    use super::content_length;

    #[test]
    fn the_content_length_is_found_in_any_case_and_nowhere_else() {
        for (head, length) in [
            ("GET / HTTP/1.1\r\ncontent-LENGTH: 12\r\n\r\n", Some(12)),
            (
                "GET / HTTP/1.1\r\nA: b\r\nContent-Length:7\r\n\r\n",
                Some(7),
            ),
            ("GET / HTTP/1.1\r\nX-Content-Length: 7\r\n\r\n", None),
            ("GET /content-length:3 HTTP/1.1\r\n\r\n", None),
            ("GET / HTTP/1.1\r\nContent-Length: x\r\n\r\n", None),
        ] {
            assert_eq!(content_length(head.as_bytes()), length, "{head}");
        }
    }
}
