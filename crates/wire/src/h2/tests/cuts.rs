//! Where bytes are cut does not matter, and whatever they are, nothing panics.

use proptest::prelude::*;

use super::peer::*;
use crate::h2::*;

/// What came of bytes, however they were cut: runs of `Body` for one stream are one, as cuts make
/// more of them.
#[derive(Debug, PartialEq)]
struct Outcome {
    events: Vec<Event>,
    heads: Vec<String>,
    contents: Vec<(Vec<u8>, Read)>,
    owed: Vec<Frame>,
    error: Option<ConnectionError>,
}

fn outcome(mut peer: Peer, pieces: &[&[u8]]) -> Outcome {
    for piece in pieces {
        peer.say(piece);
    }
    let mut keys: Vec<StreamKey> = Vec::new();
    for event in &peer.events {
        if let Event::Request(key) | Event::Response(key) = event
            && !keys.contains(key)
        {
            keys.push(*key);
        }
    }
    peer.events
        .dedup_by(|one, other| one == other && matches!(one, Event::Body(_)));
    Outcome {
        contents: keys.iter().map(|&key| peer.read(key)).collect(),
        owed: peer.hear(),
        events: peer.events,
        heads: peer.heads,
        error: peer.error,
    }
}

/// Something of everything.
fn conversation() -> Vec<u8> {
    let upload = request_with("POST", &[("content-length", "9")]);
    [
        PREFACE.to_vec(),
        frame(SETTINGS, 0, 0, &[setting(4, 100), setting(1, 0)].concat()),
        frame(SETTINGS, ACK, 0, &[]),
        frame(WINDOW_UPDATE, 0, 0, &[0, 0, 1, 0]),
        frame(
            HEADERS,
            END_HEADERS | PRIORITIZED,
            1,
            &[&[0; 5], &upload[..]].concat(),
        ),
        frame(DATA, PADDED, 1, b"\x03hello\0\0\0"),
        frame(
            HEADERS,
            END_STREAM | PADDED,
            3,
            &[&[2], &get()[..9], &[0, 0]].concat(),
        ),
        frame(CONTINUATION, 0, 3, &[]),
        frame(CONTINUATION, END_HEADERS, 3, &get()[9..]),
        frame(0x42, 0, 0, b"unknown"),
        frame(PING, 0, 0, b"01234567"),
        frame(HEADERS, END_HEADERS, 5, &post()),
        frame(PRIORITY, 0, 5, &[0; 5]),
        frame(DATA, 0, 1, b"!!!!"),
        frame(RST_STREAM, 0, 5, &[0, 0, 0, 8]),
        frame(HEADERS, WHOLE, 1, &block(&[("a", "b")])),
        frame(HEADERS, WHOLE, 7, &request_with("GET", &[("Bad", "x")])),
        frame(GOAWAY, 0, 0, b"\0\0\0\0\0\0\0\0goodbye"),
        frame(DATA, 0, 9, b"an error"),
    ]
    .concat()
}

#[test]
fn a_conversation_cut_at_any_byte_goes_the_same() {
    let bytes = conversation();
    let server = || Peer::of_new_server(SETTINGS_OF_TESTS);
    let whole = outcome(server(), &[&bytes]);
    assert_eq!(whole.heads.len(), 3);
    assert_eq!(
        whole.error.map(|error| error.code),
        Some(ErrorCode::ProtocolError)
    );
    for cut in 0..=bytes.len() {
        let (left, right) = bytes.split_at(cut);
        assert_eq!(
            outcome(server(), &[left, right]),
            whole,
            "cut at byte {cut}"
        );
    }
    let each: Vec<_> = bytes.chunks(1).collect();
    assert_eq!(outcome(server(), &each), whole);
}

fn client() -> Peer {
    let mut peer = Peer::of_new_client();
    for _ in 0..4 {
        let head = b"POST / HTTP/1.1\r\nHost: a\r\n\r\n";
        let key = peer.wire.open(head, false).unwrap();
        assert_eq!(peer.wire.send_data(key, b"content", false), Ok(7));
    }
    peer
}

#[test]
fn what_a_server_says_cut_at_any_byte_goes_the_same() {
    let bytes = [
        frame(SETTINGS, 0, 0, &setting(3, 100)),
        frame(HEADERS, END_HEADERS, 1, &response_with("103", &[])),
        frame(HEADERS, END_HEADERS, 1, &response_with("200", &[])),
        frame(DATA, PADDED, 1, b"\x03hello\0\0\0"),
        frame(HEADERS, WHOLE, 3, &response_with("204", &[])),
        frame(RST_STREAM, 0, 3, &[0; 4]),
        frame(GOAWAY, 0, 0, &[0, 0, 0, 3, 0, 0, 0, 0]),
        frame(DATA, END_STREAM, 1, b"!"),
        frame(DATA, 0, 5, b"ignored"),
    ]
    .concat();
    let whole = outcome(client(), &[&bytes]);
    assert_eq!((whole.heads.len(), whole.error), (3, None));
    for cut in 0..=bytes.len() {
        let (left, right) = bytes.split_at(cut);
        assert_eq!(
            outcome(client(), &[left, right]),
            whole,
            "cut at byte {cut}"
        );
    }
}

/// Frames that are mostly well framed, so that they get further than noise does.
fn any_frames() -> impl Strategy<Value = Vec<u8>> {
    let payload = prop_oneof![
        Just(get()),
        Just(post()),
        Just(response_with("200", &[])),
        Just(setting(4, 10)),
        prop::collection::vec(any::<u8>(), 0..20),
        Just(vec![0, 0, 0, 8]),
    ];
    let one = (0..11_u8, any::<u8>(), 0..9_u32, payload)
        .prop_map(|(kind, flags, stream, payload)| frame(kind, flags, stream, &payload));
    prop::collection::vec(one, 0..12).prop_map(|frames| frames.concat())
}

proptest! {
    #[test]
    fn any_frames_cut_anywhere_go_the_same(bytes in any_frames(), cut in any::<prop::sample::Index>()) {
        let (left, right) = bytes.split_at(cut.index(bytes.len() + 1));
        prop_assert_eq!(outcome(Peer::server(), &[left, right]), outcome(Peer::server(), &[&bytes]));
        prop_assert_eq!(outcome(client(), &[left, right]), outcome(client(), &[&bytes]));
    }

    #[test]
    fn any_bytes_do_not_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        Peer::server().say(&bytes);
        client().say(&bytes);
        Peer::of_new_server(SETTINGS_OF_TESTS).say(&bytes);
    }
}
