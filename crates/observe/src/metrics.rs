//! What is counted, per listener, route, pool and endpoint, and the page that shows it.
//!
//! Each worker has the whole set for itself ([`WorkerMetrics`]); the [`Registry`] keeps all sets
//! and adds them up when asked. Indices are those of the config snapshot, and every label value
//! comes from the config or from a fixed list, so that no client can make the page grow.

use std::sync::{Arc, Mutex, PoisonError};

use crate::{Counter, Encoder, Gauge, Histogram, HistogramSum};

/// The names behind the indices: what a config snapshot looks like to metrics.
#[derive(Debug, Clone, Default)]
pub struct Shape {
    /// By listener index.
    pub listeners: Vec<String>,
    /// By route index.
    pub routes: Vec<String>,
    /// By pool index.
    pub pools: Vec<PoolShape>,
    /// The word of each failure, by its number.
    pub failures: &'static [&'static str],
    /// Each outcome of an attempt, by its number.
    pub outcomes: &'static [OutcomeShape],
    /// Each rule whose breach ends an HTTP/2 connection, by its number.
    pub http2_rules: &'static [&'static str],
    /// Each code of gRPC, by its number.
    pub grpc_codes: &'static [&'static str],
}

/// A way in which an attempt can end.
#[derive(Debug, Clone, Copy)]
pub struct OutcomeShape {
    /// Its word.
    pub word: &'static str,
    /// What it says about the endpoint.
    pub blame: Blame,
}

/// What an outcome says about the endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Blame {
    /// It did well.
    Success,
    /// It failed.
    Failure,
    /// Nothing.
    Nothing,
}

/// A pool's names.
#[derive(Debug, Clone, Default)]
pub struct PoolShape {
    /// The pool.
    pub name: String,
    /// By endpoint index.
    pub endpoints: Vec<String>,
}

/// The numbers of one worker. Only that worker may write them; everybody may read.
#[derive(Debug)]
pub struct WorkerMetrics {
    /// By listener index.
    pub listeners: Box<[ListenerMetrics]>,
    /// By route index.
    pub routes: Box<[RouteMetrics]>,
    /// By pool index.
    pub pools: Box<[PoolMetrics]>,
    /// Access log lines that found the log full.
    pub log_lines_dropped: Counter,
}

/// What one worker saw of a listener.
#[derive(Debug, Default)]
#[repr(align(64))]
pub struct ListenerMetrics {
    /// Connections accepted.
    pub connections_accepted: Counter,
    /// Connections that are open.
    pub connections_open: Gauge,
    /// Connections passed to a worker with less to do.
    pub connections_handed_over: Counter,
    /// Bytes read from clients.
    pub bytes_received: Counter,
    /// Bytes written to clients.
    pub bytes_sent: Counter,
    /// Connections closed at once, because a trusted proxy sent no PROXY header where one is
    /// required, or a broken one.
    pub proxy_headers_rejected: Counter,
    /// Connections closed at once, because they began like TLS and broke its rules.
    pub hellos_rejected: Counter,
    /// Datagrams of clients.
    pub datagrams_received: Counter,
    /// Datagrams to clients.
    pub datagrams_sent: Counter,
    /// Datagrams, of either side, that were not passed on.
    pub datagrams_dropped: Counter,
    /// Flows of datagrams that began.
    pub flows_opened: Counter,
    /// Flows that ended to make room for others.
    pub flows_evicted: Counter,
    /// Flows that are open.
    pub flows_open: Gauge,
    /// TLS handshakes that succeeded, those that resumed a session included.
    pub tls_handshakes: Counter,
    /// TLS handshakes that resumed a session.
    pub tls_resumed: Counter,
    /// TLS handshakes that failed, or took too long.
    pub tls_failed: Counter,
    /// Requests refused before a route was chosen, because they break the protocol or a limit.
    pub requests_rejected: Counter,
    /// HTTP/2 connections ended because the client broke a rule, by [`Shape::http2_rules`].
    pub http2_abuse: Box<[Counter]>,
}

/// What one worker saw of a route.
#[derive(Debug)]
#[repr(align(64))]
pub struct RouteMetrics {
    /// Finished exchanges by the status sent to the client.
    pub requests: ByClass,
    /// From the request head received to the first byte of the response sent.
    pub first_byte: Histogram,
    /// From the request head received to the end of the exchange.
    pub total: Histogram,
    /// Exchanges that we answered ourselves, by [`Shape::failures`].
    pub failures: Box<[Counter]>,
    /// Calls that have ended, by [`Shape::grpc_codes`].
    pub grpc_calls: Box<[Counter]>,
}

/// What one worker saw of a pool.
#[derive(Debug)]
#[repr(align(64))]
pub struct PoolMetrics {
    /// Requests that wait for an endpoint.
    pub requests_queued: Gauge,
    /// How long those that waited did.
    pub queue_time: Histogram,
    /// Requests refused because the queue was full.
    pub queue_full: Counter,
    /// Requests refused because they waited too long.
    pub queue_timeouts: Counter,
    /// Extra attempts.
    pub retries: Counter,
    /// Extra attempts that the retry budget denied.
    pub retries_denied: Counter,
    /// Picks of an endpoint that is down, as all or too many are.
    pub fail_open: Counter,
    /// Second copies of slow requests.
    pub hedges: Counter,
    /// Second copies that answered first.
    pub hedges_won: Counter,
    /// Requests of a session that went to the session's endpoint.
    pub sticky_hits: Counter,
    /// Requests of a session that could not go to the session's endpoint.
    pub sticky_misses: Counter,
    /// Requests that found the pool with as much in flight, or as many connections, as it may.
    pub circuit_open: Counter,
    /// By endpoint index.
    pub endpoints: Box<[EndpointMetrics]>,
}

/// What one worker saw of an endpoint.
#[derive(Debug)]
#[repr(align(64))]
pub struct EndpointMetrics {
    /// Responses by the status that the endpoint sent.
    pub requests: ByClass,
    /// Connections and flows that were relayed to it.
    pub relayed: Counter,
    /// Attempts, by [`Shape::outcomes`].
    pub attempts: Box<[Counter]>,
    /// From the request sent to the first byte of the response.
    pub first_byte: Histogram,
    /// Connections made.
    pub connections_opened: Counter,
    /// Requests sent on a kept connection.
    pub connections_reused: Counter,
    /// Kept connections without a request.
    pub connections_idle: Gauge,
}

/// Counters by the first digit of a status code.
#[derive(Debug, Default)]
pub struct ByClass([Counter; CLASSES.len()]);

impl ByClass {
    /// Counts one response. What is not a status code counts as the nearest class.
    #[inline]
    pub fn count(&self, status: u16) {
        self.0[usize::from((status / 100).clamp(1, 5)) - 1].increment();
    }

    /// Responses of every class.
    pub fn sum(&self) -> u64 {
        self.0.iter().map(Counter::value).sum()
    }
}

/// All numbers of all workers.
#[derive(Debug)]
pub struct Registry {
    shape: Shape,
    /// Locked at the start of a worker and for a scrape, never for a request.
    workers: Mutex<Vec<Arc<WorkerMetrics>>>,
    pub(crate) log_writer: LogWriterMetrics,
}

/// What the thread that writes the access log counts.
#[derive(Debug, Default)]
pub(crate) struct LogWriterMetrics {
    pub(crate) write_errors: Counter,
    pub(crate) lines_dropped: Counter,
}

impl Registry {
    /// A registry without workers.
    pub fn new(shape: Shape) -> Arc<Self> {
        Arc::new(Self {
            shape,
            workers: Mutex::default(),
            log_writer: LogWriterMetrics::default(),
        })
    }

    /// Adds a worker and hands it its numbers, all zero.
    pub fn worker(&self) -> Arc<WorkerMetrics> {
        let worker = Arc::new(WorkerMetrics::new(&self.shape));
        self.lock_workers().push(Arc::clone(&worker));
        worker
    }

    /// How many workers count.
    pub fn worker_count(&self) -> usize {
        self.lock_workers().len()
    }

    /// Adds up one number over all workers.
    pub fn sum(&self, number: impl Fn(&WorkerMetrics) -> u64) -> u64 {
        self.lock_workers()
            .iter()
            .map(|worker| number(worker))
            .sum()
    }

    /// Attempts at an endpoint so far, over all workers, that say `blame`.
    pub fn attempts(&self, pool: usize, endpoint: usize, blame: Blame) -> u64 {
        self.sum(|worker| {
            let attempts = worker.pools[pool].endpoints[endpoint].attempts.iter();
            let outcomes = attempts.zip(self.shape.outcomes);
            outcomes
                .filter(|(_, outcome)| outcome.blame == blame)
                .map(|(count, _)| count.value())
                .sum()
        })
    }

    /// The page of metrics in Prometheus text format; `extra` appends families that others know.
    pub fn render(&self, extra: impl FnOnce(&mut Encoder)) -> String {
        let mut page = Page {
            encoder: Encoder::default(),
            shape: &self.shape,
            workers: self.lock_workers().clone(),
        };
        page.listeners();
        page.flows();
        page.routes();
        page.pools();
        page.endpoints();
        page.access_log(&self.log_writer);
        extra(&mut page.encoder);
        page.encoder.finish()
    }

    fn lock_workers(&self) -> std::sync::MutexGuard<'_, Vec<Arc<WorkerMetrics>>> {
        // A list of pointers is whole whatever its holder panicked about.
        self.workers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl WorkerMetrics {
    fn new(shape: &Shape) -> Self {
        let counters = |count| (0..count).map(|_| Counter::default()).collect();
        let route = |_: &String| RouteMetrics {
            requests: ByClass::default(),
            first_byte: Histogram::default(),
            total: Histogram::default(),
            failures: counters(shape.failures.len()),
            grpc_calls: counters(shape.grpc_codes.len()),
        };
        let endpoint = |_: &String| EndpointMetrics {
            requests: ByClass::default(),
            relayed: Counter::default(),
            attempts: counters(shape.outcomes.len()),
            first_byte: Histogram::default(),
            connections_opened: Counter::default(),
            connections_reused: Counter::default(),
            connections_idle: Gauge::default(),
        };
        let pool = |pool: &PoolShape| PoolMetrics {
            requests_queued: Gauge::default(),
            queue_time: Histogram::default(),
            queue_full: Counter::default(),
            queue_timeouts: Counter::default(),
            retries: Counter::default(),
            retries_denied: Counter::default(),
            fail_open: Counter::default(),
            hedges: Counter::default(),
            hedges_won: Counter::default(),
            sticky_hits: Counter::default(),
            sticky_misses: Counter::default(),
            circuit_open: Counter::default(),
            endpoints: pool.endpoints.iter().map(endpoint).collect(),
        };
        Self {
            listeners: shape
                .listeners
                .iter()
                .map(|_| ListenerMetrics {
                    http2_abuse: counters(shape.http2_rules.len()),
                    ..ListenerMetrics::default()
                })
                .collect(),
            routes: shape.routes.iter().map(route).collect(),
            pools: shape.pools.iter().map(pool).collect(),
            log_lines_dropped: Counter::default(),
        }
    }
}

/// A scrape in progress.
struct Page<'a> {
    encoder: Encoder,
    shape: &'a Shape,
    workers: Vec<Arc<WorkerMetrics>>,
}

impl Page<'_> {
    fn listeners(&mut self) {
        type Of<T> = fn(&ListenerMetrics) -> &T;
        let counters: [(&str, &str, Of<Counter>); 10] = [
            (
                "pointsman_listener_connections_accepted_total",
                "Connections accepted.",
                |listener| &listener.connections_accepted,
            ),
            (
                "pointsman_listener_connections_handed_over_total",
                "Connections passed to a worker with less to do.",
                |listener| &listener.connections_handed_over,
            ),
            (
                "pointsman_listener_received_bytes_total",
                "Bytes read from clients.",
                |listener| &listener.bytes_received,
            ),
            (
                "pointsman_listener_sent_bytes_total",
                "Bytes written to clients.",
                |listener| &listener.bytes_sent,
            ),
            (
                "pointsman_listener_proxy_headers_rejected_total",
                "Connections closed because a trusted proxy sent no PROXY header, or a broken one.",
                |listener| &listener.proxy_headers_rejected,
            ),
            (
                "pointsman_listener_hellos_rejected_total",
                "Connections closed because they began like TLS and broke its rules.",
                |listener| &listener.hellos_rejected,
            ),
            (
                "pointsman_listener_tls_handshakes_total",
                "TLS handshakes that succeeded.",
                |listener| &listener.tls_handshakes,
            ),
            (
                "pointsman_listener_tls_resumed_total",
                "TLS handshakes that resumed a session.",
                |listener| &listener.tls_resumed,
            ),
            (
                "pointsman_listener_tls_failed_total",
                "TLS handshakes that failed or took too long.",
                |listener| &listener.tls_failed,
            ),
            (
                "pointsman_listener_requests_rejected_total",
                "Requests refused before a route was chosen: bad or over a limit.",
                |listener| &listener.requests_rejected,
            ),
        ];
        for (name, help, of) in counters {
            let mut family = self.encoder.counter(name, help);
            for (index, listener) in self.shape.listeners.iter().enumerate() {
                let value = sum(&self.workers, |worker| of(&worker.listeners[index]));
                family.sample(&[("listener", listener)], value);
            }
        }
        let name = "pointsman_http2_abuse_total";
        let help = "HTTP/2 connections ended because the client broke a rule.";
        let mut family = self.encoder.counter(name, help);
        for (index, listener) in self.shape.listeners.iter().enumerate() {
            for (number, rule) in self.shape.http2_rules.iter().enumerate() {
                let value = sum(&self.workers, |worker| {
                    &worker.listeners[index].http2_abuse[number]
                });
                family.sample(&[("listener", listener), ("rule", rule)], value);
            }
        }
        let name = "pointsman_listener_connections_open";
        let mut family = self
            .encoder
            .gauge(name, "Client connections that are open.");
        for (index, listener) in self.shape.listeners.iter().enumerate() {
            let value = level(&self.workers, |worker| {
                &worker.listeners[index].connections_open
            });
            family.sample(&[("listener", listener)], value);
        }
    }

    fn flows(&mut self) {
        // Most listeners see no datagrams, and need no zeros for them.
        let listeners = self.shape.listeners.iter().enumerate();
        let listeners: Vec<(usize, &String)> = listeners
            .filter(|(index, _)| {
                let received = |worker: &WorkerMetrics| {
                    worker.listeners[*index].datagrams_received.value() > 0
                };
                self.workers.iter().any(|worker| received(worker))
            })
            .collect();

        type Of = fn(&ListenerMetrics) -> &Counter;
        let counters: [(&str, &str, Of); 5] = [
            (
                "pointsman_listener_datagrams_received_total",
                "Datagrams of clients.",
                |listener| &listener.datagrams_received,
            ),
            (
                "pointsman_listener_datagrams_sent_total",
                "Datagrams to clients.",
                |listener| &listener.datagrams_sent,
            ),
            (
                "pointsman_listener_datagrams_dropped_total",
                "Datagrams, of either side, that were not passed on.",
                |listener| &listener.datagrams_dropped,
            ),
            (
                "pointsman_listener_flows_opened_total",
                "Flows of datagrams that began.",
                |listener| &listener.flows_opened,
            ),
            (
                "pointsman_listener_flows_evicted_total",
                "Flows of datagrams that ended to make room for others.",
                |listener| &listener.flows_evicted,
            ),
        ];
        for (name, help, of) in counters {
            let mut family = self.encoder.counter(name, help);
            for (index, listener) in &listeners {
                let value = sum(&self.workers, |worker| of(&worker.listeners[*index]));
                family.sample(&[("listener", listener)], value);
            }
        }

        let name = "pointsman_listener_flows_open";
        let mut family = self
            .encoder
            .gauge(name, "Flows of datagrams that are open.");
        for (index, listener) in &listeners {
            let value = level(&self.workers, |worker| &worker.listeners[*index].flows_open);
            family.sample(&[("listener", listener)], value);
        }
    }

    fn routes(&mut self) {
        let name = "pointsman_route_requests_total";
        let help = "Finished exchanges by class of the status sent to the client.";
        let mut family = self.encoder.counter(name, help);
        for (index, route) in self.shape.routes.iter().enumerate() {
            for (class, code) in CLASSES.iter().enumerate() {
                let value = sum(&self.workers, |worker| {
                    &worker.routes[index].requests.0[class]
                });
                family.sample(&[("route", route), ("code", code)], value);
            }
        }

        let name = "pointsman_route_failures_total";
        let help = "Exchanges that the balancer answered itself, by reason.";
        let mut family = self.encoder.counter(name, help);
        for (index, route) in self.shape.routes.iter().enumerate() {
            for (number, failure) in self.shape.failures.iter().enumerate() {
                let value = sum(&self.workers, |worker| {
                    &worker.routes[index].failures[number]
                });
                family.sample(&[("route", route), ("failure", failure)], value);
            }
        }

        let name = "pointsman_route_grpc_calls_total";
        let help = "Calls of gRPC that have ended, by their code.";
        let mut family = self.encoder.counter(name, help);
        for (index, route) in self.shape.routes.iter().enumerate() {
            let by_code = |number: usize| {
                sum(&self.workers, |worker| {
                    &worker.routes[index].grpc_calls[number]
                })
            };
            // Most routes see no calls, and need no zeros for them.
            let values: Vec<u64> = (0..self.shape.grpc_codes.len()).map(by_code).collect();
            if values.iter().any(|value| *value > 0) {
                for (code, value) in self.shape.grpc_codes.iter().zip(values) {
                    family.sample(&[("route", route), ("code", code)], value);
                }
            }
        }

        type Of = fn(&RouteMetrics) -> &Histogram;
        let histograms: [(&str, &str, Of); 2] = [
            (
                "pointsman_route_first_byte_seconds",
                "From the request head received to the first response byte sent.",
                |route| &route.first_byte,
            ),
            (
                "pointsman_route_duration_seconds",
                "From the request head received to the end of the exchange.",
                |route| &route.total,
            ),
        ];
        for (name, help, of) in histograms {
            let mut family = self.encoder.histogram(name, help);
            for (index, route) in self.shape.routes.iter().enumerate() {
                let durations = durations(&self.workers, |worker| of(&worker.routes[index]));
                family.durations(&[("route", route)], &durations);
            }
        }
    }

    fn pools(&mut self) {
        type Of = fn(&PoolMetrics) -> &Counter;
        let counters: [(&str, &str, Of); 10] = [
            (
                "pointsman_pool_queue_full_total",
                "Requests refused because the queue was full.",
                |pool| &pool.queue_full,
            ),
            (
                "pointsman_pool_queue_timeouts_total",
                "Requests refused because they waited too long.",
                |pool| &pool.queue_timeouts,
            ),
            (
                "pointsman_pool_retries_total",
                "Extra attempts made.",
                |pool| &pool.retries,
            ),
            (
                "pointsman_pool_retries_denied_total",
                "Extra attempts that the retry budget denied.",
                |pool| &pool.retries_denied,
            ),
            (
                "pointsman_pool_fail_open_total",
                "Picks of a down endpoint, as all or too many are down.",
                |pool| &pool.fail_open,
            ),
            (
                "pointsman_pool_hedges_total",
                "Second copies of slow requests.",
                |pool| &pool.hedges,
            ),
            (
                "pointsman_pool_hedges_won_total",
                "Second copies that answered first.",
                |pool| &pool.hedges_won,
            ),
            (
                "pointsman_pool_sticky_hits_total",
                "Requests of a session that went to the session's endpoint.",
                |pool| &pool.sticky_hits,
            ),
            (
                "pointsman_pool_sticky_misses_total",
                "Requests of a session that could not go to the session's endpoint.",
                |pool| &pool.sticky_misses,
            ),
            (
                "pointsman_pool_circuit_open_total",
                "Requests that found the pool at a limit of its circuit.",
                |pool| &pool.circuit_open,
            ),
        ];
        for (name, help, of) in counters {
            let mut family = self.encoder.counter(name, help);
            for (index, pool) in self.shape.pools.iter().enumerate() {
                let value = sum(&self.workers, |worker| of(&worker.pools[index]));
                family.sample(&[("pool", &pool.name)], value);
            }
        }

        let name = "pointsman_pool_queue_length";
        let mut family = self
            .encoder
            .gauge(name, "Requests that wait for an endpoint.");
        for (index, pool) in self.shape.pools.iter().enumerate() {
            let value = level(&self.workers, |worker| &worker.pools[index].requests_queued);
            family.sample(&[("pool", &pool.name)], value);
        }

        let name = "pointsman_pool_queue_seconds";
        let mut family = self
            .encoder
            .histogram(name, "How long queued requests waited.");
        for (index, pool) in self.shape.pools.iter().enumerate() {
            let durations = durations(&self.workers, |worker| &worker.pools[index].queue_time);
            family.durations(&[("pool", &pool.name)], &durations);
        }
    }

    fn endpoints(&mut self) {
        let places = self.shape.endpoints();

        let name = "pointsman_endpoint_requests_total";
        let help = "Responses by class of the status that the endpoint sent.";
        let mut family = self.encoder.counter(name, help);
        for place in &places {
            for (class, code) in CLASSES.iter().enumerate() {
                let value = sum(&self.workers, |worker| &place.of(worker).requests.0[class]);
                let [pool, endpoint] = place.labels;
                family.sample(&[pool, endpoint, ("code", code)], value);
            }
        }

        let name = "pointsman_endpoint_attempts_total";
        let help = "Attempts to get a response from the endpoint, by outcome.";
        let mut family = self.encoder.counter(name, help);
        for place in &places {
            for (number, outcome) in self.shape.outcomes.iter().enumerate() {
                let value = sum(&self.workers, |worker| &place.of(worker).attempts[number]);
                let [pool, endpoint] = place.labels;
                family.sample(&[pool, endpoint, ("outcome", outcome.word)], value);
            }
        }

        type Of = fn(&EndpointMetrics) -> &Counter;
        let counters: [(&str, &str, Of); 3] = [
            (
                "pointsman_endpoint_relayed_total",
                "Connections and flows relayed to the endpoint.",
                |endpoint| &endpoint.relayed,
            ),
            (
                "pointsman_endpoint_connections_opened_total",
                "Connections made to the endpoint.",
                |endpoint| &endpoint.connections_opened,
            ),
            (
                "pointsman_endpoint_connections_reused_total",
                "Requests sent on a kept connection.",
                |endpoint| &endpoint.connections_reused,
            ),
        ];
        for (name, help, of) in counters {
            let mut family = self.encoder.counter(name, help);
            for place in &places {
                let value = sum(&self.workers, |worker| of(place.of(worker)));
                family.sample(&place.labels, value);
            }
        }

        let name = "pointsman_endpoint_connections_idle";
        let mut family = self
            .encoder
            .gauge(name, "Kept connections without a request.");
        for place in &places {
            let value = level(&self.workers, |worker| &place.of(worker).connections_idle);
            family.sample(&place.labels, value);
        }

        let name = "pointsman_endpoint_first_byte_seconds";
        let help = "From the request sent to the first response byte received.";
        let mut family = self.encoder.histogram(name, help);
        for place in &places {
            let durations = durations(&self.workers, |worker| &place.of(worker).first_byte);
            family.durations(&place.labels, &durations);
        }
    }

    fn access_log(&mut self, writer: &LogWriterMetrics) {
        let dropped = sum(&self.workers, |worker| &worker.log_lines_dropped);
        self.encoder
            .counter(
                "pointsman_access_log_lines_dropped_total",
                "Access log lines lost because the sink was slow or failed.",
            )
            .sample(&[], dropped + writer.lines_dropped.value());
        self.encoder
            .counter(
                "pointsman_access_log_write_errors_total",
                "Writes to the access log that failed.",
            )
            .sample(&[], writer.write_errors.value());
    }
}

/// Where an endpoint's numbers are, and its labels.
struct EndpointPlace<'a> {
    pool: usize,
    endpoint: usize,
    labels: [(&'a str, &'a str); 2],
}

impl EndpointPlace<'_> {
    fn of<'w>(&self, worker: &'w WorkerMetrics) -> &'w EndpointMetrics {
        &worker.pools[self.pool].endpoints[self.endpoint]
    }
}

impl Shape {
    fn endpoints(&self) -> Vec<EndpointPlace<'_>> {
        let mut places = Vec::new();
        for (pool, shape) in self.pools.iter().enumerate() {
            for (endpoint, name) in shape.endpoints.iter().enumerate() {
                places.push(EndpointPlace {
                    pool,
                    endpoint,
                    labels: [("pool", &shape.name), ("endpoint", name)],
                });
            }
        }
        places
    }
}

fn sum(workers: &[Arc<WorkerMetrics>], of: impl Fn(&WorkerMetrics) -> &Counter) -> u64 {
    workers.iter().map(|worker| of(worker).value()).sum()
}

fn level(workers: &[Arc<WorkerMetrics>], of: impl Fn(&WorkerMetrics) -> &Gauge) -> i64 {
    workers.iter().map(|worker| of(worker).value()).sum()
}

fn durations(
    workers: &[Arc<WorkerMetrics>],
    of: impl Fn(&WorkerMetrics) -> &Histogram,
) -> HistogramSum {
    let mut total = HistogramSum::default();
    workers.iter().for_each(|worker| total.add(of(worker)));
    total
}

/// The values of the label `code`.
const CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const OUTCOMES: [OutcomeShape; 3] = [
        OutcomeShape {
            word: "ok",
            blame: Blame::Success,
        },
        OutcomeShape {
            word: "reset",
            blame: Blame::Failure,
        },
        OutcomeShape {
            word: "timeout",
            blame: Blame::Failure,
        },
    ];

    fn registry() -> Arc<Registry> {
        Registry::new(Shape {
            listeners: vec!["web".into(), "dns".into()],
            routes: vec!["a".into(), "b".into()],
            pools: vec![PoolShape {
                name: "app".into(),
                endpoints: vec!["blue".into(), "green".into()],
            }],
            failures: &["connection_timeout"],
            outcomes: &OUTCOMES,
            http2_rules: &["protocol"],
            grpc_codes: &["ok", "cancelled"],
        })
    }

    #[track_caller]
    fn assert_line(page: &str, line: &str) {
        assert!(
            page.lines().any(|found| found == line),
            "no line {line:?} in\n{page}"
        );
    }

    #[test]
    fn a_page_adds_up_all_workers() {
        let registry = registry();
        let workers = [registry.worker(), registry.worker()];
        for worker in &workers {
            worker.listeners[0].bytes_sent.add(10);
            worker.routes[1].requests.count(200);
            worker.routes[1].failures[0].increment();
            worker.routes[1].total.observe(Duration::from_millis(2));
            worker.pools[0].requests_queued.increment();
            worker.pools[0].queue_time.observe(Duration::from_secs(1));
            worker.pools[0].endpoints[1].attempts[1].increment();
            worker.pools[0].endpoints[1]
                .first_byte
                .observe(Duration::from_secs(100));
            worker.log_lines_dropped.increment();
        }
        // Opened here, closed there.
        workers[0].listeners[0].connections_open.set(3);
        workers[1].listeners[0].connections_open.decrement();

        let page = registry.render(|encoder| encoder.gauge("extra", "More.").sample(&[], 7));
        for line in [
            "pointsman_listener_sent_bytes_total{listener=\"web\"} 20",
            "pointsman_listener_connections_open{listener=\"web\"} 2",
            "pointsman_route_requests_total{route=\"a\",code=\"2xx\"} 0",
            "pointsman_route_requests_total{route=\"b\",code=\"2xx\"} 2",
            "pointsman_route_failures_total{route=\"b\",failure=\"connection_timeout\"} 2",
            "pointsman_route_duration_seconds_bucket{route=\"b\",le=\"0.001\"} 0",
            "pointsman_route_duration_seconds_bucket{route=\"b\",le=\"0.0025\"} 2",
            "pointsman_route_duration_seconds_sum{route=\"b\"} 0.004",
            "pointsman_pool_queue_length{pool=\"app\"} 2",
            "pointsman_pool_queue_seconds_count{pool=\"app\"} 2",
            "pointsman_endpoint_attempts_total{pool=\"app\",endpoint=\"green\",outcome=\"reset\"} 2",
            "pointsman_endpoint_first_byte_seconds_bucket{pool=\"app\",endpoint=\"green\",le=\"60\"} 0",
            "pointsman_endpoint_first_byte_seconds_bucket{pool=\"app\",endpoint=\"green\",le=\"+Inf\"} 2",
            "pointsman_access_log_lines_dropped_total 2",
            "extra 7",
        ] {
            assert_line(&page, line);
        }
        assert_eq!(
            registry.sum(|worker| worker.listeners[0].bytes_sent.value()),
            20
        );
        assert_eq!(registry.worker_count(), 2);
    }

    #[test]
    fn a_page_has_flows_of_listeners_that_have_seen_datagrams() {
        let registry = registry();
        let workers = [registry.worker(), registry.worker()];
        assert!(!registry.render(|_| ()).contains("flows_open{"));

        workers[0].listeners[1].hellos_rejected.increment();
        for worker in &workers {
            let dns = &worker.listeners[1];
            dns.datagrams_received.add(5);
            dns.datagrams_sent.add(4);
            dns.flows_opened.add(3);
            dns.flows_evicted.increment();
            dns.flows_open.set(2);
        }
        let page = registry.render(|_| ());
        for line in [
            "pointsman_listener_hellos_rejected_total{listener=\"web\"} 0",
            "pointsman_listener_hellos_rejected_total{listener=\"dns\"} 1",
            "pointsman_listener_datagrams_received_total{listener=\"dns\"} 10",
            "pointsman_listener_datagrams_sent_total{listener=\"dns\"} 8",
            "pointsman_listener_datagrams_dropped_total{listener=\"dns\"} 0",
            "pointsman_listener_flows_opened_total{listener=\"dns\"} 6",
            "pointsman_listener_flows_evicted_total{listener=\"dns\"} 2",
            "pointsman_listener_flows_open{listener=\"dns\"} 4",
        ] {
            assert_line(&page, line);
        }
        assert!(!page.contains("flows_open{listener=\"web\"}"), "{page}");
    }

    #[test]
    fn attempts_are_added_up_by_blame() {
        let registry = registry();
        for worker in [registry.worker(), registry.worker()] {
            let attempts = &worker.pools[0].endpoints[1].attempts;
            attempts[0].add(5);
            attempts[1].add(2);
            attempts[2].add(1);
        }
        let attempts = |blame| registry.attempts(0, 1, blame);
        assert_eq!(attempts(Blame::Success), 10);
        assert_eq!(attempts(Blame::Failure), 6);
        assert_eq!(attempts(Blame::Nothing), 0);
    }

    #[test]
    fn any_number_counts_as_some_class() {
        let requests = ByClass::default();
        for status in [0, 100, 204, 301, 404, 500, 999, u16::MAX] {
            requests.count(status);
        }
        assert_eq!(requests.0.each_ref().map(Counter::value), [2, 1, 1, 1, 3]);
        assert_eq!(requests.sum(), 8);
    }
}
