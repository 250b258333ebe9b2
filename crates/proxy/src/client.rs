//! The downstream half of a connection.

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use net::{Buffer, Deadline, Stream};

use crate::client_address::ClientAddress;

/// A client's connection and what has arrived on it.
pub(crate) struct Client {
    pub(crate) stream: Stream,
    /// What has arrived and was not consumed.
    pub(crate) buffer: Buffer,
    deadline: Deadline,
    /// The end of the whole exchange, which no phase may outlast.
    last_moment: Option<Instant>,
    /// The address, written out once: every request shows it to the endpoint.
    pub(crate) address: ClientAddress,
    pub(crate) listener: usize,
    /// Bytes read, over all exchanges.
    pub(crate) bytes_received: u64,
    /// Bytes written, over all exchanges.
    pub(crate) bytes_sent: u64,
}

/// The client is gone: it closed, or the connection broke.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Gone;

impl Client {
    pub(crate) fn new(
        stream: Stream,
        peer: Option<SocketAddr>,
        listener: usize,
        until: Instant,
    ) -> Self {
        Self {
            stream,
            buffer: Buffer::default(),
            deadline: Deadline::new(until),
            last_moment: None,
            address: ClientAddress::new(peer),
            listener,
            bytes_received: 0,
            bytes_sent: 0,
        }
    }

    /// Bytes that were received and are done with.
    pub(crate) fn bytes_consumed(&self) -> u64 {
        self.bytes_received - self.buffer.filled().len() as u64
    }

    /// Bounds the exchange that begins now.
    pub(crate) fn limit_exchange(&mut self, last_moment: Option<Instant>) {
        self.last_moment = last_moment;
    }

    /// True unless the exchange has lasted as long as it may.
    pub(crate) fn has_time_left(&self) -> bool {
        self.last_moment.is_none_or(|last| Instant::now() < last)
    }

    /// Allows `duration` from now for what comes next.
    pub(crate) fn allow(&mut self, duration: Duration) {
        self.allow_until(Instant::now() + duration);
    }

    /// Until when what is going on is allowed.
    pub(crate) fn allowed_until(&self) -> Instant {
        self.deadline.at()
    }

    /// As [`Self::allow`], for a caller who knows the time.
    pub(crate) fn allow_until(&mut self, until: Instant) {
        self.deadline
            .set(self.last_moment.map_or(until, |last| last.min(until)));
    }

    /// Ready once what was allowed is used up.
    pub(crate) fn poll_timeout(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.deadline.poll_passed(cx)
    }

    /// Reads what has arrived. Zero: the client has closed. The buffer must have room.
    pub(crate) fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let read = self.stream.poll_read(cx, &mut self.buffer);
        if let Poll::Ready(Ok(count)) = read {
            self.bytes_received += count as u64;
        }
        read
    }

    /// Ready if the client leaves while we work for it. A client that only half-closes counts as
    /// gone, as with most proxies: the two cannot be told apart before the answer is written.
    /// What it sends meanwhile is kept for the next request, up to a buffer.
    pub(crate) fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<Gone> {
        loop {
            if self.buffer.is_full() {
                return Poll::Pending;
            }
            match self.poll_read(cx) {
                Poll::Ready(Ok(0) | Err(_)) => return Poll::Ready(Gone),
                Poll::Ready(Ok(_)) => {}
                Poll::Pending => return Poll::Pending,
            }
        }
    }

    /// Writes all of `bytes`, allowing `patience` between two steps forward.
    pub(crate) async fn write_all(&mut self, bytes: &[u8], patience: Duration) -> Result<(), Gone> {
        let mut written = 0;
        self.allow(patience);
        poll_fn(|cx| {
            while written < bytes.len() {
                match self.stream.poll_write(cx, &bytes[written..]) {
                    Poll::Ready(Ok(0) | Err(_)) => return Poll::Ready(Err(Gone)),
                    Poll::Ready(Ok(count)) => {
                        written += count;
                        self.bytes_sent += count as u64;
                        self.allow(patience);
                    }
                    Poll::Pending => return self.poll_timeout(cx).map(|()| Err(Gone)),
                }
            }
            Poll::Ready(Ok(()))
        })
        .await
    }

    /// Closes so that the client gets what was written last: a close with unread bytes would send
    /// a reset, which discards it (RFC 9112 §9.6). Reads on for a moment, and throws it away.
    pub(crate) async fn close_gently(&mut self) {
        self.last_moment = None;
        self.allow(LINGER_MAX);
        if poll_fn(|cx| self.stream.poll_shutdown(cx)).await.is_err() {
            return;
        }
        let mut bytes_left = LINGER_BYTES_MAX;
        poll_fn(|cx| {
            loop {
                let waiting = self.buffer.filled().len();
                self.buffer.consume(waiting);
                match self.poll_read(cx) {
                    Poll::Ready(Ok(count)) if count > 0 && count <= bytes_left => {
                        bytes_left -= count;
                    }
                    Poll::Ready(_) => return Poll::Ready(()),
                    Poll::Pending => return self.poll_timeout(cx),
                }
            }
        })
        .await;
    }
}

/// How long and for how many bytes a closed connection is read on.
const LINGER_MAX: Duration = Duration::from_secs(2);
const LINGER_BYTES_MAX: usize = 1024 * 1024;
