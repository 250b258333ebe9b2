//! The control thread against scripted endpoints over real sockets.

mod admin;
mod exposition;
mod health;
mod setup;
