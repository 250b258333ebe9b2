//! The downstream half of a connection.

use std::future::poll_fn;
use std::io::{self, Write as _};
use std::net::{SocketAddr, SocketAddrV4};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use net::{Buffer, Deadline, Stream};

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

/// A client's address as text: `192.0.2.1:4711`, `[2001:db8::1]:4711`, or `unix`.
pub(crate) struct ClientAddress {
    /// Long enough for every IPv6 socket address with a scope.
    text: [u8; 64],
    length: u8,
    /// Where the IP address stands, without brackets; `(0, 0)` if there is none.
    ip: (u8, u8),
}

impl ClientAddress {
    pub(crate) fn new(peer: Option<SocketAddr>) -> Self {
        let mut text = [0; 64];
        let mut rest = &mut text[..];
        // 64 bytes hold `[8*4 + 7]:port`, so writing cannot fail.
        let address = match peer {
            // A dual-stack socket shows IPv4 clients as `::ffff:1.2.3.4`.
            Some(address) => SocketAddr::new(address.ip().to_canonical(), address.port()),
            None => {
                let _ = rest.write(b"unix");
                return Self {
                    text,
                    length: 4,
                    ip: (0, 0),
                };
            }
        };
        let _ = match address {
            // By hand, because formatting is most of what a short connection would cost.
            SocketAddr::V4(address) => write_ipv4(&mut rest, address),
            // Without the scope, which means something on this machine only.
            SocketAddr::V6(address) => write!(rest, "[{}]:{}", address.ip(), address.port()),
        };
        let length = 64 - rest.len();
        let colon = text[..length]
            .iter()
            .rposition(|&byte| byte == b':')
            .unwrap_or(length);
        let bracket = u8::from(address.is_ipv6());
        let ip = (bracket, colon as u8 - bracket);
        Self {
            text,
            length: length as u8,
            ip,
        }
    }

    /// Address and port.
    pub(crate) fn as_str(&self) -> &str {
        std::str::from_utf8(&self.text[..self.length as usize]).unwrap_or_default()
    }

    /// The IP address alone, without brackets; `unknown` for a Unix socket (RFC 7239 §6.2).
    pub(crate) fn ip(&self) -> &[u8] {
        match self.ip {
            (_, 0) => b"unknown",
            (start, end) => &self.text[start as usize..end as usize],
        }
    }

    /// False for a Unix socket.
    pub(crate) fn has_ip(&self) -> bool {
        self.ip.1 != 0
    }

    /// True if the IP address needs brackets in a `Forwarded` node (RFC 7239 §6).
    pub(crate) fn is_ipv6(&self) -> bool {
        self.ip.0 == 1
    }
}

fn write_ipv4(out: &mut &mut [u8], address: SocketAddrV4) -> io::Result<()> {
    let mut digits = itoa::Buffer::new();
    for (octet, separator) in address.ip().octets().into_iter().zip([".", ".", ".", ":"]) {
        out.write_all(digits.format(octet).as_bytes())?;
        out.write_all(separator.as_bytes())?;
    }
    out.write_all(digits.format(address.port()).as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_written_with_and_without_its_port() {
        for (peer, text, ip) in [
            ("1.2.3.4:5", "1.2.3.4:5", "1.2.3.4"),
            ("[2001:db8::1]:65535", "[2001:db8::1]:65535", "2001:db8::1"),
            ("[::ffff:1.2.3.4]:5", "1.2.3.4:5", "1.2.3.4"),
        ] {
            let address = ClientAddress::new(Some(peer.parse().unwrap()));
            assert_eq!(address.as_str(), text);
            assert_eq!(address.ip(), ip.as_bytes());
        }
        assert_eq!(ClientAddress::new(None).as_str(), "unix");
        assert_eq!(ClientAddress::new(None).ip(), b"unknown");
    }
}
