//! Each rule of RFC 9113 §8 by its name; then what holds for any head.

use message::{
    BodyLength, FieldName, Method, RequestHead, ResponseHead, Status, TargetForm, Version,
};
use proptest::prelude::*;

use super::*;
use crate::h1::{BadMessage, Limits, RequestReader, ResponseReader};
use crate::h2::{Decoder, Encoder};

const LIMITS: Limits = Limits {
    head_bytes: 4096,
    fields: 20,
    line_bytes: 256,
};

const GET: [(&str, &str); 4] = [
    (":method", "GET"),
    (":scheme", "https"),
    (":authority", "shop.example"),
    (":path", "/lamps?page=2"),
];

const WEBSOCKET: [(&str, &str); 5] = [
    (":method", "CONNECT"),
    (":protocol", "websocket"),
    (":scheme", "https"),
    (":path", "/chat"),
    (":authority", "shop.example"),
];

type Fields<'a> = &'a [(&'a str, &'a str)];

// Requests.

#[test]
fn a_request_becomes_the_text_of_http_1() {
    let head = request(&[&GET, &[("accept", "*/*"), ("user-agent", "test")]]).unwrap();
    assert_eq!(
        text(&head.bytes),
        "GET /lamps?page=2 HTTP/1.1\r\nhost: shop.example\r\naccept: */*\r\nuser-agent: test\r\n\r\n"
    );
    assert_eq!(head.method, Method::Get);
    assert_eq!(head.form, TargetForm::Origin);
    assert_eq!(head.version, Version::Http2);
    assert_eq!(head.body_length, BodyLength::UntilEnd);
    assert!(head.keep_alive && !head.is_extended_connect && head.upgrade.is_none());
    for (span, expected) in [
        (head.method_text, "GET"),
        (head.path, "/lamps"),
        (head.path_and_query, "/lamps?page=2"),
        (head.authority, "shop.example"),
    ] {
        assert_eq!(text(head.text(span)), expected);
    }
    assert_eq!(head.field(FieldName::Accept), Some(&b"*/*"[..]));
    assert_eq!(head.field(FieldName::Host), Some(&b"shop.example"[..]));
}

#[test]
fn pseudo_fields_may_come_in_any_order() {
    let mut fields = GET;
    fields.reverse();
    let head = request(&[&fields]).unwrap();
    assert_eq!(
        text(&head.bytes),
        "GET /lamps?page=2 HTTP/1.1\r\nhost: shop.example\r\n\r\n"
    );
}

#[test]
fn a_pseudo_field_that_is_missing_repeated_unknown_or_late_is_malformed() {
    for missing in [0, 1, 3] {
        let mut fields = GET.to_vec();
        fields.remove(missing);
        is_malformed(&[&fields], BadMessage::RequestLine);
    }
    for pseudo in GET {
        is_malformed(&[&GET, &[pseudo]], BadMessage::RequestLine);
        let late = [("accept", "*/*"), pseudo];
        is_malformed(&[&GET, &late], BadMessage::RequestLine);
    }
    is_malformed(&[&GET, &[(":status", "200")]], BadMessage::RequestLine);
    is_malformed(&[&GET, &[(":other", "1")]], BadMessage::FieldName);
    is_malformed(&[&GET, &[(":", "1")]], BadMessage::FieldName);
    is_malformed(&[&[(":path", "/")], &GET], BadMessage::RequestLine);
}

#[test]
fn a_method_is_a_token_and_a_scheme_http_or_https() {
    for (pseudo, value) in [
        (":method", ""),
        (":method", "GE T"),
        (":method", "GET\r\n"),
        (":scheme", ""),
        (":scheme", "ftp"),
        (":scheme", "https\0"),
    ] {
        is_malformed(&[&with(pseudo, value)], BadMessage::RequestLine);
    }
    let head = request(&[&with(":method", "PURGE")]).unwrap();
    assert_eq!(
        (head.method, text(head.text(head.method_text))),
        (Method::Other, "PURGE".into())
    );
}

#[test]
fn a_path_is_one_that_http_1_would_take() {
    for (path, bad) in [
        ("", BadMessage::Target),
        ("lamps", BadMessage::Target),
        ("http://other.example/", BadMessage::Target),
        ("/a b", BadMessage::Target),
        ("/a\r\nx: y", BadMessage::Target),
        ("/a#b", BadMessage::Target),
        ("/a\\b", BadMessage::Target),
        ("/é", BadMessage::Target),
        ("*", BadMessage::Target),
        ("*/", BadMessage::Target),
        ("/a/../b", BadMessage::DotSegment),
        ("/a/%2e%2e/b", BadMessage::DotSegment),
    ] {
        is_malformed(&[&with(":path", path)], bad);
    }
}

#[test]
fn the_asterisk_is_for_options_alone() {
    let mut fields = with(":path", "*");
    fields[0].1 = "OPTIONS";
    let head = request(&[&fields]).unwrap();
    assert_eq!(head.form, TargetForm::Asterisk);
    assert!(text(&head.bytes).starts_with("OPTIONS * HTTP/1.1\r\n"));
}

#[test]
fn the_authority_and_the_host_agree() {
    let head = request(&[&GET, &[("host", "SHOP.example"), ("accept", "*/*")]]).unwrap();
    assert_eq!(
        text(&head.bytes),
        "GET /lamps?page=2 HTTP/1.1\r\nhost: shop.example\r\naccept: */*\r\n\r\n"
    );
    is_malformed(&[&GET, &[("host", "other.example")]], BadMessage::Host);
    let twice = [("host", "shop.example"), ("host", "shop.example")];
    is_malformed(&[&GET, &twice], BadMessage::Host);
}

#[test]
fn a_host_stands_in_for_the_authority() {
    let mut fields = GET.to_vec();
    fields.remove(2);
    let head = request(&[&fields, &[("accept", "*/*"), ("host", "shop.example")]]).unwrap();
    assert_eq!(text(head.text(head.authority)), "shop.example");
    is_malformed(&[&fields], BadMessage::Host);
    is_malformed(&[&fields, &[("host", "a b")]], BadMessage::Host);
    let twice = [("host", "a"), ("host", "a")];
    is_malformed(&[&fields, &twice], BadMessage::Host);
    for authority in ["", "user@shop.example", "a,b", "shop.example/", "a\r\nx: y"] {
        is_malformed(&[&with(":authority", authority)], BadMessage::Host);
    }
}

#[test]
fn fields_about_the_connection_are_malformed() {
    for name in [
        "connection",
        "keep-alive",
        "proxy-connection",
        "transfer-encoding",
        "upgrade",
    ] {
        is_malformed(&[&GET, &[(name, "close")]], BadMessage::FieldName);
        let block = block(&[&[(":status", "200"), (name, "close")]]);
        let bad = HeadError::Malformed(BadMessage::FieldName);
        assert_eq!(response(&block, Method::Get).unwrap_err(), bad, "{name}");
    }
}

#[test]
fn te_says_trailers_or_nothing() {
    let head = request(&[&GET, &[("te", "trailers")]]).unwrap();
    assert!(head.accepts_trailers);
    assert!(head.fields.last().unwrap().hop_by_hop);
    assert!(!request(&[&GET]).unwrap().accepts_trailers);
    for value in ["gzip", "trailers, gzip", ""] {
        is_malformed(&[&GET, &[("te", value)]], BadMessage::FieldValue);
    }
}

#[test]
fn names_are_tokens_in_lower_case() {
    for name in [
        "", "Accept", "accepT", "a b", "a:", "a\r", "a\0", "é", " a", "X-Y",
    ] {
        is_malformed(&[&GET, &[(name, "1")]], BadMessage::FieldName);
    }
}

#[test]
fn names_that_endpoints_take_for_others_are_malformed() {
    for name in [
        "content_length",
        "transfer_encoding",
        "x_forwarded-for",
        "ho_st",
    ] {
        let fields = [(name, "1")];
        match name {
            "ho_st" => assert!(request(&[&GET, &fields]).is_ok()),
            _ => is_malformed(&[&GET, &fields], BadMessage::FieldName),
        }
    }
}

#[test]
fn values_hold_no_control_bytes_and_no_blanks_around_them() {
    for value in [
        "a\r\nb: c",
        "a\nb",
        "a\rb",
        "a\0",
        "\x1b",
        "\x7f",
        " a",
        "a ",
        "\ta",
        "a\t",
        " ",
    ] {
        is_malformed(&[&GET, &[("x", value)]], BadMessage::FieldValue);
        is_malformed(&[&GET, &[("cookie", value)]], BadMessage::FieldValue);
        let block = block(&[&[(":status", "200"), ("x", value)]]);
        let bad = HeadError::Malformed(BadMessage::FieldValue);
        assert_eq!(response(&block, Method::Get).unwrap_err(), bad, "{value:?}");
    }
    let head = request(&[&GET, &[("x", "a \t b"), ("y", "é"), ("z", "")]]).unwrap();
    assert_eq!(head.fields.len(), 4);
}

#[test]
fn cookie_crumbs_are_joined_into_one_line() {
    let crumbs = [
        ("cookie", "a=1"),
        ("accept", "*/*"),
        ("cookie", "b=2"),
        ("cookie", "c=3; d=4"),
    ];
    let head = request(&[&GET, &crumbs]).unwrap();
    assert_eq!(
        text(&head.bytes),
        "GET /lamps?page=2 HTTP/1.1\r\nhost: shop.example\r\naccept: */*\r\n\
         cookie: a=1; b=2; c=3; d=4\r\n\r\n"
    );
    assert_eq!(head.fields.len(), 3);
    let first = request(&[&GET, &[("cookie", "a=1")]]).unwrap();
    assert!(text(&first.bytes).ends_with("cookie: a=1\r\n\r\n"));
    let empty = [("cookie", ""), ("cookie", "a=1"), ("cookie", "")];
    let head = request(&[&GET, &empty]).unwrap();
    assert!(text(&head.bytes).ends_with("\r\ncookie: a=1\r\n\r\n"));
}

#[test]
fn a_content_length_is_one_number() {
    let head = request(&[&GET, &[("content-length", "42")]]).unwrap();
    assert_eq!(head.body_length, BodyLength::Exact(42));
    for bad in ["", "+1", "1,1", "0x1", "-1", "9999999999999999999", "1 1"] {
        is_malformed(
            &[&GET, &[("content-length", bad)]],
            BadMessage::ContentLength,
        );
    }
    for second in ["1", "2"] {
        let twice = [("content-length", "1"), ("content-length", second)];
        is_malformed(&[&GET, &twice], BadMessage::ContentLength);
    }
}

#[test]
fn a_stream_that_ends_with_its_head_has_no_content() {
    assert_eq!(end_with_head(BodyLength::UntilEnd), Ok(BodyLength::Empty));
    assert_eq!(end_with_head(BodyLength::Empty), Ok(BodyLength::Empty));
    assert_eq!(
        end_with_head(BodyLength::Exact(0)),
        Ok(BodyLength::Exact(0))
    );
    let bad = HeadError::Malformed(BadMessage::ContentLength);
    assert_eq!(end_with_head(BodyLength::Exact(1)), Err(bad));
}

#[test]
fn the_only_expectation_is_100_continue() {
    assert!(
        request(&[&GET, &[("expect", "100-Continue")]])
            .unwrap()
            .expects_continue
    );
    is_malformed(&[&GET, &[("expect", "more")]], BadMessage::Expectation);
}

#[test]
fn connect_has_an_authority_and_neither_scheme_nor_path() {
    let connect = [(":method", "CONNECT"), (":authority", "db.example:5432")];
    let head = request(&[&connect]).unwrap();
    assert_eq!(
        text(&head.bytes),
        "CONNECT db.example:5432 HTTP/1.1\r\nhost: db.example:5432\r\n\r\n"
    );
    assert_eq!(
        (head.method, head.form),
        (Method::Connect, TargetForm::Authority)
    );
    assert_eq!(head.body_length, BodyLength::Empty);
    is_malformed(&[&connect[..1]], BadMessage::RequestLine);
    is_malformed(&[&connect, &[(":path", "/")]], BadMessage::RequestLine);
    is_malformed(
        &[&connect, &[(":scheme", "https")]],
        BadMessage::RequestLine,
    );
    is_malformed(&[&connect, &[("host", "other")]], BadMessage::Host);
    let path = [(":method", "CONNECT"), (":authority", "/")];
    is_malformed(&[&path], BadMessage::Target);
}

#[test]
fn extended_connect_becomes_a_get_that_upgrades() {
    let head = request(&[&WEBSOCKET, &[("sec-websocket-version", "13")]]).unwrap();
    assert_eq!(
        text(&head.bytes),
        "GET /chat HTTP/1.1\r\nhost: shop.example\r\nupgrade: websocket\r\n\
         sec-websocket-version: 13\r\n\r\n"
    );
    assert!(head.is_extended_connect);
    assert_eq!((head.method, head.form), (Method::Get, TargetForm::Origin));
    assert_eq!(head.body_length, BodyLength::Empty);
    assert_eq!(
        head.upgrade.map(|span| text(head.text(span))),
        Some("websocket".into())
    );
    let upgrade = head
        .fields
        .iter()
        .find(|field| field.id == FieldName::Upgrade);
    assert!(upgrade.unwrap().hop_by_hop);
}

#[test]
fn extended_connect_needs_every_pseudo_field_and_our_permission() {
    for missing in [0, 2, 3, 4] {
        let mut fields = WEBSOCKET.to_vec();
        fields.remove(missing);
        is_malformed(&[&fields], BadMessage::RequestLine);
    }
    is_malformed(
        &[&GET, &[(":protocol", "websocket")]],
        BadMessage::RequestLine,
    );
    let mut fields = WEBSOCKET;
    fields[1].1 = "web socket";
    is_malformed(&[&fields], BadMessage::RequestLine);
    let mut head = RequestHead::default();
    let block = block(&[&WEBSOCKET]);
    assert_eq!(
        read_request(&mut Decoder::default(), &block, &LIMITS, false, &mut head),
        Err(HeadError::Malformed(BadMessage::RequestLine))
    );
}

// Responses.

#[test]
fn a_response_becomes_the_text_of_http_1() {
    let fields = [(":status", "200"), ("server", "test"), ("x-rif", "3")];
    let head = response(&block(&[&fields]), Method::Get).unwrap();
    assert_eq!(
        text(&head.bytes),
        "HTTP/1.1 200 OK\r\nserver: test\r\nx-rif: 3\r\n\r\n"
    );
    assert_eq!((head.status, head.version), (Status::OK, Version::Http2));
    assert_eq!(text(head.text(head.reason)), "OK");
    assert_eq!(head.body_length, BodyLength::UntilEnd);
    assert!(head.keep_alive && head.has_feedback && head.upgrade.is_none());
    let head = response(&block(&[&[(":status", "299")]]), Method::Get).unwrap();
    assert_eq!(text(&head.bytes), "HTTP/1.1 299 \r\n\r\n");
    assert!(!head.has_feedback && head.reason.is_empty());
}

#[test]
fn a_status_is_three_digits_first_and_once_and_not_101() {
    let ok = (":status", "200");
    for fields in [
        &[][..],
        &[(":status", "")],
        &[(":status", "20")],
        &[(":status", "2000")],
        &[(":status", "099")],
        &[(":status", "+20")],
        &[(":status", "101")],
        &[ok, ok],
        &[("server", "a"), ok],
        &[ok, (":method", "GET")],
        &[(":path", "/"), ok],
    ] {
        let bad = HeadError::Malformed(BadMessage::StatusLine);
        assert_eq!(
            response(&block(&[fields]), Method::Get).unwrap_err(),
            bad,
            "{fields:?}"
        );
    }
}

#[test]
fn a_response_has_a_body_unless_its_status_or_the_method_says_otherwise() {
    for (method, status, length, expected) in [
        (Method::Get, "200", "5", BodyLength::Exact(5)),
        (Method::Head, "200", "5", BodyLength::Empty),
        (Method::Get, "304", "5", BodyLength::Empty),
        (Method::Get, "204", "0", BodyLength::Empty),
        (Method::Get, "103", "0", BodyLength::Empty),
        (Method::Connect, "200", "5", BodyLength::Empty),
        (Method::Connect, "403", "5", BodyLength::Exact(5)),
    ] {
        let fields = [(":status", status), ("content-length", length)];
        let head = response(&block(&[&fields]), method).unwrap();
        assert_eq!(head.body_length, expected, "{method:?} {status}");
    }
    for fields in [&["1", "1"][..], &["x"]] {
        let lines: Vec<_> = fields
            .iter()
            .map(|value| ("content-length", *value))
            .collect();
        let bad = HeadError::Malformed(BadMessage::ContentLength);
        let block = block(&[&[(":status", "200")], &lines]);
        assert_eq!(response(&block, Method::Get).unwrap_err(), bad);
    }
}

// Trailers.

#[test]
fn trailers_become_lines_without_those_that_must_not_come_late() {
    let fields = [
        ("grpc-status", "0"),
        ("content-length", "5"),
        ("x-end", ""),
        ("host", "a"),
    ];
    assert_eq!(
        trailers(&fields),
        Ok("grpc-status: 0\r\nx-end: \r\n".to_owned())
    );
    assert_eq!(trailers(&[]), Ok(String::new()));
}

#[test]
fn trailers_with_pseudo_fields_or_malformed_ones_are_malformed() {
    for field in [
        (":path", "/"),
        (":status", "200"),
        ("X", "1"),
        ("", "1"),
        ("x", "a\r\nb: c"),
        ("x", " a"),
    ] {
        let bad = HeadError::Malformed(BadMessage::Trailers);
        assert_eq!(trailers(&[field]), Err(bad), "{field:?}");
    }
    let bad = HeadError::Malformed(BadMessage::FieldName);
    assert_eq!(trailers(&[("connection", "close")]), Err(bad));
}

// Limits.

#[test]
fn a_head_is_too_large_by_its_bytes_as_text() {
    let value = "v".repeat(LIMITS.head_bytes - 200);
    assert!(request(&[&GET, &[("x", &value)]]).is_ok());
    let value = "v".repeat(LIMITS.head_bytes - 10);
    assert_eq!(
        request(&[&GET, &[("x", &value)]]).unwrap_err(),
        HeadError::TooLarge
    );
    let status = [(":status", "200"), ("x", &value)];
    assert_eq!(
        response(&block(&[&status]), Method::Get).unwrap_err(),
        HeadError::TooLarge
    );
    let value = "v".repeat(LIMITS.head_bytes);
    assert_eq!(trailers(&[("x", &value)]), Err(HeadError::TooLarge));
}

#[test]
fn a_head_is_too_large_by_its_fields_and_crumbs_are_fields() {
    for name in ["x", "cookie"] {
        let fields = vec![(name, "1"); LIMITS.fields - 1];
        assert!(request(&[&GET, &fields]).is_ok());
        let fields = vec![(name, "1"); LIMITS.fields];
        assert_eq!(request(&[&GET, &fields]).unwrap_err(), HeadError::TooLarge);
    }
    let fields = vec![("x", "1"); LIMITS.fields + 1];
    assert_eq!(trailers(&fields), Err(HeadError::TooLarge));
}

#[test]
fn a_request_line_has_a_limit_of_its_own() {
    let path = format!("/{}", "a".repeat(LIMITS.line_bytes));
    let error = request(&[&with(":path", &path)]).unwrap_err();
    assert_eq!(error, HeadError::TooLarge);
}

/// CVE-2016-6581: one byte a line, each of which stands for kilobytes.
#[test]
fn a_block_that_expands_stops_costing_at_the_limit() {
    let mut decoder = Decoder::default();
    let mut block = block(&[&GET]);
    block.extend(literal(0x40, "x", &"v".repeat(3000)));
    block.extend([0xbe; 10_000]);
    let mut head = RequestHead::default();
    let limits = Limits {
        fields: usize::MAX,
        ..LIMITS
    };
    let read = read_request(&mut decoder, &block, &limits, false, &mut head);
    assert_eq!(read, Err(HeadError::TooLarge));
    assert!(head.bytes.len() <= LIMITS.head_bytes + 4096);
}

#[test]
fn the_table_survives_a_head_that_is_refused() {
    for refused in [
        vec![("Upper", "1")],
        vec![("connection", "close")],
        vec![(":late", "1")],
        vec![("x", "1"); LIMITS.fields + 1],
    ] {
        let mut decoder = Decoder::default();
        let mut first = block(&[&GET, &refused]);
        first.extend(literal(0x40, "kept", "yes"));
        let mut head = RequestHead::default();
        assert!(read_request(&mut decoder, &first, &LIMITS, false, &mut head).is_err());
        head.clear();
        let second = [block(&[&GET]), vec![0xbe]].concat();
        read_request(&mut decoder, &second, &LIMITS, false, &mut head).unwrap();
        assert!(text(&head.bytes).ends_with("\r\nkept: yes\r\n\r\n"));
    }
}

#[test]
fn a_malformed_line_is_as_bad_from_the_table() {
    for (name, value, bad) in [
        ("Upper", "1", BadMessage::FieldName),
        ("x", " 1", BadMessage::FieldValue),
        ("content_length", "1", BadMessage::FieldName),
        ("connection", "close", BadMessage::FieldName),
        ("host", "other", BadMessage::Host),
    ] {
        let mut decoder = Decoder::default();
        let first = [block(&[&GET]), literal(0x40, name, value)].concat();
        let second = [block(&[&GET]), vec![0xbe]].concat();
        for block in [first, second] {
            let mut head = RequestHead::default();
            let read = read_request(&mut decoder, &block, &LIMITS, false, &mut head);
            assert_eq!(read, Err(HeadError::Malformed(bad)), "{name}");
        }
    }
}

#[test]
fn a_block_that_breaks_behind_a_bad_field_ends_the_connection() {
    let block = [block(&[&GET, &[("Upper", "1")]]), vec![0xff, 0xff]].concat();
    let mut head = RequestHead::default();
    let read = read_request(&mut Decoder::default(), &block, &LIMITS, false, &mut head);
    assert_eq!(read, Err(HeadError::Compression));
}

// What we send.

#[test]
fn a_request_leaves_with_pseudo_fields_in_front_and_names_in_lower_case() {
    let block = encoded_request(
        "POST /a?b HTTP/1.1\r\nUser-Agent: test\r\nHost: shop.example\r\nX-Y:  z \r\n\
         Content-Length: 3\r\n\r\n",
    );
    assert_eq!(
        lines_of(&block),
        ":method: POST\n:scheme: https\n:path: /a?b\n:authority: shop.example\n\
         user-agent: test\nx-y: z\ncontent-length: 3\n"
    );
}

#[test]
fn what_is_about_the_connection_stays_behind() {
    let block = encoded_request(
        "GET / HTTP/1.1\r\nHost: a\r\nConnection: te, keep-alive\r\nKeep-Alive: timeout=5\r\n\
         Proxy-Connection: close\r\nTransfer-Encoding: chunked\r\nUpgrade: h2c\r\n\
         HTTP2-Settings: AAA\r\nTE: gzip\r\nTE: trailers, gzip\r\n\r\n",
    );
    assert_eq!(
        lines_of(&block),
        ":method: GET\n:scheme: https\n:path: /\n:authority: a\nte: trailers\n"
    );
}

#[test]
fn a_request_for_websocket_leaves_as_extended_connect() {
    let block = encoded_request(
        "GET /chat HTTP/1.1\r\nHost: a\r\nSec-WebSocket-Key: x\r\nSec-WebSocket-Version: 13\r\n\
         Connection: upgrade\r\nUpgrade: websocket\r\n\r\n",
    );
    assert_eq!(
        lines_of(&block),
        ":method: CONNECT\n:protocol: websocket\n:scheme: https\n:path: /chat\n:authority: a\n\
         sec-websocket-version: 13\n"
    );
    let mut head = RequestHead::default();
    read_request(&mut Decoder::default(), &block, &LIMITS, true, &mut head).unwrap();
    assert!(head.is_extended_connect);
}

#[test]
fn a_connect_leaves_without_scheme_and_path() {
    let block = encoded_request("CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n");
    assert_eq!(lines_of(&block), ":method: CONNECT\n:authority: a:1\n");
}

#[test]
fn a_switch_to_websocket_leaves_as_200() {
    let block = encoded_response(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\
         Sec-WebSocket-Accept: x\r\nSec-WebSocket-Protocol: chat\r\n\r\n",
    );
    assert_eq!(
        lines_of(&block),
        ":status: 200\nsec-websocket-protocol: chat\n"
    );
}

#[test]
fn every_status_leaves_as_itself() {
    for code in (100..=999).filter(|code| *code != 101) {
        let block = encoded_response(&format!("HTTP/1.1 {code} Why\r\n\r\n"));
        assert_eq!(lines_of(&block), format!(":status: {code}\n"));
    }
    assert_eq!(encoded_response("HTTP/1.1 404 Not Found\r\n\r\n"), [0x8d]);
}

/// RFC 7541 §7.1.3.
#[test]
fn secrets_are_marked_never_to_be_indexed() {
    let mut encoder = Encoder::default();
    for _ in 0..2 {
        let mut out = Vec::new();
        let text = "Authorization: a\r\nCookie: b\r\nSet-Cookie: c\r\nProxy-Authorization: d\r\n";
        write_trailers(&mut encoder, text.as_bytes(), &mut out);
        let expected = [
            &[0x1f, 23 - 15, 1, b'a'][..],
            &[0x1f, 32 - 15, 1, b'b'],
            &[0x1f, 55 - 15, 1, b'c'],
            &[0x1f, 49 - 15, 1, b'd'],
        ];
        assert_eq!(out, expected.concat());
    }
}

#[test]
fn a_message_that_comes_again_is_small() {
    let mut encoder = Encoder::default();
    let head = b"HTTP/1.1 200 OK\r\nServer: nginx\r\nContent-Type: text/html\r\nX-A: b\r\n\r\n";
    let mut out = Vec::new();
    write_response(&mut encoder, head, &mut out);
    out.clear();
    write_response(&mut encoder, head, &mut out);
    assert_eq!(out.len(), 4, "one byte for the status and each field");
}

// What holds for any head.

proptest! {
    /// The text is one that `h1` reads, as the same request.
    #[test]
    fn a_request_that_is_read_is_one_for_http_1(
        fields in prop::collection::vec(any_field(), 0..8),
        path in "/[a-z/.%?]{0,6}",
    ) {
        let pseudo = with(":path", &path);
        let fields: Vec<_> = fields.iter().map(|(name, value)| (&name[..], &value[..])).collect();
        if let Ok(head) = request(&[&pseudo, &fields]) {
            let mut again = RequestHead::default();
            let read = RequestReader::default().receive(&head.bytes, &LIMITS, &mut again);
            prop_assert_eq!(read, Ok(Some(head.bytes.len())));
            prop_assert_eq!(&again.fields, &head.fields);
            prop_assert_eq!(again.text(again.authority), head.text(head.authority));
            prop_assert_eq!(again.path_and_query, head.path_and_query);
            prop_assert_eq!(again.expects_continue, head.expects_continue);
        }
    }

    /// What is read and written and read again is the same.
    #[test]
    fn a_request_that_is_passed_on_arrives_as_it_was(
        fields in prop::collection::vec(any_field(), 0..8),
        rounds in 1..4,
    ) {
        let fields: Vec<_> = fields.iter().map(|(name, value)| (&name[..], &value[..])).collect();
        let (mut encoder, mut decoder) = (Encoder::default(), Decoder::default());
        for _ in 0..rounds {
            if let Ok(head) = request(&[&GET, &fields]) {
                let mut block = Vec::new();
                write_request(&mut encoder, &head.bytes, "https", &mut block);
                let mut again = RequestHead::default();
                let read = read_request(&mut decoder, &block, &LIMITS, false, &mut again);
                prop_assert_eq!(read, Ok(()));
                prop_assert_eq!(text(&again.bytes), text(&head.bytes));
                prop_assert_eq!(again.fields, head.fields);
            }
        }
    }

    #[test]
    fn a_response_that_is_read_is_one_for_http_1(
        fields in prop::collection::vec(any_field(), 0..8),
        status in "[1-9][0-9][0-9]",
    ) {
        let fields: Vec<_> = fields.iter().map(|(name, value)| (&name[..], &value[..])).collect();
        let block = block(&[&[(":status", &status)], &fields]);
        if let Ok(head) = response(&block, Method::Get) {
            let mut again = ResponseHead::default();
            let mut reader = ResponseReader::default();
            let read = reader.receive(&head.bytes, &LIMITS, Method::Get, &mut again);
            prop_assert_eq!(read, Ok(Some(head.bytes.len())));
            prop_assert_eq!(&again.fields, &head.fields);
            prop_assert_eq!(again.status, head.status);
            prop_assert_eq!(again.reason, head.reason);
            prop_assert_eq!(again.has_feedback, head.has_feedback);
        }
    }

    #[test]
    fn any_blocks_are_heads_or_errors(blocks: Vec<Vec<u8>>) {
        let (mut decoder, mut head) = (Decoder::default(), RequestHead::default());
        for block in blocks {
            head.clear();
            let _ = read_request(&mut decoder, &block, &LIMITS, true, &mut head);
        }
    }
}

/// Names that mean something, nearly mean something, or nothing.
fn any_field() -> impl Strategy<Value = (String, String)> {
    let names = prop::sample::select(vec![
        "accept",
        "content-length",
        "content_length",
        "cookie",
        "expect",
        "host",
        "te",
        "x-rif",
        "x",
        "X",
        "accept-encoding",
    ]);
    let values = prop_oneof![
        Just("1".to_owned()),
        Just("shop.example".to_owned()),
        Just("trailers".to_owned()),
        Just("100-continue".to_owned()),
        "[ -~]{0,6}",
    ];
    (names.prop_map(str::to_owned), values)
}

// Helpers.

/// Reads the request of a block of these fields.
fn request(fields: &[Fields<'_>]) -> Result<RequestHead, HeadError> {
    let mut head = RequestHead::default();
    let block = block(fields);
    read_request(&mut Decoder::default(), &block, &LIMITS, true, &mut head).map(|()| head)
}

fn is_malformed(fields: &[Fields<'_>], bad: BadMessage) {
    let error = request(fields).expect_err("a rule is broken");
    assert_eq!(error, HeadError::Malformed(bad), "{fields:?}");
}

fn response(block: &[u8], method: Method) -> Result<ResponseHead, HeadError> {
    let mut head = ResponseHead::default();
    read_response(&mut Decoder::default(), block, &LIMITS, method, &mut head).map(|()| head)
}

fn trailers(fields: Fields<'_>) -> Result<String, HeadError> {
    let mut out = Vec::new();
    read_trailers(
        &mut Decoder::default(),
        &block(&[fields]),
        &LIMITS,
        &mut out,
    )?;
    Ok(text(&out))
}

/// The pseudo-fields of a GET with one that is different.
fn with<'a>(name: &str, value: &'a str) -> [(&'static str, &'a str); 4] {
    GET.map(|(known, usual)| (known, if known == name { value } else { usual }))
}

fn block(fields: &[Fields<'_>]) -> Vec<u8> {
    let fields = fields.iter().copied().flatten();
    fields
        .flat_map(|(name, value)| literal(0x00, name, value))
        .collect()
}

/// One field as a literal without any coding.
fn literal(pattern: u8, name: &str, value: &str) -> Vec<u8> {
    let mut out = vec![pattern];
    for text in [name, value] {
        let mut left = text.len();
        if left < 127 {
            out.push(left as u8);
        } else {
            out.push(127);
            left -= 127;
            while left >= 128 {
                out.push(left as u8 | 0x80);
                left >>= 7;
            }
            out.push(left as u8);
        }
        out.extend_from_slice(text.as_bytes());
    }
    out
}

fn encoded_request(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    write_request(&mut Encoder::default(), text.as_bytes(), "https", &mut out);
    out
}

fn encoded_response(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    write_response(&mut Encoder::default(), text.as_bytes(), &mut out);
    out
}

/// The fields of a block, pseudo-fields too, each on a line.
fn lines_of(block: &[u8]) -> String {
    let mut decoder = Decoder::default();
    let mut reader = decoder.open(block).expect("the block is ours");
    let mut out = Vec::new();
    while reader.next(&mut out).expect("the block is ours").is_some() {}
    text(&out).replace("\r\n", "\n")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
