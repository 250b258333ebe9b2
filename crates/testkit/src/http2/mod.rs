//! HTTP/2 on the test sides: a client and an endpoint on the `h2` crate, and bare frames.
//!
//! `client` is [`crate::H2Client`]; `serve` is a connection of an [`crate::Endpoint`] that speaks
//! HTTP/2, with the same scripts as one that speaks HTTP/1.1. `frames` knows no rules at all and
//! is for the tests that break them.
//!
//! The crate is asynchronous and a test is not: each connection is driven by a runtime on a thread
//! of its own, and `blocking` waits for what streams have to say.

mod blocking;
mod client;
mod convert;
mod frames;
mod serve;
#[cfg(test)]
mod tests;

pub use client::{H2Client, H2Request, H2Stream, H2Windows};
pub use frames::{Frame, FrameEndpoint, Frames};

pub(crate) use serve::serve;
