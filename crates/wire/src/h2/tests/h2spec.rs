//! Every case of h2spec 2.6 (github.com/summerwind/h2spec), by the section it stands in: what the
//! client sends, and what has to come of it. Frames are written by hand, as the tool does it.
//!
//! Where the tool takes an error of the stream, it takes one of the connection too, as RFC 9113
//! §5.4.1 does; here stands which one it is. A connection that goes on answers a PING.

use super::peer::*;
use crate::h2::*;

/// What has to come of what a client sends.
enum Outcome {
    /// The connection goes on, and the stream is not reset.
    GoesOn,
    /// The stream is reset with this code, and the connection goes on.
    Reset(u32, ErrorCode),
    /// The connection ends with this code.
    Ends(ErrorCode),
}

use ErrorCode::*;
use Outcome::*;

/// A test for each case: its name, what is sent, what comes of it.
macro_rules! cases {
    ($($name:ident: [$($frame:expr),* $(,)?] => $outcome:expr;)*) => {
        $(
            #[test]
            fn $name() {
                check(Peer::server(), &[$($frame),*], $outcome);
            }
        )*
    };
}

fn check(mut peer: Peer, frames: &[Vec<u8>], outcome: Outcome) {
    for frame in frames {
        peer.say(frame);
    }
    if let Ends(code) = outcome {
        assert_eq!(peer.hear_end(), code as u32);
        let error = peer.error.expect("it has ended");
        assert_eq!((error.code, error.rule), (code, "protocol"));
        return;
    }
    let ping = *b"are you?";
    peer.say(&frame(PING, 0, 0, &ping));
    assert_eq!(peer.error, None);
    let frames = peer.hear();
    let pong = frames.last().expect("it goes on");
    assert_eq!((pong.kind, pong.flags), (PING, ACK));
    assert_eq!(pong.payload, ping);
    let mut resets = frames.iter().filter(|frame| frame.kind == RST_STREAM);
    match (outcome, resets.next()) {
        (GoesOn, None) => {}
        (Reset(stream, code), Some(reset)) => {
            assert_eq!((reset.stream, reset.number()), (stream, code as u32));
        }
        (_, reset) => panic!("{reset:?}"),
    }
    assert_eq!(resets.next(), None);
}

/// A server that has answered the request on stream 1, which is closed.
fn answered() -> Peer {
    let mut peer = Peer::server();
    let key = peer.request(1, WHOLE, &get());
    peer.wire.send_head(key, b"HTTP/1.1 200 OK\r\n\r\n", true);
    peer.wire.free(key);
    peer.hear();
    peer
}

fn headers(flags: u8, block: &[u8]) -> Vec<u8> {
    frame(HEADERS, flags, 1, block)
}

fn data(flags: u8, payload: &[u8]) -> Vec<u8> {
    frame(DATA, flags, 1, payload)
}

fn settings(id: u16, value: u32) -> Vec<u8> {
    frame(SETTINGS, 0, 0, &setting(id, value))
}

fn window_update(stream: u32, bytes: u32) -> Vec<u8> {
    frame(WINDOW_UPDATE, 0, stream, &bytes.to_be_bytes())
}

fn reset(stream: u32) -> Vec<u8> {
    frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes())
}

/// A dependency on `stream`, with a weight.
fn priority(stream: u32) -> Vec<u8> {
    [&stream.to_be_bytes()[..], &[15]].concat()
}

/// A request with a field besides.
fn whole_with(name: &str, value: &str) -> Vec<u8> {
    headers(WHOLE, &request_with("GET", &[(name, value)]))
}

/// A request of exactly these fields.
fn whole_of(fields: &[(&str, &str)]) -> Vec<u8> {
    headers(WHOLE, &block(fields))
}

/// A request, and something behind its last field.
fn whole_then(bytes: &[u8]) -> Vec<u8> {
    headers(WHOLE, &[&get(), bytes].concat())
}

fn post_of(length: &str) -> Vec<u8> {
    headers(
        END_HEADERS,
        &request_with("POST", &[("content-length", length)]),
    )
}

/// A block cut in two.
fn halves() -> (Vec<u8>, Vec<u8>) {
    let block = get();
    let (first, second) = block.split_at(7);
    (first.to_vec(), second.to_vec())
}

fn first_half() -> Vec<u8> {
    headers(END_STREAM, &halves().0)
}

fn second_half(flags: u8) -> Vec<u8> {
    frame(CONTINUATION, flags, 1, &halves().1)
}

// generic/2: streams and multiplexing.
cases! {
    generic_2_1_priority_on_an_idle_stream: [frame(PRIORITY, 0, 1, &priority(0))] => GoesOn;
    generic_2_2_window_update_on_a_half_closed_stream: [
        headers(WHOLE, &get()), window_update(1, 100),
    ] => GoesOn;
    generic_2_3_priority_on_a_half_closed_stream: [
        headers(WHOLE, &get()), frame(PRIORITY, 0, 1, &priority(0)),
    ] => GoesOn;
    generic_2_4_rst_stream_on_a_half_closed_stream: [
        headers(WHOLE, &get()), reset(1),
    ] => GoesOn;
}

#[test]
fn generic_2_5_priority_on_a_closed_stream() {
    check(answered(), &[frame(PRIORITY, 0, 1, &priority(0))], GoesOn);
}

// generic/3: frames.
cases! {
    generic_3_1_1_data: [headers(END_HEADERS, &post()), data(END_STREAM, b"x")] => GoesOn;
    generic_3_1_2_several_data: [
        headers(END_HEADERS, &post()), data(0, b"x"), data(END_STREAM, b"y"),
    ] => GoesOn;
    generic_3_1_3_data_with_padding: [
        headers(END_HEADERS, &post()), data(END_STREAM | PADDED, b"\x05x\0\0\0\0\0"),
    ] => GoesOn;
    generic_3_2_1_headers: [headers(WHOLE, &get())] => GoesOn;
    generic_3_2_2_headers_with_padding: [
        headers(WHOLE | PADDED, &[b"\x03", &get()[..], b"\0\0\0"].concat()),
    ] => GoesOn;
    generic_3_2_3_headers_with_priority: [
        headers(WHOLE | PRIORITIZED, &[priority(0), get()].concat()),
    ] => GoesOn;
    generic_3_3_1_priority_of_weight_1: [frame(PRIORITY, 0, 1, &[0; 5])] => GoesOn;
    generic_3_3_2_priority_of_weight_256: [frame(PRIORITY, 0, 1, &[0, 0, 0, 0, 255])] => GoesOn;
    generic_3_3_3_priority_with_dependency: [
        frame(PRIORITY, 0, 1, &priority(0)), frame(PRIORITY, 0, 3, &priority(1)),
    ] => GoesOn;
    generic_3_3_4_exclusive_priority: [
        frame(PRIORITY, 0, 1, &priority(0)), frame(PRIORITY, 0, 3, &priority(1 << 31 | 1)),
    ] => GoesOn;
    generic_3_3_5_priority_on_an_idle_stream_above: [
        frame(PRIORITY, 0, 3, &priority(0)), headers(WHOLE, &get()),
    ] => GoesOn;
    generic_3_4_1_rst_stream: [headers(WHOLE, &get()), reset(1)] => GoesOn;
    generic_3_5_1_settings: [settings(3, 10)] => GoesOn;
    generic_3_7_1_ping: [frame(PING, 0, 0, &[0; 8])] => GoesOn;
    generic_3_8_1_goaway: [frame(GOAWAY, 0, 0, &[0; 8])] => GoesOn;
    generic_3_9_1_window_update_of_the_connection: [window_update(0, 1)] => GoesOn;
    generic_3_9_2_window_update_of_a_stream: [
        headers(WHOLE, &get()), window_update(1, 1),
    ] => GoesOn;
    generic_3_10_1_continuation: [first_half(), second_half(END_HEADERS)] => GoesOn;
    generic_3_10_2_several_continuations: [
        first_half(), second_half(0), frame(CONTINUATION, END_HEADERS, 1, &[]),
    ] => GoesOn;
}

// generic/4: messages.
cases! {
    generic_4_1_get: [headers(WHOLE, &get())] => GoesOn;
    generic_4_2_head: [headers(WHOLE, &request_with("HEAD", &[]))] => GoesOn;
    generic_4_3_post: [headers(END_HEADERS, &post()), data(END_STREAM, b"test")] => GoesOn;
    generic_4_4_post_with_trailers: [
        headers(END_HEADERS, &request_with("POST", &[("trailer", "x-test")])),
        data(0, b"test"),
        headers(WHOLE, &block(&[("x-test", "ok")])),
    ] => GoesOn;
}

// generic/5: HPACK, beside the tests of `hpack`.
cases! {
    generic_5_1_indexed_field: [whole_then(&[0x90])] => GoesOn;
    generic_5_2_literal_with_indexing: [whole_then(b"\x7a\x01x")] => GoesOn;
    generic_5_3_literal_with_indexing_and_name: [whole_then(b"\x40\x01a\x01x")] => GoesOn;
    generic_5_4_literal_without_indexing: [whole_then(b"\x0f\x2b\x01x")] => GoesOn;
    generic_5_5_literal_without_indexing_and_name: [whole_then(b"\x00\x01a\x01x")] => GoesOn;
    generic_5_6_literal_never_indexed: [whole_then(b"\x1f\x2b\x01x")] => GoesOn;
    generic_5_7_literal_never_indexed_and_name: [whole_then(b"\x10\x01a\x01x")] => GoesOn;
    generic_5_8_a_line_of_the_dynamic_table: [whole_then(b"\x40\x01a\x01x\xbe")] => GoesOn;
    generic_5_9_huffman_strings: [whole_then(b"\x40\x81\x1f\x81\x1f")] => GoesOn;
    generic_5_10_table_size_update: [headers(WHOLE, &[&[0x20][..], &get()].concat())] => GoesOn;
    generic_5_11_two_table_size_updates: [
        headers(WHOLE, &[&b"\x20\x3f\xe1\x1f"[..], &get()].concat()),
    ] => GoesOn;
}

#[test]
fn http2_3_5_1_the_preface() {
    let mut peer = Peer::of_new_server(SETTINGS_OF_TESTS);
    peer.say(PREFACE);
    peer.say(&frame(SETTINGS, 0, 0, &[]));
    let frames = peer.hear();
    assert_eq!((frames[0].kind, frames[0].flags), (SETTINGS, 0));
    assert_eq!((frames[1].kind, frames[1].flags), (SETTINGS, ACK));
}

#[test]
fn http2_3_5_2_another_preface() {
    let mut peer = Peer::of_new_server(SETTINGS_OF_TESTS);
    peer.say(b"INVALID CONNECTION PREFACE\r\n\r\n");
    assert_eq!(peer.hear_end(), ProtocolError as u32);
}

// http2/4: frames and blocks.
cases! {
    http2_4_1_1_unknown_kind: [frame(0x16, 0, 0, &[0; 8])] => GoesOn;
    http2_4_1_2_undefined_flags: [frame(PING, 0x16, 0, &[0; 8])] => GoesOn;
    http2_4_1_3_reserved_bit: [frame(PING, 0, 1 << 31, &[0; 8])] => GoesOn;
    http2_4_2_1_the_largest_data: [
        headers(END_HEADERS, &post()), data(END_STREAM, &[0; 16_384]),
    ] => GoesOn;
    http2_4_2_2_data_too_large: [
        headers(END_HEADERS, &post()), data(END_STREAM, &[0; 16_385]),
    ] => Ends(FrameSizeError);
    http2_4_2_3_headers_too_large: [
        headers(WHOLE, &request_with("GET", &[("a", &"x".repeat(16_385))])),
    ] => Ends(FrameSizeError);
    http2_4_3_1_invalid_block: [headers(WHOLE, b"\x40")] => Ends(CompressionError);
    http2_4_3_2_priority_within_a_block: [
        first_half(), frame(PRIORITY, 0, 1, &priority(0)), second_half(END_HEADERS),
    ] => Ends(ProtocolError);
    http2_4_3_3_headers_within_a_block: [
        first_half(), frame(HEADERS, WHOLE, 3, &get()), second_half(END_HEADERS),
    ] => Ends(ProtocolError);
}

// http2/5.1: states of streams.
cases! {
    http2_5_1_1_idle_data: [data(END_STREAM, b"x")] => Ends(ProtocolError);
    http2_5_1_2_idle_rst_stream: [reset(1)] => Ends(ProtocolError);
    http2_5_1_3_idle_window_update: [window_update(1, 100)] => Ends(ProtocolError);
    http2_5_1_4_idle_continuation: [second_half(END_HEADERS)] => Ends(ProtocolError);
    http2_5_1_5_half_closed_data: [
        headers(WHOLE, &get()), data(END_STREAM, b"x"),
    ] => Reset(1, StreamClosed);
    http2_5_1_6_half_closed_headers: [
        headers(WHOLE, &get()), headers(WHOLE, &get()),
    ] => Reset(1, StreamClosed);
    http2_5_1_7_half_closed_continuation: [
        headers(WHOLE, &get()), second_half(END_HEADERS),
    ] => Ends(ProtocolError);
    http2_5_1_8_data_behind_rst_stream: [
        headers(END_HEADERS, &post()), reset(1), data(END_STREAM, b"x"),
    ] => Ends(StreamClosed);
    http2_5_1_9_headers_behind_rst_stream: [
        headers(END_HEADERS, &post()), reset(1), headers(WHOLE, &get()),
    ] => Ends(StreamClosed);
    http2_5_1_10_continuation_behind_rst_stream: [
        headers(END_HEADERS, &post()), reset(1), second_half(END_HEADERS),
    ] => Ends(ProtocolError);
}

#[test]
fn http2_5_1_11_closed_data() {
    check(answered(), &[data(END_STREAM, b"x")], Ends(StreamClosed));
}

#[test]
fn http2_5_1_12_closed_headers() {
    check(answered(), &[headers(WHOLE, &get())], Ends(StreamClosed));
}

#[test]
fn http2_5_1_13_closed_continuation() {
    let frames = [second_half(END_HEADERS)];
    check(answered(), &frames, Ends(ProtocolError));
}

// http2/5.1.1 to 5.5.
cases! {
    http2_5_1_1_1_even_identifier: [frame(HEADERS, WHOLE, 2, &get())] => Ends(ProtocolError);
    http2_5_1_1_2_smaller_identifier: [
        frame(HEADERS, WHOLE, 5, &get()), frame(HEADERS, WHOLE, 3, &get()),
    ] => Ends(ProtocolError);
    // RFC 9113 §5.3 has dropped dependencies: one on itself means as little as any other. The
    // tool, which is of RFC 7540, expects an error.
    http2_5_3_1_1_headers_that_depend_on_themselves: [
        headers(WHOLE | PRIORITIZED, &[priority(1), get()].concat()),
    ] => GoesOn;
    http2_5_3_1_2_priority_on_itself: [frame(PRIORITY, 0, 1, &priority(1))] => GoesOn;
    http2_5_4_1_1_an_error_ends_the_connection: [
        frame(PING, 0, 3, &[0; 8]),
    ] => Ends(ProtocolError);
    http2_5_5_1_unknown_frame: [frame(0xff, 0, 0, b"unknown")] => GoesOn;
    http2_5_5_2_unknown_frame_within_a_block: [
        first_half(), frame(0xff, 0, 1, b"unknown"), second_half(END_HEADERS),
    ] => Ends(ProtocolError);
}

#[test]
fn http2_5_1_2_1_more_streams_than_allowed() {
    let peer = Peer::of_server(Settings {
        streams_max: 2,
        ..SETTINGS_OF_TESTS
    });
    let open = |id| frame(HEADERS, WHOLE, id, &get());
    check(peer, &[open(1), open(3), open(5)], Reset(5, RefusedStream));
}

#[test]
fn http2_5_4_1_2_goaway_names_the_last_stream() {
    let mut peer = Peer::server();
    peer.request(1, WHOLE, &get());
    peer.say(&frame(PING, 0, 3, &[0; 8]));
    let frames = peer.hear();
    assert_eq!(frames.last().map(Frame::number), Some(1));
}

// http2/6.1 to 6.4.
cases! {
    http2_6_1_1_data_of_the_connection: [frame(DATA, 0, 0, b"x")] => Ends(ProtocolError);
    http2_6_1_2_data_on_a_stream_that_is_not_open: [
        headers(WHOLE, &get()), data(END_STREAM, b"x"),
    ] => Reset(1, StreamClosed);
    http2_6_1_3_data_with_too_much_padding: [
        headers(END_HEADERS, &post()), data(END_STREAM | PADDED, b"\x06Test"),
    ] => Ends(ProtocolError);
    data_without_room_for_the_length_of_its_padding: [
        headers(END_HEADERS, &post()), data(END_STREAM | PADDED, b""),
    ] => Ends(FrameSizeError);
    data_that_is_all_padding: [
        headers(END_HEADERS, &post()), data(END_STREAM | PADDED, b"\x02\0\0"),
    ] => GoesOn;
    http2_6_2_1_headers_then_priority: [
        first_half(), frame(PRIORITY, 0, 1, &priority(0)),
    ] => Ends(ProtocolError);
    http2_6_2_2_headers_then_headers_of_another: [
        first_half(), frame(HEADERS, WHOLE, 3, &get()),
    ] => Ends(ProtocolError);
    http2_6_2_3_headers_of_the_connection: [
        frame(HEADERS, WHOLE, 0, &get()),
    ] => Ends(ProtocolError);
    http2_6_2_4_headers_with_too_much_padding: [
        headers(WHOLE | PADDED, &[&[255], &get()[..]].concat()),
    ] => Ends(ProtocolError);
    headers_without_room_for_their_priority: [
        headers(WHOLE | PRIORITIZED, &[0; 4]),
    ] => Ends(FrameSizeError);
    http2_6_3_1_priority_of_the_connection: [
        frame(PRIORITY, 0, 0, &priority(0)),
    ] => Ends(ProtocolError);
    http2_6_3_2_priority_of_another_length: [
        frame(PRIORITY, 0, 1, &[0; 4]),
    ] => Ends(FrameSizeError);
    http2_6_4_1_rst_stream_of_the_connection: [reset(0)] => Ends(ProtocolError);
    http2_6_4_2_rst_stream_of_an_idle_stream: [reset(1)] => Ends(ProtocolError);
    http2_6_4_3_rst_stream_of_another_length: [
        headers(END_HEADERS, &post()), frame(RST_STREAM, 0, 1, &[0; 3]),
    ] => Ends(FrameSizeError);
}

// http2/6.5: SETTINGS.
cases! {
    http2_6_5_1_ack_with_payload: [frame(SETTINGS, ACK, 0, &[0])] => Ends(FrameSizeError);
    http2_6_5_2_settings_of_a_stream: [
        frame(SETTINGS, 0, 1, &setting(3, 1)),
    ] => Ends(ProtocolError);
    http2_6_5_3_settings_of_another_length: [
        frame(SETTINGS, 0, 0, &[0, 0, 0]),
    ] => Ends(FrameSizeError);
    http2_6_5_2_1_enable_push_that_is_no_truth: [settings(2, 2)] => Ends(ProtocolError);
    http2_6_5_2_2_initial_window_too_large: [settings(4, 1 << 31)] => Ends(FlowControlError);
    http2_6_5_2_3_max_frame_size_too_small: [settings(5, 16_383)] => Ends(ProtocolError);
    http2_6_5_2_4_max_frame_size_too_large: [settings(5, 1 << 24)] => Ends(ProtocolError);
    http2_6_5_2_5_unknown_setting: [settings(0xff, 1)] => GoesOn;
    enable_connect_protocol_that_is_no_truth: [settings(8, 2)] => Ends(ProtocolError);
    no_rfc7540_priorities_that_is_no_truth: [settings(9, 2)] => Ends(ProtocolError);
}

#[test]
fn http2_6_5_3_1_the_last_of_several_initial_windows_counts() {
    let mut peer = Peer::server();
    let both = [setting(4, 100), setting(4, 1)].concat();
    peer.say(&frame(SETTINGS, 0, 0, &both));
    let key = peer.request(1, WHOLE, &get());
    peer.wire.send_head(key, b"HTTP/1.1 200 OK\r\n\r\n", false);
    assert_eq!(peer.wire.send_data(key, b"content", true), Ok(1));
}

#[test]
fn http2_6_5_3_2_settings_are_confirmed() {
    let mut peer = Peer::server();
    peer.say(&settings(3, 1));
    let frames = peer.hear();
    assert_eq!(frames.len(), 1);
    assert_eq!((frames[0].kind, frames[0].flags), (SETTINGS, ACK));
}

// http2/6.7 to 6.9.2.
cases! {
    http2_6_7_1_ping: [frame(PING, 0, 0, b"01234567")] => GoesOn;
    http2_6_7_3_ping_of_a_stream: [frame(PING, 0, 1, &[0; 8])] => Ends(ProtocolError);
    http2_6_7_4_ping_of_another_length: [frame(PING, 0, 0, &[0; 6])] => Ends(FrameSizeError);
    http2_6_8_1_goaway_of_a_stream: [frame(GOAWAY, 0, 1, &[0; 8])] => Ends(ProtocolError);
    goaway_that_is_too_short: [frame(GOAWAY, 0, 0, &[0; 7])] => Ends(FrameSizeError);
    goaway_with_words: [frame(GOAWAY, 0, 0, &[0; 80])] => GoesOn;
    http2_6_9_1_window_update_of_nothing: [window_update(0, 0)] => Ends(ProtocolError);
    http2_6_9_2_window_update_of_nothing_on_a_stream: [
        headers(END_HEADERS, &post()), window_update(1, 0),
    ] => Reset(1, ProtocolError);
    http2_6_9_3_window_update_of_another_length: [
        frame(WINDOW_UPDATE, 0, 0, &[0, 0, 1]),
    ] => Ends(FrameSizeError);
    http2_6_9_1_2_window_of_the_connection_overflows: [
        window_update(0, (1 << 31) - 1), window_update(0, (1 << 31) - 1),
    ] => Ends(FlowControlError);
    http2_6_9_1_3_window_of_a_stream_overflows: [
        headers(END_HEADERS, &post()),
        window_update(1, (1 << 31) - 1),
        window_update(1, (1 << 31) - 1),
    ] => Reset(1, FlowControlError);
    http2_6_9_2_3_initial_window_too_large: [settings(4, 1 << 31)] => Ends(FlowControlError);
    initial_window_that_makes_a_window_overflow: [
        headers(END_HEADERS, &post()),
        window_update(1, (1 << 31) - 1 - 65_535),
        settings(4, 65_536),
    ] => Ends(FlowControlError);
}

#[test]
fn http2_6_7_2_a_ping_that_is_an_answer_gets_none() {
    let mut peer = Peer::server();
    peer.say(&frame(PING, ACK, 0, &[0; 8]));
    assert_eq!((peer.hear(), peer.error), (vec![], None));
}

#[test]
fn http2_6_9_1_1_a_window_of_one_byte_is_used() {
    let mut peer = Peer::server();
    peer.say(&settings(4, 1));
    let key = peer.request(1, WHOLE, &get());
    peer.hear();
    peer.wire.send_head(key, b"HTTP/1.1 200 OK\r\n\r\n", false);
    assert_eq!(peer.wire.send_data(key, b"content", true), Ok(1));
    let frames = peer.hear();
    assert_eq!((frames[1].kind, frames[1].flags), (DATA, 0));
    assert_eq!(frames[1].payload, b"c");
}

#[test]
fn http2_6_9_2_1_a_new_initial_window_counts_for_streams_that_are_open() {
    let mut peer = Peer::server();
    peer.say(&settings(4, 0));
    let key = peer.request(1, WHOLE, &get());
    peer.wire.send_head(key, b"HTTP/1.1 200 OK\r\n\r\n", false);
    assert_eq!(peer.wire.send_data(key, b"content", true), Ok(0));
    peer.say(&settings(4, 1));
    assert_eq!(peer.wire.poll_writable(), Some(key));
    assert_eq!(peer.wire.send_data(key, b"content", true), Ok(1));
}

#[test]
fn http2_6_9_2_2_a_window_may_be_negative() {
    let mut peer = Peer::server();
    peer.say(&settings(4, 3));
    let key = peer.request(1, WHOLE, &get());
    peer.wire.send_head(key, b"HTTP/1.1 200 OK\r\n\r\n", false);
    assert_eq!(peer.wire.send_data(key, b"content", true), Ok(3));
    // Three below zero, zero, one above.
    peer.say(&settings(4, 0));
    peer.say(&window_update(1, 2));
    peer.say(&settings(4, 1));
    assert_eq!(peer.wire.send_data(key, b"tent", true), Ok(0));
    peer.say(&window_update(1, 1));
    assert_eq!(peer.wire.poll_writable(), Some(key));
    assert_eq!(peer.wire.send_data(key, b"tent", true), Ok(1));
}

// http2/6.10 to 8.2.
cases! {
    http2_6_10_1_several_continuations: [
        first_half(),
        frame(CONTINUATION, 0, 1, &block(&[("a", "b")])[..0]),
        second_half(END_HEADERS),
    ] => GoesOn;
    http2_6_10_2_continuation_then_data: [
        first_half(), second_half(0), data(0, b"x"),
    ] => Ends(ProtocolError);
    http2_6_10_3_continuation_of_the_connection: [
        first_half(), frame(CONTINUATION, END_HEADERS, 0, &halves().1),
    ] => Ends(ProtocolError);
    continuation_of_another_stream: [
        first_half(), frame(CONTINUATION, END_HEADERS, 3, &halves().1),
    ] => Ends(ProtocolError);
    http2_6_10_4_continuation_behind_whole_headers: [
        headers(END_HEADERS, &post()), frame(CONTINUATION, END_HEADERS, 1, &[]),
    ] => Ends(ProtocolError);
    http2_6_10_5_continuation_behind_the_last: [
        first_half(), second_half(END_HEADERS), frame(CONTINUATION, END_HEADERS, 1, &[]),
    ] => Ends(ProtocolError);
    http2_6_10_6_continuation_behind_data: [
        headers(END_HEADERS, &post()), data(0, b"x"), frame(CONTINUATION, END_HEADERS, 1, &[]),
    ] => Ends(ProtocolError);
    http2_7_1_goaway_with_an_unknown_code: [
        frame(GOAWAY, 0, 0, &[0, 0, 0, 0, 0, 0, 0, 0xff]),
    ] => GoesOn;
    http2_7_2_rst_stream_with_an_unknown_code: [
        headers(WHOLE, &get()), frame(RST_STREAM, 0, 1, &[0, 0, 0, 0xff]),
    ] => GoesOn;
    http2_8_1_1_a_second_head_in_the_middle: [
        headers(END_HEADERS, &post()), headers(END_HEADERS, &block(&[("a", "b")])),
    ] => Reset(1, ProtocolError);
    http2_8_1_2_1_upper_case_name: [whole_with("X-TEST", "ok")] => Reset(1, ProtocolError);
    http2_8_1_2_1_1_unknown_pseudo_field: [whole_with(":test", "ok")] => Reset(1, ProtocolError);
    http2_8_1_2_1_2_pseudo_field_of_responses: [
        whole_with(":status", "200"),
    ] => Reset(1, ProtocolError);
    http2_8_1_2_1_3_pseudo_field_in_trailers: [
        headers(END_HEADERS, &post()), headers(WHOLE, &block(&[(":method", "GET")])),
    ] => Reset(1, ProtocolError);
    http2_8_1_2_1_4_pseudo_field_behind_others: [
        whole_of(&[(":method", "GET"), (":scheme", "http"), ("a", "b"), (":path", "/")]),
    ] => Reset(1, ProtocolError);
    http2_8_1_2_2_1_field_about_the_connection: [
        whole_with("connection", "keep-alive"),
    ] => Reset(1, ProtocolError);
    http2_8_1_2_2_2_te_other_than_trailers: [
        whole_with("te", "trailers, deflate"),
    ] => Reset(1, ProtocolError);
    http2_8_1_2_3_1_empty_path: [
        whole_of(&[
            (":method", "GET"), (":scheme", "http"), (":path", ""), (":authority", "a"),
        ]),
    ] => Reset(1, ProtocolError);
    http2_8_1_2_3_2_no_method: [
        whole_of(&[(":scheme", "http"), (":path", "/"), (":authority", "a")]),
    ] => Reset(1, ProtocolError);
    http2_8_1_2_3_3_no_scheme: [
        whole_of(&[(":method", "GET"), (":path", "/"), (":authority", "a")]),
    ] => Reset(1, ProtocolError);
    http2_8_1_2_3_4_no_path: [
        whole_of(&[(":method", "GET"), (":scheme", "http"), (":authority", "a")]),
    ] => Reset(1, ProtocolError);
    http2_8_1_2_3_5_two_methods: [whole_with(":method", "GET")] => Reset(1, ProtocolError);
    http2_8_1_2_3_6_two_schemes: [whole_with(":scheme", "http")] => Reset(1, ProtocolError);
    http2_8_1_2_3_7_two_paths: [whole_with(":path", "/")] => Reset(1, ProtocolError);
    http2_8_1_2_6_1_less_content_than_promised: [
        post_of("5"), data(END_STREAM, b"test"),
    ] => Reset(1, ProtocolError);
    more_content_than_promised: [
        post_of("3"), data(0, b"test"),
    ] => Reset(1, ProtocolError);
    http2_8_1_2_6_2_less_content_than_promised_in_pieces: [
        post_of("9"), data(0, b"test"), data(END_STREAM, b"test"),
    ] => Reset(1, ProtocolError);
    content_promised_and_the_end_at_once: [
        whole_with("content-length", "1"),
    ] => Reset(1, ProtocolError);
    less_content_than_promised_before_trailers: [
        post_of("5"), data(0, b"test"), headers(WHOLE, &block(&[("a", "b")])),
    ] => Reset(1, ProtocolError);
    as_much_content_as_promised_with_padding: [
        post_of("4"), data(PADDED, b"\x02test\0\0"), data(END_STREAM, b""),
    ] => GoesOn;
    http2_8_2_1_push_promise: [
        headers(END_HEADERS, &post()),
        frame(PUSH_PROMISE, END_HEADERS, 1, &[&[0, 0, 0, 2], &get()[..]].concat()),
    ] => Ends(ProtocolError);
}

// hpack.
cases! {
    hpack_2_3_3_1_index_that_does_not_exist: [whole_then(&[0xff])] => Ends(CompressionError);
    hpack_2_3_3_2_name_that_does_not_exist: [
        whole_then(b"\x7f\x0f\x01x"),
    ] => Ends(CompressionError);
    hpack_4_2_1_size_update_at_the_end: [whole_then(&[0x20])] => Ends(CompressionError);
    hpack_5_2_1_padding_of_more_than_seven_bits: [
        whole_then(b"\x00\x85\xf2\xb2\x4a\x84\xff\x84\x49\x50\x9f\xff"),
    ] => Ends(CompressionError);
    hpack_5_2_2_padding_of_zeros: [
        whole_then(b"\x00\x85\xf2\xb2\x4a\x84\xff\x83\x49\x50\x90"),
    ] => Ends(CompressionError);
    hpack_5_2_3_the_end_of_strings_within_one: [
        whole_then(b"\x00\x85\xf2\xb2\x4a\x84\xff\x86\x49\x50\xff\xff\xff\xfc"),
    ] => Ends(CompressionError);
    hpack_6_1_1_index_zero: [whole_then(&[0x80])] => Ends(CompressionError);
    hpack_6_3_1_size_update_above_what_we_said: [
        headers(WHOLE, &[&b"\x3f\xe2\x1f"[..], &get()].concat()),
    ] => Ends(CompressionError);
}
