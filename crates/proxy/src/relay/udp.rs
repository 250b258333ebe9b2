//! The datagrams of a listener: one flow for each client, at one endpoint.
//!
//! [`serve`] looks after one listening socket. What clients send is received in batches, and what
//! of a batch belongs to one flow leaves together ([`Relay::forward`]). Each flow (see `flow`) has
//! a socket and a task of its own for what its endpoint sends; that is gathered and leaves together
//! too ([`flush`]). Which endpoint it is is found in `search`.
//!
//! UDP loses datagrams, and so do we where there is no room: nothing here waits, but the replies
//! that the kernel does not take at once. Whatever is lost is counted.

mod flow;
mod search;

use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use balance::Address;
use config::{ListenerProtocol, Route, UdpSettings};
use net::{ConnectOptions, Deadline, Inbox, Outbox, UdpSocket};
use observe::ListenerMetrics;
use tokio::sync::watch;
use tokio::task::{spawn_local, yield_now};
use tokio::time::sleep;

use super::flows::{Ends, Flows};
use crate::socket::connect_options;
use crate::worker::Worker;
use crate::workers::Drain;

use flow::{End, Flow};

/// What the flows of a listening socket share.
struct Relay {
    worker: Rc<Worker>,
    listener: usize,
    route: usize,
    /// Where it listens.
    address: SocketAddr,
    socket: UdpSocket,
    /// How sockets to endpoints are made.
    options: ConnectOptions,
    /// See [`UdpSettings::replies`].
    replies: Option<NonZeroU32>,
    /// How long a flow may be silent.
    idle: Duration,
    flows: RefCell<Flows<Rc<Flow>>>,
    is_draining: Cell<bool>,
    /// Borrowed for what one call receives, by whichever socket.
    inbox: RefCell<Inbox>,
    /// Empty but while datagrams of one flow are sent.
    to_endpoint: RefCell<Outbox>,
    to_clients: RefCell<Outbox>,
    /// Of the task that sends `to_clients`.
    flusher: RefCell<Waker>,
}

/// Batches that a socket may receive in a row; then the others have their turn, and the kernel is
/// asked what has come for them.
const BATCHES_IN_ROW_MAX: u32 = 4;

/// Part of the process's file descriptors that flows may have: half. With all of them, datagrams
/// from forged addresses would shut out the clients of all other listeners.
const FILES_DIVISOR: usize = 2;

/// How long to wait when the kernel cannot receive, for want of memory: trying again at once would
/// spin.
const RECEIVE_PAUSE: Duration = Duration::from_millis(50);

/// Flows have no end of their own: in a drain they are over after this silence.
const DRAIN_SILENCE: Duration = Duration::from_secs(1);

/// How often a drain looks whether it is over.
const DRAIN_POLL: Duration = Duration::from_millis(5);

/// What is left for writing down flows that are cut off by the end of a drain.
const DRAIN_MARGIN: Duration = Duration::from_millis(20);

/// Serves the flows of a listener on one of its sockets, bound to `address`, until the drain is
/// over: new clients are turned away from its beginning, flows go on until all are silent.
pub(crate) async fn serve(
    worker: Rc<Worker>,
    socket: UdpSocket,
    address: Address,
    listener: usize,
    mut drain: watch::Receiver<Drain>,
) {
    let Some(relay) = Relay::new(worker, socket, &address, listener) else {
        return;
    };
    let relay = Rc::new(relay);
    let flusher = spawn_local(flush(Rc::clone(&relay)));
    let mut running = pin!(relay.run());
    let draining = async {
        let drain = drain.wait_for(|drain| *drain != Drain::No).await;
        match drain.as_deref() {
            Ok(Drain::Until(until)) => *until,
            // The process is ending anyway.
            _ => Instant::now(),
        }
    };
    let until = meanwhile(running.as_mut(), draining).await;
    relay.is_draining.set(true);
    let until = until.checked_sub(DRAIN_MARGIN).unwrap_or(until);
    let silence = async {
        while !relay.is_silent() && Instant::now() < until {
            sleep(DRAIN_POLL).await;
        }
    };
    meanwhile(running, silence).await;
    relay.end_all();
    flusher.abort();
    poll_fn(|cx| {
        relay.send_replies(&mut relay.to_clients.borrow_mut(), cx);
        Poll::Ready(())
    })
    .await;
}

/// Waits for `end`, and goes on with `work` until then.
async fn meanwhile<T>(
    mut work: Pin<&mut impl Future<Output = Infallible>>,
    end: impl Future<Output = T>,
) -> T {
    let mut end = pin!(end);
    poll_fn(|cx| {
        // First: what has arrived before the end is still part of it.
        let Poll::Pending = work.as_mut().poll(cx);
        end.as_mut().poll(cx)
    })
    .await
}

/// Sends replies to clients. Woken by the first one that waits, it runs behind the flows that have
/// been woken by then: so the replies of all of them leave together.
async fn flush(relay: Rc<Relay>) {
    poll_fn(|cx| {
        relay.flusher.borrow_mut().clone_from(cx.waker());
        relay.send_replies(&mut relay.to_clients.borrow_mut(), cx);
        Poll::Pending
    })
    .await
}

/// File descriptors for the flows of one socket, of which each flow needs one.
fn files_share(worker: &Worker) -> usize {
    let listeners = worker.plan.snapshot.listeners.iter();
    let of_datagrams =
        listeners.filter(|listener| matches!(listener.protocol, ListenerProtocol::Udp(_)));
    let addresses: usize = of_datagrams.map(|listener| listener.bind.len()).sum();
    let sockets = addresses * worker.workers.count();
    net::open_files_max() / FILES_DIVISOR / sockets.max(1)
}

impl Relay {
    /// `None` if the listener is none for datagrams.
    fn new(
        worker: Rc<Worker>,
        socket: UdpSocket,
        address: &Address,
        listener: usize,
    ) -> Option<Self> {
        let snapshot = &worker.plan.snapshot;
        let settings = &snapshot.listeners[listener];
        let ListenerProtocol::Udp(UdpSettings { replies, flows_max }) = &settings.protocol else {
            return None;
        };
        let (Some(route), Address::Tcp(address)) = (settings.relay, address) else {
            return None;
        };
        let Route { pool, timeouts, .. } = &snapshot.routes[route];
        let sockets = settings.bind.len() * worker.workers.count();
        let flows_max = flows_max.get().div_ceil(sockets).min(files_share(&worker));
        Some(Self {
            listener,
            route,
            address: *address,
            socket,
            options: connect_options(&snapshot.pools[*pool].socket),
            replies: *replies,
            idle: timeouts.tunnel,
            flows: RefCell::new(Flows::new(flows_max)),
            is_draining: Cell::new(false),
            inbox: RefCell::default(),
            to_endpoint: RefCell::default(),
            to_clients: RefCell::default(),
            flusher: RefCell::new(Waker::noop().clone()),
            worker,
        })
    }

    /// Takes what clients send and ends flows that are silent for too long, for good.
    async fn run(self: &Rc<Self>) -> Infallible {
        let mut expiry = Deadline::new(Instant::now() + self.idle);
        let mut in_row = 0;
        loop {
            let received = poll_fn(|cx| {
                let mut inbox = self.inbox.borrow_mut();
                if let Poll::Ready(received) = self.socket.poll_receive(cx, &mut inbox) {
                    return Poll::Ready(Some(received));
                }
                in_row = 0;
                expiry.poll_passed(cx).map(|()| None)
            })
            .await;
            let now = Instant::now();
            match received {
                Some(Ok(())) => self.forward(now),
                Some(Err(_)) => sleep(RECEIVE_PAUSE).await,
                None => {}
            }
            expiry.set(self.end_idle(now));
            in_row += 1;
            if in_row == BATCHES_IN_ROW_MAX {
                in_row = 0;
                yield_now().await;
            }
        }
    }

    /// Passes on what has been received from clients.
    fn forward(self: &Rc<Self>, now: Instant) {
        let inbox = self.inbox.borrow();
        let metrics = self.metrics();
        let mut batch: Vec<(Rc<Flow>, &[u8])> = Vec::new();
        for datagram in inbox.datagrams() {
            metrics.datagrams_received.increment();
            let ends = Ends {
                client: datagram.peer,
                local: datagram.local,
            };
            let flow = match batch.last() {
                Some((flow, _)) if flow.ends == ends => Some(Rc::clone(flow)),
                _ => self.flow(ends, now),
            };
            match flow {
                Some(flow) => batch.push((flow, datagram.bytes)),
                None => self.dropped(1),
            }
        }
        // Keeps the order of the datagrams of a flow.
        batch.sort_by_key(|(flow, _)| Rc::as_ptr(flow));
        for datagrams in batch.chunk_by(|(one, _), (other, _)| Rc::ptr_eq(one, other)) {
            self.send(datagrams, now);
        }
    }

    /// The flow between these ends, which have a datagram; a new one if need be. `None` if nobody
    /// takes it.
    fn flow(self: &Rc<Self>, ends: Ends, now: Instant) -> Option<Rc<Flow>> {
        let flow = self.flows.borrow().find(&ends).cloned();
        match flow {
            Some(flow) if flow.may_stay(now, self.idle) => {
                // At once: it must not make room for others whose datagrams came with its own.
                self.flows.borrow_mut().touch(flow.place, now);
                return Some(flow);
            }
            Some(flow) => self.end(&flow, End::Down, now),
            None => {}
        }
        self.open(ends, now)
    }

    /// Sends what waits for clients, as far as the kernel has room; it wakes `cx` when it has more.
    fn send_replies(&self, to_clients: &mut Outbox, cx: &mut Context<'_>) {
        while !to_clients.is_empty() {
            match self.socket.poll_send(cx, to_clients) {
                Poll::Ready(Ok(dropped)) => self.dropped(dropped as usize),
                Poll::Ready(Err(_)) => {
                    self.dropped(to_clients.len());
                    to_clients.clear();
                }
                Poll::Pending => return,
            }
        }
    }

    /// Ends the flows that have been silent for too long. Returns when to look again.
    fn end_idle(&self, now: Instant) -> Instant {
        loop {
            let oldest = self.oldest();
            match oldest {
                Some((flow, since)) if since + self.idle <= now => self.end(&flow, End::Idle, now),
                Some((_, since)) => return since + self.idle,
                None => return now + self.idle,
            }
        }
    }

    /// Ends the flow that has been silent for longest, so that others have room. False if there is
    /// none.
    fn evict(&self, now: Instant) -> bool {
        let Some((flow, _)) = self.oldest() else {
            return false;
        };
        self.metrics().flows_evicted.increment();
        self.end(&flow, End::Evicted, now);
        true
    }

    fn end_all(&self) {
        let now = Instant::now();
        while let Some((flow, _)) = self.oldest() {
            self.end(&flow, End::Drained, now);
        }
    }

    fn oldest(&self) -> Option<(Rc<Flow>, Instant)> {
        let flows = self.flows.borrow();
        flows.oldest().map(|(flow, since)| (Rc::clone(flow), since))
    }

    /// True if no flow has had a datagram lately.
    fn is_silent(&self) -> bool {
        let flows = self.flows.borrow();
        flows
            .newest()
            .is_none_or(|(_, since)| since.elapsed() >= DRAIN_SILENCE)
    }

    fn dropped(&self, datagrams: usize) {
        self.metrics().datagrams_dropped.add(datagrams as u64);
    }

    fn metrics(&self) -> &ListenerMetrics {
        &self.worker.metrics.listeners[self.listener]
    }
}
