//! One connection: frames in and out, streams, windows.

use std::time::Instant;

use message::{RequestHead, ResponseHead};

use crate::h1::Limits;

/// What we tell the peer, and hold it to.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// Bounds of a head, those of HTTP/1.1: a cookie crumb counts as a field.
    pub limits: Limits,
    /// Streams that the peer may have open at once (SETTINGS_MAX_CONCURRENT_STREAMS).
    pub streams_max: u32,
    /// Bytes of one stream that may arrive before they are read.
    pub stream_window: u32,
    /// Bytes of all streams that may arrive before they are read.
    pub connection_window: u32,
    /// Extended CONNECT is allowed (RFC 8441).
    pub connect_protocol: bool,
}

/// A stream of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct StreamKey {
    /// Where the connection keeps it; small, used again once it was freed.
    pub index: u32,
    /// Its identifier on the wire.
    pub id: u32,
}

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// A request has arrived: [`Connection::take_request`] has its head. Servers only.
    Request(StreamKey),
    /// A head of a response has arrived, perhaps an interim one: [`Connection::take_response`].
    Response(StreamKey),
    /// There is more to [`Connection::read`]: data, or the end with perhaps trailers.
    Body(StreamKey),
    /// The stream was reset, by the peer or because it broke a rule.
    Reset(StreamKey, ErrorCode),
    /// The peer gave more room or the settings changed: ask [`Connection::poll_writable`].
    Window,
    /// The peer takes no more streams. Those that it will not work on got a
    /// `Reset(_, RefusedStream)` each.
    GoAway,
}

/// What [`Connection::read`] gave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Read {
    /// This many bytes of content.
    Data(usize),
    /// Nothing yet.
    Nothing,
    /// The body is complete; there may be trailers.
    End,
    /// The stream was reset.
    Reset(ErrorCode),
}

/// Why a stream or a connection ends (RFC 9113 §7).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are those of the RFC")]
#[repr(u32)]
pub enum ErrorCode {
    NoError = 0,
    ProtocolError = 1,
    InternalError = 2,
    FlowControlError = 3,
    SettingsTimeout = 4,
    StreamClosed = 5,
    FrameSizeError = 6,
    RefusedStream = 7,
    Cancel = 8,
    CompressionError = 9,
    ConnectError = 10,
    EnhanceYourCalm = 11,
    InadequateSecurity = 12,
    Http11Required = 13,
}

/// The connection is over: what is owed says so to the peer and is to be sent, nothing more read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConnectionError {
    /// As it stands in our GOAWAY.
    pub code: ErrorCode,
    /// The rule, in a word or two, for logs.
    pub rule: &'static str,
}

/// One HTTP/2 connection.
#[derive(Debug)]
pub struct Connection {}

#[expect(unused_variables, clippy::unimplemented, reason = "a skeleton")]
impl Connection {
    /// The side that accepts. Owes its SETTINGS at once.
    pub fn server(settings: Settings, now: Instant) -> Self {
        unimplemented!()
    }

    /// The side that opens. Owes the preface and its SETTINGS at once.
    pub fn client(settings: Settings, now: Instant) -> Self {
        unimplemented!()
    }

    /// Takes bytes from the peer until something happens that the caller should know. Returns how
    /// many were taken, and what happened. Call again with the rest until there is no event.
    ///
    /// # Errors
    /// The peer broke a rule of the connection, or asks for too much work.
    pub fn receive(
        &mut self,
        bytes: &[u8],
        now: Instant,
    ) -> Result<(usize, Option<Event>), ConnectionError> {
        unimplemented!()
    }

    /// Swaps the head of the [`Event::Request`] that has just come into `head`.
    pub fn take_request(&mut self, head: &mut RequestHead) {
        unimplemented!()
    }

    /// Swaps the head of the [`Event::Response`] that has just come into `head`.
    pub fn take_response(&mut self, head: &mut ResponseHead) {
        unimplemented!()
    }

    /// Moves content that has arrived into `out`, and gives the peer room for as much again.
    pub fn read(&mut self, key: StreamKey, out: &mut [u8]) -> Read {
        unimplemented!()
    }

    /// Field lines behind the body, as text, each with its CR LF.
    pub fn trailers(&self, key: StreamKey) -> &[u8] {
        unimplemented!()
    }

    /// Opens a stream with the request whose HTTP/1.1 text is `head`. `None`: the peer has as many
    /// streams as it may, or takes no more. Clients only.
    pub fn open(&mut self, head: &[u8], is_end: bool) -> Option<StreamKey> {
        unimplemented!()
    }

    /// Sends the response whose HTTP/1.1 text is `head`: several interim ones and a final one.
    /// Nothing happens on a stream that was reset. Servers only.
    pub fn send_head(&mut self, key: StreamKey, head: &[u8], is_end: bool) {
        unimplemented!()
    }

    /// Sends content as far as windows allow. Returns how many bytes were taken; the end is sent
    /// only with the last of them. Where not all were, [`Self::poll_writable`] will name the
    /// stream.
    ///
    /// # Errors
    /// The stream was reset.
    pub fn send_data(
        &mut self,
        key: StreamKey,
        data: &[u8],
        is_end: bool,
    ) -> Result<usize, ErrorCode> {
        unimplemented!()
    }

    /// Sends the end of the body, with the field lines `trailers`, perhaps none.
    pub fn send_trailers(&mut self, key: StreamKey, trailers: &[u8]) {
        unimplemented!()
    }

    /// Resets the stream, unless it is over.
    pub fn reset(&mut self, key: StreamKey, code: ErrorCode) {
        unimplemented!()
    }

    /// Nobody holds the stream any more. Resets it unless it is over both ways: without an error
    /// if only the peer's side is open.
    pub fn free(&mut self, key: StreamKey) {
        unimplemented!()
    }

    /// The next stream that has room to send again, in turn. Call until `None`, after
    /// [`Event::Window`] and after output has left.
    pub fn poll_writable(&mut self) -> Option<StreamKey> {
        unimplemented!()
    }

    /// Tells the peer that no more streams are taken: at first all that are on their way still
    /// are, at the second call none.
    pub fn go_away(&mut self) {
        unimplemented!()
    }

    /// The connection must end now: owes a GOAWAY with this code.
    pub fn fail(&mut self, code: ErrorCode, rule: &'static str) -> ConnectionError {
        unimplemented!()
    }

    /// Bytes owed to the peer.
    pub fn output(&self) -> &[u8] {
        unimplemented!()
    }

    /// The first `count` bytes of the output have left.
    pub fn sent(&mut self, count: usize) {
        unimplemented!()
    }

    /// Streams that are open or not freed.
    pub fn streams(&self) -> usize {
        unimplemented!()
    }

    /// Streams that may still be opened now. Clients only.
    pub fn streams_left(&self) -> usize {
        unimplemented!()
    }

    /// True once the peer allows extended CONNECT (RFC 8441). Clients only.
    pub fn allows_connect_protocol(&self) -> bool {
        unimplemented!()
    }

    /// True once either side has said that no more streams are taken.
    pub fn is_going_away(&self) -> bool {
        unimplemented!()
    }

    /// Owes a PING. Its answer counts as bytes that arrive.
    pub fn ping(&mut self) {
        unimplemented!()
    }

    /// When to call [`Self::expire`], if nothing arrives before.
    pub fn deadline(&self) -> Option<Instant> {
        unimplemented!()
    }

    /// Acts on every deadline up to `now`.
    ///
    /// # Errors
    /// The peer did not confirm our settings in time.
    pub fn expire(&mut self, now: Instant) -> Result<(), ConnectionError> {
        unimplemented!()
    }
}
