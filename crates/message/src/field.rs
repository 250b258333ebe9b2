//! Field lines: offsets into a head, and ids for the names that a proxy acts on.

use crate::Span;

/// One field line of a head, as offsets into the head's bytes.
///
/// The line begins at `name.start` and ends, line end included, at `end`. Lines lie one behind
/// the other, so a run of lines that are all forwarded is one copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Field {
    /// The name as the sender spelled it.
    pub name: Span,
    /// The value without white space around it.
    pub value: Span,
    /// Where the next line begins.
    pub end: u32,
    /// Which name it is, if it is one that we act on.
    pub id: FieldName,
    /// True if `Connection` names this field, or the field is hop-by-hop by definition
    /// (RFC 9110 §7.6.1): it ends here and is not forwarded.
    pub hop_by_hop: bool,
}

macro_rules! field_names {
    ($($(#[$doc:meta])* $id:ident = $text:literal,)*) => {
        /// A field name that a proxy acts on. Everything else is [`FieldName::Other`] and is
        /// forwarded without being looked at.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum FieldName {
            $(#[doc = concat!("`", $text, "`")] $id,)*
            /// Any other name.
            Other,
        }

        impl FieldName {
            /// Every known name, in lower case, with its id.
            pub const KNOWN: &'static [(&'static str, FieldName)] =
                &[$(($text, FieldName::$id),)*];
        }
    };
}

field_names! {
    Accept = "accept",
    Connection = "connection",
    ContentLength = "content-length",
    EndpointLoadMetrics = "endpoint-load-metrics",
    Expect = "expect",
    Forwarded = "forwarded",
    Host = "host",
    KeepAlive = "keep-alive",
    MaxForwards = "max-forwards",
    ProxyConnection = "proxy-connection",
    RetryAfter = "retry-after",
    Te = "te",
    Trailer = "trailer",
    TransferEncoding = "transfer-encoding",
    Upgrade = "upgrade",
    Via = "via",
    XForwardedFor = "x-forwarded-for",
    XForwardedHost = "x-forwarded-host",
    XForwardedProto = "x-forwarded-proto",
    XLatencyUs = "x-latency-us",
    XRequestId = "x-request-id",
    XRif = "x-rif",
}

/// For each [`place`], which of [`FieldName::KNOWN`] stands there: a name is compared with one at
/// most.
const BY_PLACE: [u8; PLACES] = {
    let mut table = [NOBODY; PLACES];
    let mut index = 0;
    while index < FieldName::KNOWN.len() {
        let name = FieldName::KNOWN[index].0.as_bytes();
        assert!(
            name.len() <= LENGTH_MAX,
            "a name is longer than the longest"
        );
        let place = place(name.len(), name[0], name[name.len() - 1]);
        assert!(
            table[place] == NOBODY,
            "two names have one place: change the factors in `place`"
        );
        table[place] = index as u8;
        index += 1;
    }
    table
};

const PLACES: usize = 64;
const NOBODY: u8 = u8::MAX;
const LENGTH_MAX: usize = 21;

/// A number that is another one for each known name. The factors were found by trying.
const fn place(length: usize, first: u8, last: u8) -> usize {
    (length + (first | 0x20) as usize + 7 * (last | 0x20) as usize) % PLACES
}

impl FieldName {
    /// The id of `name`, whatever its case.
    pub fn from_bytes(name: &[u8]) -> Self {
        let &[first, .., last] = name else {
            // No known name is shorter than two bytes.
            return Self::Other;
        };
        match Self::KNOWN.get(usize::from(BY_PLACE[place(name.len(), first, last)])) {
            Some((known, id))
                if known.len() == name.len() && is_same_name(name, known.as_bytes()) =>
            {
                *id
            }
            _ => Self::Other,
        }
    }

    /// The id that `name` would have if `_` were `-`, for a name that has a `_`. CGI and what came
    /// after it take the two for one name.
    pub fn from_bytes_with_underscores(name: &[u8]) -> Self {
        if name.len() > LENGTH_MAX || !name.contains(&b'_') {
            return Self::Other;
        }
        let mut dashed = [0; LENGTH_MAX];
        for (to, from) in dashed.iter_mut().zip(name) {
            *to = if *from == b'_' { b'-' } else { *from };
        }
        Self::from_bytes(&dashed[..name.len()])
    }

    /// True for the fields by which an endpoint says how busy it is.
    pub fn is_feedback(self) -> bool {
        matches!(
            self,
            Self::EndpointLoadMetrics | Self::RetryAfter | Self::XLatencyUs | Self::XRif
        )
    }

    /// True for the fields that are about one connection by definition (RFC 9110 §7.6.1).
    pub fn is_hop_by_hop(self) -> bool {
        matches!(
            self,
            Self::Connection
                | Self::KeepAlive
                | Self::ProxyConnection
                | Self::Te
                | Self::TransferEncoding
                | Self::Upgrade
        )
    }
}

/// True if the token `name` is `known`, which is of the same length, in lower case.
///
/// Bit 0x20 makes the letters of a token lower case, and makes no other byte of a token one of
/// those that known names consist of: letters, digits and `-`. So whole words can be compared.
pub fn is_same_name(name: &[u8], known: &[u8]) -> bool {
    const LOWER: u64 = 0x2020_2020_2020_2020;
    let (name, name_rest) = name.as_chunks::<8>();
    let (known, known_rest) = known.as_chunks::<8>();
    name.iter()
        .zip(known)
        .all(|(a, b)| u64::from_ne_bytes(*a) | LOWER == u64::from_ne_bytes(*b))
        && name_rest
            .iter()
            .zip(known_rest)
            .all(|(a, b)| a | 0x20 == *b)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_known_name_is_found_in_any_case() {
        for (text, id) in FieldName::KNOWN {
            assert_eq!(FieldName::from_bytes(text.as_bytes()), *id, "{text}");
            assert_eq!(
                FieldName::from_bytes(text.to_uppercase().as_bytes()),
                *id,
                "{text}"
            );
        }
        for other in [
            "",
            "t",
            "hos",
            "hosts",
            "x-forwarded-fog",
            "a-name-longer-than-any-known-one",
        ] {
            assert_eq!(FieldName::from_bytes(other.as_bytes()), FieldName::Other);
        }
    }
}
