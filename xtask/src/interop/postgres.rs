//! PostgreSQL by TCP.

use std::collections::BTreeSet;
use std::fs;
use std::net::SocketAddr;
use std::process::Command;
use std::thread;
use std::time::Duration;

use anyhow::{Result, bail, ensure};

use super::Lab;
use super::balancer::Plan;
use super::client::output_of;
use super::endpoint::Endpoint;
use super::server::Server;
use crate::process::wait_until;

pub(super) fn psql_reaches_both_of_two_servers(lab: &Lab) -> Result<()> {
    let servers = [
        Endpoint::start(lab, Server::Postgres, "1")?,
        Endpoint::start(lab, Server::Postgres, "2")?,
    ];
    let addresses = servers.each_ref().map(|server| server.address);
    let balancer = Plan::tcp(&addresses)
        .pool("policy = \"round_robin\"\ncheck = \"postgres\"")
        .start(lab)?;
    let mut seen = BTreeSet::new();
    for _ in 0..4 {
        seen.insert(psql(lab, balancer.address, &["SHOW port"])?);
    }
    ensure!(seen.len() == 2, "only {seen:?}");
    Ok(())
}

pub(super) fn psql_copies_16_mib_both_ways(lab: &Lab) -> Result<()> {
    let server = Endpoint::start(lab, Server::Postgres, "1")?;
    let balancer = Plan::tcp(&[server.address]).start(lab)?;
    let mut random = fastrand::Rng::with_seed(1);
    let line = |number| format!("{number}\t{}\n", random.u128(..).to_string().repeat(8));
    let table: String = (0..ROWS).map(line).collect();
    ensure!(table.len() > 16 * 1024 * 1024, "{} bytes", table.len());
    let folder = tempfile::tempdir()?;
    let (there, back) = (folder.path().join("there"), folder.path().join("back"));
    fs::write(&there, &table)?;
    psql(
        lab,
        balancer.address,
        &[
            "CREATE TABLE copies (number integer, text text)",
            &format!("\\copy copies from '{}'", there.display()),
            &format!(
                "\\copy (select * from copies order by number) to '{}'",
                back.display()
            ),
        ],
    )?;
    ensure!(fs::read_to_string(&back)? == table, "the copy differs");
    Ok(())
}

pub(super) fn psql_is_notified_by_another_psql(lab: &Lab) -> Result<()> {
    let server = Endpoint::start(lab, Server::Postgres, "1")?;
    let balancer = Plan::tcp(&[server.address]).start(lab)?;
    let address = balancer.address;
    thread::scope(|scope| {
        // psql looks for notifications after each command.
        let wait = "SELECT pg_sleep(0.1)";
        let commands = [&["LISTEN news"][..], &[wait; 30]].concat();
        let listener = scope.spawn(move || psql(lab, address, &commands));
        let listens = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(0.1)'";
        let is_listening =
            || psql(lab, server.address, &[listens]).is_ok_and(|count| count == "1\n");
        ensure!(wait_until(PATIENCE, is_listening), "nobody listens");
        psql(lab, address, &["NOTIFY news, 'it rains'"])?;
        let Ok(heard) = listener.join() else {
            bail!("the listener panicked");
        };
        let heard = heard?;
        ensure!(heard.contains("\"it rains\""), "heard: {heard}");
        Ok(())
    })
}

pub(super) fn pgbench_sees_no_error_on_8_connections(lab: &Lab) -> Result<()> {
    let server = Endpoint::start(lab, Server::Postgres, "1")?;
    let balancer = Plan::tcp(&[server.address]).start(lab)?;
    let bench = |arguments: &[&str]| {
        let mut command = Command::new(lab.tools.path("pgbench")?);
        command.args(arguments).args(["-h", "127.0.0.1", "-p"]);
        command.arg(balancer.address.port().to_string());
        output_of(command.args(["-U", "postgres", "postgres"]))
    };
    bench(&["-i", "-q"])?;
    // Once on connections that stay, once with a new one for each transaction.
    for more in [&[][..], &["-C"]] {
        let report = bench(&[&["-n", "-c", "8", "-t", "50"], more].concat())?;
        let all = "number of transactions actually processed: 400/400";
        let none = "number of failed transactions: 0 ";
        ensure!(report.contains(all) && report.contains(none), "{report}");
    }
    Ok(())
}

/// What psql prints, without decoration, after these commands on one connection.
pub(super) fn psql(lab: &Lab, address: SocketAddr, commands: &[&str]) -> Result<String> {
    let mut command = Command::new(lab.tools.path("psql")?);
    command
        .args(["-h", "127.0.0.1", "-p", &address.port().to_string()])
        .args(["-U", "postgres", "--no-psqlrc", "--tuples-only"])
        .args(["--no-align", "--quiet"]);
    for text in commands {
        command.args(["-c", text]);
    }
    output_of(&mut command)
}

const ROWS: usize = 60_000;
const PATIENCE: Duration = Duration::from_secs(5);
