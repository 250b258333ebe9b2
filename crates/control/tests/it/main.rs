//! The control thread against scripted endpoints over real sockets.

mod admin;
mod agents;
mod exposition;
mod health;
mod load_probe;
mod many;
mod servers;
mod setup;
mod transport;
