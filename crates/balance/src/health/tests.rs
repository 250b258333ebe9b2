use std::num::NonZeroU32;

use proptest::prelude::{Just, Strategy, prop, prop_assert, prop_assert_eq, prop_assert_ne};
use proptest::prelude::{any, prop_oneof, proptest};

use super::*;

const REFUSED: Evidence = Evidence::ProbeFailed(ProbeFailure::Refused);
const SECOND: Duration = Duration::from_secs(1);

fn checked(check: Check) -> PoolSettings {
    PoolSettings {
        check,
        ..PoolSettings::new("app")
    }
}

/// A health whose clock the test moves. The check is the default but for its kind.
struct Patient {
    health: Health,
    now: Instant,
}

impl Patient {
    fn new(kind: CheckKind) -> Self {
        let check = Check {
            kind,
            ..Check::default()
        };
        let health = Health::new(&checked(check));
        Self {
            health,
            now: Instant::now(),
        }
    }

    fn up(kind: CheckKind) -> Self {
        let mut patient = Self::new(kind);
        patient.receive(Evidence::ProbeSucceeded);
        patient
    }

    fn down() -> Self {
        let mut patient = Self::up(CheckKind::Tcp);
        for _ in 0..3 {
            patient.wait(SECOND);
            patient.receive(REFUSED);
        }
        assert_eq!(patient.health.state(), HealthState::Down);
        patient
    }

    fn wait(&mut self, time: Duration) {
        self.now += time;
    }

    fn receive(&mut self, evidence: Evidence) -> Option<(&'static str, &'static str, Cause)> {
        Self::words(self.health.receive(evidence, self.now))
    }

    fn eject(&mut self, connect_only: bool) -> Option<(&'static str, &'static str, Cause)> {
        let evidence = Evidence::LiveFailures {
            in_row: 5,
            connect_only,
        };
        Self::words(self.health.eject(evidence, self.now))
    }

    fn expire(&mut self) -> Option<(&'static str, &'static str, Cause)> {
        Self::words(self.health.expire(self.now))
    }

    /// How long until the deadline.
    fn rest(&self) -> Option<Duration> {
        self.health.deadline().map(|deadline| deadline - self.now)
    }

    fn words(change: Option<Transition>) -> Option<(&'static str, &'static str, Cause)> {
        change.map(|change| (change.from, change.to, change.cause))
    }
}

fn http() -> CheckKind {
    CheckKind::Http {
        path: "/healthz".into(),
        host: None,
        headers: Vec::new(),
        expect: Vec::new(),
        body: None,
    }
}

#[test]
fn the_first_success_brings_an_unknown_endpoint_up() {
    let mut patient = Patient::new(CheckKind::Tcp);
    assert_eq!(patient.health.availability(), Availability::Unknown);
    let change = patient.receive(Evidence::ProbeSucceeded);
    assert_eq!(change, Some(("unknown", "up", Cause::FirstProbe)));
    assert_eq!(patient.health.availability(), Availability::Up);
}

#[test]
fn an_unknown_endpoint_stays_unknown_until_enough_probes_failed() {
    let mut patient = Patient::new(CheckKind::Tcp);
    assert_eq!(patient.receive(REFUSED), None);
    assert_eq!(patient.receive(REFUSED), None);
    assert_eq!(patient.health.availability(), Availability::Unknown);
    assert_eq!(
        patient.receive(REFUSED),
        Some(("unknown", "down", Cause::ProbesFailed))
    );
    assert_eq!(patient.health.availability(), Availability::Down);
    assert_eq!(patient.health.last_failure(), Some(ProbeFailure::Refused));
}

#[test]
fn an_unknown_endpoint_goes_down_at_once_if_live_traffic_is_refused_too() {
    let mut patient = Patient::new(CheckKind::Tcp);
    patient.receive(REFUSED);
    let change = patient.receive(Evidence::LiveRefused);
    assert_eq!(
        change,
        Some(("unknown", "down", Cause::RefusedLiveAndProbe))
    );
}

#[test]
fn a_suspect_keeps_serving_until_it_failed_three_times_in_a_row() {
    let mut patient = Patient::up(CheckKind::Tcp);
    assert_eq!(
        patient.receive(REFUSED),
        Some(("up", "suspect", Cause::ProbeFailed))
    );
    assert_eq!(patient.receive(REFUSED), None);
    assert_eq!(patient.health.availability(), Availability::Up);
    let change = patient.receive(Evidence::ProbeSucceeded);
    assert_eq!(change, Some(("suspect", "up", Cause::ProbeSucceeded)));
    // A success resets the count.
    patient.receive(REFUSED);
    patient.receive(REFUSED);
    assert_eq!(
        patient.receive(REFUSED),
        Some(("suspect", "down", Cause::ProbesFailed))
    );
}

#[test]
fn with_a_fall_of_one_there_is_no_suspect() {
    let check = Check {
        fall: NonZeroU32::MIN,
        ..Check::default()
    };
    let mut health = Health::new(&checked(check));
    let now = Instant::now();
    health.receive(Evidence::ProbeSucceeded, now);
    let change = health.receive(REFUSED, now).expect("one failure is enough");
    assert_eq!(
        (change.from, change.to, change.cause),
        ("up", "down", Cause::ProbesFailed)
    );
}

#[test]
fn a_refused_live_connect_and_a_failed_probe_mean_down_in_either_order() {
    for order in [
        [Evidence::LiveRefused, REFUSED],
        [REFUSED, Evidence::LiveRefused],
    ] {
        let mut patient = Patient::up(CheckKind::Tcp);
        patient.receive(order[0]);
        patient.wait(Duration::from_millis(500));
        patient.receive(order[1]);
        assert_eq!(patient.health.state(), HealthState::Down, "{order:?}");
    }
}

#[test]
fn a_refused_live_connect_and_a_failed_probe_far_apart_do_not_count_together() {
    for order in [
        [Evidence::LiveRefused, REFUSED],
        [REFUSED, Evidence::LiveRefused],
    ] {
        let mut patient = Patient::up(CheckKind::Tcp);
        patient.receive(order[0]);
        patient.wait(Duration::from_millis(501));
        patient.receive(order[1]);
        assert_eq!(patient.health.state(), HealthState::Suspect, "{order:?}");
    }
}

#[test]
fn a_successful_probe_takes_back_what_was_seen_before() {
    let mut patient = Patient::up(CheckKind::Tcp);
    for seen in [Evidence::LiveRefused, REFUSED] {
        patient.receive(seen);
        patient.receive(Evidence::ProbeSucceeded);
        patient.receive(if seen == REFUSED {
            Evidence::LiveRefused
        } else {
            REFUSED
        });
        assert_ne!(patient.health.state(), HealthState::Down, "{seen:?}");
        patient.receive(Evidence::ProbeSucceeded);
    }
}

#[test]
fn a_late_probe_counts_for_nothing() {
    let mut patient = Patient::up(CheckKind::Tcp);
    assert!((0..10).all(|_| patient.receive(Evidence::ProbeLate).is_none()));
    assert_eq!(patient.health.failures_in_row(), 0);
}

#[test]
fn a_down_endpoint_recovers_after_two_successes_and_is_up_after_ten_seconds() {
    let mut patient = Patient::down();
    assert_eq!(patient.receive(Evidence::ProbeSucceeded), None);
    assert_eq!(patient.health.availability(), Availability::Down);
    let change = patient.receive(Evidence::ProbeSucceeded);
    assert_eq!(change, Some(("down", "recovering", Cause::ProbesSucceeded)));
    assert_eq!(patient.health.availability(), Availability::Up);

    assert_eq!(patient.rest(), Some(10 * SECOND));
    patient.wait(9 * SECOND);
    assert_eq!(patient.expire(), None);
    patient.wait(SECOND);
    assert_eq!(
        patient.expire(),
        Some(("recovering", "up", Cause::SlowStartOver))
    );
    assert_eq!(patient.rest(), None);
}

#[test]
fn one_failure_while_recovering_returns_to_down() {
    let mut patient = Patient::down();
    patient.receive(Evidence::ProbeSucceeded);
    patient.receive(Evidence::ProbeSucceeded);
    assert_eq!(
        patient.receive(REFUSED),
        Some(("recovering", "down", Cause::ProbeFailed))
    );
    assert_eq!(patient.rest(), None);
    // Successes before the failure do not count.
    patient.receive(Evidence::ProbeSucceeded);
    assert_eq!(patient.health.state(), HealthState::Down);
}

#[test]
fn without_checks_an_endpoint_is_up_and_never_probed() {
    let patient = Patient::new(CheckKind::Off);
    assert_eq!(patient.health.availability(), Availability::Up);
    assert_eq!(patient.health.next_probe_in(), None);
}

#[test]
fn probes_come_fast_while_undecided_and_ever_slower_while_down() {
    let ms = Duration::from_millis;
    let mut patient = Patient::new(CheckKind::Tcp);
    assert_eq!(patient.health.next_probe_in(), Some(ms(500)));
    patient.receive(Evidence::ProbeSucceeded);
    assert_eq!(patient.health.next_probe_in(), Some(ms(2000)));
    patient.receive(REFUSED);
    assert_eq!(patient.health.next_probe_in(), Some(ms(500)));

    let mut patient = Patient::down();
    for expected in [2000, 4000, 8000, 8000] {
        assert_eq!(patient.health.next_probe_in(), Some(ms(expected)));
        patient.receive(REFUSED);
    }
    patient.receive(Evidence::ProbeSucceeded);
    assert_eq!(patient.health.next_probe_in(), Some(ms(500)));
    // Having answered once, it starts over.
    patient.receive(REFUSED);
    assert_eq!(patient.health.next_probe_in(), Some(ms(4000)));
}

#[test]
fn an_interval_shorter_or_longer_than_ours_is_kept_to() {
    for (interval, undecided, long_down) in [(100, 100, 400), (30_000, 500, 30_000)] {
        let interval = Duration::from_millis(interval);
        let check = Check {
            interval,
            ..Check::default()
        };
        let mut health = Health::new(&checked(check));
        let now = Instant::now();
        assert_eq!(
            health.next_probe_in(),
            Some(Duration::from_millis(undecided))
        );
        for _ in 0..10 {
            health.receive(REFUSED, now);
        }
        assert_eq!(
            health.next_probe_in(),
            Some(Duration::from_millis(long_down))
        );
    }
}

#[test]
fn an_ejection_needs_enough_failures_in_a_row() {
    let mut patient = Patient::up(CheckKind::Tcp);
    let four = Evidence::LiveFailures {
        in_row: 4,
        connect_only: false,
    };
    assert_eq!(patient.health.eject(four, patient.now), None);
    assert_eq!(
        patient.health.eject(Evidence::LiveRefused, patient.now),
        None
    );
    assert_eq!(
        patient.eject(false),
        Some(("up", "ejected", Cause::ConsecutiveFailures))
    );
    assert_eq!(patient.health.availability(), Availability::Down);
    assert_eq!(patient.eject(false), None, "it is out already");

    let mut settings = checked(Check::default());
    settings.outlier.consecutive = None;
    let mut off = Health::new(&settings);
    let many = Evidence::LiveFailures {
        in_row: 99,
        connect_only: false,
    };
    assert_eq!(off.eject(many, patient.now), None);
}

#[test]
fn each_ejection_in_a_row_lasts_twice_as_long_up_to_a_minute() {
    let mut patient = Patient::up(CheckKind::Tcp);
    for seconds in [1, 2, 4, 8, 16, 32, 60, 60] {
        patient.eject(false);
        assert_eq!(patient.rest(), Some(seconds * SECOND));
        patient.wait(seconds * SECOND);
        assert_eq!(
            patient.expire(),
            Some(("ejected", "up", Cause::EjectionOver))
        );
        patient.wait(59 * SECOND);
    }
    patient.wait(SECOND);
    patient.eject(false);
    assert_eq!(patient.rest(), Some(SECOND), "a quiet minute forgets");
}

fn udp(expect: Option<&[u8]>) -> CheckKind {
    CheckKind::Udp {
        send: [].into(),
        expect: expect.map(Into::into),
    }
}

#[test]
fn a_probe_ends_an_ejection_only_if_it_does_what_failed() {
    for (kind, connect_only, ends) in [
        (CheckKind::Tcp, true, true),
        (CheckKind::Tcp, false, false), // A frozen process still accepts connections.
        (http(), true, true),
        (http(), false, true),
        (udp(None), true, true),
        (udp(None), false, false), // And it does not refuse datagrams.
        (udp(Some(b"pong")), false, true),
        (CheckKind::Postgres, false, true),
    ] {
        let mut patient = Patient::up(kind);
        patient.eject(connect_only);
        let change = patient.receive(Evidence::ProbeSucceeded);
        assert_eq!(
            change,
            ends.then_some(("ejected", "up", Cause::ProbeEndedEjection))
        );
        assert_eq!(patient.health.is_ejected(), !ends);
    }
}

#[test]
fn an_ejection_ended_by_a_probe_still_counts_for_the_next() {
    let mut patient = Patient::up(http());
    patient.eject(false);
    patient.receive(Evidence::ProbeSucceeded);
    patient.eject(false);
    assert_eq!(patient.rest(), Some(2 * SECOND));
}

#[test]
fn going_down_clears_an_ejection() {
    let mut patient = Patient::up(CheckKind::Tcp);
    patient.eject(false);
    assert_eq!(patient.receive(REFUSED), None, "hidden behind the ejection");
    patient.receive(REFUSED);
    assert_eq!(
        patient.receive(REFUSED),
        Some(("ejected", "down", Cause::ProbesFailed))
    );
    assert!(!patient.health.is_ejected());
    assert_eq!(patient.rest(), None);
    assert_eq!(patient.eject(false), None, "it is out already");
}

#[test]
fn a_request_that_fails_right_after_an_ejection_ejects_again_for_twice_as_long() {
    let failed = Evidence::TrialFailed {
        connect_only: false,
    };
    let mut patient = Patient::up(CheckKind::Tcp);
    assert_eq!(patient.health.eject(failed, patient.now), None);
    patient.eject(false);
    patient.wait(SECOND);
    patient.expire();
    let change = patient.health.eject(failed, patient.now);
    let words = Patient::words(change);
    assert_eq!(words, Some(("up", "ejected", Cause::TrialFailed)));
    assert_eq!(patient.rest(), Some(2 * SECOND));
}

#[test]
fn a_low_success_rate_ejects_and_a_connect_does_not_disprove_it() {
    let rate = Evidence::LowSuccessRate {
        requests: 100,
        percent: 40,
        mean_percent: 90,
    };
    for (kind, ends) in [(CheckKind::Tcp, false), (http(), true)] {
        let mut patient = Patient::up(kind);
        let words = Patient::words(patient.health.eject(rate, patient.now));
        assert_eq!(words, Some(("up", "ejected", Cause::SuccessRate)));
        assert_eq!(patient.rest(), Some(SECOND));
        patient.receive(Evidence::ProbeSucceeded);
        assert_eq!(patient.health.is_ejected(), !ends);
    }
}

#[test]
fn recovering_takes_as_long_as_slow_start_and_longer_if_that_is_held() {
    let mut settings = checked(Check::default());
    settings.slow_start = Some(SlowStartSettings {
        window: 3 * SECOND,
        ..SlowStartSettings::default()
    });
    let mut patient = Patient {
        health: Health::new(&settings),
        now: Instant::now(),
    };
    for _ in 0..3 {
        patient.receive(REFUSED);
    }
    patient.receive(Evidence::ProbeSucceeded);
    patient.health.prolong_recovering(SECOND);
    assert_eq!(patient.rest(), None, "it is down");
    patient.receive(Evidence::ProbeSucceeded);
    assert_eq!(patient.rest(), Some(3 * SECOND));
    patient.health.prolong_recovering(SECOND);
    assert_eq!(patient.rest(), Some(4 * SECOND));
}

#[test]
fn an_agent_takes_its_endpoint_out_and_gives_it_back() {
    for kind in [CheckKind::Off, CheckKind::Tcp] {
        let mut patient = Patient::new(kind);
        patient.receive(Evidence::ProbeSucceeded);
        let change = patient.receive(Evidence::AgentDown);
        assert_eq!(change, Some(("up", "agent_down", Cause::AgentDown)));
        assert_eq!(patient.health.availability(), Availability::Down);
        assert_eq!(patient.receive(Evidence::AgentDown), None);
        assert_eq!(patient.receive(Evidence::ProbeSucceeded), None);
        assert_eq!(patient.eject(false), None, "it is out already");
        let change = patient.receive(Evidence::AgentUp);
        assert_eq!(change, Some(("agent_down", "up", Cause::AgentUp)));
        assert_eq!(patient.health.availability(), Availability::Up);
    }
}

#[test]
fn an_agent_that_says_up_outvotes_no_other_judge() {
    let mut patient = Patient::down();
    assert_eq!(patient.receive(Evidence::AgentUp), None);
    assert_eq!(patient.receive(Evidence::AgentDown), None);
    assert_eq!(patient.receive(Evidence::AgentUp), None);
    assert_eq!(patient.health.availability(), Availability::Down);

    let mut patient = Patient::up(CheckKind::Tcp);
    patient.eject(false);
    assert_eq!(patient.receive(Evidence::AgentDown), None);
    assert_eq!(patient.receive(Evidence::AgentUp), None);
    assert!(patient.health.is_ejected());
}

#[test]
fn a_probe_at_another_port_does_not_end_an_ejection() {
    let check = Check {
        kind: http(),
        port: Some(9000),
        ..Check::default()
    };
    let mut health = Health::new(&checked(check));
    let now = Instant::now();
    health.receive(Evidence::ProbeSucceeded, now);
    let failures = Evidence::LiveFailures {
        in_row: 5,
        connect_only: true,
    };
    assert!(health.eject(failures, now).is_some());
    assert_eq!(health.receive(Evidence::ProbeSucceeded, now), None);
    assert!(health.is_ejected());
}

#[test]
fn one_deadline_may_hide_behind_another() {
    let mut patient = Patient::down();
    patient.receive(Evidence::ProbeSucceeded);
    patient.receive(Evidence::ProbeSucceeded);
    patient.wait(10 * SECOND);
    patient.eject(false);
    patient.wait(10 * SECOND);
    assert_eq!(
        patient.expire(),
        Some(("ejected", "up", Cause::EjectionOver))
    );
    assert_eq!(patient.expire(), None);
}

#[test]
fn half_of_a_pool_may_be_ejected_and_never_the_last_live_endpoint() {
    assert!(may_eject(0, 2, 2, 50));
    assert!(!may_eject(1, 1, 2, 50));
    assert!(!may_eject(0, 1, 1, 50));
    assert!(may_eject(0, 3, 3, 50));
    assert!(!may_eject(1, 2, 3, 50));
    assert!(may_eject(4, 6, 10, 50));
    assert!(!may_eject(5, 5, 10, 50));
    assert!(!may_eject(0, 1, 10, 50), "the others are down");
    assert!(may_eject(0, 5, 5, 10), "one may be");
    assert!(!may_eject(0, 5, 5, 0), "off");
}

#[test]
fn evidence_reads_well() {
    let lines = [
        Evidence::ProbeFailed(ProbeFailure::Status(503)),
        Evidence::LiveFailures {
            in_row: 5,
            connect_only: false,
        },
    ]
    .map(|evidence| evidence.to_string());
    assert_eq!(
        lines,
        [
            "probe failed: unexpected status 503",
            "5 failed requests in a row"
        ]
    );
}

/// Anything that may happen to a [`Health`].
#[derive(Debug, Clone)]
enum Step {
    Receive(Evidence),
    Eject(Evidence),
    Expire,
    Wait(Duration),
}

fn step() -> impl Strategy<Value = Step> {
    let evidence = prop_oneof![
        Just(Evidence::ProbeSucceeded),
        Just(REFUSED),
        Just(Evidence::ProbeLate),
        Just(Evidence::LiveRefused),
        Just(Evidence::AgentUp),
        Just(Evidence::AgentDown),
    ];
    let failures =
        (0u32..10, any::<bool>()).prop_map(|(in_row, connect_only)| Evidence::LiveFailures {
            in_row,
            connect_only,
        });
    let low = Just(Evidence::LowSuccessRate {
        requests: 20,
        percent: 0,
        mean_percent: 99,
    });
    let trial = any::<bool>().prop_map(|connect_only| Evidence::TrialFailed { connect_only });
    let failures = prop_oneof![failures, low, trial];
    prop_oneof![
        4 => evidence.prop_map(Step::Receive),
        1 => failures.prop_map(Step::Eject),
        1 => Just(Step::Expire),
        2 => (0u64..20_000).prop_map(|ms| Step::Wait(Duration::from_millis(ms))),
    ]
}

proptest! {
    #[test]
    fn transitions_join_up_and_say_when_picks_must_change(
        steps in prop::collection::vec(step(), 0..200),
        is_http: bool,
    ) {
        let mut patient = Patient::new(if is_http { http() } else { CheckKind::Tcp });
        for step in steps {
            let health = &mut patient.health;
            let before = (health.standing(), health.availability());
            let change = match step {
                Step::Receive(evidence) => health.receive(evidence, patient.now),
                Step::Eject(evidence) => health.eject(evidence, patient.now),
                Step::Expire => health.expire(patient.now),
                Step::Wait(time) => {
                    patient.wait(time);
                    None
                }
            };
            let health = &patient.health;
            match change {
                Some(change) => {
                    prop_assert_eq!((change.from, change.to), (before.0, health.standing()));
                    prop_assert_ne!(change.from, change.to);
                }
                None => prop_assert_eq!(before, (health.standing(), health.availability())),
            }
            prop_assert!(!(health.is_ejected() && health.state() == HealthState::Down));
            let recovering = health.state() == HealthState::Recovering;
            prop_assert_eq!(health.deadline().is_some(), recovering || health.is_ejected());
        }
    }
}
