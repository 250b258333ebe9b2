//! Bytes both ways: the request up, the response head, the response down, tunnels.
//!
//! A [`Transfer`] is one direction of one exchange. It takes the framing off, puts the other
//! side's on, and never holds more than its two buffers: when the sink is slow it stops reading,
//! and the kernel slows the source down. Bytes that need no new framing are written from the
//! buffer they arrived in.

use std::future::poll_fn;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use message::{BodyLength, Method, ResponseHead};
use net::{Buffer, Stream};
use wire::h1::{BadMessage, BodyReader, BodyWriter, Limits, ResponseReader};

use crate::client::Client;
use crate::upstream::Upstream;

/// One direction: what is read from a source, reframed, and owed to a sink.
pub(crate) struct Transfer {
    reader: BodyReader,
    writer: BodyWriter,
    /// Bytes owed to the sink: the head at first, then what had to be framed anew.
    out: Vec<u8>,
    /// How many of `out` were written.
    out_sent: usize,
    /// Bytes at the front of the source's buffer that are owed to the sink as they are, behind
    /// those of `out`.
    direct: usize,
    is_finished: bool,
    /// Bytes read from the source.
    bytes_read: u64,
    /// Bytes written to the sink.
    bytes_sent: u64,
    kept: Kept,
}

/// What was taken from the source so far, framed for the sink, to be sent again on a retry.
enum Kept {
    /// Everything, up to a number of bytes.
    All { bytes: Vec<u8>, bytes_max: usize },
    /// Not everything: the request cannot be sent again.
    No,
}

/// Why a transfer ended early.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Broken {
    /// The source closed or failed before the end of the body.
    Source,
    /// The source broke a rule.
    Message(BadMessage),
    /// The sink closed or failed.
    Sink,
}

/// Framed bytes that wait for the sink before more are read.
const OUT_BYTES_MAX: usize = 16 * 1024;

/// Up to this many bytes are copied behind a head, so that both leave in one plain write: a copy
/// of this size is cheaper than a gathering write.
const COPY_BYTES_MAX: usize = 4 * 1024;

impl Transfer {
    /// A transfer with nothing to do.
    pub(crate) fn idle() -> Self {
        Self {
            reader: BodyReader::new(BodyLength::Empty),
            writer: BodyWriter::Plain,
            out: Vec::new(),
            out_sent: 0,
            direct: 0,
            is_finished: true,
            bytes_read: 0,
            bytes_sent: 0,
            kept: Kept::No,
        }
    }

    /// Prepares for a body that arrives as `length` and leaves by `writer`.
    pub(crate) fn begin(&mut self, length: BodyLength, writer: BodyWriter) {
        self.reader = BodyReader::new(length);
        self.writer = writer;
        self.out.clear();
        self.out_sent = 0;
        self.direct = 0;
        self.is_finished = false;
        self.bytes_read = 0;
        self.bytes_sent = 0;
        self.kept = Kept::No;
    }

    /// Keeps up to `bytes_max` of the body, so that it can be sent again.
    pub(crate) fn keep(&mut self, bytes_max: usize) {
        self.kept = Kept::All {
            bytes: Vec::new(),
            bytes_max,
        };
    }

    /// Forgets everything but some memory.
    pub(crate) fn clear(&mut self) {
        self.begin(BodyLength::Empty, BodyWriter::Plain);
        self.out.shrink_to(OUT_BYTES_MAX);
    }

    /// Where a head is written that leaves before the body.
    pub(crate) fn head(&mut self) -> &mut Vec<u8> {
        &mut self.out
    }

    /// True if the message can be sent from its beginning: nothing has left, or all that was
    /// taken from the source is here.
    pub(crate) fn may_restart(&self) -> bool {
        self.bytes_sent == 0 || matches!(self.kept, Kept::All { .. })
    }

    /// Prepares to send the message from its beginning. True if the head is to be written again
    /// and then [`Self::replay`] called. `source` is the buffer of the source.
    #[must_use]
    pub(crate) fn rewind(&mut self, source: &mut Buffer) -> bool {
        debug_assert!(self.may_restart(), "the message is still there");
        if self.bytes_sent == 0 {
            return false;
        }
        // What was owed directly was kept as well.
        self.abandon(source);
        self.out.clear();
        self.out_sent = 0;
        self.bytes_sent = 0;
        true
    }

    /// Gives up what is owed directly: bytes of this message in the buffer of the source must not
    /// be taken for the next one (CVE-2025-4366).
    pub(crate) fn abandon(&mut self, source: &mut Buffer) {
        source.consume(self.direct);
        self.direct = 0;
    }

    /// Puts the part of the body that was taken from the source before behind the head.
    pub(crate) fn replay(&mut self) {
        if let Kept::All { bytes, .. } = &self.kept {
            self.out.extend_from_slice(bytes);
        }
    }

    /// True once the whole message was written to the sink.
    pub(crate) fn is_finished(&self) -> bool {
        self.is_finished && !self.is_owing()
    }

    /// True if the source has delivered everything, sent or not.
    pub(crate) fn source_is_done(&self) -> bool {
        self.reader.is_done()
    }

    /// Bytes read from the source, beyond those that had arrived at the beginning.
    pub(crate) fn bytes_read(&self) -> u64 {
        self.bytes_read
    }

    /// Grows with everything that moves.
    fn steps(&self) -> u64 {
        self.bytes_read + self.bytes_sent
    }

    /// Bytes written to the sink, the head included.
    pub(crate) fn bytes_sent(&self) -> u64 {
        self.bytes_sent
    }

    /// True if bytes wait for the sink.
    pub(crate) fn is_owing(&self) -> bool {
        self.out_sent < self.out.len() || self.direct > 0
    }

    /// Moves what can be moved. Ready once everything was written.
    pub(crate) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        source: &mut Stream,
        arrived: &mut Buffer,
        sink: &mut Stream,
    ) -> Poll<Result<(), Broken>> {
        loop {
            self.absorb(arrived).map_err(Broken::Message)?;
            ready!(self.poll_flush(cx, arrived, sink))?;
            if self.is_finished {
                return Poll::Ready(Ok(()));
            }
            if !arrived.is_empty() {
                continue;
            }
            if self.expects_much() {
                arrived.enlarge();
            }
            match source.poll_read(cx, arrived) {
                Poll::Ready(Ok(0)) if !self.reader.receive_close() => {
                    return Poll::Ready(Err(Broken::Source));
                }
                Poll::Ready(Ok(count)) => self.bytes_read += count as u64,
                Poll::Ready(Err(_)) => return Poll::Ready(Err(Broken::Source)),
                Poll::Pending => {
                    // A source may take its time: no memory is held meanwhile.
                    arrived.release();
                    return Poll::Pending;
                }
            }
        }
    }

    /// Takes what has arrived, as far as there is room for it.
    fn absorb(&mut self, arrived: &mut Buffer) -> Result<(), BadMessage> {
        while !self.reader.is_done()
            && !arrived.is_empty()
            && self.direct == 0
            && self.out.len() < OUT_BYTES_MAX
        {
            let bytes = arrived.filled();
            let step = self.reader.receive(bytes)?;
            let data = &bytes[step.data.clone()];
            let is_direct = self.writer == BodyWriter::Plain
                && step.data == (0..step.consumed)
                && (data.len() > COPY_BYTES_MAX || self.out.is_empty());
            if is_direct {
                self.kept
                    .keep(|out| out.extend_from_slice(data), data.len());
                self.direct = step.consumed;
            } else {
                self.kept
                    .keep(|out| self.writer.write(data, out), data.len());
                self.writer.write(data, &mut self.out);
                arrived.consume(step.consumed);
            }
        }
        if self.reader.is_done() && !self.is_finished {
            let trailers = self.reader.trailers();
            self.kept
                .keep(|out| self.writer.finish(trailers, out), trailers.len());
            self.writer.finish(trailers, &mut self.out);
            self.is_finished = true;
        }
        Ok(())
    }

    /// Writes what is owed.
    fn poll_flush(
        &mut self,
        cx: &mut Context<'_>,
        arrived: &mut Buffer,
        sink: &mut Stream,
    ) -> Poll<Result<(), Broken>> {
        while self.is_owing() {
            let first = &self.out[self.out_sent..];
            let then = &arrived.filled()[..self.direct];
            let written = match (first, then) {
                (first, []) => sink.poll_write(cx, first),
                ([], then) => sink.poll_write(cx, then),
                (first, then) => sink.poll_write_both(cx, first, then),
            };
            let count = match ready!(written) {
                Ok(0) | Err(_) => return Poll::Ready(Err(Broken::Sink)),
                Ok(count) => count,
            };
            self.bytes_sent += count as u64;
            let of_out = count.min(first.len());
            self.out_sent += of_out;
            self.direct -= count - of_out;
            arrived.consume(count - of_out);
        }
        self.out.clear();
        self.out_sent = 0;
        Poll::Ready(Ok(()))
    }

    /// True if more is to come than a small buffer takes.
    fn expects_much(&self) -> bool {
        match self.reader {
            BodyReader::Exact { bytes_left } => bytes_left > net::SMALL as u64,
            BodyReader::Chunked(_) | BodyReader::UntilClose { .. } => {
                self.bytes_sent > 2 * net::SMALL as u64
            }
        }
    }
}

impl Kept {
    /// Keeps what `write` appends, `length` bytes and some framing, if there is room.
    fn keep(&mut self, write: impl FnOnce(&mut Vec<u8>), length: usize) {
        if let Self::All { bytes, bytes_max } = self {
            if bytes.len() + length > *bytes_max {
                *self = Self::No;
            } else {
                write(bytes);
            }
        }
    }
}

/// How long each side may take.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Patience {
    /// The client, between two steps forward of a body.
    pub(crate) client: Duration,
    /// The endpoint, between two steps forward of a body.
    pub(crate) endpoint: Duration,
    /// The endpoint, from the whole request sent to the response head.
    pub(crate) response: Duration,
}

/// Why no response head came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoResponse {
    /// The client is gone.
    ClientGone,
    /// The client broke a rule in the body.
    ClientBroke(BadMessage),
    /// The client stopped in the body.
    ClientTimeout,
    /// The connection had closed before any of the request went out on it.
    NothingSent,
    /// The endpoint closed or reset the connection.
    Closed,
    /// The endpoint took too long.
    Timeout,
    /// The endpoint broke a rule.
    Broke(BadMessage),
}

/// A request on its way to one endpoint, until the head of a response is there.
///
/// The state is here and in the arguments, so that waiting may be left and taken up again.
pub(crate) struct Question {
    reader: ResponseReader,
    method: Method,
    limits: Limits,
    /// The time, until something had to be waited for: most requests leave at once.
    now: Option<Instant>,
    sent_at: Option<Instant>,
    sink_is_broken: bool,
    has_head: bool,
    is_held: bool,
}

impl Question {
    /// A request of which nothing was sent. `now` is the time, if the caller knows it.
    pub(crate) fn new(method: Method, limits: Limits, now: Option<Instant>) -> Self {
        Self {
            reader: ResponseReader::default(),
            method,
            limits,
            now,
            sent_at: None,
            sink_is_broken: false,
            has_head: false,
            is_held: false,
        }
    }

    /// When all of the request had left, if it has.
    pub(crate) fn sent_at(&self) -> Option<Instant> {
        self.sent_at
    }

    /// When all of the request had left, if the response is what is waited for.
    pub(crate) fn waits_since(&self) -> Option<Instant> {
        self.sent_at.filter(|_| !self.has_head)
    }

    /// Sends the request and waits for a response head, which is read into `response`. The body
    /// may still be on its way when the head comes. The caller has allowed some time; every step
    /// of the body allows more, and its end allows the time for the response. An interim response
    /// does not: after one the caller asks on.
    pub(crate) async fn ask(
        &mut self,
        client: &mut Client,
        upstream: &mut Upstream,
        sending: &mut Transfer,
        response: &mut ResponseHead,
        patience: Patience,
    ) -> Result<(), NoResponse> {
        poll_fn(|cx| {
            let poll = self.poll(cx, client, upstream, sending, response, patience);
            if poll.is_ready() {
                return poll;
            }
            if sending.is_finished() {
                client.buffer.release();
            }
            if sending.source_is_done() && client.poll_gone(cx).is_ready() {
                return Poll::Ready(Err(NoResponse::ClientGone));
            }
            client.poll_timeout(cx).map(|()| {
                let waits_for_client = !sending.source_is_done() && !sending.is_owing();
                Err(if waits_for_client {
                    NoResponse::ClientTimeout
                } else {
                    NoResponse::Timeout
                })
            })
        })
        .await
    }

    /// What [`Self::ask`] does but for watching the client and the time.
    ///
    /// A head that announces a length is held back until the first byte of the body is there: an
    /// endpoint that dies between the two has not answered, and the request may still move. Heads
    /// of streams, which announce none, are not.
    pub(crate) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        client: &mut Client,
        upstream: &mut Upstream,
        sending: &mut Transfer,
        response: &mut ResponseHead,
        patience: Patience,
    ) -> Poll<Result<(), NoResponse>> {
        if !sending.is_finished() && !self.sink_is_broken {
            match poll_sending(cx, client, upstream, sending, patience) {
                Poll::Ready(Ok(())) => {
                    let now = self.now.take().unwrap_or_else(Instant::now);
                    self.sent_at = Some(now);
                    client.allow_until(now + patience.response);
                }
                Poll::Ready(Err(Broken::Source)) => {
                    return Poll::Ready(Err(NoResponse::ClientGone));
                }
                Poll::Ready(Err(Broken::Message(bad))) => {
                    return Poll::Ready(Err(NoResponse::ClientBroke(bad)));
                }
                Poll::Ready(Err(Broken::Sink)) if sending.bytes_sent() == 0 => {
                    return Poll::Ready(Err(NoResponse::NothingSent));
                }
                // The endpoint may have answered before it closed: that answer counts.
                Poll::Ready(Err(Broken::Sink)) => {
                    self.sink_is_broken = true;
                    client.allow(patience.response);
                }
                Poll::Pending => {}
            }
        }
        loop {
            let arrived = &mut upstream.buffer;
            if !self.has_head && !arrived.is_empty() {
                let (limits, method) = (&self.limits, self.method);
                match self
                    .reader
                    .receive(arrived.filled(), limits, method, response)
                {
                    Ok(Some(consumed)) => {
                        arrived.consume(consumed);
                        self.has_head = true;
                    }
                    Ok(None) if arrived.is_full() => arrived.enlarge(),
                    Ok(None) => {}
                    Err(bad) => return Poll::Ready(Err(NoResponse::Broke(bad))),
                }
            }
            let waits_for_body =
                arrived.is_empty() && matches!(response.body_length, BodyLength::Exact(1..));
            if self.has_head && !waits_for_body {
                self.reader = ResponseReader::default();
                self.has_head = false;
                self.is_held = false;
                return Poll::Ready(Ok(()));
            }
            if self.has_head && !self.is_held {
                self.is_held = true;
                client.allow(patience.endpoint);
            }
            match upstream.stream.poll_read(cx, arrived) {
                Poll::Ready(Ok(0) | Err(_)) => return Poll::Ready(Err(NoResponse::Closed)),
                Poll::Ready(Ok(_)) => {}
                Poll::Pending => break,
            }
        }
        self.now = None;
        // An endpoint may take its time: no memory is held meanwhile.
        upstream.buffer.release();
        Poll::Pending
    }
}

/// Moves the request body on, allowing more time with every step.
fn poll_sending(
    cx: &mut Context<'_>,
    client: &mut Client,
    upstream: &mut Upstream,
    sending: &mut Transfer,
    patience: Patience,
) -> Poll<Result<(), Broken>> {
    let before = sending.steps();
    let Client { stream, buffer, .. } = client;
    let poll = sending.poll(cx, stream, buffer, &mut upstream.stream);
    if sending.steps() > before && poll.is_pending() {
        client.allow(if sending.is_owing() {
            patience.endpoint
        } else {
            patience.client
        });
    }
    poll
}

/// How a response ended that had begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CutShort {
    /// The client is gone or does not read.
    Client,
    /// The endpoint closed within the body, or stopped.
    Endpoint,
    /// The endpoint stopped within the body.
    EndpointTimeout,
    /// The endpoint broke a rule in the body.
    EndpointBroke(BadMessage),
}

/// Delivers the response, while what is left of the request body is still sent.
pub(crate) async fn response(
    client: &mut Client,
    upstream: &mut Upstream,
    sending: &mut Transfer,
    receiving: &mut Transfer,
    patience: Patience,
) -> Result<(), CutShort> {
    let mut sending_is_over = sending.is_finished();
    let mut is_first = true;
    poll_fn(|cx| {
        if !sending_is_over {
            // Whatever goes wrong with it: the endpoint has answered, and that is delivered. A
            // connection with an unfinished request is not used again on either side.
            sending_is_over = poll_sending(cx, client, upstream, sending, patience).is_ready();
        }
        let before = receiving.steps();
        let poll = receiving.poll(
            cx,
            &mut upstream.stream,
            &mut upstream.buffer,
            &mut client.stream,
        );
        match poll {
            Poll::Ready(Ok(())) => return Poll::Ready(Ok(())),
            Poll::Ready(Err(Broken::Source)) => return Poll::Ready(Err(CutShort::Endpoint)),
            Poll::Ready(Err(Broken::Message(bad))) => {
                return Poll::Ready(Err(CutShort::EndpointBroke(bad)));
            }
            Poll::Ready(Err(Broken::Sink)) => return Poll::Ready(Err(CutShort::Client)),
            Poll::Pending => {}
        }
        if receiving.steps() > before || is_first {
            is_first = false;
            client.allow(if receiving.is_owing() {
                patience.client
            } else {
                patience.endpoint
            });
        }
        // A client that leaves is seen at the next write; one that is waited for, here.
        if !receiving.is_owing() && sending.source_is_done() && client.poll_gone(cx).is_ready() {
            return Poll::Ready(Err(CutShort::Client));
        }
        client.poll_timeout(cx).map(|()| {
            Err(if receiving.is_owing() {
                CutShort::Client
            } else {
                CutShort::EndpointTimeout
            })
        })
    })
    .await
}

/// Moves bytes both ways after a protocol switch, until both sides have closed, one fails, or
/// nothing has moved for `patience`. A side that closes is shut down on the other.
pub(crate) async fn tunnel(
    client: &mut Client,
    upstream: &mut Upstream,
    up: &mut Transfer,
    down: &mut Transfer,
    patience: Duration,
) {
    let mut up_is_shut = false;
    let mut down_is_shut = false;
    client.allow(patience);
    poll_fn(|cx| {
        let before = up.steps() + down.steps();
        if !up_is_shut {
            let Client { stream, buffer, .. } = client;
            match up.poll(cx, stream, buffer, &mut upstream.stream) {
                Poll::Ready(Ok(())) => {
                    up_is_shut = true;
                    let _ = upstream.stream.poll_shutdown(cx);
                }
                Poll::Ready(Err(_)) => return Poll::Ready(()),
                Poll::Pending => {}
            }
        }
        if !down_is_shut {
            match down.poll(
                cx,
                &mut upstream.stream,
                &mut upstream.buffer,
                &mut client.stream,
            ) {
                Poll::Ready(Ok(())) => {
                    down_is_shut = true;
                    let _ = client.stream.poll_shutdown(cx);
                }
                Poll::Ready(Err(_)) => return Poll::Ready(()),
                Poll::Pending => {}
            }
        }
        if up_is_shut && down_is_shut {
            return Poll::Ready(());
        }
        if up.steps() + down.steps() > before {
            client.allow(patience);
        }
        client.poll_timeout(cx)
    })
    .await;
}
