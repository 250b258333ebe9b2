//! One exchange, or one relayed connection or flow, as the access log shows it.

use std::time::{Duration, SystemTime};

use crate::Timestamp;
use crate::json::Object;

/// One line of the access log: an exchange, or a connection or flow that was relayed. Absent values
/// are left out of the line.
///
/// Bytes are as they came from the wire; see `json::push_string` for how odd ones are shown.
#[derive(Debug, Clone)]
pub struct Entry<'a> {
    /// When the request head had arrived, or the connection or flow began.
    pub time: SystemTime,
    /// Passed on to the endpoint and back to the client.
    pub request_id: Option<&'a [u8]>,
    /// The client's address and port.
    pub client: &'a str,
    /// The listener's name.
    pub listener: &'a str,
    /// `tcp` or `udp`, where it is not HTTP.
    pub protocol: Option<&'a str>,
    /// The name that the client asked for as it began TLS, where it is not HTTP.
    pub sni: Option<&'a str>,
    /// The version of HTTP that the client speaks.
    pub version: Option<&'a [u8]>,
    /// The method as sent.
    pub method: Option<&'a [u8]>,
    /// Host and port that were asked for.
    pub host: Option<&'a [u8]>,
    /// Path and query as sent.
    pub path: Option<&'a [u8]>,
    /// Sent to the client; `None` when the exchange ended before.
    pub status: Option<u16>,
    /// How a call of gRPC went.
    pub grpc_status: Option<&'a str>,
    /// Bytes of the request, head included.
    pub bytes_received: u64,
    /// Bytes of the response, head included.
    pub bytes_sent: u64,
    /// Datagrams from the client and to it.
    pub datagrams: Option<(u64, u64)>,
    /// The route's name.
    pub route: Option<&'a str>,
    /// The pool's name.
    pub pool: Option<&'a str>,
    /// The endpoint whose response was sent.
    pub endpoint: Option<&'a str>,
    /// Every endpoint that was tried, in order.
    pub attempts: &'a [Attempt<'a>],
    /// How long each step took.
    pub phases: Phases,
    /// `client`, `endpoint` or `us`, for an exchange that did not end well.
    pub ended_by: Option<&'a str>,
    /// The phase it ended in.
    pub ended_in: Option<&'a str>,
    /// Why we answered instead of the endpoint.
    pub failure: Option<&'a str>,
}

/// One try to get a response.
#[derive(Debug, Clone)]
pub struct Attempt<'a> {
    /// The endpoint's name.
    pub endpoint: &'a str,
    /// Why it was picked.
    pub why: &'a str,
    /// Time to connect; `None` on a kept connection.
    pub connect: Option<Duration>,
    /// From the request sent to the first response byte.
    pub first_byte: Option<Duration>,
    /// From the pick to the end.
    pub total: Duration,
    /// How it ended.
    pub outcome: &'a str,
}

/// Durations of an exchange's steps; `None` for one that it did not reach or need.
#[derive(Debug, Clone, Copy, Default)]
pub struct Phases {
    /// Waiting for an endpoint with room.
    pub queue: Option<Duration>,
    /// Connecting, over all attempts.
    pub connect: Option<Duration>,
    /// From the request head received to the first response byte sent.
    pub first_byte: Option<Duration>,
    /// From the request head received to the end.
    pub total: Duration,
}

impl Entry<'_> {
    /// Appends the entry as a JSON object, without a line end. Allocates only if `out` must grow.
    pub fn write_json(&self, out: &mut Vec<u8>) {
        let mut object = Object::begin(out);
        object.text("time", &Timestamp(self.time).text());
        string(&mut object, "request_id", self.request_id);
        object.string("client", self.client);
        object.string("listener", self.listener);
        string(&mut object, "protocol", self.protocol);
        string(&mut object, "sni", self.sni);
        string(&mut object, "version", self.version);
        string(&mut object, "method", self.method);
        string(&mut object, "host", self.host);
        string(&mut object, "path", self.path);
        if let Some(status) = self.status {
            object.number("status", status.into());
        }
        string(&mut object, "grpc_status", self.grpc_status);
        object.number("bytes_received", self.bytes_received);
        object.number("bytes_sent", self.bytes_sent);
        if let Some((received, sent)) = self.datagrams {
            object.number("datagrams_received", received);
            object.number("datagrams_sent", sent);
        }
        string(&mut object, "route", self.route);
        string(&mut object, "pool", self.pool);
        string(&mut object, "endpoint", self.endpoint);
        if !self.attempts.is_empty() {
            write_attempts(object.key("attempts"), self.attempts);
        }
        self.phases.write_json(object.key("phases"));
        string(&mut object, "ended_by", self.ended_by);
        string(&mut object, "ended_in", self.ended_in);
        string(&mut object, "failure", self.failure);
        object.end();
    }
}

fn write_attempts(out: &mut Vec<u8>, attempts: &[Attempt<'_>]) {
    let mut separator = b'[';
    for attempt in attempts {
        out.push(separator);
        separator = b',';
        let mut object = Object::begin(out);
        object.string("endpoint", attempt.endpoint);
        object.string("why", attempt.why);
        seconds(&mut object, "connect", attempt.connect);
        seconds(&mut object, "first_byte", attempt.first_byte);
        object.seconds("total", attempt.total);
        object.string("outcome", attempt.outcome);
        object.end();
    }
    out.push(b']');
}

impl Phases {
    fn write_json(&self, out: &mut Vec<u8>) {
        let mut object = Object::begin(out);
        seconds(&mut object, "queue", self.queue);
        seconds(&mut object, "connect", self.connect);
        seconds(&mut object, "first_byte", self.first_byte);
        object.seconds("total", self.total);
        object.end();
    }
}

fn string(object: &mut Object<'_>, key: &str, value: Option<impl AsRef<[u8]>>) {
    if let Some(value) = value {
        object.string(key, value);
    }
}

fn seconds(object: &mut Object<'_>, key: &str, value: Option<Duration>) {
    if let Some(value) = value {
        object.seconds(key, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};
    use std::time::UNIX_EPOCH;

    fn minimal() -> Entry<'static> {
        Entry {
            time: UNIX_EPOCH,
            request_id: None,
            client: "192.0.2.1:40000",
            listener: "web",
            protocol: None,
            sni: None,
            version: None,
            method: None,
            host: None,
            path: None,
            status: None,
            grpc_status: None,
            bytes_received: 3,
            bytes_sent: 0,
            datagrams: None,
            route: None,
            pool: None,
            endpoint: None,
            attempts: &[],
            phases: Phases::default(),
            ended_by: None,
            ended_in: None,
            failure: None,
        }
    }

    fn parsed(entry: &Entry<'_>) -> Value {
        let mut line = Vec::new();
        entry.write_json(&mut line);
        serde_json::from_slice(&line).unwrap()
    }

    #[test]
    fn absent_values_are_left_out() {
        assert_eq!(
            parsed(&minimal()),
            json!({
                "time": "1970-01-01T00:00:00.000000Z",
                "client": "192.0.2.1:40000",
                "listener": "web",
                "bytes_received": 3,
                "bytes_sent": 0,
                "phases": {"total": 0.0},
            })
        );
    }

    #[test]
    fn every_value_has_its_place() {
        let attempts = [
            Attempt {
                endpoint: "blue",
                why: "policy",
                connect: Some(Duration::from_millis(1)),
                first_byte: None,
                total: Duration::from_millis(2),
                outcome: "reset",
            },
            Attempt {
                endpoint: "green",
                why: "policy",
                connect: None,
                first_byte: Some(Duration::from_millis(3)),
                total: Duration::from_millis(4),
                outcome: "ok",
            },
        ];
        let entry = Entry {
            request_id: Some(b"01"),
            version: Some(b"HTTP/1.1"),
            method: Some(b"GET"),
            host: Some(b"shop.example"),
            path: Some(b"/\"\xff"),
            status: Some(200),
            grpc_status: Some("unavailable"),
            route: Some("default"),
            pool: Some("app"),
            endpoint: Some("green"),
            attempts: &attempts,
            phases: Phases {
                queue: Some(Duration::from_micros(5)),
                connect: Some(Duration::from_millis(1)),
                first_byte: Some(Duration::from_millis(6)),
                total: Duration::from_millis(7),
            },
            ended_by: Some("client"),
            ended_in: Some("response_body"),
            failure: Some("connection_terminated"),
            ..minimal()
        };
        assert_eq!(
            parsed(&entry),
            json!({
                "time": "1970-01-01T00:00:00.000000Z",
                "request_id": "01",
                "client": "192.0.2.1:40000",
                "listener": "web",
                "version": "HTTP/1.1",
                "method": "GET",
                "host": "shop.example",
                "path": "/\"ÿ",
                "status": 200,
                "grpc_status": "unavailable",
                "bytes_received": 3,
                "bytes_sent": 0,
                "route": "default",
                "pool": "app",
                "endpoint": "green",
                "attempts": [
                    {"endpoint": "blue", "why": "policy", "connect": 0.001, "total": 0.002,
                     "outcome": "reset"},
                    {"endpoint": "green", "why": "policy", "first_byte": 0.003, "total": 0.004,
                     "outcome": "ok"},
                ],
                "phases":
                    {"queue": 0.000005, "connect": 0.001, "first_byte": 0.006, "total": 0.007},
                "ended_by": "client",
                "ended_in": "response_body",
                "failure": "connection_terminated",
            })
        );
    }

    #[test]
    fn a_flow_says_its_protocol_name_and_datagrams() {
        let entry = Entry {
            protocol: Some("udp"),
            sni: Some("db.example"),
            bytes_received: 512,
            datagrams: Some((2, 0)),
            ..minimal()
        };
        assert_eq!(
            parsed(&entry),
            json!({
                "time": "1970-01-01T00:00:00.000000Z",
                "client": "192.0.2.1:40000",
                "listener": "web",
                "protocol": "udp",
                "sni": "db.example",
                "bytes_received": 512,
                "bytes_sent": 0,
                "datagrams_received": 2,
                "datagrams_sent": 0,
                "phases": {"total": 0.0},
            })
        );
    }
}
