//! What is spoken with endpoints below HTTP, and so the way to each of them.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use balance::{Address, Endpoint};
use net::{ConnectOptions, TlsClient};

/// What the endpoints of a pool are spoken to by, whatever they are asked then.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Transport {
    /// How connections are opened.
    pub socket: ConnectOptions,
    /// What comes first on each connection, such as a PROXY header. May be empty.
    pub preface: Box<[u8]>,
    /// `None`: without TLS.
    pub tls: Option<EndpointTls>,
    /// Endpoints speak HTTP/2 alone: by ALPN where there is TLS, else with prior knowledge.
    pub http2: bool,
}

/// TLS with the endpoints of a pool.
#[derive(Debug, Clone)]
pub struct EndpointTls {
    /// How they are verified, and what is shown to them.
    pub client: Arc<TlsClient>,
    /// What their certificates are for; `None`: the host that an endpoint's address was written
    /// with, or the address.
    pub name: Option<Box<str>>,
}

/// Settings are compared by where they are: pools of equal settings may share them.
impl PartialEq for EndpointTls {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.client, &other.client) && self.name == other.name
    }
}

impl Eq for EndpointTls {}

impl Hash for EndpointTls {
    fn hash<H: Hasher>(&self, state: &mut H) {
        Arc::as_ptr(&self.client).hash(state);
        self.name.hash(state);
    }
}

/// The way to somebody who is asked.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Way {
    pub(crate) address: Address,
    pub(crate) transport: Transport,
}

impl Way {
    /// The way to `endpoint`, or to whoever listens beside it at `port`. What that is, is another
    /// matter than how requests are taken: it is spoken to without TLS and without a preface. A
    /// Unix socket has no ports.
    pub(crate) fn new(endpoint: &Endpoint, port: Option<u16>, transport: &Transport) -> Self {
        let mut way = Self {
            address: endpoint.address.clone(),
            transport: transport.clone(),
        };
        match (&mut way.address, port) {
            (Address::Tcp(address), Some(port)) => {
                address.set_port(port);
                way.transport = Transport {
                    socket: way.transport.socket,
                    ..Transport::default()
                };
            }
            (address, _) => {
                if let Some(tls) = &mut way.transport.tls
                    && tls.name.is_none()
                {
                    tls.name = Some(own_name(endpoint.host.as_deref(), address));
                }
            }
        }
        way
    }

    /// As [`Self::new`], for datagrams: neither TLS nor what comes first on a connection is
    /// spoken in them.
    pub(crate) fn by_udp(endpoint: &Endpoint, port: Option<u16>, transport: &Transport) -> Self {
        let socket = ConnectOptions {
            source: transport.socket.source,
            interface: transport.socket.interface.clone(),
            ..ConnectOptions::default()
        };
        let transport = Transport {
            socket,
            ..Transport::default()
        };
        Self::new(endpoint, port, &transport)
    }
}

/// What an endpoint's certificate is for where the config does not say.
fn own_name(host: Option<&str>, address: &Address) -> Box<str> {
    match (host, address) {
        (Some(host), _) => host.into(),
        (None, Address::Tcp(address)) => address.ip().to_string().into(),
        (None, Address::Unix(_)) => "localhost".into(),
    }
}
