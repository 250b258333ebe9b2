//! One connection whose bytes mean nothing to us, from its first byte to its last.
//!
//! The steps are those of an exchange: admit, connect, and to another endpoint if that fails before
//! anything has moved; then bytes both ways, each way for itself, until both have ended.

use std::future::poll_fn;
use std::mem::replace;
use std::task::Poll;
use std::time::{Duration, Instant};

use config::Route;
use message::RequestHead;
use net::{Buffer, Stream};

use super::search::Search;
use super::way::{Broken, Way};
use crate::attempt::{Failed, Stop};
use crate::client::Client;
use crate::failure::Failure;
use crate::record::{Attempt, EndedBy, Outcome, Phase, Record, Relayed};
use crate::upstream::{self, Admission, Upstream};
use crate::worker::Worker;

/// A connection that is relayed.
struct Relay<'a> {
    worker: &'a Worker,
    client: Client,
    record: Record,
    up: Way,
    down: Way,
}

/// Parts of the idle time-out: it ends a connection on which in so many in a row nothing has moved,
/// at most one of them late.
const IDLE_PARTS: u32 = 8;

/// How a relay ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// Both sides had closed.
    InOrder,
    /// The client broke the connection.
    ByClient,
    /// The endpoint did.
    ByEndpoint,
    /// The endpoint has said all it had to say, and takes no more from the client.
    HeardEnough,
    /// Nothing has moved for too long.
    Idle,
    /// We have no more time.
    Drained,
}

/// Relays the connection of `client`, who asked for `sni`, on `route`. `None`: there is no route
/// for it.
///
/// No `async fn`: its arguments would lie in memory beside what they become, for as long as the
/// connection is there.
pub(crate) fn serve(
    worker: &Worker,
    client: Client,
    route: Option<usize>,
    sni: Option<Box<str>>,
) -> impl Future<Output = ()> {
    let relayed = Relayed {
        protocol: "tcp",
        sni,
        datagrams: None,
    };
    let mut relay = Relay {
        worker,
        record: Record::begin_relay(worker, &client.peer, relayed, route),
        client,
        up: Way::default(),
        down: Way::default(),
    };
    async move {
        relay.run(route).await;
        relay.finish();
    }
}

impl Relay<'_> {
    async fn run(&mut self, route: Option<usize>) {
        let served = match route {
            Some(route) => self.serve(route).await,
            None => Err(Stop::Failure(Failure::RouteNotFound, EndedBy::Us)),
        };
        match served {
            Ok(()) => {}
            Err(Stop::Failure(failure, by)) => {
                self.record.failure = Some(failure);
                self.record.ended_by = Some(by);
            }
            Err(Stop::ClientGone | Stop::Redirect { .. } | Stop::OwnAnswer) => {
                self.record.ended_by = Some(EndedBy::Client);
            }
        }
    }

    fn finish(self) {
        let received = self.client.bytes_received + self.up.bytes_read();
        let bytes = (received, self.down.bytes_written());
        let (peer, request) = (&self.client.peer, RequestHead::default());
        self.record
            .finish(self.worker, peer, &request, bytes, Instant::now());
    }

    async fn serve(&mut self, route: usize) -> Result<(), Stop> {
        let worker = self.worker;
        let client = &self.client.peer.address;
        let mut search = Search::new(worker, route, client, self.record.time);
        let route = &worker.plan.snapshot.routes[route];
        worker.plan.pools[route.pool].retry_budget.earn();
        loop {
            // Apart, so that a connection needs no memory for it once it is relayed.
            let (attempt, upstream) = Box::pin(self.connect(route, &mut search)).await?;
            let (mut stream, mut buffer, _place) = upstream.into_connection();
            self.record.phase = Phase::Tunnel;
            let end = self
                .pass(&attempt, &mut stream, &mut buffer, route.timeouts.tunnel)
                .await;
            let has_moved = self.up.bytes_written() + self.down.bytes_read() > 0;
            let now = Instant::now();
            // It took the connection and did nothing for it: as good as refused. Later, it may have
            // had enough of a silent client, which is no fault.
            let is_early = self.record.age(&attempt, now) < route.timeouts.connect;
            if end == End::ByEndpoint && !has_moved && is_early {
                self.record
                    .end_attempt(worker, &attempt, Outcome::Reset, now);
                let failure = Failure::ConnectionTerminated;
                if search.may_move(worker, Failed::NotConnected(failure)) {
                    self.up.begin_anew();
                    self.down = Way::default();
                    continue;
                }
                self.abort();
                return Err(Stop::Failure(failure, EndedBy::Endpoint));
            }
            let outcome = self.outcome(end);
            self.record.end_attempt(worker, &attempt, outcome, now);
            self.record.ended_by = match end {
                End::InOrder => None,
                End::ByClient => {
                    stream.abort_on_drop();
                    Some(EndedBy::Client)
                }
                End::ByEndpoint => {
                    self.abort();
                    Some(EndedBy::Endpoint)
                }
                End::HeardEnough => {
                    // Others may have the endpoint meanwhile.
                    drop((attempt, stream));
                    let patience = route.timeouts.body;
                    Box::pin(self.client.close_gently(patience)).await;
                    Some(EndedBy::Endpoint)
                }
                End::Idle | End::Drained => {
                    self.cut(&stream);
                    Some(EndedBy::Us)
                }
            };
            return Ok(());
        }
    }

    /// What `end` says about the endpoint.
    fn outcome(&self, end: End) -> Outcome {
        match end {
            // What comes behind an answer may be how this protocol ends.
            _ if self.down.bytes_read() > 0 => Outcome::Ok,
            End::InOrder | End::HeardEnough => Outcome::Ok,
            End::ByEndpoint if self.up.bytes_written() > 0 => Outcome::Reset,
            End::ByEndpoint | End::ByClient | End::Idle | End::Drained => Outcome::Abandoned,
        }
    }

    /// Makes each side see that the connection was cut, unless it knows of an end in good order:
    /// the kernel still delivers that, and all before it.
    fn cut(&mut self, endpoint: &Stream) {
        if !self.up.is_over() {
            endpoint.abort_on_drop();
        }
        if !self.down.is_over() {
            self.abort();
        }
    }

    /// Makes the client see that its connection was cut.
    fn abort(&mut self) {
        self.client.channel.abort();
    }

    /// A connection to an endpoint that takes one.
    async fn connect(
        &mut self,
        route: &Route,
        search: &mut Search,
    ) -> Result<(Attempt, Upstream), Stop> {
        let worker = self.worker;
        loop {
            self.record.phase = Phase::Queue;
            let mut now = Instant::now();
            let wanted = search.wanted(now);
            let Admission { lease, why, queued } =
                upstream::admit(worker, &mut self.client, route.pool, &wanted).await?;
            if queued.is_some() {
                now = Instant::now();
            }
            search.picked(worker, lease.index(), why);
            let attempt = self.record.begin_attempt(worker, lease, why, queued, now);
            self.record.phase = Phase::Connect;
            let (client, lease) = (&mut self.client, &attempt.lease);
            let timeout = route.timeouts.connect;
            let connecting = upstream::connect(worker, client, route.pool, lease, timeout, now);
            let failed = match connecting.await {
                Ok(upstream) => {
                    self.record.relaying(worker, &attempt);
                    return Ok((attempt, upstream));
                }
                Err(reason) => Failed::from(reason),
            };
            self.record
                .end_attempt(worker, &attempt, failed.outcome(), Instant::now());
            if !search.may_move(worker, failed) {
                return Err(failed.stop());
            }
        }
    }

    /// Passes bytes both ways between the client and `endpoint`, from which `buffer` has what has
    /// arrived.
    async fn pass(
        &mut self,
        attempt: &Attempt,
        endpoint: &mut Stream,
        buffer: &mut Buffer,
        idle: Duration,
    ) -> End {
        let Self {
            worker,
            client,
            record,
            up,
            down,
            ..
        } = self;
        let mut has_answered = false;
        client.allow(idle / IDLE_PARTS);
        let (mut moved, mut idle_parts) = (0, 0);
        let mut end = End::InOrder;
        poll_fn(|cx| {
            let (stream, arrived) = client.connection();
            match up.poll(cx, stream, arrived, endpoint) {
                Ok(()) => {}
                Err(Broken::Source) => return Poll::Ready(End::ByClient),
                // What it has said before may still be on its way to the client.
                Err(Broken::Sink { is_cut: true }) => {
                    end = End::ByEndpoint;
                    up.give_up();
                    down.cut();
                }
                Err(Broken::Sink { is_cut: false }) => {
                    end = End::HeardEnough;
                    up.give_up();
                }
            }
            match down.poll(cx, endpoint, buffer, stream) {
                Ok(()) => {}
                Err(Broken::Source) => return Poll::Ready(End::ByEndpoint),
                Err(Broken::Sink { .. }) => return Poll::Ready(End::ByClient),
            }
            if !has_answered && down.bytes_read() > 0 {
                has_answered = true;
                record.first_reply(attempt, Instant::now());
            }
            if up.is_over() && down.is_over() {
                return Poll::Ready(end);
            }
            if worker.is_over() {
                return Poll::Ready(End::Drained);
            }
            // Not the time of each byte, which would have to be asked for: whether there were any.
            while client.poll_timeout(cx).is_ready() {
                let before = replace(&mut moved, up.bytes_written() + down.bytes_written());
                idle_parts = if moved > before { 0 } else { idle_parts + 1 };
                if idle_parts == IDLE_PARTS {
                    return Poll::Ready(End::Idle);
                }
                client.allow(idle / IDLE_PARTS);
            }
            Poll::Pending
        })
        .await
    }
}
