//! Connections against frames that are written by hand.

mod peer;

mod abuse;
mod cuts;
mod exchange;
mod flow;
mod goodbye;
mod h2spec;
