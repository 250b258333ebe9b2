//! Whole blocks: the examples of RFC 7541 Appendix C, and what an attacker would make of them.

use proptest::prelude::*;

use super::*;

#[test]
fn literal_representations_of_the_rfc_are_read() {
    for (block, line, table) in [
        (
            "400a637573746f6d2d6b65790d637573746f6d2d686561646572",
            "custom-key: custom-header",
            &["custom-key: custom-header"][..],
        ),
        ("040c2f73616d706c652f70617468", ":path: /sample/path", &[]),
        (
            "100870617373776f726406736563726574",
            "password: secret",
            &[],
        ),
        ("82", ":method: GET", &[]),
    ] {
        let mut decoder = Decoder::default();
        assert_eq!(
            lines(&mut decoder, &bytes(block)).as_deref(),
            Ok(&[line.to_owned()][..])
        );
        assert_eq!(table_of(&decoder), table);
    }
}

/// RFC 7541 §C.3 and §C.4: the same requests without and with Huffman coding.
#[test]
fn requests_of_the_rfc_are_read() {
    for blocks in [
        [
            "828684410f7777772e6578616d706c652e636f6d",
            "828684be58086e6f2d6361636865",
            "828785bf400a637573746f6d2d6b65790c637573746f6d2d76616c7565",
        ],
        [
            "828684418cf1e3c2e5f23a6ba0ab90f4ff",
            "828684be5886a8eb10649cbf",
            "828785bf408825a849e95ba97d7f8925a849e95bb8e8b4bf",
        ],
    ] {
        let mut decoder = Decoder::default();
        let heads = blocks.map(|block| lines(&mut decoder, &bytes(block)).unwrap().join("\n"));
        assert_eq!(
            heads,
            [
                ":method: GET\n:scheme: http\n:path: /\n:authority: www.example.com",
                ":method: GET\n:scheme: http\n:path: /\n:authority: www.example.com\n\
                 cache-control: no-cache",
                ":method: GET\n:scheme: https\n:path: /index.html\n:authority: www.example.com\n\
                 custom-key: custom-value",
            ]
        );
        assert_eq!(
            table_of(&decoder),
            [
                "custom-key: custom-value",
                "cache-control: no-cache",
                ":authority: www.example.com",
            ]
        );
    }
}

/// RFC 7541 §C.5 and §C.6: a table of 256 bytes, from which entries fall out.
#[test]
fn responses_of_the_rfc_are_read() {
    const COOKIE: &str = "set-cookie: foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1";
    for blocks in [
        [
            "4803333032580770726976617465611d4d6f6e2c203231204f637420323031332032303a31333a323120\
             474d546e1768747470733a2f2f7777772e6578616d706c652e636f6d",
            "4803333037c1c0bf",
            "88c1611d4d6f6e2c203231204f637420323031332032303a31333a323220474d54c05a04677a69707738\
             666f6f3d4153444a4b48514b425a584f5157454f50495541585157454f49553b206d61782d6167653d33\
             3630303b2076657273696f6e3d31",
        ],
        [
            "488264025885aec3771a4b6196d07abe941054d444a8200595040b8166e082a62d1bff6e919d29ad1718\
             63c78f0b97c8e9ae82ae43d3",
            "4883640effc1c0bf",
            "88c16196d07abe941054d444a8200595040b8166e084a62d1bffc05a839bd9ab77ad94e7821dd7f2e6c7\
             b335dfdfcd5b3960d5af27087f3672c1ab270fb5291f9587316065c003ed4ee5b1063d5007",
        ],
    ] {
        let mut decoder = Decoder::default();
        assert_eq!(lines(&mut decoder, &size_update(256)), Ok(Vec::new()));
        let heads = blocks.map(|block| lines(&mut decoder, &bytes(block)).unwrap().join("\n"));
        assert_eq!(
            heads,
            [
                ":status: 302\ncache-control: private\ndate: Mon, 21 Oct 2013 20:13:21 GMT\n\
                 location: https://www.example.com"
                    .to_owned(),
                ":status: 307\ncache-control: private\ndate: Mon, 21 Oct 2013 20:13:21 GMT\n\
                 location: https://www.example.com"
                    .to_owned(),
                format!(
                    ":status: 200\ncache-control: private\ndate: Mon, 21 Oct 2013 20:13:22 GMT\n\
                     location: https://www.example.com\ncontent-encoding: gzip\n{COOKIE}"
                ),
            ]
        );
        assert_eq!(
            table_of(&decoder),
            [
                COOKIE,
                "content-encoding: gzip",
                "date: Mon, 21 Oct 2013 20:13:22 GMT",
            ]
        );
    }
}

#[test]
fn an_index_that_no_table_has_is_an_error() {
    for block in ["80", "be", "ff00", "ffffffff7f", "7e0161", "0f2f0161"] {
        let mut decoder = Decoder::default();
        assert_eq!(
            lines(&mut decoder, &bytes(block)),
            Err(CompressionError),
            "{block}"
        );
    }
}

#[test]
fn a_block_that_ends_within_a_line_is_an_error() {
    let whole = bytes("400a637573746f6d2d6b65790d637573746f6d2d686561646572");
    for length in 1..whole.len() {
        let mut decoder = Decoder::default();
        let block = &whole[..length];
        assert_eq!(
            lines(&mut decoder, block),
            Err(CompressionError),
            "{length} bytes"
        );
    }
}

#[test]
fn the_table_is_never_larger_than_we_have_said() {
    let mut decoder = Decoder::default();
    assert_eq!(lines(&mut decoder, &size_update(4096)), Ok(Vec::new()));
    assert_eq!(
        lines(&mut decoder, &size_update(4097)),
        Err(CompressionError)
    );
}

#[test]
fn the_size_of_the_table_changes_at_the_front_of_a_block_and_twice_at_most() {
    let mut decoder = Decoder::default();
    let twice = [size_update(0), size_update(100), vec![0x82]].concat();
    assert_eq!(
        lines(&mut decoder, &twice),
        Ok(vec![":method: GET".to_owned()])
    );
    let thrice = [size_update(0), size_update(1), size_update(2)].concat();
    assert_eq!(lines(&mut decoder, &thrice), Err(CompressionError));
    let late = [vec![0x82], size_update(100)].concat();
    assert_eq!(lines(&mut Decoder::default(), &late), Err(CompressionError));
}

#[test]
fn a_line_larger_than_the_table_empties_it() {
    let mut decoder = Decoder::default();
    let small = literal(0x40, "a", "b");
    let large = literal(0x40, "c", &"d".repeat(4096));
    lines(&mut decoder, &small).unwrap();
    assert_eq!(table_of(&decoder), ["a: b"]);
    lines(&mut decoder, &large).unwrap();
    assert!(table_of(&decoder).is_empty());
}

#[test]
fn the_name_of_an_entry_may_be_used_while_the_entry_falls_out() {
    let mut decoder = Decoder::default();
    let value = "v".repeat(4096 - 32 - 4);
    lines(&mut decoder, &literal(0x40, "name", &value)).unwrap();
    // Literal with incremental indexing, named by index 62.
    let found = lines(&mut decoder, &bytes("7e0178")).unwrap();
    assert_eq!(found, ["name: x"]);
    assert_eq!(table_of(&decoder), ["name: x"]);
}

#[test]
fn many_lines_pass_through_the_table_in_bounded_memory() {
    let mut decoder = Decoder::default();
    for number in 0..10_000 {
        let (name, value) = (format!("name-{number}"), "v".repeat(number % 300));
        let line = format!("{name}: {value}");
        let found = lines(&mut decoder, &literal(0x40, &name, &value)).unwrap();
        assert_eq!(found, std::slice::from_ref(&line));
        assert_eq!(table_of(&decoder)[0], line);
        assert!(decoder.table.capacity() <= 16 * 1024);
    }
}

#[test]
fn lines_that_are_skipped_stay_in_the_table() {
    let mut decoder = Decoder::default();
    let block = [
        literal(0x40, "a", "b"),
        vec![0x82, 0xbe],
        literal(0x00, "c", "d"),
    ]
    .concat();
    let mut spare = b"spare".to_vec();
    let mut reader = decoder.open(&block).unwrap();
    let mut count = 0;
    while reader.skip(&mut spare).unwrap() {
        count += 1;
    }
    assert_eq!((count, &spare[..]), (4, &b"spare"[..]));
    assert_eq!(table_of(&decoder), ["a: b"]);
}

#[test]
fn a_line_that_was_kept_is_one_byte_the_next_time() {
    let mut encoder = Encoder::default();
    let mut first = Vec::new();
    encoder.line(54, b"Server", b"nginx", Indexing::Kept, &mut first);
    encoder.line(0, b"X-Frame-Options", b"DENY", Indexing::Kept, &mut first);
    let mut second = Vec::new();
    encoder.line(0, b"X-Frame-Options", b"DENY", Indexing::Kept, &mut second);
    encoder.line(54, b"Server", b"nginx", Indexing::Kept, &mut second);
    assert_eq!(second, [0xbe, 0xbf]);
    let mut decoder = Decoder::default();
    let expected = ["server: nginx", "x-frame-options: DENY"];
    assert_eq!(lines(&mut decoder, &first).unwrap(), expected);
    assert_eq!(
        lines(&mut decoder, &second).unwrap(),
        [expected[1], expected[0]]
    );
}

#[test]
fn what_is_not_kept_never_enters_the_table() {
    for (indexing, first_byte) in [(Indexing::Not, 0x00), (Indexing::Never, 0x10)] {
        let mut encoder = Encoder::default();
        for _ in 0..2 {
            let mut out = Vec::new();
            encoder.line(0, b"a", b"b", indexing, &mut out);
            assert_eq!(out, [first_byte, 1, b'a', 1, b'b']);
        }
    }
}

#[test]
fn a_line_that_would_fill_half_of_the_table_is_not_kept() {
    let mut encoder = Encoder::default();
    let mut out = Vec::new();
    encoder.line(0, b"a", &[b'v'; 2100], Indexing::Kept, &mut out);
    assert_eq!(out[0], 0x00);
    encoder.set_table_size_max(0);
    out.clear();
    encoder.begin(&mut out);
    encoder.line(0, b"a", b"b", Indexing::Kept, &mut out);
    assert_eq!(out, [0x20, 0, 1, b'a', 1, b'b']);
}

#[test]
fn a_new_size_of_the_table_is_said_once_and_with_the_lowest_between() {
    let said = |sizes: &[u32]| {
        let mut encoder = Encoder::default();
        let mut out = Vec::new();
        encoder.begin(&mut out);
        assert!(out.is_empty(), "the default needs no saying");
        for size in sizes {
            encoder.set_table_size_max(*size);
        }
        encoder.begin(&mut out);
        let mut again = Vec::new();
        encoder.begin(&mut again);
        assert!(again.is_empty(), "said once");
        out
    };
    assert_eq!(said(&[4096]), b"");
    assert_eq!(said(&[1 << 30]), b"", "more than we use");
    assert_eq!(said(&[100]), size_update(100));
    assert_eq!(
        said(&[0, 4096]),
        [size_update(0), size_update(4096)].concat()
    );
    assert_eq!(
        said(&[10, 0, 100]),
        [size_update(0), size_update(100)].concat()
    );
    let mut encoder = Encoder::default();
    for (size, expected) in [(100, 100), (1 << 20, 4096)] {
        let mut out = Vec::new();
        encoder.set_table_size_max(size);
        encoder.begin(&mut out);
        assert_eq!(out, size_update(expected), "lower, then higher again");
    }
}

proptest! {
    #[test]
    fn any_bytes_are_lines_or_an_error(blocks: Vec<Vec<u8>>) {
        let mut decoder = Decoder::default();
        for block in blocks {
            let _ = lines(&mut decoder, &block);
            prop_assert!(decoder.table.capacity() <= 16 * 1024);
        }
    }

    #[test]
    fn lines_come_out_as_they_went_in(
        blocks in prop::collection::vec(
            (
                prop::option::of(0u32..6000),
                prop::collection::vec((0usize..3, "[a-z]{1,3}", "[ -~]{0,90}"), 0..12),
            ),
            0..12,
        ),
    ) {
        let (mut encoder, mut decoder) = (Encoder::default(), Decoder::default());
        for (size, fields) in blocks {
            let mut block = Vec::new();
            if let Some(size) = size {
                encoder.set_table_size_max(size);
            }
            encoder.begin(&mut block);
            let mut expected = Vec::new();
            for (how, name, value) in fields {
                let indexing = [Indexing::Kept, Indexing::Not, Indexing::Never][how];
                encoder.line(0, name.as_bytes(), value.as_bytes(), indexing, &mut block);
                expected.push(format!("{name}: {value}"));
            }
            prop_assert_eq!(lines(&mut decoder, &block), Ok(expected));
        }
    }
}

/// The lines of a block, without their ends.
fn lines(decoder: &mut Decoder, block: &[u8]) -> Result<Vec<String>, CompressionError> {
    let mut reader = decoder.open(block)?;
    let mut found = Vec::new();
    let mut out = Vec::new();
    while let Some(line) = reader.next(&mut out)? {
        assert_eq!(line.length(), out.len());
        assert_eq!(&out[line.name_bytes as usize..][..2], b": ");
        let text = out.strip_suffix(b"\r\n").expect("a line has an end");
        found.push(String::from_utf8_lossy(text).into_owned());
        out.clear();
    }
    Ok(found)
}

/// The lines of the table, newest first.
fn table_of(decoder: &Decoder) -> Vec<String> {
    (0..)
        .map_while(|age| decoder.table.entry(age))
        .map(|(_, line)| String::from_utf8_lossy(&line[..line.len() - 2]).into_owned())
        .collect()
}

/// A literal with names and values as they are.
fn literal(pattern: u8, name: &str, value: &str) -> Vec<u8> {
    let mut out = vec![pattern];
    for text in [name, value] {
        integer::write(text.len() as u32, 7, 0, &mut out);
        out.extend_from_slice(text.as_bytes());
    }
    out
}

fn size_update(size: u32) -> Vec<u8> {
    let mut out = Vec::new();
    integer::write(size, 5, 0x20, &mut out);
    out
}

/// Bytes from hexadecimal digits.
fn bytes(digits: &str) -> Vec<u8> {
    let digits: Vec<u8> = digits.bytes().filter(u8::is_ascii_hexdigit).collect();
    digits
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}
