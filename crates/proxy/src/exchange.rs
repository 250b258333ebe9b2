//! One request and its response: the path every exchange takes.
//!
//! Read top to bottom: receive the head, route, admit, attempt, and again elsewhere if that
//! failed and may be repeated, then deliver the response. From the head on nothing here knows
//! how bytes are framed.
//!
//! Absent on purpose: sockets (see `net`), config text (see `config`), locks.

use std::future::poll_fn;
use std::rc::Rc;
use std::task::Poll;
use std::time::Instant;

use balance::{Lease, RetryBudget, RetrySettings, Tried, backoff};
use config::{HeadLimits, Route};
use message::{BodyLength, FieldName, Method, RequestHead, ResponseHead, Status, Version};
use wire::h1::{BadMessage, BodyWriter, Limits, RequestFacts, RequestReader, tokens};

use crate::client::{Client, Gone};
use crate::failure::{Failure, write_reply};
use crate::forward::{self, CutShort, NoResponse, Patience, Transfer};
use crate::headers::{RequestExtras, ResponseFraming, write_request_head, write_response_head};
use crate::record::{AttemptRecord, EndedBy, Outcome, Phase, Record};
use crate::upstream::{self, NotAdmitted, Upstream};
use crate::worker::Worker;

/// What becomes of the client's connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    /// It may carry another request.
    KeepAlive,
    /// Close it.
    Close,
    /// Close it, but let the client read what was written although it is still sending.
    CloseGently,
}

/// Memory of one exchange, recycled by its worker.
pub(crate) struct Scratch {
    request: RequestHead,
    response: ResponseHead,
    /// Client to endpoint.
    up: Transfer,
    /// Endpoint to client.
    down: Transfer,
    attempts: Vec<AttemptRecord>,
}

/// Why an exchange ends without the endpoint's response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stop {
    /// Nobody is there to answer.
    ClientGone,
    /// We answer.
    Failure(Failure, EndedBy),
    /// We answer, and all is well: a question that was for us.
    OwnAnswer,
}

/// Serves one request of `client`, or none if the client closes first.
pub(crate) async fn run(worker: &Rc<Worker>, client: &mut Client) -> Next {
    let mut scratch = worker.take_scratch();
    let next = exchange(worker, client, &mut scratch).await;
    worker.return_scratch(scratch);
    next
}

async fn exchange(worker: &Worker, client: &mut Client, scratch: &mut Scratch) -> Next {
    let consumed_before = client.bytes_consumed();
    let received = receive_head(worker, client, &mut scratch.request).await;
    if received == Err(NoRequest::Silence) {
        return Next::Close;
    }
    let attempts = std::mem::take(&mut scratch.attempts);
    let mut record = Record::begin(worker, client, consumed_before, attempts);
    let served = match received {
        Ok(()) => serve(worker, client, scratch, &mut record).await,
        Err(NoRequest::Bad(bad)) => Err(Stop::Failure(Failure::BadRequest(bad), EndedBy::Client)),
        Err(NoRequest::Timeout) => Err(Stop::Failure(Failure::RequestTimeout, EndedBy::Client)),
        Err(NoRequest::Silence | NoRequest::Gone) => Err(Stop::ClientGone),
    };
    let next = match served {
        Ok(next) => next,
        Err(stop) => answer(worker, client, scratch, &mut record, stop).await,
    };
    client.bytes_received += scratch.up.bytes_read();
    client.bytes_sent += scratch.down.bytes_sent();
    scratch.attempts = record.finish(worker, client, &scratch.request);
    next
}

/// Why there is no request to serve.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum NoRequest {
    /// The client closed, or was silent for too long, before the first byte.
    Silence,
    /// The client closed in the middle of a head.
    Gone,
    /// The head did not arrive in time.
    Timeout,
    /// The head breaks a rule.
    Bad(BadMessage),
}

/// Reads a request head. The time-out of the head runs from its first byte.
async fn receive_head(
    worker: &Worker,
    client: &mut Client,
    head: &mut RequestHead,
) -> Result<(), NoRequest> {
    let listener = &worker.plan.snapshot.listeners[client.listener];
    let limits = limits(&listener.limits);
    let mut reader = RequestReader::default();
    let mut is_partial = false;
    poll_fn(|cx| {
        loop {
            let arrived = client.buffer();
            if !arrived.is_empty() {
                match reader.receive(arrived.filled(), &limits, head) {
                    Ok(Some(consumed)) => {
                        arrived.consume(consumed);
                        return Poll::Ready(Ok(()));
                    }
                    Ok(None) if arrived.is_full() => arrived.enlarge(),
                    Ok(None) => {}
                    Err(bad) => return Poll::Ready(Err(NoRequest::Bad(bad))),
                }
                if !is_partial {
                    is_partial = true;
                    client.allow(listener.timeouts.head);
                }
            }
            match client.poll_read(cx) {
                Poll::Ready(Ok(0) | Err(_)) => {
                    let why = if is_partial {
                        NoRequest::Gone
                    } else {
                        NoRequest::Silence
                    };
                    return Poll::Ready(Err(why));
                }
                Poll::Ready(Ok(_)) => {}
                Poll::Pending => break,
            }
        }
        client.poll_timeout(cx).map(|()| {
            Err(if is_partial {
                NoRequest::Timeout
            } else {
                NoRequest::Silence
            })
        })
    })
    .await
}

fn limits(limits: &HeadLimits) -> Limits {
    let HeadLimits {
        head_bytes,
        fields,
        line_bytes,
    } = *limits;
    Limits {
        head_bytes,
        fields,
        line_bytes,
    }
}

/// Finds the endpoint's response to the request in `scratch` and delivers it.
async fn serve(
    worker: &Worker,
    client: &mut Client,
    scratch: &mut Scratch,
    record: &mut Record,
) -> Result<Next, Stop> {
    let snapshot = &worker.plan.snapshot;
    let Scratch {
        request,
        response,
        up,
        ..
    } = scratch;
    let writer = match request.body_length {
        BodyLength::Chunked => BodyWriter::Chunked,
        _ => BodyWriter::Plain,
    };
    up.begin(request.body_length, writer);

    // Which route, and is the request allowed on it?
    let route = snapshot.listeners[client.listener]
        .routes
        .find(request.route_host(), request.route_path())
        .ok_or(Stop::Failure(Failure::RouteNotFound, EndedBy::Us))?;
    record.route = Some(route);
    let route = &snapshot.routes[route];
    record.pool = Some(route.pool);
    client.limit_exchange(route.timeouts.total.map(|total| record.began + total));
    let max_forwards = check(request, route, &worker.plan.pseudonym)?;

    // What the endpoint is told.
    let settings = &worker.plan.pools[route.pool].settings;
    let write_head = |client: &Client, record: &Record, out: &mut Vec<u8>| {
        let extras = RequestExtras {
            client: &client.address,
            request_id: record.request_id.as_bytes(),
            pseudonym: &worker.plan.pseudonym,
            pool: &settings.name,
            max_forwards,
        };
        write_request_head(request, &extras, out);
    };
    write_head(client, record, up.head());
    if settings.retry.attempts > 0 && request.method.is_idempotent() {
        up.keep(settings.retry.body_bytes_max);
    }

    // Try endpoints until one answers, or trying again is not allowed.
    let budget = &worker.plan.pools[route.pool].retry_budget;
    budget.earn();
    let mut retries = Retries {
        settings: &settings.retry,
        budget,
        made: 0,
    };
    let mut tried = Tried::new();
    let (lease, upstream) = loop {
        record.phase = Phase::Queue;
        let admission = upstream::admit(worker, client, route.pool, &tried).await?;
        let lease = admission.lease;
        let now = if admission.queued.is_none() && tried.is_empty() {
            record.began
        } else {
            Instant::now()
        };
        tried.insert(lease.index());
        record.begin_attempt(worker, lease.index(), admission.why, admission.queued, now);

        let attempt = attempt(
            worker, client, route, &lease, request, response, up, record, now,
        )
        .await;
        let failed = match attempt {
            Ok(upstream) if !settings.retry.on.statuses.contains(&response.status.code()) => {
                break (lease, upstream);
            }
            Ok(upstream) => {
                if !retries.allow(worker, record, request, up, Retryable::IfIdempotent) {
                    break (lease, upstream);
                }
                record.end_attempt(worker, &lease, outcome_of(response.status), Instant::now());
                None
            }
            Err(failed) => {
                record.end_attempt(worker, &lease, failed.outcome(), Instant::now());
                let retryable = failed.retryable(&settings.retry);
                if !retries.allow(worker, record, request, up, retryable) {
                    return Err(failed.stop());
                }
                Some(failed)
            }
        };
        drop(lease);
        if !failed.is_some_and(|failed| failed.sent_nothing()) {
            pause(worker, client, retries.made).await?;
        }
        response.clear();
        let mut head = Vec::new();
        write_head(client, record, &mut head);
        up.restart(client.buffer(), &head);
    };

    if response.status == Status::SWITCHING_PROTOCOLS {
        return Ok(switch_protocols(worker, client, route, lease, upstream, scratch, record).await);
    }
    Ok(deliver(worker, client, route, lease, upstream, scratch, record).await)
}

/// Refuses what no route may forward, and takes out an upgrade that this one does not allow.
/// Returns what `Max-Forwards` becomes.
fn check(request: &mut RequestHead, route: &Route, pseudonym: &str) -> Result<Option<u32>, Stop> {
    // CONNECT would make us an open proxy; TRACE echoes what other parties must not see.
    let is_allowed = match request.method {
        Method::Connect => false,
        Method::Trace => route.allow_trace,
        _ => true,
    };
    if !is_allowed {
        return Err(Stop::Failure(Failure::MethodNotAllowed, EndedBy::Us));
    }
    let mut max_forwards = None;
    for field in &request.fields {
        let value = request.text(field.value);
        match field.id {
            FieldName::Via => {
                let is_ours = |hop: &[u8]| {
                    hop.split(|byte| *byte == b' ').nth(1) == Some(pseudonym.as_bytes())
                };
                if tokens(value).any(is_ours) {
                    return Err(Stop::Failure(Failure::LoopDetected, EndedBy::Us));
                }
            }
            // RFC 9110 §7.6.2: counts for these two methods and is ignored for others.
            FieldName::MaxForwards if matches!(request.method, Method::Options | Method::Trace) => {
                let count = std::str::from_utf8(value)
                    .ok()
                    .and_then(|text| text.parse().ok());
                max_forwards = match count {
                    Some(0) if request.method == Method::Options => return Err(Stop::OwnAnswer),
                    Some(0) => {
                        return Err(Stop::Failure(Failure::MethodNotAllowed, EndedBy::Us));
                    }
                    Some(count) => Some(count - 1),
                    None => {
                        let bad = Failure::BadRequest(BadMessage::FieldValue);
                        return Err(Stop::Failure(bad, EndedBy::Client));
                    }
                };
            }
            _ => {}
        }
    }
    let allows = |protocol: &[u8]| {
        route
            .upgrades
            .iter()
            .any(|allowed| protocol.eq_ignore_ascii_case(allowed.as_bytes()))
    };
    if request
        .upgrade
        .is_some_and(|protocol| !allows(request.text(protocol)))
    {
        request.upgrade = None;
    }
    Ok(max_forwards)
}

/// Why an attempt gave no response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Failed {
    /// There was no connection: the endpoint got nothing.
    NotConnected(Failure),
    /// The client left or broke a rule: not the endpoint's fault.
    Client(Stop),
    /// The endpoint closed before its response was there.
    Closed,
    /// The endpoint took too long.
    Timeout,
    /// The endpoint's response is not one.
    BadResponse(BadMessage),
    /// The endpoint switched protocols unasked.
    Switched,
}

/// Sends the request to one endpoint and waits for the final response head. Heads of interim
/// responses are passed to the client on the way.
#[expect(
    clippy::too_many_arguments,
    reason = "the state of an exchange, borrowed piece by piece"
)]
async fn attempt(
    worker: &Worker,
    client: &mut Client,
    route: &Route,
    lease: &Lease,
    request: &RequestHead,
    response: &mut ResponseHead,
    up: &mut Transfer,
    record: &mut Record,
    now: Instant,
) -> Result<Upstream, Failed> {
    record.phase = Phase::Connect;
    let connect_timeout = route.timeouts.connect;
    let opened = upstream::open(worker, client, route.pool, lease, connect_timeout, now).await;
    let mut upstream = opened.map_err(|error| match error {
        NotAdmitted::ClientGone => Failed::Client(Stop::ClientGone),
        NotAdmitted::Failure(failure) => Failed::NotConnected(failure),
    })?;
    if !upstream.is_reused {
        record.connected();
    }

    record.phase = Phase::Response;
    let limits = limits(&worker.plan.snapshot.listeners[client.listener].limits);
    let facts = RequestFacts {
        method: request.method,
    };
    let patience = Patience {
        body: route.timeouts.body,
        response: route.timeouts.response,
    };
    loop {
        forward::request(
            client,
            &mut upstream,
            up,
            response,
            facts,
            &limits,
            patience,
        )
        .await
        .map_err(Failed::from)?;
        if response.status == Status::SWITCHING_PROTOCOLS {
            let was_asked = request.upgrade.is_some();
            return if was_asked {
                Ok(upstream)
            } else {
                Err(Failed::Switched)
            };
        }
        if !response.status.is_informational() {
            record.answered(worker, response.status, Instant::now());
            return Ok(upstream);
        }
        // HTTP/1.0 has no interim responses (RFC 9110 §15.2).
        if request.version == Version::Http11 {
            let mut head = Vec::new();
            let framing = ResponseFraming::new(BodyLength::Empty, request.version);
            write_response_head(response, framing, request.version, true, b"", &mut head);
            let written = client.write_all(&head, patience.body).await;
            written.map_err(|Gone| Failed::Client(Stop::ClientGone))?;
        }
        response.clear();
    }
}

impl From<NoResponse> for Failed {
    fn from(reason: NoResponse) -> Self {
        match reason {
            NoResponse::ClientGone => Self::Client(Stop::ClientGone),
            NoResponse::ClientBroke(bad) => {
                Self::Client(Stop::Failure(Failure::BadRequest(bad), EndedBy::Client))
            }
            NoResponse::ClientTimeout => {
                Self::Client(Stop::Failure(Failure::RequestTimeout, EndedBy::Client))
            }
            NoResponse::Closed => Self::Closed,
            NoResponse::Timeout => Self::Timeout,
            NoResponse::Broke(bad) => Self::BadResponse(bad),
        }
    }
}

/// Whether a request may move to another endpoint, as far as it depends on what happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Retryable {
    No,
    /// It may have been executed: only where executing it twice does no harm.
    IfIdempotent,
    /// The endpoint never saw it.
    Always,
}

impl Failed {
    fn retryable(self, settings: &RetrySettings) -> Retryable {
        let (is_on, retryable) = match self {
            Self::NotConnected(_) => (settings.on.connect, Retryable::Always),
            Self::Closed => (settings.on.reset, Retryable::IfIdempotent),
            Self::Timeout => (settings.on.timeout, Retryable::IfIdempotent),
            Self::Client(_) | Self::BadResponse(_) | Self::Switched => (false, Retryable::No),
        };
        if is_on { retryable } else { Retryable::No }
    }

    fn sent_nothing(self) -> bool {
        matches!(self, Self::NotConnected(_))
    }

    fn outcome(self) -> Outcome {
        match self {
            Self::NotConnected(Failure::ConnectionRefused) => Outcome::Refused,
            // Our own shortage says nothing about the endpoint.
            Self::NotConnected(Failure::InternalError) | Self::Client(_) => Outcome::Abandoned,
            Self::NotConnected(_) => Outcome::ConnectFailed,
            Self::Closed => Outcome::Reset,
            Self::Timeout => Outcome::Timeout,
            Self::BadResponse(_) | Self::Switched => Outcome::BadResponse,
        }
    }

    fn stop(self) -> Stop {
        let failure = match self {
            Self::Client(stop) => return stop,
            Self::NotConnected(Failure::InternalError) => {
                return Stop::Failure(Failure::InternalError, EndedBy::Us);
            }
            Self::NotConnected(failure) => failure,
            Self::Closed => Failure::ConnectionTerminated,
            Self::Timeout => Failure::ResponseTimeout,
            Self::BadResponse(bad) => Failure::BadResponse(bad),
            Self::Switched => Failure::UpgradeFailed,
        };
        Stop::Failure(failure, EndedBy::Endpoint)
    }
}

/// The extra attempts of one exchange.
struct Retries<'a> {
    settings: &'a RetrySettings,
    budget: &'a RetryBudget,
    made: u32,
}

impl Retries<'_> {
    /// True if the request may be sent once more, to another endpoint if there is one.
    fn allow(
        &mut self,
        worker: &Worker,
        record: &Record,
        request: &RequestHead,
        up: &Transfer,
        retryable: Retryable,
    ) -> bool {
        let is_harmless = match retryable {
            Retryable::No => false,
            Retryable::IfIdempotent => request.method.is_idempotent(),
            Retryable::Always => true,
        };
        if !is_harmless || self.made >= self.settings.attempts || !up.may_restart() {
            return false;
        }
        let Some(pool) = record.pool else {
            return false;
        };
        let metrics = &worker.metrics.pools[pool];
        // An endpoint that refused the connection got no work, so sending the request elsewhere
        // adds none: only what was sent counts against the budget.
        if retryable != Retryable::Always && !self.budget.try_retry() {
            metrics.retries_denied.increment();
            return false;
        }
        self.made += 1;
        metrics.retries.increment();
        true
    }
}

/// Waits a moment before an extra attempt.
async fn pause(worker: &Worker, client: &mut Client, retry_number: u32) -> Result<(), Stop> {
    let pause = backoff(retry_number, &mut worker.random.borrow_mut());
    client.allow(pause);
    poll_fn(|cx| {
        if client.poll_gone(cx).is_ready() {
            return Poll::Ready(Err(Stop::ClientGone));
        }
        client.poll_timeout(cx).map(Ok)
    })
    .await
}

impl From<NotAdmitted> for Stop {
    fn from(reason: NotAdmitted) -> Self {
        match reason {
            NotAdmitted::ClientGone => Self::ClientGone,
            NotAdmitted::Failure(failure) => Self::Failure(failure, EndedBy::Us),
        }
    }
}

fn outcome_of(status: Status) -> Outcome {
    if status.code() >= 500 {
        Outcome::ServerError
    } else {
        Outcome::Ok
    }
}

/// Delivers the response whose head is in `scratch`.
async fn deliver(
    worker: &Worker,
    client: &mut Client,
    route: &Route,
    lease: Lease,
    mut upstream: Upstream,
    scratch: &mut Scratch,
    record: &mut Record,
) -> Next {
    let Scratch {
        request,
        response,
        up,
        down,
        ..
    } = scratch;
    let framing = ResponseFraming::new(response.body_length, request.version);
    // An answer that came before the request was read: what follows in the connection is not the
    // next request (CVE-2025-4366), so there is none.
    let keep_alive =
        request.keep_alive && framing.is_delimited && up.has_read_all() && !worker.is_draining();
    down.begin(response.body_length, framing.writer);
    write_response_head(
        response,
        framing,
        request.version,
        keep_alive,
        record.request_id.as_bytes(),
        down.head(),
    );
    record.status = Some(response.status);
    record.phase = Phase::ResponseBody;
    let patience = Patience {
        body: route.timeouts.body,
        response: route.timeouts.response,
    };
    let delivered = forward::response(client, &mut upstream, up, down, patience).await;
    let now = Instant::now();
    match delivered {
        Ok(()) => {
            record.end_attempt(worker, &lease, outcome_of(response.status), now);
            // Bytes that nobody asked for would be the answer to the next client.
            let is_clean = response.keep_alive && up.is_finished() && upstream.buffer.is_empty();
            if is_clean {
                worker.upstreams.keep(
                    &worker.plan,
                    route.pool,
                    lease.index(),
                    upstream,
                    response.keep_alive_seconds,
                    now,
                );
            }
            if keep_alive {
                Next::KeepAlive
            } else if up.has_read_all() && !client.has_pending() {
                Next::Close
            } else {
                Next::CloseGently
            }
        }
        Err(cut) => {
            let (outcome, ended_by, failure) = match cut {
                CutShort::Client => (Outcome::Abandoned, EndedBy::Client, None),
                CutShort::Endpoint => (
                    Outcome::Reset,
                    EndedBy::Endpoint,
                    Some(Failure::ResponseIncomplete),
                ),
                CutShort::EndpointTimeout => (
                    Outcome::Timeout,
                    EndedBy::Endpoint,
                    Some(Failure::ResponseTimeout),
                ),
                CutShort::EndpointBroke(bad) => (
                    Outcome::BadResponse,
                    EndedBy::Endpoint,
                    Some(Failure::BadResponse(bad)),
                ),
            };
            record.end_attempt(worker, &lease, outcome, now);
            record.ended_by = Some(ended_by);
            record.failure = failure;
            // The client must see that something is missing: where the close is the end of the
            // body, it has to be a failed one.
            if !framing.is_delimited {
                client.stream.abort_on_drop();
            }
            Next::Close
        }
    }
}

/// Passes the 101 on and moves bytes both ways until one side has enough.
async fn switch_protocols(
    worker: &Worker,
    client: &mut Client,
    route: &Route,
    lease: Lease,
    mut upstream: Upstream,
    scratch: &mut Scratch,
    record: &mut Record,
) -> Next {
    let Scratch {
        request,
        response,
        up,
        down,
        ..
    } = scratch;
    // From here on there are only bytes. Those that the client sent behind its request were not
    // passed on before the endpoint agreed (CVE-2026-2833).
    up.begin(BodyLength::UntilClose, BodyWriter::Plain);
    down.begin(BodyLength::UntilClose, BodyWriter::Plain);
    let framing = ResponseFraming::new(BodyLength::Empty, request.version);
    write_response_head(response, framing, request.version, true, b"", down.head());
    record.answered(worker, response.status, Instant::now());
    record.status = Some(response.status);
    record.phase = Phase::Tunnel;
    forward::tunnel(client, &mut upstream, up, down, route.timeouts.tunnel).await;
    record.end_attempt(worker, &lease, Outcome::Ok, Instant::now());
    Next::Close
}

/// Answers in place of the endpoint.
async fn answer(
    worker: &Worker,
    client: &mut Client,
    scratch: &mut Scratch,
    record: &mut Record,
    stop: Stop,
) -> Next {
    let Scratch { request, up, .. } = scratch;
    let has_read_all = request.bytes.is_empty() || up.has_read_all();
    let mut keep_alive = request.keep_alive && has_read_all && !worker.is_draining();
    let mut reply = Vec::new();
    match stop {
        Stop::ClientGone => {
            record.ended_by = Some(EndedBy::Client);
            return Next::Close;
        }
        Stop::Failure(failure, ended_by) => {
            // Whoever breaks a rule may mean something else by what comes next.
            keep_alive &= !matches!(failure, Failure::BadRequest(_) | Failure::RequestTimeout);
            record.failure = Some(failure);
            record.ended_by = Some(ended_by);
            record.status = Some(failure.status());
            write_reply(
                failure,
                request,
                record.request_id.as_str(),
                keep_alive,
                &mut reply,
            );
        }
        Stop::OwnAnswer => {
            record.status = Some(Status::OK);
            let connection = if keep_alive { "keep-alive" } else { "close" };
            reply.extend_from_slice(
                format!(
                    "HTTP/1.1 200 OK\r\nAllow: GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS\r\n\
                     Content-Length: 0\r\nX-Request-Id: {}\r\nConnection: {connection}\r\n\r\n",
                    record.request_id.as_str()
                )
                .as_bytes(),
            );
        }
    }
    let patience = worker.plan.snapshot.listeners[client.listener]
        .timeouts
        .body;
    client.limit_exchange(None);
    match client.write_all(&reply, patience).await {
        Err(Gone) => Next::Close,
        Ok(()) if keep_alive => Next::KeepAlive,
        Ok(()) => Next::CloseGently,
    }
}

impl Default for Scratch {
    fn default() -> Self {
        Self {
            request: RequestHead::default(),
            response: ResponseHead::default(),
            up: Transfer::idle(),
            down: Transfer::idle(),
            attempts: Vec::new(),
        }
    }
}

impl Scratch {
    /// Forgets the exchange but keeps its memory.
    pub(crate) fn clear(&mut self) {
        self.request.clear();
        self.response.clear();
        self.up.clear();
        self.down.clear();
    }
}
