//! What our side sends: heads, content as far as windows allow, ends.

use message::Method;

use super::connection::{Connection, StreamKey};
use super::error::ErrorCode;
use super::head::{write_request, write_response, write_trailers};
use super::stream::{Receive, Send, Stream};
use super::window::{ReceiveWindow, SendWindow};

impl Connection {
    /// Opens a stream with the request whose HTTP/1.1 text is `head`. `None`: the peer has as many
    /// streams as it may, or takes no more. Clients only.
    pub fn open(&mut self, head: &[u8], is_end: bool) -> Option<StreamKey> {
        if self.streams_left() == 0 {
            return None;
        }
        let id = self.our_next;
        self.our_next += 2;
        let method = head.split(|&byte| byte == b' ').next().unwrap_or_default();
        let head_at = self.output.end();
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
            head_at,
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

    /// The next stream that has room to send again, in turn. Call until `None`, after
    /// [`Event::Window`](super::Event::Window) and after output has left.
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

    /// We have ended the stream.
    fn finish_sending(&mut self, key: StreamKey) {
        if let Some(stream) = self.streams.get(key) {
            stream.send = Send::Done;
        }
        self.guard.complete();
        self.streams.settle(key);
    }
}
