//! Redis by TCP: commands, subscriptions, and a server that is killed.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use super::Lab;
use super::balancer::Plan;
use super::client::output_of;
use super::endpoint::Endpoint;
use super::server::Server;
use crate::process::wait_until;

pub(super) fn redis_cli_and_redis_benchmark_see_no_error(lab: &Lab) -> Result<()> {
    let server = Endpoint::start(lab, Server::Redis, "1")?;
    let balancer = Plan::tcp(&[server.address]).start(lab)?;
    for (words, answer) in [
        (&["PING"][..], "PONG\n"),
        (&["SET", "key", "a value"], "OK\n"),
        (&["GET", "key"], "a value\n"),
    ] {
        let got = cli(lab, balancer.address, words)?;
        ensure!(got == answer, "{words:?}: {got}");
    }
    let mut command = Command::new(lab.tools.path("redis-benchmark")?);
    command
        .args(["-h", "127.0.0.1", "-p"])
        .arg(balancer.address.port().to_string())
        .args(["-n", "20000", "-c", "50", "-P", "4", "-d", "1000", "-q"])
        .args(["-t", "set,get"]);
    let report = output_of(&mut command)?;
    let is_done = report.contains("SET: ") && report.contains("GET: ");
    ensure!(is_done && !report.contains("Error"), "{report}");
    Ok(())
}

pub(super) fn redis_answers_ten_thousand_commands_sent_at_once(lab: &Lab) -> Result<()> {
    let server = Endpoint::start(lab, Server::Redis, "1")?;
    let balancer = Plan::tcp(&[server.address]).start(lab)?;
    let mut client = Client::connect(balancer.address)?;

    let mut large = vec![0; 1024 * 1024];
    fastrand::Rng::with_seed(1).fill(&mut large);
    ensure!(client.ask(&[b"SET", b"large", &large])? == b"OK", "SET");
    ensure!(client.ask(&[b"GET", b"large"])? == large, "GET differs");

    client.send(&command(&[b"INCR", b"count"]).repeat(COMMANDS))?;
    for number in 1..=COMMANDS {
        let answer = client.receive()?;
        ensure!(
            answer == number.to_string().as_bytes(),
            "answer {number} is {}",
            answer.escape_ascii()
        );
    }
    Ok(())
}

pub(super) fn a_killed_redis_costs_no_new_connection_and_no_other_flow(lab: &Lab) -> Result<()> {
    let mut killed = Endpoint::start(lab, Server::Redis, "1")?;
    let other = Endpoint::start(lab, Server::Redis, "2")?;
    let balancer = Plan::tcp(&[killed.address, other.address]).start(lab)?;

    // Subscribers through the load balancer, until each server has one.
    let (mut hears_killed, mut hears_other) = (None, None);
    for _ in 0..SUBSCRIBERS_MAX {
        let mut client = Client::connect(balancer.address)?;
        let port = client.port_of_server()?;
        client.subscribe()?;
        if port == killed.address.port() {
            hears_killed = Some(client);
        } else {
            hears_other = Some(client);
        }
        if hears_killed.is_some() && hears_other.is_some() {
            break;
        }
    }
    let mut hears_killed = hears_killed.context("all connections go to the second server")?;
    let mut hears_other = hears_other.context("all connections go to the first server")?;
    for (server, subscriber) in [(&killed, &mut hears_killed), (&other, &mut hears_other)] {
        publish(lab, server, "before")?;
        ensure!(subscriber.hear()? == b"before", "another message");
    }

    killed.kill()?;
    for number in 0..CONNECTIONS {
        let port = Client::connect(balancer.address)
            .and_then(|mut client| client.port_of_server())
            .with_context(|| format!("connection {number} after the kill"))?;
        ensure!(port == other.address.port(), "the dead one answers");
    }
    ensure!(hears_killed.hear().is_err(), "a dead server is heard");
    publish(lab, &other, "after")?;
    ensure!(hears_other.hear()? == b"after", "another message");

    killed.restart(lab)?;
    let mut seen = BTreeSet::new();
    let has_both = || {
        let port = Client::connect(balancer.address).and_then(|mut it| it.port_of_server());
        seen.extend(port);
        seen.len() == 2
    };
    ensure!(
        wait_until(RETURN_PATIENCE, has_both),
        "the one that came back gets no connection"
    );
    Ok(())
}

/// Asks by redis-cli.
pub(super) fn cli(lab: &Lab, address: SocketAddr, words: &[&str]) -> Result<String> {
    let mut command = Command::new(lab.tools.path("redis-cli")?);
    command
        .args(["-h", "127.0.0.1", "-p", &address.port().to_string(), "-e"])
        .args(words);
    output_of(&mut command)
}

/// Publishes at `server` itself, where one subscriber must be.
fn publish(lab: &Lab, server: &Endpoint, message: &str) -> Result<()> {
    let heard_by = cli(lab, server.address, &["PUBLISH", CHANNEL, message])?;
    ensure!(heard_by == "1\n", "{message}: heard by {heard_by}");
    Ok(())
}

/// A connection to a server, which speaks as much of RESP as is needed here.
struct Client {
    stream: BufReader<TcpStream>,
}

impl Client {
    fn connect(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(Self {
            stream: BufReader::new(stream),
        })
    }

    fn send(&self, bytes: &[u8]) -> Result<()> {
        Ok(self.stream.get_ref().write_all(bytes)?)
    }

    /// Sends a command and returns its answer.
    fn ask(&mut self, words: &[&[u8]]) -> Result<Vec<u8>> {
        self.send(&command(words))?;
        self.receive()
    }

    /// Which server this leads to.
    fn port_of_server(&mut self) -> Result<u16> {
        self.send(&command(&[b"CONFIG", b"GET", b"port"]))?;
        let [_, port] = self.receive_many()?;
        Ok(String::from_utf8(port)?.parse()?)
    }

    fn subscribe(&mut self) -> Result<()> {
        self.send(&command(&[b"SUBSCRIBE", CHANNEL.as_bytes()]))?;
        let [kind, _, _] = self.receive_many()?;
        ensure!(kind == b"subscribe", "{}", kind.escape_ascii());
        Ok(())
    }

    /// The next message that is published.
    fn hear(&mut self) -> Result<Vec<u8>> {
        let [_, _, message] = self.receive_many()?;
        Ok(message)
    }

    fn receive_many<const COUNT: usize>(&mut self) -> Result<[Vec<u8>; COUNT]> {
        let line = self.line()?;
        ensure!(line == format!("*{COUNT}"), "not {COUNT} values: {line}");
        let mut values = [const { Vec::new() }; COUNT];
        for value in &mut values {
            *value = self.receive()?;
        }
        Ok(values)
    }

    /// One value: a string, a number, or a string with its length before it.
    fn receive(&mut self) -> Result<Vec<u8>> {
        let line = self.line()?;
        match line.split_at_checked(1) {
            Some(("+" | ":", value)) => Ok(value.as_bytes().to_vec()),
            Some(("$", length)) => {
                let length: usize = length.parse()?;
                let mut value = vec![0; length + 2];
                self.stream.read_exact(&mut value)?;
                value.truncate(length);
                Ok(value)
            }
            _ => bail!("an unexpected answer: {line}"),
        }
    }

    fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        ensure!(
            self.stream.read_line(&mut line)? > 0,
            "the connection ended"
        );
        Ok(line.trim_end().to_owned())
    }
}

/// A command as it is sent.
fn command(words: &[&[u8]]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", words.len()).into_bytes();
    for word in words {
        bytes.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
        bytes.extend_from_slice(word);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes
}

const COMMANDS: usize = 10_000;
const CONNECTIONS: usize = 300;
const CHANNEL: &str = "news";
/// With two servers and any policy that uses both, all go to one of them by chance once in a
/// million times.
const SUBSCRIBERS_MAX: usize = 20;
const PATIENCE: Duration = Duration::from_secs(5);
/// Probes of an endpoint that is down become rarer, up to one in ten seconds.
const RETURN_PATIENCE: Duration = Duration::from_secs(20);
