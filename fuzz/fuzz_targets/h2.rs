//! HTTP/2 connections of both sides: whatever the peer sends, cut anywhere, the same comes of it,
//! what we owe is whole frames within bounds, and once everybody has let go nothing is left.
#![no_main]

use std::collections::BTreeMap;
use std::time::Instant;

use fuzz::LIMITS;
use libfuzzer_sys::fuzz_target;
use message::{RequestHead, ResponseHead};
use wire::h2::{Connection, ConnectionError, Event, RULES, Read, Settings, StreamKey};

const SETTINGS: Settings = Settings {
    limits: LIMITS,
    streams_max: 4,
    // An input cannot fill them: when they are given back depends on the cuts.
    stream_window: 65_535,
    connection_window: 65_535,
    connect_protocol: true,
};

/// The preface and empty SETTINGS, so that inputs begin with what is of interest.
const HELLO: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

/// What we send on every stream: some of it waits for a peer that makes windows small.
const CONTENT: &[u8] = &[b'x'; 300];

fuzz_target!(|input: &[u8]| {
    let Some((wire, pieces)) = fuzz::cut(input) else {
        return;
    };
    for begin in [Side::server, Side::client] {
        let whole = begin().receive(&[wire]);
        assert_eq!(begin().receive(&pieces), whole, "cut otherwise");
    }
});

/// What came of the bytes.
#[derive(Debug, Default, PartialEq, Eq)]
struct Outcome {
    heads: Vec<Vec<u8>>,
    /// By the identifiers of streams.
    contents: BTreeMap<u32, Vec<u8>>,
    trailers: Vec<Vec<u8>>,
    error: Option<ConnectionError>,
}

struct Side {
    wire: Connection,
    now: Instant,
    /// Streams that are held, and how much of the content was sent on them.
    held: Vec<(StreamKey, usize)>,
    outcome: Outcome,
}

impl Side {
    fn server() -> Self {
        let now = Instant::now();
        let mut side = Self::new(Connection::server(SETTINGS, now), now);
        side.take(HELLO);
        side
    }

    fn client() -> Self {
        let now = Instant::now();
        let mut side = Self::new(Connection::client(SETTINGS, now), now);
        side.wire.sent(HELLO.len() - 9);
        for method in ["GET", "HEAD", "POST", "CONNECT"] {
            let head = format!("{method} /a HTTP/1.1\r\nHost: a\r\n\r\n");
            let key = side.wire.open(head.as_bytes(), false);
            side.held.push((key.expect("there is room"), 0));
        }
        side.take(&HELLO[HELLO.len() - 9..]);
        side
    }

    fn new(wire: Connection, now: Instant) -> Self {
        Self {
            wire,
            now,
            held: Vec::new(),
            outcome: Outcome::default(),
        }
    }

    fn receive(mut self, pieces: &[&[u8]]) -> Outcome {
        for piece in pieces {
            self.take(piece);
        }
        for (key, _) in std::mem::take(&mut self.held) {
            self.wire.free(key);
        }
        assert_eq!(self.wire.streams(), 0, "everybody has let go");
        self.send();
        self.outcome
    }

    fn take(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() && self.outcome.error.is_none() {
            match self.wire.receive(bytes, self.now) {
                Err(error) => {
                    assert!(RULES.contains(&error.rule));
                    self.outcome.error = Some(error);
                }
                Ok((taken, event)) => {
                    assert!(taken > 0 || event.is_some(), "nothing would ever happen");
                    assert!(event.is_some() || taken == bytes.len(), "some are left");
                    bytes = &bytes[taken..];
                    if let Some(event) = event {
                        self.act(event);
                    }
                }
            }
            self.send();
        }
    }

    fn act(&mut self, event: Event) {
        match event {
            Event::Request(key) => {
                let mut head = RequestHead::default();
                self.wire.take_request(&mut head);
                self.outcome.heads.push(head.bytes);
                self.held.push((key, 0));
                self.wire.send_head(key, b"HTTP/1.1 200 OK\r\n\r\n", false);
                self.send_content(key);
                self.read(key);
            }
            Event::Rejected(key, _) => {
                self.wire.send_head(key, b"HTTP/1.1 431 \r\n\r\n", true);
                self.wire.free(key);
            }
            Event::Response(key) => {
                let mut head = ResponseHead::default();
                self.wire.take_response(&mut head);
                self.outcome.heads.push(head.bytes);
                self.read(key);
            }
            Event::Body(key) => self.read(key),
            Event::Reset(key, _) => {
                self.read(key);
                self.held.retain(|(held, _)| *held != key);
                self.wire.free(key);
            }
            Event::Window => {
                while let Some(key) = self.wire.poll_writable() {
                    self.send_content(key);
                }
            }
            Event::GoAway => assert!(self.wire.is_going_away()),
        }
    }

    fn read(&mut self, key: StreamKey) {
        let mut out = [0; 64];
        loop {
            match self.wire.read(key, &mut out) {
                Read::Data(count) => {
                    let content = self.outcome.contents.entry(key.id).or_default();
                    content.extend_from_slice(&out[..count]);
                }
                Read::End => {
                    let trailers = self.wire.trailers(key);
                    self.outcome.trailers.push(trailers.to_vec());
                    return;
                }
                Read::Nothing | Read::Reset(_) => return,
            }
        }
    }

    fn send_content(&mut self, key: StreamKey) {
        let Some((_, sent)) = self.held.iter_mut().find(|(held, _)| *held == key) else {
            return;
        };
        // The last of it only in parts that leave the stream open.
        if let Ok(count) = self.wire.send_data(key, &CONTENT[*sent..], false) {
            *sent += count;
            if *sent == CONTENT.len() {
                self.wire.send_trailers(key, b"a: b\r\n");
            }
        }
    }

    /// What is owed leaves.
    fn send(&mut self) {
        let mut owed = self.wire.output();
        assert!(owed.len() < 128 * 1024, "too much is owed");
        while !owed.is_empty() {
            let length = u32::from_be_bytes([0, owed[0], owed[1], owed[2]]) as usize;
            assert!(length <= 16_384, "a frame is too large");
            owed = &owed[9 + length..];
        }
        self.wire.sent(self.wire.output().len());
    }
}
