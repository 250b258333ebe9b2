//! First bytes: they say one thing, soon, and it stays; what the readers of TLS and HTTP take is
//! what was told to be theirs.
#![no_main]

use fuzz::LIMITS;
use libfuzzer_sys::fuzz_target;
use message::{Method, RequestHead};
use wire::client_hello::{Read, read};
use wire::h1::RequestReader;
use wire::spoken::{Spoken, spoken};

/// Enough to tell.
const BYTES_MAX: usize = 32;

fuzz_target!(|bytes: &[u8]| {
    let said = spoken(bytes);
    assert!(said.is_some() || bytes.len() < BYTES_MAX);
    for length in 0..bytes.len().min(BYTES_MAX) {
        let before = spoken(&bytes[..length]);
        assert!(before.is_none() || before == said, "after {length} bytes");
    }
    let Some(said) = said else {
        return;
    };
    let is_tls = read(bytes) != Ok(Read::Absent);
    assert_eq!(said == Spoken::Tls, is_tls);
    let mut head = RequestHead::default();
    let request = RequestReader::default().receive(bytes, &LIMITS, &mut head);
    // A method that nobody knows may be any token, and an empty line may stand before the request.
    let may_be_another = head.method == Method::Other || bytes.starts_with(b"\r");
    if matches!(request, Ok(Some(_))) && !may_be_another {
        assert_eq!(said, Spoken::Http);
    }
});
