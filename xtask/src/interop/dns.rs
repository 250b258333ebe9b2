//! DNS by UDP and TCP on one port.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::process::Command;

use anyhow::{Result, ensure};

use super::Lab;
use super::balancer::{Balancer, Plan};
use super::client::output_of;
use super::endpoint::Endpoint;
use super::server::Server;
use crate::process::wait_until;

pub(super) fn dig_gets_answers_from_two_servers_by_udp_and_tcp(lab: &Lab) -> Result<()> {
    let servers = [
        Endpoint::start(lab, Server::Dns, "1")?,
        Endpoint::start(lab, Server::Dns, "2")?,
    ];
    let balancer = start(lab, &servers)?;
    for how in ["+notcp", "+tcp"] {
        let mut seen = BTreeSet::new();
        for _ in 0..QUERIES {
            seen.insert(dig(lab, balancer.address, &[how, "+tries=1"])?);
        }
        let both = BTreeSet::from(["\"1\"\n".to_owned(), "\"2\"\n".to_owned()]);
        ensure!(seen == both, "{how}: {seen:?}");
    }
    Ok(())
}

pub(super) fn dig_gets_all_answers_when_a_server_is_killed(lab: &Lab) -> Result<()> {
    let mut servers = [
        Endpoint::start(lab, Server::Dns, "1")?,
        Endpoint::start(lab, Server::Dns, "2")?,
    ];
    let balancer = start(lab, &servers)?;
    servers[0].kill()?;
    for number in 0..QUERIES {
        // The datagram that finds the dead server is lost: clients of UDP ask again.
        let got = dig(lab, balancer.address, &["+tries=3", "+time=1"])?;
        ensure!(got == "\"2\"\n", "query {number}: {got}");
    }
    servers[0].restart(lab)?;
    let is_back =
        || dig(lab, balancer.address, &["+tries=1", "+time=1"]).is_ok_and(|got| got == "\"1\"\n");
    ensure!(
        wait_until(RETURN_PATIENCE, is_back),
        "the server that came back gets no query"
    );
    Ok(())
}

fn start(lab: &Lab, servers: &[Endpoint; 2]) -> Result<Balancer> {
    let addresses = servers.each_ref().map(|server| server.address);
    Plan::tcp(&addresses)
        .and_udp("udp = { replies = 1 }")
        .pool("check = \"dns\"")
        .start(lab)
}

/// The text of `name.example`, as dig prints it.
pub(super) fn dig(lab: &Lab, address: SocketAddr, options: &[&str]) -> Result<String> {
    let mut command = Command::new(lab.tools.path("dig")?);
    command
        .args(["@127.0.0.1", "-p", &address.port().to_string()])
        .args(["name.example", "TXT", "+short"])
        .args(options);
    output_of(&mut command)
}

const QUERIES: usize = 30;
/// Probes of an endpoint that is down become rarer, up to one in ten seconds.
const RETURN_PATIENCE: std::time::Duration = std::time::Duration::from_secs(20);
