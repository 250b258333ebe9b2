//! Who is found to have sent a request.

use wire::h1::{Limits, RequestReader};

use super::*;

fn request(fields: &str) -> RequestHead {
    let text = format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n");
    let limits = Limits {
        head_bytes: 32768,
        fields: 100,
        line_bytes: 1024,
    };
    let mut head = RequestHead::default();
    let read = RequestReader::default().receive(text.as_bytes(), &limits, &mut head);
    assert_eq!(read, Ok(Some(text.len())), "{fields}");
    head
}

const PEER: &str = "10.0.0.1:4711";

/// What comes of these field lines from [`PEER`], where 10.0.0.0/8 and fd00::/8 are trusted.
fn identify(fields: &str) -> Identity {
    of_peer(PEER, fields)
}

fn of_peer(peer: &str, fields: &str) -> Identity {
    let peer = ClientAddress::new(Some(peer.parse().unwrap()));
    let trusted = ["10.0.0.0/8", "fd00::/8"].map(|net| net.parse().unwrap());
    Identity::of(&request(fields), &peer, false, &trusted)
}

fn client(fields: &str) -> String {
    let peer = ClientAddress::new(Some(PEER.parse().unwrap()));
    identify(fields).client(&peer).as_str().to_owned()
}

#[test]
fn the_client_is_the_last_that_is_named_by_somebody_trusted() {
    for (fields, found) in [
        ("", PEER),
        ("X-Forwarded-For: 192.0.2.1\r\n", "192.0.2.1"),
        // What stands before it anybody can have written.
        ("X-Forwarded-For: 1.1.1.1, 192.0.2.1\r\n", "192.0.2.1"),
        (
            "X-Forwarded-For: 1.1.1.1, 192.0.2.1, 10.0.0.3, 10.0.0.2\r\n",
            "192.0.2.1",
        ),
        // Several lines are one list.
        (
            "X-Forwarded-For: 1.1.1.1\r\nX-Forwarded-For: 192.0.2.1\r\nx-forwarded-for: 10.0.0.2\r\n",
            "192.0.2.1",
        ),
        // The client is a trusted one itself.
        ("X-Forwarded-For: 10.0.0.9, 10.0.0.2\r\n", "10.0.0.9"),
        ("X-Forwarded-For:192.0.2.1 ,\t10.0.0.2\r\n", "192.0.2.1"),
        // Ports and brackets.
        ("X-Forwarded-For: 192.0.2.1:5000\r\n", "192.0.2.1:5000"),
        ("X-Forwarded-For: 2001:db8::1\r\n", "2001:db8::1"),
        ("X-Forwarded-For: [2001:db8::1]\r\n", "2001:db8::1"),
        (
            "X-Forwarded-For: [2001:db8::1]:5000, fd00::1\r\n",
            "[2001:db8::1]:5000",
        ),
        (
            "X-Forwarded-For: ::ffff:192.0.2.1, ::ffff:10.0.0.2\r\n",
            "192.0.2.1",
        ),
    ] {
        assert_eq!(client(fields), found, "{fields}");
    }
}

#[test]
fn what_cannot_be_read_ends_the_search_at_the_last_known_address() {
    for (list, found) in [
        ("unknown", PEER),
        ("_hidden", PEER),
        ("", PEER),
        ("192.0.2.1,", PEER),
        ("1.2.3", PEER),
        ("01.2.3.4", PEER),
        ("1.2.3.4:", PEER),
        ("1.2.3.4:65536", PEER),
        ("[1.2.3.4]", PEER),
        ("[::1", PEER),
        ("2001:db8::1]", PEER),
        ("fe80::1%eth0", PEER),
        ("\"192.0.2.1\"", PEER),
        ("for=192.0.2.1", PEER),
        ("a.example", PEER),
        ("192.0.2.1, unknown, 10.0.0.2", "10.0.0.2"),
        ("192.0.2.1, , 10.0.0.3, 10.0.0.2", "10.0.0.3"),
        ("192.0.2.1, \u{fc}, 10.0.0.2", "10.0.0.2"),
    ] {
        let fields = format!("X-Forwarded-For: {list}\r\n");
        assert_eq!(client(&fields), found, "{list}");
    }
}

#[test]
fn an_endless_list_is_followed_for_a_while() {
    let hops = |count| "10.0.0.2, ".repeat(count) + "10.0.0.3";
    let list = |count| format!("X-Forwarded-For: 192.0.2.1, {}\r\n", hops(count));
    assert_eq!(client(&list(HOPS_MAX - 2)), "192.0.2.1");
    assert_eq!(client(&list(HOPS_MAX - 1)), "10.0.0.2");
    assert_eq!(client(&list(2000)), "10.0.0.2");
}

#[test]
fn forwarded_is_read_in_the_same_way() {
    for (fields, found) in [
        ("Forwarded: for=192.0.2.1\r\n", "192.0.2.1"),
        (
            "Forwarded: for=1.1.1.1, FOR=\"192.0.2.1:5000\";proto=https, for=10.0.0.2\r\n",
            "192.0.2.1:5000",
        ),
        (
            "Forwarded: for=1.1.1.1\r\nForwarded: by=x; for=\"[2001:db8::1]:5000\" ; host=\"a,b;c\\\"\"\r\n",
            "[2001:db8::1]:5000",
        ),
        ("Forwarded: for=\"[2001:db8::1]\"\r\n", "2001:db8::1"),
        ("Forwarded: for=_hidden, for=10.0.0.2\r\n", "10.0.0.2"),
        ("Forwarded: for=unknown\r\n", PEER),
        ("Forwarded: proto=https\r\n", PEER),
        ("Forwarded: for\r\n", PEER),
        ("Forwarded: \r\n", PEER),
        ("Forwarded: for=192.0.2.1;for=192.0.2.2\r\n", PEER),
        // A quote that the client left open swallows what the proxy has appended, and cannot make
        // it say anything else.
        ("Forwarded: for=\", for=192.0.2.1\r\n", PEER),
        ("Forwarded: for=\"x, for=\"[2001:db8::1]\"\r\n", PEER),
        ("Forwarded: for=\"x\\\", for=\"[2001:db8::1]\"\r\n", PEER),
        (
            "Forwarded: for=\"\r\nForwarded: for=10.0.0.2\r\n",
            "10.0.0.2",
        ),
        // X-Forwarded-For is the one that counts.
        (
            "Forwarded: for=1.1.1.1\r\nX-Forwarded-For: 192.0.2.1\r\n",
            "192.0.2.1",
        ),
        (
            "Forwarded: for=1.1.1.1\r\nX-Forwarded-For: unknown\r\n",
            PEER,
        ),
    ] {
        assert_eq!(client(fields), found, "{fields}");
    }
}

/// CVE-2022-31813: what names a field in `Connection` takes it away from whoever relies on it.
#[test]
fn connection_does_not_take_away_who_the_client_is() {
    let fields = "X-Forwarded-For: 192.0.2.1\r\nConnection: X-Forwarded-For, close\r\n";
    assert_eq!(client(fields), "192.0.2.1");
}

#[test]
fn nobody_else_is_believed() {
    let fields = "X-Forwarded-For: 1.1.1.1\r\nX-Forwarded-Proto: https\r\nX-Request-Id: x\r\n";
    for peer in ["192.0.2.9:1", "[2001:db8::9]:1", "[::ffff:192.0.2.9]:1"] {
        let identity = of_peer(peer, fields);
        assert!(identity.named().is_none() && !identity.is_trusted && !identity.is_https);
        assert!(identity.request_id(&request(fields)).is_none());
    }
    for peer in ["10.0.0.1:1", "[fd00::1]:1", "[::ffff:10.0.0.1]:1"] {
        let identity = of_peer(peer, fields);
        assert!(identity.named().is_some() && identity.is_trusted && identity.is_https);
        let id = identity.request_id(&request(fields)).unwrap();
        assert_eq!(id.as_str(), "x");
    }
    let all = ["0.0.0.0/0", "::/0"].map(|net| net.parse().unwrap());
    let unix = ClientAddress::new(None);
    assert!(!Identity::of(&request(fields), &unix, false, &all).is_trusted);
}

#[test]
fn the_scheme_is_that_of_the_client() {
    let is_https = |fields: &str, by_tls| {
        let peer = ClientAddress::new(Some(PEER.parse().unwrap()));
        let trusted = ["10.0.0.0/8".parse().unwrap()];
        Identity::of(&request(fields), &peer, by_tls, &trusted).is_https
    };
    for (fields, with_tls, without) in [
        ("", true, false),
        ("X-Forwarded-Proto: https\r\n", true, true),
        ("X-Forwarded-Proto: HTTP\r\n", false, false),
        ("X-Forwarded-Proto: wss\r\n", true, true),
        // Two words: whose, nobody knows.
        ("X-Forwarded-Proto: http, https\r\n", true, false),
        (
            "X-Forwarded-Proto: https\r\nX-Forwarded-Proto: https\r\n",
            true,
            false,
        ),
        ("X-Forwarded-Proto: ftp\r\n", true, false),
        // That of the element that names the client.
        (
            "Forwarded: for=1.1.1.1;proto=http, for=192.0.2.1;proto=https, for=10.0.0.2;proto=http\r\n",
            true,
            true,
        ),
        (
            "Forwarded: for=192.0.2.1;proto=https\r\nX-Forwarded-Proto: http\r\n",
            false,
            false,
        ),
        ("Forwarded: for=192.0.2.1\r\n", true, false),
    ] {
        assert_eq!(is_https(fields, true), with_tls, "{fields} by TLS");
        assert_eq!(is_https(fields, false), without, "{fields} without");
    }
}

#[test]
fn a_request_id_is_taken_if_there_is_one() {
    let id = |fields: &str| identify(fields).request_id(&request(fields));
    assert_eq!(id("X-Request-Id: abc-1\r\n").unwrap().as_str(), "abc-1");
    for fields in [
        "",
        "X-Request-Id:\r\n",
        "X-Request-Id: a b\r\n",
        "X-Request-Id: a\r\nX-Request-Id: b\r\n",
    ] {
        assert!(id(fields).is_none(), "{fields}");
    }
}
