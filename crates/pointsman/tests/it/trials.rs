//! Back from an ejection, an endpoint shows with one request that it is well.

use testkit::{Endpoint, Gate, Reply, poll_until};

use crate::harness::{Proxy, SOON, Setup, named};

const POOL: &str = "policy = \"first\"\noutlier = { consecutive = 1, ejection = \"100ms\" }";

/// Ejects the only endpoint that fails, and waits until it is back. From then on it answers
/// when the gate opens.
fn eject(proxy: &Proxy, endpoint: &Endpoint) -> Gate {
    assert_eq!(proxy.get("/").status, 500);
    let gate = Gate::new();
    let opens = gate.clone();
    endpoint.set_script(move |_| Reply::ok("a").wait(&opens));
    let cause = ["cause=\"consecutive_failures\""];
    let ejections = || proxy.metric("pointsman_endpoint_ejections_total", &cause);
    poll_until("it is ejected", SOON, || ejections() == 1.0);
    proxy.wait_for_down(0);
    gate
}

#[test]
fn while_the_first_request_after_an_ejection_is_under_way_all_others_go_elsewhere() {
    let a = Endpoint::start(|_| Reply::status(500));
    let b = named("b");
    let proxy = Setup::to(&[&a, &b]).pool(POOL).start();
    let gate = eject(&proxy, &a);
    let mut trial = proxy.client();
    trial.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    poll_until("a has it", SOON, || a.in_flight() == 1);
    for _ in 0..10 {
        assert_eq!(proxy.get("/").text(), "b");
    }
    gate.open();
    assert_eq!(trial.read_response().text(), "a");
    for _ in 0..10 {
        assert_eq!(proxy.get("/").text(), "a");
    }
}

#[test]
fn a_client_that_leaves_makes_room_for_another_request_of_the_trial() {
    let a = Endpoint::start(|_| Reply::status(500));
    let b = named("b");
    let proxy = Setup::to(&[&a, &b]).pool(POOL).start();
    let gate = eject(&proxy, &a);
    let mut trial = proxy.client();
    trial.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    poll_until("a has it", SOON, || a.in_flight() == 1);
    drop(trial);
    proxy.wait_for_in_flight(0);
    gate.open();
    assert_eq!(proxy.get("/").text(), "a");
}
