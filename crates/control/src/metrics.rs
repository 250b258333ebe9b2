//! `/metrics`: what the workers count, and what only the control thread knows.

use std::sync::atomic::Ordering;
use std::time::Instant;

use balance::{Cause, Endpoint, HealthState, LoadWord, Pool};
use observe::Encoder;

use crate::certificates;
use crate::health_board::{HealthBoard, Target, Watched, WatchedPool};
use crate::view::View;

impl View {
    /// The whole page in Prometheus text format.
    pub(crate) fn metrics(&self) -> String {
        let workers = self.registry.worker_count();
        self.registry.render(|encoder| {
            encode_board(&self.board(), encoder);
            certificates::encode(&self.certificates, encoder);
            encoder
                .gauge("pointsman_workers", "Request workers.")
                .sample(&[], workers);
            encoder
                .gauge(
                    "pointsman_build_info",
                    "Always 1; the label tells the version.",
                )
                .sample(&[("version", env!("CARGO_PKG_VERSION"))], 1);
            self.began.encode(encoder);
        })
    }
}

fn encode_board(board: &HealthBoard, encoder: &mut Encoder) {
    let name = "pointsman_pool_queue_lifo";
    let help = "1 while the queue of the pool serves last who came first: it stands.";
    let mut family = encoder.gauge(name, help);
    for WatchedPool { pool, .. } in &board.pools {
        let is_lifo = u8::from(pool.queue.is_newest_first());
        family.sample(&[("pool", &pool.settings.name)], is_lifo);
    }

    let now = Instant::now();
    let rows = rows(board, now);

    let name = "pointsman_endpoint_state";
    let mut family = encoder.gauge(name, "1 for the state that active checks say, else 0.");
    for row in &rows {
        for state in STATES {
            let [pool, endpoint] = row.labels;
            let is_it = u8::from(row.watched.health.state() == state);
            family.sample(&[pool, endpoint, ("state", state.as_str())], is_it);
        }
    }

    type Of = fn(&Row<'_>) -> u32;
    let gauges: [(&str, &str, Of); 3] = [
        (
            "pointsman_endpoint_ejected",
            "1 while live failures keep the endpoint out of rotation.",
            |row| row.watched.health.is_ejected().into(),
        ),
        (
            "pointsman_endpoint_agent_down",
            "1 while the endpoint's agent says that it is down.",
            |row| row.watched.health.is_agent_down().into(),
        ),
        (
            "pointsman_endpoint_requests_in_flight",
            "Requests that the endpoint has not finished.",
            |row| row.endpoint.load.in_flight.load(Ordering::Relaxed),
        ),
    ];
    for (name, help, of) in gauges {
        let mut family = encoder.gauge(name, help);
        for row in &rows {
            family.sample(&row.labels, of(row));
        }
    }

    let name = "pointsman_endpoint_requests_max";
    let help =
        "Most requests that the endpoint gets at once: configured, said by its agent, or found.";
    let mut family = encoder.gauge(name, help);
    for row in &rows {
        if let Some(max) = row.endpoint.in_flight_max() {
            family.sample(&row.labels, max);
        }
    }

    let name = "pointsman_endpoint_weight";
    let help = "Weight as it counts now: slow start and what its agent says included.";
    let mut family = encoder.gauge(name, help);
    for row in &rows {
        family.sample(&row.labels, row.pool.weight(row.index, now));
    }

    let name = "pointsman_endpoint_load_state";
    let help = "1 for what picks make of the endpoint's own reports, else 0.";
    let mut family = encoder.gauge(name, help);
    for row in &rows {
        for word in [LoadWord::Normal, LoadWord::Busy, LoadWord::Full] {
            let [pool, endpoint] = row.labels;
            let is_it = u8::from(row.pool.load_word(row.index, now) == word);
            family.sample(&[pool, endpoint, ("state", word.as_str())], is_it);
        }
    }

    let name = "pointsman_endpoint_utilization";
    let help = "What the endpoint said last of its load, while that is good; 1 is all it can do.";
    let mut family = encoder.gauge(name, help);
    for row in &rows {
        if let Some(utilization) = row.pool.utilization(row.index, now) {
            family.sample(&row.labels, utilization);
        }
    }

    let name = "pointsman_endpoint_sessions";
    let mut family = encoder.gauge(name, "Sessions that stick to the endpoint.");
    for row in &rows {
        if let Some(sessions) = row.sessions {
            family.sample(&row.labels, sessions);
        }
    }

    let name = "pointsman_endpoint_drain_left_seconds";
    let help = "Until the endpoint, which drains, is in maintenance.";
    let mut family = encoder.gauge(name, help);
    for row in &rows {
        if let Some(left) = row.watched.drain_left(now) {
            family.sample(&row.labels, left.as_secs_f64());
        }
    }

    let name = "pointsman_endpoint_sessions_cut_total";
    let help = "Sessions that the endpoint had left when its time to drain was over.";
    let mut family = encoder.counter(name, help);
    for row in rows.iter().filter(|row| row.sessions.is_some()) {
        family.sample(&row.labels, row.watched.sessions_cut);
    }

    let name = "pointsman_endpoint_ejections_total";
    let help = "Times that live failures took the endpoint out, by cause.";
    let mut family = encoder.counter(name, help);
    for row in &rows {
        let [pool, endpoint] = row.labels;
        for (count, cause) in row.watched.ejections.iter().zip(Cause::EJECTIONS) {
            family.sample(&[pool, endpoint, ("cause", cause.as_str())], count);
        }
    }

    let name = "pointsman_endpoint_checks_total";
    let help = "Probes by outcome; those that we ran late ourselves are discarded.";
    let mut family = encoder.counter(name, help);
    for (row, target) in rows.iter().filter_map(Row::with_target) {
        let [pool, endpoint] = row.labels;
        let outcomes = [
            ("succeeded", target.succeeded),
            ("failed", target.failed),
            ("discarded", target.discarded),
        ];
        for (outcome, count) in outcomes {
            family.sample(&[pool, endpoint, ("outcome", outcome)], count);
        }
    }

    let name = "pointsman_endpoint_check_latency_seconds";
    let mut family = encoder.gauge(name, "How long the last probe took.");
    for (row, target) in rows.iter().filter_map(Row::with_target) {
        if let Some(last) = &target.last {
            family.sample(&row.labels, last.latency.as_secs_f64());
        }
    }
}

/// An endpoint, from every side.
struct Row<'a> {
    labels: [(&'static str, &'a str); 2],
    pool: &'a Pool,
    index: usize,
    endpoint: &'a Endpoint,
    watched: &'a Watched,
    target: Option<&'a Target>,
    /// `None` where requests do not stick.
    sessions: Option<usize>,
}

impl<'a> Row<'a> {
    fn with_target(&self) -> Option<(&Self, &'a Target)> {
        Some((self, self.target?))
    }
}

fn rows(board: &HealthBoard, now: Instant) -> Vec<Row<'_>> {
    let mut rows = Vec::new();
    for pool in &board.pools {
        let sessions = pool.pool.session_counts(now);
        let endpoints = pool.pool.endpoints.iter().zip(&pool.endpoints);
        for (index, (endpoint, watched)) in endpoints.enumerate() {
            rows.push(Row {
                labels: [
                    ("pool", &pool.pool.settings.name),
                    ("endpoint", &endpoint.name),
                ],
                pool: &pool.pool,
                index,
                endpoint,
                watched,
                target: board.target_of(watched),
                sessions: sessions.as_ref().map(|counts| counts[index]),
            });
        }
    }
    rows
}

const STATES: [HealthState; 5] = [
    HealthState::Unknown,
    HealthState::Up,
    HealthState::Suspect,
    HealthState::Down,
    HealthState::Recovering,
];
