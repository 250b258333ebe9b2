//! Slow start, and percentages of agents, in every policy.

use super::*;

const ENDPOINTS: usize = 10;

/// The share of the first of ten endpoints when slow start, or its agent, leaves it `ramp`.
fn share_when_ramping(policy: &str, ramp: f64) -> f64 {
    let rest = (ENDPOINTS - 1) as f64;
    match policy {
        // All others stand behind it.
        "first" => ramp,
        // Keys that it does not take go to others, as if it were none of them.
        "maglev" => ramp / (rest + 1.0),
        // It comes into question as often as that, and is the best then, as it has least to do.
        "adaptive" => ramp / (rest + 1.0),
        _ => ramp / (rest + ramp),
    }
}

fn assert_share(policy: &'static str, ramp: f64, balancer: &mut Balancer, now: Instant) {
    let counts = picks_over_time(balancer, 1000, 20_000, || now);
    let share = counts[0] as f64 / 20_000.0;
    let expected = share_when_ramping(policy, ramp);
    assert!(
        (0.8..1.2).contains(&(share / expected)),
        "{policy} at {ramp}: {share} for {expected}"
    );
    let others = (1.0 - expected) / (ENDPOINTS - 1) as f64;
    for &count in counts[1..].iter().filter(|_| policy != "first") {
        let share = count as f64 / 20_000.0 / others;
        assert!(
            (0.8..1.2).contains(&share),
            "{policy} at {ramp}: {counts:?}"
        );
    }
}

#[test]
fn slow_start_leaves_every_policy_a_share_that_grows() {
    for kind in POLICIES {
        let mut balancer = balancer(kind.name, weighted(&[1; ENDPOINTS]));
        let begin = tick();
        balancer.pool().begin_slow_start(0, begin);
        // The default window is 10 s.
        for (after, ramp) in [(0, 0.1), (5, 0.5), (10, 1.0)] {
            let now = begin + Duration::from_secs(after);
            assert_share(kind.name, ramp, &mut balancer, now);
        }
    }
}

#[test]
fn a_percentage_of_its_weight_is_honoured_by_every_policy() {
    for kind in POLICIES {
        let mut balancer = balancer(kind.name, weighted(&[1; ENDPOINTS]));
        balancer.pool().set_weight_percent(0, 25);
        assert_share(kind.name, 0.25, &mut balancer, tick());
    }
}

#[test]
fn reported_weights_ramp_too() {
    let mut balancer = balancer("utilization", weighted(&[1; ENDPOINTS]));
    let begin = tick();
    let report = LoadReport {
        requests_per_second: Some(100.0),
        utilization: Some(0.5),
        ..LoadReport::default()
    };
    for index in 0..ENDPOINTS {
        let pool = balancer.pool();
        pool.report_load(index, &report, Duration::from_secs(1), begin);
    }
    let begin = begin + Duration::from_secs(20);
    balancer.pool().begin_slow_start(0, begin);
    assert_share("utilization", 0.1, &mut balancer, begin);
    let now = begin + Duration::from_secs(5);
    assert_share("utilization", 0.5, &mut balancer, now);
}
