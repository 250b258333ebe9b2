//! Heads of HTTP/1.1: read, and written as they are forwarded.
//!
//! `cargo bench --package bench --bench heads`

use divan::counter::BytesCount;
use divan::{Bencher, black_box};
use message::{Field, FieldName, Method, RequestHead, ResponseHead};
use wire::h1::{
    Limits, RequestReader, ResponseReader, write_field, write_fields, write_request_line,
    write_status_line,
};

fn main() {
    divan::main();
}

/// What a load generator or a health check sends.
const SMALL_REQUEST: &str = "GET /1k HTTP/1.1\r\n\
Host: localhost\r\n\
User-Agent: xtask\r\n\
Accept: */*\r\n\
\r\n";

/// What a browser sends: about 600 bytes.
const BROWSER_REQUEST: &str = "GET /shop/lamps/42?colour=red&page=2 HTTP/1.1\r\n\
Host: shop.example\r\n\
User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0\r\n\
Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\n\
Accept-Language: en-GB,en;q=0.5\r\n\
Accept-Encoding: gzip, deflate, br, zstd\r\n\
Referer: https://shop.example/shop/lamps\r\n\
Connection: keep-alive\r\n\
Cookie: session=6f1ed002ab5595859014ebf0951522d9; theme=dark; consent=none\r\n\
Upgrade-Insecure-Requests: 1\r\n\
Sec-Fetch-Dest: document\r\n\
Sec-Fetch-Mode: navigate\r\n\
Sec-Fetch-Site: same-origin\r\n\
Priority: u=0, i\r\n\
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
\r\n";

/// The defaults of the load balancer.
const LIMITS: Limits = Limits {
    head_bytes: 32 * 1024,
    fields: 100,
    line_bytes: 8 * 1024,
};

mod read {
    use super::*;

    #[divan::bench]
    fn small_request(bencher: Bencher<'_, '_>) {
        request(bencher, SMALL_REQUEST);
    }

    #[divan::bench]
    fn browser_request(bencher: Bencher<'_, '_>) {
        request(bencher, BROWSER_REQUEST);
    }

    /// One head is used for all, as on a keep-alive connection.
    fn request(bencher: Bencher<'_, '_>, text: &str) {
        let mut head = RequestHead::default();
        bencher.counter(BytesCount::of_str(text)).bench_local(|| {
            head.bytes.clear();
            head.fields.clear();
            RequestReader::default().receive(black_box(text.as_bytes()), &LIMITS, &mut head)
        });
    }

    #[divan::bench]
    fn response(bencher: Bencher<'_, '_>) {
        let mut head = ResponseHead::default();
        bencher
            .counter(BytesCount::of_str(RESPONSE))
            .bench_local(|| {
                head.bytes.clear();
                head.fields.clear();
                let bytes = black_box(RESPONSE.as_bytes());
                ResponseReader::default().receive(bytes, &LIMITS, Method::Get, &mut head)
            });
    }
}

/// The edit that forwarding makes: some lines out, some in, everything else copied.
mod write {
    use super::*;

    #[divan::bench]
    fn small_request(bencher: Bencher<'_, '_>) {
        request(bencher, SMALL_REQUEST);
    }

    #[divan::bench]
    fn browser_request(bencher: Bencher<'_, '_>) {
        request(bencher, BROWSER_REQUEST);
    }

    fn request(bencher: Bencher<'_, '_>, text: &str) {
        let mut head = RequestHead::default();
        RequestReader::default()
            .receive(text.as_bytes(), &LIMITS, &mut head)
            .expect("the head keeps every rule");
        let mut out = Vec::new();
        bencher.counter(BytesCount::of_str(text)).bench_local(|| {
            out.clear();
            let head = black_box(&head);
            write_request_line(head, &mut out);
            write_fields(&head.bytes, &head.fields, is_forwarded, &mut out);
            write_field("X-Forwarded-For", b"192.0.2.1", &mut out);
            write_field("X-Forwarded-Proto", b"http", &mut out);
            write_field("X-Forwarded-Host", head.text(head.authority), &mut out);
            write_field("Via", b"1.1 pointsman", &mut out);
            out.extend_from_slice(b"\r\n");
            out.len()
        });
    }

    #[divan::bench]
    fn response(bencher: Bencher<'_, '_>) {
        let mut head = ResponseHead::default();
        ResponseReader::default()
            .receive(RESPONSE.as_bytes(), &LIMITS, Method::Get, &mut head)
            .expect("the head keeps every rule");
        let mut out = Vec::new();
        bencher
            .counter(BytesCount::of_str(RESPONSE))
            .bench_local(|| {
                out.clear();
                let head = black_box(&head);
                write_status_line(head, &mut out);
                write_fields(&head.bytes, &head.fields, is_forwarded, &mut out);
                write_field("Via", b"1.1 pointsman", &mut out);
                out.extend_from_slice(b"\r\n");
                out.len()
            });
    }

    fn is_forwarded(field: &Field) -> bool {
        !field.hop_by_hop && !matches!(field.id, FieldName::XForwardedFor | FieldName::Via)
    }
}
