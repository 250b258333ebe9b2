//! Conversations with servers: they come to the same wherever the bytes are cut, and to an end.
//!
//! The first four bytes of an input say how the rest is cut.
#![no_main]

use libfuzzer_sys::fuzz_target;
use wire::check::{Dialogue, Query, Step};

fuzz_target!(|input: &[u8]| {
    if let Some((said, pieces)) = fuzz::cut(input) {
        for start in DIALOGUES {
            assert_eq!(
                talk(start(), &pieces),
                talk(start(), &[said]),
                "cut otherwise"
            );
        }
    }
    answer(input);
    name(input);
});

const DIALOGUES: [fn() -> Dialogue; 4] = [
    Dialogue::redis,
    Dialogue::postgres,
    Dialogue::mysql,
    Dialogue::smtp,
];

/// What is sent, and the verdict.
fn talk(mut dialogue: Dialogue, pieces: &[&[u8]]) -> (Vec<&'static [u8]>, Option<Step>) {
    let mut sent = Vec::new();
    for piece in std::iter::once(&&b""[..]).chain(pieces) {
        dialogue.receive(piece);
        while let Some(step) = dialogue.poll() {
            let Step::Send(bytes) = step else {
                return (sent, Some(step));
            };
            sent.push(bytes);
        }
    }
    (sent, None)
}

fn answer(datagram: &[u8]) {
    let id = datagram
        .first_chunk()
        .map_or(0, |id| u16::from_be_bytes(*id));
    for name in [None, Some("app.example")] {
        let query = Query::new(id, name).expect("it is a name");
        let verdict = query.receive(datagram);
        assert!(
            !matches!(verdict, Some(Step::Send(_))),
            "nothing is left to send"
        );
    }
}

fn name(input: &[u8]) {
    let name = std::str::from_utf8(input).ok();
    let Some(query) = name.and_then(|name| Query::new(7, Some(name))) else {
        return;
    };
    assert!(
        query.message().len() <= 12 + 255 + 4,
        "longer than a name can be"
    );
    let mut answer = query.message().to_vec();
    answer[2] |= 0x80;
    assert!(
        query.receive(&answer).is_some(),
        "its own answer is not known"
    );
}
