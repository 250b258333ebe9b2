//! One connection: what its caller does with it. What the peer does is in `receive`.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use message::{Method, RequestHead, ResponseHead};

use super::error::{self, ConnectionError, ErrorCode};
use super::frame::{MAX_31_BITS, PREFACE, flag, kind};
use super::guard::Guard;
use super::head::{write_request, write_response, write_trailers};
use super::hpack::{Decoder, Encoder};
use super::intake::{Expect, Intake};
use super::output::Output;
use super::receive::Block;
use super::settings::{PeerSettings, Settings};
use super::stream::{Receive, Reset, Send, Stream};
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
    scheme: &'static str,
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

    /// Opens a stream with the request whose HTTP/1.1 text is `head`. `None`: the peer has as many
    /// streams as it may, or takes no more. Clients only.
    pub fn open(&mut self, head: &[u8], is_end: bool) -> Option<StreamKey> {
        if self.streams_left() == 0 {
            return None;
        }
        let id = self.our_next;
        self.our_next += 2;
        let method = head.split(|&byte| byte == b' ').next().unwrap_or_default();
        let (encoder, scheme) = (&mut self.encoder, self.scheme);
        self.output.push_block(id, is_end, |out| {
            write_request(encoder, head, scheme, out);
        });
        self.guard.pass_head();
        Some(self.streams.insert(Stream {
            id,
            method: Method::from_token(method),
            receive: Receive::ExpectHead,
            send: if is_end { Send::Done } else { Send::ExpectBody },
            send_window: SendWindow::new(self.peer.initial_window),
            receive_window: ReceiveWindow::new(self.settings.stream_window, self.stream_window),
            ..Stream::default()
        }))
    }

    /// Sends the response whose HTTP/1.1 text is `head`: several interim ones and a final one.
    /// Nothing happens on a stream that was reset. Servers only.
    pub fn send_head(&mut self, key: StreamKey, head: &[u8], is_end: bool) {
        let Some(stream) = self.streams.get(key) else {
            return;
        };
        if stream.reset.is_some() || stream.send != Send::ExpectHead {
            return;
        }
        // A 101 becomes a 200: a tunnel begins.
        let is_interim = head.get(9) == Some(&b'1') && head.get(9..12) != Some(b"101");
        if !is_interim {
            stream.send = Send::ExpectBody;
        }
        let encoder = &mut self.encoder;
        self.output.push_block(key.id, is_end, |out| {
            write_response(encoder, head, out);
        });
        self.guard.pass_head();
        if is_end {
            self.finish_sending(key);
        }
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
        let Some(stream) = self.streams.get(key) else {
            return Err(ErrorCode::StreamClosed);
        };
        if let Some(reset) = stream.reset {
            return Err(reset.code);
        }
        if stream.send != Send::ExpectBody {
            debug_assert!(false, "content in front of the head, or behind the end");
            return Err(ErrorCode::StreamClosed);
        }
        let window = stream.send_window.room().min(self.send_window.room());
        let count = data.len().min(window).min(self.output.room());
        let is_whole = count == data.len();
        stream.send_window.spend(count);
        self.send_window.spend(count);
        if !is_whole {
            stream.is_stalled = stream.send_window.room() == 0;
            if !stream.is_stalled {
                self.streams.enqueue(key);
            }
        }
        let is_last = is_end && is_whole;
        if count > 0 || is_last {
            self.output.push_data(key.id, &data[..count], is_last);
        }
        if is_last {
            self.finish_sending(key);
        }
        let is_cut = !is_whole && count == window;
        if count > 0
            && let Err(error) = self.guard.send_data(count, is_cut)
        {
            return Err(self.fail_with(error).code);
        }
        Ok(count)
    }

    /// Sends the end of the body, with the field lines `trailers`, perhaps none.
    pub fn send_trailers(&mut self, key: StreamKey, trailers: &[u8]) {
        let Some(stream) = self.streams.get(key) else {
            return;
        };
        if stream.reset.is_some() || stream.send != Send::ExpectBody {
            return;
        }
        if trailers.is_empty() {
            self.output.push_data(key.id, &[], true);
        } else {
            let encoder = &mut self.encoder;
            self.output.push_block(key.id, true, |out| {
                write_trailers(encoder, trailers, out);
            });
        }
        self.finish_sending(key);
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

    /// The next stream that has room to send again, in turn. Call until `None`, after
    /// [`Event::Window`] and after output has left.
    pub fn poll_writable(&mut self) -> Option<StreamKey> {
        while self.send_window.room() > 0 && self.output.room() > 0 {
            let key = self.streams.dequeue()?;
            let stream = self.streams.get(key)?;
            if stream.send_window.room() > 0 {
                return Some(key);
            }
            stream.is_stalled = true;
        }
        None
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

    /// We have ended the stream.
    fn finish_sending(&mut self, key: StreamKey) {
        if let Some(stream) = self.streams.get(key) {
            stream.send = Send::Done;
        }
        self.guard.complete();
        self.streams.settle(key);
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
