//! A scripted server that records what it receives.

use std::collections::BTreeMap;
use std::io;
use std::net::{Shutdown, SocketAddr};
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::Duration;

use rustls::{ServerConfig, StreamOwned};
use socket2::{Domain, SockAddr, Socket, Type};

use crate::ID_FIELD;
use crate::http::{Body, End, Head};
use crate::http2;
use crate::peer::Peer;
use crate::protocol::Protocol;
use crate::record::{Received, Transcript};
use crate::script::{Reply, Request, Script, Step};
use crate::serve::serve;
use crate::tls::{self, Handshake, TlsServer};
use crate::transport::Transport;

/// A scripted server on a port of 127.0.0.1, or on a Unix socket. A thread for each connection.
///
/// Dropping it stops it, and panics if a request was malformed: a proxy that sends one has
/// failed, whatever the test was about.
#[derive(Debug)]
pub struct Endpoint {
    shared: Arc<Shared>,
    peer: Peer,
    /// Bound and never listening: keeps the port ours while nobody listens.
    _port: Option<Socket>,
    acceptor: Mutex<Option<Acceptor>>,
}

#[derive(Debug)]
struct Acceptor {
    listener: Socket,
    thread: JoinHandle<()>,
}

/// What the endpoint and the threads of its connections share.
#[derive(Debug)]
pub(crate) struct Shared {
    protocol: Protocol,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug)]
struct State {
    script: Script,
    stopped: bool,
    frozen: bool,
    /// Open connections.
    sockets: BTreeMap<usize, Socket>,
    threads: Vec<JoinHandle<()>>,
    in_flight: usize,
    in_flight_max: usize,
    requests: Vec<Received>,
    /// By connection.
    transcripts: Vec<Transcript>,
    faults: Vec<String>,
    handshakes: Vec<Result<Handshake, String>>,
}

impl Endpoint {
    /// An endpoint on 127.0.0.1 that answers by `on_request`.
    pub fn start(on_request: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Self {
        Self::with_script(Script::new(on_request))
    }

    /// An endpoint on 127.0.0.1 that speaks `protocol` and answers by `on_request`.
    pub fn speaking(
        protocol: Protocol,
        on_request: impl Fn(&Request) -> Reply + Send + Sync + 'static,
    ) -> Self {
        Self::on_loopback(protocol, Script::new(on_request))
    }

    /// An endpoint on 127.0.0.1.
    pub fn with_script(script: Script) -> Self {
        Self::on_loopback(Protocol::h1(), script)
    }

    /// An endpoint on 127.0.0.1 that speaks no HTTP: every connection plays the steps that
    /// `on_connect` says for its number, and is closed in good order.
    pub fn raw(on_connect: impl Fn(usize) -> Vec<Step> + Send + Sync + 'static) -> Self {
        Self::on_loopback(Protocol::raw(), Script::raw(on_connect))
    }

    /// As [`Endpoint::raw`], inside TLS, whatever the client offers by ALPN.
    pub fn raw_over(
        tls: &TlsServer,
        on_connect: impl Fn(usize) -> Vec<Step> + Send + Sync + 'static,
    ) -> Self {
        Self::on_loopback(Protocol::raw().over(tls), Script::raw(on_connect))
    }

    /// As [`Endpoint::raw`], on a Unix socket at `path`, which must not exist.
    pub fn raw_unix(
        path: &Path,
        on_connect: impl Fn(usize) -> Vec<Step> + Send + Sync + 'static,
    ) -> Self {
        let (peer, script) = (Peer::Unix(path.to_owned()), Script::raw(on_connect));
        Self::listening(peer, None, Protocol::raw(), script)
    }

    fn on_loopback(protocol: Protocol, script: Script) -> Self {
        let port = tcp_socket(SocketAddr::from(([127, 0, 0, 1], 0)));
        let address = port
            .local_addr()
            .ok()
            .and_then(|address| address.as_socket())
            .expect("a bound TCP socket has an address");
        Self::listening(Peer::Tcp(address), Some(port), protocol, script)
    }

    /// An endpoint on a Unix socket at `path`, which must not exist.
    pub fn start_unix(
        path: &Path,
        on_request: impl Fn(&Request) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let script = Script::new(on_request);
        Self::listening(Peer::Unix(path.to_owned()), None, Protocol::h1(), script)
    }

    fn listening(peer: Peer, port: Option<Socket>, protocol: Protocol, script: Script) -> Self {
        let endpoint = Self {
            shared: Arc::new(Shared::new(protocol, script)),
            peer,
            _port: port,
            acceptor: Mutex::new(None),
        };
        endpoint.listen_again();
        endpoint
    }

    /// Where it listens.
    pub fn peer(&self) -> &Peer {
        &self.peer
    }

    /// Where it listens; panics for a Unix socket.
    #[track_caller]
    pub fn address(&self) -> SocketAddr {
        match &self.peer {
            Peer::Tcp(address) => *address,
            Peer::Unix(path) => panic!("{} is no TCP address", path.display()),
        }
    }

    /// Replaces the behaviour from the next request on.
    pub fn set_script(&self, on_request: impl Fn(&Request) -> Reply + Send + Sync + 'static) {
        self.shared.lock().script = Script::new(on_request);
    }

    /// Replaces the steps of a raw endpoint from the next connection on.
    pub fn set_steps(&self, on_connect: impl Fn(usize) -> Vec<Step> + Send + Sync + 'static) {
        self.shared.lock().script = Script::raw(on_connect);
    }

    /// Refuses connections from now on; open ones live on.
    pub fn stop_listening(&self) {
        let acceptor = self.acceptor.lock().expect("no holder panics").take();
        if let Some(acceptor) = acceptor {
            // On Linux this wakes the thread in `accept` and resets what waits in the backlog.
            let _ = acceptor.listener.shutdown(Shutdown::Both);
            self.shared.changed.notify_all();
            let _ = acceptor.thread.join();
        }
    }

    /// Accepts connections again, on the same port.
    pub fn listen_again(&self) {
        let listener = match &self.peer {
            Peer::Tcp(address) => tcp_socket(*address),
            Peer::Unix(path) => unix_socket(path),
        };
        listener.listen(BACKLOG).expect("the port is ours");
        let accepting = listener.try_clone().expect("file descriptors are left");
        let shared = Arc::clone(&self.shared);
        let thread = std::thread::spawn(move || accept(&shared, &accepting));
        *self.acceptor.lock().expect("no holder panics") = Some(Acceptor { listener, thread });
    }

    /// What SIGKILL does: refuses connections and ends the open ones.
    pub fn kill(&self) {
        self.stop_listening();
        self.cut_connections();
    }

    /// Ends the open connections.
    pub fn cut_connections(&self) {
        for socket in self.shared.lock().sockets.values() {
            let _ = socket.shutdown(Shutdown::Both);
        }
    }

    /// What SIGSTOP does: connections are accepted by the backlog and nothing is answered.
    pub fn freeze(&self) {
        self.shared.lock().frozen = true;
    }

    /// Goes on where it was frozen.
    pub fn thaw(&self) {
        self.shared.lock().frozen = false;
        self.shared.changed.notify_all();
    }

    /// The requests so far, by arrival of their heads.
    pub fn requests(&self) -> Vec<Received> {
        self.shared.lock().requests.clone()
    }

    /// The only request so far; panics if there were more or none.
    #[track_caller]
    pub fn request(&self) -> Received {
        let mut requests = self.requests();
        assert_eq!(requests.len(), 1, "requests received: {requests:#?}");
        requests.remove(0)
    }

    /// How many requests arrived.
    pub fn request_count(&self) -> usize {
        self.shared.lock().requests.len()
    }

    /// The ids of the requests so far, see [`ID_FIELD`].
    pub fn ids(&self) -> Vec<String> {
        let state = self.shared.lock();
        state
            .requests
            .iter()
            .filter_map(|request| request.head.field(ID_FIELD).map(str::to_owned))
            .collect()
    }

    /// What each connection received, as bytes, up to 256 KiB each.
    pub fn received(&self) -> Vec<Vec<u8>> {
        let state = self.shared.lock();
        let received = state.transcripts.iter().map(|seen| seen.received.clone());
        received.collect()
    }

    /// What came and went on each connection, in order of acceptance.
    pub fn transcripts(&self) -> Vec<Transcript> {
        self.shared.lock().transcripts.clone()
    }

    /// Connections accepted so far.
    pub fn connection_count(&self) -> usize {
        self.shared.lock().transcripts.len()
    }

    /// Connections open now.
    pub fn open_count(&self) -> usize {
        self.shared.lock().sockets.len()
    }

    /// Requests being answered now.
    pub fn in_flight(&self) -> usize {
        self.shared.lock().in_flight
    }

    /// Most requests being answered at once, so far.
    pub fn in_flight_max(&self) -> usize {
        self.shared.lock().in_flight_max
    }

    /// What each TLS handshake came to so far, or why there was none.
    pub fn handshakes(&self) -> Vec<Result<Handshake, String>> {
        self.shared.lock().handshakes.clone()
    }

    /// What was wrong with requests, in words. Whoever takes it has dealt with it.
    pub fn take_faults(&self) -> Vec<String> {
        std::mem::take(&mut self.shared.lock().faults)
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        self.shared.lock().stopped = true;
        self.shared.changed.notify_all();
        self.kill();
        let threads = std::mem::take(&mut self.shared.lock().threads);
        for thread in threads {
            if thread.join().is_err() {
                self.shared.fault("the script panicked".to_owned());
            }
        }
        let faults = self.take_faults();
        if !std::thread::panicking() {
            assert!(faults.is_empty(), "malformed requests: {faults:#?}");
        }
    }
}

impl Shared {
    fn new(protocol: Protocol, script: Script) -> Self {
        Self {
            protocol,
            state: Mutex::new(State {
                script,
                stopped: false,
                frozen: false,
                sockets: BTreeMap::new(),
                threads: Vec::new(),
                in_flight: 0,
                in_flight_max: 0,
                requests: Vec::new(),
                transcripts: Vec::new(),
                faults: Vec::new(),
                handshakes: Vec::new(),
            }),
            changed: Condvar::new(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no holder panics")
    }

    /// Returns when the endpoint is not frozen.
    pub(crate) fn pass(&self) {
        let state = self.lock();
        let passed = self
            .changed
            .wait_while(state, |state| state.frozen && !state.stopped);
        drop(passed.expect("no holder panics"));
    }

    /// Returns after `duration`, or when the endpoint stops.
    pub(crate) fn pause(&self, duration: Duration) {
        let state = self.lock();
        let paused = self
            .changed
            .wait_timeout_while(state, duration, |state| !state.stopped);
        drop(paused.expect("no holder panics"));
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.lock().stopped
    }

    pub(crate) fn on_connect(&self, connection: usize) -> Vec<Step> {
        let script = self.lock().script.clone();
        (script.on_connect)(connection)
    }

    pub(crate) fn on_request(&self, request: &Request) -> Reply {
        // The script runs unlocked: it may ask the endpoint things.
        let script = self.lock().script.clone();
        (script.on_request)(request)
    }

    pub(crate) fn record_bytes(&self, connection: usize, bytes: &[u8]) {
        let seen = &mut self.lock().transcripts[connection];
        seen.received_bytes += bytes.len() as u64;
        let room = RECORDED_MAX - seen.received.len();
        seen.received
            .extend_from_slice(&bytes[..bytes.len().min(room)]);
    }

    /// The first end is the one that the other side has made.
    pub(crate) fn record_end(&self, connection: usize, end: End) {
        let seen = &mut self.lock().transcripts[connection];
        seen.end.get_or_insert(end);
    }

    pub(crate) fn record_raw_sent(&self, connection: usize, bytes: u64) {
        self.lock().transcripts[connection].sent_bytes += bytes;
    }

    /// Records a request; returns its index for [`Shared::record_body`].
    pub(crate) fn begin_request(&self, head: Head, connection: usize) -> usize {
        let mut state = self.lock();
        state.in_flight += 1;
        state.in_flight_max = state.in_flight_max.max(state.in_flight);
        state.requests.push(Received {
            head,
            connection,
            body: None,
            cancelled: None,
            sent: 0,
        });
        state.requests.len() - 1
    }

    pub(crate) fn record_body(&self, request: usize, body: Body) {
        self.lock().requests[request].body = Some(body);
    }

    pub(crate) fn record_cancel(&self, request: usize, code: u32) {
        self.lock().requests[request].cancelled = Some(code);
    }

    pub(crate) fn record_sent(&self, request: usize, bytes: u64) {
        self.lock().requests[request].sent += bytes;
    }

    pub(crate) fn record_handshake(&self, handshake: Result<Handshake, String>) {
        self.lock().handshakes.push(handshake);
    }

    /// The connection that `request` came on will end by a reset.
    pub(crate) fn abort(&self, request: usize) {
        let mut state = self.lock();
        let connection = state.requests[request].connection;
        if let Some(socket) = state.sockets.remove(&connection) {
            // Fails only on a connection that is over.
            let _ = socket.set_linger(Some(Duration::ZERO));
        }
    }

    pub(crate) fn end_request(&self) {
        self.lock().in_flight -= 1;
    }

    pub(crate) fn fault(&self, fault: String) {
        self.lock().faults.push(fault);
    }

    /// Lets go of a connection's socket.
    pub(crate) fn forget(&self, connection: usize) {
        self.lock().sockets.remove(&connection);
    }
}

fn accept(shared: &Arc<Shared>, listener: &Socket) {
    while let Ok((socket, _)) = listener.accept() {
        shared.pass();
        let Ok(handle) = socket.try_clone() else {
            continue;
        };
        let _ = socket.set_tcp_nodelay(true);
        let mut state = shared.lock();
        let connection = state.transcripts.len();
        state.transcripts.push(Transcript::default());
        state.sockets.insert(connection, handle);
        let serving = Arc::clone(shared);
        let thread = std::thread::spawn(move || speak(&serving, socket, connection));
        state.threads.push(thread);
    }
}

/// Serves a connection in the protocol of the endpoint.
fn speak(shared: &Arc<Shared>, socket: Socket, connection: usize) {
    let tls = shared.protocol.tls.as_ref();
    if let Some(settings) = shared.protocol.http2 {
        return http2::serve(shared, settings, tls, socket, connection);
    }
    let transport = match tls {
        None => Transport::Plain(socket),
        Some(tls) => match tls::accept(config_of(&shared.protocol, tls), &socket) {
            Ok(connection) => {
                let handshake = Handshake::of(&connection, connection.server_name());
                shared.record_handshake(Ok(handshake));
                Transport::Server(Box::new(StreamOwned::new(connection, socket)))
            }
            Err(error) => {
                shared.record_handshake(Err(error.to_string()));
                return shared.forget(connection);
            }
        },
    };
    serve(shared, transport, connection);
}

fn config_of(protocol: &Protocol, tls: &TlsServer) -> Arc<ServerConfig> {
    match protocol.is_raw {
        true => Arc::clone(&tls.config),
        false => tls.offering("http/1.1"),
    }
}

/// A bound socket whose port may be bound a second time, see [`Endpoint::_port`].
fn tcp_socket(address: SocketAddr) -> Socket {
    let bound = || -> io::Result<Socket> {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
        socket.set_reuse_address(true)?;
        socket.bind(&address.into())?;
        Ok(socket)
    };
    bound().expect("a port of loopback can be bound")
}

fn unix_socket(path: &Path) -> Socket {
    let bound = || -> io::Result<Socket> {
        if path.exists() {
            std::fs::remove_file(path)?;
        }
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
        socket.bind(&SockAddr::unix(path)?)?;
        Ok(socket)
    };
    bound().expect("a Unix socket can be bound at the path")
}

/// Connections that wait to be accepted; a load must not overflow it.
const BACKLOG: i32 = 1024;

/// What is recorded of a connection's bytes.
const RECORDED_MAX: usize = 256 * 1024;
