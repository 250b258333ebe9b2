//! Listeners: addresses, what is spoken there, limits, timeouts.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::net::Ipv4Addr;

use ::balance::Address;

use super::relay::RawRelays;
use super::{Compiler, address};
use crate::problem::Problems;
use crate::raw::{Https, RawLimits, RawListener, RawListenerTimeouts, SizeText, Switch};
use crate::spanned::{At, OneOrMany, Place, WordOr};
use crate::{HeadLimits, Http2Limits, Listener, ListenerProtocol, ListenerTimeouts};

/// Where clients look for HTTPS (RFC 9110 §4.2.2).
const HTTPS_PORT: u16 = 443;

/// A listener, and what becomes part of it when there are pools.
pub(super) struct NamedListener {
    pub(super) listener: Listener,
    /// Where its name stands.
    pub(super) place: Place,
    pub(super) relays: RawRelays,
}

/// TCP and UDP have ports of their own; Unix sockets go with TCP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Transport {
    Tcp,
    Udp,
}

/// Addresses that somebody listens on already.
#[derive(Default)]
pub(super) struct Taken(HashMap<(Transport, Address), Place>);

impl Taken {
    /// Port 0 is a free port each time.
    pub(super) fn claim(
        &mut self,
        transport: Transport,
        address: &Address,
        place: &Place,
        problems: &mut Problems,
    ) {
        if address::has_no_port(address) {
            return;
        }
        match self.0.entry((transport, address.clone())) {
            Entry::Vacant(free) => {
                free.insert(place.clone());
            }
            Entry::Occupied(first) => {
                problems
                    .error(place.clone(), format!("`{address}` is listened on twice"))
                    .also(first.get().clone(), "first here");
            }
        }
    }
}

impl Compiler<'_> {
    pub(super) fn listeners(
        &mut self,
        raw: BTreeMap<At<String>, RawListener>,
        taken: &mut Taken,
    ) -> Vec<NamedListener> {
        if self.names.listeners.is_empty() {
            self.problems
                .error(None, "there is no listener")
                .help("add one: [listeners.web] with bind = \"0.0.0.0:8080\"");
        }
        raw.into_iter()
            .map(|(name, raw)| self.listener(name, raw, taken))
            .collect()
    }

    fn listener(
        &mut self,
        name: At<String>,
        mut raw: RawListener,
        taken: &mut Taken,
    ) -> NamedListener {
        self.check_name("a listener", &name);
        let protocol = self.protocol(&mut raw);
        let relays = self.raw_relays(&name.place, &mut raw);
        let transport = match protocol {
            ListenerProtocol::Udp(_) => Transport::Udp,
            _ => Transport::Tcp,
        };
        let bind = self.binds(raw.bind, transport, taken);
        let has_tls = raw.tls.is_some();
        let http2 = protocol.has_requests() && self.http2(has_tls, raw.http2, raw.h2c);
        if let (Some(tls), Some(redirect)) = (&raw.tls, &raw.redirect) {
            self.problems
                .error(
                    redirect.place.clone(),
                    "a listener with `tls` has nothing to redirect to",
                )
                .also(tls.place.clone(), "clients are at HTTPS already")
                .help("`redirect` is for a listener of its own, at port 80");
        }
        let (limits, http2_limits) = self.limits(raw.limits, http2);
        let trusted_proxies = raw.trusted_proxies;
        let listener = Listener {
            name: name.value.into(),
            limits,
            timeouts: self.listener_timeouts(raw.timeouts),
            protocol,
            // Filled by the routes.
            routes: route::Table::default(),
            relay: None,
            passthrough: route::Names::default(),
            tls: raw.tls.map(|tls| self.listener_tls(tls)),
            http2,
            http2_limits,
            proxy_protocol: self.proxy_protocol(raw.proxy_protocol),
            trusted_proxies: trusted_proxies.map_or_else(Vec::new, |raw| self.networks(raw)),
            redirect_to_https: raw.redirect.map(|redirect| match redirect.value {
                WordOr::Word(Https::Https) => HTTPS_PORT,
                WordOr::Table(redirect) => redirect.https,
            }),
            socket: self.listener_socket(raw.socket, &bind),
            bind,
        };
        NamedListener {
            listener,
            place: name.place,
            relays,
        }
    }

    /// By ALPN where there is TLS, else with prior knowledge: each has its own key, because the
    /// second is nothing that one gets by mistake.
    fn http2(&mut self, has_tls: bool, http2: Option<At<Switch>>, h2c: Option<At<bool>>) -> bool {
        match (has_tls, &http2, &h2c) {
            (false, Some(http2), _) => {
                self.problems
                    .error(http2.place.clone(), "`http2` is for listeners with `tls`")
                    .help("without `tls`, `h2c = true` is for clients that are told to speak it");
            }
            (true, _, Some(h2c)) => {
                self.problems
                    .error(h2c.place.clone(), "`h2c` is for listeners without `tls`")
                    .help("with `tls`, clients may speak HTTP/2 unless http2 = \"off\"");
            }
            _ => {}
        }
        if has_tls {
            http2.is_none_or(|http2| matches!(http2.value, Switch::On))
        } else {
            h2c.is_some_and(|h2c| h2c.value)
        }
    }

    fn binds(&mut self, bind: OneOrMany, transport: Transport, taken: &mut Taken) -> Vec<Address> {
        if bind.list.is_empty() {
            self.problems.error(bind.place, "no address to listen on");
        }
        let mut all = Vec::new();
        for At { place, value } in bind.list {
            match address::addresses(&value, Ipv4Addr::UNSPECIFIED, self.outside.resolve) {
                Ok(addresses) => {
                    for address in addresses {
                        if let (Transport::Udp, Address::Unix(_)) = (transport, &address) {
                            self.problems
                                .error(place.clone(), "a Unix socket takes no datagrams here")
                                .help("write an address and a port");
                        }
                        taken.claim(transport, &address, &place, self.problems);
                        all.push(address);
                    }
                }
                Err((message, help)) => self.problems.error(place, message).help = help,
            }
        }
        all
    }

    fn limits(&mut self, raw: Option<At<RawLimits>>, http2: bool) -> (HeadLimits, Http2Limits) {
        let Some(At { value: raw, .. }) = raw else {
            return Default::default();
        };
        (
            self.head_limits(raw.head, raw.fields, raw.line),
            self.http2_limits(raw.streams, raw.stream_window, raw.connection_window, http2),
        )
    }

    fn head_limits(
        &mut self,
        head: Option<At<SizeText>>,
        fields: Option<u32>,
        line: Option<At<SizeText>>,
    ) -> HeadLimits {
        let default = HeadLimits::default();
        let line_place = line.as_ref().map(|line| line.place.clone());
        // A head is received into one buffer, the largest of which has 64 KiB (`net::LARGE`).
        let head_bytes = self.size(head, "1KiB", "64KiB", default.head_bytes);
        let line_bytes_default = default.line_bytes.min(head_bytes);
        let limits = HeadLimits {
            head_bytes,
            fields: fields.map_or(default.fields, |fields| fields as usize),
            line_bytes: self.size(line, "64B", "64KiB", line_bytes_default),
        };
        if limits.line_bytes > limits.head_bytes {
            self.problems
                .error(
                    line_place,
                    "the request line may be longer than the whole head",
                )
                .help("`line` is at most `head`");
        }
        limits
    }

    fn http2_limits(
        &mut self,
        streams: Option<At<u32>>,
        stream_window: Option<At<SizeText>>,
        connection_window: Option<At<SizeText>>,
        http2: bool,
    ) -> Http2Limits {
        let default = Http2Limits::default();
        let place = |window: &Option<At<SizeText>>| Some(window.as_ref()?.place.clone());
        let connection_place = place(&connection_window);
        let streams_place = streams.as_ref().map(|streams| streams.place.clone());
        let first = streams_place
            .or(place(&stream_window))
            .or(connection_place.clone());
        // With errors, what would switch it on may be what is broken.
        if let (false, Some(place)) = (http2 || self.problems.has_errors(), first) {
            self.problems
                .warning(place, "nobody speaks HTTP/2 to this listener")
                .help(
                    "with `tls` there is HTTP/2 by default, without it h2c = true switches it on",
                );
        }
        let stream = self.size(
            stream_window,
            "4KiB",
            "64MiB",
            default.stream_window as usize,
        );
        let connection_default = stream.max(default.connection_window as usize);
        // HTTP/2 begins with 64 KiB less one byte and has no way to take that back.
        let connection = self.size(connection_window, "64KiB", "256MiB", connection_default);
        if stream > connection {
            self.problems
                .error(
                    connection_place,
                    "one request may fill more than all of them together",
                )
                .help("`stream_window` is at most `connection_window`");
        }
        Http2Limits {
            streams: streams.map_or(default.streams, |streams| streams.value),
            // Within their bounds, both fit.
            stream_window: stream as u32,
            connection_window: connection as u32,
        }
    }

    fn listener_timeouts(&mut self, raw: Option<RawListenerTimeouts>) -> ListenerTimeouts {
        let default = ListenerTimeouts::default();
        let Some(raw) = raw else {
            return default;
        };
        ListenerTimeouts {
            head: self.duration(raw.head, default.head),
            idle: self.duration(raw.idle, default.idle),
            body: self.duration(raw.body, default.body),
        }
    }
}
