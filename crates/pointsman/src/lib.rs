//! The whole load balancer in one process: what the program `pointsman` and the tests start.

mod server;

pub use server::{Options, Server};
