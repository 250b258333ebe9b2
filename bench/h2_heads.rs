//! Heads of HTTP/2: decoded into text, and encoded from it.
//!
//! `cargo bench --package bench --bench h2_heads`

use divan::counter::ItemsCount;
use divan::{Bencher, black_box};
use message::{Method, RequestHead, ResponseHead};
use wire::h1::Limits;
use wire::h2::head::{read_request, read_response, write_request, write_response};
use wire::h2::{Decoder, Encoder};

fn main() {
    divan::main();
}

/// A browser's first request on a connection, with everything Huffman-coded: 18 field lines, three
/// of them crumbs of a cookie.
const FIRST_BLOCK: &str = "\
82418944e7ad72f91d35d05f87149861139eb6281d35a18685fe10f41edb20b0b27c56398b00bf7ab5d07f66a281\
b0dae053fafc087ed4ce6aadf2a7979c89c6bed4b3bdc0b405c1fda988a4ea76040080010054c26b0b29fcb01680\
b83f53b0497ca589d34d1f43aeba0c41a4c7a98f33a69a3fdf9a68fa1d75d0620d263d4c79a68fbed00177febe58\
f9fbed00177b518b2d4b62bbf45abefb4005db50929bd9abfa5242cb40d25fa523b3e94f684c9f73969d29ad1718\
61139eb5cbe474d7415844e7ad8a074d68609c4150831ea81c9425900010e36db7db79b7c0168b1ca07db0b62148\
ff60884ce5a4b0483b3aff608921ea416a4c151ea2ff4092b6b9ac1c8558d520a4b6c2ad617b5a54251f810f408a\
4148b4a549275a42a13f8690e4b692d49f408a4148b4a549275a93c85f86a87dcd30d25f408a4148b4a549275906\
497f8840e92ac7b0d31aaf4086aec31ec327d785b6007d286f4082497f864d833505b11f";

/// The next one: only the path is new.
const NEXT_BLOCK: &str =
    "82cc87149861139eb6281d35a18699ff087a0f6d9058593e2b1cc5819fcbcac9c8c7c6c5c4c3c2c1c0bfbe";

/// The next request of a load generator.
const SMALL_REQUEST: &str = "GET /1k HTTP/1.1\r\n\
Host: localhost\r\n\
User-Agent: xtask\r\n\
Accept: */*\r\n\
\r\n";

const RESPONSE: &str = "HTTP/1.1 200 OK\r\n\
Server: nginx/1.22.1\r\n\
Date: Sat, 01 Jan 2028 00:00:00 GMT\r\n\
Content-Type: text/html; charset=utf-8\r\n\
Content-Length: 1024\r\n\
Last-Modified: Sat, 01 Jan 2028 00:00:00 GMT\r\n\
Connection: keep-alive\r\n\
ETag: \"65920080-400\"\r\n\
Cache-Control: no-cache\r\n\
Accept-Ranges: bytes\r\n\
X-Request-Id: 0192f3a4-7c1e-7b3a-9d2f-1a2b3c4d5e6f\r\n\
\r\n";

/// The defaults of the load balancer.
const LIMITS: Limits = Limits {
    head_bytes: 32 * 1024,
    fields: 100,
    line_bytes: 8 * 1024,
};

mod decode {
    use super::*;

    #[divan::bench]
    fn first_browser_request(bencher: Bencher<'_, '_>) {
        let block = bytes(FIRST_BLOCK);
        let mut head = RequestHead::default();
        bencher
            .counter(ItemsCount::new(1u32))
            .with_inputs(Decoder::default)
            .bench_local_refs(|decoder| request(decoder, &block, &mut head));
        assert_eq!(
            head.fields.len(),
            13,
            "host, eleven others, the crumbs as one"
        );
    }

    #[divan::bench]
    fn next_browser_request(bencher: Bencher<'_, '_>) {
        let (mut decoder, mut head) = (Decoder::default(), RequestHead::default());
        request(&mut decoder, &bytes(FIRST_BLOCK), &mut head);
        let block = bytes(NEXT_BLOCK);
        bencher
            .counter(ItemsCount::new(1u32))
            .bench_local(|| request(&mut decoder, &block, &mut head));
    }

    #[divan::bench]
    fn next_small_request(bencher: Bencher<'_, '_>) {
        let (mut decoder, mut head) = (Decoder::default(), RequestHead::default());
        let [first, next] = requests(SMALL_REQUEST);
        request(&mut decoder, &first, &mut head);
        bencher
            .counter(ItemsCount::new(1u32))
            .bench_local(|| request(&mut decoder, &next, &mut head));
    }

    #[divan::bench]
    fn next_response(bencher: Bencher<'_, '_>) {
        let (mut encoder, mut decoder) = (Encoder::default(), Decoder::default());
        let [mut first, mut next] = [Vec::new(), Vec::new()];
        write_response(&mut encoder, RESPONSE.as_bytes(), &mut first);
        write_response(&mut encoder, RESPONSE.as_bytes(), &mut next);
        let mut head = ResponseHead::default();
        let mut read = |block: &[u8]| {
            head.clear();
            let block = black_box(block);
            read_response(&mut decoder, block, &LIMITS, Method::Get, &mut head)
                .expect("the head keeps every rule");
            head.fields.len()
        };
        read(&first);
        bencher
            .counter(ItemsCount::new(1u32))
            .bench_local(|| read(&next));
    }

    fn request(decoder: &mut Decoder, block: &[u8], head: &mut RequestHead) -> usize {
        head.clear();
        read_request(decoder, black_box(block), &LIMITS, false, head)
            .expect("the head keeps every rule");
        head.fields.len()
    }
}

mod encode {
    use super::*;

    #[divan::bench]
    fn next_response(bencher: Bencher<'_, '_>) {
        let (mut encoder, mut out) = (Encoder::default(), Vec::new());
        bencher.counter(ItemsCount::new(1u32)).bench_local(|| {
            out.clear();
            write_response(&mut encoder, black_box(RESPONSE.as_bytes()), &mut out);
            out.len()
        });
    }

    #[divan::bench]
    fn next_browser_request(bencher: Bencher<'_, '_>) {
        let mut head = RequestHead::default();
        let block = bytes(FIRST_BLOCK);
        read_request(&mut Decoder::default(), &block, &LIMITS, false, &mut head)
            .expect("the head keeps every rule");
        let (mut encoder, mut out) = (Encoder::default(), Vec::new());
        bencher.counter(ItemsCount::new(1u32)).bench_local(|| {
            out.clear();
            write_request(&mut encoder, black_box(&head.bytes), "https", &mut out);
            out.len()
        });
    }
}

/// The blocks of a request that is sent twice.
fn requests(text: &str) -> [Vec<u8>; 2] {
    let mut encoder = Encoder::default();
    [0; 2].map(|_| {
        let mut out = Vec::new();
        write_request(&mut encoder, text.as_bytes(), "https", &mut out);
        out
    })
}

/// Bytes from hexadecimal digits.
fn bytes(digits: &str) -> Vec<u8> {
    digits
        .as_bytes()
        .chunks(2)
        .map(|pair| {
            let pair = std::str::from_utf8(pair).expect("digits are ASCII");
            u8::from_str_radix(pair, 16).expect("two digits")
        })
        .collect()
}
