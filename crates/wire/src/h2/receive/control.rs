//! Frames without content: SETTINGS, PRIORITY, RST_STREAM, PING, GOAWAY, WINDOW_UPDATE (RFC 9113
//! §6.3 to §6.9).

use super::super::connection::{Connection, Event, Role};
use super::super::error::ErrorCode;
use super::super::frame::{FrameHeader, HEADER_BYTES, MAX_31_BITS, flag, kind};
use super::super::guard::Cost;
use super::super::intake::{Expect, Part};
use super::super::settings::SETTING_BYTES;
use super::super::stream::{Receive, Reset};
use super::{FLOW_CONTROL_ERROR, FRAME_SIZE_ERROR, PROTOCOL_ERROR, Received};

/// SETTINGS (§6.5).
impl Connection {
    pub(super) fn begin_settings(&mut self, frame: FrameHeader) -> Received {
        if frame.has(flag::ACK) {
            if frame.length > 0 {
                return Err(FRAME_SIZE_ERROR);
            }
            return self.receive_settings_ack();
        }
        if !frame.length.is_multiple_of(SETTING_BYTES) {
            return Err(FRAME_SIZE_ERROR);
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

    pub(super) fn receive_setting(&mut self, payload: [u8; HEADER_BYTES]) -> Received {
        let [s0, s1, s2, s3, s4, s5, ..] = payload;
        let is_client = self.role == Role::Client;
        if let Some(bytes) = self.peer.receive([s0, s1, s2, s3, s4, s5], is_client)? {
            self.encoder.set_table_size_max(bytes);
        }
        self.expect_setting();
        Ok(None)
    }

    pub(super) fn end_settings(&mut self) -> Received {
        let change = self.peer.end();
        if change != 0 {
            for key in self.streams.keys() {
                self.widen(key, change).map_err(|_| FLOW_CONTROL_ERROR)?;
            }
        }
        self.push_ack(kind::SETTINGS, &[]);
        Ok(Some(Event::Window))
    }

    /// Ours are known to the peer: from now on it keeps to the window of a stream.
    pub(super) fn receive_settings_ack(&mut self) -> Received {
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
    pub(super) fn receive_fixed(&mut self, payload: [u8; HEADER_BYTES]) -> Received {
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
        let Some((key, stream)) = self.streams.find_open(id) else {
            self.guard.charge(Cost::Control)?;
            return self.receive_late(id);
        };
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
            return Err(PROTOCOL_ERROR);
        }
        if self.send_window.shift(i64::from(bytes)).is_err() {
            return Err(FLOW_CONTROL_ERROR);
        }
        Ok(self.streams.has_queue().then_some(Event::Window))
    }

    fn receive_stream_window(&mut self, id: u32, bytes: u32) -> Received {
        self.guard.charge(Cost::WindowUpdate)?;
        let Some((key, _)) = self.streams.find_open(id) else {
            return self.receive_late(id);
        };
        if bytes == 0 {
            return self.fail_stream(key, ErrorCode::ProtocolError);
        }
        match self.widen(key, i64::from(bytes)) {
            Ok(is_ready) => Ok(is_ready.then_some(Event::Window)),
            Err(_) => self.fail_stream(key, ErrorCode::FlowControlError),
        }
    }

    /// RST_STREAM or WINDOW_UPDATE of a stream that is over: it was on its way (§5.1).
    fn receive_late(&self, id: u32) -> Received {
        match self.is_idle(id) {
            true => Err(PROTOCOL_ERROR),
            false => Ok(None),
        }
    }
}
