//! The validated config. If you hold it, it is valid.

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use balance::{Address, EndpointSettings, HedgeSettings, PoolSettings, RetrySettings};

use crate::Secret;

/// Everything the file says, with defaults filled in and names resolved to indices.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// Request workers; `None`: one per core that the process may use.
    pub workers: Option<NonZeroUsize>,
    /// What keys are derived from that must outlive the process.
    pub secret: Option<Secret>,
    /// The admin API.
    pub admin: Admin,
    /// The access log.
    pub access_log: AccessLog,
    /// At least one.
    pub listeners: Vec<Listener>,
    /// Referred to by index from `routes`.
    pub pools: Vec<Pool>,
    /// Referred to by index from each listener's `route::Table`.
    pub routes: Vec<Route>,
}

/// The admin API and metrics.
#[derive(Debug, Clone)]
pub struct Admin {
    /// Loopback by default; `None` when switched off.
    pub bind: Option<SocketAddr>,
}

/// The access log: one JSON line per exchange.
#[derive(Debug, Clone)]
pub struct AccessLog {
    /// Where lines go.
    pub sink: AccessLogSink,
}

/// Where access log lines go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AccessLogSink {
    /// Nowhere.
    Off,
    /// Standard output.
    Stdout,
    /// Appended to a file.
    File(PathBuf),
}

/// Addresses we accept on, and what every client there must keep to.
#[derive(Debug, Clone)]
pub struct Listener {
    /// Unique among listeners.
    pub name: Box<str>,
    /// At least one.
    pub bind: Vec<Address>,
    /// Bounds of a request head.
    pub limits: HeadLimits,
    /// How long clients may take.
    pub timeouts: ListenerTimeouts,
    /// The routes of this listener; values are indices into [`Snapshot::routes`].
    pub routes: route::Table,
}

/// Bounds of a request head, and of a response head.
#[derive(Debug, Clone, Copy)]
pub struct HeadLimits {
    /// First line and fields together.
    pub head_bytes: usize,
    /// Field lines.
    pub fields: usize,
    /// The request line alone.
    pub line_bytes: usize,
}

/// How long a client may take.
#[derive(Debug, Clone, Copy)]
pub struct ListenerTimeouts {
    /// From the first byte of a request to the end of its head.
    pub head: Duration,
    /// Between two requests on a connection.
    pub idle: Duration,
    /// Without progress while a request body is read or a response is written.
    pub body: Duration,
}

/// A named set of endpoints sharing one policy.
#[derive(Debug, Clone)]
pub struct Pool {
    /// Policy, checks, queue.
    pub settings: PoolSettings,
    /// At least one, names unique.
    pub endpoints: Vec<EndpointSettings>,
    /// How long an unused connection to an endpoint is kept, unless the endpoint announces less.
    pub keep_alive_idle: Duration,
}

/// What to do with a request that the route's matchers chose.
#[derive(Debug, Clone)]
pub struct Route {
    /// For logs and metrics: the matchers as written, e.g. `shop.example/api/`; `default` for a
    /// route without any.
    pub name: Box<str>,
    /// Index into [`Snapshot::pools`].
    pub pool: usize,
    /// Route over pool over default, merged.
    pub timeouts: RouteTimeouts,
    /// When a request moves to another endpoint. Route over pool over default.
    pub retry: RetrySettings,
    /// When a slow request gets a second copy; `None`: never. Route over pool over default.
    pub hedge: Option<HedgeSettings>,
    /// Protocols that a request may upgrade to, in lower case; `["websocket"]` by default.
    pub upgrades: Vec<Box<str>>,
    /// TRACE is forwarded; false by default, because it echoes credentials.
    pub allow_trace: bool,
}

/// How long an endpoint may take for a request on a route.
#[derive(Debug, Clone, Copy)]
pub struct RouteTimeouts {
    /// To establish a connection.
    pub connect: Duration,
    /// From the request sent to the response head received.
    pub response: Duration,
    /// Without progress while a body is exchanged with the endpoint.
    pub body: Duration,
    /// Without traffic in either direction of an upgraded connection.
    pub tunnel: Duration,
    /// The whole exchange; `None`: no bound.
    pub total: Option<Duration>,
}

impl Default for HeadLimits {
    fn default() -> Self {
        Self {
            head_bytes: 32 * 1024,
            fields: 100,
            line_bytes: 8 * 1024,
        }
    }
}

impl Default for ListenerTimeouts {
    fn default() -> Self {
        Self {
            head: Duration::from_secs(10),
            idle: Duration::from_secs(60),
            body: Duration::from_secs(60),
        }
    }
}

impl Default for RouteTimeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(2),
            response: Duration::from_secs(60),
            body: Duration::from_secs(60),
            tunnel: Duration::from_secs(3600),
            total: None,
        }
    }
}
