//! From a snapshot to a running process: sockets, workers, the control thread, and their end.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use balance::{Address, Pool};
use config::{AccessLogSink, PoolSocket, ProxyVersion, Secret, Snapshot, UpstreamProtocol};
use control::{Control, ControlInput, EndpointTls, ListenerView, Transport};
use net::{ConnectOptions, Listening, TlsClient};
use observe::{AccessLog, Event, EventFormat, Events, PoolShape, Registry, Shape, Sink};
use proxy::{
    Drain, FAILURE_WORDS, GRPC_CODES, HTTP2_RULES, OUTCOMES, Plan, Stickiness, WorkerInput,
    Workers, connect_options,
};
use tokio::sync::{mpsc, watch};
use wire::proxy_protocol;

use crate::bind::{bind_admin, bind_listeners};
use crate::tls::{certificate_sources, tls_clients, tls_servers};

/// What is not in the config.
#[derive(Debug)]
pub struct Options {
    /// Where events of the process go.
    pub events: Events,
    /// Routes to add to the admin API.
    pub admin_extra: axum::Router,
}

impl Default for Options {
    /// Events as lines on standard error.
    fn default() -> Self {
        Self {
            events: Events::new(EventFormat::Text, std::io::stderr()),
            admin_extra: axum::Router::new(),
        }
    }
}

/// A running load balancer. Dropping it stops it at once.
#[derive(Debug)]
pub struct Server {
    plan: Arc<Plan>,
    workers: Workers,
    drain: watch::Sender<Drain>,
    threads: Vec<JoinHandle<()>>,
    control: Option<Control>,
    log: Option<AccessLog>,
    listening: Vec<(String, Address)>,
    admin: Option<SocketAddr>,
    events: Events,
}

/// Evidence on its way to the health board. Beyond it evidence is dropped: more will come.
const EVIDENCE_LENGTH: usize = 4096;

/// How long the access log may take to write what it has, at the end.
const LOG_SHUTDOWN_MAX: Duration = Duration::from_secs(2);

impl Server {
    /// Binds every socket and starts every thread. When it returns, connections are accepted.
    ///
    /// # Errors
    /// A certificate cannot be read, an address cannot be bound, a log file cannot be opened, a
    /// thread cannot be made. Nothing is left running then.
    pub fn start(snapshot: Snapshot, options: Options) -> Result<Self> {
        let Options {
            events,
            admin_extra,
        } = options;
        let count = snapshot
            .workers
            .unwrap_or_else(net::available_workers)
            .get();
        let (tls_servers, tls_clients) = (tls_servers(&snapshot)?, tls_clients(&snapshot)?);
        let bound = bind_listeners(&snapshot, count)?;
        let admin = match snapshot.admin.bind {
            Some(address) => Some(bind_admin(address)?),
            None => None,
        };
        let registry = Registry::new(shape(&snapshot));
        let log = AccessLog::start(&sink(&snapshot), &registry, events.clone())
            .context("the access log cannot be opened")?;
        let pools: Vec<_> = snapshot
            .pools
            .iter()
            .map(|pool| Arc::new(live_pool(pool, count)))
            .collect();
        let secret = snapshot.secret.as_ref().map(Secret::bytes);
        let plan = Arc::new(Plan {
            stickiness: Stickiness::new(pools.iter().map(|pool| &**pool), secret),
            pools,
            tls_servers,
            tls_clients,
            pseudonym: format!("pointsman-{:08x}", fastrand::u32(..)),
            snapshot,
        });
        let (evidence, live_evidence) = mpsc::channel(EVIDENCE_LENGTH);
        let (workers, mailboxes, drain) = Workers::new(count);

        let listening: Vec<(String, Address)> = bound
            .iter()
            .map(|(listener, listening)| {
                (
                    plan.snapshot.listeners[*listener].name.to_string(),
                    listening.address.clone(),
                )
            })
            .collect();
        let admin_address = admin.as_ref().map(TcpListener::local_addr).transpose()?;
        // Before the workers, so that endpoints without checks are up for the first request.
        let control = Control::start(ControlInput {
            pools: plan.pools.clone(),
            transports: transports(&plan),
            live_evidence,
            registry: Arc::clone(&registry),
            listeners: views(&listening),
            certificates: certificate_sources(&plan),
            admin,
            admin_extra,
            events: events.clone(),
        })
        .context("the control thread cannot be started")?;

        let mut server = Self {
            plan,
            workers,
            drain,
            threads: Vec::new(),
            control: Some(control),
            log: Some(log),
            listening,
            admin: admin_address,
            events,
        };
        let mut sockets = sockets_by_worker(bound, count);
        for (index, mailbox) in mailboxes.into_iter().enumerate() {
            let metrics = registry.worker();
            let log = server
                .log
                .as_ref()
                .expect("set above")
                .worker(Arc::clone(&metrics));
            let input = WorkerInput {
                index,
                plan: Arc::clone(&server.plan),
                sockets: std::mem::take(&mut sockets[index]),
                workers: server.workers.clone(),
                mailbox,
                metrics,
                log,
                evidence: evidence.clone(),
                drain: server.drain.subscribe(),
            };
            let events = server.events.clone();
            let thread = thread::Builder::new()
                .name(format!("worker-{index}"))
                .spawn(move || run_worker(input, &events))
                .context("a worker thread cannot be started")?;
            server.threads.push(thread);
        }
        server.announce();
        Ok(server)
    }

    /// The first address of the listener with this name, with its real port.
    pub fn address(&self, listener: &str) -> Option<SocketAddr> {
        self.listening
            .iter()
            .find_map(|(name, address)| match address {
                Address::Tcp(address) if name == listener => Some(*address),
                _ => None,
            })
    }

    /// Where the admin API listens.
    pub fn admin_address(&self) -> Option<SocketAddr> {
        self.admin
    }

    /// True while every worker serves.
    pub fn is_running(&self) -> bool {
        self.threads.iter().all(|thread| !thread.is_finished())
    }

    /// Accepts nothing more, lets exchanges end for as long as `patience`, then returns.
    pub fn stop(mut self, patience: Duration) {
        self.events.emit(&Event::Draining { deadline: patience });
        self.drain
            .send_replace(Drain::Until(Instant::now() + patience));
        self.join();
        self.events.emit(&Event::Stopped);
    }

    fn announce(&self) {
        self.events.emit(&Event::Started {
            version: env!("CARGO_PKG_VERSION"),
            workers: self.threads.len(),
        });
        for (listener, address) in &self.listening {
            let (listener, address) = (listener.clone(), address.to_string());
            self.events.emit(&Event::Listening { listener, address });
        }
        if let Some(address) = self.admin {
            self.events.emit(&Event::AdminListening { address });
        }
    }

    /// Waits for the workers, then ends what they report to.
    fn join(&mut self) {
        for thread in self.threads.drain(..) {
            // A panic of a worker was told when it happened.
            let _ = thread.join();
        }
        if let Some(control) = self.control.take() {
            control.stop();
        }
        if let Some(log) = self.log.take() {
            log.shutdown(LOG_SHUTDOWN_MAX);
        }
        for (_, address) in &self.listening {
            if let Address::Unix(path) = address {
                let _ = std::fs::remove_file(path);
            }
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.drain.send_replace(Drain::Until(Instant::now()));
        self.join();
    }
}

fn run_worker(input: WorkerInput, events: &Events) {
    let worker = input.index;
    if let Err(error) = proxy::run(input) {
        events.emit(&Event::WorkerFailed {
            worker,
            reason: error.to_string(),
        });
    }
}

/// Which sockets each worker gets.
fn sockets_by_worker(
    bound: Vec<(usize, Listening)>,
    workers: usize,
) -> Vec<Vec<(usize, Address, std::os::fd::OwnedFd)>> {
    let mut by_worker: Vec<Vec<_>> = (0..workers).map(|_| Vec::new()).collect();
    for (listener, listening) in bound {
        for (worker, socket) in listening.sockets.into_iter().enumerate() {
            by_worker[worker].push((listener, listening.address.clone(), socket));
        }
    }
    by_worker
}

fn live_pool(pool: &config::Pool, workers: usize) -> Pool {
    let (settings, endpoints) = (pool.settings.clone(), pool.endpoints.clone());
    Pool::new(settings, endpoints, workers, Instant::now())
}

/// How the endpoints of each pool are spoken to, for those who ask them how they are.
fn transports(plan: &Plan) -> Vec<Transport> {
    let transport = |(pool, client): (&config::Pool, &Option<Arc<TlsClient>>)| {
        let mut preface = Vec::new();
        // Without addresses it says that the connection is our own.
        let header = proxy_protocol::Header::default();
        match pool.proxy_protocol {
            Some(ProxyVersion::V1) => proxy_protocol::write_v1(&header, &mut preface),
            Some(ProxyVersion::V2) => proxy_protocol::write_v2(&header, &mut preface),
            None => {}
        }
        let tls = client.as_ref().map(|client| EndpointTls {
            client: Arc::clone(client),
            name: pool.tls.as_ref().and_then(|tls| tls.name.clone()),
        });
        Transport {
            socket: probe_options(&pool.socket),
            preface: preface.into(),
            tls,
            http2: pool.protocol == UpstreamProtocol::H2,
        }
    };
    let pools = plan.snapshot.pools.iter().zip(&plan.tls_clients);
    pools.map(transport).collect()
}

/// How probes connect. With TCP Fast Open, Linux connects when there is something to send, and a
/// probe that sends nothing would find every endpoint well.
fn probe_options(socket: &PoolSocket) -> ConnectOptions {
    ConnectOptions {
        fast_open: false,
        ..connect_options(socket)
    }
}

fn shape(snapshot: &Snapshot) -> Shape {
    let pool = |pool: &config::Pool| PoolShape {
        name: pool.settings.name.to_string(),
        endpoints: pool
            .endpoints
            .iter()
            .map(|endpoint| endpoint.name.to_string())
            .collect(),
    };
    Shape {
        listeners: snapshot
            .listeners
            .iter()
            .map(|listener| listener.name.to_string())
            .collect(),
        routes: snapshot
            .routes
            .iter()
            .map(|route| route.name.to_string())
            .collect(),
        pools: snapshot.pools.iter().map(pool).collect(),
        failures: FAILURE_WORDS,
        outcomes: OUTCOMES,
        http2_rules: HTTP2_RULES,
        grpc_codes: GRPC_CODES,
    }
}

fn sink(snapshot: &Snapshot) -> Sink {
    match &snapshot.access_log.sink {
        AccessLogSink::Off => Sink::Off,
        AccessLogSink::Stdout => Sink::Stdout,
        AccessLogSink::File(path) => Sink::File(path.clone()),
    }
}

/// Listeners with their addresses, for `/status`.
fn views(listening: &[(String, Address)]) -> Vec<ListenerView> {
    let mut views: Vec<ListenerView> = Vec::new();
    for (name, address) in listening {
        match views.iter_mut().find(|view| view.name == *name) {
            Some(view) => view.addresses.push(address.to_string()),
            None => views.push(ListenerView {
                name: name.clone(),
                addresses: vec![address.to_string()],
            }),
        }
    }
    views
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probes_connect_at_once_and_as_requests_do_for_the_rest() {
        let mut socket = PoolSocket {
            source: Some([127, 0, 0, 2].into()),
            ..PoolSocket::default()
        };
        let slow = connect_options(&socket);
        socket.fast_open = true;
        assert_eq!(probe_options(&socket), slow);
    }
}
