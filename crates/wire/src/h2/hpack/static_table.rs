//! The table that everybody has (RFC 7541 Appendix A).

use message::FieldName;

use super::name::Name;

/// An entry.
pub(super) struct Entry {
    /// `name: value CRLF`
    pub(super) line: &'static str,
    pub(super) name: Name,
    pub(super) name_bytes: u32,
}

impl Entry {
    /// The entry with this index, which counts from 1.
    pub(super) fn at(index: u32) -> Option<&'static Self> {
        ENTRIES.get((index as usize).wrapping_sub(1))
    }

    /// Bytes of the value.
    pub(super) fn value_bytes(&self) -> u32 {
        self.line.len() as u32 - self.name_bytes - 4
    }
}

/// How many there are: the dynamic table begins behind them.
pub(super) const COUNT: u32 = ENTRIES.len() as u32;

macro_rules! entries {
    ($($name:literal $($value:literal)? = $id:expr,)*) => {
        &[$(Entry {
            line: concat!($name, ": ", $($value,)? "\r\n"),
            name: $id,
            name_bytes: $name.len() as u32,
        },)*]
    };
}

const OTHER: Name = Name::Field(FieldName::Other);

const ENTRIES: &[Entry] = entries! {
    ":authority" = Name::Authority,
    ":method" "GET" = Name::Method,
    ":method" "POST" = Name::Method,
    ":path" "/" = Name::Path,
    ":path" "/index.html" = Name::Path,
    ":scheme" "http" = Name::Scheme,
    ":scheme" "https" = Name::Scheme,
    ":status" "200" = Name::Status,
    ":status" "204" = Name::Status,
    ":status" "206" = Name::Status,
    ":status" "304" = Name::Status,
    ":status" "400" = Name::Status,
    ":status" "404" = Name::Status,
    ":status" "500" = Name::Status,
    "accept-charset" = OTHER,
    "accept-encoding" "gzip, deflate" = OTHER,
    "accept-language" = OTHER,
    "accept-ranges" = OTHER,
    "accept" = Name::Field(FieldName::Accept),
    "access-control-allow-origin" = OTHER,
    "age" = OTHER,
    "allow" = OTHER,
    "authorization" = OTHER,
    "cache-control" = OTHER,
    "content-disposition" = OTHER,
    "content-encoding" = OTHER,
    "content-language" = OTHER,
    "content-length" = Name::Field(FieldName::ContentLength),
    "content-location" = OTHER,
    "content-range" = OTHER,
    "content-type" = OTHER,
    "cookie" = Name::Cookie,
    "date" = OTHER,
    "etag" = OTHER,
    "expect" = Name::Field(FieldName::Expect),
    "expires" = OTHER,
    "from" = OTHER,
    "host" = Name::Field(FieldName::Host),
    "if-match" = OTHER,
    "if-modified-since" = OTHER,
    "if-none-match" = OTHER,
    "if-range" = OTHER,
    "if-unmodified-since" = OTHER,
    "last-modified" = OTHER,
    "link" = OTHER,
    "location" = OTHER,
    "max-forwards" = Name::Field(FieldName::MaxForwards),
    "proxy-authenticate" = OTHER,
    "proxy-authorization" = OTHER,
    "range" = OTHER,
    "referer" = OTHER,
    "refresh" = OTHER,
    "retry-after" = Name::Field(FieldName::RetryAfter),
    "server" = OTHER,
    "set-cookie" = OTHER,
    "strict-transport-security" = OTHER,
    "transfer-encoding" = Name::Field(FieldName::TransferEncoding),
    "user-agent" = OTHER,
    "vary" = OTHER,
    "via" = Name::Field(FieldName::Via),
    "www-authenticate" = OTHER,
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_entry_knows_its_name() {
        assert_eq!(COUNT, 61);
        for entry in ENTRIES {
            let name = &entry.line[..entry.name_bytes as usize];
            assert_eq!(Name::from_bytes(name.as_bytes()), entry.name, "{name}");
        }
    }
}
