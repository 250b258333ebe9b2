//! What happened, written down once per exchange: log line, metrics, evidence for outliers.

use std::time::{Duration, Instant, SystemTime};

use balance::{Answer, Evidence, Lease, LiveEvidence, Why};
use message::{RequestHead, ResponseHead, Status};
use observe::{Blame, Entry, OutcomeShape, Phases};
use wire::grpc::Code;

use crate::attempt::outcome_of;
use crate::client::Peer;
use crate::failure::Failure;
use crate::feedback;
use crate::grpc::{self, Call};
use crate::identity::Identity;
use crate::request_id::RequestId;
use crate::worker::Worker;

/// How an attempt ended. Its word stands in the access log and in metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The endpoint answered and its answer was delivered as far as it depended on the endpoint.
    Ok,
    /// The endpoint answered with a status of 500 or above.
    ServerError,
    /// It refused the connection.
    Refused,
    /// It could not be connected to for another reason, or not in time.
    ConnectFailed,
    /// It closed or reset the connection before the response was complete.
    Reset,
    /// It took too long to answer.
    Timeout,
    /// Its response broke a rule.
    BadResponse,
    /// The client went away first: says nothing about the endpoint.
    Abandoned,
    /// The kept connection had closed before the request went out on it: neither does this.
    Stale,
    /// It answered that it takes no more requests for now. Busy is not down.
    Full,
}

/// The word of each [`Outcome`] and what it says about the endpoint, by number.
pub const OUTCOMES: &[OutcomeShape] = &[
    outcome("ok", Blame::Success),
    outcome("server_error", Blame::Failure),
    outcome("refused", Blame::Failure),
    outcome("connect_failed", Blame::Failure),
    outcome("reset", Blame::Failure),
    outcome("timeout", Blame::Failure),
    outcome("bad_response", Blame::Failure),
    outcome("abandoned", Blame::Nothing),
    outcome("stale", Blame::Nothing),
    outcome("full", Blame::Nothing),
];

const fn outcome(word: &'static str, blame: Blame) -> OutcomeShape {
    OutcomeShape { word, blame }
}

impl Outcome {
    fn word(self) -> &'static str {
        OUTCOMES[self as usize].word
    }

    /// True if the endpoint is to blame.
    fn is_failure(self) -> bool {
        OUTCOMES[self as usize].blame == Blame::Failure
    }
}

/// Where an exchange stands; the last one is where it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    Request,
    Queue,
    Connect,
    Response,
    ResponseBody,
    Tunnel,
}

impl Phase {
    fn word(self) -> &'static str {
        match self {
            Self::Request => "request",
            Self::Queue => "queue",
            Self::Connect => "connect",
            Self::Response => "response",
            Self::ResponseBody => "response_body",
            Self::Tunnel => "tunnel",
        }
    }
}

/// Who ended an exchange before its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum EndedBy {
    Client,
    Endpoint,
    Us,
}

impl EndedBy {
    fn word(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Endpoint => "endpoint",
            Self::Us => "us",
        }
    }
}

/// An attempt in progress: a request in flight at an endpoint, and its place in the record.
pub(crate) struct Attempt {
    pub(crate) lease: Lease,
    number: usize,
}

/// When the endpoint could begin to work on a request, for the policy.
#[derive(Debug, Clone, Copy)]
enum WorkBegan {
    /// As it was picked.
    AtOnce,
    /// When the last of a body had left.
    At(Instant),
    /// It answered before that.
    Never,
}

/// One attempt at an endpoint.
pub(crate) struct AttemptRecord {
    endpoint: usize,
    why: Why,
    began: Instant,
    work_began: WorkBegan,
    connect: Option<Duration>,
    first_byte: Option<Duration>,
    total: Duration,
    outcome: Outcome,
}

/// Everything worth writing down about one exchange.
pub(crate) struct Record {
    /// When the head had arrived; set by [`Record::begin`].
    pub(crate) began: Instant,
    pub(crate) time: SystemTime,
    /// `None`: HTTP, whose records are moved about: so they are to be small.
    pub(crate) relayed: Option<Box<Relayed>>,
    pub(crate) identity: Identity,
    pub(crate) request_id: RequestId,
    /// `None`: the exchange is no call.
    pub(crate) call: Option<Call>,
    pub(crate) route: Option<usize>,
    pub(crate) pool: Option<usize>,
    attempts: Vec<AttemptRecord>,
    /// The attempt whose response is, or was, delivered.
    answer: Option<usize>,
    pub(crate) phase: Phase,
    pub(crate) status: Option<Status>,
    /// How the call went.
    pub(crate) code: Option<Code>,
    pub(crate) failure: Option<Failure>,
    pub(crate) ended_by: Option<EndedBy>,
    queue: Option<Duration>,
    first_byte: Option<Duration>,
}

/// What is known of a connection or a flow whose bytes mean nothing to us.
#[derive(Debug, Default)]
pub(crate) struct Relayed {
    /// `tcp` or `udp`.
    pub(crate) protocol: &'static str,
    /// The name that the client asked for.
    pub(crate) sni: Option<Box<str>>,
    /// Datagrams from the client and to it.
    pub(crate) datagrams: Option<(u64, u64)>,
}

impl Record {
    /// A record for a request whose head has just arrived. `attempts` is memory to use.
    #[inline(always)] // Else it is made in one place and copied to another.
    pub(crate) fn begin(
        worker: &Worker,
        peer: &Peer,
        request: &RequestHead,
        attempts: Vec<AttemptRecord>,
    ) -> Self {
        let time = SystemTime::now();
        let trusted = &worker.plan.snapshot.listeners[peer.listener].trusted_proxies;
        let identity = Identity::of(request, &peer.address, peer.is_https(), trusted);
        let request_id = identity
            .request_id(request)
            .unwrap_or_else(|| RequestId::new(time, &mut worker.random.borrow_mut()));
        let began = Instant::now();
        Self {
            began,
            time,
            relayed: None,
            identity,
            request_id,
            call: Call::of(request, began),
            route: None,
            pool: None,
            attempts,
            answer: None,
            phase: Phase::Request,
            status: None,
            code: None,
            failure: None,
            ended_by: None,
            queue: None,
            first_byte: None,
        }
    }

    /// A record for a connection or a flow that is relayed on `route`.
    pub(crate) fn begin_relay(
        worker: &Worker,
        peer: &Peer,
        relayed: Relayed,
        route: Option<usize>,
    ) -> Self {
        // Flows are many: most have one attempt, and memory for one.
        let attempts = Vec::with_capacity(1);
        let mut record = Self::begin(worker, peer, &RequestHead::default(), attempts);
        record.relayed = Some(Box::new(relayed));
        record.route = route;
        record.pool = route.map(|route| worker.plan.snapshot.routes[route].pool);
        record
    }

    /// An endpoint was picked.
    pub(crate) fn begin_attempt(
        &mut self,
        worker: &Worker,
        lease: Lease,
        why: Why,
        queued: Option<Duration>,
        now: Instant,
    ) -> Attempt {
        if let (Some(pool), Why::FailOpen) = (self.pool, why) {
            worker.metrics.pools[pool].fail_open.increment();
        }
        if let Some(queued) = queued {
            self.queue = Some(self.queue.unwrap_or_default() + queued);
        }
        self.answer = None;
        self.attempts.push(AttemptRecord {
            endpoint: lease.index(),
            why,
            began: now,
            work_began: WorkBegan::AtOnce,
            connect: None,
            first_byte: None,
            total: Duration::ZERO,
            outcome: Outcome::Abandoned,
        });
        Attempt {
            lease,
            number: self.attempts.len() - 1,
        }
    }

    /// The connection was made anew. Returns the time now.
    pub(crate) fn connected(&mut self, attempt: &Attempt) -> Instant {
        let now = Instant::now();
        let attempt = &mut self.attempts[attempt.number];
        attempt.connect = Some(now - attempt.began);
        now
    }

    /// The request has a body, all of which had left at this time. A client that takes its time
    /// says nothing about the endpoint.
    pub(crate) fn body_sent(&mut self, attempt: &Attempt, at: Option<Instant>) {
        let began = at.map_or(WorkBegan::Never, WorkBegan::At);
        self.attempts[attempt.number].work_began = began;
    }

    /// The connection is there, and from now on bytes pass that nobody looks into: how fast it was
    /// made is all that is to be learnt. Its endpoint is the one that answers.
    pub(crate) fn relaying(&mut self, worker: &Worker, attempt: &Attempt) {
        let now = self.connected(attempt);
        self.sending(worker, attempt);
        attempt.lease.learn(&Answer {
            class: self.route.unwrap_or_default(),
            latency: self.age(attempt, now),
            is_success: true,
            now,
        });
    }

    /// What is relayed goes to the endpoint of this attempt.
    pub(crate) fn sending(&mut self, worker: &Worker, attempt: &Attempt) {
        self.answer = Some(attempt.number);
        if let Some(pool) = self.pool {
            let metrics = &worker.metrics.pools[pool].endpoints[attempt.lease.index()];
            metrics.relayed.increment();
        }
    }

    /// The endpoint has said something for the first time. That it did says how fast it is, where
    /// no connection had said that before.
    pub(crate) fn first_reply(&mut self, attempt: &Attempt, now: Instant) {
        self.first_byte = Some(now - self.began);
        let latency = self.age(attempt, now);
        let Attempt { lease, number } = attempt;
        let attempt = &mut self.attempts[*number];
        attempt.first_byte = Some(latency);
        attempt.outcome = Outcome::Ok;
        lease.learn(&Answer {
            class: self.route.unwrap_or_default(),
            latency,
            is_success: true,
            now,
        });
    }

    /// How long ago the attempt's endpoint was picked.
    pub(crate) fn age(&self, attempt: &Attempt, now: Instant) -> Duration {
        now - self.attempts[attempt.number].began
    }

    /// The response head has arrived. Returns how long it took from the pick.
    pub(crate) fn answered(
        &mut self,
        worker: &Worker,
        attempt: &Attempt,
        response: &ResponseHead,
        now: Instant,
    ) -> Duration {
        self.first_byte = Some(now - self.began);
        self.answer = Some(attempt.number);
        let Attempt { lease, number } = attempt;
        let attempt = &mut self.attempts[*number];
        let latency = now - attempt.began;
        attempt.first_byte = Some(latency);
        // How most calls go is known at their end only.
        let call = self.call.as_ref();
        let code = call.and_then(|_| grpc::code_in_head(response));
        attempt.outcome = code.map_or_else(|| outcome_of(response.status), grpc::outcome_of);
        let Some(pool) = self.pool else {
            return latency;
        };
        if response.has_feedback {
            let pool = &worker.plan.pools[pool];
            if feedback::heed(pool, attempt.endpoint, response, now) {
                attempt.outcome = Outcome::Full;
            }
        }
        // How fast an endpoint refuses says nothing about how fast it works: as a success it
        // would attract, as a failure it would repel for longer than the endpoint asked for.
        let worked = match attempt.work_began {
            WorkBegan::AtOnce => Some(latency),
            WorkBegan::At(began) => Some(now - began),
            WorkBegan::Never => None,
        };
        let says_nothing = matches!(attempt.outcome, Outcome::Full | Outcome::Abandoned);
        if let (Some(latency), false) = (worked, says_nothing) {
            lease.learn(&Answer {
                class: self.route.unwrap_or_default(),
                latency,
                is_success: attempt.outcome == Outcome::Ok,
                now,
            });
        }
        worker.metrics.pools[pool].endpoints[attempt.endpoint]
            .requests
            .count(response.status.code());
        latency
    }

    /// The response of a call is complete, with these `trailers`: how it went is known now.
    pub(crate) fn call_ended(
        &mut self,
        worker: &Worker,
        attempt: &Attempt,
        response: &ResponseHead,
        trailers: &[u8],
        now: Instant,
    ) {
        let code = grpc::code_at_end(response, trailers);
        self.code = Some(code);
        let Attempt { lease, number } = attempt;
        let attempt = &mut self.attempts[*number];
        if attempt.outcome == Outcome::Ok {
            attempt.outcome = grpc::outcome_of(code);
            if attempt.outcome.is_failure() {
                lease.learn(&Answer {
                    class: self.route.unwrap_or_default(),
                    latency: now - attempt.began,
                    is_success: false,
                    now,
                });
            }
        }
        if let Some(pool) = self.pool {
            grpc::heed(&worker.plan.pools[pool], attempt.endpoint, trailers, now);
        }
    }

    /// True if the exchange is a call and its client has had enough.
    fn is_late(&self, now: Instant) -> bool {
        self.call.as_ref().is_some_and(|call| call.is_late(now))
    }

    /// True if the attempt has an answer, and a good one.
    pub(crate) fn is_ok(&self, attempt: &Attempt) -> bool {
        self.attempts[attempt.number].outcome == Outcome::Ok
    }

    /// True if the endpoint was picked although all were down.
    pub(crate) fn is_fail_open(&self) -> bool {
        self.answer
            .is_some_and(|number| self.attempts[number].why == Why::FailOpen)
    }

    /// The attempt is over with the response that [`Self::answered`] was told of, or after
    /// [`Self::first_reply`]; without either it says nothing about the endpoint.
    pub(crate) fn end_answered(&mut self, worker: &Worker, attempt: &Attempt, now: Instant) {
        let outcome = self.attempts[attempt.number].outcome;
        self.end_attempt(worker, attempt, outcome, now);
    }

    /// The attempt is over: counts it and tells the health board what it says about the endpoint.
    pub(crate) fn end_attempt(
        &mut self,
        worker: &Worker,
        attempt: &Attempt,
        outcome: Outcome,
        now: Instant,
    ) {
        let Some(pool) = self.pool else { return };
        if outcome == Outcome::Timeout && self.is_late(now) {
            // Nobody waits any more: as good as a client that leaves.
            return self.end_overtaken(worker, attempt, now);
        }
        let Attempt { lease, number } = attempt;
        let attempt = &mut self.attempts[*number];
        attempt.outcome = outcome;
        attempt.total = now - attempt.began;
        let metrics = &worker.metrics.pools[pool].endpoints[attempt.endpoint];
        metrics.attempts[outcome as usize].increment();
        if let Some(first_byte) = attempt.first_byte {
            metrics.first_byte.observe(first_byte);
        }
        if outcome.is_failure() && outcome != Outcome::ServerError {
            lease.learn(&Answer {
                class: self.route.unwrap_or_default(),
                latency: attempt.total,
                is_success: false,
                now,
            });
        }
        sample(worker, pool, lease, outcome);
    }

    /// Another copy of the request was faster, or the client had enough. This one had taken some
    /// time, which is less than it would have taken: without that lesson an endpoint whose requests
    /// are all won elsewhere would never be known for slow.
    pub(crate) fn end_overtaken(&mut self, worker: &Worker, attempt: &Attempt, now: Instant) {
        attempt.lease.learn(&Answer {
            class: self.route.unwrap_or_default(),
            latency: self.age(attempt, now),
            is_success: true,
            now,
        });
        self.end_attempt(worker, attempt, Outcome::Abandoned, now);
    }

    /// Writes the record down, with the bytes that came from the client and went to it. Returns the
    /// memory for the next one.
    #[inline(always)] // As `begin`.
    pub(crate) fn finish(
        mut self,
        worker: &Worker,
        peer: &Peer,
        request: &RequestHead,
        (bytes_received, bytes_sent): (u64, u64),
        now: Instant,
    ) -> Vec<AttemptRecord> {
        let total = now - self.began;
        let listener = &worker.metrics.listeners[peer.listener];
        listener.bytes_received.add(bytes_received);
        listener.bytes_sent.add(bytes_sent);
        match self.route {
            Some(route) => {
                let metrics = &worker.metrics.routes[route];
                if let Some(status) = self.status {
                    metrics.requests.count(status.code());
                }
                if let Some(first_byte) = self.first_byte {
                    metrics.first_byte.observe(first_byte);
                }
                metrics.total.observe(total);
                if let Some(code) = self.code {
                    metrics.grpc_calls[usize::from(code.number())].increment();
                }
                if let Some(failure) = self.failure {
                    metrics.failures[failure.word_index()].increment();
                }
            }
            None => listener.requests_rejected.increment(),
        }
        let mut log = worker.log.borrow_mut();
        if !log.is_off() {
            let bytes = (bytes_received, bytes_sent);
            log.line(|out| self.write_entry(worker, peer, request, bytes, total, out));
        }
        self.attempts.clear();
        self.attempts
    }

    fn write_entry(
        &self,
        worker: &Worker,
        peer: &Peer,
        request: &RequestHead,
        (bytes_received, bytes_sent): (u64, u64),
        total: Duration,
        out: &mut Vec<u8>,
    ) {
        let snapshot = &worker.plan.snapshot;
        let pool = self.pool.map(|pool| &worker.plan.pools[pool]);
        let endpoint_name = |index: usize| pool.map_or("", |pool| &*pool.endpoints[index].name);
        let attempts: Vec<observe::Attempt<'_>> = self
            .attempts
            .iter()
            .map(|attempt| observe::Attempt {
                endpoint: endpoint_name(attempt.endpoint),
                why: attempt.why.as_str(),
                connect: attempt.connect,
                first_byte: attempt.first_byte,
                total: attempt.total,
                outcome: attempt.outcome.word(),
            })
            .collect();
        let has_head = !request.bytes.is_empty();
        let relayed = self.relayed.as_deref();
        let answered = self.answer.map(|number| &self.attempts[number]);
        let connect = self.attempts.iter().filter_map(|attempt| attempt.connect);
        Entry {
            time: self.time,
            // Nobody but us would know it.
            request_id: relayed.is_none().then(|| self.request_id.as_bytes()),
            client: self.identity.client(&peer.address).as_str(),
            listener: &snapshot.listeners[peer.listener].name,
            protocol: relayed.map(|relayed| relayed.protocol),
            sni: relayed.and_then(|relayed| relayed.sni.as_deref()),
            version: has_head.then(|| request.version.as_str().as_bytes()),
            method: has_head.then(|| request.text(request.method_text)),
            host: has_head.then(|| request.text(request.authority)),
            path: has_head.then(|| request.text(request.path_and_query)),
            status: self.status.map(Status::code),
            grpc_status: self.code.map(Code::as_str),
            bytes_received,
            bytes_sent,
            datagrams: relayed.and_then(|relayed| relayed.datagrams),
            route: self.route.map(|route| &*snapshot.routes[route].name),
            pool: pool.map(|pool| &*pool.settings.name),
            endpoint: answered.map(|attempt| endpoint_name(attempt.endpoint)),
            attempts: &attempts,
            phases: Phases {
                queue: self.queue,
                connect: connect.reduce(|sum, connect| sum + connect),
                first_byte: self.first_byte,
                total,
            },
            ended_by: self.ended_by.map(EndedBy::word),
            ended_in: self.ended_by.map(|_| self.phase.word()),
            failure: self.failure.map(Failure::word),
        }
        .write_json(out);
    }
}

/// What an outcome says about the endpoint's health (algorithms: outlier detection).
fn sample(worker: &Worker, pool: usize, lease: &Lease, outcome: Outcome) {
    let load = &lease.endpoint().load;
    let in_row = match outcome {
        Outcome::Ok => return load.record_success(),
        Outcome::Abandoned | Outcome::Stale | Outcome::Full => return,
        Outcome::Refused | Outcome::ConnectFailed => load.record_connect_failure(),
        Outcome::ServerError | Outcome::Reset | Outcome::Timeout | Outcome::BadResponse => {
            load.record_failure()
        }
    };
    let tell = |evidence| {
        let (pool, endpoint) = (pool as u32, lease.index() as u32);
        let _ = worker.evidence.try_send(LiveEvidence {
            pool,
            endpoint,
            evidence,
        });
    };
    // A reset asks for a probe at once, too: `adaptive` may send nothing more there, so that no
    // connect is ever refused.
    if matches!(outcome, Outcome::Refused | Outcome::Reset) {
        tell(Evidence::LiveRefused);
    }
    let threshold = worker.plan.pools[pool].settings.outlier.consecutive;
    let connect_only = load.only_connect_failures();
    if load.is_on_trial() {
        tell(Evidence::TrialFailed { connect_only });
    } else if threshold.is_some_and(|threshold| in_row >= threshold.get()) {
        tell(Evidence::LiveFailures {
            in_row,
            connect_only,
        });
    }
}
