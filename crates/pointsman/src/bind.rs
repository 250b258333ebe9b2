//! Binds the addresses of a config, and says what to do where that fails.

use std::fmt;
use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpListener};

use balance::Address;
use config::{Listener, Snapshot};
use net::{ListenerOptions, Listening};
use proxy::listener_options;

/// An address that cannot be bound.
#[derive(Debug)]
pub struct BindError {
    /// Who wanted it: "listener `web`", or "the admin API".
    pub who: String,
    /// The address.
    pub address: Address,
    /// What the kernel says.
    pub error: io::Error,
}

/// The addresses of a config that cannot be bound now. All others are free again on return.
///
/// Port 0 is not tried: some port is free.
pub fn unbindable(snapshot: &Snapshot) -> Vec<BindError> {
    let listeners = snapshot.listeners.iter().flat_map(|listener| {
        let options = listener_options(&listener.socket);
        let binds = listener.bind.iter();
        binds.map(move |bind| (who(listener), bind.clone(), options.clone()))
    });
    let admin = snapshot.admin.bind;
    let admin = admin.map(|bind| {
        let options = ListenerOptions::default();
        (ADMIN.to_owned(), Address::Tcp(bind), options)
    });
    let mut errors = Vec::new();
    for (who, address, options) in listeners.chain(admin) {
        if matches!(&address, Address::Tcp(address) if address.port() == 0) {
            continue;
        }
        match net::bind(&address, 1, &options) {
            // A Unix socket stays behind as a file.
            Ok(Listening {
                address: Address::Unix(path),
                ..
            }) => {
                let _ = std::fs::remove_file(path);
            }
            Ok(_) => {}
            Err(error) => errors.push(BindError {
                who,
                address,
                error,
            }),
        }
    }
    errors
}

/// Binds every address once for each of `workers`, beside the index of its listener.
pub(crate) fn bind_listeners(
    snapshot: &Snapshot,
    workers: usize,
) -> Result<Vec<(usize, Listening)>, BindError> {
    let mut bound = Vec::new();
    for (index, listener) in snapshot.listeners.iter().enumerate() {
        let options = listener_options(&listener.socket);
        for address in &listener.bind {
            let listening = net::bind(address, workers, &options).map_err(|error| BindError {
                who: who(listener),
                address: address.clone(),
                error,
            })?;
            bound.push((index, listening));
        }
    }
    Ok(bound)
}

pub(crate) fn bind_admin(address: SocketAddr) -> Result<TcpListener, BindError> {
    TcpListener::bind(address).map_err(|error| BindError {
        who: ADMIN.to_owned(),
        address: Address::Tcp(address),
        error,
    })
}

fn who(listener: &Listener) -> String {
    format!("listener `{}`", listener.name)
}

const ADMIN: &str = "the admin API";

impl fmt::Display for BindError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} cannot bind {}: ", self.who, self.address)?;
        match self.error.kind() {
            ErrorKind::AddrInUse => f.write_str(
                "it is taken; stop the program that listens there (`ss -ltnp` shows it) or choose \
                 another port",
            ),
            ErrorKind::PermissionDenied => {
                f.write_str("not permitted; ports below 1024 need root or CAP_NET_BIND_SERVICE")
            }
            ErrorKind::AddrNotAvailable => f.write_str("this machine has no such address"),
            _ => self.error.fmt(f),
        }
    }
}

impl std::error::Error for BindError {}
