//! Exchanges on one HTTP/2 connection, without sockets: what the state machine itself costs.
//!
//! `cargo bench --package bench --bench h2_exchanges`

use std::time::Instant;

use divan::Bencher;
use divan::counter::ItemsCount;
use message::{RequestHead, ResponseHead};
use wire::h1::Limits;
use wire::h2::{Connection, Event, Read, Settings, StreamKey};

fn main() {
    divan::main();
}

const SETTINGS: Settings = Settings {
    limits: Limits {
        head_bytes: 32 * 1024,
        fields: 100,
        line_bytes: 8 * 1024,
    },
    streams_max: 128,
    stream_window: 256 * 1024,
    connection_window: 1024 * 1024,
    connect_protocol: false,
};

const REQUEST: &[u8] = b"GET /index.html HTTP/1.1\r\nHost: shop.example\r\nAccept: */*\r\n\
    User-Agent: h2load nghttp2/1.52.0\r\n\r\n";

const RESPONSE: &[u8] = b"HTTP/1.1 200 OK\r\nServer: bench\r\nContent-Type: text/plain\r\n\
    Content-Length: 1024\r\n\r\n";

/// A client and a server that exchange messages through memory.
struct Pair {
    client: Connection,
    server: Connection,
    now: Instant,
    request: RequestHead,
    response: ResponseHead,
}

impl Pair {
    fn new() -> Self {
        let now = Instant::now();
        Self {
            client: Connection::client(SETTINGS, now),
            server: Connection::server(SETTINGS, now),
            now,
            request: RequestHead::default(),
            response: ResponseHead::default(),
        }
    }

    /// One request and its response of 1 KiB on each of `streams` streams at once.
    fn exchange(&mut self, streams: usize) {
        let mut open = Vec::with_capacity(streams);
        for _ in 0..streams {
            open.push(self.client.open(REQUEST, true).expect("there is room"));
        }
        let requests = take(&mut self.server, &mut self.client, self.now);
        for event in requests {
            let Event::Request(key) = event else { continue };
            self.server.take_request(&mut self.request);
            self.server.send_head(key, RESPONSE, false);
            let taken = self.server.send_data(key, &[b'x'; 1024], true);
            assert_eq!(taken, Ok(1024));
            self.server.free(key);
        }
        for event in take(&mut self.client, &mut self.server, self.now) {
            match event {
                Event::Response(_) => self.client.take_response(&mut self.response),
                Event::Body(key) => self.end(key),
                _ => {}
            }
        }
        assert_eq!(self.client.streams(), 0);
    }

    fn end(&mut self, key: StreamKey) {
        let mut out = [0; 2048];
        assert_eq!(self.client.read(key, &mut out), Read::Data(1024));
        self.client.free(key);
    }
}

/// Lets `to` receive what `from` owes.
fn take(to: &mut Connection, from: &mut Connection, now: Instant) -> Vec<Event> {
    let mut events = Vec::new();
    let mut bytes = from.output();
    while !bytes.is_empty() {
        let (taken, event) = to.receive(bytes, now).expect("both keep to the rules");
        bytes = &bytes[taken..];
        events.extend(event);
    }
    let count = from.output().len();
    from.sent(count);
    events
}

#[divan::bench(args = [1, 10, 50])]
fn exchange(bencher: Bencher<'_, '_>, streams: usize) {
    let mut pair = Pair::new();
    pair.exchange(1);
    bencher
        .counter(ItemsCount::new(streams))
        .bench_local(|| pair.exchange(streams));
}
