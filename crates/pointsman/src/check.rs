//! `pointsman check`: every mistake in a config, and what it would serve.

use std::process::ExitCode;

use anyhow::Result;
use config::Snapshot;
use pointsman::{BindError, Wanted, check_tls};

use crate::cli::CheckArguments;
use crate::summary::summary;
use crate::{BAD_CONFIG, admin, print, show};

pub(crate) fn check(arguments: &CheckArguments) -> Result<ExitCode> {
    let loaded = config::load(&arguments.config, &check_tls)?;
    if !loaded.warnings.is_empty() {
        show(&loaded.warnings);
    }
    let taken = taken_by_others(&loaded.snapshot);
    for error in &taken {
        eprintln!("error: {error}");
    }
    if !taken.is_empty() {
        return Ok(BAD_CONFIG.into());
    }
    let name = arguments.config.display();
    print(&format!(
        "{name} can be run\n\n{}",
        summary(&loaded.snapshot)
    ))?;
    Ok(ExitCode::SUCCESS)
}

/// Addresses that cannot be bound, but for those that a Pointsman with this config holds: whoever
/// edits its config wants to check that before a restart.
fn taken_by_others(snapshot: &Snapshot) -> Vec<BindError> {
    let mut errors = pointsman::unbindable(snapshot);
    let running = match snapshot.admin.bind {
        Some(address) if !errors.is_empty() => admin::status(address).ok(),
        _ => None,
    };
    if let Some(running) = running {
        let admin = snapshot.admin.bind.map(|address| address.to_string());
        let listeners = running.listeners.iter();
        let held: Vec<&String> = listeners
            .flat_map(|listener| &listener.addresses)
            .chain(&admin)
            .collect();
        errors.retain(|error| match &error.wanted {
            Wanted::Listen(address) => !held.contains(&&address.to_string()),
            Wanted::ConnectFrom(_) => true,
        });
    }
    errors
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use config::Outside;

    use super::*;

    fn snapshot(text: &str) -> Snapshot {
        config::parse("test.toml", text, Outside::system(&check_tls))
            .expect("it is valid")
            .snapshot
    }

    #[test]
    fn a_port_that_somebody_else_has_is_named() {
        let taken = TcpListener::bind("127.0.0.1:0").expect("some port is free");
        let address = taken.local_addr().expect("it is bound");
        let snapshot = snapshot(&format!(
            "admin.bind = 'off'\n\
             listeners.web.bind = [\"{address}\", \"127.0.0.1:0\"]\n\
             pools.app.endpoints = [\"3001\"]"
        ));
        let [error] = &taken_by_others(&snapshot)[..] else {
            panic!("one address is taken");
        };
        let text = error.to_string();
        assert!(
            text.contains(&format!("listener `web` cannot bind {address}")),
            "{text}"
        );
    }

    #[test]
    fn the_ports_of_a_running_pointsman_are_no_mistake_in_its_config() {
        let free = "admin.bind = '127.0.0.1:0'\n\
                    listeners.web.bind = '127.0.0.1:0'\n\
                    pools.app.endpoints = ['3001']";
        let options = pointsman::Options {
            events: observe::Events::new(observe::EventFormat::Text, std::io::sink()),
            ..pointsman::Options::default()
        };
        let server = pointsman::Server::start(snapshot(free), options).expect("it starts");
        let admin = server.admin_address().expect("it is on");
        let web = server.address("web").expect("it listens");
        let same = snapshot(&format!(
            "admin.bind = '{admin}'\n\
             listeners.web.bind = '{web}'\n\
             pools.app.endpoints = ['3001']"
        ));
        assert_eq!(pointsman::unbindable(&same).len(), 2);
        assert!(taken_by_others(&same).is_empty());
    }
}
