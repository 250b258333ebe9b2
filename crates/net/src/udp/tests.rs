//! Real sockets on loopback.

use std::future::poll_fn;
use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket as Client};
use std::task::Poll;
use std::time::Duration;

use balance::Address;
use socket2::SockRef;
use tokio::time::timeout;

use crate::options::set;
use crate::{ConnectOptions, Inbox, ListenerOptions, Outbox, UdpSocket, bind_udp};

/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// Runs `work` in the runtime of a worker.
fn run<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
        .block_on(async {
            timeout(PATIENCE, work)
                .await
                .expect("nothing takes so long")
        })
}

/// The socket of a listener at `at`, and its port.
fn listen(at: &str, options: &ListenerOptions) -> (UdpSocket, u16) {
    let listening = bind_udp(at.parse().unwrap(), 1, options).unwrap();
    let Address::Tcp(address) = listening.address else {
        panic!("an address of IP was bound");
    };
    let [socket] = <[_; 1]>::try_from(listening.sockets).unwrap();
    (UdpSocket::listen(socket).unwrap(), address.port())
}

/// Somebody at `at` who talks to `to`.
fn client(at: &str, to: (&str, u16)) -> Client {
    let client = Client::bind(at).unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    client
        .connect(SocketAddr::new(to.0.parse().unwrap(), to.1))
        .unwrap();
    client
}

/// A datagram that was received: what it says, from where, to where.
type Received = (Vec<u8>, SocketAddr, Option<IpAddr>);

/// Receives `count` datagrams, all that there are.
async fn receive(socket: &UdpSocket, inbox: &mut Inbox, count: usize) -> io::Result<Vec<Received>> {
    let mut received = Vec::new();
    while received.len() < count {
        poll_fn(|cx| socket.poll_receive(cx, inbox)).await?;
        let datagrams = inbox.datagrams();
        received.extend(datagrams.map(|one| (one.bytes.to_vec(), one.peer, one.local)));
    }
    assert_eq!(received.len(), count);
    Ok(received)
}

async fn send(socket: &UdpSocket, outbox: &mut Outbox) -> io::Result<u32> {
    let dropped = poll_fn(|cx| socket.poll_send(cx, outbox)).await?;
    assert!(outbox.is_empty());
    Ok(dropped)
}

/// Receives as many datagrams of a client as there are in `expected`, and compares.
fn assert_receives(client: &Client, expected: &[Vec<u8>]) {
    let mut bytes = vec![0; 70_000];
    for (index, expected) in expected.iter().enumerate() {
        let length = client.recv(&mut bytes).unwrap();
        assert!(bytes[..length] == expected[..], "datagram {index}");
    }
}

/// Datagram `index`, of a length of its own content.
fn datagram(index: usize, length: usize) -> Vec<u8> {
    (0..length).map(|at| (index * 31 + at) as u8).collect()
}

/// Lengths that runs and their ends are made of, zero and the greatest included.
const LENGTHS: [usize; 21] = [
    64, 64, 64, 64, 1, 0, 0, 64, 64, 0, 64, 1452, 1452, 1453, 1453, 65_507, 1200, 1200, 1200, 1200,
    64,
];

/// What a client sends arrives as it was and in order, and so it comes back.
async fn assert_echoes(socket: &UdpSocket, client: &Client, datagrams: &[Vec<u8>]) {
    let (mut inbox, mut outbox) = (Inbox::default(), Outbox::default());
    for one in datagrams {
        client.send(one).unwrap();
    }
    let received = receive(socket, &mut inbox, datagrams.len()).await.unwrap();
    for (bytes, peer, local) in &received {
        assert_eq!(*peer, client.local_addr().unwrap());
        assert_eq!(*local, Some(client.peer_addr().unwrap().ip()));
        assert!(outbox.push(Some(*peer), *local, [bytes, &[]]));
    }
    assert_eq!(send(socket, &mut outbox).await.unwrap(), 0);
    let received: Vec<_> = received.into_iter().map(|(bytes, ..)| bytes).collect();
    assert!(received == datagrams);
    assert_receives(client, datagrams);
}

fn datagrams(lengths: &[usize]) -> Vec<Vec<u8>> {
    let numbered = lengths.iter().enumerate();
    numbered
        .map(|(index, length)| datagram(index, *length))
        .collect()
}

#[test]
fn datagrams_of_any_length_come_and_go_in_order() {
    run(async {
        let (socket, port) = listen("127.0.0.1:0", &ListenerOptions::default());
        let client = client("127.0.0.1:0", ("127.0.0.1", port));
        assert_echoes(&socket, &client, &datagrams(&LENGTHS)).await;
    });
}

#[test]
fn a_burst_of_equal_datagrams_and_one_of_unequal_ones_stay_as_they_are() {
    run(async {
        let (socket, port) = listen("127.0.0.1:0", &ListenerOptions::default());
        let client = client("127.0.0.1:0", ("127.0.0.1", port));
        // More than this waits for a client in the usual buffer of a socket only if it is small.
        assert_echoes(&socket, &client, &datagrams(&[64; 200])).await;
        let unequal: Vec<_> = (0..200).map(|index| index * 7 % 100).collect();
        assert_echoes(&socket, &client, &datagrams(&unequal)).await;
    });
}

#[test]
fn runs_that_the_kernel_has_put_together_are_taken_apart() {
    run(async {
        let (to, port) = listen("127.0.0.1:0", &ListenerOptions::default());
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        let from = UdpSocket::connect(address, &ConnectOptions::default()).unwrap();
        let (mut inbox, mut outbox) = (Inbox::default(), Outbox::default());
        // 200 runs, so to speak, of 64, and one of unequal ones, with nothing in between.
        let mut lengths = vec![1200; 200];
        lengths.extend([1200, 7, 0, 1200, 1200, 0, 0, 1]);
        let sent = datagrams(&lengths);
        for one in &sent {
            assert!(outbox.push(None, None, [&one[..one.len() / 3], &one[one.len() / 3..]]));
        }
        assert_eq!(send(&from, &mut outbox).await.unwrap(), 0);
        poll_fn(|cx| to.poll_receive(cx, &mut inbox)).await.unwrap();
        // What could leave as one message has come as one: all of it is there at once.
        let received: Vec<_> = inbox.datagrams().map(|one| one.bytes.to_vec()).collect();
        assert!(received == sent);
    });
}

#[test]
fn clients_are_answered_from_the_address_that_they_have_asked() {
    let both = ListenerOptions {
        dual_stack: true,
        ..ListenerOptions::default()
    };
    run(async {
        for (at, from, to) in [
            ("0.0.0.0:0", "127.0.0.1:0", "127.0.0.2"),
            ("[::1]:0", "[::1]:0", "::1"),
            ("[::]:0", "[::1]:0", "::1"),
            ("[::]:0", "127.0.0.1:0", "127.0.0.2"),
        ] {
            let (socket, port) = listen(at, &both);
            // It is connected, so it takes answers from nowhere else.
            let client = client(from, (to, port));
            assert_echoes(&socket, &client, &datagrams(&LENGTHS)).await;
        }
    });
}

#[test]
fn a_datagram_of_nobody_reaches_nobody_and_the_others_leave() {
    run(async {
        let (socket, port) = listen("127.0.0.1:0", &ListenerOptions::default());
        let client = client("127.0.0.1:0", ("127.0.0.1", port));
        let peer = client.local_addr().unwrap();
        let nowhere = SocketAddr::from(([127, 0, 0, 1], 0));
        let other_family = "[2001:db8::1]:9".parse().unwrap();
        let mut outbox = Outbox::default();
        for (peer, length) in [
            (peer, 1),
            (nowhere, 2),
            (nowhere, 2),
            (other_family, 3),
            (peer, 65_508),
            (peer, 4),
        ] {
            assert!(outbox.push(Some(peer), None, [&vec![7; length], &[]]));
        }
        assert!(outbox.push(None, None, [b"to whom?", &[]]));
        assert_eq!(send(&socket, &mut outbox).await.unwrap(), 5);
        assert_receives(&client, &[vec![7; 1], vec![7; 4]]);
        assert_eq!(send(&socket, &mut outbox).await.unwrap(), 0);
    });
}

#[test]
fn what_the_kernel_will_not_cut_is_sent_one_by_one() {
    run(async {
        let at = "127.0.0.1:0".parse().unwrap();
        let mut listening = bind_udp(at, 1, &ListenerOptions::default()).unwrap();
        let socket = listening.sockets.remove(0);
        // Datagrams without checksums are among those.
        let of_socket = SockRef::from(&socket);
        set(&of_socket, libc::SOL_SOCKET, libc::SO_NO_CHECK, 1).unwrap();
        let socket = UdpSocket::listen(socket).unwrap();
        let Address::Tcp(address) = listening.address else {
            panic!("an address of IP was bound");
        };
        let client = client("127.0.0.1:0", ("127.0.0.1", address.port()));
        assert_echoes(&socket, &client, &datagrams(&[64; 100])).await;
        assert_echoes(&socket, &client, &datagrams(&LENGTHS)).await;
    });
}

#[test]
fn an_outbox_takes_no_more_than_it_has_room_for() {
    let mut outbox = Outbox::default();
    assert!(outbox.is_empty());
    let longest = [0; 65_507];
    let taken = std::iter::repeat_with(|| outbox.push(None, None, [b"1", &longest[1..]]));
    assert_eq!(taken.take_while(|is_taken| *is_taken).count(), 4);
    outbox.clear();
    assert!(outbox.is_empty());
    let taken = std::iter::repeat_with(|| outbox.push(None, None, [&[], &[]]));
    assert_eq!(taken.take_while(|is_taken| *is_taken).count(), 1024);
}

/// A port of loopback that nobody listens on, kept from others.
fn dead_port() -> (Client, SocketAddr) {
    // A connected socket receives from its peer alone, so to us its port is closed.
    let dead = Client::bind("127.0.0.1:0").unwrap();
    dead.connect("127.0.0.1:9").unwrap();
    let address = dead.local_addr().unwrap();
    (dead, address)
}

#[test]
fn whoever_receives_is_told_that_nobody_listens() {
    run(async {
        let (_dead, address) = dead_port();
        let socket = UdpSocket::connect(address, &ConnectOptions::default()).unwrap();
        let (mut inbox, mut outbox) = (Inbox::default(), Outbox::default());
        let is_pending =
            poll_fn(|cx| Poll::Ready(socket.poll_receive(cx, &mut inbox).is_pending()));
        assert!(is_pending.await);
        assert!(outbox.push(None, None, [b"hello?", &[]]));
        assert_eq!(send(&socket, &mut outbox).await.unwrap(), 0);
        let refused = poll_fn(|cx| socket.poll_receive(cx, &mut inbox)).await;
        assert_eq!(
            refused.unwrap_err().kind(),
            io::ErrorKind::ConnectionRefused
        );
    });
}

#[test]
fn whoever_sends_is_told_that_nobody_listens_and_keeps_what_was_not_sent() {
    run(async {
        let (_dead, address) = dead_port();
        let socket = UdpSocket::connect(address, &ConnectOptions::default()).unwrap();
        let mut outbox = Outbox::default();
        assert!(outbox.push(None, None, [b"hello?", &[]]));
        assert_eq!(send(&socket, &mut outbox).await.unwrap(), 0);
        assert!(outbox.push(None, None, [b"are you there?", &[]]));
        let refused = poll_fn(|cx| socket.poll_send(cx, &mut outbox)).await;
        assert_eq!(
            refused.unwrap_err().kind(),
            io::ErrorKind::ConnectionRefused
        );
        // It can go to somebody else.
        let (listener, port) = listen("127.0.0.1:0", &ListenerOptions::default());
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        let socket = UdpSocket::connect(address, &ConnectOptions::default()).unwrap();
        assert_eq!(send(&socket, &mut outbox).await.unwrap(), 0);
        let received = receive(&listener, &mut Inbox::default(), 1).await.unwrap();
        assert_eq!(received[0].0, b"are you there?");
    });
}

#[test]
fn a_socket_that_is_connected_hears_its_peer_alone() {
    run(async {
        let endpoint = Client::bind("127.0.0.1:0").unwrap();
        let options = ConnectOptions {
            source: Some(IpAddr::from([127, 0, 0, 3])),
            interface: Some("lo".into()),
            ..ConnectOptions::default()
        };
        let socket = UdpSocket::connect(endpoint.local_addr().unwrap(), &options).unwrap();
        let mut outbox = Outbox::default();
        assert!(outbox.push(None, None, [b"who am I?", &[]]));
        assert_eq!(send(&socket, &mut outbox).await.unwrap(), 0);
        let (_, address) = endpoint.recv_from(&mut [0; 16]).unwrap();
        assert_eq!(address.ip(), IpAddr::from([127, 0, 0, 3]));
        let stranger = Client::bind("127.0.0.1:0").unwrap();
        stranger.send_to(b"psst", address).unwrap();
        endpoint.send_to(b"you", address).unwrap();
        let received = receive(&socket, &mut Inbox::default(), 1).await.unwrap();
        let expected = (b"you".to_vec(), endpoint.local_addr().unwrap(), None);
        assert_eq!(received, [expected]);
    });
}

#[test]
fn the_workers_share_a_port_that_nobody_else_can_take() {
    let options = ListenerOptions::default();
    let listening = bind_udp("127.0.0.1:0".parse().unwrap(), 3, &options).unwrap();
    assert_eq!(listening.sockets.len(), 3);
    let Address::Tcp(address) = listening.address else {
        panic!("an address of IP was bound");
    };
    assert_ne!(address.port(), 0);
    let taken = bind_udp(address, 1, &options).unwrap_err();
    assert_eq!(taken.kind(), io::ErrorKind::AddrInUse);
    let taken = Client::bind(address).unwrap_err();
    assert_eq!(taken.kind(), io::ErrorKind::AddrInUse);
    // Clients are spread, and each stays where it is.
    run(async {
        let sockets = listening.sockets.into_iter();
        let sockets: Vec<_> = sockets
            .map(|socket| UdpSocket::listen(socket).unwrap())
            .collect();
        let clients: Vec<_> = (0..64)
            .map(|_| client("127.0.0.1:0", ("127.0.0.1", address.port())))
            .collect();
        for client in clients.iter().chain(&clients) {
            client.send(b"").unwrap();
        }
        let mut inbox = Inbox::default();
        let mut count = 0;
        for socket in &sockets {
            let mut peers = Vec::new();
            // All was there before the first call, so what is not ready now never will be.
            while let Ok(received) = timeout(
                Duration::ZERO,
                poll_fn(|cx| socket.poll_receive(cx, &mut inbox)),
            )
            .await
            {
                received.unwrap();
                peers.extend(inbox.datagrams().map(|one| one.peer));
            }
            assert!(!peers.is_empty());
            count += peers.len();
            peers.sort();
            assert!(peers.chunks(2).all(|both| both[0] == both[1]));
        }
        assert_eq!(count, 128);
    });
}

#[test]
fn no_datagram_that_comes_at_any_moment_is_overlooked() {
    run(async {
        let (socket, port) = listen("127.0.0.1:0", &ListenerOptions::default());
        let sender = std::thread::spawn(move || {
            let client = client("127.0.0.1:0", ("127.0.0.1", port));
            let mut random = 0x9e37_79b9_7f4a_7c15_u64;
            for index in 0..ROUNDS {
                client.send(&index.to_ne_bytes()).unwrap();
                random = random.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
                // Bursts, and pauses about as long as it takes to receive one.
                if random >> 62 == 0 {
                    for _ in 0..random >> 50 & 0xfff {
                        std::hint::spin_loop();
                    }
                }
                // Not further ahead than the kernel holds.
                if index % 250 == 249 {
                    client.recv(&mut [0; 8]).unwrap();
                }
            }
        });
        let (mut inbox, mut outbox) = (Inbox::default(), Outbox::default());
        let mut next = 0;
        while next < ROUNDS {
            poll_fn(|cx| socket.poll_receive(cx, &mut inbox))
                .await
                .unwrap();
            for one in inbox.datagrams() {
                assert_eq!(one.bytes, next.to_ne_bytes());
                next += 1;
                if next % 250 == 0 {
                    assert!(outbox.push(Some(one.peer), one.local, [one.bytes, &[]]));
                }
            }
            send(&socket, &mut outbox).await.unwrap();
        }
        sender.join().unwrap();
    });
}

/// Datagrams at random moments.
const ROUNDS: u32 = 50_000;
