//! From the text of files to a snapshot: the steps in order.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::compile::{Names, compile};
use crate::problem::{Problems, Source};
use crate::raw::RawConfig;
use crate::shape::Shape;
use crate::spanned::At;
use crate::{Outside, Snapshot};

/// A config that can be run.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// What it says.
    pub snapshot: Snapshot,
    /// What it hardly means to say. Warnings only; may be empty.
    pub warnings: Problems,
}

/// Compiles the text of one file. `name` is how problems call the file.
pub fn parse(name: &str, text: &str, outside: Outside<'_>) -> Result<Loaded, Problems> {
    let source = Source::behind(&[], name.into(), text.into());
    parse_all(vec![source], Problems::default(), outside)
}

/// Compiles files as one config. `problems` are those found before, when reading them.
pub(crate) fn parse_all(
    sources: Vec<Source>,
    mut problems: Problems,
    outside: Outside<'_>,
) -> Result<Loaded, Problems> {
    let mut documents = Vec::new();
    for source in &sources {
        let (document, errors) = DeTable::parse_recoverable(&source.text);
        report_syntax(source, &errors, &mut problems);
        documents.push(document);
    }
    // What is left of a file after a syntax error is a guess, and so would be what is said of it.
    if problems.has_errors() {
        problems.sources = sources;
        return Err(problems);
    }

    let shape = Shape::new();
    let mut names = Names::default();
    let mut raw = RawConfig::default();
    for (source, document) in sources.iter().zip(documents) {
        names.pools.extend(keys_of(&document, "pools"));
        names.listeners.extend(keys_of(&document, "listeners"));
        let routes = document.get_ref().get("routes").map(Spanned::get_ref);
        names.has_routes |= routes.is_some_and(|routes| !is_empty_list(routes));
        let document = shape.conform(document, source.base, &mut problems);
        match RawConfig::deserialize(toml::de::Deserializer::from(document)) {
            Ok(part) => merge(&mut raw, part, &mut problems),
            Err(error) => {
                problems.error(error.span(), error.message());
            }
        }
    }
    let snapshot = compile(raw, &names, outside, &mut problems);
    finish(snapshot, sources, problems)
}

/// One error a line: the parser goes on behind an error, and what it makes of the rest of that
/// line helps nobody.
fn report_syntax(source: &Source, errors: &[toml::de::Error], problems: &mut Problems) {
    let mut errors: Vec<_> = errors
        .iter()
        .map(|error| (error.span().unwrap_or_default(), error.message()))
        .collect();
    errors.sort_by_key(|(span, _)| span.start);
    let mut reported_to = 0;
    for (span, message) in errors {
        if span.start < reported_to {
            continue;
        }
        let line_start = source.text[..span.start]
            .rfind('\n')
            .map_or(0, |newline| newline + 1);
        let line = source.text[line_start..].lines().next().unwrap_or_default();
        reported_to = line_start + line.len() + 1;
        let place = span.start + source.base..span.end + source.base;
        let problem = problems.error(place, message);
        // By far the most common one: a string without quotes.
        let value = line.split_once('=').map_or("", |(_, value)| value.trim());
        if !value.is_empty() && !value.starts_with(['"', '\'', '[', '{']) {
            problem.help("write it in quotes");
        }
    }
}

/// A snapshot made with errors is full of gaps and does not leave this crate.
pub(crate) fn finish(
    snapshot: Snapshot,
    sources: Vec<Source>,
    mut problems: Problems,
) -> Result<Loaded, Problems> {
    problems.sources = sources;
    if problems.has_errors() {
        return Err(problems);
    }
    let warnings = problems;
    Ok(Loaded { snapshot, warnings })
}

/// The names in a table, however broken what they name.
fn keys_of(document: &Spanned<DeTable<'_>>, table: &str) -> BTreeSet<String> {
    match document.get_ref().get(table).map(Spanned::get_ref) {
        Some(DeValue::Table(table)) => table.keys().map(|key| key.get_ref().to_string()).collect(),
        _ => BTreeSet::new(),
    }
}

fn is_empty_list(value: &DeValue<'_>) -> bool {
    matches!(value, DeValue::Array(list) if list.is_empty())
}

/// Adds what another file says. Each thing is said once.
fn merge(whole: &mut RawConfig, part: RawConfig, problems: &mut Problems) {
    merge_key("workers", &mut whole.workers, part.workers, problems);
    merge_key("zone", &mut whole.zone, part.zone, problems);
    merge_key("secret", &mut whole.secret, part.secret, problems);
    merge_key("admin", &mut whole.admin, part.admin, problems);
    merge_key(
        "access_log",
        &mut whole.access_log,
        part.access_log,
        problems,
    );
    merge_names("listener", &mut whole.listeners, part.listeners, problems);
    merge_names("pool", &mut whole.pools, part.pools, problems);
    whole.routes.extend(part.routes);
}

fn merge_key<T>(
    key: &str,
    whole: &mut Option<At<T>>,
    part: Option<At<T>>,
    problems: &mut Problems,
) {
    match (&*whole, part) {
        (_, None) => {}
        (None, part) => *whole = part,
        (Some(first), Some(second)) => {
            problems
                .error(second.place, format!("`{key}` is set in two files"))
                .also(first.place.clone(), "first set here");
        }
    }
}

fn merge_names<T>(
    kind: &str,
    whole: &mut BTreeMap<At<String>, T>,
    part: BTreeMap<At<String>, T>,
    problems: &mut Problems,
) {
    for (name, value) in part {
        match whole.get_key_value(&name) {
            Some((first, _)) => {
                let message = format!("{kind} `{}` is defined twice", name.value);
                problems
                    .error(name.place, message)
                    .also(first.place.clone(), "first defined here");
            }
            None => {
                whole.insert(name, value);
            }
        }
    }
}
