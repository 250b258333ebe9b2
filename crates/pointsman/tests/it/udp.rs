//! Datagrams: flows, where they go, how they end, and what is written down of them.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;
use socket2::{Domain, Socket, Type};
use testkit::{UdpClient, UdpEndpoint, filler, poll_until};
use wire::proxy_protocol::{Addresses, Read, read};

use crate::harness::{Proxy, SOON, Setup, named};

/// A listener for datagrams in front of these endpoints.
fn relay(endpoints: &[&UdpEndpoint]) -> Setup {
    let setup = Setup::to(&[]).relaying("udp");
    endpoints
        .iter()
        .fold(setup, |setup, endpoint| setup.and_to(endpoint.address()))
}

/// One after the other, so that a test knows who is next.
const IN_TURN: &str = "policy = \"round_robin\"";

/// With one worker, whose turns are the pool's.
fn in_turn(endpoints: &[&UdpEndpoint]) -> Setup {
    relay(endpoints).pool(IN_TURN).workers(1)
}

fn client(proxy: &Proxy) -> UdpClient {
    UdpClient::connect(proxy.address())
}

/// A metric of the listener.
fn count(proxy: &Proxy, name: &str) -> f64 {
    proxy.metric(&format!("pointsman_listener_{name}"), &[])
}

fn open_flows(proxy: &Proxy) -> f64 {
    count(proxy, "flows_open")
}

fn wait_for_open(proxy: &Proxy, flows: f64) {
    poll_until(&format!("{flows} flows are open"), SOON, || {
        open_flows(proxy) == flows
    });
}

/// Asks until there is an answer: the first datagrams may be those that find out.
#[track_caller]
fn ask_until_answered(client: &UdpClient, question: &str) {
    poll_until("there is an answer", SOON, || {
        client.send(question);
        let answer = client.receive_within(Duration::from_millis(50));
        answer.is_some_and(|answer| answer == question.as_bytes())
    });
}

/// Endpoint and outcome of each attempt.
fn attempts(line: &Value) -> Vec<(&str, &str)> {
    let attempts = line["attempts"].as_array().expect("there are attempts");
    let both = attempts
        .iter()
        .map(|attempt| (word(attempt, "endpoint"), word(attempt, "outcome")));
    both.collect()
}

fn word<'a>(object: &'a Value, key: &str) -> &'a str {
    object[key].as_str().unwrap_or_default()
}

#[test]
fn a_client_gets_what_the_endpoint_sends_and_the_other_way_round() {
    let endpoint = UdpEndpoint::repeating(2);
    let proxy = relay(&[&endpoint])
        .listener("timeouts = { idle = \"300ms\" }")
        .start();
    let client = client(&proxy);
    let long = filler(60 * 1024);
    for datagram in [&b"a"[..], b"", &long, b"bb"] {
        client.send(datagram);
        assert_eq!(client.receive(), datagram);
        assert_eq!(client.receive(), datagram);
    }
    assert_eq!(open_flows(&proxy), 1.0);

    let line = &proxy.log(1)[0];
    let name = endpoint.address().to_string();
    assert_eq!(line["protocol"], "udp", "{line}");
    assert_eq!(line["client"], client.local_address().to_string());
    assert_eq!(line["listener"], "web", "{line}");
    assert_eq!(line["pool"], "app", "{line}");
    assert_eq!(line["endpoint"], *name, "{line}");
    assert_eq!(line["datagrams_received"], 4, "{line}");
    assert_eq!(line["datagrams_sent"], 8, "{line}");
    assert_eq!(line["bytes_received"], long.len() + 3, "{line}");
    assert_eq!(line["bytes_sent"], 2 * (long.len() + 3), "{line}");
    assert_eq!(attempts(line), [(&*name, "ok")]);
    assert!(line["phases"]["first_byte"].is_f64(), "{line}");
    for absent in ["request_id", "status", "ended_by", "failure", "sni"] {
        assert!(line[absent].is_null(), "{absent}: {line}");
    }

    assert_eq!(count(&proxy, "datagrams_received_total"), 4.0);
    assert_eq!(count(&proxy, "datagrams_sent_total"), 8.0);
    assert_eq!(count(&proxy, "datagrams_dropped_total"), 0.0);
    assert_eq!(count(&proxy, "flows_opened_total"), 1.0);
    assert_eq!(open_flows(&proxy), 0.0);
    assert_eq!(count(&proxy, "flows_evicted_total"), 0.0);
    assert_eq!(count(&proxy, "connections_accepted_total"), 0.0);
    let bytes = (long.len() + 3) as f64;
    assert_eq!(count(&proxy, "received_bytes_total"), bytes);
    assert_eq!(count(&proxy, "sent_bytes_total"), 2.0 * bytes);
}

#[test]
fn datagrams_of_a_flow_arrive_in_order_and_flows_do_not_mix() {
    let endpoint = UdpEndpoint::echo();
    let proxy = relay(&[&endpoint]).start();
    let clients: Vec<UdpClient> = (0..20).map(|_| client(&proxy)).collect();
    // Together, so that batches hold datagrams of many flows.
    for number in 0..10 {
        for (index, client) in clients.iter().enumerate() {
            client.send(format!("{index}/{number}"));
        }
    }
    for (index, client) in clients.iter().enumerate() {
        for number in 0..10 {
            assert_eq!(client.receive(), format!("{index}/{number}").as_bytes());
        }
    }
    assert_eq!(open_flows(&proxy), 20.0);
    let peers: HashSet<SocketAddr> = endpoint.received().iter().map(|(peer, _)| *peer).collect();
    assert_eq!(peers.len(), 20, "each flow has a port of its own");
}

#[test]
fn a_flow_stays_at_its_endpoint_and_the_next_one_goes_elsewhere() {
    let endpoints = [
        UdpEndpoint::saying("a"),
        UdpEndpoint::saying("b"),
        UdpEndpoint::saying("c"),
    ];
    let proxy = in_turn(&endpoints.each_ref()).start();
    let mut seen = HashSet::new();
    for _ in 0..3 {
        let client = client(&proxy);
        let first = client.ask("who");
        for _ in 0..5 {
            assert_eq!(client.ask("who"), first);
        }
        seen.insert(first);
    }
    assert_eq!(seen.len(), 3);
}

#[test]
fn a_policy_may_go_by_the_client() {
    let endpoints = [UdpEndpoint::saying("a"), UdpEndpoint::saying("b")];
    for (key, least, most) in [("client_ip", 1, 1), ("client", 2, 2)] {
        let policy = format!("policy = {{ rendezvous = {{ key = \"{key}\" }} }}");
        let proxy = relay(&endpoints.each_ref()).pool(&policy).start();
        let answers = (0..32).map(|_| client(&proxy).ask("who"));
        let seen = answers.collect::<HashSet<_>>().len();
        assert!((least..=most).contains(&seen), "{seen} by {key}");
    }
}

#[test]
fn a_flow_with_all_its_replies_is_over() {
    let endpoints = [UdpEndpoint::echo(), UdpEndpoint::echo()];
    let proxy = in_turn(&endpoints.each_ref())
        .listener("udp = { replies = 1 }")
        .start();
    let client = client(&proxy);
    for _ in 0..4 {
        assert_eq!(client.ask("question"), b"question");
        wait_for_open(&proxy, 0.0);
    }
    assert_eq!(
        endpoints.each_ref().map(UdpEndpoint::received_count),
        [2, 2]
    );
    for line in proxy.log(4) {
        assert_eq!(line["datagrams_received"], 1, "{line}");
        assert_eq!(line["datagrams_sent"], 1, "{line}");
        assert!(line["ended_by"].is_null(), "{line}");
    }
    // As resolvers do that want both kinds of addresses.
    client.send("A");
    client.send("AAAA");
    let answers: HashSet<Vec<u8>> = [client.receive(), client.receive()].into();
    assert_eq!(answers, [b"A".to_vec(), b"AAAA".to_vec()].into());
}

#[test]
fn replies_that_do_not_come_are_written_down() {
    let endpoint = UdpEndpoint::silent();
    let proxy = relay(&[&endpoint])
        .listener("udp = { replies = 1 }\ntimeouts = { idle = \"50ms\" }")
        .start();
    client(&proxy).send("question");
    let line = &proxy.log(1)[0];
    assert_eq!(line["ended_by"], "endpoint", "{line}");
    assert_eq!(line["ended_in"], "response", "{line}");
    assert_eq!(line["failure"], "http_response_timeout", "{line}");
    let name = endpoint.address().to_string();
    assert_eq!(attempts(line), [(&*name, "abandoned")]);
    assert_eq!(proxy.count_down(), 0);
}

#[test]
fn who_only_listens_is_well() {
    let endpoint = UdpEndpoint::silent();
    let proxy = relay(&[&endpoint])
        .listener("timeouts = { idle = \"50ms\" }")
        .start();
    client(&proxy).send("<14>a message");
    let line = &proxy.log(1)[0];
    assert_eq!(line["endpoint"], endpoint.address().to_string(), "{line}");
    assert!(line["ended_by"].is_null(), "{line}");
    assert!(line["failure"].is_null(), "{line}");
}

#[test]
fn an_idle_flow_ends_and_its_client_begins_another() {
    let endpoints = [UdpEndpoint::saying("a"), UdpEndpoint::saying("b")];
    let proxy = in_turn(&endpoints.each_ref())
        .listener("timeouts = { idle = \"400ms\" }")
        .start();
    let client = client(&proxy);
    let first = client.ask("who");
    let start = Instant::now();
    // What is not idle goes on.
    while start.elapsed() < Duration::from_millis(800) {
        assert_eq!(client.ask("who"), first);
        std::thread::yield_now();
    }
    wait_for_open(&proxy, 0.0);
    assert_ne!(client.ask("who"), first);
    assert_eq!(count(&proxy, "flows_opened_total"), 2.0);
}

#[test]
fn the_longest_idle_flow_makes_room() {
    let endpoint = UdpEndpoint::echo();
    let proxy = relay(&[&endpoint])
        .listener("udp = { flows = 2 }")
        .workers(1)
        .start();
    let clients = [client(&proxy), client(&proxy), client(&proxy)];
    for index in [0, 1, 0, 2] {
        clients[index].ask("x");
    }
    assert_eq!(count(&proxy, "flows_evicted_total"), 1.0);
    assert_eq!(open_flows(&proxy), 2.0);
    let line = &proxy.log(1)[0];
    assert_eq!(line["client"], clients[1].local_address().to_string());
    assert_eq!(line["ended_by"], "us", "{line}");
    assert_eq!(line["ended_in"], "tunnel", "{line}");
    assert_eq!(line["attempts"][0]["outcome"], "ok", "{line}");
    // Whoever was evicted comes back as a new flow.
    clients[1].ask("y");
    assert_eq!(count(&proxy, "flows_evicted_total"), 2.0);
}

#[test]
fn no_flow_makes_room_for_one_that_no_room_would_help() {
    let endpoint = UdpEndpoint::echo();
    let proxy = relay(&[&endpoint])
        // The kernel lets nobody send to everybody.
        .and_to("255.255.255.255:9")
        .pool("policy = \"round_robin\"\noutlier = \"off\"")
        .start();
    let clients: Vec<_> = (0..6).map(|_| client(&proxy)).collect();
    for client in &clients {
        assert_eq!(client.ask("x"), b"x");
    }
    assert_eq!(open_flows(&proxy), 6.0);
    assert_eq!(count(&proxy, "flows_evicted_total"), 0.0);
}

#[test]
fn who_has_just_spoken_makes_no_room() {
    let endpoint = UdpEndpoint::echo();
    let proxy = relay(&[&endpoint])
        .listener("udp = { flows = 2 }")
        .workers(1)
        .start();
    let (old, older) = (client(&proxy), client(&proxy));
    for _ in 0..200 {
        older.ask("x");
        old.ask("x");
        // Most of these two are received at once. It is `old` that has been silent for longest.
        let new = client(&proxy);
        older.send("y");
        new.send("y");
        new.receive();
        older.receive();
    }
    let kept = older.local_address().to_string();
    let log = proxy.stop().log();
    let evicted = log.lines().filter(|line| line.contains(&kept));
    assert_eq!(evicted.count(), 1, "at the end alone");
}

#[test]
fn a_refused_datagram_moves_to_another_endpoint() {
    let (dead, alive) = (UdpEndpoint::echo(), UdpEndpoint::echo());
    dead.kill();
    let proxy = in_turn(&[&dead, &alive])
        .listener("udp = { replies = 1 }")
        .pool("outlier = \"off\"")
        .start();
    for number in 0..6 {
        let question = format!("question {number}");
        assert_eq!(client(&proxy).ask(&question), question.as_bytes());
    }
    let (dead, alive) = (dead.address().to_string(), alive.address().to_string());
    let lines = proxy.log(6);
    let moved = [(&*dead, "refused"), (&*alive, "ok")];
    let moves = lines.iter().filter(|line| attempts(line) == moved);
    assert_eq!(moves.count(), 3, "{lines:?}");
    for line in &lines {
        assert_eq!(line["endpoint"], *alive, "{line}");
        assert!(line["failure"].is_null(), "{line}");
    }
    assert_eq!(proxy.metric("pointsman_pool_retries_total", &[]), 3.0);
}

#[test]
fn refusals_take_an_endpoint_out_of_rotation() {
    let (dead, alive) = (UdpEndpoint::echo(), UdpEndpoint::echo());
    dead.kill();
    let proxy = in_turn(&[&dead, &alive]).start();
    poll_until("the dead one is ejected", SOON, || {
        client(&proxy).ask("question");
        proxy.count_down() == 1
    });
}

#[test]
fn a_flow_that_nobody_takes_is_written_down() {
    let dead = UdpEndpoint::echo();
    dead.kill();
    let proxy = relay(&[&dead]).pool("retry = \"off\"").start();
    client(&proxy).send("question");
    let line = &proxy.log(1)[0];
    assert_eq!(line["failure"], "connection_refused", "{line}");
    assert_eq!(line["ended_by"], "endpoint", "{line}");
    let name = dead.address().to_string();
    assert_eq!(attempts(line), [(&*name, "refused")]);
    assert_eq!(open_flows(&proxy), 0.0);
}

#[test]
fn a_killed_endpoint_loses_its_flows_and_no_others() {
    let (one, other) = (UdpEndpoint::echo(), UdpEndpoint::echo());
    let proxy = in_turn(&[&one, &other]).pool("outlier = \"off\"").start();
    let clients: Vec<UdpClient> = (0..10).map(|_| client(&proxy)).collect();
    for client in &clients {
        client.ask("before");
    }
    assert_eq!([one.received_count(), other.received_count()], [5, 5]);
    let stayed = other.received();
    one.kill();
    for client in &clients {
        ask_until_answered(client, "after");
    }
    let lines = proxy.log(5);
    for line in &lines {
        assert_eq!(line["endpoint"], one.address().to_string(), "{line}");
        assert_eq!(line["ended_by"], "endpoint", "{line}");
        assert_eq!(line["failure"], "connection_refused", "{line}");
        assert_eq!(line["ended_in"], "tunnel", "{line}");
    }
    // From the same ports as before.
    let after = other.received();
    for (peer, _) in stayed {
        let count = after.iter().filter(|(from, _)| *from == peer).count();
        assert_eq!(count, 2, "{peer}");
    }
    assert_eq!(open_flows(&proxy), 10.0);
}

#[test]
fn a_flow_leaves_an_endpoint_that_is_down() {
    let is_well = Arc::new(AtomicBool::new(true));
    let is_one_well = Arc::clone(&is_well);
    let one = UdpEndpoint::start(move |datagram| match datagram {
        b"ping" if !is_one_well.load(Ordering::Relaxed) => Vec::new(),
        _ => vec![b"one".into()],
    });
    let other = UdpEndpoint::saying("other");
    let check = "check = { udp = { send = \"ping\", expect = \"o\" }, interval = \"100ms\" }";
    let proxy = relay(&[&one, &other])
        .pool("policy = \"first\"")
        .pool(check)
        .start();
    let client = client(&proxy);
    assert_eq!(client.ask("who"), b"one");
    is_well.store(false, Ordering::Relaxed);
    proxy.wait_for_down(1);
    assert_eq!(client.ask("who"), b"other");
    let line = &proxy.log(1)[0];
    assert_eq!(line["endpoint"], one.address().to_string(), "{line}");
    assert_eq!(line["ended_by"], "endpoint", "{line}");
    assert_eq!(line["attempts"][0]["outcome"], "ok", "{line}");
    // Where it is now it stays, although the other one is back and goes first.
    is_well.store(true, Ordering::Relaxed);
    proxy.wait_for_down(0);
    assert_eq!(client.ask("who"), b"other");
}

#[test]
fn a_flow_of_a_time_when_all_were_down_finds_an_endpoint_that_is_back() {
    let is_well = Arc::new(AtomicBool::new(false));
    let is_one_well = Arc::clone(&is_well);
    let one = UdpEndpoint::start(move |_| match is_one_well.load(Ordering::Relaxed) {
        true => vec![b"one".into()],
        false => Vec::new(),
    });
    let other = UdpEndpoint::silent();
    let check = "check = { udp = { send = \"ping\", expect = \"o\" }, interval = \"100ms\" }";
    let proxy = in_turn(&[&one, &other])
        .listener("timeouts = { idle = \"500ms\" }")
        .pool(check)
        .start();
    proxy.wait_for_down(2);
    // One at each of them, and neither is ever idle.
    let clients = [client(&proxy), client(&proxy)];
    for client in &clients {
        client.send("who");
    }
    wait_for_open(&proxy, 2.0);
    is_well.store(true, Ordering::Relaxed);
    poll_until("both are answered", SOON, || {
        let mut answers = clients.iter().map(|client| {
            client.send("who");
            client.receive_within(Duration::from_millis(20))
        });
        // Not the first that is not: both go on.
        answers.by_ref().filter(Option::is_some).count() == 2
    });
}

#[test]
fn nobody_is_asked_for_more_than_it_takes() {
    let endpoint = UdpEndpoint::echo();
    let table = format!("address = \"{}\", max_connections = 1", endpoint.address());
    let proxy = Setup::to(&[])
        .relaying("udp")
        .listener("timeouts = { idle = \"1s\" }")
        .and_to_table(&table)
        .start();
    let (first, second) = (client(&proxy), client(&proxy));
    first.ask("x");
    second.send("y");
    poll_until("it is dropped", SOON, || {
        count(&proxy, "datagrams_dropped_total") == 1.0
    });
    wait_for_open(&proxy, 0.0);
    assert_eq!(second.ask("z"), b"z");
    // Whoever is turned away fills no log.
    let log = proxy.stop().log();
    assert_eq!(log.lines().count(), 2, "{log}");
}

#[test]
fn each_datagram_says_who_has_sent_it() {
    let endpoint = UdpEndpoint::echo();
    let proxy = relay(&[&endpoint]).pool("proxy_protocol = \"v2\"").start();
    let client = client(&proxy);
    let long = filler(60 * 1024);
    for payload in [&b"hello"[..], b"", &long] {
        let seen = client.ask(payload);
        let Ok(Read::Whole { consumed, header }) = read(&seen) else {
            panic!("no header: {:?}", &seen[..seen.len().min(40)]);
        };
        let expected = Addresses {
            source: client.local_address(),
            destination: proxy.address(),
        };
        assert_eq!(header.addresses, Some(expected));
        assert_eq!(seen[13], 0x12, "a datagram over IPv4");
        assert_eq!(&seen[consumed..], payload);
    }
}

#[test]
fn replies_come_from_the_address_that_was_asked() {
    let endpoint = UdpEndpoint::echo();
    let setup = relay(&[&endpoint]).listener("bind = \"0.0.0.0:0\"");
    let proxy = setup.start();
    let port = proxy.address().port();
    let from = SocketAddr::from(([127, 0, 0, 1], 0));
    for last in 1..4 {
        // A client that is connected takes nothing from elsewhere.
        let client = UdpClient::connect_from(from, SocketAddr::from(([127, 0, 0, last], port)));
        assert_eq!(client.ask("x"), b"x");
    }
    // The same client, at two of our addresses: two flows.
    let client = UdpClient::connect_from(from, SocketAddr::from(([127, 0, 0, 1], port)));
    client.ask("x");
    assert_eq!(open_flows(&proxy), 4.0);
}

#[test]
fn ipv6_and_ipv4_clients_may_share_a_listener() {
    let endpoint = UdpEndpoint::echo();
    let proxy = relay(&[&endpoint])
        .listener("bind = \"[::]:0\"\nsocket = { dual_stack = true }")
        .start();
    let port = proxy.address().port();
    for (from, to) in [("[::1]:0", "[::1]"), ("127.0.0.1:0", "127.0.0.1")] {
        let to = format!("{to}:{port}").parse().expect("an address");
        let client = UdpClient::connect_from(from.parse().expect("an address"), to);
        assert_eq!(client.ask(from), from.as_bytes());
    }
}

#[test]
fn a_listener_that_is_its_own_endpoint_makes_no_loop() {
    // Not where other tests look for ports.
    let address = SocketAddr::from(([127, 77, 0, 1], 0));
    let free = std::net::UdpSocket::bind(address).expect("an address of loopback");
    let address = free.local_addr().expect("it is bound");
    drop(free);
    let proxy = Setup::to(&[])
        .relaying("udp")
        .listener(&format!("bind = \"{address}\""))
        .and_to(address)
        .start();
    client(&proxy).send("x");
    let line = &proxy.log(1)[0];
    assert_eq!(line["failure"], "destination_ip_unroutable", "{line}");
    assert_eq!(count(&proxy, "datagrams_received_total"), 1.0);
    assert_eq!(count(&proxy, "datagrams_dropped_total"), 1.0);
}

#[test]
fn what_is_sent_to_everybody_is_for_nobody() {
    let both = "bind = \"[::]:0\"\nsocket = { dual_stack = true }";
    for bind in ["bind = \"0.0.0.0:0\"", both] {
        let endpoint = UdpEndpoint::echo();
        let proxy = relay(&[&endpoint]).listener(bind).workers(2).start();
        let everybody = SocketAddr::from(([127, 255, 255, 255], proxy.address().port()));
        let client = Socket::new(Domain::IPV4, Type::DGRAM, None).expect("a socket");
        client.set_broadcast(true).expect("it is asked for");
        client
            .send_to(b"x", &everybody.into())
            .expect("loopback takes it");
        // Each of the workers has heard it.
        poll_until("it is dropped twice", SOON, || {
            count(&proxy, "datagrams_dropped_total") == 2.0
        });
        assert_eq!(endpoint.received_count(), 0);
    }
}

#[test]
fn an_answer_to_ourselves_is_not_sent() {
    let endpoint = UdpEndpoint::echo();
    let proxy = relay(&[&endpoint]).start();
    // As a forged datagram would be: from the listener to the listener. A socket that is connected
    // elsewhere takes none from the workers.
    let ourselves = Socket::new(Domain::IPV4, Type::DGRAM, None).expect("a socket");
    ourselves.set_reuse_port(true).expect("it may be shared");
    let address = proxy.address().into();
    ourselves.bind(&address).expect("a port of the same user");
    let nobody = SocketAddr::from(([127, 0, 0, 1], 9)).into();
    ourselves
        .connect(&nobody)
        .expect("loopback has a way there");
    ourselves
        .send_to(b"x", &address)
        .expect("loopback takes it");
    poll_until("it is dropped", SOON, || {
        count(&proxy, "datagrams_dropped_total") == 1.0
    });
    assert_eq!(endpoint.received_count(), 0);
}

#[test]
fn thousands_of_flows_are_all_answered() {
    const FLOWS: usize = 4000;
    let endpoint = UdpEndpoint::echo();
    let proxy = relay(&[&endpoint]).start();
    let clients: Vec<UdpClient> = (0..FLOWS).map(|_| client(&proxy)).collect();
    for round in 0..2 {
        // Few enough at once for the buffers of sockets.
        for (index, some) in clients.chunks(100).enumerate() {
            let question = format!("{round}/{index}");
            some.iter().for_each(|client| client.send(&question));
            for client in some {
                assert_eq!(client.receive(), question.as_bytes());
            }
        }
    }
    assert_eq!(open_flows(&proxy), FLOWS as f64);
    assert_eq!(count(&proxy, "flows_opened_total"), FLOWS as f64);
    let stopped = proxy.stop();
    assert_eq!(stopped.log().lines().count(), FLOWS);
}

#[test]
fn in_a_drain_flows_go_on_until_they_are_silent_and_none_begin() {
    let endpoint = UdpEndpoint::echo();
    let proxy = relay(&[&endpoint]).start();
    let address = proxy.address();
    let old = client(&proxy);
    old.ask("before");
    let stopping = std::thread::spawn(move || {
        let stopped = proxy.stop();
        (Instant::now(), stopped)
    });
    let start = Instant::now();
    let mut last = start;
    let mut has_refused = false;
    while start.elapsed() < Duration::from_millis(1500) {
        assert_eq!(old.ask("during"), b"during");
        last = Instant::now();
        let new = UdpClient::connect(address);
        new.send("new");
        has_refused |= new.receive_within(Duration::from_millis(100)).is_none();
    }
    assert!(has_refused, "new clients are turned away");
    let (end, stopped) = stopping.join().expect("it stops");
    let silence = end - last;
    assert!(silence >= Duration::from_millis(900), "{silence:?}");
    assert!(silence < SOON, "{silence:?}");
    assert!(stopped.log().contains("\"ended_by\":\"us\""));
}

#[test]
fn a_drain_waits_for_no_answered_flow() {
    let endpoint = UdpEndpoint::echo();
    let proxy = relay(&[&endpoint])
        .listener("udp = { replies = 1 }")
        .start();
    client(&proxy).ask("question");
    wait_for_open(&proxy, 0.0);
    let start = Instant::now();
    proxy.stop();
    assert!(start.elapsed() < Duration::from_millis(900));
}

#[test]
fn in_a_drain_idle_connections_do_not_wait_for_flows() {
    let (endpoint, datagrams) = (named("hello"), UdpEndpoint::echo());
    let tables = format!(
        "[listeners.datagrams]\nbind = \"127.0.0.1:0\"\nprotocol = \"udp\"\npool = \"datagrams\"\n\
         [pools.datagrams]\ncheck = \"off\"\nendpoints = [\"{}\"]\n",
        datagrams.address(),
    );
    let proxy = Setup::to(&[&endpoint]).more(&tables).start();
    let flow = UdpClient::connect(proxy.address_of("datagrams"));
    flow.ask("before");
    let mut client = proxy.client();
    assert_eq!(client.get("/").text(), "hello");
    let start = Instant::now();
    let stopping = std::thread::spawn(move || proxy.stop());
    client.expect_close();
    assert!(start.elapsed() < Duration::from_millis(900));
    stopping.join().expect("it stops");
}
