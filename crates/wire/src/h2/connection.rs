//! One connection: what its caller does with it. What it sends is in `send`, what the peer does in
//! `receive`.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use message::{RequestHead, ResponseHead};

use super::error::{self, ConnectionError, ErrorCode};
use super::frame::{MAX_31_BITS, PREFACE, flag, kind};
use super::guard::Guard;
use super::hpack::{Decoder, Encoder};
use super::intake::{Expect, Intake};
use super::output::Output;
use super::receive::Block;
use super::settings::{PeerSettings, Settings};
use super::stream::{Receive, Reset, Send};
use super::streams::Streams;
use super::window::{INITIAL_WINDOW, ReceiveWindow, SendWindow};
use crate::h1::BadMessage;

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
    /// A request has arrived that is well framed, but not one that is taken, and for this reason.
    /// There is no head of it, and it is to be answered like any other. Servers only.
    Rejected(StreamKey, BadMessage),
    /// A head of a response has arrived, perhaps an interim one: [`Connection::take_response`].
    Response(StreamKey),
    /// There is more to [`Connection::read`]: data, or the end with perhaps trailers.
    Body(StreamKey),
    /// The stream was reset, by the peer or because it broke a rule. To a client, `NoError` says
    /// that the response is complete, can be read, and no more of the request is wanted.
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
    /// This many bytes of content. Zero only if there was no room for any.
    Data(usize),
    /// Nothing yet.
    Nothing,
    /// The body is complete; there may be trailers.
    End,
    /// The stream was reset.
    Reset(ErrorCode),
}

/// One HTTP/2 connection.
#[derive(Debug)]
pub struct Connection {
    pub(super) role: Role,
    pub(super) settings: Settings,
    pub(super) peer: PeerSettings,
    /// Time of the last call that told it.
    pub(super) now: Instant,
    pub(super) intake: Intake,
    pub(super) block: Block,
    /// The stream that DATA under way is of; `None`: it is skipped.
    pub(super) sink: Option<StreamKey>,
    /// What happened besides what was told, by one frame.
    pub(super) events: VecDeque<Event>,
    pub(super) streams: Streams,
    /// The largest identifier that the peer has opened.
    pub(super) peer_last: u32,
    /// The identifiers that the peer skipped last: the first, and the one behind.
    pub(super) peer_skipped: (u32, u32),
    /// The identifier that we open next.
    pub(super) our_next: u32,
    pub(super) decoder: Decoder,
    pub(super) encoder: Encoder,
    /// `:scheme` of requests that we send.
    pub(super) scheme: &'static str,
    pub(super) request: RequestHead,
    pub(super) response: ResponseHead,
    pub(super) output: Output,
    pub(super) send_window: SendWindow,
    pub(super) receive_window: ReceiveWindow,
    /// The window of a stream that the peer opens, as far as it has confirmed it.
    pub(super) stream_window: u32,
    /// Until when our SETTINGS are to be confirmed; `None`: they were.
    pub(super) settings_until: Option<Instant>,
    pub(super) guard: Guard,
    pub(super) leaving: Leaving,
    /// The peer has said that it takes no more streams.
    pub(super) is_peer_leaving: bool,
    pub(super) failed: Option<ConnectionError>,
}

/// Which side of the connection we are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    Server,
    Client,
}

/// How far we are in saying goodbye (§6.8).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Leaving {
    Not,
    /// We have said that we will.
    Announced,
    /// No stream is taken any more.
    Final,
}

/// Time that the peer has to confirm our SETTINGS.
pub(super) const SETTINGS_TIMEOUT: Duration = Duration::from_secs(10);

/// Time that a header block has to come whole: nothing else can come meanwhile. That of a head in
/// HTTP/1.1.
pub(super) const BLOCK_TIMEOUT: Duration = Duration::from_secs(10);

/// Memory of a head or block that is kept while no stream is open.
const BYTES_KEPT: usize = 1024;

/// What our PINGs hold. Nothing is measured with them.
const PING_PAYLOAD: [u8; 8] = [0; 8];

impl Connection {
    /// The side that accepts. Owes its SETTINGS at once.
    pub fn server(settings: Settings, now: Instant) -> Self {
        let mut connection = Self::new(Role::Server, settings, now);
        let payload = connection.settings.of_server();
        connection.begin(&payload);
        connection
    }

    /// The side that opens. Owes the preface and its SETTINGS at once.
    pub fn client(settings: Settings, now: Instant) -> Self {
        let mut connection = Self::new(Role::Client, settings, now);
        connection.output.push_raw(PREFACE);
        let payload = connection.settings.of_client();
        connection.begin(&payload);
        connection
    }

    fn new(role: Role, settings: Settings, now: Instant) -> Self {
        let settings = settings.clamped();
        let expect = match role {
            Role::Server => Expect::Preface { matched: 0 },
            Role::Client => Expect::Header,
        };
        Self {
            role,
            settings,
            peer: PeerSettings::default(),
            now,
            intake: Intake::new(expect),
            block: Block::default(),
            sink: None,
            events: VecDeque::new(),
            streams: Streams::default(),
            peer_last: 0,
            peer_skipped: (0, 0),
            our_next: 1,
            decoder: Decoder::default(),
            encoder: Encoder::default(),
            scheme: "http",
            request: RequestHead::default(),
            response: ResponseHead::default(),
            output: Output::default(),
            send_window: SendWindow::new(INITIAL_WINDOW),
            receive_window: ReceiveWindow::new(
                settings.connection_window,
                settings.connection_window,
            ),
            // Until the peer has confirmed a smaller one, it may use what connections begin with.
            stream_window: settings.stream_window.max(INITIAL_WINDOW),
            settings_until: Some(now + SETTINGS_TIMEOUT),
            guard: Guard::new(now),
            leaving: Leaving::Not,
            is_peer_leaving: false,
            failed: None,
        }
    }

    /// Owes the SETTINGS, and the window of the connection, which they cannot set (§6.9.2).
    fn begin(&mut self, settings: &[u8]) {
        self.output.push_control(kind::SETTINGS, 0, 0, settings);
        let more = self.settings.connection_window - INITIAL_WINDOW;
        if more > 0 {
            self.push_window_update(0, more);
        }
    }

    /// Says which `:scheme` requests have; `http` unless told. Clients only.
    pub fn set_scheme(&mut self, scheme: &'static str) {
        self.scheme = scheme;
    }

    /// Swaps the head of the [`Event::Request`] that has just come into `head`.
    pub fn take_request(&mut self, head: &mut RequestHead) {
        std::mem::swap(&mut self.request, head);
        self.request.clear();
    }

    /// Swaps the head of the [`Event::Response`] that has just come into `head`.
    pub fn take_response(&mut self, head: &mut ResponseHead) {
        std::mem::swap(&mut self.response, head);
        self.response.clear();
    }

    /// Moves content that has arrived into `out`, and gives the peer room for as much again.
    pub fn read(&mut self, key: StreamKey, out: &mut [u8]) -> Read {
        let Some(stream) = self.streams.get(key) else {
            return Read::Reset(ErrorCode::StreamClosed);
        };
        if stream.content.len() > 0 {
            let count = stream.content.read(out);
            // A peer that has nothing more to send needs no window.
            let update = match stream.receive {
                Receive::Done => None,
                _ => stream.receive_window.consume(count),
            };
            if let Some(bytes) = update {
                self.push_window_update(key.id, bytes);
            }
            self.consume(count);
            return Read::Data(count);
        }
        match stream.reset {
            Some(reset) if !stream.is_received() => Read::Reset(reset.code),
            _ if stream.receive == Receive::Done => Read::End,
            _ => Read::Nothing,
        }
    }

    /// Field lines behind the body, as text, each with its CR LF.
    pub fn trailers(&self, key: StreamKey) -> &[u8] {
        self.streams
            .peek(key)
            .map_or(&[], |stream| &stream.trailers)
    }

    /// Resets the stream, unless it is over.
    pub fn reset(&mut self, key: StreamKey, code: ErrorCode) {
        let Some(stream) = self.streams.get(key).filter(|stream| !stream.is_closed()) else {
            return;
        };
        let may_send = stream.receive != Receive::Done;
        stream.reset = Some(Reset { code, by_us: true });
        let unread = stream.content.clear();
        self.push_reset(key.id, code);
        if may_send {
            self.streams.remember_reset(key.id);
        }
        self.streams.settle(key);
        self.consume(unread);
    }

    /// Nobody holds the stream any more. Resets it unless it is over both ways: without an error
    /// if only the peer's side is open.
    pub fn free(&mut self, key: StreamKey) {
        let Some(stream) = self.streams.get(key) else {
            return;
        };
        let code = match (self.role, stream.send) {
            // The response is whole, the rest of the request not needed (RFC 9113 §8.1).
            (Role::Server, Send::Done) => ErrorCode::NoError,
            (Role::Server, _) => ErrorCode::InternalError,
            (Role::Client, _) => ErrorCode::Cancel,
        };
        let unread = stream.content.clear();
        self.consume(unread);
        self.reset(key, code);
        self.streams.remove(key);
        self.release();
    }

    /// Tells the peer that no more streams are taken: at first all that are on their way still
    /// are, at the second call none.
    pub fn go_away(&mut self) {
        let last = match (self.role, self.leaving) {
            (_, Leaving::Final) => return,
            // Whoever is told so takes its time to stop (§6.8).
            (Role::Server, Leaving::Not) => {
                self.leaving = Leaving::Announced;
                MAX_31_BITS
            }
            // Of a server, streams would be pushed.
            (Role::Server, Leaving::Announced) | (Role::Client, _) => {
                self.leaving = Leaving::Final;
                self.peer_last
            }
        };
        self.push_go_away(last, ErrorCode::NoError);
    }

    /// The connection must end now: owes a GOAWAY with this code.
    pub fn fail(&mut self, code: ErrorCode, rule: &'static str) -> ConnectionError {
        self.fail_with(ConnectionError::new(code, rule))
    }

    pub(super) fn fail_with(&mut self, error: ConnectionError) -> ConnectionError {
        if let Some(error) = self.failed {
            return error;
        }
        self.failed = Some(error);
        self.push_go_away(self.peer_last, error.code);
        error
    }

    /// Bytes owed to the peer.
    pub fn output(&self) -> &[u8] {
        self.output.owed()
    }

    /// The first `count` bytes of the output have left.
    pub fn sent(&mut self, count: usize) {
        self.output.sent(count);
        if self.streams.count() == 0 {
            self.output.release();
        }
    }

    /// True if some of the request on the stream has left: if not, nobody has worked on it.
    /// Clients only.
    pub fn has_sent(&self, key: StreamKey) -> bool {
        let stream = self.streams.peek(key);
        stream.is_none_or(|stream| self.output.has_sent(stream.head_at))
    }

    /// Streams that are open or not freed.
    pub fn streams(&self) -> usize {
        self.streams.count()
    }

    /// Streams that may still be opened now. Clients only.
    pub fn streams_left(&self) -> usize {
        if self.is_going_away() || self.failed.is_some() || self.our_next > MAX_31_BITS {
            return 0;
        }
        let identifiers = (MAX_31_BITS - self.our_next) / 2 + 1;
        let allowed = self.peer.streams_max.min(identifiers) as usize;
        allowed.saturating_sub(self.streams.counted())
    }

    /// True once the peer's settings have come, and with them what it allows.
    pub fn has_settings(&self) -> bool {
        self.peer.have_come
    }

    /// True once the peer allows extended CONNECT (RFC 8441). Clients only.
    pub fn allows_connect_protocol(&self) -> bool {
        self.peer.connect_protocol
    }

    /// True once either side has said that no more streams are taken.
    pub fn is_going_away(&self) -> bool {
        self.is_peer_leaving || self.leaving != Leaving::Not
    }

    /// Owes a PING. Its answer counts as bytes that arrive.
    pub fn ping(&mut self) {
        self.output.push_control(kind::PING, 0, 0, &PING_PAYLOAD);
    }

    /// When to call [`Self::expire`], if nothing arrives before.
    pub fn deadline(&self) -> Option<Instant> {
        if self.failed.is_some() {
            return Some(self.now);
        }
        match (self.settings_until, self.block.until) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (until, None) | (None, until) => until,
        }
    }

    /// Acts on every deadline up to `now`.
    ///
    /// # Errors
    /// The peer did not confirm our settings in time, or not end a head; or the connection is over
    /// and nobody was told.
    pub fn expire(&mut self, now: Instant) -> Result<(), ConnectionError> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        let has_passed = |until: Option<Instant>| until.is_some_and(|until| until <= now);
        if has_passed(self.settings_until) {
            return Err(self.fail(ErrorCode::SettingsTimeout, error::SETTINGS_TIMEOUT));
        }
        if has_passed(self.block.until) {
            return Err(self.fail_with(ConnectionError::calm(error::SLOW_HEAD)));
        }
        Ok(())
    }

    /// Content was read or thrown away: the connection's window is given back.
    pub(super) fn consume(&mut self, bytes: usize) {
        if let Some(bytes) = self.receive_window.consume(bytes) {
            self.push_window_update(0, bytes);
        }
    }

    pub(super) fn push_window_update(&mut self, stream: u32, bytes: u32) {
        let payload = bytes.to_be_bytes();
        self.output
            .push_control(kind::WINDOW_UPDATE, 0, stream, &payload);
    }

    pub(super) fn push_reset(&mut self, stream: u32, code: ErrorCode) {
        let payload = (code as u32).to_be_bytes();
        self.output
            .push_control(kind::RST_STREAM, 0, stream, &payload);
    }

    pub(super) fn push_ack(&mut self, kind: u8, payload: &[u8]) {
        self.output.push_control(kind, flag::ACK, 0, payload);
    }

    fn push_go_away(&mut self, last: u32, code: ErrorCode) {
        let mut payload = [0; 8];
        payload[..4].copy_from_slice(&last.to_be_bytes());
        payload[4..].copy_from_slice(&(code as u32).to_be_bytes());
        self.output.push_control(kind::GOAWAY, 0, 0, &payload);
    }

    /// Gives back memory once no stream is open: an idle connection holds hardly any.
    fn release(&mut self) {
        if self.streams.count() > 0 {
            return;
        }
        if self.request.bytes.capacity() > BYTES_KEPT {
            self.request = RequestHead::default();
        }
        if self.response.bytes.capacity() > BYTES_KEPT {
            self.response = ResponseHead::default();
        }
        self.block.release(BYTES_KEPT);
        self.output.release();
    }
}

#[cfg(test)]
impl Connection {
    /// Bytes on the heap, but for what HPACK keeps.
    pub(super) fn memory(&self) -> usize {
        self.streams.memory()
            + self.output.memory()
            + self.block.memory()
            + self.events.capacity() * size_of::<Event>()
            + self.request.bytes.capacity()
            + self.response.bytes.capacity()
    }

    /// Steps taken to find streams.
    pub(super) fn work(&self) -> usize {
        self.streams.work()
    }
}
