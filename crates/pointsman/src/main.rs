//! The `pointsman` program: one file for each command that needs more than a few lines.
//!
//! Exit codes: 0 for success, 2 for a bad config or command line, 1 for everything else.

mod cli;

mod run;

mod check;
mod summary;

mod admin;
mod status;

mod demo;

use std::io::{self, ErrorKind, IsTerminal, Write};
use std::process::ExitCode;

use anyhow::Result;
use clap::{CommandFactory, Parser};
use config::Problems;

use crate::cli::{Cli, Command};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The config of those who name none, in the current folder.
const DEFAULT_CONFIG: &str = "pointsman.toml";

/// Exit code for a bad config, as clap uses for a bad command line.
const BAD_CONFIG: u8 = 2;

fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Run(arguments) => run::run(arguments).map(|()| ExitCode::SUCCESS),
        Command::Check(arguments) => check::check(&arguments),
        Command::Status(arguments) => status::status(&arguments).map(|()| ExitCode::SUCCESS),
        Command::Demo(arguments) => demo::demo(&arguments).map(|()| ExitCode::SUCCESS),
        Command::Schema => schema().map(|()| ExitCode::SUCCESS),
        Command::Completions { shell } => completions(shell).map(|()| ExitCode::SUCCESS),
    };
    done.unwrap_or_else(|error| failure(&error))
}

/// Shows an error, and chooses the exit code.
fn failure(error: &anyhow::Error) -> ExitCode {
    if let Some(problems) = error.downcast_ref::<Problems>() {
        show(problems);
        return BAD_CONFIG.into();
    }
    // A reader that has seen enough, say `head`, is no failure.
    let io_error = error.downcast_ref::<io::Error>();
    if io_error.is_some_and(|error| error.kind() == ErrorKind::BrokenPipe) {
        return ExitCode::SUCCESS;
    }
    eprintln!("error: {error:#}");
    ExitCode::FAILURE
}

/// Shows problems of a config on standard error, in colours if somebody looks.
fn show(problems: &Problems) {
    eprint!("{}", problems.render(may_color(&io::stderr())));
}

/// Whether colours are seen there and wanted (<https://no-color.org>).
fn may_color(sink: &impl IsTerminal) -> bool {
    sink.is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// Prints to standard output, now.
fn print(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

fn schema() -> Result<()> {
    Ok(print(&format!("{}\n", config::schema()))?)
}

fn completions(shell: clap_complete::Shell) -> Result<()> {
    let mut command = Cli::command();
    let name = command.get_name().to_owned();
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut command, name, &mut script);
    Ok(print(&String::from_utf8_lossy(&script))?)
}
