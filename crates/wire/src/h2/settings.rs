//! What either side tells the other at the beginning, and may change later (RFC 9113 §6.5).

use super::error::{ConnectionError, ErrorCode};
use super::frame::{MAX_31_BITS, PAYLOAD_BYTES_MAX};
use super::window::INITIAL_WINDOW;
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
    /// Bytes of all streams that may arrive before they are read: at least 65,535, with which
    /// every connection begins.
    pub connection_window: u32,
    /// Extended CONNECT is allowed (RFC 8441).
    pub connect_protocol: bool,
}

/// Identifiers of settings (§6.5.2, RFC 8441 §3, RFC 9218 §2.1).
mod id {
    pub(super) const HEADER_TABLE_SIZE: u16 = 1;
    pub(super) const ENABLE_PUSH: u16 = 2;
    pub(super) const MAX_CONCURRENT_STREAMS: u16 = 3;
    pub(super) const INITIAL_WINDOW_SIZE: u16 = 4;
    pub(super) const MAX_FRAME_SIZE: u16 = 5;
    pub(super) const MAX_HEADER_LIST_SIZE: u16 = 6;
    pub(super) const ENABLE_CONNECT_PROTOCOL: u16 = 8;
    pub(super) const NO_RFC7540_PRIORITIES: u16 = 9;
}

/// Bytes of one setting.
pub(super) const SETTING_BYTES: usize = 6;

/// Bytes of the peer's dynamic table: the default. More would save bytes that cost less than the
/// memory.
const HEADER_TABLE_BYTES: u32 = 4096;

impl Settings {
    /// The same, with windows that exist.
    pub(super) fn clamped(self) -> Self {
        Self {
            stream_window: self.stream_window.min(MAX_31_BITS),
            connection_window: self.connection_window.clamp(INITIAL_WINDOW, MAX_31_BITS),
            ..self
        }
    }

    /// The payload that a server sends first.
    pub(super) fn of_server(&self) -> Vec<u8> {
        let mut payload = self.of_both();
        write(&mut payload, id::MAX_CONCURRENT_STREAMS, self.streams_max);
        if self.connect_protocol {
            write(&mut payload, id::ENABLE_CONNECT_PROTOCOL, 1);
        }
        payload
    }

    /// The payload that a client sends first.
    pub(super) fn of_client(&self) -> Vec<u8> {
        let mut payload = self.of_both();
        write(&mut payload, id::ENABLE_PUSH, 0);
        payload
    }

    fn of_both(&self) -> Vec<u8> {
        let head_bytes = u32::try_from(self.limits.head_bytes).unwrap_or(u32::MAX);
        let mut payload = Vec::with_capacity(6 * SETTING_BYTES);
        write(&mut payload, id::HEADER_TABLE_SIZE, HEADER_TABLE_BYTES);
        write(&mut payload, id::INITIAL_WINDOW_SIZE, self.stream_window);
        write(&mut payload, id::MAX_FRAME_SIZE, PAYLOAD_BYTES_MAX as u32);
        write(&mut payload, id::MAX_HEADER_LIST_SIZE, head_bytes);
        payload
    }
}

fn write(payload: &mut Vec<u8>, id: u16, value: u32) {
    payload.extend_from_slice(&id.to_be_bytes());
    payload.extend_from_slice(&value.to_be_bytes());
}

/// What the peer has told us, as far as we heed it.
///
/// Not heeded: MAX_FRAME_SIZE, as no peer may take less than what we send at most;
/// MAX_HEADER_LIST_SIZE, which is advice: the peer answers what is too large itself; ENABLE_PUSH,
/// as we never push.
#[derive(Debug, Clone, Copy)]
pub(super) struct PeerSettings {
    /// Streams that we may have open at once.
    pub(super) streams_max: u32,
    /// The window of a stream that we send on.
    pub(super) initial_window: u32,
    /// The same, until the frame that changes it is whole.
    next_window: u32,
    pub(super) connect_protocol: bool,
    /// The peer's SETTINGS have come.
    pub(super) have_come: bool,
}

/// Streams that a client opens before it knows how many it may: what §6.5.2 recommends as the
/// least for a server to allow.
const STREAMS_AT_FIRST: u32 = 100;

impl Default for PeerSettings {
    fn default() -> Self {
        Self {
            streams_max: STREAMS_AT_FIRST,
            initial_window: INITIAL_WINDOW,
            next_window: INITIAL_WINDOW,
            connect_protocol: false,
            have_come: false,
        }
    }
}

impl PeerSettings {
    /// A SETTINGS frame begins.
    pub(super) fn begin(&mut self) {
        if !std::mem::replace(&mut self.have_come, true) {
            self.streams_max = u32::MAX;
        }
    }

    /// A SETTINGS frame is whole. Returns by how much the windows of all streams change: once,
    /// as often as the frame may set it.
    pub(super) fn end(&mut self) -> i64 {
        let before = std::mem::replace(&mut self.initial_window, self.next_window);
        i64::from(self.next_window) - i64::from(before)
    }

    /// Takes one setting. Returns the size of the header table if it is that one.
    pub(super) fn receive(
        &mut self,
        setting: [u8; SETTING_BYTES],
        from_server: bool,
    ) -> Result<Option<u32>, ConnectionError> {
        let [i0, i1, v0, v1, v2, v3] = setting;
        let value = u32::from_be_bytes([v0, v1, v2, v3]);
        let is_valid = match u16::from_be_bytes([i0, i1]) {
            id::HEADER_TABLE_SIZE => return Ok(Some(value)),
            // A server that says it may be pushed to is wrong (§6.5.2).
            id::ENABLE_PUSH => value == 0 || (value == 1 && !from_server),
            id::MAX_CONCURRENT_STREAMS => {
                self.streams_max = value;
                true
            }
            id::INITIAL_WINDOW_SIZE if value > MAX_31_BITS => {
                return Err(ConnectionError::protocol(ErrorCode::FlowControlError));
            }
            id::INITIAL_WINDOW_SIZE => {
                self.next_window = value;
                true
            }
            id::MAX_FRAME_SIZE => (PAYLOAD_BYTES_MAX as u32..1 << 24).contains(&value),
            id::ENABLE_CONNECT_PROTOCOL => {
                self.connect_protocol = value == 1;
                value <= 1
            }
            id::NO_RFC7540_PRIORITIES => value <= 1,
            _ => true,
        };
        if !is_valid {
            return Err(ConnectionError::protocol(ErrorCode::ProtocolError));
        }
        Ok(None)
    }
}
