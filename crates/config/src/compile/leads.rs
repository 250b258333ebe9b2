//! Whether a pool can take what is led to it: requests, connections, datagrams.

use ::balance::{Address, Check, CheckKind};

use super::Compiler;
use super::pool::NamedPool;
use super::relay::Lead;
use crate::raw::{KeyWord, RawHashKey, RawPolicy, RawPool};
use crate::spanned::{Place, StringOr, WordOr};
use crate::{ProxyVersion, Route, UpstreamProtocol};

/// Where keys of a pool stand that only some of what goes there knows.
pub(super) struct Keys {
    /// `check`, and whether it says what is asked.
    pub(super) check: Option<Place>,
    has_check_kind: bool,
    tls: Option<Place>,
    protocol: Option<Place>,
    proxy_protocol: Option<Place>,
    fast_open: Option<Place>,
    endpoints: Place,
    max_connections: Option<Place>,
    /// What only a request has: in `policy` and in `sticky`.
    of_requests: Vec<Place>,
}

impl Keys {
    pub(super) fn of(raw: &RawPool) -> Self {
        let has_check_kind = raw.check.as_ref().is_some_and(|check| match &check.value {
            StringOr::String(_) => true,
            StringOr::Table(check) => !check.kinds().is_empty(),
        });
        let mut endpoints = raw.endpoints.value.iter();
        Self {
            check: raw.check.as_ref().map(|check| check.place.clone()),
            has_check_kind,
            tls: raw.tls.as_ref().map(|tls| tls.place.clone()),
            protocol: raw.protocol.as_ref().map(|protocol| protocol.place.clone()),
            proxy_protocol: raw
                .proxy_protocol
                .as_ref()
                .map(|header| header.place.clone()),
            fast_open: raw
                .socket
                .as_ref()
                .and_then(|socket| Some(socket.fast_open.as_ref()?.place.clone())),
            endpoints: raw.endpoints.place.clone(),
            max_connections: endpoints.find_map(|endpoint| match &endpoint.value {
                StringOr::Table(endpoint) => Some(endpoint.max_connections.as_ref()?.place.clone()),
                StringOr::String(_) => None,
            }),
            of_requests: keys_of_requests(raw),
        }
    }
}

impl Compiler<'_> {
    /// `routes` are those of the file, `leads` all that is relayed.
    pub(super) fn check_leads(
        &mut self,
        routes: &[Route],
        leads: &[Lead],
        pools: &mut [NamedPool],
    ) {
        // With errors, what leads to a pool may be what is broken.
        let is_whole = !self.problems.has_errors();
        let mut has_requests = vec![false; pools.len()];
        for route in routes.iter().filter(|route| route.pool < pools.len()) {
            has_requests[route.pool] = true;
        }
        let mut of_pool: Vec<Vec<&Lead>> = pools.iter().map(|_| Vec::new()).collect();
        for lead in leads {
            of_pool[lead.pool].push(lead);
        }
        for ((named, leads), has_requests) in pools.iter_mut().zip(of_pool).zip(has_requests) {
            if let Some(lead) = leads.first() {
                self.check_takes_bytes(named, &lead.place);
            }
            let mut connections = leads.iter().filter(|lead| !lead.is_udp);
            // Of what is passed on as it is, the first bytes are there.
            if let Some(lead) = connections.find(|lead| !lead.is_passthrough) {
                self.check_hears_servers(named, &lead.place);
            }
            if let Some(udp) = leads.iter().find(|lead| lead.is_udp) {
                self.check_takes_datagrams(named, &udp.place);
            }
            if let Some(lead) = leads.iter().find(|lead| lead.is_passthrough) {
                self.check_takes_tls(named, &lead.place);
            }
            let is_udp_alone = !has_requests && leads.iter().all(|lead| lead.is_udp);
            match (leads.first(), has_requests) {
                (None, true) if is_whole => self.check_takes_requests(named),
                (Some(lead), false) if is_whole => self.check_needs_no_request(named, &lead.place),
                _ => {}
            }
            if !leads.is_empty() && is_udp_alone {
                self.check_by_datagrams(named);
            } else if !leads.iter().any(|lead| lead.is_udp) {
                self.warn_of_datagrams(named);
            }
            if has_requests {
                self.warn_of_calls(named);
            }
        }
    }

    /// `lead` is where the pool is named.
    fn check_takes_bytes(&mut self, named: &NamedPool, lead: &Place) {
        if let (Some(place), UpstreamProtocol::H2 | UpstreamProtocol::Auto) =
            (&named.keys.protocol, named.pool.protocol)
        {
            self.problems
                .error(place.clone(), "what is relayed is never turned into HTTP/2")
                .also(lead.clone(), "it goes to this pool")
                .help("leave `protocol` out, or give what is relayed a pool of its own");
        }
    }

    /// With TCP Fast Open, Linux connects when there is something to send.
    fn check_hears_servers(&mut self, named: &NamedPool, lead: &Place) {
        let NamedPool { pool, keys, .. } = named;
        let begins = pool.tls.is_some() || pool.proxy_protocol.is_some();
        if let (Some(place), true, false) = (&keys.fast_open, pool.socket.fast_open, begins) {
            self.problems
                .error(
                    place.clone(),
                    "with `fast_open` no endpoint is connected to before a client has spoken",
                )
                .also(
                    lead.clone(),
                    "here, a client may wait for the endpoint to speak first",
                )
                .help("leave `fast_open` out, or give what is relayed a pool of its own");
        }
    }

    fn check_takes_datagrams(&mut self, named: &NamedPool, lead: &Place) {
        let NamedPool { pool, keys, .. } = named;
        let is_unix = |address: &Address| matches!(address, Address::Unix(_));
        let unix = pool.endpoints.iter().find(|end| is_unix(&end.address));
        let is_v1 = pool.proxy_protocol == Some(ProxyVersion::V1);
        let tls = pool.tls.as_ref().and(keys.tls.as_ref());
        for (place, message, help) in [
            (
                tls,
                "datagrams are not sent by TLS".to_owned(),
                "leave `tls` out, or give the datagrams a pool of their own",
            ),
            (
                unix.and(Some(&keys.endpoints)),
                unix.map_or_else(String::new, |end| {
                    format!("endpoint `{}` takes no datagrams", end.name)
                }),
                "a Unix socket is one of connections; write an address and a port",
            ),
            (
                keys.proxy_protocol.as_ref().filter(|_| is_v1),
                "the PROXY header of datagrams has version 2".to_owned(),
                "write proxy_protocol = \"v2\"",
            ),
        ] {
            if let Some(place) = place {
                self.problems
                    .error(place.clone(), message)
                    .also(lead.clone(), "datagrams go to this pool")
                    .help(help);
            }
        }
    }

    fn check_takes_tls(&mut self, named: &NamedPool, lead: &Place) {
        if let (Some(_), Some(place)) = (&named.pool.tls, &named.keys.tls) {
            self.problems
                .error(lead.clone(), "endpoints would get TLS inside of TLS")
                .also(place.clone(), "the pool has its own")
                .help("what is passed on as it is goes to a pool without `tls`");
        }
    }

    fn check_takes_requests(&mut self, named: &NamedPool) {
        if let Some(place) = &named.keys.max_connections {
            self.problems
                .error(
                    place.clone(),
                    "`max_connections` is of what is relayed, and requests go to this pool",
                )
                .help("write `max_requests`");
        }
    }

    fn check_needs_no_request(&mut self, named: &NamedPool, lead: &Place) {
        for place in &named.keys.of_requests {
            self.problems
                .error(place.clone(), "only a request has this")
                .also(lead.clone(), "what goes to this pool is relayed")
                .help("of what is relayed, \"client_ip\" and \"client\" are known");
        }
    }

    /// Where nothing but datagrams go, a check is one.
    fn check_by_datagrams(&mut self, named: &mut NamedPool) {
        let Check { kind, port, .. } = &mut named.pool.settings.check;
        if !named.keys.has_check_kind {
            *kind = CheckKind::Udp {
                send: Box::default(),
                expect: None,
            };
        } else if port.is_none() && *kind != CheckKind::Off && !kind.is_by_udp() {
            self.problems
                .warning(
                    named.keys.check.clone(),
                    "this check connects, and only datagrams go to this pool",
                )
                .help("write check = \"udp\", or add the `port` that takes connections");
        }
    }

    /// An endpoint that takes no datagrams refuses those of a check, and is down for good.
    fn warn_of_datagrams(&mut self, named: &NamedPool) {
        let Check { kind, port, .. } = &named.pool.settings.check;
        if matches!(kind, CheckKind::Udp { .. }) && port.is_none() && !self.problems.has_errors() {
            self.problems
                .warning(
                    named.keys.check.clone(),
                    "this check sends datagrams, and none go to this pool",
                )
                .help("write check = \"tcp\", or add the `port` that takes datagrams");
        }
    }

    /// Endpoints that are asked by gRPC are there for gRPC, which is HTTP/2.
    fn warn_of_calls(&mut self, named: &NamedPool) {
        let Check { kind, port, .. } = &named.pool.settings.check;
        if matches!(kind, CheckKind::Grpc { .. })
            && port.is_none()
            && named.pool.protocol == UpstreamProtocol::H1
            && !self.problems.has_errors()
        {
            self.problems
                .warning(
                    named.keys.check.clone(),
                    "gRPC is HTTP/2, and requests of this pool are HTTP/1.1",
                )
                .help("add protocol = \"h2\"");
        }
    }
}

/// Where keys stand that only a request has.
fn keys_of_requests(raw: &RawPool) -> Vec<Place> {
    let key = |key: &RawHashKey| match key.value {
        WordOr::Word(KeyWord::ClientIp | KeyWord::Client) => None,
        WordOr::Word(KeyWord::Path) | WordOr::Table(_) => Some(key.place.clone()),
    };
    let hashed = raw.policy.as_ref().and_then(|policy| match &policy.value {
        WordOr::Table(RawPolicy {
            maglev, rendezvous, ..
        }) => {
            let settings = maglev.as_ref().or(rendezvous.as_ref())?;
            key(settings.value.key.as_ref()?)
        }
        WordOr::Word(_) => None,
    });
    let sticky = raw.sticky.as_ref().and_then(|sticky| {
        let sticky = &sticky.value;
        let cookie = sticky.cookie.as_ref().map(|cookie| cookie.place.clone());
        let learn = sticky.learn.as_ref().map(|learn| learn.place.clone());
        cookie.or(learn).or_else(|| key(sticky.key.as_ref()?))
    });
    hashed.into_iter().chain(sticky).collect()
}
