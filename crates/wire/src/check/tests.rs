use proptest::prelude::*;

use super::*;

/// What a conversation comes to: what was sent, and the verdict.
type Outcome = (Vec<&'static [u8]>, Option<Step>);

/// Has it with a server that says `pieces`, whatever it is told.
fn talk(mut dialogue: Dialogue, pieces: &[&[u8]]) -> Outcome {
    let mut sent = Vec::new();
    for piece in std::iter::once(&&b""[..]).chain(pieces) {
        dialogue.receive(piece);
        while let Some(step) = dialogue.poll() {
            match step {
                Step::Send(bytes) => sent.push(bytes),
                verdict => return (sent, Some(verdict)),
            }
        }
    }
    (sent, None)
}

/// The verdict on a server that says `said`, however that is cut.
#[track_caller]
fn verdict(start: fn() -> Dialogue, said: &[u8]) -> Option<Step> {
    let whole = talk(start(), &[said]);
    for cut in 0..=said.len() {
        let (left, right) = said.split_at(cut);
        assert_eq!(talk(start(), &[left, right]), whole, "cut at byte {cut}");
    }
    whole.1
}

fn healthy(goodbye: &'static [u8]) -> Option<Step> {
    Some(Step::Healthy { goodbye })
}

fn unhealthy(words: &'static str) -> Option<Step> {
    Some(Step::Unhealthy(words))
}

#[test]
fn a_redis_server_answers_a_ping() {
    const PING: &[u8] = b"*1\r\n$4\r\nPING\r\n";
    const QUIT: &[u8] = b"*1\r\n$4\r\nQUIT\r\n";
    assert_eq!(talk(Dialogue::redis(), &[]), (vec![PING], None));
    for (said, outcome) in [
        (&b"+PONG\r\n"[..], healthy(QUIT)),
        (b"-NOAUTH Authentication required.\r\n", healthy(QUIT)),
        (
            b"-NOPERM this user has no permissions to run the 'ping' command\r\n",
            healthy(QUIT),
        ),
        (
            b"-LOADING Redis is loading the dataset in memory\r\n",
            unhealthy("LOADING"),
        ),
        (
            b"-MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.\r\n",
            unhealthy("MASTERDOWN"),
        ),
        (
            b"-BUSY Redis is busy running a script.\r\n",
            unhealthy("BUSY"),
        ),
        (
            b"-MISCONF Redis is configured to save RDB snapshots\r\n",
            unhealthy("MISCONF"),
        ),
        (
            b"-DENIED Redis is running in protected mode\r\n",
            unhealthy("DENIED"),
        ),
        (
            b"-ERR max number of clients reached\r\n",
            unhealthy("max number of clients reached"),
        ),
        (b"-ERR unknown command 'PING'\r\n", unhealthy("an error")),
        (b"-\r\n", unhealthy("an error")),
        (b"+OK\r\n", Some(Step::Garbage)),
        (b"HTTP/1.1 400 Bad Request\r\n", Some(Step::Garbage)),
        (b"\r\n", Some(Step::Garbage)),
        (b"+PON", None),
    ] {
        assert_eq!(
            verdict(Dialogue::redis, said),
            outcome,
            "{}",
            said.escape_ascii()
        );
    }
}

/// A message of PostgreSQL.
fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    let length = (body.len() as u32 + 4).to_be_bytes();
    [&[kind], &length[..], body].concat()
}

/// ErrorResponse with this code.
fn refusal(code: &str) -> Vec<u8> {
    let body = format!("SFATAL\0VFATAL\0C{code}\0Mwords in any language\0Fauth.c\0\0");
    message(b'E', body.as_bytes())
}

#[test]
fn a_postgres_server_goes_about_a_login() {
    let (sent, _) = talk(Dialogue::postgres(), &[]);
    assert_eq!(sent.len(), 1);
    assert!(sent[0].starts_with(b"\0\0\0\x52\0\x03\0\0user\0pointsman\0"));
    let known = message(b'R', &[0; 4]);
    let parameters = [
        message(b'S', b"server_version\x0017\0"),
        message(b'K', b"pid secr"),
    ]
    .concat();
    let logged_in = [&known[..], &parameters, &message(b'Z', b"I")].concat();
    let full = [&known[..], &refusal("53300")].concat();
    let sasl = message(b'R', b"\0\0\0\x0aSCRAM-SHA-256\0\0");
    let older = message(b'v', b"\0\x03\0\0\0\0\0\0");
    let noticed = [message(b'N', b"SNOTICE\0\0"), older, sasl.clone()].concat();
    for (said, outcome) in [
        (logged_in, healthy(b"X\0\0\0\x04")),
        (full, unhealthy("too_many_connections")),
        (known, None),
        (parameters, Some(Step::Garbage)),
        (sasl, healthy(b"")),
        (noticed, healthy(b"")),
        (refusal("28000"), healthy(b"")),
        (refusal("28P01"), healthy(b"")),
        (refusal("3D000"), healthy(b"")),
        (refusal("57P03"), unhealthy("cannot_connect_now")),
        (refusal("57P01"), unhealthy("admin_shutdown")),
        (refusal("57P02"), unhealthy("crash_shutdown")),
        (refusal("53300"), unhealthy("too_many_connections")),
        (refusal("53200"), unhealthy("insufficient_resources")),
        (refusal("08P01"), unhealthy("protocol_violation")),
        (refusal("XX000"), unhealthy("an error")),
        (message(b'E', b""), unhealthy("an error")),
        (
            b"Ecould not fork new process for connection: Out of memory\n\0".to_vec(),
            unhealthy("that it cannot start a process"),
        ),
        (message(b'R', b""), Some(Step::Garbage)),
        (message(b'Z', b"I"), Some(Step::Garbage)),
        (b"R\0\0\0\x03".to_vec(), Some(Step::Garbage)),
        (b"R\xff\xff\xff\xff".to_vec(), Some(Step::Garbage)),
        (b"HTTP/1.1 400 Bad Request".to_vec(), Some(Step::Garbage)),
        (b"N\0\0\0\x04".to_vec(), None),
    ] {
        assert_eq!(
            verdict(Dialogue::postgres, &said),
            outcome,
            "{}",
            said.escape_ascii()
        );
    }
}

/// A packet of MySQL.
fn packet(number: u8, body: &[u8]) -> Vec<u8> {
    [&[body.len() as u8, 0, 0, number], body].concat()
}

fn error_packet(number: u8, code: u16, text: &str) -> Vec<u8> {
    packet(
        number,
        &[&[0xff], &code.to_le_bytes()[..], text.as_bytes()].concat(),
    )
}

fn greeting() -> Vec<u8> {
    let body = b"\x0a8.4.3\0\x0b\0\0\0saltsalt\0\xff\xff\xff\x02\0\xff\xdf\x15\
        \0\0\0\0\0\0\0\0\0\0saltsaltsalt\0caching_sha2_password\0";
    packet(0, body)
}

#[test]
fn a_mysql_server_greets_and_goes_about_a_login() {
    const QUIT: &[u8] = b"\x01\0\0\0\x01";
    assert_eq!(talk(Dialogue::mysql(), &[]), (vec![], None));
    let (sent, _) = talk(Dialogue::mysql(), &[&greeting()]);
    assert_eq!(sent.len(), 1);
    let denied = "#28000Access denied for user 'pointsman'@'localhost' (using password: NO)";
    let switch = packet(2, b"\xfecaching_sha2_password\0saltsaltsaltsaltsalt\0");
    for (behind_greeting, outcome) in [
        (packet(2, b"\0\0\0\x02\0\0\0"), healthy(QUIT)),
        (error_packet(2, 1045, denied), healthy(b"")),
        (packet(2, b"\x01\x04"), healthy(b"")),
        (
            [switch.clone(), error_packet(4, 1045, denied)].concat(),
            healthy(b""),
        ),
        (
            [switch.clone(), packet(4, b"\0\0\0\x02\0\0\0")].concat(),
            healthy(QUIT),
        ),
        (
            error_packet(2, 1040, "#08004Too many connections"),
            unhealthy("too many connections"),
        ),
        (
            error_packet(2, 1105, "#HY000Unknown error"),
            unhealthy("an error"),
        ),
        (packet(2, b"\x0a"), Some(Step::Garbage)),
        (packet(2, b""), Some(Step::Garbage)),
        (switch, None),
        (vec![], None),
    ] {
        let said = [greeting(), behind_greeting].concat();
        assert_eq!(
            verdict(Dialogue::mysql, &said),
            outcome,
            "{}",
            said.escape_ascii()
        );
    }
}

#[test]
fn a_switch_of_the_way_to_log_in_is_answered_with_no_password() {
    let switch = packet(2, b"\xfecaching_sha2_password\0saltsaltsaltsaltsalt\0");
    let (sent, _) = talk(Dialogue::mysql(), &[&greeting(), &switch]);
    assert_eq!(sent[1..], [b"\0\0\0\x03"]);
}

#[test]
fn a_mysql_server_that_does_not_greet_says_why() {
    for (said, outcome) in [
        (
            error_packet(0, 1040, "Too many connections"),
            unhealthy("too many connections"),
        ),
        (
            error_packet(0, 1053, "Server shutdown in progress"),
            unhealthy("shutdown in progress"),
        ),
        (
            error_packet(0, 1129, "Host is blocked"),
            unhealthy("host is blocked"),
        ),
        (
            error_packet(0, 1130, "Host is not allowed to connect"),
            unhealthy("host is not allowed to connect"),
        ),
        (packet(0, b"\xff\x10"), Some(Step::Garbage)),
        (packet(0, b"\x098.0\0"), Some(Step::Garbage)),
        (packet(0, b"\x0a8.0"), Some(Step::Garbage)),
        (b"SSH-2.0-OpenSSH_9.2\r\n".to_vec(), Some(Step::Garbage)),
        (b"\xff\xff\0\0".to_vec(), Some(Step::Garbage)),
    ] {
        assert_eq!(
            verdict(Dialogue::mysql, &said),
            outcome,
            "{}",
            said.escape_ascii()
        );
    }
}

#[test]
fn a_mail_server_greets_and_greets_back() {
    const EHLO: &[u8] = b"EHLO localhost\r\n";
    const QUIT: &[u8] = b"QUIT\r\n";
    assert_eq!(talk(Dialogue::smtp(), &[]), (vec![], None));
    let greeted = talk(Dialogue::smtp(), &[b"220 mail.example ESMTP\r\n"]);
    assert_eq!(greeted, (vec![EHLO], None));
    for (said, outcome) in [
        (
            &b"220 mail.example ESMTP\r\n250-mail.example\r\n250-PIPELINING\r\n250 8BITMIME\r\n"[..],
            healthy(QUIT),
        ),
        (b"220-mail.example\r\n220 \r\n250\r\n", healthy(QUIT)),
        (b"220 a\n250 a\n", healthy(QUIT)),
        (b"421 too busy\r\n", unhealthy("421, service not available")),
        (
            b"220 a\r\n421 goodbye\r\n",
            unhealthy("421, service not available"),
        ),
        (b"554 no\r\n", unhealthy("554, no service here")),
        (
            b"521-never\r\n521 no\r\n",
            unhealthy("521, no mail is accepted"),
        ),
        (b"220 a\r\n451 later\r\n", unhealthy("4xx, not now")),
        (b"220 a\r\n502 what?\r\n", unhealthy("5xx, no")),
        (b"250 a\r\n", Some(Step::Garbage)),
        (b"220 a\r\n220 a\r\n", Some(Step::Garbage)),
        (b"220-a\r\n250 a\r\n", Some(Step::Garbage)),
        (b"220_a\r\n", Some(Step::Garbage)),
        (b"22\r\n", Some(Step::Garbage)),
        (b"+OK POP3 ready\r\n", Some(Step::Garbage)),
        (b"220-a\r\n", None),
    ] {
        assert_eq!(
            verdict(Dialogue::smtp, said),
            outcome,
            "{}",
            said.escape_ascii()
        );
    }
}

#[test]
fn who_talks_on_without_sense_is_cut_off() {
    let endless = [b"-".repeat(1000), b"220-".repeat(20_000)].concat();
    for start in DIALOGUES {
        let pieces: Vec<&[u8]> = endless.chunks(1000).collect();
        let (_, verdict) = talk(start(), &pieces);
        assert_eq!(verdict, Some(Step::Garbage), "{}", start().protocol());
    }
    let lines = b"220-more\r\n".repeat(2000);
    assert_eq!(talk(Dialogue::smtp(), &[&lines]).1, Some(Step::Garbage));
}

#[test]
fn a_server_that_stops_in_a_word_is_interrupted() {
    let mut dialogue = Dialogue::redis();
    dialogue.poll();
    assert!(!dialogue.is_interrupted());
    dialogue.receive(b"+PO");
    assert_eq!(dialogue.poll(), None);
    assert!(dialogue.is_interrupted());
    dialogue.receive(b"NG\r\n");
    dialogue.poll();
    assert!(!dialogue.is_interrupted());
}

const DIALOGUES: [fn() -> Dialogue; 4] = [
    Dialogue::redis,
    Dialogue::postgres,
    Dialogue::mysql,
    Dialogue::smtp,
];

/// Bytes with beginnings that some server might say.
fn noise() -> impl Strategy<Value = Vec<u8>> {
    let word = prop_oneof![
        Just(b"220 a\r\n".to_vec()),
        Just(b"250-".to_vec()),
        Just(b"-ERR\r\n".to_vec()),
        Just(greeting()),
        Just(b"\xfe".to_vec()),
        Just(b"E\0\0\0\x06".to_vec()),
        Just(b"N\0\0\0\x04".to_vec()),
        Just(b"\r\n".to_vec()),
        prop::collection::vec(any::<u8>(), 0..6),
    ];
    prop::collection::vec(word, 0..8).prop_map(|words| words.concat())
}

proptest! {
    #[test]
    fn whatever_is_said_the_verdict_does_not_depend_on_the_cut(said in noise(), cut in any::<prop::sample::Index>()) {
        let (left, right) = said.split_at(cut.index(said.len() + 1));
        for start in DIALOGUES {
            prop_assert_eq!(talk(start(), &[left, right]), talk(start(), &[&said]));
        }
    }

    #[test]
    fn no_datagram_upsets_a_query(id in any::<u16>(), datagram in prop::collection::vec(any::<u8>(), 0..64)) {
        let query = Query::new(id, Some("app.example")).unwrap();
        query.receive(&datagram);
        // With our own id and flags it gets further.
        let header = [&id.to_be_bytes()[..], &[0x80], &datagram].concat();
        query.receive(&header);
    }
}

/// The answer to `query` with this code.
fn answer(query: &Query, code: u8) -> Vec<u8> {
    let mut answer = query.message().to_vec();
    answer[2] |= 0x80;
    answer[3] = code;
    answer
}

#[test]
fn a_query_is_for_a_name_or_for_the_root() {
    let root = Query::new(0x1234, None).unwrap();
    let expected = b"\x12\x34\0\0\0\x01\0\0\0\0\0\0\0\0\x02\0\x01";
    assert_eq!(root.message(), expected);
    let expected = b"\x12\x34\x01\0\0\x01\0\0\0\0\0\0\x03app\x07example\0\0\x01\0\x01";
    for name in ["app.example", "app.example."] {
        let query = Query::new(0x1234, Some(name)).unwrap();
        assert_eq!(query.message(), expected, "{name}");
    }
}

#[test]
fn what_is_no_name_is_not_asked_for() {
    let long = "a".repeat(64);
    let fits = format!("{0}.{0}.{0}.{1}", &long[1..], &long[3..]);
    assert!(Query::new(1, Some(&fits)).is_some(), "255 bytes");
    let too_long = format!("{fits}a");
    for name in ["", ".", "a..b", ".a", "ä.example", &long, &too_long] {
        assert!(Query::new(1, Some(name)).is_none(), "{name}");
    }
}

#[test]
fn a_dns_server_is_judged_by_the_code_of_its_answer() {
    for (code, of_root, of_name) in [
        (0, healthy(b""), healthy(b"")),
        (1, unhealthy("FORMERR"), unhealthy("FORMERR")),
        (2, unhealthy("SERVFAIL"), unhealthy("SERVFAIL")),
        (3, healthy(b""), unhealthy("NXDOMAIN")),
        (4, unhealthy("NOTIMP"), unhealthy("NOTIMP")),
        (5, healthy(b""), unhealthy("REFUSED")),
        (9, unhealthy("NOTAUTH"), unhealthy("NOTAUTH")),
        (11, unhealthy("an error"), unhealthy("an error")),
    ] {
        for (name, outcome) in [(None, of_root), (Some("app.example"), of_name)] {
            let query = Query::new(7, name).unwrap();
            assert_eq!(query.receive(&answer(&query, code)), outcome, "{code}");
        }
    }
}

#[test]
fn only_the_answer_to_the_query_counts() {
    let query = Query::new(7, Some("app.example")).unwrap();
    let right = answer(&query, 0);
    assert!(query.receive(&right).is_some());
    let mut truncated = right.clone();
    truncated[2] |= 2;
    assert!(query.receive(&truncated).is_some(), "truncated");
    assert!(query.receive(&right.to_ascii_uppercase()).is_some());

    let others = [Query::new(8, Some("app.example")), Query::new(7, None)];
    for other in others.map(Option::unwrap) {
        assert_eq!(query.receive(&answer(&other, 0)), None);
    }
    assert_eq!(query.receive(query.message()), None, "our own query");
    for length in 0..right.len() {
        assert_eq!(query.receive(&right[..length]), None, "{length} bytes");
    }
}

#[test]
fn a_server_that_makes_no_sense_of_a_query_need_not_repeat_it() {
    let query = Query::new(7, None).unwrap();
    let mut bare = answer(&query, 1)[..12].to_vec();
    bare[5] = 0;
    assert_eq!(query.receive(&bare), unhealthy("FORMERR"));
    bare[3] = 0;
    assert_eq!(query.receive(&bare), None);
}
