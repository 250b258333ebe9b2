//! How sockets are made: what listeners and connections ask of the kernel beyond the usual.

use std::io;
use std::mem::size_of_val;
use std::net::IpAddr;
use std::os::fd::AsRawFd as _;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};

/// How the sockets of a listener are made. Unix sockets have a backlog alone.
#[derive(Debug, Clone, Default)]
pub struct ListenerOptions {
    /// Name of the network interface that is listened on alone (SO_BINDTODEVICE).
    pub interface: Option<Box<str>>,
    /// Connections that the kernel holds until a worker accepts them; it lowers this to its own
    /// limit (`net.core.somaxconn`), which also holds for `None`.
    pub backlog: Option<u32>,
    /// `[::]` takes IPv4 clients too.
    pub dual_stack: bool,
    /// Connections that wait for the end of their handshake with data already there
    /// (TCP_FASTOPEN); `None`: off.
    pub fast_open: Option<u32>,
    /// What accepted connections have.
    pub connection: ConnectionOptions,
}

/// How connections are opened.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct ConnectOptions {
    /// The address that they come from; `None`: the kernel chooses.
    pub source: Option<IpAddr>,
    /// Name of the network interface that they leave by (SO_BINDTODEVICE).
    pub interface: Option<Box<str>>,
    /// The first bytes leave with the first packet where the peer has allowed that before
    /// (TCP_FASTOPEN_CONNECT). That nobody listens shows at the first bytes then.
    pub fast_open: bool,
    /// What they have.
    pub connection: ConnectionOptions,
}

/// Options of a TCP connection.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ConnectionOptions {
    /// Small writes leave at once (TCP_NODELAY).
    pub nodelay: bool,
    /// Idle time before the first probe of a silent peer (SO_KEEPALIVE); `None`: no probes.
    pub keep_alive: Option<Duration>,
    /// How long sent data may stay unacknowledged (TCP_USER_TIMEOUT); `None`: the kernel decides.
    pub user_timeout: Option<Duration>,
}

impl Default for ConnectionOptions {
    fn default() -> Self {
        Self {
            nodelay: true,
            keep_alive: None,
            user_timeout: None,
        }
    }
}

impl ConnectionOptions {
    /// Sets them on a connection, or on a listening socket whose connections inherit them.
    pub(crate) fn set_on(&self, socket: &SockRef<'_>) -> io::Result<()> {
        if self.nodelay {
            socket.set_tcp_nodelay(true)?;
        }
        if let Some(idle) = self.keep_alive {
            socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(idle))?;
        }
        if self.user_timeout.is_some() {
            socket.set_tcp_user_timeout(self.user_timeout)?;
        }
        Ok(())
    }
}

/// Binds `socket` to the interface of this name, if there is one. What is wrong is a sentence.
pub(crate) fn bind_interface(socket: &SockRef<'_>, name: Option<&str>) -> io::Result<()> {
    let Some(name) = name else {
        return Ok(());
    };
    socket.bind_device(Some(name.as_bytes())).map_err(|error| {
        let why = match error.raw_os_error() {
            Some(libc::ENODEV) => {
                "this machine has no such network interface; `ip link` lists them".to_owned()
            }
            Some(libc::EPERM) => {
                "not permitted to bind to a network interface; that needs root or CAP_NET_RAW"
                    .to_owned()
            }
            _ => error.to_string(),
        };
        io::Error::other(format!("`{name}`: {why}"))
    })
}

/// Lets connections wait with data before their handshake has ended, so many at once.
pub(crate) fn set_fast_open(socket: &SockRef<'_>, queue: u32) -> io::Result<()> {
    let queue = queue.min(i32::MAX as u32) as libc::c_int;
    set(socket, libc::IPPROTO_TCP, libc::TCP_FASTOPEN, queue)
}

/// Sends the first bytes with the first packet, if a cookie of the peer is at hand.
pub(crate) fn set_fast_open_connect(socket: &SockRef<'_>) -> io::Result<()> {
    set(socket, libc::IPPROTO_TCP, libc::TCP_FASTOPEN_CONNECT, 1)
}

/// Leaves the choice of the port to `connect`: it need not be free then, only not in use with
/// the same peer. Without, an address has 28,000 connections to all endpoints together.
pub(crate) fn set_bind_address_no_port(socket: &SockRef<'_>) -> io::Result<()> {
    set(socket, libc::IPPROTO_IP, libc::IP_BIND_ADDRESS_NO_PORT, 1)
}

/// For options that `socket2` does not know.
#[expect(unsafe_code, reason = "a system call without a safe wrapper")]
pub(crate) fn set(
    socket: &SockRef<'_>,
    level: libc::c_int,
    name: libc::c_int,
    value: libc::c_int,
) -> io::Result<()> {
    // SAFETY: the descriptor is open for as long as `socket` lives, and the kernel reads the
    // given number of bytes from a value that outlives the call.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            name,
            (&raw const value).cast(),
            size_of_val(&value) as libc::socklen_t,
        )
    };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use balance::Address;

    use super::*;
    use crate::{Acceptor, Listening, Stream, bind, check_connect, connect};

    /// A connection that was opened and accepted with these options: both of its ends.
    fn pair(
        at: &str,
        to: &str,
        listener: &ListenerOptions,
        client: &ConnectOptions,
    ) -> io::Result<(Stream, Stream)> {
        let address = Address::Tcp(at.parse().unwrap());
        let Listening { address, sockets } = bind(&address, 1, listener)?;
        let Address::Tcp(bound) = address else {
            panic!("a TCP address was bound");
        };
        let to = SocketAddr::new(to.parse().unwrap(), bound.port());
        let [socket] = <[_; 1]>::try_from(sockets).unwrap();
        let client = client.clone();
        run(async move {
            let acceptor = Acceptor::new(&address, socket)?;
            let opened = connect(&Address::Tcp(to), &client).await?;
            let accepted = std::future::poll_fn(|cx| acceptor.poll_accept(cx)).await?;
            Ok((opened, accepted.0))
        })
    }

    fn run<T>(work: impl Future<Output = io::Result<T>>) -> io::Result<T> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        runtime.block_on(work)
    }

    fn tcp(stream: &Stream) -> SockRef<'_> {
        let Stream::Tcp(stream) = stream else {
            panic!("a TCP connection");
        };
        SockRef::from(stream)
    }

    #[test]
    fn both_ends_have_the_options_that_were_asked_for() {
        let connection = ConnectionOptions {
            nodelay: false,
            keep_alive: Some(Duration::from_secs(77)),
            user_timeout: Some(Duration::from_secs(9)),
        };
        let listener = ListenerOptions {
            backlog: Some(3),
            fast_open: Some(5),
            connection: connection.clone(),
            ..ListenerOptions::default()
        };
        let client = ConnectOptions {
            connection,
            ..ConnectOptions::default()
        };
        let (opened, accepted) = pair("127.0.0.1:0", "127.0.0.1", &listener, &client).unwrap();
        for end in [&opened, &accepted] {
            let end = tcp(end);
            assert!(!end.tcp_nodelay().unwrap());
            assert!(end.keepalive().unwrap());
            assert_eq!(end.tcp_keepalive_time().unwrap(), Duration::from_secs(77));
            let user_timeout = end.tcp_user_timeout().unwrap();
            assert_eq!(user_timeout, Some(Duration::from_secs(9)));
        }
    }

    #[test]
    fn without_any_small_writes_leave_at_once_and_nobody_is_probed() {
        let (listener, client) = (ListenerOptions::default(), ConnectOptions::default());
        let (opened, accepted) = pair("127.0.0.1:0", "127.0.0.1", &listener, &client).unwrap();
        for end in [&opened, &accepted] {
            let end = tcp(end);
            assert!(end.tcp_nodelay().unwrap());
            assert!(!end.keepalive().unwrap());
            assert_eq!(end.tcp_user_timeout().unwrap(), None);
        }
    }

    #[test]
    fn ipv6_takes_ipv4_clients_where_both_are_asked_for() {
        let client = ConnectOptions::default();
        let both = ListenerOptions {
            dual_stack: true,
            ..ListenerOptions::default()
        };
        for to in ["127.0.0.1", "::1"] {
            let (_, accepted) = pair("[::]:0", to, &both, &client).unwrap();
            let local = accepted.local_addr().unwrap().ip().to_canonical();
            assert_eq!(local.to_string(), to);
        }
        let refused = pair("[::]:0", "127.0.0.1", &ListenerOptions::default(), &client);
        assert_eq!(
            refused.unwrap_err().kind(),
            io::ErrorKind::ConnectionRefused
        );
    }

    #[test]
    fn connections_come_from_the_address_that_was_asked_for() {
        let listener = ListenerOptions::default();
        for (at, to, source) in [
            ("127.0.0.1:0", "127.0.0.1", "127.0.0.2"),
            ("[::1]:0", "::1", "::1"),
        ] {
            let client = ConnectOptions {
                source: Some(source.parse().unwrap()),
                fast_open: true,
                ..ConnectOptions::default()
            };
            let (_, accepted) = pair(at, to, &listener, &client).unwrap();
            let peer = tcp(&accepted).peer_addr().unwrap().as_socket().unwrap();
            assert_eq!(peer.ip().to_string(), source);
            assert_ne!(peer.port(), 0);
        }
    }

    #[test]
    fn an_interface_is_listened_on_and_left_by_alone() {
        let listener = ListenerOptions {
            interface: Some("lo".into()),
            ..ListenerOptions::default()
        };
        let client = ConnectOptions {
            interface: Some("lo".into()),
            ..ConnectOptions::default()
        };
        let (opened, accepted) = pair("0.0.0.0:0", "127.0.0.1", &listener, &client).unwrap();
        for end in [&opened, &accepted] {
            assert_eq!(tcp(end).device().unwrap().as_deref(), Some(&b"lo"[..]));
        }
    }

    #[test]
    fn what_this_machine_does_not_have_is_said() {
        let missing = Some("no-such-if0".into());
        let listener = ListenerOptions {
            interface: missing.clone(),
            ..ListenerOptions::default()
        };
        let address = Address::Tcp("127.0.0.1:0".parse().unwrap());
        let expected =
            "`no-such-if0`: this machine has no such network interface; `ip link` lists them";
        let error = bind(&address, 1, &listener).unwrap_err();
        assert_eq!(error.to_string(), expected);
        let mut client = ConnectOptions {
            interface: missing,
            ..ConnectOptions::default()
        };
        assert_eq!(check_connect(&client).unwrap_err().to_string(), expected);
        client = ConnectOptions {
            source: Some("192.0.2.1".parse().unwrap()),
            ..ConnectOptions::default()
        };
        let error = check_connect(&client).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrNotAvailable);
        client.source = Some("127.0.0.3".parse().unwrap());
        check_connect(&client).unwrap();
    }
}
