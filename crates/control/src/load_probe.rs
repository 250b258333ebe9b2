//! The probe tier of `adaptive`: endpoints are asked for their load while requests come.
//!
//! The more requests, the more probes, up to one at a time for each endpoint; without requests
//! none. Whom to ask is drawn at random, so that no endpoint is known better than another.
//!
//! Source: Wydrowski, Kleinberg, Rumble, Archer, "Load is Not What You Should Balance:
//! Introducing Prequal", NSDI 2024.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};

use balance::{
    AdminState, Availability, LoadProbeSettings, LoadReport, Pool, load_report, parse_load_body,
};
use message::{FieldName, ResponseHead};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, timeout};

use crate::connection::{Problem, connect};
use crate::http::{self, Http};
use crate::transport::{Transport, Way};

/// Probes the endpoints of those pools that want it.
pub(crate) async fn watch(pools: &[Arc<Pool>], transports: &[Transport]) -> Infallible {
    let pools = pools.iter().zip(transports);
    let rounds = pools.filter_map(|(pool, transport)| Round::new(pool, transport));
    let mut rounds: Vec<Round> = rounds.collect();
    if rounds.is_empty() {
        return std::future::pending().await;
    }
    let mut random = fastrand::Rng::new();
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut probes = JoinSet::new();
    loop {
        tokio::select! {
            _ = ticks.tick() => {
                let now = Instant::now();
                for (index, round) in rounds.iter_mut().enumerate() {
                    let room = PROBES_MAX - probes.len();
                    for endpoint in round.due(room, now, &mut random) {
                        let probe = round.begin(endpoint, now);
                        probes.spawn(async move { (index, endpoint, probe.await) });
                    }
                }
            }
            // A probe that panicked leaves its endpoint busy until that is over by itself.
            Some(Ok((round, endpoint, outcome))) = probes.join_next() => {
                rounds[round].finish(endpoint, outcome);
            }
        }
    }
}

/// A pool whose endpoints are probed.
struct Round {
    pool: Arc<Pool>,
    transport: Transport,
    settings: LoadProbeSettings,
    /// Requests that have been counted.
    picks: u64,
    /// Probes that may begin.
    credit: f64,
    /// By endpoint.
    slots: Vec<Slot>,
}

/// The probes of one endpoint, one after the other.
#[derive(Default)]
struct Slot {
    busy_until: Option<Instant>,
    /// Kept from probe to probe.
    kept: Option<Http>,
}

/// What came of a probe: the connection if it can be used again, and the report if there is one.
type Outcome = Option<(Option<Http>, Option<LoadReport>)>;

impl Round {
    /// `None` for a pool without probes.
    fn new(pool: &Arc<Pool>, transport: &Transport) -> Option<Self> {
        let settings = pool.settings.policy.load_probe.clone()?;
        Some(Self {
            transport: transport.clone(),
            settings,
            picks: 0,
            credit: 0.0,
            slots: pool.endpoints.iter().map(|_| Slot::default()).collect(),
            pool: Arc::clone(pool),
        })
    }

    /// The endpoints to probe now, at most `room`.
    fn due(&mut self, room: usize, now: Instant, random: &mut fastrand::Rng) -> Vec<usize> {
        let picks = self.pool.picks();
        let requests = (picks - self.picks) as f64;
        self.picks = picks;
        // More than one for each endpoint would only be asked later, for requests long gone.
        let credit_max = self.slots.len() as f64;
        self.credit = (self.credit + requests * self.settings.per_request).min(credit_max);
        if self.credit < 1.0 {
            return Vec::new();
        }
        let idle = (0..self.slots.len()).filter(|&index| self.may_probe(index, now));
        let due = random.choose_multiple(idle, room.min(self.credit as usize));
        self.credit -= due.len() as f64;
        due
    }

    /// True for an endpoint that may get requests and is not being probed.
    fn may_probe(&self, index: usize, now: Instant) -> bool {
        let endpoint = &self.pool.endpoints[index];
        let is_idle = self.slots[index]
            .busy_until
            .is_none_or(|until| until <= now);
        is_idle
            && endpoint.availability() != Availability::Down
            && endpoint.admin_state() == AdminState::Ready
    }

    fn begin(&mut self, index: usize, now: Instant) -> impl Future<Output = Outcome> + use<> {
        let slot = &mut self.slots[index];
        slot.busy_until = Some(now + self.settings.timeout + LOST_AFTER);
        let kept = slot.kept.take();
        let way = Way::new(&self.pool.endpoints[index], None, &self.transport);
        let LoadProbeSettings {
            path,
            timeout: patience,
            ..
        } = self.settings.clone();
        async move {
            let head = http::get(&path, None, &way.address, "load-probe");
            let asking = async {
                // An endpoint may close what it keeps at any time: that is no news.
                if let Some(kept) = kept
                    && let Ok(answer) = ask(kept, head.clone()).await
                {
                    return Ok(answer);
                }
                ask(Http::new(connect(&way).await?), head).await
            };
            timeout(patience, asking).await.ok()?.ok()
        }
    }

    fn finish(&mut self, index: usize, outcome: Outcome) {
        let slot = &mut self.slots[index];
        slot.busy_until = None;
        let Some((kept, report)) = outcome else {
            return;
        };
        slot.kept = kept;
        if let Some(report) = report {
            self.pool.report_load(index, &report, VALID, Instant::now());
        }
    }
}

async fn ask(
    mut http: Http,
    question: String,
) -> Result<(Option<Http>, Option<LoadReport>), Problem> {
    http.ask(question).await?;
    let head = http.head().await?;
    let (body, is_whole) = http.body(&head, BODY_BYTES_MAX).await?;
    let is_kept = is_whole && http.is_kept(&head);
    Ok((is_kept.then_some(http), read(&head, &body)))
}

/// The report in an answer: in its fields, else in its body.
fn read(head: &ResponseHead, body: &[u8]) -> Option<LoadReport> {
    if !(200..300).contains(&head.status.code()) {
        return None;
    }
    let in_fields = load_report(
        head.field(FieldName::EndpointLoadMetrics),
        head.field(FieldName::XRif),
        head.field(FieldName::XLatencyUs),
    );
    in_fields.or_else(|| parse_load_body(body))
}

/// How often the requests are counted. Shorter, and it would be work for a machine that idles.
const TICK: Duration = Duration::from_millis(10);

/// A report is good for so long: the probe age limit of the paper.
const VALID: Duration = Duration::from_secs(1);

/// Probes at once, over all pools: this thread has other work.
const PROBES_MAX: usize = 64;

/// A report is short.
const BODY_BYTES_MAX: usize = 4 * 1024;

/// A probe that has not ended this long after its timeout never will (its task died).
const LOST_AFTER: Duration = Duration::from_secs(1);
