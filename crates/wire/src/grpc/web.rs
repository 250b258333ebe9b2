//! gRPC-Web to gRPC and back: the content of a call, piece by piece as it passes.
//!
//! The messages are the same. A request may be in base64. A response has its trailers as one more
//! frame at the end, and may be in base64 too, each piece padded by itself, so that what has
//! arrived can leave at once.

use super::Kind;
use super::base64::{Decoder, encode};
use super::frame::write_trailers_prefix;
use crate::h1::BadMessage;

/// The content of a gRPC-Web request, on its way to an endpoint that knows gRPC.
#[derive(Debug)]
pub struct WebRequest {
    /// `None`: not in base64.
    text: Option<Decoder>,
}

impl WebRequest {
    /// A request of this kind.
    pub fn new(kind: Kind) -> Self {
        Self {
            text: (kind == Kind::WebText).then(Decoder::default),
        }
    }

    /// Appends what of `data` the endpoint gets.
    ///
    /// # Errors
    /// It should be base64 and is not.
    pub fn receive(&mut self, data: &[u8], out: &mut Vec<u8>) -> Result<(), BadMessage> {
        match &mut self.text {
            Some(decoder) => decoder.receive(data, out),
            None => {
                out.extend_from_slice(data);
                Ok(())
            }
        }
    }

    /// The content has ended.
    ///
    /// # Errors
    /// In the middle of a group of base64.
    pub fn finish(&self) -> Result<(), BadMessage> {
        self.text.as_ref().map_or(Ok(()), Decoder::finish)
    }
}

/// The content of a gRPC response, on its way to a client that knows gRPC-Web.
#[derive(Debug)]
pub struct WebResponse {
    is_text: bool,
}

impl WebResponse {
    /// A response of this kind: see [`Kind::accepted`].
    pub fn new(kind: Kind) -> Self {
        Self {
            is_text: kind == Kind::WebText,
        }
    }

    /// Appends `data` as the client gets it.
    pub fn receive(&mut self, data: &[u8], out: &mut Vec<u8>) {
        if self.is_text {
            encode(data, out);
        } else {
            out.extend_from_slice(data);
        }
    }

    /// The content has ended: appends the frame with `trailers`, field lines with their CR LF.
    /// Names become lower case, as the clients want them.
    pub fn finish(&mut self, trailers: &[u8], out: &mut Vec<u8>) {
        let mut frame = Vec::with_capacity(trailers.len() + 5);
        write_trailers_prefix(trailers.len(), &mut frame);
        for line in trailers.split_inclusive(|&byte| byte == b'\n') {
            let colon = line.iter().position(|&byte| byte == b':');
            let (name, value) = line.split_at(colon.unwrap_or_default());
            frame.extend(name.iter().map(u8::to_ascii_lowercase));
            frame.extend_from_slice(value);
        }
        self.receive(&frame, out);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::grpc::{Frame, read_frame, write_message};

    const TRAILERS: &[u8] = b"Grpc-Status: 0\r\nX-Y: Z: A\r\n";

    /// A response of one message in pieces of `cut` bytes, as a client reads it.
    fn response(kind: Kind, message: &[u8], cut: usize) -> Vec<u8> {
        let (mut content, mut out) = (Vec::new(), Vec::new());
        write_message(message, &mut content);
        let mut web = WebResponse::new(kind);
        for piece in content.chunks(cut) {
            web.receive(piece, &mut out);
        }
        web.finish(TRAILERS, &mut out);
        if kind == Kind::Web {
            return out;
        }
        let mut bytes = Vec::new();
        Decoder::default().receive(&out, &mut bytes).unwrap();
        bytes
    }

    proptest! {
        #[test]
        fn a_response_ends_with_its_trailers(message in any::<Vec<u8>>(), cut in 1usize..9) {
            for kind in [Kind::Web, Kind::WebText] {
                let content = response(kind, &message, cut);
                let (first, rest) = read_frame(&content).unwrap();
                prop_assert_eq!(first, Frame::Message(&message));
                let trailers = Frame::Trailers(b"grpc-status: 0\r\nx-y: Z: A\r\n");
                prop_assert_eq!(read_frame(rest), Some((trailers, &b""[..])));
            }
        }

        #[test]
        fn a_request_arrives_as_it_was_before_base64(bytes in any::<Vec<u8>>(), cut in 1usize..9) {
            let mut text = Vec::new();
            encode(&bytes, &mut text);
            for (kind, sent) in [(Kind::Web, &bytes), (Kind::WebText, &text)] {
                let (mut web, mut out) = (WebRequest::new(kind), Vec::new());
                for piece in sent.chunks(cut) {
                    web.receive(piece, &mut out).unwrap();
                }
                prop_assert_eq!(web.finish(), Ok(()));
                prop_assert_eq!(&out, &bytes);
            }
        }
    }

    #[test]
    fn a_request_that_should_be_base64_and_is_not_is_refused() {
        let mut web = WebRequest::new(Kind::WebText);
        assert_eq!(
            web.receive(b"\0\0\0\0\0", &mut Vec::new()),
            Err(BadMessage::Base64)
        );
        let mut web = WebRequest::new(Kind::WebText);
        assert_eq!(web.receive(b"AAA", &mut Vec::new()), Ok(()));
        assert_eq!(web.finish(), Err(BadMessage::Base64));
    }
}
