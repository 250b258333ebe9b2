//! The whole load balancer in one process: what the program `pointsman` and the tests start.

mod bind;
mod certificates;
mod server;
mod tls;

pub use bind::{BindError, Wanted, unbindable};
pub use certificates::check_tls;
pub use server::{Options, Server};
