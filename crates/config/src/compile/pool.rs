//! Pools: their endpoints, and the settings of all kinds put together.

use std::collections::{BTreeMap, HashMap};
use std::net::Ipv4Addr;
use std::time::Duration;

use ::balance::{Address, EndpointSettings, HedgeSettings, PoolSettings, RetrySettings};

use super::leads::Keys;
use super::{Compiler, address, resilience};
use crate::raw::{Fail, RawEndpoint, RawPool, RawPoolTimeouts, UpstreamWord, VersionWord};
use crate::spanned::{At, Place, StringOr};
use crate::{Pool, PoolTls, ProxyVersion, RouteTimeouts, UpstreamProtocol, units};

/// How long an unused connection to an endpoint is kept: less than the 60 s and more after which
/// most servers close, so that we are first and no request meets a closing connection.
const KEEP_ALIVE_IDLE: Duration = Duration::from_secs(30);

/// A pool, and what only its routes need.
pub(super) struct NamedPool {
    pub(super) pool: Pool,
    /// Where its name stands.
    pub(super) place: Place,
    /// What its routes start from.
    pub(super) timeouts: RouteTimeouts,
    pub(super) retry: RetrySettings,
    pub(super) hedge: Option<HedgeSettings>,
    /// Where the name of its sticky cookie stands.
    pub(super) cookie: Option<Place>,
    pub(super) keys: Keys,
}

impl Compiler<'_> {
    pub(super) fn pools(&mut self, raw: BTreeMap<At<String>, RawPool>) -> Vec<NamedPool> {
        if self.names.pools.is_empty() {
            self.problems
                .error(None, "there is no pool")
                .help("add one: [pools.app] with endpoints = [\"10.0.0.11:3000\"]");
        }
        raw.into_iter()
            .map(|(name, raw)| self.pool(name, raw))
            .collect()
    }

    fn pool(&mut self, name: At<String>, raw: RawPool) -> NamedPool {
        self.check_name("a pool", &name);
        let ports = ports(&raw);
        let cookie = cookie(&raw);
        let keys = Keys::of(&raw);
        let settings = PoolSettings {
            name: name.value.into(),
            policy: self.policy(raw.policy),
            zone: self.zone.as_ref().map(|zone| zone.value.clone()),
            check: self.check(raw.check),
            agent: self.agent(raw.agent),
            outlier: self.outlier(raw.outlier),
            slow_start: self.slow_start(raw.slow_start),
            feedback: self.feedback(raw.feedback),
            concurrency: self.concurrency(raw.concurrency),
            queue: self.queue(raw.queue),
            circuit: resilience::circuit(raw.circuit),
            sticky: self.sticky(raw.sticky),
            drain: self.duration(raw.drain, PoolSettings::DRAIN),
            fail_closed: matches!(raw.fail, Some(Fail::Closed)),
            panic_percent: self.meaning(raw.panic, units::percent, 0),
        };
        let retry = self.retry(raw.retry, RetrySettings::default());
        let hedge = self.hedge(raw.hedge, None);
        let (keep_alive_idle, timeouts) = self.pool_timeouts(raw.timeouts.unwrap_or_default());
        let endpoints = self.endpoints(raw.endpoints);
        self.check_ports(ports, &endpoints);
        if settings.check.kind.is_by_udp() {
            self.check_datagrams(keys.check.clone(), &endpoints);
        }
        let tls_place = raw.tls.as_ref().map(|tls| tls.place.clone());
        let tls = self.pool_tls(raw.tls);
        if let (Some(place), Some(tls)) = (tls_place, &tls) {
            self.check_names(place, tls, &endpoints);
        }
        let protocol = self.upstream_protocol(raw.protocol, tls.is_some());
        NamedPool {
            pool: Pool {
                settings,
                keep_alive_idle,
                tls,
                protocol,
                proxy_protocol: self.upstream_header(raw.proxy_protocol, protocol),
                socket: self.pool_socket(raw.socket, &endpoints),
                endpoints,
            },
            place: name.place,
            timeouts,
            retry,
            hedge,
            cookie,
            keys,
        }
    }

    /// An endpoint at a Unix socket has no other port.
    fn check_ports(&mut self, ports: Vec<Place>, endpoints: &[EndpointSettings]) {
        let is_unix = |endpoint: &&EndpointSettings| matches!(endpoint.address, Address::Unix(_));
        let Some(endpoint) = endpoints.iter().find(is_unix) else {
            return;
        };
        for place in ports {
            self.problems
                .error(place, format!("endpoint `{}` has no ports", endpoint.name))
                .help("leave `port` out for endpoints at Unix sockets");
        }
    }

    /// An endpoint at a Unix socket takes connections alone.
    fn check_datagrams(&mut self, place: Option<Place>, endpoints: &[EndpointSettings]) {
        let is_unix = |endpoint: &&EndpointSettings| matches!(endpoint.address, Address::Unix(_));
        if let Some(endpoint) = endpoints.iter().find(is_unix) {
            let message = format!("endpoint `{}` cannot be asked by datagrams", endpoint.name);
            self.problems
                .error(place, message)
                .help("write check = \"tcp\", which connects");
        }
    }

    /// An endpoint at a Unix socket has no name that its certificate could be for.
    fn check_names(&mut self, place: Place, tls: &PoolTls, endpoints: &[EndpointSettings]) {
        let is_unix = |endpoint: &&EndpointSettings| matches!(endpoint.address, Address::Unix(_));
        if let (None, Some(endpoint)) = (&tls.name, endpoints.iter().find(is_unix)) {
            let message = format!("endpoint `{}` has no name for TLS", endpoint.name);
            self.problems.error(place, message).help(
                "add the name that its certificate is for: tls = { name = \"app.internal\" }",
            );
        }
    }

    fn upstream_protocol(
        &mut self,
        raw: Option<At<UpstreamWord>>,
        has_tls: bool,
    ) -> UpstreamProtocol {
        let Some(At { place, value }) = raw else {
            return UpstreamProtocol::default();
        };
        match value {
            UpstreamWord::H1 => UpstreamProtocol::H1,
            UpstreamWord::H2 => UpstreamProtocol::H2,
            UpstreamWord::Auto => {
                if !has_tls {
                    self.problems
                        .error(place, "without `tls`, endpoints cannot say what they speak")
                        .help("write \"h1\" or \"h2\", whichever they speak");
                }
                UpstreamProtocol::Auto
            }
        }
    }

    /// A PROXY header is about the one client of a connection.
    fn upstream_header(
        &mut self,
        raw: Option<At<VersionWord>>,
        protocol: UpstreamProtocol,
    ) -> Option<ProxyVersion> {
        let At { place, value } = raw?;
        if protocol != UpstreamProtocol::H1 {
            self.problems
                .error(
                    place,
                    "a PROXY header names one client, and a connection of HTTP/2 carries many",
                )
                .help("with protocol = \"h1\" each client has connections of its own");
        }
        Some(match value {
            VersionWord::V1 => ProxyVersion::V1,
            VersionWord::V2 => ProxyVersion::V2,
        })
    }

    fn endpoints(&mut self, raw: At<Vec<At<StringOr<RawEndpoint>>>>) -> Vec<EndpointSettings> {
        let mut endpoints = Vec::new();
        let mut names: HashMap<Box<str>, Place> = HashMap::new();
        let mut addresses: HashMap<Address, Place> = HashMap::new();
        if raw.value.is_empty() {
            self.problems
                .error(raw.place, "a pool has at least one endpoint");
        }
        for At { place, value } in raw.value {
            for endpoint in self.endpoint(&place, value) {
                let name_before = names.insert(endpoint.name.clone(), place.clone());
                let address_before = addresses.insert(endpoint.address.clone(), place.clone());
                let (what, first) = match (address_before, name_before) {
                    (Some(first), _) => (format!("address `{}`", endpoint.address), first),
                    (None, Some(first)) => (format!("name `{}`", endpoint.name), first),
                    (None, None) => {
                        endpoints.push(endpoint);
                        continue;
                    }
                };
                self.problems
                    .error(place.clone(), format!("two endpoints have the {what}"))
                    .also(first, "the other one")
                    .help("for a larger share of the traffic use `weight`");
            }
        }
        endpoints
    }

    /// One endpoint for each address of a name.
    fn endpoint(&mut self, place: &Place, raw: StringOr<RawEndpoint>) -> Vec<EndpointSettings> {
        let raw = match raw {
            StringOr::Table(raw) => raw,
            StringOr::String(address) => RawEndpoint {
                address: At::new(place.clone(), address),
                name: None,
                weight: None,
                max_requests: None,
                max_connections: None,
                tier: None,
                zone: None,
            },
        };
        if let Some(name) = &raw.name {
            self.check_name("an endpoint", name);
        }
        let text = raw.address.value;
        let mut addresses =
            match address::addresses(&text, Ipv4Addr::LOCALHOST, self.outside.resolve) {
                Ok(addresses) => addresses,
                Err((message, help)) => {
                    self.problems.error(raw.address.place, message).help = help;
                    return Vec::new();
                }
            };
        // A name with both families has the same servers twice as a rule: `localhost` is one.
        if !addresses.iter().all(is_ipv6) {
            addresses.retain(|address| !is_ipv6(address));
        }
        if addresses.iter().any(address::has_no_port) {
            self.problems
                .error(raw.address.place, "nobody can connect to port 0");
        }
        // One bound, by the name of what goes there.
        if let (Some(_), Some(connections)) = (raw.max_requests, &raw.max_connections) {
            self.problems
                .error(
                    connections.place.clone(),
                    "`max_requests` and `max_connections` exclude each other",
                )
                .help("write the one that names what goes to this pool");
        }
        let max_requests = raw
            .max_requests
            .or(raw.max_connections.map(|max| max.value));
        let zone = raw.zone.map(|zone| self.zone_of_endpoint(zone));
        let host = address::host(&text);
        let name = raw.name.map_or(text, |name| name.value);
        let is_one = addresses.len() == 1;
        addresses
            .into_iter()
            .map(|address| EndpointSettings {
                name: if is_one {
                    name.as_str().into()
                } else {
                    format!("{name} ({address})").into()
                },
                address,
                host: host.clone(),
                weight: raw.weight.unwrap_or(1),
                max_requests,
                tier: raw.tier.unwrap_or_default(),
                zone: zone.clone(),
            })
            .collect()
    }

    fn zone_of_endpoint(&mut self, zone: At<String>) -> Box<str> {
        let zone = self.zone_name(zone);
        let own = self.zone.as_ref().map(|own| &own.value);
        self.has_near_endpoint |= own == Some(&zone.value);
        self.zoned_endpoint.get_or_insert(zone.place);
        zone.value
    }

    /// How long connections are kept, and what the routes start from.
    fn pool_timeouts(&mut self, raw: RawPoolTimeouts) -> (Duration, RouteTimeouts) {
        let default = RouteTimeouts::default();
        let timeouts = RouteTimeouts {
            connect: self.duration(raw.connect, default.connect),
            response: self.duration(raw.response, default.response),
            body: self.duration(raw.body, default.body),
            tunnel: self.duration(raw.tunnel, default.tunnel),
            total: self.duration_or_off(raw.total, default.total),
        };
        (self.duration(raw.idle, KEEP_ALIVE_IDLE), timeouts)
    }
}

/// Where the name of the sticky cookie stands.
fn cookie(raw: &RawPool) -> Option<Place> {
    let name = raw.sticky.as_ref()?.value.cookie.as_ref()?;
    Some(name.place.clone())
}

/// Where ports beside those of the endpoints are named.
fn ports(raw: &RawPool) -> Vec<Place> {
    let check = raw.check.as_ref().and_then(|check| match &check.value {
        StringOr::Table(check) => check.port.as_ref(),
        StringOr::String(_) => None,
    });
    let agent = raw.agent.as_ref();
    let agent = agent.and_then(|agent| agent.value.port.as_ref());
    let places = check.into_iter().chain(agent);
    places.map(|port| port.place.clone()).collect()
}

fn is_ipv6(address: &Address) -> bool {
    matches!(address, Address::Tcp(address) if address.is_ipv6())
}
