//! `cargo xtask simulate`: the simulator, built for speed.

use std::process::Command;

use anyhow::{Context, Result};

/// Passes everything on. False if the simulator found something wrong.
pub(crate) fn run(arguments: &[String]) -> Result<bool> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status = Command::new(cargo)
        .args(["run", "--quiet", "--release", "--package", "simulator"])
        .arg("--")
        .args(arguments)
        .status()
        .context("starting cargo")?;
    Ok(status.success())
}
