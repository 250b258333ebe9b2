//! DNS: one query by UDP and its answer.
//!
//! Source: RFC 1035 §4.1 for messages; RFC 6895 §2.3 for the words of response codes.

use super::Step;

/// A query, and what to think of its answer.
///
/// For the name servers of the root, the server is not asked to look anywhere else: it speaks for
/// itself alone. Then that there is no such name, or that it does not say, are answers of a healthy
/// server too. A name is to be resolved wherever that leads, and has to exist.
#[derive(Debug)]
pub struct Query {
    message: Vec<u8>,
    is_for_name: bool,
}

impl Query {
    /// For addresses (A) of `name`, or for the name servers (NS) of the root without one. `id` is
    /// drawn at random for each query, so that no answer to another one passes for its own. `None`
    /// if there can be no such name.
    pub fn new(id: u16, name: Option<&str>) -> Option<Self> {
        let mut message = Vec::with_capacity(HEADER_BYTES + NAME_BYTES_MAX + 4);
        message.extend_from_slice(&id.to_be_bytes());
        let recursion_desired = u8::from(name.is_some());
        message.extend_from_slice(&[recursion_desired, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
        let labels = name.map(|name| name.strip_suffix('.').unwrap_or(name).split('.'));
        for label in labels.into_iter().flatten() {
            if label.is_empty() || label.len() > LABEL_BYTES_MAX || !label.is_ascii() {
                return None;
            }
            message.push(label.len() as u8);
            message.extend_from_slice(label.as_bytes());
        }
        message.push(0);
        if message.len() > HEADER_BYTES + NAME_BYTES_MAX {
            return None;
        }
        let [a, ns, internet] = [1, 2, 1];
        let kind = if name.is_some() { a } else { ns };
        message.extend_from_slice(&[0, kind, 0, internet]);
        Some(Self {
            message,
            is_for_name: name.is_some(),
        })
    }

    /// The datagram to send.
    pub fn message(&self) -> &[u8] {
        &self.message
    }

    /// The verdict on the server that has sent this datagram. `None` if it is no answer to this
    /// query: the right one may still come. Never a [`Step::Send`].
    pub fn receive(&self, datagram: &[u8]) -> Option<Step> {
        let (header, sections) = datagram.split_first_chunk::<HEADER_BYTES>()?;
        let is_answer = header[2] & 0x80 != 0;
        if !is_answer || header[..2] != self.message[..2] {
            return None;
        }
        let questions = u16::from_be_bytes([header[4], header[5]]);
        let code = header[3] & 0x0f;
        match questions {
            // A server that cannot make sense of a query need not repeat it.
            0 if code != NOERROR => {}
            1 => {
                let question = &self.message[HEADER_BYTES..];
                // In letters of any case: that of names does not count.
                let repeated = sections.get(..question.len())?;
                if !repeated.eq_ignore_ascii_case(question) {
                    return None;
                }
            }
            _ => return None,
        }
        Some(self.judge(code))
    }

    fn judge(&self, code: u8) -> Step {
        const HEALTHY: Step = Step::Healthy { goodbye: b"" };
        match code {
            NOERROR => HEALTHY,
            3 | 5 if !self.is_for_name => HEALTHY,
            1 => Step::Unhealthy("FORMERR"),
            2 => Step::Unhealthy("SERVFAIL"),
            3 => Step::Unhealthy("NXDOMAIN"),
            4 => Step::Unhealthy("NOTIMP"),
            5 => Step::Unhealthy("REFUSED"),
            9 => Step::Unhealthy("NOTAUTH"),
            _ => Step::Unhealthy("an error"),
        }
    }
}

const NOERROR: u8 = 0;

const HEADER_BYTES: usize = 12;

/// With the lengths of labels and the zero at the end (RFC 1035 §2.3.4).
const NAME_BYTES_MAX: usize = 255;

/// RFC 1035 §2.3.4.
const LABEL_BYTES_MAX: usize = 63;
