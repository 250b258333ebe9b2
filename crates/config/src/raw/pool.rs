//! What a config file may say about a pool.

use std::collections::BTreeMap;
use std::num::NonZeroU32;

use balance::DEFAULT_POLICY;
use schemars::JsonSchema;
use serde::Deserialize;

use super::{DurationText, RawPoolSocket, RawPoolTls, SizeText};
use crate::compile::policies;
use crate::spanned::{At, OffOr, OneOrMany, StringOr, WordOr};

/// A set of endpoints that share one policy.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawPool {
    /// How an endpoint is chosen: a name, or a table of one name with its settings.
    #[schemars(extend("default" = DEFAULT_POLICY))]
    pub policy: Option<At<WordOr<PolicyName, RawPolicy>>>,
    /// Where requests go: addresses such as `"10.0.0.11:3000"`, or tables.
    pub endpoints: At<Vec<At<StringOr<RawEndpoint>>>>,
    /// TLS with endpoints: `"on"`, `"off"` (the default), or a table.
    pub tls: Option<At<WordOr<Switch, RawPoolTls>>>,
    /// What endpoints speak: `"h1"` (HTTP/1.1, the default), `"h2"`, or `"auto"`, which is what
    /// they choose by TLS.
    pub protocol: Option<At<UpstreamWord>>,
    /// Connections to endpoints begin with a PROXY header: `"v1"` or `"v2"`. Default: they do not.
    pub proxy_protocol: Option<At<VersionWord>>,
    /// How connections to endpoints are made.
    pub socket: Option<RawPoolSocket>,
    /// Active checks: `"/path"` (HTTP GET), `"tcp"` (connect; the default), `"udp"` (the default
    /// where only datagrams go), `"grpc"`, `"redis"`, `"postgres"`, `"mysql"`, `"smtp"`, `"dns"`,
    /// `"off"`, or a table.
    pub check: Option<At<StringOr<RawCheck>>>,
    /// Whom to ask how busy an endpoint is.
    pub agent: Option<At<RawAgent>>,
    /// Passive checks, which judge live traffic: `"off"`, or a table.
    pub outlier: Option<OffOr<RawOutlier>>,
    /// How an endpoint that joins or recovers gets its share: the time it takes (`"10s"` by
    /// default), `"off"` for at once, or a table.
    pub slow_start: Option<At<StringOr<RawSlowStart>>>,
    /// What responses say about load: `"off"`, or a table.
    pub feedback: Option<OffOr<RawFeedback>>,
    /// Finds the most requests in flight that each endpoint takes well: `"adaptive"`, `"off"`
    /// (the default), or a table.
    pub concurrency: Option<At<WordOr<Concurrency, RawConcurrency>>>,
    /// When a request moves to another endpoint: `"off"`, or a table.
    pub retry: Option<OffOr<RawRetry>>,
    /// When a slow request gets a second copy: `"on"`, `"off"` (the default), or a table.
    pub hedge: Option<WordOr<Switch, RawHedge>>,
    /// Which requests belong to one endpoint.
    pub sticky: Option<At<RawSticky>>,
    /// An endpoint that drains keeps its sessions for so long, then takes no requests at all.
    /// Default: `"300s"`.
    pub drain: Option<At<DurationText>>,
    /// Bounds of the pool as a whole.
    pub circuit: Option<RawCircuit>,
    /// How long endpoints may take.
    pub timeouts: Option<RawPoolTimeouts>,
    /// Where requests and connections wait when every endpoint is full: `"off"`, or a table.
    pub queue: Option<OffOr<RawQueue>>,
    /// With every endpoint down: `"open"` (the default) tries them all, `"closed"` refuses.
    pub fail: Option<Fail>,
    /// With less than this share of the endpoints up, health is ignored. Default: `"0%"`, only
    /// when none is up.
    pub panic: Option<At<String>>,
}

/// What endpoints speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub(crate) enum UpstreamWord {
    H1,
    H2,
    Auto,
}

/// The version of a PROXY header.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub(crate) enum VersionWord {
    V1,
    V2,
}

/// A policy by its name.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(transparent)]
#[schemars(inline, extend("enum" = policies().collect::<Vec<_>>()))]
pub(crate) struct PolicyName(pub String);

/// A policy with settings. Those without stand as a name alone.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawPolicy {
    /// The endpoint that answers fastest, of those that are not hot.
    pub adaptive: Option<At<RawAdaptive>>,
    /// Equal keys to the same endpoint, by a table.
    pub maglev: Option<At<RawHashing>>,
    /// Equal keys to the same endpoint, by the highest score.
    pub rendezvous: Option<At<RawHashing>>,
}

/// Settings of `adaptive`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawAdaptive {
    /// Asks endpoints for their load as requests come: a path, or a table. Default: does not.
    pub probe: Option<At<StringOr<RawLoadProbe>>>,
}

/// Asking endpoints for their load as requests come.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawLoadProbe {
    /// Path of a GET that answers with a load report.
    pub path: At<String>,
    /// Probes for each request at most, 0.01 to 10. Default: 1.
    #[schemars(range(min = 0.01, max = 10.0))]
    pub per_request: Option<f64>,
    /// For one probe, 3ms to 100ms. Default: `"20ms"`.
    pub timeout: Option<At<DurationText>>,
}

/// Settings of a policy that hashes.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawHashing {
    /// What is hashed: `"client_ip"` (the default), `"client"` (with the port), `"path"`, or a
    /// table.
    pub key: Option<RawHashKey>,
    /// An endpoint has at most this multiple of its fair share in flight, 1 to 100; what is more
    /// goes elsewhere. Default: no bound.
    #[schemars(range(min = 1.0, max = 100.0))]
    pub bounded_load: Option<f64>,
}

/// What of a request is hashed, or names its session.
pub(crate) type RawHashKey = At<WordOr<KeyWord, RawKey>>;

/// What every request has; of what is relayed, the client alone is known.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub(crate) enum KeyWord {
    ClientIp,
    Client,
    Path,
}

/// Something that a request may bring. One of these.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawKey {
    /// Name of a header field.
    pub header: Option<At<String>>,
    /// Name of a cookie.
    pub cookie: Option<At<String>>,
    /// Name of a query parameter.
    pub query: Option<At<String>>,
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
    /// The same for connections and flows that are relayed. Default: no bound.
    pub max_connections: Option<At<NonZeroU32>>,
    /// 0 for primary endpoints (the default), up to 255 for those that stand in for lower ones.
    #[schemars(range(min = 0, max = 255))]
    pub tier: Option<u8>,
    /// Where it stands. See `zone` at the top of the config.
    pub zone: Option<At<String>>,
}

/// Active checks.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawCheck {
    /// Path of an HTTP GET. Without any of `http`, `grpc`, `tcp`, `udp`, `dns` and `protocol`, a
    /// check is a TCP connect, or an empty datagram where only these go.
    pub http: Option<At<String>>,
    /// Name of a gRPC service, or `""` for the server as a whole, to ask for by
    /// `grpc.health.v1.Health`.
    pub grpc: Option<At<String>>,
    /// Host field of the GET. Default: the endpoint's address.
    pub host: Option<At<String>>,
    /// More fields of the GET, by name.
    pub headers: Option<At<BTreeMap<At<String>, At<String>>>>,
    /// Statuses that mean success: `"200"`, `"200-399"` (the default), or a list of these.
    pub expect: Option<OneOrMany>,
    /// Text that the first 64 KiB of the body must contain.
    pub body: Option<At<String>>,
    /// What to send on a connection, and what to expect.
    pub tcp: Option<At<RawTcpCheck>>,
    /// What to send in a datagram, and what to expect.
    pub udp: Option<At<RawUdpCheck>>,
    /// Host whose address a DNS server must find, or `""`: it must answer.
    pub dns: Option<At<String>>,
    /// What is spoken: `"redis"`, `"postgres"`, `"mysql"`, `"smtp"`, `"dns"` or `"udp"`.
    pub protocol: Option<At<CheckWord>>,
    /// Port to probe. Default: the one that takes the requests.
    #[schemars(range(min = 1, max = 65535))]
    pub port: Option<At<u16>>,
    /// From check to check. Default: `"2s"`.
    pub interval: Option<At<DurationText>>,
    /// For one check. Default: `"1s"`.
    pub timeout: Option<At<DurationText>>,
    /// Consecutive failures until an endpoint is down. Default: 3.
    pub fall: Option<NonZeroU32>,
    /// Consecutive successes until it is up again. Default: 2.
    pub rise: Option<NonZeroU32>,
}

/// A check that speaks.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawTcpCheck {
    /// Text to send. Default: nothing, the endpoint speaks first.
    pub send: Option<String>,
    /// Text that the answer must contain.
    pub expect: At<String>,
}

/// A check by datagrams.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawUdpCheck {
    /// Text to send. Default: an empty datagram.
    pub send: Option<String>,
    /// Text that the answer must contain. Default: silence will do, a refusal will not.
    pub expect: Option<At<String>>,
}

/// What a check speaks that needs to be told nothing else.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub(crate) enum CheckWord {
    Redis,
    Postgres,
    Mysql,
    Smtp,
    Dns,
    Udp,
}

/// A program beside each endpoint that says how busy it is.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawAgent {
    /// Path of an HTTP GET.
    pub http: Option<At<String>>,
    /// Text to send on a connection, often none (`""`); a line of words comes back.
    pub tcp: Option<At<String>>,
    /// Where the agent listens. Default: the port that takes the requests, for HTTP.
    #[schemars(range(min = 1, max = 65535))]
    pub port: Option<At<u16>>,
    /// From question to question. Default: `"2s"`.
    pub interval: Option<At<DurationText>>,
    /// For one answer. Default: `"1s"`.
    pub timeout: Option<At<DurationText>>,
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
    /// Judging endpoints by how they stand against their peers: `"off"`, or a table.
    pub success_rate: Option<OffOr<RawSuccessRate>>,
}

/// Outlier detection by success rate.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawSuccessRate {
    /// From judgement to judgement. Default: `"10s"`.
    pub interval: Option<At<DurationText>>,
    /// An endpoint with fewer requests in an interval is not judged. Default: 20.
    pub requests_min: Option<NonZeroU32>,
    /// Ejected below the mean of all less this many standard deviations, 0 to 10. Default: 1.9.
    #[schemars(range(min = 0.0, max = 10.0))]
    pub deviations: Option<f64>,
    /// And only below this share of successes. Default: `"80%"`.
    pub below: Option<At<String>>,
}

/// How an endpoint that joins or recovers gets its share.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawSlowStart {
    /// From a tenth of the share to the whole. Default: `"10s"`.
    pub window: Option<At<DurationText>>,
    /// 1 (the default) is a straight line, more is faster at first. 0.1 to 10.
    #[schemars(range(min = 0.1, max = 10.0))]
    pub aggression: Option<f64>,
}

/// What responses say about load.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawFeedback {
    /// Load reports in response headers: `"believe"` (the default) or `"ignore"`.
    pub headers: Option<Believe>,
    /// An endpoint that answers one of these statuses with `Retry-After` is full until then.
    /// Default: `["503"]`.
    pub full_on: Option<Vec<At<String>>>,
}

/// What becomes of load reports.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub(crate) enum Believe {
    Believe,
    Ignore,
}

/// Whether limits of requests in flight are found out.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub(crate) enum Concurrency {
    Adaptive,
    Off,
}

/// The bounds within which the limit of an endpoint moves.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawConcurrency {
    /// Least limit. Default: 1.
    pub min: Option<NonZeroU32>,
    /// Greatest limit. Default: 1000.
    pub max: Option<At<NonZeroU32>>,
}

/// When a request moves to another endpoint.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawRetry {
    /// Extra attempts, 0 to 10. Default: 1.
    #[schemars(range(min = 0, max = 10))]
    pub attempts: Option<u32>,
    /// What is retried: `"connect"`, `"reset"`, `"timeout"` (all three by default), statuses such
    /// as `"502"`, and statuses of gRPC such as `"grpc-unavailable"`.
    pub on: Option<Vec<At<String>>>,
    /// For an attempt that may still be repeated elsewhere, from its pick to its response head,
    /// or `"off"` (the default): as long as the last one.
    pub timeout: Option<At<DurationText>>,
    /// Body kept to be sent again, at most 64MiB. Default: `"64KiB"`.
    pub body: Option<At<SizeText>>,
}

/// On or off.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub(crate) enum Switch {
    On,
    Off,
}

/// When a slow request gets a second copy.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawHedge {
    /// Once it takes longer than so many of its route, `"p50"` to `"p99.9"`. Default: `"p95"`.
    pub after: Option<At<String>>,
    /// Never sooner than this. Default: `"1ms"`.
    pub min: Option<At<DurationText>>,
    /// Copies at most, as a share of requests, 1% to 100%. Default: `"5%"`.
    pub budget: Option<At<String>>,
}

/// Which requests belong to one endpoint. One of `cookie`, `key` and `learn`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawSticky {
    /// Name of a cookie that Pointsman sets.
    pub cookie: Option<At<String>>,
    /// Something that requests bring, as the `key` of a policy that hashes. Whatever endpoint
    /// takes the first one keeps the others.
    pub key: Option<RawHashKey>,
    /// Something that an endpoint sets and that requests bring from then on.
    pub learn: Option<At<RawLearn>>,
    /// Where the endpoint of a session cannot take its request: `"fall_back"` to another one (the
    /// default), or `"strict"`, which refuses.
    pub mode: Option<StickyMode>,
    /// How long a session is remembered without a request. Default: `"1h"`.
    pub idle: Option<At<DurationText>>,
    /// Most sessions remembered; the longest unused go first. Default: 65536.
    #[schemars(range(min = 1, max = 16777216))]
    pub sessions: Option<u32>,
    /// An endpoint with more than this multiple of its fair share in flight is passed over, 1 to
    /// 100. Default: never.
    #[schemars(range(min = 1.0, max = 100.0))]
    pub bounded_load: Option<f64>,
}

/// What an endpoint sets. One of these.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawLearn {
    /// Name of a header field, of the response and of later requests.
    pub header: Option<At<String>>,
    /// Name of a cookie.
    pub cookie: Option<At<String>>,
}

/// What becomes of a session whose endpoint cannot take its request.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub(crate) enum StickyMode {
    FallBack,
    Strict,
}

/// Bounds of a pool as a whole.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawCircuit {
    /// Most connections to all endpoints. Default: no bound.
    pub connections: Option<NonZeroU32>,
    /// Most requests in flight at all endpoints; more are answered with 503. Default: no bound.
    pub requests: Option<NonZeroU32>,
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
    /// Without traffic on a connection that is upgraded or relayed. Default: `"1h"`.
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
