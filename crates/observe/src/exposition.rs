//! The Prometheus text exposition format, version 0.0.4.
//!
//! Written by hand: what we print are sums over workers, which no registry of metric objects
//! holds, and the format is three kinds of line.

use std::fmt::{Display, Write};

use crate::HistogramSum;

/// Builds one page of metrics.
#[derive(Debug, Default)]
pub struct Encoder {
    text: String,
}

/// A metric that was announced; takes its samples.
#[derive(Debug)]
pub struct Family<'a> {
    name: &'a str,
    text: &'a mut String,
}

impl Encoder {
    /// Announces a counter; `name` ends with `_total`.
    pub fn counter<'a>(&'a mut self, name: &'a str, help: &str) -> Family<'a> {
        debug_assert!(name.ends_with("_total"), "counters end with _total: {name}");
        self.family(name, "counter", help)
    }

    /// Announces a gauge.
    pub fn gauge<'a>(&'a mut self, name: &'a str, help: &str) -> Family<'a> {
        self.family(name, "gauge", help)
    }

    /// Announces a histogram of durations; `name` ends with `_seconds`.
    pub fn histogram<'a>(&'a mut self, name: &'a str, help: &str) -> Family<'a> {
        debug_assert!(
            name.ends_with("_seconds"),
            "durations are in seconds: {name}"
        );
        self.family(name, "histogram", help)
    }

    /// The finished page.
    pub fn finish(self) -> String {
        self.text
    }

    fn family<'a>(&'a mut self, name: &'a str, kind: &str, help: &str) -> Family<'a> {
        let _ = writeln!(self.text, "# HELP {name} {help}\n# TYPE {name} {kind}");
        Family {
            name,
            text: &mut self.text,
        }
    }
}

impl Family<'_> {
    /// One sample of a counter or gauge.
    pub fn sample(&mut self, labels: &[(&str, &str)], value: impl Display) {
        self.line("", labels, None, value);
    }

    /// One histogram: its buckets, sum and count.
    pub fn durations(&mut self, labels: &[(&str, &str)], durations: &HistogramSum) {
        for (bound, count) in durations.cumulative() {
            self.line("_bucket", labels, Some(bound), count);
        }
        self.line("_sum", labels, None, durations.total().as_secs_f64());
        self.line("_count", labels, None, durations.count());
    }

    fn line(
        &mut self,
        suffix: &str,
        labels: &[(&str, &str)],
        bound: Option<&str>,
        value: impl Display,
    ) {
        self.text.push_str(self.name);
        self.text.push_str(suffix);
        let labels = labels
            .iter()
            .copied()
            .chain(bound.map(|bound| ("le", bound)));
        let mut separator = '{';
        for (name, value) in labels {
            self.text.push(separator);
            separator = ',';
            self.text.push_str(name);
            self.text.push_str("=\"");
            push_escaped(self.text, value);
            self.text.push('"');
        }
        if separator == ',' {
            self.text.push('}');
        }
        // Writing to a String cannot fail.
        let _ = writeln!(self.text, " {value}");
    }
}

/// Label values escape backslash, quote and line feed, and nothing else.
fn push_escaped(text: &mut String, value: &str) {
    for character in value.chars() {
        match character {
            '\\' => text.push_str("\\\\"),
            '"' => text.push_str("\\\""),
            '\n' => text.push_str("\\n"),
            other => text.push(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Histogram;
    use std::time::Duration;

    #[test]
    fn label_values_cannot_break_out_of_their_quotes() {
        let mut encoder = Encoder::default();
        let mut family = encoder.gauge("g", "A gauge.");
        family.sample(&[("route", "a\\\"b\nc"), ("pool", "ü")], -1);
        family.sample(&[], 2.5);
        assert_eq!(
            encoder.finish(),
            "# HELP g A gauge.\n# TYPE g gauge\n\
             g{route=\"a\\\\\\\"b\\nc\",pool=\"ü\"} -1\n\
             g 2.5\n"
        );
    }

    #[test]
    fn a_histogram_prints_cumulative_buckets_sum_and_count() {
        let histogram = Histogram::default();
        histogram.observe(Duration::from_millis(250));
        let mut sum = HistogramSum::default();
        sum.add(&histogram);
        let mut encoder = Encoder::default();
        encoder
            .histogram("h_seconds", "H.")
            .durations(&[("a", "b")], &sum);
        let text = encoder.finish();
        assert!(
            text.contains("h_seconds_bucket{a=\"b\",le=\"0.1\"} 0\n"),
            "{text}"
        );
        assert!(
            text.contains("h_seconds_bucket{a=\"b\",le=\"0.25\"} 1\n"),
            "{text}"
        );
        assert!(
            text.contains("h_seconds_bucket{a=\"b\",le=\"+Inf\"} 1\n"),
            "{text}"
        );
        assert!(text.contains("h_seconds_sum{a=\"b\"} 0.25\n"), "{text}");
        assert!(text.ends_with("h_seconds_count{a=\"b\"} 1\n"), "{text}");
    }
}
