//! Policies against modelled endpoints, in virtual time.
//!
//! `scenario` is what happens, `machine` and `trace` are the endpoints it happens to, `opponent`
//! is what other load balancers do. `run` brings one contestant through one scenario, `contest`
//! all through all. `report` is what came of it in tables, `plot` in a picture; `page` brings both
//! into the docs.
//!
//! The policies are those that are shipped, asked through the same `Balancer` and told through
//! the same `Lease` as in the proxy. Absent on purpose: health checks, retries and hedges, which
//! would hide what a policy does.

mod scenario;

mod machine;
mod trace;

mod opponent;

mod run;

mod outcome;

mod contest;

mod page;
mod plot;
mod report;

mod arguments;

#[cfg(test)]
mod tests;

use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments::parse(&arguments) {
        Ok(Some(plan)) => {
            let contests = contest::hold(&plan);
            print!("{}", report::results(&contests));
            print!("{}", report::verdicts(&contests));
            if plan.is_for_docs
                && let Err(error) = page::write(&plan, &contests)
            {
                eprintln!("simulator: {error}");
                return ExitCode::from(2);
            }
            ExitCode::SUCCESS
        }
        Ok(None) => {
            print!("{}", arguments::help());
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("simulator: {error}");
            ExitCode::from(2)
        }
    }
}
