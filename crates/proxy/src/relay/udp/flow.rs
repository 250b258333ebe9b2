//! One flow: an endpoint is picked at the first datagram, and gets all of them until the flow ends.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use balance::{AdminState, Availability, Endpoint};
use message::RequestHead;
use net::{Datagram, Inbox, Outbox, UdpSocket};
use tokio::task::{spawn_local, yield_now};

use super::search::Search;
use super::{BATCHES_IN_ROW_MAX, Relay};
use crate::attempt::Failed;
use crate::failure::Failure;
use crate::proxy_header;
use crate::record::{Attempt, EndedBy, Phase};
use crate::relay::flows::{Ends, Place};
use crate::upstream::connect_failure;

/// A client's datagrams, and what the endpoint sends back.
pub(super) struct Flow {
    pub(super) ends: Ends,
    pub(super) place: Place,
    /// `None`: it is over.
    open: RefCell<Option<Open>>,
}

/// What a flow has while it goes on.
struct Open {
    search: Search,
    attempt: Attempt,
    socket: UdpSocket,
    /// The endpoint was picked although it was out of rotation, so it need not be up.
    is_fail_open: bool,
    /// When the endpoint was picked, or has last sent something.
    heard: Instant,
    /// Stands before each datagram to the endpoint.
    preface: Box<[u8]>,
    /// The last datagram, for as long as another endpoint may get it.
    unanswered: Option<Box<[u8]>>,
    has_answer: bool,
    received: Count,
    sent: Count,
    /// Datagrams of the endpoint.
    replies: u64,
    /// Wakes the flow's task.
    waker: Waker,
}

#[derive(Default, Clone, Copy)]
struct Count {
    datagrams: u64,
    bytes: u64,
}

/// Why a flow ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// Every datagram of the client has its replies.
    Answered,
    /// There were no datagrams for too long.
    Idle,
    /// Another flow needs its place.
    Evicted,
    /// Its endpoint is out of rotation.
    Down,
    /// Nobody listens at its endpoint any more.
    Refused(Failure),
    /// The process ends.
    Drained,
}

/// Longest datagram that is kept in case its endpoint turns out to be none. What clients begin with
/// is shorter: a question, a handshake.
const UNANSWERED_BYTES_MAX: usize = 2048;

impl Flow {
    /// False if the endpoint has gone out of rotation: a client that goes on talking would else
    /// never get away from it. One that was out of it when it was picked has `patience` to say
    /// something.
    pub(super) fn may_stay(&self, now: Instant, patience: Duration) -> bool {
        let open = self.open.borrow();
        open.as_ref().is_some_and(|open| {
            !is_out(open.attempt.lease.endpoint())
                || (open.is_fail_open && now < open.heard + patience)
        })
    }
}

fn is_out(endpoint: &Endpoint) -> bool {
    endpoint.availability() == Availability::Down
        || endpoint.admin_state() == AdminState::Maintenance
}

impl Relay {
    /// Begins a flow. `None` if nobody takes it, or it should not be.
    pub(super) fn open(self: &Rc<Self>, ends: Ends, now: Instant) -> Option<Rc<Flow>> {
        if self.is_draining.get() || !self.is_client(&ends) {
            return None;
        }
        let mut search = self.search(&ends);
        let Some((attempt, socket)) = self.reach(&mut search, now) else {
            if search.endpoint.has_tried() {
                self.write_down(search, Count::default(), Count::default(), now);
            }
            return None;
        };
        let settings = &self.worker.plan.snapshot.pools[self.route().pool];
        let mut preface = Vec::new();
        if settings.proxy_protocol.is_some() {
            proxy_header::write_datagram(&search.peer, &mut preface);
        }
        let open = Open {
            is_fail_open: is_out(attempt.lease.endpoint()),
            heard: now,
            search,
            attempt,
            socket,
            preface: preface.into(),
            unanswered: None,
            replies: 0,
            has_answer: false,
            received: Count::default(),
            sent: Count::default(),
            waker: Waker::noop().clone(),
        };
        if self.flows.borrow().is_full() {
            self.evict(now);
        }
        self.metrics().flows_opened.increment();
        self.metrics().flows_open.increment();
        let mut flows = self.flows.borrow_mut();
        let flow = flows.insert(ends, now, |place| {
            Rc::new(Flow {
                ends,
                place,
                open: RefCell::new(Some(open)),
            })
        });
        spawn_local(receive(Rc::clone(self), Rc::clone(&flow)));
        Some(flow)
    }

    /// False for who cannot be answered; for what was sent to a group or to everybody, which all
    /// workers have; and for ourselves: an answer to the listener's own address would come back as a
    /// question, for ever.
    fn is_client(&self, ends: &Ends) -> bool {
        let client = SocketAddr::new(ends.client.ip().to_canonical(), ends.client.port());
        client.port() != 0 && ends.local.is_some() && client != self.destination(ends)
    }

    /// Sends datagrams of one flow to its endpoint.
    pub(super) fn send(self: &Rc<Self>, datagrams: &[(Rc<Flow>, &[u8])], now: Instant) {
        let [(flow, _), ..] = datagrams else { return };
        if self.send_on(flow, datagrams, now) {
            return;
        }
        // The flow has ended since they came, perhaps because nobody listens at its endpoint any
        // more: they begin another one.
        let flow = self.flow(flow.ends, now);
        if !flow.is_some_and(|flow| self.send_on(&flow, datagrams, now)) {
            self.dropped(datagrams.len());
        }
    }

    /// Sends datagrams on this flow. False if it is over.
    fn send_on(&self, flow: &Flow, datagrams: &[(Rc<Flow>, &[u8])], now: Instant) -> bool {
        let all = datagrams.iter().map(|(_, bytes)| *bytes);
        let mut guard = flow.open.borrow_mut();
        let Some(open) = &mut *guard else {
            return false;
        };
        let sent = self.pass(&open.socket, &open.preface, all.clone());
        if let (Some(last), false) = (all.clone().next_back(), open.has_answer) {
            open.keep(last);
        }
        drop(guard);
        if let Err(error) = sent {
            if !self.refused(flow, &error, now) {
                return false;
            }
            // Another endpoint has got the last one.
            self.dropped(datagrams.len() - 1);
        }
        if let Some(open) = &mut *flow.open.borrow_mut() {
            all.for_each(|bytes| open.received.add(bytes));
        }
        true
    }

    /// Sends datagrams, each behind `preface`. What the kernel has no room for is lost.
    ///
    /// # Errors
    /// Nobody has listened to what was sent before; some of this was not sent.
    fn pass<'a>(
        &self,
        socket: &UdpSocket,
        preface: &[u8],
        datagrams: impl Iterator<Item = &'a [u8]>,
    ) -> io::Result<()> {
        let mut outbox = self.to_endpoint.borrow_mut();
        for bytes in datagrams {
            if !outbox.push(None, None, [preface, bytes]) {
                self.send_now(socket, &mut outbox)?;
                let has_room = outbox.push(None, None, [preface, bytes]);
                debug_assert!(has_room, "what is empty has room for any datagram");
            }
        }
        self.send_now(socket, &mut outbox)
    }

    fn send_now(&self, socket: &UdpSocket, outbox: &mut Outbox) -> io::Result<()> {
        let sent = match socket.try_send(outbox) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.dropped(outbox.len());
                Ok(())
            }
            sent => sent.map(|dropped| self.dropped(dropped as usize)),
        };
        outbox.clear();
        sent
    }

    /// Nobody listens at the endpoint of this flow. If it has never sent anything, another endpoint
    /// gets the last datagram in its place. False if the flow is over.
    fn refused(&self, flow: &Flow, error: &io::Error, now: Instant) -> bool {
        let failure = connect_failure(error);
        let has_answer = |open: &Open| open.has_answer;
        if flow.open.borrow().as_ref().is_some_and(has_answer) {
            self.end(flow, End::Refused(failure), now);
        }
        // Taken out meanwhile: making room for its new socket must not end it.
        let Some(mut open) = flow.open.take() else {
            return false;
        };
        let failed = Failed::NotConnected(failure);
        let may_move = self.fail(&mut open.search, &open.attempt, failed, now);
        let reached = may_move.then(|| self.reach(&mut open.search, now));
        let Some((attempt, socket)) = reached.flatten() else {
            self.close(flow, open, now);
            return false;
        };
        open.is_fail_open = is_out(attempt.lease.endpoint());
        open.heard = now;
        (open.attempt, open.socket) = (attempt, socket);
        if let Some(last) = &open.unanswered {
            // If this one is gone too, that shows later.
            let _ = self.pass(&open.socket, &open.preface, [&last[..]].into_iter());
        }
        // The task waits for the socket before.
        open.waker.wake_by_ref();
        flow.open.replace(Some(open));
        true
    }

    /// Ends a flow, unless it is over.
    pub(super) fn end(&self, flow: &Flow, end: End, now: Instant) {
        let Some(mut open) = flow.open.take() else {
            return;
        };
        let is_unanswered = open.replies_missing(self.replies);
        let record = &mut open.search.record;
        (record.ended_by, record.failure) = match end {
            End::Idle if is_unanswered => (Some(EndedBy::Endpoint), Some(Failure::ResponseTimeout)),
            End::Answered | End::Idle => (None, None),
            End::Evicted | End::Drained => (Some(EndedBy::Us), None),
            End::Down => (Some(EndedBy::Endpoint), None),
            End::Refused(failure) => (Some(EndedBy::Endpoint), Some(failure)),
        };
        match end {
            End::Refused(failure) => {
                let outcome = Failed::NotConnected(failure).outcome();
                record.end_attempt(&self.worker, &open.attempt, outcome, now);
            }
            // Silence says nothing about the endpoint: some protocols have no answers, and to what
            // makes no sense there is none in any.
            _ => record.end_answered(&self.worker, &open.attempt, now),
        }
        self.close(flow, open, now);
    }

    /// What is left to do for a flow whose attempt is over.
    fn close(&self, flow: &Flow, open: Open, now: Instant) {
        self.flows.borrow_mut().remove(flow.place);
        self.metrics().flows_open.decrement();
        open.waker.wake();
        self.write_down(open.search, open.received, open.sent, now);
    }

    fn write_down(&self, search: Search, received: Count, sent: Count, now: Instant) {
        let Search {
            peer, mut record, ..
        } = search;
        if let Some(relayed) = &mut record.relayed {
            relayed.datagrams = Some((received.datagrams, sent.datagrams));
        }
        let bytes = (received.bytes, sent.bytes);
        record.finish(&self.worker, &peer, &RequestHead::default(), bytes, now);
    }

    /// Receives from the endpoint of `flow`. Ready with false once the flow is over.
    fn poll_reply(&self, flow: &Flow, cx: &mut Context<'_>) -> Poll<bool> {
        let mut inbox = self.inbox.borrow_mut();
        let mut guard = flow.open.borrow_mut();
        let Some(open) = &mut *guard else {
            return Poll::Ready(false);
        };
        open.waker.clone_from(cx.waker());
        let Poll::Ready(received) = open.socket.poll_receive(cx, &mut inbox) else {
            return Poll::Pending;
        };
        let now = Instant::now();
        let goes_on = match received {
            Ok(()) => {
                self.deliver(flow.ends, open, &inbox, now);
                let is_answered = self.replies.is_some() && !open.replies_missing(self.replies);
                drop(guard);
                self.flows.borrow_mut().touch(flow.place, now);
                if is_answered {
                    self.end(flow, End::Answered, now);
                }
                !is_answered
            }
            Err(error) => {
                drop(guard);
                self.refused(flow, &error, now)
            }
        };
        Poll::Ready(goes_on)
    }

    /// Has what the endpoint has sent wait for its way to the client.
    fn deliver(&self, ends: Ends, open: &mut Open, inbox: &Inbox, now: Instant) {
        open.heard = now;
        let mut to_clients = self.to_clients.borrow_mut();
        let flusher = self.flusher.borrow();
        if to_clients.is_empty() {
            flusher.wake_by_ref();
        }
        for Datagram { bytes, .. } in inbox.datagrams() {
            open.replies += 1;
            let (client, parts) = (Some(ends.client), [bytes, &[]]);
            let mut has_room = to_clients.push(client, ends.local, parts);
            if !has_room {
                self.send_replies(&mut to_clients, &mut Context::from_waker(&flusher));
                has_room = to_clients.push(client, ends.local, parts);
            }
            if has_room {
                open.sent.add(bytes);
                self.metrics().datagrams_sent.increment();
            } else {
                self.dropped(1);
            }
        }
        if !open.has_answer && open.replies > 0 {
            open.has_answer = true;
            open.unanswered = None;
            open.search.record.first_reply(&open.attempt, now);
            open.search.record.phase = Phase::Tunnel;
        }
    }
}

/// Takes what the endpoint of a flow sends, for as long as the flow goes on.
async fn receive(relay: Rc<Relay>, flow: Rc<Flow>) {
    let mut in_row = 0;
    loop {
        let goes_on = poll_fn(|cx| {
            let received = relay.poll_reply(&flow, cx);
            if received.is_pending() {
                in_row = 0;
            }
            received
        });
        if !goes_on.await {
            return;
        }
        in_row += 1;
        if in_row == BATCHES_IN_ROW_MAX {
            in_row = 0;
            yield_now().await;
        }
    }
}

impl Open {
    /// Keeps the last datagram, unless it is too long.
    fn keep(&mut self, datagram: &[u8]) {
        let is_kept = datagram.len() <= UNANSWERED_BYTES_MAX;
        self.unanswered = is_kept.then(|| datagram.into());
    }

    /// True if the client has less than `replies` for each of its datagrams.
    fn replies_missing(&self, replies: Option<NonZeroU32>) -> bool {
        let wanted = replies.map_or(0, |replies| {
            self.received.datagrams.saturating_mul(replies.get().into())
        });
        self.replies < wanted
    }
}

impl Count {
    fn add(&mut self, datagram: &[u8]) {
        self.datagrams += 1;
        self.bytes += datagram.len() as u64;
    }
}
