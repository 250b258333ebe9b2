//! Connections against frames that are written by hand.

mod peer;

mod exchange;
