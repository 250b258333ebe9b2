//! What endpoints and clients are told.

use ipnet::IpNet;
use wire::h1::{Limits, RequestReader};

use super::*;

fn request(text: &str) -> RequestHead {
    let limits = Limits {
        head_bytes: 4096,
        fields: 50,
        line_bytes: 1024,
    };
    let mut head = RequestHead::default();
    let read = RequestReader::default().receive(text.as_bytes(), &limits, &mut head);
    assert_eq!(read, Ok(Some(text.len())), "{text}");
    head
}

fn get(fields: &str) -> RequestHead {
    request(&format!(
        "GET / HTTP/1.1\r\nHost: shop.example\r\n{fields}\r\n"
    ))
}

/// Where a request comes from.
struct Sender {
    peer: &'static str,
    is_https: bool,
    trusted: &'static [&'static str],
}

const STRANGER: Sender = Sender {
    peer: "192.0.2.7:4711",
    is_https: false,
    trusted: &["10.0.0.0/8"],
};

const PROXY: Sender = Sender {
    peer: "10.0.0.1:4711",
    ..STRANGER
};

/// What else endpoints may be told.
#[derive(Default)]
struct More<'a> {
    certificate_fields: Option<&'a ClientCertificateHeaders>,
    certificate: Option<&'a ClientCertificate>,
    websocket_key: Option<&'a str>,
}

/// The lines that an endpoint gets.
fn lines_with(head: &RequestHead, from: &Sender, more: &More<'_>) -> Vec<String> {
    let peer = ClientAddress::new(Some(from.peer.parse().unwrap()));
    let trusted = from.trusted.iter().map(|net| net.parse().unwrap());
    let trusted: Vec<IpNet> = trusted.collect();
    let identity = Identity::of(head, &peer, from.is_https, &trusted);
    let extras = RequestExtras {
        peer: &peer,
        identity: &identity,
        introduction: &RefCell::default(),
        request_id: b"id",
        pseudonym: "me",
        pool: "app",
        max_forwards: None,
        own_cookie: None,
        certificate_fields: more.certificate_fields,
        certificate: more.certificate,
        websocket_key: more.websocket_key,
        content_type: None,
    };
    let mut out = Vec::new();
    write_request_head(head, &extras, &mut out);
    let text = String::from_utf8(out).unwrap();
    let text = text
        .strip_suffix("\r\n\r\n")
        .expect("an empty line ends it");
    text.split("\r\n").map(str::to_owned).collect()
}

fn lines(head: &RequestHead, from: &Sender) -> Vec<String> {
    lines_with(head, from, &More::default())
}

/// The values of the fields of this name among `lines`.
fn values(lines: &[String], name: &str) -> Vec<String> {
    let fields = lines.iter().filter_map(|line| line.split_once(": "));
    fields
        .filter(|(found, _)| found.eq_ignore_ascii_case(name))
        .map(|(_, value)| value.to_owned())
        .collect()
}

const SPOOFED: &str = "X-Forwarded-For: 1.1.1.1\r\nX-Forwarded-Proto: https\r\n\
    X-Forwarded-Host: evil.example\r\nForwarded: for=1.1.1.1\r\nX-Request-Id: theirs\r\n";

#[test]
fn what_strangers_say_of_themselves_is_replaced() {
    let expected = [
        "GET / HTTP/1.1",
        "Host: shop.example",
        "X-Forwarded-For: 192.0.2.7",
        "X-Forwarded-Proto: http",
        "Forwarded: for=192.0.2.7;host=\"shop.example\";proto=http",
        "X-Forwarded-Host: shop.example",
        "X-Request-Id: id",
        "Via: 1.1 me",
    ];
    assert_eq!(lines(&get(SPOOFED), &STRANGER), expected);
    let untrusting = Sender {
        peer: PROXY.peer,
        trusted: &[],
        ..STRANGER
    };
    let found = lines(&get(SPOOFED), &untrusting);
    assert_eq!(values(&found, "X-Forwarded-For"), ["10.0.0.1"]);
}

#[test]
fn what_trusted_proxies_say_is_appended_to() {
    let fields = "X-Forwarded-For: 1.1.1.1, 192.0.2.7\r\nAccept: */*\r\n\
        X-Forwarded-For: 10.0.0.2\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: www.example\r\n\
        Forwarded: for=192.0.2.7;proto=https\r\nForwarded: for=10.0.0.2\r\n\
        Connection: X-Forwarded-For\r\n";
    let expected = [
        "GET / HTTP/1.1",
        "Host: shop.example",
        "Accept: */*",
        "X-Forwarded-For: 1.1.1.1, 192.0.2.7, 10.0.0.2, 10.0.0.1",
        "X-Forwarded-Proto: https",
        "Forwarded: for=192.0.2.7;proto=https, for=10.0.0.2, \
         for=10.0.0.1;host=\"shop.example\";proto=https",
        "X-Forwarded-Host: www.example",
        "X-Request-Id: id",
        "Via: 1.1 me",
    ];
    assert_eq!(lines(&get(fields), &PROXY), expected);
}

#[test]
fn who_is_named_in_one_field_is_named_in_the_other() {
    let only_for = get("X-Forwarded-For: 2001:db8::1\r\nX-Forwarded-Proto: https\r\n");
    let found = lines(&only_for, &PROXY);
    assert_eq!(
        values(&found, "Forwarded"),
        ["for=\"[2001:db8::1]\";proto=https, for=10.0.0.1;host=\"shop.example\";proto=https"]
    );
    let only_forwarded = get("Forwarded: for=\"[2001:db8::1]:5000\"\r\n");
    let found = lines(&only_forwarded, &PROXY);
    assert_eq!(values(&found, "X-Forwarded-For"), ["2001:db8::1, 10.0.0.1"]);
    let found = lines(&get("X-Forwarded-For:\r\nForwarded:\r\n"), &PROXY);
    assert_eq!(values(&found, "X-Forwarded-For"), ["10.0.0.1"]);
    let forwarded = "for=10.0.0.1;host=\"shop.example\";proto=http";
    assert_eq!(values(&found, "Forwarded"), [forwarded]);
}

#[test]
fn endpoints_hear_of_tls() {
    let secure = Sender {
        peer: "[2001:db8::7]:4711",
        is_https: true,
        ..STRANGER
    };
    let found = lines(&get(""), &secure);
    assert_eq!(values(&found, "X-Forwarded-Proto"), ["https"]);
    let forwarded = "for=\"[2001:db8::7]\";host=\"shop.example\";proto=https";
    assert_eq!(values(&found, "Forwarded"), [forwarded]);
}

#[test]
fn nobody_but_us_tells_of_certificates() {
    let names = ClientCertificateHeaders {
        subject: Some("x-client-subject".into()),
        san: Some("x-client-san".into()),
        fingerprint: None,
    };
    let certificate = ClientCertificate {
        subject: "CN=ann".into(),
        common_name: Some("ann".into()),
        san: "DNS:a.example".into(),
        fingerprint: "00".into(),
    };
    let spoofed = get(
        "X-Client-Subject: CN=root\r\nx_client_subject: CN=root\r\nX-Client_San: DNS:b\r\n\
         X-Client-Subjects: kept\r\n",
    );
    for from in [&STRANGER, &PROXY] {
        for (shown, subject, san) in [
            (Some(&certificate), vec!["CN=ann"], vec!["DNS:a.example"]),
            (None, vec![], vec![]),
        ] {
            let more = More {
                certificate_fields: Some(&names),
                certificate: shown,
                ..More::default()
            };
            let found = lines_with(&spoofed, from, &more);
            assert_eq!(values(&found, "x-client-subject"), subject);
            assert_eq!(values(&found, "x-client-san"), san);
            assert_eq!(values(&found, "x-client-subjects"), ["kept"]);
            assert!(!found.iter().any(|line| line.contains("_")), "{found:?}");
        }
    }
}

/// The head of a request that came by HTTP/2, as `wire` leaves it.
fn by_http2(text: &str, body_length: BodyLength) -> RequestHead {
    let mut head = request(text);
    head.version = Version::Http2;
    head.body_length = body_length;
    head
}

#[test]
fn a_body_without_a_length_leaves_in_chunks() {
    let text = "POST / HTTP/1.1\r\nHost: a\r\n\r\n";
    for (length, coding) in [
        (BodyLength::UntilEnd, vec!["chunked"]),
        (BodyLength::Chunked, vec!["chunked"]),
        (BodyLength::Empty, vec![]),
    ] {
        let found = lines(&by_http2(text, length), &STRANGER);
        assert_eq!(values(&found, "Transfer-Encoding"), coding, "{length:?}");
        assert_eq!(values(&found, "Via"), ["2.0 me"]);
    }
}

#[test]
fn an_extended_connect_becomes_the_handshake_of_http_1() {
    let text = "GET /chat HTTP/1.1\r\nHost: a\r\nupgrade: websocket\r\nconnection: upgrade\r\n\
        sec-websocket-version: 13\r\nsec-websocket-key: of-no-use\r\n\r\n";
    let mut head = by_http2(text, BodyLength::Empty);
    head.body_length = BodyLength::UntilEnd;
    head.is_extended_connect = true;
    let key = "dGhlIHNhbXBsZSBub25jZQ==";
    let more = More {
        websocket_key: Some(key),
        ..More::default()
    };
    let found = lines_with(&head, &STRANGER, &more);
    assert_eq!(found[0], "GET /chat HTTP/1.1");
    assert_eq!(values(&found, "Connection"), ["upgrade"]);
    assert_eq!(values(&found, "Upgrade"), ["websocket"]);
    assert_eq!(values(&found, "Sec-WebSocket-Key"), [key]);
    assert_eq!(values(&found, "Sec-WebSocket-Version"), ["13"]);
    assert!(values(&found, "Transfer-Encoding").is_empty());
}

#[test]
fn clients_by_tls_are_told_to_come_so_again_unless_the_endpoint_says_more() {
    let told = |fields: &str, hsts_seconds| {
        let text = format!("HTTP/1.1 200 OK\r\n{fields}Content-Length: 0\r\n\r\n");
        let limits = Limits {
            head_bytes: 4096,
            fields: 50,
            line_bytes: 1024,
        };
        let mut head = ResponseHead::default();
        let mut reader = wire::h1::ResponseReader::default();
        let read = reader.receive(text.as_bytes(), &limits, message::Method::Get, &mut head);
        assert_eq!(read, Ok(Some(text.len())));
        let extras = ResponseExtras {
            framing: ResponseFraming::new(head.body_length, Version::Http11),
            method: Method::Get,
            version: Version::Http11,
            keep_alive: true,
            request_id: b"id",
            is_fail_open: false,
            set_cookie: None,
            hsts_seconds,
            content_type: None,
        };
        let mut out = Vec::new();
        write_response_head(&head, &extras, &mut out);
        let text = String::from_utf8(out).unwrap();
        let lines: Vec<String> = text.split("\r\n").map(str::to_owned).collect();
        values(&lines, "strict-transport-security")
    };
    let of_endpoint = "strict-transport-security: max-age=5; preload\r\n";
    assert_eq!(told("", Some(3600)), ["max-age=3600"]);
    assert_eq!(told(of_endpoint, Some(3600)), ["max-age=5; preload"]);
    assert_eq!(told(of_endpoint, None), ["max-age=5; preload"]);
    assert!(told("", None).is_empty());
}
