//! HEADERS and CONTINUATION (RFC 9113 §6.2, §6.10): blocks of field lines, which become heads and
//! trailers.

use std::time::Instant;

use message::{BodyLength, Method};

use super::super::connection::{BLOCK_TIMEOUT, Connection, Event, Leaving, Role, StreamKey};
use super::super::error::{CONTINUATION_FLOOD, ConnectionError, ErrorCode};
use super::super::frame::{FrameHeader, PAYLOAD_BYTES_MAX, flag};
use super::super::guard::Cost;
use super::super::head::{HeadError, end_with_head, read_request, read_response, read_trailers};
use super::super::stream::{Receive, Send, Stream};
use super::super::window::{ReceiveWindow, SendWindow};
use super::{COMPRESSION_ERROR, PROTOCOL_ERROR, Received};
use crate::h1::BadMessage;

/// The header block under way (§4.3): nothing else may come before it is whole.
#[derive(Debug, Default)]
pub(in super::super) struct Block {
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
    pub(in super::super) until: Option<Instant>,
}

impl Block {
    /// True until it is whole.
    pub(in super::super) fn is_open(&self) -> bool {
        self.stream != 0
    }

    #[cfg(test)]
    pub(in super::super) fn memory(&self) -> usize {
        self.bytes.capacity()
    }

    /// Gives back memory above a bound.
    pub(in super::super) fn release(&mut self, bytes_kept: usize) {
        if !self.is_open() && self.bytes.capacity() > bytes_kept {
            self.bytes = Vec::new();
        }
    }
}

impl Connection {
    pub(super) fn begin_block(&mut self, frame: FrameHeader) -> Received {
        let id = frame.stream;
        let is_new = self.role == Role::Server && id > self.peer_last;
        if is_new {
            // Clients open odd ones (§5.1.1).
            if id.is_multiple_of(2) {
                return Err(PROTOCOL_ERROR);
            }
            if id > self.peer_last + 2 {
                self.peer_skipped = (self.peer_last + 1, id);
            }
            self.peer_last = id;
        } else if (self.peer_skipped.0..self.peer_skipped.1).contains(&id) {
            // Identifiers increase; those that were skipped are closed without having been open.
            return Err(PROTOCOL_ERROR);
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

    pub(super) fn begin_continuation(&mut self, frame: FrameHeader) -> Received {
        if frame.stream != self.block.stream {
            return Err(PROTOCOL_ERROR);
        }
        self.block.continuations += 1;
        if self.block.continuations > CONTINUATIONS_MAX {
            return Err(ConnectionError::calm(CONTINUATION_FLOOD));
        }
        if frame.length == 0 {
            self.guard.charge(Cost::Empty)?;
        }
        Ok(None)
    }

    pub(super) fn receive_fragment(&mut self, bytes: &[u8], is_whole: bool) -> Received {
        let bytes_max = self.settings.limits.head_bytes * BLOCK_HEADS_MAX + PAYLOAD_BYTES_MAX;
        if self.block.bytes.len() + bytes.len() > bytes_max {
            return Err(ConnectionError::calm(CONTINUATION_FLOOD));
        }
        if !is_whole {
            self.block.bytes.extend_from_slice(bytes);
            return Ok(None);
        }
        let stream = std::mem::take(&mut self.block.stream);
        self.block.until = None;
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
            Err(HeadError::Compression) => Err(COMPRESSION_ERROR),
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
        self.guard.pass_head();
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
            Err(HeadError::Compression) => return Err(COMPRESSION_ERROR),
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
                    // What follows an answer to CONNECT is a tunnel.
                    BodyLength::Empty if stream.method != Method::Connect => Some(0),
                    _ => None,
                };
                true
            }
        };
        if !fits {
            return self.fail_stream(key, ErrorCode::ProtocolError);
        }
        self.streams.settle(key);
        match is_interim {
            // Nobody needs many.
            true => self.guard.charge(Cost::Control)?,
            false => self.guard.pass_head(),
        }
        Ok(Some(Event::Response(key)))
    }

    fn receive_trailers(&mut self, key: StreamKey, block: &[u8]) -> Received {
        let Some(stream) = self.streams.get(key) else {
            return Ok(None);
        };
        let trailers = &mut stream.trailers;
        let read = read_trailers(&mut self.decoder, block, &self.settings.limits, trailers);
        if read == Err(HeadError::Compression) {
            return Err(COMPRESSION_ERROR);
        }
        // Trailers end the stream; a head in the middle of it is no message (§8.1).
        if read.is_err() || !self.block.is_end || stream.count_content(0, true).is_err() {
            return self.fail_stream(key, ErrorCode::ProtocolError);
        }
        stream.receive = Receive::Done;
        self.streams.settle(key);
        Ok(Some(Event::Body(key)))
    }

    /// Decodes a block that nobody wants.
    fn skip_block(&mut self, block: &[u8]) -> Received {
        let mut nobody = Vec::new();
        match read_trailers(&mut self.decoder, block, &self.settings.limits, &mut nobody) {
            Err(HeadError::Compression) => Err(COMPRESSION_ERROR),
            _ => Ok(None),
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
