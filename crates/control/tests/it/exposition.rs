//! A strict reader of the Prometheus text format, version 0.0.4.

use std::collections::{BTreeMap, BTreeSet};

/// A page that keeps every rule.
#[derive(Debug)]
pub(crate) struct Page {
    samples: Vec<Sample>,
}

#[derive(Debug)]
struct Sample {
    name: String,
    labels: BTreeMap<String, String>,
    value: f64,
}

impl Page {
    pub(crate) fn has(&self, name: &str) -> bool {
        self.samples.iter().any(|sample| sample.name == name)
    }

    /// The sum of all samples of `name` that have these labels; panics if there is none.
    #[track_caller]
    pub(crate) fn value(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let has = |sample: &&Sample| {
            sample.name == name
                && labels
                    .iter()
                    .all(|(key, value)| sample.labels.get(*key).map(String::as_str) == Some(value))
        };
        let found: Vec<_> = self
            .samples
            .iter()
            .filter(has)
            .map(|sample| sample.value)
            .collect();
        assert!(!found.is_empty(), "no sample of {name} {labels:?}");
        found.iter().sum()
    }
}

/// Reads a page; panics with the first line that breaks a rule.
#[track_caller]
pub(crate) fn parse(text: &str) -> Page {
    assert!(text.ends_with('\n'), "the last line ends");
    let mut samples = Vec::new();
    let mut families = BTreeMap::new();
    let mut seen = BTreeSet::new();
    let mut helped = None;
    let mut family = None;
    for line in text.lines() {
        if let Some(help) = line.strip_prefix("# HELP ") {
            let (name, text) = help.split_once(' ').expect("a help text");
            assert!(!text.is_empty(), "{line}");
            helped = Some(name.to_owned());
        } else if let Some(kind) = line.strip_prefix("# TYPE ") {
            let (name, kind) = kind.split_once(' ').expect("a type");
            assert_eq!(helped.as_deref(), Some(name), "HELP comes first: {line}");
            assert!(["counter", "gauge", "histogram"].contains(&kind), "{line}");
            let before = families.insert(name.to_owned(), kind.to_owned());
            assert!(before.is_none(), "a family comes once: {line}");
            family = Some((name.to_owned(), kind.to_owned()));
        } else {
            let sample = parse_sample(line);
            let (name, kind) = family.as_ref().expect("a family comes first");
            let suffix = sample.name.strip_prefix(name.as_str());
            let suffix = suffix.unwrap_or_else(|| panic!("not of family {name}: {line}"));
            let allowed: &[&str] = match kind.as_str() {
                "histogram" => &["_bucket", "_sum", "_count"],
                _ => &[""],
            };
            assert!(allowed.contains(&suffix), "{line}");
            assert!(kind != "counter" || sample.value >= 0.0, "{line}");
            let key = (sample.name.clone(), sample.labels.clone());
            assert!(seen.insert(key), "a sample comes once: {line}");
            samples.push(sample);
        }
    }
    let page = Page { samples };
    for (name, _) in families.iter().filter(|(_, kind)| *kind == "histogram") {
        check_histogram(&page, name);
    }
    page
}

/// Buckets grow, and the last of them is the count.
fn check_histogram(page: &Page, name: &str) {
    let mut last: BTreeMap<_, (f64, f64)> = BTreeMap::new();
    for sample in page
        .samples
        .iter()
        .filter(|sample| sample.name == format!("{name}_bucket"))
    {
        let mut labels = sample.labels.clone();
        let bound = labels.remove("le").expect("a bucket has a bound");
        let bound = if bound == "+Inf" {
            f64::INFINITY
        } else {
            bound.parse().expect("a bound is a number")
        };
        if let Some((bound_before, before)) = last.insert(labels, (bound, sample.value)) {
            assert!(bound > bound_before && sample.value >= before, "{sample:?}");
        }
    }
    for (labels, (bound, value)) in last {
        assert_eq!(bound, f64::INFINITY);
        let labels: Vec<_> = labels
            .iter()
            .map(|(k, v)| (k.as_str(), v.as_str()))
            .collect();
        assert_eq!(page.value(&format!("{name}_count"), &labels), value);
    }
}

fn parse_sample(line: &str) -> Sample {
    let (series, value) = line
        .rsplit_once(' ')
        .unwrap_or_else(|| panic!("no value: {line}"));
    let value = value
        .parse()
        .unwrap_or_else(|_| panic!("no number: {line}"));
    let (name, labels) = match series.split_once('{') {
        Some((name, labels)) => {
            let labels = labels
                .strip_suffix('}')
                .unwrap_or_else(|| panic!("no brace: {line}"));
            (name, parse_labels(labels))
        }
        None => (series, BTreeMap::new()),
    };
    assert_name(name);
    Sample {
        name: name.to_owned(),
        labels,
        value,
    }
}

fn parse_labels(mut text: &str) -> BTreeMap<String, String> {
    let mut labels = BTreeMap::new();
    while !text.is_empty() {
        let (name, rest) = text
            .split_once("=\"")
            .unwrap_or_else(|| panic!("no value: {text}"));
        assert_name(name);
        let mut value = String::new();
        let mut characters = rest.char_indices();
        let end = loop {
            match characters.next().expect("the quote is closed") {
                (at, '"') => break at,
                (_, '\\') => match characters.next().expect("something is escaped").1 {
                    'n' => value.push('\n'),
                    escaped @ ('\\' | '"') => value.push(escaped),
                    other => panic!("{other} is escaped"),
                },
                (_, other) => value.push(other),
            }
        };
        assert!(
            labels.insert(name.to_owned(), value).is_none(),
            "{name} comes twice"
        );
        text = &rest[end + 1..];
        text = text.strip_prefix(',').unwrap_or(text);
    }
    labels
}

#[track_caller]
fn assert_name(name: &str) {
    let is_fine = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    assert!(
        !name.is_empty() && name.bytes().all(is_fine),
        "{name:?} is no name"
    );
}

#[test]
fn broken_pages_are_found() {
    let head = "# HELP a_total A.\n# TYPE a_total counter\n";
    parse(&format!("{head}a_total{{b=\"c\\\\\\\"\\n\"}} 1\n"));
    for broken in [
        "a_total{b=\"c} 1\n",
        "a_total 1\na_total 2\n",
        "b 1\n",
        "a_total x\n",
    ] {
        let page = format!("{head}{broken}");
        assert!(std::panic::catch_unwind(|| parse(&page)).is_err(), "{page}");
    }
}
