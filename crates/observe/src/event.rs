//! What the process says of itself, on standard error: starts, stops, endpoints that change.
//!
//! For the control thread and the binary. Workers never emit: a terminal that stands still would
//! stop their requests.

use std::fmt;
use std::io::Write;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use crate::Timestamp;
use crate::json::Object;

/// Something an operator may want to know. The list is closed: a new kind is a new variant.
#[derive(Debug, Clone)]
pub enum Event {
    /// The process is about to serve.
    Started {
        /// Our version.
        version: &'static str,
        /// Request workers.
        workers: usize,
    },
    /// A listener accepts connections.
    Listening {
        /// Its name.
        listener: String,
        /// One of its addresses.
        address: String,
    },
    /// The admin API accepts connections.
    AdminListening {
        /// Its address.
        address: SocketAddr,
    },
    /// The state of an endpoint changed.
    Endpoint {
        /// The pool's name.
        pool: String,
        /// The endpoint's name.
        endpoint: String,
        /// The state that ended.
        from: &'static str,
        /// The state that began.
        to: &'static str,
        /// A word from a closed list.
        cause: &'static str,
        /// What was seen, for people.
        evidence: Option<String>,
    },
    /// What an endpoint says of its own load, or a refusal of work, changed its standing.
    EndpointLoad {
        /// The pool's name.
        pool: String,
        /// The endpoint's name.
        endpoint: String,
        /// The load state that ended: `normal`, `busy` or `full`.
        from: &'static str,
        /// The load state that began.
        to: &'static str,
        /// 1.0 is all that it can do; finite; `None` if it does not say.
        utilization: Option<f32>,
    },
    /// The agent of an endpoint changed what it says, or ceased or began to answer.
    EndpointAgent {
        /// The pool's name.
        pool: String,
        /// The endpoint's name.
        endpoint: String,
        /// What changed: `admin_state`, `weight`, `max_requests` or `answer`.
        what: &'static str,
        /// How it was.
        from: String,
        /// How it is now.
        to: String,
    },
    /// The time of an endpoint to drain is over: it is in maintenance.
    EndpointDrained {
        /// The pool's name.
        pool: String,
        /// The endpoint's name.
        endpoint: String,
        /// Those that it had left. They move to other endpoints, if they may.
        sessions: u64,
    },
    /// Certificates, keys or authorities were read again from files that had changed, and are used
    /// from now on.
    CertificatesReplaced {
        /// `listener` or `pool`.
        holder: &'static str,
        /// The name of that.
        name: String,
    },
    /// Files of certificates have changed and cannot be used: what was read before stays.
    CertificatesKept {
        /// `listener` or `pool`.
        holder: &'static str,
        /// The name of that.
        name: String,
        /// The file and what is wrong with it.
        reason: String,
    },
    /// A certificate is about to expire, or has. Said once a day.
    CertificateExpires {
        /// `listener` or `pool`.
        holder: &'static str,
        /// The name of that.
        name: String,
        /// A name that the certificate is for.
        certificate: String,
        /// Its end.
        not_after: SystemTime,
        /// How long that is away, for people.
        warning: String,
    },
    /// A worker ended although nobody asked it to.
    WorkerFailed {
        /// Its number.
        worker: usize,
        /// For people.
        reason: String,
    },
    /// The control thread ended although nobody asked it to: no checks, no admin API.
    ControlFailed {
        /// For people.
        reason: String,
    },
    /// Access log lines are lost. Said once, until a write succeeds again.
    AccessLogFailed {
        /// The error of the write.
        reason: String,
    },
    /// A graceful stop began.
    Draining {
        /// What is still open then is cut.
        deadline: Duration,
    },
    /// The process is about to end.
    Stopped,
}

/// How events are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum EventFormat {
    /// A line for people.
    #[default]
    Text,
    /// A JSON object a line.
    Json,
}

/// Where events go. Clones share one sink.
#[derive(Clone)]
pub struct Events {
    format: EventFormat,
    sink: Arc<Mutex<Box<dyn Write + Send>>>,
}

impl Events {
    /// Events in `format`, written to `sink`.
    pub fn new(format: EventFormat, sink: impl Write + Send + 'static) -> Self {
        Self {
            format,
            sink: Arc::new(Mutex::new(Box::new(sink))),
        }
    }

    /// Writes one event, dated now. An error of the sink is ignored: there is nobody left to tell.
    pub fn emit(&self, event: &Event) {
        let mut line = Vec::with_capacity(200);
        event.write(self.format, SystemTime::now(), &mut line);
        let mut sink = self.sink.lock().unwrap_or_else(PoisonError::into_inner);
        let _ = sink.write_all(&line).and_then(|()| sink.flush());
    }
}

impl fmt::Debug for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Events")
            .field("format", &self.format)
            .finish_non_exhaustive()
    }
}

impl Event {
    /// Appends the event's line, line end included.
    fn write(&self, format: EventFormat, time: SystemTime, line: &mut Vec<u8>) {
        match format {
            EventFormat::Text => {
                // Writing to a Vec cannot fail.
                let _ = write!(line, "{:.3} {self}", Timestamp(time));
            }
            EventFormat::Json => {
                let mut object = Object::begin(line);
                object.text("time", &Timestamp(time).text());
                self.write_members(&mut object);
                object.end();
            }
        }
        line.push(b'\n');
    }

    fn write_members(&self, object: &mut Object<'_>) {
        match self {
            Self::Started { version, workers } => {
                object.string("event", "started");
                object.string("version", version);
                object.number("workers", *workers as u64);
            }
            Self::Listening { listener, address } => {
                object.string("event", "listening");
                object.string("listener", listener);
                object.string("address", address);
            }
            Self::AdminListening { address } => {
                object.string("event", "admin_listening");
                object.string("address", address.to_string());
            }
            Self::Endpoint {
                pool,
                endpoint,
                from,
                to,
                cause,
                evidence,
            } => {
                object.string("event", "endpoint");
                object.string("pool", pool);
                object.string("endpoint", endpoint);
                object.string("from", from);
                object.string("to", to);
                object.string("cause", cause);
                if let Some(evidence) = evidence {
                    object.string("evidence", evidence);
                }
            }
            Self::EndpointLoad {
                pool,
                endpoint,
                from,
                to,
                utilization,
            } => {
                object.string("event", "endpoint_load");
                object.string("pool", pool);
                object.string("endpoint", endpoint);
                object.string("from", from);
                object.string("to", to);
                if let Some(utilization) = utilization {
                    object.ratio("utilization", *utilization);
                }
            }
            Self::EndpointAgent {
                pool,
                endpoint,
                what,
                from,
                to,
            } => {
                object.string("event", "endpoint_agent");
                object.string("pool", pool);
                object.string("endpoint", endpoint);
                object.string("what", what);
                object.string("from", from);
                object.string("to", to);
            }
            Self::EndpointDrained {
                pool,
                endpoint,
                sessions,
            } => {
                object.string("event", "endpoint_drained");
                object.string("pool", pool);
                object.string("endpoint", endpoint);
                object.number("sessions_cut", *sessions);
            }
            Self::CertificatesReplaced { holder, name } => {
                object.string("event", "certificates_replaced");
                object.string(holder, name);
            }
            Self::CertificatesKept {
                holder,
                name,
                reason,
            } => {
                object.string("event", "certificates_kept");
                object.string(holder, name);
                object.string("reason", reason);
            }
            Self::CertificateExpires {
                holder,
                name,
                certificate,
                not_after,
                warning: _,
            } => {
                object.string("event", "certificate_expires");
                object.string(holder, name);
                object.string("certificate", certificate);
                object.text("not_after", &Timestamp(*not_after).text());
            }
            Self::WorkerFailed { worker, reason } => {
                object.string("event", "worker_failed");
                object.number("worker", *worker as u64);
                object.string("reason", reason);
            }
            Self::ControlFailed { reason } => {
                object.string("event", "control_failed");
                object.string("reason", reason);
            }
            Self::AccessLogFailed { reason } => {
                object.string("event", "access_log_failed");
                object.string("reason", reason);
            }
            Self::Draining { deadline } => {
                object.string("event", "draining");
                object.seconds("deadline", *deadline);
            }
            Self::Stopped => object.string("event", "stopped"),
        }
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Started { version, workers } => {
                let plural = if *workers == 1 { "" } else { "s" };
                write!(
                    f,
                    "pointsman {version} started with {workers} worker{plural}"
                )
            }
            Self::Listening { listener, address } => {
                write!(f, "listener {listener} accepts on {address}")
            }
            Self::AdminListening { address } => write!(f, "admin API on http://{address}/"),
            Self::Endpoint {
                pool,
                endpoint,
                from,
                to,
                cause,
                evidence,
            } => {
                write!(f, "endpoint {pool}/{endpoint} {from} → {to}: ")?;
                // Words are written with underscores for machines.
                for character in cause.chars() {
                    write!(f, "{}", if character == '_' { ' ' } else { character })?;
                }
                match evidence {
                    Some(evidence) => write!(f, " ({evidence})"),
                    None => Ok(()),
                }
            }
            Self::EndpointLoad {
                pool,
                endpoint,
                from,
                to,
                utilization,
            } => {
                write!(f, "endpoint {pool}/{endpoint} {from} → {to}: load")?;
                match utilization {
                    Some(score) => write!(f, " ({:.0} % utilized)", score * 100.0),
                    None => Ok(()),
                }
            }
            Self::EndpointAgent {
                pool,
                endpoint,
                what,
                from,
                to,
            } => {
                // Words are written with underscores for machines.
                let what = what.replace('_', " ");
                write!(
                    f,
                    "endpoint {pool}/{endpoint} {from} → {to}: {what} by its agent"
                )
            }
            Self::EndpointDrained {
                pool,
                endpoint,
                sessions,
            } => {
                let plural = if *sessions == 1 { "" } else { "s" };
                write!(
                    f,
                    "endpoint {pool}/{endpoint} drain → maint: time is over \
                     ({sessions} session{plural} cut)"
                )
            }
            Self::CertificatesReplaced { holder, name } => {
                write!(f, "{holder} {name}: certificates replaced")
            }
            Self::CertificatesKept {
                holder,
                name,
                reason,
            } => write!(
                f,
                "{holder} {name}: certificates cannot be read again, the old ones stay: {reason}"
            ),
            Self::CertificateExpires {
                holder,
                name,
                certificate,
                not_after: _,
                warning,
            } => write!(f, "{holder} {name}: {certificate}: {warning}"),
            Self::WorkerFailed { worker, reason } => write!(f, "worker {worker} failed: {reason}"),
            Self::ControlFailed { reason } => {
                write!(
                    f,
                    "control thread failed, no checks and no admin API: {reason}"
                )
            }
            Self::AccessLogFailed { reason } => {
                write!(f, "access log failed, lines are lost: {reason}")
            }
            Self::Draining { deadline } => write!(
                f,
                "draining: requests in flight may finish within {} s",
                deadline.as_secs_f64()
            ),
            Self::Stopped => f.write_str("stopped"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use std::time::UNIX_EPOCH;

    fn transition() -> Event {
        Event::Endpoint {
            pool: "app".into(),
            endpoint: "127.0.0.1:3001".into(),
            from: "up",
            to: "down",
            cause: "refused_live_and_probe",
            evidence: Some("connection refused".into()),
        }
    }

    #[test]
    fn a_text_event_is_one_readable_line() {
        let mut line = Vec::new();
        transition().write(EventFormat::Text, UNIX_EPOCH, &mut line);
        assert_eq!(
            String::from_utf8(line).unwrap(),
            "1970-01-01T00:00:00.000Z endpoint app/127.0.0.1:3001 up → down: \
             refused live and probe (connection refused)\n"
        );
    }

    #[test]
    fn a_json_event_carries_every_field() {
        let mut line = Vec::new();
        transition().write(EventFormat::Json, UNIX_EPOCH, &mut line);
        assert_eq!(line.pop(), Some(b'\n'));
        let parsed: serde_json::Value = serde_json::from_slice(&line).unwrap();
        assert_eq!(
            parsed,
            json!({
                "time": "1970-01-01T00:00:00.000000Z",
                "event": "endpoint",
                "pool": "app",
                "endpoint": "127.0.0.1:3001",
                "from": "up",
                "to": "down",
                "cause": "refused_live_and_probe",
                "evidence": "connection refused",
            })
        );
    }

    #[test]
    fn a_change_of_load_tells_the_utilization_if_it_is_known() {
        let event = |utilization, format| {
            let event = Event::EndpointLoad {
                pool: "app".into(),
                endpoint: "blue".into(),
                from: "normal",
                to: "busy",
                utilization,
            };
            let mut line = Vec::new();
            event.write(format, UNIX_EPOCH, &mut line);
            String::from_utf8(line).unwrap()
        };
        assert_eq!(
            event(Some(1.1), EventFormat::Text),
            "1970-01-01T00:00:00.000Z endpoint app/blue normal → busy: load (110 % utilized)\n"
        );
        assert_eq!(
            event(Some(1.1), EventFormat::Json),
            "{\"time\":\"1970-01-01T00:00:00.000000Z\",\"event\":\"endpoint_load\",\"pool\":\"app\",\
             \"endpoint\":\"blue\",\"from\":\"normal\",\"to\":\"busy\",\"utilization\":1.10}\n"
        );
        assert!(event(None, EventFormat::Text).ends_with("normal → busy: load\n"));
        assert!(event(None, EventFormat::Json).ends_with("\"to\":\"busy\"}\n"));
    }

    #[test]
    fn the_end_of_a_drain_tells_how_many_sessions_it_cut() {
        let event = |sessions, format| {
            let event = Event::EndpointDrained {
                pool: "app".into(),
                endpoint: "blue".into(),
                sessions,
            };
            let mut line = Vec::new();
            event.write(format, UNIX_EPOCH, &mut line);
            String::from_utf8(line).unwrap()
        };
        assert_eq!(
            event(1, EventFormat::Text),
            "1970-01-01T00:00:00.000Z endpoint app/blue drain → maint: time is over \
             (1 session cut)\n"
        );
        assert!(event(0, EventFormat::Text).ends_with("(0 sessions cut)\n"));
        assert_eq!(
            event(12, EventFormat::Json),
            "{\"time\":\"1970-01-01T00:00:00.000000Z\",\"event\":\"endpoint_drained\",\
             \"pool\":\"app\",\"endpoint\":\"blue\",\"sessions_cut\":12}\n"
        );
    }

    #[test]
    fn certificates_are_told_of_by_who_uses_them() {
        let texts = |event: &Event| {
            [EventFormat::Text, EventFormat::Json].map(|format| {
                let mut line = Vec::new();
                event.write(format, UNIX_EPOCH, &mut line);
                String::from_utf8(line).unwrap()
            })
        };
        let [text, json] = texts(&Event::CertificatesReplaced {
            holder: "listener",
            name: "https".into(),
        });
        assert!(text.ends_with("Z listener https: certificates replaced\n"));
        assert!(json.ends_with("\"event\":\"certificates_replaced\",\"listener\":\"https\"}\n"));
        let [text, json] = texts(&Event::CertificatesKept {
            holder: "pool",
            name: "app".into(),
            reason: "a.pem: torn".into(),
        });
        assert!(text.ends_with(
            "Z pool app: certificates cannot be read again, the old ones stay: a.pem: torn\n"
        ));
        assert!(json.ends_with("\"pool\":\"app\",\"reason\":\"a.pem: torn\"}\n"));
        let [text, json] = texts(&Event::CertificateExpires {
            holder: "listener",
            name: "https".into(),
            certificate: "a.example".into(),
            not_after: UNIX_EPOCH,
            warning: "the certificate expires in 12 days".into(),
        });
        assert!(
            text.ends_with("Z listener https: a.example: the certificate expires in 12 days\n")
        );
        assert!(json.ends_with(
            "\"certificate\":\"a.example\",\"not_after\":\"1970-01-01T00:00:00.000000Z\"}\n"
        ));
    }

    #[test]
    fn a_sink_that_fails_is_ignored() {
        struct Broken;
        impl Write for Broken {
            fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
                Err(std::io::ErrorKind::BrokenPipe.into())
            }
            fn flush(&mut self) -> std::io::Result<()> {
                Ok(())
            }
        }
        Events::new(EventFormat::Text, Broken).emit(&Event::Stopped);
    }
}
