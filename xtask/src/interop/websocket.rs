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
#[derive(Debug, PartialEq, Eq, Deserialize)]
struct Outcome {
    behavior: String,
    #[serde(rename = "behaviorClose")]
    behavior_close: String,
}

type Outcomes = BTreeMap<String, Outcome>;

/// Every case that passes directly must pass through the load balancer too, as well.
pub(super) fn autobahn_finds_no_difference_to_a_direct_connection(lab: &Lab) -> Result<()> {
    let server = start_echo(lab)?;
    let balancer = Plan::to(&[server.address]).start(lab)?;
    let direct = autobahn(lab, server.address)?;
    let through = autobahn(lab, balancer.address)?;
    ensure!(direct.len() > 250, "only {} cases were run", direct.len());
    let passed = direct.values().filter(|outcome| outcome.behavior == "OK");
    ensure!(passed.count() > 230, "the server itself fails: {direct:?}");
    let differing: Vec<String> = direct
        .iter()
        .filter(|(case, outcome)| through.get(*case) != Some(outcome))
        .map(|(case, outcome)| format!("{case}: {outcome:?}, through: {:?}", through.get(case)))
        .collect();
    ensure!(differing.is_empty(), "{}", differing.join("; "));
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
