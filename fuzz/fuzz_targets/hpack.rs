//! Blocks of HTTP/2: a head or an error, and a head that HTTP/1.1 would have read from its text.
#![no_main]

use fuzz::LIMITS;
use libfuzzer_sys::fuzz_target;
use message::{Field, FieldName, Method, RequestHead, ResponseHead};
use wire::h1::{Limits, RequestReader, ResponseReader};
use wire::h2::head::{
    HeadError, read_request, read_response, read_trailers, write_request, write_response,
    write_trailers,
};
use wire::h2::{Decoder, Encoder};

/// What is decoded can be a little longer than what it was counted as.
const AS_TEXT: Limits = Limits {
    head_bytes: LIMITS.head_bytes + 64,
    fields: LIMITS.fields + 2,
    line_bytes: LIMITS.line_bytes + 64,
};

// An input is a list of blocks, each behind a byte that is its length. They are read three times:
// as the requests, the responses and the trailers of one connection.
fuzz_target!(|input: &[u8]| {
    let mut requests = Requests::default();
    let mut responses = Responses::default();
    let mut trailers = Trailers::default();
    let mut are_whole = [true; 3];
    for block in blocks(input) {
        let reads: [&mut dyn FnMut(&[u8]) -> Result<(), HeadError>; 3] = [
            &mut |block| requests.read(block),
            &mut |block| responses.read(block),
            &mut |block| trailers.read(block),
        ];
        for (read, is_whole) in reads.into_iter().zip(&mut are_whole) {
            *is_whole = *is_whole && read(block) != Err(HeadError::Compression);
        }
    }
});

fn blocks(input: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = input;
    std::iter::from_fn(move || {
        let (length, behind) = rest.split_first()?;
        let (block, behind) = behind.split_at(behind.len().min(usize::from(*length)));
        rest = behind;
        Some(block)
    })
}

#[derive(Default)]
struct Requests {
    decoder: Decoder,
    head: RequestHead,
    encoder: Encoder,
    again: Decoder,
}

impl Requests {
    fn read(&mut self, block: &[u8]) -> Result<(), HeadError> {
        let head = &mut self.head;
        head.clear();
        read_request(&mut self.decoder, block, &LIMITS, true, head)?;

        let mut as_text = RequestHead::default();
        let read = RequestReader::default().receive(&head.bytes, &AS_TEXT, &mut as_text);
        assert_eq!(read, Ok(Some(head.bytes.len())), "the text is one head");
        assert_eq!(as_text.fields, head.fields);
        assert_eq!(as_text.method, head.method);
        assert_eq!(as_text.form, head.form);
        assert_eq!(as_text.path, head.path);
        assert_eq!(as_text.path_and_query, head.path_and_query);
        assert_eq!(as_text.text(as_text.authority), head.text(head.authority));
        assert_eq!(as_text.expects_continue, head.expects_continue);
        assert_eq!(as_text.accepts_trailers, head.accepts_trailers);

        // The Upgrade field of an extended CONNECT is not text to be sent: who sends it decides.
        if !head.is_extended_connect {
            let mut passed_on = Vec::new();
            write_request(&mut self.encoder, &head.bytes, "http", &mut passed_on);
            let mut again = RequestHead::default();
            let read = read_request(&mut self.again, &passed_on, &AS_TEXT, false, &mut again);
            assert_eq!(read, Ok(()), "what we write is one head");
            assert_eq!(again.method, head.method);
            assert_eq!(
                again.text(again.path_and_query),
                head.text(head.path_and_query)
            );
            assert_eq!(again.text(again.authority), head.text(head.authority));
            assert_eq!(again.body_length, head.body_length);
            assert_eq!(again.fields.len(), head.fields.len());
        }
        Ok(())
    }
}

#[derive(Default)]
struct Responses {
    decoder: Decoder,
    head: ResponseHead,
    encoder: Encoder,
    again: Decoder,
}

impl Responses {
    fn read(&mut self, block: &[u8]) -> Result<(), HeadError> {
        let head = &mut self.head;
        head.clear();
        read_response(&mut self.decoder, block, &LIMITS, Method::Get, head)?;

        let mut as_text = ResponseHead::default();
        let mut reader = ResponseReader::default();
        let read = reader.receive(&head.bytes, &AS_TEXT, Method::Get, &mut as_text);
        assert_eq!(read, Ok(Some(head.bytes.len())), "the text is one head");
        assert_eq!(as_text.fields, head.fields);
        assert_eq!(as_text.status, head.status);
        assert_eq!(as_text.reason, head.reason);
        assert_eq!(as_text.has_feedback, head.has_feedback);

        let mut passed_on = Vec::new();
        write_response(&mut self.encoder, &head.bytes, &mut passed_on);
        let mut again = ResponseHead::default();
        let read = read_response(
            &mut self.again,
            &passed_on,
            &AS_TEXT,
            Method::Get,
            &mut again,
        );
        assert_eq!(read, Ok(()), "what we write is one head");
        assert_eq!(again.status, head.status);
        assert_eq!(again.body_length, head.body_length);
        // A Host means nothing in a response, and is not sent.
        let is_sent = |field: &&Field| field.id != FieldName::Host;
        assert_eq!(
            again.fields.len(),
            head.fields.iter().filter(is_sent).count()
        );
        Ok(())
    }
}

#[derive(Default)]
struct Trailers {
    decoder: Decoder,
    encoder: Encoder,
    again: Decoder,
}

impl Trailers {
    fn read(&mut self, block: &[u8]) -> Result<(), HeadError> {
        let mut lines = Vec::new();
        read_trailers(&mut self.decoder, block, &LIMITS, &mut lines)?;
        let (mut passed_on, mut again) = (Vec::new(), Vec::new());
        write_trailers(&mut self.encoder, &lines, &mut passed_on);
        let read = read_trailers(&mut self.again, &passed_on, &AS_TEXT, &mut again);
        assert_eq!(read, Ok(()), "what we write are trailers");
        assert_eq!(again, lines);
        Ok(())
    }
}
