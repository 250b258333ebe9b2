//! What there is to see at one moment: gathered from the admin API and from the clients.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::endpoint::{Endpoint, Mode};
use super::event_log::EventLog;
use super::traffic::Counts;
use crate::admin;

/// Rates and shares are those of the last seconds: moved traffic shows at once, noise does not.
const WINDOW: Duration = Duration::from_secs(2);

/// One moment.
#[derive(Debug)]
pub(crate) struct View {
    pub(crate) listen: SocketAddr,
    pub(crate) admin: SocketAddr,
    pub(crate) endpoints: Vec<EndpointView>,
    /// Requests that are over, for the clients.
    pub(crate) requests: u64,
    /// Those of them that failed.
    pub(crate) failed: u64,
    /// Attempts at another endpoint.
    pub(crate) retries: u64,
    /// Event lines since the last view.
    pub(crate) new_events: Vec<String>,
    /// The last event lines, oldest first.
    pub(crate) last_events: Vec<String>,
}

#[derive(Debug)]
pub(crate) struct EndpointView {
    pub(crate) name: &'static str,
    pub(crate) address: SocketAddr,
    /// What it does.
    pub(crate) mode: Mode,
    /// What the balancer believes.
    pub(crate) state: String,
    pub(crate) requests_per_second: f64,
    pub(crate) in_flight: u32,
    pub(crate) requests: u64,
    /// Of the requests of all, 0 to 1.
    pub(crate) share: f64,
}

/// Event lines that are shown at once.
const EVENTS: usize = 5;

/// Looks, and remembers enough for rates.
#[derive(Debug)]
pub(crate) struct Viewer {
    listen: SocketAddr,
    admin: SocketAddr,
    endpoints: Arc<[Endpoint]>,
    counts: Arc<Counts>,
    log: EventLog,
    events_seen: usize,
    /// Requests of each endpoint at moments of the window, oldest first.
    samples: VecDeque<(Instant, Vec<u64>)>,
}

impl Viewer {
    pub(crate) fn new(
        listen: SocketAddr,
        admin: SocketAddr,
        endpoints: Arc<[Endpoint]>,
        counts: Arc<Counts>,
        log: EventLog,
    ) -> Self {
        Self {
            listen,
            admin,
            endpoints,
            counts,
            log,
            events_seen: 0,
            samples: VecDeque::new(),
        }
    }

    /// Looks. An error means that the admin API does not answer.
    pub(crate) fn view(&mut self) -> Result<View> {
        let status = admin::status(self.admin)?;
        let metrics = admin::get(self.admin, "/metrics")?;
        let pool = status.pools.first().context("the demo has a pool")?;
        let requests: Vec<u64> = pool.endpoints.iter().map(|it| it.requests).collect();
        let rates = self.rates(Instant::now(), requests);
        let sum: f64 = rates.iter().sum();

        let endpoints = self.endpoints.iter().zip(&pool.endpoints).zip(rates);
        let endpoints = endpoints
            .map(|((endpoint, status), rate)| EndpointView {
                name: endpoint.name,
                address: endpoint.address,
                mode: endpoint.mode(),
                state: match status.ejected {
                    true => "ejected".to_owned(),
                    false => status.state.clone(),
                },
                requests_per_second: rate,
                in_flight: status.requests_in_flight,
                requests: status.requests,
                share: if sum > 0.0 { rate / sum } else { 0.0 },
            })
            .collect();
        let (new_events, seen) = self.log.since(self.events_seen);
        self.events_seen = seen;
        Ok(View {
            listen: self.listen,
            admin: self.admin,
            endpoints,
            requests: self.counts.requests(),
            failed: self.counts.failed(),
            retries: sum_of("pointsman_pool_retries_total", &metrics),
            new_events,
            last_events: self.log.since(seen.saturating_sub(EVENTS)).0,
        })
    }

    /// Requests per second of each endpoint, over the window.
    fn rates(&mut self, now: Instant, requests: Vec<u64>) -> Vec<f64> {
        // The oldest one stays until the next one is old enough.
        while self
            .samples
            .get(1)
            .is_some_and(|(time, _)| now - *time >= WINDOW)
        {
            self.samples.pop_front();
        }
        self.samples.push_back((now, requests));
        let (time, before) = &self.samples[0];
        let (_, requests) = &self.samples[self.samples.len() - 1];
        let seconds = (now - *time).as_secs_f64();
        let pairs = requests.iter().zip(before);
        pairs
            .map(|(now, before)| match seconds {
                0.0 => 0.0,
                seconds => (now - before) as f64 / seconds,
            })
            .collect()
    }
}

/// The sum of a counter over all its labels, on a page of metrics.
fn sum_of(counter: &str, metrics: &str) -> u64 {
    let samples = metrics.lines().filter_map(|line| {
        let rest = line.strip_prefix(counter)?;
        let (_, value) = rest.rsplit_once(' ').filter(|_| rest.starts_with('{'))?;
        value.parse::<u64>().ok()
    });
    samples.sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_those_of_the_window() {
        let nowhere = SocketAddr::from(([127, 0, 0, 1], 1));
        let counts = Arc::default();
        let log = EventLog::default();
        let mut viewer = Viewer::new(nowhere, nowhere, Arc::new([]), counts, log);
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        assert_eq!(viewer.rates(at(0), vec![0, 0]), [0.0, 0.0]);
        assert_eq!(viewer.rates(at(500), vec![10, 0]), [20.0, 0.0]);
        // Ten seconds without a request later, what was before is forgotten.
        viewer.rates(at(10_500), vec![10, 0]);
        assert_eq!(viewer.rates(at(12_500), vec![10, 40]), [0.0, 20.0]);
        assert_eq!(viewer.samples.len(), 2);
    }

    #[test]
    fn a_counter_is_summed_over_its_labels() {
        let metrics = "# TYPE retries_total counter\n\
                       retries_total{pool=\"a\"} 2\n\
                       retries_total{pool=\"b c\"} 3\n\
                       retries_total_of_others{pool=\"a\"} 50\n";
        assert_eq!(sum_of("retries_total", metrics), 5);
    }
}
