//! Agents that say how busy an endpoint is, and what is wanted of it.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use balance::{
    AdminState, AgentKind, AgentSettings, Availability, CheckKind, HashKey, LoadWord, Pool,
    PoolSettings, StickyBy, StickySettings,
};
use serde_json::Value;
use testkit::{Endpoint, Reply, Script, Step, poll_until};

use crate::exposition;
use crate::setup::{LIMIT, Setup, http, pool_with};

const INTERVAL: Duration = Duration::from_millis(60);

/// An agent that says `words` to whoever connects, until it is told to say something else.
struct TcpAgent {
    words: Arc<Mutex<String>>,
    endpoint: Endpoint,
}

impl TcpAgent {
    fn start(words: &str) -> Self {
        let words = Arc::new(Mutex::new(words.to_owned()));
        let said = Arc::clone(&words);
        let steps = move |_| {
            vec![
                Step::Send(said.lock().expect("no holder panics").clone().into()),
                Step::Close,
            ]
        };
        let script = Script::new(|_| Reply::hang()).on_connect(steps);
        let endpoint = Endpoint::with_script(script);
        Self { words, endpoint }
    }

    fn say(&self, words: &str) {
        words.clone_into(&mut self.words.lock().expect("no holder panics"));
    }

    fn pool(&self, name: &str, check: CheckKind, endpoint: &Endpoint) -> Arc<Pool> {
        self.pool_with(name, check, endpoint, |_| {})
    }

    fn pool_with(
        &self,
        name: &str,
        check: CheckKind,
        endpoint: &Endpoint,
        adapt: impl FnOnce(&mut PoolSettings),
    ) -> Arc<Pool> {
        let kind = AgentKind::Tcp { send: [].into() };
        pool_with(name, check, &[endpoint.address()], |settings| {
            settings.agent = Some(agent(kind, self.endpoint.address()));
            adapt(settings);
        })
    }
}

fn agent(kind: AgentKind, address: SocketAddr) -> AgentSettings {
    AgentSettings {
        kind,
        port: Some(address.port()),
        interval: INTERVAL,
        timeout: Duration::from_secs(1),
    }
}

#[test]
fn an_agent_drains_its_endpoint_and_makes_it_ready_again() {
    let endpoint = Endpoint::start(|_| Reply::ok(""));
    let agent = TcpAgent::start("ready\n");
    let setup = Setup::start(vec![agent.pool("app", CheckKind::Off, &endpoint)]);
    let state = || setup.pools[0].endpoints[0].admin_state();
    for (word, awaited) in [
        ("drain", AdminState::Drain),
        ("maint", AdminState::Maintenance),
        ("up 100%", AdminState::Maintenance),
        ("ready", AdminState::Ready),
    ] {
        agent.say(&format!("{word}\n"));
        let asked = agent.endpoint.connection_count() + 2;
        poll_until(word, LIMIT, || agent.endpoint.connection_count() >= asked);
        poll_until(word, LIMIT, || state() == awaited);
    }
    let told: Vec<_> = setup.events();
    let changes = ["ready → drain", "drain → maint", "maint → ready"];
    let name = format!("endpoint app/{}", endpoint.address());
    let expected = changes.map(|change| format!("{name} {change}: admin state by its agent"));
    assert_eq!(told, expected, "each change is told once");
}

#[test]
fn an_endpoint_that_drains_says_what_is_left_and_is_then_in_maintenance() {
    let endpoint = Endpoint::start(|_| Reply::ok(""));
    let agent = TcpAgent::start("ready\n");
    let pool = agent.pool_with("app", CheckKind::Off, &endpoint, |settings| {
        settings.sticky = Some(StickySettings::by(StickyBy::Key(HashKey::ClientIp)));
        settings.drain = Duration::from_secs(3);
    });
    pool.learn_session(7, 0, Instant::now());
    let setup = Setup::start(vec![Arc::clone(&pool)]);
    let status = || -> Value {
        let status: Value = serde_json::from_str(&setup.get("/status").text()).unwrap();
        status["pools"][0]["endpoints"][0].clone()
    };
    agent.say("drain\n");
    poll_until("draining", LIMIT, || status()["admin_state"] == "drain");
    let left = status()["drain_seconds_left"].as_f64().expect("it drains");
    assert!((0.0..=3.0).contains(&left), "{left}");
    assert_eq!(status()["sessions"], 1);
    let page = exposition::parse(&setup.get("/metrics").text());
    assert!(page.value("pointsman_endpoint_drain_left_seconds", &[]) <= left);

    // All the while its agent says the same.
    setup.await_event("drain → maint: time is over (1 session cut)");
    assert_eq!(status()["admin_state"], "maint");
    assert!(status().get("drain_seconds_left").is_none());
    let page = exposition::parse(&setup.get("/metrics").text());
    assert_eq!(
        page.value("pointsman_endpoint_sessions_cut_total", &[]),
        1.0
    );
    let asked = agent.endpoint.connection_count() + 2;
    poll_until("asked", LIMIT, || {
        agent.endpoint.connection_count() >= asked
    });
    assert_eq!(pool.endpoints[0].admin_state(), AdminState::Maintenance);
    agent.say("ready\n");
    poll_until("ready", LIMIT, || status()["admin_state"] == "ready");
}

#[test]
fn an_agent_sets_weight_and_bound_and_may_take_them_back() {
    let endpoint = Endpoint::start(|_| Reply::ok(""));
    let agent = TcpAgent::start("50% maxconn:7\n");
    let setup = Setup::start(vec![agent.pool("app", CheckKind::Off, &endpoint)]);
    let pool = &setup.pools[0];
    let weight = || pool.weight(0, Instant::now());
    let bound = || pool.endpoints[0].in_flight_max();
    poll_until("half the weight", LIMIT, || weight() == 0.5);
    poll_until("a bound of 7", LIMIT, || bound() == Some(7));
    agent.say("weight:2, maxconn:0 # as you like\n");
    poll_until("twice the weight", LIMIT, || weight() == 2.0);
    poll_until("the configured bound", LIMIT, || bound() == Some(100));
    setup.await_event("100% → 50%: weight by its agent");
    setup.await_event("50% → 2: weight by its agent");
    setup.await_event("as configured → 7: max requests by its agent");
    setup.await_event("7 → as configured: max requests by its agent");
}

#[test]
fn an_agent_takes_its_endpoint_out_and_only_the_agent_brings_it_back() {
    let endpoint = Endpoint::start(|_| Reply::ok(""));
    let agent = TcpAgent::start("up\n");
    let setup = Setup::start(vec![agent.pool("app", http(), &endpoint)]);
    setup.await_availability(0, 0, Availability::Up);
    agent.say("down # the disk is full\n");
    setup.await_event("up → agent_down: agent down (agent says down)");
    assert_eq!(setup.availability(0, 0), Availability::Down);
    let probes = endpoint.request_count() + 3;
    poll_until("good probes", LIMIT, || endpoint.request_count() >= probes);
    assert_eq!(setup.availability(0, 0), Availability::Down);
    agent.say("up\n");
    setup.await_event("agent_down → up: agent up (agent says up)");
    assert_eq!(setup.availability(0, 0), Availability::Up);
}

#[test]
fn an_agent_that_says_up_does_not_outvote_a_failing_check() {
    let endpoint = Endpoint::start(|_| Reply::status(500));
    let agent = TcpAgent::start("up ready 100%\n");
    let setup = Setup::start(vec![agent.pool("app", http(), &endpoint)]);
    setup.await_availability(0, 0, Availability::Down);
    let asked = agent.endpoint.connection_count() + 3;
    poll_until("questions", LIMIT, || {
        agent.endpoint.connection_count() >= asked
    });
    assert_eq!(setup.availability(0, 0), Availability::Down);
}

#[test]
fn an_agent_that_falls_silent_changes_nothing_and_is_told_of_once() {
    let endpoint = Endpoint::start(|_| Reply::ok(""));
    let agent = TcpAgent::start("drain 25%\n");
    let setup = Setup::start(vec![agent.pool("app", CheckKind::Off, &endpoint)]);
    let state = || setup.pools[0].endpoints[0].admin_state();
    poll_until("draining", LIMIT, || state() == AdminState::Drain);
    agent.endpoint.stop_listening();
    setup.await_event("ok → connection refused: answer by its agent");
    assert_eq!(setup.availability(0, 0), Availability::Up);
    assert_eq!(state(), AdminState::Drain);
    agent.endpoint.listen_again();
    setup.await_event("connection refused → ok: answer by its agent");
    let told = |text: &str| {
        setup
            .events()
            .iter()
            .filter(|event| event.contains(text))
            .count()
    };
    assert_eq!(told("answer by its agent"), 2, "{:?}", setup.events());
}

#[test]
fn an_http_agent_makes_an_endpoint_busy_until_it_says_otherwise_or_nothing() {
    let endpoint = Endpoint::start(|_| Reply::ok(""));
    let program = Endpoint::start(|_| Reply::ok("150%\n"));
    let kind = AgentKind::Http {
        path: "/load?of=app".into(),
    };
    let pool = pool_with("app", http(), &[endpoint.address()], |settings| {
        settings.agent = Some(agent(kind, program.address()));
    });
    let setup = Setup::start(vec![pool]);
    let word = || setup.pools[0].load_word(0, Instant::now());
    setup.await_availability(0, 0, Availability::Up);
    poll_until("busy", LIMIT, || word() == LoadWord::Busy);
    assert_eq!(setup.pools[0].utilization(0, Instant::now()), Some(1.5));
    let request = program.requests().remove(0);
    assert_eq!(request.head.word(1), "/load?of=app");
    assert!(
        request
            .head
            .field("user-agent")
            .unwrap()
            .ends_with(" agent-check")
    );

    program.set_script(|_| Reply::ok(r#"{"utilization": 0.5}"#));
    poll_until("normal", LIMIT, || word() == LoadWord::Normal);
    assert_eq!(setup.pools[0].utilization(0, Instant::now()), Some(0.5));

    program.set_script(|_| Reply::ok("2.0"));
    poll_until("busy again", LIMIT, || word() == LoadWord::Busy);
    // A report without a new one is good for three intervals.
    program.set_script(|_| Reply::status(500));
    poll_until("nothing known", LIMIT, || word() == LoadWord::Normal);
    assert_eq!(setup.pools[0].utilization(0, Instant::now()), None);
    assert_eq!(
        setup.availability(0, 0),
        Availability::Up,
        "busy is not down"
    );
    setup.await_event("ok → unexpected status 500: answer by its agent");
}

#[test]
fn one_agent_is_asked_once_for_all_pools_and_obeyed_in_all() {
    let endpoint = Endpoint::start(|_| Reply::ok(""));
    let agent = TcpAgent::start("drain\n");
    let names = ["a", "b", "c"];
    let pools = names.map(|name| agent.pool(name, CheckKind::Off, &endpoint));
    let began = Instant::now();
    let setup = Setup::start(pools.to_vec());
    for pool in &setup.pools {
        let endpoint = &pool.endpoints[0];
        poll_until("draining", LIMIT, || {
            endpoint.admin_state() == AdminState::Drain
        });
    }
    poll_until("some questions", LIMIT, || {
        agent.endpoint.connection_count() >= 9
    });
    // Three would ask three times as often as one may: every 54 ms, and soon after the first.
    let most = 2 + began.elapsed().as_millis() / 54;
    let asked = agent.endpoint.connection_count() as u128;
    assert!(asked <= most, "asked {asked} times where {most} are due");
}
