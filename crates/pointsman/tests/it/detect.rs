//! TLS, HTTP and something else on one port.

use std::time::{Duration, Instant};

use testkit::{Client, Endpoint, H2Client, Pki, Step, TlsClient, TlsServer};

use crate::harness::{Proxy, SOON, Setup, greeting, named};

/// A listener that leads HTTP to `web` and what is none to `other`.
fn detect(web: &Endpoint, other: &Endpoint, listener: &str) -> Proxy {
    Setup::to(&[web])
        .listener("protocol = \"detect\"\npool = \"other\"")
        .listener(listener)
        .more(&format!(
            "[pools.other]\nendpoints = [\"{}\"]\ncheck = \"off\"",
            other.peer()
        ))
        .start()
}

/// Long enough that no test waits for it to end.
const PATIENT: &str = "timeouts = { detect = \"60s\" }";

#[test]
fn http_of_either_version_takes_its_route() {
    let (web, other) = (named("web"), greeting("other"));
    let proxy = detect(&web, &other, PATIENT);
    assert_eq!(proxy.get("/").text(), "web");
    let mut client = proxy.client();
    client.send_in_pieces("OPTIONS / HTTP/1.1\r\nHost: a\r\n\r\n", 1);
    assert_eq!(client.read_response().text(), "web");
    // The connection stays one of HTTP.
    assert_eq!(client.get("/").text(), "web");
    let client = H2Client::connect(proxy.peer());
    assert_eq!(client.get("/").text(), "web");
    assert_eq!(other.connection_count(), 0);
    for line in proxy.log(4) {
        assert!(line["protocol"].is_null(), "{line}");
        assert_eq!(line["status"], 200, "{line}");
    }
}

#[test]
fn something_else_goes_to_the_pool_as_it_is() {
    let (web, other) = (named("web"), greeting(""));
    let proxy = detect(&web, &other, PATIENT);
    let said: [&[u8]; 5] = [
        b"\x00\x00\x00\x08\x04\xd2\x16\x2f",
        b"*1\r\n$4\r\nPING\r\n",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"GET lost\r\n",
        &[0xff; 100_000],
    ];
    for bytes in said {
        for piece in [1, 100_000] {
            if bytes.len() / piece > 1000 {
                continue;
            }
            let mut client = proxy.client();
            client.send_in_pieces(bytes, piece);
            assert_eq!(client.read_bytes(bytes.len()), bytes);
            client.finish();
            client.expect_goodbye();
        }
    }
    for line in proxy.log(9) {
        assert_eq!(line["protocol"], "tcp", "{line}");
        assert_eq!(line["pool"], "other", "{line}");
        assert_eq!(line["bytes_received"], line["bytes_sent"], "{line}");
    }
    assert_eq!(web.connection_count(), 0);
}

#[test]
fn a_client_that_is_silent_waits_for_the_server_to_speak() {
    let (web, other) = (named("web"), greeting("220 hello"));
    let timeouts = "timeouts = { detect = \"300ms\", head = \"1s\" }";
    let proxy = detect(&web, &other, timeouts);
    let start = Instant::now();
    let mut client = proxy.client();
    assert_eq!(client.read_bytes(9), b"220 hello");
    assert!(start.elapsed() >= Duration::from_millis(290));
    client.send("GET / HTTP/1.1\r\n\r\n");
    assert_eq!(client.read_bytes(18), b"GET / HTTP/1.1\r\n\r\n");

    // One that does not go on has as long as a request head.
    let mut client = proxy.client();
    client.send("G");
    assert_eq!(client.read_bytes(10), b"220 helloG");
    assert!(start.elapsed() < SOON);
}

#[test]
fn a_client_that_leaves_at_once_bothers_no_endpoint() {
    let (web, other) = (named("web"), greeting("other"));
    let proxy = detect(&web, &other, PATIENT);
    for _ in 0..3 {
        proxy.client().reset();
    }
    assert_eq!(proxy.get("/").text(), "web");
    assert_eq!(other.connection_count(), 0);
}

#[test]
fn what_is_inside_tls_is_told_apart_as_well() {
    let pki = Pki::new();
    let leaf = pki.server(&["a.example"]);
    let (web, other) = (named("web"), greeting("other"));
    let proxy = detect(
        &web,
        &other,
        &format!("tls = {}\ntimeouts = {{ detect = \"300ms\" }}", leaf.toml()),
    );
    let tls = TlsClient::new(&pki, "a.example");

    let mut http = Client::connect_tls(proxy.peer(), &tls);
    assert_eq!(http.get("/").text(), "web");
    let http2 = H2Client::connect_tls(proxy.peer(), &tls);
    assert_eq!(http2.get("/").text(), "web");
    let mut else_inside = Client::connect_tls(proxy.peer(), &tls);
    else_inside.send("*1\r\n$4\r\nPING\r\n");
    assert_eq!(else_inside.read_bytes(19), b"other*1\r\n$4\r\nPING\r\n");
    let mut silent = Client::connect_tls(proxy.peer(), &tls);
    assert_eq!(silent.read_bytes(5), b"other");

    // And outside of it, on the same port.
    assert_eq!(proxy.get("/").text(), "web");
    let mut plain = proxy.client();
    plain.send("*1\r\n$4\r\nPING\r\n");
    assert_eq!(plain.read_bytes(19), b"other*1\r\n$4\r\nPING\r\n");
    let handshakes = "pointsman_listener_tls_handshakes_total";
    assert_eq!(proxy.metric(handshakes, &[]), 4.0);
}

#[test]
fn tls_that_is_not_ours_to_end_is_something_else() {
    let pki = Pki::new();
    let web = named("web");
    let server = TlsServer::new(&pki.server(&["db.example"]));
    let other = Endpoint::raw_over(&server, |_| vec![Step::Tunnel]);
    let proxy = detect(&web, &other, PATIENT);
    let mut client = Client::connect_tls(proxy.peer(), &TlsClient::new(&pki, "db.example"));
    client.send("hello");
    assert_eq!(client.read_bytes(5), b"hello");
    assert_eq!(proxy.get("/").text(), "web");
}

#[test]
fn a_proxy_header_comes_before_what_is_told_apart() {
    let (web, other) = (named("web"), greeting("other"));
    let proxy = detect(
        &web,
        &other,
        &format!("proxy_protocol = \"127.0.0.0/8\"\nh2c = true\n{PATIENT}"),
    );
    let header = "PROXY TCP4 192.0.2.7 198.51.100.1 4711 443\r\n";
    let mut client = proxy.client();
    client.send(format!("{header}GET / HTTP/1.1\r\nHost: a\r\n\r\n"));
    assert_eq!(client.read_response().text(), "web");
    let mut client = proxy.client();
    client.send(format!("{header}\x01\x02"));
    assert_eq!(client.read_bytes(7), b"other\x01\x02");
    client.finish();
    client.expect_goodbye();
    for line in proxy.log(2) {
        assert_eq!(line["client"], "192.0.2.7:4711", "{line}");
    }
}

#[test]
fn what_begins_like_tls_inside_of_tls_and_breaks_its_rules_has_a_line_too() {
    let pki = Pki::new();
    let leaf = pki.server(&["a.example"]);
    let (web, other) = (named("web"), greeting("other"));
    let proxy = detect(&web, &other, &format!("tls = {}\n{PATIENT}", leaf.toml()));
    let mut client = Client::connect_tls(proxy.peer(), &TlsClient::new(&pki, "a.example"));
    client.send(b"\x16\x03\x01\0\0");
    client.read_to_end();
    let line = &proxy.log(1)[0];
    assert_eq!(line["failure"], "client_hello_error", "{line}");
    assert_eq!(line["ended_by"], "client", "{line}");
    assert_eq!(other.connection_count(), 0);
}
