//! How connections and streams end when nobody is to blame, and what clients make of it.

use std::time::Duration;

use super::peer::*;
use crate::h2::*;

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";

fn goaway(last: u32, code: ErrorCode) -> Vec<u8> {
    let payload = [last.to_be_bytes(), (code as u32).to_be_bytes()].concat();
    frame(GOAWAY, 0, 0, &payload)
}

fn rst(stream: u32, code: ErrorCode) -> Vec<u8> {
    frame(RST_STREAM, 0, stream, &(code as u32).to_be_bytes())
}

#[test]
fn a_server_takes_what_is_on_its_way_until_it_says_so_again() {
    let mut peer = Peer::server();
    peer.request(1, WHOLE, &get());
    peer.wire.go_away();
    assert!(peer.wire.is_going_away());
    assert_eq!(peer.hear()[0].number(), (1 << 31) - 1);
    peer.request(3, WHOLE, &get());
    peer.wire.go_away();
    assert_eq!(peer.hear()[0].number(), 3);
    peer.wire.go_away();
    assert_eq!(peer.hear(), []);
    peer.say(&frame(HEADERS, WHOLE, 5, &get()));
    assert_eq!(peer.hear_reset(5), ErrorCode::RefusedStream as u32);
    assert_eq!(peer.wire.streams(), 2);
}

#[test]
fn streams_that_a_server_will_not_work_on_may_be_tried_elsewhere() {
    let mut peer = Peer::client();
    let keys: Vec<_> = (0..4)
        .map(|_| peer.wire.open(REQUEST, true).unwrap())
        .collect();
    peer.say(&frame(HEADERS, WHOLE, 1, &response_with("200", &[])));
    peer.events.clear();
    peer.say(&goaway(3, ErrorCode::NoError));
    assert_eq!(
        peer.events,
        [
            Event::Reset(keys[2], ErrorCode::RefusedStream),
            Event::Reset(keys[3], ErrorCode::RefusedStream),
            Event::GoAway
        ]
    );
    assert!(peer.wire.is_going_away());
    assert_eq!(peer.wire.streams_left(), 0);
    assert_eq!(peer.wire.open(REQUEST, true), None);
    // The others go on, and the end of those that are gone is not told twice.
    peer.say(&frame(HEADERS, WHOLE, 3, &response_with("200", &[])));
    peer.say(&rst(7, ErrorCode::RefusedStream));
    assert_eq!(peer.events[3..], [Event::Response(keys[1])]);
    for key in keys {
        peer.wire.free(key);
    }
    assert_eq!(peer.wire.streams(), 0);
    assert_eq!(peer.error, None);
}

#[test]
fn a_goaway_that_ends_with_the_bytes_is_told_whole() {
    let mut peer = Peer::client();
    for _ in 0..3 {
        peer.wire.open(REQUEST, true);
    }
    let mut bytes = &goaway(0, ErrorCode::NoError)[..];
    let mut events = Vec::new();
    // As a caller does who comes again only for bytes that are left.
    while !bytes.is_empty() {
        let (taken, event) = peer.wire.receive(bytes, peer.now).unwrap();
        bytes = &bytes[taken..];
        events.extend(event);
    }
    assert_eq!(events.len(), 4);
    assert_eq!(events[3], Event::GoAway);
}

#[test]
fn a_server_that_wants_no_more_of_the_request_resets_it_without_an_error() {
    let mut peer = Peer::client();
    let key = peer
        .wire
        .open(b"POST / HTTP/1.1\r\nHost: a\r\n\r\n", false)
        .unwrap();
    peer.say(&frame(HEADERS, END_HEADERS, 1, &response_with("413", &[])));
    peer.say(&frame(DATA, END_STREAM, 1, b"too much"));
    peer.say(&rst(1, ErrorCode::NoError));
    assert_eq!(
        peer.events,
        [
            Event::Response(key),
            Event::Body(key),
            Event::Reset(key, ErrorCode::NoError)
        ]
    );
    assert_eq!(
        peer.wire.send_data(key, b"x", false),
        Err(ErrorCode::NoError)
    );
    assert_eq!(peer.read(key), (b"too much".to_vec(), Read::End));
    peer.wire.free(key);
    assert_eq!(peer.wire.streams(), 0);
}

#[test]
fn a_reset_without_an_error_does_not_make_half_a_message_whole() {
    let mut peer = Peer::client();
    let key = peer.wire.open(REQUEST, true).unwrap();
    peer.say(&frame(HEADERS, END_HEADERS, 1, &response_with("200", &[])));
    peer.say(&frame(DATA, 0, 1, b"half"));
    peer.say(&rst(1, ErrorCode::NoError));
    assert_eq!(peer.read(key), (vec![], Read::Reset(ErrorCode::Cancel)));

    let mut peer = Peer::server();
    let key = peer.request(1, END_HEADERS, &post());
    peer.say(&frame(DATA, END_STREAM, 1, b"all"));
    peer.say(&rst(1, ErrorCode::NoError));
    assert_eq!(peer.read(key), (vec![], Read::Reset(ErrorCode::Cancel)));
}

#[test]
fn a_stream_that_the_peer_resets_sends_nothing_more() {
    let mut peer = Peer::server();
    let key = peer.request(1, END_HEADERS, &post());
    peer.say(&frame(DATA, 0, 1, b"half"));
    peer.wire.send_head(key, b"HTTP/1.1 200 OK\r\n\r\n", false);
    peer.say(&rst(1, ErrorCode::Cancel));
    peer.hear();
    assert_eq!(
        peer.events.last(),
        Some(&Event::Reset(key, ErrorCode::Cancel))
    );
    assert_eq!(peer.wire.send_data(key, b"x", true), Err(ErrorCode::Cancel));
    peer.wire.send_trailers(key, b"a: b\r\n");
    peer.wire.reset(key, ErrorCode::InternalError);
    assert_eq!(
        peer.wire.read(key, &mut [0; 9]),
        Read::Reset(ErrorCode::Cancel)
    );
    peer.wire.free(key);
    assert_eq!(peer.hear(), []);
}

#[test]
fn what_is_done_with_a_stream_that_was_freed_does_nothing() {
    let mut peer = Peer::server();
    let key = peer.request(1, END_HEADERS, &post());
    peer.wire.free(key);
    assert_eq!(peer.hear_reset(1), ErrorCode::InternalError as u32);
    let other = peer.request(3, END_HEADERS, &post());
    assert_eq!(other.index, key.index);
    peer.wire.free(key);
    peer.wire.reset(key, ErrorCode::Cancel);
    peer.wire.send_head(key, b"HTTP/1.1 200 OK\r\n\r\n", true);
    peer.wire.send_trailers(key, b"");
    assert!(peer.wire.send_data(key, b"x", true).is_err());
    assert_eq!(peer.wire.trailers(key), b"");
    assert_eq!(
        peer.read(key),
        (vec![], Read::Reset(ErrorCode::StreamClosed))
    );
    assert_eq!(peer.hear(), []);
    assert_eq!(peer.wire.streams(), 1);
}

#[test]
fn a_client_opens_as_many_streams_as_the_server_allows() {
    let mut peer = Peer::of_new_client();
    assert_eq!(peer.wire.streams_left(), 100, "until it is known");
    peer.say(&frame(SETTINGS, 0, 0, &setting(3, 2)));
    assert_eq!(peer.wire.streams_left(), 2);
    let one = peer.wire.open(REQUEST, true).unwrap();
    assert!(peer.wire.open(REQUEST, true).is_some());
    assert_eq!(peer.wire.open(REQUEST, true), None);
    // What was answered does not count, whoever still holds it.
    peer.say(&frame(HEADERS, WHOLE, 1, &response_with("200", &[])));
    assert_eq!(peer.wire.streams_left(), 1);
    peer.wire.free(one);
    assert_eq!(peer.wire.streams_left(), 1);
}

#[test]
fn a_client_knows_whether_websockets_may_be_opened() {
    let mut peer = Peer::of_new_client();
    assert!(!peer.wire.allows_connect_protocol());
    peer.say(&frame(SETTINGS, 0, 0, &setting(8, 1)));
    assert!(peer.wire.allows_connect_protocol());
}

#[test]
fn a_response_that_is_no_message_ends_its_stream() {
    let length = |length| response_with("200", &[("content-length", length)]);
    let headers = |flags, block: &[u8]| frame(HEADERS, flags, 1, block);
    let cases: [&[Vec<u8>]; 8] = [
        &[frame(DATA, 0, 1, b"x")],
        &[headers(WHOLE, &response_with("100", &[]))],
        &[headers(WHOLE, &length("5"))],
        &[
            headers(END_HEADERS, &length("5")),
            frame(DATA, END_STREAM, 1, b"x"),
        ],
        &[
            headers(END_HEADERS, &response_with("204", &[])),
            frame(DATA, 0, 1, b"x"),
        ],
        &[
            headers(END_HEADERS, &response_with("200", &[])),
            headers(END_HEADERS, &[]),
        ],
        &[headers(END_HEADERS, &block(&[("a", "b")]))],
        &[headers(END_HEADERS, &response_with("101", &[]))],
    ];
    for (index, frames) in cases.iter().enumerate() {
        let mut peer = Peer::client();
        let key = peer.wire.open(REQUEST, true).unwrap();
        for frame in *frames {
            peer.say(frame);
        }
        let code = ErrorCode::ProtocolError;
        assert_eq!(
            peer.events.last(),
            Some(&Event::Reset(key, code)),
            "case {index}"
        );
        assert_eq!(peer.hear_reset(1), code as u32, "case {index}");
    }
}

#[test]
fn frames_that_a_server_must_not_send_end_the_connection() {
    let push = [&[0, 0, 0, 2], &get()[..]].concat();
    for (frames, code) in [
        (
            frame(PUSH_PROMISE, END_HEADERS, 1, &push),
            ErrorCode::ProtocolError,
        ),
        (frame(HEADERS, WHOLE, 2, &get()), ErrorCode::ProtocolError),
        (
            frame(HEADERS, WHOLE, 3, &response_with("200", &[])),
            ErrorCode::ProtocolError,
        ),
        (frame(DATA, 0, 3, b"x"), ErrorCode::ProtocolError),
        (rst(3, ErrorCode::Cancel), ErrorCode::ProtocolError),
        (
            frame(SETTINGS, 0, 0, &setting(2, 1)),
            ErrorCode::ProtocolError,
        ),
    ] {
        let mut peer = Peer::client();
        peer.wire.open(REQUEST, true);
        peer.say(&frames);
        assert_eq!(peer.hear_end(), code as u32, "{frames:?}");
    }
    // The first frame must be SETTINGS, and not a confirmation.
    for first in [frame(PING, 0, 0, &[0; 8]), frame(SETTINGS, ACK, 0, &[])] {
        let mut peer = Peer::of_new_client();
        peer.say(&first);
        assert_eq!(peer.hear_end(), ErrorCode::ProtocolError as u32);
    }
}

#[test]
fn a_response_to_head_promises_content_that_does_not_come() {
    let mut peer = Peer::client();
    let key = peer
        .wire
        .open(b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n", true)
        .unwrap();
    let response = response_with("200", &[("content-length", "5")]);
    peer.say(&frame(HEADERS, WHOLE, 1, &response));
    assert_eq!(peer.events, [Event::Response(key)]);
    assert_eq!(peer.read(key).1, Read::End);
}

#[test]
fn settings_that_are_not_confirmed_end_the_connection() {
    let mut peer = Peer::of_new_server(SETTINGS_OF_TESTS);
    peer.say(PREFACE);
    peer.say(&frame(SETTINGS, 0, 0, &[]));
    assert_eq!(
        peer.wire.deadline(),
        Some(peer.now + Duration::from_secs(10))
    );
    peer.wait(Duration::from_millis(9999));
    assert_eq!(peer.error, None);
    peer.wait(Duration::from_millis(1));
    assert_eq!(peer.hear_end(), ErrorCode::SettingsTimeout as u32);
    assert_eq!(peer.error.map(|error| error.rule), Some("settings_timeout"));

    let mut peer = Peer::server();
    assert_eq!(peer.wire.deadline(), None);
    peer.wait(Duration::from_secs(1000));
    assert_eq!(peer.error, None);
}

#[test]
fn a_head_that_does_not_come_whole_ends_the_connection() {
    let mut peer = Peer::server();
    peer.say(&frame(HEADERS, END_STREAM, 1, &get()[..7]));
    for _ in 0..10 {
        peer.wait(Duration::from_millis(900));
        peer.say(&frame(CONTINUATION, 0, 1, &get()[7..8]));
    }
    assert_eq!(peer.error, None);
    peer.wait(Duration::from_secs(1));
    assert_eq!(peer.hear_end(), ErrorCode::EnhanceYourCalm as u32);
    assert_eq!(peer.error.map(|error| error.rule), Some("slow_head"));
}

#[test]
fn nothing_is_read_behind_the_end() {
    let mut peer = Peer::server();
    let error = peer.wire.fail(ErrorCode::InternalError, "protocol");
    assert_eq!(peer.wire.fail(ErrorCode::Cancel, "protocol"), error);
    peer.say(&frame(PING, 0, 0, &[0; 8]));
    assert_eq!(peer.error, Some(error));
    assert_eq!(peer.hear().len(), 1, "one GOAWAY and nothing else");
    assert_eq!(
        peer.wire.deadline(),
        Some(peer.now),
        "whoever has not heard comes soon"
    );
}

#[test]
fn a_ping_is_sent_and_its_answer_is_no_event() {
    let mut peer = Peer::client();
    peer.wire.ping();
    let ping = peer.hear().remove(0);
    assert_eq!((ping.kind, ping.flags, ping.payload.len()), (PING, 0, 8));
    peer.say(&frame(PING, ACK, 0, &ping.payload));
    assert_eq!((peer.events.len(), peer.error), (0, None));
}

#[test]
fn the_scheme_is_what_the_client_was_told() {
    let mut peer = Peer::client();
    peer.wire.set_scheme("https");
    peer.wire.open(REQUEST, true);
    let encoded = peer.hear().remove(0).payload;
    // `:scheme: https` is line 7 of the static table (RFC 7541, appendix A).
    assert!(encoded.contains(&0x87), "{encoded:x?}");
}
