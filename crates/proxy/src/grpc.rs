//! Calls: what an exchange has beside when it is one of gRPC.
//!
//! A [`Call`] is known by the content type of its request. How it went stands behind the content,
//! or in the head where there is none, and is what is retried, logged, counted and judged by
//! instead of the HTTP status, which is 200 whatever happens. What we have to say ourselves is said
//! in the same way. Calls of gRPC-Web become plain ones on the way to an endpoint that speaks
//! HTTP/2, and their responses become gRPC-Web again.

use std::time::{Instant, SystemTime};

use balance::{Pool, load_report};
use message::{BodyLength, FieldName, Method, RequestHead, ResponseHead};
use wire::grpc::{
    Code, Kind, WebRequest, WebResponse, find_field, parse_timeout, write_status_message,
};
use wire::h1::{BadMessage, write_field};

use crate::failure::{Failure, end_head};
use crate::key;
use crate::record::Outcome;

/// The word of every code, for metrics. Its place is its number.
pub const GRPC_CODES: &[&str] = &{
    let mut words = [""; Code::ALL.len()];
    let mut number = 0;
    while number < words.len() {
        words[number] = Code::ALL[number].as_str();
        number += 1;
    }
    words
};

/// An exchange that is a call.
#[derive(Debug)]
pub(crate) struct Call {
    /// How the client writes it.
    kind: Kind,
    /// How the client reads the response.
    response_kind: Kind,
    /// When the client has had enough; `None`: never.
    pub(crate) deadline: Option<Instant>,
    /// The endpoint gets it as plain gRPC, though the client writes gRPC-Web.
    is_translated: bool,
}

impl Call {
    /// The call that `request`, which came at `began`, is, if it is one.
    pub(crate) fn of(request: &RequestHead, began: Instant) -> Option<Self> {
        // Every call is a POST, so that other requests cost nothing here.
        if request.method != Method::Post {
            return None;
        }
        let kind = Kind::of(field(request, "content-type")?)?;
        let response_kind = match kind {
            Kind::Grpc => kind,
            Kind::Web | Kind::WebText => kind.accepted(request.field(FieldName::Accept)),
        };
        let timeout = field(request, "grpc-timeout").and_then(parse_timeout);
        Some(Self {
            kind,
            response_kind,
            // What is further away than clocks reach is never.
            deadline: timeout.and_then(|timeout| began.checked_add(timeout)),
            is_translated: false,
        })
    }

    /// True if the client has had enough.
    pub(crate) fn is_late(&self, now: Instant) -> bool {
        self.deadline.is_some_and(|deadline| deadline <= now)
    }

    /// The endpoint is known to speak plain gRPC, as all do that speak HTTP/2.
    pub(crate) fn translate(&mut self) {
        self.is_translated = self.kind != Kind::Grpc;
    }

    /// How the content of `request` changes on its way, if it does: its type there, and what
    /// changes it.
    pub(crate) fn translate_request(
        &self,
        request: &RequestHead,
    ) -> Option<(Vec<u8>, Translation)> {
        let content_type = field(request, "content-type").filter(|_| self.is_translated)?;
        let mut written = Vec::new();
        Kind::Grpc.write_content_type(content_type, &mut written);
        Some((written, Translation::Request(WebRequest::new(self.kind))))
    }

    /// The same for `response`.
    pub(crate) fn translate_response(
        &self,
        response: &ResponseHead,
    ) -> Option<(Vec<u8>, Translation)> {
        let mut fields = key::fields(&response.fields, &response.bytes, "content-type");
        let content_type = response.text(fields.next()?.value);
        // What does not come from a server of gRPC is passed on as it is.
        if !self.is_translated || Kind::of(content_type) != Some(Kind::Grpc) {
            return None;
        }
        let mut written = Vec::new();
        self.response_kind
            .write_content_type(content_type, &mut written);
        let translation = Translation::Response(WebResponse::new(self.response_kind));
        Some((written, translation))
    }

    /// Appends the answer to a call that has failed with us. HTTP has nothing to complain about,
    /// so its status is 200.
    pub(crate) fn write_reply(
        &self,
        failure: Failure,
        code: Code,
        request_id: &str,
        keep_alive: bool,
        out: &mut Vec<u8>,
    ) {
        out.extend_from_slice(b"HTTP/1.1 200 OK\r\n");
        let date = httpdate::fmt_http_date(SystemTime::now());
        write_field("Date", date.as_bytes(), out);
        out.extend_from_slice(b"Content-Type: ");
        self.response_kind
            .write_content_type(b"application/grpc", out);
        out.extend_from_slice(b"\r\nContent-Length: 0\r\n");
        write_field("grpc-status", code.number().to_string().as_bytes(), out);
        out.extend_from_slice(b"grpc-message: ");
        write_status_message(&failure.detail(), out);
        out.extend_from_slice(b"\r\n");
        let proxy_status = format!("pointsman; error={}", failure.word());
        write_field("Proxy-Status", proxy_status.as_bytes(), out);
        write_field("X-Request-Id", request_id.as_bytes(), out);
        end_head(keep_alive, out);
    }

    /// The code for a failure of this call.
    pub(crate) fn code_of(&self, failure: Failure, now: Instant) -> Code {
        // Whatever it was that lasted too long: the client itself says the same at this moment.
        if self.is_late(now) {
            return Code::DeadlineExceeded;
        }
        code_of(failure)
    }
}

/// The value of the first field of this name.
fn field<'a>(request: &'a RequestHead, name: &str) -> Option<&'a [u8]> {
    let mut fields = key::fields(&request.fields, &request.bytes, name);
    fields.next().map(|field| request.text(field.value))
}

/// Content on its way from one side to the other, which reads it in another form.
#[derive(Debug)]
pub(crate) enum Translation {
    /// To an endpoint that speaks plain gRPC.
    Request(WebRequest),
    /// To a client that speaks gRPC-Web.
    Response(WebResponse),
}

impl Translation {
    /// Appends what `data` becomes.
    pub(crate) fn receive(&mut self, data: &[u8], out: &mut Vec<u8>) -> Result<(), BadMessage> {
        match self {
            Self::Request(web) => web.receive(data, out)?,
            Self::Response(web) => web.receive(data, out),
        }
        Ok(())
    }

    /// The content has ended: appends what becomes of its trailers.
    pub(crate) fn finish(&mut self, trailers: &[u8], out: &mut Vec<u8>) -> Result<(), BadMessage> {
        match self {
            Self::Request(web) => web.finish()?,
            Self::Response(web) => web.finish(trailers, out),
        }
        Ok(())
    }
}

/// How a call went whose response has ended: `trailers` came behind its content, perhaps none.
pub(crate) fn code_at_end(response: &ResponseHead, trailers: &[u8]) -> Code {
    find_field(trailers, "grpc-status")
        .map(Code::from_field)
        .or_else(|| code_in_head(response))
        .unwrap_or_else(|| Code::from_http_status(response.status.code()))
}

/// How a call went, where the head says it already ("Trailers-Only").
pub(crate) fn code_in_head(response: &ResponseHead) -> Option<Code> {
    let mut fields = key::fields(&response.fields, &response.bytes, "grpc-status");
    fields
        .next()
        .map(|field| Code::from_field(response.text(field.value)))
}

/// True if something follows the head of a response.
pub(crate) fn has_content(response: &ResponseHead) -> bool {
    !matches!(
        response.body_length,
        BodyLength::Empty | BodyLength::Exact(0)
    )
}

/// What the end of a call says about its endpoint.
///
/// How long a call may take is the client's word, and whoever says "a millisecond" must not get
/// endpoints ejected: a deadline that passed says no more than a client that leaves. Nor is an
/// endpoint down that has too much to do, or that one client has asked too often.
pub(crate) fn outcome_of(code: Code) -> Outcome {
    match code {
        Code::Ok
        | Code::InvalidArgument
        | Code::NotFound
        | Code::AlreadyExists
        | Code::PermissionDenied
        | Code::FailedPrecondition
        | Code::Aborted
        | Code::OutOfRange
        | Code::Unimplemented
        | Code::Unauthenticated => Outcome::Ok,
        Code::Cancelled | Code::DeadlineExceeded => Outcome::Abandoned,
        Code::ResourceExhausted => Outcome::Full,
        // `unknown` is what becomes of an exception that nobody catches.
        Code::Unknown | Code::Internal | Code::Unavailable | Code::DataLoss => Outcome::ServerError,
    }
}

/// The code of a failure. `unavailable` is what may be gone a little later; clients that know how
/// to retry do so there.
fn code_of(failure: Failure) -> Code {
    match failure {
        Failure::RouteNotFound | Failure::MethodNotAllowed | Failure::Misdirected => {
            Code::Unimplemented
        }
        Failure::RequestTimeout | Failure::ResponseTimeout => Code::DeadlineExceeded,
        Failure::DestinationUnavailable
        | Failure::PoolFull
        | Failure::QueueFull
        | Failure::QueueTimeout
        | Failure::ConnectionRefused
        | Failure::ConnectionTimeout
        | Failure::DestinationUnroutable
        | Failure::TlsProtocol
        | Failure::TlsCertificate
        | Failure::ConnectionTerminated
        | Failure::ResponseIncomplete => Code::Unavailable,
        Failure::ProxyHeader
        | Failure::ClientHello
        | Failure::BadRequest(_)
        | Failure::LoopDetected
        | Failure::BadResponse(_)
        | Failure::UpgradeFailed
        | Failure::InternalError => Code::Internal,
    }
}

/// Takes what the trailers of a call say of the load of endpoint `endpoint` of `pool`.
pub(crate) fn heed(pool: &Pool, endpoint: usize, trailers: &[u8], now: Instant) {
    if !pool.settings.feedback.headers {
        return;
    }
    let text = find_field(trailers, "endpoint-load-metrics").map(<[u8]>::to_vec);
    // By its name it is bytes in base64; fields without such a name say so in their value.
    let binary = || Some([b"BIN ", find_field(trailers, "endpoint-load-metrics-bin")?].concat());
    let metrics = text.or_else(binary);
    if let Some(report) = load_report(metrics.as_deref(), None, None) {
        pool.report_load_of_response(endpoint, &report, now);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use wire::h1::{Limits, RequestReader};

    use super::*;

    const LIMITS: Limits = Limits {
        head_bytes: 4096,
        fields: 20,
        line_bytes: 1024,
    };

    fn request(method: &str, fields: &str) -> RequestHead {
        let text = format!("{method} /s/M HTTP/1.1\r\nHost: a\r\n{fields}\r\n");
        let mut head = RequestHead::default();
        let read = RequestReader::default().receive(text.as_bytes(), &LIMITS, &mut head);
        assert_eq!(read, Ok(Some(text.len())));
        head
    }

    #[test]
    fn a_call_is_a_post_with_a_content_type_of_grpc() {
        let now = Instant::now();
        for (method, fields, is_call) in [
            ("POST", "content-type: application/grpc\r\n", true),
            ("POST", "Content-Type: application/grpc-web-text\r\n", true),
            ("POST", "content-type: application/json\r\n", false),
            ("POST", "", false),
            ("GET", "content-type: application/grpc\r\n", false),
        ] {
            let head = request(method, fields);
            assert_eq!(Call::of(&head, now).is_some(), is_call, "{method} {fields}");
        }
    }

    #[test]
    fn a_call_is_late_when_its_time_is_over() {
        let now = Instant::now();
        let call = |timeout: &str| {
            let fields = format!("content-type: application/grpc\r\ngrpc-timeout: {timeout}\r\n");
            Call::of(&request("POST", &fields), now).expect("it is one")
        };
        let second = Duration::from_secs(1);
        assert!(!call("1S").is_late(now + second / 2));
        assert!(call("1S").is_late(now + second));
        assert!(call("0S").is_late(now));
        assert!(!call("never").is_late(now + second * 1000));
        let (late, failure) = (now + second, Failure::QueueTimeout);
        assert_eq!(call("1S").code_of(failure, late), Code::DeadlineExceeded);
        assert_eq!(call("2S").code_of(failure, late), Code::Unavailable);
    }

    #[test]
    fn words_of_codes_stand_at_their_numbers() {
        for code in Code::ALL {
            assert_eq!(GRPC_CODES[usize::from(code.number())], code.as_str());
        }
    }
}
