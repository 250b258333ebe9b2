//! What people are shown. Each text is a config with mistakes, each snapshot all that is said.

use insta::assert_snapshot;

use super::{loaded, parse_files, parse_text, with_basics};
use crate::from_flags;

/// The rendering of a config that is refused.
fn mistakes(text: &str) -> String {
    parse_text(text)
        .expect_err("the config has mistakes")
        .render(false)
}

fn warnings(text: &str) -> String {
    loaded(text).warnings.render(false)
}

#[test]
fn every_mistake_of_a_file_is_shown_at_once() {
    assert_snapshot!(mistakes(r#"
wokers = 4

[listeners.web]
binds = "0.0.0.0:8080"

[pools.app]
endpoint = ["10.0.0.11:3000"]
policy = "round-robin"
retry = { attempts = 99 }

[pools.other]
endpoints = ["10.0.0.12:3000"]
check = true

[[routes]]
pool = "appp"

[[routes]]
host = "shop.example"
"#), @r##"
    error: unknown key `wokers`
     --> pointsman.toml:2:1
      |
    2 | wokers = 4
      | ^^^^^^
      |
      = help: did you mean `workers`?

    error: unknown key `binds`
     --> pointsman.toml:5:1
      |
    5 | binds = "0.0.0.0:8080"
      | ^^^^^
      |
      = help: did you mean `bind`?

    error: unknown key `endpoint`
     --> pointsman.toml:8:1
      |
    8 | endpoint = ["10.0.0.11:3000"]
      | ^^^^^^^^
      |
      = help: did you mean `endpoints`?

    error: `round-robin` is no value of `policy`
     --> pointsman.toml:9:10
      |
    9 | policy = "round-robin"
      |          ^^^^^^^^^^^^^
      |
      = help: did you mean `round_robin`?

    error: 99 is out of range, 0 to 10
      --> pointsman.toml:10:22
       |
    10 | retry = { attempts = 99 }
       |                      ^^

    error: expected a string or a table, found a boolean
      --> pointsman.toml:14:9
       |
    14 | check = true
       |         ^^^^

    error: there is no pool `appp`
      --> pointsman.toml:17:8
       |
    17 | pool = "appp"
       |        ^^^^^^
       |
       = help: did you mean `app`?

    error: `pool` is missing
      --> pointsman.toml:19:1
       |
    19 | [[routes]]
       | ^^^^^^^^^^
       |
       = help: `pool`: Name of the pool that takes the requests.
    "##);
}

#[test]
fn an_empty_file_says_what_is_needed() {
    assert_snapshot!(mistakes(""), @r##"
    error: there is no listener
     |
     = help: add one: [listeners.web] with bind = "0.0.0.0:8080"

    error: there is no pool
     |
     = help: add one: [pools.app] with endpoints = ["10.0.0.11:3000"]
    "##);
}

#[test]
fn syntax_errors_are_shown_once_a_line() {
    assert_snapshot!(mistakes(r#"
[listeners.web]
bind = 0.0.0.0:8080

[pools.app]
endpoints = ["10.0.0.11:3000"]
check = "/a"
check = "/b"
policy = least_request
"#), @r##"
    error: invalid float, expected nothing
     --> pointsman.toml:3:11
      |
    3 | bind = 0.0.0.0:8080
      |           ^^^^^^^^^
      |
      = help: write it in quotes

    error: duplicate key
     --> pointsman.toml:8:1
      |
    8 | check = "/b"
      | ^^^^^

    error: string values must be quoted, expected literal string
     --> pointsman.toml:9:10
      |
    9 | policy = least_request
      |          ^^^^^^^^^^^^^
      |
      = help: write it in quotes
    "##);
}

#[test]
fn addresses_say_what_they_lack() {
    assert_snapshot!(mistakes(r#"
[admin]
bind = "localhost"

[listeners.web]
bind = ["8080 ", "0.0.0.0", "::1", "unix:app.sock"]

[pools.app]
endpoints = [
    "10.0.0.300:80",
    "http://10.0.0.1:3000/",
    "/run/app.sock",
    "app",
    "10.0.0.1:0",
    "10.0.0.1:65536",
    3000,
]
"#), @r##"
    error: `localhost` is no address and port
     --> pointsman.toml:3:8
      |
    3 | bind = "localhost"
      |        ^^^^^^^^^^^
      |
      = help: write it as "127.0.0.1:9090", or "off"

    error: `8080 ` is no address and port
     --> pointsman.toml:6:9
      |
    6 | bind = ["8080 ", "0.0.0.0", "::1", "unix:app.sock"]
      |         ^^^^^^^
      |
      = help: write it as "10.0.0.11:80", "[::1]:80", "name:80" or "unix:/path"

    error: `0.0.0.0` is no address and port
     --> pointsman.toml:6:18
      |
    6 | bind = ["8080 ", "0.0.0.0", "::1", "unix:app.sock"]
      |                  ^^^^^^^^^
      |
      = help: add a port: "0.0.0.0:80"

    error: `::1` is no address and port
     --> pointsman.toml:6:29
      |
    6 | bind = ["8080 ", "0.0.0.0", "::1", "unix:app.sock"]
      |                             ^^^^^
      |
      = help: add a port: "[::1]:80"

    error: `app.sock` is no absolute path
     --> pointsman.toml:6:36
      |
    6 | bind = ["8080 ", "0.0.0.0", "::1", "unix:app.sock"]
      |                                    ^^^^^^^^^^^^^^^
      |
      = help: write it as "unix:/run/app.sock"

    error: `10.0.0.300:80` is no address and port
      --> pointsman.toml:10:5
       |
    10 |     "10.0.0.300:80",
       |     ^^^^^^^^^^^^^^^
       |
       = help: write it as "10.0.0.11:80", "[::1]:80", "name:80" or "unix:/path"

    error: `http://10.0.0.1:3000/` is no address and port
      --> pointsman.toml:11:5
       |
    11 |     "http://10.0.0.1:3000/",
       |     ^^^^^^^^^^^^^^^^^^^^^^^
       |
       = help: write it without scheme and path: "10.0.0.1:3000"

    error: `/run/app.sock` is no address and port
      --> pointsman.toml:12:5
       |
    12 |     "/run/app.sock",
       |     ^^^^^^^^^^^^^^^
       |
       = help: for a Unix socket write "unix:/run/app.sock"

    error: `app` is no address and port
      --> pointsman.toml:13:5
       |
    13 |     "app",
       |     ^^^^^
       |
       = help: add a port: "app:80"

    error: nobody can connect to port 0
      --> pointsman.toml:14:5
       |
    14 |     "10.0.0.1:0",
       |     ^^^^^^^^^^^^

    error: `10.0.0.1:65536` is no address and port
      --> pointsman.toml:15:5
       |
    15 |     "10.0.0.1:65536",
       |     ^^^^^^^^^^^^^^^^
       |
       = help: write it as "10.0.0.11:80", "[::1]:80", "name:80" or "unix:/path"

    error: expected a string or a table, found an integer
      --> pointsman.toml:16:5
       |
    16 |     3000,
       |     ^^^^
       |
       = help: write it in quotes
    "##);
}

#[test]
fn names_that_do_not_resolve_are_shown() {
    assert_snapshot!(mistakes(r#"
listeners.web.bind = ":8080"
pools.app.endpoints = ["gone.internal:80", "none.internal:80"]
"#), @r##"
    error: `gone.internal:80` does not resolve: no such name
     --> pointsman.toml:3:24
      |
    3 | pools.app.endpoints = ["gone.internal:80", "none.internal:80"]
      |                        ^^^^^^^^^^^^^^^^^^

    error: `none.internal:80` does not resolve: it has no address
     --> pointsman.toml:3:44
      |
    3 | pools.app.endpoints = ["gone.internal:80", "none.internal:80"]
      |                                            ^^^^^^^^^^^^^^^^^^
    "##);
}

#[test]
fn what_is_used_twice_is_shown_with_the_other_place() {
    assert_snapshot!(mistakes(r#"
[admin]
bind = "127.0.0.1:9000"

[listeners.a]
bind = ["0.0.0.0:8080", "127.0.0.1:9000"]

[listeners.b]
bind = "0.0.0.0:8080"

[pools.app]
endpoints = [
    "10.0.0.1:80",
    { address = "10.0.0.2:80", name = "blue" },
    { address = "10.0.0.3:80", name = "blue" },
    "10.0.0.1:80",
]
"#), @r##"
    error: `127.0.0.1:9000` is listened on twice
     --> pointsman.toml:6:25
      |
    3 | bind = "127.0.0.1:9000"
      |        ---------------- first here
    ...
    6 | bind = ["0.0.0.0:8080", "127.0.0.1:9000"]
      |                         ^^^^^^^^^^^^^^^^

    error: `0.0.0.0:8080` is listened on twice
     --> pointsman.toml:9:8
      |
    6 | bind = ["0.0.0.0:8080", "127.0.0.1:9000"]
      |         -------------- first here
    ...
    9 | bind = "0.0.0.0:8080"
      |        ^^^^^^^^^^^^^^

    error: two endpoints have the name `blue`
      --> pointsman.toml:15:5
       |
    14 |     { address = "10.0.0.2:80", name = "blue" },
       |     ------------------------------------------ the other one
    15 |     { address = "10.0.0.3:80", name = "blue" },
       |     ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
       |
       = help: for a larger share of the traffic use `weight`

    error: two endpoints have the address `10.0.0.1:80`
      --> pointsman.toml:16:5
       |
    13 |     "10.0.0.1:80",
       |     ------------- the other one
    ...
    16 |     "10.0.0.1:80",
       |     ^^^^^^^^^^^^^
       |
       = help: for a larger share of the traffic use `weight`
    "##);
}

#[test]
fn routes_that_nothing_reaches_are_shown() {
    assert_snapshot!(mistakes(r#"
listeners.web.bind = ":8080"
pools.app.endpoints = ["10.0.0.1:80"]

[[routes]]
host = "shop.example"
path = "/api"
pool = "app"

[[routes]]
host = "SHOP.example."
path = "/api/"
pool = "app"

[[routes]]
pool = "app"

[[routes]]
listener = "web"
pool = "app"
"#), @r##"
    error: two routes match the same requests
      --> pointsman.toml:10:1
       |
     5 | [[routes]]
       | ---------- this one takes them
    ...
    10 | [[routes]]
       | ^^^^^^^^^^

    error: this route never matches: each listener has its own for these requests
      --> pointsman.toml:15:1
       |
    15 | [[routes]]
       | ^^^^^^^^^^
    ...
    18 | [[routes]]
       | ---------- this one takes them
    "##);
}

#[test]
fn hosts_and_paths_that_cannot_match_are_shown() {
    assert_snapshot!(mistakes(r#"
listeners.web.bind = ":8080"
pools.app.endpoints = ["10.0.0.1:80"]
routes = [
    { pool = "app", host = "*" },
    { pool = "app", host = "*shop.example" },
    { pool = "app", host = "https://shop.example/" },
    { pool = "app", host = "shop.example:8080" },
    { pool = "app", host = "bücher.example" },
    { pool = "app", host = "" },
    { pool = "app", path = "api" },
    { pool = "app", path = "=api" },
    { pool = "app", path = "/api/*" },
    { pool = "app", path = "/search?q" },
    { pool = "app", path = "/a b" },
]
"#), @r##"
    error: `*` is no host
     --> pointsman.toml:5:28
      |
    5 |     { pool = "app", host = "*" },
      |                            ^^^
      |
      = help: leave `host` out to match every host

    error: `*shop.example` is no host
     --> pointsman.toml:6:28
      |
    6 |     { pool = "app", host = "*shop.example" },
      |                            ^^^^^^^^^^^^^^^
      |
      = help: `*.` stands at the beginning, for any labels: "*.shop.example"

    error: `https://shop.example/` is no host
     --> pointsman.toml:7:28
      |
    7 |     { pool = "app", host = "https://shop.example/" },
      |                            ^^^^^^^^^^^^^^^^^^^^^^^
      |
      = help: a host has neither scheme nor path; `path` matches paths

    error: `shop.example:8080` is no host
     --> pointsman.toml:8:28
      |
    8 |     { pool = "app", host = "shop.example:8080" },
      |                            ^^^^^^^^^^^^^^^^^^^
      |
      = help: leave the port out: a route matches the host on every port

    error: `bücher.example` is no host
     --> pointsman.toml:9:28
      |
    9 |     { pool = "app", host = "bücher.example" },
      |                            ^^^^^^^^^^^^^^^^
      |
      = help: clients send such names in their ASCII form, `xn--…`

    error: `` is no host
      --> pointsman.toml:10:28
       |
    10 |     { pool = "app", host = "" },
       |                            ^^
       |
       = help: write it as "shop.example" or "*.shop.example"

    error: `api` is no path to match
      --> pointsman.toml:11:28
       |
    11 |     { pool = "app", path = "api" },
       |                            ^^^^^
       |
       = help: a path begins with `/`, an exact one with `=/`

    error: `=api` is no path to match
      --> pointsman.toml:12:28
       |
    12 |     { pool = "app", path = "=api" },
       |                            ^^^^^^
       |
       = help: a path begins with `/`, an exact one with `=/`

    error: `/api/*` is no path to match
      --> pointsman.toml:13:28
       |
    13 |     { pool = "app", path = "/api/*" },
       |                            ^^^^^^^^
       |
       = help: a path takes everything below it already; leave the `*` out

    error: `/search?q` is no path to match
      --> pointsman.toml:14:28
       |
    14 |     { pool = "app", path = "/search?q" },
       |                            ^^^^^^^^^^^
       |
       = help: routes match the path alone, without the query

    error: `/a b` is no path to match
      --> pointsman.toml:15:28
       |
    15 |     { pool = "app", path = "/a b" },
       |                            ^^^^^^
       |
       = help: clients send spaces and the like percent-encoded
    "##);
}

#[test]
fn checks_say_what_is_wrong_with_them() {
    assert_snapshot!(mistakes(r#"
listeners.web.bind = ":8080"
[pools.a]
endpoints = ["10.0.0.1:80"]
check = "healthz"
[pools.b]
endpoints = ["10.0.0.1:80"]
check = "of"
[pools.b2]
endpoints = ["10.0.0.1:80"]
check = "postgress"
[pools.c]
endpoints = ["10.0.0.1:80"]
check = { expect = "200", interval = "2" }
[pools.d]
endpoints = ["10.0.0.1:80"]
check = { http = "/a b", host = "", expect = ["2xx", "200-99"], fall = 0, rise = 2.5, timeout = "0s" }
[pools.e]
endpoints = ["10.0.0.1:80"]
check = { http = "/", expect = 200 }
"#), @r##"
    error: with several pools, routes say which takes what
     --> pointsman.toml:3:8
      |
    3 | [pools.a]
      |        ^
      |
      = help: add [[routes]] with pool = "…" for each pool

    error: `healthz` is no check
     --> pointsman.toml:5:9
      |
    5 | check = "healthz"
      |         ^^^^^^^^^
      |
      = help: there are "/path", "tcp", "udp", "grpc", "redis", "postgres", "mysql", "smtp", "dns", "off" and a table

    error: `of` is no check
     --> pointsman.toml:8:9
      |
    8 | check = "of"
      |         ^^^^
      |
      = help: did you mean `off`?

    error: `postgress` is no check
      --> pointsman.toml:11:9
       |
    11 | check = "postgress"
       |         ^^^^^^^^^^^
       |
       = help: did you mean `postgres`?

    error: `expect` is for HTTP checks
      --> pointsman.toml:14:20
       |
    14 | check = { expect = "200", interval = "2" }
       |                    ^^^^^
       |
       = help: `http = "/path"` makes it one

    error: `2` is no duration such as "2s", "500ms" or "1h30m"
      --> pointsman.toml:14:38
       |
    14 | check = { expect = "200", interval = "2" }
       |                                      ^^^

    error: `/a b` is no path
      --> pointsman.toml:17:18
       |
    17 | check = { http = "/a b", host = "", expect = ["2xx", "200-99"], fall = 0, rise = 2.5, timeout = "0s" }
       |                  ^^^^^^
       |
       = help: a path begins with `/`; spaces and the like are percent-encoded

    error: `` is no host
      --> pointsman.toml:17:33
       |
    17 | check = { http = "/a b", host = "", expect = ["2xx", "200-99"], fall = 0, rise = 2.5, timeout = "0s" }
       |                                 ^^

    error: `2xx` is no status from 200 to 599, nor a range such as "200-399"
      --> pointsman.toml:17:47
       |
    17 | check = { http = "/a b", host = "", expect = ["2xx", "200-99"], fall = 0, rise = 2.5, timeout = "0s" }
       |                                               ^^^^^

    error: `200-99` is no status from 200 to 599, nor a range such as "200-399"
      --> pointsman.toml:17:54
       |
    17 | check = { http = "/a b", host = "", expect = ["2xx", "200-99"], fall = 0, rise = 2.5, timeout = "0s" }
       |                                                      ^^^^^^^^

    error: 0 is out of range, at least 1
      --> pointsman.toml:17:72
       |
    17 | check = { http = "/a b", host = "", expect = ["2xx", "200-99"], fall = 0, rise = 2.5, timeout = "0s" }
       |                                                                        ^

    error: expected an integer, found a number with a fraction
      --> pointsman.toml:17:82
       |
    17 | check = { http = "/a b", host = "", expect = ["2xx", "200-99"], fall = 0, rise = 2.5, timeout = "0s" }
       |                                                                                  ^^^

    error: `0s` is no time at all
      --> pointsman.toml:17:97
       |
    17 | check = { http = "/a b", host = "", expect = ["2xx", "200-99"], fall = 0, rise = 2.5, timeout = "0s" }
       |                                                                                                 ^^^^

    error: expected a string or a list, found an integer
      --> pointsman.toml:20:32
       |
    20 | check = { http = "/", expect = 200 }
       |                                ^^^
       |
       = help: write it in quotes
    "##);
}

#[test]
fn settings_of_a_pool_say_what_they_take() {
    assert_snapshot!(mistakes(r#"
listeners.web.bind = ":8080"
[pools.app]
endpoints = []
outlier = { ejection = "2s", ejection_max = "1s", ejected_max = "150%" }
retry = { on = ["connection", "200"], body = "1GiB" }
queue = { length = 0, timeout = 5 }
timeouts = { total = "of", conect = "2s" }
fail = "close"
drain = "never"
"#), @r##"
    error: a pool has at least one endpoint
     --> pointsman.toml:4:13
      |
    4 | endpoints = []
      |             ^^

    error: the first ejection is longer than the longest
     --> pointsman.toml:5:45
      |
    5 | outlier = { ejection = "2s", ejection_max = "1s", ejected_max = "150%" }
      |                                             ^^^^
      |
      = help: `ejection` is at most `ejection_max`

    error: `150%` is no share from "0%" to "100%"
     --> pointsman.toml:5:65
      |
    5 | outlier = { ejection = "2s", ejection_max = "1s", ejected_max = "150%" }
      |                                                                 ^^^^^^

    error: `connection` is no reason for a retry
     --> pointsman.toml:6:17
      |
    6 | retry = { on = ["connection", "200"], body = "1GiB" }
      |                 ^^^^^^^^^^^^
      |
      = help: did you mean `connect`?

    error: `200` is no reason for a retry
     --> pointsman.toml:6:31
      |
    6 | retry = { on = ["connection", "200"], body = "1GiB" }
      |                               ^^^^^
      |
      = help: there are `connect`, `reset`, `timeout`, statuses from 400 to 599, and `grpc-cancelled`, `grpc-deadline-exceeded`, `grpc-resource-exhausted`, `grpc-aborted`, `grpc-internal`, `grpc-unavailable`

    error: `1GiB` is out of range, 0B to 64MiB
     --> pointsman.toml:6:46
      |
    6 | retry = { on = ["connection", "200"], body = "1GiB" }
      |                                              ^^^^^^

    error: 0 is out of range, at least 1
     --> pointsman.toml:7:20
      |
    7 | queue = { length = 0, timeout = 5 }
      |                    ^

    error: expected a string, found an integer
     --> pointsman.toml:7:33
      |
    7 | queue = { length = 0, timeout = 5 }
      |                                 ^
      |
      = help: write it in quotes

    error: `of` is no duration such as "2s", "500ms" or "1h30m"
     --> pointsman.toml:8:22
      |
    8 | timeouts = { total = "of", conect = "2s" }
      |                      ^^^^

    error: unknown key `conect`
     --> pointsman.toml:8:28
      |
    8 | timeouts = { total = "of", conect = "2s" }
      |                            ^^^^^^
      |
      = help: did you mean `connect`?

    error: `close` is no value of `fail`
     --> pointsman.toml:9:8
      |
    9 | fail = "close"
      |        ^^^^^^^
      |
      = help: did you mean `closed`?

    error: `never` is no duration such as "2s", "500ms" or "1h30m"
      --> pointsman.toml:10:9
       |
    10 | drain = "never"
       |         ^^^^^^^
    "##);
}

#[test]
fn policies_and_keys_say_what_they_take() {
    assert_snapshot!(mistakes(r#"
listeners.web.bind = ":8080"
[pools.a]
endpoints = ["10.0.0.1:80"]
policy = { round_robin = { key = "path" } }
[pools.b]
endpoints = ["10.0.0.1:80"]
policy = { adaptive = { key = "path" } }
[pools.c]
endpoints = ["10.0.0.1:80"]
policy = { maglev = { key = "client_up", bounded_load = 0.9 } }
[pools.d]
endpoints = ["10.0.0.1:80"]
policy = { maglev = { key = { header = "X User", cookie = "a=b" } }, rendezvous = { bounded_load = "1.25" } }
[pools.e]
endpoints = ["10.0.0.1:80"]
policy = { rendezvous = { key = {}, bounded_load = inf } }
[pools.f]
endpoints = ["10.0.0.1:80"]
policy = {}
[pools.g]
endpoints = ["10.0.0.1:80"]
policy = { adaptive = { probe = { path = "load", per_request = 0, timeout = "1s" } } }
[pools.h]
endpoints = ["10.0.0.1:80"]
policy = { maglev = { key = { query = "a&b" } } }
"#), @r##"
    error: with several pools, routes say which takes what
     --> pointsman.toml:3:8
      |
    3 | [pools.a]
      |        ^
      |
      = help: add [[routes]] with pool = "…" for each pool

    error: `round_robin` has no settings
     --> pointsman.toml:5:12
      |
    5 | policy = { round_robin = { key = "path" } }
      |            ^^^^^^^^^^^
      |
      = help: write policy = "round_robin"

    error: unknown key `key`
     --> pointsman.toml:8:25
      |
    8 | policy = { adaptive = { key = "path" } }
      |                         ^^^
      |
      = help: there is only `probe`

    error: `client_up` is no value of `key`
      --> pointsman.toml:11:29
       |
    11 | policy = { maglev = { key = "client_up", bounded_load = 0.9 } }
       |                             ^^^^^^^^^^^
       |
       = help: did you mean `client_ip`?

    error: 0.9 is out of range, 1 to 100
      --> pointsman.toml:11:57
       |
    11 | policy = { maglev = { key = "client_up", bounded_load = 0.9 } }
       |                                                         ^^^

    error: `X User` cannot be the name of a header field
      --> pointsman.toml:14:40
       |
    14 | policy = { maglev = { key = { header = "X User", cookie = "a=b" } }, rendezvous = { bounded_load = "1.25" } }
       |                                        ^^^^^^^^
       |
       = help: a name has letters, digits, `-`, `_` and `.`; no space, no colon

    error: `header` and `cookie` exclude each other
      --> pointsman.toml:14:59
       |
    14 | policy = { maglev = { key = { header = "X User", cookie = "a=b" } }, rendezvous = { bounded_load = "1.25" } }
       |                                        --------           ^^^^^
       |                                        |
       |                                        the other one

    error: `maglev` and `rendezvous` exclude each other
      --> pointsman.toml:14:83
       |
    14 | policy = { maglev = { key = { header = "X User", cookie = "a=b" } }, rendezvous = { bounded_load = "1.25" } }
       |                     ----------------------------------------------- the other one ^^^^^^^^^^^^^^^^^^^^^^^^^

    error: expected a number, found a string
      --> pointsman.toml:14:100
       |
    14 | policy = { maglev = { key = { header = "X User", cookie = "a=b" } }, rendezvous = { bounded_load = "1.25" } }
       |                                                                                                    ^^^^^^

    error: one of `header`, `cookie`, `query` is missing
      --> pointsman.toml:17:33
       |
    17 | policy = { rendezvous = { key = {}, bounded_load = inf } }
       |                                 ^^

    error: inf is out of range, 1 to 100
      --> pointsman.toml:17:52
       |
    17 | policy = { rendezvous = { key = {}, bounded_load = inf } }
       |                                                    ^^^

    error: one of `adaptive`, `maglev`, `rendezvous` is missing
      --> pointsman.toml:20:10
       |
    20 | policy = {}
       |          ^^

    error: `load` is no path
      --> pointsman.toml:23:42
       |
    23 | policy = { adaptive = { probe = { path = "load", per_request = 0, timeout = "1s" } } }
       |                                          ^^^^^^
       |
       = help: a path begins with `/`; spaces and the like are percent-encoded

    error: 0 is out of range, 0.01 to 10
      --> pointsman.toml:23:64
       |
    23 | policy = { adaptive = { probe = { path = "load", per_request = 0, timeout = "1s" } } }
       |                                                                ^

    error: `1s` is out of range, 3ms to 100ms
      --> pointsman.toml:23:77
       |
    23 | policy = { adaptive = { probe = { path = "load", per_request = 0, timeout = "1s" } } }
       |                                                                             ^^^^

    error: `a&b` cannot be the name of a parameter
      --> pointsman.toml:26:39
       |
    26 | policy = { maglev = { key = { query = "a&b" } } }
       |                                       ^^^^^
       |
       = help: write it as it stands in a URL, between `?` or `&` and `=`
    "##);
}

#[test]
fn sessions_say_what_they_take() {
    assert_snapshot!(mistakes(r#"
secret.file = "/run/short"
listeners.web.bind = ":8080"
[pools.a]
endpoints = ["10.0.0.1:80"]
sticky = { cookie = "my route", mode = "lax" }
[pools.b]
endpoints = ["10.0.0.1:80"]
sticky = { cookie = "route", key = { cookie = "JSESSIONID" }, sessions = 0, bounded_load = 0.5 }
[pools.c]
endpoints = ["10.0.0.1:80"]
sticky = { idle = "1h" }
[pools.d]
endpoints = ["10.0.0.1:80"]
sticky = { learn = { header = "X-Owner", cookie = "owner" } }
[pools.e]
endpoints = ["10.0.0.1:80"]
sticky = { learn = "X-Owner" }
"#), @r##"
    error: the secret is too short to be one: 7 bytes, not 32
     --> pointsman.toml:2:15
      |
    2 | secret.file = "/run/short"
      |               ^^^^^^^^^^^^
      |
      = help: make one: (umask 077; head -c 32 /dev/urandom | base64 > /run/short)

    error: with several pools, routes say which takes what
     --> pointsman.toml:4:8
      |
    4 | [pools.a]
      |        ^
      |
      = help: add [[routes]] with pool = "…" for each pool

    error: `my route` cannot be the name of a cookie
     --> pointsman.toml:6:21
      |
    6 | sticky = { cookie = "my route", mode = "lax" }
      |                     ^^^^^^^^^^
      |
      = help: a name has letters, digits, `-`, `_` and `.`; no space, no `=`

    error: `lax` is no value of `mode`
     --> pointsman.toml:6:40
      |
    6 | sticky = { cookie = "my route", mode = "lax" }
      |                                        ^^^^^
      |
      = help: there are `fall_back`, `strict`

    error: `cookie` and `key` exclude each other
     --> pointsman.toml:9:36
      |
    9 | sticky = { cookie = "route", key = { cookie = "JSESSIONID" }, sessions = 0, bounded_load = 0.5 }
      |                     -------        ^^^^^^^^^^^^^^^^^^^^^^^^^
      |                     |
      |                     the other one

    error: 0 is out of range, 1 to 16777216
     --> pointsman.toml:9:74
      |
    9 | sticky = { cookie = "route", key = { cookie = "JSESSIONID" }, sessions = 0, bounded_load = 0.5 }
      |                                                                          ^

    error: 0.5 is out of range, 1 to 100
     --> pointsman.toml:9:92
      |
    9 | sticky = { cookie = "route", key = { cookie = "JSESSIONID" }, sessions = 0, bounded_load = 0.5 }
      |                                                                                            ^^^

    error: one of `cookie`, `key`, `learn` is missing
      --> pointsman.toml:12:10
       |
    12 | sticky = { idle = "1h" }
       |          ^^^^^^^^^^^^^^^

    error: `header` and `cookie` exclude each other
      --> pointsman.toml:15:51
       |
    15 | sticky = { learn = { header = "X-Owner", cookie = "owner" } }
       |                               ---------           ^^^^^^^
       |                               |
       |                               the other one

    error: expected a table, found a string
      --> pointsman.toml:18:20
       |
    18 | sticky = { learn = "X-Owner" }
       |                    ^^^^^^^^^
    "##);
    let without = "secret.file = 'gone'\n".to_owned() + &with_basics("");
    assert_snapshot!(mistakes(&without), @r##"
    error: cannot read gone: no such file
     --> pointsman.toml:1:15
      |
    1 | secret.file = 'gone'
      |               ^^^^^^
      |
      = help: make one: (umask 077; head -c 32 /dev/urandom | base64 > gone)
    "##);
}

#[test]
fn checks_and_agents_say_whom_they_can_ask() {
    assert_snapshot!(mistakes(r#"
listeners.web.bind = ":8080"
[pools.a]
endpoints = ["10.0.0.1:80"]
check = { http = "/up", tcp = { expect = "" }, headers = { Host = "a", "X Y" = "1", c = "2\n" }, body = "" }
agent = { tcp = "" }
[pools.b]
endpoints = ["10.0.0.1:80", "unix:/run/app.sock"]
check = { tcp = { expect = "+PONG" }, body = "ok", port = 81 }
agent = { http = "load", port = 9000 }
[pools.c]
endpoints = ["10.0.0.1:80"]
check = { headers = {}, port = 0, tcp = "PING" }
agent = { port = 9000, interval = "2" }
[pools.d]
endpoints = ["10.0.0.1:80"]
agent = { http = "/load", tcp = "", port = 65536 }
"#), @r##"
    error: with several pools, routes say which takes what
     --> pointsman.toml:3:8
      |
    3 | [pools.a]
      |        ^
      |
      = help: add [[routes]] with pool = "…" for each pool

    error: a check is one of `http`, `grpc`, `tcp`, `udp`, `dns` and `protocol`
     --> pointsman.toml:5:31
      |
    5 | check = { http = "/up", tcp = { expect = "" }, headers = { Host = "a", "X Y" = "1", c = "2\n" }, body = "" }
      |                  -----        ^^^^^^^^^^^^^^^
      |                  |
      |                  the other one

    error: `Host` cannot be set for a check
     --> pointsman.toml:5:60
      |
    5 | check = { http = "/up", tcp = { expect = "" }, headers = { Host = "a", "X Y" = "1", c = "2\n" }, body = "" }
      |                                                            ^^^^
      |
      = help: `host` beside `http` sets it

    error: `X Y` cannot be the name of a header field
     --> pointsman.toml:5:72
      |
    5 | check = { http = "/up", tcp = { expect = "" }, headers = { Host = "a", "X Y" = "1", c = "2\n" }, body = "" }
      |                                                                        ^^^^^
      |
      = help: a name has letters, digits, `-`, `_` and `.`; no space, no colon

    error: this cannot be the value of a header field
     --> pointsman.toml:5:89
      |
    5 | check = { http = "/up", tcp = { expect = "" }, headers = { Host = "a", "X Y" = "1", c = "2\n" }, body = "" }
      |                                                                                         ^^^^^
      |
      = help: a value is ASCII text, with no space around it and no line end

    error: every answer contains an empty text
     --> pointsman.toml:5:105
      |
    5 | check = { http = "/up", tcp = { expect = "" }, headers = { Host = "a", "X Y" = "1", c = "2\n" }, body = "" }
      |                                                                                                         ^^
      |
      = help: leave the key out, or say what to look for

    error: an agent that speaks TCP has a `port` of its own
     --> pointsman.toml:6:17
      |
    6 | agent = { tcp = "" }
      |                 ^^
      |
      = help: at the endpoint's own port, the application would answer

    error: `body` is for HTTP checks
     --> pointsman.toml:9:46
      |
    9 | check = { tcp = { expect = "+PONG" }, body = "ok", port = 81 }
      |                                              ^^^^
      |
      = help: `tcp` has its own `send` and `expect`

    error: endpoint `unix:/run/app.sock` has no ports
     --> pointsman.toml:9:59
      |
    9 | check = { tcp = { expect = "+PONG" }, body = "ok", port = 81 }
      |                                                           ^^
      |
      = help: leave `port` out for endpoints at Unix sockets

    error: `load` is no path
      --> pointsman.toml:10:18
       |
    10 | agent = { http = "load", port = 9000 }
       |                  ^^^^^^
       |
       = help: a path begins with `/`; spaces and the like are percent-encoded

    error: endpoint `unix:/run/app.sock` has no ports
      --> pointsman.toml:10:33
       |
    10 | agent = { http = "load", port = 9000 }
       |                                 ^^^^
       |
       = help: leave `port` out for endpoints at Unix sockets

    error: `headers` is for HTTP checks
      --> pointsman.toml:13:21
       |
    13 | check = { headers = {}, port = 0, tcp = "PING" }
       |                     ^^
       |
       = help: `http = "/path"` makes it one

    error: 0 is out of range, 1 to 65535
      --> pointsman.toml:13:32
       |
    13 | check = { headers = {}, port = 0, tcp = "PING" }
       |                                ^

    error: expected a table, found a string
      --> pointsman.toml:13:41
       |
    13 | check = { headers = {}, port = 0, tcp = "PING" }
       |                                         ^^^^^^

    error: one of `http`, `tcp` is missing
      --> pointsman.toml:14:9
       |
    14 | agent = { port = 9000, interval = "2" }
       |         ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^

    error: `http` and `tcp` exclude each other
      --> pointsman.toml:17:33
       |
    17 | agent = { http = "/load", tcp = "", port = 65536 }
       |                  -------        ^^
       |                  |
       |                  the other one

    error: 65536 is out of range, 1 to 65535
      --> pointsman.toml:17:44
       |
    17 | agent = { http = "/load", tcp = "", port = 65536 }
       |                                            ^^^^^
    "##);
}

#[test]
fn limits_and_hedges_say_what_they_take() {
    assert_snapshot!(mistakes(r#"
zone = "eu 1a"
listeners.web.bind = ":8080"
[pools.app]
endpoints = [{ address = "10.0.0.1:80", tier = 256 }, { address = "10.0.0.2:80", zone = "" }]
outlier = { success_rate = { requests_min = 0, deviations = -1, below = "80" } }
slow_start = { window = "10", aggression = 0 }
feedback = { headers = "trust", full_on = ["200", "busy"] }
concurrency = { min = 2000 }
circuit = { requests = 0 }
hedge = { after = "95%", min = "0s", budget = "0%" }
panic = "half"
fail = "closed"
[[routes]]
pool = "app"
retry = { timeout = "of" }
hedge = "of"
[[routes]]
path = "/slow"
pool = "app"
slow_start = "of"
"#), @r##"
    error: `eu 1a` cannot be the name of a zone
     --> pointsman.toml:2:8
      |
    2 | zone = "eu 1a"
      |        ^^^^^^^
      |
      = help: a name has 1 to 64 letters, digits, `-`, `_` and `.`

    error: 256 is out of range, 0 to 255
     --> pointsman.toml:5:48
      |
    5 | endpoints = [{ address = "10.0.0.1:80", tier = 256 }, { address = "10.0.0.2:80", zone = "" }]
      |                                                ^^^

    error: `` cannot be the name of a zone
     --> pointsman.toml:5:89
      |
    5 | endpoints = [{ address = "10.0.0.1:80", tier = 256 }, { address = "10.0.0.2:80", zone = "" }]
      |                                                                                         ^^
      |
      = help: a name has 1 to 64 letters, digits, `-`, `_` and `.`

    error: 0 is out of range, at least 1
     --> pointsman.toml:6:45
      |
    6 | outlier = { success_rate = { requests_min = 0, deviations = -1, below = "80" } }
      |                                             ^

    error: -1 is out of range, 0 to 10
     --> pointsman.toml:6:61
      |
    6 | outlier = { success_rate = { requests_min = 0, deviations = -1, below = "80" } }
      |                                                             ^^

    error: `80` is no share from "0%" to "100%"
     --> pointsman.toml:6:73
      |
    6 | outlier = { success_rate = { requests_min = 0, deviations = -1, below = "80" } }
      |                                                                         ^^^^

    error: `10` is no duration such as "2s", "500ms" or "1h30m"
     --> pointsman.toml:7:25
      |
    7 | slow_start = { window = "10", aggression = 0 }
      |                         ^^^^

    error: 0 is out of range, 0.1 to 10
     --> pointsman.toml:7:44
      |
    7 | slow_start = { window = "10", aggression = 0 }
      |                                            ^

    error: `trust` is no value of `headers`
     --> pointsman.toml:8:24
      |
    8 | feedback = { headers = "trust", full_on = ["200", "busy"] }
      |                        ^^^^^^^
      |
      = help: there are `believe`, `ignore`

    error: `200` does not say that an endpoint is full
     --> pointsman.toml:8:44
      |
    8 | feedback = { headers = "trust", full_on = ["200", "busy"] }
      |                                            ^^^^^
      |
      = help: there are statuses from 400 to 599, such as "503"

    error: `busy` does not say that an endpoint is full
     --> pointsman.toml:8:51
      |
    8 | feedback = { headers = "trust", full_on = ["200", "busy"] }
      |                                                   ^^^^^^
      |
      = help: there are statuses from 400 to 599, such as "503"

    error: the least limit is greater than the greatest
     --> pointsman.toml:9:15
      |
    9 | concurrency = { min = 2000 }
      |               ^^^^^^^^^^^^^^
      |
      = help: `min` is at most `max`, which is 1000

    error: 0 is out of range, at least 1
      --> pointsman.toml:10:24
       |
    10 | circuit = { requests = 0 }
       |                        ^

    error: `95%` is no quantile from "p50" to "p99.9"
      --> pointsman.toml:11:19
       |
    11 | hedge = { after = "95%", min = "0s", budget = "0%" }
       |                   ^^^^^

    error: `0s` is no time at all
      --> pointsman.toml:11:32
       |
    11 | hedge = { after = "95%", min = "0s", budget = "0%" }
       |                                ^^^^

    error: with a budget of 0% there are no copies
      --> pointsman.toml:11:47
       |
    11 | hedge = { after = "95%", min = "0s", budget = "0%" }
       |                                               ^^^^

    error: `half` is no share from "0%" to "100%"
      --> pointsman.toml:12:9
       |
    12 | panic = "half"
       |         ^^^^^^

    error: `of` is no value of `hedge`
      --> pointsman.toml:17:9
       |
    17 | hedge = "of"
       |         ^^^^
       |
       = help: did you mean `off`?

    error: unknown key `slow_start`
      --> pointsman.toml:21:1
       |
    21 | slow_start = "of"
       | ^^^^^^^^^^
       |
       = help: there are `hedge`, `host`, `listener`, `path`, `pool`, `retry`, `timeouts`, `trace`, `upgrades`
    "##);
    assert_snapshot!(mistakes(&with_basics("slow_start = 'of'")), @r##"
    error: `of` is no duration such as "2s", "500ms" or "1h30m"
     --> pointsman.toml:4:14
      |
    4 | slow_start = 'of'
      |              ^^^^
    "##);
}

#[test]
fn what_sessions_and_zones_lack_is_a_warning() {
    assert_snapshot!(warnings(&with_basics("sticky.cookie = 'route'")), @r##"
    warning: without a `secret`, sessions move when Pointsman is restarted
     --> pointsman.toml:4:17
      |
    4 | sticky.cookie = 'route'
      |                 ^^^^^^^
      |
      = help: add `secret = { file = "secret" }` at the top, and make one: (umask 077; head -c 32 /dev/urandom | base64 > secret)
    "##);
    let lonely = "zone = 'eu-1a'\n".to_owned() + &with_basics("");
    assert_snapshot!(warnings(&lonely), @r##"
    warning: no endpoint is in zone `eu-1a`
     --> pointsman.toml:1:8
      |
    1 | zone = 'eu-1a'
      |        ^^^^^^^
      |
      = help: `zone` of an endpoint says where it stands
    "##);
    assert_snapshot!(warnings(r#"
listeners.web.bind = ":8080"
pools.app.endpoints = [{ address = "10.0.0.1:80", zone = "eu-1a" }]
"#), @r##"
    warning: a zone is preferred by nobody
     --> pointsman.toml:3:58
      |
    3 | pools.app.endpoints = [{ address = "10.0.0.1:80", zone = "eu-1a" }]
      |                                                          ^^^^^^^
      |
      = help: `zone = "…"` at the top says where this process runs
    "##);
}

#[test]
fn a_secret_that_others_may_read_is_a_warning() {
    let open = "secret.file = '/run/open'\n".to_owned() + &with_basics("");
    assert_snapshot!(warnings(&open), @r##"
    warning: others than its owner may read or change /run/open
     --> pointsman.toml:1:15
      |
    1 | secret.file = '/run/open'
      |               ^^^^^^^^^^^
      |
      = help: take that from them: chmod 600 /run/open
    "##);
}

/// Three pools with a cookie of one name, and these routes.
fn with_cookies(routes: &str) -> String {
    let pool = |name: &str| {
        format!("[pools.{name}]\nendpoints = ['10.0.0.1:80']\nsticky = {{ cookie = 'route' }}\n")
    };
    let pools = ["a", "b", "c"].map(pool).concat();
    format!("secret.file = '/etc/pointsman/secret'\nlisteners.web.bind = ':80'\n{pools}{routes}")
}

#[test]
fn cookies_of_one_name_for_one_host_are_a_warning() {
    assert_snapshot!(warnings(&with_cookies(r#"
[[routes]]
host = "shop.example"
pool = "a"
[[routes]]
host = "SHOP.example"
path = "/api"
pool = "b"
[[routes]]
pool = "c"
"#)), @r##"
    warning: pools `a` and `b` set a cookie of the same name for one host
     --> pointsman.toml:8:21
      |
    5 | sticky = { cookie = 'route' }
      |                     ------- the other one
    ...
    8 | sticky = { cookie = 'route' }
      |                     ^^^^^^^
      |
      = help: give each its own name, or each replaces the session of the other
    "##);

    // What no route of the host takes goes on to those of its parents.
    assert_snapshot!(warnings(&with_cookies(r#"
[[routes]]
host = "shop.example"
path = "/cart"
pool = "a"
[[routes]]
host = "*.example"
path = "/api"
pool = "b"
[[routes]]
pool = "c"
"#)), @r##"
    warning: pools `a` and `b` set a cookie of the same name for one host
     --> pointsman.toml:8:21
      |
    5 | sticky = { cookie = 'route' }
      |                     ------- the other one
    ...
    8 | sticky = { cookie = 'route' }
      |                     ^^^^^^^
      |
      = help: give each its own name, or each replaces the session of the other

    warning: pools `b` and `c` set a cookie of the same name for one host
      --> pointsman.toml:11:21
       |
     8 | sticky = { cookie = 'route' }
       |                     ------- the other one
    ...
    11 | sticky = { cookie = 'route' }
       |                     ^^^^^^^
       |
       = help: give each its own name, or each replaces the session of the other
    "##);
}

#[test]
fn cookies_of_one_name_for_different_hosts_are_fine() {
    assert_eq!(
        warnings(&with_cookies(
            r#"
[[routes]]
host = "shop.example"
pool = "a"
[[routes]]
host = "*.example"
pool = "b"
[[routes]]
pool = "c"
"#
        ))
        .trim(),
        ""
    );
    let other = with_cookies("[[routes]]\npool = 'a'\n[[routes]]\npath = '/b'\npool = 'b'\n");
    let other = other.replacen("cookie = 'route'", "cookie = 'other'", 1);
    let other = other + "[[routes]]\nhost = 'c.example'\npool = 'c'\n";
    assert_eq!(warnings(&other).trim(), "");
}

#[test]
fn a_head_is_no_larger_than_the_buffer_it_is_received_into() {
    assert_snapshot!(mistakes(r#"
[listeners.web]
bind = ":8080"
limits = { head = "65KiB" }
[pools.app]
endpoints = ["10.0.0.1:80"]
"#), @r##"
    error: `65KiB` is out of range, 1KiB to 64KiB
     --> pointsman.toml:4:19
      |
    4 | limits = { head = "65KiB" }
      |                   ^^^^^^^
    "##);
}

#[test]
fn settings_of_a_listener_and_of_a_route_say_what_they_take() {
    assert_snapshot!(mistakes(r#"
[access_log]
sink = "stdin"
format = "text"
[listeners."my web"]
bind = []
limits = { head = "4KiB", line = "8KiB", fields = 1001 }
timeouts = { head = "10 s", idle = "400d" }
[pools.app]
endpoints = ["10.0.0.1:80"]
[[routes]]
pool = "app"
upgrades = ["h2c", "web socket"]
trace = true
timeouts = { response = "10s", idle = "1s" }
"#), @r##"
    error: `stdin` is no place for a log
     --> pointsman.toml:3:8
      |
    3 | sink = "stdin"
      |        ^^^^^^^
      |
      = help: there are "stdout", "off" and { file = "/path" }

    error: `text` is no value of `format`
     --> pointsman.toml:4:10
      |
    4 | format = "text"
      |          ^^^^^^
      |
      = help: there is only `json`

    error: `my web` cannot be the name of a listener
     --> pointsman.toml:5:12
      |
    5 | [listeners."my web"]
      |            ^^^^^^^^
      |
      = help: a name has 1 to 64 letters, digits, `-`, `_` and `.`

    error: no address to listen on
     --> pointsman.toml:6:8
      |
    6 | bind = []
      |        ^^

    error: the request line may be longer than the whole head
     --> pointsman.toml:7:34
      |
    7 | limits = { head = "4KiB", line = "8KiB", fields = 1001 }
      |                                  ^^^^^^
      |
      = help: `line` is at most `head`

    error: 1001 is out of range, 1 to 1000
     --> pointsman.toml:7:51
      |
    7 | limits = { head = "4KiB", line = "8KiB", fields = 1001 }
      |                                                   ^^^^

    error: `10 s` is no duration such as "2s", "500ms" or "1h30m"
     --> pointsman.toml:8:21
      |
    8 | timeouts = { head = "10 s", idle = "400d" }
      |                     ^^^^^^

    error: `400d` is longer than a year
     --> pointsman.toml:8:36
      |
    8 | timeouts = { head = "10 s", idle = "400d" }
      |                                    ^^^^^^

    error: expected a string, found a boolean
      --> pointsman.toml:14:9
       |
    14 | trace = true
       |         ^^^^

    error: unknown key `idle`
      --> pointsman.toml:15:32
       |
    15 | timeouts = { response = "10s", idle = "1s" }
       |                                ^^^^
       |
       = help: there are `body`, `connect`, `response`, `total`, `tunnel`
    "##);
}

#[test]
fn several_pools_need_routes() {
    assert_snapshot!(mistakes(r#"
listeners.web.bind = ":8080"
pools.a.endpoints = ["10.0.0.1:80"]
pools.b.endpoints = ["10.0.0.2:80"]
"#), @r##"
    error: with several pools, routes say which takes what
     --> pointsman.toml:3:7
      |
    3 | pools.a.endpoints = ["10.0.0.1:80"]
      |       ^
      |
      = help: add [[routes]] with pool = "…" for each pool
    "##);
}

#[test]
fn a_name_defined_in_two_files_is_shown_in_both() {
    let files = [
        (
            "10-base.toml",
            "workers = 1\n[listeners.web]\nbind = ':80'\n[pools.app]\nendpoints = ['10.0.0.1:80']",
        ),
        (
            "20-more.toml",
            "workers = 2\n\n[pools.app]\nendpoints = ['10.0.0.2:80']\ncheck = 1\n",
        ),
    ];
    let problems = parse_files(&files).expect_err("two pools have one name");
    assert_snapshot!(problems.render(false), @r##"
    error: `workers` is set in two files
     --> 20-more.toml:1:11
      |
    1 | workers = 2
      |           ^
      |
     ::: 10-base.toml:1:11
      |
    1 | workers = 1
      |           - first set here

    error: pool `app` is defined twice
     --> 20-more.toml:3:8
      |
    3 | [pools.app]
      |        ^^^
      |
     ::: 10-base.toml:4:8
      |
    4 | [pools.app]
      |        --- first defined here

    error: expected a string or a table, found an integer
     --> 20-more.toml:5:9
      |
    5 | check = 1
      |         ^
      |
      = help: write it in quotes
    "##);
}

#[test]
fn what_is_hardly_meant_is_a_warning() {
    assert_snapshot!(warnings(r#"
listeners.web.bind = ":8080"
listeners.internal.bind = "127.0.0.1:8081"
pools.app.endpoints = ["10.0.0.1:80"]
pools.old.endpoints = ["10.0.0.2:80"]
[[routes]]
listener = "web"
pool = "app"
"#), @r##"
    warning: no route takes requests from listener `internal`
     --> pointsman.toml:3:11
      |
    3 | listeners.internal.bind = "127.0.0.1:8081"
      |           ^^^^^^^^
      |
      = help: every request is answered with 404

    warning: no route leads to pool `old`
     --> pointsman.toml:5:7
      |
    5 | pools.old.endpoints = ["10.0.0.2:80"]
      |       ^^^
    "##);
}

#[test]
fn a_broken_pool_is_one_mistake_and_not_one_for_each_route() {
    assert_snapshot!(mistakes(r#"
listeners.web.bind = ":8080"
pools.app = { check = "off" }
routes = [{ pool = "app", path = "/a" }, { pool = "app", path = "/b" }]
"#), @r##"
    error: `endpoints` is missing
     --> pointsman.toml:3:7
      |
    3 | pools.app = { check = "off" }
      |       ^^^
      |
      = help: `endpoints`: Where requests go: addresses such as `"10.0.0.11:3000"`, or tables.
    "##);
}

#[test]
fn control_characters_do_not_reach_the_terminal() {
    let rendered = mistakes("\"\\u001b[31m\" = 1\npools.\"\u{202e}\".endpoints = ['\\u001b[2J']");
    let is_plain = |c: char| c == '\n' || !(c.is_control() || c == '\u{202e}');
    assert!(rendered.chars().all(is_plain), "{rendered:?}");
}

#[test]
fn mistakes_on_the_command_line_point_into_it() {
    let words = |words: &[&str]| {
        words
            .iter()
            .map(|word| (*word).to_owned())
            .collect::<Vec<_>>()
    };
    let listen = words(&[":8080", "nowhere"]);
    let to = words(&["127.0.0.1:3001", "3001"]);
    let problems = from_flags(&listen, &to).expect_err("there are two mistakes");
    assert_snapshot!(problems.render(false), @r##"
    error: `nowhere` is no address and port
     --> command line:1:25
      |
    1 | --listen :8080 --listen nowhere --to 127.0.0.1:3001 --to 3001
      |                         ^^^^^^^
      |
      = help: add a port: "nowhere:80"

    error: two endpoints have the address `127.0.0.1:3001`
     --> command line:1:58
      |
    1 | --listen :8080 --listen nowhere --to 127.0.0.1:3001 --to 3001
      |                                      --------------      ^^^^
      |                                      |
      |                                      the other one
      |
      = help: for a larger share of the traffic use `weight`
    "##);
    let problems = from_flags(&[], &[]).expect_err("nothing is given");
    assert_snapshot!(problems.render(false), @r##"
    error: `--listen` is missing

    error: `--to` is missing
    "##);
}

#[test]
fn colours_are_only_for_terminals() {
    let problems = parse_text("").expect_err("the config is empty");
    assert!(problems.render(true).contains("\u{1b}["));
    assert!(!problems.render(false).contains("\u{1b}["));
    assert_eq!(problems.to_string(), problems.render(false));
}

#[test]
fn thousands_of_mistakes_are_counted_and_the_first_ones_shown() {
    let text: String = (0..5000).map(|n| format!("key{n} = 1\n")).collect();
    let problems = parse_text(&text).expect_err("no key is known");
    assert_eq!(problems.len(), 5002);
    assert!(problems.render(false).ends_with("and 4802 more\n"));
}
