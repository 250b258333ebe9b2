//! Servers that are frozen: the kernel still accepts connections for them, so only a check that
//! speaks their protocol finds out.

use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::Lab;
use super::balancer::{Balancer, Plan};
use super::client::{curl_mail, output_of};
use super::dns::dig;
use super::endpoint::Endpoint;
use super::postgres::psql;
use super::redis::cli;
use super::server::Server;
use crate::process::wait_until;

pub(super) fn a_frozen_redis_is_found_by_its_check(lab: &Lab) -> Result<()> {
    freeze(lab, Server::Redis, "redis", |address| {
        let got = cli(lab, address, &["PING"])?;
        ensure!(got == "PONG\n", "{got}");
        Ok(())
    })
}

pub(super) fn a_frozen_postgres_is_found_by_its_check(lab: &Lab) -> Result<()> {
    freeze(lab, Server::Postgres, "postgres", |address| {
        let got = psql(lab, address, &["SELECT 6 * 7"])?;
        ensure!(got == "42\n", "{got}");
        Ok(())
    })
}

pub(super) fn a_frozen_mariadb_is_found_by_its_check(lab: &Lab) -> Result<()> {
    freeze(lab, Server::MariaDb, "mysql", |address| {
        let mut command = Command::new(lab.tools.path("mariadb")?);
        command
            .args(["--no-defaults", "-h", "127.0.0.1", "-P"])
            .arg(address.port().to_string())
            .args(["-u", "root", "--skip-column-names", "-e", "SELECT 6 * 7"]);
        let got = output_of(&mut command)?;
        ensure!(got == "42\n", "{got}");
        Ok(())
    })
}

pub(super) fn a_frozen_mail_server_is_found_by_its_check(lab: &Lab) -> Result<()> {
    freeze(lab, Server::Smtp, "smtp", |address| curl_mail(lab, address))
}

pub(super) fn a_frozen_dns_server_is_found_by_its_check(lab: &Lab) -> Result<()> {
    freeze(lab, Server::Dns, "dns", |address| {
        let got = dig(lab, address, &["+tries=1", "+time=1"])?;
        ensure!(!got.is_empty(), "no answer");
        Ok(())
    })
}

/// Freezes one of two servers until its check finds it, and again until it is back. `ask` talks
/// to one of them through the load balancer, and may not fail whenever the check says who is up.
fn freeze(
    lab: &Lab,
    server: Server,
    check: &str,
    ask: impl Fn(SocketAddr) -> Result<()>,
) -> Result<()> {
    let frozen = Endpoint::start(lab, server, "1")?;
    let other = Endpoint::start(lab, server, "2")?;
    let plan = Plan::tcp(&[frozen.address, other.address])
        .pool(&format!("check = \"{check}\""))
        .pool("policy = \"round_robin\"");
    let plan = match server {
        Server::Dns => plan.and_udp("udp = { replies = 1 }"),
        _ => plan,
    };
    let balancer = plan.start(lab)?;
    let ask_often = |when| (0..4).try_for_each(|_| ask(balancer.address)).context(when);
    ask_often("while all is well")?;
    frozen.freeze()?;
    ensure!(turns(&balancer, &frozen, false), "it is still in");
    ask_often("while one is frozen")?;
    frozen.thaw()?;
    ensure!(turns(&balancer, &frozen, true), "it does not come back");
    ask_often("when it is back")
}

/// Waits until `endpoint` is in, or out. False if it does not become so.
fn turns(balancer: &Balancer, endpoint: &Endpoint, is_in: bool) -> bool {
    wait_until(PATIENCE, || {
        balancer.is_in(endpoint).is_ok_and(|now| now == is_in)
    })
}

/// Three failed checks take 5 s, and two successes as long at most, since it is not down for long.
const PATIENCE: Duration = Duration::from_secs(15);
