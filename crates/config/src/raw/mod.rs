//! What a config file may say, key by key. Nothing here is trusted.
//!
//! This is the one list of keys: the JSON Schema is derived from it, doc comments included, and
//! the check for unknown keys and wrong types walks that schema. Texts stay texts here; `compile`
//! reads them.
//!
//! Doc comments are shown to users, in editors and as help under a mistake.

mod listener;
mod pool;
mod socket;
mod tls;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

use crate::spanned::{At, OffOr, StringOr, WordOr};

pub(crate) use listener::{
    Demand, Https, Protocol, RawLimits, RawListener, RawListenerTimeouts, RawPassthrough,
    RawProxyProtocol, RawUdp,
};
pub(crate) use pool::{
    Believe, CheckWord, Concurrency, Fail, KeyWord, PolicyName, RawAdaptive, RawAgent, RawCheck,
    RawCircuit, RawConcurrency, RawEndpoint, RawFeedback, RawHashKey, RawHashing, RawHedge,
    RawLearn, RawLoadProbe, RawOutlier, RawPolicy, RawPool, RawPoolTimeouts, RawQueue, RawRetry,
    RawSlowStart, RawSticky, RawSuccessRate, StickyMode, Switch, UpstreamWord, VersionWord,
};
pub(crate) use socket::{RawListenerSocket, RawPoolSocket};
pub(crate) use tls::{
    PolicyWord, RawCertificate, RawClient, RawClientHeaders, RawListenerTls, RawPoolTls,
    SelfSigned, Sni,
};

/// The config of Pointsman.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "Pointsman")]
pub(crate) struct RawConfig {
    /// Number of request workers. Default: one per core that the process may use.
    #[schemars(range(min = 1, max = 1024))]
    pub workers: Option<At<u32>>,
    /// The zone that this process runs in. Endpoints of the same zone go first.
    pub zone: Option<At<String>>,
    /// What only this deployment knows. Keeps sticky cookies valid through a restart.
    pub secret: Option<At<RawSecret>>,
    /// Admin API and metrics.
    pub admin: Option<At<RawAdmin>>,
    /// One JSON line per request, connection or flow.
    pub access_log: Option<At<RawAccessLog>>,
    /// Addresses that clients connect to, by name.
    #[serde(default)]
    pub listeners: BTreeMap<At<String>, RawListener>,
    /// Sets of endpoints, by name.
    #[serde(default)]
    pub pools: BTreeMap<At<String>, RawPool>,
    /// Which requests go to which pool; the most specific wins. Without routes, everything goes to
    /// the only pool, or to the only one that no listener names.
    #[serde(default)]
    pub routes: Vec<At<RawRoute>>,
}

/// A secret. Never in the config itself: that is shown around.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawSecret {
    /// Path of a file with at least 32 characters, or 32 bytes.
    pub file: At<String>,
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
    /// When a request moves to another endpoint; before that of the pool.
    pub retry: Option<OffOr<RawRetry>>,
    /// When a slow request gets a second copy; before that of the pool.
    pub hedge: Option<WordOr<Switch, RawHedge>>,
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

impl At<DurationText> {
    /// The text alone.
    pub(crate) fn text(self) -> At<String> {
        At::new(self.place, self.value.0)
    }
}

/// A size such as `"64KiB"`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(transparent)]
#[schemars(inline, extend("examples" = ["64KiB", "1MiB"]))]
pub(crate) struct SizeText(pub String);
