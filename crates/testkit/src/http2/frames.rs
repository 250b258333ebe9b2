//! Bare frames (RFC 9113 §4.1): for tests that break the rules, and for what the `h2` crate does
//! not let one do.

use std::fmt;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use socket2::Socket;

use crate::client::{Client, ReadError};
use crate::peer::Peer;

/// A connection that speaks frames, as either side. Every operation has a time-out of 5 s and
/// panics with what it waited for.
pub struct Frames {
    wire: Client,
}

/// A frame.
#[derive(Clone, PartialEq, Eq)]
pub struct Frame {
    /// Its type, see the constants.
    pub kind: u8,
    /// Its flags.
    pub flags: u8,
    /// Its stream; 0 is the connection.
    pub stream: u32,
    /// What is in it.
    pub payload: Vec<u8>,
}

impl Frame {
    /// DATA
    pub const DATA: u8 = 0;
    /// HEADERS
    pub const HEADERS: u8 = 1;
    /// PRIORITY
    pub const PRIORITY: u8 = 2;
    /// RST_STREAM
    pub const RST_STREAM: u8 = 3;
    /// SETTINGS
    pub const SETTINGS: u8 = 4;
    /// PING
    pub const PING: u8 = 6;
    /// GOAWAY
    pub const GOAWAY: u8 = 7;
    /// WINDOW_UPDATE
    pub const WINDOW_UPDATE: u8 = 8;
    /// CONTINUATION
    pub const CONTINUATION: u8 = 9;

    /// The flag END_STREAM of DATA and HEADERS.
    pub const END_STREAM: u8 = 1;
    /// The flag ACK of SETTINGS and PING.
    pub const ACK: u8 = 1;
    /// The flag END_HEADERS of HEADERS and CONTINUATION.
    pub const END_HEADERS: u8 = 4;

    /// What a client says before its first frame (RFC 9113 §3.4).
    pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

    /// A frame.
    pub fn new(kind: u8, flags: u8, stream: u32, payload: impl Into<Vec<u8>>) -> Self {
        Self {
            kind,
            flags,
            stream,
            payload: payload.into(),
        }
    }

    /// SETTINGS with these identifiers and values.
    pub fn settings(values: &[(u16, u32)]) -> Self {
        let bytes = values.iter().flat_map(|(id, value)| {
            let id = id.to_be_bytes();
            id.into_iter().chain(value.to_be_bytes())
        });
        Self::new(Self::SETTINGS, 0, 0, bytes.collect::<Vec<u8>>())
    }

    /// HEADERS of a whole head, which ends the stream.
    pub fn request(stream: u32, block: Vec<u8>) -> Self {
        let flags = Self::END_STREAM | Self::END_HEADERS;
        Self::new(Self::HEADERS, flags, stream, block)
    }

    /// HEADERS of a whole head, behind which content follows.
    pub fn open(stream: u32, block: Vec<u8>) -> Self {
        Self::new(Self::HEADERS, Self::END_HEADERS, stream, block)
    }

    /// RST_STREAM
    pub fn reset(stream: u32, code: u32) -> Self {
        Self::new(Self::RST_STREAM, 0, stream, code.to_be_bytes())
    }

    /// GOAWAY
    pub fn go_away(last: u32, code: u32) -> Self {
        let bytes = [last.to_be_bytes(), code.to_be_bytes()].concat();
        Self::new(Self::GOAWAY, 0, 0, bytes)
    }

    /// WINDOW_UPDATE
    pub fn window_update(stream: u32, bytes: u32) -> Self {
        Self::new(Self::WINDOW_UPDATE, 0, stream, bytes.to_be_bytes())
    }

    /// PING
    pub fn ping() -> Self {
        Self::new(Self::PING, 0, 0, *b"are you?")
    }

    /// A header block in HPACK that needs no table: each field a literal that is not indexed, in
    /// plain ASCII (RFC 7541 §6.2.2).
    pub fn block(fields: &[(&str, &str)]) -> Vec<u8> {
        let mut block = Vec::new();
        for (name, value) in fields {
            block.push(0);
            for text in [name, value] {
                push_length(&mut block, text.len());
                block.extend_from_slice(text.as_bytes());
            }
        }
        block
    }

    /// The block of a GET of `target` from `test.example`, in the clear.
    pub fn get_block(target: &str) -> Vec<u8> {
        Self::block(&[
            (":method", "GET"),
            (":scheme", "http"),
            (":path", target),
            (":authority", "test.example"),
        ])
    }

    /// As [`Frame::get_block`], of a POST.
    pub fn post_block(target: &str) -> Vec<u8> {
        Self::block(&[
            (":method", "POST"),
            (":scheme", "http"),
            (":path", target),
            (":authority", "test.example"),
        ])
    }

    /// The frame as bytes.
    pub fn bytes(&self) -> Vec<u8> {
        let length = u32::try_from(self.payload.len()).expect("a frame is small");
        let mut bytes = length.to_be_bytes()[1..].to_vec();
        bytes.extend([self.kind, self.flags]);
        bytes.extend(self.stream.to_be_bytes());
        bytes.extend_from_slice(&self.payload);
        bytes
    }

    /// The code of RST_STREAM or GOAWAY; panics for others.
    #[track_caller]
    pub fn code(&self) -> u32 {
        let at = match self.kind {
            Self::RST_STREAM => 0,
            Self::GOAWAY => 4,
            _ => panic!("{self:?} has no code"),
        };
        let bytes = self.payload[at..at + 4].try_into();
        u32::from_be_bytes(bytes.expect("four bytes"))
    }
}

impl fmt::Debug for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            kind,
            flags,
            stream,
            payload,
        } = self;
        write!(f, "frame {kind} flags {flags:#x} stream {stream}: ")?;
        write!(
            f,
            "{} bytes {}",
            payload.len(),
            payload[..payload.len().min(40)].escape_ascii()
        )
    }
}

impl Frames {
    /// Connects and says nothing.
    #[track_caller]
    pub fn connect(to: impl Into<Peer>) -> Self {
        Self {
            wire: Client::connect(to),
        }
    }

    /// Connects, sends the preface with SETTINGS and confirms the proxy's.
    #[track_caller]
    pub fn open(to: impl Into<Peer>, settings: &[(u16, u32)]) -> Self {
        let mut frames = Self::connect(to);
        frames.send_bytes(Frame::PREFACE);
        frames.send(&Frame::settings(settings));
        frames.confirm_settings();
        frames
    }

    /// Waits for the other side's SETTINGS and confirms them.
    #[track_caller]
    pub fn confirm_settings(&mut self) -> Frame {
        let theirs = self.read_until(|frame| frame.kind == Frame::SETTINGS && frame.flags == 0);
        self.send(&Frame::new(Frame::SETTINGS, Frame::ACK, 0, []));
        theirs
    }

    /// Sends a frame.
    #[track_caller]
    pub fn send(&mut self, frame: &Frame) {
        self.send_bytes(&frame.bytes());
    }

    /// Sends bytes as they are.
    #[track_caller]
    pub fn send_bytes(&mut self, bytes: &[u8]) {
        self.wire.send(bytes);
    }

    /// Sends the frames of round after round, up to `rounds`, each round in one piece, and reads
    /// what comes meanwhile, until the proxy goes away. Returns the code of its GOAWAY; `None` if
    /// it took everything.
    #[track_caller]
    pub fn flood(&mut self, rounds: u32, mut round: impl FnMut(u32) -> Vec<Frame>) -> Option<u32> {
        for number in 0..rounds {
            let bytes: Vec<u8> = round(number).iter().flat_map(Frame::bytes).collect();
            // Fails once the proxy has closed; what it said before is still to be read.
            let is_taken = self.wire.try_send(bytes).is_ok();
            self.wire
                .set_timeout(if is_taken { GLANCE } else { PATIENCE });
            loop {
                match self.try_read() {
                    Ok(Some(frame)) if frame.kind == Frame::GOAWAY => return Some(frame.code()),
                    Ok(Some(_)) => {}
                    Err(ReadError::TimedOut) if is_taken => break,
                    Ok(None) | Err(_) => panic!("the connection ended without a GOAWAY"),
                }
            }
            self.wire.set_timeout(PATIENCE);
        }
        None
    }

    /// Reads the next frame.
    #[track_caller]
    pub fn read(&mut self) -> Frame {
        match self.try_read() {
            Ok(Some(frame)) => frame,
            Ok(None) => panic!("the connection ended"),
            Err(error) => panic!("no frame: {error:?}"),
        }
    }

    /// Reads the next frame; `None` if the connection ended before.
    pub fn try_read(&mut self) -> Result<Option<Frame>, ReadError> {
        let Some(pending) = self.wire.try_peek(HEAD_BYTES)? else {
            return Ok(None);
        };
        let length = u32::from_be_bytes([0, pending[0], pending[1], pending[2]]) as usize;
        // Stays where it is until all of it is there: a time-out loses nothing.
        self.wire.try_peek(HEAD_BYTES + length)?;
        let head = self.wire.read_bytes(HEAD_BYTES);
        Ok(Some(Frame {
            kind: head[3],
            flags: head[4],
            stream: u32::from_be_bytes([head[5], head[6], head[7], head[8]]),
            payload: self.wire.read_bytes(length),
        }))
    }

    /// Reads frames until one that `is_it`; forgets those before.
    #[track_caller]
    pub fn read_until(&mut self, mut is_it: impl FnMut(&Frame) -> bool) -> Frame {
        loop {
            let frame = self.read();
            if is_it(&frame) {
                return frame;
            }
            assert!(
                frame.kind != Frame::GOAWAY,
                "the proxy ends the connection: {frame:?}"
            );
        }
    }

    /// Waits for a frame of this kind on this stream.
    #[track_caller]
    pub fn expect(&mut self, kind: u8, stream: u32) -> Frame {
        self.read_until(|frame| frame.kind == kind && frame.stream == stream)
    }

    /// Waits for GOAWAY and for the end of the connection behind it. Returns the code.
    #[track_caller]
    pub fn expect_go_away(&mut self) -> u32 {
        let code = self.read_until(|frame| frame.kind == Frame::GOAWAY).code();
        loop {
            match self.try_read() {
                Ok(Some(_)) => {}
                Err(ReadError::TimedOut) => panic!("the connection is not closed"),
                // A close that overtakes what we still send is a reset.
                Ok(None) | Err(_) => return code,
            }
        }
    }
}

/// A server of bare frames: `serve` is called with each connection, whose preface was read, and
/// with its number.
#[derive(Debug)]
pub struct FrameEndpoint {
    address: SocketAddr,
    _acceptor: JoinHandle<()>,
}

impl FrameEndpoint {
    /// A server on 127.0.0.1, for as long as the test process lives.
    pub fn start(serve: impl Fn(&mut Frames, usize) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port can be bound");
        let address = listener.local_addr().expect("it is bound");
        let serve = Arc::new(serve);
        let acceptor = std::thread::spawn(move || {
            for (number, stream) in listener.incoming().enumerate() {
                let Ok(stream) = stream else { return };
                let serve = Arc::clone(&serve);
                std::thread::spawn(move || {
                    let mut frames = Frames {
                        wire: Client::accepted(Socket::from(stream)),
                    };
                    // A probe of the port sends nothing.
                    if let Ok(Some(_)) = frames.wire.try_peek(Frame::PREFACE.len()) {
                        let preface = frames.wire.read_bytes(Frame::PREFACE.len());
                        assert_eq!(preface, Frame::PREFACE, "the preface");
                        serve(&mut frames, number);
                    }
                });
            }
        });
        Self {
            address,
            _acceptor: acceptor,
        }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

/// Length, type, flags and stream.
const HEAD_BYTES: usize = 9;

/// How long a look at what has arrived takes, if it is nothing.
const GLANCE: Duration = Duration::from_millis(1);
const PATIENCE: Duration = Duration::from_secs(5);

/// A length with a prefix of seven bits (RFC 7541 §5.1).
fn push_length(block: &mut Vec<u8>, length: usize) {
    if length < 127 {
        block.push(length as u8);
        return;
    }
    block.push(127);
    let mut left = length - 127;
    while left >= 128 {
        block.push(left as u8 & 127 | 128);
        left >>= 7;
    }
    block.push(left as u8);
}
