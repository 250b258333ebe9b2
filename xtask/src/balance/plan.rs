//! What a stage is asked to do, and what it answers.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

/// One measurement. The stage knows its trouble from the start.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Plan {
    /// Where requests go: the load balancer, or each to one of these at random.
    pub(super) targets: Vec<SocketAddr>,
    pub(super) requests_per_second: f64,
    /// Decides moments and work of all requests, and what the trouble draws.
    pub(super) seed: u64,
    /// Seconds of load before the measured window.
    pub(super) warm_seconds: f64,
    /// Seconds of the measured window.
    pub(super) seconds: f64,
    /// Seconds into the window from which requests are also counted apart.
    pub(super) split_seconds: f64,
    /// The load balancer's processes.
    pub(super) watch: Vec<u32>,
    /// The CPU they are on.
    pub(super) cpu: usize,
}

/// What came of the requests that were due in the window.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Outcome {
    pub(super) due: u64,
    /// With 200. Latencies are of these, from the moment they were due.
    pub(super) answered: u64,
    /// With anything else, not at all, or not in time.
    pub(super) failed: u64,
    pub(super) first_failure: Option<String>,
    pub(super) mean_ms: f64,
    pub(super) p50_ms: f64,
    pub(super) p99_ms: f64,
    pub(super) p999_ms: f64,
    pub(super) p99_before_split_ms: f64,
    pub(super) p99_after_split_ms: f64,
    /// From the split to the first request of the endpoint that joins.
    pub(super) first_request_seconds: Option<f64>,
    /// How late requests were sent: what the load itself adds to latencies.
    pub(super) lateness_p99_ms: f64,
    /// Connections that the load needed.
    pub(super) clients: usize,
    /// Share of the window's requests, retries included, that each endpoint got.
    pub(super) endpoint_shares: Vec<f64>,
    /// The same over the end of the window, from [`SETTLED_SECONDS`] after the split.
    pub(super) endpoint_shares_settled: Vec<f64>,
    /// Share of the window in which the load balancer ran.
    pub(super) cpu_share: f64,
    /// Share of the window in which other programs used its CPU.
    pub(super) others_share: f64,
}

/// When the ramp of an endpoint that joins should be over.
pub(super) const SETTLED_SECONDS: f64 = 10.0;
