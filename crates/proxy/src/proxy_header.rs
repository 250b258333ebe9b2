//! PROXY headers: taken from trusted peers at the beginning of their connections, and written at
//! the beginning of ours to endpoints.

use std::future::poll_fn;
use std::net::SocketAddr;

use config::{ProxyProtocol, ProxyVersion};
use net::{Buffer, Stream, TlsInfo};
use wire::proxy_protocol::{
    Addresses, HEADER_BYTES_MAX, Header, Read, Tls, read, write_v1, write_v2, write_v2_datagram,
};

use crate::client::Peer;
use crate::identity::covers;

/// The connection is of no use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoHeader {
    /// Its peer has closed it, or was silent: checks of whoever is in front do that.
    Gone,
    /// It had to send a header and sent none, or a broken one.
    Bad,
}

/// Takes the PROXY header from the beginning of `stream`, on which nothing was read before. `None`
/// if there is none and none is needed.
///
/// What a peer sends that is not trusted is its request, whatever it looks like. What has arrived
/// behind the header, or instead of it, is in `buffer` then. There is no time limit here.
pub(crate) async fn receive(
    stream: &mut Stream,
    buffer: &mut Buffer,
    settings: &ProxyProtocol,
    peer: Option<SocketAddr>,
) -> Result<Option<Header>, NoHeader> {
    if !peer.is_some_and(|peer| covers(&settings.from, peer.ip())) {
        return Ok(None);
    }
    loop {
        match poll_fn(|cx| stream.poll_read(cx, buffer)).await {
            Ok(1..) => {}
            _ => return Err(NoHeader::Gone),
        }
        match read(buffer.filled()) {
            Ok(Read::Whole { consumed, header }) => {
                buffer.consume(consumed);
                return Ok(Some(header));
            }
            Ok(Read::Absent) if !settings.required => return Ok(None),
            // A header ends before the buffer does.
            Ok(Read::Partial) => {}
            Ok(Read::Absent) | Err(_) => return Err(NoHeader::Bad),
        }
    }
}

/// What a header may need has room.
const _: () = assert!(HEADER_BYTES_MAX <= net::SMALL);

/// Appends the header of a connection to an endpoint that is `peer`'s alone.
pub(crate) fn write(version: ProxyVersion, peer: &Peer, out: &mut Vec<u8>) {
    match version {
        ProxyVersion::V1 => write_v1(&introduce(peer), out),
        ProxyVersion::V2 => write_v2(&introduce(peer), out),
    }
}

/// Appends the header of a datagram of `peer` to an endpoint.
pub(crate) fn write_datagram(peer: &Peer, out: &mut Vec<u8>) {
    write_v2_datagram(&introduce(peer), out);
}

/// What is said of TLS is about the client's TLS with us, else about that with the proxy in front.
fn introduce(peer: &Peer) -> Header {
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
    header
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
