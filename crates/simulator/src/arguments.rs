//! The command line.

use crate::contest::{Contestant, Plan, SETUPS};
use crate::machine::Discipline;
use crate::scenario::SCENARIOS;

/// What is asked for; `None`: help.
pub(crate) fn parse(arguments: &[String]) -> Result<Option<Plan>, String> {
    let (mut scenarios, mut policies, mut setups) = (Vec::new(), Vec::new(), Vec::new());
    let mut plan = Plan {
        scenarios: Vec::new(),
        setups: Vec::new(),
        contestants: Vec::new(),
        discipline: Discipline::Fcfs,
        requests: 250_000,
        seeds: 4,
        is_for_docs: false,
    };
    let mut rest = arguments.iter();
    while let Some(option) = rest.next() {
        if ["--help", "-h"].contains(&option.as_str()) {
            return Ok(None);
        }
        let mut value = || rest.next().ok_or(format!("{option} needs a value"));
        match option.as_str() {
            "--write" => plan.is_for_docs = true,
            "--scenario" => scenarios.extend(names(value()?)),
            "--policy" => policies.extend(names(value()?)),
            "--setup" => setups.extend(names(value()?)),
            "--requests" => plan.requests = number(option, value()?)? as usize,
            "--seeds" => plan.seeds = number(option, value()?)?,
            "--endpoints-model" => {
                plan.discipline = match value()?.as_str() {
                    "fcfs" => Discipline::Fcfs,
                    "ps" => Discipline::Ps,
                    other => return Err(format!("no such model: {other}")),
                }
            }
            _ => return Err(format!("no such option: {option}")),
        }
    }
    plan.scenarios = choose(&scenarios, SCENARIOS.iter(), |scenario| scenario.name)?;
    plan.setups = choose(&setups, SETUPS.iter(), |setup| setup.name)?;
    plan.contestants = choose(&policies, Contestant::all(), Contestant::name)?;
    if policies.is_empty() {
        plan.contestants.retain(Contestant::is_compared);
    }
    if plan.is_for_docs && arguments.len() > 1 {
        return Err("--write is for all there is, and stands alone".to_owned());
    }
    Ok(Some(plan))
}

fn names(list: &str) -> impl Iterator<Item = String> {
    list.split(',').map(str::to_owned)
}

fn number(option: &str, value: &str) -> Result<u64, String> {
    match value.parse() {
        Ok(number) if number > 0 => Ok(number),
        _ => Err(format!("{option} needs a number: {value}")),
    }
}

/// Those of `all` that are named, in the order of the table; all of them if none is.
fn choose<T>(
    wanted: &[String],
    all: impl Iterator<Item = T>,
    name: impl Fn(&T) -> &'static str,
) -> Result<Vec<T>, String> {
    let all: Vec<T> = all.collect();
    if let Some(unknown) = wanted
        .iter()
        .find(|wanted| !all.iter().any(|item| name(item) == **wanted))
    {
        let known: Vec<_> = all.iter().map(name).collect();
        return Err(format!("{unknown} is none of {}", known.join(", ")));
    }
    let is_wanted = |item: &T| wanted.is_empty() || wanted.iter().any(|name_| name_ == name(item));
    Ok(all.into_iter().filter(is_wanted).collect())
}

/// Names and options.
pub(crate) fn help() -> String {
    let mut help = HELP.to_owned();
    let mut list = |title: &str, rows: Vec<(&str, &str)>| {
        help.push_str(&format!("\n{title}:\n"));
        for (name, summary) in rows {
            help.push_str(&format!("  {name:<18} {summary}\n"));
        }
    };
    let rows = SCENARIOS.iter().map(|row| (row.name, row.summary));
    list("Scenarios", rows.collect());
    let rows = Contestant::all().map(|row| (row.name(), row.summary()));
    list("Policies", rows.collect());
    let rows = SETUPS.iter().map(|row| (row.name, row.summary));
    list("Setups", rows.collect());
    help
}

const HELP: &str = "\
cargo xtask simulate [OPTIONS]

Runs the balancing policies against modelled endpoints in virtual time.

  --scenario NAMES            only these, separated by commas
  --policy NAMES              only these
  --setup NAMES               only these
  --requests N                in each run (250000)
  --seeds N                   runs of each, put together (4)
  --endpoints-model MODEL     fcfs: a request a slot, the others wait in line; ps: all at once,
                              slower (fcfs)
  --write                     the tables and the picture go to docs/simulation.*
";
