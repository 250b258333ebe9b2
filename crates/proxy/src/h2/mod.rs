//! HTTP/2 connections: one task reads and writes each, and the exchanges on its streams share it.
//!
//! [`Connection`] is what they share. Its `driver` moves bytes between the socket and
//! `wire::h2`, and wakes the exchange whose stream something happened to. An exchange holds a
//! [`Stream`]; what it sends gathers in the connection's output, and the driver, which runs behind
//! all exchanges that were ready, sends that of all of them in one write. `downstream` makes an
//! exchange of every stream that a client opens, `upstream` opens streams to endpoints.

mod connection;
mod downstream;
mod driver;
mod stream;
mod upstream;

pub(crate) use connection::Connection;
pub(crate) use downstream::serve;
pub(crate) use driver::PREFACE;
pub(crate) use stream::{NoHead, Stream};
pub(crate) use upstream::{Joined, Shared};
