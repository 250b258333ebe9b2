//! How sockets are made, and which networks are believed.

use std::net::IpAddr;
use std::time::Duration;

use ::balance::{Address, EndpointSettings};
use ipnet::IpNet;

use super::Compiler;
use crate::raw::{Demand, DurationText, RawListenerSocket, RawPoolSocket, RawProxyProtocol};
use crate::spanned::{At, ManyOr, OneOrMany, Place};
use crate::{ListenerSocket, PoolSocket, ProxyProtocol, SocketOptions};

/// Longest name of a network interface: `IFNAMSIZ` has 16 bytes, the last of them zero.
const INTERFACE_BYTES_MAX: usize = 15;

impl Compiler<'_> {
    pub(super) fn proxy_protocol(
        &mut self,
        raw: Option<At<ManyOr<RawProxyProtocol>>>,
    ) -> Option<ProxyProtocol> {
        let At { place, value } = raw?;
        let raw = match value {
            ManyOr::Table(raw) => raw,
            ManyOr::One(text) => RawProxyProtocol::short(place.clone(), vec![At::new(place, text)]),
            ManyOr::Many(list) => RawProxyProtocol::short(place, list),
        };
        if raw.from.list.is_empty() {
            self.problems
                .error(
                    raw.from.place.clone(),
                    "nobody may send a PROXY header, so that no connection has one",
                )
                .help("list the proxies in front, such as \"10.0.0.0/8\"");
        }
        Some(ProxyProtocol {
            from: self.networks(raw.from),
            required: raw.header != Some(Demand::Optional),
        })
    }

    /// Networks that are believed when they say where something comes from.
    pub(super) fn networks(&mut self, raw: OneOrMany) -> Vec<IpNet> {
        let mut networks = Vec::new();
        for At { place, value } in raw.list {
            match network(&value) {
                Ok(network) => {
                    if network.prefix_len() == 0 {
                        self.problems
                            .warning(
                                place,
                                "whoever connects is believed to be any client that they name",
                            )
                            .help("list the proxies in front alone");
                    }
                    networks.push(network);
                }
                Err((message, help)) => {
                    self.problems.error(place, message).help(help);
                }
            }
        }
        networks
    }

    /// `bind` are the listener's addresses.
    pub(super) fn listener_socket(
        &mut self,
        raw: Option<RawListenerSocket>,
        bind: &[Address],
    ) -> ListenerSocket {
        let Some(raw) = raw else {
            return ListenerSocket::default();
        };
        if let Some(dual_stack) = raw
            .dual_stack
            .as_ref()
            .filter(|dual_stack| dual_stack.value)
        {
            self.check_dual_stack(&dual_stack.place, bind);
        }
        ListenerSocket {
            interface: raw.interface.map(|interface| self.interface(interface)),
            backlog: raw.backlog.map(|backlog| backlog.value.get()),
            dual_stack: raw.dual_stack.is_some_and(|dual_stack| dual_stack.value),
            fast_open: raw.fast_open.map(|length| length.value.get()),
            connection: self.socket_options(raw.nodelay, raw.keep_alive, raw.user_timeout),
        }
    }

    fn check_dual_stack(&mut self, place: &Place, bind: &[Address]) {
        let tcp = || {
            bind.iter().filter_map(|address| match address {
                Address::Tcp(address) => Some(address),
                Address::Unix(_) => None,
            })
        };
        let is_any = |ip: IpAddr| ip.is_ipv6() && ip.is_unspecified();
        let mut both = tcp().filter(|address| is_any(address.ip())).peekable();
        // With errors, it may be what is wrong.
        if both.peek().is_none() && !bind.is_empty() {
            self.problems
                .error(place.clone(), "`dual_stack` is for `[::]`")
                .help("write bind = \"[::]:8080\" for IPv6 and IPv4");
        }
        let is_taken = |port| tcp().any(|other| other.is_ipv4() && other.port() == port);
        if let Some(address) = both.find(|address| address.port() != 0 && is_taken(address.port()))
        {
            let port = address.port();
            self.problems
                .error(
                    place.clone(),
                    format!("with `dual_stack`, [::]:{port} takes IPv4 clients too"),
                )
                .help(format!(
                    "leave the IPv4 address with port {port} out of `bind`"
                ));
        }
    }

    /// `endpoints` are those of the pool.
    pub(super) fn pool_socket(
        &mut self,
        raw: Option<RawPoolSocket>,
        endpoints: &[EndpointSettings],
    ) -> PoolSocket {
        let Some(raw) = raw else {
            return PoolSocket::default();
        };
        PoolSocket {
            source: raw.source.and_then(|source| self.source(source, endpoints)),
            interface: raw.interface.map(|interface| self.interface(interface)),
            fast_open: raw.fast_open.is_some_and(|fast_open| fast_open.value),
            connection: self.socket_options(raw.nodelay, raw.keep_alive, raw.user_timeout),
        }
    }

    fn source(&mut self, raw: At<String>, endpoints: &[EndpointSettings]) -> Option<IpAddr> {
        let At { place, value } = raw;
        let Ok(source) = value.parse::<IpAddr>() else {
            self.problems
                .error(place, format!("`{value}` is no IP address"))
                .help("write it as \"10.0.0.5\", without a port");
            return None;
        };
        let is_other = |endpoint: &&EndpointSettings| matches!(endpoint.address, Address::Tcp(to) if to.is_ipv6() != source.is_ipv6());
        if let Some(endpoint) = endpoints.iter().find(is_other) {
            let message = format!("from `{value}` nobody reaches endpoint `{}`", endpoint.name);
            self.problems
                .error(place, message)
                .help("both are IPv4 addresses, or both are IPv6 ones");
        }
        Some(source)
    }

    fn interface(&mut self, raw: At<String>) -> Box<str> {
        let At { place, value } = raw;
        let is_part = |byte: u8| byte.is_ascii_graphic() && byte != b'/';
        if value.is_empty() || value.len() > INTERFACE_BYTES_MAX || !value.bytes().all(is_part) {
            self.problems
                .error(
                    place,
                    format!("`{value}` is no name of a network interface"),
                )
                .help("such as \"eth0\"; `ip link` lists them");
        }
        value.into()
    }

    fn socket_options(
        &mut self,
        nodelay: Option<At<bool>>,
        keep_alive: Option<At<DurationText>>,
        user_timeout: Option<At<DurationText>>,
    ) -> SocketOptions {
        let default = SocketOptions::default();
        SocketOptions {
            nodelay: nodelay.map_or(default.nodelay, |nodelay| nodelay.value),
            keep_alive: self.silence(keep_alive, "8h", default.keep_alive),
            user_timeout: self.silence(user_timeout, "1d", default.user_timeout),
        }
    }

    /// `off`, or a time that the kernel takes: it counts these in seconds, or in 31 bits of
    /// milliseconds.
    fn silence(
        &mut self,
        text: Option<At<DurationText>>,
        max: &str,
        default: Option<Duration>,
    ) -> Option<Duration> {
        match text {
            None => default,
            Some(text) if text.value.0 == "off" => None,
            Some(text) => Some(self.duration_within(Some(text), "1s", max, Duration::MAX)),
        }
    }
}

impl RawProxyProtocol {
    /// A list of networks.
    fn short(place: Place, list: Vec<At<String>>) -> Self {
        Self {
            from: OneOrMany { place, list },
            header: None,
        }
    }
}

/// A network, or a single address; or what is wrong with the text, and what would be right.
fn network(text: &str) -> Result<IpNet, (String, String)> {
    if let Ok(address) = text.parse::<IpAddr>() {
        return Ok(address.into());
    }
    let wrong = |help: String| Err((format!("`{text}` is no network"), help));
    let Ok(network) = text.parse::<IpNet>() else {
        return wrong("write it as \"10.0.0.0/8\", \"fd00::/8\" or \"192.0.2.7\"".into());
    };
    if network.trunc() != network {
        return wrong(format!(
            "did you mean `{}` or `{}`?",
            network.trunc(),
            network.addr()
        ));
    }
    Ok(network)
}
