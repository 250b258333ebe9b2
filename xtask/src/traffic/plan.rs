//! What a traffic program is asked to do, and what it answers.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

/// One measurement.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Plan {
    /// Where the load balancer listens.
    pub(crate) target: SocketAddr,
    /// True if TLS is spoken there.
    pub(crate) is_secure: bool,
    /// What to ask for.
    pub(crate) path: String,
    /// Bytes of each answer's body; any other length is wrong.
    pub(crate) answer_bytes: u64,
    /// Bytes of each request's body; 0 sends GET, everything else POST.
    pub(crate) body_bytes: usize,
    /// Connections at a time.
    pub(crate) connections: usize,
    /// When requests are sent.
    pub(crate) pace: Pace,
    /// Seconds of load before the measured window.
    pub(crate) warm_seconds: f64,
    /// Seconds of the measured window.
    pub(crate) seconds: f64,
    /// The load balancer's processes.
    pub(crate) watch: Vec<u32>,
    /// The CPU they are on.
    pub(crate) cpu: usize,
}

/// When requests are sent.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) enum Pace {
    /// The next as soon as the last is answered.
    Closed,
    /// The same on a new connection each time. The client asks for the close unless the target
    /// does so by itself.
    OncePerConnection { ask_for_close: bool },
    /// At random moments (a Poisson process), whether or not earlier ones are answered.
    Open { requests_per_second: f64 },
    /// One on each connection, then none.
    Idle,
}

/// What came of it. Figures that a pace does not measure are 0.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Outcome {
    /// Right answers that came in the window.
    pub(crate) requests: u64,
    /// Right answers in all, warm-up included.
    pub(crate) requests_in_all: u64,
    /// Requests that were due in the window, and how many of them were answered, also after it;
    /// open loop only.
    pub(crate) due: u64,
    pub(crate) due_answered: u64,
    /// Answers with another status or length, and connections that broke; warm-up included.
    pub(crate) wrong: u64,
    /// The first thing that was wrong.
    pub(crate) first_wrong: Option<String>,
    /// Length of the window.
    pub(crate) seconds: f64,
    /// Run time of all watched threads within it.
    pub(crate) run_seconds: f64,
    /// Share of the window in which other programs used the watched CPU.
    pub(crate) others_share: f64,
    /// Latencies in microseconds, in the open loop from the moment a request was due.
    pub(crate) p50_us: f64,
    pub(crate) p99_us: f64,
    pub(crate) p999_us: f64,
    /// Requests that each endpoint answered.
    pub(crate) endpoint_requests: Vec<u64>,
    /// Connections that the endpoints accepted.
    pub(crate) endpoint_connections: u64,
    /// Growth of the watched processes' memory for each idle connection.
    pub(crate) memory_bytes_per_connection: f64,
}
