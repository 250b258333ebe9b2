//! Admit, pick, reuse or connect: from a pool to a connection that the request can go out on.

use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use balance::{ConnectionPlace, Lease, NoConnectionLeft, Pick, Ticket, Wanted, Why};
use net::{Buffer, IdleConnections, Stream};
use observe::WorkerMetrics;

use crate::client::Client;
use crate::failure::Failure;
use crate::worker::{Plan, Worker};

/// A connection to an endpoint, with one request on it.
pub(crate) struct Upstream {
    pub(crate) stream: Stream,
    pub(crate) buffer: Buffer,
    /// Where the pool bounds its connections.
    place: Option<ConnectionPlace>,
}

/// The connections of a worker that wait for a request, by pool and endpoint.
pub(crate) struct Upstreams {
    idle: Box<[Box<[RefCell<Idle>]>]>,
}

type Idle = IdleConnections<Option<ConnectionPlace>>;

/// An endpoint to send a request to.
pub(crate) struct Admission {
    pub(crate) lease: Lease,
    pub(crate) why: Why,
    /// How long it waited in the queue, if it did.
    pub(crate) queued: Option<Duration>,
}

/// Why there is no endpoint, or no connection to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NotAdmitted {
    /// The client left while it waited.
    ClientGone,
    /// There is none to be had.
    Failure(Failure),
}

/// How much earlier than it announced an endpoint's keep-alive time-out is taken to end: a
/// request on its way as the endpoint closes would be lost.
const KEEP_ALIVE_MARGIN: Duration = Duration::from_secs(4);

/// Picks an endpoint of `pool`, waiting in the queue if all are full.
pub(crate) async fn admit(
    worker: &Worker,
    client: &mut Client,
    pool: usize,
    wanted: &Wanted<'_>,
) -> Result<Admission, NotAdmitted> {
    let pick = {
        let mut balancer = worker.balancers[pool].borrow_mut();
        balancer.pick(wanted, &mut worker.random.borrow_mut())
    };
    match pick {
        Pick::Endpoint(lease, why) => Ok(Admission {
            lease,
            why,
            queued: None,
        }),
        Pick::Refused => Err(NotAdmitted::Failure(Failure::DestinationUnavailable)),
        Pick::CircuitOpen => {
            worker.metrics.pools[pool].circuit_open.increment();
            Err(NotAdmitted::Failure(Failure::PoolFull))
        }
        Pick::Full => wait(worker, client, pool, wanted).await,
    }
}

/// Waits for an endpoint with room. A client that leaves, leaves the queue.
async fn wait(
    worker: &Worker,
    client: &mut Client,
    pool: usize,
    wanted: &Wanted<'_>,
) -> Result<Admission, NotAdmitted> {
    let balancer = &worker.balancers[pool];
    let metrics = &worker.metrics.pools[pool];
    let since = Instant::now();
    let ticket = balancer.borrow_mut().enqueue(since);
    let Some(ticket) = ticket else {
        metrics.queue_full.increment();
        return Err(NotAdmitted::Failure(Failure::QueueFull));
    };
    let place = Place {
        worker,
        pool,
        ticket,
    };
    metrics.requests_queued.increment();
    let timeout = worker.plan.pools[pool].settings.queue.timeout;
    client.allow_until(since + timeout);
    let turn = poll_fn(|cx| {
        let mut random = worker.random.borrow_mut();
        let wanted = Wanted {
            now: Instant::now(),
            ..*wanted
        };
        let turn = balancer
            .borrow_mut()
            .poll_turn(ticket, &wanted, cx, &mut random);
        if let Poll::Ready(pick) = turn {
            return Poll::Ready(Ok(pick));
        }
        if client.poll_gone(cx).is_ready() {
            return Poll::Ready(Err(NotAdmitted::ClientGone));
        }
        client
            .poll_timeout(cx)
            .map(|()| Err(NotAdmitted::Failure(Failure::QueueTimeout)))
    })
    .await;
    drop(place);
    let queued = since.elapsed();
    metrics.queue_time.observe(queued);
    match turn {
        Ok(Pick::Endpoint(lease, why)) => Ok(Admission {
            lease,
            why,
            queued: Some(queued),
        }),
        Ok(Pick::CircuitOpen) => Err(NotAdmitted::Failure(Failure::PoolFull)),
        Ok(Pick::Refused | Pick::Full) => {
            Err(NotAdmitted::Failure(Failure::DestinationUnavailable))
        }
        Err(not_admitted) => {
            if not_admitted == NotAdmitted::Failure(Failure::QueueTimeout) {
                metrics.queue_timeouts.increment();
            }
            Err(not_admitted)
        }
    }
}

/// A place in a queue; dropping it leaves the queue.
struct Place<'a> {
    worker: &'a Worker,
    pool: usize,
    ticket: Ticket,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.worker.balancers[self.pool]
            .borrow_mut()
            .leave(self.ticket);
        self.worker.metrics.pools[self.pool]
            .requests_queued
            .decrement();
    }
}

/// A new connection to the endpoint of `lease`.
///
/// # Errors
/// Why it could not be made; nothing of the request was sent.
pub(crate) async fn connect(
    worker: &Worker,
    client: &mut Client,
    pool: usize,
    lease: &Lease,
    connect_timeout: Duration,
    now: Instant,
) -> Result<Upstream, NotAdmitted> {
    let mut opening = Opening::begin(worker, pool, lease).map_err(NotAdmitted::Failure)?;
    client.allow_until(now + connect_timeout);
    poll_fn(|cx| {
        if let Poll::Ready(opened) = opening.poll(cx, worker) {
            return Poll::Ready(opened.map_err(NotAdmitted::Failure));
        }
        if client.poll_gone(cx).is_ready() {
            return Poll::Ready(Err(NotAdmitted::ClientGone));
        }
        client
            .poll_timeout(cx)
            .map(|()| Err(NotAdmitted::Failure(Failure::ConnectionTimeout)))
    })
    .await
}

/// A connection to the endpoint of `lease` that waits for a request, if there is one.
pub(crate) fn reuse(worker: &Worker, pool: usize, lease: &Lease, now: Instant) -> Option<Upstream> {
    let endpoint = lease.index();
    let (stream, place) = worker.upstreams.idle[pool][endpoint]
        .borrow_mut()
        .take(now)?;
    let metrics = &worker.metrics.pools[pool].endpoints[endpoint];
    metrics.connections_reused.increment();
    Some(Upstream {
        stream,
        buffer: Buffer::default(),
        place,
    })
}

/// A connection that is being made.
pub(crate) struct Opening {
    connecting: Pin<Box<dyn Future<Output = io::Result<Stream>>>>,
    place: Option<ConnectionPlace>,
    pool: usize,
    endpoint: usize,
}

impl Opening {
    /// Begins to connect to the endpoint of `lease`.
    pub(crate) fn begin(worker: &Worker, pool: usize, lease: &Lease) -> Result<Self, Failure> {
        let place = connection_place(worker, pool)?;
        let address = lease.endpoint().address.clone();
        Ok(Self {
            connecting: Box::pin(async move { net::connect(&address).await }),
            place,
            pool,
            endpoint: lease.index(),
        })
    }

    /// Ready once the connection is there, or cannot be made. Not to be polled after that.
    pub(crate) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        worker: &Worker,
    ) -> Poll<Result<Upstream, Failure>> {
        let stream = match ready!(self.connecting.as_mut().poll(cx)) {
            Ok(stream) => stream,
            Err(error) => {
                let failure = connect_failure(&error);
                if failure == Failure::ConnectionRefused {
                    // Whatever waits there leads to the same dead endpoint.
                    worker.upstreams.idle[self.pool][self.endpoint]
                        .borrow_mut()
                        .clear();
                }
                return Poll::Ready(Err(failure));
            }
        };
        let metrics = &worker.metrics.pools[self.pool].endpoints[self.endpoint];
        metrics.connections_opened.increment();
        Poll::Ready(Ok(Upstream {
            stream,
            buffer: Buffer::default(),
            place: self.place.take(),
        }))
    }
}

/// A place for one more connection of the pool. Where it has as many as it may, one that this
/// worker keeps to another endpoint is closed for it.
fn connection_place(worker: &Worker, pool: usize) -> Result<Option<ConnectionPlace>, Failure> {
    loop {
        match ConnectionPlace::take(&worker.plan.pools[pool]) {
            Ok(place) => return Ok(place),
            Err(NoConnectionLeft) if worker.upstreams.close_one(pool) => {}
            Err(NoConnectionLeft) => {
                worker.metrics.pools[pool].circuit_open.increment();
                return Err(Failure::PoolFull);
            }
        }
    }
}

fn connect_failure(error: &io::Error) -> Failure {
    match error.kind() {
        // A Unix socket whose file is gone is refused as well.
        io::ErrorKind::ConnectionRefused
        | io::ErrorKind::ConnectionReset
        | io::ErrorKind::NotFound => Failure::ConnectionRefused,
        // A Unix socket with a full backlog would block; TCP waits for us.
        io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => Failure::ConnectionTimeout,
        io::ErrorKind::HostUnreachable
        | io::ErrorKind::NetworkUnreachable
        | io::ErrorKind::NetworkDown => Failure::DestinationUnroutable,
        // Among others no port (AddrNotAvailable) or file descriptor left.
        _ => Failure::InternalError,
    }
}

impl Upstreams {
    pub(crate) fn new(plan: &Plan) -> Self {
        let idle = plan.pools.iter().map(|pool| {
            pool.endpoints
                .iter()
                .map(|_| RefCell::new(Idle::default()))
                .collect()
        });
        Self {
            idle: idle.collect(),
        }
    }

    /// Keeps a connection whose exchange ended well. `announced_seconds` is the endpoint's
    /// own keep-alive time-out.
    pub(crate) fn keep(
        &self,
        plan: &Plan,
        pool: usize,
        endpoint: usize,
        upstream: Upstream,
        announced_seconds: Option<u32>,
        now: Instant,
    ) {
        let idle = match announced_seconds {
            Some(seconds) => Duration::from_secs(seconds.into()).saturating_sub(KEEP_ALIVE_MARGIN),
            None => plan.snapshot.pools[pool].keep_alive_idle,
        };
        if idle.is_zero() {
            return;
        }
        self.idle[pool][endpoint]
            .borrow_mut()
            .put(upstream.stream, upstream.place, now + idle);
    }

    /// Closes a connection of the pool that waits. False if none does.
    fn close_one(&self, pool: usize) -> bool {
        let mut endpoints = self.idle[pool].iter();
        endpoints.any(|idle| idle.borrow_mut().close_oldest())
    }

    /// Closes what waits for a request to this endpoint: there is reason to think that it closed
    /// its side.
    pub(crate) fn forget(&self, pool: usize, endpoint: usize) {
        self.idle[pool][endpoint].borrow_mut().clear();
    }

    /// Closes what is too old or was closed by the endpoint, and counts the rest.
    pub(crate) fn sweep(&self, plan: &Plan, metrics: &WorkerMetrics) {
        let now = Instant::now();
        let pools = self.idle.iter().zip(&plan.pools).zip(&metrics.pools);
        for ((endpoints, pool), metrics) in pools {
            let mut idle = endpoints.iter();
            if pool.wants_connection() && idle.any(|idle| idle.borrow_mut().close_oldest()) {
                pool.end_connection_want();
            }
            for (idle, metrics) in endpoints.iter().zip(&metrics.endpoints) {
                let mut idle = idle.borrow_mut();
                idle.sweep(now);
                metrics.connections_idle.set(idle.len() as i64);
            }
        }
    }
}
