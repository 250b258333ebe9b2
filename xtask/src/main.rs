//! Chores of this repository, as `cargo xtask CHORE`.
//!
//! `bench` measures the load balancer beside others (`bench balance`: how well it chooses),
//! `interop` runs it between real clients and real servers. Both start this program again in a
//! role: `traffic` (load and endpoints in one event loop), `datagrams` (the same by UDP), `stage`
//! (the same with endpoints in trouble), `relay` (the floor of the benchmark), `recorder` (an
//! endpoint that remembers).
//! `layers` checks which crates depend on which, `fuzz` throws bytes at all that reads them,
//! `simulate` lets policies choose among modelled endpoints.

mod balance;
mod bench;
mod datagrams;
mod fuzz;
mod http;
mod interop;
mod layers;
mod nginx;
mod process;
mod relay;
mod role;
mod simulate;
mod socket;
mod traffic;

use std::process::ExitCode;

use anyhow::{Result, bail};

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let chore = arguments.next().unwrap_or_default();
    let rest: Vec<String> = arguments.collect();
    match run(&chore, &rest) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("xtask {chore}: {error:#}");
            ExitCode::from(2)
        }
    }
}

/// Runs one chore. False means that it ran to its end and found something wrong.
fn run(chore: &str, arguments: &[String]) -> Result<bool> {
    match chore {
        "bench" => match arguments {
            [first, rest @ ..] if first == "balance" => balance::run(rest),
            _ => bench::run(arguments),
        },
        "fuzz" => fuzz::run(arguments),
        "interop" => interop::run(arguments),
        "layers" => layers::run(arguments),
        "recorder" => interop::run_recorder(arguments).map(|()| true),
        "simulate" => simulate::run(arguments),
        "traffic" => traffic::run().map(|()| true),
        "datagrams" => datagrams::run().map(|()| true),
        "stage" => balance::run_stage(arguments).map(|()| true),
        "relay" => relay::run(arguments).map(|()| true),
        "" | "help" | "--help" | "-h" => {
            println!("{HELP}");
            Ok(true)
        }
        _ => bail!("no such chore\n{HELP}"),
    }
}

const HELP: &str = "\
cargo xtask bench     measures Pointsman beside a null relay and, where installed, haproxy and nginx
cargo xtask bench balance  measures how well each of them chooses among endpoints in trouble
cargo xtask fuzz      throws bytes at all that reads them
cargo xtask interop   runs Pointsman between real clients and servers and breaks things
cargo xtask layers    checks which crates depend on which, and what comes from elsewhere
cargo xtask simulate  lets policies choose among modelled endpoints
Each explains itself with --help.";
