//! What workers know of each other: how many connections each has, and where to put one.
//!
//! The kernel spreads connections over listening sockets by a hash, so that of four connections
//! all may land on one of two workers. A worker that has more than its share passes a new
//! connection on before it has read a byte of it.

use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;

use tokio::sync::{mpsc, watch};

/// All workers of a process, as each of them sees it.
#[derive(Debug, Clone)]
pub struct Workers {
    seats: Arc<[Seat]>,
}

#[derive(Debug)]
struct Seat {
    load: Load,
    mailbox: mpsc::Sender<HandedOver>,
}

/// Open client connections of a worker. On a cache line of its own: others only read it when
/// they accept.
#[derive(Debug, Default)]
#[repr(align(64))]
struct Load(AtomicU32);

/// Connections passed to a worker that it has not fetched yet.
const MAILBOX_LENGTH: usize = 1024;

/// Where a worker fetches connections that others passed to it.
#[derive(Debug)]
pub struct Mailbox(mpsc::Receiver<HandedOver>);

/// A connection on its way to another worker.
#[derive(Debug)]
pub(crate) struct HandedOver {
    pub(crate) stream: TcpStream,
    pub(crate) peer: SocketAddr,
    pub(crate) listener: usize,
}

/// What the workers are asked to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Drain {
    /// Serve.
    No,
    /// Accept nothing more, let exchanges end, be gone at this moment at the latest.
    Until(Instant),
}

impl Workers {
    /// `count` workers, the mailbox of each, and the switch that drains them all.
    pub fn new(count: usize) -> (Self, Vec<Mailbox>, watch::Sender<Drain>) {
        let (seats, mailboxes) = (0..count)
            .map(|_| {
                let (mailbox, receiver) = mpsc::channel(MAILBOX_LENGTH);
                (
                    Seat {
                        load: Load::default(),
                        mailbox,
                    },
                    Mailbox(receiver),
                )
            })
            .unzip::<_, _, Vec<_>, _>();
        (
            Self {
                seats: seats.into(),
            },
            mailboxes,
            watch::Sender::new(Drain::No),
        )
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.seats.len()
    }

    /// Counts a connection of worker `index`.
    pub(crate) fn opened(&self, index: usize) {
        self.seats[index].load.0.fetch_add(1, Ordering::Relaxed);
    }

    /// A connection of worker `index` has closed.
    pub(crate) fn closed(&self, index: usize) {
        self.seats[index].load.0.fetch_sub(1, Ordering::Relaxed);
    }

    /// The worker that should take the next connection in place of worker `index`, if that has
    /// more than its share: any more while there are few, an eighth more when there are many,
    /// because moving a connection costs some microseconds.
    pub(crate) fn relief_of(&self, index: usize) -> Option<usize> {
        let own = self.seats[index].load.0.load(Ordering::Relaxed);
        let (least, relief) = self
            .seats
            .iter()
            .enumerate()
            .map(|(other, seat)| (seat.load.0.load(Ordering::Relaxed), other))
            .min()?;
        (own > least + least / 8).then_some(relief)
    }

    /// Passes a connection to worker `index`, which counts it from now on. Gives it back if that
    /// worker's mailbox is full.
    pub(crate) fn hand_over(&self, index: usize, connection: HandedOver) -> Result<(), HandedOver> {
        self.opened(index);
        self.seats[index]
            .mailbox
            .try_send(connection)
            .map_err(|refused| {
                self.closed(index);
                match refused {
                    mpsc::error::TrySendError::Full(connection)
                    | mpsc::error::TrySendError::Closed(connection) => connection,
                }
            })
    }
}

impl Mailbox {
    /// The next connection from another worker; already counted.
    pub(crate) async fn receive(&mut self) -> Option<HandedOver> {
        self.0.recv().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_with_more_than_its_share_is_relieved() {
        let (workers, _mailboxes, _drain) = Workers::new(3);
        assert_eq!(workers.relief_of(0), None);
        workers.opened(0);
        assert_eq!(workers.relief_of(0), Some(1));
        workers.opened(1);
        assert_eq!(workers.relief_of(0), Some(2));
        workers.opened(2);
        assert_eq!(workers.relief_of(0), None);
        (0..99).for_each(|_| (0..3).for_each(|worker| workers.opened(worker)));
        workers.opened(0);
        assert_eq!(
            workers.relief_of(0),
            None,
            "one more than a hundred is no burden"
        );
        (0..13).for_each(|_| workers.opened(0));
        assert_eq!(workers.relief_of(0), Some(1));
    }
}
