//! Listening sockets: one per worker and address, so that workers never share an accept queue.

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener as StdUnixListener;
use std::path::Path;
use std::task::{Context, Poll, ready};

use balance::Address;
use socket2::{Domain, SockAddr, SockRef, Socket, Type};
use tokio::net::{TcpListener, UnixListener};

use crate::options::{bind_interface, set_fast_open};
use crate::{ListenerOptions, Stream};

/// The bound sockets of one listening address: one for each worker.
#[derive(Debug)]
pub struct Listening {
    /// The address, with the real port where port 0 was asked for.
    pub address: Address,
    /// To be given to the workers, see [`Acceptor::new`].
    pub sockets: Vec<OwnedFd>,
}

/// Binds `address` once for each of `workers`.
///
/// TCP sockets share the port (`SO_REUSEPORT`) and set what accepted connections inherit, so
/// that a connection costs no `setsockopt`. A Unix socket is bound once and shared; a stale
/// file that nobody listens on is replaced.
///
/// # Errors
/// What the kernel says; `AddrInUse` if another process has the port; a sentence, of kind `Other`,
/// about the interface.
pub fn bind(address: &Address, workers: usize, options: &ListenerOptions) -> io::Result<Listening> {
    match address {
        Address::Tcp(address) => {
            refuse_foreign_port(*address, options)?;
            let first = bind_tcp(*address, options)?;
            let bound = first
                .local_addr()?
                .as_socket()
                .ok_or(io::ErrorKind::Unsupported)?;
            let mut sockets = vec![first.into()];
            for _ in 1..workers {
                sockets.push(bind_tcp(bound, options)?.into());
            }
            Ok(Listening {
                address: Address::Tcp(bound),
                sockets,
            })
        }
        Address::Unix(path) => {
            let first: OwnedFd = bind_unix(path, options)?.into();
            let mut sockets = Vec::with_capacity(workers);
            for _ in 1..workers {
                sockets.push(first.try_clone()?);
            }
            sockets.push(first);
            Ok(Listening {
                address: address.clone(),
                sockets,
            })
        }
    }
}

/// `SO_REUSEPORT` would share a port with another process of the same user that set it too,
/// say an instance that was forgotten; half of the requests would go there. So ask once without.
fn refuse_foreign_port(address: SocketAddr, options: &ListenerOptions) -> io::Result<()> {
    if address.port() == 0 {
        return Ok(());
    }
    let probe = ip_socket(address, Type::STREAM, options)?;
    probe.bind(&SockAddr::from(address))
}

fn bind_tcp(address: SocketAddr, options: &ListenerOptions) -> io::Result<Socket> {
    let socket = ip_socket(address, Type::STREAM, options)?;
    socket.set_reuse_port(true)?;
    options.connection.set_on(&SockRef::from(&socket))?;
    if let Some(queue) = options.fast_open {
        set_fast_open(&SockRef::from(&socket), queue)?;
    }
    socket.bind(&SockAddr::from(address))?;
    socket.listen(backlog(options))?;
    Ok(socket)
}

/// More than the kernel allows is what it allows.
fn backlog(options: &ListenerOptions) -> i32 {
    let backlog = options.backlog.unwrap_or(u32::MAX);
    backlog.try_into().unwrap_or(i32::MAX)
}

/// A socket for `address`, not bound yet, of TCP (`Type::STREAM`) or UDP (`Type::DGRAM`).
pub(crate) fn ip_socket(
    address: SocketAddr,
    kind: Type,
    options: &ListenerOptions,
) -> io::Result<Socket> {
    let domain = Domain::for_address(address);
    let socket = Socket::new(domain, kind, None)?;
    if kind == Type::STREAM {
        // A restart must not wait for connections of the last run to time out. UDP has none, and
        // would share the port with whoever sets this too.
        socket.set_reuse_address(true)?;
    }
    if domain == Domain::IPV6 {
        // `0.0.0.0:80` and `[::]:80` are two addresses, wherever the kernel's default stands.
        socket.set_only_v6(!options.dual_stack)?;
    }
    bind_interface(&SockRef::from(&socket), options.interface.as_deref())?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

fn bind_unix(path: &Path, options: &ListenerOptions) -> io::Result<StdUnixListener> {
    let listener = match StdUnixListener::bind(path) {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse && is_stale(path) => {
            std::fs::remove_file(path)?;
            StdUnixListener::bind(path)?
        }
        result => result?,
    };
    if options.backlog.is_some() {
        // Once more, as it has been told another number.
        SockRef::from(&listener).listen(backlog(options))?;
    }
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// True if `path` is a socket that nobody listens on.
fn is_stale(path: &Path) -> bool {
    matches!(
        std::os::unix::net::UnixStream::connect(path),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused
    )
}

/// Accepts connections for one worker.
#[derive(Debug)]
pub enum Acceptor {
    /// TCP.
    Tcp(TcpListener),
    /// Unix stream socket.
    Unix(UnixListener),
}

impl Acceptor {
    /// Takes over a socket of [`Listening`] of `address`, inside the runtime of its worker.
    ///
    /// # Errors
    /// The runtime cannot watch it.
    pub fn new(address: &Address, socket: OwnedFd) -> io::Result<Self> {
        Ok(match address {
            Address::Tcp(_) => Self::Tcp(TcpListener::from_std(socket.into())?),
            Address::Unix(_) => Self::Unix(UnixListener::from_std(socket.into())?),
        })
    }

    /// The next connection, with the client's address if it has one.
    ///
    /// # Errors
    /// What the kernel says, among others that there are no file descriptors left.
    pub fn poll_accept(
        &self,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<(Stream, Option<SocketAddr>)>> {
        Poll::Ready(Ok(match self {
            Self::Tcp(listener) => {
                let (stream, peer) = ready!(listener.poll_accept(cx))?;
                (Stream::Tcp(stream), Some(peer))
            }
            Self::Unix(listener) => {
                let (stream, _) = ready!(listener.poll_accept(cx))?;
                (Stream::Unix(stream), None)
            }
        }))
    }
}
