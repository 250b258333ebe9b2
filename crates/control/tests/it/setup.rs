//! A control thread with everything around it that a test wants to look at.

use std::io::{self, Write};
use std::net::{SocketAddr, TcpListener};
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Router;
use balance::{
    Address, Availability, Check, CheckKind, EndpointSettings, Evidence, LiveEvidence,
    OutlierSettings, Pool, PoolSettings, StatusRange,
};
use control::{Control, ControlInput, ListenerView, Transport};
use observe::{
    Blame, EventFormat, Events, OutcomeShape, PoolShape, Registry, Shape, WorkerMetrics,
};
use testkit::{Client, Response, poll_until};
use tokio::sync::mpsc;

/// Far beyond what anything here takes, and short enough to wait for when it fails.
pub(crate) const LIMIT: Duration = Duration::from_secs(20);

/// A running control thread.
pub(crate) struct Setup {
    pub(crate) pools: Vec<Arc<Pool>>,
    pub(crate) worker: Arc<WorkerMetrics>,
    pub(crate) admin: SocketAddr,
    live_evidence: mpsc::Sender<LiveEvidence>,
    events: Told,
    /// `None`: the test has taken it.
    pub(crate) control: Option<Control>,
}

impl Setup {
    pub(crate) fn start(pools: Vec<Arc<Pool>>) -> Self {
        Self::start_with(pools, Router::new())
    }

    pub(crate) fn start_with(pools: Vec<Arc<Pool>>, admin_extra: Router) -> Self {
        let plain = |pool| (pool, Transport::default());
        Self::start_all(pools.into_iter().map(plain).collect(), admin_extra)
    }

    /// Over pools with the way in which their endpoints are spoken to.
    pub(crate) fn start_over(pools: Vec<(Arc<Pool>, Transport)>) -> Self {
        Self::start_all(pools, Router::new())
    }

    fn start_all(pools: Vec<(Arc<Pool>, Transport)>, admin_extra: Router) -> Self {
        let (pools, transports): (Vec<_>, Vec<_>) = pools.into_iter().unzip();
        let registry = Registry::new(shape(&pools));
        let listener = TcpListener::bind("127.0.0.1:0").expect("ports are left");
        let admin = listener.local_addr().expect("it is bound");
        let (live_evidence, received) = mpsc::channel(64);
        let events = Told::default();
        let worker = registry.worker();
        let control = Control::start(ControlInput {
            certificates: Vec::new(),
            transports,
            pools: pools.clone(),
            live_evidence: received,
            registry,
            listeners: vec![ListenerView {
                name: "web".into(),
                addresses: vec!["127.0.0.1:8080".into()],
            }],
            admin: Some(listener),
            admin_extra,
            events: Events::new(EventFormat::Text, events.clone()),
        });
        Self {
            pools,
            worker,
            admin,
            live_evidence,
            events,
            control: Some(control.expect("it starts")),
        }
    }

    pub(crate) fn availability(&self, pool: usize, endpoint: usize) -> Availability {
        self.pools[pool].endpoints[endpoint].availability()
    }

    #[track_caller]
    pub(crate) fn await_availability(&self, pool: usize, endpoint: usize, awaited: Availability) {
        let what = format!("endpoint {endpoint} of pool {pool} is {awaited:?}");
        poll_until(&what, LIMIT, || {
            self.availability(pool, endpoint) == awaited
        });
    }

    /// Says what a worker would.
    pub(crate) fn saw(&self, pool: u32, endpoint: u32, evidence: Evidence) {
        let seen = LiveEvidence {
            pool,
            endpoint,
            evidence,
        };
        self.live_evidence
            .try_send(seen)
            .expect("the channel has room");
    }

    /// The events so far, without their dates.
    pub(crate) fn events(&self) -> Vec<String> {
        let bytes = self.events.0.lock().expect("no holder panics").clone();
        let text = String::from_utf8(bytes).expect("events are text");
        let undated = |line: &str| Some(line.split_once(' ')?.1.to_owned());
        text.lines().filter_map(undated).collect()
    }

    #[track_caller]
    pub(crate) fn await_event(&self, text: &str) {
        let has_it = || self.events().iter().any(|event| event.contains(text));
        poll_until(&format!("event {text:?}"), LIMIT, has_it);
    }

    pub(crate) fn get(&self, path: &str) -> Response {
        self.request("GET", path, "localhost")
    }

    pub(crate) fn request(&self, method: &str, path: &str, host: &str) -> Response {
        let mut client = Client::connect(self.admin);
        client.send(format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\n\r\n"));
        client.read_response_to(method)
    }
}

impl Drop for Setup {
    fn drop(&mut self) {
        let Some(control) = self.control.take() else {
            return;
        };
        if !std::thread::panicking() {
            assert!(
                control.is_running(),
                "the control thread has failed: {:?}",
                self.events()
            );
        }
        control.stop();
    }
}

/// A pool of endpoints with checks that come as fast as they may.
pub(crate) fn pool(name: &str, kind: CheckKind, endpoints: &[SocketAddr]) -> Arc<Pool> {
    pool_with(name, kind, endpoints, |_| {})
}

/// As [`pool`], with settings of its own.
pub(crate) fn pool_with(
    name: &str,
    kind: CheckKind,
    endpoints: &[SocketAddr],
    adapt: impl FnOnce(&mut PoolSettings),
) -> Arc<Pool> {
    let endpoint = |address: &SocketAddr| EndpointSettings {
        name: address.to_string().into(),
        address: Address::Tcp(*address),
        host: None,
        weight: 1,
        max_requests: NonZeroU32::new(100),
        tier: 0,
        zone: None,
    };
    let mut settings = PoolSettings {
        check: Check {
            kind,
            interval: Duration::from_millis(60),
            timeout: Duration::from_secs(1),
            ..Check::default()
        },
        outlier: OutlierSettings {
            ejection: Duration::from_millis(100),
            ..OutlierSettings::default()
        },
        ..PoolSettings::new(name)
    };
    adapt(&mut settings);
    Arc::new(Pool::new(
        settings,
        endpoints.iter().map(endpoint).collect(),
        1,
        Instant::now(),
    ))
}

pub(crate) fn http() -> CheckKind {
    CheckKind::Http {
        path: "/healthz".into(),
        host: None,
        headers: Vec::new(),
        expect: vec![StatusRange { from: 200, to: 399 }],
        body: None,
    }
}

fn shape(pools: &[Arc<Pool>]) -> Shape {
    let pool = |pool: &Arc<Pool>| PoolShape {
        name: pool.settings.name.to_string(),
        endpoints: pool
            .endpoints
            .iter()
            .map(|endpoint| endpoint.name.to_string())
            .collect(),
    };
    Shape {
        listeners: vec!["web".into()],
        routes: vec!["default".into(), "odd \"name\"\\".into()],
        pools: pools.iter().map(pool).collect(),
        failures: &["destination_unavailable", "connection_timeout"],
        outcomes: &[
            OutcomeShape {
                word: "ok",
                blame: Blame::Success,
            },
            OutcomeShape {
                word: "reset",
                blame: Blame::Failure,
            },
        ],
        http2_rules: &["rapid_reset"],
        grpc_codes: &["ok"],
    }
}

/// A sink that a test can read.
#[derive(Clone, Default)]
struct Told(Arc<Mutex<Vec<u8>>>);

impl Write for Told {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0
            .lock()
            .expect("no holder panics")
            .extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
