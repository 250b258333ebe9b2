//! One way of a relayed connection: from one side to the other.
//!
//! Small pieces are copied, which costs one system call on each side. What comes in bulk passes
//! through a pipe in the kernel where both sides are plain, and else through a large buffer.

use std::io;
use std::pin::pin;
use std::task::{Context, Poll, ready};

use net::{Buffer, Pipe, SMALL, Stream};
use tokio::task::coop::has_budget_remaining;
use tokio::task::yield_now;

/// How far the bytes of one side have come.
#[derive(Default)]
pub(crate) struct Way {
    /// Bytes that were read and wait to be written, of a bulk transfer.
    pipe: Option<Pipe>,
    /// Reads in a row that speak for the other manner of moving bytes.
    doubts: u8,
    is_bulk: bool,
    /// This kernel, or what guards it, lets no bytes pass through pipes.
    is_refused: bool,
    /// The source wakes the task once it has something to say.
    is_waiting: bool,
    /// Nothing more comes from the source.
    has_ended: bool,
    /// That is because it was cut: the sink is not to take it for an end in good order.
    is_cut: bool,
    /// The sink knows.
    is_over: bool,
    bytes_read: u64,
    bytes_written: u64,
}

/// Which side of a way is broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Broken {
    /// The one that is read from.
    Source,
    /// The one that is written to. It has said all it had to say before, unless it was cut.
    Sink { is_cut: bool },
}

impl Broken {
    /// The kernel tells once of what broke a connection, a reset or a peer that acknowledges
    /// nothing, whether a read or a write comes first: a read after this would find nothing but an
    /// end. A reset behind the peer's FIN is a broken pipe.
    fn sink(error: &io::Error) -> Self {
        Self::Sink {
            is_cut: error.kind() != io::ErrorKind::BrokenPipe,
        }
    }
}

/// So many reads in a row that fill a small buffer make a bulk transfer, and as many that would
/// not fill it end that: what is answered piece by piece gains nothing from a pipe.
const DOUBTS_MAX: u8 = 4;

/// Reads of one way before the other one has its turn, and other connections have theirs. The
/// runtime has a bound of its own, for both together: a way whose sides never keep it waiting would
/// use that up, each time anew.
const TURN_READS_MAX: u8 = 8;

impl Way {
    /// Bytes that have come from the source.
    pub(crate) fn bytes_read(&self) -> u64 {
        self.bytes_read
    }

    /// Bytes that the sink has taken.
    pub(crate) fn bytes_written(&self) -> u64 {
        self.bytes_written
    }

    /// True once the source has ended and the sink was told.
    pub(crate) fn is_over(&self) -> bool {
        self.is_over
    }

    /// The sink takes nothing more.
    pub(crate) fn give_up(&mut self) {
        self.pipe = None;
        self.is_over = true;
    }

    /// The source is broken: what it has said goes on to the sink, and no end in good order.
    pub(crate) fn cut(&mut self) {
        self.is_cut = true;
    }

    /// Nothing has reached the sink, and there is another one now.
    pub(crate) fn begin_anew(&mut self) {
        debug_assert_eq!(self.bytes_written, 0, "nobody may get half of it");
        *self = Self {
            bytes_read: self.bytes_read,
            ..Self::default()
        };
    }

    /// Moves what can be moved from `source` to `sink`; `buffer` has what has arrived.
    pub(crate) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        source: &mut Stream,
        buffer: &mut Buffer,
        sink: &mut Stream,
    ) -> Result<(), Broken> {
        if self.is_over || (self.is_waiting && source.is_silent()) {
            return Ok(());
        }
        self.is_waiting = false;
        match self.poll_to_end(cx, source, buffer, sink) {
            Poll::Ready(Ok(())) => self.is_over = true,
            Poll::Ready(Err(broken)) => return Err(broken),
            Poll::Pending => {}
        }
        Ok(())
    }

    fn poll_to_end(
        &mut self,
        cx: &mut Context<'_>,
        source: &mut Stream,
        buffer: &mut Buffer,
        sink: &mut Stream,
    ) -> Poll<Result<(), Broken>> {
        let mut reads_left = TURN_READS_MAX;
        loop {
            // What is here leaves before more is taken: that is the bound of what is held.
            ready!(self.poll_write(cx, buffer, sink)).map_err(|error| Broken::sink(&error))?;
            if self.has_ended && self.is_cut {
                return Poll::Ready(Ok(()));
            }
            if self.has_ended {
                // A sink that is gone has no use for the news.
                let _ = ready!(sink.poll_shutdown(cx));
                return Poll::Ready(Ok(()));
            }
            if reads_left == 0 {
                // Back here once the runtime has asked the kernel what else there is to do.
                let _ = pin!(yield_now()).poll(cx);
                return Poll::Pending;
            }
            reads_left -= 1;
            match self.poll_read(cx, source, buffer, sink.can_splice()) {
                Poll::Ready(Ok(0)) => self.has_ended = true,
                Poll::Ready(Ok(count)) => self.bytes_read += count as u64,
                Poll::Ready(Err(_)) => return Poll::Ready(Err(Broken::Source)),
                Poll::Pending => {
                    // Who waits holds nothing.
                    buffer.release();
                    self.pipe = None;
                    return match sink.poll_flush(cx) {
                        Poll::Ready(Err(error)) => Poll::Ready(Err(Broken::sink(&error))),
                        Poll::Ready(Ok(())) => {
                            // A task that has used up its share is told to wait for its next turn.
                            self.is_waiting = has_budget_remaining();
                            Poll::Pending
                        }
                        Poll::Pending => Poll::Pending,
                    };
                }
            }
        }
    }

    /// Writes what was read; ready once nothing is left of it.
    fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut Buffer,
        sink: &mut Stream,
    ) -> Poll<io::Result<()>> {
        while !buffer.is_empty() {
            let count = ready!(sink.poll_write(cx, buffer.filled()))?;
            buffer.consume(count);
            self.bytes_written += count as u64;
        }
        if let Some(pipe) = &mut self.pipe {
            while !pipe.is_empty() {
                self.bytes_written += ready!(sink.poll_splice_out(cx, pipe))? as u64;
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Reads some more, in the manner that suits what came last.
    fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        source: &mut Stream,
        buffer: &mut Buffer,
        sink_can_splice: bool,
    ) -> Poll<io::Result<usize>> {
        if !self.is_bulk {
            // It is not silent, as far as is known: memory in advance costs less than asking first.
            buffer.spare();
            let count = ready!(source.poll_read(cx, buffer))?;
            self.judge(buffer.is_full());
            return Poll::Ready(Ok(count));
        }
        // Neither memory nor a pipe before there is something to read.
        ready!(source.poll_readable(cx));
        let can_splice = source.can_splice() && sink_can_splice && !self.is_refused;
        if can_splice && self.pipe.is_none() {
            self.pipe = Pipe::new().ok();
        }
        let spliced = match &mut self.pipe {
            Some(pipe) => Some(ready!(source.poll_splice_in(cx, pipe))),
            None => None,
        };
        let count = match spliced {
            Some(Err(error)) if is_refusal(&error) => {
                // Nothing was moved, so nothing is lost.
                self.is_refused = true;
                self.pipe = None;
                return self.poll_read(cx, source, buffer, sink_can_splice);
            }
            Some(spliced) => spliced?,
            None => {
                buffer.enlarge();
                ready!(source.poll_read(cx, buffer))?
            }
        };
        self.judge(count < SMALL);
        Poll::Ready(Ok(count))
    }

    /// Changes the manner once enough reads in a row have spoken for the other one.
    fn judge(&mut self, is_doubtful: bool) {
        self.doubts = if is_doubtful { self.doubts + 1 } else { 0 };
        if self.doubts == DOUBTS_MAX {
            self.doubts = 0;
            self.is_bulk = !self.is_bulk;
        }
    }
}

/// True if the error is about splice(2) and not about the connection: sandboxes do not know it, or
/// forbid it.
fn is_refusal(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported | io::ErrorKind::PermissionDenied
    )
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::net::{TcpListener, TcpStream};

    use super::*;

    async fn pair() -> (Stream, Stream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let near = TcpStream::connect(listener.local_addr().unwrap());
        let (near, far) = (near.await.unwrap(), listener.accept().await.unwrap().0);
        (Stream::Tcp(near), Stream::Tcp(far))
    }

    #[test]
    fn a_way_that_is_never_kept_waiting_leaves_others_their_turn() {
        // More than a turn moves: some reads before it is bulk, and pipes.
        const BYTES: usize = 1_200_000;
        let test = async {
            let (mut near, mut source) = pair().await;
            let (mut sink, _far) = pair().await;
            let (bytes, mut sent) = (vec![b'x'; BYTES], 0);
            poll_fn(|cx| {
                while sent < BYTES {
                    sent += ready!(near.poll_write(cx, &bytes[sent..])).unwrap();
                }
                Poll::Ready(())
            })
            .await;
            let (mut way, mut buffer) = (Way::default(), Buffer::default());
            let mut turns = 0;
            poll_fn(|cx| {
                way.poll(cx, &mut source, &mut buffer, &mut sink).unwrap();
                turns += u8::from(way.bytes_read() > 0);
                if way.bytes_written() < BYTES as u64 {
                    return Poll::Pending;
                }
                Poll::Ready(())
            })
            .await;
            assert!(turns > 1, "{turns}");
        };
        net::run_worker(test).unwrap();
    }
}
