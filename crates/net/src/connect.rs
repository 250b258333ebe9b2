//! Opens connections.

use std::io;
use std::net::SocketAddr;

use balance::Address;
use socket2::SockRef;
use tokio::net::{TcpSocket, UnixStream};

use crate::options::{bind_interface, set_bind_address_no_port, set_fast_open_connect};
use crate::{ConnectOptions, Stream};

/// Opens a connection to `address`.
///
/// # Errors
/// What the kernel says; there is no time limit here.
pub async fn connect(address: &Address, options: &ConnectOptions) -> io::Result<Stream> {
    match address {
        Address::Tcp(address) => {
            let stream = tcp_socket(address.is_ipv6(), options)?
                .connect(*address)
                .await?;
            // A port from which the kernel also takes ports for clients can, when nobody listens
            // on it, be connected to itself (simultaneous open, RFC 9293 §3.5).
            if stream.local_addr()? == *address {
                return Err(io::ErrorKind::ConnectionRefused.into());
            }
            Ok(Stream::Tcp(stream))
        }
        Address::Unix(path) => Ok(Stream::Unix(UnixStream::connect(path).await?)),
    }
}

/// Whether connections could be opened as `options` say, as far as can be known without a peer.
///
/// # Errors
/// There is no such interface, the source is no address of this machine, or what else the kernel
/// says.
pub fn check_connect(options: &ConnectOptions) -> io::Result<()> {
    let is_ipv6 = options.source.is_some_and(|source| source.is_ipv6());
    tcp_socket(is_ipv6, options).map(drop)
}

fn tcp_socket(is_ipv6: bool, options: &ConnectOptions) -> io::Result<TcpSocket> {
    let tcp = if is_ipv6 {
        TcpSocket::new_v6()?
    } else {
        TcpSocket::new_v4()?
    };
    let socket = SockRef::from(&tcp);
    options.connection.set_on(&socket)?;
    bind_interface(&socket, options.interface.as_deref())?;
    if options.fast_open {
        set_fast_open_connect(&socket)?;
    }
    if let Some(source) = options.source {
        set_bind_address_no_port(&socket)?;
        tcp.bind(SocketAddr::new(source, 0))?;
    }
    Ok(tcp)
}
