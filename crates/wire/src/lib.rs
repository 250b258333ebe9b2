//! Bytes to messages and back. No socket and no clock: bytes go in, events come out.
//!
//! Read [`h1`] from the top: `bytes` says which bytes may stand where, `fields` reads field
//! lines, `request` and `response` read heads and decide framing, `chunked` and `body` read
//! bodies, `encode` writes what is forwarded.
//!
//! Absent on purpose: repair. A message that could be read in two ways is an error here, so
//! that nothing behind this crate has to doubt what it holds.

pub mod h1;
