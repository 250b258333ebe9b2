//! One connection of an endpoint: reads requests, plays replies.

use std::io::{self, Write};
use std::net::Shutdown;
use std::sync::Arc;
use std::time::Duration;

use crate::endpoint::Shared;
use crate::filler::filler_pieces;
use crate::http::{Body, End, Framing, Head, read_head};
use crate::script::{Reply, Request, Step};
use crate::source::Source;
use crate::transport::Transport;

/// Serves a connection until it ends.
pub(crate) fn serve(shared: &Arc<Shared>, transport: Transport, connection: usize) {
    let tap = {
        let shared = Arc::clone(shared);
        move |read: Result<&[u8], End>| {
            shared.pass();
            match read {
                Ok([]) => shared.record_end(connection, End::Clean),
                Ok(bytes) => shared.record_bytes(connection, bytes),
                Err(end) => shared.record_end(connection, end),
            }
        }
    };
    let mut serving = Serving {
        shared,
        source: Source::new(transport, Some(Box::new(tap))),
        connection,
        unread: None,
        body: None,
        recorded: None,
    };
    // An error is the other side's close or reset, or our own `kill`.
    let _ = serving.run();
    shared.forget(connection);
}

struct Serving<'a> {
    shared: &'a Arc<Shared>,
    source: Source,
    connection: usize,
    /// Framing of a body that was not read yet.
    unread: Option<Framing>,
    body: Option<Body>,
    /// Where the request at hand is recorded; `None` once it is in flight no more.
    recorded: Option<usize>,
}

/// Whether the connection goes on.
#[derive(PartialEq)]
enum Next {
    GoOn,
    Over,
}

impl Serving<'_> {
    fn run(&mut self) -> io::Result<()> {
        for step in self.shared.on_connect(self.connection) {
            if self.play(&step)? == Next::Over {
                return Ok(());
            }
        }
        for index in 0.. {
            if self.serve_request(index)? == Next::Over {
                break;
            }
        }
        Ok(())
    }

    fn serve_request(&mut self, index: usize) -> io::Result<Next> {
        let head = match read_head(&mut self.source)? {
            None => return Ok(Next::Over),
            Some(Ok(head)) => head,
            Some(Err(fault)) => {
                self.shared.fault(fault);
                return Ok(Next::Over);
            }
        };
        match head.request_framing() {
            Ok(framing) => self.unread = Some(framing),
            Err(fault) => {
                self.shared.fault(fault);
                return Ok(Next::Over);
            }
        }
        self.body = None;
        self.recorded = Some(self.shared.begin_request(head.clone(), self.connection));
        let request = Request {
            head,
            connection: self.connection,
            index,
        };
        let reply = self.shared.on_request(&request);
        let next = self.play_reply(&reply, &request.head);
        self.end_request();
        match next {
            Ok(Next::GoOn) if wants_close(&request.head) => self.play(&Step::Close),
            next => next,
        }
    }

    fn play_reply(&mut self, reply: &Reply, request: &Head) -> io::Result<Next> {
        for step in reply.steps_before() {
            if self.play(step)? == Next::Over {
                return Ok(Next::Over);
            }
        }
        let message = reply.render(request, self.body.as_ref());
        if reply.steps_after().is_empty() {
            // The next request may be here before this thread runs again.
            self.end_request();
        }
        self.send(&message)?;
        for step in reply.steps_after() {
            if self.play(step)? == Next::Over {
                return Ok(Next::Over);
            }
        }
        Ok(Next::GoOn)
    }

    /// The request at hand is in flight no more.
    fn end_request(&mut self) {
        if self.recorded.take().is_some() {
            self.shared.end_request();
        }
    }

    fn play(&mut self, step: &Step) -> io::Result<Next> {
        match step {
            Step::ReadBody => return self.read_body(),
            Step::Read(bytes) => return self.read(*bytes),
            Step::ReadToEnd => self.drain()?,
            Step::Finish => self.source.transport.finish()?,
            Step::Send(bytes) => self.send(bytes)?,
            Step::SendFiller(bytes) => filler_pieces(*bytes, |piece| self.send(piece))?,
            Step::Pause(duration) => self.shared.pause(*duration),
            Step::Wait(gate) => while !gate.wait(STOP_POLL) && !self.shared.is_stopped() {},
            Step::Hang => {
                self.drain()?;
                return Ok(Next::Over);
            }
            Step::StopReading => {
                self.source.transport.socket().shutdown(Shutdown::Read)?;
            }
            Step::Tunnel => {
                self.tunnel()?;
                self.source.transport.finish()?;
                return Ok(Next::Over);
            }
            Step::Close => {
                // What the other side still sends is read, so that no reset overtakes the
                // response (RFC 9112 §9.6).
                self.source.transport.finish()?;
                self.drain()?;
                return Ok(Next::Over);
            }
            Step::Reset | Step::ResetStream(_) => {
                // The last close of the socket sends the reset: it has to be ours.
                self.shared.forget(self.connection);
                let socket = self.source.transport.socket();
                socket.set_linger(Some(Duration::ZERO))?;
                return Ok(Next::Over);
            }
        }
        Ok(Next::GoOn)
    }

    fn read_body(&mut self) -> io::Result<Next> {
        let Some(framing) = self.unread.take() else {
            return Ok(Next::GoOn);
        };
        let body = Body::read(&mut self.source, framing, BODY_KEPT_MAX);
        let clean = body.end == End::Clean;
        if let End::Malformed(fault) = &body.end {
            self.shared.fault(fault.clone());
        }
        if let Some(recorded) = self.recorded {
            self.shared.record_body(recorded, body.clone());
        }
        self.body = Some(body);
        Ok(if clean { Next::GoOn } else { Next::Over })
    }

    fn read(&mut self, bytes: usize) -> io::Result<Next> {
        let mut left = bytes;
        while left > 0 {
            if self.source.pending().is_empty() && self.source.fill()? == 0 {
                return Ok(Next::Over);
            }
            let taken = left.min(self.source.pending().len());
            self.source.consume(taken);
            left -= taken;
        }
        Ok(Next::GoOn)
    }

    fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.shared.pass();
        self.source.transport.write_all(bytes)?;
        self.source.transport.flush()?;
        let sent = bytes.len() as u64;
        self.shared.record_raw_sent(self.connection, sent);
        if let Some(recorded) = self.recorded {
            self.shared.record_sent(recorded, sent);
        }
        Ok(())
    }

    fn drain(&mut self) -> io::Result<()> {
        loop {
            let pending = self.source.pending().len();
            self.source.consume(pending);
            if self.source.fill()? == 0 {
                return Ok(());
            }
        }
    }

    fn tunnel(&mut self) -> io::Result<()> {
        loop {
            let pending = self.source.pending().to_vec();
            self.source.consume(pending.len());
            self.send(&pending)?;
            if self.source.fill()? == 0 {
                return Ok(());
            }
        }
    }
}

fn wants_close(request: &Head) -> bool {
    match request.word(2) {
        "HTTP/1.0" => !request.connection_has("keep-alive"),
        _ => request.connection_has("close"),
    }
}

/// How soon a step that waits for a gate notices that the endpoint stops.
const STOP_POLL: Duration = Duration::from_millis(20);

/// What is kept of a request body; more is only counted and hashed.
const BODY_KEPT_MAX: usize = 1024 * 1024;
