//! Sockets for datagrams, watched by the runtime.

use std::cell::{Cell, RefCell};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd as _, OwnedFd};
use std::task::{Context, Poll, ready};

use socket2::{Domain, Protocol, SockAddr, SockRef, Socket, Type};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::outbox::Exit;
use super::{Inbox, Outbox};
use crate::ConnectOptions;
use crate::options::{bind_interface, set};

/// A socket for datagrams.
///
/// One task may receive and one may send.
#[derive(Debug)]
pub struct UdpSocket {
    /// Watched for datagrams and errors only. There nearly always is room to send, and once an
    /// error has come with it the runtime would take it for granted (`Ready::WRITE_CLOSED`).
    socket: AsyncFd<OwnedFd>,
    /// The same socket, watched for room to send while there is none.
    room: RefCell<Option<AsyncFd<OwnedFd>>>,
    is_ipv6: bool,
    local: Local,
    can_segment: Cell<bool>,
}

/// Our end of a socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Local {
    /// Bound to all addresses: each datagram says which one it is about.
    Any,
    /// Bound to one address.
    One(IpAddr),
    /// Connected: the kernel has chosen it, or the options.
    Unasked,
}

impl UdpSocket {
    /// Takes over a socket of [`crate::bind_udp`], inside the runtime of its worker.
    ///
    /// # Errors
    /// The runtime cannot watch it.
    pub fn listen(socket: OwnedFd) -> io::Result<Self> {
        let socket = Socket::from(socket);
        let address = socket
            .local_addr()?
            .as_socket()
            .ok_or(io::ErrorKind::Unsupported)?;
        let local = match address.ip() {
            ip if ip.is_unspecified() => Local::Any,
            ip => Local::One(ip.to_canonical()),
        };
        Self::new(socket, address.is_ipv6(), local)
    }

    /// A socket that sends to and receives from `address` alone. That nobody listens there shows
    /// at a later call, as `ConnectionRefused`.
    ///
    /// Of `options`, those hold that are not about TCP.
    ///
    /// # Errors
    /// What the kernel says, among others that there are no file descriptors left, or no ports
    /// (`AddrNotAvailable`).
    pub fn connect(address: SocketAddr, options: &ConnectOptions) -> io::Result<Self> {
        let kind = Type::DGRAM.nonblocking();
        let socket = Socket::new(Domain::for_address(address), kind, Some(Protocol::UDP))?;
        let options_of = SockRef::from(&socket);
        bind_interface(&options_of, options.interface.as_deref())?;
        set_gro(&options_of);
        // Lets an error be an event of the kind that wakes whoever reads (EPOLLPRI); the runtime
        // lets others wait on.
        set(&options_of, libc::SOL_SOCKET, SO_SELECT_ERR_QUEUE, 1)?;
        // What the path does not carry whole is cut on its way: to be told so (EMSGSIZE) says nothing
        // about the peer, and whose datagram it was is long forgotten.
        let (level, name, value) = match address {
            SocketAddr::V4(_) => (
                libc::IPPROTO_IP,
                libc::IP_MTU_DISCOVER,
                libc::IP_PMTUDISC_DONT,
            ),
            SocketAddr::V6(_) => (
                libc::IPPROTO_IPV6,
                libc::IPV6_MTU_DISCOVER,
                libc::IPV6_PMTUDISC_DONT,
            ),
        };
        set(&options_of, level, name, value)?;
        if let Some(source) = options.source {
            socket.bind(&SockAddr::from(SocketAddr::new(source, 0)))?;
        }
        let peer = SockAddr::from(address);
        socket.connect(&peer).map_err(connect_error)?;
        // A port from which the kernel also takes ports for us can, when nobody listens on it, be
        // connected to itself, and all that is sent would seem to be answered.
        if socket.local_addr()?.as_socket() == Some(address) {
            return Err(io::ErrorKind::ConnectionRefused.into());
        }
        Self::new(socket, address.is_ipv6(), Local::Unasked)
    }

    fn new(socket: Socket, is_ipv6: bool, local: Local) -> io::Result<Self> {
        Ok(Self {
            socket: watch(socket.into(), Interest::READABLE | Interest::PRIORITY)?,
            room: RefCell::default(),
            is_ipv6,
            local,
            can_segment: Cell::new(true),
        })
    }

    /// Receives what there is, up to the room of `inbox`, whose content is replaced.
    ///
    /// # Errors
    /// What the kernel says; `ConnectionRefused`, on a connected socket, if an ICMP message has
    /// said that nobody listens.
    pub fn poll_receive(&self, cx: &mut Context<'_>, inbox: &mut Inbox) -> Poll<io::Result<()>> {
        let local = match self.local {
            Local::One(ip) => Some(ip),
            Local::Any | Local::Unasked => None,
        };
        loop {
            let mut readiness = ready!(self.socket.poll_read_ready(cx))?;
            match inbox.receive(self.socket.get_ref().as_fd(), local) {
                Ok(may_be_more) => {
                    // Less than there was room for is all there was, so no call is spent to be
                    // told so. What comes later, an error of this call included, is a new event:
                    // the runtime looks for those only after this task has returned.
                    if !may_be_more {
                        readiness.clear_ready();
                    }
                    return Poll::Ready(Ok(()));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => readiness.clear_ready(),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }

    /// Sends what is in `outbox` until it is empty or the kernel has no room. Datagrams that the
    /// kernel refuses for reasons of their own (too long, no route) are dropped; returns how many.
    ///
    /// # Errors
    /// As [`Self::try_send`], and there are no file descriptors left to wait for room with.
    pub fn poll_send(&self, cx: &mut Context<'_>, outbox: &mut Outbox) -> Poll<io::Result<u32>> {
        let mut room = self.room.borrow_mut();
        loop {
            let readiness = match &*room {
                Some(room) => Some(ready!(room.poll_write_ready(cx))?),
                None => None,
            };
            match self.try_send(outbox) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => match readiness {
                    Some(mut readiness) => readiness.clear_ready(),
                    None => {
                        let socket = self.socket.get_ref().as_fd().try_clone_to_owned()?;
                        *room = Some(watch(socket, Interest::WRITABLE)?);
                    }
                },
                sent => {
                    *room = None;
                    return Poll::Ready(sent);
                }
            }
        }
    }

    /// Sends what is in `outbox`, as [`Self::poll_send`], for those who do not wait.
    ///
    /// # Errors
    /// `WouldBlock` if the kernel has no room. `ConnectionRefused`, on a connected socket, as
    /// [`Self::poll_receive`]: it is about earlier datagrams. What was not sent stays in `outbox`.
    pub fn try_send(&self, outbox: &mut Outbox) -> io::Result<u32> {
        outbox.send(&Exit {
            socket: self.socket.get_ref().as_fd(),
            is_ipv6: self.is_ipv6,
            has_addresses: self.local == Local::Any,
            can_segment: &self.can_segment,
        })
    }
}

/// What the error of a connect means: nothing is waited for, so it is a lack of ports that the kernel
/// wants us to try again after (EAGAIN). For TCP it has a better word for that.
fn connect_error(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::WouldBlock => io::ErrorKind::AddrNotAvailable.into(),
        _ => error,
    }
}

#[expect(unsafe_code, reason = "the runtime keeps a number of a descriptor")]
fn watch(socket: OwnedFd, interest: Interest) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: the descriptor is open and the same for as long as its `OwnedFd` lives.
    unsafe { AsyncFd::register_with_interest(socket, interest) }
        .map_err(|error| error.into_parts().1)
}

/// Lets the kernel hand over runs of datagrams as one message, if it can (since 5.0).
pub(super) fn set_gro(socket: &SockRef<'_>) {
    let _ = set(socket, libc::IPPROTO_UDP, libc::UDP_GRO, 1);
}

/// `SO_SELECT_ERR_QUEUE` of `asm-generic/socket.h`, which `libc` does not have.
const SO_SELECT_ERR_QUEUE: libc::c_int = 45;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn that_there_are_no_ports_left_is_told_as_for_tcp() {
        let none_left = io::Error::from_raw_os_error(libc::EAGAIN);
        let kind = connect_error(none_left).kind();
        assert_eq!(kind, io::ErrorKind::AddrNotAvailable);
        let refused = io::Error::from_raw_os_error(libc::ECONNREFUSED);
        let kind = connect_error(refused).kind();
        assert_eq!(kind, io::ErrorKind::ConnectionRefused);
    }
}
