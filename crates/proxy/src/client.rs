//! The downstream half of a connection.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use net::{Buffer, Deadline, Stream, TlsInfo};
use wire::proxy_protocol::Header;

use crate::channel::Channel;
use crate::client_address::ClientAddress;
use crate::headers::Introduction;

/// A client's side of exchanges, and what has arrived on it: of one after the other on a
/// connection of HTTP/1, of a single one on a stream of HTTP/2.
pub(crate) struct Client {
    pub(crate) channel: Channel,
    /// What has arrived and was not consumed.
    pub(crate) buffer: Buffer,
    deadline: Deadline,
    /// The end of the whole exchange, which no phase may outlast.
    last_moment: Option<Instant>,
    /// That nothing more comes from it does not mean that it is gone.
    may_half_close: bool,
    pub(crate) peer: Rc<Peer>,
    /// Bytes read, over all exchanges.
    pub(crate) bytes_received: u64,
    /// Bytes written, over all exchanges.
    pub(crate) bytes_sent: u64,
}

/// What is known of a client's connection.
pub(crate) struct Peer {
    /// Written out once: every request shows it to the endpoint.
    pub(crate) address: ClientAddress,
    pub(crate) listener: usize,
    /// What the TLS handshake came to.
    pub(crate) tls: Option<TlsInfo>,
    /// What a trusted proxy in front has said of the connection.
    pub(crate) proxied: Option<Box<Header>>,
    /// What the client has connected to, where endpoints are told.
    pub(crate) destination: Option<SocketAddr>,
    pub(crate) introduction: RefCell<Introduction>,
}

impl Peer {
    /// True if the client speaks TLS, with us or with the proxy in front.
    pub(crate) fn is_https(&self) -> bool {
        let is_proxied = |header: &Header| header.tls.is_some();
        self.tls.is_some() || self.proxied.as_deref().is_some_and(is_proxied)
    }
}

/// The client is gone: it closed, or the connection broke.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Gone;

impl Client {
    pub(crate) fn new(channel: Channel, peer: Rc<Peer>, deadline: Deadline) -> Self {
        Self {
            channel,
            buffer: Buffer::default(),
            deadline,
            last_moment: None,
            may_half_close: false,
            peer,
            bytes_received: 0,
            bytes_sent: 0,
        }
    }

    /// A client that may say all it has to say, and close its side, before it is answered.
    pub(crate) fn half_closing(self) -> Self {
        Self {
            may_half_close: true,
            ..self
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

    /// Its connection, and what has arrived on it.
    ///
    /// # Panics
    /// It is a stream of HTTP/2.
    pub(crate) fn connection(&mut self) -> (&mut Stream, &mut Buffer) {
        match &mut self.channel {
            Channel::Connection(stream) => (stream, &mut self.buffer),
            Channel::Stream(_) => unreachable!("what is relayed is a connection"),
        }
    }

    /// What it consists of, to go on with in another way.
    pub(crate) fn into_parts(self) -> (Channel, Buffer, Deadline) {
        (self.channel, self.buffer, self.deadline)
    }

    /// Ready once there may be something to read.
    pub(crate) fn poll_readable(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match &mut self.channel {
            Channel::Connection(stream) => stream.poll_readable(cx),
            Channel::Stream(_) => Poll::Pending,
        }
    }

    /// Reads what has arrived. Zero: the client has closed. The buffer must have room.
    pub(crate) fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let read = self.channel.poll_read(cx, &mut self.buffer);
        if let Poll::Ready(Ok(count)) = read {
            self.bytes_received += count as u64;
        }
        read
    }

    /// Ready if the client leaves while we work for it. A client that only half-closes counts as
    /// gone, as with most proxies: the two cannot be told apart before the answer is written.
    /// What it sends meanwhile is kept for the next request, up to a buffer.
    pub(crate) fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<Gone> {
        if let Channel::Stream(stream) = &mut self.channel {
            // There, each side says for itself when it is done.
            return stream.poll_gone(cx).map(|()| Gone);
        }
        loop {
            if self.buffer.is_full() {
                return Poll::Pending;
            }
            match self.poll_read(cx) {
                Poll::Ready(Ok(0)) if self.may_half_close => return Poll::Pending,
                Poll::Ready(Ok(0) | Err(_)) => return Poll::Ready(Gone),
                Poll::Ready(Ok(_)) => {}
                Poll::Pending => return Poll::Pending,
            }
        }
    }

    /// Sends the head of an interim response.
    pub(crate) async fn send_interim(
        &mut self,
        head: &[u8],
        patience: Duration,
    ) -> Result<(), Gone> {
        self.allow(patience);
        poll_fn(|cx| match &mut self.channel {
            Channel::Stream(stream) if stream.poll_room(cx).is_pending() => {
                self.poll_timeout(cx).map(|()| Err(Gone))
            }
            _ => Poll::Ready(Ok(())),
        })
        .await?;
        match &mut self.channel {
            Channel::Connection(_) => self.write_all(head, patience).await,
            Channel::Stream(stream) => {
                self.bytes_sent += head.len() as u64;
                stream.send_head(head, false).map_err(|_| Gone)
            }
        }
    }

    /// Sends a whole response, `reply`, whose first `head_bytes` are its head.
    pub(crate) async fn send_reply(
        &mut self,
        reply: &[u8],
        head_bytes: usize,
        patience: Duration,
    ) -> Result<(), Gone> {
        if let Channel::Stream(stream) = &mut self.channel {
            let (head, body) = reply.split_at(head_bytes);
            self.bytes_sent += head.len() as u64;
            stream.send_head(head, body.is_empty()).map_err(|_| Gone)?;
            return self.write_all(body, patience).await;
        }
        self.write_all(reply, patience).await
    }

    /// Writes all of `bytes`, the last of a message, allowing `patience` between two steps forward.
    async fn write_all(&mut self, bytes: &[u8], patience: Duration) -> Result<(), Gone> {
        let mut written = 0;
        self.allow(patience);
        poll_fn(|cx| {
            while written < bytes.len() {
                let rest = &bytes[written..];
                let step = match &mut self.channel {
                    Channel::Connection(stream) => stream.poll_write(cx, rest).map_err(|_| Gone),
                    Channel::Stream(stream) => stream.poll_send(cx, rest, true).map_err(|_| Gone),
                };
                match step {
                    Poll::Ready(Ok(0) | Err(Gone)) => return Poll::Ready(Err(Gone)),
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

    /// True if the client has sent something that was not read, or has closed: the connection is
    /// of no more use then, as the look may take a byte.
    pub(crate) fn has_news(&mut self) -> bool {
        match &mut self.channel {
            Channel::Connection(stream) => stream.has_news(),
            Channel::Stream(_) => false,
        }
    }

    /// Closes a connection on which nothing more comes. TLS may hold what was written last, which
    /// has `patience` to leave, and says goodbye; for TCP the close is all there is to say.
    pub(crate) async fn close_in_order(&mut self, patience: Duration) {
        if self.peer.tls.is_some() {
            self.shut(patience).await;
        }
    }

    /// Says that nothing more is sent, once it has left. False if that took more than `patience`.
    async fn shut(&mut self, patience: Duration) -> bool {
        self.last_moment = None;
        self.allow(patience);
        poll_fn(|cx| match self.channel.poll_shutdown(cx) {
            Poll::Ready(shut) => Poll::Ready(shut.is_ok()),
            Poll::Pending => self.poll_timeout(cx).map(|()| false),
        })
        .await
    }

    /// Closes so that the client gets what was written last: a close with unread bytes would send
    /// a reset, which discards it (RFC 9112 §9.6). What waits to be sent has `patience` to leave.
    /// Reads on for a moment, and throws it away.
    pub(crate) async fn close_gently(&mut self, patience: Duration) {
        if !self.shut(patience).await {
            return;
        }
        self.allow(LINGER_MAX);
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
