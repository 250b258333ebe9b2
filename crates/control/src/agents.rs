//! Agents: who is asked, and what comes of the answers.
//!
//! Agents equal in the way to them and in settings are one, asked once for all endpoints that it
//! stands beside. One that does not answer changes nothing: what it said last stays, but its reports
//! of load get too old.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Instant;

use balance::{AdminState, AgentSettings, AgentWeight, AgentWords, Pool, ProbeFailure};
use observe::{Event, Events};
use tokio::task::JoinSet;
use tokio::time::sleep_until;

use crate::agent::{Said, ask};
use crate::connection::Problem;
use crate::health_board::Place;
use crate::schedule::Schedule;
use crate::transport::{Transport, Way};
use crate::view::View;

/// All agents of all pools.
pub(crate) struct Agents {
    pools: Vec<Arc<Pool>>,
    agents: Vec<Agent>,
    events: Events,
}

/// What is asked: by one way and in one form.
struct Agent {
    way: Way,
    settings: AgentSettings,
    members: Vec<Place>,
    wishes: Wishes,
    /// Why it did not answer the last time; `None` if it did.
    failure: Option<ProbeFailure>,
}

/// What an agent wants of its endpoints.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Wishes {
    admin_state: AdminState,
    weight: AgentWeight,
    /// `None`: as configured.
    max_requests: Option<u32>,
}

impl Agents {
    pub(crate) fn new(pools: &[Arc<Pool>], transports: &[Transport], events: Events) -> Self {
        let mut agents: Vec<Agent> = Vec::new();
        let mut known = HashMap::new();
        for (pool_index, (pool, transport)) in pools.iter().zip(transports).enumerate() {
            let Some(settings) = &pool.settings.agent else {
                continue;
            };
            for (endpoint_index, endpoint) in pool.endpoints.iter().enumerate() {
                let way = Way::new(endpoint, settings.port, transport);
                let key = (way.clone(), settings.clone());
                let agent = *known.entry(key).or_insert_with(|| {
                    agents.push(Agent::new(way, settings.clone()));
                    agents.len() - 1
                });
                agents[agent].members.push(Place {
                    pool: pool_index,
                    endpoint: endpoint_index,
                });
            }
        }
        Self {
            pools: pools.to_vec(),
            agents,
            events,
        }
    }

    /// Asks each agent at its interval and does what it says.
    pub(crate) async fn watch(mut self, view: &View) -> Infallible {
        let mut random = fastrand::Rng::new();
        let timeouts = self.agents.iter().map(|agent| agent.settings.timeout);
        let mut schedule = Schedule::new(timeouts, Instant::now());
        let mut questions = JoinSet::new();
        loop {
            let now = Instant::now();
            while questions.len() < QUESTIONS_MAX
                && let Some(agent) = schedule.begin_due(now)
            {
                questions.spawn(self.question(agent));
            }
            // At the limit it is the end of a question that lets the next one begin.
            let next = if questions.len() < QUESTIONS_MAX {
                schedule.deadline()
            } else {
                None
            };
            tokio::select! {
                Some(Ok((agent, answer))) = questions.join_next() => {
                    let now = Instant::now();
                    self.receive(agent, answer, view, now);
                    let interval = self.agents[agent].settings.interval;
                    schedule.finish(agent, interval, now, &mut random);
                }
                () = sleep_until_some(next) => {}
            }
        }
    }

    fn question(
        &self,
        index: usize,
    ) -> impl Future<Output = (usize, Result<Said, Problem>)> + use<> {
        let Agent { way, settings, .. } = &self.agents[index];
        let (way, settings) = (way.clone(), settings.clone());
        async move { (index, ask(&way, &settings).await) }
    }

    fn receive(&mut self, index: usize, answer: Result<Said, Problem>, view: &View, now: Instant) {
        let agent = &mut self.agents[index];
        let failure = match answer {
            Ok(_) => None,
            Err(Problem::Endpoint(failure)) => Some(failure),
            Err(Problem::Ours) => return,
        };
        let before = std::mem::replace(&mut agent.failure, failure);
        if before.is_some() != failure.is_some() {
            self.tell(index, "answer", [before, failure].map(answer_text));
        }
        match answer {
            Ok(Said::Words(words)) => self.obey(index, &words, view, now),
            Ok(Said::Load(report)) => {
                let agent = &self.agents[index];
                let valid = agent.settings.interval * VALID_INTERVALS;
                for place in &agent.members {
                    self.pools[place.pool].report_load(place.endpoint, &report, valid, now);
                }
            }
            Err(_) => {}
        }
    }

    fn obey(&mut self, index: usize, words: &AgentWords, view: &View, now: Instant) {
        let agent = &mut self.agents[index];
        let before = agent.wishes;
        agent.wishes.take(words);
        let after = agent.wishes;
        let agent = &self.agents[index];
        for &Place { pool, endpoint } in &agent.members {
            let pool = &self.pools[pool];
            if after.weight != before.weight {
                let configured = pool.endpoints[endpoint].weight;
                pool.set_weight_percent(endpoint, after.weight.percent_of(configured));
            }
            if after.max_requests != before.max_requests {
                pool.set_max_requests(endpoint, after.max_requests);
            }
        }
        let mut board = view.board();
        for &place in &agent.members {
            board.want(place, after.admin_state, now);
            if let Some(is_up) = words.is_up {
                board.agent_said(place, is_up, now);
            }
        }
        drop(board);
        type Text = fn(Wishes) -> String;
        let texts: [(&str, Text); 3] = [
            ("admin_state", |wishes| wishes.admin_state.as_str().into()),
            ("weight", |wishes| weight_text(wishes.weight)),
            ("max_requests", |wishes| max_text(wishes.max_requests)),
        ];
        for (what, text) in texts {
            self.tell(index, what, [before, after].map(text));
        }
    }

    /// Emits an event for each endpoint of the agent, if there is a change.
    fn tell(&self, index: usize, what: &'static str, [from, to]: [String; 2]) {
        if from == to {
            return;
        }
        for place in &self.agents[index].members {
            let pool = &self.pools[place.pool];
            self.events.emit(&Event::EndpointAgent {
                pool: pool.settings.name.to_string(),
                endpoint: pool.endpoints[place.endpoint].name.to_string(),
                what,
                from: from.clone(),
                to: to.clone(),
            });
        }
    }
}

impl Agent {
    fn new(way: Way, settings: AgentSettings) -> Self {
        Self {
            way,
            settings,
            members: Vec::new(),
            wishes: Wishes {
                admin_state: AdminState::Ready,
                weight: AgentWeight::Percent(100),
                max_requests: None,
            },
            failure: None,
        }
    }
}

impl Wishes {
    fn take(&mut self, words: &AgentWords) {
        self.admin_state = words.admin_state.unwrap_or(self.admin_state);
        self.weight = words.weight.unwrap_or(self.weight);
        self.max_requests = match words.max_requests {
            Some(0) => None,
            Some(max) => Some(max),
            None => self.max_requests,
        };
    }
}

async fn sleep_until_some(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline.into()).await,
        None => std::future::pending().await,
    }
}

fn answer_text(failure: Option<ProbeFailure>) -> String {
    failure.map_or_else(|| "ok".to_owned(), |failure| failure.to_string())
}

fn weight_text(weight: AgentWeight) -> String {
    match weight {
        AgentWeight::Percent(percent) => format!("{percent}%"),
        AgentWeight::Weight(weight) => weight.to_string(),
    }
}

fn max_text(max: Option<u32>) -> String {
    max.map_or_else(|| "as configured".to_owned(), |max| max.to_string())
}

/// Questions at once. The limit is that of probes, for the same reason.
const QUESTIONS_MAX: usize = 256;

/// A report of load is good for so many intervals: one answer may be lost, or two.
const VALID_INTERVALS: u32 = 3;
