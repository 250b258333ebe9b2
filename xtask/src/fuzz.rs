//! `cargo xtask fuzz`: libFuzzer on a stable compiler, without cargo-fuzz.
//!
//! The targets in `fuzz/` are a workspace of their own, because all that they link is built with
//! coverage counters. Memory errors are not looked for: what is fuzzed here has no `unsafe`.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

/// Everything in `fuzz/fuzz_targets`.
const TARGETS: &[&str] = &[
    "agent",
    "check",
    "client_hello",
    "config",
    "cookie",
    "grpc",
    "h2",
    "hpack",
    "orca",
    "proxy_header",
    "request",
    "response",
    "route",
    "spoken",
];

/// What cargo-fuzz passes for coverage, in words that stable knows. No optimisation may fold
/// the counters away, hence one codegen unit.
const RUSTFLAGS: &str = "--cfg fuzzing -Ccodegen-units=1 -Cpasses=sancov-module \
    -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
    -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares";

/// Longest input. What the targets read has bounds of its own that are far smaller.
const INPUT_BYTES_MAX: &str = "-max_len=4096";

/// Runs one target, or one after the other. False if an input was found that breaks one.
pub(crate) fn run(arguments: &[String]) -> Result<bool> {
    let mut seconds = 60;
    let mut names = Vec::new();
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        match argument.as_str() {
            "--seconds" => {
                let value = rest.next().context("--seconds needs a number")?;
                seconds = value.parse().context("--seconds needs a number")?;
            }
            "--help" | "-h" => {
                println!("{HELP}");
                return Ok(true);
            }
            name => match TARGETS.iter().find(|target| **target == name) {
                Some(target) => names.push(*target),
                None => bail!("no such target: {name}\n{HELP}"),
            },
        }
    }
    if names.is_empty() {
        names.extend(TARGETS);
    }
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz");
    let host = build(&folder)?;
    let mut all_held = true;
    for name in names {
        all_held &= fuzz(&folder, &host, name, seconds)?;
    }
    Ok(all_held)
}

/// Builds every target. Returns the host's triple, which is part of their path.
fn build(folder: &Path) -> Result<String> {
    let version = Command::new("rustc").arg("-vV").output();
    let version = String::from_utf8(version.context("starting rustc")?.stdout)?;
    let host = version
        .lines()
        .find_map(|line| line.strip_prefix("host: "))
        .context("rustc does not tell its host")?;
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    // A target that is named keeps the flags away from build scripts, which link no libFuzzer.
    let status = Command::new(cargo)
        .current_dir(folder)
        .args(["build", "--quiet", "--release", "--locked", "--bins"])
        .args(["--target", host, "--target-dir", "target"])
        .env("RUSTFLAGS", RUSTFLAGS)
        .status()
        .context("starting cargo")?;
    ensure!(status.success(), "the fuzz targets do not build");
    Ok(host.to_owned())
}

/// Runs one target from its seeds and what was found before. False if it broke.
fn fuzz(folder: &Path, host: &str, name: &str, seconds: u32) -> Result<bool> {
    for kind in ["corpus", "artifacts"] {
        std::fs::create_dir_all(folder.join(kind).join(name))?;
    }
    let output = Command::new(folder.join(format!("target/{host}/release/{name}")))
        .current_dir(folder)
        .arg(format!("corpus/{name}"))
        .arg(format!("seeds/{name}"))
        .arg(format!("-artifact_prefix=artifacts/{name}/"))
        .arg(format!("-max_total_time={seconds}"))
        .args([INPUT_BYTES_MAX, "-print_final_stats=1"])
        .output()
        .with_context(|| format!("starting the target {name}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        // What comes before is progress; the end tells what broke and where the input is.
        let lines: Vec<&str> = said.lines().collect();
        let end = lines[lines.len().saturating_sub(REPORT_LINES)..].join("\n");
        println!("FAIL     {name}\n{end}");
        return Ok(false);
    }
    let stat = |key| said.lines().find_map(|line| line.strip_prefix(key));
    println!(
        "ok       {name}: {} inputs, {} a second",
        stat("stat::number_of_executed_units:")
            .unwrap_or("?")
            .trim(),
        stat("stat::average_exec_per_sec:").unwrap_or("?").trim()
    );
    Ok(true)
}

/// Lines of a report that are shown: a panic with its backtrace and the input.
const REPORT_LINES: usize = 40;

const HELP: &str = "\
cargo xtask fuzz [TARGET ...] [--seconds N]

Throws bytes at what reads bytes, for N seconds a target (60): agent, client_hello, config,
cookie, grpc, h2, hpack, orca, proxy_header, request, response, route, spoken. Begins with
fuzz/seeds, keeps what reaches new code in fuzz/corpus and what breaks a target in fuzz/artifacts.
Needs a C++ compiler. For example:

    cargo xtask fuzz request --seconds 600";
