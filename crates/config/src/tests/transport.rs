//! What is below the requests: TLS, HTTP/2, PROXY headers, sockets. What valid configs mean, and
//! what people are shown of others.

use std::path::PathBuf;
use std::time::Duration;

use balance::CheckKind;
use insta::assert_snapshot;

use super::{loaded, parse_text, with_basics};
use crate::{
    CertificateFiles, Certificates, Http2Limits, Listener, ListenerTls, Pool, PoolTls,
    ProxyVersion, SocketOptions, TlsPolicy, UpstreamProtocol,
};

/// The listener of a config with these keys in it.
fn listener(keys: &str) -> Listener {
    let text = format!(
        "[listeners.web]\nbind = '[::]:8443'\n{keys}\n[pools.app]\nendpoints = ['10.0.0.1:80']"
    );
    let mut loaded = loaded(&text);
    assert!(loaded.warnings.is_empty(), "{}", loaded.warnings);
    loaded.snapshot.listeners.remove(0)
}

fn tls(value: &str) -> ListenerTls {
    listener(&format!("tls = {value}"))
        .tls
        .expect("there is TLS")
}

/// The pool of a config with these keys in it.
fn pool(keys: &str) -> Pool {
    let mut loaded = loaded(&with_basics(keys));
    assert!(loaded.warnings.is_empty(), "{}", loaded.warnings);
    loaded.snapshot.pools.remove(0)
}

fn files(name: &str) -> CertificateFiles {
    CertificateFiles {
        cert: format!("{name}.pem").into(),
        key: format!("{name}.key").into(),
    }
}

fn mistakes(text: &str) -> String {
    parse_text(text)
        .expect_err("the config has mistakes")
        .render(false)
}

fn warnings(text: &str) -> String {
    loaded(text).warnings.render(false)
}

#[test]
fn certificates_are_one_or_many_or_made_up() {
    let made_up = tls("'self-signed'");
    assert!(matches!(made_up.certificates, Certificates::SelfSigned));
    assert_eq!(made_up.policy, TlsPolicy::Intermediate);
    assert!(made_up.client.is_none() && !made_up.strict_sni);
    assert_eq!(made_up.hsts_seconds, None);

    let list = |value: &str| match tls(value).certificates {
        Certificates::Files(list) => list,
        Certificates::SelfSigned => panic!("{value} names files"),
    };
    assert_eq!(
        list("{ cert = 'shop.pem', key = 'shop.key' }"),
        [files("shop")]
    );
    assert_eq!(
        list(
            "{ certificates = [{ cert = 'shop.pem', key = 'shop.key' }, \
             { cert = 'api.pem', key = 'api.key' }] }"
        ),
        [files("shop"), files("api")]
    );
}

#[test]
fn tls_has_policies_and_more() {
    let tls = tls(
        "{ cert = 'shop.pem', key = 'shop.key', policy = 'modern', sni = 'strict', hsts = '365d' }",
    );
    assert_eq!(tls.policy, TlsPolicy::Modern);
    assert!(tls.strict_sni);
    assert_eq!(tls.hsts_seconds, Some(31_536_000));
}

#[test]
fn clients_show_certificates_that_endpoints_are_told_of() {
    let with = |client: &str| {
        tls(&format!(
            "{{ cert = 'shop.pem', key = 'shop.key', client = {client} }}"
        ))
    };
    let short = with("{ ca = 'ca.pem' }");
    assert!(short.strict_sni);
    let client = short.client.expect("clients are asked");
    assert!(client.required && client.crl.is_none());
    assert_eq!(client.headers.subject, None);

    let long = with(
        "{ ca = 'ca.pem', crl = 'crl.pem', certificate = 'optional', \
         headers = { subject = 'X-Client-Subject', san = 'x-client-san', fingerprint = 'x-client-fingerprint' } }",
    );
    let client = long.client.expect("clients are asked");
    assert!(!client.required);
    assert_eq!(client.ca, PathBuf::from("ca.pem"));
    assert_eq!(client.crl, Some("crl.pem".into()));
    let headers = client.headers;
    assert_eq!(headers.subject.as_deref(), Some("x-client-subject"));
    assert_eq!(headers.san.as_deref(), Some("x-client-san"));
    assert_eq!(headers.fingerprint.as_deref(), Some("x-client-fingerprint"));
}

#[test]
fn http2_is_on_with_tls_and_off_without() {
    for (keys, expected) in [
        ("", false),
        ("h2c = true", true),
        ("h2c = false", false),
        ("tls = 'self-signed'", true),
        ("tls = 'self-signed'\nhttp2 = 'on'", true),
        ("tls = 'self-signed'\nhttp2 = 'off'", false),
    ] {
        assert_eq!(listener(keys).http2, expected, "{keys}");
    }
    let limits = |keys: &str| -> Http2Limits {
        listener(&format!("h2c = true\nlimits = {{ {keys} }}")).http2_limits
    };
    let default = limits("");
    assert_eq!(default.streams, 100);
    assert_eq!(default.stream_window, 256 << 10);
    assert_eq!(default.connection_window, 1 << 20);
    let own = limits("streams = 10, stream_window = '64KiB', connection_window = '128KiB'");
    assert_eq!(own.streams, 10);
    assert_eq!(own.stream_window, 64 << 10);
    assert_eq!(own.connection_window, 128 << 10);
    assert_eq!(limits("stream_window = '4MiB'").connection_window, 4 << 20);
}

#[test]
fn who_is_believed_is_a_list_of_networks() {
    let header = |value: &str| {
        let listener = listener(&format!("proxy_protocol = {value}"));
        let header = listener.proxy_protocol.expect("there is a header");
        let from: Vec<String> = header.from.iter().map(ToString::to_string).collect();
        (from, header.required)
    };
    let ten = || vec!["10.0.0.0/8".to_owned()];
    assert_eq!(header("'10.0.0.0/8'"), (ten(), true));
    assert_eq!(header("['10.0.0.0/8']"), (ten(), true));
    assert_eq!(header("{ from = '10.0.0.0/8' }"), (ten(), true));
    assert_eq!(
        header("{ from = ['10.0.0.0/8'], header = 'required' }"),
        (ten(), true)
    );
    assert_eq!(
        header("{ from = ['fd00::/8', '192.0.2.7'], header = 'optional' }"),
        (
            vec!["fd00::/8".to_owned(), "192.0.2.7/32".to_owned()],
            false
        )
    );
    assert!(listener("").trusted_proxies.is_empty());
    let trusted = listener("trusted_proxies = ['10.0.0.0/8', '192.0.2.7']").trusted_proxies;
    assert_eq!(trusted.len(), 2);
    assert!(trusted[1].contains(&"192.0.2.7".parse::<std::net::IpAddr>().unwrap()));
}

#[test]
fn a_listener_that_redirects_needs_no_route() {
    assert_eq!(listener("").redirect_to_https, None);
    assert_eq!(listener("redirect = 'https'").redirect_to_https, Some(443));
    assert_eq!(
        listener("redirect = { https = 8443 }").redirect_to_https,
        Some(8443)
    );
    let text = r#"
        [listeners.plain]
        bind = ":80"
        redirect = "https"
        [listeners.secure]
        bind = ":443"
        tls = "self-signed"
        [pools.app]
        endpoints = ["10.0.0.1:80"]
        [[routes]]
        listener = "secure"
        pool = "app"
    "#;
    let loaded = loaded(text);
    assert!(loaded.warnings.is_empty(), "{}", loaded.warnings);
    let [plain, secure] = &loaded.snapshot.listeners[..] else {
        panic!("there are two listeners");
    };
    assert_eq!(plain.routes.find(b"", b"/"), None);
    assert_eq!(secure.routes.find(b"", b"/"), Some(0));
}

#[test]
fn sockets_of_listeners_have_options() {
    let plain = listener("").socket;
    assert!(!plain.dual_stack && plain.interface.is_none() && plain.backlog.is_none());
    assert_eq!(plain.connection, SocketOptions::default());
    let tuned = listener(
        "[listeners.web.socket]\ninterface = 'eth0'\nbacklog = 4096\ndual_stack = true\n\
         fast_open = 256\nnodelay = false\nkeep_alive = '60s'\nuser_timeout = '30s'",
    )
    .socket;
    assert_eq!(tuned.interface.as_deref(), Some("eth0"));
    assert_eq!((tuned.backlog, tuned.fast_open), (Some(4096), Some(256)));
    assert!(tuned.dual_stack);
    assert_eq!(
        tuned.connection,
        SocketOptions {
            nodelay: false,
            keep_alive: Some(Duration::from_secs(60)),
            user_timeout: Some(Duration::from_secs(30)),
        }
    );
    let off = listener("socket = { keep_alive = 'off', user_timeout = 'off' }").socket;
    assert_eq!(off.connection, SocketOptions::default());
}

#[test]
fn sockets_to_endpoints_have_options() {
    let tuned = pool(
        "socket = { source = '10.0.0.5', interface = 'eth1', fast_open = true, keep_alive = '2m' }",
    )
    .socket;
    assert_eq!(tuned.source, Some([10, 0, 0, 5].into()));
    assert_eq!(tuned.interface.as_deref(), Some("eth1"));
    assert!(tuned.fast_open);
    assert_eq!(
        tuned.connection,
        SocketOptions {
            keep_alive: Some(Duration::from_secs(120)),
            ..SocketOptions::default()
        }
    );
}

#[test]
fn tls_with_endpoints_verifies_unless_told_otherwise() {
    assert!(pool("").tls.is_none());
    assert!(pool("tls = 'off'").tls.is_none());
    for keys in ["tls = 'on'", "tls = {}", "tls = { verify = 'on' }"] {
        let PoolTls {
            ca,
            name,
            certificate,
            is_unverified,
        } = pool(keys).tls.expect("there is TLS");
        assert_eq!((ca, name, certificate), (None, None, None), "{keys}");
        assert!(!is_unverified, "{keys}");
    }
    let long =
        pool("tls = { ca = 'ca.pem', name = 'App.internal', cert = 'own.pem', key = 'own.key' }");
    let long = long.tls.expect("there is TLS");
    assert_eq!(long.ca, Some("ca.pem".into()));
    assert_eq!(long.name.as_deref(), Some("app.internal"));
    assert_eq!(long.certificate, Some(files("own")));
    let text = with_basics("tls = { verify = 'off' }");
    let tls = loaded(&text).snapshot.pools.remove(0).tls;
    assert!(tls.expect("there is TLS").is_unverified);
}

#[test]
fn endpoints_are_spoken_to_in_http1_unless_told_otherwise() {
    assert_eq!(pool("").protocol, UpstreamProtocol::H1);
    assert_eq!(pool("protocol = 'h2'").protocol, UpstreamProtocol::H2);
    let auto = pool("tls = 'on'\nprotocol = 'auto'");
    assert_eq!(auto.protocol, UpstreamProtocol::Auto);
    assert_eq!(pool("").proxy_protocol, None);
    let header = |version: &str| pool(&format!("proxy_protocol = '{version}'")).proxy_protocol;
    assert_eq!(header("v1"), Some(ProxyVersion::V1));
    assert_eq!(header("v2"), Some(ProxyVersion::V2));
}

#[test]
fn endpoints_know_the_host_that_they_were_written_with() {
    let mut loaded = loaded(
        "listeners.web.bind = ':8080'\n[pools.app]\ntls = 'on'\nendpoints = ['One.internal.:443', \
         'two.internal:443', '10.0.0.1:443', '[::1]:443', ':3001', '3002', \
         { address = 'six.internal:80', name = 'six' }]",
    );
    let pool = loaded.snapshot.pools.remove(0);
    let hosts: Vec<Option<&str>> = pool
        .endpoints
        .iter()
        .map(|endpoint| endpoint.host.as_deref())
        .collect();
    let (two, six) = (Some("two.internal"), Some("six.internal"));
    let one = Some("one.internal");
    assert_eq!(hosts, [one, two, two, None, None, None, None, six, six]);
}

#[test]
fn checks_and_retries_speak_grpc() {
    let kind = |value: &str| {
        pool(&format!("protocol = 'h2'\ncheck = {value}"))
            .settings
            .check
            .kind
    };
    let grpc = |service: &str, host: Option<&str>| CheckKind::Grpc {
        service: service.into(),
        host: host.map(Into::into),
    };
    assert_eq!(kind("'grpc'"), grpc("", None));
    assert_eq!(kind("{ grpc = '' }"), grpc("", None));
    assert_eq!(
        kind("{ grpc = 'shop.Cart', host = 'shop.internal', interval = '5s' }"),
        grpc("shop.Cart", Some("shop.internal"))
    );

    let text = with_basics("retry.on = ['connect', 'grpc-unavailable', 'grpc-cancelled', '503']");
    let on = loaded(&text).snapshot.routes.remove(0).retry.on;
    assert!(on.connect && !on.reset);
    assert_eq!(on.statuses, [503]);
    assert_eq!(on.grpc, 1 << 14 | 1 << 1);
}

#[test]
fn certificates_say_what_is_wrong_with_them() {
    assert_snapshot!(mistakes(r#"
[listeners.a]
bind = ":1"
tls = { certificates = [{ cert = "shop.crt", key = "shop.key" }, { cert = "shop.pem", key = "api.key" }] }
[listeners.b]
bind = ":2"
tls = {}
[listeners.c]
bind = ":3"
tls = { cert = "shop.pem" }
[listeners.d]
bind = ":4"
tls = { key = "shop.key", certificates = [] }
[listeners.e]
bind = ":5"
tls = "shop.pem"
[listeners.f]
bind = ":6"
tls = { certificates = [{ cert = "shop.pem" }] }
[listeners.g]
bind = ":7"
tls = { key = "shop.key", policy = "old", hsts = "2y", min_version = "1.2" }
[pools.app]
endpoints = ["10.0.0.1:80"]
"#), @r##"
    error: cannot read shop.crt: no such file
     --> pointsman.toml:4:34
      |
    4 | tls = { certificates = [{ cert = "shop.crt", key = "shop.key" }, { cert = "shop.pem", key = "api.key" }] }
      |                                  ^^^^^^^^^^

    error: shop.pem with api.key: the key belongs to another certificate
     --> pointsman.toml:4:75
      |
    4 | tls = { certificates = [{ cert = "shop.crt", key = "shop.key" }, { cert = "shop.pem", key = "api.key" }] }
      |                                                                           ^^^^^^^^^^        --------- the key

    error: there is no certificate
     --> pointsman.toml:7:7
      |
    7 | tls = {}
      |       ^^
      |
      = help: add `cert` and `key`; tls = "self-signed" is for development

    error: the certificate has no `key`
      --> pointsman.toml:10:16
       |
    10 | tls = { cert = "shop.pem" }
       |                ^^^^^^^^^^
       |
       = help: `key` is the PEM file with its private key

    error: `cert` and `key` stand in `certificates`, or instead of it
      --> pointsman.toml:13:15
       |
    13 | tls = { key = "shop.key", certificates = [] }
       |               ^^^^^^^^^^                 -- add them here

    error: there is no certificate
      --> pointsman.toml:13:42
       |
    13 | tls = { key = "shop.key", certificates = [] }
       |                                          ^^
       |
       = help: tls = "self-signed" makes one up, for development

    error: `shop.pem` is no value of `tls`
      --> pointsman.toml:16:7
       |
    16 | tls = "shop.pem"
       |       ^^^^^^^^^^
       |
       = help: there is only `self-signed` or a table

    error: `key` is missing
      --> pointsman.toml:19:25
       |
    19 | tls = { certificates = [{ cert = "shop.pem" }] }
       |                         ^^^^^^^^^^^^^^^^^^^^^
       |
       = help: `key`: PEM file with the private key.

    error: the key has no `cert`
      --> pointsman.toml:22:15
       |
    22 | tls = { key = "shop.key", policy = "old", hsts = "2y", min_version = "1.2" }
       |               ^^^^^^^^^^
       |
       = help: `cert` is the PEM file with its certificate

    error: `old` is no value of `policy`
      --> pointsman.toml:22:36
       |
    22 | tls = { key = "shop.key", policy = "old", hsts = "2y", min_version = "1.2" }
       |                                    ^^^^^
       |
       = help: there are `intermediate`, `modern`

    error: `2y` is no duration such as "2s", "500ms" or "1h30m"
      --> pointsman.toml:22:50
       |
    22 | tls = { key = "shop.key", policy = "old", hsts = "2y", min_version = "1.2" }
       |                                                  ^^^^

    error: unknown key `min_version`
      --> pointsman.toml:22:56
       |
    22 | tls = { key = "shop.key", policy = "old", hsts = "2y", min_version = "1.2" }
       |                                                        ^^^^^^^^^^^
       |
       = help: there are `cert`, `certificates`, `client`, `hsts`, `key`, `policy`, `sni`
    "##);
}

#[test]
fn what_is_asked_of_clients_says_what_it_takes() {
    assert_snapshot!(mistakes(r#"
[listeners.a]
bind = ":1"
[listeners.a.tls]
cert = "shop.pem"
key = "shop.key"
sni = "lenient"
client = { ca = "empty.pem", crl = "list.crl", certificate = "maybe", headers = { subject = "X-Forwarded-For", san = "x client", fingerprint = "x-a" } }
[listeners.b]
bind = ":2"
[listeners.b.tls]
cert = "shop.pem"
key = "shop.key"
client = { ca = "ca.pem", crl = "empty.pem", headers = { subject = "X-A", san = "x_a" } }
[listeners.c]
bind = ":3"
tls = { cert = "shop.pem", key = "shop.key", client = { crl = "crl.pem" } }
[pools.app]
endpoints = ["10.0.0.1:80"]
"#), @r##"
    error: with `client`, `sni` is strict
     --> pointsman.toml:7:7
      |
    7 | sni = "lenient"
      |       ^^^^^^^^^
      |
      = help: leave `sni` out

    error: empty.pem: there is nothing in it
     --> pointsman.toml:8:17
      |
    8 | client = { ca = "empty.pem", crl = "list.crl", certificate = "maybe", headers = { subject = "X-Forwarded-For", san = "x client", fing...
      |                 ^^^^^^^^^^^

    error: cannot read list.crl: no such file
     --> pointsman.toml:8:36
      |
    8 | client = { ca = "empty.pem", crl = "list.crl", certificate = "maybe", headers = { subject = "X-Forwarded-For", san = "x client", fing...
      |                                    ^^^^^^^^^^

    error: `maybe` is no value of `certificate`
     --> pointsman.toml:8:62
      |
    8 | client = { ca = "empty.pem", crl = "list.crl", certificate = "maybe", headers = { subject = "X-Forwarded-For", san = "x client", fing...
      |                                                              ^^^^^^^
      |
      = help: there are `required`, `optional`

    error: `x-forwarded-for` has a meaning of its own
     --> pointsman.toml:8:93
      |
    8 | client = { ca = "empty.pem", crl = "list.crl", certificate = "maybe", headers = { subject = "X-Forwarded-For", san = "x client", fing...
      |                                                                                             ^^^^^^^^^^^^^^^^^
      |
      = help: choose a name that nobody else uses, such as "x-client-subject"

    error: `x client` cannot be the name of a header field
     --> pointsman.toml:8:118
      |
    8 | client = { ca = "empty.pem", crl = "list.crl", certificate = "maybe", headers = { subject = "X-Forwarded-For", san = "x client", fing...
      |                                                                                                                      ^^^^^^^^^^
      |
      = help: a name has letters, digits, `-`, `_` and `.`; no space, no colon

    error: empty.pem: there is nothing in it
      --> pointsman.toml:14:33
       |
    14 | client = { ca = "ca.pem", crl = "empty.pem", headers = { subject = "X-A", san = "x_a" } }
       |                                 ^^^^^^^^^^^

    error: `x_a` carries two things
      --> pointsman.toml:14:81
       |
    14 | client = { ca = "ca.pem", crl = "empty.pem", headers = { subject = "X-A", san = "x_a" } }
       |                                                                    -----        ^^^^^
       |                                                                    |
       |                                                                    the other one

    error: `ca` is missing
      --> pointsman.toml:17:46
       |
    17 | tls = { cert = "shop.pem", key = "shop.key", client = { crl = "crl.pem" } }
       |                                              ^^^^^^
       |
       = help: `ca`: PEM file with the authorities that issue them.
    "##);
}

#[test]
fn http2_is_switched_on_where_it_can_be() {
    assert_snapshot!(mistakes(r#"
[listeners.a]
bind = ":1"
http2 = "on"
[listeners.b]
bind = ":2"
tls = "self-signed"
h2c = true
[listeners.c]
bind = ":3"
h2c = "on"
limits = { streams = 0, stream_window = "1GiB", connection_window = "1KiB" }
[listeners.d]
bind = ":4"
h2c = true
limits = { stream_window = "2MiB", connection_window = "1MiB" }
[pools.app]
endpoints = ["10.0.0.1:80"]
"#), @r##"
    error: `http2` is for listeners with `tls`
     --> pointsman.toml:4:9
      |
    4 | http2 = "on"
      |         ^^^^
      |
      = help: without `tls`, `h2c = true` is for clients that are told to speak it

    error: `h2c` is for listeners without `tls`
     --> pointsman.toml:8:7
      |
    8 | h2c = true
      |       ^^^^
      |
      = help: with `tls`, clients may speak HTTP/2 unless http2 = "off"

    error: expected true or false, found a string
      --> pointsman.toml:11:7
       |
    11 | h2c = "on"
       |       ^^^^

    error: 0 is out of range, 1 to 10000
      --> pointsman.toml:12:22
       |
    12 | limits = { streams = 0, stream_window = "1GiB", connection_window = "1KiB" }
       |                      ^

    error: `1GiB` is out of range, 4KiB to 64MiB
      --> pointsman.toml:12:41
       |
    12 | limits = { streams = 0, stream_window = "1GiB", connection_window = "1KiB" }
       |                                         ^^^^^^

    error: `1KiB` is out of range, 64KiB to 256MiB
      --> pointsman.toml:12:69
       |
    12 | limits = { streams = 0, stream_window = "1GiB", connection_window = "1KiB" }
       |                                                                     ^^^^^^

    error: one request may fill more than all of them together
      --> pointsman.toml:16:56
       |
    16 | limits = { stream_window = "2MiB", connection_window = "1MiB" }
       |                                                        ^^^^^^
       |
       = help: `stream_window` is at most `connection_window`
    "##);
}

#[test]
fn networks_say_what_they_take() {
    assert_snapshot!(mistakes(r#"
[listeners.a]
bind = ":1"
proxy_protocol = []
[listeners.b]
bind = ":2"
proxy_protocol = { header = "optional" }
[listeners.c]
bind = ":3"
proxy_protocol = true
trusted_proxies = ["10.0.0.1/8", "10.0.0.0/33", "proxy.internal"]
[pools.app]
endpoints = ["10.0.0.1:80"]
"#), @r##"
    error: nobody may send a PROXY header, so that no connection has one
     --> pointsman.toml:4:18
      |
    4 | proxy_protocol = []
      |                  ^^
      |
      = help: list the proxies in front, such as "10.0.0.0/8"

    error: `from` is missing
     --> pointsman.toml:7:1
      |
    7 | proxy_protocol = { header = "optional" }
      | ^^^^^^^^^^^^^^
      |
      = help: `from`: Who sends one: networks or addresses, such as `["10.0.0.0/8", "192.0.2.7"]`.

    error: expected a string or a list or a table, found a boolean
      --> pointsman.toml:10:18
       |
    10 | proxy_protocol = true
       |                  ^^^^

    error: `10.0.0.1/8` is no network
      --> pointsman.toml:11:20
       |
    11 | trusted_proxies = ["10.0.0.1/8", "10.0.0.0/33", "proxy.internal"]
       |                    ^^^^^^^^^^^^
       |
       = help: did you mean `10.0.0.0/8` or `10.0.0.1`?

    error: `10.0.0.0/33` is no network
      --> pointsman.toml:11:34
       |
    11 | trusted_proxies = ["10.0.0.1/8", "10.0.0.0/33", "proxy.internal"]
       |                                  ^^^^^^^^^^^^^
       |
       = help: write it as "10.0.0.0/8", "fd00::/8" or "192.0.2.7"

    error: `proxy.internal` is no network
      --> pointsman.toml:11:49
       |
    11 | trusted_proxies = ["10.0.0.1/8", "10.0.0.0/33", "proxy.internal"]
       |                                                 ^^^^^^^^^^^^^^^^
       |
       = help: write it as "10.0.0.0/8", "fd00::/8" or "192.0.2.7"
    "##);
}

#[test]
fn redirects_say_what_they_take() {
    assert_snapshot!(mistakes(r#"
[listeners.a]
bind = ":1"
tls = "self-signed"
redirect = "https"
[listeners.b]
bind = ":2"
redirect = "http"
[listeners.c]
bind = ":3"
redirect = { https = 0 }
[pools.app]
endpoints = ["10.0.0.1:80"]
"#), @r##"
    error: a listener with `tls` has nothing to redirect to
     --> pointsman.toml:5:12
      |
    4 | tls = "self-signed"
      |       ------------- clients are at HTTPS already
    5 | redirect = "https"
      |            ^^^^^^^
      |
      = help: `redirect` is for a listener of its own, at port 80

    error: `http` is no value of `redirect`
     --> pointsman.toml:8:12
      |
    8 | redirect = "http"
      |            ^^^^^^
      |
      = help: did you mean `https`?

    error: 0 is out of range, 1 to 65535
      --> pointsman.toml:11:22
       |
    11 | redirect = { https = 0 }
       |                      ^
    "##);
}

#[test]
fn sockets_say_what_they_take() {
    assert_snapshot!(mistakes(r#"
[listeners.a]
bind = "0.0.0.0:1"
socket = { dual_stack = true, interface = "a/b", backlog = 0, keep_alive = "100ms", user_timeout = "2d" }
[listeners.b]
bind = [":2", "[::]:2"]
socket = { dual_stack = true, interface = "sixteen-letters!" }
[pools.app]
endpoints = ["10.0.0.1:80"]
socket = { source = "fd00::1", keep_alive = "never" }
[pools.other]
endpoints = ["10.0.0.1:80"]
socket = { source = "10.0.0.5:80", fast_open = 256 }
[[routes]]
pool = "app"
[[routes]]
path = "/other"
pool = "other"
"#), @r##"
    error: `dual_stack` is for `[::]`
     --> pointsman.toml:4:25
      |
    4 | socket = { dual_stack = true, interface = "a/b", backlog = 0, keep_alive = "100ms", user_timeout = "2d" }
      |                         ^^^^
      |
      = help: write bind = "[::]:8080" for IPv6 and IPv4

    error: `a/b` is no name of a network interface
     --> pointsman.toml:4:43
      |
    4 | socket = { dual_stack = true, interface = "a/b", backlog = 0, keep_alive = "100ms", user_timeout = "2d" }
      |                                           ^^^^^
      |
      = help: such as "eth0"; `ip link` lists them

    error: 0 is out of range, at least 1
     --> pointsman.toml:4:60
      |
    4 | socket = { dual_stack = true, interface = "a/b", backlog = 0, keep_alive = "100ms", user_timeout = "2d" }
      |                                                            ^

    error: `100ms` is out of range, 1s to 8h
     --> pointsman.toml:4:76
      |
    4 | socket = { dual_stack = true, interface = "a/b", backlog = 0, keep_alive = "100ms", user_timeout = "2d" }
      |                                                                            ^^^^^^^

    error: `2d` is out of range, 1s to 1d
     --> pointsman.toml:4:100
      |
    4 | socket = { dual_stack = true, interface = "a/b", backlog = 0, keep_alive = "100ms", user_timeout = "2d" }
      |                                                                                                    ^^^^

    error: with `dual_stack`, [::]:2 takes IPv4 clients too
     --> pointsman.toml:7:25
      |
    7 | socket = { dual_stack = true, interface = "sixteen-letters!" }
      |                         ^^^^
      |
      = help: leave the IPv4 address with port 2 out of `bind`

    error: `sixteen-letters!` is no name of a network interface
     --> pointsman.toml:7:43
      |
    7 | socket = { dual_stack = true, interface = "sixteen-letters!" }
      |                                           ^^^^^^^^^^^^^^^^^^
      |
      = help: such as "eth0"; `ip link` lists them

    error: from `fd00::1` nobody reaches endpoint `10.0.0.1:80`
      --> pointsman.toml:10:21
       |
    10 | socket = { source = "fd00::1", keep_alive = "never" }
       |                     ^^^^^^^^^
       |
       = help: both are IPv4 addresses, or both are IPv6 ones

    error: `never` is no duration such as "2s", "500ms" or "1h30m"
      --> pointsman.toml:10:45
       |
    10 | socket = { source = "fd00::1", keep_alive = "never" }
       |                                             ^^^^^^^

    error: `10.0.0.5:80` is no IP address
      --> pointsman.toml:13:21
       |
    13 | socket = { source = "10.0.0.5:80", fast_open = 256 }
       |                     ^^^^^^^^^^^^^
       |
       = help: write it as "10.0.0.5", without a port

    error: expected true or false, found an integer
      --> pointsman.toml:13:48
       |
    13 | socket = { source = "10.0.0.5:80", fast_open = 256 }
       |                                                ^^^
    "##);
}

#[test]
fn what_is_spoken_with_endpoints_says_what_it_takes() {
    assert_snapshot!(mistakes(r#"
[listeners.web]
bind = ":1"
[pools.a]
endpoints = ["10.0.0.1:80", "unix:/run/app.sock"]
tls = "on"
protocol = "h3"
[pools.b]
endpoints = ["10.0.0.1:80"]
protocol = "auto"
tls = { ca = "empty.pem", name = "*.internal", cert = "own.pem", verify = false }
[pools.c]
endpoints = ["10.0.0.1:80"]
protocol = "h2"
proxy_protocol = "v2"
[pools.d]
endpoints = ["10.0.0.1:80"]
protocol = "auto"
tls = { name = "https://app.internal" }
[pools.e]
endpoints = ["10.0.0.1:80"]
tls = true
proxy_protocol = 2
check = { grpc = "shop/Cart", body = "SERVING" }
retry.on = ["grpc-unavailble", "grpc-ok"]
[pools.f]
endpoints = ["10.0.0.1:80"]
protocol = "auto"
[[routes]]
pool = "a"
"#), @r##"
    error: endpoint `unix:/run/app.sock` has no name for TLS
     --> pointsman.toml:6:7
      |
    6 | tls = "on"
      |       ^^^^
      |
      = help: add the name that its certificate is for: tls = { name = "app.internal" }

    error: `h3` is no value of `protocol`
     --> pointsman.toml:7:12
      |
    7 | protocol = "h3"
      |            ^^^^
      |
      = help: there are `h1`, `h2`, `auto`

    error: empty.pem: there is nothing in it
      --> pointsman.toml:11:14
       |
    11 | tls = { ca = "empty.pem", name = "*.internal", cert = "own.pem", verify = false }
       |              ^^^^^^^^^^^

    error: `*.internal` is no name of a server
      --> pointsman.toml:11:34
       |
    11 | tls = { ca = "empty.pem", name = "*.internal", cert = "own.pem", verify = false }
       |                                  ^^^^^^^^^^^^
       |
       = help: it is the name that is asked for, which `*` stands for in a certificate

    error: the certificate has no `key`
      --> pointsman.toml:11:55
       |
    11 | tls = { ca = "empty.pem", name = "*.internal", cert = "own.pem", verify = false }
       |                                                       ^^^^^^^^^
       |
       = help: `key` is the PEM file with its private key

    error: expected a string, found a boolean
      --> pointsman.toml:11:75
       |
    11 | tls = { ca = "empty.pem", name = "*.internal", cert = "own.pem", verify = false }
       |                                                                           ^^^^^
       |
       = help: write "off"

    error: a PROXY header names one client, and a connection of HTTP/2 carries many
      --> pointsman.toml:15:18
       |
    15 | proxy_protocol = "v2"
       |                  ^^^^
       |
       = help: with protocol = "h1" each client has connections of its own

    error: `https://app.internal` is no name of a server
      --> pointsman.toml:19:16
       |
    19 | tls = { name = "https://app.internal" }
       |                ^^^^^^^^^^^^^^^^^^^^^^
       |
       = help: write it as "app.internal", without scheme and port

    error: expected a string or a table, found a boolean
      --> pointsman.toml:22:7
       |
    22 | tls = true
       |       ^^^^
       |
       = help: write "on"

    error: expected a string, found an integer
      --> pointsman.toml:23:18
       |
    23 | proxy_protocol = 2
       |                  ^
       |
       = help: write it in quotes

    error: `shop/Cart` is no gRPC service
      --> pointsman.toml:24:18
       |
    24 | check = { grpc = "shop/Cart", body = "SERVING" }
       |                  ^^^^^^^^^^^
       |
       = help: write it as "shop.Cart", or "" for the server as a whole

    error: `body` is for HTTP checks
      --> pointsman.toml:24:38
       |
    24 | check = { grpc = "shop/Cart", body = "SERVING" }
       |                                      ^^^^^^^^^
       |
       = help: `grpc` asks whether a service takes calls, and that is all

    error: `grpc-unavailble` is no reason for a retry
      --> pointsman.toml:25:13
       |
    25 | retry.on = ["grpc-unavailble", "grpc-ok"]
       |             ^^^^^^^^^^^^^^^^^
       |
       = help: did you mean `grpc-unavailable`?

    error: `grpc-ok` is no reason for a retry
      --> pointsman.toml:25:32
       |
    25 | retry.on = ["grpc-unavailble", "grpc-ok"]
       |                                ^^^^^^^^^
       |
       = help: there are `connect`, `reset`, `timeout`, statuses from 400 to 599, and `grpc-cancelled`, `grpc-deadline-exceeded`, `grpc-resource-exhausted`, `grpc-aborted`, `grpc-internal`, `grpc-unavailable`

    error: without `tls`, endpoints cannot say what they speak
      --> pointsman.toml:28:12
       |
    28 | protocol = "auto"
       |            ^^^^^^
       |
       = help: write "h1" or "h2", whichever they speak
    "##);
}

#[test]
fn what_is_hardly_meant_is_a_warning() {
    assert_snapshot!(warnings(r#"
[listeners.plain]
bind = ":1"
redirect = "https"
limits = { streams = 10 }
[listeners.secure]
bind = ":2"
tls = { certificates = [{ cert = "old.pem", key = "old.key" }, { cert = "open.pem", key = "open.key" }] }
proxy_protocol = ["0.0.0.0/0"]
trusted_proxies = "::/0"
[pools.app]
endpoints = ["10.0.0.1:80"]
tls = { verify = "off" }
check = "grpc"
[[routes]]
pool = "app"
[[routes]]
listener = "plain"
path = "/.well-known/"
pool = "app"
"#), @r##"
    warning: nobody speaks HTTP/2 to this listener
     --> pointsman.toml:5:22
      |
    5 | limits = { streams = 10 }
      |                      ^^
      |
      = help: with `tls` there is HTTP/2 by default, without it h2c = true switches it on

    warning: old.pem: it expires in 3 days
     --> pointsman.toml:8:34
      |
    8 | tls = { certificates = [{ cert = "old.pem", key = "old.key" }, { cert = "open.pem", key = "open.key" }] }
      |                                  ^^^^^^^^^

    warning: others than its owner may read or change open.key
     --> pointsman.toml:8:91
      |
    8 | tls = { certificates = [{ cert = "old.pem", key = "old.key" }, { cert = "open.pem", key = "open.key" }] }
      |                                                                                           ^^^^^^^^^^
      |
      = help: take that from them: chmod 600 open.key

    warning: whoever connects is believed to be any client that they name
     --> pointsman.toml:9:19
      |
    9 | proxy_protocol = ["0.0.0.0/0"]
      |                   ^^^^^^^^^^^
      |
      = help: list the proxies in front alone

    warning: whoever connects is believed to be any client that they name
      --> pointsman.toml:10:19
       |
    10 | trusted_proxies = "::/0"
       |                   ^^^^^^
       |
       = help: list the proxies in front alone

    warning: whoever answers at an endpoint's address is believed
      --> pointsman.toml:13:18
       |
    13 | tls = { verify = "off" }
       |                  ^^^^^
       |
       = help: `ca` is for certificates that your own authority issues

    warning: gRPC is HTTP/2, and requests of this pool are HTTP/1.1
      --> pointsman.toml:14:9
       |
    14 | check = "grpc"
       |         ^^^^^^
       |
       = help: add protocol = "h2"

    warning: listener `plain` redirects every request
      --> pointsman.toml:17:1
       |
    17 | [[routes]]
       | ^^^^^^^^^^
       |
       = help: this route never matches; leave `listener` out, or `redirect`
    "##);
}
