//! Binds the addresses of a config, and says what to do where that fails.

use std::fmt;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr, TcpListener};

use balance::Address;
use config::{Listener, ListenerProtocol, Snapshot};
use net::{ListenerOptions, Listening};
use proxy::{connect_options, listener_options};

/// An address that cannot be bound.
#[derive(Debug)]
pub struct BindError {
    /// Who wanted it: "listener `web`", or "the admin API".
    pub who: String,
    /// What it wanted.
    pub wanted: Wanted,
    /// What the kernel says.
    pub error: io::Error,
}

/// What an address is bound for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wanted {
    /// To listen on it.
    Listen(Address),
    /// To connect from it; `None`: from an interface, whatever its address.
    ConnectFrom(Option<IpAddr>),
}

/// The addresses of a config that cannot be bound now. All others are free again on return.
pub fn unbindable(snapshot: &Snapshot) -> Vec<BindError> {
    let listeners = snapshot.listeners.iter().flat_map(|listener| {
        let options = listener_options(&listener.socket);
        let binds = listener.bind.iter();
        binds.map(move |address| {
            let result = bind(listener, address, 1, &options);
            (who(listener), address.clone(), result)
        })
    });
    let admin = snapshot.admin.bind;
    let admin = admin.map(|bind| {
        let address = Address::Tcp(bind);
        let result = net::bind(&address, 1, &ListenerOptions::default());
        (ADMIN.to_owned(), address, result)
    });
    let mut errors = Vec::new();
    for (who, address, result) in listeners.chain(admin) {
        match result {
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
                wanted: Wanted::Listen(address),
                error,
            }),
        }
    }
    errors.extend(check_sources(snapshot));
    errors
}

/// The pools whose connections could not come from where they should.
fn check_sources(snapshot: &Snapshot) -> impl Iterator<Item = BindError> {
    snapshot.pools.iter().filter_map(|pool| {
        let error = net::check_connect(&connect_options(&pool.socket)).err()?;
        Some(BindError {
            who: format!("pool `{}`", pool.settings.name),
            wanted: Wanted::ConnectFrom(pool.socket.source),
            error,
        })
    })
}

/// Binds every address once for each of `workers`, beside the index of its listener. Fails as well
/// if the connections of a pool could not come from where they should.
pub(crate) fn bind_listeners(
    snapshot: &Snapshot,
    workers: usize,
) -> Result<Vec<(usize, Listening)>, BindError> {
    if let Some(error) = check_sources(snapshot).next() {
        return Err(error);
    }
    let mut bound = Vec::new();
    for (index, listener) in snapshot.listeners.iter().enumerate() {
        let options = listener_options(&listener.socket);
        for address in &listener.bind {
            let listening = bind(listener, address, workers, &options);
            let listening = listening.map_err(|error| BindError {
                who: who(listener),
                wanted: Wanted::Listen(address.clone()),
                error,
            })?;
            bound.push((index, listening));
        }
    }
    Ok(bound)
}

/// Binds an address of a listener.
fn bind(
    listener: &Listener,
    address: &Address,
    workers: usize,
    options: &ListenerOptions,
) -> io::Result<Listening> {
    match (&listener.protocol, address) {
        (ListenerProtocol::Udp(_), Address::Tcp(address)) => {
            net::bind_udp(*address, workers, options)
        }
        _ => net::bind(address, workers, options),
    }
}

pub(crate) fn bind_admin(address: SocketAddr) -> Result<TcpListener, BindError> {
    TcpListener::bind(address).map_err(|error| BindError {
        who: ADMIN.to_owned(),
        wanted: Wanted::Listen(Address::Tcp(address)),
        error,
    })
}

fn who(listener: &Listener) -> String {
    format!("listener `{}`", listener.name)
}

const ADMIN: &str = "the admin API";

impl fmt::Display for BindError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let who = &self.who;
        match &self.wanted {
            Wanted::Listen(address) => write!(f, "{who} cannot bind {address}: "),
            Wanted::ConnectFrom(Some(ip)) => write!(f, "{who} cannot connect from {ip}: "),
            Wanted::ConnectFrom(None) => write!(f, "{who} cannot connect from its interface: "),
        }?;
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
