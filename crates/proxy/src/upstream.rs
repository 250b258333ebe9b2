//! Admit, pick, reuse or connect: from a pool to a connection that the request can go out on.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use balance::{
    Address, ConnectionPlace, Endpoint, Lease, NoConnectionLeft, Pick, Ticket, Wanted, Why,
};
use config::UpstreamProtocol;
use net::{Buffer, ConnectOptions, IdleConnections, Stream, TlsClient, TlsFault};
use observe::WorkerMetrics;

use crate::channel::Channel;
use crate::client::{Client, Peer};
use crate::failure::Failure;
use crate::h2::{self, Joined};
use crate::proxy_header;
use crate::socket::connect_options;
use crate::worker::{Plan, Worker};

/// A connection to an endpoint with one request on it, or a stream of one.
pub(crate) struct Upstream {
    pub(crate) channel: Channel,
    pub(crate) buffer: Buffer,
    /// Where the pool bounds its connections.
    place: Option<ConnectionPlace>,
}

/// The connections of a worker that take a request, by pool and endpoint.
pub(crate) struct Upstreams {
    endpoints: Box<[Box<[Kept]>]>,
}

/// The connections of a worker to one endpoint that take a request.
#[derive(Default)]
struct Kept {
    /// HTTP/1: without a request.
    idle: RefCell<Idle>,
    /// HTTP/2: with room for one more.
    shared: h2::Shared,
    /// The endpoint can choose what it speaks and has chosen HTTP/1.
    has_chosen_h1: Cell<bool>,
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
    let opening = Opening::begin(worker, &client.peer, pool, lease);
    let mut opening = opening.map_err(NotAdmitted::Failure)?;
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

/// A connection to the endpoint of `lease` that takes a request, if there is one.
pub(crate) fn reuse(worker: &Worker, pool: usize, lease: &Lease, now: Instant) -> Option<Upstream> {
    let endpoint = lease.index();
    let kept = worker.upstreams.kept(pool, endpoint);
    let upstream = match kept.shared.stream() {
        Some(stream) => Upstream::of_stream(stream),
        None => {
            let (stream, place) = kept.idle.borrow_mut().take(now)?;
            Upstream::of_connection(stream, place)
        }
    };
    let metrics = &worker.metrics.pools[pool].endpoints[endpoint];
    metrics.connections_reused.increment();
    Some(upstream)
}

/// A connection that is being made.
pub(crate) struct Opening {
    stage: Stage,
    pool: usize,
    endpoint: usize,
    /// What comes first on the connection: a PROXY header, or nothing.
    preface: Vec<u8>,
}

enum Stage {
    /// Somebody else makes one that may take this request too.
    Waiting(Joined),
    Connecting {
        connecting: Pin<Box<dyn Future<Output = Result<Stream, Failure>>>>,
        place: Option<ConnectionPlace>,
        /// Those who would use it too wait for as long as this lives.
        joined: Option<Joined>,
    },
}

impl Opening {
    /// Begins to connect to the endpoint of `lease`, for a request of `peer`.
    pub(crate) fn begin(
        worker: &Worker,
        peer: &Peer,
        pool: usize,
        lease: &Lease,
    ) -> Result<Self, Failure> {
        let mut preface = Vec::new();
        if let Some(version) = worker.plan.snapshot.pools[pool].proxy_protocol {
            proxy_header::write(version, peer, &mut preface);
        }
        let endpoint = lease.index();
        let kept = worker.upstreams.kept(pool, endpoint);
        let may_share = match worker.plan.snapshot.pools[pool].protocol {
            UpstreamProtocol::H1 => false,
            UpstreamProtocol::H2 => true,
            UpstreamProtocol::Auto => !kept.has_chosen_h1.get(),
        };
        let stage = match may_share.then(|| kept.shared.join()) {
            Some(joined @ Joined::Later(_)) => Stage::Waiting(joined),
            joined => Stage::begin(worker, pool, endpoint, &preface, joined)?,
        };
        Ok(Self {
            stage,
            pool,
            endpoint,
            preface,
        })
    }

    /// Ready once the connection is there, or cannot be made. Not to be polled after that.
    pub(crate) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        worker: &Worker,
    ) -> Poll<Result<Upstream, Failure>> {
        let (pool, endpoint) = (self.pool, self.endpoint);
        let kept = worker.upstreams.kept(pool, endpoint);
        loop {
            let (connecting, place, joined) = match &mut self.stage {
                Stage::Waiting(joined) => {
                    ready!(joined.poll_over(cx));
                    if let Some(stream) = kept.shared.stream() {
                        return Poll::Ready(Ok(Upstream::of_stream(stream)));
                    }
                    let joined = match kept.has_chosen_h1.get() {
                        true => None,
                        false => Some(kept.shared.join()),
                    };
                    self.stage = match joined {
                        Some(joined @ Joined::Later(_)) => Stage::Waiting(joined),
                        joined => Stage::begin(worker, pool, endpoint, &self.preface, joined)?,
                    };
                    continue;
                }
                Stage::Connecting {
                    connecting,
                    place,
                    joined,
                } => (connecting, place, joined),
            };
            let stream = match ready!(connecting.as_mut().poll(cx)) {
                Ok(stream) => stream,
                Err(failure) => {
                    if failure == Failure::ConnectionRefused {
                        // Whatever waits there leads to the same dead endpoint.
                        kept.idle.borrow_mut().clear();
                    }
                    return Poll::Ready(Err(failure));
                }
            };
            let metrics = &worker.metrics.pools[pool].endpoints[endpoint];
            metrics.connections_opened.increment();
            let settings = &worker.plan.snapshot.pools[pool];
            let is_http2 = match (settings.protocol, stream.tls()) {
                (UpstreamProtocol::H1, _) | (UpstreamProtocol::Auto, None) => false,
                (UpstreamProtocol::H2, None) => true,
                (_, Some(tls)) => tls.is_http2,
            };
            kept.has_chosen_h1.set(!is_http2);
            if !is_http2 && settings.protocol == UpstreamProtocol::H2 {
                return Poll::Ready(Err(Failure::TlsProtocol));
            }
            let place = place.take();
            return Poll::Ready(if is_http2 {
                let idle = settings.keep_alive_idle;
                let stream = kept
                    .shared
                    .begin(stream, idle, place, joined.take())
                    .ok_or(Failure::InternalError)?;
                Ok(Upstream::of_stream(stream))
            } else {
                Ok(Upstream::of_connection(stream, place))
            });
        }
    }
}

impl Stage {
    fn begin(
        worker: &Worker,
        pool: usize,
        endpoint: usize,
        preface: &[u8],
        joined: Option<Joined>,
    ) -> Result<Self, Failure> {
        let place = connection_place(worker, pool)?;
        let endpoint = &worker.plan.pools[pool].endpoints[endpoint];
        let address = endpoint.address.clone();
        let socket = connect_options(&worker.plan.snapshot.pools[pool].socket);
        let tls = worker.plan.tls_clients[pool].clone().map(|client| {
            let settings = worker.plan.snapshot.pools[pool].tls.as_ref();
            let name = settings.and_then(|tls| tls.name.clone());
            (client, name.unwrap_or_else(|| server_name(endpoint)))
        });
        Ok(Self::Connecting {
            connecting: Box::pin(open(address, socket, preface.to_vec(), tls)),
            place,
            joined,
        })
    }
}

/// Connects, sends `preface`, and speaks TLS as `tls` says, with an endpoint of that name.
async fn open(
    address: Address,
    socket: ConnectOptions,
    preface: Vec<u8>,
    tls: Option<(Arc<TlsClient>, Box<str>)>,
) -> Result<Stream, Failure> {
    let mut stream = net::connect(&address, &socket)
        .await
        .map_err(|error| connect_failure(&error))?;
    write_all(&mut stream, &preface)
        .await
        .map_err(|error| connect_failure(&error))?;
    match tls {
        None => Ok(stream),
        Some((client, name)) => net::connect_tls(stream, &client, &name)
            .await
            .map_err(|error| tls_failure(&error)),
    }
}

async fn write_all(stream: &mut Stream, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match poll_fn(|cx| stream.poll_write(cx, bytes)).await? {
            0 => return Err(io::ErrorKind::BrokenPipe.into()),
            count => bytes = &bytes[count..],
        }
    }
    Ok(())
}

/// The name that the endpoint's certificate is for, where the pool does not say.
fn server_name(endpoint: &Endpoint) -> Box<str> {
    match (&endpoint.host, &endpoint.address) {
        (Some(host), _) => host.clone(),
        (None, Address::Tcp(address)) => address.ip().to_string().into(),
        (None, Address::Unix(_)) => "localhost".into(),
    }
}

impl Upstream {
    fn of_connection(stream: Stream, place: Option<ConnectionPlace>) -> Self {
        Self {
            channel: Channel::Connection(stream),
            buffer: Buffer::default(),
            place,
        }
    }

    /// The connection, what has arrived on it, and its place in the pool, which is to live as long.
    ///
    /// # Panics
    /// It is a stream of HTTP/2, which pools of relays do not speak.
    pub(crate) fn into_connection(self) -> (Stream, Buffer, Option<ConnectionPlace>) {
        match self.channel {
            Channel::Connection(stream) => (stream, self.buffer, self.place),
            Channel::Stream(_) => unreachable!("the config lets no relay speak HTTP/2"),
        }
    }

    fn of_stream(stream: h2::Stream) -> Self {
        Self {
            channel: Channel::Stream(stream),
            buffer: Buffer::default(),
            place: None,
        }
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

fn tls_failure(error: &io::Error) -> Failure {
    match TlsFault::of(error) {
        Some(fault) if fault.is_certificate => Failure::TlsCertificate,
        _ => Failure::TlsProtocol,
    }
}

/// Why there is no connection.
pub(crate) fn connect_failure(error: &io::Error) -> Failure {
    match error.kind() {
        // A Unix socket whose file is gone is refused as well.
        io::ErrorKind::ConnectionRefused
        | io::ErrorKind::ConnectionReset
        | io::ErrorKind::BrokenPipe
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

impl Kept {
    /// Closes a connection that waits. False if none does.
    fn close_one(&self) -> bool {
        self.idle.borrow_mut().close_oldest() || self.shared.close_one()
    }
}

impl Upstreams {
    pub(crate) fn new(plan: &Plan) -> Self {
        let endpoints = plan
            .pools
            .iter()
            .map(|pool| pool.endpoints.iter().map(|_| Kept::default()).collect());
        Self {
            endpoints: endpoints.collect(),
        }
    }

    fn kept(&self, pool: usize, endpoint: usize) -> &Kept {
        &self.endpoints[pool][endpoint]
    }

    /// Keeps a connection whose exchange ended well; a stream ends with its exchange, and so does
    /// a connection whose PROXY header names its client.
    /// `announced_seconds` is the endpoint's own keep-alive time-out.
    pub(crate) fn keep(
        &self,
        plan: &Plan,
        pool: usize,
        endpoint: usize,
        upstream: Upstream,
        announced_seconds: Option<u32>,
        now: Instant,
    ) {
        let Channel::Connection(stream) = upstream.channel else {
            return;
        };
        let settings = &plan.snapshot.pools[pool];
        if settings.proxy_protocol.is_some() {
            return;
        }
        let idle = match announced_seconds {
            Some(seconds) => Duration::from_secs(seconds.into()).saturating_sub(KEEP_ALIVE_MARGIN),
            None => settings.keep_alive_idle,
        };
        if idle.is_zero() {
            return;
        }
        self.kept(pool, endpoint)
            .idle
            .borrow_mut()
            .put(stream, upstream.place, now + idle);
    }

    /// Closes a connection of the pool that waits. False if none does.
    fn close_one(&self, pool: usize) -> bool {
        self.endpoints[pool].iter().any(Kept::close_one)
    }

    /// Closes what waits for a request to this endpoint: there is reason to think that it closed
    /// its side.
    pub(crate) fn forget(&self, pool: usize, endpoint: usize) {
        let kept = self.kept(pool, endpoint);
        kept.idle.borrow_mut().clear();
        kept.shared.forget();
    }

    /// Closes what is too old or was closed by the endpoint, and counts the rest.
    pub(crate) fn sweep(&self, plan: &Plan, metrics: &WorkerMetrics) {
        let now = Instant::now();
        let pools = self.endpoints.iter().zip(&plan.pools).zip(&metrics.pools);
        for ((endpoints, pool), metrics) in pools {
            if pool.wants_connection() && endpoints.iter().any(Kept::close_one) {
                pool.end_connection_want();
            }
            for (kept, metrics) in endpoints.iter().zip(&metrics.endpoints) {
                let mut idle = kept.idle.borrow_mut();
                idle.sweep(now);
                let count = idle.len() + kept.shared.idle();
                metrics.connections_idle.set(count as i64);
            }
        }
    }
}
