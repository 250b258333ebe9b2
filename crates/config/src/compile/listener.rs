//! Listeners: addresses, limits, timeouts.

use std::collections::{BTreeMap, HashMap};
use std::net::Ipv4Addr;

use ::balance::Address;

use super::{Compiler, address};
use crate::problem::Problems;
use crate::raw::{RawLimits, RawListener, RawListenerTimeouts};
use crate::spanned::{At, OneOrMany, Place};
use crate::{HeadLimits, Http2Limits, Listener, ListenerSocket, ListenerTimeouts};

/// A listener, and where its name stands.
pub(super) struct NamedListener {
    pub(super) listener: Listener,
    pub(super) place: Place,
}

/// Addresses that somebody listens on already.
#[derive(Default)]
pub(super) struct Taken(HashMap<Address, Place>);

impl Taken {
    /// Port 0 is a free port each time.
    pub(super) fn claim(&mut self, address: &Address, place: &Place, problems: &mut Problems) {
        if address::has_no_port(address) {
            return;
        }
        match self.0.get(address) {
            None => {
                self.0.insert(address.clone(), place.clone());
            }
            Some(first) => {
                problems
                    .error(place.clone(), format!("`{address}` is listened on twice"))
                    .also(first.clone(), "first here");
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
            .map(|(name, raw)| {
                self.check_name("a listener", &name);
                let listener = Listener {
                    name: name.value.into(),
                    bind: self.binds(raw.bind, taken),
                    limits: self.limits(raw.limits),
                    timeouts: self.listener_timeouts(raw.timeouts),
                    // Filled by the routes.
                    routes: route::Table::default(),
                    tls: None,
                    http2: false,
                    http2_limits: Http2Limits::default(),
                    proxy_protocol: None,
                    trusted_proxies: Vec::new(),
                    redirect_to_https: None,
                    socket: ListenerSocket::default(),
                };
                NamedListener {
                    listener,
                    place: name.place,
                }
            })
            .collect()
    }

    fn binds(&mut self, bind: OneOrMany, taken: &mut Taken) -> Vec<Address> {
        if bind.list.is_empty() {
            self.problems.error(bind.place, "no address to listen on");
        }
        let mut all = Vec::new();
        for At { place, value } in bind.list {
            match address::addresses(&value, Ipv4Addr::UNSPECIFIED, self.outside.resolve) {
                Ok(addresses) => {
                    for address in addresses {
                        taken.claim(&address, &place, self.problems);
                        all.push(address);
                    }
                }
                Err((message, help)) => self.problems.error(place, message).help = help,
            }
        }
        all
    }

    fn limits(&mut self, raw: Option<At<RawLimits>>) -> HeadLimits {
        let default = HeadLimits::default();
        let Some(At { value: raw, .. }) = raw else {
            return default;
        };
        let line_place = raw.line.as_ref().map(|line| line.place.clone());
        // A head is received into one buffer, the largest of which has 64 KiB (`net::LARGE`).
        let head_bytes = self.size(raw.head, "1KiB", "64KiB", default.head_bytes);
        let line_bytes_default = default.line_bytes.min(head_bytes);
        let limits = HeadLimits {
            head_bytes,
            fields: raw.fields.map_or(default.fields, |fields| fields as usize),
            line_bytes: self.size(raw.line, "64B", "64KiB", line_bytes_default),
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
