//! Connections whose bytes mean nothing to the balancer, when something is wrong with either side.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;
use testkit::{
    Client, Clogged, End, Endpoint, Gate, Peer, Pki, Step, TlsClient, TlsServer, poll_until,
};

use crate::harness::{SOON, Setup, echo, greeting};

/// A relay to the first of these endpoints that takes connections.
fn relay(endpoints: &[&Endpoint]) -> Setup {
    Setup::to(endpoints)
        .relaying("tcp")
        .pool("policy = \"first\"")
}

/// An endpoint that refuses connections.
fn dead() -> Endpoint {
    let endpoint = greeting("dead");
    endpoint.stop_listening();
    endpoint
}

fn outcomes(line: &Value) -> Vec<&str> {
    let attempts = line["attempts"].as_array().into_iter().flatten();
    let outcomes = attempts.filter_map(|attempt| attempt["outcome"].as_str());
    outcomes.collect()
}

#[test]
fn a_reset_of_the_client_is_a_reset_at_the_endpoint() {
    let endpoint = greeting("a");
    let proxy = relay(&[&endpoint]).start();
    let mut client = proxy.client();
    client.send("hello");
    assert_eq!(client.read_bytes(6), b"ahello");
    client.reset();
    poll_until("the endpoint hears of it", SOON, || {
        endpoint.transcripts()[0].end == Some(End::Reset)
    });
    let line = &proxy.log(1)[0];
    assert_eq!(line["ended_by"], "client", "{line}");
    assert_eq!(line["bytes_received"], 5, "{line}");
    assert_eq!(line["bytes_sent"], 6, "{line}");
}

#[test]
fn a_reset_of_the_endpoint_is_a_reset_at_the_client() {
    let endpoint = Endpoint::raw(|_| vec![Step::Send(b"a".into()), Step::Read(4), Step::Reset]);
    let proxy = relay(&[&endpoint]).start();
    let mut client = proxy.client();
    assert_eq!(client.read_bytes(1), b"a");
    client.send("quit");
    client.expect_reset();
    let line = &proxy.log(1)[0];
    assert_eq!(line["ended_by"], "endpoint", "{line}");
    assert_eq!(line["ended_in"], "tunnel", "{line}");
    // It had done its part: many protocols end like this.
    assert_eq!(outcomes(line), ["ok"], "{line}");
}

/// A side that has said all may still be told of a reset.
#[test]
fn a_reset_after_a_half_close_is_a_reset_too() {
    let endpoint = Endpoint::raw(|_| vec![Step::ReadToEnd, Step::Reset]);
    let proxy = relay(&[&endpoint]).start();
    let mut client = proxy.client();
    client.finish();
    client.expect_reset();

    let endpoint = Endpoint::raw(|_| vec![Step::Finish, Step::ReadToEnd]);
    let proxy = relay(&[&endpoint]).start();
    let mut client = proxy.client();
    client.expect_goodbye();
    client.reset();
    poll_until("the endpoint hears of it", SOON, || {
        endpoint.transcripts()[0].end == Some(End::Reset)
    });
}

/// In both ways the way is full, and what closes it is the other end of the way.
#[test]
fn a_reset_is_noticed_while_nobody_takes_what_is_on_its_way() {
    let endpoint = Endpoint::raw(|_| vec![Step::SendFiller(u64::MAX)]);
    let proxy = relay(&[&endpoint]).start();
    let mut client = Client::connect_narrow(proxy.peer());
    client.read_bytes(1);
    client.reset();
    poll_until("the endpoint is let go", SOON, || {
        endpoint.open_count() == 0
    });
    let line = &proxy.log(1)[0];
    assert_eq!(line["ended_by"], "client", "{line}");

    let endpoint = Endpoint::raw(|_| vec![Step::Read(1), Step::Reset]);
    let proxy = relay(&[&endpoint]).start();
    let mut client = proxy.client();
    while client.try_send([b'x'; 65536]).is_ok() {}
    let line = &proxy.log(1)[0];
    assert_eq!(line["ended_by"], "endpoint", "{line}");
}

/// A client may be silent for as long as it likes: that makes no endpoint look bad.
#[test]
fn an_endpoint_that_shows_a_silent_client_out_is_not_to_blame() {
    let endpoint = Endpoint::raw(|_| {
        let tired = Step::Pause(Duration::from_millis(500));
        vec![tired, Step::Reset]
    });
    let proxy = relay(&[&endpoint])
        .pool("timeouts = { connect = \"200ms\" }")
        .start();
    proxy.client().expect_reset();
    let line = &proxy.log(1)[0];
    assert_eq!(outcomes(line), ["abandoned"], "{line}");
    assert_eq!(line["ended_by"], "endpoint", "{line}");
    assert!(line["failure"].is_null(), "{line}");
}

/// What it has been sent may have been executed: no other endpoint gets it.
#[test]
fn an_endpoint_that_breaks_off_instead_of_an_answer_is_to_blame() {
    let broken = || Endpoint::raw(|_| vec![Step::Read(5), Step::Reset]);
    let [one, other] = [broken(), broken()];
    let proxy = relay(&[&one, &other])
        .pool("retry = { attempts = 1 }")
        .start();
    let mut client = proxy.client();
    client.send("hello");
    client.expect_reset();
    let line = &proxy.log(1)[0];
    assert_eq!(outcomes(line), ["reset"], "{line}");
    assert_eq!(line["ended_by"], "endpoint", "{line}");
    assert_eq!(one.connection_count() + other.connection_count(), 1);
}

#[test]
fn a_refused_connection_moves_on_to_another_endpoint() {
    let [first, second] = [dead(), greeting("b")];
    let proxy = relay(&[&first, &second])
        .pool("retry = { attempts = 1 }\noutlier = \"off\"")
        .start();
    for number in 0..5 {
        let mut client = proxy.client();
        client.send("hello");
        assert_eq!(client.read_bytes(6), b"bhello");
        client.finish();
        client.expect_goodbye();
        let line = &proxy.log(number + 1)[number];
        assert_eq!(outcomes(line), ["refused", "ok"], "{line}");
        assert_eq!(line["endpoint"], second.peer().to_string(), "{line}");
        assert!(line["failure"].is_null(), "{line}");
    }
    assert_eq!(proxy.metric("pointsman_pool_retries_total", &[]), 5.0);
}

#[test]
fn a_relay_moves_on_as_often_as_it_may() {
    let endpoints = [dead(), dead(), greeting("c")];
    let with = |pool: &str| {
        relay(&endpoints.each_ref())
            .pool(pool)
            .pool("outlier = \"off\"")
            .start()
    };
    let enough = with("retry = { attempts = 2 }");
    assert_eq!(enough.client().read_bytes(1), b"c");
    for (retry, tried) in [("retry = { attempts = 1 }", 2), ("retry = \"off\"", 1)] {
        let proxy = with(retry);
        proxy.client().expect_close();
        let line = &proxy.log(1)[0];
        assert_eq!(outcomes(line), vec!["refused"; tried], "{line}");
        assert_eq!(line["failure"], "connection_refused", "{line}");
        assert_eq!(line["ended_by"], "endpoint", "{line}");
        assert_eq!(line["ended_in"], "connect", "{line}");
        let failures = "pointsman_route_failures_total";
        let labels = ["\"web\"", "\"connection_refused\""];
        assert_eq!(proxy.metric(failures, &labels), 1.0);
    }
}

#[test]
fn a_connection_that_takes_too_long_moves_on_to_another_endpoint() {
    let clogged = Clogged::start();
    let endpoint = greeting("b");
    let proxy = Setup::default()
        .relaying("tcp")
        .and_to(&clogged)
        .and_to(endpoint.peer())
        .pool("policy = \"first\"\ntimeouts = { connect = \"200ms\" }")
        .start();
    assert_eq!(proxy.client().read_bytes(1), b"b");
    let line = &proxy.log(1)[0];
    assert_eq!(outcomes(line)[0], "connect_failed", "{line}");

    let proxy = Setup::default()
        .relaying("tcp")
        .and_to(&clogged)
        .pool("timeouts = { connect = \"200ms\" }\nretry = \"off\"")
        .start();
    let start = Instant::now();
    proxy.client().expect_close();
    assert!(start.elapsed() >= Duration::from_millis(190));
    let line = &proxy.log(1)[0];
    assert_eq!(line["failure"], "connection_timeout", "{line}");
}

#[test]
fn clients_see_a_close_at_once_when_every_endpoint_is_down() {
    let endpoints = [dead(), dead()];
    let proxy = relay(&endpoints.each_ref())
        .pool("check = { interval = \"100ms\", timeout = \"1s\" }")
        .start();
    proxy.wait_for_down(2);
    let start = Instant::now();
    let mut client = proxy.client();
    client.expect_close();
    assert!(start.elapsed() < Duration::from_secs(1));
    let line = &proxy.log(1)[0];
    assert_eq!(line["failure"], "connection_refused", "{line}");
    assert_eq!(line["attempts"][0]["why"], "fail_open", "{line}");

    let proxy = relay(&endpoints.each_ref())
        .pool("check = { interval = \"100ms\", timeout = \"1s\" }\nfail = \"closed\"")
        .start();
    proxy.wait_for_down(2);
    proxy.client().expect_close();
    let line = &proxy.log(1)[0];
    assert_eq!(line["failure"], "destination_unavailable", "{line}");
    assert!(line["attempts"].is_null(), "{line}");
}

#[test]
fn an_endpoint_that_does_not_speak_tls_is_as_good_as_dead() {
    let pki = Pki::new();
    let server = TlsServer::new(&pki.server(&["db.internal"]));
    let plain = Endpoint::raw(|_| vec![Step::Send(b"* OK hello\r\n".into())]);
    let endpoint = Endpoint::raw_over(&server, |_| vec![Step::Send(b"b".into()), Step::Tunnel]);
    let tls = format!(
        "tls = {{ ca = \"{}\", name = \"db.internal\" }}",
        pki.ca().display()
    );
    let proxy = relay(&[&plain, &endpoint]).pool(&tls).start();
    let mut client = proxy.client();
    client.send("hello");
    assert_eq!(client.read_bytes(6), b"bhello");

    let proxy = relay(&[&plain]).pool(&tls).start();
    proxy.client().expect_close();
    let line = &proxy.log(1)[0];
    assert_eq!(line["failure"], "tls_protocol_error", "{line}");
}

#[test]
fn an_endpoint_that_resets_a_connection_before_a_byte_has_passed_is_as_good_as_dead() {
    let second = greeting("b");
    for may_move in [true, false] {
        let gate = Gate::new();
        let first = Endpoint::raw({
            let gate = gate.clone();
            move |_| vec![Step::Wait(gate.clone()), Step::Reset]
        });
        let mut setup = relay(&[&first, &second]).pool("timeouts = { connect = \"60s\" }");
        if !may_move {
            setup = setup.pool("retry = \"off\"");
        }
        let proxy = setup.start();
        let mut client = proxy.client();
        // The kernel calls a reset that comes before that a refusal.
        poll_until("it is connected", SOON, || {
            proxy.metric("pointsman_endpoint_connections_opened_total", &[]) == 1.0
        });
        gate.open();
        if may_move {
            assert_eq!(client.read_bytes(1), b"b");
            client.finish();
            client.expect_goodbye();
            let line = &proxy.log(1)[0];
            assert_eq!(outcomes(line), ["reset", "ok"], "{line}");
        } else {
            client.expect_reset();
            let line = &proxy.log(1)[0];
            assert_eq!(line["failure"], "connection_terminated", "{line}");
            assert_eq!(line["ended_by"], "endpoint", "{line}");
        }
    }
}

/// What the client still says finds the endpoint gone before anything is read from there. Were the
/// client told of an end in good order then, half an answer would look like a whole one.
#[test]
fn half_an_answer_ends_with_a_reset_while_the_client_has_more_to_say_too() {
    let gate = Gate::new();
    let endpoint = Endpoint::raw({
        let gate = gate.clone();
        move |_| {
            let half = Step::Send(b"half an answer".into());
            vec![half, Step::Wait(gate.clone()), Step::Reset]
        }
    });
    let proxy = relay(&[&endpoint]).start();
    let mut client = proxy.client();
    assert_eq!(client.read_bytes(14), b"half an answer");
    client.set_timeout(Duration::from_millis(300));
    while client.try_send([b'x'; 65536]).is_ok() {}
    client.set_timeout(SOON);
    gate.open();
    client.expect_reset();
    let line = &proxy.log(1)[0];
    assert_eq!(line["ended_by"], "endpoint", "{line}");
}

/// As a machine that vanishes: the kernel gives it up, and tells whoever writes first.
#[test]
fn half_an_answer_ends_with_a_reset_when_its_endpoint_is_given_up() {
    let gate = Gate::new();
    let endpoint = Endpoint::raw({
        let gate = gate.clone();
        move |_| {
            let half = Step::Send(b"half an answer".into());
            vec![half, Step::Wait(gate.clone())]
        }
    });
    let proxy = relay(&[&endpoint])
        .pool("socket = { user_timeout = \"1s\" }")
        .start();
    let mut client = proxy.client();
    assert_eq!(client.read_bytes(14), b"half an answer");
    client.set_timeout(Duration::from_millis(300));
    while client.try_send([b'x'; 65536]).is_ok() {}
    client.set_timeout(SOON);
    client.expect_reset();
    let line = &proxy.log(1)[0];
    assert_eq!(line["ended_by"], "endpoint", "{line}");
}

/// As a server does that refuses what is too long for it: the answer is whole.
#[test]
fn a_whole_answer_ends_in_good_order_although_the_client_had_more_to_say() {
    let gate = Gate::new();
    let endpoint = Endpoint::raw({
        let gate = gate.clone();
        move |_| {
            let wait = Step::Wait(gate.clone());
            vec![
                wait,
                Step::Send(b"too long".into()),
                Step::Finish,
                Step::Reset,
            ]
        }
    });
    let proxy = relay(&[&endpoint]).start();
    let mut client = proxy.client();
    client.set_timeout(Duration::from_millis(300));
    while client.try_send([b'x'; 65536]).is_ok() {}
    client.set_timeout(SOON);
    gate.open();
    assert_eq!(client.read_bytes(8), b"too long");
    client.expect_goodbye();
}

/// The client may have said something that was executed: nothing is tried twice.
#[test]
fn a_connection_that_was_made_does_not_move() {
    let first = Endpoint::raw(|_| vec![Step::Read(5)]);
    let second = greeting("b");
    let proxy = relay(&[&first, &second]).start();
    let mut client = proxy.client();
    client.send("hello");
    client.expect_goodbye();
    client.finish();
    let line = &proxy.log(1)[0];
    assert_eq!(outcomes(line).len(), 1, "{line}");
    assert_eq!(second.connection_count(), 0);
}

#[test]
fn a_client_that_leaves_before_there_is_a_connection_is_nobodys_fault() {
    let clogged = Clogged::start();
    let proxy = Setup::default()
        .relaying("tcp")
        .and_to(&clogged)
        .pool("timeouts = { connect = \"60s\" }")
        .start();
    let client = proxy.client();
    proxy.wait_for_in_flight(1);
    client.reset();
    let line = &proxy.log(1)[0];
    assert_eq!(line["ended_by"], "client", "{line}");
    assert_eq!(line["ended_in"], "connect", "{line}");
    assert_eq!(outcomes(line), ["abandoned"], "{line}");
    proxy.wait_for_in_flight(0);
}

/// What a client of a database does: connects, asks, reads the answer, leaves.
fn ask(peer: &Peer) -> Result<u8, String> {
    let mut client = Client::try_connect(peer).map_err(|error| error.to_string())?;
    client.set_timeout(SOON);
    client
        .try_send("hello")
        .map_err(|error| error.to_string())?;
    client.finish();
    let answer = client.read_to_end();
    match answer.as_slice() {
        [name, b'h', b'e', b'l', b'l', b'o'] => Ok(*name),
        other => Err(format!("{other:?}")),
    }
}

#[test]
fn a_killed_endpoint_costs_no_new_connection_and_none_at_others() {
    let endpoints = ["a", "b", "c"].map(greeting);
    let proxy = Setup::to(&endpoints.each_ref())
        .relaying("tcp")
        .pool("policy = \"round_robin\"\ncheck = { interval = \"500ms\" }")
        .start();
    let mut open = (0..12).map(|_| {
        let mut client = proxy.client();
        let name = client.read_bytes(1)[0];
        (name, client)
    });
    let mut open: Vec<_> = open.by_ref().collect();

    let (peer, is_over) = (proxy.peer(), AtomicBool::new(false));
    let results = std::thread::scope(|scope| {
        // 50 connects a second, over all.
        let threads: Vec<_> = (0..5)
            .map(|_| {
                scope.spawn(|| {
                    let mut results = Vec::new();
                    while !is_over.load(Ordering::Relaxed) {
                        results.push(ask(&peer));
                        std::thread::sleep(Duration::from_millis(100));
                    }
                    results
                })
            })
            .collect();
        let wait_for = |count: usize, endpoint: &Endpoint| {
            let target = endpoint.connection_count() + count;
            poll_until("more connections", SOON, || {
                endpoint.connection_count() >= target
            });
        };
        wait_for(10, &endpoints[0]);
        endpoints[0].kill();
        proxy.wait_for_down(1);
        wait_for(20, &endpoints[1]);
        endpoints[0].listen_again();
        proxy.wait_for_down(0);
        wait_for(5, &endpoints[0]);
        is_over.store(true, Ordering::Relaxed);
        let results = threads.into_iter().flat_map(|thread| thread.join());
        results.flatten().collect::<Vec<_>>()
    });
    // One in the hands of the endpoint as it was killed is lost, as there is no other way.
    let lost = results.iter().filter(|result| result.is_err()).count();
    assert!(lost <= 1 && results.len() > 40, "{results:?}");

    for (name, client) in &mut open {
        match name {
            b'a' => client.expect_close(),
            _ => {
                client.send("still there");
                assert_eq!(client.read_bytes(11), b"still there");
            }
        }
    }
}

/// Who has a connection may know better than a check, and has state that would be lost.
#[test]
fn connections_to_an_endpoint_that_fails_its_checks_go_on() {
    let endpoints = ["a", "b"].map(greeting);
    let proxy = relay(&endpoints.each_ref())
        .pool("check = { interval = \"100ms\", timeout = \"1s\" }")
        .start();
    let mut client = proxy.client();
    assert_eq!(client.read_bytes(1), b"a");
    endpoints[0].stop_listening();
    proxy.wait_for_down(1);
    assert_eq!(proxy.client().read_bytes(1), b"b");
    client.send("still there");
    assert_eq!(client.read_bytes(11), b"still there");
}

/// Row 23: what is no header, or one from somebody else.
#[test]
fn a_missing_or_broken_proxy_header_closes_the_connection_and_is_counted() {
    let endpoint = echo();
    let proxy = relay(&[&endpoint])
        .listener("proxy_protocol = \"127.0.0.0/8\"")
        .start();
    let broken: [&[u8]; 4] = [
        b"hello, I have no header",
        b"PROXY TCP4 192.0.2.7 192.0.2.8 1 2\n",
        b"\r\n\r\n\0\r\nQUIT\n\x21\x11\xff\xff",
        &[0x16; 200],
    ];
    for (number, bytes) in broken.iter().enumerate() {
        let mut client = proxy.client();
        client.send(bytes);
        let answer = client.read_to_end();
        assert!(answer.is_empty(), "{answer:?}");
        let rejected = "pointsman_listener_proxy_headers_rejected_total";
        assert_eq!(proxy.metric(rejected, &[]), (number + 1) as f64);
    }
    assert_eq!(endpoint.connection_count(), 0);

    // From an address that is not named it is what the client says.
    let proxy = relay(&[&endpoint])
        .listener("proxy_protocol = \"10.0.0.0/8\"")
        .start();
    let mut client = proxy.client();
    let header = b"PROXY TCP4 192.0.2.7 192.0.2.8 1 2\r\n";
    client.send(header);
    assert_eq!(client.read_bytes(header.len()), header);
}

#[test]
fn a_handshake_that_fails_is_counted_and_reaches_no_endpoint() {
    let pki = Pki::new();
    let endpoint = echo();
    let leaf = pki.server(&["db.example"]);
    let proxy = relay(&[&endpoint])
        .listener(&format!("tls = {}", leaf.toml()))
        .listener("timeouts = { head = \"1s\" }")
        .start();
    let mut plain = proxy.client();
    plain.send("SELECT 1;\n");
    plain.read_to_end();
    let mut silent = proxy.client();
    silent.read_to_end();
    let failed = "pointsman_listener_tls_failed_total";
    poll_until("both are counted", SOON, || {
        proxy.metric(failed, &[]) == 2.0
    });
    assert_eq!(endpoint.connection_count(), 0);
    let tls = TlsClient::new(&pki, "db.example");
    let mut client = Client::connect_tls(proxy.peer(), &tls);
    client.send("hello");
    assert_eq!(client.read_bytes(5), b"hello");
}

/// Row 29: a connection that neither side uses has an end.
#[test]
fn a_side_that_takes_nothing_holds_its_connection_no_longer_than_the_idle_timeout() {
    let endpoint = Endpoint::raw(|_| vec![Step::SendFiller(u64::MAX)]);
    let proxy = relay(&[&endpoint])
        .listener("timeouts = { idle = \"500ms\" }")
        .start();
    let mut client = Client::connect_narrow(proxy.peer());
    poll_until("it is ended", SOON, || {
        endpoint.connection_count() == 1 && endpoint.open_count() == 0
    });
    let line = &proxy.log(1)[0];
    assert_eq!(line["ended_by"], "us", "{line}");
    assert_eq!(line["ended_in"], "tunnel", "{line}");
    // What it has got is no whole answer.
    client.expect_reset();
}
