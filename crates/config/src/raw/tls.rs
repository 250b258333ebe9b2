//! What a config file may say about TLS, with clients and with endpoints.

use schemars::JsonSchema;
use serde::Deserialize;

use super::{Demand, DurationText, Switch};
use crate::spanned::At;

/// A certificate that is made up at the start, for development.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(inline)]
pub(crate) enum SelfSigned {
    SelfSigned,
}

/// TLS with clients. Either `certificates`, or the `cert` and the `key` of a single one.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawListenerTls {
    /// Certificates with their keys, chosen by the name that a client asks for. The first is for
    /// clients that ask for none, or for one that no certificate has.
    pub certificates: Option<At<Vec<At<RawCertificate>>>>,
    /// The only certificate: PEM file with the chain, leaf first.
    pub cert: Option<At<String>>,
    /// PEM file with its private key.
    pub key: Option<At<String>>,
    /// `"intermediate"` (the default): TLS 1.2 and 1.3; `"modern"`: TLS 1.3 alone.
    pub policy: Option<PolicyWord>,
    /// Clients show certificates too.
    pub client: Option<At<RawClient>>,
    /// `"strict"`: a request for another host than the one that the connection was opened for is
    /// refused with 421; `"lenient"`: it is not. Default: strict where clients show certificates.
    pub sni: Option<At<Sni>>,
    /// Browsers are told to use HTTPS alone for so long. Default: they are not.
    pub hsts: Option<At<DurationText>>,
}

/// A certificate and its key.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawCertificate {
    /// PEM file with the chain, leaf first.
    pub cert: At<String>,
    /// PEM file with the private key.
    pub key: At<String>,
}

/// Which versions and ciphers are spoken.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub(crate) enum PolicyWord {
    Intermediate,
    Modern,
}

/// Whether requests must be for the name that their connection was opened for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub(crate) enum Sni {
    Strict,
    Lenient,
}

/// What is asked of clients' certificates.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawClient {
    /// PEM file with the authorities that issue them.
    pub ca: At<String>,
    /// PEM file with lists of revoked ones.
    pub crl: Option<At<String>>,
    /// `"required"` (the default): a client without one is refused; `"optional"`: it is not.
    pub certificate: Option<Demand>,
    /// Header fields that tell endpoints of them. Never accepted from clients.
    pub headers: Option<At<RawClientHeaders>>,
}

/// Names of header fields. Default: none is sent.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawClientHeaders {
    /// Carries the subject, `CN=alice,O=Shop`.
    pub subject: Option<At<String>>,
    /// Carries the subject's alternative names, `DNS:a.example, URI:spiffe://x`.
    pub san: Option<At<String>>,
    /// Carries the SHA-256 of the certificate in hexadecimal digits.
    pub fingerprint: Option<At<String>>,
}

/// TLS with endpoints.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawPoolTls {
    /// PEM file with the authorities that issue the endpoints' certificates. Default: those of
    /// the system.
    pub ca: Option<At<String>>,
    /// The name that their certificates are for. Default: the host of the endpoint's address.
    pub name: Option<At<String>>,
    /// The certificate that we show: PEM file with the chain, leaf first.
    pub cert: Option<At<String>>,
    /// PEM file with its private key.
    pub key: Option<At<String>>,
    /// `"off"`: whoever answers is believed. Default: `"on"`.
    pub verify: Option<At<Switch>>,
}
