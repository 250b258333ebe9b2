//! Starting and stopping.

use std::time::{Duration, Instant};

use testkit::{Client, Endpoint, Gate, Load, Reply, poll_until};

use crate::harness::{SOON, Setup, named, proxy_to};

#[test]
fn a_graceful_stop_finishes_what_is_in_flight_and_takes_nothing_new() {
    let gate = Gate::new();
    let endpoint = Endpoint::start({
        let gate = gate.clone();
        move |_| Reply::ok("finished").wait(&gate)
    });
    let proxy = proxy_to(&[&endpoint]);
    let peer = proxy.peer();
    let mut busy = proxy.client();
    busy.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    poll_until("the request is in flight", SOON, || {
        endpoint.in_flight() == 1
    });
    let mut idle = proxy.client();

    let stopping = std::thread::spawn(move || proxy.stop());
    idle.expect_close();
    poll_until("nothing new is taken", SOON, || {
        match Client::try_connect(&peer) {
            Err(_) => true,
            // What slipped into the backlog is ended, not served.
            Ok(mut client) => {
                client.read_to_end();
                false
            }
        }
    });
    assert!(!stopping.is_finished());
    gate.open();
    let response = busy.read_response();
    assert_eq!(response.text(), "finished");
    assert!(response.head.connection_has("close"));
    busy.expect_close();
    stopping.join().expect("the stop ends");
}

#[test]
fn dropping_it_stops_at_once() {
    let endpoint = Endpoint::start(|_| Reply::hang());
    let proxy = proxy_to(&[&endpoint]);
    let peer = proxy.peer();
    let mut busy = proxy.client();
    busy.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    poll_until("the request is in flight", SOON, || {
        endpoint.in_flight() == 1
    });
    drop(proxy);
    busy.expect_close();
    assert!(Client::try_connect(&peer).is_err());
}

#[test]
fn a_stop_closes_every_idle_connection_at_once() {
    let endpoint = named("a");
    let proxy = proxy_to(&[&endpoint]);
    // Half of them never sent a byte.
    let mut clients: Vec<_> = (0..10).map(|_| proxy.client()).collect();
    for client in clients.iter_mut().step_by(2) {
        assert_eq!(client.get("/").text(), "a");
    }
    poll_until("all are accepted", SOON, || {
        proxy.metric("pointsman_listener_connections_open", &[]) == 10.0
    });
    let stopping = std::thread::spawn(move || proxy.stop());
    for client in &mut clients {
        client.expect_close();
    }
    stopping.join().expect("the stop ends");
}

#[test]
fn a_graceful_stop_has_an_end() {
    let endpoint = Endpoint::start(|_| Reply::hang());
    let proxy = proxy_to(&[&endpoint]);
    let mut busy = proxy.client();
    busy.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    poll_until("the request is in flight", SOON, || {
        endpoint.in_flight() == 1
    });
    let start = Instant::now();
    proxy.stop_within(Duration::from_millis(300));
    let took = start.elapsed();
    assert!(
        took >= Duration::from_millis(300) && took < SOON,
        "{took:?}"
    );
    busy.expect_close();
}

#[test]
fn a_stop_loses_no_line_of_the_access_log() {
    let endpoint = named("a");
    let proxy = proxy_to(&[&endpoint]);
    Load::get(proxy.peer(), 500).run().assert_all_ok();
    let log = proxy.stop().log();
    assert_eq!(log.lines().count(), 500);
    assert!(log.ends_with('\n'));
}

#[test]
fn a_unix_socket_can_be_listened_on_again_after_a_stop() {
    let endpoint = named("a");
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("listener.sock");
    for _ in 0..2 {
        let bind = format!("bind = [\"127.0.0.1:0\", \"unix:{}\"]", path.display());
        let proxy = Setup::to(&[&endpoint]).listener(&bind).start();
        assert_eq!(Client::connect(path.clone()).get("/").text(), "a");
        proxy.stop();
        assert!(!path.exists());
    }
}
