//! From a config file to a snapshot: parsed, checked in every respect, immutable.
//!
//! Text becomes `Raw*` (what the file may say), `Raw*` becomes [`Snapshot`] (what it means), and
//! nothing in between escapes. Mistakes are collected, never thrown: whoever fixes a config sees
//! all of them at once, each with its place.
//!
//! In reading order: `raw` names every key, once; the JSON Schema ([`schema()`]), the check for
//! unknown keys and wrong types (`shape`) and the texts of the help come from there. `text` takes
//! files through these steps, `compile` gives the keys their meaning and their defaults.
//!
//! Absent on purpose: files and DNS, but for `load`; whether an address is free to be bound.

mod compile;
mod flags;
#[expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "the one impure file: it reads the text that the others are given"
)]
mod load;
mod problem;
mod raw;
mod render;
mod schema;
mod secret;
mod shape;
mod snapshot;
mod spanned;
mod suggest;
#[cfg(test)]
#[expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "`load` is tested with files"
)]
mod tests;
mod text;
mod units;

pub use compile::{CheckTls, Contents, Outside, TlsFiles};
pub use flags::from_flags;
pub use load::load;
pub use problem::Problems;
pub use schema::schema;
pub use secret::Secret;
pub use snapshot::{
    AccessLog, AccessLogSink, Admin, CertificateFiles, Certificates, ClientCertificateHeaders,
    ClientCertificates, HeadLimits, Http2Limits, Listener, ListenerProtocol, ListenerSocket,
    ListenerTimeouts, ListenerTls, Pool, PoolSocket, PoolTls, ProxyProtocol, ProxyVersion, Route,
    RouteTimeouts, Snapshot, SocketOptions, TlsPolicy, UdpSettings, UpstreamProtocol,
};
pub use text::{Loaded, parse};
