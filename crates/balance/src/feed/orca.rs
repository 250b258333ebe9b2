//! Load reports in response fields: ORCA's `Endpoint-Load-Metrics`, `X-Rif`, `X-Latency-Us`.
//!
//! The field says its format in its first word: `TEXT cpu_utilization=0.3, eps=1`,
//! `JSON {"cpu_utilization": 0.3}` or `BIN` and a message of protocol buffers in base64. Without
//! such a word it is text. Source: `xds.data.orca.v3.OrcaLoadReport` of the xDS protocols, and
//! gRPC proposal A51.
//!
//! What an endpoint says of itself is trusted as far as its own share of the traffic goes, and no
//! further: a number that is negative or none is passed over, and a field that is none of the
//! three formats says nothing.

use serde_json::Value;

use crate::LoadReport;

/// What the fields of a response say about its endpoint: the values of `Endpoint-Load-Metrics`,
/// `X-Rif` (requests in flight) and `X-Latency-Us`. `None` if they say nothing.
pub fn load_report(
    metrics: Option<&[u8]>,
    in_flight: Option<&[u8]>,
    latency_us: Option<&[u8]>,
) -> Option<LoadReport> {
    let report = LoadReport {
        in_flight: in_flight.and_then(whole_number),
        latency_us: latency_us.and_then(whole_number),
        ..metrics.and_then(parse_load_metrics).unwrap_or_default()
    };
    (report != LoadReport::default()).then_some(report)
}

/// Reads the value of an `Endpoint-Load-Metrics` field. `None` if it says nothing that we know.
pub fn parse_load_metrics(value: &[u8]) -> Option<LoadReport> {
    let (format, rest) = match value.iter().position(|&byte| byte == b' ') {
        Some(space) => (&value[..space], value[space..].trim_ascii()),
        None => (&b""[..], value),
    };
    let mut metrics = Metrics::default();
    match format {
        b"JSON" => metrics.read_json(rest)?,
        b"BIN" => metrics.read_binary(&decode_base64(rest)?)?,
        b"TEXT" => metrics.read_text(rest),
        _ => metrics.read_text(value),
    }
    metrics.report()
}

/// The metrics that we know. The maps (`request_cost`, `utilization`, `named_metrics`) mean
/// something to the application only.
#[derive(Default)]
struct Metrics {
    cpu: Option<f32>,
    memory: Option<f32>,
    application: Option<f32>,
    requests_per_second: Option<f32>,
    errors_per_second: Option<f32>,
}

impl Metrics {
    /// Takes one metric. In JSON names may be written as protocol buffers write them there.
    fn set(&mut self, name: &[u8], value: f64) {
        let value = value as f32;
        if !value.is_finite() || value < 0.0 {
            return;
        }
        match name {
            b"cpu_utilization" | b"cpuUtilization" => self.cpu = Some(value),
            b"mem_utilization" | b"memUtilization" => self.memory = Some(value),
            b"application_utilization" | b"applicationUtilization" => {
                self.application = Some(value);
            }
            b"rps_fractional" | b"rpsFractional" => self.requests_per_second = Some(value),
            // Of old reporters, whole numbers only.
            b"rps" => {
                self.requests_per_second.get_or_insert(value);
            }
            b"eps" => self.errors_per_second = Some(value),
            _ => {}
        }
    }

    /// `name=value` between commas. Some write `name:value`.
    fn read_text(&mut self, text: &[u8]) {
        for pair in text.split(|&byte| byte == b',') {
            let mut halves = pair.splitn(2, |byte| matches!(byte, b'=' | b':'));
            let (Some(name), Some(value)) = (halves.next(), halves.next()) else {
                continue;
            };
            let value = std::str::from_utf8(value.trim_ascii());
            if let Some(value) = value.ok().and_then(|value| value.parse().ok()) {
                self.set(name.trim_ascii(), value);
            }
        }
    }

    fn read_json(&mut self, text: &[u8]) -> Option<()> {
        let report: Value = serde_json::from_slice(text).ok()?;
        for (name, value) in report.as_object()? {
            if let Some(value) = value.as_f64() {
                self.set(name.as_bytes(), value);
            }
        }
        Some(())
    }

    /// Fields of a message of protocol buffers, one behind the other: a key, which holds the
    /// field's number and how long its value is, and the value.
    fn read_binary(&mut self, mut rest: &[u8]) -> Option<()> {
        while !rest.is_empty() {
            let key = take_varint(&mut rest)?;
            let (number, wire_type) = (key >> 3, key & 7);
            let value = match wire_type {
                0 => take_varint(&mut rest)? as f64,
                1 => f64::from_le_bytes(*take(&mut rest, 8)?.first_chunk()?),
                // Maps are fields with a length.
                2 => {
                    let length = usize::try_from(take_varint(&mut rest)?).ok()?;
                    take(&mut rest, length)?;
                    continue;
                }
                5 => {
                    take(&mut rest, 4)?;
                    continue;
                }
                // Groups have been out of use since before ORCA.
                _ => return None,
            };
            let name: &[u8] = match (number, wire_type) {
                (1, 1) => b"cpu_utilization",
                (2, 1) => b"mem_utilization",
                (3, 0) => b"rps",
                (6, 1) => b"rps_fractional",
                (7, 1) => b"eps",
                (9, 1) => b"application_utilization",
                _ => continue,
            };
            self.set(name, value);
        }
        Some(())
    }

    fn report(self) -> Option<LoadReport> {
        let report = LoadReport {
            utilization: self.utilization(),
            requests_per_second: self.requests_per_second,
            errors_per_second: self.errors_per_second,
            ..LoadReport::default()
        };
        (report != LoadReport::default()).then_some(report)
    }

    /// The application's own figure goes before all: it knows what it runs out of first. Its
    /// zero is the absence of one, because protocol buffers leave zeros out.
    fn utilization(&self) -> Option<f32> {
        let memory = self.memory.map(|used| {
            // Memory has no soft limits: there is never more in use than there is.
            let free = (1.0 - used).max(0.0);
            (1.0 - free / MEMORY_SPARE).max(0.0)
        });
        let machine = match (self.cpu, memory) {
            (Some(cpu), Some(memory)) => Some(cpu.max(memory)),
            (cpu, memory) => cpu.or(memory),
        };
        let application = self.application;
        application
            .filter(|&value| value > 0.0)
            .or(machine)
            .or(application)
    }
}

/// Memory counts only when less than this part of it is free: heaps and caches fill what there
/// is, and are as fast full as empty. With none free the endpoint does all it can.
const MEMORY_SPARE: f32 = 0.1;

/// A number in decimal digits; one that is too great counts as the greatest.
fn whole_number(digits: &[u8]) -> Option<u32> {
    let text = std::str::from_utf8(digits).ok()?;
    let number: u64 = text.trim_ascii().parse().ok()?;
    Some(u32::try_from(number).unwrap_or(u32::MAX))
}

fn take<'a>(rest: &mut &'a [u8], count: usize) -> Option<&'a [u8]> {
    let (taken, behind) = rest.split_at_checked(count)?;
    *rest = behind;
    Some(taken)
}

/// A number in groups of seven bits, the lowest first; all bytes but the last have their high bit
/// set.
fn take_varint(rest: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let byte = take(rest, 1)?[0];
        number |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(number);
        }
    }
    None
}

/// Base64 (RFC 4648 §4 and §5), with or without padding.
fn decode_base64(text: &[u8]) -> Option<Vec<u8>> {
    let digits = text.iter().rposition(|&byte| byte != b'=');
    let unpadded = &text[..digits.map_or(0, |last| last + 1)];
    let mut bytes = Vec::with_capacity(unpadded.len() * 3 / 4);
    let mut bits = 0u32;
    let mut bit_count = 0;
    for byte in unpadded {
        let digit = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' | b'-' => 62,
            b'/' | b'_' => 63,
            _ => return None,
        };
        bits = bits << 6 | u32::from(digit);
        bit_count += 6;
        if bit_count >= 8 {
            bit_count -= 8;
            bytes.push((bits >> bit_count) as u8);
        }
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A message with these doubles, by field number.
    fn binary(fields: &[(u8, f64)]) -> Vec<u8> {
        let mut message = Vec::new();
        for (number, value) in fields {
            message.push(number << 3 | 1);
            message.extend_from_slice(&value.to_le_bytes());
        }
        message
    }

    fn encode_base64(bytes: &[u8]) -> String {
        const DIGITS: &[u8; 64] =
            b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        let mut text = String::new();
        for chunk in bytes.chunks(3) {
            let mut three = [0; 3];
            three[..chunk.len()].copy_from_slice(chunk);
            let bits = u32::from_be_bytes([0, three[0], three[1], three[2]]);
            for digit in 0..4 {
                let index = bits >> (18 - 6 * digit) & 63;
                let is_padding = digit > chunk.len();
                text.push(if is_padding {
                    '='
                } else {
                    char::from(DIGITS[index as usize])
                });
            }
        }
        text
    }

    #[test]
    fn the_three_formats_say_the_same() {
        let mut message = binary(&[(1, 0.3), (2, 0.8), (6, 10.0), (7, 1.5), (9, 0.9)]);
        // A map entry, which is passed over: named_metrics, 3 bytes.
        message.extend_from_slice(&[8 << 3 | 2, 3, 1, 2, 3]);
        let binary = format!("BIN {}", encode_base64(&message));
        let expected = LoadReport {
            utilization: Some(0.9),
            requests_per_second: Some(10.0),
            errors_per_second: Some(1.5),
            ..LoadReport::default()
        };
        for value in [
            "TEXT cpu_utilization=0.3, mem_utilization=0.8,rps_fractional=10.0, eps=1.5, \
             application_utilization=0.9, named_metrics.queue=7",
            "cpu_utilization:0.3,mem_utilization:0.8,rps_fractional:10,eps:1.5,\
             application_utilization:0.9",
            r#"JSON {"cpu_utilization": 0.3, "mem_utilization": 0.8, "rps_fractional": 10.0,
              "eps": 1.5, "application_utilization": 0.9, "named_metrics": {"queue": 7}}"#,
            r#"JSON {"cpuUtilization":0.3,"rpsFractional":10,"eps":1.5,
              "applicationUtilization":0.9}"#,
            &binary,
        ] {
            let report = parse_load_metrics(value.as_bytes());
            assert_eq!(report, Some(expected), "{value}");
        }
    }

    #[test]
    fn the_score_is_that_of_the_application_and_else_that_of_the_machine() {
        for (text, score) in [
            ("application_utilization=1.2,cpu_utilization=0.3", Some(1.2)),
            ("application_utilization=0,cpu_utilization=0.3", Some(0.3)),
            ("application_utilization=0", Some(0.0)),
            ("cpu_utilization=0.3,mem_utilization=0.85", Some(0.3)),
            ("cpu_utilization=0.3,mem_utilization=1.0", Some(1.0)),
            ("mem_utilization=0.5", Some(0.0)),
            ("mem_utilization=4e37", Some(1.0)),
            ("rps_fractional=5", None),
        ] {
            let report = parse_load_metrics(text.as_bytes()).unwrap();
            assert_eq!(report.utilization, score, "{text}");
        }
    }

    #[test]
    fn what_is_no_report_says_nothing() {
        for value in [
            "",
            "TEXT",
            "TEXT cpu_utilization=NaN, eps=-1, mem_utilization=1e99, rps=",
            "JSON",
            "JSON []",
            r#"JSON {"cpu_utilization": "a lot"}"#,
            "BIN CZqZ",
            "BIN ===",
            "BIN *",
            "BINARY 1",
        ] {
            assert_eq!(parse_load_metrics(value.as_bytes()), None, "{value}");
        }
    }

    #[test]
    fn fields_of_their_own_say_requests_in_flight_and_latency() {
        let report = load_report(None, Some(b"12"), Some(b"99999999999")).unwrap();
        assert_eq!(report.in_flight, Some(12));
        assert_eq!(report.latency_us, Some(u32::MAX));
        assert_eq!(load_report(None, Some(b"-1"), Some(b"1.5")), None);
        assert_eq!(load_report(Some(b"TEXT"), None, None), None);
    }

    proptest! {
        #[test]
        fn whatever_arrives_the_numbers_are_finite_and_not_negative(
            format in "(TEXT |JSON |BIN |)",
            rest in prop_oneof![
                "((cpu|mem|application)_utilization|eps|rps)[=:]-?[0-9]{1,40}(\\.[0-9]*)?(e[0-9]{1,3})?",
                proptest::collection::vec(any::<u8>(), 0..60).prop_map(|bytes| encode_base64(&bytes)),
                ".{0,60}",
            ],
        ) {
            if let Some(report) = parse_load_metrics(format!("{format}{rest}").as_bytes()) {
                let numbers = [
                    report.utilization,
                    report.requests_per_second,
                    report.errors_per_second,
                ];
                prop_assert!(numbers.iter().any(Option::is_some));
                for number in numbers.into_iter().flatten() {
                    prop_assert!(number.is_finite() && number >= 0.0, "{number}");
                }
            }
        }
    }
}
