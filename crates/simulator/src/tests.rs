//! The model against theory, and whole contests.

use fastrand::Rng;

use crate::arguments;
use crate::contest::{Contest, Plan, hold};
use crate::machine::{Discipline, Machine, NEVER};
use crate::report;
use crate::run::run;
use crate::scenario::{Arrivals, DEADLINE, SCENARIOS, WORK_MEAN, Work, exponential};

fn plan(options: &str) -> Plan {
    let options: Vec<String> = options.split(' ').map(str::to_owned).collect();
    arguments::parse(&options).expect("known").expect("a plan")
}

/// Mean time from arrival to the end at one machine, in units of the mean work.
fn time_mean(discipline: Discipline, slots: usize, load: f64) -> f64 {
    let mut machine = Machine::new(discipline, slots, 1.0);
    let mut random = Rng::with_seed(3);
    let gap_mean = WORK_MEAN / (load * slots as f64);
    let mut arrived = Vec::new();
    let (mut arrives_at, mut sum) = (0, 0.0);
    const REQUESTS: usize = 400_000;
    loop {
        let done_at = machine.next_done();
        if arrived.len() < REQUESTS && arrives_at < done_at {
            let work = exponential(WORK_MEAN, &mut random);
            machine.accept(arrived.len() as u64, work, arrives_at);
            arrived.push(arrives_at);
            arrives_at += exponential(gap_mean, &mut random) as u64;
        } else if done_at < NEVER {
            let id = machine.finish(done_at);
            sum += (done_at - arrived[id as usize]) as f64;
        } else {
            return sum / REQUESTS as f64 / WORK_MEAN;
        }
    }
}

/// Mean time in an M/M/k queue, in units of the mean work: Erlang's C.
fn erlang(slots: usize, load: f64) -> f64 {
    let offered = slots as f64 * load;
    let mut term = 1.0;
    let mut sum = 0.0;
    for busy in 1..=slots {
        sum += term;
        term *= offered / busy as f64;
    }
    let all_busy = term / (1.0 - load);
    let waits = all_busy / (sum + all_busy);
    1.0 + waits / (slots as f64 * (1.0 - load))
}

fn assert_near(found: f64, expected: f64, what: &str) {
    let off = (found / expected - 1.0).abs();
    assert!(off < 0.03, "{what}: {found}, theory says {expected}");
}

#[test]
fn a_queue_takes_as_long_as_theory_says() {
    assert_near(1.0 / (1.0 - 0.7), erlang(1, 0.7), "Erlang's C for one slot");
    for (slots, load) in [(1, 0.5), (1, 0.8), (4, 0.7), (16, 0.9)] {
        let found = time_mean(Discipline::Fcfs, slots, load);
        let what = format!("{slots} slots at {load}");
        assert_near(found, erlang(slots, load), &what);
    }
}

/// For exponential work the number of requests is the same process as in the queue.
#[test]
fn processor_sharing_takes_as_long_as_theory_says() {
    for (slots, load) in [(1, 0.7), (4, 0.8)] {
        let found = time_mean(Discipline::Ps, slots, load);
        let what = format!("{slots} slots at {load}");
        assert_near(found, erlang(slots, load), &what);
    }
}

/// Requests dealt at random are Poisson processes, so each endpoint is a queue by itself.
#[test]
fn a_whole_run_has_the_quantiles_of_theory() {
    let (slots, load) = (4, 0.7);
    let plan = plan("--scenario even-0.7 --policy random --setup 1x1 --requests 100000 --seeds 1");
    let result = hold(&plan)[0].results[0].1;
    // The time is work, and with the probability of a wait that too, which is exponential.
    let rate = slots as f64 * (1.0 - load);
    let waits = (erlang(slots, load) - 1.0) * rate;
    let longer = |time: f64| {
        let waited = (rate * (-time).exp() - (-rate * time).exp()) / (rate - 1.0);
        (1.0 - waits) * (-time).exp() + waits * waited
    };
    let unit = WORK_MEAN / 1e6;
    assert_near(longer(result.p50 / unit), 0.5, "p50");
    let beyond_p99 = longer(result.p99 / unit);
    assert!((0.0085..0.0115).contains(&beyond_p99), "{beyond_p99}");
}

#[test]
fn heavy_tailed_work_has_the_same_mean_and_a_tail() {
    let mut random = Rng::with_seed(1);
    let works: Vec<f64> = (0..500_000)
        .map(|_| Work::HeavyTailed.draw(&mut random))
        .collect();
    let sum: f64 = works.iter().sum();
    assert_near(sum / 5e5, WORK_MEAN, "mean");
    let large: f64 = works.iter().filter(|work| **work > 10.0 * WORK_MEAN).sum();
    let part = large / sum;
    assert!(
        part > 0.15,
        "{part} of the work is in requests of ten times the mean"
    );
}

#[test]
fn the_same_seeds_give_the_same_table() {
    let plan = plan("--scenario antagonist,cold --setup 1x4,3x1+reports --requests 5000 --seeds 2");
    let table = || report::results(&hold(&plan));
    assert_eq!(table(), table());
    let mut other = plan.clone();
    other.seeds = 1;
    assert_ne!(report::results(&hold(&other)), table());
}

/// p99 of every policy in scenarios where they differ.
fn contests() -> Vec<Contest> {
    hold(&plan(
        "--scenario even-0.9,half-slow,one-slow,antagonist,sinkhole --setup 1x1,3x1 \
         --requests 20000 --seeds 1",
    ))
}

#[test]
fn nobody_beats_the_oracle_and_slow_endpoints_fool_who_does_not_look() {
    for contest in contests() {
        let oracle = contest.result("oracle").expect("it ran").p99;
        for (who, result) in &contest.results {
            let (name, scenario) = (who.name(), contest.scenario.name);
            assert!(
                oracle < result.p99 * 1.03,
                "{name} beats the oracle in {scenario}"
            );
        }
        let blind = contest.result("round_robin").expect("it ran");
        let seeing = contest.result("leastconn").expect("it ran");
        match contest.scenario.name {
            "sinkhole" => assert!(seeing.failed > 0.2 && (0.11..0.14).contains(&blind.failed)),
            _ => assert!(blind.p99 > 1.2 * seeing.p99),
        }
    }
}

#[test]
fn who_waits_too_long_gives_up() {
    let even = SCENARIOS
        .iter()
        .find(|scenario| scenario.name == "even-0.7");
    let mut scenario = *even.expect("it is a row");
    scenario.arrivals = Arrivals::OfCapacity(4.0);
    let plan = plan("--policy leastconn --setup 1x1");
    let (setup, contestant) = (plan.setups[0], &plan.contestants[0]);
    for discipline in [Discipline::Fcfs, Discipline::Ps] {
        let result = run(&scenario, setup, contestant, discipline, 40_000, 1).summary();
        assert!(
            result.deadlines > 5_000,
            "{discipline:?}: {}",
            result.deadlines
        );
        assert_eq!(result.p99, DEADLINE as f64 / 1e6);
    }
}

#[test]
fn wrong_options_are_refused_with_what_there_is() {
    for (options, message) in [
        ("--policy nothing", "nothing is none of "),
        ("--seeds 0", "--seeds needs a number: 0"),
        ("--seeds", "--seeds needs a value"),
        ("--fast", "no such option: --fast"),
        ("--endpoints-model lifo", "no such model: lifo"),
    ] {
        let options: Vec<String> = options.split(' ').map(str::to_owned).collect();
        let error = arguments::parse(&options).err().expect("refused");
        assert!(error.starts_with(message), "{error}");
    }
}
