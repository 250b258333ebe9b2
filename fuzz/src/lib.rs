//! What the targets for HTTP share: a connection on which messages arrive in pieces.

use message::BodyLength;
use wire::h1::{BadMessage, BodyReader, Limits};

/// Small, so that inputs of a few hundred bytes reach them.
pub const LIMITS: Limits = Limits {
    head_bytes: 512,
    fields: 8,
    line_bytes: 128,
};

/// Bytes at the front of an input that say where to cut the rest.
const CUT_BYTES: usize = 4;

/// Takes an input apart: all that arrives, and the same in pieces of 1 to 32 bytes.
pub fn cut(input: &[u8]) -> Option<(&[u8], Vec<&[u8]>)> {
    let (cuts, mut rest) = input.split_at_checked(CUT_BYTES)?;
    let wire = rest;
    let mut pieces = Vec::new();
    for cut in cuts.iter().cycle() {
        if rest.is_empty() {
            break;
        }
        let (piece, behind) = rest.split_at(rest.len().min(1 + usize::from(cut % 32)));
        pieces.push(piece);
        rest = behind;
    }
    Some((wire, pieces))
}

/// Reads one head after the other.
pub trait Heads: Default {
    /// Looks at all that has arrived since the last message. Once the head is whole: how many
    /// bytes it took, how its body ends, and all that it says.
    fn receive(&mut self, bytes: &[u8]) -> Result<Option<(usize, BodyLength, String)>, BadMessage>;
}

/// What came out of a connection.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Events {
    /// The messages, the last one perhaps unfinished.
    pub messages: Vec<Message>,
    /// Bytes that are part of no message yet.
    pub left: Vec<u8>,
    /// The rule that was broken, if one was.
    pub error: Option<BadMessage>,
}

/// One message.
#[derive(Debug, PartialEq, Eq)]
pub struct Message {
    /// The head in words.
    pub head: String,
    /// The body without its framing.
    pub content: Vec<u8>,
    /// What came behind a chunked body.
    pub trailers: Vec<u8>,
    /// All of the body has arrived.
    pub is_whole: bool,
}

/// Lets `pieces` arrive one after the other.
pub fn receive<H: Heads>(pieces: &[&[u8]]) -> Events {
    let mut connection = Connection::<H>::default();
    for piece in pieces {
        connection.arrived.extend_from_slice(piece);
        if let Err(error) = connection.read() {
            connection.events.error = Some(error);
            break;
        }
    }
    if connection.events.error.is_none() {
        connection.events.left = connection.arrived;
    }
    connection.events
}

#[derive(Default)]
struct Connection<H> {
    heads: H,
    body: Option<BodyReader>,
    arrived: Vec<u8>,
    events: Events,
}

impl<H: Heads> Connection<H> {
    fn read(&mut self) -> Result<(), BadMessage> {
        loop {
            let Some(body) = &mut self.body else {
                let Some((consumed, length, head)) = self.heads.receive(&self.arrived)? else {
                    return Ok(());
                };
                self.arrived.drain(..consumed);
                self.body = Some(BodyReader::new(length));
                self.events.messages.push(Message {
                    head,
                    content: Vec::new(),
                    trailers: Vec::new(),
                    is_whole: false,
                });
                continue;
            };
            let message = self.events.messages.last_mut().expect("its body is read");
            if body.is_done() {
                message.trailers = body.trailers().to_vec();
                message.is_whole = true;
                self.body = None;
                continue;
            }
            if self.arrived.is_empty() {
                return Ok(());
            }
            let step = body.receive(&self.arrived)?;
            assert!(step.consumed > 0, "a body that is not done takes bytes");
            message.content.extend_from_slice(&self.arrived[step.data]);
            self.arrived.drain(..step.consumed);
        }
    }
}
