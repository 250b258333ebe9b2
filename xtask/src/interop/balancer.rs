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

impl Balancer {
    /// Starts it before `endpoints`. `settings` are more lines for the pool.
    pub(crate) fn start(lab: &Lab, endpoints: &[&Endpoint], settings: &str) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let (address, admin) = (socket::free_address()?, socket::free_address()?);
        let addresses: Vec<String> = endpoints
            .iter()
            .map(|endpoint| format!("\"{}\"", endpoint.address))
            .collect();
        let config = format!(
            "[admin]
bind = \"{admin}\"

[listeners.web]
bind = \"{address}\"

[pools.app]
endpoints = [{}]
{settings}

[[routes]]
pool = \"app\"
",
            addresses.join(", ")
        );
        let file = folder.path().join("pointsman.toml");
        fs::write(&file, config)?;
        let mut command = Command::new(&lab.tools.pointsman);
        command.args(["run", "--config"]).arg(file);
        Self::start_command(command, address, admin, folder)
    }

    /// Starts `command`, which makes it listen on `address` and `admin`.
    pub(crate) fn start_command(
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
        if !wait_until(START_PATIENCE, || balancer.are_all_in().unwrap_or(false)) {
            bail!("the endpoints do not come up\n{}", balancer.log());
        }
        if let Some(status) = balancer.program.child().try_wait()? {
            bail!("it ended: {status}\n{}", balancer.log());
        }
        Ok(balancer)
    }

    /// True if `endpoint` gets traffic: it is up and not ejected.
    pub(crate) fn is_in(&self, endpoint: &Endpoint) -> Result<bool> {
        let address = endpoint.address.to_string();
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
