//! PROXY headers: read in the same way wherever they are cut, and written so that they are read
//! again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use wire::proxy_protocol::{HEADER_BYTES_MAX, Header, Read, read, write_v1, write_v2};

fuzz_target!(|bytes: &[u8]| {
    let Ok(Read::Whole { consumed, header }) = read(bytes) else {
        return;
    };
    assert!(consumed <= bytes.len().min(HEADER_BYTES_MAX));
    for cut in 0..consumed {
        assert_eq!(read(&bytes[..cut]), Ok(Read::Partial), "cut at {cut}");
    }
    let (mut line, mut binary) = (Vec::new(), Vec::new());
    write_v1(&header, &mut line);
    write_v2(&header, &mut binary);
    // What is written of `::ffff:192.0.2.1` is the IPv4 address that it stands for, so headers
    // are compared as they are after one more turn.
    let line = reread(&line);
    assert_eq!(line.addresses.is_some(), header.addresses.is_some());
    let binary = reread(&binary);
    assert_eq!(binary.addresses, line.addresses);
    if header.addresses.is_some() && binary.alpn.is_some() {
        assert_eq!(binary.alpn, header.alpn);
    }
    let mut again = Vec::new();
    write_v2(&binary, &mut again);
    assert_eq!(reread(&again), binary);
});

fn reread(bytes: &[u8]) -> Header {
    match read(bytes) {
        Ok(Read::Whole { consumed, header }) if consumed == bytes.len() => header,
        other => panic!("{other:?} of what we wrote"),
    }
}
