//! What the config says about a pool, validated. A default stands next to its reason.

use std::num::NonZeroU32;
use std::time::Duration;

use crate::{Address, DEFAULT_POLICY};

/// Everything about a pool but its endpoints.
#[derive(Debug, Clone)]
pub struct PoolSettings {
    /// Unique among pools.
    pub name: Box<str>,
    /// How an endpoint is chosen.
    pub policy: PolicySettings,
    /// The zone that this process runs in: endpoints of the same zone go first.
    pub zone: Option<Box<str>>,
    /// How endpoints are probed.
    pub check: Check,
    /// Whom to ask how busy an endpoint is.
    pub agent: Option<AgentSettings>,
    /// How live traffic is judged.
    pub outlier: OutlierSettings,
    /// How an endpoint that joins or recovers gets its share; `None`: at once.
    pub slow_start: Option<SlowStartSettings>,
    /// What responses say about load.
    pub feedback: FeedbackSettings,
    /// Finds the most requests in flight that an endpoint takes well; `None`: does not.
    pub concurrency: Option<ConcurrencySettings>,
    /// Where requests wait when every endpoint is full.
    pub queue: QueueSettings,
    /// Bounds of the pool as a whole.
    pub circuit: CircuitSettings,
    /// Which requests belong to one endpoint.
    pub sticky: Option<StickySettings>,
    /// An endpoint that drains keeps its sessions for so long, then is in maintenance.
    pub drain: Duration,
    /// With every endpoint down: true refuses, false tries them all. False by default: a check
    /// may be wrong about all endpoints at once, and a refusal is wrong for certain.
    pub fail_closed: bool,
    /// With less than this share of the endpoints up, health is ignored: those that are left
    /// would fall under the load of all. 0, the default: only when none is up.
    pub panic_percent: u8,
}

/// One endpoint as configured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndpointSettings {
    /// The name, or the address as written; unique in its pool.
    pub name: Box<str>,
    /// Resolved address.
    pub address: Address,
    /// The host that the address was written with, where that is a name; in lower case. By TLS,
    /// the endpoint is asked for it and its certificate is for it.
    pub host: Option<Box<str>>,
    /// Share of the traffic, 0 to 256. 0: only picked when no endpoint with a weight may be.
    pub weight: u32,
    /// Most requests in flight at once, over all workers.
    pub max_requests: Option<NonZeroU32>,
    /// 0 for primary endpoints, higher for those that stand in for them.
    pub tier: u8,
    /// Where it stands.
    pub zone: Option<Box<str>>,
}

/// A policy and its parameters. Those that a policy does not use are ignored.
#[derive(Debug, Clone, PartialEq)]
pub struct PolicySettings {
    /// A name of the POLICIES table.
    pub name: &'static str,
    /// What hash policies hash.
    pub key: HashKey,
    /// Hash policies: an endpoint has at most this multiple of its fair share in flight, 1.0 or
    /// more. `None`: no bound.
    pub bounded_load: Option<f64>,
    /// `adaptive`: endpoints are asked for their load, beside what responses say.
    pub load_probe: Option<LoadProbeSettings>,
}

/// What of a request is hashed, or names its session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HashKey {
    /// The client's address without its port.
    ClientIp,
    /// The client's address with its port: every connection, or flow of datagrams, for itself.
    ClientAddress,
    /// The first field of this name, in lower case.
    Header(Box<str>),
    /// The first cookie of this name.
    Cookie(Box<str>),
    /// The first query parameter of this name, as written.
    Query(Box<str>),
    /// The path without the query.
    Path,
}

/// Asking endpoints for their load as requests come.
#[derive(Debug, Clone, PartialEq)]
pub struct LoadProbeSettings {
    /// Path of a GET that answers with a load report, in the header or in the body.
    pub path: Box<str>,
    /// Probes per request at most.
    pub per_request: f64,
    /// For one probe, 3 ms to 100 ms: what comes later is no news.
    pub timeout: Duration,
}

/// A program beside each endpoint that says how busy it is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct AgentSettings {
    /// How it is asked.
    pub kind: AgentKind,
    /// Where it listens; the endpoint's own port when absent.
    pub port: Option<u16>,
    /// From question to question.
    pub interval: Duration,
    /// For one answer, connect included.
    pub timeout: Duration,
}

/// How an agent is asked.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum AgentKind {
    /// GET of a path.
    Http {
        /// Path and query, beginning with `/`.
        path: Box<str>,
    },
    /// A connection on which these bytes are sent, and a line of words comes back.
    Tcp {
        /// May be empty.
        send: Box<[u8]>,
    },
}

/// Slow start.
#[derive(Debug, Clone, PartialEq)]
pub struct SlowStartSettings {
    /// From the least share to the full one.
    pub window: Duration,
    /// 1.0 is a straight line; more is faster at first.
    pub aggression: f64,
}

/// What responses say about load.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FeedbackSettings {
    /// Load reports in response headers are believed.
    pub headers: bool,
    /// With `Retry-After`, an endpoint that answers one of these statuses is full until then.
    pub full_on: Vec<u16>,
}

/// The bounds within which the limit of an endpoint moves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConcurrencySettings {
    /// Least limit.
    pub min: NonZeroU32,
    /// Greatest limit.
    pub max: NonZeroU32,
}

/// Bounds of a pool as a whole, over all workers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CircuitSettings {
    /// Connections to all endpoints, those in use and those that wait.
    pub connections: Option<NonZeroU32>,
    /// Requests in flight at all endpoints.
    pub requests: Option<NonZeroU32>,
}

/// Stickiness: a client's requests go where its session is.
#[derive(Debug, Clone, PartialEq)]
pub struct StickySettings {
    /// How a session is known.
    pub by: StickyBy,
    /// Without its endpoint a session's requests are refused instead of going elsewhere.
    pub is_strict: bool,
    /// How long a session is remembered without a request.
    pub idle: Duration,
    /// Most sessions remembered; the longest unused are forgotten first.
    pub sessions_max: usize,
    /// The endpoint of a session is passed over while it has more than this multiple of its fair
    /// share in flight. `None`: never.
    pub bounded_load: Option<f64>,
}

/// How a session is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StickyBy {
    /// By a cookie of our own, of this name.
    Cookie(Box<str>),
    /// By something that the request brings; its first endpoint keeps it.
    Key(HashKey),
    /// By a header or cookie that an endpoint set: the session is at the endpoint that did.
    Learned(HashKey),
}

/// A second copy of a slow request.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct HedgeSettings {
    /// A copy is sent once the request takes longer than this quantile of its route.
    pub quantile: f64,
    /// Never sooner than this.
    pub delay_min: Duration,
    /// Copies at most, as a share of requests.
    pub budget_percent: u8,
}

/// Active checks of one endpoint.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Check {
    /// What a probe does.
    pub kind: CheckKind,
    /// Where it is probed, if not at the port that takes its requests. For TCP addresses.
    pub port: Option<u16>,
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
    /// On a connection these bytes are sent, and the answer must contain those.
    TcpExpect {
        /// May be empty: then the endpoint speaks first.
        send: Box<[u8]>,
        /// Not empty.
        expect: Box<[u8]>,
    },
    /// GET of a path must answer with an expected status.
    Http {
        /// Path and query, beginning with `/`.
        path: Box<str>,
        /// The Host field; the endpoint's address when absent.
        host: Option<Box<str>>,
        /// More fields of the request, names and values. None of Host, Connection, User-Agent,
        /// Accept, and none that announces a body.
        headers: Vec<(Box<str>, Box<str>)>,
        /// Statuses that count as success.
        expect: Vec<StatusRange>,
        /// Text that the first 64 KiB of the body must contain.
        body: Option<Box<str>>,
    },
    /// A call of `grpc.health.v1.Health/Check` must say that a service takes calls.
    Grpc {
        /// Name of the service; empty for the endpoint as a whole.
        service: Box<str>,
        /// Whom the call is for; the endpoint's address when absent.
        host: Option<Box<str>>,
    },
    /// A datagram must not be refused, or must be answered.
    Udp {
        /// What is sent; may be empty.
        send: Box<[u8]>,
        /// What an answer must contain, not empty; `None`: silence will do.
        expect: Option<Box<[u8]>>,
    },
    /// A Redis server must answer PING.
    Redis,
    /// A PostgreSQL server must go about the login of a client.
    Postgres,
    /// A MySQL or MariaDB server must go about the login of a client.
    Mysql,
    /// A mail server must greet, and greet back.
    Smtp,
    /// A DNS server must answer a query by UDP.
    Dns {
        /// A host whose address is asked for, which the server must know. `None`: the root is
        /// asked for, and almost any answer will do.
        name: Option<Box<str>>,
    },
}

impl CheckKind {
    /// True if a probe is a datagram and not a connection.
    pub fn is_by_udp(&self) -> bool {
        matches!(self, Self::Udp { .. } | Self::Dns { .. })
    }
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
#[derive(Debug, Clone, PartialEq)]
pub struct OutlierSettings {
    /// Consecutive failures (5xx, reset, timeout, connect) that eject. `None`: off.
    pub consecutive: Option<NonZeroU32>,
    /// First ejection; doubles with each further one in a row.
    pub ejection: Duration,
    /// Longest ejection.
    pub ejection_max: Duration,
    /// Never eject more than this share of the pool, but in a small pool one; 0: none.
    pub ejected_percent_max: u8,
    /// Judging endpoints by how they stand against their peers. `None`: off.
    pub success_rate: Option<SuccessRateSettings>,
}

/// Outlier detection by success rate.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SuccessRateSettings {
    /// From judgement to judgement.
    pub interval: Duration,
    /// An endpoint with fewer requests in an interval is not judged.
    pub requests_min: u32,
    /// Ejected below the mean of all less this many standard deviations.
    pub deviations: f64,
    /// And only below this percentage of successes.
    pub percent_max: u8,
}

/// Retries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RetrySettings {
    /// Extra attempts; 0 is off.
    pub attempts: u32,
    /// What is retried.
    pub on: RetryOn,
    /// For an attempt that may still be repeated elsewhere, from its pick to its response head;
    /// `None`: as long as the last one.
    pub timeout: Option<Duration>,
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
    /// The endpoint ended a gRPC call with one of these codes before any message; bit `1 << code`.
    /// Every call is a POST: whoever sets a bit says that calls may be repeated.
    pub grpc: u32,
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
            port: None,
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
            success_rate: Some(SuccessRateSettings::default()),
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
                grpc: 0,
            },
            timeout: None,
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

impl PoolSettings {
    /// The default of `drain`: long enough to finish what one is doing, and short enough for
    /// whoever waits to take the endpoint out.
    pub const DRAIN: Duration = Duration::from_secs(300);

    /// A pool of this name with nothing else configured.
    pub fn new(name: impl Into<Box<str>>) -> Self {
        Self {
            name: name.into(),
            policy: PolicySettings::default(),
            zone: None,
            check: Check::default(),
            agent: None,
            outlier: OutlierSettings::default(),
            slow_start: Some(SlowStartSettings::default()),
            feedback: FeedbackSettings::default(),
            concurrency: None,
            queue: QueueSettings::default(),
            circuit: CircuitSettings::default(),
            sticky: None,
            drain: Self::DRAIN,
            fail_closed: false,
            panic_percent: 0,
        }
    }
}

impl PolicySettings {
    /// A policy without parameters. `name` is one of the POLICIES table.
    pub fn named(name: &'static str) -> Self {
        Self {
            name,
            key: HashKey::ClientIp,
            bounded_load: None,
            load_probe: None,
        }
    }
}

impl Default for PolicySettings {
    fn default() -> Self {
        Self::named(DEFAULT_POLICY)
    }
}

impl Default for SlowStartSettings {
    fn default() -> Self {
        Self {
            window: Duration::from_secs(10),
            aggression: 1.0,
        }
    }
}

impl Default for SuccessRateSettings {
    fn default() -> Self {
        Self {
            interval: Duration::from_secs(10),
            requests_min: 20,
            deviations: 1.9,
            percent_max: 80,
        }
    }
}

impl Default for FeedbackSettings {
    /// 429 is not among them: it mostly means one client, and would let that client empty an
    /// endpoint for all.
    fn default() -> Self {
        Self {
            headers: true,
            full_on: vec![503],
        }
    }
}

impl Default for ConcurrencySettings {
    fn default() -> Self {
        Self {
            min: NonZeroU32::MIN,
            max: NonZeroU32::new(1000).expect("not zero"),
        }
    }
}

impl StickySettings {
    /// Sessions known this way, with all else by default.
    pub fn by(by: StickyBy) -> Self {
        Self {
            by,
            is_strict: false,
            // As long as the sessions of most applications live without a request, and longer
            // than a coffee break.
            idle: Duration::from_secs(3600),
            sessions_max: 65_536,
            bounded_load: None,
        }
    }
}

impl Default for HedgeSettings {
    fn default() -> Self {
        Self {
            quantile: 0.95,
            delay_min: Duration::from_millis(1),
            budget_percent: 5,
        }
    }
}
