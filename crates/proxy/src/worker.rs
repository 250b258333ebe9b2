//! One core: accepts connections, spreads them fairly, drains.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

use balance::{Address, Balancer, LiveEvidence, Pool, RecentLatency};
use config::{ListenerProtocol, Snapshot};
use net::{Acceptor, Deadline, Stream, TlsClient, TlsServer, UdpSocket};
use observe::{LogBuffer, WorkerMetrics};
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinHandle, spawn_local, unconstrained, yield_now};
use tokio::time::{sleep, timeout_at};

use crate::connection;
use crate::exchange::Scratch;
use crate::relay;
use crate::sticky::Stickiness;
use crate::upstream::Upstreams;
use crate::workers::{Drain, HandedOver, Mailbox, Workers};

/// What to serve: the config and the live pools that belong to it, index by index.
#[derive(Debug)]
pub struct Plan {
    /// The validated config.
    pub snapshot: Snapshot,
    /// One for each of `snapshot.pools`.
    pub pools: Vec<Arc<Pool>>,
    /// How sessions are known again.
    pub stickiness: Stickiness,
    /// One for each of `snapshot.listeners`; `None`: clients speak without TLS.
    pub tls_servers: Vec<Option<Arc<TlsServer>>>,
    /// One for each of `snapshot.pools`; `None`: endpoints are spoken to without TLS.
    pub tls_clients: Vec<Option<Arc<TlsClient>>>,
    /// Our name in `Via` (RFC 9110 §7.6.3), a token that no other instance has.
    pub pseudonym: String,
}

/// Everything that a worker owns or shares.
pub struct WorkerInput {
    /// Which of the workers it is.
    pub index: usize,
    /// What it serves.
    pub plan: Arc<Plan>,
    /// Its own listening sockets: index of the listener, address, socket.
    pub sockets: Vec<(usize, Address, OwnedFd)>,
    /// All workers.
    pub workers: Workers,
    /// Connections that other workers pass to it.
    pub mailbox: Mailbox,
    /// Its numbers.
    pub metrics: Arc<WorkerMetrics>,
    /// Its part of the access log.
    pub log: LogBuffer,
    /// What live traffic says about endpoints goes to the health board. When that cannot keep
    /// up, evidence is lost: more will come.
    pub evidence: mpsc::Sender<LiveEvidence>,
    /// Tells it to end.
    pub drain: watch::Receiver<Drain>,
}

/// What all tasks of a worker share.
pub(crate) struct Worker {
    pub(crate) index: usize,
    pub(crate) plan: Arc<Plan>,
    pub(crate) metrics: Arc<WorkerMetrics>,
    pub(crate) evidence: mpsc::Sender<LiveEvidence>,
    pub(crate) log: RefCell<LogBuffer>,
    pub(crate) random: RefCell<fastrand::Rng>,
    /// By pool.
    pub(crate) balancers: Box<[RefCell<Balancer>]>,
    pub(crate) upstreams: Upstreams,
    /// By route; only where slow requests get copies.
    pub(crate) latencies: Box<[Option<RefCell<RecentLatency>>]>,
    pub(crate) workers: Workers,
    /// Recycled memory of exchanges.
    #[expect(
        clippy::vec_box,
        reason = "they are lent out one by one, and moving one is dear"
    )]
    scratches: RefCell<Vec<Box<Scratch>>>,
    /// Recycled timers of exchanges on streams: making one costs more than moving it.
    deadlines: RefCell<Vec<Deadline>>,
    is_draining: Cell<bool>,
    /// The drain has taken as long as it may.
    is_over: Cell<bool>,
    /// Wakes the task of every open connection, so that idle ones see a drain.
    connections: RefCell<Vec<Option<Waker>>>,
    free_places: RefCell<Vec<usize>>,
}

/// How often idle upstream connections are looked through and log lines are handed on.
const HOUSEKEEPING_INTERVAL: Duration = Duration::from_millis(100);

/// How long to wait when the process is out of file descriptors or memory. Trying again at once
/// would spin: the connection stays in the accept queue and the socket stays ready.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// When a timer runs out that nobody has set yet: every phase of an exchange sets it.
const DEADLINE_AT_FIRST: Duration = Duration::from_secs(60);

/// Recycled [`Scratch`]es, and timers, that a worker keeps.
const SCRATCHES_MAX: usize = 256;

/// Serves until drained. Blocks the calling thread.
///
/// # Errors
/// The kernel refuses an epoll instance, or a socket cannot be watched.
pub fn run(input: WorkerInput) -> io::Result<()> {
    net::run_worker(serve(input))?
}

async fn serve(input: WorkerInput) -> io::Result<()> {
    let WorkerInput {
        index,
        plan,
        sockets,
        workers,
        mut mailbox,
        mut drain,
        ..
    } = input;
    let worker = Rc::new(Worker {
        index,
        metrics: input.metrics,
        evidence: input.evidence,
        log: RefCell::new(input.log),
        random: RefCell::new(fastrand::Rng::new()),
        balancers: plan
            .pools
            .iter()
            .map(|pool| RefCell::new(Balancer::new(Arc::clone(pool), index)))
            .collect(),
        upstreams: Upstreams::new(&plan),
        latencies: plan
            .snapshot
            .routes
            .iter()
            .map(|route| route.hedge.map(|_| RefCell::default()))
            .collect(),
        workers,
        scratches: RefCell::default(),
        deadlines: RefCell::default(),
        is_draining: Cell::new(false),
        is_over: Cell::new(false),
        connections: RefCell::default(),
        free_places: RefCell::default(),
        plan,
    });

    let (mut acceptors, mut relays) = (Vec::new(), Vec::new());
    for (listener, address, socket) in sockets {
        let (worker, drain) = (Rc::clone(&worker), drain.clone());
        let is_udp = matches!(
            worker.plan.snapshot.listeners[listener].protocol,
            ListenerProtocol::Udp(_)
        );
        if is_udp {
            let socket = UdpSocket::listen(socket)?;
            let serve = relay::udp::serve(worker, socket, address, listener, drain);
            relays.push(spawn_local(serve));
        } else {
            let acceptor = Acceptor::new(&address, socket)?;
            acceptors.push(spawn_local(accept(worker, acceptor, listener, drain)));
        }
    }
    let receiving = Rc::clone(&worker);
    spawn_local(async move {
        while let Some(HandedOver {
            stream,
            peer,
            listener,
        }) = mailbox.receive().await
        {
            match tokio::net::TcpStream::from_std(stream) {
                Ok(stream) => receiving.serve(Stream::Tcp(stream), Some(peer), listener),
                Err(_) => receiving.workers.closed(receiving.index),
            }
        }
    });
    let housekeeping = Rc::clone(&worker);
    spawn_local(async move {
        loop {
            sleep(HOUSEKEEPING_INTERVAL).await;
            let (plan, metrics) = (&housekeeping.plan, &housekeeping.metrics);
            housekeeping.upstreams.sweep(plan, metrics);
            housekeeping.log.borrow_mut().flush();
        }
    });

    // The sender is gone only if the process is ending anyway.
    let _ = drain.wait_for(|drain| *drain != Drain::No).await;
    let until = match *drain.borrow() {
        Drain::Until(until) => until,
        Drain::No => Instant::now(),
    };
    worker.drain_until(until, acceptors, relays).await;
    worker.log.borrow_mut().flush();
    Ok(())
}

/// Accepts until a drain begins, and then what the kernel has accepted already: those clients
/// know nothing of the drain.
async fn accept(
    worker: Rc<Worker>,
    acceptor: Acceptor,
    listener: usize,
    mut drain: watch::Receiver<Drain>,
) {
    let mut drained = pin!(drain.wait_for(|drain| *drain != Drain::No));
    loop {
        let accepted = poll_fn(|cx| {
            if drained.as_mut().poll(cx).is_ready() {
                return Poll::Ready(None);
            }
            acceptor.poll_accept(cx).map(Some)
        })
        .await;
        let Some(accepted) = accepted else { break };
        worker.receive(accepted, listener).await;
    }
    // Has the runtime ask the kernel once more; from then on "nothing" means nothing.
    yield_now().await;
    for _ in 0..DRAIN_ACCEPTS_MAX {
        let accepted = unconstrained(poll_fn(|cx| match acceptor.poll_accept(cx) {
            Poll::Ready(accepted) => Poll::Ready(Some(accepted)),
            Poll::Pending => Poll::Ready(None),
        }))
        .await;
        let Some(accepted) = accepted else { break };
        worker.receive(accepted, listener).await;
    }
}

/// Connections that are still accepted once a drain has begun, in case they never end.
const DRAIN_ACCEPTS_MAX: u32 = 8192;

/// True for errors of a connection that died in the accept queue: the next one may be well.
fn is_about_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::Interrupted
            | io::ErrorKind::PermissionDenied
    )
}

impl Worker {
    /// Takes what `accept` gave.
    async fn receive(
        self: &Rc<Self>,
        accepted: io::Result<(Stream, Option<SocketAddr>)>,
        listener: usize,
    ) {
        match accepted {
            Ok((stream, peer)) => {
                self.metrics.listeners[listener]
                    .connections_accepted
                    .increment();
                self.place(stream, peer, listener);
            }
            Err(error) if is_about_one_connection(&error) => {}
            Err(_) => sleep(ACCEPT_PAUSE).await,
        }
    }

    /// Serves a new connection here, or passes it to a worker that has less to do.
    fn place(self: &Rc<Self>, stream: Stream, peer: Option<SocketAddr>, listener: usize) {
        let stream = match (stream, peer, self.workers.relief_of(self.index)) {
            (Stream::Tcp(stream), Some(peer), Some(relief)) => {
                // Taking it out of this runtime can only fail with the connection.
                let Ok(stream) = stream.into_std() else {
                    return;
                };
                match self.workers.hand_over(
                    relief,
                    HandedOver {
                        stream,
                        peer,
                        listener,
                    },
                ) {
                    Ok(()) => {
                        self.metrics.listeners[listener]
                            .connections_handed_over
                            .increment();
                        return;
                    }
                    Err(HandedOver { stream, .. }) => {
                        let Ok(stream) = tokio::net::TcpStream::from_std(stream) else {
                            return;
                        };
                        Stream::Tcp(stream)
                    }
                }
            }
            (stream, ..) => stream,
        };
        self.workers.opened(self.index);
        self.serve(stream, peer, listener);
    }

    /// Serves a connection that is counted already.
    fn serve(self: &Rc<Self>, stream: Stream, peer: Option<SocketAddr>, listener: usize) {
        let place = self.free_places.borrow_mut().pop().unwrap_or_else(|| {
            let mut connections = self.connections.borrow_mut();
            connections.push(None);
            connections.len() - 1
        });
        self.metrics.listeners[listener]
            .connections_open
            .increment();
        let open = OpenConnection {
            worker: Rc::clone(self),
            place,
            listener,
        };
        spawn_local(connection::serve(open, stream, peer));
    }

    /// Ends idle connections now and the others after their exchange. Waits for them and for the
    /// relays of datagrams, until `until` at the latest.
    async fn drain_until(
        &self,
        until: Instant,
        acceptors: Vec<JoinHandle<()>>,
        relays: Vec<JoinHandle<()>>,
    ) {
        self.is_draining.set(true);
        let are_gone = async {
            for acceptor in acceptors {
                // A panic of an acceptor was told when it happened.
                let _ = acceptor.await;
            }
            self.wake_connections();
            for relay in relays {
                let _ = relay.await;
            }
            while self.connections.borrow().len() > self.free_places.borrow().len() {
                sleep(Duration::from_millis(5)).await;
            }
        };
        // Whoever is left then is cut off: that is what the deadline is for.
        if timeout_at(until.into(), are_gone).await.is_err() {
            self.is_over.set(true);
            self.wake_connections();
            // In line behind all that were woken, of whom the runtime runs some at a time.
            let _ = spawn_local(async {}).await;
        }
    }

    fn wake_connections(&self) {
        for waker in self.connections.borrow().iter().flatten() {
            waker.wake_by_ref();
        }
    }

    /// True once connections that are relayed should end whatever they are about.
    pub(crate) fn is_over(&self) -> bool {
        self.is_over.get()
    }

    /// True once connections should end after the exchange in hand.
    pub(crate) fn is_draining(&self) -> bool {
        self.is_draining.get()
    }

    /// Memory for an exchange, recycled.
    pub(crate) fn take_scratch(&self) -> Box<Scratch> {
        self.scratches.borrow_mut().pop().unwrap_or_default()
    }

    /// Gives it back.
    pub(crate) fn return_scratch(&self, mut scratch: Box<Scratch>) {
        let mut scratches = self.scratches.borrow_mut();
        if scratches.len() < SCRATCHES_MAX {
            scratch.clear();
            scratches.push(scratch);
        }
    }
}

impl Worker {
    /// A timer, recycled, that has not run out yet.
    pub(crate) fn take_deadline(&self) -> Deadline {
        let until = Instant::now() + DEADLINE_AT_FIRST;
        match self.deadlines.borrow_mut().pop() {
            Some(mut deadline) => {
                deadline.renew(until);
                deadline
            }
            None => Deadline::new(until),
        }
    }

    /// Gives it back.
    pub(crate) fn return_deadline(&self, deadline: Deadline) {
        let mut deadlines = self.deadlines.borrow_mut();
        if deadlines.len() < SCRATCHES_MAX {
            deadlines.push(deadline);
        }
    }
}

/// A client connection as its worker counts it; dropped with the connection's task.
pub(crate) struct OpenConnection {
    pub(crate) worker: Rc<Worker>,
    pub(crate) listener: usize,
    place: usize,
}

impl OpenConnection {
    /// Tells the worker how to wake this connection's task.
    pub(crate) fn register(&self, waker: &Waker) {
        self.worker.connections.borrow_mut()[self.place] = Some(waker.clone());
    }
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        let worker = &self.worker;
        worker.connections.borrow_mut()[self.place] = None;
        worker.free_places.borrow_mut().push(self.place);
        worker.metrics.listeners[self.listener]
            .connections_open
            .decrement();
        worker.workers.closed(worker.index);
    }
}
