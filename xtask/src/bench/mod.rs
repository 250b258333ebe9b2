//! `cargo xtask bench`: load balancers side by side on this machine.
//!
//! Every peer does the same work in turn, alone on one CPU with one worker, while load and
//! endpoints are on another. Rounds are interleaved and each begins with another peer, so that a
//! slow minute of the machine does not fall on one of them. See `docs/benchmark.md`.
//!
//! Read `scenario` (what is measured), `peer` and `stream` (of whom), `measure` (one run) with
//! `h2load`, `report`.

mod h2load;
mod measure;
pub(crate) mod peer;
pub(crate) mod report;
mod scenario;
mod stream;

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use testkit::Pki;

use crate::process;
pub(crate) use measure::Cpus;
use peer::{PEERS, Peer};
use report::Report;
use scenario::{Protocol, SCENARIOS, Scenario};

/// What the command line asked for.
struct Options {
    scenarios: Vec<&'static Scenario>,
    peers: Vec<Peer>,
    rounds: usize,
    seconds: f64,
    json: Option<PathBuf>,
}

/// Measures and prints. False if any answer was wrong.
pub(crate) fn run(arguments: &[String]) -> Result<bool> {
    if arguments
        .iter()
        .any(|argument| argument == "--help" || argument == "-h")
    {
        println!("{}", help());
        return Ok(true);
    }
    let options = Options::parse(arguments)?;
    let cpus = prepare()?;
    let pki = Pki::new();
    let leaf = pki.server(&["localhost"]);
    let mut report = Report::new(&options.peers, options.rounds, options.seconds);
    for scenario in &options.scenarios {
        if matches!(scenario.protocol, Protocol::Http2 { .. }) && !h2load::is_installed() {
            eprintln!("{} is left out: {}", scenario.name, h2load::MISSING);
            continue;
        }
        let can = |peer: &&Peer| peer.can(scenario.service(), scenario.is_secure());
        let peers: Vec<&Peer> = options.peers.iter().filter(can).collect();
        let rounds = options.rounds.min(scenario.rounds_max());
        for round in 0..rounds {
            for turn in 0..peers.len() {
                let peer = peers[(round + turn) % peers.len()];
                let run = measure::measure(scenario, peer, &leaf, cpus, options.seconds)
                    .with_context(|| format!("{} with {}", scenario.name, peer.kind.name))?;
                eprintln!(
                    "{} round {}: {} {}",
                    scenario.name,
                    round + 1,
                    peer.kind.name,
                    run.line(scenario.figure)
                );
                report.add(scenario, peer, run);
            }
        }
        println!("{}", report.table(scenario));
        if let Some(file) = &options.json {
            let text = serde_json::to_string_pretty(&report.json())?;
            fs::write(file, text).with_context(|| format!("writing {}", file.display()))?;
        }
    }
    Ok(report.is_right())
}

impl Options {
    fn parse(arguments: &[String]) -> Result<Self> {
        let mut scenarios: Vec<&Scenario> = SCENARIOS.iter().collect();
        let mut names: Option<Vec<&str>> = None;
        let mut rounds = 3;
        let mut seconds = 2.0;
        let mut json = None;
        let mut rest = arguments.iter();
        while let Some(option) = rest.next() {
            let mut value = || {
                rest.next()
                    .with_context(|| format!("{option} needs a value"))
            };
            match option.as_str() {
                "--scenarios" => {
                    scenarios = value()?
                        .split(',')
                        .map(scenario::find)
                        .collect::<Result<_>>()?;
                }
                "--peers" => names = Some(value()?.split(',').collect()),
                "--rounds" => rounds = value()?.parse().context("--rounds")?,
                "--seconds" => seconds = value()?.parse().context("--seconds")?,
                "--json" => json = Some(PathBuf::from(value()?)),
                _ => bail!("no such option: {option}\n{}", help()),
            }
        }
        Ok(Self {
            scenarios,
            peers: peers(names.as_deref())?,
            rounds,
            seconds,
            json,
        })
    }
}

/// The peers that were asked for, which must be there, or else all that are.
fn peers(names: Option<&[&str]>) -> Result<Vec<Peer>> {
    let mut peers = Vec::new();
    match names {
        Some(names) => {
            for name in names {
                let kind = PEERS.iter().find(|kind| kind.name == *name);
                let kind = kind.with_context(|| format!("no such peer: {name}"))?;
                let missing =
                    || format!("{name} is not installed (Debian: apt-get install {name})");
                peers.push(kind.locate()?.with_context(missing)?);
            }
        }
        None => {
            for kind in PEERS {
                match kind.locate()? {
                    Some(peer) => peers.push(peer),
                    None => eprintln!("{} is not installed and left out", kind.name),
                }
            }
        }
    }
    Ok(peers)
}

/// Makes this process fit to measure. Returns where things run.
pub(crate) fn prepare() -> Result<Cpus> {
    let cpus = process::cpus()?;
    let &[balancer, traffic, ..] = cpus.as_slice() else {
        bail!("needs two CPUs: one for the load balancer, one for the load");
    };
    process::raise_limits()?;
    Ok(Cpus { balancer, traffic })
}

fn help() -> String {
    let mut text = String::from(
        "cargo xtask bench [--scenarios A,B] [--peers A,B] [--rounds N] [--seconds S] [--json FILE]\n\n\
         Prints a markdown table for each scenario; --json writes every run's figures to FILE too.\n\
         Ends with status 1 if any answer was wrong. For example:\n\n    \
         cargo xtask bench --scenarios h1_1k --peers pointsman,relay,nginx\n\nscenarios:\n",
    );
    for scenario in SCENARIOS {
        text += &format!("  {:12} {}\n", scenario.name, scenario.title);
    }
    text += "\npeers:\n";
    for peer in PEERS {
        text += &format!("  {:10} {}\n", peer.name, peer.title);
    }
    text
}
