//! `/status`: everything about pools and endpoints, as JSON.

use std::sync::atomic::Ordering;

use balance::Availability;
use observe::Timestamp;
use serde::Serialize;

use crate::ListenerView;
use crate::health_board::{HealthBoard, LastProbe, PastTransition, WatchedPool};
use crate::view::View;

/// The answer to `/status`.
#[derive(Debug, Serialize)]
pub(crate) struct Status<'a> {
    version: &'static str,
    uptime_seconds: f64,
    workers: usize,
    listeners: &'a [ListenerView],
    pools: Vec<PoolStatus>,
}

#[derive(Debug, Serialize)]
struct PoolStatus {
    name: String,
    policy: &'static str,
    requests_queued: u32,
    endpoints: Vec<EndpointStatus>,
}

#[derive(Debug, Serialize)]
struct EndpointStatus {
    name: String,
    address: String,
    weight: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_requests: Option<u32>,
    requests_in_flight: u32,
    /// Responses since the start.
    requests: u64,
    availability: &'static str,
    state: &'static str,
    ejected: bool,
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
            listeners: &self.listeners,
            pools: pools
                .map(|(index, pool)| self.pool_status(&board, index, pool))
                .collect(),
        }
    }

    fn pool_status(&self, board: &HealthBoard, index: usize, watched: &WatchedPool) -> PoolStatus {
        let endpoints = (0..watched.endpoints.len()).map(|endpoint| {
            let requests = self
                .registry
                .sum(|worker| worker.pools[index].endpoints[endpoint].requests.sum());
            EndpointStatus::of(board, watched, endpoint, requests)
        });
        PoolStatus {
            name: watched.pool.settings.name.to_string(),
            policy: watched.pool.settings.policy.name,
            requests_queued: watched.pool.queue.waiting(),
            endpoints: endpoints.collect(),
        }
    }
}

impl EndpointStatus {
    fn of(board: &HealthBoard, pool: &WatchedPool, index: usize, requests: u64) -> Self {
        let endpoint = &pool.pool.endpoints[index];
        let watched = &pool.endpoints[index];
        let last_probe = board
            .target_of(watched)
            .and_then(|target| target.last.as_ref());
        Self {
            name: endpoint.name.to_string(),
            address: endpoint.address.to_string(),
            weight: endpoint.weight,
            max_requests: endpoint.max_requests.map(Into::into),
            requests_in_flight: endpoint.load.in_flight.load(Ordering::Relaxed),
            requests,
            availability: availability_word(endpoint.availability()),
            state: watched.health.state().as_str(),
            ejected: watched.health.is_ejected(),
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
