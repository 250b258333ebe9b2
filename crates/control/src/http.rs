//! HTTP as this thread speaks it: GET, and answers read as strictly as on the request path.

use std::fmt::Write;

use balance::{Address, ProbeFailure};
use message::{BodyLength, Method, ResponseHead};
use tokio::io::AsyncReadExt;
use wire::h1::{BadMessage, BodyReader, Limits, ResponseReader};

use crate::connection::{Connection, Problem};

/// A GET of `path`. Without a `host` the Host field is `address`; `asker` follows our name in
/// User-Agent. An empty line is still to follow, so that fields may be added.
pub(crate) fn get(path: &str, host: Option<&str>, address: &Address, asker: &str) -> String {
    let mut request = format!("GET {path} HTTP/1.1\r\nHost: ");
    // Writing to a String cannot fail.
    let _ = match (host, address) {
        (Some(host), _) => write!(request, "{host}"),
        (None, Address::Tcp(address)) => write!(request, "{address}"),
        (None, Address::Unix(_)) => write!(request, "localhost"),
    };
    let version = env!("CARGO_PKG_VERSION");
    let _ = write!(
        request,
        "\r\nUser-Agent: pointsman/{version} {asker}\r\nAccept: */*\r\n"
    );
    request
}

/// Reads answers from a connection.
pub(crate) struct Answers {
    pub(crate) connection: Connection,
    /// What has arrived and is part of no answer yet.
    received: Vec<u8>,
}

impl Answers {
    pub(crate) fn new(connection: Connection) -> Self {
        Self {
            connection,
            received: Vec::new(),
        }
    }

    /// True if nothing is left of the answers so far.
    pub(crate) fn is_at_rest(&self) -> bool {
        self.received.is_empty()
    }

    /// Reads the head of the answer to a GET.
    pub(crate) async fn head(&mut self) -> Result<ResponseHead, Problem> {
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
                    ProbeFailure::Garbage
                } else {
                    ProbeFailure::Reset
                }));
            }
        }
    }

    /// Reads a body, or its first `bytes_max` bytes. Also tells if that was all.
    pub(crate) async fn body(
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
        Self::Endpoint(ProbeFailure::Garbage)
    }
}

/// The same as for endpoints on the request path: what is too much there is too much here.
const LIMITS: Limits = Limits {
    head_bytes: 32 * 1024,
    fields: 100,
    line_bytes: 8 * 1024,
};
