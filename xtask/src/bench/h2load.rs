//! Requests by HTTP/2, which the traffic program does not speak: from h2load, of nghttp2.

use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, bail};

use crate::process::{self, Program};
use crate::traffic::{Outcome, Plan};

/// What to do about it if it is not there.
pub(super) const MISSING: &str = "h2load is not installed (Debian: apt-get install nghttp2-client)";

pub(super) fn is_installed() -> bool {
    process::find("h2load").is_some()
}

/// Does what `plan` says from `cpu`, with `streams` requests at once on each connection. The
/// handshakes of the connections are measured too, and are too few to matter.
pub(super) fn press(plan: &Plan, streams: usize, cpu: usize) -> Result<Outcome> {
    load(plan, streams, plan.warm_seconds, cpu)?;
    let run_before = process::run_time(&plan.watch);
    let busy_before = process::busy_time(plan.cpu);
    let start = Instant::now();
    let counts = load(plan, streams, plan.seconds, cpu)?;
    let seconds = start.elapsed().as_secs_f64();
    let run_time = process::run_time(&plan.watch).saturating_sub(run_before);
    let busy = process::busy_time(plan.cpu).saturating_sub(busy_before);
    Ok(Outcome {
        requests: counts.right,
        requests_in_all: counts.right,
        wrong: counts.wrong,
        first_wrong: (counts.wrong > 0).then(|| "as h2load counts".to_owned()),
        seconds,
        run_seconds: run_time.as_secs_f64(),
        others_share: busy.saturating_sub(run_time).as_secs_f64() / seconds,
        ..Outcome::default()
    })
}

/// What h2load counted.
#[derive(Debug, PartialEq)]
struct Counts {
    right: u64,
    wrong: u64,
}

fn load(plan: &Plan, streams: usize, seconds: f64, cpu: usize) -> Result<Counts> {
    let mut command = Command::new(process::find("h2load").context(MISSING)?);
    command
        .args(["-t", "1", "-c", &plan.connections.to_string()])
        .args(["-m", &streams.to_string()])
        .args(["-D", &format!("{}ms", (seconds * 1000.0) as u64)])
        // As the traffic program: what every load balancer has.
        .args(["--tls13-ciphers", "TLS_AES_128_GCM_SHA256"])
        .args(["--groups", "X25519"])
        .arg(format!("https://{}{}", plan.target, plan.path))
        .stdin(Stdio::null())
        .stdout(Stdio::piped());
    let mut program = Program::start(command, Some(cpu))?;
    let output = program.child().stdout.take().context("it is a pipe")?;
    let text = std::io::read_to_string(output)?;
    let counts = Counts::read(&text, plan.answer_bytes);
    match counts {
        Some(counts) if text.contains("Application protocol: h2\n") => Ok(counts),
        _ => bail!("h2load says: {text}"),
    }
}

impl Counts {
    /// Reads the counts of requests, and checks that so many answers of so many bytes have come.
    fn read(text: &str, answer_bytes: u64) -> Option<Self> {
        let line = |start: &str| text.lines().find_map(|line| line.strip_prefix(start));
        let requests = line("requests: ")?;
        let count = |what: &str| -> Option<u64> {
            let part = requests
                .split(", ")
                .find_map(|part| part.strip_suffix(what))?;
            part.parse().ok()
        };
        let done = count(" done")?;
        let mut wrong = count(" failed")? + count(" errored")? + count(" timeout")?;
        let (_, bytes) = line("traffic: ")?
            .strip_suffix(") data")?
            .rsplit_once('(')?;
        let right = done.saturating_sub(wrong);
        if bytes.parse::<u64>().ok()? < right * answer_bytes {
            wrong += 1;
        }
        Some(Self { right, wrong })
    }
}

#[cfg(test)]
mod tests {
    use super::Counts;

    const SAID: &str = "\
finished in 2.00s, 51234.50 req/s, 52.61MB/s
requests: 102469 total, 102725 started, 102469 done, 102460 succeeded, 9 failed, 0 errored, 0 timeout
status codes: 102460 2xx, 0 3xx, 0 4xx, 9 5xx
traffic: 105.20MB (110313000) total, 3.33MB (3490000) headers (space savings 80.00%), 100.06MB (104919040) data
";

    #[test]
    fn requests_are_counted_from_what_h2load_says() {
        let counts = Counts::read(SAID, 1024);
        assert_eq!(
            counts,
            Some(Counts {
                right: 102_460,
                wrong: 9
            })
        );
    }

    #[test]
    fn answers_that_are_too_short_are_wrong() {
        assert_eq!(
            Counts::read(SAID, 1025).map(|counts| counts.wrong),
            Some(10)
        );
    }
}
