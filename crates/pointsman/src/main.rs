//! The `pointsman` program.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, bail};
use clap::{Parser, Subcommand};
use pointsman::{Options, Server};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[derive(Parser)]
#[command(version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Serve.
    Run {
        #[arg(long)]
        config: Option<PathBuf>,
        #[arg(long)]
        listen: Vec<String>,
        #[arg(long)]
        to: Vec<String>,
    },
}

fn main() -> Result<()> {
    match Cli::parse().command {
        Command::Run { config, listen, to } => {
            let snapshot = match config {
                Some(path) => match config::load(&path) {
                    Ok(loaded) => loaded.snapshot,
                    Err(problems) => bail!("{}", problems.render(false)),
                },
                None => match config::from_flags(&listen, &to) {
                    Ok(snapshot) => snapshot,
                    Err(problems) => bail!("{}", problems.render(false)),
                },
            };
            let server = Server::start(snapshot, Options::default())?;
            let mut signals = signal_hook::iterator::Signals::new([
                signal_hook::consts::SIGTERM,
                signal_hook::consts::SIGINT,
            ])?;
            signals.forever().next();
            server.stop(Duration::from_secs(30));
            Ok(())
        }
    }
}
