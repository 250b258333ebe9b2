//! What one exchange reads from and writes to on one side.

use std::io;
use std::task::{Context, Poll};

use net::Buffer;

use crate::h2;

/// One side of an exchange. The words are the same for both protocols: a head, data, trailers, an
/// end, a reset.
pub(crate) enum Channel {
    /// HTTP/1: a connection, which is the exchange's own as long as that lasts.
    Connection(net::Stream),
    /// HTTP/2: a stream of a connection that others use at the same time.
    Stream(h2::Stream),
}

impl Channel {
    /// True for a stream of HTTP/2.
    pub(crate) fn is_stream(&self) -> bool {
        matches!(self, Self::Stream(_))
    }

    /// Reads data into `buffer`, which must have room. Zero: nothing more comes.
    pub(crate) fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut Buffer,
    ) -> Poll<io::Result<usize>> {
        match self {
            Self::Connection(stream) => stream.poll_read(cx, buffer),
            Self::Stream(stream) => stream.poll_read(cx, buffer),
        }
    }

    /// Makes the peer see that the message was cut: a close that fails, or a reset.
    pub(crate) fn abort(&mut self) {
        match self {
            Self::Connection(stream) => stream.abort_on_drop(),
            Self::Stream(stream) => stream.abort(),
        }
    }

    /// Says that nothing more is sent; reading goes on.
    pub(crate) fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Connection(stream) => stream.poll_shutdown(cx),
            Self::Stream(stream) => {
                stream.send_trailers(&[]);
                Poll::Ready(Ok(()))
            }
        }
    }
}
