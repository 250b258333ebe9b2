//! PROXY headers: from proxies in front, and to endpoints, for which another balancer stands here.

use std::net::SocketAddr;
use std::time::Duration;

use testkit::{Client, Endpoint, H2Client, Pki, Reply, TlsClient, poll_until};
use wire::proxy_protocol::{Addresses, Header, Tls, write_v1, write_v2};

use crate::harness::{Proxy, SOON, Setup, named};

const LOOPBACK: &str = "proxy_protocol = \"127.0.0.0/8\"";
const REJECTED: &str = "pointsman_listener_proxy_headers_rejected_total";

/// A header for a client at `192.0.2.7:4711`, by TLS if so.
fn header(tls: Option<Tls>) -> Header {
    let address = |text: &str| text.parse::<SocketAddr>().expect("an address");
    Header {
        addresses: Some(Addresses {
            source: address("192.0.2.7:4711"),
            destination: address("198.51.100.1:443"),
        }),
        tls,
        ..Header::default()
    }
}

fn v1() -> Vec<u8> {
    let mut out = Vec::new();
    write_v1(&header(None), &mut out);
    out
}

fn v2(tls: Option<Tls>) -> Vec<u8> {
    let mut out = Vec::new();
    write_v2(&header(tls), &mut out);
    out
}

const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n";

/// The value of this field in the last request.
fn told(endpoint: &Endpoint, name: &str) -> String {
    let requests = endpoint.requests();
    let last = requests.last().expect("a request came");
    last.head.field(name).unwrap_or_default().to_owned()
}

/// Closed without an answer, perhaps by a reset since bytes were left unread.
#[track_caller]
fn assert_closed(client: &mut Client) {
    let bytes = client.read_to_end();
    assert!(bytes.is_empty(), "{:?}", String::from_utf8_lossy(&bytes));
}

#[test]
fn a_header_of_either_version_says_who_the_client_is() {
    let endpoint = named("hello");
    let proxy = Setup::to(&[&endpoint]).listener(LOOPBACK).start();
    for (number, header) in [v1(), v2(None)].iter().enumerate() {
        for piece in [1, 7, 1000] {
            let mut client = proxy.client();
            client.send_in_pieces([header, GET].concat(), piece);
            assert_eq!(client.read_response().text(), "hello");
            // The connection goes on without another header.
            assert_eq!(client.get("/").text(), "hello");
            assert_eq!(told(&endpoint, "x-forwarded-for"), "192.0.2.7");
            assert_eq!(told(&endpoint, "x-forwarded-proto"), "http");
        }
        let lines = proxy.log(6 * (number + 1));
        assert!(lines.iter().all(|line| line["client"] == "192.0.2.7:4711"));
    }
    assert_eq!(proxy.metric(REJECTED, &[]), 0.0);
}

#[test]
fn a_header_without_addresses_leaves_the_connection_its_own() {
    let endpoint = named("hello");
    let proxy = Setup::to(&[&endpoint]).listener(LOOPBACK).start();
    let (mut line, mut binary) = (Vec::new(), Vec::new());
    write_v1(&Header::default(), &mut line);
    write_v2(&Header::default(), &mut binary);
    for (number, header) in [line, binary].iter().enumerate() {
        let mut client = proxy.client();
        client.send([header, GET].concat());
        assert_eq!(client.read_response().text(), "hello");
        let client = client.local_address().to_string();
        assert_eq!(proxy.log(number + 1)[number]["client"], client);
    }
}

#[test]
fn a_header_stands_before_tls_and_before_http_2() {
    let pki = Pki::new();
    let endpoint = named("hello");
    let leaf = pki.server(&["a.example"]);
    let proxy = Setup::to(&[&endpoint])
        .listener(LOOPBACK)
        .listener(&format!("tls = {}", leaf.toml()))
        .start();
    for header in [v1(), v2(None)] {
        let tls = TlsClient::new(&pki, "a.example");
        let mut client = Client::connect_tls_behind(proxy.peer(), &header, &tls);
        client.send(GET);
        assert_eq!(client.read_response().text(), "hello");
        assert_eq!(told(&endpoint, "x-forwarded-for"), "192.0.2.7");
        assert_eq!(told(&endpoint, "x-forwarded-proto"), "https");
    }

    let proxy = Setup::to(&[&endpoint])
        .listener(LOOPBACK)
        .listener("h2c = true")
        .start();
    let client = H2Client::connect_behind(proxy.peer(), &v2(None));
    assert_eq!(client.get("/").text(), "hello");
    assert_eq!(told(&endpoint, "x-forwarded-for"), "192.0.2.7");
}

#[test]
fn tls_with_the_proxy_in_front_counts_as_the_clients() {
    let endpoint = named("hello");
    let proxy = Setup::to(&[&endpoint]).listener(LOOPBACK).start();
    let mut client = proxy.client();
    client.send([v2(Some(Tls::default())).as_slice(), GET].concat());
    assert_eq!(client.read_response().text(), "hello");
    assert_eq!(told(&endpoint, "x-forwarded-proto"), "https");
}

#[test]
fn what_the_header_names_may_be_a_trusted_proxy_itself() {
    let endpoint = named("hello");
    let trusting = |network: &str| {
        Setup::to(&[&endpoint])
            .listener(LOOPBACK)
            .listener(&format!("trusted_proxies = \"{network}\""))
            .start()
    };
    for (network, client) in [
        ("192.0.2.0/24", "203.0.113.9"),
        // Who is trusted to send headers is not trusted with fields.
        ("127.0.0.0/8", "192.0.2.7:4711"),
    ] {
        let proxy = trusting(network);
        let mut asking = proxy.client();
        asking.send(v1());
        asking.send("GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 203.0.113.9\r\n\r\n");
        assert_eq!(asking.read_response().text(), "hello");
        assert_eq!(proxy.log(1)[0]["client"], client, "{network}");
    }
}

/// Row 23: a header from just anybody.
#[test]
fn a_header_from_somebody_else_is_a_bad_request() {
    let endpoint = named("hello");
    for listener in ["", "proxy_protocol = [\"10.0.0.0/8\"]"] {
        let proxy = Setup::to(&[&endpoint]).listener(listener).start();
        for header in [v1(), v2(None)] {
            let mut client = proxy.client();
            client.send([&header, GET].concat());
            assert_eq!(client.read_response().status, 400, "{listener}");
        }
        // And without one, it is a client.
        assert_eq!(proxy.get("/").text(), "hello");
        assert_eq!(proxy.metric(REJECTED, &[]), 0.0);
    }
    assert_eq!(endpoint.requests().len(), 2);
}

/// Row 23: lengths beyond the header, and what else is broken.
#[test]
fn a_missing_or_broken_header_closes_the_connection_and_is_counted() {
    let endpoint = named("hello");
    let proxy = Setup::to(&[&endpoint]).listener(LOOPBACK).start();
    let with_part = |part: &[u8]| {
        let mut bytes = v2(None);
        bytes.extend_from_slice(part);
        let length = (bytes.len() - 16) as u16;
        bytes[14..16].copy_from_slice(&length.to_be_bytes());
        bytes
    };
    let mut too_long = v2(None);
    too_long[14..16].copy_from_slice(&[0xff; 2]);
    let broken = [
        GET.to_vec(),
        b"\x16\x03\x01\x02\x00".to_vec(),
        b"PROXY TCP4 192.0.2.7 192.0.2.8 1 2\n".to_vec(),
        [b"PROXY TCP4 ".as_slice(), &[b'1'; 100]].concat(),
        with_part(&[0x01, 0xff, 0xff, b'h']),
        with_part(&[0x20, 0, 6, 1, 0, 0, 0, 0, 0x21]),
        with_part(&[0x03, 0, 4, 0, 0, 0, 0]),
        too_long,
    ];
    for (number, bytes) in broken.iter().enumerate() {
        let mut client = proxy.client();
        client.send([bytes, GET].concat());
        assert_closed(&mut client);
        let expected = (number + 1) as f64;
        assert_eq!(proxy.metric(REJECTED, &[]), expected, "{bytes:x?}");
    }
    // Whoever only looks if somebody listens has done nothing wrong.
    let mut silent = proxy.client();
    silent.finish();
    assert_closed(&mut silent);
    assert_eq!(proxy.metric(REJECTED, &[]), broken.len() as f64);
    assert_eq!(endpoint.requests().len(), 0);
}

#[test]
fn an_optional_header_may_be_left_out() {
    let endpoint = named("hello");
    let proxy = Setup::to(&[&endpoint])
        .listener("proxy_protocol = { from = \"127.0.0.1\", header = \"optional\" }")
        .start();
    for piece in [1, 1000] {
        // Its first two letters might begin a header.
        let mut client = proxy.client();
        client.send_in_pieces("PROPFIND / HTTP/1.1\r\nHost: a\r\n\r\n", piece);
        assert_eq!(client.read_response_to("PROPFIND").text(), "hello");
        let mut client = proxy.client();
        client.send_in_pieces([v1().as_slice(), GET].concat(), piece);
        assert_eq!(client.read_response().text(), "hello");
        assert_eq!(told(&endpoint, "x-forwarded-for"), "192.0.2.7");
    }
    // The same, slow enough that the beginning is looked at before the rest is there.
    let mut client = proxy.client();
    client.send("PR");
    std::thread::sleep(Duration::from_millis(100));
    client.send("OPFIND / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(client.read_response_to("PROPFIND").text(), "hello");

    let mut client = proxy.client();
    client.send_in_pieces([&v2(None)[..14], &[0xff; 2]].concat(), 5);
    assert_closed(&mut client);
    assert_eq!(proxy.metric(REJECTED, &[]), 1.0);
}

/// Row 29: a header that never ends holds no connection.
#[test]
fn a_header_has_as_long_as_a_request_head() {
    let endpoint = named("hello");
    let proxy = Setup::to(&[&endpoint])
        .listener(LOOPBACK)
        .listener("timeouts = { head = \"1s\" }")
        .start();
    let mut client = proxy.client();
    client.send("PROXY TCP4 192.0.2.7");
    assert_closed(&mut client);
}

/// A balancer in front of another one that takes its headers and asks `endpoint`.
fn chain(endpoint: &Endpoint, front: Setup, pool: &str) -> (Proxy, Proxy) {
    let back = Setup::to(&[endpoint]).listener(LOOPBACK).start();
    let front = front.and_to(back.peer()).pool(pool).start();
    (front, back)
}

#[test]
fn endpoints_are_told_whose_connection_it_is() {
    for version in ["v1", "v2"] {
        let endpoint = named("hello");
        let pool = format!("proxy_protocol = \"{version}\"");
        let (front, back) = chain(&endpoint, Setup::default(), &pool);
        let [mut first, mut second] = [front.client(), front.client()];
        for client in [&mut first, &mut second, &mut Client::connect(front.peer())] {
            // Two requests, so that a kept connection would be used.
            for _ in 0..2 {
                assert_eq!(client.get("/").text(), "hello");
            }
        }
        let lines = back.log(6);
        for client in [first, second] {
            let address = client.local_address().to_string();
            let count = lines
                .iter()
                .filter(|line| line["client"] == address)
                .count();
            assert_eq!(count, 2, "{version}");
        }
    }
}

#[test]
fn endpoints_are_told_of_tls_by_version_2() {
    let pki = Pki::new();
    let endpoint = named("hello");
    let leaf = pki.server(&["a.example"]);
    for (version, scheme) in [("v1", "http"), ("v2", "https")] {
        let front = Setup::default().listener(&format!("tls = {}", leaf.toml()));
        let pool = format!("proxy_protocol = \"{version}\"");
        let (front, back) = chain(&endpoint, front, &pool);
        let tls = TlsClient::new(&pki, "a.example");
        let mut client = Client::connect_tls(front.peer(), &tls);
        client.send(GET);
        assert_eq!(client.read_response().text(), "hello");
        assert_eq!(told(&endpoint, "x-forwarded-proto"), scheme);
        let local = client.local_address().to_string();
        assert_eq!(back.log(1)[0]["client"], local);
    }
}

#[test]
fn a_header_stands_before_the_tls_of_endpoints() {
    let pki = Pki::new();
    let endpoint = named("hello");
    let leaf = pki.server(&["back.internal"]);
    let back = Setup::to(&[&endpoint])
        .listener(LOOPBACK)
        .listener(&format!("tls = {}", leaf.toml()))
        .start();
    let front = Setup::default()
        .and_to(back.peer())
        .pool("proxy_protocol = \"v2\"")
        .pool(&format!(
            "tls = {{ ca = \"{}\", name = \"back.internal\" }}",
            pki.ca().display()
        ))
        .start();
    let mut client = front.client();
    assert_eq!(client.get("/").text(), "hello");
    let local = client.local_address().to_string();
    assert_eq!(back.log(1)[0]["client"], local);
}

#[test]
fn what_is_told_of_a_client_is_passed_on() {
    let endpoint = named("hello");
    let front = Setup::default().listener(LOOPBACK);
    let (front, back) = chain(&endpoint, front, "proxy_protocol = \"v2\"");
    let mut client = front.client();
    client.send([v2(Some(Tls::default())).as_slice(), GET].concat());
    assert_eq!(client.read_response().text(), "hello");
    assert_eq!(told(&endpoint, "x-forwarded-proto"), "https");
    assert_eq!(back.log(1)[0]["client"], "192.0.2.7:4711");
}

#[test]
fn health_checks_are_our_own_connections() {
    let endpoint = Endpoint::start(|_| Reply::ok("healthy"));
    for version in ["v1", "v2"] {
        let pool = format!("proxy_protocol = \"{version}\"\ncheck = \"/healthz\"");
        let (front, back) = chain(&endpoint, Setup::default(), &pool);
        let line = &back.log(1)[0];
        assert_eq!(
            (&line["path"], &line["status"]),
            (&"/healthz".into(), &200.into())
        );
        let client = line["client"].as_str().unwrap_or_default();
        assert!(client.starts_with("127.0.0.1:"), "{client}");
        poll_until("the endpoint is up", SOON, || {
            let status = front.status();
            status["pools"][0]["endpoints"][0]["state"] == "up"
        });
        assert_eq!(back.metric(REJECTED, &[]), 0.0);
    }
}
