//! Both versions, read and written.

use proptest::prelude::*;

use super::v2::SIGNATURE;
use super::*;

fn header(source: &str, destination: &str) -> Header {
    Header {
        addresses: Some(Addresses {
            source: source.parse().unwrap(),
            destination: destination.parse().unwrap(),
        }),
        ..Header::default()
    }
}

/// Sixteen bytes and `body`.
fn v2(version_and_command: u8, family: u8, body: &[u8]) -> Vec<u8> {
    let length = (body.len() as u16).to_be_bytes();
    [SIGNATURE, &[version_and_command, family], &length, body].concat()
}

fn part(kind: u8, value: &[u8]) -> Vec<u8> {
    let [high, low] = (value.len() as u16).to_be_bytes();
    [&[kind, high, low], value].concat()
}

/// `192.0.2.1:4711` to `198.51.100.1:443`.
const IPV4_BLOCK: [u8; 12] = [192, 0, 2, 1, 198, 51, 100, 1, 0x12, 0x67, 0x01, 0xbb];

fn whole(bytes: &[u8]) -> Header {
    match read(bytes) {
        Ok(Read::Whole { consumed, header }) if consumed == bytes.len() => header,
        other => panic!("{other:?} of {bytes:?}"),
    }
}

#[test]
fn a_line_says_who_connected_to_whom() {
    for (line, expected) in [
        (
            "PROXY TCP4 192.168.0.1 192.168.0.11 56324 443\r\n",
            header("192.168.0.1:56324", "192.168.0.11:443"),
        ),
        (
            "PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n",
            header("255.255.255.255:65535", "255.255.255.255:65535"),
        ),
        (
            "PROXY TCP6 2001:db8::1 ::1 0 80\r\n",
            header("[2001:db8::1]:0", "[::1]:80"),
        ),
        (
            "PROXY TCP6 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff \
             ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n",
            header(
                "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535",
                "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535",
            ),
        ),
        ("PROXY UNKNOWN\r\n", Header::default()),
        ("PROXY UNKNOWN not \x01 looked at\r\n", Header::default()),
        // The longest that the specification gives: 107 bytes.
        (
            "PROXY UNKNOWN ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff \
             ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n",
            Header::default(),
        ),
    ] {
        assert_eq!(whole(line.as_bytes()), expected, "{line}");
    }
}

#[test]
fn a_line_is_read_strictly() {
    for line in [
        "PROXY \r\n",
        "PROXY TCP4\r\n",
        "PROXY tcp4 192.0.2.1 192.0.2.2 1 2\r\n",
        "PROXY TCP5 192.0.2.1 192.0.2.2 1 2\r\n",
        "PROXY TCP4  192.0.2.1 192.0.2.2 1 2\r\n",
        "PROXY TCP4 192.0.2.1 192.0.2.2 1 2 \r\n",
        "PROXY TCP4 192.0.2.1 192.0.2.2 1 2 3\r\n",
        "PROXY TCP4 192.0.2.1 192.0.2.2 1\r\n",
        "PROXY TCP4 192.0.2.01 192.0.2.2 1 2\r\n",
        "PROXY TCP4 192.0.2 192.0.2.2 1 2\r\n",
        "PROXY TCP4 ::1 ::2 1 2\r\n",
        "PROXY TCP6 192.0.2.1 192.0.2.2 1 2\r\n",
        "PROXY TCP6 fe80::1%eth0 ::2 1 2\r\n",
        "PROXY TCP4 192.0.2.1 192.0.2.2 65536 2\r\n",
        "PROXY TCP4 192.0.2.1 192.0.2.2 +1 2\r\n",
        "PROXY TCP4 192.0.2.1 192.0.2.2 01 2\r\n",
        "PROXY TCP4 192.0.2.1 192.0.2.2 -1 2\r\n",
        "PROXY TCP4 192.0.2.1 192.0.2.2 1 2\n",
        "PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\r\n",
        "PROXY UNKNOWN a\rb\r\n",
        "PROXY UNKNOWN a\nb\r\n",
        "PROXY TCP4 \u{661}92.0.2.1 192.0.2.2 1 2\r\n",
    ] {
        assert_eq!(read(line.as_bytes()), Err(BadHeader::Line), "{line:?}");
    }
    let endless = [b"PROXY UNKNOWN ".as_slice(), &[b'x'; 200]].concat();
    assert_eq!(read(&endless[..106]), Ok(Read::Partial));
    assert_eq!(read(&endless[..107]), Err(BadHeader::Line));
    let late = [&endless[..106], b"\r\n"].concat();
    assert_eq!(read(&late), Err(BadHeader::Line), "108 bytes");
    assert_eq!(read(&late[..107]), Err(BadHeader::Line));
}

#[test]
fn what_a_client_sends_first_is_no_header() {
    for bytes in [
        "GET / HTTP/1.1\r\n",
        "PROPFIND / HTTP/1.1\r\n",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        "POST",
        "proxy TCP4 ",
        "PROXYTCP4",
        "\r\n\r\nGET / HTTP/1.1\r\n",
        "\x16\x03\x01",
    ] {
        assert_eq!(read(bytes.as_bytes()), Ok(Read::Absent), "{bytes:?}");
    }
    for bytes in [
        "",
        "P",
        "PR",
        "PROXY",
        "PROXY ",
        "\r\n",
        "\r\n\r\n\0\r\nQUIT",
    ] {
        assert_eq!(read(bytes.as_bytes()), Ok(Read::Partial), "{bytes:?}");
    }
}

#[test]
fn version_2_says_the_same_in_binary() {
    let expected = header("192.0.2.1:4711", "198.51.100.1:443");
    assert_eq!(whole(&v2(0x21, 0x11, &IPV4_BLOCK)), expected);
    assert_eq!(whole(&v2(0x21, 0x12, &IPV4_BLOCK)), expected, "a datagram");
    let mut block = [0; 36];
    (block[15], block[31], block[33], block[35]) = (1, 2, 80, 81);
    assert_eq!(
        whole(&v2(0x21, 0x21, &block)),
        header("[::1]:80", "[::2]:81")
    );
    let unix = [&[b'/'; 216][..], &part(0x02, b"a.example")].concat();
    let unix = whole(&v2(0x21, 0x31, &unix));
    assert_eq!(unix.addresses, None);
    assert_eq!(unix.authority.as_deref(), Some("a.example"));
}

#[test]
fn local_and_unspecified_say_nothing_whatever_follows() {
    for (command, family) in [
        (0x20, 0x00),
        (0x20, 0x11),
        (0x21, 0x00),
        (0x21, 0x01),
        (0x21, 0x10),
    ] {
        for body in [&[][..], &[1, 2, 3], &IPV4_BLOCK] {
            let found = whole(&v2(command, family, body));
            assert_eq!(found, Header::default(), "{command:x} {family:x}");
        }
    }
}

#[test]
fn version_2_tells_of_tls() {
    let ssl = [
        &[0x07, 0, 0, 0, 0][..],
        &part(0x21, b"TLSv1.3"),
        &part(0x22, "Jürgen".as_bytes()),
        &part(0x23, b"TLS_AES_128_GCM_SHA256"),
        &part(0x24, b"SHA256"),
        &part(0x25, b"RSA2048"),
    ]
    .concat();
    let body = [
        &IPV4_BLOCK[..],
        &part(0x01, b"h2"),
        &part(0x02, b"shop.example"),
        &part(0x04, &[0; 7]),
        &part(0x05, b"an id"),
        &part(0x20, &ssl),
        &part(0xee, b"of somebody's own"),
    ]
    .concat();
    let tls = Tls {
        version: Some("TLSv1.3".into()),
        cipher: Some("TLS_AES_128_GCM_SHA256".into()),
        has_verified_certificate: true,
        common_name: Some("Jürgen".into()),
    };
    let expected = Header {
        alpn: Some((*b"h2").into()),
        authority: Some("shop.example".into()),
        tls: Some(tls),
        ..header("192.0.2.1:4711", "198.51.100.1:443")
    };
    assert_eq!(whole(&v2(0x21, 0x11, &body)), expected);

    let tls_of = |value: &[u8]| {
        let body = [&IPV4_BLOCK[..], &part(0x20, value)].concat();
        whole(&v2(0x21, 0x11, &body)).tls
    };
    assert_eq!(tls_of(&[0x00, 0, 0, 0, 0]), None, "no TLS");
    for (client, verify, is_verified) in [
        (0x07, 0, true),
        (0x05, 0, true),
        (0x07, 1, false),
        (0x01, 0, false),
    ] {
        let tls = tls_of(&[client, 0, 0, 0, verify]).unwrap();
        assert_eq!(
            tls.has_verified_certificate, is_verified,
            "{client} {verify}"
        );
    }
}

/// haproxy 2020: the length of a part was believed.
#[test]
fn a_part_that_reaches_beyond_the_header_is_an_error() {
    let ssl = |rest: &[u8]| part(0x20, &[&[1, 0, 0, 0, 0], rest].concat());
    for parts in [
        vec![0x01],
        vec![0x01, 0],
        vec![0x01, 0, 1],
        vec![0x01, 0xff, 0xff, b'h', b'2'],
        [part(0x04, b"x"), vec![0xee, 0, 2, 1]].concat(),
        part(0x20, &[1, 0, 0, 0]),
        ssl(&[0x21]),
        ssl(&[0x21, 0, 8, b'T']),
        ssl(&[0xee, 0xff, 0xff]),
    ] {
        let mut bytes = v2(0x21, 0x11, &[&IPV4_BLOCK[..], &parts].concat());
        // What stands behind the header does not fill it up.
        bytes.extend_from_slice(&[b'x'; 70000]);
        assert_eq!(read(&bytes), Err(BadHeader::Truncated), "{parts:x?}");
    }
    for (family, bytes) in [(0x11, 11), (0x21, 35), (0x31, 215)] {
        let bytes = v2(0x21, family, &vec![0; bytes]);
        assert_eq!(read(&bytes), Err(BadHeader::Truncated), "{family:x}");
    }
}

#[test]
fn what_breaks_a_rule_of_version_2_is_an_error() {
    let with = |parts: &[u8]| v2(0x21, 0x11, &[&IPV4_BLOCK[..], parts].concat());
    let twice = |part: &[u8]| with(&[part, part].concat());
    for (bytes, error) in [
        (v2(0x11, 0x11, &IPV4_BLOCK), BadHeader::Version),
        (v2(0x31, 0x11, &IPV4_BLOCK), BadHeader::Version),
        (v2(0x22, 0x11, &IPV4_BLOCK), BadHeader::Command),
        (v2(0x21, 0x41, &IPV4_BLOCK), BadHeader::Family),
        (v2(0x21, 0x13, &IPV4_BLOCK), BadHeader::Family),
        (with(&[0; HEADER_BYTES_MAX - 27]), BadHeader::TooLong),
        (with(&part(0x02, b"\xff")), BadHeader::Text),
        (twice(&part(0x01, b"h2")), BadHeader::Repeated),
        (twice(&part(0x02, b"a")), BadHeader::Repeated),
        (twice(&part(0x20, &[1, 0, 0, 0, 0])), BadHeader::Repeated),
        (with(&part(0x03, &[0; 4])), BadHeader::Checksum),
        (with(&part(0x03, &[0; 3])), BadHeader::Checksum),
    ] {
        assert_eq!(read(&bytes), Err(error), "{:x?}", &bytes[12..]);
    }
    let long = with(&[0; HEADER_BYTES_MAX - 27]);
    assert_eq!(
        read(&long[..16]),
        Err(BadHeader::TooLong),
        "before it is buffered"
    );
    let longest = with(&part(0x04, &[0; HEADER_BYTES_MAX - 16 - 12 - 3]));
    assert_eq!(longest.len(), HEADER_BYTES_MAX);
    assert_eq!(
        whole(&longest),
        header("192.0.2.1:4711", "198.51.100.1:443")
    );
}

#[test]
fn a_checksum_covers_the_whole_header() {
    let parts = [part(0x01, b"h2"), part(0x03, &[0; 4]), part(0x02, b"a")].concat();
    let mut bytes = v2(0x21, 0x11, &[&IPV4_BLOCK[..], &parts].concat());
    let place = 16 + 12 + 5 + 3;
    let sum = crc32c::crc32c(&[&bytes]).to_be_bytes();
    bytes[place..place + 4].copy_from_slice(&sum);
    assert_eq!(whole(&bytes).authority.as_deref(), Some("a"));
    for index in [16, 27, 32, place, bytes.len() - 1] {
        let mut wrong = bytes.clone();
        wrong[index] ^= 0x01;
        assert_eq!(read(&wrong), Err(BadHeader::Checksum), "byte {index}");
    }
    let twice = [part(0x03, &[0; 4]), part(0x03, &[0; 4])].concat();
    let mut bytes = v2(0x21, 0x11, &[&IPV4_BLOCK[..], &twice].concat());
    let sum = crc32c::crc32c(&[&bytes]).to_be_bytes();
    bytes[31..35].copy_from_slice(&sum);
    assert_eq!(read(&bytes), Err(BadHeader::Repeated));
}

#[test]
fn addresses_of_two_families_are_written_as_ipv6() {
    let mixed = header("192.0.2.1:1", "[2001:db8::1]:2");
    let (mut line, mut binary) = (Vec::new(), Vec::new());
    write_v1(&mixed, &mut line);
    write_v2(&mixed, &mut binary);
    assert_eq!(line, b"PROXY TCP6 ::ffff:192.0.2.1 2001:db8::1 1 2\r\n");
    let expected = header("[::ffff:192.0.2.1]:1", "[2001:db8::1]:2");
    assert_eq!((whole(&line), whole(&binary)), (expected.clone(), expected));
    // A dual-stack socket shows IPv4 clients like this.
    let mut line = Vec::new();
    write_v1(
        &header("[::ffff:192.0.2.1]:1", "[::ffff:192.0.2.2]:2"),
        &mut line,
    );
    assert_eq!(line, b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n");
}

#[test]
fn a_name_that_is_too_long_is_left_out() {
    let mut named = header("192.0.2.1:1", "192.0.2.2:2");
    named.authority = Some("a".repeat(513).into());
    named.tls = Some(Tls {
        common_name: Some("b".repeat(70000).into()),
        cipher: Some("c".repeat(512).into()),
        ..Tls::default()
    });
    let mut bytes = Vec::new();
    write_v2(&named, &mut bytes);
    let found = whole(&bytes);
    let tls = found.tls.unwrap();
    assert_eq!((found.authority, tls.common_name), (None, None));
    assert_eq!(tls.cipher.map(|cipher| cipher.len()), Some(512));
}

fn any_header() -> impl Strategy<Value = Header> {
    let ips = prop_oneof![
        any::<([u8; 4], [u8; 4])>().prop_map(|(a, b)| (IpAddr::from(a), IpAddr::from(b))),
        any::<([u8; 16], [u8; 16])>().prop_map(|(mut a, mut b)| {
            // Not an IPv4 address in disguise.
            (a[0], b[0]) = (0x20, 0x20);
            (IpAddr::from(a), IpAddr::from(b))
        }),
    ];
    let addresses = (ips, any::<(u16, u16)>()).prop_map(|(ips, ports)| Addresses {
        source: SocketAddr::new(ips.0, ports.0),
        destination: SocketAddr::new(ips.1, ports.1),
    });
    let text = || proptest::option::of(".{0,40}".prop_map(Box::from));
    let tls = (text(), text(), any::<bool>(), text()).prop_map(
        |(version, cipher, has_verified_certificate, common_name)| Tls {
            version,
            cipher,
            has_verified_certificate,
            common_name,
        },
    );
    let alpn = proptest::option::of(proptest::collection::vec(any::<u8>(), 0..20));
    let parts = (alpn, text(), proptest::option::of(tls));
    (addresses, parts).prop_map(|(addresses, (alpn, authority, tls))| Header {
        addresses: Some(addresses),
        alpn: alpn.map(Box::from),
        authority,
        tls,
    })
}

/// Every shorter beginning is [`Read::Partial`], and what follows is not touched.
fn assert_read_wherever_cut(bytes: &[u8], expected: &Header) {
    for cut in 0..bytes.len() {
        assert_eq!(read(&bytes[..cut]), Ok(Read::Partial), "cut at {cut}");
    }
    let consumed = bytes.len();
    let header = expected.clone();
    let followed = [bytes, b"\r\nGET / HTTP/1.1\r\n"].concat();
    assert_eq!(read(&followed), Ok(Read::Whole { consumed, header }));
}

proptest! {
    #[test]
    fn what_was_written_is_read_wherever_it_is_cut(header in any_header()) {
        let (mut line, mut binary) = (Vec::new(), Vec::new());
        write_v1(&header, &mut line);
        write_v2(&header, &mut binary);
        let told_by_a_line = Header { addresses: header.addresses, ..Header::default() };
        assert_read_wherever_cut(&line, &told_by_a_line);
        assert_read_wherever_cut(&binary, &header);
    }

    #[test]
    fn any_bytes_behind_a_signature_are_refused_or_read(
        rest in proptest::collection::vec(any::<u8>(), 0..400),
        family in prop_oneof![Just(0x11), Just(0x21), any::<u8>()],
    ) {
        let framed = v2(0x21, family, &rest);
        let line = [b"PROXY TCP4 ".as_slice(), &rest].concat();
        for bytes in [&rest, &framed, &line] {
            if let Ok(Read::Whole { consumed, .. }) = read(bytes) {
                prop_assert!(consumed <= bytes.len());
            }
        }
    }
}

#[test]
fn unknown_addresses_are_written_as_such() {
    let (mut line, mut binary) = (Vec::new(), Vec::new());
    write_v1(&Header::default(), &mut line);
    write_v2(&Header::default(), &mut binary);
    assert_read_wherever_cut(&line, &Header::default());
    assert_read_wherever_cut(&binary, &Header::default());
}

#[test]
fn a_header_before_a_datagram_says_that_it_is_one() {
    let ends = header("192.0.2.1:4711", "198.51.100.1:443");
    let (mut stream, mut datagram) = (Vec::new(), Vec::new());
    write_v2(&ends, &mut stream);
    write_v2_datagram(&ends, &mut datagram);
    assert_eq!(stream, v2(0x21, 0x11, &IPV4_BLOCK));
    assert_eq!(datagram, v2(0x21, 0x12, &IPV4_BLOCK));
    let mut unknown = Vec::new();
    write_v2_datagram(&Header::default(), &mut unknown);
    assert_eq!(unknown, v2(0x20, 0x00, &[]));
}
