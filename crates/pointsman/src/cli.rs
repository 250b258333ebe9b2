//! The command line: every command, its arguments and its help.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use observe::EventFormat;

/// A load balancer: two endpoints are enough.
#[derive(Debug, Parser)]
#[command(name = "pointsman", version, after_help = EXAMPLE)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

const EXAMPLE: &str = "\
Example:
  pointsman demo
  pointsman run --listen :8080 --to 127.0.0.1:3001 --to 127.0.0.1:3002";

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Serve, until SIGTERM or Ctrl-C
    ///
    /// Requests in flight then get 30 s to end; another Ctrl-C stops at once.
    Run(RunArguments),
    /// Report every mistake in a config, and what it would serve
    ///
    /// Exit code 0 if it can be run, 2 if not.
    Check(CheckArguments),
    /// Show the pools and endpoints of a running Pointsman
    Status(StatusArguments),
    /// Kill and revive built-in endpoints and watch the traffic move
    Demo(DemoArguments),
    /// Print the JSON Schema of the config, for editors that complete and check
    #[command(after_help = "\
Example:
  pointsman schema > pointsman.schema.json
and as the first line of pointsman.toml, for editors with Taplo:
  #:schema ./pointsman.schema.json")]
    Schema,
    /// Print completions for a shell
    #[command(after_help = "\
Example:
  pointsman completions bash > ~/.local/share/bash-completion/completions/pointsman")]
    Completions {
        /// The shell that completes
        shell: Shell,
    },
}

#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  pointsman run --listen :8080 --to 127.0.0.1:3001 --to 127.0.0.1:3002
  pointsman run --listen tcp://:5432 --to 10.0.0.21:5432 --to 10.0.0.22:5432
  pointsman run --config /etc/pointsman/pointsman.toml --events json")]
pub(crate) struct RunArguments {
    /// A config file, or a folder of them [default: pointsman.toml]
    #[arg(long, value_name = "FILE", conflicts_with_all = ["listen", "to"])]
    pub(crate) config: Option<PathBuf>,
    /// Without a config file: listen here; tcp://ADDRESS and udp://ADDRESS relay; may be repeated
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) listen: Vec<String>,
    /// Without a config file: an endpoint; may be repeated
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) to: Vec<String>,
    /// Where the admin API listens, in place of what the config says
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) admin: Option<SocketAddr>,
    /// How events are written to standard error
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    pub(crate) events: EventsArgument,
}

/// [`EventFormat`] as an argument.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum EventsArgument {
    /// Lines for people
    Text,
    /// A JSON object a line
    Json,
}

impl From<EventsArgument> for EventFormat {
    fn from(argument: EventsArgument) -> Self {
        match argument {
            EventsArgument::Text => Self::Text,
            EventsArgument::Json => Self::Json,
        }
    }
}

#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  pointsman check --config /etc/pointsman/pointsman.toml")]
pub(crate) struct CheckArguments {
    /// A config file, or a folder of them
    #[arg(long, value_name = "FILE", default_value = crate::DEFAULT_CONFIG)]
    pub(crate) config: PathBuf,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  pointsman status
  pointsman status --json | jq '.pools[].endpoints[] | {name, state}'")]
pub(crate) struct StatusArguments {
    /// Where its admin API listens
    #[arg(long, value_name = "ADDRESS", default_value = DEFAULT_ADMIN)]
    pub(crate) admin: SocketAddr,
    /// Print what the admin API says, as it is
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  pointsman demo
  curl -X POST http://127.0.0.1:9090/demo/endpoints/1/kill")]
pub(crate) struct DemoArguments {
    /// Where to listen; another port is chosen if this one is taken
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8080")]
    pub(crate) listen: SocketAddr,
    /// Where the admin API listens; another port is chosen if this one is taken
    #[arg(long, value_name = "ADDRESS", default_value = DEFAULT_ADMIN)]
    pub(crate) admin: SocketAddr,
}

/// Where a config without `[admin]` puts it.
const DEFAULT_ADMIN: &str = "127.0.0.1:9090";

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_definition_of_the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn the_help_of_every_command_shows_an_example() {
        let mut cli = Cli::command();
        cli.build();
        for command in std::iter::once(&cli).chain(cli.get_subcommands()) {
            if command.get_name() == "help" {
                continue;
            }
            let help = command.clone().render_long_help().to_string();
            let example = help.split_once("Example:\n  pointsman ");
            assert!(example.is_some(), "{help}");
        }
    }

    #[test]
    fn a_config_file_and_flags_exclude_each_other() {
        let words = ["pointsman", "run", "--config", "a.toml", "--to", "3001"];
        let error = Cli::try_parse_from(words).expect_err("they conflict");
        assert_eq!(error.kind(), clap::error::ErrorKind::ArgumentConflict);
    }
}
