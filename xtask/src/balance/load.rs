//! Requests at random moments (a Poisson process) that do not depend on the answers.
//!
//! The moments and the work of each request come from a seed: they are the same for everybody.
//! A request counts from the moment it was due, also when it could only be sent later.

use std::collections::VecDeque;
use std::io::Write;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use fastrand::Rng;
use hdrhistogram::Histogram;

use super::plan::{Outcome, Plan};
use super::stage::CLIENTS;
use crate::socket::Poller;
use crate::traffic::client::{Client, Event, Exchange};

pub(super) struct Load {
    targets: Vec<Target>,
    clients: Vec<Caller>,
    arrivals: Rng,
    /// Apart from `arrivals`, which must be the same for one target and for many.
    dealing: Rng,
    requests_per_second: f64,
    next_due: Instant,
    /// Requests due in the window are measured.
    begin: Instant,
    end: Instant,
    /// Those due from here on are also counted apart from the others.
    split: Instant,
    before_split: Latencies,
    after_split: Latencies,
    lateness: Latencies,
    outcome: Outcome,
}

struct Target {
    address: SocketAddr,
    /// Clients without a request in hand; the one that was free last goes first, so that there
    /// are no more than needed.
    free: Vec<usize>,
    /// Requests for which there is no client.
    waiting: VecDeque<Request>,
}

struct Caller {
    client: Client,
    exchange: Exchange,
    target: usize,
}

struct Request {
    due: Instant,
    work: Duration,
}

impl Load {
    /// A load that begins at once, and is measured from `begin` to `end`.
    pub(super) fn new(plan: &Plan, begin: Instant, end: Instant, split: Instant) -> Self {
        let targets = plan.targets.iter().map(|&address| Target {
            address,
            free: Vec::new(),
            waiting: VecDeque::new(),
        });
        Self {
            targets: targets.collect(),
            clients: Vec::new(),
            arrivals: Rng::with_seed(plan.seed),
            dealing: Rng::with_seed(plan.seed.wrapping_add(1)),
            requests_per_second: plan.requests_per_second,
            next_due: Instant::now(),
            begin,
            end,
            split,
            before_split: Latencies::new(),
            after_split: Latencies::new(),
            lateness: Latencies::new(),
            outcome: Outcome::default(),
        }
    }

    /// True if every request of the window came to an end.
    pub(super) fn is_settled(&self) -> bool {
        self.outcome.answered + self.outcome.failed >= self.outcome.due
    }

    /// Sends what is due at `now`.
    pub(super) fn start_due(&mut self, now: Instant, poller: &Poller) {
        while self.next_due <= now && self.next_due < self.end {
            let request = Request {
                due: self.next_due,
                work: self.exponential(WORK),
            };
            self.outcome.due += u64::from(self.is_in_window(request.due));
            let gap = self.exponential(Duration::from_secs_f64(1.0 / self.requests_per_second));
            self.next_due += gap;
            let target = self.dealing.usize(..self.targets.len());
            self.targets[target].waiting.push_back(request);
            self.send_waiting(target, poller);
        }
    }

    /// Does what the socket of client `index` is ready for.
    pub(super) fn advance(&mut self, index: usize, poller: &Poller, buffer: &mut [u8]) {
        let Some(caller) = self.clients.get_mut(index) else {
            return;
        };
        let (due, target) = (caller.client.due, caller.target);
        match caller.client.advance(&caller.exchange, poller, buffer) {
            None | Some(Event::Free) => return,
            Some(Event::Answered) => self.record_answer(due),
            Some(Event::Wrong(what)) => self.record_failure(due, what),
        }
        self.targets[target].free.push(index);
        self.send_waiting(target, poller);
    }

    fn send_waiting(&mut self, target: usize, poller: &Poller) {
        while !self.targets[target].waiting.is_empty()
            && let Some(index) = self.free_client(target)
            && let Some(request) = self.targets[target].waiting.pop_front()
        {
            let Caller {
                client, exchange, ..
            } = &mut self.clients[index];
            exchange.request.clear();
            write!(
                exchange.request,
                "GET /{} HTTP/1.1\r\nHost: localhost\r\nUser-Agent: xtask\r\nAccept: */*\r\n\r\n",
                request.work.as_nanos()
            )
            .expect("a Vec takes all bytes");
            let problem = client.start(request.due, exchange, poller);
            if self.is_in_window(request.due) {
                self.lateness.record(request.due);
            }
            if let Some(what) = problem {
                self.record_failure(request.due, what);
                self.targets[target].free.push(index);
            }
        }
    }

    /// A client without a request in hand: a new one if there is no other, and not too many.
    fn free_client(&mut self, target: usize) -> Option<usize> {
        if let Some(index) = self.targets[target].free.pop() {
            return Some(index);
        }
        if self.clients.len() == CLIENTS_MAX {
            return None;
        }
        let index = self.clients.len();
        self.clients.push(Caller {
            client: Client::new(CLIENTS + index as u64, self.next_due),
            exchange: Exchange {
                target: self.targets[target].address,
                request: Vec::new(),
                answer_bytes: 0,
                closes: false,
                tls: None,
            },
            target,
        });
        Some(index)
    }

    fn exponential(&mut self, mean: Duration) -> Duration {
        mean.mul_f64(-(1.0 - self.arrivals.f64()).ln())
    }

    fn record_answer(&mut self, due: Instant) {
        if self.is_in_window(due) {
            self.outcome.answered += 1;
            let latencies = if due < self.split {
                &mut self.before_split
            } else {
                &mut self.after_split
            };
            latencies.record(due);
        }
    }

    fn record_failure(&mut self, due: Instant, what: String) {
        if self.is_in_window(due) {
            self.outcome.failed += 1;
            self.outcome.first_failure.get_or_insert(what);
        }
    }

    fn is_in_window(&self, due: Instant) -> bool {
        (self.begin..self.end).contains(&due)
    }

    /// What was seen. The caller adds what it measured itself.
    pub(super) fn outcome(&self) -> Outcome {
        let mut all = self.before_split.0.clone();
        all.add(&self.after_split.0)
            .expect("both have the same bounds");
        let all = Latencies(all);
        Outcome {
            mean_ms: all.0.mean() / 1e6,
            p50_ms: all.ms(0.50),
            p99_ms: all.ms(0.99),
            p999_ms: all.ms(0.999),
            p99_before_split_ms: self.before_split.ms(0.99),
            p99_after_split_ms: self.after_split.ms(0.99),
            lateness_p99_ms: self.lateness.ms(0.99),
            clients: self.clients.len(),
            ..self.outcome.clone()
        }
    }
}

/// Nanoseconds.
struct Latencies(Histogram<u64>);

impl Latencies {
    fn new() -> Self {
        Self(
            Histogram::new_with_bounds(1, LATENCY_NS_MAX, 3)
                .expect("the bounds are in order and 3 digits are allowed"),
        )
    }

    /// Records the time since `due`.
    fn record(&mut self, due: Instant) {
        self.0.saturating_record(due.elapsed().as_nanos() as u64);
    }

    /// A quantile in milliseconds.
    fn ms(&self, quantile: f64) -> f64 {
        self.0.value_at_quantile(quantile) as f64 / 1e6
    }
}

/// Mean work of a request.
pub(super) const WORK: Duration = Duration::from_millis(10);
/// Connections of clients. More requests than these wait for their turn, and count on.
const CLIENTS_MAX: usize = 4096;
/// Slower answers count as this slow: a minute.
const LATENCY_NS_MAX: u64 = 60_000_000_000;
