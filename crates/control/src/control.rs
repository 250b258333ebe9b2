//! The control thread: one loop that probes, receives evidence and lets deadlines pass, and
//! beside it the admin API.

use std::any::Any;
use std::convert::Infallible;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Instant;

use axum::Router;
use balance::{LiveEvidence, Pool};
use observe::{Event, Events, Registry};
use serde::Serialize;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::sleep_until;

use crate::admin;
use crate::agents::Agents;
use crate::certificates::{self, CertificateSource};
use crate::health_board::{HealthBoard, Target};
use crate::load_probe;
use crate::prober::{ProbeReport, probe};
use crate::schedule::Schedule;
use crate::transport::Transport;
use crate::view::View;

/// What the control thread works on.
#[derive(Debug)]
pub struct ControlInput {
    /// In the order of the config: [`LiveEvidence::pool`] is an index into it.
    pub pools: Vec<Arc<Pool>>,
    /// By pool: how its endpoints are spoken to.
    pub transports: Vec<Transport>,
    /// What workers see of endpoints.
    pub live_evidence: mpsc::Receiver<LiveEvidence>,
    /// The workers' numbers.
    pub registry: Arc<Registry>,
    /// For `/status`.
    pub listeners: Vec<ListenerView>,
    /// What is read again when its files change.
    pub certificates: Vec<CertificateSource>,
    /// Where the admin API listens, bound already; `None`: nowhere.
    pub admin: Option<std::net::TcpListener>,
    /// Routes to add to the admin API.
    pub admin_extra: Router,
    /// Where transitions are told.
    pub events: Events,
}

/// A listener as `/status` shows it.
#[derive(Debug, Clone, Serialize)]
pub struct ListenerView {
    /// Its name.
    pub name: String,
    /// The addresses it accepts on.
    pub addresses: Vec<String>,
}

/// The running control thread. Stops when dropped, without being waited for.
#[derive(Debug)]
pub struct Control {
    stop: oneshot::Sender<()>,
    thread: JoinHandle<()>,
}

impl Control {
    /// Starts the thread. Availability of endpoints without checks is published before this
    /// returns; the first probes begin at once.
    ///
    /// A panic in the thread is told as [`Event::ControlFailed`]; the workers go on with the last
    /// verdicts.
    ///
    /// # Errors
    /// The thread or its runtime cannot be made, or the admin socket cannot be used.
    pub fn start(input: ControlInput) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let admin = match input.admin {
            Some(listener) => {
                listener.set_nonblocking(true)?;
                let _entered = runtime.enter();
                Some(tokio::net::TcpListener::from_std(listener)?)
            }
            None => None,
        };
        let board = HealthBoard::new(
            &input.pools,
            &input.transports,
            Arc::clone(&input.registry),
            input.events.clone(),
        );
        let certificates = input.certificates.into_iter().map(Arc::new).collect();
        let view = Arc::new(View::new(
            input.listeners,
            certificates,
            input.registry,
            board,
        ));
        let agents = Agents::new(&input.pools, &input.transports, input.events.clone());
        let events = input.events;
        let (stop, stopped) = oneshot::channel();
        let thread = thread::Builder::new()
            .name("control".into())
            .spawn(move || {
                let watching = async {
                    tokio::select! {
                        never = watch(&view, input.live_evidence) => never,
                        never = agents.watch(&view) => never,
                        never = load_probe::watch(&input.pools, &input.transports) => never,
                        never = certificates::watch(&view.certificates, &events) => never,
                    }
                };
                let work = run(&view, watching, admin, input.admin_extra, stopped);
                // All that could be left half done is this thread's own, and ends with it.
                if let Err(panic) = catch_unwind(AssertUnwindSafe(|| runtime.block_on(work))) {
                    events.emit(&Event::ControlFailed {
                        reason: panic_message(&*panic),
                    });
                }
            })?;
        Ok(Self { stop, thread })
    }

    /// False once the thread has ended by a panic.
    pub fn is_running(&self) -> bool {
        !self.thread.is_finished()
    }

    /// Stops probing and answering, and waits for the thread to end.
    pub fn stop(self) {
        // An error says that the thread has ended already; it told why.
        let _ = self.stop.send(());
        let _ = self.thread.join();
    }
}

/// Probes and receives until `stopped` is sent to, or its sender is gone.
async fn run(
    view: &Arc<View>,
    watching: impl Future<Output = Infallible>,
    admin: Option<tokio::net::TcpListener>,
    admin_extra: Router,
    stopped: oneshot::Receiver<()>,
) {
    if let Some(listener) = admin {
        tokio::spawn(admin::serve(listener, Arc::clone(view), admin_extra));
    }
    tokio::select! {
        never = watching => match never {},
        _ = stopped => {}
    }
}

/// The loop that keeps the health board up to date.
async fn watch(view: &View, mut live_evidence: mpsc::Receiver<LiveEvidence>) -> Infallible {
    let mut random = fastrand::Rng::new();
    let mut schedule = {
        let board = view.board();
        let timeouts = board.targets().iter().map(|target| target.check.timeout);
        Schedule::new(timeouts, Instant::now())
    };
    let mut probes = JoinSet::new();
    loop {
        let now = Instant::now();
        view.board().expire(now);
        while probes.len() < PROBES_MAX
            && let Some(target) = schedule.begin_due(now)
        {
            probes.spawn(probe_target(view, target));
        }
        // At the limit it is the end of a probe that lets the next one begin, not the time.
        let next_probe = if probes.len() < PROBES_MAX {
            schedule.deadline()
        } else {
            None
        };
        let deadline = next_probe
            .into_iter()
            .fold(view.board().deadline(), Instant::min);
        tokio::select! {
            // A probe that panicked has said so on standard error. It reports nothing, and the
            // schedule runs it again after a while.
            Some(Ok((target, report))) = probes.join_next() => {
                let now = Instant::now();
                let wait = view.board().probed(target, &report, now);
                schedule.finish(target, wait, now, &mut random);
            }
            Some(seen) = live_evidence.recv() => {
                let now = Instant::now();
                let target = view.board().live(seen, now);
                if let Some(target) = target {
                    schedule.hurry(target, now);
                }
            }
            () = sleep_until(deadline.into()) => {}
        }
    }
}

fn probe_target(view: &View, target: usize) -> impl Future<Output = (usize, ProbeReport)> + use<> {
    let board = view.board();
    let Target { way, check, .. } = &board.targets()[target];
    let (way, check) = (way.clone(), check.clone());
    async move { (target, probe(&way, &check).await) }
}

fn panic_message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
    text.unwrap_or_else(|| "panicked".to_owned())
}

/// Probes at once: enough for 10,000 targets in 2 s at 50 ms each, and far from the limit of open
/// files.
const PROBES_MAX: usize = 256;
