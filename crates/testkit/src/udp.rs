//! The two sides of a flow of datagrams.

use std::fmt;
use std::io::{self, ErrorKind};
use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use socket2::{Domain, Socket, Type};

/// What an endpoint sends back for a datagram.
type Answer = dyn Fn(&[u8]) -> Vec<Vec<u8>> + Send + Sync;

/// An endpoint on a port of 127.0.0.1 that answers datagrams and records them.
pub struct UdpEndpoint {
    address: SocketAddr,
    /// Keeps the port ours while nobody listens; see [`UdpEndpoint::kill`].
    _port: Socket,
    shared: Arc<Shared>,
    listening: Mutex<Option<Listening>>,
}

struct Shared {
    answer: Box<Answer>,
    received: Mutex<Vec<(SocketAddr, Vec<u8>)>>,
}

struct Listening {
    socket: Arc<UdpSocket>,
    is_over: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl UdpEndpoint {
    /// Sends back each datagram.
    pub fn echo() -> Self {
        Self::start(|datagram| vec![datagram.to_vec()])
    }

    /// Sends back each datagram so many times.
    pub fn repeating(times: usize) -> Self {
        Self::start(move |datagram| vec![datagram.to_vec(); times])
    }

    /// Sends this back for each datagram.
    pub fn saying(text: &'static str) -> Self {
        Self::start(|_| vec![text.into()])
    }

    /// Never sends anything.
    pub fn silent() -> Self {
        Self::start(|_| Vec::new())
    }

    /// Sends back what `answer` says.
    pub fn start(answer: impl Fn(&[u8]) -> Vec<Vec<u8>> + Send + Sync + 'static) -> Self {
        let (port, address) = park().expect("a port of loopback can be bound");
        let endpoint = Self {
            address,
            _port: port,
            shared: Arc::new(Shared {
                answer: Box::new(answer),
                received: Mutex::default(),
            }),
            listening: Mutex::default(),
        };
        endpoint.listen_again();
        endpoint
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The datagrams so far, with who sent each.
    pub fn received(&self) -> Vec<(SocketAddr, Vec<u8>)> {
        let received = self.shared.received.lock();
        received.expect("no holder panics").clone()
    }

    /// How many datagrams came.
    pub fn received_count(&self) -> usize {
        let received = self.shared.received.lock();
        received.expect("no holder panics").len()
    }

    /// Sends a datagram that nobody asked for; panics if it is killed.
    #[track_caller]
    pub fn send(&self, to: SocketAddr, bytes: impl AsRef<[u8]>) {
        let listening = self.listening.lock().expect("no holder panics");
        let socket = &listening.as_ref().expect("it is not killed").socket;
        socket
            .send_to(bytes.as_ref(), to)
            .expect("loopback takes it");
    }

    /// Refuses datagrams from now on, as a host does where nobody listens.
    pub fn kill(&self) {
        let listening = self.listening.lock().expect("no holder panics").take();
        if let Some(Listening {
            socket,
            is_over,
            thread,
        }) = listening
        {
            is_over.store(true, Ordering::Relaxed);
            // The thread has the other handle.
            drop(socket);
            let ended = thread.join();
            assert!(
                ended.is_ok() || std::thread::panicking(),
                "an answer panicked"
            );
        }
    }

    /// Takes datagrams again, on the same port.
    pub fn listen_again(&self) {
        let socket = bind_parked(self.address).expect("the port is ours");
        let socket = Arc::new(socket);
        let is_over = Arc::new(AtomicBool::new(false));
        let thread = {
            let (socket, is_over) = (Arc::clone(&socket), Arc::clone(&is_over));
            let shared = Arc::clone(&self.shared);
            std::thread::spawn(move || serve(&shared, &socket, &is_over))
        };
        *self.listening.lock().expect("no holder panics") = Some(Listening {
            socket,
            is_over,
            thread,
        });
    }
}

impl Drop for UdpEndpoint {
    fn drop(&mut self) {
        self.kill();
    }
}

impl fmt::Debug for UdpEndpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UdpEndpoint")
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}

fn serve(shared: &Shared, socket: &UdpSocket, is_over: &AtomicBool) {
    let mut buffer = vec![0; DATAGRAM_MAX];
    while !is_over.load(Ordering::Relaxed) {
        // An error is the time-out, or the refusal of an answer by a client that left.
        let Ok((bytes, from)) = socket.recv_from(&mut buffer) else {
            continue;
        };
        let datagram = &buffer[..bytes];
        let mut received = shared.received.lock().expect("no holder panics");
        received.push((from, datagram.to_vec()));
        drop(received);
        for answer in (shared.answer)(datagram) {
            // A full queue loses it, as networks do.
            let _ = socket.send_to(&answer, from);
        }
    }
}

/// A socket that has a port and takes nothing: it is connected to somebody who never sends. So the
/// port is ours, and what comes is refused as long as nobody else listens there.
fn park() -> io::Result<(Socket, SocketAddr)> {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, None)?;
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into())?;
    // After the bind: a free port was found, and is shared from here on.
    socket.set_reuse_address(true)?;
    socket.connect(&SocketAddr::from(([127, 0, 0, 1], DISCARD_PORT)).into())?;
    let address = socket.local_addr()?.as_socket();
    let address = address.ok_or(ErrorKind::AddrNotAvailable)?;
    Ok((socket, address))
}

fn bind_parked(address: SocketAddr) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, None)?;
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.set_recv_buffer_size(BUFFER_BYTES)?;
    socket.set_read_timeout(Some(STOP_POLL))?;
    Ok(socket.into())
}

/// A client of one flow. Every receipt has a time-out of 5 s, and panics with what it waited for.
#[derive(Debug)]
pub struct UdpClient {
    socket: UdpSocket,
}

impl UdpClient {
    /// A client of its own port.
    #[track_caller]
    pub fn connect(to: SocketAddr) -> Self {
        Self::connect_from(SocketAddr::from(([127, 0, 0, 1], 0)), to)
    }

    /// A client at this address of ours; port 0 is any.
    #[track_caller]
    pub fn connect_from(source: SocketAddr, to: SocketAddr) -> Self {
        let socket = UdpSocket::bind(source).expect("an address of loopback");
        socket.connect(to).expect("loopback has a way there");
        Self { socket }
    }

    /// The address of this side.
    pub fn local_address(&self) -> SocketAddr {
        self.socket.local_addr().expect("it is bound")
    }

    /// Sends a datagram.
    #[track_caller]
    pub fn send(&self, bytes: impl AsRef<[u8]>) {
        let bytes = bytes.as_ref();
        // The first call may only report that an earlier datagram was refused.
        let sent = self.socket.send(bytes).or_else(|_| self.socket.send(bytes));
        sent.expect("loopback takes it");
    }

    /// The next datagram.
    #[track_caller]
    pub fn receive(&self) -> Vec<u8> {
        match self.receive_within(TIMEOUT) {
            Some(datagram) => datagram,
            None => panic!("no datagram within {TIMEOUT:?}"),
        }
    }

    /// The next datagram, if there is one in time.
    pub fn receive_within(&self, limit: Duration) -> Option<Vec<u8>> {
        let mut buffer = vec![0; DATAGRAM_MAX];
        self.socket
            .set_read_timeout(Some(limit))
            .expect("the time-out is not zero");
        let bytes = self.socket.recv(&mut buffer).ok()?;
        buffer.truncate(bytes);
        Some(buffer)
    }

    /// Sends a datagram and receives one.
    #[track_caller]
    pub fn ask(&self, bytes: impl AsRef<[u8]>) -> Vec<u8> {
        self.send(bytes);
        self.receive()
    }
}

/// Nothing on UDP is longer.
const DATAGRAM_MAX: usize = 65_535;

/// Room for bursts: what does not fit is lost.
const BUFFER_BYTES: usize = 1024 * 1024;

/// How soon an endpoint notices that it is killed.
const STOP_POLL: Duration = Duration::from_millis(10);

const TIMEOUT: Duration = Duration::from_secs(5);

/// Nobody sends from there (RFC 863).
const DISCARD_PORT: u16 = 9;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wait::poll_until;

    #[test]
    fn datagrams_are_answered_and_recorded() {
        let endpoint = UdpEndpoint::repeating(2);
        let client = UdpClient::connect(endpoint.address());
        assert_eq!(client.ask("a"), b"a");
        assert_eq!(client.receive(), b"a");
        assert_eq!(client.ask(""), b"");
        assert_eq!(client.receive(), b"");
        assert_eq!(
            endpoint.received(),
            [
                (client.local_address(), b"a".to_vec()),
                (client.local_address(), Vec::new()),
            ]
        );
        endpoint.send(client.local_address(), "b");
        assert_eq!(client.receive(), b"b");
    }

    #[test]
    fn a_killed_endpoint_refuses_and_comes_back_on_its_port() {
        let endpoint = UdpEndpoint::echo();
        let client = UdpClient::connect(endpoint.address());
        client.ask("a");
        endpoint.kill();
        client.socket.send(b"b").unwrap();
        let refused = client.socket.recv(&mut [0; 9]).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
        endpoint.listen_again();
        assert_eq!(client.ask("c"), b"c");
        assert_eq!(endpoint.received_count(), 2);
    }

    #[test]
    fn a_silent_endpoint_says_nothing() {
        let endpoint = UdpEndpoint::silent();
        let client = UdpClient::connect(endpoint.address());
        client.send("a");
        poll_until("it arrives", TIMEOUT, || endpoint.received_count() == 1);
        assert_eq!(client.receive_within(Duration::from_millis(20)), None);
    }
}
