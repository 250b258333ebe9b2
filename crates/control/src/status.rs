//! `/status`: everything about pools and endpoints, as JSON.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Instant, SystemTime};

use balance::Availability;
use observe::{Counter, PoolMetrics, Timestamp};
use serde::Serialize;

use crate::ListenerView;
use crate::certificates::CertificateSource;
use crate::health_board::{HealthBoard, LastProbe, PastTransition, WatchedPool};
use crate::view::View;

/// The answer to `/status`.
#[derive(Debug, Serialize)]
pub(crate) struct Status<'a> {
    version: &'static str,
    uptime_seconds: f64,
    workers: usize,
    listeners: Vec<ListenerStatus<'a>>,
    pools: Vec<PoolStatus>,
}

#[derive(Debug, Serialize)]
struct ListenerStatus<'a> {
    #[serde(flatten)]
    listener: &'a ListenerView,
    /// Absent without TLS.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    certificates: Vec<CertificateStatus>,
}

#[derive(Debug, Serialize)]
struct CertificateStatus {
    names: Vec<String>,
    not_after: String,
    /// Absent if there is time.
    #[serde(skip_serializing_if = "Option::is_none")]
    warning: Option<String>,
}

#[derive(Debug, Serialize)]
struct PoolStatus {
    name: String,
    policy: &'static str,
    requests_queued: u32,
    retries: u64,
    hedges: u64,
    hedges_won: u64,
    sticky_hits: u64,
    sticky_misses: u64,
    circuit_open: u64,
    endpoints: Vec<EndpointStatus>,
}

#[derive(Debug, Serialize)]
struct EndpointStatus {
    name: String,
    address: String,
    tier: u8,
    #[serde(skip_serializing_if = "Option::is_none")]
    zone: Option<Box<str>>,
    /// As configured.
    weight: u32,
    /// As it counts now.
    effective_weight: f64,
    /// The part of its share that slow start leaves it, from 0 to 1; absent when it has all.
    #[serde(skip_serializing_if = "Option::is_none")]
    slow_start: Option<f64>,
    /// At this moment: configured, said by its agent, or found.
    #[serde(skip_serializing_if = "Option::is_none")]
    max_requests: Option<u32>,
    requests_in_flight: u32,
    /// Responses since the start, and connections and flows that were relayed.
    requests: u64,
    admin_state: &'static str,
    availability: &'static str,
    state: &'static str,
    ejected: bool,
    agent_down: bool,
    load: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    utilization: Option<f32>,
    /// That stick to it; absent where requests do not stick.
    #[serde(skip_serializing_if = "Option::is_none")]
    sessions: Option<usize>,
    /// Until it is in maintenance; absent when it does not drain.
    #[serde(skip_serializing_if = "Option::is_none")]
    drain_seconds_left: Option<f64>,
    since: String,
    probe_successes_in_row: u32,
    probe_failures_in_row: u32,
    request_failures_in_row: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_probe: Option<ProbeStatus>,
    /// Newest first.
    transitions: Vec<TransitionStatus>,
}

#[derive(Debug, Serialize)]
struct ProbeStatus {
    time: String,
    latency_seconds: f64,
    outcome: String,
}

#[derive(Debug, Serialize)]
struct TransitionStatus {
    time: String,
    from: &'static str,
    to: &'static str,
    cause: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    evidence: Option<String>,
}

impl View {
    /// What is known at this moment.
    pub(crate) fn status(&self) -> Status<'_> {
        let board = self.board();
        let pools = board.pools.iter().enumerate();
        Status {
            version: env!("CARGO_PKG_VERSION"),
            uptime_seconds: self.began.at.elapsed().as_secs_f64(),
            workers: self.registry.worker_count(),
            listeners: self
                .listeners
                .iter()
                .map(|it| self.listener_status(it))
                .collect(),
            pools: pools
                .map(|(index, pool)| self.pool_status(&board, index, pool))
                .collect(),
        }
    }

    fn listener_status<'a>(&self, listener: &'a ListenerView) -> ListenerStatus<'a> {
        let is_its = |source: &&Arc<CertificateSource>| {
            source.holder == "listener" && source.name == listener.name
        };
        let source = self.certificates.iter().find(is_its);
        let certificates = source.map_or_else(Vec::new, |source| (source.shown)());
        let now = SystemTime::now();
        ListenerStatus {
            listener,
            certificates: certificates
                .into_iter()
                .map(|certificate| CertificateStatus {
                    warning: certificate.expiry_warning(now),
                    not_after: Timestamp(certificate.not_after).to_string(),
                    names: certificate.names,
                })
                .collect(),
        }
    }

    fn pool_status(&self, board: &HealthBoard, index: usize, watched: &WatchedPool) -> PoolStatus {
        let now = Instant::now();
        let sessions = watched.pool.session_counts(now);
        let endpoints = (0..watched.endpoints.len()).map(|endpoint| {
            let requests = self.registry.sum(|worker| {
                let metrics = &worker.pools[index].endpoints[endpoint];
                metrics.requests.sum() + metrics.relayed.value()
            });
            EndpointStatus {
                requests,
                sessions: sessions.as_ref().map(|counts| counts[endpoint]),
                ..EndpointStatus::of(board, watched, endpoint, now)
            }
        });
        let sum = |of: fn(&PoolMetrics) -> &Counter| {
            self.registry.sum(|worker| of(&worker.pools[index]).value())
        };
        PoolStatus {
            name: watched.pool.settings.name.to_string(),
            policy: watched.pool.settings.policy.name,
            requests_queued: watched.pool.queue.waiting(),
            retries: sum(|pool| &pool.retries),
            hedges: sum(|pool| &pool.hedges),
            hedges_won: sum(|pool| &pool.hedges_won),
            sticky_hits: sum(|pool| &pool.sticky_hits),
            sticky_misses: sum(|pool| &pool.sticky_misses),
            circuit_open: sum(|pool| &pool.circuit_open),
            endpoints: endpoints.collect(),
        }
    }
}

impl EndpointStatus {
    /// Without what is counted elsewhere.
    fn of(board: &HealthBoard, pool: &WatchedPool, index: usize, now: Instant) -> Self {
        let WatchedPool {
            pool, endpoints, ..
        } = pool;
        let endpoint = &pool.endpoints[index];
        let watched = &endpoints[index];
        let last_probe = board
            .target_of(watched)
            .and_then(|target| target.last.as_ref());
        Self {
            name: endpoint.name.to_string(),
            address: endpoint.address.to_string(),
            tier: endpoint.tier,
            zone: endpoint.zone.clone(),
            weight: endpoint.weight,
            effective_weight: pool.weight(index, now),
            slow_start: pool.slow_start(index, now),
            max_requests: endpoint.in_flight_max(),
            requests_in_flight: endpoint.load.in_flight.load(Ordering::Relaxed),
            requests: 0,
            admin_state: endpoint.admin_state().as_str(),
            availability: availability_word(endpoint.availability()),
            state: watched.health.state().as_str(),
            ejected: watched.health.is_ejected(),
            agent_down: watched.health.is_agent_down(),
            load: pool.load_word(index, now).as_str(),
            utilization: pool.utilization(index, now),
            sessions: None,
            drain_seconds_left: watched.drain_left(now).map(|left| left.as_secs_f64()),
            since: Timestamp(watched.since).to_string(),
            probe_successes_in_row: watched.health.successes_in_row(),
            probe_failures_in_row: watched.health.failures_in_row(),
            request_failures_in_row: endpoint.load.failures_in_row(),
            last_probe: last_probe.map(ProbeStatus::of),
            transitions: watched
                .past
                .iter()
                .rev()
                .map(TransitionStatus::of)
                .collect(),
        }
    }
}

impl ProbeStatus {
    fn of(probe: &LastProbe) -> Self {
        Self {
            time: Timestamp(probe.time).to_string(),
            latency_seconds: probe.latency.as_secs_f64(),
            outcome: probe.outcome.to_string(),
        }
    }
}

impl TransitionStatus {
    fn of(past: &PastTransition) -> Self {
        let transition = &past.transition;
        Self {
            time: Timestamp(past.time).to_string(),
            from: transition.from,
            to: transition.to,
            cause: transition.cause.as_str(),
            evidence: transition.evidence.map(|evidence| evidence.to_string()),
        }
    }
}

fn availability_word(availability: Availability) -> &'static str {
    match availability {
        Availability::Unknown => "unknown",
        Availability::Up => "up",
        Availability::Down => "down",
    }
}
