//! Heads as the `h2` crate has them and as the test sides show them.

use bytes::Bytes;
use h2::ext::Protocol;
use h2::{Reason, RecvStream};
use http::header::{HeaderMap, HeaderName, HeaderValue};
use http::{request, response};

use crate::filler::extend_hash;
use crate::http::{Body, End, Head, latin1};

/// A list of fields.
pub(super) type Fields = Vec<(String, String)>;

/// The head of a request. Its pseudo-fields but method and path stand before the fields.
pub(super) fn request_head(parts: &request::Parts) -> Head {
    let uri = &parts.uri;
    let target = uri.path_and_query().map_or("", |path| path.as_str());
    let mut fields = Fields::new();
    let mut pseudo = |name: &str, value: Option<&str>| {
        if let Some(value) = value {
            fields.push((name.to_owned(), value.to_owned()));
        }
    };
    pseudo(":scheme", uri.scheme_str());
    pseudo(
        ":authority",
        uri.authority().map(http::uri::Authority::as_str),
    );
    let protocol = parts.extensions.get::<Protocol>();
    pseudo(":protocol", protocol.map(Protocol::as_str));
    fields.extend(fields_of(&parts.headers));
    Head {
        bytes: Vec::new(),
        line: format!("{} {target} HTTP/2.0", parts.method),
        fields,
    }
}

/// The head of a response.
pub(super) fn response_head(parts: &response::Parts) -> Head {
    Head {
        bytes: Vec::new(),
        line: format!("HTTP/2.0 {}", parts.status.as_u16()),
        fields: fields_of(&parts.headers),
    }
}

pub(super) fn fields_of(map: &HeaderMap) -> Fields {
    map.iter()
        .map(|(name, value)| (name.as_str().to_owned(), latin1(value.as_bytes())))
        .collect()
}

/// The other way round, without the fields that HTTP/2 does not have (RFC 9113 §8.2.2).
#[track_caller]
pub(super) fn map_of(fields: &[(String, String)]) -> HeaderMap {
    let mut map = HeaderMap::new();
    for (name, value) in fields {
        let name = HeaderName::from_bytes(name.as_bytes()).expect("a field name is a token");
        if HOP_BY_HOP.contains(&name.as_str()) {
            continue;
        }
        let value: Vec<u8> = value.chars().map(|c| c as u8).collect();
        map.append(
            name,
            HeaderValue::from_bytes(&value).expect("a field value is text"),
        );
    }
    map
}

/// Adds what has arrived.
pub(super) fn extend(body: &mut Body, data: &Bytes, kept_max: usize) {
    let keep = data.len().min(kept_max.saturating_sub(body.kept.len()));
    body.kept.extend_from_slice(&data[..keep]);
    body.hash = extend_hash(body.hash, data);
    body.bytes += data.len() as u64;
}

/// Reads a body to its end, giving room for more as it goes.
pub(super) async fn read_body(stream: &mut RecvStream, body: &mut Body, kept_max: usize) {
    while let Some(data) = stream.data().await {
        match data {
            Ok(data) => {
                extend(body, &data, kept_max);
                // Fails on a stream that was reset, which the next read reports.
                let _ = stream.flow_control().release_capacity(data.len());
            }
            Err(error) => {
                body.end = end_of(&error);
                return;
            }
        }
    }
    match stream.trailers().await {
        Ok(trailers) => {
            body.trailers = trailers.as_ref().map(fields_of).unwrap_or_default();
            body.end = End::Clean;
        }
        Err(error) => body.end = end_of(&error),
    }
}

/// How a body ends by this error.
pub(super) fn end_of(error: &h2::Error) -> End {
    match error.reason() {
        Some(reason) if error.is_reset() && error.is_remote() => End::StreamReset(reason.into()),
        // What this side resets, it has found wrong.
        Some(reason) if error.is_library() => End::Malformed(format!("{reason:?}: {error}")),
        Some(Reason::NO_ERROR) | None => End::Cut,
        Some(reason) => End::Malformed(format!("{reason:?}: {error}")),
    }
}

const HOP_BY_HOP: &[&str] = &["connection", "keep-alive", "transfer-encoding", "upgrade"];
