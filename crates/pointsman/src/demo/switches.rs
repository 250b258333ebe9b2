//! How a person kills, freezes and revives endpoints: keys, and routes of the admin API.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::post;

use super::endpoint::{Endpoint, Mode};
use super::event_log::EventLog;

/// The switches of all endpoints. Clones switch the same ones.
#[derive(Debug, Clone)]
pub(crate) struct Switches {
    endpoints: Arc<[Endpoint]>,
    log: EventLog,
}

impl Switches {
    pub(crate) fn new(endpoints: Arc<[Endpoint]>, log: EventLog) -> Self {
        Self { endpoints, log }
    }

    /// A digit kills or revives the endpoint with that number; `f` freezes or thaws the last one.
    /// Other keys do nothing.
    pub(crate) fn press(&self, key: u8) {
        let (index, freezes) = match key {
            b'1'..=b'9' => (usize::from(key - b'1'), false),
            b'f' => (self.endpoints.len() - 1, true),
            _ => return,
        };
        let Some(endpoint) = self.endpoints.get(index) else {
            return;
        };
        let mode = match (endpoint.mode(), freezes) {
            (Mode::Running, true) => Mode::Frozen,
            (Mode::Running | Mode::Frozen, false) => Mode::Killed,
            (Mode::Frozen | Mode::Killed, _) => Mode::Running,
        };
        self.switch(endpoint, mode);
    }

    /// `POST /demo/endpoints/1/kill`, `…/freeze`, `…/revive`.
    pub(crate) fn router(&self) -> Router {
        Router::new()
            .route("/demo/endpoints/{number}/{verb}", post(by_request))
            .with_state(self.clone())
    }

    fn switch(&self, endpoint: &Endpoint, mode: Mode) {
        endpoint.set_mode(mode);
        self.log
            .note(&format!("you: {} is {}", endpoint.name, mode.as_str()));
    }
}

async fn by_request(
    State(switches): State<Switches>,
    Path((number, verb)): Path<(usize, String)>,
) -> (StatusCode, String) {
    let mode = match verb.as_str() {
        "kill" => Some(Mode::Killed),
        "freeze" => Some(Mode::Frozen),
        "revive" => Some(Mode::Running),
        _ => None,
    };
    let index = number.checked_sub(1);
    let endpoint = index.and_then(|index| switches.endpoints.get(index));
    let (Some(endpoint), Some(mode)) = (endpoint, mode) else {
        let count = switches.endpoints.len();
        let help = format!("there are endpoints 1 to {count}, and kill, freeze and revive\n");
        return (StatusCode::NOT_FOUND, help);
    };
    switches.switch(endpoint, mode);
    let done = format!("{} is {}\n", endpoint.name, mode.as_str());
    (StatusCode::OK, done)
}
