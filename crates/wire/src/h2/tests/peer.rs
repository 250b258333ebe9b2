//! The other side: frames written and read by hand, so that no mistake is made twice.

use std::time::{Duration, Instant};

use message::{RequestHead, ResponseHead};

use crate::h1::Limits;
use crate::h2::*;

pub(super) const DATA: u8 = 0;
pub(super) const HEADERS: u8 = 1;
pub(super) const PRIORITY: u8 = 2;
pub(super) const RST_STREAM: u8 = 3;
pub(super) const SETTINGS: u8 = 4;
pub(super) const PUSH_PROMISE: u8 = 5;
pub(super) const PING: u8 = 6;
pub(super) const GOAWAY: u8 = 7;
pub(super) const WINDOW_UPDATE: u8 = 8;
pub(super) const CONTINUATION: u8 = 9;

pub(super) const ACK: u8 = 1;
pub(super) const END_STREAM: u8 = 1;
pub(super) const END_HEADERS: u8 = 4;
pub(super) const PADDED: u8 = 8;
pub(super) const PRIORITIZED: u8 = 32;

/// HEADERS of a message without a body.
pub(super) const WHOLE: u8 = END_STREAM | END_HEADERS;

pub(super) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

pub(super) const SETTINGS_OF_TESTS: Settings = Settings {
    limits: Limits {
        head_bytes: 8192,
        fields: 50,
        line_bytes: 1024,
    },
    streams_max: 100,
    stream_window: 65_535,
    connection_window: 65_535,
    connect_protocol: true,
};

/// One frame.
pub(super) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut frame = vec![length[1], length[2], length[3], kind, flags];
    frame.extend_from_slice(&stream.to_be_bytes());
    frame.extend_from_slice(payload);
    frame
}

/// A header block of literals that are not indexed (RFC 7541 §6.2.2).
pub(super) fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    fn string(block: &mut Vec<u8>, text: &str) {
        // §5.1, with a prefix of seven bits.
        match text.len() {
            length @ ..127 => block.push(length as u8),
            length => {
                block.push(127);
                let mut rest = length - 127;
                while rest >= 128 {
                    block.push((rest % 128 + 128) as u8);
                    rest /= 128;
                }
                block.push(rest as u8);
            }
        }
        block.extend_from_slice(text.as_bytes());
    }
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        string(&mut block, name);
        string(&mut block, value);
    }
    block
}

/// The block of a request with more fields.
pub(super) fn request_with(method: &str, fields: &[(&str, &str)]) -> Vec<u8> {
    let first = [
        (":method", method),
        (":scheme", "http"),
        (":path", "/"),
        (":authority", "a"),
    ];
    block(&[&first, fields].concat())
}

pub(super) fn get() -> Vec<u8> {
    request_with("GET", &[])
}

pub(super) fn post() -> Vec<u8> {
    request_with("POST", &[])
}

pub(super) fn response_with(status: &str, fields: &[(&str, &str)]) -> Vec<u8> {
    block(&[&[(":status", status)], fields].concat())
}

/// One setting.
pub(super) fn setting(id: u16, value: u32) -> Vec<u8> {
    [&id.to_be_bytes()[..], &value.to_be_bytes()].concat()
}

/// What came over the wire.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Frame {
    pub(super) kind: u8,
    pub(super) flags: u8,
    pub(super) stream: u32,
    pub(super) payload: Vec<u8>,
}

impl Frame {
    /// The first four bytes of the payload.
    pub(super) fn number(&self) -> u32 {
        u32::from_be_bytes(self.payload[..4].try_into().unwrap())
    }
}

/// Takes bytes apart; they must be whole frames.
pub(super) fn frames(mut bytes: &[u8]) -> Vec<Frame> {
    let mut frames = Vec::new();
    while let [l0, l1, l2, kind, flags, s0, s1, s2, s3, rest @ ..] = bytes {
        let length = u32::from_be_bytes([0, *l0, *l1, *l2]) as usize;
        assert!(length <= 16_384, "a frame is too large");
        frames.push(Frame {
            kind: *kind,
            flags: *flags,
            stream: u32::from_be_bytes([*s0, *s1, *s2, *s3]),
            payload: rest[..length].to_vec(),
        });
        bytes = &rest[length..];
    }
    assert!(bytes.is_empty(), "a frame is not whole");
    frames
}

/// A connection under test, and what it said.
pub(super) struct Peer {
    pub(super) wire: Connection,
    pub(super) now: Instant,
    /// Events in order.
    pub(super) events: Vec<Event>,
    /// Heads of requests or responses in order, as text.
    pub(super) heads: Vec<String>,
    pub(super) error: Option<ConnectionError>,
}

impl Peer {
    /// A server whose client has said what every connection begins with.
    pub(super) fn of_server(settings: Settings) -> Self {
        let mut peer = Self::of_new_server(settings);
        peer.say(PREFACE);
        peer.say(&frame(SETTINGS, 0, 0, &[]));
        peer.say(&frame(SETTINGS, ACK, 0, &[]));
        peer.hear();
        peer.events.clear();
        peer
    }

    pub(super) fn of_new_server(settings: Settings) -> Self {
        Self::new(|now| Connection::server(settings, now))
    }

    pub(super) fn server() -> Self {
        Self::of_server(SETTINGS_OF_TESTS)
    }

    /// A client whose server has answered.
    pub(super) fn client() -> Self {
        let mut peer = Self::of_new_client();
        peer.say(&frame(SETTINGS, 0, 0, &[]));
        peer.say(&frame(SETTINGS, ACK, 0, &[]));
        peer.hear();
        peer.events.clear();
        peer
    }

    pub(super) fn of_new_client() -> Self {
        let mut peer = Self::new(|now| Connection::client(SETTINGS_OF_TESTS, now));
        assert!(peer.wire.output().starts_with(PREFACE));
        peer.wire.sent(PREFACE.len());
        peer
    }

    #[expect(clippy::disallowed_methods, reason = "time has to begin somewhere")]
    fn new(connection: impl FnOnce(Instant) -> Connection) -> Self {
        let now = Instant::now();
        Self {
            wire: connection(now),
            now,
            events: Vec::new(),
            heads: Vec::new(),
            error: None,
        }
    }

    /// Sends bytes to the connection, and takes the heads that come of it.
    pub(super) fn say(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() && self.error.is_none() {
            match self.wire.receive(bytes, self.now) {
                Err(error) => self.error = Some(error),
                Ok((taken, event)) => {
                    assert!(taken > 0 || event.is_some(), "nothing would ever happen");
                    bytes = &bytes[taken..];
                    self.events.extend(event);
                    self.take_head(event);
                }
            }
        }
    }

    fn take_head(&mut self, event: Option<Event>) {
        match event {
            Some(Event::Request(_)) => {
                let mut head = RequestHead::default();
                self.wire.take_request(&mut head);
                self.heads.push(String::from_utf8(head.bytes).unwrap());
            }
            Some(Event::Response(_)) => {
                let mut head = ResponseHead::default();
                self.wire.take_response(&mut head);
                self.heads.push(String::from_utf8(head.bytes).unwrap());
            }
            _ => {}
        }
    }

    /// Takes everything that the connection owes.
    pub(super) fn hear(&mut self) -> Vec<Frame> {
        let frames = frames(self.wire.output());
        self.wire.sent(self.wire.output().len());
        frames
    }

    /// Opens a stream and returns its key.
    pub(super) fn request(&mut self, id: u32, flags: u8, block: &[u8]) -> StreamKey {
        self.say(&frame(HEADERS, flags, id, block));
        match self.events.pop() {
            Some(Event::Request(key)) => key,
            other => panic!("not a request: {other:?}, {:?}", self.error),
        }
    }

    /// All content that can be read.
    pub(super) fn read(&mut self, key: StreamKey) -> (Vec<u8>, Read) {
        let mut content = Vec::new();
        let mut out = [0; 1000];
        loop {
            match self.wire.read(key, &mut out) {
                Read::Data(count) => content.extend_from_slice(&out[..count]),
                read => return (content, read),
            }
        }
    }

    /// Time passes.
    pub(super) fn wait(&mut self, time: Duration) {
        self.now += time;
        if let Err(error) = self.wire.expire(self.now) {
            self.error = Some(error);
        }
    }

    /// The code of the RST_STREAM that the connection owes for a stream, which must be open
    /// otherwise.
    pub(super) fn hear_reset(&mut self, stream: u32) -> u32 {
        assert_eq!(self.error, None);
        let frames = self.hear();
        let reset = frames
            .iter()
            .find(|frame| frame.kind == RST_STREAM && frame.stream == stream);
        reset
            .unwrap_or_else(|| panic!("no reset: {frames:?}"))
            .number()
    }

    /// The code of the GOAWAY that the connection ends with.
    pub(super) fn hear_end(&mut self) -> u32 {
        let error = self.error.expect("the connection goes on");
        assert!(RULES.contains(&error.rule), "{}", error.rule);
        let frames = self.hear();
        let last = frames.last().expect("it says why");
        assert_eq!(last.kind, GOAWAY);
        let code = u32::from_be_bytes(last.payload[4..8].try_into().unwrap());
        assert_eq!(code, error.code as u32);
        code
    }
}
