//! All clients of one measurement: when each sends, and what they saw.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use anyhow::Result;
use hdrhistogram::Histogram;

use super::CLIENTS;
use super::client::{Client, Event, Exchange};
use super::plan::{Outcome, Pace, Plan};
use super::tls;
use crate::socket::Poller;

pub(super) struct Load {
    exchange: Exchange,
    pace: Pace,
    clients: Vec<Client>,
    /// Clients without a request in hand, longest free first.
    free: VecDeque<usize>,
    /// Moments at which a request was due while no client was free; open loop only.
    overdue: VecDeque<Instant>,
    /// When the next request is due; open loop only.
    next_due: Instant,
    random: fastrand::Rng,
    /// Requests due within it are measured.
    window: Option<(Instant, Instant)>,
    window_is_over: bool,
    /// Nanoseconds.
    latencies: Histogram<u64>,
    outcome: Outcome,
}

impl Load {
    pub(super) fn new(plan: &Plan) -> Result<Self> {
        let now = Instant::now();
        let closes = matches!(plan.pace, Pace::OncePerConnection { .. });
        Ok(Self {
            exchange: Exchange {
                target: plan.target,
                request: request(plan),
                answer_bytes: plan.answer_bytes,
                closes,
                tls: plan.is_secure.then(tls::offer).transpose()?,
            },
            pace: plan.pace,
            clients: (0..plan.connections)
                .map(|index| Client::new(CLIENTS + index as u64, now))
                .collect(),
            free: (0..plan.connections).collect(),
            overdue: VecDeque::new(),
            next_due: now,
            random: fastrand::Rng::with_seed(SEED),
            window: None,
            window_is_over: false,
            latencies: Histogram::new_with_bounds(1, LATENCY_NS_MAX, 3)
                .expect("the bounds are in order and 3 digits are allowed"),
            outcome: Outcome::default(),
        })
    }

    /// From now on answers count.
    pub(super) fn begin_window(&mut self, start: Instant, end: Instant) {
        self.window = Some((start, end));
    }

    /// From now on only the requests of the window that are still in hand matter.
    pub(super) fn end_window(&mut self) {
        self.window_is_over = true;
    }

    /// True if nothing that counts is in hand any more.
    pub(super) fn is_settled(&self) -> bool {
        match self.pace {
            Pace::Open { .. } => self.outcome.due_answered + self.outcome.wrong >= self.outcome.due,
            Pace::Idle => self.free.is_empty() && self.in_hand() == 0,
            _ => true,
        }
    }

    /// Clients whose connection is open and has been answered.
    pub(super) fn open_connections(&self) -> usize {
        self.clients
            .iter()
            .filter(|client| client.is_open())
            .count()
    }

    fn in_hand(&self) -> u64 {
        let started = (self.clients.len() - self.free.len()) as u64;
        started.saturating_sub(self.outcome.requests_in_all + self.outcome.wrong)
    }

    /// Sends what is due at `now`.
    pub(super) fn start_due(&mut self, now: Instant, poller: &Poller) {
        match self.pace {
            Pace::Open {
                requests_per_second,
            } => {
                while self.next_due <= now && !self.window_is_over {
                    let due = self.next_due;
                    self.outcome.due += u64::from(self.is_in_window(due));
                    self.overdue.push_back(due);
                    let gap = -(1.0 - self.random.f64()).ln() / requests_per_second;
                    self.next_due += Duration::from_secs_f64(gap);
                }
                while !self.overdue.is_empty()
                    && let Some(index) = self.free.pop_front()
                {
                    let due = self.overdue.pop_front().unwrap_or(now);
                    self.start(index, due, poller);
                }
            }
            Pace::Idle => {
                while self.in_hand() < CONNECTS_MAX
                    && let Some(index) = self.free.pop_front()
                {
                    self.start(index, now, poller);
                }
            }
            Pace::Closed | Pace::OncePerConnection { .. } => {
                while !self.window_is_over
                    && let Some(index) = self.free.pop_front()
                {
                    self.start(index, now, poller);
                }
            }
        }
    }

    /// Does what the socket of client `index` is ready for.
    pub(super) fn advance(&mut self, index: usize, poller: &Poller, buffer: &mut [u8]) {
        // A socket of an earlier load may still be reported once.
        let Some(client) = self.clients.get_mut(index) else {
            return;
        };
        match client.advance(&self.exchange, poller, buffer) {
            None => {}
            Some(Event::Answered) => {
                self.record_answer(self.clients[index].due);
                if !self.exchange.closes {
                    self.go_on(index, poller);
                }
            }
            Some(Event::Free) => self.go_on(index, poller),
            Some(Event::Wrong(what)) => self.record_wrong(index, what),
        }
    }

    /// Gives a client that was answered its next request, if there is one for it.
    fn go_on(&mut self, index: usize, poller: &Poller) {
        match self.pace {
            Pace::Closed | Pace::OncePerConnection { .. } if !self.window_is_over => {
                self.start(index, Instant::now(), poller);
            }
            Pace::Open { .. } if !self.overdue.is_empty() => {
                let due = self.overdue.pop_front().unwrap_or_else(Instant::now);
                self.start(index, due, poller);
            }
            // An idle connection has had its request.
            Pace::Idle => {}
            _ => self.free.push_back(index),
        }
    }

    fn start(&mut self, index: usize, due: Instant, poller: &Poller) {
        if let Some(what) = self.clients[index].start(due, &self.exchange, poller) {
            self.record_wrong(index, what);
        }
    }

    fn record_wrong(&mut self, index: usize, what: String) {
        self.outcome.wrong += 1;
        self.outcome.first_wrong.get_or_insert(what);
        if self.pace != Pace::Idle {
            self.free.push_back(index);
        }
    }

    fn record_answer(&mut self, due: Instant) {
        self.outcome.requests_in_all += 1;
        let is_in_window = self.window.is_some() && !self.window_is_over;
        self.outcome.requests += u64::from(is_in_window);
        let counts = match self.pace {
            Pace::Open { .. } => self.is_in_window(due),
            _ => is_in_window,
        };
        if counts {
            self.outcome.due_answered += 1;
            let latency = due.elapsed().as_nanos() as u64;
            self.latencies.saturating_record(latency);
        }
    }

    fn is_in_window(&self, due: Instant) -> bool {
        self.window
            .is_some_and(|(start, end)| (start..end).contains(&due))
    }

    /// What was seen. The caller adds what it measured itself.
    pub(super) fn outcome(&self) -> Outcome {
        let microseconds = |quantile| self.latencies.value_at_quantile(quantile) as f64 / 1000.0;
        Outcome {
            p50_us: microseconds(0.50),
            p99_us: microseconds(0.99),
            p999_us: microseconds(0.999),
            ..self.outcome.clone()
        }
    }
}

/// The bytes of every request of `plan`.
fn request(plan: &Plan) -> Vec<u8> {
    let method = if plan.body_bytes == 0 { "GET" } else { "POST" };
    let mut head = format!(
        "{method} {} HTTP/1.1\r\nHost: localhost\r\nUser-Agent: xtask\r\nAccept: */*\r\n",
        plan.path
    );
    if plan.pace
        == (Pace::OncePerConnection {
            ask_for_close: true,
        })
    {
        head += "Connection: close\r\n";
    }
    if plan.body_bytes > 0 {
        head += "Content-Type: application/octet-stream\r\n";
        head += &format!("Content-Length: {}\r\n", plan.body_bytes);
    }
    head += "\r\n";
    let mut request = head.into_bytes();
    request.resize(request.len() + plan.body_bytes, b'x');
    request
}

/// The same arrivals for every peer and every run.
const SEED: u64 = 0x5eed;
/// Connections of the idle measurement that are opened at a time.
const CONNECTS_MAX: u64 = 16;
/// Slower answers count as this slow: a minute.
const LATENCY_NS_MAX: u64 = 60_000_000_000;
