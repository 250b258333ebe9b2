//! Datagrams in batches: one system call moves as many as there are, where the kernel can.
//!
//! [`bind_udp`] makes the sockets of a listener, one for each worker; [`UdpSocket`] is such a
//! socket or one that is connected to an endpoint. [`Inbox`] is the memory that datagrams are
//! received into, and [`Outbox`] holds those that are to leave by one socket.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;
use std::task::{Context, Poll};

use crate::{ConnectOptions, ListenerOptions, Listening};

/// Binds `address` once for each of `workers`; the kernel spreads clients over the sockets by
/// their addresses.
///
/// # Errors
/// As [`crate::bind`].
pub fn bind_udp(
    _address: SocketAddr,
    _workers: usize,
    _options: &ListenerOptions,
) -> io::Result<Listening> {
    unimplemented!("a skeleton")
}

/// A socket for datagrams.
#[derive(Debug)]
pub struct UdpSocket {}

impl UdpSocket {
    /// Takes over a socket of [`bind_udp`], inside the runtime of its worker.
    ///
    /// # Errors
    /// The runtime cannot watch it.
    pub fn listen(_socket: OwnedFd) -> io::Result<Self> {
        unimplemented!("a skeleton")
    }

    /// A socket that sends to and receives from `address` alone. That nobody listens there shows
    /// at a later call, as `ConnectionRefused`.
    ///
    /// # Errors
    /// What the kernel says, among others that there are no file descriptors left.
    pub fn connect(_address: SocketAddr, _options: &ConnectOptions) -> io::Result<Self> {
        unimplemented!("a skeleton")
    }

    /// Receives what there is, up to the room of `inbox`, whose content is replaced.
    ///
    /// # Errors
    /// What the kernel says; `ConnectionRefused`, on a connected socket, if an ICMP message has
    /// said that nobody listens.
    pub fn poll_receive(&self, _cx: &mut Context<'_>, _inbox: &mut Inbox) -> Poll<io::Result<()>> {
        unimplemented!("a skeleton")
    }

    /// Sends what is in `outbox` until it is empty or the kernel has no room. Datagrams that the
    /// kernel refuses for reasons of their own (too long, no route) are dropped; returns how many.
    ///
    /// # Errors
    /// `ConnectionRefused`, on a connected socket, as [`Self::poll_receive`]; nothing was sent
    /// then.
    pub fn poll_send(&self, _cx: &mut Context<'_>, _outbox: &mut Outbox) -> Poll<io::Result<u32>> {
        unimplemented!("a skeleton")
    }
}

/// Memory for the datagrams of one system call, to be shared by all sockets of a worker.
#[derive(Debug, Default)]
pub struct Inbox {}

/// A datagram that was received.
#[derive(Debug, Clone, Copy)]
pub struct Datagram<'a> {
    /// What it says.
    pub bytes: &'a [u8],
    /// Who sent it.
    pub peer: SocketAddr,
    /// Our address that it was sent to, on sockets of [`bind_udp`].
    pub local: Option<IpAddr>,
}

impl Inbox {
    /// The datagrams that the last call has received, in order.
    pub fn datagrams(&self) -> impl Iterator<Item = Datagram<'_>> {
        std::iter::empty()
    }
}

/// Datagrams on their way out, by one socket.
#[derive(Debug, Default)]
pub struct Outbox {}

impl Outbox {
    /// Adds a datagram for `peer`, or for the peer of a connected socket, from `local` where the
    /// socket has several addresses. False if there is no room for it: it is dropped.
    pub fn push(
        &mut self,
        _peer: Option<SocketAddr>,
        _local: Option<IpAddr>,
        _parts: [&[u8]; 2],
    ) -> bool {
        unimplemented!("a skeleton")
    }

    /// True if nothing waits.
    pub fn is_empty(&self) -> bool {
        true
    }
}
