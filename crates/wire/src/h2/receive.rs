//! What the peer does: frames in, events out.
//!
//! Read [`Connection::receive`] first; `begin_frame` holds a frame's header against every rule
//! that needs no more, and each kind of frame has its function below. An error of the connection
//! is a `ConnectionError`, an error of a stream goes through `fail_stream` (RFC 9113 §5.4).

use std::time::Instant;

use message::BodyLength;

use super::connection::{BLOCK_TIMEOUT, Connection, Event, Leaving, Role, StreamKey};
use super::error::{CONTINUATION_FLOOD, ConnectionError, ErrorCode, OUTPUT_FLOOD};
use super::frame::{FrameHeader, HEADER_BYTES, MAX_31_BITS, PAYLOAD_BYTES_MAX, flag, kind};
use super::guard::Cost;
use super::head::{HeadError, end_with_head, read_request, read_response, read_trailers};
use super::intake::{Expect, Part};
use super::settings::SETTING_BYTES;
use super::stream::{Receive, Reset, Send, Stream};
use super::window::{ReceiveWindow, SendWindow};
use crate::h1::BadMessage;

type Received<T = Option<Event>> = Result<T, ConnectionError>;

/// The header block under way (§4.3): nothing else may come before it is whole.
#[derive(Debug, Default)]
pub(super) struct Block {
    /// Zero: there is none.
    stream: u32,
    /// It opens the stream.
    is_new: bool,
    is_end: bool,
    /// What has come, unless it comes in one piece.
    bytes: Vec<u8>,
    /// Frames behind the first.
    continuations: usize,
    /// When it must be whole.
    pub(super) until: Option<Instant>,
}

impl Block {
    /// Gives back memory above a bound.
    pub(super) fn release(&mut self, bytes_kept: usize) {
        if self.stream == 0 && self.bytes.capacity() > bytes_kept {
            self.bytes = Vec::new();
        }
    }
}

/// CONTINUATION frames of one block: of 4 KiB each, they hold twice the largest head by default.
const CONTINUATIONS_MAX: usize = 16;

/// Bytes of one block, as a multiple of those of a head: one that is somewhat too large is
/// answered with 431, one that is far too large ends the connection.
const BLOCK_HEADS_MAX: usize = 2;

/// Streams that nobody has freed, as a multiple of those that may be open: what is left of
/// streams that the peer has reset counts too, though not for the peer.
const UNFREED_MAX: usize = 2;

impl Connection {
    /// Takes bytes from the peer until something happens that the caller should know. Returns how
    /// many were taken, and what happened. Call again with the rest until there is no event: then
    /// all were taken.
    ///
    /// # Errors
    /// The peer broke a rule of the connection, or asks for too much work.
    pub fn receive(
        &mut self,
        bytes: &[u8],
        now: Instant,
    ) -> Result<(usize, Option<Event>), ConnectionError> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        self.now = now;
        self.guard.refill(now);
        let mut at = 0;
        while at < bytes.len() {
            if let Some(event) = self.events.pop_front() {
                // The last byte of the frame was held back, so that the caller comes again.
                return Ok((usize::from(self.events.is_empty()), Some(event)));
            }
            let received = self.receive_piece(&bytes[at..]);
            let (count, event) = received.map_err(|error| self.fail_with(error))?;
            at += count;
            if self.output.is_flooded() {
                return Err(self.fail(ErrorCode::EnhanceYourCalm, OUTPUT_FLOOD));
            }
            if event.is_some() {
                return Ok((at - usize::from(!self.events.is_empty()), event));
            }
        }
        Ok((at, None))
    }

    /// Takes some of `bytes`, of which there are some.
    fn receive_piece(&mut self, bytes: &[u8]) -> Received<(usize, Option<Event>)> {
        match self.intake.expect {
            Expect::Preface { matched } => match self.intake.match_preface(matched, bytes) {
                Some(count) => Ok((count, None)),
                None => Err(protocol_error()),
            },
            Expect::Header => {
                let (count, header) = self.intake.collect(bytes, HEADER_BYTES);
                let Some(header) = header else {
                    return Ok((count, None));
                };
                self.intake.frame = FrameHeader::read(&header);
                self.intake.left = self.intake.frame.length;
                self.intake.padding = 0;
                self.intake.expect = Expect::Content;
                let began = self.begin_frame(self.intake.frame)?;
                Ok((count, self.end_if_empty(began)?))
            }
            Expect::Part(part, want) => {
                let (count, payload) = self.intake.collect(bytes, want);
                let Some(payload) = payload else {
                    return Ok((count, None));
                };
                self.intake.left -= want;
                self.intake.expect = Expect::Content;
                let event = match part {
                    Part::Prefix => self.receive_prefix(payload)?,
                    Part::Setting => self.receive_setting(payload)?,
                    Part::Fixed => self.receive_fixed(payload)?,
                };
                Ok((count, self.end_if_empty(event)?))
            }
            Expect::Content => {
                let (count, is_last) = self.intake.take_content(bytes);
                Ok((count, self.receive_content(&bytes[..count], is_last)?))
            }
            Expect::Padding => Ok((self.intake.take_padding(bytes), None)),
        }
    }

    /// If no content is to come, this is all of it.
    fn end_if_empty(&mut self, event: Option<Event>) -> Received {
        if self.intake.expect != Expect::Content || self.intake.left > 0 {
            return Ok(event);
        }
        let (_, is_last) = self.intake.take_content(&[]);
        Ok(event.or(self.receive_content(&[], is_last)?))
    }

    /// The header of a frame has come.
    fn begin_frame(&mut self, frame: FrameHeader) -> Received {
        if frame.length > PAYLOAD_BYTES_MAX {
            return Err(frame_size_error());
        }
        // SETTINGS come first (§3.4), and a block is not interrupted (§4.3).
        let is_settings = frame.kind == kind::SETTINGS && !frame.has(flag::ACK);
        if !self.peer.have_come && !is_settings {
            return Err(protocol_error());
        }
        if (self.block.stream != 0) != (frame.kind == kind::CONTINUATION) {
            return Err(protocol_error());
        }
        let is_of_connection = match frame.kind {
            kind::SETTINGS | kind::PING | kind::GOAWAY => true,
            kind::DATA | kind::HEADERS | kind::PRIORITY | kind::RST_STREAM => false,
            _ => frame.stream == 0,
        };
        if is_of_connection != (frame.stream == 0) {
            return Err(protocol_error());
        }
        match frame.kind {
            kind::DATA | kind::HEADERS => {
                let prefix = frame.prefix();
                if frame.length < prefix {
                    return Err(frame_size_error());
                }
                let event = match frame.kind {
                    kind::DATA => self.begin_data(frame)?,
                    _ => self.begin_block(frame)?,
                };
                if prefix > 0 {
                    self.intake.expect = Expect::Part(Part::Prefix, prefix);
                    return Ok(event);
                }
                Ok(event.or(self.begin_content(frame)?))
            }
            kind::CONTINUATION => self.begin_continuation(frame),
            kind::SETTINGS => self.begin_settings(frame),
            kind::PRIORITY => self.expect_fixed(frame, 5),
            kind::RST_STREAM | kind::WINDOW_UPDATE => self.expect_fixed(frame, 4),
            kind::PING => self.expect_fixed(frame, 8),
            kind::GOAWAY if frame.length < 8 => Err(frame_size_error()),
            kind::GOAWAY => {
                self.intake.expect = Expect::Part(Part::Fixed, 8);
                Ok(None)
            }
            // We never allow it (§8.4), nor may a client.
            kind::PUSH_PROMISE => Err(protocol_error()),
            // Extensions are ignored (§5.5).
            _ => {
                self.guard.charge(Cost::Control)?;
                Ok(None)
            }
        }
    }

    /// A frame of a kind that has one length. That of PRIORITY is an error of the stream alone
    /// (§6.3), but the stream need not exist.
    fn expect_fixed(&mut self, frame: FrameHeader, length: usize) -> Received {
        if frame.length != length {
            return Err(frame_size_error());
        }
        self.intake.expect = Expect::Part(Part::Fixed, length);
        Ok(None)
    }

    /// What is in front of the content has come.
    fn receive_prefix(&mut self, prefix: [u8; HEADER_BYTES]) -> Received {
        let frame = self.intake.frame;
        if frame.has(flag::PADDED) {
            let padding = usize::from(prefix[0]);
            if padding > self.intake.left {
                return Err(protocol_error());
            }
            self.intake.left -= padding;
            self.intake.padding = padding;
        }
        self.begin_content(frame)
    }

    /// It is known how much content the frame has.
    fn begin_content(&mut self, frame: FrameHeader) -> Received {
        if frame.kind != kind::DATA {
            return Ok(None);
        }
        let content = self.intake.left;
        let around = frame.length - content;
        if !frame.has(flag::END_STREAM) {
            self.guard.receive_data(content)?;
        }
        self.consume(around);
        let Some((key, stream)) = self
            .sink
            .and_then(|key| Some((key, self.streams.get(key)?)))
        else {
            return Ok(None);
        };
        if stream.count_content(content).is_err() {
            return self.fail_stream(key, ErrorCode::ProtocolError);
        }
        if let Some(bytes) = stream.receive_window.consume(around)
            && !frame.has(flag::END_STREAM)
        {
            self.push_window_update(key.id, bytes);
        }
        Ok(None)
    }

    /// Some of the content has come, `is_last`: all of it.
    fn receive_content(&mut self, bytes: &[u8], is_last: bool) -> Received {
        let frame = self.intake.frame;
        match frame.kind {
            kind::DATA => self.receive_data(bytes, is_last && frame.has(flag::END_STREAM)),
            kind::HEADERS | kind::CONTINUATION => {
                self.receive_fragment(bytes, is_last && frame.has(flag::END_HEADERS))
            }
            kind::SETTINGS if is_last && !frame.has(flag::ACK) => self.end_settings(),
            // The rest of GOAWAY is for people, that of other kinds for somebody else.
            _ => Ok(None),
        }
    }
}

/// DATA (§6.1).
impl Connection {
    fn begin_data(&mut self, frame: FrameHeader) -> Received {
        self.sink = None;
        // All of the frame counts, padding too, and whatever becomes of it (§6.9).
        if self.receive_window.receive(frame.length).is_err() {
            return Err(ConnectionError::protocol(ErrorCode::FlowControlError));
        }
        let Some(key) = self.find(frame.stream)? else {
            return Ok(None);
        };
        let Some(stream) = self.streams.get(key) else {
            return Ok(None);
        };
        match stream.receive {
            Receive::Done => return self.fail_stream(key, ErrorCode::StreamClosed),
            Receive::ExpectHead => return self.fail_stream(key, ErrorCode::ProtocolError),
            Receive::ExpectBody => {}
        }
        if stream.receive_window.receive(frame.length).is_err() {
            return self.fail_stream(key, ErrorCode::FlowControlError);
        }
        self.sink = Some(key);
        Ok(None)
    }

    fn receive_data(&mut self, bytes: &[u8], is_end: bool) -> Received {
        // It may have been reset since the frame began.
        let Some((key, stream)) = self
            .sink
            .and_then(|key| Some((key, self.streams.get(key)?)))
            .filter(|(_, stream)| stream.reset.is_none())
        else {
            self.consume(bytes.len());
            return Ok(None);
        };
        stream.content.push(bytes);
        if is_end {
            if stream.receive_end().is_err() {
                return self.fail_stream(key, ErrorCode::ProtocolError);
            }
            self.streams.settle(key);
        }
        Ok((is_end || !bytes.is_empty()).then_some(Event::Body(key)))
    }
}

/// HEADERS and CONTINUATION (§6.2, §6.10).
impl Connection {
    fn begin_block(&mut self, frame: FrameHeader) -> Received {
        let id = frame.stream;
        let is_new = self.role == Role::Server && id > self.peer_last;
        if is_new {
            // Clients open odd ones (§5.1.1).
            if id.is_multiple_of(2) {
                return Err(protocol_error());
            }
            if id > self.peer_last + 2 {
                self.peer_skipped = (self.peer_last + 1, id);
            }
            self.peer_last = id;
        } else if (self.peer_skipped.0..self.peer_skipped.1).contains(&id) {
            // Identifiers increase; those that were skipped are closed without having been open.
            return Err(protocol_error());
        } else {
            self.find(id)?;
        }
        self.block.stream = id;
        self.block.is_new = is_new;
        self.block.is_end = frame.has(flag::END_STREAM);
        self.block.continuations = 0;
        self.block.until = Some(self.now + BLOCK_TIMEOUT);
        Ok(None)
    }

    fn begin_continuation(&mut self, frame: FrameHeader) -> Received {
        if frame.stream != self.block.stream {
            return Err(protocol_error());
        }
        self.block.continuations += 1;
        if self.block.continuations > CONTINUATIONS_MAX {
            return Err(calm(CONTINUATION_FLOOD));
        }
        if frame.length == 0 {
            self.guard.charge(Cost::Empty)?;
        }
        Ok(None)
    }

    fn receive_fragment(&mut self, bytes: &[u8], is_whole: bool) -> Received {
        let bytes_max = self.settings.limits.head_bytes * BLOCK_HEADS_MAX + PAYLOAD_BYTES_MAX;
        if self.block.bytes.len() + bytes.len() > bytes_max {
            return Err(calm(CONTINUATION_FLOOD));
        }
        if !is_whole {
            self.block.bytes.extend_from_slice(bytes);
            return Ok(None);
        }
        let stream = std::mem::take(&mut self.block.stream);
        self.block.until = None;
        self.guard.pass_head();
        if self.block.bytes.is_empty() {
            return self.receive_block(stream, bytes);
        }
        let mut whole = std::mem::take(&mut self.block.bytes);
        whole.extend_from_slice(bytes);
        let received = self.receive_block(stream, &whole);
        whole.clear();
        self.block.bytes = whole;
        received
    }

    /// A block is whole. Whatever becomes of it, it must be decoded: later ones refer to it.
    fn receive_block(&mut self, id: u32, block: &[u8]) -> Received {
        if self.block.is_new {
            return self.receive_request(id, block);
        }
        let found = self.find(id)?;
        let Some((key, stream)) = found.and_then(|key| Some((key, self.streams.get(key)?))) else {
            self.guard.charge(Cost::Control)?;
            return self.skip_block(block);
        };
        match stream.receive {
            Receive::ExpectHead => self.receive_response(key, block),
            Receive::ExpectBody => self.receive_trailers(key, block),
            Receive::Done => {
                self.skip_block(block)?;
                self.fail_stream(key, ErrorCode::StreamClosed)
            }
        }
    }

    fn receive_request(&mut self, id: u32, block: &[u8]) -> Received {
        let is_end = self.block.is_end;
        let is_full = self.streams.counted() >= self.settings.streams_max as usize
            || self.streams.count() >= self.settings.streams_max as usize * UNFREED_MAX;
        if is_full || self.leaving == Leaving::Final {
            self.skip_block(block)?;
            self.refuse(id, ErrorCode::RefusedStream);
            self.guard.charge(Cost::Refused)?;
            return Ok(None);
        }
        self.request.clear();
        let mut read = read_request(
            &mut self.decoder,
            block,
            &self.settings.limits,
            self.settings.connect_protocol,
            &mut self.request,
        );
        if is_end && read.is_ok() {
            read = end_with_head(self.request.body_length)
                .map(|length| self.request.body_length = length);
        }
        match read {
            Err(HeadError::Compression) => Err(compression_error()),
            Err(HeadError::Malformed(_)) => {
                self.refuse(id, ErrorCode::ProtocolError);
                self.guard.charge(Cost::MadeYouReset)?;
                Ok(None)
            }
            Err(HeadError::TooLarge) => {
                self.guard.charge(Cost::HpackBomb)?;
                self.request.clear();
                let key = self.accept(id, is_end);
                Ok(Some(Event::Rejected(key, BadMessage::FieldsTooLarge)))
            }
            Ok(()) => Ok(Some(Event::Request(self.accept(id, is_end)))),
        }
    }

    /// A stream that is not taken. It is not kept, so that it costs nothing.
    fn refuse(&mut self, id: u32, code: ErrorCode) {
        self.push_reset(id, code);
        if !self.block.is_end {
            self.streams.remember_reset(id);
        }
    }

    fn accept(&mut self, id: u32, is_end: bool) -> StreamKey {
        let content_left = match self.request.body_length {
            BodyLength::Exact(length) => Some(length),
            _ => None,
        };
        self.streams.insert(Stream {
            id,
            method: self.request.method,
            receive: match is_end {
                true => Receive::Done,
                false => Receive::ExpectBody,
            },
            send: Send::ExpectHead,
            send_window: SendWindow::new(self.peer.initial_window),
            receive_window: ReceiveWindow::new(self.settings.stream_window, self.stream_window),
            content_left,
            ..Stream::default()
        })
    }

    fn receive_response(&mut self, key: StreamKey, block: &[u8]) -> Received {
        let Some(stream) = self.streams.get(key) else {
            return Ok(None);
        };
        self.response.clear();
        let read = read_response(
            &mut self.decoder,
            block,
            &self.settings.limits,
            stream.method,
            &mut self.response,
        );
        let is_interim = self.response.status.is_informational();
        let fits = match read {
            Err(HeadError::Compression) => return Err(compression_error()),
            Err(HeadError::Malformed(_) | HeadError::TooLarge) => false,
            // More is to come behind an interim one (§8.1).
            Ok(()) if is_interim => !self.block.is_end,
            Ok(()) if self.block.is_end => match end_with_head(self.response.body_length) {
                Ok(length) => {
                    self.response.body_length = length;
                    stream.receive = Receive::Done;
                    true
                }
                Err(_) => false,
            },
            Ok(()) => {
                stream.receive = Receive::ExpectBody;
                stream.content_left = match self.response.body_length {
                    BodyLength::Exact(length) => Some(length),
                    BodyLength::Empty => Some(0),
                    _ => None,
                };
                true
            }
        };
        if !fits {
            return self.fail_stream(key, ErrorCode::ProtocolError);
        }
        self.streams.settle(key);
        Ok(Some(Event::Response(key)))
    }

    fn receive_trailers(&mut self, key: StreamKey, block: &[u8]) -> Received {
        let Some(stream) = self.streams.get(key) else {
            return Ok(None);
        };
        let trailers = &mut stream.trailers;
        let read = read_trailers(&mut self.decoder, block, &self.settings.limits, trailers);
        if read == Err(HeadError::Compression) {
            return Err(compression_error());
        }
        // Trailers end the stream; a head in the middle of it is no message (§8.1).
        if read.is_err() || !self.block.is_end || stream.receive_end().is_err() {
            return self.fail_stream(key, ErrorCode::ProtocolError);
        }
        self.streams.settle(key);
        Ok(Some(Event::Body(key)))
    }

    /// Decodes a block that nobody wants.
    fn skip_block(&mut self, block: &[u8]) -> Received {
        let mut nobody = Vec::new();
        match read_trailers(&mut self.decoder, block, &self.settings.limits, &mut nobody) {
            Err(HeadError::Compression) => Err(compression_error()),
            _ => Ok(None),
        }
    }
}

/// SETTINGS (§6.5).
impl Connection {
    fn begin_settings(&mut self, frame: FrameHeader) -> Received {
        if frame.has(flag::ACK) {
            if frame.length > 0 {
                return Err(frame_size_error());
            }
            return self.receive_settings_ack();
        }
        if !frame.length.is_multiple_of(SETTING_BYTES) {
            return Err(frame_size_error());
        }
        // The first is owed.
        if self.peer.have_come {
            self.guard.charge(Cost::Settings)?;
        }
        self.peer.begin();
        self.expect_setting();
        Ok(None)
    }

    fn expect_setting(&mut self) {
        if self.intake.left > 0 {
            self.intake.expect = Expect::Part(Part::Setting, SETTING_BYTES);
        }
    }

    fn receive_setting(&mut self, payload: [u8; HEADER_BYTES]) -> Received {
        let [s0, s1, s2, s3, s4, s5, ..] = payload;
        let is_client = self.role == Role::Client;
        if let Some(bytes) = self.peer.receive([s0, s1, s2, s3, s4, s5], is_client)? {
            self.encoder.set_table_size_max(bytes);
        }
        self.expect_setting();
        Ok(None)
    }

    fn end_settings(&mut self) -> Received {
        let change = self.peer.end();
        if change != 0 {
            for key in self.streams.keys() {
                self.widen(key, change)
                    .map_err(|_| ConnectionError::protocol(ErrorCode::FlowControlError))?;
            }
        }
        self.push_ack(kind::SETTINGS, &[]);
        Ok(Some(Event::Window))
    }

    /// Ours are known to the peer: from now on it keeps to the window of a stream.
    fn receive_settings_ack(&mut self) -> Received {
        if self.settings_until.take().is_none() {
            self.guard.charge(Cost::Control)?;
            return Ok(None);
        }
        let change = self.settings.stream_window as i32 - self.stream_window as i32;
        self.stream_window = self.settings.stream_window;
        if change != 0 {
            for stream in self.streams.iter_mut() {
                stream.receive_window.shift(change);
            }
        }
        Ok(None)
    }
}

/// PRIORITY, RST_STREAM, PING, GOAWAY, WINDOW_UPDATE (§6.3, §6.4, §6.7 to §6.9).
impl Connection {
    fn receive_fixed(&mut self, payload: [u8; HEADER_BYTES]) -> Received {
        let frame = self.intake.frame;
        let [p0, p1, p2, p3, p4, p5, p6, p7, _] = payload;
        let value = u32::from_be_bytes([p0, p1, p2, p3]);
        match frame.kind {
            kind::RST_STREAM => self.receive_reset(frame.stream, ErrorCode::from_wire(value)),
            kind::PING if frame.has(flag::ACK) => {
                self.guard.charge(Cost::Control)?;
                Ok(None)
            }
            kind::PING => {
                self.guard.charge(Cost::Ping)?;
                self.push_ack(kind::PING, &[p0, p1, p2, p3, p4, p5, p6, p7]);
                Ok(None)
            }
            kind::GOAWAY => self.receive_go_away(value & MAX_31_BITS),
            kind::WINDOW_UPDATE if frame.stream == 0 => self.receive_window(value & MAX_31_BITS),
            kind::WINDOW_UPDATE => self.receive_stream_window(frame.stream, value & MAX_31_BITS),
            // Priorities are dropped (§5.3.2).
            _ => {
                self.guard.charge(Cost::Priority)?;
                Ok(None)
            }
        }
    }

    fn receive_reset(&mut self, id: u32, code: ErrorCode) -> Received {
        let found = self.streams.find(id);
        let Some((key, stream)) = found.and_then(|key| Some((key, self.streams.get(key)?))) else {
            return self.receive_late(id);
        };
        if stream.is_closed() {
            return self.receive_late(id);
        }
        // A server that needs no more of the request says so behind its response (§8.1).
        let is_polite = self.role == Role::Client
            && stream.receive == Receive::Done
            && code == ErrorCode::NoError;
        let code = match code {
            ErrorCode::NoError if !is_polite => ErrorCode::Cancel,
            code => code,
        };
        stream.reset = Some(Reset { code, by_us: false });
        let unread = match is_polite {
            true => 0,
            false => stream.content.clear(),
        };
        self.streams.settle(key);
        self.consume(unread);
        if self.role == Role::Server {
            self.guard.charge(Cost::RapidReset)?;
        }
        Ok(Some(Event::Reset(key, code)))
    }

    fn receive_go_away(&mut self, last: u32) -> Received {
        if self.is_peer_leaving {
            self.guard.charge(Cost::Control)?;
        }
        self.is_peer_leaving = true;
        if self.role == Role::Client {
            for key in self.streams.above(last) {
                let Some(stream) = self.streams.get(key).filter(|stream| !stream.is_closed())
                else {
                    continue;
                };
                let code = ErrorCode::RefusedStream;
                stream.reset = Some(Reset { code, by_us: true });
                let unread = stream.content.clear();
                self.streams.remember_reset(key.id);
                self.streams.settle(key);
                self.consume(unread);
                self.events.push_back(Event::Reset(key, code));
            }
        }
        self.events.push_back(Event::GoAway);
        Ok(self.events.pop_front())
    }

    fn receive_window(&mut self, bytes: u32) -> Received {
        self.guard.charge(Cost::WindowUpdate)?;
        if bytes == 0 {
            return Err(protocol_error());
        }
        if self.send_window.shift(i64::from(bytes)).is_err() {
            return Err(ConnectionError::protocol(ErrorCode::FlowControlError));
        }
        Ok(self.streams.has_queue().then_some(Event::Window))
    }

    fn receive_stream_window(&mut self, id: u32, bytes: u32) -> Received {
        self.guard.charge(Cost::WindowUpdate)?;
        let found = self.streams.find(id);
        let Some((key, stream)) = found.and_then(|key| Some((key, self.streams.get(key)?))) else {
            return self.receive_late(id);
        };
        if stream.is_closed() {
            return Ok(None);
        }
        if bytes == 0 {
            return self.fail_stream(key, ErrorCode::ProtocolError);
        }
        match self.widen(key, i64::from(bytes)) {
            Ok(is_ready) => Ok(is_ready.then_some(Event::Window)),
            Err(_) => self.fail_stream(key, ErrorCode::FlowControlError),
        }
    }

    /// RST_STREAM or WINDOW_UPDATE of a stream that is gone: it was on its way (§5.1).
    fn receive_late(&mut self, id: u32) -> Received {
        if self.is_idle(id) {
            return Err(protocol_error());
        }
        self.guard.charge(Cost::Control)?;
        Ok(None)
    }
}

/// Streams.
impl Connection {
    /// The stream of a frame that only an open one may have. `None`: we have reset it, and the
    /// frame is to be ignored.
    fn find(&mut self, id: u32) -> Result<Option<StreamKey>, ConnectionError> {
        let Some(key) = self.streams.find(id) else {
            return match self.streams.was_reset(id) {
                _ if self.is_idle(id) => Err(protocol_error()),
                true => Ok(None),
                false => Err(ConnectionError::protocol(ErrorCode::StreamClosed)),
            };
        };
        match self.streams.get(key) {
            Some(Stream {
                reset: Some(Reset { by_us: true, .. }),
                ..
            }) => Ok(None),
            // Whoever has ended or reset a stream knows that it is over (§5.1, "closed").
            Some(stream) if stream.is_closed() => {
                Err(ConnectionError::protocol(ErrorCode::StreamClosed))
            }
            _ => Ok(Some(key)),
        }
    }

    /// True if the stream was never opened.
    fn is_idle(&self, id: u32) -> bool {
        match self.role {
            Role::Server => id.is_multiple_of(2) || id > self.peer_last,
            Role::Client => id.is_multiple_of(2) || id >= self.our_next,
        }
    }

    /// Changes the window that we send in. True if the stream waited for that.
    fn widen(&mut self, key: StreamKey, by: i64) -> Result<bool, super::window::Overflow> {
        let Some(stream) = self.streams.get(key) else {
            return Ok(false);
        };
        stream.send_window.shift(by)?;
        let is_ready = stream.is_stalled && stream.send_window.room() > 0;
        if is_ready {
            stream.is_stalled = false;
            self.streams.enqueue(key);
        }
        Ok(is_ready)
    }

    /// The peer broke a rule of the stream: it alone ends (§5.4.2).
    fn fail_stream(&mut self, key: StreamKey, code: ErrorCode) -> Received {
        // We do the work for nothing, although it is we who reset (CVE-2025-8671).
        self.guard.charge(Cost::MadeYouReset)?;
        self.reset(key, code);
        Ok(Some(Event::Reset(key, code)))
    }
}

fn protocol_error() -> ConnectionError {
    ConnectionError::protocol(ErrorCode::ProtocolError)
}

fn frame_size_error() -> ConnectionError {
    ConnectionError::protocol(ErrorCode::FrameSizeError)
}

fn compression_error() -> ConnectionError {
    ConnectionError::protocol(ErrorCode::CompressionError)
}

fn calm(rule: &'static str) -> ConnectionError {
    ConnectionError::new(ErrorCode::EnhanceYourCalm, rule)
}
