//! The two messages of `grpc.health.v1.Health/Check`, in protocol buffers.
//!
//! A field of a message is a key and a value. The key holds the field's number and a wire type:
//! here 2 for text, which has its length before it, and 0 for a number in groups of seven bits, the
//! lowest first, where all bytes but the last have their high bit set. A field of the value zero is
//! left out; unknown fields are passed over.
//!
//! ```text
//! message HealthCheckRequest  { string service = 1; }
//! message HealthCheckResponse { ServingStatus status = 1; }
//! ```

/// What a service says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ServingStatus {
    /// It does not know, or says something that this protocol does not.
    Unknown,
    /// It takes calls.
    Serving,
    /// It does not.
    NotServing,
    /// There is no such service. Of `Watch` only; `Check` ends with `not_found`.
    ServiceUnknown,
}

impl ServingStatus {
    /// The word in events.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Serving => "serving",
            Self::NotServing => "not_serving",
            Self::ServiceUnknown => "service_unknown",
        }
    }
}

/// Appends a HealthCheckRequest for `service`; the empty one is the endpoint as a whole.
pub fn write_health_request(service: &str, out: &mut Vec<u8>) {
    if service.is_empty() {
        return;
    }
    out.push(SERVICE_KEY);
    let mut length = service.len();
    while length >= 0x80 {
        out.push(length as u8 | 0x80);
        length >>= 7;
    }
    out.push(length as u8);
    out.extend_from_slice(service.as_bytes());
}

/// The status in a HealthCheckResponse. `None` if it is no message of protocol buffers.
pub fn read_health_response(mut message: &[u8]) -> Option<ServingStatus> {
    let mut status = 0;
    while !message.is_empty() {
        let key = take_varint(&mut message)?;
        let value = match key & 7 {
            0 => take_varint(&mut message)?,
            1 => skip(&mut message, 8)?,
            2 => {
                let length = take_varint(&mut message)?;
                skip(&mut message, usize::try_from(length).ok()?)?
            }
            5 => skip(&mut message, 4)?,
            // Groups have been out of use since before gRPC.
            _ => return None,
        };
        // Of a field that is repeated, the last one counts.
        if key == STATUS_KEY {
            status = value;
        }
    }
    Some(match status {
        1 => ServingStatus::Serving,
        2 => ServingStatus::NotServing,
        3 => ServingStatus::ServiceUnknown,
        _ => ServingStatus::Unknown,
    })
}

/// Field 1, text.
const SERVICE_KEY: u8 = 1 << 3 | 2;

/// Field 1, a number.
const STATUS_KEY: u64 = 1 << 3;

/// Passes over a value that is no number, which counts as zero.
fn skip(rest: &mut &[u8], count: usize) -> Option<u64> {
    (_, *rest) = rest.split_at_checked(count)?;
    Some(0)
}

fn take_varint(rest: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let (byte, behind) = rest.split_first()?;
        *rest = behind;
        number |= u64::from(byte & 0x7f) << shift;
        if *byte < 0x80 {
            return Some(number);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_names_its_service() {
        let request = |service: &str| {
            let mut out = Vec::new();
            write_health_request(service, &mut out);
            out
        };
        assert_eq!(request(""), b"");
        assert_eq!(request("shop"), b"\x0a\x04shop");
        let long = "s".repeat(300);
        assert_eq!(request(&long), [b"\x0a\xac\x02", long.as_bytes()].concat());
    }

    #[test]
    fn a_response_is_read_past_fields_that_nobody_knows() {
        for (message, status) in [
            (&b""[..], Some(ServingStatus::Unknown)),
            (b"\x08\x00", Some(ServingStatus::Unknown)),
            (b"\x08\x01", Some(ServingStatus::Serving)),
            (b"\x08\x81\x00", Some(ServingStatus::Serving)),
            (b"\x08\x01\x08\x02", Some(ServingStatus::NotServing)),
            (b"\x08\x03", Some(ServingStatus::ServiceUnknown)),
            (b"\x08\x04", Some(ServingStatus::Unknown)),
            (b"\x12\x02hi\x08\x01", Some(ServingStatus::Serving)),
            (
                b"\x11abcdefgh\x1dabcd\x20\x05\x08\x01",
                Some(ServingStatus::Serving),
            ),
            (b"\x08", None),
            (b"\x08\xff", None),
            (b"\x12\x03hi", None),
            (b"\x11short", None),
            (b"\x0b", None),
            (b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", None),
        ] {
            assert_eq!(read_health_response(message), status, "{message:?}");
        }
    }
}
