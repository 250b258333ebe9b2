//! Equal keys go to the same endpoint, whatever worker they come to.

use std::collections::BTreeSet;

use testkit::Response;

use crate::harness::{Proxy, Setup, named};

const POLICIES: [&str; 2] = ["maglev", "rendezvous"];

fn proxy(policy: &str, key: &str, endpoints: &[&testkit::Endpoint]) -> Proxy {
    Setup::to(endpoints)
        .pool(&format!("policy = {{ {policy} = {{ key = {key} }} }}"))
        .workers(2)
        .start()
}

#[track_caller]
fn get(proxy: &Proxy, target: &str, fields: &str) -> Response {
    let mut client = proxy.client();
    client.send(format!("GET {target} HTTP/1.1\r\nHost: a\r\n{fields}\r\n"));
    client.read_response()
}

/// Names of endpoints that requests with these targets and fields go to.
fn places<'a>(
    proxy: &Proxy,
    requests: impl IntoIterator<Item = &'a (String, String)>,
) -> Vec<String> {
    let requests = requests.into_iter();
    requests
        .map(|(target, fields)| get(proxy, target, fields).text())
        .collect()
}

#[test]
fn equal_keys_of_each_kind_go_to_the_same_endpoint() {
    type Request = fn(u32) -> (String, String);
    let kinds: [(&str, Request); 4] = [
        ("\"path\"", |n| (format!("/{n}?x={}", n % 7), String::new())),
        ("{ query = \"user\" }", |n| {
            (format!("/{}?user={n}&y", n % 3), String::new())
        }),
        ("{ header = \"x-user\" }", |n| {
            ("/".into(), format!("X-User: {n}\r\n"))
        }),
        ("{ cookie = \"id\" }", |n| {
            ("/".into(), format!("Cookie: z={}; id={n}\r\n", n % 5))
        }),
    ];
    for policy in POLICIES {
        for (key, request) in kinds {
            let endpoints = ["a", "b", "c"].map(named);
            let proxy = proxy(policy, key, &endpoints.each_ref());
            let requests: Vec<_> = (0..24).map(request).collect();
            let first = places(&proxy, &requests);
            for _ in 0..2 {
                assert_eq!(places(&proxy, &requests), first, "{policy} by {key}");
            }
            let used: BTreeSet<_> = first.iter().collect();
            assert_eq!(used.len(), 3, "{policy} by {key}: {first:?}");
        }
    }
}

#[test]
fn the_clients_address_is_a_key_without_its_port() {
    for policy in POLICIES {
        let endpoints = ["a", "b", "c"].map(named);
        let proxy = proxy(policy, "\"client_ip\"", &endpoints.each_ref());
        let used: BTreeSet<_> = (0..12).map(|_| proxy.get("/").text()).collect();
        assert_eq!(used.len(), 1, "{policy}: {used:?}");
    }
}

#[test]
fn requests_without_the_key_go_to_any_endpoint() {
    for policy in POLICIES {
        let endpoints = ["a", "b"].map(named);
        let proxy = proxy(policy, "{ header = \"x-user\" }", &endpoints.each_ref());
        let used: BTreeSet<_> = (0..64).map(|_| proxy.get("/").text()).collect();
        assert_eq!(used.len(), 2, "{policy}");
    }
}

#[test]
fn keys_of_a_dead_endpoint_move_and_others_stay() {
    for policy in POLICIES {
        let endpoints = ["a", "b", "c"].map(named);
        let proxy = proxy(policy, "\"path\"", &endpoints.each_ref());
        let requests: Vec<_> = (0..30).map(|n| (format!("/{n}"), String::new())).collect();
        let before = places(&proxy, &requests);
        endpoints[0].kill();
        let after = places(&proxy, &requests);
        for (before, after) in before.iter().zip(&after) {
            match before.as_str() {
                "a" => assert_ne!(after, "a", "{policy}"),
                _ => assert_eq!(after, before, "{policy}"),
            }
        }
    }
}
