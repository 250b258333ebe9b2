//! HTTP/2 as this thread speaks it: one question at a time.

use balance::ProbeFailure;
use message::ResponseHead;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::Instant;
use wire::h2::{ConnectionError, ErrorCode, Event, Read, Settings, StreamKey};

use crate::connection::{self, Connection, Problem};
use crate::http::LIMITS;

/// A connection for one question after the other.
pub(crate) struct Http2 {
    connection: Connection,
    h2: wire::h2::Connection,
    /// What has arrived and was not looked at.
    received: Vec<u8>,
    /// Of the last question.
    stream: Option<StreamKey>,
}

impl Http2 {
    pub(crate) fn new(connection: Connection) -> Self {
        Self {
            connection,
            h2: wire::h2::Connection::client(SETTINGS, Instant::now().into_std()),
            received: Vec::new(),
            stream: None,
        }
    }

    /// Asks: `head` is the text of a request, `body` what follows it.
    pub(crate) async fn ask(&mut self, head: String, body: &[u8]) -> Result<(), Problem> {
        if let Some(last) = self.stream.take() {
            self.h2.free(last);
        }
        let stream = self.h2.open(head.as_bytes(), body.is_empty());
        // It was asked before, and has said since that it takes no more.
        let stream = stream.ok_or(Problem::Endpoint(ProbeFailure::Reset))?;
        self.stream = Some(stream);
        let mut rest = body;
        while !rest.is_empty() {
            let sent = self.h2.send_data(stream, rest, true)?;
            rest = &rest[sent..];
            if !rest.is_empty() {
                self.next().await?;
            }
        }
        self.flush().await
    }

    /// Reads the head of the answer, past interim ones.
    pub(crate) async fn head(&mut self) -> Result<ResponseHead, Problem> {
        let mut head = ResponseHead::default();
        loop {
            if self.next().await? == Event::Response(self.asked()) {
                self.h2.take_response(&mut head);
                if !head.status.is_informational() {
                    return Ok(head);
                }
            }
        }
    }

    /// Reads the body of the answer, or its first `bytes_max` bytes. Also tells if that was all.
    pub(crate) async fn body(&mut self, bytes_max: usize) -> Result<(Vec<u8>, bool), Problem> {
        let mut body = vec![0; bytes_max];
        let mut count = 0;
        while count < bytes_max {
            match self.h2.read(self.asked(), &mut body[count..]) {
                Read::Data(read) => count += read,
                Read::Nothing => {
                    self.next().await?;
                }
                Read::End => {
                    body.truncate(count);
                    return Ok((body, true));
                }
                Read::Reset(code) => return Err(code.into()),
            }
        }
        Ok((body, false))
    }

    /// The field lines behind a body that was read to its end.
    pub(crate) fn trailers(&self) -> &[u8] {
        self.h2.trailers(self.asked())
    }

    /// True if another question may follow.
    pub(crate) fn is_kept(&self) -> bool {
        !self.h2.is_going_away()
    }

    /// Nothing more is asked.
    pub(crate) fn end(mut self: Box<Self>, deadline: Instant) {
        if let Some(last) = self.stream.take() {
            self.h2.free(last);
        }
        self.h2.go_away();
        let saying = async move {
            // Who does not listen any more need not be told.
            if self.flush().await.is_ok() {
                connection::end(self.connection, deadline);
            }
        };
        tokio::spawn(tokio::time::timeout_at(deadline, saying));
    }

    fn asked(&self) -> StreamKey {
        self.stream.expect("answers are read after a question")
    }

    /// The next thing that happens. A reset of the question is an error.
    async fn next(&mut self) -> Result<Event, Problem> {
        loop {
            let now = Instant::now().into_std();
            let (taken, event) = self.h2.receive(&self.received, now)?;
            self.received.drain(..taken);
            match event {
                Some(Event::Reset(stream, code)) if self.stream == Some(stream) => {
                    return Err(code.into());
                }
                Some(event) => return Ok(event),
                None => {}
            }
            self.flush().await?;
            if self.connection.read_buf(&mut self.received).await? == 0 {
                return Err(Problem::Endpoint(ProbeFailure::Reset));
            }
        }
    }

    /// Sends what is owed.
    async fn flush(&mut self) -> Result<(), Problem> {
        while !self.h2.output().is_empty() {
            let count = self.connection.write(self.h2.output()).await?;
            self.h2.sent(count);
        }
        Ok(())
    }
}

/// Who breaks the rules of HTTP/2 does not speak it.
impl From<ConnectionError> for Problem {
    fn from(_: ConnectionError) -> Self {
        Self::Endpoint(ProbeFailure::Garbage("HTTP"))
    }
}

impl From<ErrorCode> for Problem {
    fn from(_: ErrorCode) -> Self {
        Self::Endpoint(ProbeFailure::Reset)
    }
}

/// Small windows: answers are short, and of long ones the beginning is read.
const SETTINGS: Settings = Settings {
    limits: LIMITS,
    streams_max: 1,
    stream_window: 64 * 1024,
    connection_window: 64 * 1024,
    connect_protocol: false,
};
