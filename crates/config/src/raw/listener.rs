//! What a config file may say about a listener.

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
    /// `"http"`, the default.
    #[expect(
        dead_code,
        reason = "it has one value: that it is this one is all there is to know"
    )]
    pub protocol: Option<Protocol>,
    /// TLS: `{ cert = "shop.pem", key = "shop.key" }`, or `"self-signed"` for development.
    pub tls: Option<At<WordOr<SelfSigned, RawListenerTls>>>,
    /// HTTP/2 beside HTTP/1.1 on a listener with TLS: `"on"` (the default) or `"off"`.
    pub http2: Option<At<Switch>>,
    /// `true`: clients may speak HTTP/2 without TLS, if they know beforehand. Default: false.
    pub h2c: Option<At<bool>>,
    /// Bounds of a request head, and of an HTTP/2 connection.
    pub limits: Option<RawLimits>,
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
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub(crate) enum Protocol {
    Http,
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
    /// From the first byte of a request to the end of its head. Default: `"10s"`.
    pub head: Option<At<DurationText>>,
    /// Between two requests on a connection. Default: `"60s"`.
    pub idle: Option<At<DurationText>>,
    /// Without progress of a request body, or of a response that the client reads.
    /// Default: `"60s"`.
    pub body: Option<At<DurationText>>,
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
