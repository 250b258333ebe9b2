//! What has brought other servers of HTTP/2 to their knees, as frames: `threats` 13, 15–19 and 21.
//!
//! Every offender is told ENHANCE_YOUR_CALM, loses its connection and is counted by the rule that
//! it broke; everybody else is served as if nothing were.

use std::time::{Duration, Instant};

use testkit::{Endpoint, Frame, Frames, H2Client, H2Request, Protocol, Reply, filler, poll_until};

use crate::harness::{Proxy, SOON, Setup};

/// A proxy that speaks HTTP/2 in the clear, before this endpoint.
fn proxy_to(endpoint: &Endpoint) -> Proxy {
    Setup::to(&[endpoint]).listener("h2c = true").start()
}

/// The endpoint of most attacks: answers `/` and keeps everything else waiting.
fn endpoint() -> Endpoint {
    Endpoint::start(|request| match request.target() {
        "/" => Reply::ok("fine"),
        _ => Reply::hang(),
    })
}

/// Sends round after round of frames and checks that the proxy puts an end to it, for one of
/// `rules`, and that others are served.
#[track_caller]
fn flood(proxy: &Proxy, rules: &[&str], round: impl FnMut(u32) -> Vec<Frame>) {
    let mut frames = Frames::open(proxy.peer(), &[]);
    let code = frames.flood(ROUNDS, round);
    assert_eq!(code, Some(ENHANCE_YOUR_CALM), "{rules:?}");
    expect_abuse(proxy, rules);
    assert_eq!(H2Client::connect(proxy.peer()).get("/").text(), "fine");
    proxy.wait_for_in_flight(0);
}

/// Waits until a breach of one of `rules`, and of no other, is counted.
#[track_caller]
fn expect_abuse(proxy: &Proxy, rules: &[&str]) {
    const NAME: &str = "pointsman_http2_abuse_total";
    poll_until("a breach is counted", SOON, || {
        proxy.metric(NAME, &[]) > 0.0
    });
    let page = proxy.admin("/metrics");
    let counted: Vec<&str> = page
        .lines()
        .filter(|line| line.starts_with(NAME) && !line.ends_with(" 0"))
        .collect();
    let is_named = |line: &&str| {
        let mut labels = rules.iter().map(|rule| format!("rule=\"{rule}\""));
        line.contains("listener=\"web\"") && labels.any(|label| line.contains(&label))
    };
    assert!(counted.iter().all(is_named), "{counted:?}");
}

/// The streams that a client opens: odd numbers, from 1.
fn stream(number: u32) -> u32 {
    2 * number + 1
}

/// A hundred streams of this round, each made of the frames that `make` gives.
fn hundred(round: u32, make: impl Fn(u32) -> Vec<Frame>) -> Vec<Frame> {
    let streams = (0..100).map(|number| stream(100 * round + number));
    streams.flat_map(make).collect()
}

/// Threat 15.
#[test]
fn rapid_reset() {
    let endpoint = endpoint();
    let proxy = proxy_to(&endpoint);
    flood(&proxy, &["rapid_reset", LATE], |round| {
        hundred(round, |stream| {
            let request = Frame::request(stream, Frame::get_block("/wait"));
            vec![request, Frame::reset(stream, 8)]
        })
    });
    let count = endpoint.request_count();
    assert!(count < 2000, "the endpoint got {count} requests");
}

/// Threat 16.
#[test]
fn made_you_reset() {
    let endpoint = endpoint();
    let proxy = proxy_to(&endpoint);
    flood(&proxy, &["made_you_reset", LATE], |round| {
        hundred(round, |stream| {
            let request = Frame::open(stream, Frame::post_block("/wait"));
            vec![request, Frame::window_update(stream, 0)]
        })
    });
    let count = endpoint.request_count();
    assert!(count < 2000, "the endpoint got {count} requests");
}

#[test]
fn more_streams_than_allowed() {
    let endpoint = endpoint();
    let proxy = proxy_to(&endpoint);
    flood(&proxy, &["refused_flood"], |round| {
        hundred(round, |stream| {
            vec![Frame::request(stream, Frame::get_block("/wait"))]
        })
    });
    let in_flight = endpoint.in_flight_max();
    assert!(in_flight <= 101, "{in_flight}");
}

#[test]
fn streams_over_the_limit_are_refused_and_the_others_live() {
    let endpoint = endpoint();
    let proxy = Setup::to(&[&endpoint])
        .listener("h2c = true\nlimits = { streams = 5 }")
        .start();
    let mut frames = Frames::connect(proxy.peer());
    frames.send_bytes(Frame::PREFACE);
    frames.send(&Frame::settings(&[]));
    let settings = frames.confirm_settings();
    let values: Vec<&[u8]> = settings.payload.chunks(6).collect();
    assert!(values.contains(&&[0, 3, 0, 0, 0, 5][..]), "{settings:?}");
    for number in 0..5 {
        frames.send(&Frame::request(stream(number), Frame::get_block("/wait")));
    }
    frames.send(&Frame::request(stream(5), Frame::get_block("/")));
    assert_eq!(frames.expect(Frame::RST_STREAM, stream(5)).code(), 7);
    poll_until("five are there", SOON, || endpoint.in_flight() == 5);
    frames.send(&Frame::reset(stream(0), 8));
    poll_until("one is over", SOON, || endpoint.in_flight() == 4);
    frames.send(&Frame::request(stream(6), Frame::get_block("/")));
    assert_eq!(frames.expect(Frame::DATA, stream(6)).payload, b"fine");
}

/// Threat 17.
#[test]
fn endless_continuation() {
    let endpoint = endpoint();
    let proxy = proxy_to(&endpoint);
    let long = "x".repeat(500);
    // A kilobyte in each, nothing in each, and what changes the size of the table.
    for payload in [Frame::block(&[(&long, &long)]), Vec::new(), vec![0x20]] {
        let mut frames = Frames::open(proxy.peer(), &[]);
        let block = Frame::get_block("/");
        frames.send(&Frame::new(Frame::HEADERS, Frame::END_STREAM, 1, block));
        let more = Frame::new(Frame::CONTINUATION, 0, 1, payload);
        let code = frames.flood(ROUNDS, |_| vec![more.clone(); 50]);
        let bytes = more.payload.len();
        assert!(code.is_some(), "{bytes} bytes in each: nobody stops it");
    }
    expect_abuse(&proxy, &["continuation_flood", "empty_frames", "protocol"]);
    assert_eq!(endpoint.request_count(), 0);
}

/// Threat 18: one byte that stands for four thousand.
#[test]
fn hpack_bomb() {
    let endpoint = endpoint();
    let proxy = proxy_to(&endpoint);
    flood(&proxy, &["hpack_bomb", LATE], |round| {
        let heads = (0..20).map(|number| {
            let number = 20 * round + number;
            // GET, http, /, and `:authority: a`.
            let mut block = vec![0x82, 0x86, 0x84, 0x01, 1, b'a'];
            if number == 0 {
                // Indexed: `x` with 4000 bytes; its length is 127 + 3873.
                block.extend([0x40, 1, b'x', 127, 0xa1, 0x1e]);
                block.extend([b'y'; 4000]);
            }
            block.extend([0xbe; 8000]);
            Frame::request(stream(number), block)
        });
        heads.collect()
    });
    let mut requests = endpoint.requests().into_iter();
    assert!(requests.all(|request| request.target() == "/" && request.head.bytes.len() < 4000));
}

/// Threat 18: cookies in crumbs are bounded as one head.
#[test]
fn a_head_of_many_crumbs_is_too_large() {
    let endpoint = endpoint();
    let proxy = proxy_to(&endpoint);
    let mut frames = Frames::open(proxy.peer(), &[]);
    // GET, http, /, `:authority: a`, `cookie: x` indexed, and again and again.
    let mut block = vec![0x82, 0x86, 0x84, 0x01, 1, b'a', 0x60, 1, b'x'];
    block.extend([0xbe; 12_000]);
    frames.send(&Frame::request(1, block));
    let answer = frames.read_until(|frame| frame.stream == 1);
    let is_refused = match answer.kind {
        Frame::RST_STREAM => true,
        _ => answer.payload.first() != Some(&STATUS_200),
    };
    assert!(is_refused, "{answer:?}");
    assert_eq!(endpoint.request_count(), 0);
}

/// Threat 18: what was expanded is not held for a client that takes nothing.
#[test]
fn a_zero_window_stall_ends() {
    let endpoint = Endpoint::speaking(Protocol::h2(), |request| match request.target() {
        "/" => Reply::ok("fine"),
        _ => Reply::filler(16 * 1024 * 1024),
    });
    let proxy = Setup::to(&[&endpoint])
        .listener("h2c = true\ntimeouts = { body = \"1s\" }")
        .pool("protocol = \"h2\"")
        .start();
    let mut frames = Frames::open(proxy.peer(), &[(INITIAL_WINDOW_SIZE, 0)]);
    for number in 0..50 {
        frames.send(&Frame::request(stream(number), Frame::get_block("/large")));
    }
    frames.read_until(|frame| frame.kind == Frame::RST_STREAM);
    proxy.wait_for_in_flight(0);
    let sent: u64 = endpoint.requests().iter().map(|request| request.sent).sum();
    assert!(
        sent < 50 * 1024 * 1024,
        "{sent} bytes for a client that takes none"
    );
    assert_eq!(H2Client::connect(proxy.peer()).get("/").text(), "fine");
}

/// Threat 19.
#[test]
fn ping_flood() {
    flood(&proxy_to(&endpoint()), &["ping_flood"], |_| {
        vec![Frame::ping(); 100]
    });
}

/// Threat 19.
#[test]
fn settings_flood() {
    flood(&proxy_to(&endpoint()), &["settings_flood"], |_| {
        vec![Frame::settings(&[]); 50]
    });
}

/// Threat 19.
#[test]
fn priority_flood() {
    let frame = Frame::new(Frame::PRIORITY, 0, 101, [0, 0, 0, 0, 16]);
    flood(&proxy_to(&endpoint()), &["priority_flood"], |_| {
        vec![frame.clone(); 100]
    });
}

/// Threat 19.
#[test]
fn frames_of_unknown_kinds() {
    let frame = Frame::new(0x42, 0, 0, *b"whatever");
    flood(&proxy_to(&endpoint()), &["control_flood"], |_| {
        vec![frame.clone(); 100]
    });
}

/// Threat 19.
#[test]
fn window_updates_for_nothing() {
    let frame = Frame::window_update(0, 1);
    flood(&proxy_to(&endpoint()), &["window_update_flood"], |_| {
        vec![frame.clone(); 100]
    });
}

/// Threat 19.
#[test]
fn data_frames_with_nothing_in_them() {
    flood(&proxy_to(&endpoint()), &["empty_frames"], |round| {
        let empty = Frame::new(Frame::DATA, 0, 1, []);
        let mut frames = vec![empty; 100];
        if round == 0 {
            frames.insert(0, Frame::open(1, Frame::post_block("/wait")));
        }
        frames
    });
}

/// Threat 19: dribble.
#[test]
fn data_frames_of_one_byte() {
    flood(&proxy_to(&endpoint()), &["tiny_data"], |round| {
        let tiny = Frame::new(Frame::DATA, 0, 1, *b"x");
        let mut frames = vec![tiny; 200];
        if round == 0 {
            frames.insert(0, Frame::open(1, Frame::post_block("/wait")));
        }
        frames
    });
}

/// Threat 19: dribble, the other way.
#[test]
fn windows_of_one_byte() {
    let endpoint = Endpoint::start(|request| match request.target() {
        "/" => Reply::ok("fine"),
        _ => Reply::ok(filler(1_000_000)),
    });
    let rules = ["tiny_windows", "window_update_flood"];
    flood(&proxy_to(&endpoint), &rules, |round| match round {
        0 => vec![
            Frame::settings(&[(INITIAL_WINDOW_SIZE, 1)]),
            Frame::request(1, Frame::get_block("/large")),
        ],
        _ => vec![Frame::window_update(1, 1); 10],
    });
}

/// Threat 21.
#[test]
fn thousands_of_streams_that_end_at_once() {
    let endpoint = endpoint();
    let proxy = proxy_to(&endpoint);
    let mut attackers: Vec<Frames> = (0..10).map(|_| Frames::open(proxy.peer(), &[])).collect();
    for frames in &mut attackers {
        for number in 0..100 {
            frames.send(&Frame::request(stream(number), Frame::get_block("/wait")));
        }
    }
    poll_until("all are at the endpoint", SOON, || {
        endpoint.in_flight() == 1000
    });
    let client = H2Client::connect(proxy.peer());
    drop(attackers);
    let begun = Instant::now();
    assert_eq!(client.get("/").text(), "fine");
    assert!(
        begun.elapsed() < Duration::from_secs(2),
        "{:?}",
        begun.elapsed()
    );
    proxy.wait_for_in_flight(0);
    poll_until("the endpoint is rid of them", SOON, || {
        endpoint.in_flight() == 0
    });
}

/// Threat 13.
#[test]
fn no_field_breaks_out_of_its_line() {
    let endpoint = endpoint();
    let proxy = proxy_to(&endpoint);
    let good = [
        (":method", "GET"),
        (":scheme", "http"),
        (":path", "/"),
        (":authority", "test.example"),
    ];
    let with = |name: &'static str, value: &'static str| {
        let mut fields = good.to_vec();
        match fields.iter_mut().find(|(field, _)| *field == name) {
            Some(field) => field.1 = value,
            None => fields.push((name, value)),
        }
        fields
    };
    let bad = [
        with("x-a", "1\r\nx-b: 2"),
        with("x-a", "1\nx-b: 2"),
        with("x-a", "1\r"),
        with("x-a", "1\u{0}2"),
        with("x-a", " 1"),
        with("x-a\r\nx-b", "2"),
        with("x-a: 1", "2"),
        with("x a", "1"),
        with("", "1"),
        with("X-Upper", "1"),
        with(":path", "/ HTTP/1.1\r\nx-b: 2"),
        with(":path", "/a b"),
        with(":path", ""),
        with(":path", "no-slash"),
        with(":method", "GET / HTTP/1.1\r\nx-b: 2\r\n\r\nGET"),
        with(":method", "GE T"),
        with(":authority", "a\r\nx-b: 2"),
        with(":authority", "a@b"),
        with(":scheme", "http\r\n"),
        with("connection", "close"),
        with("transfer-encoding", "chunked"),
        with("upgrade", "websocket"),
        with("te", "gzip"),
        with("content-length", "1\r\n"),
        with("content-length", "+1"),
        with("host", "other.example"),
        with(":status", "200"),
        with(":unknown", "x"),
        [&good[..], &[(":path", "/")]].concat(),
        [&[("x-a", "1")], &good[..]].concat(),
        [
            &good[..],
            &[("content-length", "1"), ("content-length", "2")],
        ]
        .concat(),
    ];
    for fields in bad {
        let mut frames = Frames::open(proxy.peer(), &[]);
        frames.send(&Frame::request(1, Frame::block(&fields)));
        let answer = loop {
            let frame = frames.read();
            if frame.stream == 1 || frame.kind == Frame::GOAWAY {
                break frame;
            }
        };
        let is_refused = match answer.kind {
            Frame::RST_STREAM | Frame::GOAWAY => answer.code() == PROTOCOL_ERROR,
            Frame::HEADERS => answer.payload.first() != Some(&STATUS_200),
            _ => false,
        };
        assert!(is_refused, "{fields:?}: {answer:?}");
        assert_eq!(endpoint.request_count(), 0, "{fields:?}");
    }
}

/// The budgets are for attackers: those who only ask for much do not meet them.
#[test]
fn honest_clients_are_never_taken_for_attackers() {
    let endpoint = Endpoint::speaking(Protocol::h2(), |request| match request.method() {
        "POST" => Reply::echo(),
        _ => Reply::ok("fine"),
    });
    let proxy = Setup::to(&[&endpoint])
        .listener("h2c = true")
        .pool("protocol = \"h2\"")
        .start();
    let client = H2Client::connect(proxy.peer());
    // A page that is left again and again while it loads.
    for _ in 0..5 {
        for _ in 0..50 {
            client.open(&H2Request::post("/page")).reset(8);
        }
        assert_eq!(client.get("/").text(), "fine");
    }
    // Small messages on a long stream, the smallest that gRPC has.
    let mut stream = client.open(&H2Request::post("/chat"));
    for _ in 0..20_000 {
        stream.send_data(b"empty");
    }
    stream.finish();
    let text = stream.read_response().text();
    assert!(text.contains("body-bytes: 100000\n"), "{text}");
    for _ in 0..500 {
        assert_eq!(client.get("/").text(), "fine");
    }
    assert_eq!(proxy.metric("pointsman_http2_abuse_total", &[]), 0.0);
}

/// A stream that was reset is open until those who work on it have let go. Where that is late,
/// because the machine is busy, the next streams are too many, and cost as much.
const LATE: &str = "refused_flood";

/// More than any budget lasts for.
const ROUNDS: u32 = 400;

const PROTOCOL_ERROR: u32 = 1;
const ENHANCE_YOUR_CALM: u32 = 11;

/// A setting.
const INITIAL_WINDOW_SIZE: u16 = 4;

/// `:status: 200` in HPACK's static table.
const STATUS_200: u8 = 0x88;
