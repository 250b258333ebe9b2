//! Sockets of listeners for datagrams.

use std::io;
use std::net::SocketAddr;

use balance::Address;
use socket2::{SockAddr, SockRef, Socket, Type};

use super::socket::set_gro;
use crate::listener::ip_socket;
use crate::options::set;
use crate::{ListenerOptions, Listening};

/// Bytes that the kernel holds for a socket, each way, by its own account, in which a small
/// datagram is ten times as long. The usual 208 KiB are 250 small datagrams to receive, which is a
/// millisecond of a busy listener; and to send they are what one client that does not answer ARP
/// can keep occupied for seconds. The kernel lowers this to its limits (`net.core.rmem_max` and
/// `wmem_max`).
const BUFFER_BYTES: usize = 4 * 1024 * 1024;

/// Binds `address` once for each of `workers`; the kernel spreads clients over the sockets by
/// their addresses.
///
/// Of `options`, those hold that are not about connections.
///
/// # Errors
/// As [`crate::bind`].
pub fn bind_udp(
    address: SocketAddr,
    workers: usize,
    options: &ListenerOptions,
) -> io::Result<Listening> {
    let first = socket(address, options)?;
    // Not to be shared until it is ours: with `SO_REUSEPORT` we could share a port with another
    // process of the same user that set it too, even one that the kernel has chosen.
    first.bind(&SockAddr::from(address))?;
    first.set_reuse_port(true)?;
    let bound = first
        .local_addr()?
        .as_socket()
        .ok_or(io::ErrorKind::Unsupported)?;
    let mut sockets = vec![first.into()];
    for _ in 1..workers {
        let next = socket(bound, options)?;
        next.set_reuse_port(true)?;
        next.bind(&SockAddr::from(bound))?;
        sockets.push(next.into());
    }
    Ok(Listening {
        address: Address::Tcp(bound),
        sockets,
    })
}

fn socket(address: SocketAddr, options: &ListenerOptions) -> io::Result<Socket> {
    let socket = ip_socket(address, Type::DGRAM, options)?;
    socket.set_recv_buffer_size(BUFFER_BYTES)?;
    socket.set_send_buffer_size(BUFFER_BYTES)?;
    if address.ip().is_unspecified() {
        // Each datagram says which of our addresses it was sent to, as clients take answers from
        // no other.
        let socket = SockRef::from(&socket);
        if address.is_ipv6() {
            set(&socket, libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO, 1)?;
        }
        // Also of IPv4 clients of a socket that takes both: that of IPv6 does not tell an address
        // of ours from one of everybody.
        if address.is_ipv4() || options.dual_stack {
            set(&socket, libc::IPPROTO_IP, libc::IP_PKTINFO, 1)?;
        }
    }
    set_gro(&SockRef::from(&socket));
    Ok(socket)
}
