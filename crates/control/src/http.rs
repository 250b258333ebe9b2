//! HTTP as this thread speaks it: GET, and answers read as strictly as on the request path.

use std::fmt::Write;

use balance::{Address, ProbeFailure};
use message::{BodyLength, Method, ResponseHead};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::Instant;
use wire::h1::{BadMessage, BodyReader, Limits, ResponseReader};

use crate::connection::{self, Connection, Problem};
use crate::http2::Http2;

/// The head of a GET of `path`, without its empty line, so that fields may be added. Without a
/// `host` the Host field is `address`; `asker` follows our name in User-Agent.
pub(crate) fn get(path: &str, host: Option<&str>, address: &Address, asker: &str) -> String {
    let mut head = request_head("GET", path, host, address, asker);
    head.push_str("Accept: */*\r\n");
    head
}

/// What the heads of all requests begin with.
pub(crate) fn request_head(
    method: &str,
    path: &str,
    host: Option<&str>,
    address: &Address,
    asker: &str,
) -> String {
    let mut head = format!("{method} {path} HTTP/1.1\r\nHost: ");
    // Writing to a String cannot fail.
    let _ = match (host, address) {
        (Some(host), _) => write!(head, "{host}"),
        (None, Address::Tcp(address)) => write!(head, "{address}"),
        (None, Address::Unix(_)) => write!(head, "localhost"),
    };
    let version = env!("CARGO_PKG_VERSION");
    let _ = write!(head, "\r\nUser-Agent: pointsman/{version} {asker}\r\n");
    head
}

/// A connection for one question after the other.
pub(crate) enum Http {
    H1(Http1),
    H2(Box<Http2>),
}

impl Http {
    pub(crate) fn new(connection: Connection) -> Self {
        if connection.is_http2 {
            Self::H2(Box::new(Http2::new(connection)))
        } else {
            Self::H1(Http1 {
                connection,
                received: Vec::new(),
            })
        }
    }

    /// Asks, by a head of [`get`].
    pub(crate) async fn ask(&mut self, head: String) -> Result<(), Problem> {
        match self {
            Self::H1(http) => http.ask(head + "\r\n").await,
            Self::H2(http) => http.ask(head + "\r\n", &[]).await,
        }
    }

    /// As [`Self::ask`], and says that it is the last time.
    pub(crate) async fn ask_once(&mut self, head: String) -> Result<(), Problem> {
        match self {
            Self::H1(http) => http.ask(head + "Connection: close\r\n\r\n").await,
            Self::H2(_) => self.ask(head).await,
        }
    }

    /// Reads the head of the answer.
    pub(crate) async fn head(&mut self) -> Result<ResponseHead, Problem> {
        match self {
            Self::H1(http) => http.head().await,
            Self::H2(http) => http.head().await,
        }
    }

    /// Reads the body of the answer that began with `head`, or its first `bytes_max` bytes. Also
    /// tells if that was all.
    pub(crate) async fn body(
        &mut self,
        head: &ResponseHead,
        bytes_max: usize,
    ) -> Result<(Vec<u8>, bool), Problem> {
        match self {
            Self::H1(http) => http.body(head.body_length, bytes_max).await,
            Self::H2(http) => http.body(bytes_max).await,
        }
    }

    /// True if another question may follow the one whose answer, which began with `head`, was read
    /// to its end.
    pub(crate) fn is_kept(&self, head: &ResponseHead) -> bool {
        match self {
            Self::H1(http) => head.keep_alive && http.received.is_empty(),
            Self::H2(http) => http.is_kept(),
        }
    }

    /// Nothing more is asked.
    pub(crate) fn end(self, deadline: Instant) {
        match self {
            Self::H1(http) => connection::end(http.connection, deadline),
            Self::H2(http) => http.end(deadline),
        }
    }
}

/// A connection that speaks HTTP/1.1.
pub(crate) struct Http1 {
    connection: Connection,
    /// What has arrived and is part of no answer yet.
    received: Vec<u8>,
}

impl Http1 {
    async fn ask(&mut self, request: String) -> Result<(), Problem> {
        Ok(self.connection.write_all(request.as_bytes()).await?)
    }

    async fn head(&mut self) -> Result<ResponseHead, Problem> {
        let (mut reader, mut head) = (ResponseReader::default(), ResponseHead::default());
        loop {
            let read = reader.receive(&self.received, &LIMITS, Method::Get, &mut head)?;
            if let Some(consumed) = read {
                self.received.drain(..consumed);
                return Ok(head);
            }
            if self.receive().await? == 0 {
                let is_cut = !self.received.is_empty();
                return Err(Problem::Endpoint(if is_cut {
                    ProbeFailure::Garbage("HTTP")
                } else {
                    ProbeFailure::Reset
                }));
            }
        }
    }

    async fn body(
        &mut self,
        length: BodyLength,
        bytes_max: usize,
    ) -> Result<(Vec<u8>, bool), Problem> {
        let (mut reader, mut body) = (BodyReader::new(length), Vec::new());
        while !reader.is_done() && body.len() < bytes_max {
            let step = reader.receive(&self.received)?;
            body.extend_from_slice(&self.received[step.data]);
            self.received.drain(..step.consumed);
            let is_stuck = step.consumed == 0;
            if is_stuck && self.receive().await? == 0 && !reader.receive_close() {
                return Err(Problem::Endpoint(ProbeFailure::Reset));
            }
        }
        body.truncate(bytes_max);
        Ok((body, reader.is_done()))
    }

    async fn receive(&mut self) -> Result<usize, Problem> {
        Ok(self.connection.read_buf(&mut self.received).await?)
    }
}

impl From<BadMessage> for Problem {
    fn from(_: BadMessage) -> Self {
        Self::Endpoint(ProbeFailure::Garbage("HTTP"))
    }
}

/// The same as for endpoints on the request path: what is too much there is too much here.
pub(crate) const LIMITS: Limits = Limits {
    head_bytes: 32 * 1024,
    fields: 100,
    line_bytes: 8 * 1024,
};
