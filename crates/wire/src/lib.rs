//! Bytes to messages and back. No socket and no clock: bytes go in, events come out.
//!
//! Read [`h1`] from the top: `request` and `response` read heads, `fields` their lines, `framing`
//! decides where bodies end, `body` and `chunked` read these, `encode` writes what is forwarded.
//! `bytes` says which byte may stand where. [`h2`] is a whole connection, whose heads become the
//! text that `h1` would have read. [`grpc`] is what calls add to HTTP, [`proxy_protocol`] what a
//! proxy in front says before all of it. [`client_hello`] is as much of TLS as it takes to pass it
//! on to the right place, [`spoken`] tells TLS and HTTP from what is neither. [`check`] asks servers
//! of other protocols whether they are well.
//!
//! Absent on purpose: repair. A message that could be read in two ways is an error here, so
//! that nothing behind this crate has to doubt what it holds.

pub mod check;
pub mod client_hello;
pub mod grpc;
pub mod h1;
pub mod h2;
pub mod proxy_protocol;
pub mod spoken;
