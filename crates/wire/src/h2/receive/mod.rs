//! What the peer does: frames in, events out.
//!
//! Read [`Connection::receive`] first; `begin_frame` holds a frame's header against every rule
//! that needs no more. `data`, `headers` and `control` have a function for each kind of frame. An
//! error of the connection is a `ConnectionError`, an error of a stream goes through `fail_stream`
//! (RFC 9113 §5.4).

mod control;
mod data;
mod headers;

use std::time::Instant;

use super::connection::{Connection, Event, Role, StreamKey};
use super::error::{ConnectionError, ErrorCode, OUTPUT_FLOOD};
use super::frame::{FrameHeader, HEADER_BYTES, PAYLOAD_BYTES_MAX, flag, kind};
use super::guard::Cost;
use super::intake::{Expect, Part};
use super::stream::{Reset, Stream};
use super::window::Overflow;

pub(super) use headers::Block;

/// What came of a piece of a frame.
type Received<T = Option<Event>> = Result<T, ConnectionError>;

const PROTOCOL_ERROR: ConnectionError = ConnectionError::protocol(ErrorCode::ProtocolError);
const FRAME_SIZE_ERROR: ConnectionError = ConnectionError::protocol(ErrorCode::FrameSizeError);
const FLOW_CONTROL_ERROR: ConnectionError = ConnectionError::protocol(ErrorCode::FlowControlError);
const COMPRESSION_ERROR: ConnectionError = ConnectionError::protocol(ErrorCode::CompressionError);
const STREAM_CLOSED: ConnectionError = ConnectionError::protocol(ErrorCode::StreamClosed);

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
                return Err(self.fail_with(ConnectionError::calm(OUTPUT_FLOOD)));
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
                None => Err(PROTOCOL_ERROR),
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
            return Err(FRAME_SIZE_ERROR);
        }
        // SETTINGS come first (§3.4), and a block is not interrupted (§4.3).
        let is_settings = frame.kind == kind::SETTINGS && !frame.has(flag::ACK);
        if !self.peer.have_come && !is_settings {
            return Err(PROTOCOL_ERROR);
        }
        if self.block.is_open() != (frame.kind == kind::CONTINUATION) {
            return Err(PROTOCOL_ERROR);
        }
        let is_of_connection = match frame.kind {
            kind::SETTINGS | kind::PING | kind::GOAWAY => true,
            kind::DATA | kind::HEADERS | kind::PRIORITY | kind::RST_STREAM => false,
            _ => frame.stream == 0,
        };
        if is_of_connection != (frame.stream == 0) {
            return Err(PROTOCOL_ERROR);
        }
        match frame.kind {
            kind::DATA | kind::HEADERS => {
                let prefix = frame.prefix();
                if frame.length < prefix {
                    return Err(FRAME_SIZE_ERROR);
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
            kind::GOAWAY if frame.length < 8 => Err(FRAME_SIZE_ERROR),
            kind::GOAWAY => {
                self.intake.expect = Expect::Part(Part::Fixed, 8);
                Ok(None)
            }
            // We never allow it (§8.4), nor may a client.
            kind::PUSH_PROMISE => Err(PROTOCOL_ERROR),
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
            return Err(FRAME_SIZE_ERROR);
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
                return Err(PROTOCOL_ERROR);
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
        let is_end = frame.has(flag::END_STREAM);
        if !is_end {
            self.guard.receive_data(content)?;
        }
        self.consume(around);
        let Some((key, stream)) = self.sink() else {
            return Ok(None);
        };
        if stream.count_content(content, is_end).is_err() {
            return self.fail_stream(key, ErrorCode::ProtocolError);
        }
        if let Some(bytes) = stream.receive_window.consume(around)
            && !is_end
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

/// Streams.
impl Connection {
    /// The stream of a frame that only an open one may have. `None`: we have reset it, and the
    /// frame is to be ignored.
    fn find(&mut self, id: u32) -> Result<Option<StreamKey>, ConnectionError> {
        let Some(key) = self.streams.find(id) else {
            return match self.streams.was_reset(id) {
                _ if self.is_idle(id) => Err(PROTOCOL_ERROR),
                true => Ok(None),
                false => Err(STREAM_CLOSED),
            };
        };
        match self.streams.get(key) {
            Some(Stream {
                reset: Some(Reset { by_us: true, .. }),
                ..
            }) => Ok(None),
            // Whoever has ended or reset a stream knows that it is over (§5.1, "closed").
            Some(stream) if stream.is_closed() => Err(STREAM_CLOSED),
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
    fn widen(&mut self, key: StreamKey, by: i64) -> Result<bool, Overflow> {
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
        if self.role == Role::Server {
            // We do the work for nothing, although it is we who reset (CVE-2025-8671). What a
            // server does wrong it was asked for, perhaps by one client of many.
            self.guard.charge(Cost::MadeYouReset)?;
        }
        self.reset(key, code);
        Ok(Some(Event::Reset(key, code)))
    }
}
