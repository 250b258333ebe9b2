//! A byte stream to a client or an endpoint: TCP or a Unix socket, as it is or with TLS on it.

use std::io;
use std::io::IoSlice;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::{TcpStream, UnixStream};

use crate::{Buffer, TlsStream};

/// An open connection.
///
/// Reading and writing ask the kernel only when it has reported readiness, and a short read is
/// taken for the last one (edge-triggered epoll), so that an exchange costs one `recv` and one
/// `send` on each side.
#[derive(Debug)]
pub enum Stream {
    /// TCP.
    Tcp(TcpStream),
    /// Unix stream socket.
    Unix(UnixStream),
    /// TLS on one of the others.
    Tls(Box<TlsStream>),
}

impl Stream {
    /// Reads into the spare room of `buffer`, which gets memory only once there is something to
    /// read. Zero bytes: the peer has closed. The buffer must not be full.
    pub fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut Buffer,
    ) -> Poll<io::Result<usize>> {
        if let Self::Tls(stream) = self {
            return stream.poll_read(cx, buffer);
        }
        if !buffer.has_memory() {
            ready!(self.poll_readable(cx));
        }
        let mut spare = ReadBuf::new(buffer.spare());
        debug_assert!(spare.remaining() > 0, "no room to read into");
        match self {
            Self::Tcp(stream) => ready!(Pin::new(stream).poll_read(cx, &mut spare))?,
            Self::Unix(stream) => ready!(Pin::new(stream).poll_read(cx, &mut spare))?,
            Self::Tls(_) => unreachable!("has its own way"),
        }
        let count = spare.filled().len();
        buffer.fill(count);
        Poll::Ready(Ok(count))
    }

    /// Our end of the connection: what a client has connected to. `None` for a Unix socket.
    pub fn local_addr(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(stream) => stream.local_addr().ok(),
            Self::Unix(_) => None,
            Self::Tls(stream) => stream.socket().local_addr(),
        }
    }

    /// Ready once there is something to read, an end or an error included.
    #[inline]
    pub fn poll_readable(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match self {
            Self::Tcp(stream) => stream.poll_read_ready(cx).map(|_| ()),
            Self::Unix(stream) => stream.poll_read_ready(cx).map(|_| ()),
            Self::Tls(stream) => stream.poll_readable(cx),
        }
    }

    /// True if the kernel has reported nothing to read: whoever was told to wait for that need not
    /// ask again. Asks nobody; TLS cannot know.
    pub fn is_silent(&self) -> bool {
        let nothing = || Ok(());
        let asked = match self {
            Self::Tcp(stream) => stream.try_io(Interest::READABLE, nothing),
            Self::Unix(stream) => stream.try_io(Interest::READABLE, nothing),
            Self::Tls(_) => return false,
        };
        asked.is_err()
    }

    /// Writes some of `bytes`.
    ///
    /// With TLS, what was taken may wait for room in the kernel: any later call moves it on, and
    /// only [`Self::poll_flush`] and [`Self::poll_shutdown`] make sure that it has left.
    pub fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self {
            Self::Tcp(stream) => Pin::new(stream).poll_write(cx, bytes),
            Self::Unix(stream) => Pin::new(stream).poll_write(cx, bytes),
            Self::Tls(stream) => stream.poll_write(cx, bytes, &[]),
        }
    }

    /// Writes some of `first` and `then`, in this order, in one system call.
    pub fn poll_write_both(
        &mut self,
        cx: &mut Context<'_>,
        first: &[u8],
        then: &[u8],
    ) -> Poll<io::Result<usize>> {
        let slices = [IoSlice::new(first), IoSlice::new(then)];
        match self {
            Self::Tcp(stream) => Pin::new(stream).poll_write_vectored(cx, &slices),
            Self::Unix(stream) => Pin::new(stream).poll_write_vectored(cx, &slices),
            Self::Tls(stream) => stream.poll_write(cx, first, then),
        }
    }

    /// Ready once all that was written is with the kernel, which is at once without TLS.
    pub fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Tcp(_) | Self::Unix(_) => Poll::Ready(Ok(())),
            Self::Tls(stream) => stream.poll_flush(cx),
        }
    }

    /// Tells the peer that nothing more comes; reading goes on.
    pub fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Tcp(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Unix(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(stream) => stream.poll_shutdown(cx),
        }
    }

    /// True if there is something to read, or the end: a connection that should be silent is not
    /// usable then. Takes a byte of what there is, unless there is TLS. Asks the kernel only if
    /// that has reported something; not by a poll, which the runtime may put off.
    pub fn has_news(&mut self) -> bool {
        if let Self::Tls(stream) = self {
            return stream.has_news();
        }
        let result = self.try_read(&mut [0]);
        !matches!(result, Err(error) if error.kind() == io::ErrorKind::WouldBlock)
    }

    /// Reads what there is, if the kernel has reported something.
    pub(crate) fn try_read(&self, bytes: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.try_read(bytes),
            Self::Unix(stream) => stream.try_read(bytes),
            Self::Tls(_) => Err(io::ErrorKind::Unsupported.into()),
        }
    }

    /// Writes what there is room for.
    pub(crate) fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.try_write(bytes),
            Self::Unix(stream) => stream.try_write(bytes),
            Self::Tls(_) => Err(io::ErrorKind::Unsupported.into()),
        }
    }

    /// As [`Self::try_write`], for the last bytes before [`Self::poll_shutdown`]: they leave in one
    /// segment with the end.
    pub(crate) fn try_write_last(&self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.try_io(Interest::WRITABLE, || {
                SockRef::from(stream).send_with_flags(bytes, libc::MSG_MORE | libc::MSG_NOSIGNAL)
            }),
            other => other.try_write(bytes),
        }
    }

    /// Makes the close tell the peer at once that the connection failed (RST), where the kernel
    /// can: for a message that was cut.
    pub fn abort_on_drop(&self) {
        match self {
            Self::Tcp(stream) => {
                // Failure leaves an ordinary close, which a cut message shows as well.
                let _ = stream.set_zero_linger();
            }
            Self::Unix(_) => {}
            Self::Tls(stream) => stream.socket().abort_on_drop(),
        }
    }
}
