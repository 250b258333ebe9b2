//! Who a request is from, and who says so: trusted proxies, strangers, TLS and its certificates.

use std::collections::BTreeSet;

use testkit::{Client, Endpoint, H2Client, H2Request, Pki, Reply, Response, TlsClient};

use crate::harness::{Proxy, Setup, named, proxy_to};

const TRUST: &str = "trusted_proxies = \"127.0.0.0/8\"";

/// A GET with these field lines on a connection of its own.
fn get_with(proxy: &Proxy, fields: &str) -> Response {
    let mut client = proxy.client();
    ask(&mut client, fields)
}

fn ask(client: &mut Client, fields: &str) -> Response {
    client.send(format!("GET / HTTP/1.1\r\nHost: a.example\r\n{fields}\r\n"));
    client.read_response()
}

/// The value of the only field of this name that the last request had.
#[track_caller]
fn told(endpoint: &Endpoint, name: &str) -> String {
    let requests = endpoint.requests();
    let last = requests.last().expect("a request came");
    match last.head.fields(name)[..] {
        [value] => value.to_owned(),
        ref values => panic!("{name}: {values:?}"),
    }
}

#[test]
fn a_trusted_proxy_names_the_client_for_all_that_goes_by_it() {
    let endpoint = named("hello");
    let proxy = Setup::to(&[&endpoint]).listener(TRUST).start();
    let response = get_with(
        &proxy,
        "X-Forwarded-For: 1.1.1.1, 192.0.2.7\r\nX-Forwarded-Proto: https\r\n\
         X-Forwarded-Host: www.example\r\nX-Request-Id: of-the-proxy\r\n",
    );
    assert_eq!(response.field("x-request-id"), Some("of-the-proxy"));
    assert_eq!(
        told(&endpoint, "x-forwarded-for"),
        "1.1.1.1, 192.0.2.7, 127.0.0.1"
    );
    assert_eq!(told(&endpoint, "x-forwarded-proto"), "https");
    assert_eq!(told(&endpoint, "x-forwarded-host"), "www.example");
    assert_eq!(told(&endpoint, "x-request-id"), "of-the-proxy");
    let line = &proxy.log(1)[0];
    assert_eq!(line["client"], "192.0.2.7");
    assert_eq!(line["request_id"], "of-the-proxy");
}

/// What is said of a client is kept with its connection, for each host anew.
#[test]
fn every_request_of_a_connection_is_introduced_for_its_own_host() {
    let endpoint = named("hello");
    let proxy = proxy_to(&[&endpoint]);
    let mut client = proxy.client();
    let long = format!("{}.example", "x".repeat(300));
    for host in [
        "a.example",
        "a.example",
        "a.example",
        "b.example",
        "a.example",
        &long,
        &long,
        "b.example:80",
    ] {
        client.send(format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n"));
        assert_eq!(client.read_response().status, 200, "{host}");
        assert_eq!(told(&endpoint, "x-forwarded-host"), host);
        assert_eq!(told(&endpoint, "x-forwarded-for"), "127.0.0.1");
        let forwarded = format!("for=127.0.0.1;host=\"{host}\";proto=http");
        assert_eq!(told(&endpoint, "forwarded"), forwarded);
    }
}

#[test]
fn whoever_is_not_trusted_names_nobody() {
    let endpoint = named("hello");
    let spoofed = "X-Forwarded-For: 192.0.2.7\r\nX-Forwarded-Proto: https\r\n\
        X-Forwarded-Host: evil.example\r\nForwarded: for=192.0.2.7\r\nX-Request-Id: theirs\r\n";
    let trusts_others = "trusted_proxies = [\"10.0.0.0/8\"]";
    for listener in ["", trusts_others] {
        let proxy = Setup::to(&[&endpoint]).listener(listener).start();
        let mut client = proxy.client();
        let response = ask(&mut client, spoofed);
        assert_ne!(response.field("x-request-id"), Some("theirs"));
        for (name, value) in [
            ("x-forwarded-for", "127.0.0.1"),
            ("x-forwarded-proto", "http"),
            ("x-forwarded-host", "a.example"),
            ("forwarded", "for=127.0.0.1;host=\"a.example\";proto=http"),
        ] {
            assert_eq!(told(&endpoint, name), value);
        }
        let line = &proxy.log(1)[0];
        assert_eq!(line["client"], client.local_address().to_string());
    }
}

#[test]
fn clients_behind_a_trusted_proxy_are_told_apart_by_a_hash_of_the_client() {
    let endpoints = ["a", "b", "c"].map(named);
    let proxy = Setup::to(&endpoints.each_ref())
        .pool("policy = { maglev = { key = \"client_ip\" } }")
        .listener(TRUST)
        .start();
    let mut used = BTreeSet::new();
    for client in 0..24 {
        let names = [
            format!("X-Forwarded-For: 192.0.2.{client}\r\n"),
            // Its port is another each time, and another client's claim stands before it.
            format!("X-Forwarded-For: 1.1.1.{client}, 192.0.2.{client}:{client}\r\n"),
            format!("Forwarded: for=\"192.0.2.{client}:1\"\r\n"),
        ];
        let places = names.map(|fields| get_with(&proxy, &fields).text());
        assert!(places.iter().all(|place| *place == places[0]), "{places:?}");
        used.insert(places[0].clone());
    }
    assert_eq!(used.len(), 3);
}

/// Row 12: the client's `Connection` takes no field away that endpoints rely on.
#[test]
fn connection_takes_away_no_word_of_a_trusted_proxy() {
    let endpoint = named("hello");
    let proxy = Setup::to(&[&endpoint]).listener(TRUST).start();
    get_with(
        &proxy,
        "X-Forwarded-For: 192.0.2.7\r\nForwarded: for=192.0.2.7\r\n\
         Connection: X-Forwarded-For, forwarded, x-forwarded-proto\r\n",
    );
    assert_eq!(told(&endpoint, "x-forwarded-for"), "192.0.2.7, 127.0.0.1");
    assert_eq!(told(&endpoint, "x-forwarded-proto"), "http");
    assert!(told(&endpoint, "forwarded").starts_with("for=192.0.2.7, for=127.0.0.1;"));
    assert_eq!(proxy.log(1)[0]["client"], "192.0.2.7");
}

#[test]
fn tls_shows_in_what_endpoints_and_clients_are_told() {
    let pki = Pki::new();
    let endpoint = named("hello");
    let leaf = pki.server(&["a.example"]);
    let listener = format!(
        "tls = {{ certificates = [{}], hsts = \"1d\" }}",
        leaf.toml()
    );
    let proxy = Setup::to(&[&endpoint])
        .listener(&listener)
        .pool("sticky = { cookie = \"route\" }")
        .start();
    let mut client = Client::connect_tls(proxy.peer(), &TlsClient::new(&pki, "a.example"));
    let response = ask(&mut client, "X-Forwarded-Proto: http\r\n");
    assert_eq!(told(&endpoint, "x-forwarded-proto"), "https");
    assert!(told(&endpoint, "forwarded").ends_with(";proto=https"));
    assert_eq!(
        response.field("strict-transport-security"),
        Some("max-age=86400")
    );
    let cookie = response.field("set-cookie").expect("it gets a session");
    assert!(cookie.ends_with("; Secure"), "{cookie}");

    // Without TLS there is none of that.
    let proxy = Setup::to(&[&endpoint])
        .pool("sticky = { cookie = \"route\" }")
        .start();
    let response = proxy.get("/");
    assert_eq!(told(&endpoint, "x-forwarded-proto"), "http");
    assert_eq!(response.field("strict-transport-security"), None);
    let cookie = response.field("set-cookie").expect("it gets a session");
    assert!(!cookie.contains("Secure"), "{cookie}");
}

#[test]
fn a_cookie_is_secure_where_a_trusted_proxy_speaks_tls() {
    let endpoint = named("hello");
    let proxy = Setup::to(&[&endpoint])
        .listener(TRUST)
        .pool("sticky = { cookie = \"route\" }")
        .start();
    let response = get_with(&proxy, "X-Forwarded-Proto: https\r\n");
    let cookie = response.field("set-cookie").expect("it gets a session");
    assert!(cookie.ends_with("; Secure"), "{cookie}");
}

#[test]
fn endpoints_hear_of_certificates_from_us_alone() {
    let pki = Pki::new();
    let endpoint = named("hello");
    let (leaf, ann) = (pki.server(&["a.example"]), pki.client("ann"));
    let listener = format!(
        "[listeners.web.tls]\ncertificates = [{}]\n\
         client = {{ ca = \"{}\", certificate = \"optional\", headers = {{ subject = \"x-client\", \
         fingerprint = \"x-client-print\" }} }}",
        leaf.toml(),
        pki.ca().display()
    );
    let proxy = Setup::to(&[&endpoint])
        .listener("bind = \"127.0.0.1:0\"")
        .listener(TRUST)
        .listener(&listener)
        .start();
    let spoofed = "X-Client: CN=root\r\nx_client: CN=root\r\nX-Client-Print: 00\r\n\
        X_Client-Print: 00\r\nX-Client-Note: kept\r\n";
    for (tls, subject) in [
        (TlsClient::showing(&pki, "a.example", &ann), Some("CN=ann")),
        (TlsClient::new(&pki, "a.example"), None),
    ] {
        let mut client = Client::connect_tls(proxy.peer(), &tls);
        assert_eq!(ask(&mut client, spoofed).status, 200);
        let requests = endpoint.requests();
        let head = &requests.last().expect("a request came").head;
        assert_eq!(head.fields("x-client"), Vec::from_iter(subject));
        let prints = head.fields("x-client-print");
        assert_eq!(prints.len(), usize::from(subject.is_some()), "{prints:?}");
        assert!(prints.iter().all(|print| print.len() == 64), "{prints:?}");
        assert_eq!(head.field("x-client-note"), Some("kept"));
        for name in ["x_client", "x_client-print"] {
            assert_eq!(head.field(name), None);
        }
    }
}

#[test]
fn http_2_changes_nothing_about_it() {
    let endpoint = Endpoint::start(|_| Reply::ok("hello"));
    let proxy = Setup::to(&[&endpoint])
        .listener(TRUST)
        .listener("h2c = true")
        .start();
    let client = H2Client::connect(proxy.peer());
    let request = H2Request::get("/")
        .field("x-forwarded-for", "192.0.2.7")
        .field("x-forwarded-proto", "https")
        .field("x-request-id", "of-the-proxy");
    let response = client.send(&request, b"").read_response();
    assert_eq!(response.field("x-request-id"), Some("of-the-proxy"));
    assert_eq!(told(&endpoint, "x-forwarded-for"), "192.0.2.7, 127.0.0.1");
    assert_eq!(told(&endpoint, "x-forwarded-proto"), "https");
    assert!(told(&endpoint, "via").starts_with("2.0 "));
    assert_eq!(proxy.log(1)[0]["client"], "192.0.2.7");
}

/// An endpoint that takes `_` for `-` would believe either name.
#[test]
fn a_name_with_underscores_does_not_pass_for_ours() {
    let endpoint = named("hello");
    let proxy = proxy_to(&[&endpoint]);
    let response = get_with(&proxy, "X_Forwarded_For: 1.1.1.1\r\n");
    assert_eq!(response.status, 400);
    let proxy = Setup::to(&[&endpoint]).listener("h2c = true").start();
    let client = H2Client::connect(proxy.peer());
    let request = H2Request::get("/").field("x_forwarded_for", "1.1.1.1");
    let answer = client.send(&request, b"").try_read_response();
    assert!(
        answer.is_err() || answer.is_ok_and(|response| response.status == 400),
        "it was forwarded"
    );
    assert_eq!(endpoint.requests().len(), 0);
}
