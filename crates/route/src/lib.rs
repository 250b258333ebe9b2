//! Where what clients ask for leads: by host and path, most specific wins.
//!
//! Start at [`Table`], which routes requests; [`Names`] is for TLS that is not ours to end. Both
//! look up hosts alike (`hosts`). They are filled once, when a config is compiled, and only read
//! afterwards.
//!
//! Absent on purpose: what a route does when it matches (see `config::Route`), and any rewriting
//! of paths. A path is compared as the client sent it, so what is matched here is what the
//! endpoint sees.

mod hosts;
mod names;
mod paths;
mod table;

pub use hosts::HostMatch;
pub use names::Names;
pub use paths::PathMatch;
pub use table::{Duplicate, Table};
