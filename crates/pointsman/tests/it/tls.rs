//! Certificates: shown, replaced, demanded, and those of endpoints.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use testkit::{
    Client, Endpoint, Leaf, Pki, Protocol, Reply, TlsClient, TlsServer, get, poll_until,
};

use crate::harness::{Proxy, SOON, Setup, named};

/// A listener that shows `leaf`, with more keys in its table.
fn showing(endpoint: &Endpoint, leaf: &Leaf, more: &str) -> Proxy {
    let (cert, key) = (leaf.cert().display(), leaf.key().display());
    let tls = format!("tls = {{ cert = \"{cert}\", key = \"{key}\"{more} }}");
    Setup::to(&[endpoint]).listener(&tls).start()
}

/// The certificate that a new connection gets, in DER.
fn shown(proxy: &Proxy, tls: &TlsClient) -> Vec<u8> {
    let client = Client::connect_tls(proxy.peer(), tls);
    client.handshake().certificates.swap_remove(0)
}

/// Moves `from` into the place of `to`.
fn put(from: &Path, to: &Path) {
    let new = to.with_extension("new");
    fs::copy(from, &new).expect("files can be written");
    fs::rename(&new, to).expect("files can be moved");
}

#[test]
fn both_versions_of_tls_reach_an_endpoint_and_are_counted() {
    let pki = Pki::new();
    let endpoint = named("x");
    let proxy = showing(&endpoint, &pki.server(&["test.example"]), "");
    let new = TlsClient::new(&pki, "test.example");
    let old = TlsClient::old(&pki, "test.example");
    for (tls, version) in [(&new, "TLSv1_3"), (&old, "TLSv1_2")] {
        for is_resumed in [false, true] {
            let mut client = Client::connect_tls(proxy.peer(), tls);
            assert_eq!(client.get("/").text(), "x");
            assert_eq!(client.get("/").text(), "x");
            let handshake = client.handshake();
            assert_eq!(handshake.version, version);
            assert_eq!(handshake.is_resumed, is_resumed, "{version}");
        }
    }
    let mut plain = proxy.client();
    plain.send("GET / HTTP/1.1\r\nHost: test.example\r\n\r\n");
    plain.read_to_end();
    let count = |name: &str| proxy.metric(&format!("pointsman_listener_tls_{name}_total"), &[]);
    assert_eq!(count("handshakes"), 4.0);
    assert_eq!(count("resumed"), 2.0);
    assert_eq!(count("failed"), 1.0);
}

#[test]
fn a_listener_may_make_its_certificate_up() {
    let endpoint = named("x");
    let proxy = Setup::to(&[&endpoint])
        .listener("tls = \"self-signed\"")
        .start();
    let names = proxy.status()["listeners"][0]["certificates"][0]["names"].clone();
    let names: Vec<_> = names.as_array().into_iter().flatten().collect();
    assert!(names.iter().any(|name| *name == "localhost"), "{names:?}");
    // A client that trusts others gets that certificate, and goes.
    let tls = TlsClient::new(&Pki::new(), "localhost");
    assert!(Client::try_connect_tls(&proxy.peer(), &tls).is_err());
}

#[test]
fn no_handshake_fails_while_certificates_are_replaced() {
    let pki = Pki::new();
    let endpoint = named("x");
    let [first, second] = [0, 1].map(|_| pki.server(&["test.example"]));
    let proxy = showing(&endpoint, &first, "");
    let tls = TlsClient::new(&pki, "test.example");
    let mut kept = Client::connect_tls(proxy.peer(), &tls);
    assert_eq!(kept.get("/").text(), "x");

    let is_over = Arc::new(AtomicBool::new(false));
    let clients: Vec<_> = (0..2)
        .map(|_| {
            let (peer, is_over) = (proxy.peer(), Arc::clone(&is_over));
            let tls = TlsClient::new(&pki, "test.example");
            thread::spawn(move || {
                let mut count = 0;
                while !is_over.load(Ordering::Relaxed) {
                    let mut client = Client::connect_tls(peer.clone(), &tls);
                    assert_eq!(client.get("/").text(), "x");
                    count += 1;
                }
                count
            })
        })
        .collect();
    let before = shown(&proxy, &tls);
    // The key later than the certificate: in between the two do not belong together.
    put(second.cert(), first.cert());
    thread::sleep(Duration::from_millis(300)); // Whoever renews certificates is slow.
    put(second.key(), first.key());
    poll_until("the other certificate is shown", 2 * SOON, || {
        shown(&proxy, &tls) != before
    });
    is_over.store(true, Ordering::Relaxed);
    let counts = clients.into_iter().map(|client| client.join());
    for count in counts {
        assert!(count.expect("no handshake fails") > 0);
    }
    assert_eq!(kept.get("/").text(), "x");
    assert_eq!(
        proxy.metric("pointsman_listener_tls_failed_total", &[]),
        0.0
    );
}

#[test]
fn the_end_of_a_certificate_is_in_metrics_and_status() {
    let pki = Pki::new();
    let endpoint = named("x");
    let long = showing(&endpoint, &pki.server(&["a.example", "b.example"]), "");
    let ends = long.metric(
        "pointsman_certificate_expiry_seconds",
        &["listener=\"web\"", "name=\"a.example\""],
    );
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    assert!(ends > now.expect("after 1970").as_secs_f64());
    let certificate = &long.status()["listeners"][0]["certificates"][0];
    assert_eq!(certificate["names"][1], "b.example");
    assert!(certificate["warning"].is_null());

    let over = showing(&endpoint, &pki.expired_server(&["a.example"]), "");
    assert!(over.metric("pointsman_certificate_expiry_seconds", &[]) < 1_010_000_000.0);
    let certificate = &over.status()["listeners"][0]["certificates"][0];
    assert_eq!(certificate["not_after"], "2001-12-31T00:00:00.000000Z");
    let warning = certificate["warning"].as_str().unwrap_or_default();
    assert!(warning.starts_with("the certificate expired"), "{warning}");
}

#[test]
fn endpoints_learn_of_a_client_from_its_certificate_and_not_from_its_requests() {
    let pki = Pki::new();
    let endpoint = named("x");
    let ca = pki.ca();
    let client = format!(
        ", client = {{ ca = \"{}\", certificate = \"optional\", headers = \
         {{ subject = \"x-subject\", san = \"x-san\", fingerprint = \"x-fingerprint\" }} }}",
        ca.display()
    );
    let proxy = showing(&endpoint, &pki.server(&["test.example"]), &client);
    let alice = pki.client("alice");
    let forged = "GET / HTTP/1.1\r\nHost: test.example\r\nX-Subject: CN=root\r\n\
                  X_Fingerprint: 00\r\nX-San: DNS:root\r\n\r\n";
    let tls = TlsClient::showing(&pki, "test.example", &alice);
    for is_resumed in [false, true] {
        let mut client = Client::connect_tls(proxy.peer(), &tls);
        client.send(forged);
        assert_eq!(client.read_response().status, 200);
        assert_eq!(client.handshake().is_resumed, is_resumed);
        let head = endpoint.requests().pop().expect("it came").head;
        let subjects = head.fields("x-subject");
        assert!(subjects.len() == 1 && subjects[0].contains("CN=alice"));
        assert_eq!(head.fields("x-san"), ["DNS:alice"]);
        let fingerprints = head.fields("x-fingerprint");
        assert!(fingerprints.len() == 1 && fingerprints[0].len() == 64);
    }
    let tls = TlsClient::new(&pki, "test.example");
    let mut nobody = Client::connect_tls(proxy.peer(), &tls);
    nobody.send(forged);
    assert_eq!(nobody.read_response().status, 200);
    let head = endpoint.requests().pop().expect("it came").head;
    for name in ["x-subject", "x-san", "x-fingerprint"] {
        assert!(head.fields(name).is_empty(), "{name}");
    }
}

#[test]
fn a_revocation_list_is_read_again() {
    let pki = Pki::new();
    let endpoint = named("x");
    let [alice, bob] = ["alice", "bob"].map(|name| pki.client(name));
    let list = pki.revoking(&[]);
    let client = format!(
        ", client = {{ ca = \"{}\", crl = \"{}\" }}",
        pki.ca().display(),
        list.display()
    );
    let proxy = showing(&endpoint, &pki.server(&["test.example"]), &client);
    let [alice, bob] =
        [alice, bob].map(|leaf| (TlsClient::showing(&pki, "test.example", &leaf), leaf));
    let serves = |tls: &TlsClient| {
        // With TLS 1.3 a client hears of a refusal when it reads.
        Client::try_connect_tls(&proxy.peer(), tls).is_ok_and(|mut client| {
            let request = "GET / HTTP/1.1\r\nHost: test.example\r\n\r\n";
            client.try_send(request).is_ok() && client.try_read_response("GET", 100).is_ok()
        })
    };
    assert!(serves(&alice.0) && serves(&bob.0));
    assert!(!serves(&TlsClient::new(&pki, "test.example")));
    put(&pki.revoking(&[&alice.1]), &list);
    poll_until("alice is refused, with a session too", 2 * SOON, || {
        !serves(&alice.0)
    });
    assert!(serves(&bob.0));
}

#[test]
fn an_endpoint_that_is_not_the_one_it_should_be_gets_no_request() {
    let pki = Pki::new();
    let server = |leaf: &Leaf| {
        let speaks = Protocol::h1().over(&TlsServer::new(leaf));
        Endpoint::speaking(speaks, |_| Reply::ok("x"))
    };
    let tls = |more: &str| format!("tls = {{ ca = \"{}\"{more} }}", pki.ca().display());
    let status = |endpoint: &Endpoint, tls: &str| {
        let proxy = Setup::to(&[endpoint]).pool(tls).start();
        get(proxy.peer(), "/").status
    };
    let right = server(&pki.server(&["127.0.0.1"]));
    assert_eq!(status(&right, &tls("")), 200);
    let named = server(&pki.server(&["app.internal"]));
    assert_eq!(status(&named, &tls("")), 502);
    assert_eq!(status(&named, &tls(", name = \"app.internal\"")), 200);
    assert_eq!(status(&named, &tls(", name = \"api.internal\"")), 502);
    assert_eq!(status(&named, "tls = { verify = \"off\" }"), 200);
    let strange = server(&Pki::new().server(&["127.0.0.1"]));
    assert_eq!(status(&strange, &tls("")), 502);
    assert_eq!(strange.request_count(), 0);
    let expired = server(&pki.expired_server(&["127.0.0.1"]));
    assert_eq!(status(&expired, &tls("")), 502);
}

#[test]
fn an_endpoint_may_demand_a_certificate_which_is_read_again() {
    let pki = Pki::new();
    let leaf = pki.server(&["127.0.0.1"]);
    let speaks = Protocol::h1().over(&TlsServer::demanding(&leaf, &pki));
    let endpoint = Endpoint::speaking(speaks, |_| Reply::ok("x").field("Connection", "close"));
    let [mine, next] = ["mine", "next"].map(|name| pki.client(name));
    let ca = pki.ca();
    let without = format!("tls = {{ ca = \"{}\" }}", ca.display());
    let without = Setup::to(&[&endpoint]).pool(&without).start();
    assert_ne!(get(without.peer(), "/").status, 200);

    let with = format!(
        "tls = {{ ca = \"{}\", cert = \"{}\", key = \"{}\" }}",
        ca.display(),
        mine.cert().display(),
        mine.key().display()
    );
    let with = Setup::to(&[&endpoint]).pool(&with).start();
    let shown = || {
        assert_eq!(get(with.peer(), "/").status, 200);
        let handshakes = endpoint.handshakes().into_iter().flatten();
        handshakes.last().expect("there is one").certificates
    };
    let before = shown();
    put(next.cert(), mine.cert());
    put(next.key(), mine.key());
    poll_until("the other certificate is shown", 2 * SOON, || {
        shown() != before
    });
}
