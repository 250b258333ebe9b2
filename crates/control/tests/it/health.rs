//! Endpoints that die, hang, fail and come back.

use std::sync::Arc;
use std::time::{Duration, Instant};

use balance::{Availability, CheckKind, Evidence};
use testkit::{Endpoint, Reply, poll_until};

use crate::exposition;
use crate::setup::{LIMIT, Setup, http, pool, pool_with};

const FAILURES: Evidence = Evidence::LiveFailures {
    in_row: 5,
    connect_only: false,
};

#[test]
fn the_first_probe_brings_an_endpoint_up_at_once() {
    let endpoint = Endpoint::start(|_| Reply::ok(""));
    let setup = Setup::start(vec![pool("app", http(), &[endpoint.address()])]);
    setup.await_availability(0, 0, Availability::Up);
    setup.await_event("unknown → up: first probe (probe succeeded)");
}

#[test]
fn a_refused_request_and_a_failed_probe_take_an_endpoint_out_of_every_pool_within_a_second() {
    let endpoint = Endpoint::start(|_| Reply::ok(""));
    let pools = ["app", "other"].map(|name| {
        let mut pool = pool(name, CheckKind::Tcp, &[endpoint.address()]);
        // So slow that only the request can be what brings the news.
        Arc::get_mut(&mut pool).unwrap().settings.check.interval = LIMIT * 10;
        pool
    });
    let setup = Setup::start(pools.to_vec());
    setup.await_availability(0, 0, Availability::Up);
    setup.await_availability(1, 0, Availability::Up);

    endpoint.kill();
    let died = Instant::now();
    setup.saw(0, 0, Evidence::LiveRefused);
    setup.await_availability(0, 0, Availability::Down);
    setup.await_availability(1, 0, Availability::Down);
    assert!(
        died.elapsed() < Duration::from_secs(1),
        "{:?}",
        died.elapsed()
    );
    setup.await_event("up → down: refused live and probe (probe failed: connection refused)");
}

#[test]
fn a_refused_request_alone_takes_nothing_out() {
    let endpoint = Endpoint::start(|_| Reply::ok(""));
    let setup = Setup::start(vec![pool("app", http(), &[endpoint.address()])]);
    setup.await_availability(0, 0, Availability::Up);
    let before = endpoint.request_count();
    setup.saw(0, 0, Evidence::LiveRefused);
    poll_until("two more probes", LIMIT, || {
        endpoint.request_count() >= before + 2
    });
    assert_eq!(setup.availability(0, 0), Availability::Up);
    assert_eq!(setup.events().len(), 1, "{:?}", setup.events());
}

#[test]
fn an_endpoint_without_traffic_goes_down_after_fall_failures_and_recovers_after_rise_successes() {
    let endpoint = Endpoint::start(|_| Reply::ok(""));
    let setup = Setup::start(vec![pool("app", http(), &[endpoint.address()])]);
    setup.await_availability(0, 0, Availability::Up);
    endpoint.kill();
    setup.await_event("up → suspect: probe failed (probe failed: connection refused)");
    setup.await_event("suspect → down: probes failed (probe failed: connection refused)");
    assert_eq!(setup.availability(0, 0), Availability::Down);
    endpoint.listen_again();
    setup.await_event("down → recovering: probes succeeded (probe succeeded)");
    assert_eq!(setup.availability(0, 0), Availability::Up);
}

#[test]
fn a_status_that_is_not_expected_takes_an_endpoint_out() {
    let endpoint = Endpoint::start(|_| Reply::ok(""));
    let setup = Setup::start(vec![pool("app", http(), &[endpoint.address()])]);
    setup.await_availability(0, 0, Availability::Up);
    endpoint.set_script(|_| Reply::status(503));
    setup.await_availability(0, 0, Availability::Down);
    setup.await_event("suspect → down: probes failed (probe failed: unexpected status 503)");
}

#[test]
fn an_endpoint_that_hangs_goes_down_and_holds_up_nobody() {
    let hanging = Endpoint::start(|_| Reply::hang());
    let healthy = Endpoint::start(|_| Reply::ok(""));
    let both = [hanging.address(), healthy.address()];
    let setup = Setup::start(vec![pool("app", http(), &both)]);
    setup.await_event("unknown → down: probes failed (probe failed: timed out)");
    assert_eq!(setup.availability(0, 0), Availability::Down);
    assert_eq!(setup.availability(0, 1), Availability::Up);
    let events = setup.events();
    let up = format!("{} unknown → up", healthy.address());
    assert!(
        events[0].contains(&up),
        "the other one is up first: {events:?}"
    );
}

#[test]
fn endpoints_without_checks_are_up_from_the_start() {
    let endpoint = Endpoint::start(|_| Reply::ok(""));
    let setup = Setup::start(vec![pool("app", CheckKind::Off, &[endpoint.address()])]);
    assert_eq!(setup.availability(0, 0), Availability::Up);
    setup.saw(0, 0, Evidence::LiveRefused);
    // An answer shows that the loop has turned since.
    setup.get("/status");
    assert_eq!(endpoint.connection_count(), 0);
}

#[test]
fn an_ejected_endpoint_is_back_when_its_time_is_over() {
    // A connect check must not readmit what failed requests: only time does.
    let [first, second] = [(); 2].map(|()| Endpoint::start(|_| Reply::ok("")));
    let both = [first.address(), second.address()];
    let setup = Setup::start(vec![
        pool("app", CheckKind::Tcp, &both),
        pool("other", CheckKind::Tcp, &both),
    ]);
    setup.await_availability(0, 0, Availability::Up);
    setup.await_availability(0, 1, Availability::Up);
    setup.saw(0, 0, FAILURES);
    setup.await_event("up → ejected: consecutive failures (5 failed requests in a row)");
    setup.await_event("ejected → up: ejection over");
    assert_eq!(setup.availability(0, 0), Availability::Up);
    let elsewhere = |event: &String| event.contains("other/") && event.contains("ejected");
    assert!(
        !setup.events().iter().any(elsewhere),
        "{:?}",
        setup.events()
    );
}

#[test]
fn pools_that_share_a_target_share_its_probes() {
    let endpoint = Endpoint::start(|_| Reply::ok(""));
    let names = ["a", "b", "c"];
    let pools = names.map(|name| pool(name, http(), &[endpoint.address()]));
    let setup = Setup::start(pools.to_vec());
    for pool in 0..3 {
        setup.await_availability(pool, 0, Availability::Up);
    }
    poll_until("some probes", LIMIT, || endpoint.request_count() >= 10);

    // One more may be under way: the endpoint has seen it and the board has not.
    let counts = |setup: &Setup| {
        let page = exposition::parse(&setup.get("/metrics").text());
        names.map(|name| page.value("pointsman_endpoint_checks_total", &[("pool", name)]))
    };
    let before = counts(&setup);
    let received = endpoint.request_count() as f64;
    let after = counts(&setup);
    for pool in 0..3 {
        assert!(before[pool] <= received && received <= after[pool] + 1.0);
    }
}

#[test]
fn the_past_of_an_endpoint_is_bounded() {
    let endpoint = Endpoint::start(|request| {
        // Every other probe fails: up, suspect, up, suspect, ...
        Reply::status(if request.connection % 2 == 0 {
            200
        } else {
            503
        })
    });
    let setup = Setup::start(vec![pool("app", http(), &[endpoint.address()])]);
    poll_until("40 events", LIMIT, || setup.events().len() >= 40);
    let status: serde_json::Value = serde_json::from_str(&setup.get("/status").text()).unwrap();
    let past = status["pools"][0]["endpoints"][0]["transitions"]
        .as_array()
        .unwrap()
        .len();
    assert_eq!(past, 32);
}

#[test]
fn a_control_thread_that_dies_says_so() {
    let mut setup = Setup::start(Vec::new());
    setup.saw(0, 0, FAILURES); // There is no pool 0.
    setup.await_event("control thread failed, no checks and no admin API: index out of bounds");
    let control = setup.control.take().unwrap();
    poll_until("it is known to have ended", LIMIT, || !control.is_running());
    control.stop();
}

#[test]
fn a_check_with_a_port_of_its_own_goes_there_and_nowhere_else() {
    let [traffic, health] = [(); 2].map(|()| Endpoint::start(|_| Reply::ok("")));
    for kind in [CheckKind::Tcp, http()] {
        let port = health.address().port();
        let pool = pool_with("app", kind, &[traffic.address()], |settings| {
            settings.check.port = Some(port);
        });
        let setup = Setup::start(vec![pool]);
        setup.await_availability(0, 0, Availability::Up);
    }
    assert_eq!(traffic.connection_count(), 0);
    let host = health.address().to_string();
    assert_eq!(health.request().head.field("host"), Some(host.as_str()));
}
