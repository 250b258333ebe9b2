//! This program, started again in a role, and the conversation with it on its pipes.
//!
//! A role that is an audience of endpoints prints their addresses, takes one line of JSON that
//! says what to do, prints one line of JSON that says what came of it, and serves its endpoints
//! until its input ends.

use std::io::{BufRead, BufReader, Write, stdin, stdout};
use std::net::SocketAddr;
use std::process::{ChildStdin, ChildStdout, Command, Stdio};

use anyhow::{Context, Result, bail};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::process::{OWN_PROGRAM, Program};

/// A running role. It ends when dropped.
pub(crate) struct Role {
    program: Program,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Role {
    /// Starts the role that `words` say on `cpu`.
    pub(crate) fn start(words: &[&str], cpu: usize) -> Result<Self> {
        let mut command = Command::new(OWN_PROGRAM);
        command
            .args(words)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let mut program = Program::start(command, Some(cpu))?;
        let (input, output) = (program.child().stdin.take(), program.child().stdout.take());
        Ok(Self {
            program,
            input: input.context("its input is a pipe")?,
            output: BufReader::new(output.context("its output is a pipe")?),
        })
    }

    /// Where its endpoints are.
    pub(crate) fn addresses(&mut self) -> Result<Vec<SocketAddr>> {
        self.hear()
    }

    /// Has it do `plan`, and waits for what comes of it.
    pub(crate) fn ask<Outcome: DeserializeOwned>(
        &mut self,
        plan: &impl Serialize,
    ) -> Result<Outcome> {
        let mut line = serde_json::to_string(plan)?;
        line.push('\n');
        self.input.write_all(line.as_bytes())?;
        self.hear()
    }

    fn hear<Value: DeserializeOwned>(&mut self) -> Result<Value> {
        let mut line = String::new();
        if self.output.read_line(&mut line)? == 0 {
            bail!("process {} ended early", self.program.pid());
        }
        Ok(serde_json::from_str(&line)?)
    }
}

/// In a role: says `value` to whoever started it.
pub(crate) fn say(value: &impl Serialize) -> Result<()> {
    let mut out = stdout().lock();
    serde_json::to_writer(&mut out, value)?;
    out.write_all(b"\n")?;
    Ok(out.flush()?)
}

/// In a role: what it is asked to do.
pub(crate) fn hear_plan<Plan: DeserializeOwned>() -> Result<Plan> {
    let mut line = String::new();
    stdin().lock().read_line(&mut line)?;
    serde_json::from_str(&line).context("reading the plan")
}
