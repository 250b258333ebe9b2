//! Connections whose bytes mean nothing to the balancer, in good times. For bad times see
//! `relay_faults`.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use testkit::{
    Client, Clogged, End, Endpoint, Gate, Pki, Step, TlsClient, TlsServer, filler, poll_until,
};
use wire::proxy_protocol::{Addresses, Header, write_v1, write_v2};

use crate::harness::{Proxy, SOON, Setup, echo, greeting};

/// A relay to these endpoints.
fn relay(endpoints: &[&Endpoint]) -> Setup {
    Setup::to(endpoints).relaying("tcp")
}

/// An endpoint that hears the client out before it answers.
fn patient(answer: &'static str) -> Endpoint {
    Endpoint::raw(move |_| vec![Step::ReadToEnd, Step::Send(answer.into())])
}

/// Waits until the endpoint's connection of this number has ended; returns how.
#[track_caller]
fn end_of(endpoint: &Endpoint, connection: usize) -> End {
    let end = || endpoint.transcripts().get(connection)?.end.clone();
    poll_until("the endpoint hears the end", SOON, || end().is_some());
    end().expect("it has ended")
}

/// Open connections of clients.
fn open_count(proxy: &Proxy) -> f64 {
    proxy.metric("pointsman_listener_connections_open", &[])
}

#[test]
fn every_byte_comes_through_and_is_written_down() {
    let endpoint = echo();
    let proxy = relay(&[&endpoint]).start();
    let bytes: Vec<u8> = (0..=255).collect();
    let mut client = proxy.client();
    for piece in [1, 100, 256] {
        client.send_in_pieces(&bytes, piece);
        assert_eq!(client.read_bytes(256), bytes, "in pieces of {piece}");
    }
    client.finish();
    client.expect_goodbye();
    assert_eq!(endpoint.transcripts()[0].received, bytes.repeat(3));
    assert_eq!(end_of(&endpoint, 0), End::Clean);

    let line = &proxy.log(1)[0];
    let name = endpoint.peer().to_string();
    assert_eq!(line["protocol"], "tcp", "{line}");
    assert_eq!(line["client"], client.local_address().to_string(), "{line}");
    assert_eq!(line["listener"], "web", "{line}");
    assert_eq!(line["route"], "web", "{line}");
    assert_eq!(line["pool"], "app", "{line}");
    assert_eq!(line["endpoint"], *name, "{line}");
    assert_eq!(line["bytes_received"], 768, "{line}");
    assert_eq!(line["bytes_sent"], 768, "{line}");
    let attempts = line["attempts"].as_array().expect("there are attempts");
    assert_eq!(attempts.len(), 1, "{line}");
    assert_eq!(attempts[0]["endpoint"], *name, "{line}");
    assert_eq!(attempts[0]["outcome"], "ok", "{line}");
    assert!(attempts[0]["connect"].is_f64(), "{line}");
    assert!(attempts[0]["first_byte"].is_f64(), "{line}");
    assert!(line["phases"]["first_byte"].is_f64(), "{line}");
    for absent in [
        "request_id",
        "status",
        "method",
        "ended_by",
        "failure",
        "sni",
    ] {
        assert!(line[absent].is_null(), "{absent}: {line}");
    }

    let listener = |name: &str| proxy.metric(&format!("pointsman_listener_{name}"), &[]);
    assert_eq!(listener("received_bytes_total"), 768.0);
    assert_eq!(listener("sent_bytes_total"), 768.0);
    assert_eq!(listener("connections_accepted_total"), 1.0);
    poll_until("it is closed", SOON, || open_count(&proxy) == 0.0);
    let attempts = proxy.metric("pointsman_endpoint_attempts_total", &["\"ok\""]);
    assert_eq!(attempts, 1.0);
}

#[test]
fn a_server_may_speak_first() {
    let endpoint = greeting("220 hello\r\n");
    let proxy = relay(&[&endpoint]).start();
    let mut client = proxy.client();
    assert_eq!(client.read_bytes(11), b"220 hello\r\n");
    client.send("QUIT\r\n");
    assert_eq!(client.read_bytes(6), b"QUIT\r\n");
}

#[test]
fn a_client_that_has_said_all_gets_its_answer() {
    let endpoint = patient("answer");
    let proxy = relay(&[&endpoint]).start();
    let mut client = proxy.client();
    client.send("question");
    client.finish();
    assert_eq!(client.read_bytes(6), b"answer");
    client.expect_goodbye();
    assert_eq!(endpoint.received(), [b"question"]);
    let line = &proxy.log(1)[0];
    assert!(line["ended_by"].is_null(), "{line}");
    assert_eq!(line["attempts"][0]["outcome"], "ok", "{line}");
}

#[test]
fn an_endpoint_that_has_said_all_still_listens() {
    let endpoint =
        Endpoint::raw(|_| vec![Step::Send(b"all".into()), Step::Finish, Step::ReadToEnd]);
    let proxy = relay(&[&endpoint]).start();
    let mut client = proxy.client();
    assert_eq!(client.read_bytes(3), b"all");
    client.expect_goodbye();
    for word in ["still", "there"] {
        client.send(word);
    }
    client.finish();
    assert_eq!(end_of(&endpoint, 0), End::Clean);
    assert_eq!(endpoint.received(), [b"stillthere"]);
    let line = &proxy.log(1)[0];
    assert_eq!(line["bytes_received"], 10, "{line}");
    assert_eq!(line["bytes_sent"], 3, "{line}");
    assert!(line["ended_by"].is_null(), "{line}");
}

#[test]
fn bulk_goes_both_ways_at_once_without_a_byte_lost() {
    const BYTES: u64 = 64 * 1024 * 1024;
    let endpoint = echo();
    let proxy = relay(&[&endpoint]).start();
    let mut client = proxy.client();
    client.set_timeout(SOON);
    let mut sender = client.twin();
    sender.set_timeout(SOON);
    let sending = std::thread::spawn(move || {
        sender.send_filler(BYTES);
        sender.finish();
    });
    client.read_filler(BYTES);
    client.expect_goodbye();
    sending.join().expect("all is sent");
    let line = &proxy.log(1)[0];
    assert_eq!(line["bytes_received"], BYTES, "{line}");
    assert_eq!(line["bytes_sent"], BYTES, "{line}");
    for name in ["received", "sent"] {
        let name = format!("pointsman_listener_{name}_bytes_total");
        assert_eq!(proxy.metric(&name, &[]), BYTES as f64);
    }
    assert_eq!(endpoint.transcripts()[0].received_bytes, BYTES);
}

/// What a writer has let go, once it stands still because nobody takes more.
#[track_caller]
fn standstill(mut written: impl FnMut() -> u64) -> u64 {
    let mut before = (0, Instant::now());
    poll_until("the writer stands still", SOON, || {
        let now = written();
        if now != before.0 {
            before = (now, Instant::now());
        }
        now > 0 && before.1.elapsed() > Duration::from_millis(300)
    });
    before.0
}

/// More than the buffers of four sockets and the relay together: the kernel lets one of loopback
/// grow to 4 MiB (`tcp_wmem`) and 6 MiB (`tcp_rmem`).
const IN_FLIGHT_MAX: u64 = 24 * 1024 * 1024;

#[test]
fn a_client_that_reads_slowly_holds_up_its_endpoint() {
    const BYTES: u64 = 64 * 1024 * 1024;
    let endpoint = Endpoint::raw(|_| vec![Step::SendFiller(BYTES)]);
    let proxy = relay(&[&endpoint]).start();
    let mut client = proxy.client();
    let sent = standstill(|| {
        let transcripts = endpoint.transcripts();
        transcripts.first().map_or(0, |seen| seen.sent_bytes)
    });
    assert!(sent < IN_FLIGHT_MAX, "{sent}");
    client.read_filler(BYTES);
    client.expect_goodbye();
}

#[test]
fn an_endpoint_that_reads_slowly_holds_up_its_client() {
    const BYTES: u64 = 64 * 1024 * 1024;
    let gate = Gate::new();
    let endpoint = Endpoint::raw({
        let gate = gate.clone();
        move |_| vec![Step::Wait(gate.clone()), Step::Tunnel]
    });
    let proxy = relay(&[&endpoint]).start();
    let mut client = proxy.client();
    client.set_timeout(SOON);
    let mut sender = client.twin();
    sender.set_timeout(SOON);
    let written = Arc::new(AtomicU64::new(0));
    let sending = std::thread::spawn({
        let written = Arc::clone(&written);
        move || {
            let piece = filler(65_521);
            let mut left = BYTES;
            while left > 0 {
                let bytes = left.min(piece.len() as u64);
                sender.send(&piece[..bytes as usize]);
                left -= bytes;
                written.fetch_add(bytes, Ordering::Relaxed);
            }
            sender.finish();
        }
    });
    let sent = standstill(|| written.load(Ordering::Relaxed));
    assert!(sent < IN_FLIGHT_MAX, "{sent}");
    gate.open();
    client.read_filler(BYTES);
    client.expect_goodbye();
    sending.join().expect("all is sent");
}

/// A relay whose first endpoint lets nobody in, so that a client waits before it gets to the other.
fn slow_to_connect(endpoint: &Endpoint) -> (Proxy, Clogged) {
    let clogged = Clogged::start();
    let proxy = Setup::default()
        .relaying("tcp")
        .and_to(&clogged)
        .and_to(endpoint.peer())
        .pool("policy = \"first\"\ntimeouts = { connect = \"500ms\" }")
        .start();
    (proxy, clogged)
}

/// What `printf x | nc` does.
#[test]
fn a_client_that_says_all_before_there_is_a_connection_gets_its_answer() {
    for bytes in [1, 1000, 1_000_000] {
        let endpoint = patient("answer");
        let (proxy, _clogged) = slow_to_connect(&endpoint);
        let mut client = proxy.client();
        let mut sender = client.twin();
        let sending = std::thread::spawn(move || {
            sender.send_filler(bytes);
            sender.finish();
        });
        assert_eq!(client.read_bytes(6), b"answer", "after {bytes} bytes");
        client.expect_goodbye();
        sending.join().expect("all is sent");
        assert_eq!(endpoint.transcripts()[0].received_bytes, bytes);
        let line = &proxy.log(1)[0];
        assert_eq!(line["attempts"][0]["outcome"], "connect_failed", "{line}");
        assert_eq!(line["attempts"][1]["outcome"], "ok", "{line}");
        assert_eq!(line["bytes_received"], bytes, "{line}");
    }
}

#[test]
fn what_a_client_says_before_there_is_a_connection_is_not_lost() {
    let endpoint = echo();
    let (proxy, _clogged) = slow_to_connect(&endpoint);
    let mut client = proxy.client();
    client.send("early");
    assert_eq!(client.read_bytes(5), b"early");
    client.send("late");
    assert_eq!(client.read_bytes(4), b"late");
}

#[test]
fn a_connection_that_says_nothing_ends_well_too() {
    let endpoint = echo();
    let proxy = relay(&[&endpoint]).start();
    let mut client = proxy.client();
    client.finish();
    client.expect_goodbye();
    let line = &proxy.log(1)[0];
    assert_eq!(line["attempts"][0]["outcome"], "ok", "{line}");
    assert_eq!(line["bytes_received"], 0, "{line}");
}

/// The names of the greeting endpoints that so many new connections got to; they stay open.
fn greeted(proxy: &Proxy, count: usize) -> (Vec<Client>, BTreeMap<u8, usize>) {
    let mut names = BTreeMap::new();
    let clients = (0..count).map(|_| {
        let mut client = proxy.client();
        *names.entry(client.read_bytes(1)[0]).or_default() += 1;
        client
    });
    (clients.collect(), names)
}

#[test]
fn policies_spread_connections_over_the_endpoints() {
    for (policy, share_max) in [
        ("round_robin", 8),
        ("least_request", 9),
        ("adaptive", 16),
        ("random", 18),
    ] {
        let endpoints = ["a", "b", "c"].map(greeting);
        let proxy = relay(&endpoints.each_ref())
            .pool(&format!("policy = \"{policy}\""))
            .workers(1)
            .start();
        let (_clients, names) = greeted(&proxy, 24);
        assert_eq!(names.len(), 3, "{policy}: {names:?}");
        assert!(
            names.values().all(|count| *count <= share_max),
            "{policy}: {names:?}"
        );
    }
}

#[test]
fn connections_of_one_address_go_to_one_endpoint_by_client_ip() {
    for policy in ["maglev", "rendezvous"] {
        let endpoints = ["a", "b", "c"].map(greeting);
        let by = |key: &str| {
            relay(&endpoints.each_ref())
                .pool(&format!("policy = {{ {policy} = {{ key = \"{key}\" }} }}"))
                .start()
        };
        let proxy = by("client_ip");
        let mut used = BTreeSet::new();
        for host in 1..=12 {
            let greeting = || {
                let source = [127, 0, 0, host].into();
                Client::connect_from(source, proxy.address()).read_bytes(1)
            };
            let first = greeting();
            assert_eq!(
                [greeting(), greeting()],
                [first.clone(), first.clone()],
                "{policy}"
            );
            used.insert(first);
        }
        assert_eq!(used.len(), 3, "{policy}: {used:?}");

        // With the port, every connection is for itself.
        let (_clients, names) = greeted(&by("client"), 36);
        assert_eq!(names.len(), 3, "{policy}: {names:?}");
    }
}

/// A header for a client at `192.0.2.7:4711`.
fn header() -> Header {
    let address = |text: &str| text.parse::<SocketAddr>().expect("an address");
    Header {
        addresses: Some(Addresses {
            source: address("192.0.2.7:4711"),
            destination: address("198.51.100.1:443"),
        }),
        ..Header::default()
    }
}

fn written(write: fn(&Header, &mut Vec<u8>), header: &Header) -> Vec<u8> {
    let mut out = Vec::new();
    write(header, &mut out);
    out
}

type Write = fn(&Header, &mut Vec<u8>);
const VERSIONS: [(&str, Write); 2] = [("v1", write_v1), ("v2", write_v2)];

#[test]
fn a_proxy_header_says_who_the_client_is() {
    let endpoint = echo();
    let proxy = relay(&[&endpoint])
        .listener("proxy_protocol = \"127.0.0.0/8\"")
        .start();
    for (_, write) in VERSIONS {
        for piece in [1, 1000] {
            let mut client = proxy.client();
            client.send_in_pieces(
                [written(write, &header()).as_slice(), b"hello"].concat(),
                piece,
            );
            assert_eq!(client.read_bytes(5), b"hello");
        }
    }
    for (number, line) in proxy.log(4).iter().enumerate() {
        assert_eq!(line["client"], "192.0.2.7:4711", "{line}");
        assert_eq!(line["bytes_sent"], 5, "{line}");
        assert_eq!(endpoint.received()[number], b"hello");
    }
}

#[test]
fn endpoints_are_told_whose_connection_it_is() {
    for (version, write) in VERSIONS {
        // It speaks first: the header does not wait for the client.
        let endpoint = greeting("a");
        let proxy = relay(&[&endpoint])
            .pool(&format!("proxy_protocol = \"{version}\""))
            .start();
        let mut client = proxy.client();
        client.read_bytes(1);
        let expected = written(
            write,
            &Header {
                addresses: Some(Addresses {
                    source: client.local_address(),
                    destination: proxy.address(),
                }),
                ..Header::default()
            },
        );
        // And comes back as all else does.
        assert_eq!(client.read_bytes(expected.len()), expected, "{version}");
        client.send("hello");
        assert_eq!(client.read_bytes(5), b"hello");
        client.finish();
        client.expect_goodbye();
        let line = &proxy.log(1)[0];
        assert_eq!(line["bytes_received"], 5, "the header is ours: {line}");
    }
}

#[test]
fn what_is_told_of_a_client_is_passed_on() {
    for (version, write) in VERSIONS {
        let endpoint = echo();
        let proxy = relay(&[&endpoint])
            .listener("proxy_protocol = \"127.0.0.0/8\"")
            .pool(&format!("proxy_protocol = \"{version}\""))
            .start();
        let mut client = proxy.client();
        let header = written(write, &header());
        client.send([&header, b"hello".as_slice()].concat());
        let expected = [&header, b"hello".as_slice()].concat();
        assert_eq!(client.read_bytes(expected.len()), expected);
    }
}

/// Client and endpoint with TLS or without, and half-closes by close_notify.
#[test]
fn tls_may_be_on_either_side_or_on_both() {
    let pki = Pki::new();
    let leaf = pki.server(&["db.example"]);
    let server = TlsServer::new(&pki.server(&["db.internal"]));
    let listener = format!("tls = {}", leaf.toml());
    let pool = format!(
        "tls = {{ ca = \"{}\", name = \"db.internal\" }}",
        pki.ca().display()
    );
    for (from, to) in [(true, false), (false, true), (true, true)] {
        let start = |steps: fn(usize) -> Vec<Step>| {
            let endpoint = match to {
                true => Endpoint::raw_over(&server, steps),
                false => Endpoint::raw(steps),
            };
            let mut setup = relay(&[&endpoint]);
            if from {
                setup = setup.listener(&listener);
            }
            if to {
                setup = setup.pool(&pool);
            }
            (setup.start(), endpoint)
        };
        let client = |proxy: &Proxy| match from {
            true => Client::connect_tls(proxy.peer(), &TlsClient::new(&pki, "db.example")),
            false => proxy.client(),
        };
        let which = format!("TLS from the client: {from}, to the endpoint: {to}");

        let (proxy, endpoint) = start(|_| vec![Step::Send(b"hello".into()), Step::Tunnel]);
        let mut speaking = client(&proxy);
        assert_eq!(speaking.read_bytes(5), b"hello", "{which}");
        // One write, as large as what may wait on a way of four sockets.
        speaking.send_filler(100_000);
        speaking.read_filler(100_000);
        speaking.finish();
        speaking.expect_goodbye();
        assert_eq!(end_of(&endpoint, 0), End::Clean, "{which}");
        let line = &proxy.log(1)[0];
        assert_eq!(line["bytes_received"], 100_000, "{which}: {line}");
        assert_eq!(line["bytes_sent"], 100_005, "{which}: {line}");

        let (proxy, endpoint) = start(|_| vec![Step::ReadToEnd, Step::Send(b"answer".into())]);
        let mut asking = client(&proxy);
        asking.send("question");
        asking.finish();
        assert_eq!(asking.read_bytes(6), b"answer", "{which}");
        asking.expect_goodbye();
        assert_eq!(endpoint.received(), [b"question"]);

        let steps: fn(usize) -> Vec<Step> =
            |_| vec![Step::Send(b"all".into()), Step::Finish, Step::ReadToEnd];
        let (proxy, endpoint) = start(steps);
        let mut listening = client(&proxy);
        assert_eq!(listening.read_bytes(3), b"all", "{which}");
        listening.expect_goodbye();
        listening.send("still there");
        listening.finish();
        assert_eq!(end_of(&endpoint, 0), End::Clean, "{which}");
        assert_eq!(endpoint.received(), [b"still there"], "{which}");
    }
}

#[test]
fn either_side_may_be_a_unix_socket() {
    let directory = tempfile::tempdir().expect("a directory can be made");
    let path = |name: &str| directory.path().join(name);
    let endpoint = Endpoint::raw_unix(&path("endpoint.sock"), |_| vec![Step::Tunnel]);
    let listener = path("listener.sock");
    let bind = format!("bind = [\"127.0.0.1:0\", \"unix:{}\"]", listener.display());
    let proxy = relay(&[&endpoint]).listener(&bind).start();
    for peer in [proxy.peer(), listener.into()] {
        let mut client = Client::connect(peer);
        client.send_filler(10_000);
        client.read_filler(10_000);
        client.finish();
        client.expect_goodbye();
    }
}

/// A relay to an endpoint that takes one connection.
fn narrow(endpoint: &Endpoint, pool: &str) -> Proxy {
    Setup::to_tables(&[(endpoint, "max_connections = 1")])
        .relaying("tcp")
        .pool(pool)
        .start()
}

#[test]
fn who_finds_the_endpoint_full_waits_for_a_place() {
    let endpoint = greeting("a");
    let proxy = narrow(&endpoint, "queue = { length = 1, timeout = \"60s\" }");
    let mut first = proxy.client();
    first.read_bytes(1);
    let mut second = proxy.client();
    second.send("early");
    proxy.wait_for_queued(1);
    // The queue is full.
    let mut third = proxy.client();
    third.expect_close();
    assert_eq!(proxy.metric("pointsman_pool_queue_full_total", &[]), 1.0);
    let line = &proxy.log(1)[0];
    assert_eq!(line["failure"], "connection_limit_reached", "{line}");
    assert_eq!(line["ended_in"], "queue", "{line}");
    assert_eq!(endpoint.connection_count(), 1);

    first.finish();
    first.expect_goodbye();
    assert_eq!(second.read_bytes(6), b"aearly");
    second.finish();
    second.expect_goodbye();
    let lines = proxy.log(3);
    let mut served = lines.iter().filter(|line| line["failure"].is_null());
    assert!(
        served.any(|line| line["phases"]["queue"].is_f64()),
        "{lines:?}"
    );
}

#[test]
fn nobody_waits_for_a_place_for_longer_than_the_queue_allows() {
    let endpoint = greeting("a");
    let proxy = narrow(&endpoint, "queue = { length = 9, timeout = \"300ms\" }");
    let mut first = proxy.client();
    first.read_bytes(1);
    let start = Instant::now();
    proxy.client().expect_close();
    let took = start.elapsed();
    assert!(
        took >= Duration::from_millis(290) && took < SOON,
        "{took:?}"
    );
    let line = &proxy.log(1)[0];
    assert_eq!(line["failure"], "connection_limit_reached", "{line}");
    assert_eq!(
        proxy.metric("pointsman_pool_queue_timeouts_total", &[]),
        1.0
    );
    first.send("on");
    assert_eq!(first.read_bytes(2), b"on");
}

#[test]
fn who_leaves_the_queue_leaves_it_to_others() {
    let endpoint = greeting("a");
    let proxy = narrow(&endpoint, "queue = { length = 9, timeout = \"60s\" }");
    let mut first = proxy.client();
    first.read_bytes(1);
    let impatient = proxy.client();
    proxy.wait_for_queued(1);
    impatient.reset();
    proxy.wait_for_queued(0);
    let line = &proxy.log(1)[0];
    assert_eq!(line["ended_by"], "client", "{line}");
    assert_eq!(line["ended_in"], "queue", "{line}");
}

#[test]
fn a_drain_waits_for_open_connections_and_takes_no_new_ones() {
    let endpoint = echo();
    let proxy = relay(&[&endpoint]).start();
    let peer = proxy.peer();
    let mut clients = vec![proxy.client(), proxy.client()];
    for client in &mut clients {
        client.send("before");
        assert_eq!(client.read_bytes(6), b"before");
    }
    let stopping = std::thread::spawn(move || proxy.stop_within(SOON));
    // Who got in before is served.
    poll_until("nothing new is taken", SOON, || {
        let connected = Client::try_connect(&peer);
        let is_refused = connected.is_err();
        clients.extend(connected);
        is_refused
    });
    for client in &mut clients {
        client.send("within");
        assert_eq!(client.read_bytes(6), b"within");
        assert!(!stopping.is_finished());
        client.finish();
        client.expect_goodbye();
    }
    let log = stopping.join().expect("the stop ends").log();
    assert_eq!(log.lines().count(), clients.len());
    assert!(!log.contains("ended_by"), "{log}");
}

#[test]
fn a_drain_ends_open_connections_at_its_deadline() {
    let endpoint = echo();
    let proxy = relay(&[&endpoint]).start();
    let mut client = proxy.client();
    client.send("before");
    assert_eq!(client.read_bytes(6), b"before");
    let start = Instant::now();
    let log = proxy.stop_within(Duration::from_millis(300)).log();
    let took = start.elapsed();
    assert!(
        took >= Duration::from_millis(290) && took < SOON,
        "{took:?}"
    );
    client.expect_close();
    assert!(log.contains("\"ended_by\":\"us\""), "{log}");
    assert!(log.contains("\"bytes_sent\":6,"), "{log}");
}

/// More than the runtime looks after in one turn.
#[test]
fn a_drain_leaves_no_connection_without_an_end() {
    let endpoint = greeting("a");
    let proxy = relay(&[&endpoint]).workers(1).start();
    let (mut clients, _) = greeted(&proxy, 600);
    let log = proxy.stop_within(Duration::from_millis(300)).log();
    for client in &mut clients {
        client.expect_reset();
    }
    assert_eq!(log.lines().count(), clients.len());
    assert_eq!(log.matches("\"ended_by\":\"us\"").count(), clients.len());
}

#[test]
fn a_connection_ends_when_neither_side_says_anything_for_long() {
    let endpoint = greeting("a");
    let proxy = relay(&[&endpoint])
        .listener("timeouts = { idle = \"300ms\" }")
        .start();
    let start = Instant::now();
    let mut client = proxy.client();
    client.read_bytes(1);
    client.expect_close();
    let took = start.elapsed();
    assert!(
        took >= Duration::from_millis(290) && took < SOON,
        "{took:?}"
    );
    let line = &proxy.log(1)[0];
    assert_eq!(line["ended_by"], "us", "{line}");
    assert_eq!(line["ended_in"], "tunnel", "{line}");
    end_of(&endpoint, 0);
}

/// Each pause is less than the time-out, all of them together are more.
#[test]
fn what_either_side_says_keeps_a_connection_open() {
    const PAUSE: Duration = Duration::from_millis(400);
    let endpoint = Endpoint::raw(|connection| match connection {
        0 => vec![vec![Step::Send(b".".into()), Step::Pause(PAUSE)]; 4].concat(),
        _ => vec![Step::ReadToEnd, Step::Send(b"answer".into())],
    });
    let proxy = relay(&[&endpoint])
        .listener("timeouts = { idle = \"1s\" }")
        .start();
    let mut listening = proxy.client();
    assert_eq!(listening.read_bytes(4), b"....");
    listening.finish();
    listening.expect_goodbye();

    let mut speaking = proxy.client();
    for _ in 0..4 {
        speaking.send(".");
        std::thread::sleep(PAUSE);
    }
    speaking.finish();
    assert_eq!(speaking.read_bytes(6), b"answer");
}

/// One worker, and a transfer that never has to wait for either side for long.
#[test]
fn a_bulk_transfer_leaves_time_for_others() {
    let endpoint = Endpoint::raw(|connection| match connection {
        0 => vec![Step::SendFiller(u64::MAX)],
        _ => vec![Step::Tunnel],
    });
    let proxy = relay(&[&endpoint]).workers(1).start();
    let mut bulk = proxy.client();
    bulk.read_bytes(1);
    let is_over = Arc::new(AtomicBool::new(false));
    let reading = std::thread::spawn({
        let is_over = Arc::clone(&is_over);
        move || {
            while !is_over.load(Ordering::Relaxed) {
                bulk.read_bytes(1_000_000);
            }
        }
    });
    for _ in 0..20 {
        let start = Instant::now();
        let mut client = proxy.client();
        for _ in 0..5 {
            client.send("ping");
            assert_eq!(client.read_bytes(4), b"ping");
        }
        let took = start.elapsed();
        assert!(took < Duration::from_secs(1), "{took:?}");
    }
    is_over.store(true, Ordering::Relaxed);
    reading.join().expect("the transfer goes on");
}

#[test]
fn many_connections_at_once_do_not_mix() {
    let endpoint = echo();
    let proxy = relay(&[&endpoint]).start();
    let mut clients: Vec<_> = (0..300).map(|_| proxy.client()).collect();
    for (number, client) in clients.iter_mut().enumerate() {
        client.send(format!("{number:04}"));
    }
    poll_until("all are open", SOON, || open_count(&proxy) == 300.0);
    for (number, client) in clients.iter_mut().enumerate().rev() {
        assert_eq!(client.read_bytes(4), format!("{number:04}").as_bytes());
    }
    drop(clients);
    poll_until("all are closed", SOON, || open_count(&proxy) == 0.0);
    let received: BTreeSet<_> = endpoint.received().into_iter().collect();
    assert_eq!(received.len(), 300);
}
