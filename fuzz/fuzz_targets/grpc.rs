//! Fields and content of gRPC: nothing depends on where content is cut, and what is written is read.
#![no_main]

use libfuzzer_sys::fuzz_target;
use wire::grpc::{
    Code, Frame, Kind, WebRequest, WebResponse, find_field, parse_timeout, read_frame,
    read_health_response,
};

fuzz_target!(|input: &[u8]| {
    fields(input);
    if let Some((content, pieces)) = fuzz::cut(input) {
        requests(content, &pieces);
        responses(content, &pieces);
    }
    let mut rest = input;
    while let Some((_, behind)) = read_frame(rest) {
        assert!(behind.len() < rest.len(), "a frame of nothing");
        rest = behind;
    }
    read_health_response(input);
});

fn fields(input: &[u8]) {
    parse_timeout(input);
    Code::from_field(find_field(input, "grpc-status").unwrap_or(input));
    if let Some(kind) = Kind::of(input) {
        let mut out = Vec::new();
        Kind::Grpc.write_content_type(input, &mut out);
        assert_eq!(Kind::of(&out), Some(Kind::Grpc));
        let mut back = Vec::new();
        kind.write_content_type(&out, &mut back);
        assert!(back.eq_ignore_ascii_case(input), "not the same again");
    }
}

fn requests(content: &[u8], pieces: &[&[u8]]) {
    let receive = |kind, pieces: &[&[u8]]| {
        let (mut web, mut out) = (WebRequest::new(kind), Vec::new());
        for piece in pieces {
            web.receive(piece, &mut out)?;
        }
        web.finish().map(|()| out)
    };
    for kind in [Kind::Web, Kind::WebText] {
        assert_eq!(
            receive(kind, pieces),
            receive(kind, &[content]),
            "cut otherwise"
        );
    }
}

fn responses(content: &[u8], pieces: &[&[u8]]) {
    let mut web = WebResponse::new(Kind::WebText);
    let (mut text, mut bytes) = (Vec::new(), Vec::new());
    for piece in pieces {
        web.receive(piece, &mut text);
    }
    web.finish(content, &mut text);
    let mut decoder = WebRequest::new(Kind::WebText);
    let decoded = decoder.receive(&text, &mut bytes);
    decoded.expect("what is written is base64");
    let trailers = bytes
        .strip_prefix(content)
        .expect("the content comes first");
    let Some((Frame::Trailers(lines), [])) = read_frame(trailers) else {
        panic!("trailers come last");
    };
    assert!(lines.eq_ignore_ascii_case(content), "other trailers");
}
