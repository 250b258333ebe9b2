//! DATA (RFC 9113 §6.1).

use super::super::connection::{Connection, Event, StreamKey};
use super::super::error::ErrorCode;
use super::super::frame::FrameHeader;
use super::super::stream::{Receive, Stream};
use super::{FLOW_CONTROL_ERROR, Received};

impl Connection {
    pub(super) fn begin_data(&mut self, frame: FrameHeader) -> Received {
        self.sink = None;
        // All of the frame counts, padding too, and whatever becomes of it (§6.9).
        if self.receive_window.receive(frame.length).is_err() {
            return Err(FLOW_CONTROL_ERROR);
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

    /// The stream of the frame under way. It may have been reset since that began.
    pub(super) fn sink(&mut self) -> Option<(StreamKey, &mut Stream)> {
        let key = self.sink?;
        let stream = self.streams.get(key)?;
        stream.reset.is_none().then_some((key, stream))
    }

    pub(super) fn receive_data(&mut self, bytes: &[u8], is_end: bool) -> Received {
        let Some((key, stream)) = self.sink() else {
            self.consume(bytes.len());
            return Ok(None);
        };
        stream.content.push(bytes);
        if is_end {
            stream.receive = Receive::Done;
            self.streams.settle(key);
        }
        Ok((is_end || !bytes.is_empty()).then_some(Event::Body(key)))
    }
}
