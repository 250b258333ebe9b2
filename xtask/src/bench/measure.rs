//! One run: one peer, started anew, under one kind of traffic.

use std::path::Path;
use std::process::Command;
use std::time::Duration;
use std::{fs, mem};

use anyhow::{Context, Result, bail};
use rustix::process::Signal;
use serde::Serialize;
use testkit::Leaf;

use super::h2load;
use super::peer::{FLOOR, Peer, Secure, Service, Setup};
use super::scenario::{Figure, Protocol, Scenario};
use crate::process::{self, Program};
use crate::role::Role;
use crate::socket;
use crate::traffic::{Outcome, Pace, Plan};

/// Where things run.
#[derive(Clone, Copy)]
pub(crate) struct Cpus {
    /// The load balancer, alone.
    pub(crate) balancer: usize,
    /// Load and endpoints.
    pub(crate) traffic: usize,
}

/// The figures of one run. Those that its scenario is not about are 0.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct Run {
    pub(crate) cpu_us_per_request: f64,
    pub(crate) requests_per_second: f64,
    /// Share of the window in which the load balancer ran.
    pub(crate) cpu_share: f64,
    pub(crate) p50_us: f64,
    pub(crate) p99_us: f64,
    pub(crate) p999_us: f64,
    pub(crate) memory_kib_per_connection: f64,
    pub(crate) system_calls_per_request: f64,
    pub(crate) wrong: u64,
    /// Share of the window in which other programs used the load balancer's CPU.
    pub(crate) others_share: f64,
    /// What a reader must know before believing the figures.
    pub(crate) flags: Vec<String>,
}

/// Measures `peer` once, which shows `leaf` to clients that come by TLS.
pub(crate) fn measure(
    scenario: &Scenario,
    peer: &Peer,
    leaf: &Leaf,
    cpus: Cpus,
    seconds: f64,
) -> Result<Run> {
    let folder = tempfile::tempdir()?;
    let role = match scenario.service() {
        Service::Http | Service::Tcp => "traffic",
        Service::Udp => "datagrams",
    };
    let mut traffic = Role::start(&[role], cpus.traffic)?;
    let endpoints = traffic.addresses()?;
    let secure = scenario
        .is_secure()
        .then(socket::free_address)
        .transpose()?;
    let setup = Setup {
        folder: folder.path(),
        service: scenario.service(),
        listen: socket::free_address()?,
        secure: secure.map(|listen| Secure { listen, leaf }),
        endpoints: &endpoints,
        once: matches!(scenario.pace, Pace::OncePerConnection { .. }),
        ready_path: scenario.path,
    };
    let program = peer.start(&setup, cpus.balancer)?;
    let is_floor = peer.kind.name == FLOOR;
    let plan = Plan {
        target: secure.unwrap_or(setup.listen),
        is_secure: scenario.is_secure(),
        path: scenario.path.to_owned(),
        answer_bytes: scenario.answer_bytes,
        body_bytes: scenario.body_bytes,
        connections: scenario.connections,
        pace: match scenario.pace {
            // The relay does not read the request: it closes by itself, and the endpoint must not.
            Pace::OncePerConnection { .. } => Pace::OncePerConnection {
                ask_for_close: !is_floor,
            },
            pace => pace,
        },
        warm_seconds: WARM_SECONDS,
        seconds,
        watch: program.pids(),
        cpu: cpus.balancer,
    };
    let trace = match scenario.figure {
        Figure::SystemCalls => Some(Trace::start(&plan.watch, folder.path())?),
        _ => None,
    };
    let outcome: Outcome = match scenario.protocol {
        Protocol::Http1 | Protocol::Tls | Protocol::Tcp | Protocol::Udp => traffic.ask(&plan)?,
        // The endpoints serve until they are told otherwise.
        Protocol::Http2 { streams } => h2load::press(&plan, streams, cpus.traffic)?,
    };
    let mut run = Run::new(&outcome);
    if let Some(trace) = trace {
        run.system_calls_per_request =
            trace.count()? as f64 / outcome.requests_in_all.max(1) as f64;
    }
    run.flags = flags(scenario, &outcome, is_floor);
    if program.pids() != plan.watch {
        run.flags.push("its processes changed".to_owned());
    }
    // The load balancer first, so that it does not see its endpoints go away.
    drop(program);
    drop(traffic);
    Ok(run)
}

impl Run {
    fn new(outcome: &Outcome) -> Self {
        let requests = outcome.requests.max(1) as f64;
        let seconds = if outcome.seconds > 0.0 {
            outcome.seconds
        } else {
            1.0
        };
        Self {
            cpu_us_per_request: outcome.run_seconds * 1e6 / requests,
            requests_per_second: outcome.requests as f64 / seconds,
            cpu_share: outcome.run_seconds / seconds,
            p50_us: outcome.p50_us,
            p99_us: outcome.p99_us,
            p999_us: outcome.p999_us,
            memory_kib_per_connection: outcome.memory_bytes_per_connection / 1024.0,
            system_calls_per_request: 0.0,
            wrong: outcome.wrong,
            others_share: outcome.others_share,
            flags: Vec::new(),
        }
    }

    /// The figure that a scenario is about.
    pub(crate) fn main_figure(&self, figure: Figure) -> f64 {
        match figure {
            Figure::RunTime => self.cpu_us_per_request,
            Figure::Latency => self.p99_us,
            Figure::Memory => self.memory_kib_per_connection,
            Figure::SystemCalls => self.system_calls_per_request,
        }
    }

    /// For a person who watches.
    pub(crate) fn line(&self, figure: Figure) -> String {
        let unit = match figure {
            Figure::RunTime => "µs per request",
            Figure::Latency => "µs at p99",
            Figure::Memory => "KiB per connection",
            Figure::SystemCalls => "system calls per request",
        };
        let value = self.main_figure(figure);
        format!("{value:.2} {unit} {}", self.flags.join("; "))
    }
}

/// What makes the figures doubtful.
fn flags(scenario: &Scenario, outcome: &Outcome, is_floor: bool) -> Vec<String> {
    let mut flags = Vec::new();
    if outcome.wrong > 0 {
        let first = outcome
            .first_wrong
            .as_deref()
            .unwrap_or("not open at the end");
        flags.push(format!("{} wrong, first: {first}", outcome.wrong));
    }
    let most = outcome.endpoint_requests.iter().max().copied().unwrap_or(0);
    let all: u64 = outcome.endpoint_requests.iter().sum();
    if most as f64 > 0.6 * all as f64 {
        flags.push("uneven endpoints".to_owned());
    }
    let reuses = !is_floor && scenario.service() == Service::Http;
    if reuses && outcome.endpoint_connections as f64 > 600.0 + 0.02 * all as f64 {
        flags.push("endpoint connections not reused".to_owned());
    }
    if scenario.figure == Figure::Latency
        && (outcome.due_answered as f64) < 0.98 * outcome.due as f64
    {
        flags.push("rate not reached".to_owned());
    }
    flags
}

/// strace, counting the system calls of some processes.
struct Trace {
    program: Program,
    summary: std::path::PathBuf,
}

impl Trace {
    /// Begins to count. Returns once every process is followed.
    fn start(pids: &[u32], folder: &Path) -> Result<Self> {
        let strace = process::find("strace")
            .context("strace is not installed (Debian: apt-get install strace)")?;
        let summary = folder.join("strace");
        let mut command = Command::new(strace);
        command.args(["-c", "-f", "-qq", "-o"]).arg(&summary);
        for pid in pids {
            command.args(["-p", &pid.to_string()]);
        }
        let program = Program::start(command, None)?;
        let attached = || pids.iter().all(|&pid| process::is_traced(pid));
        if !process::wait_until(Duration::from_secs(5), attached) {
            bail!("strace may not follow other processes here");
        }
        Ok(Self { program, summary })
    }

    /// Ends the count. Returns all calls.
    fn count(mut self) -> Result<u64> {
        self.program.signal(Signal::INT)?;
        self.program.child().wait()?;
        let text = fs::read_to_string(&self.summary)?;
        mem::drop(self.program);
        Ok(text.lines().filter_map(calls_in).sum())
    }
}

/// The calls in one line of strace's summary: `% time, seconds, usecs/call, calls, errors?, name`.
fn calls_in(line: &str) -> Option<u64> {
    let columns: Vec<&str> = line.split_ascii_whitespace().collect();
    match columns.as_slice() {
        [share, _, _, calls, .., name] if *name != "total" && share.parse::<f64>().is_ok() => {
            calls.parse().ok()
        }
        _ => None,
    }
}

const WARM_SECONDS: f64 = 1.0;

#[cfg(test)]
mod tests {
    use super::calls_in;

    #[test]
    fn calls_are_read_from_the_summary_with_or_without_errors() {
        for (line, calls) in [
            (
                " 50.12    0.013370           3      4000           sendto",
                Some(4000),
            ),
            (
                " 25.00    0.006670           3      2000        12 recvfrom",
                Some(2000),
            ),
            (
                "100.00    0.020040                 6000        12 total",
                None,
            ),
            (
                "------ ----------- ----------- --------- --------- ----------------",
                None,
            ),
            (
                "% time     seconds  usecs/call     calls    errors syscall",
                None,
            ),
        ] {
            assert_eq!(calls_in(line), calls, "{line}");
        }
    }
}
