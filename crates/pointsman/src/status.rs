//! `pointsman status`: pools and endpoints of a running Pointsman, as a table.

use std::fmt::Write;

use anyhow::Result;

use crate::admin::{self, EndpointStatus, ProbeStatus, Status, TransitionStatus};
use crate::cli::StatusArguments;
use crate::print;

pub(crate) fn status(arguments: &StatusArguments) -> Result<()> {
    let body = admin::get(arguments.admin, "/status")?;
    if arguments.json {
        return Ok(print(&format!("{body}\n"))?);
    }
    Ok(print(&render(&admin::read_status(&body)?))?)
}

fn render(status: &Status) -> String {
    let mut text = format!(
        "Pointsman {}, up {}, {} worker{}\n",
        status.version,
        duration(status.uptime_seconds as u64),
        status.workers,
        if status.workers == 1 { "" } else { "s" },
    );
    // Writing to a String cannot fail.
    for listener in &status.listeners {
        let addresses = listener.addresses.join(", ");
        let _ = writeln!(text, "listener {} on {addresses}", listener.name);
    }
    for pool in &status.pools {
        let _ = write!(text, "pool {}, {}", pool.name, pool.policy);
        if pool.requests_queued > 0 {
            let _ = write!(text, ", queued: {}", pool.requests_queued);
        }
        if pool.retries > 0 {
            let _ = write!(text, ", retries: {}", pool.retries);
        }
        if pool.hedges > 0 {
            let _ = write!(text, ", hedges: {} ({} won)", pool.hedges, pool.hedges_won);
        }
        if pool.sticky_hits + pool.sticky_misses > 0 {
            let (hits, misses) = (pool.sticky_hits, pool.sticky_misses);
            let _ = write!(text, ", sticky: {hits} hits and {misses} misses");
        }
        if pool.circuit_open > 0 {
            let _ = write!(text, ", beyond its circuit: {}", pool.circuit_open);
        }
        text.push('\n');
    }
    text.push('\n');
    let mut rows = vec![HEAD.map(String::from)];
    for pool in &status.pools {
        rows.extend(
            pool.endpoints
                .iter()
                .map(|endpoint| row(&pool.name, endpoint)),
        );
    }
    text + &table(&rows)
}

const HEAD: [&str; 9] = [
    "POOL",
    "ENDPOINT",
    "STATE",
    "LOAD",
    "WEIGHT",
    "IN FLIGHT",
    "REQUESTS",
    "LAST CHECK",
    "LAST EVENT",
];

/// Columns of numbers.
const RIGHT: [usize; 3] = [4, 5, 6];

fn row(pool: &str, endpoint: &EndpointStatus) -> [String; 9] {
    let probe = endpoint.last_probe.as_ref();
    [
        pool.to_owned(),
        name_text(endpoint),
        state_text(endpoint),
        load_text(endpoint),
        weight_text(endpoint.effective_weight),
        match endpoint.max_requests {
            Some(max) => format!("{} of {max}", endpoint.requests_in_flight),
            None => endpoint.requests_in_flight.to_string(),
        },
        endpoint.requests.to_string(),
        probe.map_or("none".to_owned(), probe_text),
        endpoint
            .transitions
            .first()
            .map_or("none".to_owned(), transition_text),
    ]
}

/// With what sets it apart from the others of its pool.
fn name_text(endpoint: &EndpointStatus) -> String {
    let tier = (endpoint.tier > 0).then(|| format!("tier {}", endpoint.tier));
    let zone = endpoint.zone.as_ref().map(|zone| format!("zone {zone}"));
    let marks: Vec<_> = tier.into_iter().chain(zone).collect();
    match marks[..] {
        [] => endpoint.name.clone(),
        _ => format!("{} ({})", endpoint.name, marks.join(", ")),
    }
}

/// What checks say, and all that keeps it from its share.
fn state_text(endpoint: &EndpointStatus) -> String {
    let mut text = endpoint.state.clone();
    if endpoint.ejected {
        text += ", ejected";
    }
    if endpoint.agent_down {
        text += ", down by its agent";
    }
    if let Some(part) = endpoint.slow_start {
        let _ = write!(text, ", slow start {:.0} %", part * 100.0);
    }
    if endpoint.admin_state != "ready" {
        let _ = write!(text, ", {}", endpoint.admin_state);
    }
    if let Some(left) = endpoint.drain_seconds_left {
        let _ = write!(text, " for {}", duration(left.ceil() as u64));
    }
    if let Some(sessions) = endpoint.sessions {
        let _ = write!(text, ", {sessions} sessions");
    }
    text
}

fn load_text(endpoint: &EndpointStatus) -> String {
    match endpoint.utilization {
        Some(utilization) => format!("{} ({:.0} %)", endpoint.load, utilization * 100.0),
        None => endpoint.load.clone(),
    }
}

/// Up to two decimals, as many as there are.
fn weight_text(weight: f64) -> String {
    let text = format!("{weight:.2}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

fn probe_text(probe: &ProbeStatus) -> String {
    let outcome = probe
        .outcome
        .strip_prefix("probe ")
        .unwrap_or(&probe.outcome);
    format!("{outcome} ({:.1} ms)", probe.latency_seconds * 1e3)
}

fn transition_text(transition: &TransitionStatus) -> String {
    let TransitionStatus {
        time,
        from,
        to,
        cause,
    } = transition;
    // `2026-11-22T10:00:00.123456Z`: to the second is enough for people.
    let second = time.split('.').next().unwrap_or_default().replace('T', " ");
    format!("{second}Z {from} → {to}: {}", cause.replace('_', " "))
}

/// Rows of cells as aligned lines, two spaces between columns.
fn table<const COLUMNS: usize>(rows: &[[String; COLUMNS]]) -> String {
    let mut widths = [0; COLUMNS];
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.chars().count().max(*width);
        }
    }
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for (column, (cell, width)) in row.iter().zip(widths).enumerate() {
            let _ = if RIGHT.contains(&column) {
                write!(line, "{cell:>width$}  ")
            } else {
                write!(line, "{cell:<width$}  ")
            };
        }
        text += line.trim_end();
        text.push('\n');
    }
    text
}

/// The two largest units, `3 d 4 h`.
fn duration(seconds: u64) -> String {
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{minutes} min {} s", seconds % 60),
        3600..86_400 => format!("{hours} h {} min", minutes % 60),
        _ => format!("{days} d {} h", hours % 24),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BODY: &str = r#"{
        "version": "0.1.0", "uptime_seconds": 200.5, "workers": 2,
        "listeners": [{"name": "web", "addresses": ["0.0.0.0:8080", "[::]:8080"]}],
        "pools": [{"name": "app", "policy": "least_request", "requests_queued": 3,
                   "retries": 12, "hedges": 5, "hedges_won": 4,
                   "sticky_hits": 90, "sticky_misses": 2, "circuit_open": 1, "endpoints": [
            {"name": "127.0.0.1:3001", "address": "127.0.0.1:3001", "tier": 0, "weight": 1,
             "effective_weight": 0.25, "slow_start": 0.5, "requests_in_flight": 12,
             "requests": 123456, "admin_state": "ready", "availability": "up", "state": "up",
             "ejected": false, "agent_down": false, "load": "busy", "utilization": 1.05, "since": "2026-11-22T10:00:00.123456Z",
             "last_probe": {"time": "2026-11-22T10:03:00.123456Z", "latency_seconds": 0.00042,
                            "outcome": "probe succeeded"},
             "transitions": []},
            {"name": "blue", "address": "127.0.0.1:3002", "tier": 1, "zone": "b",
             "weight": 2, "effective_weight": 2.0, "max_requests": 100,
             "requests_in_flight": 0, "requests": 7, "admin_state": "drain",
             "availability": "down", "state": "down", "ejected": true, "agent_down": false, "load": "normal",
             "sessions": 3, "drain_seconds_left": 119.2, "since": "2026-11-22T10:00:00.123456Z",
             "transitions": [
                {"time": "2026-11-22T10:02:00.500000Z", "from": "up", "to": "down",
                 "cause": "refused_live_and_probe", "evidence": "probe failed"},
                {"time": "2026-11-22T10:00:00.123456Z", "from": "unknown", "to": "up",
                 "cause": "first_probe"}]}
        ]}]
    }"#;

    #[test]
    fn a_status_is_an_aligned_table() {
        let status = admin::read_status(BODY).expect("it is a status");
        let expected = "\
Pointsman 0.1.0, up 3 min 20 s, 2 workers
listener web on 0.0.0.0:8080, [::]:8080
pool app, least_request, queued: 3, retries: 12, hedges: 5 (4 won), sticky: 90 hits and 2 misses, beyond its circuit: 1

POOL  ENDPOINT               STATE                                           LOAD          WEIGHT  IN FLIGHT  REQUESTS  LAST CHECK          LAST EVENT
app   127.0.0.1:3001         up, slow start 50 %                             busy (105 %)    0.25         12    123456  succeeded (0.4 ms)  none
app   blue (tier 1, zone b)  down, ejected, drain for 2 min 0 s, 3 sessions  normal             2   0 of 100         7  none                \
2026-11-22 10:02:00Z up → down: refused live and probe
";
        assert_eq!(render(&status), expected);
    }

    #[test]
    fn durations_are_shown_in_their_two_largest_units() {
        for (seconds, text) in [
            (0, "0 s"),
            (61, "1 min 1 s"),
            (3600, "1 h 0 min"),
            (90_000, "1 d 1 h"),
        ] {
            assert_eq!(duration(seconds), text);
        }
    }
}
