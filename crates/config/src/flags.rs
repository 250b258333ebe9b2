//! A config from the command line: `--listen :8080 --to 127.0.0.1:3001 --to 127.0.0.1:3002`, or
//! `--listen tcp://:5432` for what is relayed.

use std::collections::BTreeMap;

use crate::compile::{Names, compile};
use crate::problem::{Problems, Source};
use crate::raw::{Protocol, RawConfig, RawListener, RawPool};
use crate::spanned::{At, OneOrMany, Place, StringOr};
use crate::text::finish;
use crate::{Outside, Snapshot};

/// The config of one listener `web` on the addresses of `listen` and one pool `app` with the
/// endpoints of `to`, all else by default. The addresses are those of the file: `:8080` listens
/// on every IPv4 address, `:3001` or `3001` is an endpoint on this machine. Those that begin with
/// `tcp://` or `udp://` are of listeners `tcp` and `udp`, which relay to the same pool.
///
/// It takes the way of a file from `Raw*` on, so that it keeps the same rules; problems point
/// into the flags.
pub fn from_flags(listen: &[String], to: &[String]) -> Result<Snapshot, Problems> {
    let mut line = String::new();
    let mut words = |flag: &str, values: &[String]| -> Vec<At<String>> {
        let word = |value: &String| At::new(append(&mut line, flag, value), value.clone());
        values.iter().map(word).collect()
    };
    let binds = words("--listen", listen);
    let endpoints = words("--to", to);
    let whole = 0..line.len();

    let mut problems = Problems::default();
    for (flag, values) in [("--listen", &binds), ("--to", &endpoints)] {
        if values.is_empty() {
            problems.error(None, format!("`{flag}` is missing"));
        }
    }
    let named = |name: &str| At::new(whole.clone(), name.to_owned());
    let mut listeners = BTreeMap::new();
    for mut bind in binds {
        let (name, protocol) = match bind.value.split_once("://") {
            Some(("tcp", _)) => ("tcp", Some(Protocol::Tcp)),
            Some(("udp", _)) => ("udp", Some(Protocol::Udp)),
            _ => ("web", None),
        };
        if protocol.is_some() {
            let scheme = "tcp://".len();
            bind.value.drain(..scheme);
            bind.place.start += scheme;
        }
        listeners
            .entry(named(name))
            .or_insert_with(|| RawListener {
                bind: OneOrMany {
                    place: whole.clone(),
                    list: Vec::new(),
                },
                protocol: protocol.map(|protocol| At::new(whole.clone(), protocol)),
                pool: protocol.map(|_| named("app")),
                passthrough: None,
                udp: None,
                tls: None,
                http2: None,
                h2c: None,
                limits: None,
                timeouts: None,
                proxy_protocol: None,
                trusted_proxies: None,
                redirect: None,
                socket: None,
            })
            .bind
            .list
            .push(bind);
    }
    let endpoints = endpoints
        .into_iter()
        .map(|At { place, value }| At::new(place, StringOr::String(value)))
        .collect();
    let pool = RawPool {
        endpoints: At::new(whole.clone(), endpoints),
        policy: None,
        tls: None,
        protocol: None,
        proxy_protocol: None,
        socket: None,
        check: None,
        agent: None,
        outlier: None,
        slow_start: None,
        feedback: None,
        concurrency: None,
        retry: None,
        hedge: None,
        sticky: None,
        drain: None,
        circuit: None,
        timeouts: None,
        queue: None,
        fail: None,
        panic: None,
    };
    let names = Names {
        listeners: listeners.keys().map(|name| name.value.clone()).collect(),
        pools: ["app".to_owned()].into(),
        has_routes: false,
    };
    let raw = RawConfig {
        listeners,
        pools: BTreeMap::from([(named("app"), pool)]),
        ..RawConfig::default()
    };
    let source = Source::behind(&[], "command line".into(), line);
    if problems.has_errors() {
        problems.sources = vec![source];
        return Err(problems);
    }
    // Flags name no certificates that could be looked into.
    let snapshot = compile(raw, &names, Outside::system(&|_| Ok(None)), &mut problems);
    finish(snapshot, vec![source], problems).map(|loaded| loaded.snapshot)
}

/// Adds a flag to the line, as it would be typed, and returns the place of its value.
fn append(line: &mut String, flag: &str, value: &str) -> Place {
    if !line.is_empty() {
        line.push(' ');
    }
    line.push_str(flag);
    line.push(' ');
    let start = line.len();
    line.push_str(value);
    start..line.len()
}
