//! `pointsman run`: serves until a signal ends it.

use std::path::Path;
use std::process;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, ensure};
use config::Snapshot;
use observe::{EventFormat, Events, Timestamp};
use pointsman::{Options, Server};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::cli::RunArguments;
use crate::{BAD_CONFIG, DEFAULT_CONFIG, show};

/// How long requests in flight may take to end.
const PATIENCE: Duration = Duration::from_secs(30);

/// How often the workers are looked after.
const WATCH_INTERVAL: Duration = Duration::from_secs(1);

/// What a shell reports for a program that Ctrl-C ended.
const EXIT_INTERRUPTED: i32 = 130;

pub(crate) fn run(arguments: RunArguments) -> Result<()> {
    raise_open_files_limit();
    let format = arguments.events.into();
    let mut snapshot = snapshot(&arguments)?;
    if arguments.admin.is_some() {
        snapshot.admin.bind = arguments.admin;
    }
    // Before anything is bound: a signal from then on ends it in order.
    let stop = stop_signal(format)?;
    let options = Options {
        events: Events::new(format, std::io::stderr()),
        ..Options::default()
    };
    let server = Server::start(snapshot, options)?;
    // An error other than the time means that the thread of signals is gone; so should we be.
    while stop.recv_timeout(WATCH_INTERVAL) == Err(RecvTimeoutError::Timeout) {
        // Whoever supervises us starts a whole process again; half a one helps nobody.
        ensure!(
            server.is_running(),
            "a worker has ended, and so does the process"
        );
    }
    server.stop(PATIENCE);
    Ok(())
}

/// The config that the arguments ask for. Warnings are shown.
fn snapshot(arguments: &RunArguments) -> Result<Snapshot> {
    if !(arguments.listen.is_empty() && arguments.to.is_empty()) {
        return Ok(config::from_flags(&arguments.listen, &arguments.to)?);
    }
    let default = Path::new(DEFAULT_CONFIG);
    let path = match &arguments.config {
        Some(path) => path,
        None if default.exists() => default,
        None => no_config(),
    };
    let loaded = config::load(path, &pointsman::check_tls)?;
    if !loaded.warnings.is_empty() {
        show(&loaded.warnings);
    }
    Ok(loaded.snapshot)
}

/// Says what can be given, and ends the process as for every bad command line.
fn no_config() -> ! {
    eprintln!(
        "error: there is no {DEFAULT_CONFIG} in the current folder; name a config, or do without:\n\
         \x20 pointsman run --config FILE\n\
         \x20 pointsman run --listen :8080 --to 127.0.0.1:3001 --to 127.0.0.1:3002"
    );
    process::exit(BAD_CONFIG.into())
}

/// Watches for signals. What is returned receives when it is time to stop. A Ctrl-C from then on
/// ends the process at once; a SIGTERM, which supervisors repeat, does not.
fn stop_signal(format: EventFormat) -> Result<mpsc::Receiver<()>> {
    let mut signals = Signals::new([SIGTERM, SIGINT, SIGHUP]).context("no signal can be caught")?;
    let (stop, stopped) = mpsc::channel();
    thread::Builder::new()
        .name("signals".into())
        .spawn(move || {
            let mut is_stopping = false;
            for signal in signals.forever() {
                if signal == SIGHUP {
                    eprintln!("{}", no_reload(format, SystemTime::now()));
                } else if !is_stopping {
                    is_stopping = true;
                    let _ = stop.send(());
                } else if signal == SIGINT {
                    process::exit(EXIT_INTERRUPTED);
                }
            }
        })
        .context("a thread cannot be started")?;
    Ok(stopped)
}

/// The line of an event: SIGHUP is for a reload everywhere else, and its default is to end us.
fn no_reload(format: EventFormat, now: SystemTime) -> String {
    let message = "SIGHUP ignored: this version has no reload, restart it for a new config";
    match format {
        EventFormat::Text => format!("{:.3} {message}", Timestamp(now)),
        EventFormat::Json => {
            let time = Timestamp(now).to_string();
            let event = "reload_ignored";
            serde_json::json!({ "time": time, "event": event, "reason": message }).to_string()
        }
    }
}

/// Every connection is a file descriptor, and the usual soft limit of 1024 is for programs that
/// use `select`.
pub(crate) fn raise_open_files_limit() {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: maximum,
        maximum,
    };
    // Not worth an end: the limit that stands is kept to.
    let _ = setrlimit(Resource::Nofile, raised);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ignored_reload_is_an_event_in_both_formats() {
        let text = no_reload(EventFormat::Text, SystemTime::UNIX_EPOCH);
        assert!(
            text.starts_with("1970-01-01T00:00:00.000Z SIGHUP ignored"),
            "{text}"
        );
        let json = no_reload(EventFormat::Json, SystemTime::UNIX_EPOCH);
        let event: serde_json::Value = serde_json::from_str(&json).expect("it is JSON");
        assert_eq!(event["event"], "reload_ignored");
        assert_eq!(event["time"], "1970-01-01T00:00:00.000000Z");
    }
}
