//! Endpoints that are asked for their load at the pace of requests.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use balance::{AdminState, Balancer, CheckKind, LoadProbeSettings, Pick, Pool, Tried, Wanted};
use testkit::{Endpoint, Reply, poll_until};

use crate::setup::{LIMIT, Setup, pool};

fn probed(endpoints: &[SocketAddr], per_request: f64, timeout: Duration) -> Arc<Pool> {
    let mut pool = pool("app", CheckKind::Off, endpoints);
    let settings = &mut Arc::get_mut(&mut pool).expect("it is new").settings;
    settings.policy.load_probe = Some(LoadProbeSettings {
        path: "/load".into(),
        per_request,
        timeout,
    });
    pool
}

/// Sends a request, as far as probes can see it.
fn request(balancer: &mut Balancer) {
    let tried = Tried::new();
    let wanted = Wanted::plain(&tried, Instant::now());
    let pick = balancer.pick(&wanted, &mut fastrand::Rng::with_seed(1));
    assert!(matches!(pick, Pick::Endpoint(..)));
}

#[test]
fn probes_keep_the_pace_of_requests_and_reuse_their_connection() {
    let endpoint = Endpoint::start(|_| Reply::ok(r#"{"utilization": 0.5}"#));
    let setup = Setup::start(vec![probed(&[endpoint.address()], 0.5, LIMIT)]);
    let mut balancer = Balancer::new(Arc::clone(&setup.pools[0]), 0);
    for probes in 1..=5 {
        request(&mut balancer);
        request(&mut balancer);
        poll_until("a probe", LIMIT, || endpoint.request_count() >= probes);
        assert_eq!(endpoint.request_count(), probes);
    }
    assert_eq!(endpoint.connection_count(), 1);
    let head = endpoint.requests().remove(0).head;
    assert_eq!((head.word(0), head.word(1)), ("GET", "/load"));
    assert!(head.field("user-agent").unwrap().ends_with(" load-probe"));

    endpoint.cut_connections();
    request(&mut balancer);
    request(&mut balancer);
    poll_until("a probe", LIMIT, || endpoint.request_count() == 6);
    assert_eq!(endpoint.connection_count(), 2);
}

#[test]
fn a_report_in_fields_or_body_is_good_for_a_second() {
    let endpoint = Endpoint::start(|_| Reply::ok("0.25"));
    let setup = Setup::start(vec![probed(&[endpoint.address()], 1.0, LIMIT)]);
    let utilization = || setup.pools[0].utilization(0, Instant::now());
    let mut balancer = Balancer::new(Arc::clone(&setup.pools[0]), 0);
    assert_eq!(utilization(), None);
    request(&mut balancer);
    poll_until("a report in the body", LIMIT, || {
        utilization() == Some(0.25)
    });

    let metrics = "TEXT cpu_utilization=0.75";
    endpoint.set_script(move |_| Reply::ok("0.25").field("Endpoint-Load-Metrics", metrics));
    request(&mut balancer);
    poll_until("one in the fields", LIMIT, || utilization() == Some(0.75));
    poll_until("it is too old", LIMIT, || utilization().is_none());
}

#[test]
fn an_endpoint_that_does_not_answer_is_asked_by_one_probe_at_a_time() {
    let endpoint = Endpoint::start(|_| Reply::hang());
    let timeout = Duration::from_millis(20);
    let setup = Setup::start(vec![probed(&[endpoint.address()], 3.0, timeout)]);
    let mut balancer = Balancer::new(Arc::clone(&setup.pools[0]), 0);
    poll_until("five probes", LIMIT, || {
        request(&mut balancer);
        endpoint.request_count() >= 5
    });
    // The end of one and the begin of the next may cross on the way.
    assert!(
        endpoint.in_flight_max() <= 2,
        "{}",
        endpoint.in_flight_max()
    );
}

#[test]
fn endpoints_that_get_no_requests_are_not_probed() {
    let endpoints = [(); 2].map(|()| Endpoint::start(|_| Reply::ok("0.5")));
    let addresses = [endpoints[0].address(), endpoints[1].address()];
    let pool = probed(&addresses, 2.0, LIMIT);
    pool.set_admin_state(1, AdminState::Maintenance);
    let setup = Setup::start(vec![pool]);
    let mut balancer = Balancer::new(Arc::clone(&setup.pools[0]), 0);
    poll_until("some probes", LIMIT, || {
        request(&mut balancer);
        endpoints[0].request_count() >= 10
    });
    assert_eq!(endpoints[1].connection_count(), 0);
}
