//! WebSockets: Autobahn's fuzzing client, and the echo server of `websockets`.

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use super::Lab;
use super::balancer::Plan;
use super::client::output_of;
use super::peer::Peer;
use super::python;

/// What became of a case, as Autobahn's report has it.
#[derive(Debug, Deserialize)]
struct Outcome {
    behavior: String,
    #[serde(rename = "behaviorClose")]
    behavior_close: String,
}

impl Outcome {
    /// Whether a case is OK or NON-STRICT is a matter of which bytes come when, and differs from
    /// run to run.
    fn passes(&self) -> bool {
        ["OK", "NON-STRICT", "INFORMATIONAL"].contains(&self.behavior.as_str())
            && ["OK", "INFORMATIONAL"].contains(&self.behavior_close.as_str())
    }
}

type Outcomes = BTreeMap<String, Outcome>;

/// Every case that passes directly must pass through the load balancer too.
pub(super) fn autobahn_passes_through_us_what_passes_directly(lab: &Lab) -> Result<()> {
    let server = start_echo(lab)?;
    let balancer = Plan::to(&[server.address]).start(lab)?;
    let direct = autobahn(lab, server.address)?;
    let through = autobahn(lab, balancer.address)?;
    let passed = direct.values().filter(|outcome| outcome.passes()).count();
    ensure!(passed > 250, "only {passed} pass directly: {direct:?}");
    let broken: Vec<String> = direct
        .iter()
        .filter(|(_, outcome)| outcome.passes())
        .filter(|(case, _)| !through.get(*case).is_some_and(Outcome::passes))
        .map(|(case, _)| format!("{case}: {:?}", through.get(case)))
        .collect();
    ensure!(broken.is_empty(), "{}", broken.join("; "));
    Ok(())
}

/// Runs the cases against the server at `address`.
fn autobahn(lab: &Lab, address: SocketAddr) -> Result<Outcomes> {
    ensure!(lab.tools.has("wstest"), "Autobahn is not installed");
    let folder = tempfile::tempdir()?;
    let spec = serde_json::json!({
        "outdir": folder.path(),
        "servers": [{ "agent": "server", "url": format!("ws://{address}") }],
        "cases": CASES,
        "exclude-cases": [],
        "exclude-agent-cases": {},
    });
    let file = folder.path().join("spec.json");
    fs::write(&file, spec.to_string())?;
    let mut command = python::wstest()?;
    output_of(command.args(["-m", "fuzzingclient", "-s"]).arg(file))?;
    let report = fs::read(folder.path().join("index.json")).context("Autobahn's report")?;
    let mut report: BTreeMap<String, Outcomes> = serde_json::from_slice(&report)?;
    report.remove("server").context("no case was run")
}

/// An echo server that is strict about frames.
pub(super) fn start_echo(lab: &Lab) -> Result<Peer> {
    Peer::start(|address, _| {
        let mut command = Command::new(lab.tools.path("grpcio")?);
        command
            .arg(python::script("websocket_echo.py"))
            .arg(address.port().to_string());
        Ok(command)
    })
}

/// All that are about the protocol; of those about speed (9) and compression (12, 13), which take
/// minutes, the first few.
const CASES: &[&str] = &[
    "1.*", "2.*", "3.*", "4.*", "5.*", "6.*", "7.*", "10.*", "9.1.1", "9.1.2", "9.1.3", "9.2.1",
    "9.2.2", "9.2.3", "9.3.1", "9.4.1", "12.1.1", "12.1.2", "13.1.1", "13.2.1",
];
