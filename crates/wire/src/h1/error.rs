//! What can be wrong with a message.

/// A message that breaks a rule. Nothing of it is forwarded and its connection is closed.
///
/// Messages name the rule, not the bytes: the bytes are the sender's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadMessage {
    /// A line that does not end with CR LF (RFC 9112 §2.2).
    #[error("a line ends with a bare line feed or holds a bare carriage return")]
    BareLineEnd,
    /// The request line is not `method SP target SP version`; in HTTP/2, a pseudo-field is missing,
    /// repeated, misplaced or malformed (RFC 9113 §8.3).
    #[error("the request line is malformed")]
    RequestLine,
    /// The status line is not `version SP status SP reason`; in HTTP/2, `:status` is not the first
    /// field, not the only pseudo-field, or malformed.
    #[error("the status line is malformed")]
    StatusLine,
    /// Not HTTP/1.0 or HTTP/1.1.
    #[error("the HTTP version is not supported")]
    Version,
    /// A byte that no target may hold, or a form that the method does not allow.
    #[error("the request target is malformed")]
    Target,
    /// A `.` or `..` segment, plain or encoded: router and endpoint could disagree about it.
    #[error("the path has a dot segment")]
    DotSegment,
    /// The request line is longer than the limit.
    #[error("the request line is too long")]
    LineTooLong,
    /// The head is longer than the limit, or has more fields.
    #[error("the header section is too large")]
    FieldsTooLarge,
    /// Empty name, white space before the colon, a line that begins with white space (obs-fold,
    /// RFC 9112 §5.2), or no colon at all; in HTTP/2, an upper-case letter, or a field about the
    /// connection (RFC 9113 §8.2).
    #[error("a header field name is malformed")]
    FieldName,
    /// A control byte in a value; in HTTP/2, white space around it or a TE beside `trailers`.
    #[error("a header field value holds a control byte")]
    FieldValue,
    /// Content-Length twice, as a list, or not just digits (RFC 9110 §8.6).
    #[error("the content length is malformed or repeated")]
    ContentLength,
    /// Transfer-Encoding that is not `chunked` alone, or that stands in HTTP/1.0.
    #[error("the transfer encoding is malformed or not supported")]
    TransferEncoding,
    /// Content-Length and Transfer-Encoding in one message (RFC 9112 §6.1).
    #[error("the body is framed both by content length and by transfer encoding")]
    AmbiguousFraming,
    /// Host missing, repeated, malformed, or not what the target says.
    #[error("the host is missing, repeated, malformed or contradicts the target")]
    Host,
    /// Expect with anything but `100-continue`.
    #[error("the expectation cannot be met")]
    Expectation,
    /// A chunk size that is not a plain hexadecimal number, overflows, or is followed by junk.
    #[error("a chunk size is malformed")]
    ChunkSize,
    /// A chunk extension that is too long or holds control bytes.
    #[error("a chunk extension is malformed or too long")]
    ChunkExtension,
    /// Content that should be in base64 and is not, in gRPC-Web.
    #[error("the content is not base64")]
    Base64,
    /// The trailer section is too large, or a line of it is malformed.
    #[error("the trailer section is malformed or too large")]
    Trailers,
}
