//! Responses: the same however they are cut on the way, to GET and to HEAD.
#![no_main]

use fuzz::{Heads, LIMITS};
use libfuzzer_sys::fuzz_target;
use message::{BodyLength, Method, ResponseHead};
use wire::h1::{BadMessage, ResponseReader};

fuzz_target!(|input: &[u8]| {
    let Some((wire, pieces)) = fuzz::cut(input) else {
        return;
    };
    let whole = fuzz::receive::<Responses<false>>(&[wire]);
    let in_pieces = fuzz::receive::<Responses<false>>(&pieces);
    assert_eq!(in_pieces, whole, "cut otherwise");
    let whole = fuzz::receive::<Responses<true>>(&[wire]);
    let in_pieces = fuzz::receive::<Responses<true>>(&pieces);
    assert_eq!(in_pieces, whole, "cut otherwise, to HEAD");
});

#[derive(Default)]
struct Responses<const TO_HEAD: bool> {
    reader: ResponseReader,
    head: ResponseHead,
}

impl<const TO_HEAD: bool> Heads for Responses<TO_HEAD> {
    fn receive(&mut self, bytes: &[u8]) -> Result<Option<(usize, BodyLength, String)>, BadMessage> {
        let method = if TO_HEAD { Method::Head } else { Method::Get };
        let read = self
            .reader
            .receive(bytes, &LIMITS, method, &mut self.head)?;
        let Some(consumed) = read else {
            return Ok(None);
        };
        let Self { head, .. } = std::mem::take(self);
        Ok(Some((consumed, head.body_length, format!("{head:?}"))))
    }
}
