//! Peers that make us work for nothing, each named after how it is done: what ends them, and that
//! honest peers who look alike do not end.

use std::time::Duration;

use super::peer::*;
use crate::h2::*;

const RESPONSE: &[u8] = b"HTTP/1.1 200 OK\r\n\r\n";

/// Says `frames` of the number again and again, until the connection ends. Returns how often,
/// and the rule.
fn flood(peer: &mut Peer, mut say: impl FnMut(&mut Peer, u32)) -> (u32, &'static str) {
    for count in 0..100_000 {
        if let Some(error) = peer.error {
            assert_eq!(error.code, ErrorCode::EnhanceYourCalm);
            assert_eq!(peer.hear_end(), ErrorCode::EnhanceYourCalm as u32);
            return (count, error.rule);
        }
        say(peer, count);
        if peer.error.is_none() {
            peer.hear();
        }
    }
    panic!("nobody minds");
}

/// Does the same once in each `interval`, for ten minutes.
fn be_patient(peer: &mut Peer, interval: Duration, mut say: impl FnMut(&mut Peer, u32)) {
    let end = peer.now + Duration::from_secs(600);
    let mut count = 0;
    while peer.now < end {
        say(peer, count);
        assert_eq!(peer.error, None, "{count}");
        peer.hear();
        peer.wait(interval);
        count += 1;
    }
}

fn open_and_reset(peer: &mut Peer, count: u32) {
    let id = 2 * count + 1;
    peer.say(&frame(HEADERS, WHOLE, id, &get()));
    peer.say(&frame(RST_STREAM, 0, id, &8_u32.to_be_bytes()));
    free_all(peer);
}

/// Gives up what was reset.
fn free_all(peer: &mut Peer) {
    for event in std::mem::take(&mut peer.events) {
        if let Event::Reset(key, _) = event {
            peer.wire.free(key);
        }
    }
    peer.heads.clear();
}

#[test]
fn rapid_reset_cve_2023_44487() {
    let mut peer = Peer::server();
    let (count, rule) = flood(&mut peer, open_and_reset);
    assert_eq!((count, rule), (1001, "rapid_reset"));
}

#[test]
fn a_reader_who_turns_pages_fast_goes_on() {
    let mut peer = Peer::server();
    be_patient(&mut peer, Duration::from_millis(40), open_and_reset);
}

#[test]
fn half_of_the_calls_may_be_given_up() {
    let mut peer = Peer::server();
    for count in 0..20_000 {
        open_and_reset(&mut peer, 2 * count);
        let key = peer.request(4 * count + 3, WHOLE, &get());
        peer.wire.send_head(key, RESPONSE, true);
        peer.wire.free(key);
        peer.hear();
        assert_eq!(peer.error, None);
    }
}

/// What was reset and is still being worked on counts: the next ones are refused.
#[test]
fn rapid_reset_does_not_open_more_streams_than_are_freed() {
    let mut peer = Peer::server();
    for id in (1..1000).step_by(2) {
        peer.say(&frame(HEADERS, WHOLE, id, &get()));
        peer.say(&frame(RST_STREAM, 0, id, &8_u32.to_be_bytes()));
        assert!(peer.wire.streams() <= 200);
    }
}

#[test]
fn made_you_reset_cve_2025_8671() {
    let breaks: [fn(u32) -> Vec<u8>; 4] = [
        |id| frame(WINDOW_UPDATE, 0, id, &[0; 4]),
        |id| frame(WINDOW_UPDATE, 0, id, &[0x7f, 0xff, 0xff, 0xff]),
        |id| frame(DATA, 0, id, b"x"),
        |id| frame(HEADERS, WHOLE, id, &get()),
    ];
    for broken in breaks {
        let mut peer = Peer::server();
        let (count, rule) = flood(&mut peer, |peer, count| {
            let id = 2 * count + 1;
            peer.say(&frame(HEADERS, WHOLE, id, &get()));
            peer.say(&broken(id));
            free_all(peer);
        });
        assert_eq!((count, rule), (201, "made_you_reset"));
    }
}

#[test]
fn malformed_heads_do_not_go_on_for_ever() {
    let mut peer = Peer::server();
    let bad = request_with("GET", &[("connection", "close")]);
    let (count, rule) = flood(&mut peer, |peer, count| {
        peer.say(&frame(HEADERS, WHOLE, 2 * count + 1, &bad));
    });
    assert_eq!((count, rule), (201, "made_you_reset"));
    assert_eq!(peer.events, [], "nobody was asked to work on them");
}

#[test]
fn continuation_flood_of_many_frames_cve_2024_27316() {
    let mut peer = Peer::server();
    peer.say(&frame(HEADERS, END_STREAM, 1, &get()));
    let (count, rule) = flood(&mut peer, |peer, _| {
        peer.say(&frame(CONTINUATION, 0, 1, &block(&[("a", "b")])));
    });
    assert_eq!((count, rule), (17, "continuation_flood"));
}

#[test]
fn continuation_flood_of_many_bytes() {
    let mut peer = Peer::server();
    peer.say(&frame(HEADERS, END_STREAM, 1, &get()));
    let (count, rule) = flood(&mut peer, |peer, _| {
        peer.say(&frame(CONTINUATION, 0, 1, &[0; 16_000]));
    });
    assert_eq!((count, rule), (3, "continuation_flood"));
}

#[test]
fn a_head_that_is_somewhat_too_large_is_rejected_in_words() {
    let mut peer = Peer::server();
    let large = request_with("GET", &[("a", &"x".repeat(9000))]);
    peer.say(&frame(HEADERS, WHOLE, 1, &large));
    let [Event::Rejected(key, bad)] = peer.events[..] else {
        panic!("{:?}", peer.events);
    };
    assert_eq!(bad, crate::h1::BadMessage::FieldsTooLarge);
    let mut head = message::RequestHead::default();
    peer.wire.take_request(&mut head);
    assert!(head.bytes.is_empty() && head.fields.is_empty());
    peer.wire.send_head(key, b"HTTP/1.1 431 \r\n\r\n", true);
    peer.wire.free(key);
    assert_eq!(peer.hear().len(), 1);
}

/// CVE-2016-6581: a line of the table is repeated, a byte each.
#[test]
fn hpack_bomb() {
    let mut peer = Peer::server();
    let line = [&b"\x40\x01a\x7f\xe1\x0f"[..], &[b'x'; 2144]].concat();
    peer.request(1, WHOLE, &[get(), line].concat());
    let bomb = [get(), vec![0xbe; 8000]].concat();
    let (count, rule) = flood(&mut peer, |peer, count| {
        let id = 2 * count + 3;
        peer.say(&frame(HEADERS, WHOLE, id, &bomb));
        if let Some(Event::Rejected(key, _)) = peer.events.pop() {
            peer.wire.free(key);
        }
    });
    assert_eq!((count, rule), (101, "hpack_bomb"));
}

/// Cookies may come in crumbs (RFC 9113 §8.2.3): each of them counts.
#[test]
fn cookie_crumbs_count_against_the_limits() {
    let mut peer = Peer::server();
    let crumbs = vec![("cookie", "a=b"); 60];
    peer.say(&frame(HEADERS, WHOLE, 1, &request_with("GET", &crumbs)));
    assert!(matches!(peer.events[..], [Event::Rejected(..)]));
}

#[test]
fn refused_flood() {
    let mut peer = Peer::of_server(Settings {
        streams_max: 1,
        ..SETTINGS_OF_TESTS
    });
    peer.request(1, WHOLE, &get());
    let (count, rule) = flood(&mut peer, |peer, count| {
        peer.say(&frame(HEADERS, WHOLE, 2 * count + 3, &get()));
    });
    assert_eq!((count, rule), (1001, "refused_flood"));
}

#[test]
fn settings_flood_cve_2019_9515() {
    let mut peer = Peer::server();
    let (count, rule) = flood(&mut peer, |peer, _| peer.say(&frame(SETTINGS, 0, 0, &[])));
    assert_eq!((count, rule), (201, "settings_flood"));
}

#[test]
fn ping_flood_cve_2019_9512() {
    let mut peer = Peer::server();
    let (count, rule) = flood(&mut peer, |peer, _| peer.say(&frame(PING, 0, 0, &[0; 8])));
    assert_eq!((count, rule), (1001, "ping_flood"));
}

#[test]
fn a_ping_ten_times_a_second_goes_on() {
    let mut peer = Peer::server();
    be_patient(&mut peer, Duration::from_millis(100), |peer, _| {
        peer.say(&frame(PING, 0, 0, &[0; 8]));
    });
}

#[test]
fn empty_frames_cve_2019_9518() {
    for (flags, payload) in [(0, &b""[..]), (PADDED, &[9, 0, 0, 0, 0, 0, 0, 0, 0, 0])] {
        let mut peer = Peer::server();
        peer.request(1, END_HEADERS, &post());
        let (count, rule) = flood(&mut peer, |peer, _| {
            peer.say(&frame(DATA, flags, 1, payload));
        });
        assert_eq!((count, rule), (1001, "empty_frames"));
    }
    let mut peer = Peer::server();
    let (_, rule) = flood(&mut peer, |peer, count| {
        peer.say(&frame(HEADERS, END_STREAM, 2 * count + 1, &get()));
        for _ in 0..10 {
            peer.say(&frame(CONTINUATION, 0, 2 * count + 1, &[]));
        }
        peer.say(&frame(CONTINUATION, END_HEADERS, 2 * count + 1, &[]));
        if let Some(Event::Request(key)) = peer.events.pop() {
            peer.wire.send_head(key, RESPONSE, true);
            peer.wire.free(key);
        }
    });
    assert_eq!(rule, "empty_frames");
}

#[test]
fn priority_flood_cve_2019_9513() {
    let mut peer = Peer::server();
    let (count, rule) = flood(&mut peer, |peer, _| {
        peer.say(&frame(PRIORITY, 0, 1, &[0; 5]));
    });
    assert_eq!((count, rule), (2001, "priority_flood"));
}

#[test]
fn window_update_flood() {
    let mut peer = Peer::server();
    let (count, rule) = flood(&mut peer, |peer, _| {
        peer.say(&frame(WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1]));
    });
    assert_eq!((count, rule), (2001, "window_update_flood"));
}

#[test]
fn control_flood_of_unknown_frames() {
    let mut peer = Peer::server();
    let (count, rule) = flood(&mut peer, |peer, _| peer.say(&frame(0x42, 0, 0, b"hello")));
    assert_eq!((count, rule), (2001, "control_flood"));
}

#[test]
fn control_flood_of_answers_that_nobody_asked_for() {
    for flooding in [
        frame(PING, ACK, 0, &[0; 8]),
        frame(SETTINGS, ACK, 0, &[]),
        frame(GOAWAY, 0, 0, &[0; 8]),
    ] {
        let mut peer = Peer::server();
        let (count, rule) = flood(&mut peer, |peer, _| peer.say(&flooding));
        assert!((2001..=2002).contains(&count), "{count}");
        assert_eq!(rule, "control_flood");
    }
}

#[test]
fn control_flood_of_resets_of_streams_that_are_over() {
    let mut peer = Peer::server();
    let key = peer.request(1, WHOLE, &get());
    peer.wire.send_head(key, RESPONSE, true);
    peer.wire.free(key);
    let (_, rule) = flood(&mut peer, |peer, _| {
        peer.say(&frame(RST_STREAM, 0, 1, &[0, 0, 0, 8]));
    });
    assert_eq!(rule, "control_flood");
}

#[test]
fn control_flood_of_trailers_for_a_stream_that_was_reset() {
    let mut peer = Peer::server();
    let key = peer.request(1, END_HEADERS, &post());
    peer.wire.free(key);
    let trailers = frame(HEADERS, WHOLE, 1, &block(&[("a", "b")]));
    let (_, rule) = flood(&mut peer, |peer, _| peer.say(&trailers));
    assert_eq!(rule, "control_flood");
}

#[test]
fn control_flood_of_interim_responses() {
    let mut peer = Peer::client();
    peer.wire.open(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", true);
    let interim = frame(HEADERS, END_HEADERS, 1, &response_with("103", &[]));
    let (_, rule) = flood(&mut peer, |peer, _| peer.say(&interim));
    assert_eq!(rule, "control_flood");
}

#[test]
fn tiny_data() {
    let mut peer = Peer::server();
    let key = peer.request(1, END_HEADERS, &post());
    let (count, rule) = flood(&mut peer, |peer, _| {
        peer.say(&frame(DATA, 0, 1, b"x"));
        peer.read(key);
        peer.events.clear();
    });
    assert_eq!((count, rule), (10_001, "tiny_data"));
}

/// CVE-2019-9511: windows that let us send a byte at a time.
#[test]
fn tiny_windows() {
    let mut peer = Peer::server();
    peer.say(&frame(SETTINGS, 0, 0, &setting(4, 0)));
    let key = peer.request(1, WHOLE, &get());
    peer.wire.send_head(key, RESPONSE, false);
    assert_eq!(peer.wire.send_data(key, &[7; 60_000], false), Ok(0));
    let (count, rule) = flood(&mut peer, |peer, _| {
        peer.say(&frame(WINDOW_UPDATE, 0, 1, &[0, 0, 0, 1]));
        while let Some(key) = peer.wire.poll_writable() {
            if peer.wire.send_data(key, &[7; 60_000], false).is_err() {
                peer.error = peer.wire.expire(peer.now).err();
            }
        }
        peer.events.clear();
    });
    assert!(count < 1000, "{count}");
    assert!(["tiny_windows", "window_update_flood"].contains(&rule));
}

/// CVE-2019-9517: what we owe is not read.
#[test]
fn output_flood() {
    let mut peer = Peer::server();
    for _ in 0..10_000 {
        peer.say(&frame(PING, 0, 0, &[0; 8]));
        // The budget is not what ends it.
        peer.wait(Duration::from_millis(100));
    }
    assert_eq!(peer.error.map(|error| error.rule), Some("output_flood"));
    assert!(peer.wire.output().len() < 20_000);
}

#[test]
fn what_is_owed_to_a_slow_reader_is_no_flood() {
    let mut peer = Peer::server();
    let key = peer.request(1, END_HEADERS, &post());
    peer.wire.send_head(key, RESPONSE, false);
    for _ in 0..5000 {
        // It always has something to read, and never all of it.
        let _ = peer.wire.send_data(key, &[7; 40_000], false);
        peer.say(&frame(DATA, 0, 1, &[7; 10_000]));
        peer.read(key);
        peer.say(&frame(PING, 0, 0, &[0; 8]));
        let some = peer.wire.output().len() / 2;
        peer.wire.sent(some);
        for stream in [0, 1] {
            peer.say(&frame(WINDOW_UPDATE, 0, stream, &40_000_u32.to_be_bytes()));
        }
        peer.events.clear();
        peer.now += Duration::from_millis(50);
        assert_eq!(peer.error, None);
        assert!(peer.wire.output().len() < 128 * 1024);
    }
}

/// Small messages both ways, WINDOW_UPDATE for each DATA and a PING for each round trip: what
/// gRPC makes at its worst.
#[test]
fn a_stream_of_small_grpc_messages_goes_on() {
    let mut peer = Peer::server();
    let key = peer.request(1, END_HEADERS, &post());
    peer.wire.send_head(key, RESPONSE, false);
    for _ in 0..50_000 {
        peer.say(&frame(DATA, 0, 1, b"\0\0\0\0\x02hi"));
        assert_eq!(peer.read(key).0.len(), 7);
        assert_eq!(peer.wire.send_data(key, b"\0\0\0\0\x02yo", false), Ok(7));
        for stream in [0, 1] {
            peer.say(&frame(WINDOW_UPDATE, 0, stream, &7_u32.to_be_bytes()));
        }
        peer.say(&frame(PING, 0, 0, &[0; 8]));
        peer.hear();
        peer.events.clear();
        assert_eq!(peer.error, None);
    }
}

/// A request with the PRIORITY_UPDATE that browsers send (RFC 9218), a kind that we do not know.
#[test]
fn requests_without_a_pause_go_on() {
    let mut peer = Peer::server();
    for count in 0..50_000 {
        let id: u32 = 2 * count + 1;
        peer.say(&frame(
            0x10,
            0,
            0,
            &[&id.to_be_bytes()[..], b"u=1, i"].concat(),
        ));
        let key = peer.request(id, WHOLE, &get());
        peer.wire.send_head(key, RESPONSE, false);
        assert_eq!(peer.wire.send_data(key, &[7; 1024], true), Ok(1024));
        peer.wire.free(key);
        peer.hear();
        for stream in [0, id] {
            peer.say(&frame(WINDOW_UPDATE, 0, stream, &1024_u32.to_be_bytes()));
        }
        peer.heads.clear();
        assert_eq!(peer.error, None);
    }
}

/// CVE-2021-32778: work that grows with the square of the streams that end at once.
#[test]
fn ten_thousand_streams_end_at_once() {
    let mut peer = Peer::of_server(Settings {
        streams_max: 10_000,
        ..SETTINGS_OF_TESTS
    });
    let keys: Vec<_> = (0..10_000)
        .map(|count| peer.request(2 * count + 1, WHOLE, &get()))
        .collect();
    assert_eq!(peer.wire.streams(), 10_000);
    let before = peer.wire.work();
    for key in keys {
        peer.wire.send_head(key, RESPONSE, true);
        peer.wire.free(key);
    }
    let each = (peer.wire.work() - before) / 10_000;
    assert!(each <= 20, "{each} steps for a stream");
    assert_eq!((peer.wire.streams(), peer.error), (0, None));
}
