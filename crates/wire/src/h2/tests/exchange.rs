//! Requests and responses, both ways, when everybody keeps to the rules.

use super::peer::*;
use crate::h2::*;

#[test]
fn a_server_begins_with_its_settings_and_confirms_those_of_the_client() {
    let mut peer = Peer::of_new_server(Settings {
        connection_window: 100_000,
        ..SETTINGS_OF_TESTS
    });
    let frames = peer.hear();
    assert_eq!((frames[0].kind, frames[0].flags), (SETTINGS, 0));
    let expected = [
        setting(1, 4096),
        setting(4, 65_535),
        setting(5, 16_384),
        setting(6, 8192),
        setting(3, 100),
        setting(8, 1),
    ];
    assert_eq!(frames[0].payload, expected.concat());
    assert_eq!((frames[1].kind, frames[1].stream), (WINDOW_UPDATE, 0));
    assert_eq!(frames[1].number(), 100_000 - 65_535);
    peer.say(PREFACE);
    peer.say(&frame(SETTINGS, 0, 0, &setting(4, 1)));
    let frames = peer.hear();
    assert_eq!((frames[0].kind, frames[0].flags), (SETTINGS, ACK));
    assert_eq!(frames[0].payload, []);
}

#[test]
fn a_request_gets_its_response() {
    let mut peer = Peer::server();
    let key = peer.request(
        1,
        END_HEADERS,
        &request_with("POST", &[("content-length", "5")]),
    );
    assert!(peer.heads[0].starts_with("POST / HTTP/1.1\r\nhost: a\r\n"));
    assert_eq!(peer.wire.read(key, &mut [0; 9]), Read::Nothing);
    peer.say(&frame(DATA, 0, 1, b"hel"));
    peer.say(&frame(DATA, END_STREAM, 1, b"lo"));
    assert_eq!(peer.events, [Event::Body(key), Event::Body(key)]);
    assert_eq!(peer.wire.read(key, &mut []), Read::Data(0), "only a look");
    assert_eq!(peer.read(key), (b"hello".to_vec(), Read::End));
    assert_eq!(peer.wire.trailers(key), b"");

    peer.wire
        .send_head(key, b"HTTP/1.1 103 \r\nLink: </a>\r\n\r\n", false);
    peer.wire
        .send_head(key, b"HTTP/1.1 200 OK\r\nServer: x\r\n\r\n", false);
    assert_eq!(peer.wire.send_data(key, b"content", true), Ok(7));
    peer.wire.free(key);
    let frames = peer.hear();
    let kinds: Vec<_> = frames
        .iter()
        .map(|frame| (frame.kind, frame.flags))
        .collect();
    assert_eq!(
        kinds,
        [
            (HEADERS, END_HEADERS),
            (HEADERS, END_HEADERS),
            (DATA, END_STREAM)
        ]
    );
    assert_eq!(frames[2].payload, b"content");
    assert_eq!(peer.wire.streams(), 0);
}

#[test]
fn a_client_sends_a_request_and_reads_its_response() {
    let mut peer = Peer::client();
    let key = peer
        .wire
        .open(b"POST /x HTTP/1.1\r\nHost: a\r\n\r\n", false)
        .unwrap();
    assert_eq!(key.id, 1);
    assert_eq!(peer.wire.send_data(key, b"content", false), Ok(7));
    peer.wire.send_trailers(key, b"");
    let frames = peer.hear();
    let kinds: Vec<_> = frames
        .iter()
        .map(|frame| (frame.kind, frame.flags))
        .collect();
    assert_eq!(
        kinds,
        [(HEADERS, END_HEADERS), (DATA, 0), (DATA, END_STREAM)]
    );
    peer.say(&frame(HEADERS, END_HEADERS, 1, &response_with("100", &[])));
    peer.say(&frame(HEADERS, END_HEADERS, 1, &response_with("200", &[])));
    peer.say(&frame(DATA, 0, 1, b"hello"));
    peer.say(&frame(HEADERS, WHOLE, 1, &block(&[("grpc-status", "0")])));
    assert_eq!(
        peer.events,
        [
            Event::Response(key),
            Event::Response(key),
            Event::Body(key),
            Event::Body(key)
        ]
    );
    assert!(peer.heads[0].starts_with("HTTP/1.1 100 "));
    assert!(peer.heads[1].starts_with("HTTP/1.1 200 "));
    assert_eq!(peer.read(key), (b"hello".to_vec(), Read::End));
    assert_eq!(peer.wire.trailers(key), b"grpc-status: 0\r\n");
    peer.wire.free(key);
    assert_eq!(peer.hear(), [], "it was over both ways");
}
