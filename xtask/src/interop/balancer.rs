//! The release build, running on a configuration file.

use std::fs::{self, File};
use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::Value;
use tempfile::TempDir;

use super::Lab;
use super::endpoint::Endpoint;
use crate::http;
use crate::process::{Program, wait_until};
use crate::socket;

/// A running load balancer with one pool.
pub(crate) struct Balancer {
    pub(crate) address: SocketAddr,
    pub(crate) program: Program,
    admin: SocketAddr,
    folder: TempDir,
}

/// What a load balancer is to do: one listener, one pool, and a route between them if that is
/// what the listener needs.
#[derive(Default)]
pub(crate) struct Plan {
    /// Where the pool's endpoints listen.
    endpoints: Vec<SocketAddr>,
    /// Lines for the listener.
    listener: String,
    /// Lines for a listener of UDP at the same address and port, if there is one.
    udp: Option<String>,
    /// Lines for the pool.
    pool: String,
    /// Whole tables.
    more: String,
}

impl Plan {
    /// HTTP to these endpoints, and defaults.
    pub(crate) fn to(endpoints: &[SocketAddr]) -> Self {
        let route = "\n[[routes]]\npool = \"app\"\n";
        Self::bare(endpoints).more(route)
    }

    /// A listener and a pool of these endpoints, without a route.
    fn bare(endpoints: &[SocketAddr]) -> Self {
        Self {
            endpoints: endpoints.to_vec(),
            ..Self::default()
        }
    }

    /// Bytes to these endpoints, and defaults.
    pub(crate) fn tcp(endpoints: &[SocketAddr]) -> Self {
        Self::bare(endpoints).listener("protocol = \"tcp\"\npool = \"app\"")
    }

    /// Adds a listener of UDP with these lines, at the same address and port.
    pub(crate) fn and_udp(mut self, lines: &str) -> Self {
        self.udp = Some(lines.to_owned());
        self
    }

    /// Adds a line to the listener.
    pub(crate) fn listener(mut self, line: &str) -> Self {
        self.listener += &format!("{line}\n");
        self
    }

    /// Adds a line to the pool.
    pub(crate) fn pool(mut self, line: &str) -> Self {
        self.pool += &format!("{line}\n");
        self
    }

    /// Adds tables.
    pub(crate) fn more(mut self, tables: &str) -> Self {
        self.more += tables;
        self
    }

    /// Starts it and waits until all endpoints are in.
    pub(crate) fn start(self, lab: &Lab) -> Result<Balancer> {
        let mut balancer = self.start_unchecked(lab)?;
        if !wait_until(START_PATIENCE, || balancer.are_all_in().unwrap_or(false)) {
            bail!("the endpoints do not come up\n{}", balancer.log());
        }
        balancer.expect_running()?;
        Ok(balancer)
    }

    /// Starts it, whatever endpoints are like.
    pub(crate) fn start_unchecked(self, lab: &Lab) -> Result<Balancer> {
        let folder = tempfile::tempdir()?;
        let (address, admin) = (socket::free_address()?, socket::free_address()?);
        let addresses = self.endpoints.iter();
        let addresses: Vec<String> = addresses.map(|address| format!("\"{address}\"")).collect();
        let udp = self.udp.map(|lines| {
            format!(
                "[listeners.udp]\nbind = \"{address}\"\nprotocol = \"udp\"\npool = \"app\"\n{lines}\n"
            )
        });
        let config = format!(
            "[admin]
bind = \"{admin}\"

[listeners.web]
bind = \"{address}\"
{}
{}
[pools.app]
endpoints = [{}]
{}
{}",
            self.listener,
            udp.unwrap_or_default(),
            addresses.join(", "),
            self.pool,
            self.more,
        );
        let file = folder.path().join("pointsman.toml");
        fs::write(&file, config)?;
        let mut command = Command::new(&lab.tools.pointsman);
        command.args(["run", "--config"]).arg(file);
        Balancer::start_command(command, address, admin, folder)
    }
}

impl Balancer {
    /// Starts it before `endpoints`. `settings` are more lines for the pool.
    pub(crate) fn start(lab: &Lab, endpoints: &[&Endpoint], settings: &str) -> Result<Self> {
        let addresses: Vec<SocketAddr> =
            endpoints.iter().map(|endpoint| endpoint.address).collect();
        Plan::to(&addresses).pool(settings).start(lab)
    }

    /// Starts `command`, which makes it listen on `address` and `admin`.
    fn start_command(
        mut command: Command,
        address: SocketAddr,
        admin: SocketAddr,
        folder: TempDir,
    ) -> Result<Self> {
        let log = File::create(folder.path().join("log"))?;
        command
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        let program = Program::start(command, None)?;
        let mut balancer = Self {
            address,
            program,
            admin,
            folder,
        };
        if !wait_until(START_PATIENCE, || balancer.endpoints().is_ok()) {
            bail!("it does not start\n{}", balancer.log());
        }
        balancer.expect_running()?;
        Ok(balancer)
    }

    fn expect_running(&mut self) -> Result<()> {
        if let Some(status) = self.program.child().try_wait()? {
            bail!("it ended: {status}\n{}", self.log());
        }
        Ok(())
    }

    /// True if `endpoint` gets traffic: it is up and not ejected.
    pub(crate) fn is_in(&self, endpoint: &Endpoint) -> Result<bool> {
        self.is_address_in(endpoint.address)
    }

    /// True if the endpoint at `address` gets traffic.
    pub(crate) fn is_address_in(&self, address: SocketAddr) -> Result<bool> {
        let address = address.to_string();
        let endpoints = self.endpoints()?;
        let status = endpoints
            .iter()
            .find(|status| status["address"] == address.as_str());
        Ok(is_in(status.with_context(|| {
            format!("/status does not show {address}")
        })?))
    }

    /// What it printed, for a person who looks for the cause of a failure.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    fn are_all_in(&self) -> Result<bool> {
        Ok(self.endpoints()?.iter().all(is_in))
    }

    /// The endpoints of all pools as `/status` shows them.
    fn endpoints(&self) -> Result<Vec<Value>> {
        let answer = http::get(self.admin, "/status")?;
        let status: Value = serde_json::from_slice(&answer.body)?;
        let pools = status["pools"].as_array().context("/status has no pools")?;
        let endpoints = pools.iter().filter_map(|pool| pool["endpoints"].as_array());
        Ok(endpoints.flatten().cloned().collect())
    }
}

fn is_in(endpoint: &Value) -> bool {
    endpoint["availability"] == "up" && endpoint["ejected"] == false
}

const START_PATIENCE: Duration = Duration::from_secs(10);
