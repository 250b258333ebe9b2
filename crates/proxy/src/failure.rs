//! Why we answered instead of the endpoint: one table from cause to status.
//!
//! The word of a failure is the error type of RFC 9209 §2.3. The access log, the metric label and
//! the `Proxy-Status` field all say the same word.

use std::fmt::Write as _;
use std::time::SystemTime;

use message::{FieldName, RequestHead, Status};
use serde_json::json;
use wire::h1::{BadMessage, write_field};

/// Why we answered instead of the endpoint, or cut its answer short.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Failure {
    /// A trusted proxy sent no PROXY header, or a broken one.
    ProxyHeader,
    /// A connection began like TLS and broke its rules, or did not finish its first message.
    ClientHello,
    /// The client broke a rule.
    BadRequest(BadMessage),
    /// The client did not finish its request in time.
    RequestTimeout,
    /// A method that the route does not allow.
    MethodNotAllowed,
    /// The request is for another name than the connection was made for.
    Misdirected,
    /// No route matches.
    RouteNotFound,
    /// The request has been here before.
    LoopDetected,
    /// No endpoint may be used.
    DestinationUnavailable,
    /// The pool as a whole is at its limit.
    PoolFull,
    /// Every endpoint is at its limit and so is the queue.
    QueueFull,
    /// Every endpoint was at its limit for too long.
    QueueTimeout,
    /// The endpoint refused the connection.
    ConnectionRefused,
    /// No connection in time.
    ConnectionTimeout,
    /// There is no way to the endpoint.
    DestinationUnroutable,
    /// The endpoint does not speak TLS, or not as we do.
    TlsProtocol,
    /// The endpoint's certificate is not one to believe.
    TlsCertificate,
    /// The endpoint closed or reset the connection before its response.
    ConnectionTerminated,
    /// The endpoint closed or reset the connection within its response.
    ResponseIncomplete,
    /// No response head in time, or a body that stopped.
    ResponseTimeout,
    /// The endpoint broke a rule.
    BadResponse(BadMessage),
    /// The endpoint switched protocols although nobody asked for it.
    UpgradeFailed,
    /// We could not do our part: no sockets left, for example.
    InternalError,
}

/// The word of every failure, for metrics. Indexed by [`Failure::word_index`].
pub const FAILURE_WORDS: &[&str] = &[
    "proxy_header_error",
    "client_hello_error",
    "http_request_error",
    "http_request_denied",
    "destination_not_found",
    "proxy_loop_detected",
    "destination_unavailable",
    "connection_limit_reached",
    "connection_refused",
    "connection_timeout",
    "destination_ip_unroutable",
    "tls_protocol_error",
    "tls_certificate_error",
    "connection_terminated",
    "http_response_incomplete",
    "http_response_timeout",
    "http_protocol_error",
    "http_response_header_section_size",
    "http_upgrade_failed",
    "proxy_internal_error",
];

impl Failure {
    /// The error type of RFC 9209 §2.3.
    pub(crate) fn word(self) -> &'static str {
        match self {
            // Two that HTTP never gets to see.
            Self::ProxyHeader => "proxy_header_error",
            Self::ClientHello => "client_hello_error",
            Self::BadRequest(_) | Self::RequestTimeout => "http_request_error",
            Self::MethodNotAllowed | Self::Misdirected => "http_request_denied",
            Self::RouteNotFound => "destination_not_found",
            Self::LoopDetected => "proxy_loop_detected",
            Self::DestinationUnavailable => "destination_unavailable",
            Self::PoolFull | Self::QueueFull | Self::QueueTimeout => "connection_limit_reached",
            Self::ConnectionRefused => "connection_refused",
            Self::ConnectionTimeout => "connection_timeout",
            Self::DestinationUnroutable => "destination_ip_unroutable",
            Self::TlsProtocol => "tls_protocol_error",
            Self::TlsCertificate => "tls_certificate_error",
            Self::ConnectionTerminated => "connection_terminated",
            Self::ResponseIncomplete => "http_response_incomplete",
            Self::ResponseTimeout => "http_response_timeout",
            Self::BadResponse(BadMessage::FieldsTooLarge) => "http_response_header_section_size",
            Self::BadResponse(_) => "http_protocol_error",
            Self::UpgradeFailed => "http_upgrade_failed",
            Self::InternalError => "proxy_internal_error",
        }
    }

    /// Where the word stands in [`FAILURE_WORDS`].
    pub(crate) fn word_index(self) -> usize {
        let word = self.word();
        FAILURE_WORDS
            .iter()
            .position(|known| *known == word)
            .expect("a test finds every word in the table")
    }

    /// Who is to blame decides the status: the client (4xx), the endpoint or the way to it (502,
    /// 503, 504), or us (500).
    pub(crate) fn status(self) -> Status {
        match self {
            Self::BadRequest(bad) => match bad {
                BadMessage::LineTooLong => Status::URI_TOO_LONG,
                BadMessage::FieldsTooLarge => Status::FIELDS_TOO_LARGE,
                BadMessage::Version => Status::VERSION_NOT_SUPPORTED,
                BadMessage::Expectation => Status::EXPECTATION_FAILED,
                BadMessage::BareLineEnd
                | BadMessage::RequestLine
                | BadMessage::StatusLine
                | BadMessage::Target
                | BadMessage::DotSegment
                | BadMessage::FieldName
                | BadMessage::FieldValue
                | BadMessage::ContentLength
                | BadMessage::TransferEncoding
                | BadMessage::AmbiguousFraming
                | BadMessage::Host
                | BadMessage::ChunkSize
                | BadMessage::ChunkExtension
                | BadMessage::Base64
                | BadMessage::Trailers => Status::BAD_REQUEST,
            },
            Self::ProxyHeader | Self::ClientHello => Status::BAD_REQUEST,
            Self::RequestTimeout => Status::REQUEST_TIMEOUT,
            Self::MethodNotAllowed => Status::METHOD_NOT_ALLOWED,
            Self::Misdirected => Status::MISDIRECTED_REQUEST,
            Self::RouteNotFound => Status::NOT_FOUND,
            Self::LoopDetected => Status::LOOP_DETECTED,
            Self::DestinationUnavailable
            | Self::PoolFull
            | Self::QueueFull
            | Self::QueueTimeout => Status::SERVICE_UNAVAILABLE,
            Self::ConnectionRefused
            | Self::DestinationUnroutable
            | Self::TlsProtocol
            | Self::TlsCertificate
            | Self::ConnectionTerminated
            | Self::ResponseIncomplete
            | Self::BadResponse(_)
            | Self::UpgradeFailed => Status::BAD_GATEWAY,
            Self::ConnectionTimeout | Self::ResponseTimeout => Status::GATEWAY_TIMEOUT,
            Self::InternalError => Status::INTERNAL_SERVER_ERROR,
        }
    }

    /// One sentence for the person who sees the reply.
    pub(crate) fn detail(self) -> String {
        match self {
            Self::BadRequest(bad) => format!("The request was refused: {bad}."),
            Self::ProxyHeader => "The connection has no valid PROXY header.".into(),
            Self::ClientHello => "The connection does not begin with valid TLS.".into(),
            Self::RequestTimeout => "The request did not arrive in time.".into(),
            Self::MethodNotAllowed => "This method is not allowed here.".into(),
            Self::Misdirected => {
                "The connection was made for another name than the request is for.".into()
            }
            Self::RouteNotFound => "No route matches this host and path.".into(),
            Self::LoopDetected => "The request has passed this load balancer before.".into(),
            Self::DestinationUnavailable => "No server is available at the moment.".into(),
            Self::PoolFull => "The servers have as many requests as they may.".into(),
            Self::QueueFull => "All servers are busy and the queue is full.".into(),
            Self::QueueTimeout => "All servers were busy for too long.".into(),
            Self::ConnectionRefused => "The server refused the connection.".into(),
            Self::ConnectionTimeout => "The server did not accept a connection in time.".into(),
            Self::DestinationUnroutable => "The server cannot be reached.".into(),
            Self::TlsProtocol => "No TLS connection to the server could be made.".into(),
            Self::TlsCertificate => "The server's certificate was refused.".into(),
            Self::ConnectionTerminated => {
                "The server closed the connection before it answered.".into()
            }
            Self::ResponseIncomplete => "The server closed the connection in its answer.".into(),
            Self::ResponseTimeout => "The server did not answer in time.".into(),
            Self::BadResponse(bad) => format!("The server's answer was refused: {bad}."),
            Self::UpgradeFailed => "The server switched protocols without being asked.".into(),
            Self::InternalError => "The load balancer could not do its part.".into(),
        }
    }

    /// True where the same request may succeed a little later.
    fn may_pass(self) -> bool {
        self.status() == Status::SERVICE_UNAVAILABLE
    }
}

/// Seconds after which a client that got 503 should come again: about the time in which health
/// checks notice that an endpoint is back, or a queue moves on.
const RETRY_AFTER_SECONDS: &[u8] = b"2";

/// Appends the whole reply for `failure` to `out`: problem details (RFC 9457) as JSON, or HTML for
/// a client that prefers it.
pub(crate) fn write_reply(
    failure: Failure,
    request: &RequestHead,
    request_id: &str,
    keep_alive: bool,
    out: &mut Vec<u8>,
) {
    let status = failure.status();
    let (media_type, body) = if prefers_html(request) {
        ("text/html; charset=utf-8", html(failure, request_id))
    } else {
        (
            "application/problem+json",
            problem_details(failure, request_id),
        )
    };
    out.extend_from_slice(format!("HTTP/1.1 {status} {}\r\n", status.reason()).as_bytes());
    let date = httpdate::fmt_http_date(SystemTime::now());
    write_field("Date", date.as_bytes(), out);
    write_field("Content-Type", media_type.as_bytes(), out);
    write_field("Content-Length", body.len().to_string().as_bytes(), out);
    write_field("Cache-Control", b"no-store", out);
    let proxy_status = format!("pointsman; error={}", failure.word());
    write_field("Proxy-Status", proxy_status.as_bytes(), out);
    if !request_id.is_empty() {
        write_field("X-Request-Id", request_id.as_bytes(), out);
    }
    if failure.may_pass() {
        write_field("Retry-After", RETRY_AFTER_SECONDS, out);
    }
    if failure == Failure::MethodNotAllowed {
        write_field("Allow", ALLOW, out);
    }
    end_head(keep_alive, out);
    if request.method != message::Method::Head {
        out.extend_from_slice(body.as_bytes());
    }
}

/// Methods that every route allows.
const ALLOW: &[u8] = b"GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS";

/// Appends the answer to an OPTIONS that was meant for us (`Max-Forwards: 0`, RFC 9110 §7.6.2).
pub(crate) fn write_options(request_id: &str, keep_alive: bool, out: &mut Vec<u8>) {
    out.extend_from_slice(b"HTTP/1.1 200 OK\r\n");
    write_field("Allow", ALLOW, out);
    write_field("Content-Length", b"0", out);
    write_field("X-Request-Id", request_id.as_bytes(), out);
    end_head(keep_alive, out);
}

/// Appends the redirect of `request` to HTTPS at `port` (RFC 9110 §15.4.9): method and body stay.
pub(crate) fn write_redirect(
    request: &RequestHead,
    port: u16,
    request_id: &str,
    keep_alive: bool,
    out: &mut Vec<u8>,
) {
    let status = Status::PERMANENT_REDIRECT;
    out.extend_from_slice(format!("HTTP/1.1 {status} {}\r\n", status.reason()).as_bytes());
    out.extend_from_slice(b"Location: https://");
    out.extend_from_slice(request.route_host());
    if port != 443 {
        out.extend_from_slice(format!(":{port}").as_bytes());
    }
    let target = request.text(request.path_and_query);
    if !matches!(target.first(), Some(b'/')) {
        out.push(b'/');
    }
    if target != b"*" {
        out.extend_from_slice(target);
    }
    out.extend_from_slice(b"\r\n");
    write_field("Content-Length", b"0", out);
    write_field("X-Request-Id", request_id.as_bytes(), out);
    end_head(keep_alive, out);
}

/// Appends what becomes of the connection, and the end of the head.
pub(crate) fn end_head(keep_alive: bool, out: &mut Vec<u8>) {
    let connection: &[u8] = if keep_alive { b"keep-alive" } else { b"close" };
    write_field("Connection", connection, out);
    out.extend_from_slice(b"\r\n");
}

/// True if `Accept` names HTML, which browsers do and programs do not.
fn prefers_html(request: &RequestHead) -> bool {
    request.field(FieldName::Accept).is_some_and(|accept| {
        accept
            .windows(9)
            .any(|part| part.eq_ignore_ascii_case(b"text/html"))
    })
}

fn problem_details(failure: Failure, request_id: &str) -> String {
    let status = failure.status();
    let mut problem = json!({
        "type": "about:blank",
        "title": status.reason(),
        "status": status.code(),
        "detail": failure.detail(),
        "error": failure.word(),
    });
    if !request_id.is_empty() {
        problem["request_id"] = request_id.into();
    }
    format!("{problem}\n")
}

/// The page holds nothing that the client sent, so there is nothing to escape but our own words.
fn html(failure: Failure, request_id: &str) -> String {
    let status = failure.status();
    let (reason, detail) = (status.reason(), failure.detail());
    let mut page = format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width\"><title>{status} {reason}</title>\
         <style>body{{font:1rem/1.5 system-ui,sans-serif;max-width:34rem;margin:15vh auto;\
         padding:0 1rem}}small{{color:#777}}</style></head>\n\
         <body><h1>{status} {reason}</h1>\n<p>{detail}</p>\n"
    );
    if !request_id.is_empty() {
        let _ = writeln!(page, "<p><small>Request {request_id}</small></p>");
    }
    page.push_str("</body></html>\n");
    page
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Failure; 24] = [
        Failure::ProxyHeader,
        Failure::ClientHello,
        Failure::BadRequest(BadMessage::Host),
        Failure::RequestTimeout,
        Failure::MethodNotAllowed,
        Failure::RouteNotFound,
        Failure::LoopDetected,
        Failure::DestinationUnavailable,
        Failure::PoolFull,
        Failure::QueueFull,
        Failure::QueueTimeout,
        Failure::ConnectionRefused,
        Failure::ConnectionTimeout,
        Failure::DestinationUnroutable,
        Failure::TlsProtocol,
        Failure::TlsCertificate,
        Failure::Misdirected,
        Failure::ConnectionTerminated,
        Failure::ResponseIncomplete,
        Failure::ResponseTimeout,
        Failure::BadResponse(BadMessage::Host),
        Failure::BadResponse(BadMessage::FieldsTooLarge),
        Failure::UpgradeFailed,
        Failure::InternalError,
    ];

    #[test]
    fn every_word_stands_in_the_table_and_every_entry_is_used() {
        let used: std::collections::BTreeSet<&str> = ALL.map(Failure::word).into();
        let table: std::collections::BTreeSet<&str> = FAILURE_WORDS.iter().copied().collect();
        assert_eq!(used, table);
        for failure in ALL {
            assert_eq!(FAILURE_WORDS[failure.word_index()], failure.word());
        }
    }

    #[test]
    fn a_reply_announces_the_length_it_has() {
        for failure in ALL {
            let mut out = Vec::new();
            write_reply(failure, &RequestHead::default(), "id", false, &mut out);
            let text = String::from_utf8(out).unwrap();
            let (head, body) = text.split_once("\r\n\r\n").unwrap();
            assert!(
                head.contains(&format!("Content-Length: {}\r\n", body.len())),
                "{head}"
            );
            let problem: serde_json::Value = serde_json::from_str(body).unwrap();
            assert_eq!(problem["status"], failure.status().code());
        }
    }
}
