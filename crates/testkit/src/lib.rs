//! Scripted clients and endpoints: the two sides that a proxy stands between, under the control
//! of a test.
//!
//! An [`Endpoint`] asks its script for a [`Reply`] to every request, plays it step by step and
//! records all that it received; a [`Clogged`] port does not even connect. A [`Client`] sends bytes
//! as they are and reads responses. A [`Load`] is many clients at once. Waiting is [`poll_until`]
//! for conditions and [`Gate`] for steps, so that no test sleeps and hopes.
//!
//! Of what is no HTTP, an [`Endpoint::raw`] plays its steps for each connection and writes a
//! [`Transcript`]; a [`UdpEndpoint`] answers datagrams, a [`UdpClient`] sends them.
//!
//! An endpoint speaks HTTP/1.1 or HTTP/2, in the clear or inside TLS, see [`Protocol`]; the same
//! script serves all. An [`H2Client`] keeps the rules of HTTP/2, [`Frames`] knows none. A [`Pki`]
//! issues certificates.
//!
//! Everything here blocks on std threads. HTTP/1.1 is read by a parser of its own (see `http`),
//! HTTP/2 by the `h2` crate: a bug in the proxy must not meet the same bug here and look right.

mod client;
mod clogged;
mod endpoint;
mod filler;
mod http;
mod http2;
mod load;
mod peer;
mod pki;
mod protocol;
mod record;
mod script;
mod serve;
mod source;
mod tls;
mod transport;
mod udp;
mod wait;

pub use client::{Client, ReadError, get};
pub use clogged::Clogged;
pub use endpoint::Endpoint;
pub use filler::{filler, hash};
pub use http::{Body, End, Head, Response};
pub use http2::{Frame, FrameEndpoint, Frames, H2Client, H2Request, H2Stream, H2Windows};
pub use load::{Load, Outcomes, RunningLoad};
pub use peer::Peer;
pub use pki::{Leaf, Pki};
pub use protocol::Protocol;
pub use record::{Received, Transcript};
pub use script::{Reply, Request, Script, Step};
pub use tls::{Handshake, TlsClient, TlsServer};
pub use udp::{UdpClient, UdpEndpoint};
pub use wait::{Gate, poll_until};

/// The field that carries the id of a request of [`Load`], for [`Endpoint::ids`].
pub const ID_FIELD: &str = "x-test-id";
