//! TLS that is passed on as it is, by the name and the protocols that a client asks for.
//!
//! Whose certificate a client sees says where it has got to: the endpoints here have theirs from
//! another authority than the balancer, and clients trust one of the two.

use testkit::{
    Client, Endpoint, H2Client, Pki, Protocol, Reply, Step, TlsClient, TlsServer, poll_until,
};
use wire::proxy_protocol::{Addresses, Header, write_v1, write_v2};

use crate::harness::{Proxy, SOON, Setup, echo, greeting, named};

const REJECTED: &str = "pointsman_listener_hellos_rejected_total";

/// An endpoint that ends TLS for these names itself, says `word` and sends back every byte.
fn origin(theirs: &Pki, names: &[&str], word: &'static str) -> Endpoint {
    let tls = TlsServer::new(&theirs.server(names));
    Endpoint::raw_over(&tls, move |_| vec![Step::Send(word.into()), Step::Tunnel])
}

/// A pool beside `app`.
fn pool(name: &str, endpoint: &Endpoint, keys: &str) -> String {
    let address = endpoint.peer();
    format!("[pools.{name}]\nendpoints = [\"{address}\"]\ncheck = \"off\"\n{keys}\n")
}

/// HTTP for `ours` to `web`; what asks for `db.example` is passed on to `db`.
fn mixed(ours: &Pki, web: &Endpoint, db: &Endpoint) -> Setup {
    let leaf = ours.server(&["shop.example", "127.0.0.1"]);
    Setup::to(&[web])
        .listener(&format!("tls = {}", leaf.toml()))
        .listener("passthrough = [{ sni = \"db.example\", pool = \"db\" }]")
        .more(&pool("db", db, ""))
}

/// The word of the endpoint that a client gets to.
#[track_caller]
fn word(proxy: &Proxy, tls: &TlsClient) -> String {
    let mut client = Client::connect_tls(proxy.peer(), tls);
    client.send("ping");
    client.finish();
    let said = String::from_utf8(client.read_to_end()).expect("words");
    said.strip_suffix("ping").expect("an echo").to_owned()
}

/// Bytes behind their length, which takes two bytes.
fn vector(content: &[u8]) -> Vec<u8> {
    [&(content.len() as u16).to_be_bytes(), content].concat()
}

fn extension(kind: u16, content: &[u8]) -> Vec<u8> {
    [&kind.to_be_bytes(), &vector(content)[..]].concat()
}

fn server_name(name: &str) -> Vec<u8> {
    let name = [&[0], &vector(name.as_bytes())[..]].concat();
    extension(0, &vector(&name))
}

/// A hello that nobody would answer, with these extensions.
fn hello(extensions: &[u8]) -> Vec<u8> {
    let body = [
        &[3, 3],
        &[0xaa; 32][..],
        b"\0\0\x02\x13\x01\x01\0",
        &vector(extensions),
    ]
    .concat();
    let [_, length @ ..] = (body.len() as u32).to_be_bytes();
    let message = [&[1], &length[..], &body].concat();
    [b"\x16\x03\x01", &vector(&message)[..]].concat()
}

#[test]
fn a_client_sees_the_certificate_of_the_endpoint_that_its_name_leads_to() {
    let theirs = Pki::new();
    let (a, b) = (
        origin(&theirs, &["a.example"], "a"),
        origin(&theirs, &["b.example"], "b"),
    );
    let proxy = Setup::to(&[&a])
        .relaying("tcp")
        .listener("passthrough = [{ sni = \"b.example\", pool = \"b\" }]")
        .more(&pool("b", &b, ""))
        .start();
    for (number, (name, endpoint, pool, route)) in [
        ("a.example", &a, "app", "web"),
        ("b.example", &b, "b", "web/b.example"),
    ]
    .into_iter()
    .enumerate()
    {
        let tls = TlsClient::new(&theirs, name);
        let mut through = Client::connect_tls(proxy.peer(), &tls);
        through.read_bytes(1);
        let heard = endpoint.handshakes().swap_remove(0).expect("it succeeds");
        assert_eq!(heard.sni.as_deref(), Some(name));
        let direct = Client::connect_tls(endpoint.peer().clone(), &tls).handshake();
        assert_eq!(through.handshake().certificates, direct.certificates);
        drop(through);
        let line = &proxy.log(number + 1)[number];
        assert_eq!(line["protocol"], "tcp", "{line}");
        assert_eq!(line["sni"], name, "{line}");
        assert_eq!(line["pool"], pool, "{line}");
        assert_eq!(line["route"], route, "{line}");
        assert!(line["failure"].is_null(), "{line}");
    }
    assert_eq!(
        proxy.metric("pointsman_listener_tls_handshakes_total", &[]),
        0.0
    );
}

#[test]
fn other_names_on_the_same_port_are_ended_here() {
    let (ours, theirs) = (Pki::new(), Pki::new());
    let (web, db) = (named("web"), origin(&theirs, &["db.example"], "db"));
    let proxy = mixed(&ours, &web, &db).start();
    assert_eq!(word(&proxy, &TlsClient::new(&theirs, "DB.Example")), "db");
    let mut shop = Client::connect_tls(proxy.peer(), &TlsClient::new(&ours, "shop.example"));
    assert_eq!(shop.get("/").text(), "web");
    let shop = H2Client::connect_tls(proxy.peer(), &TlsClient::new(&ours, "shop.example"));
    assert_eq!(shop.get("/").text(), "web");
    // Who asks for no name at all gets our certificate.
    let mut nameless = Client::connect_tls(proxy.peer(), &TlsClient::new(&ours, "127.0.0.1"));
    assert_eq!(nameless.get("/").text(), "web");
    assert_eq!(db.connection_count(), 1);
    assert_eq!(
        proxy.metric("pointsman_listener_tls_handshakes_total", &[]),
        3.0
    );
}

#[test]
fn one_port_takes_everything() {
    let (ours, theirs) = (Pki::new(), Pki::new());
    let (web, rest) = (named("web"), greeting("rest"));
    let db = origin(&theirs, &["db.example"], "db");
    let proxy = mixed(&ours, &web, &db)
        .listener("protocol = \"detect\"\npool = \"rest\"")
        .more(&pool("rest", &rest, ""))
        .start();
    assert_eq!(word(&proxy, &TlsClient::new(&theirs, "db.example")), "db");
    let shop = TlsClient::new(&ours, "shop.example");
    let mut http = Client::connect_tls(proxy.peer(), &shop);
    assert_eq!(http.get("/").text(), "web");
    assert_eq!(word(&proxy, &shop), "rest");
    assert_eq!(proxy.get("/").text(), "web");
    let mut plain = proxy.client();
    plain.send("ping");
    assert_eq!(plain.read_bytes(8), b"restping");
}

#[test]
fn a_hello_may_come_in_any_pieces() {
    let (ours, theirs) = (Pki::new(), Pki::new());
    let (web, db) = (named("web"), origin(&theirs, &["db.example"], "db"));
    let proxy = mixed(&ours, &web, &db).start();
    let cuts: [fn(TlsClient) -> TlsClient; 4] = [
        |tls| tls.in_pieces(1),
        |tls| tls.in_records(32),
        |tls| tls.in_records(33).in_pieces(1),
        |tls| tls.in_records(100).in_pieces(99),
    ];
    let kinds = [TlsClient::new, TlsClient::old];
    for (cut, of) in cuts.iter().flat_map(|cut| kinds.map(|of| (cut, of))) {
        assert_eq!(word(&proxy, &cut(of(&theirs, "db.example"))), "db");
        let tls = cut(of(&ours, "shop.example"));
        assert_eq!(
            Client::connect_tls(proxy.peer(), &tls).get("/").text(),
            "web"
        );
    }
    assert_eq!(proxy.metric(REJECTED, &[]), 0.0);
}

#[test]
fn what_is_passed_on_is_not_touched() {
    let db = echo();
    let proxy = mixed(&Pki::new(), &named("web"), &db).start();
    // What comes in the same packet goes along, and so does a hello in two.
    let hello = hello(&server_name("db.example"));
    let bytes = [hello.as_slice(), b"\x17\x03\x03\0\x04data"].concat();
    for piece in [bytes.len(), 50, 1] {
        let mut client = proxy.client();
        client.send_in_pieces(&bytes, piece);
        assert_eq!(client.read_bytes(bytes.len()), bytes, "pieces of {piece}");
        client.send(b"more");
        client.finish();
        assert_eq!(client.read_to_end(), b"more");
    }
    for line in proxy.log(3) {
        assert_eq!(line["bytes_received"], bytes.len() + 4, "{line}");
        assert_eq!(line["bytes_sent"], bytes.len() + 4, "{line}");
    }
}

#[test]
fn the_most_specific_name_decides() {
    let theirs = Pki::new();
    let names = [
        "a.example",
        "x.a.example",
        "b.a.example",
        "x.b.a.example",
        "other.example",
        "c.a.example",
        "ca.example",
    ];
    let words = ["any", "below", "far_below", "exact"];
    let [any, below, far_below, exact] = words.map(|word| origin(&theirs, &names, word));
    let proxy = Setup::to(&[&any])
        .relaying("tcp")
        .listener(
            "passthrough = [\
             { sni = \"*.a.example\", pool = \"below\" }, \
             { sni = [\"*.b.a.example\", \"other.example\"], pool = \"far_below\" }, \
             { sni = \"C.A.Example\", pool = \"exact\" }]",
        )
        .more(&pool("below", &below, ""))
        .more(&pool("far_below", &far_below, ""))
        .more(&pool("exact", &exact, ""))
        .start();
    let expected = [
        ("any", "web"),
        ("below", "web/*.a.example"),
        ("below", "web/*.a.example"),
        ("far_below", "web/*.b.a.example"),
        ("far_below", "web/other.example"),
        ("exact", "web/C.A.Example"),
        ("any", "web"),
    ];
    for (number, (name, (said, route))) in names.into_iter().zip(expected).enumerate() {
        let tls = TlsClient::new(&theirs, name);
        assert_eq!(word(&proxy, &tls), said, "{name}");
        assert_eq!(proxy.log(number + 1)[number]["route"], route, "{name}");
    }
}

#[test]
fn protocols_that_a_client_offers_tell_connections_of_one_name_apart() {
    let (ours, theirs) = (Pki::new(), Pki::new());
    let names = ["shop.example"];
    let acme = origin(&theirs, &names, "acme");
    let two = {
        let speaks = Protocol::h2().over(&TlsServer::new(&theirs.server(&names)));
        Endpoint::speaking(speaks, |_| Reply::ok("two"))
    };
    let web = named("web");
    let leaf = ours.server(&names);
    let proxy = Setup::to(&[&web])
        .listener(&format!("tls = {}", leaf.toml()))
        .listener(
            "passthrough = [\
             { sni = \"shop.example\", alpn = [\"acme-tls/1\", \"other\"], pool = \"acme\" }, \
             { sni = \"shop.example\", alpn = \"h2\", pool = \"two\" }]",
        )
        .more(&pool("acme", &acme, ""))
        .more(&pool("two", &two, ""))
        .start();
    for offer in [["acme-tls/1"], ["other"]] {
        let tls = TlsClient::new(&theirs, "shop.example").offering(&offer);
        assert_eq!(word(&proxy, &tls), "acme");
    }
    let client = H2Client::connect_tls(proxy.peer(), &TlsClient::new(&theirs, "shop.example"));
    assert_eq!(client.get("/").text(), "two");
    let tls = TlsClient::new(&ours, "shop.example");
    for tls in [tls.clone(), tls.offering(&["http/1.1"])] {
        let mut client = Client::connect_tls(proxy.peer(), &tls);
        assert_eq!(client.get("/").text(), "web");
    }
}

#[test]
fn connections_without_a_name_go_to_the_pool_or_nowhere() {
    let theirs = Pki::new();
    let rest = origin(&theirs, &["127.0.0.1", "other.example"], "rest");
    let db = origin(&theirs, &["db.example"], "db");
    let rule = "passthrough = [{ sni = \"db.example\", pool = \"db\" }]";
    let nameless = TlsClient::new(&theirs, "127.0.0.1");

    let proxy = Setup::to(&[&rest])
        .relaying("tcp")
        .listener(rule)
        .more(&pool("db", &db, ""))
        .start();
    assert_eq!(word(&proxy, &nameless), "rest");
    assert!(proxy.log(1)[0]["sni"].is_null());
    // As it must not be asked for, and is by some.
    let mut client = proxy.client();
    client.send(hello(&server_name("127.0.0.1")));
    poll_until("it gets there", SOON, || rest.connection_count() == 2);

    let proxy = Setup::to(&[&db])
        .listener("protocol = \"tcp\"")
        .listener("passthrough = [{ sni = \"db.example\", pool = \"app\" }]")
        // A route needs HTTP.
        .more("[listeners.http]\nbind = \"127.0.0.1:0\"")
        .start();
    assert_eq!(word(&proxy, &TlsClient::new(&theirs, "db.example")), "db");
    proxy.log(1);
    let other = TlsClient::new(&theirs, "other.example");
    for (number, (tls, sni)) in [(nameless, None), (other, Some("other.example"))]
        .into_iter()
        .enumerate()
    {
        assert!(Client::try_connect_tls(&proxy.peer(), &tls).is_err());
        let line = &proxy.log(number + 2)[number + 1];
        assert_eq!(line["failure"], "destination_not_found", "{line}");
        assert_eq!(line["sni"].as_str(), sni, "{line}");
    }
}

#[test]
fn what_is_no_tls_is_not_passed_on_by_name() {
    let db = echo();
    let (web, rest) = (named("web"), greeting("rest"));
    let proxy = mixed(&Pki::new(), &web, &db).start();
    for garbage in [
        b"GET / HTTP/1.1\r\n\r\n".as_slice(),
        b"\x16\x02db.example",
        &[0; 2000],
    ] {
        let mut client = proxy.client();
        client.send(garbage);
        // Perhaps an alert, and no more.
        assert!(client.read_to_end().len() < 20);
    }
    poll_until("all are counted", SOON, || {
        proxy.metric("pointsman_listener_tls_failed_total", &[]) == 3.0
    });

    let proxy = Setup::to(&[&rest])
        .relaying("tcp")
        .listener("passthrough = [{ sni = \"db.example\", pool = \"db\" }]")
        .more(&pool("db", &db, ""))
        .start();
    for garbage in ["GET / HTTP/1.1\r\n\r\n", "\x16\x02db.example", "x"] {
        let mut client = proxy.client();
        client.send(garbage);
        let expected = format!("rest{garbage}");
        assert_eq!(client.read_bytes(expected.len()), expected.as_bytes());
    }
    assert_eq!(proxy.metric(REJECTED, &[]), 0.0);
    assert_eq!(db.connection_count(), 0);
}

#[test]
fn a_hostile_hello_is_refused_with_a_line_and_counted() {
    let db = echo();
    let name = server_name("db.example");
    let whole = hello(&name);
    let mut long_name = whole.clone();
    let place = long_name.len() - "db.example".len();
    long_name[place - 1] += 1;
    let mut endless = whole.clone();
    endless[6..9].copy_from_slice(&[0xff; 3]);
    let half = [b"\x16\x03\x01", &vector(&whole[5..20])[..]].concat();
    let interrupted = [half.as_slice(), b"\x15\x03\x01\0\x02\x01\0"].concat();
    let hostile: [(&str, Vec<u8>); 12] = [
        ("another message", b"\x16\x03\x01\0\x04\x02\0\0\0".to_vec()),
        ("an empty record", b"\x16\x03\x01\0\0".to_vec()),
        ("a long record", b"\x16\x03\x01\xff\xff\x01".to_vec()),
        ("an alert within", interrupted),
        ("two extensions", hello(&[name.clone(), name].concat())),
        ("a long name", long_name),
        ("an empty name", hello(&server_name(""))),
        ("two hosts", hello(&server_name("db.example\0.evil"))),
        ("no host", hello(&server_name("../db.example"))),
        ("no labels", hello(&server_name("a..db.example"))),
        ("a nameless protocol", hello(&extension(16, b"\0\x01\0"))),
        ("an endless hello", endless),
    ];
    let proxy = mixed(&Pki::new(), &named("web"), &db).start();
    for (number, (what, bytes)) in hostile.iter().enumerate() {
        let mut client = proxy.client();
        client.send(bytes);
        client.finish();
        client.expect_close();
        let line = &proxy.log(number + 1)[number];
        assert_eq!(line["failure"], "client_hello_error", "{what}: {line}");
        assert_eq!(line["ended_by"], "client", "{what}: {line}");
        let address = client.local_address().to_string();
        assert_eq!(line["client"], address, "{what}: {line}");
        assert_eq!(proxy.metric(REJECTED, &[]), (number + 1) as f64, "{what}");
    }
    assert_eq!(db.connection_count(), 0);
    // The listener goes on.
    let mut client = proxy.client();
    client.send(&whole);
    assert_eq!(client.read_bytes(whole.len()), whole);
}

#[test]
fn a_hello_of_many_records_has_an_end() {
    let db = echo();
    let proxy = mixed(&Pki::new(), &named("web"), &db).start();
    // A hello of 4 KiB, of which each byte brings a header of its own.
    let padding = extension(21, &[0; 4000]);
    let hello = hello(&[server_name("db.example"), padding].concat());
    let records = hello[5..].iter();
    let bytes: Vec<u8> = records
        .flat_map(|byte| [22, 3, 1, 0, 1, *byte])
        .take(20_000)
        .collect();
    let mut client = proxy.client();
    // It may be closed before it has said all.
    let _ = client.try_send(&bytes);
    client.expect_close();
    assert_eq!(proxy.metric(REJECTED, &[]), 1.0);
    assert_eq!(db.connection_count(), 0);
}

#[test]
fn half_a_hello_is_one_too_few_and_none_is_nothing() {
    let db = echo();
    let proxy = mixed(&Pki::new(), &named("web"), &db).start();
    let whole = hello(&server_name("db.example"));
    for (number, length) in [1, 5, 9, whole.len() - 1].into_iter().enumerate() {
        let mut client = proxy.client();
        client.send(&whole[..length]);
        client.finish();
        client.expect_close();
        let line = &proxy.log(number + 1)[number];
        assert_eq!(line["failure"], "client_hello_error", "{line}");
        assert_eq!(line["bytes_received"], length, "{line}");
    }
    let mut silent = proxy.client();
    silent.finish();
    silent.expect_close();
    assert_eq!(proxy.metric(REJECTED, &[]), 4.0);
    assert_eq!(db.connection_count(), 0);
}

/// Row 29: a hello that never ends holds no connection.
#[test]
fn a_hello_has_as_long_as_a_request_head() {
    let db = echo();
    let proxy = mixed(&Pki::new(), &named("web"), &db)
        .listener("timeouts = { head = \"1s\" }")
        .start();
    let [mut slow, mut silent] = [proxy.client(), proxy.client()];
    slow.send(&hello(&server_name("db.example"))[..40]);
    slow.expect_close();
    let line = &proxy.log(1)[0];
    assert_eq!(line["failure"], "client_hello_error", "{line}");
    silent.expect_close();
    assert_eq!(proxy.metric(REJECTED, &[]), 1.0);
}

#[test]
fn sessions_are_resumed_with_whoever_has_them() {
    let (ours, theirs) = (Pki::new(), Pki::new());
    let (web, db) = (named("web"), origin(&theirs, &["db.example"], "db"));
    let proxy = mixed(&ours, &web, &db).start();
    let (to_db, to_shop) = (
        TlsClient::new(&theirs, "db.example"),
        TlsClient::new(&ours, "shop.example"),
    );
    for is_resumed in [false, true] {
        let mut client = Client::connect_tls(proxy.peer(), &to_db);
        // The ticket comes behind the handshake.
        assert_eq!(client.read_bytes(2), b"db");
        assert_eq!(client.handshake().is_resumed, is_resumed);
        let mut client = Client::connect_tls(proxy.peer(), &to_shop);
        assert_eq!(client.get("/").text(), "web");
        assert_eq!(client.handshake().is_resumed, is_resumed);
    }
    let resumed = db.handshakes().into_iter().map(|handshake| {
        let handshake = handshake.expect("it succeeds");
        handshake.is_resumed
    });
    assert_eq!(resumed.collect::<Vec<_>>(), [false, true]);
}

/// Row 24: what one name demands is not got around by way of another one.
#[test]
fn a_passed_on_name_demands_its_own_certificates() {
    let (ours, theirs) = (Pki::new(), Pki::new());
    let tls = TlsServer::demanding(&theirs.server(&["db.example"]), &theirs);
    let db = Endpoint::raw_over(&tls, |_| vec![Step::Send("db".into()), Step::Tunnel]);
    let web = named("web");
    let proxy = mixed(&ours, &web, &db).start();
    let alice = theirs.client("alice");
    let tls = TlsClient::showing(&theirs, "db.example", &alice);
    assert_eq!(word(&proxy, &tls), "db");
    let shown = db.handshakes().swap_remove(0).expect("it succeeds");
    assert_eq!(shown.certificates.len(), 1);

    let nobody = TlsClient::new(&theirs, "db.example");
    // With TLS 1.3 a client hears of a refusal when it reads.
    if let Ok(mut client) = Client::try_connect_tls(&proxy.peer(), &nobody) {
        client.expect_close();
    }
    // A connection for another name stays with us, whatever host its requests are for.
    let mut client = Client::connect_tls(proxy.peer(), &TlsClient::new(&ours, "shop.example"));
    client.send("GET / HTTP/1.1\r\nHost: db.example\r\n\r\n");
    assert_eq!(client.read_response().text(), "web");
}

#[test]
fn a_proxy_header_stands_before_the_hello_on_both_sides() {
    let theirs = Pki::new();
    let address = |text: &str| text.parse().expect("an address");
    let header = Header {
        addresses: Some(Addresses {
            source: address("192.0.2.7:4711"),
            destination: address("198.51.100.1:443"),
        }),
        ..Header::default()
    };
    let (mut line, mut binary) = (Vec::new(), Vec::new());
    write_v1(&header, &mut line);
    write_v2(&header, &mut binary);

    let (web, db) = (named("web"), origin(&theirs, &["db.example"], "db"));
    let proxy = mixed(&Pki::new(), &web, &db)
        .listener("proxy_protocol = \"127.0.0.0/8\"")
        .start();
    for (number, header) in [&line, &binary].into_iter().enumerate() {
        let tls = TlsClient::new(&theirs, "db.example").in_pieces(100);
        let mut client = Client::connect_tls_behind(proxy.peer(), header, &tls);
        assert_eq!(client.read_bytes(2), b"db");
        drop(client);
        assert_eq!(proxy.log(number + 1)[number]["client"], "192.0.2.7:4711");
    }

    let raw = echo();
    let proxy = Setup::to(&[&web])
        .listener("tls = \"self-signed\"")
        .listener("proxy_protocol = \"127.0.0.0/8\"")
        .listener("passthrough = [{ sni = \"db.example\", pool = \"db\" }]")
        .more(&pool("db", &raw, "proxy_protocol = \"v1\""))
        .start();
    let hello = hello(&server_name("db.example"));
    for header in [&line, &binary] {
        let mut client = proxy.client();
        client.send([header, hello.as_slice()].concat());
        let expected = [line.as_slice(), &hello].concat();
        assert_eq!(client.read_bytes(expected.len()), expected);
    }
}

#[test]
fn a_hello_goes_to_another_endpoint_if_one_takes_no_connection() {
    let theirs = Pki::new();
    let [dead, alive] = ["dead", "alive"].map(|word| origin(&theirs, &["db.example"], word));
    let proxy = Setup::to(&[&named("web")])
        .listener("tls = \"self-signed\"")
        .listener("passthrough = [{ sni = \"db.example\", pool = \"db\" }]")
        .more(&format!(
            "[pools.db]\nendpoints = [\"{}\", \"{}\"]\ncheck = \"off\"\n\
             policy = \"round_robin\"\noutlier = \"off\"",
            dead.peer(),
            alive.peer()
        ))
        .start();
    dead.stop_listening();
    let tls = TlsClient::new(&theirs, "db.example");
    for _ in 0..4 {
        assert_eq!(word(&proxy, &tls), "alive");
    }
    let attempts = proxy.log(4).into_iter();
    let attempts = attempts.map(|line| line["attempts"].as_array().map_or(0, Vec::len));
    assert!(attempts.max() == Some(2), "one was tried in vain");
}

#[test]
fn who_is_passed_on_may_stay_while_the_listener_is_busy_with_hellos() {
    let (ours, theirs) = (Pki::new(), Pki::new());
    let (web, db) = (named("web"), origin(&theirs, &["db.example"], "db"));
    let proxy = mixed(&ours, &web, &db).start();
    let mut kept = Client::connect_tls(proxy.peer(), &TlsClient::new(&theirs, "db.example"));
    assert_eq!(kept.read_bytes(2), b"db");
    let half = &hello(&server_name("db.example"))[..30];
    let waiting: Vec<Client> = (0..100)
        .map(|_| {
            let mut client = proxy.client();
            client.send(half);
            client
        })
        .collect();
    kept.send("ping");
    assert_eq!(kept.read_bytes(4), b"ping");
    assert_eq!(word(&proxy, &TlsClient::new(&theirs, "db.example")), "db");
    drop(waiting);
    poll_until("all are counted", SOON, || {
        proxy.metric(REJECTED, &[]) == 100.0
    });
}
