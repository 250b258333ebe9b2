//! A probe that speaks the protocol of the server: moves the bytes of a [`Dialogue`].

use balance::ProbeFailure;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::Instant;
use wire::check::{Dialogue, Step};

use crate::connection::{self, Connection, Problem};

/// Has the conversation to its verdict, and ends it in good order where that is a good one.
pub(crate) async fn converse(
    mut connection: Connection,
    mut dialogue: Dialogue,
    deadline: Instant,
) -> Result<(), Problem> {
    let protocol = dialogue.protocol();
    let fail = |failure| Err(Problem::Endpoint(failure));
    let goodbye = loop {
        match dialogue.poll() {
            Some(Step::Send(bytes)) => connection.write_all(bytes).await?,
            Some(Step::Healthy { goodbye }) => break goodbye,
            Some(Step::Unhealthy(words)) => return fail(ProbeFailure::Server(words)),
            Some(Step::Garbage) => return fail(ProbeFailure::Garbage(protocol)),
            None => {
                let mut bytes = [0; 1024];
                match connection.read(&mut bytes).await? {
                    0 if dialogue.is_interrupted() => return fail(ProbeFailure::Garbage(protocol)),
                    0 => return fail(ProbeFailure::Reset),
                    read => dialogue.receive(&bytes[..read]),
                }
            }
        }
    };
    // Whatever becomes of the goodbye, the verdict stands: a server that has refused us may be
    // gone already.
    if connection.write_all(goodbye).await.is_ok() && connection.shutdown().await.is_ok() {
        connection::end(connection, deadline);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;
    use std::thread::JoinHandle;
    use std::time::Duration;

    use balance::{Address, Check, CheckKind, Evidence};

    use super::*;
    use crate::prober::probe;
    use crate::transport::{Transport, Way};

    /// What a server does next.
    enum Turn {
        Hears(&'static [u8]),
        Says(&'static [u8]),
        Closes,
    }
    use Turn::{Closes, Hears, Says};

    /// A server for one client, and what it has heard from that one after its turns.
    fn server(turns: Vec<Turn>) -> (Address, JoinHandle<Vec<u8>>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = Address::Tcp(listener.local_addr().unwrap());
        let serve = move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut rest = Vec::new();
            for turn in turns {
                match turn {
                    Hears(bytes) => {
                        let mut heard = vec![0; bytes.len()];
                        stream.read_exact(&mut heard).unwrap();
                        assert_eq!(heard, bytes, "{}", heard.escape_ascii());
                    }
                    Says(bytes) => stream.write_all(bytes).unwrap(),
                    Closes => return rest,
                }
            }
            stream.read_to_end(&mut rest).unwrap();
            rest
        };
        (address, std::thread::spawn(serve))
    }

    /// What a probe of such a server finds, and what the server hears at last.
    fn outcome(kind: CheckKind, turns: Vec<Turn>) -> (Evidence, Vec<u8>) {
        let (address, serving) = server(turns);
        let check = Check {
            kind,
            timeout: Duration::from_secs(10),
            ..Check::default()
        };
        let transport = Transport::default();
        let way = Way { address, transport };
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = runtime.enable_all().build().unwrap();
        let evidence = runtime.block_on(probe(&way, &check)).evidence;
        drop(runtime);
        (evidence, serving.join().unwrap())
    }

    const HEALTHY: Evidence = Evidence::ProbeSucceeded;
    const PING: &[u8] = b"*1\r\n$4\r\nPING\r\n";

    #[test]
    fn a_server_that_is_well_is_told_goodbye() {
        let redis = vec![Hears(PING), Says(b"+PO"), Says(b"NG\r\n")];
        let quit = b"*1\r\n$4\r\nQUIT\r\n".to_vec();
        assert_eq!(outcome(CheckKind::Redis, redis), (HEALTHY, quit));

        let smtp = vec![
            Says(b"220-mail.example\r\n"),
            Says(b"220 ESMTP\r\n"),
            Hears(b"EHLO localhost\r\n"),
            Says(b"250-mail.example\r\n250 8BITMIME\r\n"),
        ];
        let quit = b"QUIT\r\n".to_vec();
        assert_eq!(outcome(CheckKind::Smtp, smtp), (HEALTHY, quit));

        let postgres = vec![
            Hears(b"\0\0\0\x52\0\x03\0\0user"),
            Says(b"R\0\0\0\x08\0\0\0\0Z\0\0\0\x05I"),
        ];
        let (evidence, heard) = outcome(CheckKind::Postgres, postgres);
        assert_eq!(evidence, HEALTHY);
        assert!(heard.ends_with(b"\0\0X\0\0\0\x04"), "{heard:?}");

        let mysql = vec![
            Says(b"\x08\0\0\0\x0a10.11\0\x01"),
            Hears(b"\x41\0\0\x01"),
            Says(b"\x07\0\0\x02\0\0\0\x02\0\0\0"),
        ];
        let (evidence, heard) = outcome(CheckKind::Mysql, mysql);
        assert_eq!(evidence, HEALTHY);
        assert!(heard.ends_with(b"_password\0\x01\0\0\0\x01"), "{heard:?}");
    }

    #[test]
    fn a_server_that_refuses_us_and_is_gone_is_well() {
        let turns = vec![
            Hears(b"\0\0\0\x52\0\x03\0\0user\0pointsman\0database\0postgres\0application_name\0"),
            Hears(b"pointsman health-check\0\0"),
            Says(b"E\0\0\0\x17SFATAL\0C28000\0Mno\0\0"),
            Closes,
        ];
        assert_eq!(outcome(CheckKind::Postgres, turns).0, HEALTHY);
    }

    #[test]
    fn each_bad_end_has_its_name() {
        for (turns, failure) in [
            (
                vec![Hears(PING), Says(b"-LOADING wait\r\n")],
                ProbeFailure::Server("LOADING"),
            ),
            (
                vec![Hears(PING), Says(b"HTTP/1.1 400 Bad Request\r\n\r\n")],
                ProbeFailure::Garbage("Redis"),
            ),
            (
                vec![Hears(PING), Says(b"+PO"), Closes],
                ProbeFailure::Garbage("Redis"),
            ),
            (vec![Hears(PING), Closes], ProbeFailure::Reset),
        ] {
            let (evidence, _) = outcome(CheckKind::Redis, turns);
            assert_eq!(evidence, Evidence::ProbeFailed(failure));
        }
    }
}
