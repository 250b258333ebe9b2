//! What the config says about a pool, validated. A default stands next to its reason.

use std::num::NonZeroU32;
use std::time::Duration;

/// Everything about a pool but its endpoints.
#[derive(Debug, Clone)]
pub struct PoolSettings {
    /// Unique among pools.
    pub name: Box<str>,
    /// A name of the POLICIES table.
    pub policy: &'static str,
    /// How endpoints are probed.
    pub check: Check,
    /// How live traffic is judged.
    pub outlier: OutlierSettings,
    /// When a request moves to another endpoint.
    pub retry: RetrySettings,
    /// Where requests wait when every endpoint is full.
    pub queue: QueueSettings,
    /// With every endpoint down: true refuses, false tries them all. False by default: a check
    /// may be wrong about all endpoints at once, and a refusal is wrong for certain.
    pub fail_closed: bool,
}

/// Active checks of one endpoint.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Check {
    /// What a probe does.
    pub kind: CheckKind,
    /// From probe to probe while the verdict is firm; ±10 % jitter.
    pub interval: Duration,
    /// For one probe, connect included.
    pub timeout: Duration,
    /// Consecutive failures that make an endpoint down.
    pub fall: NonZeroU32,
    /// Consecutive successes that bring it back.
    pub rise: NonZeroU32,
}

/// What a probe does.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum CheckKind {
    /// No probes: the endpoint counts as up until live traffic says otherwise.
    Off,
    /// A TCP (or Unix) connect must succeed.
    Tcp,
    /// GET of a path must answer with an expected status.
    Http {
        /// Path and query, beginning with `/`.
        path: Box<str>,
        /// The Host field; the endpoint's address when absent.
        host: Option<Box<str>>,
        /// Statuses that count as success.
        expect: Vec<StatusRange>,
    },
}

/// An inclusive range of status codes, `200-399` or `200`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct StatusRange {
    /// First code of the range.
    pub from: u16,
    /// Last code of the range.
    pub to: u16,
}

/// Passive checks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutlierSettings {
    /// Consecutive failures (5xx, reset, timeout, connect) that eject. `None`: off.
    pub consecutive: Option<NonZeroU32>,
    /// First ejection; doubles with each further one in a row.
    pub ejection: Duration,
    /// Longest ejection.
    pub ejection_max: Duration,
    /// Never eject more than this share of the pool, but in a small pool one; 0: none.
    pub ejected_percent_max: u8,
}

/// Retries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RetrySettings {
    /// Extra attempts; 0 is off.
    pub attempts: u32,
    /// What is retried.
    pub on: RetryOn,
    /// Body kept so that it can be sent again.
    pub body_bytes_max: usize,
}

/// The conditions under which a request may move to another endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RetryOn {
    /// Could not connect, or a kept connection turned out closed before it carried anything.
    pub connect: bool,
    /// Reset or closed before the response head; idempotent methods only.
    pub reset: bool,
    /// No response head in time; idempotent methods only.
    pub timeout: bool,
    /// The endpoint answered with one of these; idempotent methods only.
    pub statuses: Vec<u16>,
}

/// The waiting room of a pool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueueSettings {
    /// Most requests waiting, over all workers; 0: never wait.
    pub length: u32,
    /// Longest wait.
    pub timeout: Duration,
}

impl Default for Check {
    fn default() -> Self {
        Self {
            kind: CheckKind::Tcp,
            interval: Duration::from_secs(2),
            timeout: Duration::from_secs(1),
            fall: NonZeroU32::new(3).expect("not zero"),
            rise: NonZeroU32::new(2).expect("not zero"),
        }
    }
}

impl Default for OutlierSettings {
    fn default() -> Self {
        Self {
            consecutive: NonZeroU32::new(5),
            ejection: Duration::from_secs(1),
            ejection_max: Duration::from_secs(60),
            ejected_percent_max: 50,
        }
    }
}

impl Default for RetrySettings {
    fn default() -> Self {
        Self {
            attempts: 1,
            on: RetryOn {
                connect: true,
                reset: true,
                timeout: true,
                statuses: Vec::new(),
            },
            body_bytes_max: 64 * 1024,
        }
    }
}

impl Default for QueueSettings {
    fn default() -> Self {
        Self {
            length: 1000,
            timeout: Duration::from_secs(5),
        }
    }
}
