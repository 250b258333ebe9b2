//! More work than can be done: how much of it an endpoint gets at once, and who of those that
//! wait is served.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use serde_json::Value;
use testkit::{Endpoint, Load, Reply, Step, poll_until};

use crate::harness::{SOON, Setup};

/// How long a request takes an endpoint that has a slot for it.
const SERVICE: Duration = Duration::from_millis(10);

/// An endpoint that works on so many requests at once; more wait there, in order.
fn slots(count: usize) -> Endpoint {
    let free_at = Mutex::new(vec![Instant::now(); count]);
    Endpoint::start(move |_| {
        let now = Instant::now();
        let mut free_at = free_at.lock().expect("no holder panics");
        let slot = free_at.iter_mut().min().expect("there are slots");
        *slot = now.max(*slot) + SERVICE;
        Reply::ok("").first(Step::Pause(*slot - now))
    })
}

/// The median of what `of` says in the log lines of requests that were served, in seconds.
fn median(lines: &[Value], of: impl Fn(&Value) -> &Value) -> Duration {
    let served = lines.iter().filter(|line| line["status"] == 200);
    // Who did not wait has no phase of it.
    let seconds = served.map(|line| of(line).as_f64().unwrap_or(0.0));
    let mut seconds: Vec<f64> = seconds.collect();
    seconds.sort_by(f64::total_cmp);
    Duration::from_secs_f64(seconds[seconds.len() / 2])
}

#[test]
fn an_endpoint_gets_as_much_at_once_as_it_takes_well_and_the_rest_waits_with_us() {
    let endpoint = slots(4);
    let proxy = Setup::to(&[&endpoint])
        .pool("concurrency = \"adaptive\"")
        .start();
    let load = Load {
        threads: 60,
        ..Load::get(proxy.peer(), 1500)
    };
    load.run().assert_all_ok();
    assert!(endpoint.in_flight_max() <= 25);
    let bound = proxy.status()["pools"][0]["endpoints"][0]["max_requests"].clone();
    let bound = bound.as_f64().expect("a bound was found");
    assert!((4.0..=25.0).contains(&bound), "{bound}");
    assert_eq!(proxy.metric("pointsman_endpoint_requests_max", &[]), bound);
    // Sent all at once, each would wait for 14 others there.
    let lines = proxy.log(1500);
    let at_endpoint = median(&lines[500..], |line| &line["attempts"][0]["first_byte"]);
    assert!(at_endpoint > SERVICE, "{at_endpoint:?}");
    assert!(at_endpoint < 8 * SERVICE, "{at_endpoint:?}");
}

#[test]
fn under_standing_overload_most_of_those_that_are_served_are_served_fast() {
    const WAITING: u32 = 38;
    let endpoint = slots(2);
    let proxy = Setup::to_tables(&[(&endpoint, "max_requests = 2")])
        .pool("queue = { length = 100, timeout = \"2s\" }")
        .start();
    let load = Load {
        threads: 40,
        ..Load::get(proxy.peer(), 500)
    };
    let load = load.start();
    poll_until("the queue turns round", SOON, || {
        proxy.metric("pointsman_pool_queue_lifo", &[]) == 1.0
    });
    let outcomes = load.finish();
    let (served, late) = (outcomes.with_status(200), outcomes.with_status(503));
    assert_eq!(served + late, 500, "{outcomes:?}");
    assert!(served > 400, "{served}");
    // In order, all would wait as long as those before them take.
    let queued = median(&proxy.log(500), |line| &line["phases"]["queue"]);
    assert!(queued < SERVICE * WAITING / 2 / 4, "{queued:?}");
    assert_eq!(proxy.metric("pointsman_pool_queue_lifo", &[]), 0.0);
}
