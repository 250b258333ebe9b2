//! What a config file may say about a listener.

use std::num::NonZeroU32;

use schemars::JsonSchema;
use serde::Deserialize;

use super::{DurationText, RawListenerSocket, RawListenerTls, SelfSigned, SizeText, Switch};
use crate::spanned::{At, ManyOr, OneOrMany, WordOr};

/// Addresses that clients connect to, and what clients there must keep to.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawListener {
    /// Address, or list of addresses: `"0.0.0.0:8080"`, `"[::]:8080"`, `":8080"`,
    /// `"unix:/run/app.sock"`.
    pub bind: OneOrMany,
    /// What is spoken: `"http"` (the default), `"tcp"` or `"udp"`, whose bytes are relayed, or
    /// `"detect"`: TLS, HTTP or something else, whichever the first bytes say.
    pub protocol: Option<At<Protocol>>,
    /// Name of the pool that takes what is relayed.
    pub pool: Option<At<String>>,
    /// TLS connections that are passed on as they are, by the names that clients ask for.
    pub passthrough: Option<At<Vec<At<RawPassthrough>>>>,
    /// How datagrams are relayed.
    pub udp: Option<At<RawUdp>>,
    /// TLS: `{ cert = "shop.pem", key = "shop.key" }`, or `"self-signed"` for development.
    pub tls: Option<At<WordOr<SelfSigned, RawListenerTls>>>,
    /// HTTP/2 beside HTTP/1.1 on a listener with TLS: `"on"` (the default) or `"off"`.
    pub http2: Option<At<Switch>>,
    /// `true`: clients may speak HTTP/2 without TLS, if they know beforehand. Default: false.
    pub h2c: Option<At<bool>>,
    /// Bounds of a request head, and of an HTTP/2 connection.
    pub limits: Option<At<RawLimits>>,
    /// How long clients may take.
    pub timeouts: Option<RawListenerTimeouts>,
    /// Networks whose connections begin with a PROXY header, such as `["10.0.0.0/8"]`, or a table.
    pub proxy_protocol: Option<At<ManyOr<RawProxyProtocol>>>,
    /// Proxies whose word about where a request comes from is taken, such as
    /// `["10.0.0.0/8", "192.0.2.7"]`. Default: none.
    pub trusted_proxies: Option<OneOrMany>,
    /// Answers every request with a redirect: to `"https"`, or to another port of it,
    /// `{ https = 8443 }`.
    pub redirect: Option<At<WordOr<Https, RawRedirect>>>,
    /// How its sockets are made.
    pub socket: Option<RawListenerSocket>,
}

/// What is spoken on a listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub(crate) enum Protocol {
    Http,
    Tcp,
    Udp,
    Detect,
}

/// TLS connections that are passed on as they are. By `sni`, by `alpn`, or by both.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawPassthrough {
    /// Names that clients ask for: `"db.example"`, `"*.db.example"`, or a list. Default: any, or
    /// none.
    pub sni: Option<OneOrMany>,
    /// Protocols of which clients offer one, such as `"h2"`, or a list. Default: whatever they
    /// offer.
    pub alpn: Option<OneOrMany>,
    /// Name of the pool that takes the connections.
    pub pool: At<String>,
}

/// How datagrams are relayed.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawUdp {
    /// A flow ends after so many datagrams of the endpoint for each one of the client: 1 for DNS.
    /// Default: by time alone.
    pub replies: Option<NonZeroU32>,
    /// Flows at once; with more, the longest idle one goes. Default: 65536.
    #[schemars(range(min = 1, max = 16777216))]
    pub flows: Option<NonZeroU32>,
}

/// Bounds of a request head, and of an HTTP/2 connection.
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
    /// HTTP/2: requests of a connection at once, 1 to 10000. Default: 100.
    #[schemars(range(min = 1, max = 10000))]
    pub streams: Option<At<u32>>,
    /// HTTP/2: what of one request's body arrives before it is passed on, 4KiB to 64MiB. Default:
    /// `"256KiB"`.
    pub stream_window: Option<At<SizeText>>,
    /// HTTP/2: the same for all requests of a connection together, 64KiB to 256MiB, at least that
    /// of one. Default: `"1MiB"`, or that of a larger one.
    pub connection_window: Option<At<SizeText>>,
}

/// How long clients may take.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawListenerTimeouts {
    /// From the first byte of a request to the end of its head, and for what comes before: a PROXY
    /// header, the beginning of TLS. Default: `"10s"`.
    pub head: Option<At<DurationText>>,
    /// Between two requests on a connection: `"60s"` by default. Without traffic on a connection of
    /// TCP, by default as long as the pool's `tunnel`, or in a flow of UDP, `"30s"` by default.
    pub idle: Option<At<DurationText>>,
    /// Without progress of a request body, or of a response that the client reads.
    /// Default: `"60s"`.
    pub body: Option<At<DurationText>>,
    /// How long a client may be silent before it is taken for one that waits for the server to
    /// speak first. Default: `"1s"`.
    pub detect: Option<At<DurationText>>,
}

/// A PROXY header at the beginning of connections.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawProxyProtocol {
    /// Who sends one: networks or addresses, such as `["10.0.0.0/8", "192.0.2.7"]`.
    pub from: OneOrMany,
    /// `"required"` (the default): a connection from there without one is closed; `"optional"`:
    /// it is a client's own.
    pub header: Option<Demand>,
}

/// Whether something must be there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub(crate) enum Demand {
    Required,
    Optional,
}

/// The scheme that requests are redirected to.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub(crate) enum Https {
    Https,
}

/// Where requests are redirected to.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawRedirect {
    /// The port that clients reach HTTPS at.
    #[schemars(range(min = 1, max = 65535))]
    pub https: u16,
}
