//! What a config file may say, key by key. Nothing here is trusted.
//!
//! This is the one list of keys: the JSON Schema is derived from it, doc comments included, and
//! the check for unknown keys and wrong types walks that schema. Texts stay texts here; `compile`
//! reads them.
//!
//! Doc comments are shown to users, in editors and as help under a mistake.

use std::collections::BTreeMap;
use std::num::NonZeroU32;

use balance::DEFAULT_POLICY;
use schemars::JsonSchema;
use serde::Deserialize;

use crate::compile::policies;
use crate::spanned::{At, OffOr, OneOrMany, StringOr};

/// The config of Pointsman.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "Pointsman")]
pub(crate) struct RawConfig {
    /// Number of request workers. Default: one per core that the process may use.
    #[schemars(range(min = 1, max = 1024))]
    pub workers: Option<At<u32>>,
    /// Admin API and metrics.
    pub admin: Option<At<RawAdmin>>,
    /// One JSON line per request.
    pub access_log: Option<At<RawAccessLog>>,
    /// Addresses that clients connect to, by name.
    #[serde(default)]
    pub listeners: BTreeMap<At<String>, RawListener>,
    /// Sets of endpoints, by name.
    #[serde(default)]
    pub pools: BTreeMap<At<String>, RawPool>,
    /// Which requests go to which pool; the most specific wins. With one pool and no routes,
    /// everything goes to it.
    #[serde(default)]
    pub routes: Vec<At<RawRoute>>,
}

/// Admin API and metrics.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawAdmin {
    /// Address of the admin API, or `"off"`. Default: `"127.0.0.1:9090"`.
    pub bind: Option<At<String>>,
}

/// One JSON line per request.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawAccessLog {
    /// `"stdout"` (the default), `"off"`, or `{ file = "/path" }`.
    pub sink: Option<At<StringOr<RawLogFile>>>,
    /// `"json"`, the only one so far.
    #[expect(
        dead_code,
        reason = "it has one value: that it is this one is all there is to know"
    )]
    pub format: Option<LogFormat>,
}

/// A file that lines are appended to.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawLogFile {
    /// Path of the file.
    pub file: At<String>,
}

/// Format of the access log.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub(crate) enum LogFormat {
    Json,
}

/// Addresses that clients connect to, and what clients there must keep to.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawListener {
    /// Address, or list of addresses: `"0.0.0.0:8080"`, `"[::]:8080"`, `":8080"`,
    /// `"unix:/run/app.sock"`.
    pub bind: OneOrMany,
    /// `"http"`, the default.
    #[expect(
        dead_code,
        reason = "it has one value: that it is this one is all there is to know"
    )]
    pub protocol: Option<Protocol>,
    /// Bounds of a request head.
    pub limits: Option<At<RawLimits>>,
    /// How long clients may take.
    pub timeouts: Option<RawListenerTimeouts>,
}

/// What is spoken on a listener.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub(crate) enum Protocol {
    Http,
}

/// Bounds of a request head.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawLimits {
    /// Size of a whole head, 1KiB to 64KiB. Default: `"32KiB"`.
    pub head: Option<At<SizeText>>,
    /// Number of header fields, 1 to 1000. Default: 100.
    #[schemars(range(min = 1, max = 1000))]
    pub fields: Option<u32>,
    /// Size of the request line, at most that of the head. Default: `"8KiB"`, or that of a smaller
    /// head.
    pub line: Option<At<SizeText>>,
}

/// How long clients may take.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawListenerTimeouts {
    /// From the first byte of a request to the end of its head. Default: `"10s"`.
    pub head: Option<At<DurationText>>,
    /// Between two requests on a connection. Default: `"60s"`.
    pub idle: Option<At<DurationText>>,
    /// Without progress of a request body, or of a response that the client reads.
    /// Default: `"60s"`.
    pub body: Option<At<DurationText>>,
}

/// A set of endpoints that share one policy.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawPool {
    /// How an endpoint is chosen.
    #[schemars(extend("enum" = policies().collect::<Vec<_>>(), "default" = DEFAULT_POLICY))]
    pub policy: Option<String>,
    /// Where requests go: addresses such as `"10.0.0.11:3000"`, or tables.
    pub endpoints: At<Vec<At<StringOr<RawEndpoint>>>>,
    /// Active checks: `"/path"` (HTTP GET), `"tcp"` (connect; the default), `"off"`, or a table.
    pub check: Option<At<StringOr<RawCheck>>>,
    /// Passive checks, which judge live traffic: `"off"`, or a table.
    pub outlier: Option<OffOr<RawOutlier>>,
    /// When a request moves to another endpoint: `"off"`, or a table.
    pub retry: Option<OffOr<RawRetry>>,
    /// How long endpoints may take.
    pub timeouts: Option<RawPoolTimeouts>,
    /// Where requests wait when every endpoint has `max_requests`: `"off"`, or a table.
    pub queue: Option<OffOr<RawQueue>>,
    /// With every endpoint down: `"open"` (the default) tries them all, `"closed"` refuses.
    pub fail: Option<Fail>,
}

/// What a pool does when every endpoint is down.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub(crate) enum Fail {
    Open,
    Closed,
}

/// One endpoint.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawEndpoint {
    /// `"10.0.0.11:3000"`, `"[::1]:3000"`, `"name.internal:3000"` or `"unix:/run/app.sock"`.
    pub address: At<String>,
    /// Name in logs and metrics. Default: the address.
    pub name: Option<At<String>>,
    /// Share of the traffic, 0 to 256. With 0 it is picked when nothing else is left.
    /// Default: 1.
    #[schemars(range(min = 0, max = 256))]
    pub weight: Option<u32>,
    /// Most requests in flight at once. Default: no bound.
    pub max_requests: Option<NonZeroU32>,
}

/// Active checks.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawCheck {
    /// Path of an HTTP GET. Without it, a check is a TCP connect.
    pub http: Option<At<String>>,
    /// Host field of the GET. Default: the endpoint's address.
    pub host: Option<At<String>>,
    /// Statuses that mean success: `"200"`, `"200-399"` (the default), or a list of these.
    pub expect: Option<OneOrMany>,
    /// From check to check. Default: `"2s"`.
    pub interval: Option<At<DurationText>>,
    /// For one check. Default: `"1s"`.
    pub timeout: Option<At<DurationText>>,
    /// Consecutive failures until an endpoint is down. Default: 3.
    pub fall: Option<NonZeroU32>,
    /// Consecutive successes until it is up again. Default: 2.
    pub rise: Option<NonZeroU32>,
}

/// Passive checks.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawOutlier {
    /// Consecutive failures that eject an endpoint. Default: 5.
    pub consecutive: Option<NonZeroU32>,
    /// The first ejection; each further one in a row is twice as long. Default: `"1s"`.
    pub ejection: Option<At<DurationText>>,
    /// The longest ejection. Default: `"60s"`, or a longer first one.
    pub ejection_max: Option<At<DurationText>>,
    /// Never eject more than this share of a pool. Default: `"50%"`.
    pub ejected_max: Option<At<String>>,
}

/// When a request moves to another endpoint.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawRetry {
    /// Extra attempts, 0 to 10. Default: 1.
    #[schemars(range(min = 0, max = 10))]
    pub attempts: Option<u32>,
    /// What is retried: `"connect"`, `"reset"`, `"timeout"` (all three by default), and statuses
    /// such as `"502"`.
    pub on: Option<Vec<At<String>>>,
    /// Body kept to be sent again, at most 64MiB. Default: `"64KiB"`.
    pub body: Option<At<SizeText>>,
}

/// How long endpoints may take.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawPoolTimeouts {
    /// To accept a connection. Default: `"2s"`.
    pub connect: Option<At<DurationText>>,
    /// From the request sent to the head of the response. Default: `"60s"`.
    pub response: Option<At<DurationText>>,
    /// Without progress of a body. Default: `"60s"`.
    pub body: Option<At<DurationText>>,
    /// Without traffic on an upgraded connection. Default: `"1h"`.
    pub tunnel: Option<At<DurationText>>,
    /// For a whole request and its response, or `"off"` (the default).
    pub total: Option<At<DurationText>>,
    /// How long an unused connection is kept. Default: `"30s"`.
    pub idle: Option<At<DurationText>>,
}

/// Where requests wait.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawQueue {
    /// Most requests that wait. Default: 1000.
    pub length: Option<NonZeroU32>,
    /// Longest wait. Default: `"5s"`.
    pub timeout: Option<At<DurationText>>,
}

/// Which requests go to a pool.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawRoute {
    /// Name of a listener. Default: all of them.
    pub listener: Option<At<String>>,
    /// `"shop.example"`, or `"*.shop.example"` for every name below. Default: any.
    pub host: Option<At<String>>,
    /// `"/api/"` takes everything from there on, `"=/api"` that path alone. Default: any.
    pub path: Option<At<String>>,
    /// Name of the pool that takes the requests.
    pub pool: At<String>,
    /// Before those of the pool.
    pub timeouts: Option<RawRouteTimeouts>,
    /// Protocols that a connection may be upgraded to. Default: `["websocket"]`.
    pub upgrades: Option<Vec<At<String>>>,
    /// `"allow"` forwards the method TRACE, which echoes credentials. Default: `"refuse"`.
    pub trace: Option<Trace>,
}

/// How long endpoints may take for the requests of a route.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawRouteTimeouts {
    /// To accept a connection.
    pub connect: Option<At<DurationText>>,
    /// From the request sent to the head of the response.
    pub response: Option<At<DurationText>>,
    /// Without progress of a body.
    pub body: Option<At<DurationText>>,
    /// Without traffic on an upgraded connection.
    pub tunnel: Option<At<DurationText>>,
    /// For a whole request and its response, or `"off"`.
    pub total: Option<At<DurationText>>,
}

/// What becomes of the method TRACE.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub(crate) enum Trace {
    Allow,
    Refuse,
}

/// A time such as `"2s"`, `"500ms"` or `"1h30m"`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(transparent)]
#[schemars(inline, extend("examples" = ["2s", "500ms", "1h30m"]))]
pub(crate) struct DurationText(pub String);

/// A size such as `"64KiB"`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(transparent)]
#[schemars(inline, extend("examples" = ["64KiB", "1MiB"]))]
pub(crate) struct SizeText(pub String);
