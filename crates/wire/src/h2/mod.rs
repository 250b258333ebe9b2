//! HTTP/2 (RFC 9113, RFC 7541): bytes to events and back, for both sides of a connection.
//!
//! [`Connection`] is one connection. Bytes that arrive go into [`Connection::receive`], which
//! says what happened in the words that HTTP/1.1 has too: a head, data, trailers, an end, a reset.
//! A head comes out as a [`message::RequestHead`] or [`message::ResponseHead`] with the text that
//! HTTP/1.1 would have sent, and goes in as such a text: so nothing behind this module knows two
//! kinds of heads. Bytes owed to the peer gather in [`Connection::output`], whichever stream they
//! are of, and leave in one write.
//!
//! Read `connection`, what its caller does with it, then `receive`, what the peer does, and `send`.
//! `frame`, `intake` and `output` are how bytes come and go, `stream` and `streams` what is kept of
//! each exchange, `guard` what a peer may make us do for nothing. [`head`] turns blocks into heads,
//! by way of `hpack`.
//!
//! Absent on purpose: sockets and clocks; priorities, which RFC 9113 §5.3 has dropped; push, which
//! we refuse to receive and never send.

mod connection;
mod receive;
mod send;

mod frame;
mod intake;
mod output;
mod settings;
mod window;

mod ids;
mod stream;
mod streams;

mod guard;

pub mod head;
mod hpack;

mod error;

#[cfg(test)]
mod tests;

pub use connection::{Connection, Event, Read, StreamKey};
pub use error::{ConnectionError, ErrorCode, RULES};
pub use hpack::{Decoder, Encoder};
pub use settings::Settings;
