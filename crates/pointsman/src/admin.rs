//! Asks the admin API of a running Pointsman.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use serde::Deserialize;

/// For each of connect, write and read.
const TIMEOUT: Duration = Duration::from_secs(2);

/// Longest answer: a pool of 10,000 endpoints takes about 50 MB with all their transitions.
const ANSWER_BYTES_MAX: u64 = 256 << 20;

/// `GET /status`, as far as it is shown.
#[derive(Debug, Deserialize)]
pub(crate) struct Status {
    pub(crate) version: String,
    pub(crate) uptime_seconds: f64,
    pub(crate) workers: usize,
    pub(crate) listeners: Vec<ListenerStatus>,
    pub(crate) pools: Vec<PoolStatus>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct ListenerStatus {
    pub(crate) name: String,
    pub(crate) addresses: Vec<String>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct PoolStatus {
    pub(crate) name: String,
    pub(crate) policy: String,
    pub(crate) requests_queued: u32,
    pub(crate) retries: u64,
    pub(crate) hedges: u64,
    pub(crate) hedges_won: u64,
    pub(crate) sticky_hits: u64,
    pub(crate) sticky_misses: u64,
    pub(crate) circuit_open: u64,
    pub(crate) endpoints: Vec<EndpointStatus>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct EndpointStatus {
    pub(crate) name: String,
    pub(crate) tier: u8,
    pub(crate) zone: Option<String>,
    pub(crate) effective_weight: f64,
    pub(crate) slow_start: Option<f64>,
    pub(crate) max_requests: Option<u32>,
    pub(crate) requests_in_flight: u32,
    pub(crate) requests: u64,
    pub(crate) admin_state: String,
    pub(crate) state: String,
    pub(crate) ejected: bool,
    pub(crate) agent_down: bool,
    pub(crate) load: String,
    pub(crate) utilization: Option<f64>,
    pub(crate) sessions: Option<usize>,
    pub(crate) drain_seconds_left: Option<f64>,
    pub(crate) last_probe: Option<ProbeStatus>,
    /// Newest first.
    pub(crate) transitions: Vec<TransitionStatus>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct ProbeStatus {
    pub(crate) latency_seconds: f64,
    pub(crate) outcome: String,
}

#[derive(Debug, Deserialize)]
pub(crate) struct TransitionStatus {
    pub(crate) time: String,
    pub(crate) from: String,
    pub(crate) to: String,
    pub(crate) cause: String,
}

/// The status of the Pointsman whose admin API is at `address`.
pub(crate) fn status(address: SocketAddr) -> Result<Status> {
    read_status(&get(address, "/status")?)
}

pub(crate) fn read_status(body: &str) -> Result<Status> {
    serde_json::from_str(body).context("the answer is no status of this version")
}

/// The body of a page.
pub(crate) fn get(address: SocketAddr, path: &str) -> Result<String> {
    let answer = exchange(address, path).map_err(|error| match error.kind() {
        ErrorKind::ConnectionRefused => anyhow!(
            "nothing listens on {address}; is Pointsman running, and is this its `admin.bind`? \
             `--admin` names another address"
        ),
        ErrorKind::TimedOut | ErrorKind::WouldBlock => {
            anyhow!("no answer from {address} within {} s", TIMEOUT.as_secs())
        }
        _ => anyhow!("cannot ask {address}: {error}"),
    })?;
    let Some((head, body)) = answer.split_once("\r\n\r\n") else {
        bail!("what listens on {address} does not speak HTTP");
    };
    let status = head.lines().next().unwrap_or_default();
    if status.split(' ').nth(1) != Some("200") {
        bail!("{address} answers {path} with `{status}`; is that the admin API of Pointsman?");
    }
    Ok(body.to_owned())
}

/// HTTP/1.0, so that the answer ends with the connection and is never chunked.
fn exchange(address: SocketAddr, path: &str) -> io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, TIMEOUT)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    stream.write_all(format!("GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n").as_bytes())?;
    let mut answer = Vec::new();
    stream.take(ANSWER_BYTES_MAX).read_to_end(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use testkit::{Endpoint, Peer, Reply};

    fn address(endpoint: &Endpoint) -> SocketAddr {
        match endpoint.peer() {
            Peer::Tcp(address) => *address,
            Peer::Unix(path) => panic!("{path:?} is no TCP address"),
        }
    }

    #[test]
    fn where_nothing_listens_the_error_says_what_to_look_for() {
        let endpoint = Endpoint::start(|_| Reply::ok(""));
        let address = address(&endpoint);
        drop(endpoint);
        let error = get(address, "/status").expect_err("nobody is there");
        let text = error.to_string();
        assert!(text.contains("nothing listens on 127.0.0.1:"), "{text}");
        assert!(text.contains("--admin"), "{text}");
    }

    #[test]
    fn an_answer_that_is_no_page_of_ours_is_an_error() {
        let other = Endpoint::start(|_| Reply::status(404));
        let error = get(address(&other), "/status").expect_err("it is not there");
        assert!(error.to_string().contains("404"), "{error}");

        let garbage = Endpoint::start(|_| Reply::ok("{}"));
        let error = status(address(&garbage)).expect_err("it is no status");
        assert!(error.to_string().contains("no status"), "{error}");
    }
}
