//! Non-blocking sockets over loopback and an epoll set, at one system call each.
//!
//! The programs around the load balancer under test must cost less than it does, so there is no
//! runtime here and no call that is not needed.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, accept_with, bind, connect, recv,
    send, socket_with, sockopt,
};

/// A set of sockets to wait for, each known by a number of the caller's choice.
pub(crate) struct Poller {
    epoll: OwnedFd,
    buffer: Vec<Event>,
}

/// What to wait for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Interest {
    Read,
    Write,
    /// Only errors and hang-ups, which are always reported.
    Nothing,
}

impl Poller {
    pub(crate) fn new() -> io::Result<Self> {
        let blank = Event {
            flags: EventFlags::empty(),
            data: EventData::new_u64(0),
        };
        Ok(Self {
            epoll: epoll::create(CreateFlags::CLOEXEC)?,
            buffer: vec![blank; EVENTS_MAX],
        })
    }

    pub(crate) fn add(&self, fd: impl AsFd, token: u64, interest: Interest) -> io::Result<()> {
        Ok(epoll::add(
            &self.epoll,
            fd,
            EventData::new_u64(token),
            interest.flags(),
        )?)
    }

    pub(crate) fn modify(&self, fd: impl AsFd, token: u64, interest: Interest) -> io::Result<()> {
        Ok(epoll::modify(
            &self.epoll,
            fd,
            EventData::new_u64(token),
            interest.flags(),
        )?)
    }

    /// Appends the numbers of the sockets that are ready to `ready`, which is emptied first.
    /// `Some(Duration::ZERO)` looks without waiting; `None` waits for ever.
    pub(crate) fn wait(
        &mut self,
        timeout: Option<Duration>,
        ready: &mut Vec<u64>,
    ) -> io::Result<()> {
        ready.clear();
        let timeout = timeout.map(|timeout| Timespec {
            tv_sec: timeout.as_secs() as i64,
            tv_nsec: i64::from(timeout.subsec_nanos()),
        });
        let count = match epoll::wait(&self.epoll, &mut self.buffer, timeout.as_ref()) {
            Err(Errno::INTR) => 0,
            other => other?,
        };
        ready.extend(self.buffer[..count].iter().map(|event| event.data.u64()));
        Ok(())
    }
}

impl Interest {
    fn flags(self) -> EventFlags {
        match self {
            Self::Read => EventFlags::IN,
            Self::Write => EventFlags::OUT,
            Self::Nothing => EventFlags::empty(),
        }
    }
}

/// A listener on a free port of 127.0.0.1.
pub(crate) fn listen() -> io::Result<(TcpListener, SocketAddr)> {
    let (socket, address) = reserve()?;
    listen_on(&socket)?;
    Ok((socket, address))
}

/// A free port of 127.0.0.1, held by a socket that refuses until [`listen_on`].
pub(crate) fn reserve() -> io::Result<(TcpListener, SocketAddr)> {
    let fd = socket_with(
        AddressFamily::INET,
        SocketType::STREAM,
        SocketFlags::NONBLOCK | SocketFlags::CLOEXEC,
        None,
    )?;
    bind(&fd, &SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?;
    let socket = TcpListener::from(fd);
    let address = socket.local_addr()?;
    Ok((socket, address))
}

/// From now on the socket accepts.
pub(crate) fn listen_on(socket: &TcpListener) -> io::Result<()> {
    // A backlog that a burst of new connections fits in.
    Ok(rustix::net::listen(socket, BACKLOG)?)
}

/// An address of 127.0.0.1 that nobody uses at this moment, by TCP or by UDP.
pub(crate) fn free_address() -> io::Result<SocketAddr> {
    loop {
        let address = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
        match UdpSocket::bind(address) {
            Ok(_) => return Ok(address),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {}
            Err(error) => return Err(error),
        }
    }
}

/// The next waiting connection, or `None`.
pub(crate) fn accept(listener: &TcpListener) -> io::Result<Option<TcpStream>> {
    match accept_with(listener, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC) {
        Ok(fd) => {
            let stream = TcpStream::from(fd);
            stream.set_nodelay(true)?;
            Ok(Some(stream))
        }
        Err(Errno::AGAIN | Errno::CONNABORTED) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Begins to connect. Over loopback the handshake is over when this returns, unless the queue
/// of the listener is full.
pub(crate) fn dial(address: SocketAddr) -> io::Result<TcpStream> {
    let fd = socket_with(
        AddressFamily::INET,
        SocketType::STREAM,
        SocketFlags::NONBLOCK | SocketFlags::CLOEXEC,
        None,
    )?;
    sockopt::set_tcp_nodelay(&fd, true)?;
    match connect(&fd, &address) {
        Ok(()) | Err(Errno::INPROGRESS) => Ok(TcpStream::from(fd)),
        Err(error) => Err(error.into()),
    }
}

/// A UDP socket of 127.0.0.1 that speaks to `address` alone.
pub(crate) fn dial_udp(address: SocketAddr) -> io::Result<UdpSocket> {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    socket.set_nonblocking(true)?;
    socket.connect(address)?;
    Ok(socket)
}

/// What a read or a write came to.
pub(crate) enum Transfer {
    Moved(usize),
    Blocked,
    /// The peer closed, or the connection broke.
    Ended,
}

/// Reads once into `buffer`.
pub(crate) fn read(stream: &TcpStream, buffer: &mut [u8]) -> Transfer {
    transfer(
        recv(stream, buffer, RecvFlags::empty()).map(|(count, _)| count),
        true,
    )
}

/// Takes up to `buffer.len()` bytes off the stream without copying them anywhere.
pub(crate) fn discard(stream: &TcpStream, buffer: &mut [u8]) -> Transfer {
    // With MSG_TRUNC a TCP socket drops the bytes; the buffer only says how many.
    transfer(
        recv(stream, buffer, RecvFlags::TRUNC).map(|(_, count)| count),
        true,
    )
}

/// Writes once from `bytes`.
pub(crate) fn write(stream: &TcpStream, bytes: &[u8]) -> Transfer {
    transfer(send(stream, bytes, SendFlags::NOSIGNAL), false)
}

fn transfer(result: Result<usize, Errno>, zero_is_end: bool) -> Transfer {
    match result {
        Ok(0) if zero_is_end => Transfer::Ended,
        Ok(count) => Transfer::Moved(count),
        Err(Errno::AGAIN | Errno::INTR) => Transfer::Blocked,
        Err(_) => Transfer::Ended,
    }
}

const EVENTS_MAX: usize = 512;
const BACKLOG: i32 = 4096;
