//! What a field is, by its name.

use message::FieldName;

use crate::h1::is_lower_token;

/// What a name means to a reader of heads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Name {
    /// `:method`
    Method,
    /// `:scheme`
    Scheme,
    /// `:authority`
    Authority,
    /// `:path`
    Path,
    /// `:protocol` (RFC 8441 §4)
    Protocol,
    /// `:status`
    Status,
    /// `cookie`, which may come in crumbs (RFC 9113 §8.2.3).
    Cookie,
    /// A name that some endpoints take for one that we act on, such as `content_length`.
    Disguised,
    /// Any other field.
    Field(FieldName),
    /// Not the name of any field: an upper-case letter, a byte that no name holds, an unknown
    /// pseudo-field (RFC 9113 §8.2.1, §8.3).
    Malformed,
}

impl Name {
    /// True for what stands for a part of the first line.
    pub(crate) fn is_pseudo(self) -> bool {
        matches!(
            self,
            Self::Method
                | Self::Scheme
                | Self::Authority
                | Self::Path
                | Self::Protocol
                | Self::Status
        )
    }

    /// What `name` is.
    pub(super) fn from_bytes(name: &[u8]) -> Self {
        match name {
            b":method" => Self::Method,
            b":scheme" => Self::Scheme,
            b":authority" => Self::Authority,
            b":path" => Self::Path,
            b":protocol" => Self::Protocol,
            b":status" => Self::Status,
            b"cookie" => Self::Cookie,
            _ if !is_lower_token(name) => Self::Malformed,
            _ => match FieldName::from_bytes(name) {
                FieldName::Other => Self::other(name),
                known => Self::Field(known),
            },
        }
    }

    fn other(name: &[u8]) -> Self {
        let dashed = FieldName::from_bytes_with_underscores(name);
        if dashed == FieldName::Other || dashed.is_feedback() {
            return Self::Field(FieldName::Other);
        }
        Self::Disguised
    }
}
