//! Response status codes (RFC 9110 §15).

use std::fmt;

/// A three-digit status code, 100 to 999.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Status(u16);

impl Status {
    /// 100 Continue
    pub const CONTINUE: Self = Self(100);
    /// 101 Switching Protocols
    pub const SWITCHING_PROTOCOLS: Self = Self(101);
    /// 200 OK
    pub const OK: Self = Self(200);
    /// 204 No Content
    pub const NO_CONTENT: Self = Self(204);
    /// 304 Not Modified
    pub const NOT_MODIFIED: Self = Self(304);
    /// 308 Permanent Redirect
    pub const PERMANENT_REDIRECT: Self = Self(308);
    /// 400 Bad Request
    pub const BAD_REQUEST: Self = Self(400);
    /// 404 Not Found
    pub const NOT_FOUND: Self = Self(404);
    /// 405 Method Not Allowed
    pub const METHOD_NOT_ALLOWED: Self = Self(405);
    /// 408 Request Timeout
    pub const REQUEST_TIMEOUT: Self = Self(408);
    /// 414 URI Too Long
    pub const URI_TOO_LONG: Self = Self(414);
    /// 417 Expectation Failed
    pub const EXPECTATION_FAILED: Self = Self(417);
    /// 421 Misdirected Request
    pub const MISDIRECTED_REQUEST: Self = Self(421);
    /// 431 Request Header Fields Too Large
    pub const FIELDS_TOO_LARGE: Self = Self(431);
    /// 500 Internal Server Error
    pub const INTERNAL_SERVER_ERROR: Self = Self(500);
    /// 501 Not Implemented
    pub const NOT_IMPLEMENTED: Self = Self(501);
    /// 502 Bad Gateway
    pub const BAD_GATEWAY: Self = Self(502);
    /// 503 Service Unavailable
    pub const SERVICE_UNAVAILABLE: Self = Self(503);
    /// 504 Gateway Timeout
    pub const GATEWAY_TIMEOUT: Self = Self(504);
    /// 505 HTTP Version Not Supported
    pub const VERSION_NOT_SUPPORTED: Self = Self(505);
    /// 508 Loop Detected (RFC 5842 §7.2)
    pub const LOOP_DETECTED: Self = Self(508);

    /// The status with this code, or `None` outside 100 to 999 (RFC 9110 §15: three digits;
    /// clients treat 600 to 999 as server errors, so they may pass).
    pub fn from_code(code: u16) -> Option<Self> {
        (100..=999).contains(&code).then_some(Self(code))
    }

    /// The three digits as a number.
    pub fn code(self) -> u16 {
        self.0
    }

    /// True for 1xx: another head follows on the same exchange.
    pub fn is_informational(self) -> bool {
        self.0 < 200
    }

    /// The reason phrase of the statuses that we send ourselves; empty for others.
    pub fn reason(self) -> &'static str {
        match self {
            Self::CONTINUE => "Continue",
            Self::SWITCHING_PROTOCOLS => "Switching Protocols",
            Self::OK => "OK",
            Self::NO_CONTENT => "No Content",
            Self::NOT_MODIFIED => "Not Modified",
            Self::PERMANENT_REDIRECT => "Permanent Redirect",
            Self::BAD_REQUEST => "Bad Request",
            Self::NOT_FOUND => "Not Found",
            Self::METHOD_NOT_ALLOWED => "Method Not Allowed",
            Self::REQUEST_TIMEOUT => "Request Timeout",
            Self::URI_TOO_LONG => "URI Too Long",
            Self::EXPECTATION_FAILED => "Expectation Failed",
            Self::MISDIRECTED_REQUEST => "Misdirected Request",
            Self::FIELDS_TOO_LARGE => "Request Header Fields Too Large",
            Self::INTERNAL_SERVER_ERROR => "Internal Server Error",
            Self::NOT_IMPLEMENTED => "Not Implemented",
            Self::BAD_GATEWAY => "Bad Gateway",
            Self::SERVICE_UNAVAILABLE => "Service Unavailable",
            Self::GATEWAY_TIMEOUT => "Gateway Timeout",
            Self::VERSION_NOT_SUPPORTED => "HTTP Version Not Supported",
            Self::LOOP_DETECTED => "Loop Detected",
            _ => "",
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}
