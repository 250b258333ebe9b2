//! The demo's clients: a trickle of requests to the balancer, each on a connection of its own.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::{interval, timeout};

pub(crate) const REQUESTS_PER_SECOND: u32 = 50;

/// Longer than the balancer takes at most, so that a time-out is its failure.
const TIMEOUT: Duration = Duration::from_secs(10);

/// What the clients saw.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    answered: AtomicU64,
    failed: AtomicU64,
}

impl Counts {
    /// Requests that are over.
    pub(crate) fn requests(&self) -> u64 {
        self.answered.load(Ordering::Relaxed) + self.failed()
    }

    /// Those of them without an answer from an endpoint.
    pub(crate) fn failed(&self) -> u64 {
        self.failed.load(Ordering::Relaxed)
    }
}

/// The running trickle.
#[derive(Debug)]
pub(crate) struct Traffic {
    counts: Arc<Counts>,
    stop: oneshot::Sender<()>,
    thread: JoinHandle<()>,
}

impl Traffic {
    /// Sends requests to `address` until stopped, in a thread that drives `runtime` meanwhile.
    pub(crate) fn start(address: SocketAddr, runtime: Runtime) -> io::Result<Self> {
        let counts = Arc::new(Counts::default());
        let (stop, stopped) = oneshot::channel();
        let thread = thread::Builder::new().name("traffic".into()).spawn({
            let counts = Arc::clone(&counts);
            move || runtime.block_on(trickle(address, &counts, stopped))
        })?;
        Ok(Self {
            counts,
            stop,
            thread,
        })
    }

    pub(crate) fn counts(&self) -> Arc<Counts> {
        Arc::clone(&self.counts)
    }

    /// Sends no more, and waits for the last answers.
    pub(crate) fn stop(self) -> Arc<Counts> {
        let _ = self.stop.send(());
        let _ = self.thread.join();
        self.counts
    }
}

/// A request at each tick, answered or not: clients do not wait for each other.
async fn trickle(address: SocketAddr, counts: &Arc<Counts>, mut stopped: oneshot::Receiver<()>) {
    let mut ticks = interval(Duration::from_secs(1) / REQUESTS_PER_SECOND);
    let mut requests = JoinSet::new();
    loop {
        tokio::select! {
            _ = ticks.tick() => {
                requests.spawn(request(address, Arc::clone(counts)));
            }
            Some(_) = requests.join_next() => {}
            _ = &mut stopped => break,
        }
    }
    while requests.join_next().await.is_some() {}
}

async fn request(address: SocketAddr, counts: Arc<Counts>) {
    match timeout(TIMEOUT, is_answered(address)).await {
        Ok(Ok(true)) => counts.answered.fetch_add(1, Ordering::Relaxed),
        _ => counts.failed.fetch_add(1, Ordering::Relaxed),
    };
}

/// Whether an endpoint's answer comes, to its end.
async fn is_answered(address: SocketAddr) -> io::Result<bool> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(REQUEST).await?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await?;
    Ok(answer.starts_with(b"HTTP/1.1 200 ") && answer.ends_with(b"\n"))
}

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: demo.example\r\nConnection: close\r\n\r\n";
