//! What is spoken on a listener, and which keys go with it.

use std::num::{NonZeroU32, NonZeroUsize};
use std::time::Duration;

use super::Compiler;
use crate::raw::{Demand, Protocol, RawListener, RawUdp};
use crate::spanned::{At, Place, WordOr};
use crate::{ListenerProtocol, UdpSettings};

/// How long a silent client may yet speak first: long enough for the first bytes of one far away,
/// short enough for one that waits for the server.
const DETECT: Duration = Duration::from_secs(1);

/// Flows at once: each has a port of ours, of which one address has no more.
const FLOWS: NonZeroU32 = NonZeroU32::new(65_536).expect("not zero");

/// A key that does not go with the protocol, and what it is for.
type Misplaced = (&'static str, Option<Place>, &'static str);

const HTTP: &str = "HTTP";
const TCP: &str = "TCP";

impl Compiler<'_> {
    /// Keys that do not go with the protocol are taken out and reported.
    pub(super) fn protocol(&mut self, raw: &mut RawListener) -> ListenerProtocol {
        let place = raw.protocol.as_ref().map(|at| at.place.clone());
        let word = raw.protocol.as_ref().map_or(Protocol::Http, |at| at.value);
        let mut misplaced: Vec<Misplaced> = Vec::new();
        if word != Protocol::Udp {
            misplaced.push(("udp", take(&mut raw.udp), "UDP"));
        }
        match word {
            Protocol::Http | Protocol::Detect => {}
            Protocol::Tcp => misplaced.extend(take_http(raw)),
            Protocol::Udp => misplaced.extend(take_http(raw).into_iter().chain(take_tcp(raw))),
        }
        let patience = raw.timeouts.as_mut().and_then(|raw| raw.detect.take());
        if word != Protocol::Detect {
            let place = patience.as_ref().map(|patience| patience.place.clone());
            misplaced.push(("detect", place, "protocol = \"detect\""));
        }
        for (key, key_place, kind) in misplaced {
            let Some(key_place) = key_place else {
                continue;
            };
            let problem = self
                .problems
                .error(key_place, format!("`{key}` is for {kind}"));
            if let Some(place) = place.clone() {
                problem.also(place, "what is spoken here");
            }
        }
        if word == Protocol::Detect {
            self.refuse_detour(raw);
        }
        match word {
            Protocol::Http => ListenerProtocol::Http,
            Protocol::Tcp => ListenerProtocol::Tcp,
            Protocol::Detect => ListenerProtocol::Detect {
                patience: self.duration(patience, DETECT),
            },
            Protocol::Udp => ListenerProtocol::Udp(udp(raw.udp.take())),
        }
    }
}

impl Compiler<'_> {
    /// Where clients must show certificates, there is to be no way without TLS.
    fn refuse_detour(&mut self, raw: &RawListener) {
        if let Some(At {
            value: WordOr::Table(tls),
            ..
        }) = &raw.tls
            && let Some(client) = &tls.client
            && client.value.certificate != Some(Demand::Optional)
        {
            self.problems
                .error(
                    client.place.clone(),
                    "clients that speak without TLS, as they may here, show no certificate",
                )
                .help("with protocol = \"http\" or \"tcp\" there is no way past TLS");
        }
    }
}

fn udp(raw: Option<At<RawUdp>>) -> UdpSettings {
    let raw = raw.map(|raw| raw.value);
    let flows = raw.as_ref().and_then(|raw| raw.flows);
    UdpSettings {
        replies: raw.and_then(|raw| raw.replies),
        flows_max: NonZeroUsize::try_from(flows.unwrap_or(FLOWS)).expect("32 bits fit an address"),
    }
}

/// What means nothing to bytes that are relayed.
fn take_http(raw: &mut RawListener) -> Vec<Misplaced> {
    let mut taken = vec![
        ("http2", take(&mut raw.http2), HTTP),
        ("h2c", take(&mut raw.h2c), HTTP),
        ("limits", take(&mut raw.limits), HTTP),
        ("redirect", take(&mut raw.redirect), HTTP),
    ];
    let trusted = raw.trusted_proxies.take().map(|proxies| proxies.place);
    taken.push(("trusted_proxies", trusted, HTTP));
    if let Some(timeouts) = &mut raw.timeouts {
        taken.push(("body", take(&mut timeouts.body), HTTP));
    }
    if let Some(At {
        value: WordOr::Table(tls),
        ..
    }) = &mut raw.tls
    {
        taken.push(("hsts", take(&mut tls.hsts), HTTP));
        taken.push(("sni", take(&mut tls.sni), HTTP));
        if let Some(client) = &mut tls.client {
            taken.push(("headers", take(&mut client.value.headers), HTTP));
        }
    }
    taken
}

/// What means nothing to datagrams.
fn take_tcp(raw: &mut RawListener) -> Vec<Misplaced> {
    let mut taken = vec![
        ("tls", take(&mut raw.tls), TCP),
        ("passthrough", take(&mut raw.passthrough), TCP),
        ("proxy_protocol", take(&mut raw.proxy_protocol), TCP),
    ];
    if let Some(timeouts) = &mut raw.timeouts {
        taken.push(("head", take(&mut timeouts.head), TCP));
    }
    if let Some(socket) = &mut raw.socket {
        taken.push(("backlog", take(&mut socket.backlog), TCP));
        taken.push(("fast_open", take(&mut socket.fast_open), TCP));
        taken.push(("nodelay", take(&mut socket.nodelay), TCP));
        taken.push(("keep_alive", take(&mut socket.keep_alive), TCP));
        taken.push(("user_timeout", take(&mut socket.user_timeout), TCP));
    }
    taken
}

fn take<T>(key: &mut Option<At<T>>) -> Option<Place> {
    key.take().map(|at| at.place)
}
