//! A scripted client: sends bytes as they are, reads responses.

use std::io::{self, Write};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use rustls::StreamOwned;
use socket2::{Domain, Socket, Type};

use crate::filler::filler_pieces;
use crate::http::{Body, End, Head, Response, latin1, read_head};
use crate::peer::Peer;
use crate::source::Source;
use crate::tls::{Handshake, TlsClient};
use crate::transport::Transport;

/// A connection to the proxy. Every operation has a time-out, 5 s unless set, and panics with
/// what it waited for.
pub struct Client {
    source: Source,
    timeout: Duration,
}

/// Why there is no response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReadError {
    /// The connection was closed before a byte of it.
    Closed,
    /// The connection was closed within a head.
    Cut,
    /// The connection was reset.
    Reset,
    /// The stream was reset, with this code. HTTP/2 only.
    StreamReset(u32),
    /// Nothing came in time.
    TimedOut,
    /// It breaks a rule, in words.
    Malformed(String),
}

/// The response to a GET of `target` on a connection of its own.
#[track_caller]
pub fn get(to: impl Into<Peer>, target: &str) -> Response {
    Client::connect(to).get(target)
}

impl Client {
    /// Connects.
    #[track_caller]
    pub fn connect(to: impl Into<Peer>) -> Self {
        let peer = to.into();
        match Self::try_connect(&peer) {
            Ok(client) => client,
            Err(error) => panic!("no connection to {peer}: {error}"),
        }
    }

    /// Connects with a receive buffer of a few KiB, so that what the proxy writes stays with it
    /// until it is read here.
    #[track_caller]
    pub fn connect_narrow(to: impl Into<Peer>) -> Self {
        let client = Self::connect(to);
        let socket = client.source.transport.socket();
        socket
            .set_recv_buffer_size(NARROW_BYTES)
            .expect("a buffer size can be asked for");
        client
    }

    /// Connects from this address of ours.
    #[track_caller]
    pub fn connect_from(source: IpAddr, to: SocketAddr) -> Self {
        let connected = || -> io::Result<Socket> {
            let socket = Socket::new(Domain::for_address(to), Type::STREAM, None)?;
            socket.bind(&SocketAddr::new(source, 0).into())?;
            socket.connect_timeout(&to.into(), TIMEOUT)?;
            socket.set_tcp_nodelay(true)?;
            Ok(socket)
        };
        match connected() {
            Ok(socket) => Self::over(Transport::Plain(socket)),
            Err(error) => panic!("no connection from {source} to {to}: {error}"),
        }
    }

    /// Connects, or says why not.
    pub fn try_connect(to: &Peer) -> io::Result<Self> {
        let socket = to.connect(TIMEOUT)?;
        Ok(Self::over(Transport::Plain(socket)))
    }

    /// Connects and speaks TLS.
    #[track_caller]
    pub fn connect_tls(to: impl Into<Peer>, tls: &TlsClient) -> Self {
        let peer = to.into();
        match Self::try_connect_tls(&peer, tls) {
            Ok(client) => client,
            Err(error) => panic!("no TLS with {peer}: {error}"),
        }
    }

    /// Connects, sends `preface` as it is, and speaks TLS behind it.
    #[track_caller]
    pub fn connect_tls_behind(to: impl Into<Peer>, preface: &[u8], tls: &TlsClient) -> Self {
        let peer = to.into();
        match Self::open_tls(&peer, preface, tls) {
            Ok(client) => client,
            Err(error) => panic!("no TLS with {peer}: {error}"),
        }
    }

    /// Connects and speaks TLS, or says why not.
    pub fn try_connect_tls(to: &Peer, tls: &TlsClient) -> io::Result<Self> {
        Self::open_tls(to, b"", tls)
    }

    fn open_tls(to: &Peer, preface: &[u8], tls: &TlsClient) -> io::Result<Self> {
        let mut socket = to.connect(TIMEOUT)?;
        socket.write_all(preface)?;
        socket.set_read_timeout(Some(TIMEOUT))?;
        let connection = tls.connect(&socket)?;
        let stream = StreamOwned::new(connection, socket);
        Ok(Self::over(Transport::Client(Box::new(stream))))
    }

    /// What the TLS handshake came to; panics without TLS.
    #[track_caller]
    pub fn handshake(&self) -> Handshake {
        match &self.source.transport {
            Transport::Client(stream) => Handshake::of(&stream.conn, None),
            _ => panic!("there is no TLS on this connection"),
        }
    }

    /// The same reads and writes on a connection from the proxy.
    pub(crate) fn accepted(socket: Socket) -> Self {
        Self::over(Transport::Plain(socket))
    }

    fn over(transport: Transport) -> Self {
        let mut client = Self {
            source: Source::new(transport, None),
            timeout: TIMEOUT,
        };
        client.set_timeout(TIMEOUT);
        client
    }

    /// Changes the time-out of each read and write.
    pub fn set_timeout(&mut self, timeout: Duration) {
        let socket = self.source.transport.socket();
        socket
            .set_read_timeout(Some(timeout))
            .and_then(|()| socket.set_write_timeout(Some(timeout)))
            .expect("the time-out is not zero");
        self.timeout = timeout;
    }

    /// The address of this side; panics over a Unix socket.
    pub fn local_address(&self) -> SocketAddr {
        let address = self.source.transport.socket().local_addr().ok();
        address
            .and_then(|address| address.as_socket())
            .expect("connected over TCP")
    }

    /// Sends bytes.
    #[track_caller]
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        if let Err(error) = self.try_send(bytes) {
            panic!("the proxy does not take the bytes: {error}");
        }
    }

    /// Sends bytes, or says why not: the proxy may close first.
    pub fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        self.source.transport.write_all(bytes.as_ref())?;
        self.source.transport.flush()
    }

    /// Sends bytes, each piece of at most `piece` bytes by a write of its own.
    #[track_caller]
    pub fn send_in_pieces(&mut self, bytes: impl AsRef<[u8]>, piece: usize) {
        for piece in bytes.as_ref().chunks(piece) {
            self.send(piece);
        }
    }

    /// Sends the first `bytes` bytes of the filler body (see [`crate::filler()`]).
    #[track_caller]
    pub fn send_filler(&mut self, bytes: u64) {
        let sent = filler_pieces(bytes, |piece| self.try_send(piece));
        sent.expect("the proxy takes the body");
    }

    /// The same connection for another thread, one to send while the other one reads. Panics with
    /// TLS, and if anything was read too far.
    #[track_caller]
    pub fn twin(&self) -> Self {
        assert!(self.source.pending().is_empty(), "the twin would miss it");
        match &self.source.transport {
            Transport::Plain(socket) => {
                let socket = socket.try_clone().expect("file descriptors are left");
                Self::over(Transport::Plain(socket))
            }
            _ => panic!("TLS has one state for both directions"),
        }
    }

    /// Says that nothing more will be sent.
    pub fn finish(&mut self) {
        // Fails only on a connection that is over, which the next read reports.
        let _ = self.source.transport.finish();
    }

    /// Ends the connection by a reset.
    pub fn reset(self) {
        let linger = self
            .source
            .transport
            .socket()
            .set_linger(Some(Duration::ZERO));
        linger.expect("lingering can be set on any socket");
    }

    /// GETs `target` and reads the response.
    #[track_caller]
    pub fn get(&mut self, target: &str) -> Response {
        self.send(format!(
            "GET {target} HTTP/1.1\r\nHost: test.example\r\n\r\n"
        ));
        self.read_response()
    }

    /// Reads a response to a method other than HEAD; it may be cut, see [`Body::end`].
    #[track_caller]
    pub fn read_response(&mut self) -> Response {
        self.read_response_to("GET")
    }

    /// Reads a response to `method`.
    #[track_caller]
    pub fn read_response_to(&mut self, method: &str) -> Response {
        match self.try_read_response(method, BODY_KEPT_MAX) {
            Ok(response) => response,
            Err(error) => panic!("no response within {:?}: {error:?}", self.timeout),
        }
    }

    /// Reads a response to `method`, or says why there is none. The first `kept_max` bytes of
    /// its body are kept.
    pub fn try_read_response(
        &mut self,
        method: &str,
        kept_max: usize,
    ) -> Result<Response, ReadError> {
        let mut informational = Vec::new();
        loop {
            let head = self.try_read_head()?;
            let status = head.status().map_err(ReadError::Malformed)?;
            if status < 200 && status != 101 {
                informational.push(head);
                continue;
            }
            let framing = head
                .response_framing(method)
                .map_err(ReadError::Malformed)?;
            let body = Body::read(&mut self.source, framing, kept_max);
            return Ok(Response {
                head,
                status,
                body,
                informational,
            });
        }
    }

    /// Reads the head of a response, 1xx or final; the body is left to [`Client::read_bytes`].
    #[track_caller]
    pub fn read_head(&mut self) -> Head {
        match self.try_read_head() {
            Ok(head) => head,
            Err(error) => panic!("no head within {:?}: {error:?}", self.timeout),
        }
    }

    fn try_read_head(&mut self) -> Result<Head, ReadError> {
        match read_head(&mut self.source) {
            Ok(Some(Ok(head))) => Ok(head),
            Ok(Some(Err(fault))) => Err(ReadError::Malformed(fault)),
            Ok(None) => Err(ReadError::Closed),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Err(ReadError::Cut),
            Err(error) => Err(match End::from_io(&error) {
                End::TimedOut => ReadError::TimedOut,
                _ => ReadError::Reset,
            }),
        }
    }

    /// Reads exactly `bytes` bytes, whatever they mean.
    #[track_caller]
    pub fn read_bytes(&mut self, bytes: usize) -> Vec<u8> {
        while self.source.pending().len() < bytes {
            match self.source.fill() {
                Ok(0) => panic!("closed after {:?}", latin1(self.source.pending())),
                Ok(_) => {}
                Err(error) => panic!("{error} after {:?}", latin1(self.source.pending())),
            }
        }
        let taken = self.source.pending()[..bytes].to_vec();
        self.source.consume(bytes);
        taken
    }

    /// Reads `bytes` bytes; panics unless they are the filler (see [`crate::filler()`]).
    #[track_caller]
    pub fn read_filler(&mut self, bytes: u64) {
        let read = filler_pieces(bytes, |piece| -> Result<(), String> {
            match self.read_bytes(piece.len()) == piece {
                true => Ok(()),
                false => Err(format!("other bytes among {bytes}")),
            }
        });
        read.expect("the bytes that were sent");
    }

    /// What has arrived, once that is `bytes` bytes or more. `None`: the connection ended before
    /// the first.
    pub(crate) fn try_peek(&mut self, bytes: usize) -> Result<Option<&[u8]>, ReadError> {
        while self.source.pending().len() < bytes {
            match self.source.fill() {
                Ok(0) if self.source.pending().is_empty() => return Ok(None),
                Ok(0) => return Err(ReadError::Cut),
                Ok(_) => {}
                Err(error) if End::from_io(&error) == End::TimedOut => {
                    return Err(ReadError::TimedOut);
                }
                Err(_) => return Err(ReadError::Reset),
            }
        }
        Ok(Some(self.source.pending()))
    }

    /// Reads until the proxy ends the connection, by close or reset; returns what came before.
    #[track_caller]
    pub fn read_to_end(&mut self) -> Vec<u8> {
        loop {
            match self.source.fill() {
                Ok(0) => break,
                Ok(_) => {}
                Err(error) if End::from_io(&error) == End::TimedOut => panic!(
                    "not closed within {:?}; received {:?}",
                    self.timeout,
                    latin1(self.source.pending())
                ),
                Err(_) => break,
            }
        }
        let bytes = self.source.pending().to_vec();
        self.source.consume(bytes.len());
        bytes
    }

    /// Waits for the proxy to reset the connection; panics if it ends it in good order.
    #[track_caller]
    pub fn expect_reset(&mut self) {
        loop {
            match self.source.fill() {
                Ok(0) => panic!("closed in good order"),
                Ok(_) => {}
                Err(error) => {
                    assert_eq!(End::from_io(&error), End::Reset);
                    break;
                }
            }
        }
    }

    /// Waits for the proxy to end the connection in good order, with TLS by a close_notify; panics
    /// if it sends anything before.
    #[track_caller]
    pub fn expect_goodbye(&mut self) {
        let read = self.source.fill();
        assert!(matches!(read, Ok(0)), "no goodbye: {read:?}");
    }

    /// Waits for the proxy to end the connection; panics if it sends anything before.
    #[track_caller]
    pub fn expect_close(&mut self) {
        let bytes = self.read_to_end();
        assert!(
            bytes.is_empty(),
            "sent before the close: {:?}",
            latin1(&bytes)
        );
    }
}

/// Far less than a loopback connection holds otherwise.
const NARROW_BYTES: usize = 4096;

const TIMEOUT: Duration = Duration::from_secs(5);

/// What is kept of a response body; more is only counted and hashed.
const BODY_KEPT_MAX: usize = 1024 * 1024;
