//! The rules of RFC 9112 as tables, and the law that cuts do not matter.

use message::{BodyLength, FieldName, Method, RequestHead, ResponseHead, Version};
use proptest::prelude::*;

use super::*;

const LIMITS: Limits = Limits {
    head_bytes: 4096,
    fields: 20,
    line_bytes: 1024,
};

/// What came out of a request, however it was cut: the head, the content, the trailers, and what
/// was left; or the error.
#[derive(Debug, PartialEq)]
struct Events {
    head: String,
    length: BodyLength,
    content: Vec<u8>,
    trailers: Vec<u8>,
    left: Vec<u8>,
    whole: bool,
}

/// Feeds `pieces` one after the other. `None`: the head is not whole.
fn request_events(pieces: &[&[u8]]) -> Result<Option<Events>, BadMessage> {
    let mut reader = RequestReader::default();
    let mut head = RequestHead::default();
    let mut bytes = Vec::new();
    let mut body = None;
    let mut content = Vec::new();
    for piece in pieces {
        bytes.extend_from_slice(piece);
        if body.is_none() {
            match reader.receive(&bytes, &LIMITS, &mut head)? {
                Some(consumed) => {
                    bytes.drain(..consumed);
                    body = Some(BodyReader::new(head.body_length));
                }
                None => continue,
            }
        }
        let body = body.as_mut().expect("just set");
        while !bytes.is_empty() && !body.is_done() {
            let step = body.receive(&bytes)?;
            content.extend_from_slice(&bytes[step.data]);
            bytes.drain(..step.consumed);
        }
    }
    Ok(body.map(|body| Events {
        head: format!("{head:?}"),
        length: head.body_length,
        content,
        trailers: body.trailers().to_vec(),
        left: bytes,
        whole: body.is_done(),
    }))
}

fn request(wire: &[u8]) -> Result<RequestHead, BadMessage> {
    let mut head = RequestHead::default();
    match RequestReader::default().receive(wire, &LIMITS, &mut head)? {
        Some(_) => Ok(head),
        None => panic!("not whole: {:?}", wire.escape_ascii().to_string()),
    }
}

fn response(method: Method, wire: &[u8]) -> Result<ResponseHead, BadMessage> {
    let mut head = ResponseHead::default();
    match ResponseReader::default().receive(wire, &LIMITS, method, &mut head)? {
        Some(_) => Ok(head),
        None => panic!("not whole: {:?}", wire.escape_ascii().to_string()),
    }
}

#[test]
fn requests_that_could_be_read_in_two_ways_are_refused() {
    use BadMessage::*;
    let cases: &[(&str, BadMessage)] = &[
        // Line ends.
        ("GET / HTTP/1.1\nHost: a\r\n\r\n", BareLineEnd),
        ("GET / HTTP/1.1\r\nHost: a\n\r\n", BareLineEnd),
        ("GET / HTTP/1.1\r\nHost: a\r\n\n", BareLineEnd),
        ("GET / HTTP/1.1\r\nHost: a\rX: b\r\n\r\n", BareLineEnd),
        ("GET /\rHTTP/1.1 HTTP/1.1\r\nHost: a\r\n\r\n", BareLineEnd),
        ("\n\r\n", BareLineEnd),
        ("\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", RequestLine),
        // The request line.
        ("GET /\r\nHost: a\r\n\r\n", RequestLine),
        ("GET  / HTTP/1.1\r\nHost: a\r\n\r\n", Target),
        ("GET /  HTTP/1.1\r\nHost: a\r\n\r\n", Target),
        (" GET / HTTP/1.1\r\nHost: a\r\n\r\n", RequestLine),
        ("G@T / HTTP/1.1\r\nHost: a\r\n\r\n", RequestLine),
        ("GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n", RequestLine),
        ("GET / HTTP/1.1 \r\nHost: a\r\n\r\n", Target),
        ("GET / http/1.1\r\nHost: a\r\n\r\n", RequestLine),
        ("GET / HTTP/11\r\nHost: a\r\n\r\n", RequestLine),
        ("GET / HTTP/2.0\r\nHost: a\r\n\r\n", Version),
        ("GET / HTTP/0.9\r\nHost: a\r\n\r\n", Version),
        ("PRI * HTTP/2.0\r\n\r\n", Version),
        // Targets.
        ("GET /a b HTTP/1.1\r\nHost: a\r\n\r\n", Target),
        ("GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n", Target),
        ("GET /\\a HTTP/1.1\r\nHost: a\r\n\r\n", Target),
        ("GET /\u{e9} HTTP/1.1\r\nHost: a\r\n\r\n", Target),
        ("GET /\x7f HTTP/1.1\r\nHost: a\r\n\r\n", RequestLine),
        ("GET a HTTP/1.1\r\nHost: a\r\n\r\n", Target),
        ("GET * HTTP/1.1\r\nHost: a\r\n\r\n", Target),
        ("GET ftp://a/ HTTP/1.1\r\nHost: a\r\n\r\n", Target),
        ("GET http:///x HTTP/1.1\r\nHost: a\r\n\r\n", Target),
        ("GET http://u@a/ HTTP/1.1\r\nHost: a\r\n\r\n", Target),
        ("CONNECT / HTTP/1.1\r\nHost: a\r\n\r\n", Target),
        ("GET /../a HTTP/1.1\r\nHost: a\r\n\r\n", DotSegment),
        ("GET /a/%2e%2e/b HTTP/1.1\r\nHost: a\r\n\r\n", DotSegment),
        (
            "GET http://a/a/..%2f HTTP/1.1\r\nHost: a\r\n\r\n",
            DotSegment,
        ),
        // Hosts.
        ("GET / HTTP/1.1\r\n\r\n", Host),
        ("GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", Host),
        ("GET / HTTP/1.1\r\nHost:\r\n\r\n", Host),
        ("GET / HTTP/1.1\r\nHost: a, b\r\n\r\n", Host),
        ("GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", Host),
        ("GET http://b/ HTTP/1.1\r\nHost: a\r\n\r\n", Host),
        ("GET http://a:81/ HTTP/1.1\r\nHost: a\r\n\r\n", Host),
        ("GET / HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n", Host),
        // Field names.
        ("GET / HTTP/1.1\r\nHost : a\r\n\r\n", FieldName),
        ("GET / HTTP/1.1\r\nHost\t: a\r\n\r\n", FieldName),
        ("GET / HTTP/1.1\r\n Host: a\r\n\r\n", FieldName),
        ("GET / HTTP/1.1\r\nHost: a\r\n b\r\n\r\n", FieldName),
        ("GET / HTTP/1.1\r\nHost: a\r\n\tb\r\n\r\n", FieldName),
        ("GET / HTTP/1.1\r\nHost: a\r\n: b\r\n\r\n", FieldName),
        ("GET / HTTP/1.1\r\nHost: a\r\nb\r\n\r\n", FieldName),
        ("GET / HTTP/1.1\r\nHost: a\r\nb(c: d\r\n\r\n", FieldName),
        ("GET / HTTP/1.1\r\nHost: a\r\nb\x00: d\r\n\r\n", FieldName),
        ("GET / HTTP/1.1\r\nHost: a\r\n\u{e9}: d\r\n\r\n", FieldName),
        (
            "POST / HTTP/1.1\r\nHost: a\r\nContent_Length: 5\r\n\r\n",
            FieldName,
        ),
        (
            "GET / HTTP/1.1\r\nHost: a\r\nx_forwarded-For: b\r\n\r\n",
            FieldName,
        ),
        // Field values.
        ("GET / HTTP/1.1\r\nHost: a\r\nb: \x00\r\n\r\n", FieldValue),
        ("GET / HTTP/1.1\r\nHost: a\r\nb: c\x0bd\r\n\r\n", FieldValue),
        ("GET / HTTP/1.1\r\nHost: a\r\nb: \x7f\r\n\r\n", FieldValue),
        (
            "GET / HTTP/1.1\r\nHost: a\r\nConnection: a b\r\n\r\n",
            FieldValue,
        ),
        // Content-Length.
        (
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +1\r\n\r\n",
            ContentLength,
        ),
        (
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n",
            ContentLength,
        ),
        (
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length:\r\n\r\n",
            ContentLength,
        ),
        (
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1 1\r\n\r\n",
            ContentLength,
        ),
        (
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1,1\r\n\r\n",
            ContentLength,
        ),
        (
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0x1\r\n\r\n",
            ContentLength,
        ),
        (
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 18446744073709551617\r\n\r\n",
            ContentLength,
        ),
        (
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
            ContentLength,
        ),
        (
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n",
            ContentLength,
        ),
        // Transfer-Encoding.
        (
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, chunked\r\n\r\n",
            TransferEncoding,
        ),
        (
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
            TransferEncoding,
        ),
        (
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked;q=1\r\n\r\n",
            TransferEncoding,
        ),
        (
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: \"chunked\"\r\n\r\n",
            TransferEncoding,
        ),
        (
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n",
            TransferEncoding,
        ),
        (
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:\r\n\r\n",
            TransferEncoding,
        ),
        (
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: \x0bchunked\r\n\r\n",
            FieldValue,
        ),
        (
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: identity\r\n\r\n",
            TransferEncoding,
        ),
        (
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
            TransferEncoding,
        ),
        (
            "POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
            TransferEncoding,
        ),
        (
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
            AmbiguousFraming,
        ),
        // Expect.
        (
            "POST / HTTP/1.1\r\nHost: a\r\nExpect: tea\r\n\r\n",
            Expectation,
        ),
    ];
    for (wire, error) in cases {
        assert_eq!(request(wire.as_bytes()).err(), Some(*error), "{wire:?}");
    }
}

#[test]
fn heads_beyond_their_bounds_are_refused_before_they_are_whole() {
    let mut head = RequestHead::default();
    let long_line = vec![b'A'; LIMITS.line_bytes + 1];
    assert_eq!(
        RequestReader::default().receive(&long_line, &LIMITS, &mut head),
        Err(BadMessage::LineTooLong)
    );
    let mut large = b"GET / HTTP/1.1\r\nHost: a\r\nb: ".to_vec();
    large.resize(LIMITS.head_bytes + 1, b'x');
    assert_eq!(
        RequestReader::default().receive(&large, &LIMITS, &mut RequestHead::default()),
        Err(BadMessage::FieldsTooLarge)
    );
    let many = format!(
        "GET / HTTP/1.1\r\nHost: a\r\n{}\r\n",
        "b: c\r\n".repeat(LIMITS.fields)
    );
    assert_eq!(
        request(many.as_bytes()).err(),
        Some(BadMessage::FieldsTooLarge)
    );
    let options = format!(
        "GET / HTTP/1.1\r\nHost: a\r\nConnection: {}\r\n\r\n",
        "b,".repeat(99)
    );
    assert_eq!(
        request(options.as_bytes()).err(),
        Some(BadMessage::FieldsTooLarge)
    );
}

#[test]
fn a_bare_line_feed_behind_a_limit_is_not_what_is_told() {
    // Arriving in one piece or in many, the limit is what such a line breaks first.
    let line = [&vec![b'A'; LIMITS.line_bytes][..], b"\n"].concat();
    let head = [&vec![b'A'; LIMITS.head_bytes][..], b"\n"].concat();
    for size in [1, line.len()] {
        let pieces: Vec<&[u8]> = line.chunks(size).collect();
        assert_eq!(request_events(&pieces), Err(BadMessage::LineTooLong));
    }
    assert_eq!(
        response(Method::Get, &head).err(),
        Some(BadMessage::FieldsTooLarge)
    );
}

#[test]
fn a_request_is_understood() {
    let head = request(
        b"\r\nPOST http://Shop.Example/a/b?c=/../d HTTP/1.1\r\nhost: shop.example\r\n\
          Connection: x-one , close\r\nX-One: 1\r\nTE: trailers\r\nTransfer-Encoding: Chunked\r\n\
          Expect: 100-Continue\r\nX-Two: \xe9 two \t\r\n\r\n",
    )
    .unwrap();
    assert_eq!(head.method, Method::Post);
    assert_eq!(head.text(head.path), b"/a/b");
    assert_eq!(head.text(head.path_and_query), b"/a/b?c=/../d");
    assert_eq!(head.text(head.authority), b"Shop.Example");
    assert_eq!(head.body_length, BodyLength::Chunked);
    assert!(!head.keep_alive && head.expects_continue && head.accepts_trailers);
    let kept: Vec<&[u8]> = head
        .fields
        .iter()
        .filter(|field| !field.hop_by_hop)
        .map(|f| head.text(f.name))
        .collect();
    assert_eq!(kept, [&b"host"[..], b"Expect", b"X-Two"]);
    assert_eq!(head.text(head.fields.last().unwrap().value), b"\xe9 two");
}

#[test]
fn framing_fields_named_in_connection_stay() {
    let head = request(
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nConnection: host, content-length\r\n\r\n",
    )
    .unwrap();
    assert!(
        head.fields
            .iter()
            .all(|f| f.hop_by_hop == (f.id == FieldName::Connection))
    );
}

#[test]
fn an_upgrade_needs_its_option_a_token_and_no_body() {
    let upgrade = |fields: &str| {
        let wire = format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n");
        request(wire.as_bytes()).unwrap().upgrade.is_some()
    };
    assert!(upgrade(
        "Connection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n"
    ));
    assert!(!upgrade("Upgrade: websocket\r\n"));
    assert!(!upgrade(
        "Connection: upgrade\r\nUpgrade: websocket, h2c\r\n"
    ));
    assert!(!upgrade(
        "Connection: upgrade\r\nUpgrade: websocket\r\nUpgrade: h2c\r\n"
    ));
    assert!(!upgrade(
        "Connection: upgrade\r\nUpgrade: websocket\r\nContent-Length: 5\r\n"
    ));
}

#[test]
fn http_1_0_closes_unless_it_says_otherwise() {
    let head = request(b"GET / HTTP/1.0\r\n\r\n").unwrap();
    assert_eq!(head.version, Version::Http10);
    assert!(!head.keep_alive && head.authority.is_empty());
    assert!(
        request(b"GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n")
            .unwrap()
            .keep_alive
    );
}

#[test]
fn a_response_that_says_how_busy_the_endpoint_is_is_marked() {
    for (field, is_feedback) in [
        ("Endpoint-Load-Metrics: TEXT eps=1", true),
        ("retry-after: 1", true),
        ("X-Rif: 3", true),
        ("x-latency-us: 3", true),
        ("X-Riff: 3", false),
    ] {
        let wire = format!("HTTP/1.1 200 OK\r\n{field}\r\nContent-Length: 0\r\n\r\n");
        let head = response(Method::Get, wire.as_bytes()).unwrap();
        assert_eq!(head.has_feedback, is_feedback, "{field}");
    }
}

#[test]
fn responses_that_could_be_read_in_two_ways_are_refused() {
    use BadMessage::*;
    let cases: &[(&str, BadMessage)] = &[
        ("HTTP/1.1 200 OK\nA: b\r\n\r\n", BareLineEnd),
        ("HTTP/1.1 20 OK\r\n\r\n", StatusLine),
        ("HTTP/1.1 2000 OK\r\n\r\n", StatusLine),
        ("HTTP/1.1 099 OK\r\n\r\n", StatusLine),
        ("HTTP/1.1 200 O\x00K\r\n\r\n", StatusLine),
        ("HTTP/2.0 200 OK\r\n\r\n", StatusLine),
        ("ICY 200 OK\r\n\r\n", StatusLine),
        ("\r\n", StatusLine),
        ("HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n", FieldName),
        ("HTTP/1.1 200 OK\r\nA : b\r\n\r\n", FieldName),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
            ContentLength,
        ),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
            AmbiguousFraming,
        ),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
            TransferEncoding,
        ),
        (
            "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
            TransferEncoding,
        ),
    ];
    for (wire, error) in cases {
        assert_eq!(
            response(Method::Get, wire.as_bytes()).err(),
            Some(*error),
            "{wire:?}"
        );
    }
}

#[test]
fn the_length_of_a_response_follows_the_rules_in_order() {
    let length = |method, wire: &str| response(method, wire.as_bytes()).unwrap().body_length;
    let sized = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n";
    assert_eq!(length(Method::Get, sized), BodyLength::Exact(5));
    assert_eq!(length(Method::Head, sized), BodyLength::Empty);
    for code in [100, 103, 204, 304] {
        let wire = format!("HTTP/1.1 {code} x\r\nContent-Length: 5\r\n\r\n");
        assert_eq!(length(Method::Get, &wire), BodyLength::Empty, "{code}");
    }
    let chunked = "HTTP/1.1 200\r\nTransfer-Encoding: chunked\r\n\r\n";
    assert_eq!(length(Method::Get, chunked), BodyLength::Chunked);
    let open = response(Method::Get, b"HTTP/1.1 200 OK\r\n\r\n").unwrap();
    assert_eq!(open.body_length, BodyLength::UntilClose);
    assert!(!open.keep_alive);
    let kept = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nKeep-Alive: max=5, timeout=7\r\n\r\n";
    assert_eq!(
        response(Method::Get, kept).unwrap().keep_alive_seconds,
        Some(7)
    );
}

#[test]
fn chunks_that_readers_disagree_about_are_refused() {
    use BadMessage::*;
    let long_extension = format!("1;{}\r\na\r\n", "x".repeat(300));
    let long_trailers = format!("0\r\na: {}\r\n\r\n", "x".repeat(9000));
    let cases: &[(&str, BadMessage)] = &[
        ("\r\n", ChunkSize),
        ("g\r\n", ChunkSize),
        ("+1\r\na\r\n", ChunkSize),
        ("-1\r\na\r\n", ChunkSize),
        (" 1\r\na\r\n", ChunkSize),
        ("1 \r\na\r\n", ChunkSize),
        ("1\t;a\r\na\r\n", ChunkSize),
        ("0x1\r\na\r\n", ChunkSize),
        ("10000000000000001\r\na\r\n", ChunkSize),
        ("0000000000000000001\r\na\r\n", ChunkSize),
        ("1\na\r\n", ChunkSize),
        ("1\r\nab\r\n", ChunkSize),
        ("1\r\na\n", ChunkSize),
        ("1\rXa\r\n", BareLineEnd),
        ("1;a\nb\r\na\r\n", ChunkExtension),
        ("1;a\x00\r\na\r\n", ChunkExtension),
        ("1;\"a\rb\"\r\na\r\n", BareLineEnd),
        (&long_extension, ChunkExtension),
        ("0\r\na: b\n\r\n", BareLineEnd),
        ("0\r\n b: c\r\n\r\n", Trailers),
        ("0\r\nnonsense\r\n\r\n", Trailers),
        (&long_trailers, Trailers),
    ];
    let head = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    for (body, error) in cases {
        let wire = format!("{head}{body}");
        assert_eq!(
            request_events(&[wire.as_bytes()]).err(),
            Some(*error),
            "{body:?}"
        );
    }
}

#[test]
fn trailers_are_kept_but_for_those_that_must_not_come_late() {
    let wire = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n\
        3;x=\"y\"\r\nabc\r\n0\r\nGrpc-Status: 0\r\nContent-Length: 9\r\nHost: b\r\n\
        X-Forwarded-For: c\r\n\r\nnext";
    let events = request_events(&[wire]).unwrap().unwrap();
    assert_eq!(events.content, b"abc");
    assert_eq!(events.trailers, b"Grpc-Status: 0\r\n");
    assert_eq!(events.left, b"next");
}

#[test]
fn a_cut_body_is_told_from_a_whole_one() {
    let mut exact = BodyReader::new(BodyLength::Exact(3));
    exact.receive(b"ab").unwrap();
    assert!(!exact.receive_close());
    let mut chunked = BodyReader::new(BodyLength::Chunked);
    chunked.receive(b"0\r\n").unwrap();
    assert!(!chunked.receive_close());
    assert!(BodyReader::new(BodyLength::UntilClose).receive_close());
}

#[test]
fn chunks_written_are_read_back() {
    let mut wire = Vec::new();
    let large = vec![b'x'; 70_000];
    BodyWriter::Chunked.write(&large, &mut wire);
    BodyWriter::Chunked.write(b"", &mut wire);
    BodyWriter::Chunked.write(b"y", &mut wire);
    BodyWriter::Chunked.finish(b"A: b\r\n", &mut wire);
    let mut reader = BodyReader::new(BodyLength::Chunked);
    let mut content = Vec::new();
    let mut at = 0;
    while !reader.is_done() {
        let step = reader.receive(&wire[at..]).unwrap();
        content.extend_from_slice(&wire[at..][step.data]);
        at += step.consumed;
    }
    assert_eq!(at, wire.len());
    assert_eq!(content.len(), 70_001);
    assert_eq!(reader.trailers(), b"A: b\r\n");
}

#[test]
fn kept_fields_are_copied_in_runs() {
    let head =
        request(b"GET / HTTP/1.1\r\nHost: a\r\nB: 1\r\nTE: x\r\nC:2\r\nD: 3\r\n\r\n").unwrap();
    let mut out = Vec::new();
    write_request_line(&head, &mut out);
    write_fields(
        &head.bytes,
        &head.fields,
        |field| !field.hop_by_hop,
        &mut out,
    );
    write_field("E", b"4", &mut out);
    assert_eq!(
        out,
        b"GET / HTTP/1.1\r\nHost: a\r\nB: 1\r\nC:2\r\nD: 3\r\nE: 4\r\n"
    );
}

/// Bytes that look like a request now and then, so that every state is reached.
fn requestish() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        Just(b"GET / HTTP/1.1\r\n".to_vec()),
        Just(b"POST http://a/b?c HTTP/1.1\r\n".to_vec()),
        Just(b"Host: a\r\n".to_vec()),
        Just(b"Transfer-Encoding: chunked\r\n".to_vec()),
        Just(b"Content-Length: 5\r\n".to_vec()),
        Just(b"Connection: close, x\r\n".to_vec()),
        Just(b"\r\n".to_vec()),
        Just(b"3\r\nabc\r\n".to_vec()),
        Just(b"0\r\nx: y\r\n\r\n".to_vec()),
        Just(b"\n".to_vec()),
        proptest::collection::vec(any::<u8>(), 0..8),
        "[a-zA-Z-]{1,8}: [ -~]{0,12}\r\n".prop_map(String::into_bytes),
    ];
    proptest::collection::vec(piece, 0..10).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn a_request_gives_the_same_events_wherever_it_is_cut(
        noise in requestish(),
        with_start in any::<bool>(),
        cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..6),
    ) {
        let mut wire =
            if with_start { b"POST / HTTP/1.1\r\nHost: a\r\n".to_vec() } else { Vec::new() };
        wire.extend_from_slice(&noise);
        let mut places: Vec<usize> = cuts.iter().map(|cut| cut.index(wire.len() + 1)).collect();
        places.sort_unstable();
        let mut pieces = Vec::new();
        let mut from = 0;
        for place in places.into_iter().chain([wire.len()]) {
            pieces.push(&wire[from..place]);
            from = place;
        }
        prop_assert_eq!(request_events(&pieces), request_events(&[&wire]));
    }

    #[test]
    fn a_request_gives_the_same_events_byte_by_byte(noise in requestish()) {
        let wire = [&b"POST / HTTP/1.1\r\nHost: a\r\n"[..], &noise].concat();
        let bytes: Vec<&[u8]> = wire.chunks(1).collect();
        prop_assert_eq!(request_events(&bytes), request_events(&[&wire]));
    }

    #[test]
    fn a_response_is_read_or_refused_but_never_panics(wire in requestish(), ok in any::<bool>()) {
        let start: &[u8] = if ok { b"HTTP/1.1 200 OK\r\n" } else { b"" };
        let wire = [start, &wire].concat();
        let mut head = ResponseHead::default();
        let result = ResponseReader::default().receive(&wire, &LIMITS, Method::Get, &mut head);
        if let Ok(Some(consumed)) = result {
            prop_assert!(consumed <= wire.len());
        }
    }
}
