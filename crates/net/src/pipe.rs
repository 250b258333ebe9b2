//! Pipes that bytes of bulk transfers pass through: the kernel moves pages from one socket to the
//! other, and none of them is copied into this process and out of it again (splice(2)).

use std::cell::RefCell;
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

thread_local! {
    static FREE: RefCell<Vec<Ends>> = const { RefCell::new(Vec::new()) };
}

impl Pipe {
    /// An empty pipe.
    ///
    /// # Errors
    /// What the kernel says: no file descriptors are left, or the user has too many pages in pipes.
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
        let (read, write) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
        // Where that is not allowed, 64 KiB do.
        let _ = fcntl_setpipe_size(&write, PIPE_BYTES);
        Ok(Self { read, write })
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
