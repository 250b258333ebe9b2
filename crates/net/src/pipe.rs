//! Pipes that bytes of bulk transfers pass through: the kernel moves pages from one socket to the
//! other, and none of them is copied into this process and out of it again (splice(2)).

use std::cell::{Cell, RefCell};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::task::{Context, Poll, ready};

use rustix::pipe::{PipeFlags, SpliceFlags, fcntl_setpipe_size, pipe_with, splice};
use tokio::io::Interest;

use crate::Stream;

/// Bytes on their way through the kernel from one connection to another.
///
/// Dropping it with bytes in it loses them; an empty one is used again.
#[derive(Debug)]
pub struct Pipe {
    /// Taken out when dropped.
    ends: Option<Ends>,
    bytes: usize,
}

#[derive(Debug)]
struct Ends {
    read: OwnedFd,
    write: OwnedFd,
}

/// Room of a pipe. As many bytes as one call moves at most: with more, the sender would wait for
/// its acknowledgements and the receiver's cache would be cold.
const PIPE_BYTES: usize = 256 * 1024;

/// Empty pipes that a worker keeps, with two file descriptors each.
const FREE_MAX: usize = 64;

/// Pipes that a worker has at once, with two file descriptors and up to 256 KiB each. Those of ways
/// whose sinks take nothing stay with them: without a bound, slow readers would take as many file
/// descriptors again as they have connections. As many as the kernel lets a user without privileges
/// have at full size (`fs.pipe-user-pages-soft`).
const PIPES_MAX: usize = 256;

thread_local! {
    static FREE: RefCell<Vec<Ends>> = const { RefCell::new(Vec::new()) };
    static COUNT: Cell<usize> = const { Cell::new(0) };
}

impl Pipe {
    /// An empty pipe.
    ///
    /// # Errors
    /// This worker has as many as it may. Or what the kernel says: no file descriptors are left, or
    /// the user has too many pages in pipes.
    pub fn new() -> io::Result<Self> {
        let free = FREE.with_borrow_mut(Vec::pop);
        let ends = match free {
            Some(ends) => ends,
            None => Ends::new()?,
        };
        Ok(Self {
            ends: Some(ends),
            bytes: 0,
        })
    }

    /// True if no byte is in it.
    pub fn is_empty(&self) -> bool {
        self.bytes == 0
    }

    fn ends(&self) -> &Ends {
        self.ends.as_ref().expect("taken out only when dropped")
    }
}

impl Ends {
    fn new() -> io::Result<Self> {
        if COUNT.get() == PIPES_MAX {
            return Err(io::ErrorKind::QuotaExceeded.into());
        }
        let (read, write) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
        // Where that is not allowed, 64 KiB do.
        let _ = fcntl_setpipe_size(&write, PIPE_BYTES);
        COUNT.set(COUNT.get() + 1);
        Ok(Self { read, write })
    }
}

impl Drop for Ends {
    fn drop(&mut self) {
        COUNT.set(COUNT.get() - 1);
    }
}

impl Drop for Pipe {
    fn drop(&mut self) {
        let Some(ends) = self.ends.take().filter(|_| self.bytes == 0) else {
            return;
        };
        // The thread may be ending: then there is nothing to keep it for.
        let _ = FREE.try_with(|free| {
            let mut free = free.borrow_mut();
            if free.len() < FREE_MAX {
                free.push(ends);
            }
        });
    }
}

impl Stream {
    /// True if its bytes are those on the wire, so that the kernel can move them by itself.
    pub fn can_splice(&self) -> bool {
        !matches!(self, Self::Tls(_))
    }

    /// Moves what has arrived into `pipe`, which is empty. Zero bytes: the peer has closed.
    ///
    /// # Errors
    /// What the kernel says; `Unsupported` with TLS.
    pub fn poll_splice_in(
        &mut self,
        cx: &mut Context<'_>,
        pipe: &mut Pipe,
    ) -> Poll<io::Result<usize>> {
        debug_assert!(pipe.is_empty(), "a full pipe looks like a silent peer");
        let to = &pipe.ends().write;
        let count = loop {
            ready!(self.poll_readable(cx));
            let moved = match self {
                Self::Tcp(from) => from.try_io(Interest::READABLE, || move_on(&from, to)),
                Self::Unix(from) => from.try_io(Interest::READABLE, || move_on(&from, to)),
                Self::Tls(_) => Err(io::ErrorKind::Unsupported.into()),
            };
            match moved {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                moved => break moved?,
            }
        };
        pipe.bytes = count;
        Poll::Ready(Ok(count))
    }

    /// Moves some of what is in `pipe`, which is not empty, out to the peer.
    ///
    /// # Errors
    /// As [`Self::poll_splice_in`].
    pub fn poll_splice_out(
        &mut self,
        cx: &mut Context<'_>,
        pipe: &mut Pipe,
    ) -> Poll<io::Result<usize>> {
        let from = &pipe.ends().read;
        let count = loop {
            let moved = match self {
                Self::Tcp(to) => {
                    ready!(to.poll_write_ready(cx))?;
                    to.try_io(Interest::WRITABLE, || move_on(from, &to))
                }
                Self::Unix(to) => {
                    ready!(to.poll_write_ready(cx))?;
                    to.try_io(Interest::WRITABLE, || move_on(from, &to))
                }
                Self::Tls(_) => Err(io::ErrorKind::Unsupported.into()),
            };
            match moved {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                moved => break moved?,
            }
        };
        pipe.bytes -= count;
        Poll::Ready(Ok(count))
    }
}

fn move_on(from: &impl AsFd, to: &impl AsFd) -> io::Result<usize> {
    let flags = SpliceFlags::NONBLOCK | SpliceFlags::MOVE;
    Ok(splice(from, None, to, None, PIPE_BYTES, flags)?)
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::net::{TcpListener, TcpStream, UnixStream};

    use super::*;
    use crate::Buffer;

    fn run<F: Future>(test: F) -> F::Output {
        crate::run_worker(test).unwrap()
    }

    async fn tcp() -> (Stream, Stream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let near = TcpStream::connect(listener.local_addr().unwrap());
        let (near, far) = (near.await.unwrap(), listener.accept().await.unwrap().0);
        (Stream::Tcp(near), Stream::Tcp(far))
    }

    fn unix() -> (Stream, Stream) {
        let (near, far) = UnixStream::pair().unwrap();
        (Stream::Unix(near), Stream::Unix(far))
    }

    /// Sends `bytes` to `source` and reads them from `far`, with the pipe between `source`'s other
    /// end and `sink`.
    async fn pass(bytes: &[u8], mut near: Stream, mut source: Stream, sinks: (Stream, Stream)) {
        let (mut sink, mut far) = sinks;
        let mut pipe = Pipe::new().unwrap();
        let (mut sent, mut moved, mut has_ended) = (0, 0, false);
        let mut received = Vec::new();
        let mut buffer = Buffer::default();
        poll_fn(|cx| {
            while sent < bytes.len()
                && let Poll::Ready(count) = near.poll_write(cx, &bytes[sent..])
            {
                sent += count.unwrap();
                if sent == bytes.len() {
                    assert!(near.poll_shutdown(cx).is_ready());
                }
            }
            loop {
                if !pipe.is_empty() {
                    match sink.poll_splice_out(cx, &mut pipe) {
                        Poll::Ready(count) => moved += count.unwrap(),
                        Poll::Pending => break,
                    }
                } else if has_ended {
                    assert!(sink.poll_shutdown(cx).is_ready());
                    break;
                } else {
                    match source.poll_splice_in(cx, &mut pipe) {
                        Poll::Ready(count) => has_ended = count.unwrap() == 0,
                        Poll::Pending => break,
                    }
                }
            }
            loop {
                match far.poll_read(cx, &mut buffer) {
                    Poll::Ready(Ok(0)) => return Poll::Ready(()),
                    Poll::Ready(Ok(_)) => {
                        received.extend_from_slice(buffer.filled());
                        buffer.consume(buffer.filled().len());
                    }
                    Poll::Ready(Err(error)) => panic!("{error}"),
                    Poll::Pending => return Poll::Pending,
                }
            }
        })
        .await;
        assert_eq!(moved, bytes.len());
        assert!(received == bytes, "{} bytes arrived", received.len());
    }

    #[test]
    fn bytes_pass_unchanged_between_sockets_of_any_kind() {
        let bytes: Vec<u8> = (0..5_000_000_u32)
            .map(|i| (i.wrapping_mul(i) >> 7) as u8)
            .collect();
        run(async {
            for (is_unix, is_unix_to) in [(false, false), (false, true), (true, false)] {
                let (near, source) = if is_unix { unix() } else { tcp().await };
                let sinks = if is_unix_to { unix() } else { tcp().await };
                pass(&bytes, near, source, sinks).await;
            }
        });
    }

    #[test]
    fn an_empty_pipe_is_used_again_and_one_with_bytes_is_not() {
        run(async {
            let (mut near, mut source) = tcp().await;
            let mut pipe = Pipe::new().unwrap();
            poll_fn(|cx| near.poll_write(cx, b"lost")).await.unwrap();
            let count = poll_fn(|cx| source.poll_splice_in(cx, &mut pipe)).await;
            assert_eq!(count.unwrap(), 4);
            drop(pipe);
            FREE.with_borrow(|free| assert!(free.is_empty()));
            drop(Pipe::new().unwrap());
            FREE.with_borrow(|free| assert_eq!(free.len(), 1));
            let pipes: Vec<_> = (0..FREE_MAX + 3).map(|_| Pipe::new().unwrap()).collect();
            FREE.with_borrow(|free| assert!(free.is_empty()));
            drop(pipes);
            FREE.with_borrow(|free| assert_eq!(free.len(), FREE_MAX));
        });
    }

    #[test]
    fn a_worker_has_so_many_pipes_and_no_more() {
        run(async {
            let mut pipes: Vec<_> = (0..PIPES_MAX).map(|_| Pipe::new().unwrap()).collect();
            assert!(Pipe::new().is_err());
            // Free ones count, and can be had.
            pipes.truncate(PIPES_MAX - FREE_MAX - 1);
            for _ in 0..=FREE_MAX {
                pipes.push(Pipe::new().unwrap());
            }
            assert!(Pipe::new().is_err());
        });
    }
}
