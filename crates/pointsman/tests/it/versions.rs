//! Any version of HTTP on either side, in the clear or inside TLS: the same messages arrive.

use testkit::{
    Client, End, Endpoint, H2Client, Pki, Protocol, Reply, TlsClient, TlsServer, filler, hash,
};

use crate::harness::Setup;
use crate::mix::{Mix, Speech, each_mix, number_in};

#[test]
fn every_mix_carries_bodies_of_every_size_both_ways() {
    each_mix(|down, up| {
        let mix = Mix::start(down, up, |request| match request.method() {
            "POST" => Reply::echo(),
            _ => Reply::filler(number_in(request.target())),
        });
        let mut client = mix.client();
        for bytes in [0, 1, 16_384, 65_536, 1_000_003, 5_000_000] {
            let body = filler(bytes);
            let sum = format!("body-bytes: {bytes}\nbody-hash: {:016x}\n", hash(&body));
            let text = client.exchange("POST", "/", Some(&body), &[]).text();
            assert!(
                text.contains(&sum),
                "{down:?} to {up:?}, {bytes} up: {text}"
            );
            let got = client.exchange("GET", &format!("/{bytes}"), None, &[]).body;
            let is_whole = got.end == End::Clean && got.hash == hash(&body);
            assert!(is_whole, "{down:?} to {up:?}, {bytes} down: {:?}", got.end);
        }
    });
}

#[test]
fn every_mix_carries_trailers_both_ways() {
    each_mix(|down, up| {
        let mix = Mix::start(down, up, |_| {
            Reply::chunked(&["ab", "c"]).trailer("X-Status", "0")
        });
        let mut client = mix.client();
        let trailers = [("x-sum", "5"), ("x-more", "yes")];
        let response = client.exchange("POST", "/", Some(b"hello"), &trailers);
        let what = format!("{down:?} to {up:?}");
        assert_eq!(response.text(), "abc", "{what}");
        let [(name, value)] = response.body.trailers.as_slice() else {
            panic!("{what}: {:?}", response.body.trailers);
        };
        assert!(
            name.eq_ignore_ascii_case("x-status") && value == "0",
            "{what}: {name}: {value}"
        );
        let received = mix.endpoint.request();
        assert_eq!(received.body().text(), "hello", "{what}");
        let expected = trailers.map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(received.body().trailers, expected, "{what}");
    });
}

#[test]
fn every_mix_has_responses_without_a_body() {
    each_mix(|down, up| {
        let mix = Mix::start(down, up, |request| match request.target() {
            "/204" => Reply::status(204),
            "/304" => Reply::status(304).field("ETag", "\"x\""),
            _ => Reply::ok("seven b"),
        });
        let mut client = mix.client();
        let what = format!("{down:?} to {up:?}");
        for (method, target, status) in [
            ("HEAD", "/", 200),
            ("GET", "/204", 204),
            ("GET", "/304", 304),
            ("GET", "/", 200),
        ] {
            let response = client.exchange(method, target, None, &[]);
            assert_eq!(response.status, status, "{what} {method} {target}");
            assert_eq!(response.body.end, End::Clean, "{what} {method} {target}");
            let bytes = if (method, target) == ("GET", "/") {
                7
            } else {
                0
            };
            assert_eq!(response.body.bytes, bytes, "{what} {method} {target}");
        }
        let response = client.exchange("HEAD", "/", None, &[]);
        assert_eq!(response.field("content-length"), Some("7"), "{what}");
    });
}

#[test]
fn every_mix_passes_early_hints() {
    each_mix(|down, up| {
        let mix = Mix::start(down, up, |_| {
            Reply::ok("page").interim("HTTP/1.1 103 Early Hints\r\nLink: </style.css>\r\n\r\n")
        });
        let response = mix.client().exchange("GET", "/", None, &[]);
        let what = format!("{down:?} to {up:?}");
        assert_eq!(response.text(), "page", "{what}");
        let hints = response.informational.first().expect("there is one");
        assert_eq!(hints.field("link"), Some("</style.css>"), "{what}");
    });
}

#[test]
fn requests_say_the_same_in_every_mix() {
    each_mix(|down, up| {
        let mix = Mix::start(down, up, |_| Reply::ok("x"));
        let what = format!("{down:?} to {up:?}");
        let response = mix.client().exchange("GET", "/a?b=c", None, &[]);
        assert_eq!(response.text(), "x", "{what}");
        let received = mix.endpoint.request();
        assert_eq!(
            (received.method(), received.target()),
            ("GET", "/a?b=c"),
            "{what}"
        );
        assert_eq!(received.authority(), "test.example", "{what}");
        assert_eq!(received.head.field("te"), Some("trailers"), "{what}");
        let scheme = if down.is_tls() { "https" } else { "http" };
        assert_eq!(
            received.head.field("x-forwarded-proto"),
            Some(scheme),
            "{what}"
        );
        let log = &mix.proxy.log(1)[0];
        assert_eq!(log["path"], "/a?b=c", "{what}");
        assert_eq!(log["host"], "test.example", "{what}");
    });
}

/// Both versions on one listener, by what the client begins with.
#[test]
fn a_listener_with_h2c_still_speaks_http_1() {
    let mix = Mix::start(Speech::H2c, Speech::H1, |_| Reply::ok("x"));
    assert_eq!(mix.proxy.get("/").text(), "x");
    assert_eq!(mix.client().exchange("GET", "/", None, &[]).text(), "x");
}

#[test]
fn alpn_decides_the_version() {
    let pki = Pki::new();
    let endpoint = Endpoint::start(|_| Reply::ok("x"));
    let leaf = pki.server(&["test.example"]).toml();
    let both = Setup::to(&[&endpoint])
        .listener(&format!("tls = {leaf}"))
        .start();
    let off = Setup::to(&[&endpoint])
        .listener(&format!("tls = {leaf}\nhttp2 = \"off\""))
        .start();
    let tls = TlsClient::new(&pki, "test.example");
    for (proxy, offered, agreed) in [
        (&both, &["http/1.1"][..], Some("http/1.1")),
        (&both, &["h2", "http/1.1"], Some("h2")),
        (&both, &["http/1.1", "h2"], Some("h2")),
        (&both, &[], None),
        (&off, &["h2", "http/1.1"], Some("http/1.1")),
        (&off, &[], None),
    ] {
        let mut client = Client::connect_tls(proxy.peer(), &tls.clone().offering(offered));
        assert_eq!(client.handshake().alpn.as_deref(), agreed, "{offered:?}");
        if agreed != Some("h2") {
            assert_eq!(client.get("/").text(), "x", "{offered:?}");
        }
    }
    assert!(H2Client::try_connect_tls(&off.peer(), &tls).is_err());
}

#[test]
fn a_pool_may_leave_the_version_to_its_endpoints() {
    let pki = Pki::new();
    let server = TlsServer::new(&pki.server(&["app.internal"]));
    let h1 = Endpoint::speaking(Protocol::h1().over(&server), |_| Reply::ok("1"));
    let h2 = Endpoint::speaking(Protocol::h2().over(&server), |_| Reply::ok("2"));
    let ca = pki.ca();
    let tls = format!(
        "tls = {{ ca = \"{}\", name = \"app.internal\" }}",
        ca.display()
    );
    let proxy = Setup::to(&[&h1, &h2])
        .pool(&format!(
            "{tls}\nprotocol = \"auto\"\npolicy = \"round_robin\""
        ))
        .start();
    let mut client = proxy.client();
    let mut answers: Vec<String> = (0..8).map(|_| client.get("/").text()).collect();
    answers.sort();
    answers.dedup();
    assert_eq!(answers, ["1", "2"]);
    for (endpoint, protocol) in [(&h1, "http/1.1"), (&h2, "h2")] {
        let handshakes = endpoint.handshakes();
        let handshake = handshakes[0].as_ref().expect("it came about");
        assert_eq!(handshake.alpn.as_deref(), Some(protocol));
        assert_eq!(handshake.sni.as_deref(), Some("app.internal"));
    }
}
