//! One request and its response: the path every exchange takes.
//!
//! Read top to bottom: receive the head, route, admit, attempt, and again elsewhere if that
//! failed and may be repeated, then deliver the response. From the head on nothing here knows
//! how bytes are framed.
//!
//! Absent on purpose: sockets (see `net`), config text (see `config`), locks.

use std::future::poll_fn;
use std::task::Poll;
use std::time::Instant;

use balance::{HedgeSettings, RetryOn, Tried, Wanted, Why, backoff, hash_key};
use config::{Route, UpstreamProtocol};
use message::{BodyLength, RequestHead, ResponseHead, Status};
use net::TlsInfo;
use wire::h1::{BadMessage, BodyWriter};

use crate::arrival::{NoRequest, check, receive_head};
use crate::attempt::{Failed, Retryable, Stop};
use crate::channel::Channel;
use crate::client::{Client, Gone};
use crate::failure::{Failure, write_options, write_redirect, write_reply};
use crate::forward::{self, CutShort, Transfer};
use crate::grpc;
use crate::headers::{
    RequestExtras, ResponseExtras, ResponseFraming, write_request_head, write_response_head,
    write_switch_head,
};
use crate::key;
use crate::record::{Attempt, AttemptRecord, EndedBy, Outcome, Phase, Record};
use crate::sticky::{self, Visit};
use crate::upstream::{self, Admission, Upstream};
use crate::websocket;
use crate::worker::Worker;

/// What becomes of the client's connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    /// Nothing has arrived: wait on.
    Wait,
    /// It may carry another request. The last one ended at this time.
    KeepAlive(Instant),
    /// Close it: something is missing, or nobody is there.
    Close,
    /// Close it: everything was written, and nothing more comes.
    CloseInOrder,
    /// Close it, but let the client read what was written although it is still sending.
    CloseGently,
}

/// Memory of one exchange, recycled by its worker.
pub(crate) struct Scratch {
    request: RequestHead,
    pub(crate) response: ResponseHead,
    /// Client to endpoint.
    pub(crate) up: Transfer,
    /// Endpoint to client.
    down: Transfer,
    attempts: Vec<AttemptRecord>,
}

/// One exchange in progress.
pub(crate) struct Exchange<'a> {
    pub(crate) worker: &'a Worker,
    pub(crate) client: &'a mut Client,
    pub(crate) request: &'a mut RequestHead,
    pub(crate) response: &'a mut ResponseHead,
    pub(crate) up: &'a mut Transfer,
    down: &'a mut Transfer,
    pub(crate) record: Record,
    /// One less than what came, where `Max-Forwards` counts.
    max_forwards: Option<u32>,
    /// Hash of what its pool's policy goes by.
    key: Option<u64>,
    visit: Visit,
}

/// How far an exchange has come in its search for a response.
pub(crate) struct Search {
    pub(crate) tried: Tried,
    /// Extra attempts, copies not counted.
    retries: u32,
    /// A connection to the endpoint of the session had closed, and it was asked again.
    has_stayed: bool,
    /// The request may get a copy if it is slow.
    pub(crate) hedge: Option<HedgeSettings>,
}

impl Search {
    /// True while one more attempt may follow.
    pub(crate) fn has_retries_left(&self, route: &Route) -> bool {
        self.retries < route.retry.attempts
    }
}

/// Serves one request of `client`, or none if nothing has arrived.
pub(crate) async fn run(worker: &Worker, client: &mut Client) -> Next {
    let mut scratch = worker.take_scratch();
    let consumed_before = client.bytes_consumed();
    let received = match receive_head(worker, client, &mut scratch.request).await {
        Ok(()) => Ok(()),
        Err(NoRequest::Gone) => Err(Stop::ClientGone),
        Err(NoRequest::Timeout) => Err(Stop::Failure(Failure::RequestTimeout, EndedBy::Client)),
        Err(NoRequest::Bad(bad)) => Err(Stop::Failure(Failure::BadRequest(bad), EndedBy::Client)),
        Err(none @ (NoRequest::NotYet | NoRequest::Never)) => {
            worker.return_scratch(scratch);
            return if none == NoRequest::NotYet {
                Next::Wait
            } else {
                Next::Close
            };
        }
    };
    if scratch.request.bytes.is_empty() {
        // The head is not whole: its fields point into bytes that are not there.
        scratch.request.clear();
    }
    serve(worker, client, scratch, received, consumed_before).await
}

/// Serves the request whose head, in `scratch`, came on the stream of `client`; `rejected` says
/// what is wrong with it.
pub(crate) async fn run_stream(
    worker: &Worker,
    client: &mut Client,
    scratch: Box<Scratch>,
    rejected: Option<BadMessage>,
) {
    let received = match rejected {
        None => Ok(()),
        Some(bad) => Err(Stop::Failure(Failure::BadRequest(bad), EndedBy::Client)),
    };
    client.bytes_received = scratch.request.bytes.len() as u64;
    if serve(worker, client, scratch, received, 0).await == Next::Close {
        client.channel.abort();
    }
}

/// Serves the request in `scratch`, or answers what is wrong with it. The client had sent so many
/// bytes before it.
async fn serve(
    worker: &Worker,
    client: &mut Client,
    mut scratch: Box<Scratch>,
    received: Result<(), Stop>,
    consumed_before: u64,
) -> Next {
    let Scratch {
        request,
        response,
        up,
        down,
        attempts,
    } = &mut *scratch;
    let attempts_before = std::mem::take(attempts);
    let record = Record::begin(worker, &client.peer, request, attempts_before);
    let sent_before = client.bytes_sent;
    let mut exchange = Exchange {
        worker,
        client,
        request,
        response,
        up,
        down,
        record,
        max_forwards: None,
        key: None,
        visit: Visit::default(),
    };
    let served = match received {
        Ok(()) => exchange.serve().await,
        Err(stop) => Err(stop),
    };
    let next = match served {
        Ok(next) => next,
        Err(stop) => exchange.answer(stop).await,
    };
    let Exchange {
        client,
        request,
        up,
        down,
        record,
        ..
    } = exchange;
    client.bytes_received += up.bytes_read();
    client.bytes_sent += down.bytes_sent();
    up.abandon(&mut client.buffer);
    let now = match next {
        Next::KeepAlive(now) => now,
        _ => Instant::now(),
    };
    let bytes = (
        client.bytes_consumed() - consumed_before,
        client.bytes_sent - sent_before,
    );
    *attempts = record.finish(worker, &client.peer, request, bytes, now);
    worker.return_scratch(scratch);
    next
}

impl Exchange<'_> {
    /// Finds the endpoint's response to the request and delivers it.
    async fn serve(&mut self) -> Result<Next, Stop> {
        let worker = self.worker;
        let snapshot = &worker.plan.snapshot;
        let length = self.request.body_length;
        let writer = match length {
            BodyLength::Chunked | BodyLength::UntilEnd => BodyWriter::Chunked,
            _ => BodyWriter::Plain,
        };
        self.up
            .begin(arriving(length, &self.client.channel), writer);
        if self.request.upgrade.is_some() {
            self.up.stay_open();
        }

        // Is it here for what this listener is for?
        let listener = &snapshot.listeners[self.client.peer.listener];
        if let Some(port) = listener.redirect_to_https
            && !self.request.route_host().is_empty()
        {
            return Err(Stop::Redirect { port });
        }
        if let (Some(settings), Some(tls)) = (&listener.tls, &self.client.peer.tls)
            && settings.strict_sni
            && !is_meant(self.request, tls)
        {
            return Err(Stop::Failure(Failure::Misdirected, EndedBy::Client));
        }

        // Which route, and is the request allowed on it?
        let route = listener
            .routes
            .find(self.request.route_host(), &self.request.route_path())
            .ok_or(Stop::Failure(Failure::RouteNotFound, EndedBy::Us))?;
        self.record.route = Some(route);
        let route = &snapshot.routes[route];
        self.record.pool = Some(route.pool);
        let total = route.timeouts.total.map(|total| self.record.began + total);
        let call = self.record.call.as_ref();
        let deadline = call.and_then(|call| call.deadline);
        self.client
            .limit_exchange(total.into_iter().chain(deadline).min());
        self.max_forwards = check(self.request, route, &worker.plan.pseudonym)?;

        // Try endpoints until one answers, or trying again is not allowed.
        let pool = &worker.plan.pools[route.pool];
        let retry = &route.retry;
        self.recognize(route.pool);
        // Only over HTTP/2 can an endpoint say that it has not worked on a request it got.
        let protocol = snapshot.pools[route.pool].protocol;
        let may_be_refused = protocol != UpstreamProtocol::H1;
        if retry.attempts > 0 && (may_be_refused || self.request.method.is_idempotent()) {
            self.up.keep(retry.body_bytes_max);
        }
        if let (Some(call), UpstreamProtocol::H2) = (&mut self.record.call, protocol) {
            call.translate();
            if let Some((_, translation)) = call.translate_request(self.request) {
                self.up.translate(translation);
            }
        }
        self.write_own_request_head(route);
        pool.retry_budget.earn();
        let mut search = Search {
            tried: Tried::new(),
            retries: 0,
            has_stayed: false,
            hedge: self.may_hedge(route),
        };
        let (attempt, upstream) = loop {
            self.record.phase = Phase::Queue;
            let is_first = search.retries == 0 && !search.has_stayed;
            let now = if is_first {
                self.record.began
            } else {
                Instant::now()
            };
            let wanted = self.wanted(&search, now);
            let Admission { lease, why, queued } =
                upstream::admit(worker, self.client, route.pool, &wanted).await?;
            let now = queued.map_or(now, |_| Instant::now());
            let endpoint = lease.index();
            search.tried.insert(endpoint);
            self.count_session(route, why);
            let attempt = self.record.begin_attempt(worker, lease, why, queued, now);

            let failed = match self.attempt(route, attempt, &mut search, now).await {
                Ok((attempt, upstream)) => {
                    let retryable = self.retryable(&retry.on);
                    if !self.may_retry(route, &search, retryable) {
                        break (attempt, upstream);
                    }
                    self.record.end_answered(worker, &attempt, Instant::now());
                    None
                }
                Err(failed) => {
                    if !self.may_retry(route, &search, failed.retryable(&retry.on)) {
                        return Err(failed.stop());
                    }
                    Some(failed)
                }
            };
            if self.may_stay(&failed, &mut search) {
                search.tried.remove(endpoint);
                worker.upstreams.forget(route.pool, endpoint);
            } else {
                search.retries += 1;
            }
            // Where nothing was sent there is nobody to spare.
            if !failed.is_some_and(Failed::is_before_work) {
                self.pause(search.retries).await?;
            }
            self.response.clear();
            if self.up.rewind(&mut self.client.buffer) {
                self.write_own_request_head(route);
            }
        };

        if self.response.status == Status::SWITCHING_PROTOCOLS {
            return Ok(self.switch_protocols(route, attempt, upstream).await);
        }
        Ok(self.deliver(route, attempt, upstream).await)
    }

    /// What the pool's settings say about the response whose head has arrived.
    fn retryable(&self, on: &RetryOn) -> Retryable {
        if on.statuses.contains(&self.response.status.code()) {
            return Retryable::IfIdempotent;
        }
        if self.record.call.is_none() || grpc::has_content(self.response) {
            return Retryable::No;
        }
        match grpc::code_in_head(self.response) {
            Some(code) if on.grpc & 1 << code.number() != 0 => Retryable::AsTold,
            _ => Retryable::No,
        }
    }

    /// What the request asks of a pick.
    pub(crate) fn wanted<'s>(&self, search: &'s Search, now: Instant) -> Wanted<'s> {
        Wanted {
            tried: &search.tried,
            now,
            class: self.record.route.unwrap_or_default(),
            key: self.key,
            session: self.visit.session,
        }
    }

    /// Finds in the request what its pool's policy goes by, and its session.
    fn recognize(&mut self, index: usize) {
        let plan = &self.worker.plan;
        let pool = &plan.pools[index];
        let request = &*self.request;
        let client = self.record.identity.client(&self.client.peer.address);
        let key = pool.key().and_then(|key| key::of(key, request, client));
        self.key = key.map(hash_key);
        let now = self.record.time;
        self.visit = plan.stickiness.visit(index, pool, request, client, now);
    }

    /// True if the request should go to the same endpoint once more, as its session is there: a
    /// kept connection that had closed says nothing about the endpoint. Once, because it may well
    /// have closed for the reason that the endpoint is gone.
    fn may_stay(&self, failed: &Option<Failed>, search: &mut Search) -> bool {
        let may_stay = matches!(failed, Some(Failed::Stale))
            && self.visit.session.is_some()
            && !search.has_stayed;
        search.has_stayed |= may_stay;
        may_stay
    }

    fn count_session(&self, route: &Route, why: Why) {
        let metrics = &self.worker.metrics.pools[route.pool];
        match why {
            Why::Sticky => metrics.sticky_hits.increment(),
            Why::Moved => metrics.sticky_misses.increment(),
            _ => {}
        }
    }

    /// The response of this endpoint is the exchange's: learns the session that it sets. Returns
    /// the cookie that tells the client of ours, if there is one to tell.
    fn settle_session(&self, route: &Route, endpoint: usize) -> Option<String> {
        let plan = &self.worker.plan;
        let (stickiness, pool) = (&plan.stickiness, &plan.pools[route.pool]);
        stickiness.learn(pool, self.response, endpoint);
        let (time, is_https) = (self.record.time, self.record.identity.is_https);
        let mut random = self.worker.random.borrow_mut();
        stickiness.cookie(pool, &self.visit, endpoint, time, is_https, &mut random)
    }

    fn write_own_request_head(&mut self, route: &Route) {
        let mut head = std::mem::take(self.up.head());
        self.write_request_head(route, &mut head);
        *self.up.head() = head;
    }

    /// What the endpoint is told.
    pub(crate) fn write_request_head(&self, route: &Route, out: &mut Vec<u8>) {
        let plan = &self.worker.plan;
        let peer = &self.client.peer;
        let tls = plan.snapshot.listeners[peer.listener].tls.as_ref();
        let is_keyless = self.request.is_extended_connect;
        let key = is_keyless.then(|| websocket::new_key(&mut self.worker.random.borrow_mut()));
        let call = self.record.call.as_ref();
        let translated = call.and_then(|call| call.translate_request(self.request));
        let extras = RequestExtras {
            peer: &self.client.peer.address,
            identity: &self.record.identity,
            introduction: &peer.introduction,
            request_id: self.record.request_id.as_bytes(),
            pseudonym: &plan.pseudonym,
            pool: &plan.pools[route.pool].settings.name,
            max_forwards: self.max_forwards,
            own_cookie: sticky::own_cookie(&plan.pools[route.pool]),
            certificate_fields: tls.and_then(|tls| Some(&tls.client.as_ref()?.headers)),
            certificate: peer.tls.as_ref().and_then(|tls| tls.client.as_ref()),
            websocket_key: key.as_deref(),
            content_type: translated.as_ref().map(|(content_type, _)| &**content_type),
        };
        write_request_head(self.request, &extras, out);
    }

    /// True if the request may be sent once more; it is paid for then.
    pub(crate) fn may_retry(&self, route: &Route, search: &Search, retryable: Retryable) -> bool {
        let pool = &self.worker.plan.pools[route.pool];
        let is_harmless = match retryable {
            Retryable::No => false,
            Retryable::IfIdempotent => self.request.method.is_idempotent(),
            Retryable::AsTold | Retryable::Always => true,
            Retryable::Decided => return true,
        };
        let may_restart = self.up.may_restart() && self.client.has_time_left();
        if !is_harmless || !may_restart || !search.has_retries_left(route) {
            return false;
        }
        let metrics = &self.worker.metrics.pools[route.pool];
        // An endpoint that refused the connection got no work, so sending the request elsewhere
        // adds none: only what was sent counts against the budget.
        if retryable != Retryable::Always && !pool.retry_budget.try_retry() {
            metrics.retries_denied.increment();
            return false;
        }
        metrics.retries.increment();
        true
    }

    /// Waits a moment before extra attempt number `retry`.
    async fn pause(&mut self, retry: u32) -> Result<(), Stop> {
        let client = &mut *self.client;
        client.allow(backoff(retry, &mut self.worker.random.borrow_mut()));
        poll_fn(|cx| {
            if client.poll_gone(cx).is_ready() {
                return Poll::Ready(Err(Stop::ClientGone));
            }
            client.poll_timeout(cx).map(Ok)
        })
        .await?;
        if client.has_time_left() {
            Ok(())
        } else {
            Err(Stop::Failure(Failure::ResponseTimeout, EndedBy::Endpoint))
        }
    }

    /// Delivers the response whose head has arrived.
    async fn deliver(&mut self, route: &Route, attempt: Attempt, mut upstream: Upstream) -> Next {
        let patience = self.patience(route);
        let set_cookie = self.settle_session(route, attempt.lease.index());
        let Self {
            worker,
            client,
            request,
            response,
            up,
            down,
            record,
            ..
        } = self;
        let call = record.call.as_ref();
        let translated = call.and_then(|call| call.translate_response(response));
        let (content_type, translation) = translated.unzip();
        let translation = translation.filter(|_| grpc::has_content(response));
        let length = match translation {
            // It gets longer on its way.
            Some(_) => BodyLength::UntilEnd,
            None => response.body_length,
        };
        let framing = ResponseFraming::new(length, request.version);
        // An answer that came before the request was read: what follows in the connection is not
        // the next request (CVE-2025-4366), so there is none.
        let keep_alive = request.keep_alive
            && framing.is_delimited
            && up.source_is_done()
            && !worker.is_draining();
        let arriving = arriving(response.body_length, &upstream.channel);
        down.begin(arriving, framing.writer);
        if let Some(translation) = translation {
            down.translate(translation);
        }
        let extras = ResponseExtras {
            framing,
            method: request.method,
            version: request.version,
            keep_alive,
            request_id: record.request_id.as_bytes(),
            is_fail_open: record.is_fail_open(),
            set_cookie: set_cookie.as_deref(),
            hsts_seconds: worker.plan.snapshot.listeners[client.peer.listener]
                .tls
                .as_ref()
                .and_then(|tls| tls.hsts_seconds),
            content_type: content_type.as_deref(),
        };
        write_response_head(response, &extras, down.head());
        record.status = Some(response.status);
        record.phase = Phase::ResponseBody;
        let delivered = forward::response(client, &mut upstream, up, down, patience).await;
        let now = Instant::now();
        let Err(cut) = delivered else {
            if record.call.is_some() {
                record.call_ended(worker, &attempt, response, down.trailers(), now);
            }
            record.end_answered(worker, &attempt, now);
            // Bytes that nobody asked for would be the answer to the next client.
            let is_clean = response.keep_alive && up.is_finished() && upstream.buffer.is_empty();
            if is_clean {
                let announced = response.keep_alive_seconds;
                let (plan, endpoint) = (&worker.plan, attempt.lease.index());
                worker
                    .upstreams
                    .keep(plan, route.pool, endpoint, upstream, announced, now);
            }
            if keep_alive {
                return Next::KeepAlive(now);
            }
            // A close with bytes unread would take back what was written last.
            let is_quiet = up.source_is_done()
                && client.buffer.is_empty()
                && !worker.is_draining()
                && !client.has_news();
            return if is_quiet {
                Next::CloseInOrder
            } else {
                Next::CloseGently
            };
        };
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
        record.end_attempt(worker, &attempt, outcome, now);
        record.ended_by = Some(ended_by);
        record.failure = failure;
        // The client must see that something is missing: where the close is the end of the body,
        // it has to be a failed one.
        if !framing.is_delimited {
            client.channel.abort();
        }
        Next::Close
    }

    /// Passes the 101 on and moves bytes both ways until one side has enough.
    async fn switch_protocols(
        &mut self,
        route: &Route,
        attempt: Attempt,
        mut upstream: Upstream,
    ) -> Next {
        let set_cookie = self.settle_session(route, attempt.lease.index());
        let Self {
            worker,
            client,
            request,
            response,
            up,
            down,
            record,
            ..
        } = self;
        // From here on there are only bytes. Those that the client sent behind its request were
        // not passed on before the endpoint agreed (CVE-2026-2833).
        up.begin(BodyLength::UntilClose, BodyWriter::Plain);
        down.begin(BodyLength::UntilClose, BodyWriter::Plain);
        // An endpoint that was asked over HTTP/2 had no key to answer.
        let is_translated = upstream.channel.is_stream();
        let mut keys = key::fields(&request.fields, &request.bytes, "sec-websocket-key");
        let key = keys.next().filter(|_| is_translated);
        let accept = key.map(|key| websocket::accept(request.text(key.value)));
        let (cookie, accept) = (set_cookie.as_deref(), accept.as_deref());
        write_switch_head(response, cookie, accept, down.head());
        record.status = Some(response.status);
        record.phase = Phase::Tunnel;
        forward::tunnel(client, &mut upstream, up, down, route.timeouts.tunnel).await;
        record.end_attempt(worker, &attempt, Outcome::Ok, Instant::now());
        Next::Close
    }

    /// Answers in place of the endpoint.
    async fn answer(&mut self, stop: Stop) -> Next {
        let Self {
            worker,
            client,
            request,
            up,
            record,
            ..
        } = self;
        let source_is_done = request.bytes.is_empty() || up.source_is_done();
        let mut keep_alive = request.keep_alive && source_is_done && !worker.is_draining();
        let mut reply = Vec::new();
        let request_id = record.request_id.as_str();
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
                if let Some(call) = &record.call {
                    let code = call.code_of(failure, Instant::now());
                    call.write_reply(failure, code, request_id, keep_alive, &mut reply);
                    record.status = Some(Status::OK);
                    record.code = Some(code);
                } else {
                    write_reply(failure, request, request_id, keep_alive, &mut reply);
                    record.status = Some(failure.status());
                }
            }
            Stop::Redirect { port } => {
                write_redirect(request, port, request_id, keep_alive, &mut reply);
                record.status = Some(Status::PERMANENT_REDIRECT);
            }
            Stop::OwnAnswer => {
                write_options(request_id, keep_alive, &mut reply);
                record.status = Some(Status::OK);
            }
        }
        let patience = worker.plan.snapshot.listeners[client.peer.listener]
            .timeouts
            .body;
        client.limit_exchange(None);
        let body_at = reply.windows(4).position(|end| end == b"\r\n\r\n");
        let head_bytes = body_at.map_or(reply.len(), |at| at + 4);
        match client.send_reply(&reply, head_bytes, patience).await {
            Err(Gone) => Next::Close,
            Ok(()) if keep_alive => Next::KeepAlive(Instant::now()),
            Ok(()) => Next::CloseGently,
        }
    }
}

/// True if the request is for the name that the connection was made for: another name may be held
/// to other rules about who may connect (CVE-2025-23419).
fn is_meant(request: &RequestHead, tls: &TlsInfo) -> bool {
    let asked = tls.sni.as_deref().unwrap_or_default();
    // Without a name, or with an address, which SNI does not carry, there is nothing to compare.
    asked.is_empty() || request.route_host().eq_ignore_ascii_case(asked.as_bytes())
}

/// How a body arrives that is announced as `length`: a stream ends by itself, whatever was
/// announced, and may carry trailers; `wire` holds it to its announcement.
fn arriving(length: BodyLength, channel: &Channel) -> BodyLength {
    match length {
        BodyLength::Empty => BodyLength::Empty,
        _ if channel.is_stream() => BodyLength::UntilEnd,
        length => length,
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
    /// Where a request is put that has come.
    pub(crate) fn request(&mut self) -> &mut RequestHead {
        &mut self.request
    }

    /// Forgets the exchange but keeps its memory.
    pub(crate) fn clear(&mut self) {
        self.request.clear();
        self.response.clear();
        self.up.clear();
        self.down.clear();
    }
}
