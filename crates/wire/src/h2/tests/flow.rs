//! Flow control, both ways: who waits, who is woken, what is held.

use super::peer::*;
use crate::h2::*;

/// Opens stream `id` and sends the head of its response.
fn respond(peer: &mut Peer, id: u32) -> StreamKey {
    let key = peer.request(id, WHOLE, &get());
    peer.wire.send_head(key, b"HTTP/1.1 200 OK\r\n\r\n", false);
    key
}

fn grant(peer: &mut Peer, stream: u32, bytes: u32) {
    peer.say(&frame(WINDOW_UPDATE, 0, stream, &bytes.to_be_bytes()));
}

/// Bytes of content for a stream.
fn content(frames: &[Frame], stream: u32) -> usize {
    let data = frames
        .iter()
        .filter(|frame| frame.kind == DATA && frame.stream == stream);
    data.map(|frame| frame.payload.len()).sum()
}

fn window_updates(frames: &[Frame], stream: u32) -> u32 {
    let updates = frames
        .iter()
        .filter(|frame| frame.kind == WINDOW_UPDATE && frame.stream == stream);
    updates.map(Frame::number).sum()
}

#[test]
fn a_stream_that_waits_for_its_window_is_named_once_it_has_some() {
    let mut peer = Peer::server();
    grant(&mut peer, 0, 1_000_000);
    let key = respond(&mut peer, 1);
    let body = vec![7; 70_000];
    // The head is owed too.
    let taken = peer.wire.send_data(key, &body, true).unwrap();
    assert!((60_000..65_535).contains(&taken), "{taken}");
    assert_eq!(
        peer.wire.poll_writable(),
        None,
        "there is no room to owe more"
    );
    peer.hear();
    assert_eq!(peer.wire.poll_writable(), Some(key));
    assert_eq!(peer.wire.poll_writable(), None);
    let left = 65_535 - taken;
    assert_eq!(peer.wire.send_data(key, &body[taken..], true), Ok(left));
    assert_eq!(peer.wire.poll_writable(), None, "its window is spent");
    peer.events.clear();
    grant(&mut peer, 1, 10_000);
    assert_eq!(peer.events, [Event::Window]);
    assert_eq!(peer.wire.poll_writable(), Some(key));
    assert_eq!(peer.wire.send_data(key, &body[65_535..], true), Ok(4465));
    let frames = peer.hear();
    assert_eq!(frames.last().map(|frame| frame.flags), Some(END_STREAM));
}

#[test]
fn the_end_rides_on_the_last_content_and_needs_no_window() {
    let mut peer = Peer::server();
    let key = respond(&mut peer, 1);
    assert_eq!(peer.wire.send_data(key, &[7; 20_000], false), Ok(20_000));
    let lengths: Vec<_> = peer.hear()[1..]
        .iter()
        .map(|frame| (frame.payload.len(), frame.flags))
        .collect();
    assert_eq!(lengths, [(16_384, 0), (3616, 0)]);
    assert_eq!(peer.wire.send_data(key, &[7; 60_000], true), Ok(45_535));
    peer.hear();
    assert_eq!(peer.wire.send_data(key, &[], false), Ok(0));
    assert_eq!(peer.hear(), []);
    assert_eq!(peer.wire.send_data(key, &[], true), Ok(0));
    assert_eq!(
        peer.hear(),
        [Frame {
            kind: DATA,
            flags: END_STREAM,
            stream: 1,
            payload: vec![]
        }]
    );
}

#[test]
fn streams_that_wait_for_the_connection_take_turns() {
    let mut peer = Peer::server();
    let keys = [1, 3, 5].map(|id| respond(&mut peer, id));
    let body = [7; 60_000];
    assert_eq!(peer.wire.send_data(keys[0], &body, false), Ok(60_000));
    peer.hear();
    assert_eq!(peer.wire.send_data(keys[1], &body, false), Ok(5535));
    for key in keys {
        assert_eq!(peer.wire.send_data(key, &body, false), Ok(0));
    }
    peer.hear();
    peer.events.clear();
    grant(&mut peer, 0, 1000);
    assert_eq!(peer.events, [Event::Window]);
    for key in [keys[1], keys[0], keys[2]] {
        assert_eq!(peer.wire.poll_writable(), Some(key));
    }
    assert_eq!(peer.wire.poll_writable(), None);
}

#[test]
fn one_stream_that_is_not_read_does_not_hold_up_the_others() {
    let mut peer = Peer::server();
    grant(&mut peer, 0, 10_000_000);
    let stalled = respond(&mut peer, 1);
    let mut offered = 0;
    for id in 1..100 {
        let key = respond(&mut peer, 2 * id + 1);
        offered += peer.wire.send_data(stalled, &[7; 1000], false).unwrap();
        assert_eq!(peer.wire.send_data(key, &[7; 1000], true), Ok(1000));
        peer.wire.free(key);
        assert_eq!(content(&peer.hear(), key.id), 1000);
    }
    assert_eq!(offered, 65_535, "its window and no more");
}

#[test]
fn windows_are_given_back_when_content_is_read() {
    let mut peer = Peer::server();
    let key = peer.request(1, END_HEADERS, &post());
    peer.say(&frame(DATA, 0, 1, &[7; 16_000]));
    peer.say(&frame(DATA, 0, 1, &[7; 16_000]));
    assert_eq!(peer.hear(), [], "nobody has read");
    assert_eq!(peer.read(key).0.len(), 32_000);
    assert_eq!(peer.hear(), [], "less than half");
    peer.say(&frame(DATA, 0, 1, &[7; 1000]));
    assert_eq!(peer.read(key).0.len(), 1000);
    let frames = peer.hear();
    assert_eq!(window_updates(&frames, 0), 33_000);
    assert_eq!(window_updates(&frames, 1), 33_000);
}

#[test]
fn a_stream_that_has_ended_gets_no_window() {
    let mut peer = Peer::server();
    let key = peer.request(1, END_HEADERS, &post());
    for _ in 0..3 {
        peer.say(&frame(DATA, 0, 1, &[7; 16_000]));
    }
    peer.say(&frame(DATA, END_STREAM, 1, &[]));
    assert_eq!(peer.read(key).1, Read::End);
    let frames = peer.hear();
    assert_eq!(window_updates(&frames, 0), 33_000);
    assert_eq!(window_updates(&frames, 1), 0);
}

#[test]
fn padding_is_given_back_at_once() {
    let mut peer = Peer::server();
    peer.request(1, END_HEADERS, &post());
    let mut padded = vec![0; 256];
    padded[0] = 250;
    let mut frames = Vec::new();
    for _ in 0..200 {
        peer.say(&frame(DATA, PADDED, 1, &padded));
        frames.extend(peer.hear());
    }
    assert_eq!(peer.error, None);
    // Five bytes of each are content and wait to be read.
    assert!(window_updates(&frames, 0) >= 200 * 251 / 2);
    assert!(window_updates(&frames, 1) >= 200 * 251 / 2);
}

#[test]
fn content_beyond_a_window_is_an_error() {
    let mut peer = Peer::of_server(Settings {
        stream_window: 1000,
        connection_window: 100_000,
        ..SETTINGS_OF_TESTS
    });
    peer.request(1, END_HEADERS, &post());
    peer.say(&frame(DATA, 0, 1, &[7; 1001]));
    assert_eq!(peer.hear_reset(1), ErrorCode::FlowControlError as u32);

    let mut peer = Peer::server();
    for id in [1, 3] {
        peer.request(id, END_HEADERS, &post());
        for _ in 0..3 {
            peer.say(&frame(DATA, 0, id, &[7; 15_000]));
        }
    }
    assert_eq!(peer.hear_end(), ErrorCode::FlowControlError as u32);
}

#[test]
fn a_small_window_counts_once_it_is_confirmed() {
    let mut peer = Peer::of_new_server(Settings {
        stream_window: 1000,
        connection_window: 1_000_000,
        ..SETTINGS_OF_TESTS
    });
    peer.say(PREFACE);
    peer.say(&frame(SETTINGS, 0, 0, &[]));
    // The client may not know it yet.
    let key = peer.request(1, END_HEADERS, &post());
    peer.say(&frame(DATA, 0, 1, &[7; 16_384]));
    assert_eq!(peer.read(key).0.len(), 16_384);
    peer.say(&frame(SETTINGS, ACK, 0, &[]));
    // 384 bytes were not worth giving back.
    peer.say(&frame(DATA, 0, 1, &[7; 616]));
    assert_eq!(peer.read(key).0.len(), 616);
    assert_eq!(window_updates(&peer.hear(), 1), 16_000 + 1000);
    peer.say(&frame(DATA, 0, 1, &[7; 1001]));
    assert_eq!(peer.hear_reset(1), ErrorCode::FlowControlError as u32);
}

#[test]
fn content_for_a_stream_that_was_reset_is_given_back() {
    let mut peer = Peer::server();
    let key = peer.request(1, END_HEADERS, &post());
    peer.say(&frame(DATA, 0, 1, &[7; 16_000]));
    peer.wire.send_head(key, b"HTTP/1.1 413 \r\n\r\n", true);
    peer.wire.free(key);
    let frames = peer.hear();
    let reset = frames.last().unwrap();
    assert_eq!(
        (reset.kind, reset.number()),
        (RST_STREAM, ErrorCode::NoError as u32)
    );
    let mut given = 0;
    for _ in 0..10 {
        peer.say(&frame(DATA, 0, 1, &[7; 16_000]));
        given += window_updates(&peer.hear(), 0);
    }
    // Trailers too: they were on their way.
    peer.say(&frame(HEADERS, WHOLE, 1, &block(&[("a", "b")])));
    assert_eq!(peer.error, None);
    assert!(given >= 11 * 16_000 - 33_000, "{given}");
}

#[test]
fn content_that_nobody_reads_is_bounded_by_the_window_of_the_connection() {
    let mut peer = Peer::server();
    for id in (1..=129).step_by(2) {
        peer.request(id, END_HEADERS, &post());
        peer.say(&frame(DATA, 0, id, &[7; 1000]));
    }
    assert_eq!((peer.hear(), peer.error), (vec![], None));
    peer.request(131, END_HEADERS, &post());
    peer.say(&frame(DATA, 0, 131, &[7; 1000]));
    assert_eq!(peer.hear_end(), ErrorCode::FlowControlError as u32);
}

#[test]
fn an_idle_connection_holds_hardly_any_memory() {
    let mut peer = Peer::server();
    grant(&mut peer, 0, 10_000_000);
    let keys: Vec<_> = (0..100)
        .map(|n| {
            let key = peer.request(2 * n + 1, END_HEADERS, &post());
            peer.say(&frame(DATA, END_STREAM, key.id, &[7; 600]));
            key
        })
        .collect();
    for key in keys {
        peer.read(key);
        peer.wire.send_head(key, b"HTTP/1.1 200 OK\r\n\r\n", false);
        let _ = peer.wire.send_data(key, &[7; 10_000], true);
        peer.wire.free(key);
    }
    peer.hear();
    assert_eq!(peer.wire.streams(), 0);
    assert!(peer.wire.memory() <= 2048, "{} bytes", peer.wire.memory());
    assert!(
        size_of::<Connection>() <= 1536,
        "{} bytes",
        size_of::<Connection>()
    );
}
