//! One HTTP/2 connection of an endpoint: accepts streams, plays a reply on each.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use bytes::Bytes;
use h2::server::{Connection, SendResponse};
use h2::{Reason, RecvStream, SendStream};
use http::{Response, StatusCode};
use socket2::Socket;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio_rustls::TlsAcceptor;

use super::blocking::wait_for;
use super::convert::{extend, map_of, read_body, request_head};
use crate::endpoint::Shared;
use crate::filler::filler_pieces;
use crate::http::{Body, Head};
use crate::protocol::Http2;
use crate::script::{Parts, Reply, Request, Step};
use crate::tls::{Handshake, TlsServer};

/// Serves a connection until it ends.
pub(crate) fn serve(
    shared: &Arc<Shared>,
    settings: Http2,
    tls: Option<&TlsServer>,
    socket: Socket,
    connection: usize,
) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .build()
        .expect("a runtime can be made");
    let serving = Serving {
        shared,
        settings,
        connection,
    };
    let streams = runtime.block_on(async {
        // An error is the other side's close or reset, or our own `kill`.
        serving.run(tls, socket).await.unwrap_or_default()
    });
    shared.forget(connection);
    for stream in streams {
        if let Err(panic) = stream.join() {
            std::panic::resume_unwind(panic);
        }
    }
}

struct Serving<'a> {
    shared: &'a Arc<Shared>,
    settings: Http2,
    connection: usize,
}

/// What a stream wants of its connection.
enum Order {
    /// Takes no more streams and ends.
    GoAway,
    /// Ends at once.
    Cut,
    /// Says when all that streams have sent has left.
    Flush(std::sync::mpsc::Sender<()>),
}

type StreamThread = std::thread::JoinHandle<()>;

impl Serving<'_> {
    async fn run(&self, tls: Option<&TlsServer>, socket: Socket) -> io::Result<Vec<StreamThread>> {
        socket.set_nonblocking(true)?;
        let stream = TcpStream::from_std(socket.into())?;
        match tls {
            None => self.serve(stream).await,
            Some(tls) => {
                let acceptor = TlsAcceptor::from(tls.offering("h2"));
                let accepted = acceptor.accept(stream).await;
                let shake = accepted
                    .as_ref()
                    .map_err(ToString::to_string)
                    .map(|stream| {
                        let connection = stream.get_ref().1;
                        Handshake::of(connection, connection.server_name())
                    });
                self.shared.record_handshake(shake);
                self.serve(accepted?).await
            }
        }
    }

    async fn serve(
        &self,
        io: impl AsyncRead + AsyncWrite + Unpin,
    ) -> io::Result<Vec<StreamThread>> {
        let mut builder = h2::server::Builder::new();
        builder
            .initial_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW);
        if let Some(streams_max) = self.settings.streams_max {
            builder.max_concurrent_streams(streams_max);
        }
        if self.settings.allows_connect {
            builder.enable_connect_protocol();
        }
        let io = Tapped {
            io,
            shared: self.shared,
            connection: self.connection,
        };
        let handshake = builder.handshake(io).await;
        let mut connection: Connection<_, Bytes> = handshake.map_err(io::Error::other)?;
        let (orders, mut wanted) = unbounded_channel();
        let mut streams = Vec::new();
        while let Some((request, respond)) = next(&mut connection, &mut wanted).await {
            let (parts, body) = request.into_parts();
            let request = Request {
                head: request_head(&parts),
                connection: self.connection,
                index: streams.len(),
            };
            let shared = Arc::clone(self.shared);
            let orders = orders.clone();
            let recorded = shared.begin_request(request.head.clone(), self.connection);
            streams.push(std::thread::spawn(move || {
                let mut exchange = Exchange {
                    shared: &shared,
                    orders,
                    receive: body,
                    respond,
                    sending: None,
                    body: None,
                    recorded,
                };
                // An error is the end of the stream or of its connection.
                let _ = exchange.run(&request);
                shared.end_request();
            }));
        }
        Ok(streams)
    }
}

/// The next stream; `None` when the connection is over.
async fn next<T: AsyncRead + AsyncWrite + Unpin>(
    connection: &mut Connection<T, Bytes>,
    wanted: &mut UnboundedReceiver<Order>,
) -> Option<(http::Request<RecvStream>, SendResponse<Bytes>)> {
    poll_fn(|context| {
        let (mut flushes, mut is_cut) = (Vec::new(), false);
        while let Poll::Ready(Some(order)) = wanted.poll_recv(context) {
            match order {
                Order::GoAway => connection.graceful_shutdown(),
                Order::Cut => is_cut = true,
                Order::Flush(done) => flushes.push(done),
            }
        }
        // Writes too.
        let accepted = connection.poll_accept(context);
        for done in flushes {
            // A stream that does not wait any more is over.
            let _ = done.send(());
        }
        if is_cut {
            return Poll::Ready(None);
        }
        Poll::Ready(ready!(accepted).and_then(Result::ok))
    })
    .await
}

/// One stream.
struct Exchange<'a> {
    shared: &'a Shared,
    orders: UnboundedSender<Order>,
    receive: RecvStream,
    respond: SendResponse<Bytes>,
    /// `Some` once the head was sent.
    sending: Option<SendStream<Bytes>>,
    body: Option<Body>,
    /// Where the request is recorded.
    recorded: usize,
}

/// The stream is over before its script is.
struct Over;

impl From<h2::Error> for Over {
    fn from(_: h2::Error) -> Self {
        Self
    }
}

impl Exchange<'_> {
    fn run(&mut self, request: &Request) -> Result<(), Over> {
        let reply = self.shared.on_request(request);
        for step in reply.steps_before() {
            self.play(step)?;
        }
        let Some(parts) = reply.parts(&request.head, self.body.as_ref()) else {
            return self.play_all(reply.steps_after());
        };
        let goes_on = goes_on(&reply);
        let is_bodiless = request.method() == "HEAD" || matches!(parts.status, 204 | 304);
        let content: &[u8] = if is_bodiless { &[] } else { &parts.content };
        let is_head_all = content.is_empty() && parts.trailers.is_empty() && !goes_on;
        self.send_head(&parts, is_head_all)?;
        if !is_head_all {
            self.send_content(content, !goes_on && parts.trailers.is_empty())?;
            self.play_all(reply.steps_after())?;
            self.end(&parts)?;
        } else {
            self.play_all(reply.steps_after())?;
        }
        Ok(())
    }

    fn play_all(&mut self, steps: &[Step]) -> Result<(), Over> {
        steps.iter().try_for_each(|step| self.play(step))
    }

    fn play(&mut self, step: &Step) -> Result<(), Over> {
        match step {
            Step::ReadBody => return self.read_body(),
            Step::Read(_) | Step::ReadToEnd | Step::Finish => {
                panic!("{step:?} means nothing on a stream of HTTP/2")
            }
            Step::Send(bytes) if self.sending.is_none() => return self.send_interim(bytes),
            Step::Send(bytes) => return self.send_content(bytes, false),
            Step::SendFiller(bytes) => {
                return filler_pieces(*bytes, |piece| self.send_content(piece, false));
            }
            Step::Pause(duration) => self.shared.pause(*duration),
            Step::Wait(gate) => {
                while !gate.wait(STOP_POLL) && !self.shared.is_stopped() {
                    self.notice_reset();
                }
            }
            Step::Hang => self.hang(),
            Step::StopReading => {}
            Step::Tunnel => return self.tunnel(),
            Step::Close => self.order(Order::GoAway),
            Step::Reset => {
                self.shared.abort(self.recorded);
                self.order(Order::Cut);
                return Err(Over);
            }
            Step::ResetStream(code) => {
                let reason = Reason::from(*code);
                self.flush();
                match &mut self.sending {
                    Some(stream) => stream.send_reset(reason),
                    None => self.respond.send_reset(reason),
                }
                return Err(Over);
            }
        }
        Ok(())
    }

    fn order(&self, order: Order) {
        // A connection that is gone has nothing left to end.
        let _ = self.orders.send(order);
    }

    /// Waits until what was sent has left: a reset would make the crate forget it.
    fn flush(&self) {
        let (done, is_done) = std::sync::mpsc::channel();
        self.order(Order::Flush(done));
        // An error: the connection is gone.
        let _ = is_done.recv();
    }

    fn read_body(&mut self) -> Result<(), Over> {
        if self.body.is_some() {
            return Ok(());
        }
        let mut body = Body::default();
        wait_for(
            FOREVER,
            read_body(&mut self.receive, &mut body, BODY_KEPT_MAX),
        );
        let is_clean = body.end == crate::http::End::Clean;
        if let crate::http::End::StreamReset(code) = body.end {
            self.shared.record_cancel(self.recorded, code);
        }
        self.shared.record_body(self.recorded, body.clone());
        self.body = Some(body);
        if is_clean { Ok(()) } else { Err(Over) }
    }

    /// A 1xx response, written as HTTP/1.1 would.
    fn send_interim(&mut self, bytes: &[u8]) -> Result<(), Over> {
        let head = Head::parse(bytes.to_vec()).expect("before the response, 1xx responses only");
        let status = head.word(1).parse::<u16>().expect("a status");
        let mut response = Response::new(());
        *response.status_mut() = StatusCode::from_u16(status).expect("a status");
        *response.headers_mut() = map_of(&head.fields);
        Ok(self.respond.send_informational(response)?)
    }

    fn send_head(&mut self, parts: &Parts, is_end: bool) -> Result<(), Over> {
        // What HTTP/1.1 grants by 101, an extended CONNECT does by 200 (RFC 8441 §5).
        let status = if parts.status == 101 {
            200
        } else {
            parts.status
        };
        let mut response = Response::new(());
        *response.status_mut() = StatusCode::from_u16(status).expect("a status");
        *response.headers_mut() = map_of(&parts.fields);
        self.sending = Some(self.respond.send_response(response, is_end)?);
        Ok(())
    }

    fn send_content(&mut self, content: &[u8], is_end: bool) -> Result<(), Over> {
        let stream = self.sending.as_mut().expect("the head was sent");
        let mut left = Bytes::copy_from_slice(content);
        while !left.is_empty() {
            stream.reserve_capacity(left.len());
            if stream.capacity() == 0 {
                let room = wait_for(FOREVER, poll_fn(|context| stream.poll_capacity(context)));
                match room.flatten() {
                    Some(Ok(_)) => continue,
                    _ => {
                        self.notice_reset();
                        return Err(Over);
                    }
                }
            }
            self.shared.pass();
            let piece = left.split_to(left.len().min(stream.capacity()));
            let bytes = piece.len();
            stream.send_data(piece, is_end && left.is_empty())?;
            self.shared.record_sent(self.recorded, bytes as u64);
        }
        Ok(())
    }

    /// Ends a response that is not over yet.
    fn end(&mut self, parts: &Parts) -> Result<(), Over> {
        if parts.is_cut {
            // The connection ends within the response, unless a step has reset the stream.
            self.order(Order::Cut);
        }
        let stream = self.sending.as_mut().expect("the head was sent");
        if parts.is_cut {
            // A stream that is let go of before is reset, and its content forgotten.
            wait_for(FOREVER, poll_fn(|context| stream.poll_reset(context)));
        } else if !parts.trailers.is_empty() {
            stream.send_trailers(map_of(&parts.trailers))?;
        } else {
            // An error: the content has ended it.
            let _ = stream.send_data(Bytes::new(), true);
        }
        Ok(())
    }

    /// Reads until the stream is reset or its connection is over.
    fn hang(&mut self) {
        wait_for(
            FOREVER,
            poll_fn(|context| {
                while let Poll::Ready(Some(Ok(data))) = self.receive.poll_data(context) {
                    let _ = self.receive.flow_control().release_capacity(data.len());
                }
                let reset = match &mut self.sending {
                    Some(stream) => stream.poll_reset(context),
                    None => self.respond.poll_reset(context),
                };
                reset.map(|_| ())
            }),
        );
        self.notice_reset();
    }

    fn tunnel(&mut self) -> Result<(), Over> {
        let mut seen = Body::default();
        while let Some(Some(data)) = wait_for(FOREVER, self.receive.data()) {
            let data = data?;
            extend(&mut seen, &data, BODY_KEPT_MAX);
            self.receive.flow_control().release_capacity(data.len())?;
            self.send_content(&data, false)?;
        }
        self.shared.record_body(self.recorded, seen);
        Ok(())
    }

    /// Records the code if the other side has reset the stream.
    fn notice_reset(&mut self) {
        let context = &mut Context::from_waker(Waker::noop());
        let reset = match &mut self.sending {
            Some(stream) => stream.poll_reset(context),
            None => self.respond.poll_reset(context),
        };
        if let Poll::Ready(Ok(reason)) = reset {
            self.shared.record_cancel(self.recorded, reason.into());
        }
    }
}

/// True if steps behind the message belong to the response.
fn goes_on(reply: &Reply) -> bool {
    let is_more = |step: &Step| {
        matches!(
            step,
            Step::Send(_)
                | Step::SendFiller(_)
                | Step::Tunnel
                | Step::Hang
                | Step::Reset
                | Step::ResetStream(_)
        )
    };
    reply.is_cut() || reply.steps_after().iter().any(is_more)
}

/// A connection whose bytes are recorded, and which stands still while the endpoint is frozen.
struct Tapped<'a, T> {
    io: T,
    shared: &'a Shared,
    connection: usize,
}

impl<T: AsyncRead + Unpin> AsyncRead for Tapped<'_, T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let filled = buffer.filled().len();
        let read = ready!(Pin::new(&mut self.io).poll_read(context, buffer));
        // Blocks the thread, which has nothing to do but this connection.
        self.shared.pass();
        self.shared
            .record_bytes(self.connection, &buffer.filled()[filled..]);
        Poll::Ready(read)
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Tapped<'_, T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.shared.pass();
        Pin::new(&mut self.io).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(context)
    }
}

/// How soon a step that waits for a gate notices that the endpoint stops.
const STOP_POLL: Duration = Duration::from_millis(20);

/// Longer than any test: what ends a wait is the end of the connection.
const FOREVER: Duration = Duration::from_secs(3600);

/// What is kept of a request body; more is only counted and hashed.
const BODY_KEPT_MAX: usize = 1024 * 1024;

/// What may arrive on a stream before a script reads it.
const STREAM_WINDOW: u32 = 1024 * 1024;

/// Large, so that no stream stands in another one's way.
const CONNECTION_WINDOW: u32 = 16 * 1024 * 1024;
