//! A built-in endpoint: a tiny HTTP server that can be killed, frozen and revived.
//!
//! It knows as much HTTP as the balancer speaks to it. Killed, it closes its port and resets its
//! connections, as the kernel does for a process that ends; frozen, it accepts and never answers.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::sleep;

/// What an endpoint does at the moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    Running,
    Frozen,
    Killed,
}

impl Mode {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Frozen => "frozen",
            Self::Killed => "killed",
        }
    }
}

/// The handle of an endpoint that runs as a task.
#[derive(Debug)]
pub(crate) struct Endpoint {
    pub(crate) name: &'static str,
    pub(crate) address: SocketAddr,
    mode: watch::Sender<Mode>,
}

/// A request takes from here to twice as long, so that some are in flight at any moment.
const WORK_MS: u64 = 15;

/// Longest request head.
const HEAD_BYTES_MAX: usize = 16 * 1024;

/// From try to try to get its port back.
const BIND_INTERVAL: Duration = Duration::from_millis(100);

impl Endpoint {
    /// Starts an endpoint on a port of its own, as a task of the current runtime.
    pub(crate) fn start(name: &'static str) -> io::Result<Self> {
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let (mode, modes) = watch::channel(Mode::Running);
        tokio::spawn(live(name, address, TcpListener::from_std(listener)?, modes));
        Ok(Self {
            name,
            address,
            mode,
        })
    }

    pub(crate) fn mode(&self) -> Mode {
        *self.mode.borrow()
    }

    pub(crate) fn set_mode(&self, mode: Mode) {
        self.mode.send_replace(mode);
    }
}

/// Accepts, is killed, comes back; ends with its handle.
async fn live(
    name: &'static str,
    address: SocketAddr,
    mut listener: TcpListener,
    mut modes: watch::Receiver<Mode>,
) {
    let modes_of_connections = modes.clone();
    loop {
        loop {
            tokio::select! {
                accepted = listener.accept() => {
                    if let Ok((stream, _)) = accepted {
                        tokio::spawn(serve(stream, name, modes_of_connections.clone()));
                    }
                }
                _ = modes.wait_for(|mode| *mode == Mode::Killed) => break,
            }
        }
        drop(listener);
        if modes.wait_for(|mode| *mode != Mode::Killed).await.is_err() {
            return;
        }
        // Somebody else may have the port now, if only as the source of a connection.
        listener = loop {
            match TcpListener::bind(address).await {
                Ok(listener) => break listener,
                Err(_) => sleep(BIND_INTERVAL).await,
            }
        };
    }
}

/// One connection, until the client closes it or the endpoint is killed.
async fn serve(mut stream: TcpStream, name: &str, mut modes: watch::Receiver<Mode>) {
    let frozen = modes.clone();
    let is_killed = tokio::select! {
        () = answer(&mut stream, name, frozen) => false,
        _ = modes.wait_for(|mode| *mode == Mode::Killed) => true,
    };
    if is_killed {
        // Dropped then, it is reset and not closed in order.
        let _ = stream.set_zero_linger();
    }
}

/// Answers request after request, when they are not frozen.
async fn answer(stream: &mut TcpStream, name: &str, mut modes: watch::Receiver<Mode>) {
    let mut received = Vec::new();
    loop {
        let Some(end) = head_end(&received) else {
            let has_room = received.len() < HEAD_BYTES_MAX;
            match stream.read_buf(&mut received).await {
                Ok(1..) if has_room => continue,
                _ => return,
            }
        };
        let head: Vec<u8> = received.drain(..end).collect();
        if !head.starts_with(b"GET ") {
            // Whatever body there is ends with the connection.
            let _ = stream.write_all(NOT_ALLOWED).await;
            return;
        }
        // A health check asks whether it can answer, not for work.
        if !head.starts_with(b"GET /healthz ") {
            sleep(Duration::from_millis(fastrand::u64(WORK_MS..=2 * WORK_MS))).await;
        }
        if modes.wait_for(|mode| *mode != Mode::Frozen).await.is_err() {
            return;
        }
        let length = name.len() + 1;
        let answer = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {length}\r\n\r\n{name}\n"
        );
        if stream.write_all(answer.as_bytes()).await.is_err() {
            return;
        }
    }
}

const NOT_ALLOWED: &[u8] = b"HTTP/1.1 405 Method Not Allowed\r\nAllow: GET\r\n\
    Connection: close\r\nContent-Length: 0\r\n\r\n";

fn head_end(received: &[u8]) -> Option<usize> {
    let blank_line = received.windows(4).position(|four| four == b"\r\n\r\n")?;
    Some(blank_line + 4)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread;
    use testkit::{Client, get, poll_until};
    use tokio::sync::oneshot;

    const SOON: Duration = Duration::from_secs(10);

    /// An endpoint in a thread of its own, for as long as the second value lives.
    fn started() -> (Endpoint, oneshot::Sender<()>) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime can be made");
        let endpoint = {
            let _entered = runtime.enter();
            Endpoint::start("one").expect("some port is free")
        };
        let (alive, ended) = oneshot::channel();
        thread::spawn(move || runtime.block_on(ended));
        (endpoint, alive)
    }

    #[test]
    fn it_answers_with_its_name_on_a_connection_that_stays() {
        let (endpoint, _alive) = started();
        let mut client = Client::connect(endpoint.address);
        for _ in 0..2 {
            assert_eq!(client.get("/").text(), "one\n");
        }
        client.send("POST / HTTP/1.1\r\nContent-Length: 2\r\n\r\nok");
        assert_eq!(client.read_response().status, 405);
    }

    #[test]
    fn killed_it_resets_and_refuses_and_revived_it_answers_on_the_same_port() {
        let (endpoint, _alive) = started();
        let peer = endpoint.address.into();
        let mut busy = Client::connect(endpoint.address);
        assert_eq!(busy.get("/").text(), "one\n");

        endpoint.set_mode(Mode::Killed);
        busy.expect_reset();
        poll_until("connections are refused", SOON, || {
            Client::try_connect(&peer).is_err()
        });

        endpoint.set_mode(Mode::Running);
        poll_until("it listens again", SOON, || {
            Client::try_connect(&peer).is_ok()
        });
        assert_eq!(get(endpoint.address, "/").text(), "one\n");
    }

    #[test]
    fn frozen_it_accepts_and_answers_when_it_thaws() {
        let (endpoint, _alive) = started();
        endpoint.set_mode(Mode::Frozen);
        let mut client = Client::connect(endpoint.address);
        client.send("GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n");
        client.set_timeout(Duration::from_millis(100));
        assert!(client.try_read_response("GET", 100).is_err());
        client.set_timeout(SOON);
        endpoint.set_mode(Mode::Running);
        assert_eq!(client.read_response().text(), "one\n");
    }
}
