//! The datagrams of a listener: one flow for each client, at one endpoint.

use std::rc::Rc;

use net::UdpSocket;
use tokio::sync::watch;

use crate::worker::Worker;
use crate::workers::Drain;

/// Serves the flows of a listener on one of its sockets, until the drain is over.
pub(crate) async fn serve(
    _worker: Rc<Worker>,
    _socket: UdpSocket,
    _listener: usize,
    _drain: watch::Receiver<Drain>,
) {
    unimplemented!("a skeleton")
}
