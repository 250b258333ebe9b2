//! Which of the ways to write calls a content type names.

/// How a call is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// gRPC over HTTP/2.
    Grpc,
    /// gRPC-Web: how it went stands at the end of the content, because browsers show no trailers.
    Web,
    /// gRPC-Web with content in base64, for browsers that show a stream as text only.
    WebText,
}

impl Kind {
    /// The kind that the value of a `Content-Type` field names; `None` if it is no call.
    pub fn of(content_type: &[u8]) -> Option<Self> {
        split(content_type).map(|(kind, _)| kind)
    }

    /// The kind that a gRPC-Web response is to have: what `Accept` names, else that of the request.
    pub fn accepted(self, accept: Option<&[u8]>) -> Self {
        let mut named = crate::h1::tokens(accept.unwrap_or_default()).filter_map(Self::of);
        named.find(|kind| *kind != Self::Grpc).unwrap_or(self)
    }

    /// Appends `content_type` as it reads for this kind: the subtype of the messages (`+proto`)
    /// and parameters stay. One that names no call is appended as it is.
    pub fn write_content_type(self, content_type: &[u8], out: &mut Vec<u8>) {
        match split(content_type) {
            Some((_, rest)) => {
                out.extend_from_slice(self.media_type().as_bytes());
                out.extend_from_slice(rest);
            }
            None => out.extend_from_slice(content_type),
        }
    }

    fn media_type(self) -> &'static str {
        match self {
            Self::Grpc => "application/grpc",
            Self::Web => "application/grpc-web",
            Self::WebText => "application/grpc-web-text",
        }
    }
}

/// The kind, and what stands behind its media type: nothing, `+proto`, `; parameters`.
fn split(content_type: &[u8]) -> Option<(Kind, &[u8])> {
    [Kind::WebText, Kind::Web, Kind::Grpc]
        .into_iter()
        .find_map(|kind| {
            let (name, rest) = content_type.split_at_checked(kind.media_type().len())?;
            let is_whole = matches!(rest.first(), None | Some(b'+' | b';' | b' ' | b'\t'));
            let is_kind = is_whole && name.eq_ignore_ascii_case(kind.media_type().as_bytes());
            is_kind.then_some((kind, rest))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_is_known_by_its_media_type() {
        for (content_type, kind) in [
            ("application/grpc", Some(Kind::Grpc)),
            ("application/grpc+proto", Some(Kind::Grpc)),
            ("Application/GRPC; charset=utf-8", Some(Kind::Grpc)),
            ("application/grpc-web", Some(Kind::Web)),
            ("application/grpc-web+json", Some(Kind::Web)),
            ("application/grpc-web-text", Some(Kind::WebText)),
            ("application/grpc-web-text+proto", Some(Kind::WebText)),
            ("application/grpcweb", None),
            ("application/grpc-web-texts", None),
            ("application/grp", None),
            ("application/json", None),
            ("text/application/grpc", None),
            ("", None),
        ] {
            assert_eq!(Kind::of(content_type.as_bytes()), kind, "{content_type}");
        }
    }

    #[test]
    fn a_content_type_changes_its_kind_and_nothing_else() {
        for (from, kind, to) in [
            ("application/grpc-web", Kind::Grpc, "application/grpc"),
            (
                "application/grpc-web-text+proto",
                Kind::Grpc,
                "application/grpc+proto",
            ),
            (
                "application/grpc+proto;a=b",
                Kind::WebText,
                "application/grpc-web-text+proto;a=b",
            ),
            ("application/grpc", Kind::Web, "application/grpc-web"),
            ("text/html", Kind::Web, "text/html"),
        ] {
            let mut out = Vec::new();
            kind.write_content_type(from.as_bytes(), &mut out);
            assert_eq!(String::from_utf8_lossy(&out), to);
        }
    }

    #[test]
    fn a_web_client_gets_what_it_accepts_or_what_it_sends() {
        for (accept, kind) in [
            (None, Kind::Web),
            (Some("*/*"), Kind::Web),
            (Some("application/grpc"), Kind::Web),
            (Some("application/grpc-web-text"), Kind::WebText),
            (
                Some("text/plain, application/grpc-web-text+proto;q=1"),
                Kind::WebText,
            ),
        ] {
            assert_eq!(
                Kind::Web.accepted(accept.map(str::as_bytes)),
                kind,
                "{accept:?}"
            );
        }
        assert_eq!(Kind::WebText.accepted(None), Kind::WebText);
        assert_eq!(
            Kind::WebText.accepted(Some(b"application/grpc-web")),
            Kind::Web
        );
    }
}
