//! How field lines leave, by their names.

use message::is_same_name;

use crate::h2::hpack::Indexing;

/// A name that is known.
pub(super) struct Outgoing {
    /// In lower case.
    text: &'static str,
    /// Where the static table has it (RFC 7541 Appendix A), 0 if it does not.
    pub(super) index: u8,
    pub(super) rule: Rule,
}

/// What is done with a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rule {
    /// It is sent.
    Send(Indexing),
    /// It is about the connection and ends here (RFC 9113 §8.2.2).
    Drop,
    /// It is sent if it says `trailers`.
    Te,
    /// It becomes the authority of a request, and means nothing elsewhere.
    Host,
    /// It becomes the protocol of an extended CONNECT, if that is `websocket`.
    Upgrade,
    /// HTTP/1.1 alone needs it to begin WebSocket (RFC 8441 §5.1); it goes where that begins.
    WebSocketKey,
}

impl Outgoing {
    /// What is known of `name`, whatever its case.
    #[inline]
    pub(super) fn of(name: &[u8]) -> Option<&'static Self> {
        let place = PLACES[place(name.len(), *name.first()?, *name.last()?)];
        let known = NAMES.get(usize::from(place))?;
        let text = known.text.as_bytes();
        (name.len() == text.len() && is_same_name(name, text)).then_some(known)
    }
}

/// Where [`PLACES`] has a name. The factors are such that no two known names share a place, which
/// the compiler checks.
const fn place(length: usize, first: u8, last: u8) -> usize {
    (length + 41 * (first | 0x20) as usize + 59 * (last | 0x20) as usize) % PLACES_COUNT
}

const PLACES_COUNT: usize = 256;

/// For each place the index in [`NAMES`] of the name that is there.
const PLACES: [u8; PLACES_COUNT] = {
    const NOBODY: u8 = u8::MAX;
    let mut places = [NOBODY; PLACES_COUNT];
    let mut index = 0;
    while index < NAMES.len() {
        let text = NAMES[index].text.as_bytes();
        let place = place(text.len(), text[0], text[text.len() - 1]);
        assert!(
            places[place] == NOBODY,
            "two names share a place: other factors are needed"
        );
        places[place] = index as u8;
        index += 1;
    }
    places
};

const KEPT: Rule = Rule::Send(Indexing::Kept);
/// Each message has its own, or each client does.
const VARIES: Rule = Rule::Send(Indexing::Not);
const SECRET: Rule = Rule::Send(Indexing::Never);

const fn known(text: &'static str, index: u8, rule: Rule) -> Outgoing {
    Outgoing { text, index, rule }
}

/// Names of the static table, and others that are not just kept.
const NAMES: &[Outgoing] = &[
    known("accept-charset", 15, KEPT),
    known("accept-encoding", 16, KEPT),
    known("accept-language", 17, KEPT),
    known("accept-ranges", 18, KEPT),
    known("accept", 19, KEPT),
    known("access-control-allow-origin", 20, KEPT),
    known("age", 21, VARIES),
    known("allow", 22, KEPT),
    known("authorization", 23, SECRET),
    known("cache-control", 24, KEPT),
    known("content-disposition", 25, VARIES),
    known("content-encoding", 26, KEPT),
    known("content-language", 27, KEPT),
    known("content-length", 28, VARIES),
    known("content-location", 29, VARIES),
    known("content-range", 30, VARIES),
    known("content-type", 31, KEPT),
    known("cookie", 32, SECRET),
    known("date", 33, VARIES),
    known("etag", 34, VARIES),
    known("expect", 35, KEPT),
    known("expires", 36, VARIES),
    known("from", 37, VARIES),
    known("host", 38, Rule::Host),
    known("if-match", 39, VARIES),
    known("if-modified-since", 40, VARIES),
    known("if-none-match", 41, VARIES),
    known("if-range", 42, VARIES),
    known("if-unmodified-since", 43, VARIES),
    known("last-modified", 44, VARIES),
    known("link", 45, KEPT),
    known("location", 46, VARIES),
    known("max-forwards", 47, KEPT),
    known("proxy-authenticate", 48, KEPT),
    known("proxy-authorization", 49, SECRET),
    known("range", 50, VARIES),
    known("referer", 51, VARIES),
    known("refresh", 52, VARIES),
    known("retry-after", 53, VARIES),
    known("server", 54, KEPT),
    known("set-cookie", 55, SECRET),
    known("strict-transport-security", 56, KEPT),
    known("transfer-encoding", 57, Rule::Drop),
    known("user-agent", 58, KEPT),
    known("vary", 59, KEPT),
    known("via", 60, KEPT),
    known("www-authenticate", 61, KEPT),
    known("connection", 0, Rule::Drop),
    known("forwarded", 0, VARIES),
    known("grpc-timeout", 0, VARIES),
    known("http2-settings", 0, Rule::Drop),
    known("keep-alive", 0, Rule::Drop),
    known("proxy-connection", 0, Rule::Drop),
    known("sec-websocket-accept", 0, Rule::WebSocketKey),
    known("sec-websocket-key", 0, Rule::WebSocketKey),
    known("te", 0, Rule::Te),
    known("traceparent", 0, VARIES),
    known("tracestate", 0, VARIES),
    known("upgrade", 0, Rule::Upgrade),
    known("x-forwarded-for", 0, VARIES),
    known("x-request-id", 0, VARIES),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_found_in_any_case_and_no_other() {
        for known in NAMES {
            for name in [known.text.to_owned(), known.text.to_uppercase()] {
                let found = Outgoing::of(name.as_bytes()).map(|found| found.text);
                assert_eq!(found, Some(known.text));
            }
            let other = format!("{}_{}", &known.text[..1], &known.text[2..]);
            assert!(Outgoing::of(other.as_bytes()).is_none(), "{other}");
        }
        assert!(Outgoing::of(b"").is_none());
    }
}
