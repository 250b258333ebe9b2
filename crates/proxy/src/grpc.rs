//! Calls: what an exchange has beside when it is one of gRPC.
//!
//! A [`Call`] is known by the content type of its request. How it went stands behind the content,
//! or in the head where there is none, and is what is retried, logged, counted and judged by
//! instead of the HTTP status, which is 200 whatever happens. What we have to say ourselves is said
//! in the same way. Calls of gRPC-Web become plain ones on the way to an endpoint that speaks
//! HTTP/2, and their responses become gRPC-Web again.

use std::time::Duration;

use message::{FieldName, Method, RequestHead, ResponseHead, Status};
use wire::grpc::{Code, Kind, WebRequest, WebResponse, find_field, parse_timeout};
use wire::h1::{BadMessage, write_field};

use crate::failure::Failure;
use crate::key;
use crate::record::Outcome;

/// An exchange that is a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Call {
    /// How the client writes it.
    kind: Kind,
    /// How the client reads the response.
    response_kind: Kind,
    /// How long the client says that it may take.
    pub(crate) timeout: Option<Duration>,
    /// The endpoint gets it as plain gRPC, though the client writes gRPC-Web.
    is_translated: bool,
}

impl Call {
    /// The call that `request` is, if it is one.
    pub(crate) fn of(request: &RequestHead) -> Option<Self> {
        // Every call is a POST, so that other requests cost nothing here.
        if request.method != Method::Post {
            return None;
        }
        let field = |name| {
            let mut fields = key::fields(&request.fields, &request.bytes, name);
            fields.next().map(|field| request.text(field.value))
        };
        let kind = Kind::of(field("content-type")?)?;
        let response_kind = match kind {
            Kind::Grpc => kind,
            Kind::Web | Kind::WebText => kind.accepted(request.field(FieldName::Accept)),
        };
        Some(Self {
            kind,
            response_kind,
            timeout: field("grpc-timeout").and_then(parse_timeout),
            is_translated: false,
        })
    }

    /// Its endpoint is known to speak plain gRPC, as all do that speak HTTP/2.
    pub(crate) fn translate(&mut self) {
        self.is_translated = self.kind != Kind::Grpc;
    }

    /// What turns its content into that of plain gRPC.
    pub(crate) fn translate_request(&self) -> Option<WebRequest> {
        self.is_translated.then(|| WebRequest::new(self.kind))
    }

    /// What turns the content of the response into what the client reads.
    pub(crate) fn translate_response(&self) -> Option<WebResponse> {
        self.is_translated
            .then(|| WebResponse::new(self.response_kind))
    }
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
            Self::Request(web) => web.receive(data, out).map_err(|_| BadMessage::Base64),
            Self::Response(web) => {
                web.receive(data, out);
                Ok(())
            }
        }
    }

    /// The content has ended, with these trailers: appends what becomes of them, if they are not
    /// trailers any more.
    pub(crate) fn finish(
        &mut self,
        trailers: &mut Vec<u8>,
        out: &mut Vec<u8>,
    ) -> Result<(), BadMessage> {
        match self {
            Self::Request(web) => web.finish().map_err(|_| BadMessage::Base64),
            Self::Response(web) => {
                web.finish(trailers, out);
                trailers.clear();
                Ok(())
            }
        }
    }
}

/// How a call went whose response has ended: `trailers` came behind its content, perhaps none.
pub(crate) fn code_of(response: &ResponseHead, trailers: &[u8]) -> Code {
    find_field(trailers, "grpc-status")
        .map(Code::from_field)
        .or_else(|| code_in_head(response))
        .unwrap_or_else(|| Code::from_http_status(response.status.code()))
}

/// How a call went whose response has no content, so that its head says it ("Trailers-Only").
pub(crate) fn code_in_head(response: &ResponseHead) -> Option<Code> {
    let mut fields = key::fields(&response.fields, &response.bytes, "grpc-status");
    fields
        .next()
        .map(|field| Code::from_field(response.text(field.value)))
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
        Code::Unknown | Code::Internal | Code::Unavailable | Code::DataLoss => {
            Outcome::ServerError
        }
    }
}

/// The code of a failure.
///
/// Clients that know how to retry do so at `unavailable`: it stands for what may be gone a little
/// later, and never for a call that an endpoint may have executed, as far as we know.
pub(crate) fn code_of_failure(failure: Failure) -> Code {
    match failure {
        Failure::BadRequest(BadMessage::FieldsTooLarge | BadMessage::LineTooLong) => {
            Code::ResourceExhausted
        }
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
        Failure::BadRequest(_)
        | Failure::LoopDetected
        | Failure::BadResponse(_)
        | Failure::UpgradeFailed
        | Failure::InternalError => Code::Internal,
    }
}
