//! Hellos as clients send them, and as nobody should.

use proptest::prelude::*;

use super::*;

const SERVER_NAME: u16 = 0;
const SUPPORTED_GROUPS: u16 = 10;
const ALPN: u16 = 16;
const ENCRYPTED_CLIENT_HELLO: u16 = 0xfe0d;
const GREASE: u16 = 0x5a5a;

/// A hello in parts, each of them as it stands on the wire.
#[derive(Debug, Clone)]
struct Hello {
    version: u16,
    session_id: Vec<u8>,
    suites: Vec<u8>,
    compressions: Vec<u8>,
    extensions: Option<Vec<(u16, Vec<u8>)>>,
}

impl Hello {
    fn with(extensions: Vec<(u16, Vec<u8>)>) -> Self {
        Self {
            version: 0x0303,
            session_id: vec![7; 32],
            suites: vec![0x3a, 0x3a, 0x13, 0x01, 0xc0, 0x2b],
            compressions: vec![0],
            extensions: Some(extensions),
        }
    }

    /// What stands in the records.
    fn message(&self) -> Vec<u8> {
        let mut body = self.version.to_be_bytes().to_vec();
        body.extend_from_slice(&[0xaa; 32]);
        body.extend(vector8(&self.session_id));
        body.extend(vector16(&self.suites));
        body.extend(vector8(&self.compressions));
        if let Some(extensions) = &self.extensions {
            let extensions = extensions
                .iter()
                .map(|(kind, content)| [&kind.to_be_bytes(), &vector16(content)[..]].concat());
            body.extend(vector16(&extensions.collect::<Vec<_>>().concat()));
        }
        message(1, &body)
    }

    fn bytes(&self) -> Vec<u8> {
        records(&self.message(), &[])
    }
}

fn vector8(content: &[u8]) -> Vec<u8> {
    [&[content.len() as u8], content].concat()
}

fn vector16(content: &[u8]) -> Vec<u8> {
    [&(content.len() as u16).to_be_bytes(), content].concat()
}

fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    let [_, length @ ..] = (body.len() as u32).to_be_bytes();
    [&[kind], &length[..], body].concat()
}

fn record(kind: u8, content: &[u8]) -> Vec<u8> {
    [&[kind, 3, 1], &vector16(content)[..]].concat()
}

/// `message` in records that end after so many bytes of it, each cut behind the one before.
fn records(message: &[u8], cuts: &[usize]) -> Vec<u8> {
    let mut begin = 0;
    let ends = cuts.iter().copied().chain([message.len()]);
    let fragments = ends.map(|end| record(22, &message[std::mem::replace(&mut begin, end)..end]));
    fragments.collect::<Vec<_>>().concat()
}

fn host_name(name: &[u8]) -> Vec<u8> {
    [&[0], &vector16(name)[..]].concat()
}

fn server_name(name: &[u8]) -> (u16, Vec<u8>) {
    (SERVER_NAME, vector16(&host_name(name)))
}

fn alpn(protocols: &[&[u8]]) -> (u16, Vec<u8>) {
    let list: Vec<_> = protocols.iter().map(|name| vector8(name)).collect();
    (ALPN, vector16(&list.concat()))
}

fn asking(name: &str) -> Vec<u8> {
    Hello::with(vec![server_name(name.as_bytes())]).bytes()
}

/// As a browser says it: extensions that mean nothing at both ends, others in between.
fn usual() -> Hello {
    Hello::with(vec![
        (GREASE, Vec::new()),
        server_name(b"Shop.Example"),
        (
            SUPPORTED_GROUPS,
            vector16(&[0x2a, 0x2a, 0x11, 0xec, 0, 0x1d]),
        ),
        alpn(&[b"\x8a\x8a", b"h2", b"http/1.1"]),
        (0x6a6a, vec![0]),
    ])
}

fn expected() -> ClientHello {
    ClientHello {
        sni: Some("shop.example".into()),
        alpn: [b"\x8a\x8a".as_slice(), b"h2", b"http/1.1"]
            .map(Box::from)
            .to_vec(),
    }
}

#[track_caller]
fn whole(bytes: &[u8]) -> ClientHello {
    match read(bytes) {
        Ok(Read::Whole(hello)) => hello,
        other => panic!("{other:?} of {bytes:x?}"),
    }
}

fn sni(bytes: &[u8]) -> Option<Box<str>> {
    whole(bytes).sni
}

#[test]
fn a_hello_says_the_name_and_the_protocols() {
    assert_eq!(whole(&usual().bytes()), expected());
}

/// Written by hand after RFC 8448 §3, whose hello this is.
#[test]
fn the_hello_of_the_rfc_is_read() {
    let bytes = [
        // Record and message, version, random.
        "16030100c4 010000c0 0303 cb34ecb1e78163ba1c38c6dacb196a6dffa21a8d9912ec18a2ef6283024dece7",
        // Session id, cipher suites, compression methods, length of the extensions.
        "00 0006 130113031302 0100 0091",
        // server_name: server.
        "0000 000b 0009 000006736572766572",
        // renegotiation_info, supported_groups, session_ticket.
        "ff01 0001 00",
        "000a 0014 0012 001d00170018001901000101010201030104",
        "0023 0000",
        // key_share.
        "0033 0026 0024 001d 0020 99381de560e4bd43d23d8e435a7dbafeb3c06e51c13cae4d5413691e529aaf2c",
        // supported_versions, signature_algorithms, psk_key_exchange_modes, record_size_limit.
        "002b 0003 020304",
        "000d 0020 001e 040305030603020308040805080604010501060102010402050206020202",
        "002d 0002 0101",
        "001c 0002 4001",
    ];
    let digits: Vec<_> = bytes
        .concat()
        .bytes()
        .filter(|byte| *byte != b' ')
        .collect();
    let bytes: Vec<_> = digits
        .chunks(2)
        .map(|pair| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect();
    assert_eq!(bytes.len(), 201);
    let expected = ClientHello {
        sni: Some("server".into()),
        alpn: Vec::new(),
    };
    assert_eq!(whole(&bytes), expected);
}

#[test]
fn every_beginning_of_a_hello_is_partial() {
    let bytes = usual().bytes();
    for length in 0..bytes.len() {
        assert_eq!(
            read(&bytes[..length]),
            Ok(Read::Partial),
            "{length} bytes of it"
        );
    }
}

#[test]
fn a_hello_is_the_same_in_any_two_records() {
    let message = usual().message();
    for cut in 1..message.len() {
        let bytes = records(&message, &[cut]);
        assert_eq!(whole(&bytes), expected(), "cut after {cut} bytes");
        assert_eq!(read(&bytes[..bytes.len() - 1]), Ok(Read::Partial));
    }
}

#[test]
fn a_hello_is_the_same_in_records_of_a_byte_each() {
    let message = usual().message();
    let cuts: Vec<_> = (1..message.len()).collect();
    let bytes = records(&message, &cuts);
    for length in 0..bytes.len() {
        assert_eq!(
            read(&bytes[..length]),
            Ok(Read::Partial),
            "{length} bytes of it"
        );
    }
    assert_eq!(whole(&bytes), expected());
}

#[test]
fn what_comes_behind_a_hello_is_not_looked_at() {
    let early_data = [usual().bytes(), record(23, &[0; 20_000])].concat();
    assert_eq!(whole(&early_data), expected());
    let garbage = [usual().bytes(), vec![0xff; 3]].concat();
    assert_eq!(whole(&garbage), expected());
}

#[test]
fn what_is_no_tls_is_absent() {
    for bytes in [
        b"GET / HTTP/1.1\r\n".as_slice(),
        b"\x16\x02\x01",
        b"\x15\x03\x01\x00\x02\x01\x00",
        // The hello of SSL 2.0, which some clients of TLS 1.0 began with.
        b"\x80\x2e\x01\x03\x01",
        &[0; 100],
    ] {
        assert_eq!(read(bytes), Ok(Read::Absent), "{bytes:x?}");
    }
}

#[test]
fn the_version_of_a_record_is_ignored() {
    for minor in [0, 1, 2, 3, 4, 0xff] {
        let mut bytes = usual().bytes();
        bytes[2] = minor;
        assert_eq!(whole(&bytes), expected(), "03{minor:02x}");
    }
}

#[test]
fn a_hello_is_of_tls_and_not_of_ssl() {
    for version in [0x0301, 0x0302, 0x0303, 0x0304, 0x0400] {
        let bytes = Hello { version, ..usual() }.bytes();
        assert_eq!(whole(&bytes), expected(), "{version:04x}");
    }
    for version in [0x0300, 0x0002, 0] {
        let bytes = Hello { version, ..usual() }.bytes();
        assert_eq!(read(&bytes), Err(BadHello::Version), "{version:04x}");
    }
}

#[test]
fn a_hello_need_not_have_extensions() {
    for extensions in [None, Some(Vec::new())] {
        let hello = Hello {
            extensions,
            ..usual()
        };
        assert_eq!(whole(&hello.bytes()), ClientHello::default());
    }
}

/// RFC 9849 §6.1: the outer name is that of the server which can read the inner hello.
#[test]
fn of_an_encrypted_hello_the_outer_name_counts() {
    let inner = asking("secret.example");
    let outer = Hello::with(vec![
        (ENCRYPTED_CLIENT_HELLO, inner),
        server_name(b"public.example"),
    ]);
    assert_eq!(sni(&outer.bytes()).as_deref(), Some("public.example"));
}

#[test]
fn names_are_compared_in_one_spelling() {
    let longest = format!("{}.example", ["x".repeat(63).as_str(); 3].join("."));
    for (asked, name) in [
        ("a", "a"),
        ("A.Example.", "a.example"),
        ("xn--bcher-kva.example", "xn--bcher-kva.example"),
        ("_dmarc.9.a-b.example", "_dmarc.9.a-b.example"),
        ("1.2.3.4.example", "1.2.3.4.example"),
        (&longest, &longest),
    ] {
        assert_eq!(sni(&asking(asked)).as_deref(), Some(name), "{asked}");
    }
}

#[test]
fn what_is_no_host_name_is_refused() {
    let long_label = format!("{}.example", "x".repeat(64));
    let long_name = ["x".repeat(63).as_str(); 4].join(".") + ".";
    assert_eq!(long_name.len(), 256);
    let too_long = format!("x.{long_name}");
    for name in [
        "",
        ".",
        "a..",
        ".a",
        "a..b",
        "a b",
        "a\0",
        "a\0.example",
        "a\n",
        "a/b",
        "*.example",
        "a:443",
        "[::1]",
        "b\u{fc}cher.example",
        &long_label,
        &too_long,
    ] {
        assert_eq!(read(&asking(name)), Err(BadHello::ServerName), "{name:?}");
    }
    assert_eq!(sni(&asking(&long_name)).map(|name| name.len()), Some(255));
    let latin = Hello::with(vec![server_name(b"b\xfccher.example")]);
    assert_eq!(read(&latin.bytes()), Err(BadHello::ServerName));
}

#[test]
fn an_address_is_no_name() {
    for address in ["192.0.2.1", "192.0.2.1.", "2001:db8::1", "::"] {
        assert_eq!(sni(&asking(address)), None, "{address}");
    }
}

#[test]
fn two_names_are_refused() {
    let names = |list: &[u8]| Hello::with(vec![(SERVER_NAME, vector16(list))]).bytes();
    let two = [host_name(b"a.example"), host_name(b"b.example")].concat();
    let other_type = [vec![1], vector16(b"a.example")].concat();
    let beside = [host_name(b"a.example"), other_type.clone()].concat();
    for list in [two.as_slice(), &beside, &other_type, b""] {
        assert_eq!(read(&names(list)), Err(BadHello::ServerName), "{list:x?}");
    }
    let twice = vec![server_name(b"a.example"), server_name(b"a.example")];
    let bytes = Hello::with(twice).bytes();
    assert_eq!(read(&bytes), Err(BadHello::Repeated));
}

#[test]
fn no_extension_may_be_repeated() {
    for kind in [ALPN, SUPPORTED_GROUPS, GREASE, 63, 64, 0xffff] {
        let content = alpn(&[b"h2"]).1;
        let twice = [(kind, content.clone()), (99, Vec::new()), (kind, content)];
        let bytes = Hello::with(twice.to_vec()).bytes();
        assert_eq!(read(&bytes), Err(BadHello::Repeated), "{kind}");
    }
    // Thousands of different ones are odd, and no more.
    let many = (100..4000).map(|kind| (kind, Vec::new()));
    let bytes = Hello::with(many.chain([server_name(b"a.example")]).collect()).bytes();
    assert_eq!(sni(&bytes).as_deref(), Some("a.example"));
}

#[test]
fn protocols_have_names_and_are_few() {
    let read_list = |list: &[u8]| read(&Hello::with(vec![(ALPN, vector16(list))]).bytes());
    for list in [b"".as_slice(), b"\0", b"\x02h2\0", b"\0\x02h2"] {
        assert_eq!(read_list(list), Err(BadHello::Protocols), "{list:x?}");
    }
    assert!(read_list(&b"\x01x".repeat(PROTOCOLS_MAX)).is_ok());
    let too_many = b"\x01x".repeat(PROTOCOLS_MAX + 1);
    assert_eq!(read_list(&too_many), Err(BadHello::Protocols));
    let longest = [b'x'; 255];
    let bytes = Hello::with(vec![alpn(&[&longest])]).bytes();
    assert_eq!(whole(&bytes).alpn, [Box::from(longest.as_slice())]);
}

#[test]
fn every_length_must_be_right() {
    let usual = usual();
    for broken in [
        Hello {
            session_id: vec![0; 33],
            ..usual.clone()
        },
        Hello {
            suites: Vec::new(),
            ..usual.clone()
        },
        Hello {
            suites: vec![0; 3],
            ..usual.clone()
        },
        Hello {
            compressions: Vec::new(),
            ..usual.clone()
        },
        // An empty extension is an answer of servers.
        Hello::with(vec![(SERVER_NAME, Vec::new())]),
        Hello::with(vec![(ALPN, Vec::new())]),
        // Lists that end before or behind their extension, a name behind its list.
        Hello::with(vec![(SERVER_NAME, [server_name(b"a").1, vec![0]].concat())]),
        Hello::with(vec![(ALPN, [alpn(&[b"h2"]).1, vec![0]].concat())]),
        Hello::with(vec![(ALPN, b"\0\x04\x02h2".to_vec())]),
        Hello::with(vec![(ALPN, b"\0\x03\x03h2".to_vec())]),
        Hello::with(vec![(SERVER_NAME, b"\0\x04\0\0\x02a".to_vec())]),
        Hello::with(vec![(SERVER_NAME, b"\0\x01\0".to_vec())]),
    ] {
        assert_eq!(read(&broken.bytes()), Err(BadHello::Length), "{broken:x?}");
    }
    let body = usual.message().split_off(4);
    for length in 0..body.len() {
        let short = records(&message(1, &body[..length]), &[]);
        let without_extensions = 2 + 32 + 33 + 8 + 2;
        if length != without_extensions {
            assert_eq!(read(&short), Err(BadHello::Length), "{length} bytes");
        }
    }
    let long = records(&message(1, &[&body[..], b"\0"].concat()), &[]);
    assert_eq!(read(&long), Err(BadHello::Length));
}

#[test]
fn records_are_neither_empty_nor_too_long() {
    let message = usual().message();
    let empty_between = [record(22, &message[..9]), record(22, b"")].concat();
    let cases = [
        (records(&message, &[0]), "at the beginning"),
        (empty_between, "in the middle"),
        (b"\x16\x03\x01\x40\x01".to_vec(), "too long"),
        (b"\x16\x03\x01\xff\xff".to_vec(), "much too long"),
    ];
    for (bytes, what) in cases {
        assert_eq!(read(&bytes), Err(BadHello::RecordLength), "{what}");
    }
}

#[test]
fn nothing_may_interrupt_a_hello() {
    let message = usual().message();
    let (first, second) = message.split_at(20);
    for between in [
        record(21, b"\x01\x00"),
        record(20, b"\x01"),
        b"\x16\x02\x01".to_vec(),
        b"\x17".to_vec(),
    ] {
        let bytes = [record(22, first), between.clone(), record(22, second)].concat();
        assert_eq!(read(&bytes), Err(BadHello::Interrupted), "{between:x?}");
        let until_then = 5 + first.len();
        assert_eq!(read(&bytes[..until_then]), Ok(Read::Partial));
    }
}

#[test]
fn a_hello_is_the_first_message_and_ends_with_its_record() {
    let server_hello = record(22, &message(2, &[0; 40]));
    assert_eq!(read(&server_hello), Err(BadHello::Message));
    // As soon as it can be told.
    assert_eq!(read(&server_hello[..5]), Ok(Read::Partial));
    assert_eq!(read(&server_hello[..6]), Err(BadHello::Message));

    let (hello, finished) = (usual().message(), message(20, &[0; 12]));
    let both = [hello.as_slice(), &finished].concat();
    for bytes in [records(&both, &[]), records(&both, &[1, 30])] {
        assert_eq!(read(&bytes), Err(BadHello::Trailing));
    }
    // A record of its own is not our business.
    let apart = records(&both, &[hello.len()]);
    assert_eq!(whole(&apart), expected());
}

#[test]
fn a_hello_has_a_greatest_length() {
    let padded = |length: usize| {
        let base = Hello::with(vec![(21, Vec::new())]).bytes().len();
        Hello::with(vec![(21, vec![0; length - base])]).message()
    };
    let fits = records(&padded(HELLO_BYTES_MAX), &[]);
    assert_eq!(fits.len(), HELLO_BYTES_MAX);
    assert_eq!(whole(&fits), ClientHello::default());
    let too_long = records(&padded(HELLO_BYTES_MAX + 1), &[5000]);
    // Its length is told by the ninth byte.
    assert_eq!(read(&too_long[..8]), Ok(Read::Partial));
    assert_eq!(read(&too_long[..9]), Err(BadHello::TooLong));
    // Headers of records count.
    let cut = records(&padded(HELLO_BYTES_MAX), &[5000]);
    assert_eq!(read(&cut[..HELLO_BYTES_MAX - 1]), Ok(Read::Partial));
    assert_eq!(read(&cut[..HELLO_BYTES_MAX]), Err(BadHello::TooLong));
    assert_eq!(read(&cut), Err(BadHello::TooLong));
}

/// Another name comes of a changed byte only if that byte is one of the name.
#[test]
fn no_other_byte_makes_another_name() {
    let (usual, name) = (usual().bytes(), b"Shop.Example");
    let mut windows = usual.windows(name.len());
    let begin = windows.position(|window| window == name).unwrap();
    for at in (0..begin).chain(begin + name.len()..usual.len()) {
        for to in 0..=u8::MAX {
            let mut bytes = usual.clone();
            bytes[at] = to;
            if let Ok(Read::Whole(hello)) = read(&bytes) {
                // None is left if the extension has become another one.
                let is_same = hello.sni.is_none() || hello.sni == expected().sni;
                assert!(is_same, "{to:02x} at {at}: {hello:?}");
            }
        }
    }
}

/// What `read` says of `bytes` once it says something, which must be the same ever after.
fn first_said(bytes: &[u8]) -> Result<Read, BadHello> {
    (0..=bytes.len())
        .map(|length| read(&bytes[..length]))
        .find(|said| *said != Ok(Read::Partial))
        .unwrap_or(Ok(Read::Partial))
}

fn extension() -> impl Strategy<Value = (u16, Vec<u8>)> {
    let content = prop::collection::vec(any::<u8>(), 0..20);
    prop_oneof![
        "[a-zA-Z0-9._-]{0,20}".prop_map(|name| server_name(name.as_bytes())),
        Just(alpn(&[b"h2", b"http/1.1"])),
        (prop::sample::select(vec![0, 10, 16, 43]), content.clone()),
        (any::<u16>(), content),
    ]
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic_or_change_its_mind(
        bytes in prop::collection::vec(any::<u8>(), 0..200),
        begins_like_tls in any::<bool>(),
    ) {
        let begin: &[u8] = if begins_like_tls { b"\x16\x03" } else { b"" };
        let bytes = [begin, &bytes].concat();
        prop_assert_eq!(first_said(&bytes), read(&bytes));
    }

    #[test]
    fn no_extensions_make_it_panic(extensions in prop::collection::vec(extension(), 0..6)) {
        let bytes = Hello::with(extensions).bytes();
        prop_assert_ne!(read(&bytes), Ok(Read::Partial));
        prop_assert_ne!(read(&bytes), Ok(Read::Absent));
    }

    #[test]
    fn records_change_nothing(
        extensions in prop::collection::vec(extension(), 0..4),
        cuts in prop::collection::btree_set(1..60_usize, 0..10),
    ) {
        let message = Hello::with(extensions).message();
        let cuts: Vec<_> = cuts.into_iter().collect();
        let bytes = records(&message, &cuts);
        prop_assert_eq!(first_said(&bytes), read(&records(&message, &[])));
        prop_assert_eq!(first_said(&bytes), read(&bytes));
    }
}
