//! MySQL, MariaDB and what speaks as they do: a login as `pointsman`, without a password.
//!
//! The greeting alone would tell almost as much. But the server counts connections that end before
//! the login does, and blocks a host that has too many of them (`max_connect_errors`). Whoever is
//! denied access is not counted, so we go on until we are.
//!
//! Source: MySQL Internals, "Client/Server Protocol", Connection Phase; "Server Error Message
//! Reference"; `sql_authentication.cc` for what is counted.

use super::Step;

/// Where the conversation stands.
#[derive(Debug, Clone, Copy)]
pub(super) enum Mysql {
    ExpectGreeting,
    ExpectVerdict,
}

impl Mysql {
    pub(super) fn poll(&mut self, rest: &mut &[u8]) -> Option<Step> {
        let packet = take_packet(rest)?;
        let Some((kind, body)) = packet.split_first() else {
            return Some(Step::Garbage);
        };
        Some(match (*self, *kind) {
            (_, 0xff) => judge_error(body),
            // The version of the protocol, then that of the server as text that ends with zero.
            (Self::ExpectGreeting, 10) if body.contains(&0) => {
                *self = Self::ExpectVerdict;
                Step::Send(LOGIN)
            }
            (Self::ExpectVerdict, 0) => Step::Healthy { goodbye: QUIT },
            // Accounts of this server log in in another way (AuthSwitchRequest). In all of them
            // nothing is no password.
            (Self::ExpectVerdict, 0xfe) => Step::Send(NO_PASSWORD),
            // It wants to hear more (AuthMoreData), and we have nothing to say.
            (Self::ExpectVerdict, 1) => Step::Healthy { goodbye: b"" },
            _ => Step::Garbage,
        })
    }
}

/// Takes the first packet: three bytes of length, the lowest first, a number, and that many bytes.
/// `None` if it is not whole. What claims to be too long is returned as a packet of nothing: there
/// is neither here.
fn take_packet<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let ([low, middle, high, _number], behind) = rest.split_first_chunk()?;
    let length = u32::from_le_bytes([*low, *middle, *high, 0]) as usize;
    if length > PACKET_BYTES_MAX {
        return Some(&[]);
    }
    let (packet, behind) = behind.split_at_checked(length)?;
    *rest = behind;
    Some(packet)
}

/// An error begins with its number.
fn judge_error(body: &[u8]) -> Step {
    let Some(code) = body.first_chunk() else {
        return Step::Garbage;
    };
    match u16::from_le_bytes(*code) {
        // Access denied (with and without a password); a way to log in that we do not know; the
        // account is locked (MySQL, MariaDB); accounts must use TLS. All of that is about us.
        1045 | 1698 | 1251 | 3118 | 4151 | 3159 => Step::Healthy { goodbye: b"" },
        1040 => Step::Unhealthy("too many connections"),
        1053 => Step::Unhealthy("shutdown in progress"),
        // Both are about this machine, so whoever comes through it would hear the same.
        1129 => Step::Unhealthy("host is blocked"),
        1130 => Step::Unhealthy("host is not allowed to connect"),
        _ => Step::Unhealthy("an error"),
    }
}

/// HandshakeResponse41, packet 1: CLIENT_LONG_PASSWORD, CLIENT_PROTOCOL_41,
/// CLIENT_SECURE_CONNECTION and CLIENT_PLUGIN_AUTH; packets of 16 MiB; utf8; 23 bytes of nothing;
/// the account; no bytes of password; the way to log in that all servers know at least by name.
const LOGIN: &[u8] = b"\x41\0\0\x01\
    \x01\x82\x08\0\
    \0\0\0\x01\
    \x21\
    \0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\
    pointsman\0\
    \0\
    mysql_native_password\0";

/// AuthSwitchResponse, packet 3, of no bytes.
const NO_PASSWORD: &[u8] = b"\0\0\0\x03";

/// A greeting is about a hundred bytes, an error has at most 512 of text.
const PACKET_BYTES_MAX: usize = 4096;

/// COM_QUIT, which begins a new count of packets.
const QUIT: &[u8] = b"\x01\0\0\0\x01";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_login_says_how_long_it_is() {
        assert_eq!(LOGIN.len(), 4 + usize::from(LOGIN[0]));
    }
}
