use std::sync::Mutex;

use balance::{
    Address, EndpointSettings, HashKey, LoadReport, OutlierSettings, PoolSettings, ProbeFailure,
    SlowStartSettings, StickyBy, StickySettings, SuccessRateSettings,
};
use observe::{Blame, EventFormat, OutcomeShape, PoolShape, Shape, WorkerMetrics};

use super::*;

const SECOND: Duration = Duration::from_secs(1);

/// A board over one pool, `app`, whose clock the test moves.
struct Ward {
    board: HealthBoard,
    pool: Arc<Pool>,
    worker: Arc<WorkerMetrics>,
    told: Told,
    now: Instant,
}

impl Ward {
    /// Endpoints that are up, without active checks.
    fn unchecked(endpoints: usize) -> Self {
        let check = Check {
            kind: CheckKind::Off,
            ..Check::default()
        };
        Self::new(endpoints, |settings| settings.check = check)
    }

    fn new(endpoints: usize, adapt: impl FnOnce(&mut PoolSettings)) -> Self {
        let mut settings = PoolSettings::new("app");
        adapt(&mut settings);
        let endpoint = |index: usize| EndpointSettings {
            name: index.to_string().into(),
            address: Address::Tcp(([127, 0, 0, 1], index as u16 + 1).into()),
            host: None,
            weight: 1,
            max_requests: None,
            tier: 0,
            zone: None,
        };
        let endpoints: Vec<_> = (0..endpoints).map(endpoint).collect();
        let registry = Registry::new(Shape {
            pools: vec![PoolShape {
                name: "app".into(),
                endpoints: endpoints
                    .iter()
                    .map(|endpoint| endpoint.name.to_string())
                    .collect(),
            }],
            outcomes: &[
                OutcomeShape {
                    word: "ok",
                    blame: Blame::Success,
                },
                OutcomeShape {
                    word: "reset",
                    blame: Blame::Failure,
                },
            ],
            ..Shape::default()
        });
        let worker = registry.worker();
        let pool = Arc::new(Pool::new(settings, endpoints, 1, Instant::now()));
        let told = Told::default();
        let events = Events::new(EventFormat::Text, told.clone());
        let board = HealthBoard::new(
            &[Arc::clone(&pool)],
            &[Transport::default()],
            registry,
            events,
        );
        Self {
            board,
            pool,
            worker,
            told,
            now: Instant::now(),
        }
    }

    /// Lets time pass, acting on every deadline in it.
    fn wait(&mut self, time: Duration) {
        let end = self.now + time;
        loop {
            let deadline = self.board.deadline().max(self.now);
            if deadline > end {
                break;
            }
            self.now = deadline;
            self.board.expire(deadline);
        }
        self.now = end;
    }

    fn served(&self, endpoint: usize, successes: u64, failures: u64) {
        let attempts = &self.worker.pools[0].endpoints[endpoint].attempts;
        attempts[0].add(successes);
        attempts[1].add(failures);
    }

    fn saw(&mut self, endpoint: u32, evidence: Evidence) {
        let seen = LiveEvidence {
            pool: 0,
            endpoint,
            evidence,
        };
        self.board.live(seen, self.now);
    }

    fn probed(&mut self, endpoint: usize, evidence: Evidence) {
        let report = ProbeReport {
            latency: SECOND / 1000,
            evidence,
        };
        self.board.probed(endpoint, &report, self.now);
    }

    fn want(&mut self, endpoint: usize, state: AdminState) {
        let place = Place { pool: 0, endpoint };
        self.board.want(place, state, self.now);
    }

    fn admin_state(&self, endpoint: usize) -> AdminState {
        self.pool.endpoints[endpoint].admin_state()
    }

    fn drain_left(&self, endpoint: usize) -> Option<Duration> {
        self.board.pools[0].endpoints[endpoint].drain_left(self.now)
    }

    fn is_up(&self, endpoint: usize) -> bool {
        self.pool.endpoints[endpoint].availability() == Availability::Up
    }

    /// The part of its share that slow start leaves an endpoint, in percent.
    fn share(&self, endpoint: usize) -> u32 {
        let part = self.pool.slow_start(endpoint, self.now).unwrap_or(1.0);
        (part * 100.0).round() as u32
    }

    fn eject(&mut self, endpoint: u32) {
        self.saw(
            endpoint,
            Evidence::LiveFailures {
                in_row: 5,
                connect_only: false,
            },
        );
        assert!(!self.is_up(endpoint as usize));
    }

    /// The events since the last call, without their dates.
    fn events(&self) -> Vec<String> {
        let bytes = std::mem::take(&mut *self.told.0.lock().unwrap());
        let text = String::from_utf8(bytes).unwrap();
        let undated = |line: &str| line.split_once(' ').unwrap().1.to_owned();
        text.lines().map(undated).collect()
    }
}

#[derive(Clone, Default)]
struct Told(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Told {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn pools_share_probes_if_the_way_to_the_endpoint_is_the_same() {
    let dns = CheckKind::Dns { name: None };
    // By datagrams nothing comes first, so it is the same for both pools.
    for (kind, targets) in [(CheckKind::Redis, 2), (dns, 1)] {
        let pool = |name: &str| {
            let mut settings = PoolSettings::new(name);
            settings.check.kind = kind.clone();
            let endpoint = EndpointSettings {
                name: "a".into(),
                address: Address::Tcp(([127, 0, 0, 1], 53).into()),
                host: None,
                weight: 1,
                max_requests: None,
                tier: 0,
                zone: None,
            };
            Arc::new(Pool::new(settings, vec![endpoint], 1, Instant::now()))
        };
        let behind_a_header = Transport {
            preface: (*b"PROXY UNKNOWN\r\n").into(),
            ..Transport::default()
        };
        let board = HealthBoard::new(
            &[pool("plain"), pool("announced")],
            &[Transport::default(), behind_a_header],
            Registry::new(Shape::default()),
            Events::new(EventFormat::Text, Told::default()),
        );
        assert_eq!(board.targets().len(), targets, "{kind:?}");
    }
}

const REFUSED: Evidence = Evidence::ProbeFailed(ProbeFailure::Refused);

#[test]
fn an_endpoint_that_fails_far_more_often_than_its_peers_is_ejected_for_ever_longer() {
    let mut ward = Ward::unchecked(6);
    for seconds in [1, 2, 4] {
        for endpoint in 0..5 {
            ward.served(endpoint, 99, 1);
        }
        ward.served(5, 50, 50);
        ward.wait(10 * SECOND);
        assert_eq!(
            ward.events(),
            ["endpoint app/5 up → ejected: success rate \
              (50 % of 100 requests succeeded, 90 % at the average endpoint)"]
        );
        ward.wait(SECOND * seconds);
        assert!(ward.is_up(5));
        assert_eq!(
            ward.events(),
            ["endpoint app/5 ejected → up: ejection over"]
        );
        // To the next judgement.
        ward.wait(SECOND * (10 - seconds));
    }
    assert_eq!(ward.board.pools[0].endpoints[5].ejections, [0, 0, 3]);
    assert_eq!(ward.board.pools[0].endpoints[0].ejections, [0, 0, 0]);
}

#[test]
fn success_rates_are_those_of_one_interval() {
    let mut ward = Ward::unchecked(6);
    for round in 0..4 {
        for endpoint in 0..5 {
            ward.served(endpoint, 100, 0);
        }
        // Too few in each interval, though not in all.
        ward.served(5, 0, 15);
        ward.wait(10 * SECOND);
        assert!(ward.is_up(5), "round {round}");
    }
}

#[test]
fn no_more_than_half_of_a_pool_is_ejected_by_success_rate_and_the_worst_first() {
    let mut ward = Ward::new(20, |settings| {
        settings.check.kind = CheckKind::Off;
        settings.outlier = OutlierSettings {
            ejected_percent_max: 5,
            ..OutlierSettings::default()
        };
    });
    for endpoint in 0..18 {
        ward.served(endpoint, 100, 0);
    }
    ward.served(18, 30, 70);
    ward.served(19, 10, 90);
    ward.wait(10 * SECOND);
    assert!(!ward.is_up(19));
    assert!(ward.is_up(18));
}

#[test]
fn without_the_setting_success_rates_are_not_judged() {
    let mut ward = Ward::new(6, |settings| {
        settings.check.kind = CheckKind::Off;
        settings.outlier.success_rate = None;
    });
    for endpoint in 0..5 {
        ward.served(endpoint, 100, 0);
    }
    ward.served(5, 0, 100);
    ward.wait(30 * SECOND);
    assert!(ward.is_up(5));
}

#[test]
fn after_an_ejection_the_first_request_decides() {
    let mut ward = Ward::unchecked(3);
    ward.eject(0);
    assert!(!ward.pool.endpoints[0].load.is_on_trial());
    ward.wait(SECOND);
    assert!(ward.is_up(0));
    assert!(ward.pool.endpoints[0].load.is_on_trial());
    ward.events();
    ward.saw(
        0,
        Evidence::TrialFailed {
            connect_only: false,
        },
    );
    assert_eq!(
        ward.events(),
        ["endpoint app/0 up → ejected: trial failed (request failed right after an ejection)"]
    );
    ward.wait(SECOND);
    assert!(!ward.is_up(0), "the second ejection lasts 2 s");
    ward.wait(SECOND);
    assert!(ward.is_up(0));
    assert_eq!(ward.board.pools[0].endpoints[0].ejections, [1, 1, 0]);
}

#[test]
fn nobody_starts_slowly_with_the_process() {
    let mut ward = Ward::new(3, |_| {});
    for endpoint in 0..3 {
        ward.probed(endpoint, Evidence::ProbeSucceeded);
        assert!(ward.is_up(endpoint));
        assert_eq!(ward.share(endpoint), 100);
        ward.wait(SECOND);
    }
}

#[test]
fn one_that_joins_when_others_are_warm_starts_slowly() {
    let mut ward = Ward::new(2, |_| {});
    ward.probed(0, Evidence::ProbeSucceeded);
    ward.wait(10 * SECOND);
    ward.probed(1, Evidence::ProbeSucceeded);
    assert_eq!(ward.share(1), 10);
    ward.wait(5 * SECOND);
    assert_eq!(ward.share(1), 50);
    ward.wait(5 * SECOND);
    assert_eq!(ward.share(1), 100);
}

#[test]
fn one_that_was_down_starts_slowly_if_another_is_warm() {
    let mut ward = Ward::new(2, |_| {});
    let recover = |ward: &mut Ward, endpoint| {
        for _ in 0..2 {
            ward.probed(endpoint, Evidence::ProbeSucceeded);
        }
        assert!(ward.is_up(endpoint));
    };
    let take_down = |ward: &mut Ward, endpoint| {
        for _ in 0..3 {
            ward.probed(endpoint, REFUSED);
        }
        assert!(!ward.is_up(endpoint));
    };
    ward.probed(0, Evidence::ProbeSucceeded);
    ward.probed(1, Evidence::ProbeSucceeded);
    ward.wait(10 * SECOND);
    take_down(&mut ward, 0);
    recover(&mut ward, 0);
    assert_eq!(ward.share(0), 10);
    ward.wait(10 * SECOND);

    // After an outage of all nobody is warm.
    take_down(&mut ward, 0);
    take_down(&mut ward, 1);
    recover(&mut ward, 0);
    recover(&mut ward, 1);
    assert_eq!([ward.share(0), ward.share(1)], [100, 100]);
}

#[test]
fn a_short_ejection_does_not_cool_an_endpoint_and_a_long_one_does() {
    let mut ward = Ward::unchecked(2);
    ward.wait(10 * SECOND);
    for (seconds, share) in [(1, 100), (2, 10)] {
        ward.eject(0);
        ward.wait(SECOND * seconds);
        assert!(ward.is_up(0));
        assert_eq!(ward.share(0), share, "after {seconds} s");
        ward.pool.endpoints[0].load.record_success();
    }
}

#[test]
fn an_endpoint_that_is_ready_again_starts_slowly_while_another_is_warm() {
    for state in [AdminState::Drain, AdminState::Maintenance] {
        let mut ward = Ward::unchecked(2);
        ward.wait(10 * SECOND);
        ward.want(0, state);
        ward.wait(SECOND);
        ward.want(0, AdminState::Ready);
        assert_eq!([ward.share(0), ward.share(1)], [10, 100], "{state:?}");
        ward.wait(5 * SECOND);
        assert_eq!(ward.share(0), 50);

        // It is not warm yet, so it takes what there is.
        ward.want(1, state);
        ward.want(1, AdminState::Ready);
        assert_eq!(ward.share(1), 100, "{state:?}");
    }
}

#[test]
fn an_endpoint_that_is_ready_before_it_is_up_starts_slowly_once() {
    let mut ward = Ward::new(2, |_| {});
    ward.probed(0, Evidence::ProbeSucceeded);
    ward.wait(10 * SECOND);
    ward.want(1, AdminState::Maintenance);
    ward.want(1, AdminState::Ready);
    assert_eq!(ward.share(1), 100, "nothing begins before it is up");
    ward.wait(10 * SECOND);
    ward.probed(1, Evidence::ProbeSucceeded);
    assert_eq!(ward.share(1), 10);
}

#[test]
fn a_drain_ends_in_maintenance_and_tells_how_many_sessions_it_cut() {
    let mut ward = Ward::new(3, |settings| {
        settings.check.kind = CheckKind::Off;
        settings.sticky = Some(StickySettings::by(StickyBy::Key(HashKey::ClientIp)));
    });
    for (id, endpoint) in [(1, 0), (2, 0), (3, 1)] {
        ward.pool.learn_session(id, endpoint, ward.now);
    }
    ward.want(0, AdminState::Drain);
    ward.wait(100 * SECOND);
    // The clock runs on.
    ward.want(0, AdminState::Drain);
    assert_eq!(ward.drain_left(0), Some(200 * SECOND));
    ward.wait(200 * SECOND - SECOND / 1000);
    assert_eq!(ward.admin_state(0), AdminState::Drain);
    assert!(ward.events().is_empty());
    ward.wait(SECOND / 1000);
    assert_eq!(ward.admin_state(0), AdminState::Maintenance);
    assert_eq!(ward.drain_left(0), None);
    assert_eq!(
        ward.events(),
        ["endpoint app/0 drain → maint: time is over (2 sessions cut)"]
    );
    let cut = |ward: &Ward| ward.board.pools[0].endpoints[0].sessions_cut;
    assert_eq!(cut(&ward), 2);

    // That it should drain is old news.
    ward.want(0, AdminState::Drain);
    ward.wait(1000 * SECOND);
    assert_eq!(ward.admin_state(0), AdminState::Maintenance);
    assert_eq!(cut(&ward), 2);
    assert_eq!(
        [1, 2].map(|index| ward.admin_state(index)),
        [AdminState::Ready; 2]
    );
}

#[test]
fn ready_and_maintenance_end_a_drain_before_its_time() {
    for state in [AdminState::Ready, AdminState::Maintenance] {
        let mut ward = Ward::unchecked(2);
        ward.want(0, AdminState::Drain);
        ward.wait(200 * SECOND);
        ward.want(0, state);
        assert_eq!(ward.drain_left(0), None);
        ward.wait(200 * SECOND);
        assert_eq!(ward.admin_state(0), state);
        assert!(ward.events().is_empty(), "nothing was cut");
        ward.want(0, AdminState::Drain);
        assert_eq!(ward.drain_left(0), Some(300 * SECOND), "a new clock");
    }
}

#[test]
fn without_the_setting_nobody_starts_slowly() {
    let mut ward = Ward::new(2, |settings| settings.slow_start = None);
    ward.probed(0, Evidence::ProbeSucceeded);
    ward.wait(60 * SECOND);
    ward.probed(1, Evidence::ProbeSucceeded);
    assert_eq!(ward.share(1), 100);
}

#[test]
fn slow_start_is_held_while_the_endpoint_fails_more_often_than_its_peers() {
    let mut ward = Ward::new(2, |settings| {
        settings.slow_start = Some(SlowStartSettings {
            window: 20 * SECOND,
            ..SlowStartSettings::default()
        });
        settings.outlier.success_rate = Some(SuccessRateSettings {
            interval: 1000 * SECOND,
            ..SuccessRateSettings::default()
        });
    });
    ward.probed(0, Evidence::ProbeSucceeded);
    ward.wait(20 * SECOND);
    // Between two looks, so that each round has one.
    ward.wait(SECOND / 2);
    ward.probed(1, Evidence::ProbeSucceeded);
    ward.wait(10 * SECOND);
    let before = ward.share(1);
    assert_eq!(before, 50);
    for _ in 0..5 {
        ward.served(0, 100, 0);
        ward.served(1, 10, 1);
        ward.wait(SECOND);
    }
    assert_eq!(ward.share(1), before);
    // As bad as each other.
    for _ in 0..5 {
        ward.served(0, 100, 10);
        ward.served(1, 10, 1);
        ward.wait(SECOND);
    }
    assert_eq!(ward.share(1), before + 25);
    ward.wait(5 * SECOND);
    assert_eq!(ward.share(1), 100);
}

#[test]
fn changes_of_load_are_told_and_do_not_change_health() {
    let mut ward = Ward::unchecked(2);
    let report = |ward: &Ward, utilization| {
        let report = LoadReport {
            utilization: Some(utilization),
            ..LoadReport::default()
        };
        ward.pool.report_load(0, &report, 10 * SECOND, ward.now);
    };
    report(&ward, 1.2);
    ward.wait(SECOND);
    assert_eq!(
        ward.events(),
        ["endpoint app/0 normal → busy: load (120 % utilized)"]
    );
    report(&ward, 0.5);
    ward.wait(SECOND);
    assert_eq!(
        ward.events(),
        ["endpoint app/0 busy → normal: load (50 % utilized)"]
    );
    ward.pool.report_full(1, ward.now + 2 * SECOND, ward.now);
    ward.wait(SECOND);
    assert_eq!(ward.events(), ["endpoint app/1 normal → full: load"]);
    assert!(ward.is_up(0) && ward.is_up(1));
    ward.wait(2 * SECOND);
    assert_eq!(ward.events(), ["endpoint app/1 full → normal: load"]);
    assert!(ward.board.pools[0].endpoints[0].past.is_empty());
}
