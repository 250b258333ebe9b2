//! gRPC, by its Python implementation on both sides.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Result, ensure};
use testkit::Pki;

use super::Lab;
use super::balancer::{Balancer, Plan};
use super::client::output_of;
use super::http2::start_tls;
use super::peer::Peer;
use super::python;
use crate::process::wait_until;

pub(super) fn grpc_calls_of_all_kinds_pass(lab: &Lab) -> Result<()> {
    let pki = Pki::new();
    let server = start_server(lab, "1")?;
    let plan = || Plan::to(&[server.address]).pool("protocol = \"h2\"");
    let clear = plan().listener("h2c = true").start(lab)?;
    let secure = start_tls(lab, &pki, plan())?;
    let ca = pki.ca();
    for (balancer, ca) in [(&clear, None), (&secure, Some(ca.as_path()))] {
        for word in ["kinds", "health", "parallel"] {
            call(lab, balancer, ca, word, None)?;
        }
    }
    Ok(())
}

pub(super) fn grpc_calls_of_one_connection_go_to_all_servers(lab: &Lab) -> Result<()> {
    let servers = [start_server(lab, "1")?, start_server(lab, "2")?];
    let balancer = start(lab, &servers, "")?;
    call(lab, &balancer, None, "balance", None)
}

pub(super) fn grpc_deadlines_and_cancellation_reach_the_server(lab: &Lab) -> Result<()> {
    let server = start_server(lab, "1")?;
    let servers = [server];
    let balancer = start(lab, &servers, "")?;
    for word in ["deadline", "cancel"] {
        call(lab, &balancer, None, word, Some(servers[0].folder()))?;
        let is_cancelled = || servers[0].file("cancelled").contains(word);
        ensure!(
            wait_until(SOON, is_cancelled),
            "{word}: the server works on"
        );
    }
    Ok(())
}

pub(super) fn grpc_health_checks_decide_who_gets_calls(lab: &Lab) -> Result<()> {
    let servers = [start_server(lab, "1")?, start_server(lab, "2")?];
    let check = "check = { grpc = \"\", interval = \"200ms\", fall = 2, rise = 2 }";
    let balancer = start(lab, &servers, check)?;
    let sick = start(lab, &servers[..1], "check = \"off\"")?;
    call(lab, &sick, None, "sick", None)?;
    let is_in = || balancer.is_address_in(servers[0].address).unwrap_or(true);
    ensure!(wait_until(SOON, || !is_in()), "it still gets calls");
    call(lab, &sick, None, "well", None)?;
    ensure!(wait_until(SOON, is_in), "it gets no calls again");
    Ok(())
}

pub(super) fn grpc_clients_are_told_that_no_server_is_there(lab: &Lab) -> Result<()> {
    let mut server = [start_server(lab, "1")?];
    let balancer = start(lab, &server, "")?;
    server[0].program.stop();
    call(lab, &balancer, None, "unavailable", None)
}

fn start(lab: &Lab, servers: &[Peer], pool: &str) -> Result<Balancer> {
    let addresses: Vec<_> = servers.iter().map(|server| server.address).collect();
    let plan = Plan::to(&addresses).pool("protocol = \"h2\"").pool(pool);
    plan.listener("h2c = true").start(lab)
}

fn start_server(lab: &Lab, name: &str) -> Result<Peer> {
    Peer::start(|address, folder| {
        let mut command = Command::new(lab.tools.path("grpcio")?);
        command
            .arg(python::script("grpc_server.py"))
            .args([&address.port().to_string(), name])
            .arg(folder);
        Ok(command)
    })
}

fn call(
    lab: &Lab,
    balancer: &Balancer,
    ca: Option<&Path>,
    word: &str,
    argument: Option<&Path>,
) -> Result<()> {
    let mut command = Command::new(lab.tools.path("grpcio")?);
    command
        .arg(python::script("grpc_client.py"))
        .arg(balancer.address.to_string())
        .arg(ca.unwrap_or(Path::new("")))
        .arg(word)
        .args(argument);
    output_of(&mut command).map(drop)
}

const SOON: Duration = Duration::from_secs(10);
