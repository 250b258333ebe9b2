//! Requests: the same however they are cut on the way, and the same when they are passed on.
#![no_main]

use fuzz::{Heads, LIMITS};
use libfuzzer_sys::fuzz_target;
use message::{BodyLength, FieldName, Method, RequestHead, Version};
use wire::h1::{BadMessage, RequestReader, write_fields, write_request_line};

fuzz_target!(|input: &[u8]| {
    let Some((wire, pieces)) = fuzz::cut(input) else {
        return;
    };
    let whole = fuzz::receive::<Requests>(&[wire]);
    assert_eq!(fuzz::receive::<Requests>(&pieces), whole, "cut otherwise");
});

#[derive(Default)]
struct Requests {
    reader: RequestReader,
    head: RequestHead,
}

impl Heads for Requests {
    fn receive(&mut self, bytes: &[u8]) -> Result<Option<(usize, BodyLength, String)>, BadMessage> {
        let Some(consumed) = self.reader.receive(bytes, &LIMITS, &mut self.head)? else {
            return Ok(None);
        };
        let Self { head, .. } = std::mem::take(self);
        pass_on(&head);
        Ok(Some((consumed, head.body_length, format!("{head:?}"))))
    }
}

/// Writes `head` as for an endpoint that reads as strictly as we do: it must see the same.
fn pass_on(head: &RequestHead) {
    // CONNECT is not passed on, and who names no host gets one from the proxy.
    let names_host = head.field(FieldName::Host).is_some();
    if head.method == Method::Connect || !names_host || head.version == Version::Http10 {
        return;
    }
    let mut bytes = Vec::new();
    write_request_line(head, &mut bytes);
    write_fields(&head.bytes, &head.fields, |_| true, &mut bytes);
    bytes.extend_from_slice(b"\r\n");
    let limits = wire::h1::Limits {
        // Without a path in the target, one is added.
        head_bytes: LIMITS.head_bytes + 1,
        line_bytes: LIMITS.line_bytes + 1,
        ..LIMITS
    };
    let mut again = RequestHead::default();
    let read = RequestReader::default().receive(&bytes, &limits, &mut again);
    assert_eq!(read, Ok(Some(bytes.len())), "what we write is one head");
    assert_eq!(again.body_length, head.body_length);
    assert_eq!(again.keep_alive, head.keep_alive);
    assert_eq!(again.method, head.method);
    // A target's host goes, and the Host field stays as the client spelled it.
    assert!(again.route_host().eq_ignore_ascii_case(head.route_host()));
    assert_eq!(again.route_path(), head.route_path());
    assert_eq!(again.fields.len(), head.fields.len());
}
