//! Asking servers in their own protocols whether they take requests.
//!
//! [`Dialogue`] is a conversation over a connection: what has arrived goes in, and what to do comes
//! out as [`Step`]s. `redis`, `postgres`, `mysql` and `smtp` are what is said and how the answers
//! are judged, one server each. [`Query`], of `dns`, is one datagram and its answer.
//!
//! All of them judge in the same way. A server that gets as far as to refuse *us* is healthy: it
//! does its work, and who we are is a matter of its accounts. One that would refuse anybody who
//! comes from this machine is not.
//!
//! Absent on purpose: passwords. What they would open is no business of a health check.

mod mysql;
mod postgres;
mod redis;
mod smtp;

mod dns;

#[cfg(test)]
mod tests;

pub use dns::Query;

use mysql::Mysql;
use postgres::Postgres;
use redis::Redis;
use smtp::Smtp;

/// What comes next in a conversation with a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// These bytes are sent.
    Send(&'static [u8]),
    /// It takes requests. These bytes, where there are any, end the conversation in good order.
    Healthy {
        /// May be empty.
        goodbye: &'static [u8],
    },
    /// It says, in the words of its protocol, that it does not.
    Unhealthy(&'static str),
    /// What it says is not of this protocol, or longer than anything that is.
    Garbage,
}

/// A conversation with a server, which ends with a verdict.
#[derive(Debug)]
pub struct Dialogue {
    state: State,
    /// All that the server has said.
    said: Vec<u8>,
    /// How much of it was understood.
    understood: usize,
}

/// Where the conversation stands, with each kind of server.
#[derive(Debug)]
enum State {
    Redis(Redis),
    Postgres(Postgres),
    Mysql(Mysql),
    Smtp(Smtp),
}

impl Dialogue {
    /// With a Redis server or what speaks as one.
    pub fn redis() -> Self {
        Self::new(State::Redis(Redis::Connected))
    }

    /// With a PostgreSQL server or what speaks as one.
    pub fn postgres() -> Self {
        Self::new(State::Postgres(Postgres::Connected))
    }

    /// With a MySQL or MariaDB server or what speaks as one.
    pub fn mysql() -> Self {
        Self::new(State::Mysql(Mysql::ExpectGreeting))
    }

    /// With a mail server.
    pub fn smtp() -> Self {
        Self::new(State::Smtp(Smtp::ExpectGreeting))
    }

    fn new(state: State) -> Self {
        Self {
            state,
            said: Vec::new(),
            understood: 0,
        }
    }

    /// The name of the protocol.
    pub fn protocol(&self) -> &'static str {
        match self.state {
            State::Redis(_) => "Redis",
            State::Postgres(_) => "PostgreSQL",
            State::Mysql(_) => "MySQL",
            State::Smtp(_) => "SMTP",
        }
    }

    /// Takes bytes from the server. What it says beyond 16 KiB in all is ignored.
    pub fn receive(&mut self, bytes: &[u8]) {
        let room = SAID_BYTES_MAX - self.said.len();
        self.said.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }

    /// The next step; the first one may come before anything was received. `None`: more has to
    /// arrive. What is not [`Step::Send`] is the verdict, after which there is nothing to ask for.
    pub fn poll(&mut self) -> Option<Step> {
        let mut rest = &self.said[self.understood..];
        let step = match &mut self.state {
            State::Redis(redis) => redis.poll(&mut rest),
            State::Postgres(postgres) => postgres.poll(&mut rest),
            State::Mysql(mysql) => mysql.poll(&mut rest),
            State::Smtp(smtp) => smtp.poll(&mut rest),
        };
        self.understood = self.said.len() - rest.len();
        let is_full = self.said.len() == SAID_BYTES_MAX;
        step.or(is_full.then_some(Step::Garbage))
    }

    /// True if the server has begun to say something and not ended it.
    pub fn is_interrupted(&self) -> bool {
        self.understood < self.said.len()
    }
}

/// Takes the first line from `rest`, without its end; `None` if it is not whole. A bare LF ends a
/// line too: nothing that is passed on depends on it.
fn take_line<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let end = memchr::memchr(b'\n', rest)?;
    let line = &rest[..end];
    *rest = &rest[end + 1..];
    Some(line.strip_suffix(b"\r").unwrap_or(line))
}

/// Far beyond what any of these servers says to somebody whom it does not know.
const SAID_BYTES_MAX: usize = 16 * 1024;
