//! One run: a scenario, a setup, a contestant and a seed, in virtual time.
//!
//! Read [`run`] first. Arrivals, work, changes and picks draw from sources of randomness of their
//! own, so that with one seed every contestant gets the same requests and the same trouble.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use balance::{
    Address, Answer, Availability, Balancer, EndpointSettings, Lease, LoadReport, Pick,
    PolicySettings, Pool, PoolSettings, Tried, Wanted,
};
use fastrand::Rng;

use crate::contest::{Contestant, Setup};
use crate::machine::{Discipline, Machine, NEVER};
use crate::opponent::{Judge, Response, Shared, World};
use crate::outcome::Outcome;
use crate::scenario::{DEADLINE, SECOND, SLOTS, Scenario, Work, exponential};
use crate::trace::{Change, Trace};

/// Sends so many requests, waits until each is done or given up, and tells what came of them.
pub(crate) fn run(
    scenario: &Scenario,
    setup: &Setup,
    contestant: &Contestant,
    discipline: Discipline,
    requests: usize,
    seed: u64,
) -> Outcome {
    let mut run = Run::new(scenario, setup, contestant, discipline, seed);
    let mut arrivals = Arrivals::new(scenario, seed);
    let mut arrivals_left = requests;
    let mut trace = Trace::new(scenario, source(seed, 3));
    while arrivals_left > 0 || !run.flights.is_empty() {
        let arrives_at = if arrivals_left > 0 {
            arrivals.next_at
        } else {
            NEVER
        };
        let done = run.next_done();
        let gives_up_at = run
            .flights
            .front()
            .map_or(NEVER, |flight| flight.deadline());
        let next = arrives_at.min(done.0).min(gives_up_at).min(trace.next_at());
        run.now = next;
        if next == done.0 {
            run.finish(done.1);
        } else if next == trace.next_at() {
            if let Some(change) = trace.next() {
                run.change(change);
            }
        } else if next == gives_up_at {
            run.give_up();
        } else {
            run.arrive(arrivals.take());
            arrivals_left -= 1;
        }
    }
    run.outcome
}

/// Everything that a run moves.
struct Run<'a> {
    setup: &'a Setup,
    now: u64,
    /// Moment 0.
    epoch: Instant,
    machines: Rc<RefCell<Vec<Machine>>>,
    /// When the next request is done, by machine.
    done_at: Vec<u64>,
    processes: Vec<Process>,
    /// Requests in order of arrival. Those at the front that are done are gone.
    flights: VecDeque<Flight>,
    /// The number of the request at the front.
    first: u64,
    random: Rng,
    outcome: Outcome,
}

/// A balancer as a program: some workers around one pool. It knows of the endpoints what it saw.
struct Process {
    pool: Arc<Pool>,
    workers: Vec<Balancer>,
    /// Of opponents that are no policies of ours.
    judge: Option<Rc<RefCell<Box<dyn Judge>>>>,
}

/// A request on its way.
struct Flight {
    arrived: u64,
    work: f64,
    process: usize,
    /// `None` once it is done.
    lease: Option<Lease>,
}

/// When requests come and what they are.
struct Arrivals {
    next_at: u64,
    gap_mean: f64,
    gaps: Rng,
    work: Work,
    works: Rng,
}

impl<'a> Run<'a> {
    fn new(
        scenario: &Scenario,
        setup: &'a Setup,
        contestant: &Contestant,
        discipline: Discipline,
        seed: u64,
    ) -> Self {
        let machine = |index| {
            let discipline = scenario.discipline(index, discipline);
            Machine::new(discipline, SLOTS, scenario.speed(index))
        };
        let world = World {
            machines: Rc::new(RefCell::new((0..scenario.endpoints).map(machine).collect())),
            balancers: setup.balancers,
        };
        // An `Instant` comes from nowhere else. From here on time is counted.
        let epoch = Instant::now();
        let process = |_| Process::new(scenario, setup, contestant, &world, epoch);
        Self {
            setup,
            now: 0,
            epoch,
            done_at: vec![NEVER; scenario.endpoints],
            processes: (0..setup.balancers).map(process).collect(),
            machines: world.machines,
            flights: VecDeque::new(),
            first: 0,
            random: source(seed, 4),
            outcome: Outcome::default(),
        }
    }

    fn instant(&self) -> Instant {
        self.epoch + Duration::from_nanos(self.now)
    }

    /// When the next request is done, and at which machine.
    fn next_done(&self) -> (u64, usize) {
        let mut next = (NEVER, 0);
        for (index, &at) in self.done_at.iter().enumerate() {
            if at < next.0 {
                next = (at, index);
            }
        }
        next
    }

    /// A request comes and goes to an endpoint at once.
    fn arrive(&mut self, work: f64) {
        let process = self.random.usize(..self.processes.len());
        let workers = &mut self.processes[process].workers;
        let worker = self.random.usize(..workers.len());
        let tried = Tried::new();
        let wanted = Wanted::plain(&tried, self.epoch + Duration::from_nanos(self.now));
        let Pick::Endpoint(lease, _) = workers[worker].pick(&wanted, &mut self.random) else {
            unreachable!("endpoints are up and have no bounds");
        };
        let index = lease.index();
        let id = self.first + self.flights.len() as u64;
        let machine = &mut self.machines.borrow_mut()[index];
        machine.accept(id, work, self.now);
        self.done_at[index] = machine.next_done();
        self.outcome.saw_in_flight(machine.count());
        self.flights.push_back(Flight {
            arrived: self.now,
            work,
            process,
            lease: Some(lease),
        });
    }

    /// A request is done at the machine of this index.
    fn finish(&mut self, index: usize) {
        let mut machines = self.machines.borrow_mut();
        let machine = &mut machines[index];
        let id = machine.finish(self.now);
        self.done_at[index] = machine.next_done();
        let is_success = !machine.is_failing();
        let (in_flight, speed) = (machine.count(), machine.speed());
        drop(machines);
        let flight = &mut self.flights[(id - self.first) as usize];
        let latency = self.now - flight.arrived;
        if flight.arrived >= WARM_UP {
            self.outcome.record(latency, is_success);
        }
        let service = Duration::from_nanos((flight.work / speed) as u64);
        self.tell((id - self.first) as usize, is_success, service, in_flight);
        self.forget_done();
    }

    /// The oldest request has waited too long: its client goes away, and the endpoint notices.
    fn give_up(&mut self) {
        let flight = &self.flights[0];
        let index = flight
            .lease
            .as_ref()
            .expect("the front is never done")
            .index();
        if flight.arrived >= WARM_UP {
            self.outcome.record_deadline();
        }
        let mut machines = self.machines.borrow_mut();
        let machine = &mut machines[index];
        machine.abandon(self.first, self.now);
        self.done_at[index] = machine.next_done();
        let in_flight = machine.count();
        drop(machines);
        self.tell(0, false, Duration::from_nanos(DEADLINE), in_flight);
        self.forget_done();
    }

    /// Tells the balancer what came of a request.
    fn tell(&mut self, place: usize, is_success: bool, service: Duration, in_flight: usize) {
        let now = self.instant();
        let flight = &mut self.flights[place];
        let lease = flight.lease.take().expect("it was not done before");
        let latency = Duration::from_nanos(self.now - flight.arrived);
        let process = &self.processes[flight.process];
        match &process.judge {
            Some(judge) => {
                let response = Response {
                    latency,
                    service,
                    queue: in_flight,
                    now: self.now / 1000,
                };
                judge.borrow_mut().learn(lease.index(), &response);
            }
            None => lease.learn(&Answer {
                class: 0,
                latency,
                is_success,
                now,
            }),
        }
        if self.setup.has_reports {
            let report = LoadReport {
                in_flight: Some(in_flight as u32),
                ..LoadReport::default()
            };
            process
                .pool
                .report_load(lease.index(), &report, REPORT_VALID, now);
        }
    }

    fn forget_done(&mut self) {
        while self
            .flights
            .front()
            .is_some_and(|flight| flight.lease.is_none())
        {
            self.flights.pop_front();
            self.first += 1;
        }
    }

    fn change(&mut self, change: Change) {
        let now = self.instant();
        match change {
            Change::Speed(index, speed) => {
                let machine = &mut self.machines.borrow_mut()[index];
                machine.set_speed(speed, self.now);
                self.done_at[index] = machine.next_done();
            }
            Change::Leaves(index) => {
                for process in &self.processes {
                    process.pool.set_availability(index, Availability::Down);
                }
            }
            Change::Joins { index, is_cold } => {
                for process in &self.processes {
                    process.pool.set_availability(index, Availability::Up);
                    if is_cold {
                        process.pool.begin_slow_start(index, now);
                    }
                }
            }
        }
    }
}

impl Process {
    fn new(
        scenario: &Scenario,
        setup: &Setup,
        contestant: &Contestant,
        world: &World,
        epoch: Instant,
    ) -> Self {
        let mut settings = PoolSettings::new("simulated");
        if let Contestant::Row(kind) = contestant {
            settings.policy = PolicySettings::named(kind.name);
        }
        let endpoint = |index: usize| EndpointSettings {
            name: index.to_string().into(),
            // Nobody connects there.
            address: Address::Tcp(([127, 0, 0, 1], index as u16 + 1).into()),
            host: None,
            weight: 1,
            max_requests: None,
            tier: 0,
            zone: None,
        };
        let endpoints = (0..scenario.endpoints).map(endpoint).collect();
        let pool = Arc::new(Pool::new(settings, endpoints, setup.workers, epoch));
        for index in 0..scenario.endpoints {
            pool.set_availability(index, Availability::Up);
        }
        let judge = match contestant {
            Contestant::Row(_) => None,
            Contestant::Opponent(opponent) => Some(Rc::new(RefCell::new((opponent.build)(world)))),
        };
        let worker = |worker| match &judge {
            None => Balancer::new(Arc::clone(&pool), worker),
            Some(judge) => {
                let policy = Box::new(Shared(Rc::clone(judge)));
                Balancer::with_policy(Arc::clone(&pool), worker, policy)
            }
        };
        Self {
            workers: (0..setup.workers).map(worker).collect(),
            judge,
            pool,
        }
    }
}

impl Flight {
    fn deadline(&self) -> u64 {
        self.arrived + DEADLINE
    }
}

impl Arrivals {
    fn new(scenario: &Scenario, seed: u64) -> Self {
        let mut arrivals = Self {
            next_at: 0,
            gap_mean: scenario.gap_mean(),
            gaps: source(seed, 1),
            work: scenario.work,
            works: source(seed, 2),
        };
        arrivals.advance();
        arrivals
    }

    /// The work of the request that comes at `next_at`; goes on to the next one.
    fn take(&mut self) -> f64 {
        self.advance();
        self.work.draw(&mut self.works)
    }

    fn advance(&mut self) {
        self.next_at += exponential(self.gap_mean, &mut self.gaps) as u64;
    }
}

/// One of the sources of randomness of a run. They are told apart by more than one bit, as the
/// generator starts where its seed says.
fn source(seed: u64, number: u64) -> Rng {
    let mut mixed = Rng::with_seed(seed.wrapping_mul(8).wrapping_add(number));
    Rng::with_seed(mixed.u64(..))
}

/// What arrives earlier is not recorded.
const WARM_UP: u64 = SECOND;

/// How long a report of an endpoint is believed.
const REPORT_VALID: Duration = Duration::from_secs(1);
