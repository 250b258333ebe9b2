//! Which route a request takes: hosts and paths, most specific wins.
//!
//! Start at [`Table`]; [`Names`] is for what is not HTTP to us. A table is filled once, when a config is compiled, and only read afterwards.
//!
//! Absent on purpose: what a route does when it matches (see `config::Route`), and any rewriting
//! of paths. A path is compared as the client sent it, so what is matched here is what the
//! endpoint sees.

mod names;
mod paths;
mod table;

pub use names::Names;
pub use paths::PathMatch;
pub use table::{Duplicate, HostMatch, Table};
