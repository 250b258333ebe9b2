//! Endpoints that die and freeze under traffic.

use std::collections::HashMap;
use std::io::Read;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use super::Lab;
use super::balancer::Balancer;
use super::endpoint::Endpoint;
use super::server::Server;
use crate::http::{self, Answer};
use crate::process::{Program, wait_until};

pub(super) fn a_killed_python_server_costs_no_request_and_comes_back(lab: &Lab) -> Result<()> {
    kill_and_restart(lab, Server::Python)
}

pub(super) fn a_killed_nginx_costs_no_request_and_comes_back(lab: &Lab) -> Result<()> {
    kill_and_restart(lab, Server::Nginx)
}

/// 200 requests a second by four curls, and SIGKILL in the middle.
fn kill_and_restart(lab: &Lab, server: Server) -> Result<()> {
    let mut killed = Endpoint::start(lab, server, "1")?;
    let other = Endpoint::start(lab, server, "2")?;
    let balancer = Balancer::start(lab, &[&killed, &other], "")?;
    let clients: Vec<Program> = (0..CURLS)
        .map(|_| steady_curl(lab, &balancer))
        .collect::<Result<_>>()?;

    thread::sleep(Duration::from_secs(3));
    let requests_before = killed.request_count();
    killed.kill()?;
    let moment = Instant::now();
    let is_out = || balancer.is_in(&killed).is_ok_and(|is_in| !is_in);
    ensure!(
        wait_until(Duration::from_secs(5), is_out),
        "it is still in 5 s after the kill"
    );
    let out_after = moment.elapsed();

    thread::sleep(Duration::from_secs(1));
    killed.restart(lab)?;
    let has_traffic = || killed.request_count() > requests_before;
    let comes_back = wait_until(Duration::from_secs(10), has_traffic);

    let mut answers = 0;
    for mut client in clients {
        let mut report = String::new();
        let output = client
            .child()
            .stdout
            .as_mut()
            .context("its output is a pipe")?;
        output.read_to_string(&mut report)?;
        let failed: Vec<&str> = report.lines().filter(|line| *line != "200 1 ").collect();
        ensure!(
            failed.is_empty(),
            "{} requests failed, the first: {}",
            failed.len(),
            failed[0]
        );
        answers += report.lines().count();
    }
    ensure!(answers == CURLS * REQUESTS_PER_CURL, "{answers} answers");
    ensure!(
        requests_before > 100,
        "the killed one had only {requests_before} requests before"
    );
    ensure!(
        out_after <= Duration::from_secs(1),
        "it was out after {out_after:?}"
    );
    ensure!(comes_back, "no traffic within 10 s of its return");
    Ok(())
}

/// A curl that makes 50 requests a second for 16 seconds and prints status and size of each answer.
fn steady_curl(lab: &Lab, balancer: &Balancer) -> Result<Program> {
    let mut command = Command::new(lab.tools.path("curl")?);
    command
        .args(["--silent", "--rate", "50/s", "-o", "/dev/null"])
        .args(["-w", "%{http_code} %{size_download} %{errormsg}\n"])
        .arg(format!(
            "http://{}/name?[1-{REQUESTS_PER_CURL}]",
            balancer.address
        ))
        .stdin(Stdio::null())
        .stdout(Stdio::piped());
    Program::start(command, None)
}

pub(super) fn no_post_is_executed_twice_when_an_endpoint_is_killed(lab: &Lab) -> Result<()> {
    let mut killed = Endpoint::start(lab, Server::Recorder, "1")?;
    let other = Endpoint::start(lab, Server::Recorder, "2")?;
    let balancer = Balancer::start(lab, &[&killed, &other], "")?;
    let address = balancer.address;

    let (next_id, is_over) = (AtomicUsize::new(0), AtomicBool::new(false));
    let client = || {
        let mut answers = Vec::new();
        while !is_over.load(Ordering::Relaxed) {
            let id = format!("order-{}", next_id.fetch_add(1, Ordering::Relaxed));
            let answer = http::send(
                address,
                "POST",
                "/orders",
                &[("X-Order", &id)],
                b"one of each",
            );
            answers.push((id, answer));
        }
        answers
    };
    let answers: Vec<_> = thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS).map(|_| scope.spawn(client)).collect();
        thread::sleep(Duration::from_secs(1));
        let kill = killed.kill();
        thread::sleep(Duration::from_secs(2));
        is_over.store(true, Ordering::Relaxed);
        let answers = clients
            .into_iter()
            .filter_map(|client| client.join().ok())
            .flatten();
        kill.map(|()| answers.collect::<Vec<_>>())
    })?;

    let mut executed: HashMap<String, usize> = HashMap::new();
    for endpoint in [&killed, &other] {
        for id in String::from_utf8(endpoint.record("orders"))?.lines() {
            *executed.entry(id.to_owned()).or_default() += 1;
        }
    }
    let mut cut = 0;
    for (id, answer) in answers {
        let times = executed.get(&id).copied().unwrap_or(0);
        ensure!(times <= 1, "{id} was executed {times} times");
        match answer?.ended()? {
            Ended::Executed => ensure!(times == 1, "{id} was confirmed and never executed"),
            Ended::Cut => cut += 1,
        }
    }
    ensure!(cut > 0, "the kill found no order in hand");
    ensure!(
        cut <= CLIENTS,
        "{cut} orders failed, more than were in hand"
    );
    Ok(())
}

enum Ended {
    Executed,
    Cut,
}

impl Answer {
    /// True if it says that an endpoint did not answer in time. Most such requests move to
    /// another endpoint; when many are stuck at once, the retry budget lets some of them fail.
    fn is_time_out(&self) -> bool {
        let reason = self.field("Proxy-Status").unwrap_or_default();
        self.status == 504 && reason.contains("error=http_response_timeout")
    }

    /// What an order came to; anything but 200, or 502 with its reason, is an error.
    fn ended(&self) -> Result<Ended> {
        if self.status == 200 {
            return Ok(Ended::Executed);
        }
        ensure!(self.status == 502, "status {}", self.status);
        let reason = self.field("Proxy-Status").unwrap_or_default();
        ensure!(
            reason.contains("error="),
            "502 with Proxy-Status {reason:?}"
        );
        Ok(Ended::Cut)
    }
}

/// By a policy that is blind to latency, so that the passive rule has to find it.
pub(super) fn a_frozen_endpoint_costs_its_time_out_and_is_taken_out(lab: &Lab) -> Result<()> {
    freeze(lab, "policy = \"least_request\"", |balancer, frozen, _| {
        balancer.is_in(frozen).is_ok_and(|is_in| !is_in)
    })
}

/// By the default policy, which sees that nothing is answered there: it may never come to five
/// failures in a row.
pub(super) fn a_frozen_endpoint_costs_its_time_out_and_is_relieved(lab: &Lab) -> Result<()> {
    let begun = Instant::now();
    // By then whoever met it has moved on.
    freeze(lab, "", |_, _, other| {
        begun.elapsed() > 2 * TIME_OUT && other.request_count() > 100 * CLIENTS
    })
}

fn freeze(
    lab: &Lab,
    policy: &str,
    is_relieved: impl Fn(&Balancer, &Endpoint, &Endpoint) -> bool,
) -> Result<()> {
    let frozen = Endpoint::start(lab, Server::Nginx, "1")?;
    let other = Endpoint::start(lab, Server::Nginx, "2")?;
    // Without active checks: live traffic alone must show it.
    let settings = format!("check = \"off\"\ntimeouts = {{ response = \"1s\" }}\n{policy}");
    let balancer = Balancer::start(lab, &[&frozen, &other], &settings)?;
    let requests_before = frozen.request_count();
    frozen.freeze()?;

    let is_over = AtomicBool::new(false);
    let client = || {
        let mut slow = Vec::new();
        while !is_over.load(Ordering::Relaxed) {
            let start = Instant::now();
            let answer = http::get(balancer.address, "/name");
            let took = start.elapsed();
            let problem = match answer {
                Ok(answer) if answer.status == 200 || answer.is_time_out() => None,
                Ok(answer) => Some(format!(
                    "{} {:?}",
                    answer.status,
                    answer.field("Proxy-Status")
                )),
                Err(error) => Some(error.to_string()),
            };
            if problem.is_some() || took > TIME_OUT / 2 {
                slow.push((problem, took));
            }
        }
        slow
    };
    let (is_relieved, comes_back, slow) = thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS).map(|_| scope.spawn(client)).collect();
        let is_relieved = wait_until(Duration::from_secs(4), || {
            is_relieved(&balancer, &frozen, &other)
        });
        let thawed = frozen.thaw();
        // What waited in its sockets is answered at once; traffic is what comes after that.
        let comes_back = wait_until(Duration::from_secs(10), || {
            balancer.is_in(&frozen).unwrap_or(false)
                && frozen.request_count() > requests_before + 10 * CLIENTS
        });
        is_over.store(true, Ordering::Relaxed);
        let slow = clients
            .into_iter()
            .filter_map(|client| client.join().ok())
            .flatten();
        thawed.map(|()| (is_relieved, comes_back, slow.collect::<Vec<_>>()))
    })?;

    ensure!(is_relieved, "it is not relieved after 4 s");
    ensure!(!slow.is_empty(), "no request met the frozen endpoint");
    let wrong = slow
        .iter()
        .find_map(|(problem, took)| Some((problem.as_ref()?, took)));
    if let Some((problem, took)) = wrong {
        bail!("a request failed after {took:?}: {problem}");
    }
    let longest = slow.iter().map(|(_, took)| *took).max().unwrap_or_default();
    ensure!(longest < TIME_OUT + SLACK, "one took {longest:?}");
    // Each client was caught at most once before the fifth failure, and once by a request that
    // tests whether the endpoint is back.
    ensure!(
        slow.len() <= 2 * CLIENTS,
        "{} requests were slow",
        slow.len()
    );
    ensure!(comes_back, "no traffic within 10 s of the thaw");
    Ok(())
}

const CURLS: usize = 4;
const REQUESTS_PER_CURL: usize = 800;
const CLIENTS: usize = 8;
const TIME_OUT: Duration = Duration::from_secs(1);
/// What a busy machine may add to a time-out.
const SLACK: Duration = Duration::from_millis(500);
