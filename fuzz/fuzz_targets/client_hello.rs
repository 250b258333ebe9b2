//! ClientHellos: read in the same way wherever they are cut, by the network or into records.
#![no_main]

use libfuzzer_sys::fuzz_target;
use wire::client_hello::{BadHello, ClientHello, HELLO_BYTES_MAX, PROTOCOLS_MAX, Read, read};

/// Type, version, length.
const RECORD_HEADER_BYTES: usize = 5;

// The first byte of an input says how long the records of the second turn are.
fuzz_target!(|input: &[u8]| {
    let Some((record_bytes, bytes)) = input.split_first() else {
        return;
    };
    let said = read(bytes);
    // Once something is said, more bytes change nothing.
    let mut first = (0..=bytes.len()).map(|length| (length, read(&bytes[..length])));
    let (length, first) = first
        .find(|(length, said)| *length == bytes.len() || *said != Ok(Read::Partial))
        .expect("there is at least the empty beginning");
    assert_eq!(first, said, "after {length} bytes");
    let Ok(Read::Whole(hello)) = said else {
        return;
    };
    assert!(length <= HELLO_BYTES_MAX);
    check(&hello);
    let message = content(&bytes[..length]);
    let again: Vec<u8> = message
        .chunks(1 + usize::from(*record_bytes))
        .flat_map(|fragment| record(fragment))
        .collect();
    if again.len() <= HELLO_BYTES_MAX {
        assert_eq!(read(&again), Ok(Read::Whole(hello)), "in other records");
    } else {
        assert_eq!(read(&again), Err(BadHello::TooLong));
    }
});

/// What is promised of names and protocols.
fn check(hello: &ClientHello) {
    if let Some(name) = &hello.sni {
        assert!((1..=255).contains(&name.len()));
        assert!(name.split('.').all(|label| !label.is_empty()), "{name}");
        assert!(name.bytes().all(|byte| !byte.is_ascii_uppercase()));
        assert!(name.parse::<std::net::IpAddr>().is_err(), "{name}");
    }
    assert!(hello.alpn.len() <= PROTOCOLS_MAX);
    assert!(hello.alpn.iter().all(|protocol| !protocol.is_empty()));
}

/// What stands in these records.
fn content(mut records: &[u8]) -> Vec<u8> {
    let mut content = Vec::new();
    while let Some(([_, _, _, high, low], rest)) =
        records.split_first_chunk::<RECORD_HEADER_BYTES>()
    {
        let (fragment, behind) = rest.split_at(usize::from(u16::from_be_bytes([*high, *low])));
        content.extend_from_slice(fragment);
        records = behind;
    }
    content
}

fn record(fragment: &[u8]) -> Vec<u8> {
    let length = (fragment.len() as u16).to_be_bytes();
    [&[22, 3, 3], &length[..], fragment].concat()
}
