//! What is passed on without being understood: connections ([`tcp`], each of whose two ways is a
//! `way`) and datagrams ([`udp`], which finds the flow of each in `flows`). The same steps as for a
//! request, without messages: route, admit (`search`), connect, forward, record.

mod flows;
mod search;
pub(crate) mod tcp;
pub(crate) mod udp;
mod way;

use std::time::Instant;

use message::RequestHead;

use crate::client::Peer;
use crate::failure::Failure;
use crate::record::{EndedBy, Record, Relayed};
use crate::worker::Worker;

/// Writes down a connection that was closed for what it began with, after so many bytes from the
/// client and to it.
pub(crate) fn refuse(worker: &Worker, peer: &Peer, failure: Failure, bytes: (u64, u64)) {
    let relayed = Relayed {
        protocol: "tcp",
        ..Relayed::default()
    };
    let mut record = Record::begin_relay(worker, peer, relayed, None);
    record.failure = Some(failure);
    record.ended_by = Some(EndedBy::Client);
    record.finish(worker, peer, &RequestHead::default(), bytes, Instant::now());
}
