//! PROXY headers: taken from trusted peers at the beginning of their connections, and written at
//! the beginning of ours to endpoints.

use std::future::poll_fn;
use std::net::SocketAddr;

use config::{ProxyProtocol, ProxyVersion};
use net::{Buffer, Stream, TlsInfo};
use observe::ListenerMetrics;
use wire::proxy_protocol::{
    Addresses, HEADER_BYTES_MAX, Header, Read, Tls, read, write_v1, write_v2,
};

use crate::client::Peer;
use crate::identity::covers;

/// The connection is of no use: its peer has closed it, or had to send a header and sent none, or
/// a broken one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NoHeader;

/// Takes the PROXY header from the beginning of `stream`, on which nothing was read before. `None`
/// if there is none and none is needed.
///
/// What a peer sends that is not trusted is its request, whatever it looks like. Of what follows a
/// header nothing is read, so that TLS finds it where it expects it; of what is no header after
/// all, `buffer` may get the first bytes. There is no time limit here.
pub(crate) async fn receive(
    stream: &mut Stream,
    buffer: &mut Buffer,
    settings: &ProxyProtocol,
    peer: Option<SocketAddr>,
    metrics: &ListenerMetrics,
) -> Result<Option<Header>, NoHeader> {
    if !peer.is_some_and(|peer| covers(&settings.from, peer.ip())) {
        return Ok(None);
    }
    let reject = || {
        metrics.proxy_headers_rejected.increment();
        NoHeader
    };
    // All that has arrived; the first `taken` bytes were read, the others wait in the kernel.
    let mut bytes = vec![0; HEADER_BYTES_MAX];
    let mut taken = 0;
    loop {
        let seen = poll_fn(|cx| stream.poll_peek(cx, &mut bytes[taken..])).await;
        let seen = match seen {
            Ok(seen @ 1..) => seen,
            // Checks of whoever is in front connect and close: nothing is wrong with that.
            _ => return Err(NoHeader),
        };
        let arrived = taken + seen;
        match read(&bytes[..arrived]).map_err(|_| reject())? {
            Read::Whole { consumed, header } => {
                let rest = stream.take_seen(&mut bytes[taken..consumed]);
                return rest.map(|()| Some(header)).map_err(|_| NoHeader);
            }
            Read::Absent if settings.required => return Err(reject()),
            Read::Absent => {
                if taken > 0 {
                    buffer.spare()[..taken].copy_from_slice(&bytes[..taken]);
                    buffer.fill(taken);
                }
                return Ok(None);
            }
            Read::Partial => {
                let result = stream.take_seen(&mut bytes[taken..arrived]);
                result.map_err(|_| NoHeader)?;
                taken = arrived;
            }
        }
    }
}

/// Appends the header of a connection to an endpoint that is `peer`'s alone. What is said of TLS
/// is about its TLS with us, else about that with the proxy in front.
pub(crate) fn write(version: ProxyVersion, peer: &Peer, out: &mut Vec<u8>) {
    let addresses = peer.address.socket().zip(peer.destination);
    let mut header = match (&peer.tls, &peer.proxied) {
        (Some(tls), _) => describe(tls),
        (None, Some(header)) => Header::clone(header),
        (None, None) => Header::default(),
    };
    header.addresses = addresses.map(|(source, destination)| Addresses {
        source,
        destination,
    });
    match version {
        ProxyVersion::V1 => write_v1(&header, out),
        ProxyVersion::V2 => write_v2(&header, out),
    }
}

fn describe(tls: &TlsInfo) -> Header {
    let client = tls.client.as_ref();
    Header {
        addresses: None,
        alpn: tls.is_http2.then(|| b"h2".as_slice().into()),
        authority: tls.sni.clone(),
        tls: Some(Tls {
            version: Some(tls.version.into()),
            cipher: Some(tls.cipher.into()),
            has_verified_certificate: client.is_some(),
            common_name: client.and_then(|client| client.common_name.clone()),
        }),
    }
}
