//! Why streams and connections end.

/// Why a stream or a connection ends (RFC 9113 §7).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are those of the RFC")]
#[repr(u32)]
pub enum ErrorCode {
    NoError = 0,
    ProtocolError = 1,
    InternalError = 2,
    FlowControlError = 3,
    SettingsTimeout = 4,
    StreamClosed = 5,
    FrameSizeError = 6,
    RefusedStream = 7,
    Cancel = 8,
    CompressionError = 9,
    ConnectError = 10,
    EnhanceYourCalm = 11,
    InadequateSecurity = 12,
    Http11Required = 13,
}

impl ErrorCode {
    /// The code as it came. One that nobody knows is like [`Self::InternalError`], which §7 allows.
    pub(super) fn from_wire(code: u32) -> Self {
        match code {
            0 => Self::NoError,
            1 => Self::ProtocolError,
            3 => Self::FlowControlError,
            4 => Self::SettingsTimeout,
            5 => Self::StreamClosed,
            6 => Self::FrameSizeError,
            7 => Self::RefusedStream,
            8 => Self::Cancel,
            9 => Self::CompressionError,
            10 => Self::ConnectError,
            11 => Self::EnhanceYourCalm,
            12 => Self::InadequateSecurity,
            13 => Self::Http11Required,
            _ => Self::InternalError,
        }
    }
}

/// The connection is over: what is owed says so to the peer and is to be sent, nothing more read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConnectionError {
    /// As it stands in our GOAWAY.
    pub code: ErrorCode,
    /// The rule, a word of [`RULES`], for logs and metrics.
    pub rule: &'static str,
}

impl ConnectionError {
    pub(super) const fn new(code: ErrorCode, rule: &'static str) -> Self {
        Self { code, rule }
    }

    /// A rule of the protocol itself was broken.
    pub(super) const fn protocol(code: ErrorCode) -> Self {
        Self::new(code, PROTOCOL)
    }

    /// The peer asks for too much.
    pub(super) const fn calm(rule: &'static str) -> Self {
        Self::new(ErrorCode::EnhanceYourCalm, rule)
    }
}

/// Every rule that ends a connection: a closed list, so that it can label a metric. All but the
/// first three are budgets against abuse, see [`super::guard`].
pub const RULES: &[&str] = &[
    PROTOCOL,
    SETTINGS_TIMEOUT,
    SLOW_HEAD,
    RAPID_RESET,
    MADE_YOU_RESET,
    REFUSED_FLOOD,
    HPACK_BOMB,
    CONTINUATION_FLOOD,
    SETTINGS_FLOOD,
    PING_FLOOD,
    PRIORITY_FLOOD,
    WINDOW_UPDATE_FLOOD,
    CONTROL_FLOOD,
    EMPTY_FRAMES,
    TINY_DATA,
    TINY_WINDOWS,
    OUTPUT_FLOOD,
];

/// RFC 9113 or RFC 7541 says that it is an error.
pub(super) const PROTOCOL: &str = "protocol";
/// Our SETTINGS were not confirmed (§6.5.3).
pub(super) const SETTINGS_TIMEOUT: &str = "settings_timeout";
/// A header block does not come to its end: it holds up everything behind it.
pub(super) const SLOW_HEAD: &str = "slow_head";
/// Requests are cancelled as fast as they come (CVE-2023-44487).
pub(super) const RAPID_RESET: &str = "rapid_reset";
/// Rules of streams are broken so that we reset them (CVE-2025-8671).
pub(super) const MADE_YOU_RESET: &str = "made_you_reset";
/// More streams than allowed, again and again.
pub(super) const REFUSED_FLOOD: &str = "refused_flood";
/// Heads that are larger than allowed once expanded, again and again (CVE-2016-6581).
pub(super) const HPACK_BOMB: &str = "hpack_bomb";
/// A header block without end (CVE-2024-27316).
pub(super) const CONTINUATION_FLOOD: &str = "continuation_flood";
/// CVE-2019-9515.
pub(super) const SETTINGS_FLOOD: &str = "settings_flood";
/// CVE-2019-9512.
pub(super) const PING_FLOOD: &str = "ping_flood";
/// CVE-2019-9513.
pub(super) const PRIORITY_FLOOD: &str = "priority_flood";
/// WINDOW_UPDATE frames that nothing we sent explains.
pub(super) const WINDOW_UPDATE_FLOOD: &str = "window_update_flood";
/// What says nothing: frames of unknown kinds, or for streams that are gone, GOAWAY again, interim
/// responses without end.
pub(super) const CONTROL_FLOOD: &str = "control_flood";
/// CVE-2019-9518.
pub(super) const EMPTY_FRAMES: &str = "empty_frames";
/// Content in pieces that are smaller than their frames.
pub(super) const TINY_DATA: &str = "tiny_data";
/// Windows that make us send content in such pieces (CVE-2019-9511).
pub(super) const TINY_WINDOWS: &str = "tiny_windows";
/// We owe answers that the peer does not read (CVE-2019-9517 and others).
pub(super) const OUTPUT_FLOOD: &str = "output_flood";
