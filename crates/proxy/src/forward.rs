//! Bytes both ways: the request up, the response head, the response down, tunnels.
//!
//! A [`Transfer`] is one direction of one exchange. It takes the framing off, puts the other
//! side's on, and never holds more than its two buffers: when the sink is slow it stops reading,
//! and the kernel slows the source down. Bytes that need no new framing are written from the
//! buffer they arrived in.

use std::future::poll_fn;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use message::{BodyLength, Method, ResponseHead, Span, Status};
use net::Buffer;
use wire::h1::{BadMessage, BodyReader, BodyWriter, Limits, ResponseReader};

use crate::channel::Channel;
use crate::client::Client;
use crate::grpc::Translation;
use crate::h2::{self, NoHead};
use crate::upstream::Upstream;

/// One direction: what is read from a source, reframed, and owed to a sink.
pub(crate) struct Transfer {
    reader: BodyReader,
    /// How the body is framed where the sink is a connection.
    writer: BodyWriter,
    /// Bytes owed to the sink: the head at first, then what had to be framed anew.
    out: Vec<u8>,
    /// How many of `out` were written.
    out_sent: usize,
    /// How many of `out` are the head, once it is known to be whole.
    head_bytes: Option<usize>,
    /// Bytes at the front of the source's buffer that are owed to the sink as they are, behind
    /// those of `out`.
    direct: usize,
    /// Field lines that came behind the body.
    trailers: Vec<u8>,
    /// The sink reads the content in another form.
    translation: Option<Translation>,
    /// Everything has arrived.
    is_finished: bool,
    /// More follows when the message is over: where the sink is a stream, that is not ended.
    stays_open: bool,
    /// The sink is a stream, and knows that the message is over.
    is_ended: bool,
    /// What content in `out` is framed for: a stream, or not. `None`: there was none.
    framed_for_stream: Option<bool>,
    /// What was kept is to be sent again behind the head.
    replays: bool,
    /// Bytes read from the source.
    bytes_read: u64,
    /// Bytes written to the sink.
    bytes_sent: u64,
    kept: Kept,
}

/// The content that was taken from the source so far, to be sent again on a retry.
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
            head_bytes: None,
            direct: 0,
            trailers: Vec::new(),
            translation: None,
            is_finished: true,
            stays_open: false,
            is_ended: false,
            framed_for_stream: None,
            replays: false,
            bytes_read: 0,
            bytes_sent: 0,
            kept: Kept::No,
        }
    }

    /// Prepares for a body that arrives as `length` and leaves by `writer`.
    pub(crate) fn begin(&mut self, length: BodyLength, writer: BodyWriter) {
        // One by one: a whole value would be built, moved and dropped four times per request.
        self.reader = BodyReader::new(length);
        self.writer = writer;
        self.out.clear();
        self.out_sent = 0;
        self.head_bytes = None;
        self.direct = 0;
        self.trailers.clear();
        self.is_finished = false;
        self.stays_open = false;
        self.is_ended = false;
        self.framed_for_stream = None;
        self.replays = false;
        self.bytes_read = 0;
        self.bytes_sent = 0;
        self.kept = Kept::No;
    }

    /// The message is followed by something else in the same stream, which [`Self::begin`] begins.
    pub(crate) fn stay_open(&mut self) {
        self.stays_open = true;
    }

    /// The sink reads the content in another form.
    pub(crate) fn translate(&mut self, translation: Translation) {
        self.translation = Some(translation);
    }

    /// The field lines that came behind the body, once all of it has arrived.
    pub(crate) fn trailers(&self) -> &[u8] {
        &self.trailers
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

    /// Prepares to send the message from its beginning. True if the head is to be written again.
    /// `source` is the buffer of the source.
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
        self.head_bytes = None;
        self.is_ended = false;
        self.replays = true;
        self.bytes_sent = 0;
        true
    }

    /// Gives up what is owed directly: bytes of this message in the buffer of the source must not
    /// be taken for the next one (CVE-2025-4366).
    pub(crate) fn abandon(&mut self, source: &mut Buffer) {
        source.consume(self.direct);
        self.direct = 0;
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
        source: &mut Channel,
        arrived: &mut Buffer,
        sink: &mut Channel,
    ) -> Poll<Result<(), Broken>> {
        self.prepare(arrived, sink)?;
        loop {
            self.absorb(source, arrived, sink.is_stream())
                .map_err(Broken::Message)?;
            ready!(match sink {
                Channel::Connection(stream) => self.poll_flush(cx, arrived, stream),
                Channel::Stream(stream) => self.poll_flush_stream(cx, arrived, stream),
            })?;
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

    /// Makes what was framed for one sink fit another one, of which nothing was sent to the first.
    fn prepare(&mut self, arrived: &mut Buffer, sink: &Channel) -> Result<(), Broken> {
        let head_bytes = *self.head_bytes.get_or_insert(self.out.len());
        let is_stream = sink.is_stream();
        if self
            .framed_for_stream
            .is_some_and(|framed| framed != is_stream)
            && self.bytes_sent == 0
            && !self.replays
        {
            let Kept::All { .. } = self.kept else {
                return Err(Broken::Sink);
            };
            self.abandon(arrived);
            self.out.truncate(head_bytes);
            self.replays = true;
        }
        if std::mem::take(&mut self.replays) {
            if let Kept::All { bytes, .. } = &self.kept {
                self.framed(is_stream).write(bytes, &mut self.out);
            }
            self.framed_for_stream = Some(is_stream);
            if self.is_finished && !is_stream {
                let trailers = left(&self.translation, &self.trailers);
                self.writer.finish(trailers, &mut self.out);
            }
        }
        Ok(())
    }

    /// How content is framed.
    fn framed(&self, for_stream: bool) -> BodyWriter {
        if for_stream {
            BodyWriter::Plain
        } else {
            self.writer
        }
    }

    /// Takes what has arrived, as far as there is room for it.
    fn absorb(
        &mut self,
        source: &Channel,
        arrived: &mut Buffer,
        for_stream: bool,
    ) -> Result<(), BadMessage> {
        let writer = self.framed(for_stream);
        while !self.reader.is_done()
            && !arrived.is_empty()
            && self.direct == 0
            && self.out.len() < OUT_BYTES_MAX
        {
            self.framed_for_stream = Some(for_stream);
            let bytes = arrived.filled();
            let step = self.reader.receive(bytes)?;
            let data = &bytes[step.data.clone()];
            if let Some(translation) = &mut self.translation {
                let mut translated = Vec::new();
                translation.receive(data, &mut translated)?;
                self.kept.keep(&translated);
                writer.write(&translated, &mut self.out);
                arrived.consume(step.consumed);
                continue;
            }
            self.kept.keep(data);
            let is_direct = writer == BodyWriter::Plain
                && step.data == (0..step.consumed)
                && (data.len() > COPY_BYTES_MAX || self.out.is_empty());
            if is_direct {
                self.direct = step.consumed;
            } else {
                writer.write(data, &mut self.out);
                arrived.consume(step.consumed);
            }
        }
        if self.reader.is_done() && !self.is_finished {
            self.framed_for_stream = Some(for_stream);
            match source {
                Channel::Stream(stream) => stream.trailers(&mut self.trailers),
                Channel::Connection(_) => self.trailers.extend_from_slice(self.reader.trailers()),
            }
            if let Some(translation) = &mut self.translation {
                let mut translated = Vec::new();
                translation.finish(&self.trailers, &mut translated)?;
                writer.write(&translated, &mut self.out);
            }
            if !for_stream {
                writer.finish(left(&self.translation, &self.trailers), &mut self.out);
            }
            self.is_finished = true;
        }
        Ok(())
    }

    /// Writes what is owed to a connection.
    fn poll_flush(
        &mut self,
        cx: &mut Context<'_>,
        arrived: &mut Buffer,
        sink: &mut net::Stream,
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
            self.has_sent(count, arrived);
        }
        self.forget_sent();
        Poll::Ready(Ok(()))
    }

    /// Hands what is owed to a stream, as far as its windows allow. The end goes with the last of
    /// it.
    fn poll_flush_stream(
        &mut self,
        cx: &mut Context<'_>,
        arrived: &mut Buffer,
        sink: &mut h2::Stream,
    ) -> Poll<Result<(), Broken>> {
        let has_trailers = !left(&self.translation, &self.trailers).is_empty();
        let ends_plainly = self.is_finished && !self.stays_open && !has_trailers;
        let head_bytes = self.head_bytes.unwrap_or_default();
        if self.bytes_sent == 0 && head_bytes > 0 {
            let is_end = ends_plainly && self.out.len() == head_bytes && self.direct == 0;
            sink.send_head(&self.out[..head_bytes], is_end)
                .map_err(|_| Broken::Sink)?;
            self.is_ended = is_end;
            self.has_sent(head_bytes, arrived);
        }
        while self.is_owing() {
            let first = &self.out[self.out_sent..];
            let then = &arrived.filled()[..self.direct];
            let (piece, is_last) = match first {
                [] => (then, true),
                first => (first, then.is_empty()),
            };
            let is_end = is_last && ends_plainly;
            let length = piece.len();
            let Ok(count) = ready!(sink.poll_send(cx, piece, is_end)) else {
                return Poll::Ready(Err(Broken::Sink));
            };
            self.is_ended = is_end && count == length;
            self.has_sent(count, arrived);
        }
        if self.is_finished && !self.is_ended && !self.stays_open {
            sink.send_trailers(left(&self.translation, &self.trailers));
            self.is_ended = true;
        }
        self.forget_sent();
        Poll::Ready(Ok(()))
    }

    /// The next `count` owed bytes have left.
    fn has_sent(&mut self, count: usize, arrived: &mut Buffer) {
        self.bytes_sent += count as u64;
        let of_out = count.min(self.out.len() - self.out_sent);
        self.out_sent += of_out;
        self.direct -= count - of_out;
        arrived.consume(count - of_out);
    }

    fn forget_sent(&mut self) {
        self.out.clear();
        self.out_sent = 0;
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

/// The trailers that leave behind the content.
fn left<'a>(translation: &Option<Translation>, trailers: &'a [u8]) -> &'a [u8] {
    match translation {
        // They are content now.
        Some(Translation::Response(_)) => &[],
        Some(Translation::Request(_)) | None => trailers,
    }
}

impl Kept {
    /// Keeps `data`, if there is room.
    fn keep(&mut self, data: &[u8]) {
        if let Self::All { bytes, bytes_max } = self {
            if bytes.len() + data.len() > *bytes_max {
                *self = Self::No;
            } else {
                bytes.extend_from_slice(data);
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
    /// The endpoint has not worked on the request and will not (RFC 9113 §8.7).
    Refused,
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
    /// The protocol that the request asks to switch to.
    upgrade: Option<Box<[u8]>>,
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
    pub(crate) fn new(
        method: Method,
        upgrade: Option<Box<[u8]>>,
        limits: Limits,
        now: Option<Instant>,
    ) -> Self {
        Self {
            reader: ResponseReader::default(),
            method,
            upgrade,
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
            if !self.has_head {
                match self.poll_head(cx, upstream, response) {
                    Poll::Ready(Ok(())) => self.has_head = true,
                    Poll::Ready(Err(reason)) => return Poll::Ready(Err(reason)),
                    Poll::Pending => break,
                }
            }
            let arrived = &mut upstream.buffer;
            let waits_for_body =
                arrived.is_empty() && matches!(response.body_length, BodyLength::Exact(1..));
            if !waits_for_body {
                self.reader = ResponseReader::default();
                self.has_head = false;
                self.is_held = false;
                return Poll::Ready(Ok(()));
            }
            if !self.is_held {
                self.is_held = true;
                client.allow(patience.endpoint);
            }
            match upstream.channel.poll_read(cx, arrived) {
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

    /// Reads the next head.
    fn poll_head(
        &mut self,
        cx: &mut Context<'_>,
        upstream: &mut Upstream,
        response: &mut ResponseHead,
    ) -> Poll<Result<(), NoResponse>> {
        let arrived = &mut upstream.buffer;
        let stream = match &mut upstream.channel {
            Channel::Connection(stream) => stream,
            Channel::Stream(stream) => {
                let head = ready!(stream.poll_response(cx, response));
                if let (Ok(()), Some(protocol)) = (head, &self.upgrade) {
                    read_as_switch(response, protocol);
                }
                return Poll::Ready(head.map_err(|reason| match reason {
                    NoHead::Refused => NoResponse::Refused,
                    NoHead::NotSent => NoResponse::NothingSent,
                    NoHead::Broken => NoResponse::Closed,
                }));
            }
        };
        loop {
            if !arrived.is_empty() {
                let (limits, method) = (&self.limits, self.method);
                match self
                    .reader
                    .receive(arrived.filled(), limits, method, response)
                {
                    Ok(Some(consumed)) => {
                        arrived.consume(consumed);
                        return Poll::Ready(Ok(()));
                    }
                    Ok(None) if arrived.is_full() => arrived.enlarge(),
                    Ok(None) => {}
                    Err(bad) => return Poll::Ready(Err(NoResponse::Broke(bad))),
                }
            }
            match ready!(stream.poll_read(cx, arrived)) {
                Ok(0) | Err(_) => return Poll::Ready(Err(NoResponse::Closed)),
                Ok(_) => {}
            }
        }
    }
}

/// Over HTTP/2 an endpoint switches to `protocol` with a success (RFC 8441 §4): makes a 101 of it.
fn read_as_switch(response: &mut ResponseHead, protocol: &[u8]) {
    if (200..300).contains(&response.status.code()) {
        let start = response.bytes.len();
        response.bytes.extend_from_slice(protocol);
        response.upgrade = Some(Span::new(start, response.bytes.len()));
        response.status = Status::SWITCHING_PROTOCOLS;
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
    let Client {
        channel, buffer, ..
    } = client;
    let poll = sending.poll(cx, channel, buffer, &mut upstream.channel);
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
            &mut upstream.channel,
            &mut upstream.buffer,
            &mut client.channel,
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
            let Client {
                channel, buffer, ..
            } = client;
            match up.poll(cx, channel, buffer, &mut upstream.channel) {
                Poll::Ready(Ok(())) => {
                    up_is_shut = true;
                    let _ = upstream.channel.poll_shutdown(cx);
                }
                Poll::Ready(Err(_)) => return Poll::Ready(()),
                Poll::Pending => {}
            }
        }
        if !down_is_shut {
            match down.poll(
                cx,
                &mut upstream.channel,
                &mut upstream.buffer,
                &mut client.channel,
            ) {
                Poll::Ready(Ok(())) => {
                    down_is_shut = true;
                    let _ = client.channel.poll_shutdown(cx);
                }
                Poll::Ready(Err(_)) => return Poll::Ready(()),
                Poll::Pending => {}
            }
        }
        if up_is_shut && down_is_shut {
            return Poll::Ready(());
        }
        // Nothing is read any more from a side that has closed: its stream may still be reset.
        let is_gone = |channel: &mut Channel, cx: &mut Context<'_>| match channel {
            Channel::Stream(stream) => stream.poll_gone(cx).is_ready(),
            Channel::Connection(_) => false,
        };
        if (up_is_shut && is_gone(&mut client.channel, cx))
            || (down_is_shut && is_gone(&mut upstream.channel, cx))
        {
            return Poll::Ready(());
        }
        if up.steps() + down.steps() > before {
            client.allow(patience);
        }
        client.poll_timeout(cx)
    })
    .await;
}
