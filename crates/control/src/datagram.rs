//! Probes by UDP: a datagram, and what comes back.
//!
//! A probe sends one datagram. One that is lost fails it, as a lost request would fail a client;
//! it takes several in a row to make an endpoint down.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use balance::{Address, ProbeFailure};
use tokio::net::UdpSocket;
use tokio::time::timeout;
use wire::check::{Query, Step};

use crate::connection::Problem;
use crate::prober::contains;
use crate::transport::Way;

/// Sends `datagram`. The answer must contain what is expected; where nothing is, no news for so
/// long as `patience` is good news.
pub(crate) async fn send(
    way: &Way,
    datagram: &[u8],
    expect: Option<&[u8]>,
    patience: Duration,
) -> Result<(), Problem> {
    let socket = connect(way).await?;
    socket.send(datagram).await?;
    let mut answer = [0; ANSWER_BYTES_MAX];
    let Some(expect) = expect else {
        return match timeout(patience, socket.recv(&mut answer)).await {
            Ok(Err(error)) => Err(error.into()),
            Ok(Ok(_)) | Err(_) => Ok(()),
        };
    };
    let length = socket.recv(&mut answer).await?;
    if contains(&answer[..length], expect) {
        Ok(())
    } else {
        Err(Problem::Endpoint(ProbeFailure::Content))
    }
}

/// Asks a DNS server for a name, or for the root.
pub(crate) async fn look_up(way: &Way, name: Option<&str>) -> Result<(), Problem> {
    let query = Query::new(fastrand::u16(..), name);
    // The config refuses what is no name.
    let query = query.ok_or(Problem::Endpoint(ProbeFailure::Other))?;
    let socket = connect(way).await?;
    socket.send(query.message()).await?;
    let mut answer = [0; ANSWER_BYTES_MAX];
    loop {
        let length = socket.recv(&mut answer).await?;
        match query.receive(&answer[..length]) {
            Some(Step::Unhealthy(words)) => {
                return Err(Problem::Endpoint(ProbeFailure::Server(words)));
            }
            Some(_) => return Ok(()),
            None => {}
        }
    }
}

/// A socket that hears of `way`'s end alone, also that nobody listens there.
async fn connect(way: &Way) -> Result<UdpSocket, Problem> {
    let Address::Tcp(address) = way.address else {
        // There are no datagrams to Unix sockets here.
        return Err(Problem::Endpoint(ProbeFailure::Other));
    };
    let options = &way.transport.socket;
    let any = match address.ip() {
        IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    };
    let socket = UdpSocket::bind((options.source.unwrap_or(any), 0)).await?;
    if let Some(interface) = &options.interface {
        socket.bind_device(Some(interface.as_bytes()))?;
    }
    socket.connect(address).await?;
    // The kernel may have given us the very port on which nobody listens.
    if socket.local_addr()? == address {
        return Err(Problem::Endpoint(ProbeFailure::Refused));
    }
    Ok(socket)
}

/// What is behind this in a datagram is not looked at.
const ANSWER_BYTES_MAX: usize = 4096;

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use balance::{Check, CheckKind, Evidence};

    use super::*;
    use crate::prober::probe;
    use crate::transport::Transport;

    const HEALTHY: Evidence = Evidence::ProbeSucceeded;

    fn failed(failure: ProbeFailure) -> Evidence {
        Evidence::ProbeFailed(failure)
    }

    /// What a probe of `address` finds.
    fn outcome(address: SocketAddr, kind: CheckKind, timeout: Duration) -> Evidence {
        let check = Check {
            kind,
            timeout,
            ..Check::default()
        };
        let way = Way {
            address: Address::Tcp(address),
            transport: Transport::default(),
        };
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = runtime.enable_all().build().unwrap();
        runtime.block_on(probe(&way, &check)).evidence
    }

    /// As [`outcome`] with much time, of a server that answers one datagram with those that
    /// `reply` makes of it.
    fn outcome_with(kind: CheckKind, reply: fn(&[u8]) -> Vec<Vec<u8>>) -> Evidence {
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        let serving = std::thread::spawn(move || {
            let mut datagram = [0; 1024];
            let (length, peer) = socket.recv_from(&mut datagram).unwrap();
            for reply in reply(&datagram[..length]) {
                // Who has heard enough does not listen any more.
                let _ = socket.send_to(&reply, peer);
            }
        });
        let evidence = outcome(address, kind, Duration::from_secs(10));
        serving.join().unwrap();
        evidence
    }

    fn udp(send: &[u8], expect: Option<&[u8]>) -> CheckKind {
        CheckKind::Udp {
            send: send.into(),
            expect: expect.map(Into::into),
        }
    }

    fn dns(name: Option<&str>) -> CheckKind {
        let name = name.map(Into::into);
        CheckKind::Dns { name }
    }

    #[test]
    fn silence_is_good_news_unless_an_answer_is_expected() {
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        let short = Duration::from_millis(100);
        assert_eq!(outcome(address, udp(b"", None), short), HEALTHY);
        let mut datagram = [0; 16];
        assert_eq!(socket.recv(&mut datagram).unwrap(), 0);
        let timeout = failed(ProbeFailure::Timeout);
        assert_eq!(outcome(address, udp(b"a", Some(b"b")), short), timeout);
        assert_eq!(outcome(address, dns(None), short), timeout);
    }

    #[test]
    fn a_datagram_that_nobody_takes_is_refused() {
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        drop(socket);
        let much = Duration::from_secs(10);
        for kind in [udp(b"", None), udp(b"a", Some(b"b")), dns(None)] {
            let refused = failed(ProbeFailure::Refused);
            assert_eq!(outcome(address, kind, much), refused);
        }
    }

    #[test]
    fn an_answer_contains_what_is_expected_or_fails_the_probe() {
        let echo = |datagram: &[u8]| vec![datagram.to_vec()];
        let expect = |expect: &'static [u8]| outcome_with(udp(b"status", Some(expect)), echo);
        assert_eq!(expect(b"stat"), HEALTHY);
        assert_eq!(expect(b"players"), failed(ProbeFailure::Content));
        assert_eq!(outcome_with(udp(b"status", None), echo), HEALTHY);
    }

    #[test]
    fn a_dns_server_is_asked_and_the_answer_to_another_question_passed_over() {
        fn answer(query: &[u8], code: u8) -> Vec<u8> {
            let mut answer = query.to_vec();
            answer[2] |= 0x80;
            answer[3] = code;
            answer
        }
        let well = |query: &[u8]| {
            let mut other = answer(query, 2);
            other[0] ^= 1;
            vec![other, b"junk".to_vec(), answer(query, 0)]
        };
        assert_eq!(outcome_with(dns(None), well), HEALTHY);
        assert_eq!(outcome_with(dns(Some("app.example")), well), HEALTHY);
        let ill = |query: &[u8]| vec![answer(query, 2)];
        let servfail = failed(ProbeFailure::Server("SERVFAIL"));
        assert_eq!(outcome_with(dns(None), ill), servfail);
        let absent = |query: &[u8]| vec![answer(query, 3)];
        assert_eq!(outcome_with(dns(None), absent), HEALTHY);
        let nxdomain = failed(ProbeFailure::Server("NXDOMAIN"));
        assert_eq!(outcome_with(dns(Some("app.example")), absent), nxdomain);
    }

    #[test]
    fn there_are_no_datagrams_to_a_unix_socket() {
        let way = Way {
            address: Address::Unix("/run/app.sock".into()),
            transport: Transport::default(),
        };
        let check = Check {
            kind: dns(None),
            ..Check::default()
        };
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = runtime.enable_all().build().unwrap();
        let evidence = runtime.block_on(probe(&way, &check)).evidence;
        assert_eq!(evidence, failed(ProbeFailure::Other));
    }
}
