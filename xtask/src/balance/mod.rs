//! `cargo xtask bench balance`: who sends requests where they are answered soon.
//!
//! Eight small endpoints whose work is time that passes, not CPU, some of them in trouble; the
//! same requests at the same moments for every load balancer; latency from the moment a request
//! was due. See `docs/benchmark.md`.
//!
//! Read `scenario` (what is measured), `trouble` (what is wrong with whom), `station` (an
//! endpoint as a model), `endpoints` (on sockets), `load` (the requests), `stage` (the event loop
//! of both), `peer` (who is measured), `measure` (one run), `theory` (what must come out without
//! a load balancer), `report`.

mod scenario;
mod trouble;

mod station;

mod endpoints;
mod load;
mod plan;
mod stage;

mod measure;
mod peer;
mod theory;

mod report;

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};

use crate::bench;
use peer::{BASELINE, Contender, DIRECT, JUDGED, Programs, USUAL};
use report::Report;
use scenario::{SCENARIOS, Scenario};
pub(crate) use stage::run_stage;

/// What the command line asked for.
struct Options {
    scenarios: Vec<&'static Scenario>,
    peers: Vec<Contender>,
    rounds: usize,
    seconds: f64,
    out: Option<PathBuf>,
}

/// Measures and prints. False if Pointsman misses a bar.
pub(crate) fn run(arguments: &[String]) -> Result<bool> {
    let asks_for_help = |argument: &String| argument == "--help" || argument == "-h";
    if arguments.iter().any(asks_for_help) {
        println!("{}", help());
        return Ok(true);
    }
    let options = Options::parse(arguments)?;
    let cpus = bench::prepare()?;
    let mut report = Report::new(&options.peers);
    for (done, scenario) in options.scenarios.iter().enumerate() {
        for round in 0..options.rounds {
            for turn in 0..options.peers.len() {
                let peer = &options.peers[(round + turn) % options.peers.len()];
                let run = measure::measure(scenario, peer, round, cpus, options.seconds)
                    .with_context(|| format!("{} with {}", scenario.name, peer.name))?;
                eprintln!("{}", run.line());
                report.add(run);
            }
        }
        println!("{}", report.table(scenario));
        if let Some(file) = &options.out {
            let text = serde_json::to_string_pretty(&report.json(&options.scenarios[..=done]))?;
            fs::write(file, text).with_context(|| format!("writing {}", file.display()))?;
        }
    }
    Ok(report.is_right(&options.scenarios))
}

impl Options {
    fn parse(arguments: &[String]) -> Result<Self> {
        let is_quick = arguments.iter().any(|argument| argument == "--quick");
        let (mut rounds, mut seconds) = if is_quick { (1, 5.0) } else { (2, 20.0) };
        let mut scenarios: Vec<&Scenario> = if is_quick {
            SCENARIOS
                .iter()
                .filter(|row| QUICK.contains(&row.name))
                .collect()
        } else {
            SCENARIOS.iter().collect()
        };
        let mut names: Option<Vec<&str>> = is_quick.then(|| vec![JUDGED, BASELINE]);
        let mut programs = Programs::new();
        let mut out = None;
        let mut rest = arguments.iter();
        while let Some(option) = rest.next() {
            let mut value = || {
                rest.next()
                    .with_context(|| format!("{option} needs a value"))
            };
            match option.as_str() {
                "--quick" => {}
                "--scenarios" => {
                    let found: Result<_> = value()?.split(',').map(find).collect();
                    scenarios = found?;
                }
                "--peers" => names = Some(value()?.split(',').collect()),
                "--program" => {
                    let named = value()?.split_once('=');
                    let (name, file) = named.context("--program wants NAME=FILE")?;
                    programs.insert(name.to_owned(), file.into());
                }
                "--rounds" => rounds = value()?.parse().context("--rounds")?,
                "--seconds" => seconds = value()?.parse().context("--seconds")?,
                "--out" => out = Some(PathBuf::from(value()?)),
                _ => bail!("no such option: {option}\n{}", help()),
            }
        }
        Ok(Self {
            scenarios,
            peers: match names {
                Some(names) => peer::find_all(&names, &programs, true)?,
                None => peer::find_all(USUAL, &programs, false)?,
            },
            rounds,
            seconds,
            out,
        })
    }
}

fn find(name: &str) -> Result<&'static Scenario> {
    let scenario = SCENARIOS.iter().find(|scenario| scenario.name == name);
    scenario.with_context(|| format!("no such scenario: {name}"))
}

fn help() -> String {
    let mut text = String::from(
        "cargo xtask bench balance [--quick] [--scenarios A,B] [--peers A,B] [--rounds N] \
         [--seconds S] [--out FILE] [--program NAME=FILE]\n\n\
         Prints a markdown table for each scenario; --out writes every run's figures to FILE too, \
         as JSON.\nEnds with status 1 if Pointsman misses a bar. --quick is one round of 5 s in \
         a few scenarios;\n--program takes FILE for the program called NAME, say another build.\nFor example:\n\n    \
         cargo xtask bench balance --scenarios antagonist --peers pointsman,pointsman/peak_ewma\n\n\
         scenarios:\n",
    );
    for scenario in SCENARIOS {
        text += &format!("  {:10} {}\n", scenario.name, scenario.title);
    }
    text += "\npeers, those who are asked if nobody is named:\n";
    for peer in USUAL {
        text += &format!("  {peer}\n");
    }
    text += &format!(
        "and PROGRAM/POLICY with any policy that the program knows, in its own words, or\n  \
         {DIRECT}: no load balancer, each request to an endpoint at random, as theory has it"
    );
    text
}

/// The scenarios of --quick.
const QUICK: &[&str] = &["even", "antagonist", "one_slow", "half_slow"];
