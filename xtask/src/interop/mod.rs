//! `cargo xtask interop`: the release build between real clients and real servers.
//!
//! Every scenario is a function named by what it shows. It starts its own endpoints and its own
//! load balancer, breaks something where that is the point, and fails with a sentence. Everything
//! listens on free ports of 127.0.0.1 and ends with its scenario.
//!
//! Read `scenarios` first, `failover` for the harder half, then what is spoken: `http2`, `tls`,
//! `grpc`, `websocket`, `proxied`, `browser`; and what is passed on unread: `redis`, `postgres`,
//! `dns`, `passthrough`, `checks`. The parts they are made of: `tools` (what must be
//! installed) and `python` (what of that comes from PyPI), `server`, `endpoint` and `peer`,
//! `balancer`, `client`, `recorder`.

mod balancer;
mod browser;
mod checks;
mod client;
mod dns;
mod endpoint;
mod failover;
mod grpc;
mod http2;
mod passthrough;
mod peer;
mod postgres;
mod proxied;
mod python;
mod recorder;
mod redis;
mod scenarios;
mod server;
mod tls;
mod tools;
mod websocket;

use std::time::Instant;

use anyhow::{Result, bail};

use crate::process;
use tools::Tools;

pub(crate) use recorder::run as run_recorder;

/// What a scenario is given.
pub(crate) struct Lab {
    pub(crate) tools: Tools,
}

/// A scenario: what it shows, what it needs and how it is done.
struct Scenario {
    name: &'static str,
    /// Programs without which it cannot run.
    needs: &'static [&'static str],
    run: fn(&Lab) -> Result<()>,
}

/// Turns functions into rows whose name is the function's name in words.
macro_rules! scenarios {
    ($($module:ident::$function:ident needs $needs:expr,)*) => {
        &[$(Scenario {
            name: stringify!($function),
            needs: &$needs,
            run: $module::$function,
        },)*]
    };
}

/// Every scenario, in the order they run.
const SCENARIOS: &[Scenario] = scenarios![
    scenarios::curl_gets_files_from_python_and_nginx_behind_one_address needs ["curl", "python3", "nginx"],
    scenarios::curl_downloads_and_uploads_64_mib_byte_by_byte needs ["curl", "nginx"],
    scenarios::wrk_sees_no_error_on_64_connections needs ["wrk", "nginx"],
    scenarios::an_upgraded_connection_carries_bytes_both_ways needs [],
    scenarios::sigterm_lets_the_request_in_hand_finish needs [],
    scenarios::ctrl_c_lets_the_request_in_hand_finish needs [],
    failover::a_killed_python_server_costs_no_request_and_comes_back needs ["curl", "python3"],
    failover::a_killed_nginx_costs_no_request_and_comes_back needs ["curl", "nginx"],
    failover::no_post_is_executed_twice_when_an_endpoint_is_killed needs [],
    failover::a_frozen_endpoint_costs_its_time_out_and_is_taken_out needs ["nginx"],
    failover::a_frozen_endpoint_costs_its_time_out_and_is_relieved needs ["nginx"],
    http2::curl_speaks_every_version_to_one_server needs ["curl", "nginx"],
    http2::curl_carries_16_mib_both_ways_over_http_2 needs ["curl", "nginx"],
    http2::curl_has_a_hundred_transfers_on_one_connection needs ["curl", "nginx"],
    http2::nghttp_gets_and_posts needs ["nghttp", "nginx"],
    http2::h2load_sees_no_error_on_a_hundred_streams needs ["h2load", "nginx"],
    http2::h2load_sees_no_error_before_http_2_servers needs ["h2load", "nginx", "haproxy"],
    tls::openssl_gets_the_versions_that_the_policy_allows needs ["openssl", "nginx"],
    tls::openssl_gets_the_certificate_of_the_name_it_asks_for needs ["openssl", "nginx"],
    tls::openssl_resumes_sessions needs ["openssl", "nginx"],
    tls::openssl_and_curl_show_certificates_of_clients needs ["openssl", "curl", "nginx"],
    tls::openssl_sees_a_new_certificate_and_no_failed_handshake needs ["openssl", "nginx"],
    tls::only_verified_servers_get_requests needs ["curl", "nginx"],
    tls::plain_http_is_redirected_to_https needs ["curl", "nginx"],
    proxied::curl_and_haproxy_before_us_say_who_the_client_is needs ["curl", "haproxy", "nginx"],
    proxied::nginx_before_us_says_who_the_client_is needs ["curl", "nginx"],
    proxied::nginx_and_haproxy_behind_us_read_our_proxy_headers needs ["curl", "haproxy", "nginx"],
    proxied::what_is_no_proxy_is_not_believed needs ["curl", "nginx"],
    grpc::grpc_calls_of_all_kinds_pass needs ["grpcio"],
    grpc::grpc_calls_of_one_connection_go_to_all_servers needs ["grpcio"],
    grpc::grpc_deadlines_and_cancellation_reach_the_server needs ["grpcio"],
    grpc::grpc_health_checks_decide_who_gets_calls needs ["grpcio"],
    grpc::grpc_clients_are_told_that_no_server_is_there needs ["grpcio"],
    websocket::autobahn_passes_through_us_what_passes_directly needs ["wstest", "grpcio"],
    browser::chromium_gets_a_page_and_a_websocket_over_http_2 needs ["chromium", "nginx", "grpcio"],
    redis::redis_cli_and_redis_benchmark_see_no_error needs ["redis-server", "redis-cli", "redis-benchmark"],
    redis::redis_answers_ten_thousand_commands_sent_at_once needs ["redis-server"],
    redis::a_killed_redis_costs_no_new_connection_and_no_other_flow needs ["redis-server", "redis-cli"],
    postgres::psql_reaches_both_of_two_servers needs ["initdb", "postgres", "psql"],
    postgres::psql_copies_16_mib_both_ways needs ["initdb", "postgres", "psql"],
    postgres::psql_is_notified_by_another_psql needs ["initdb", "postgres", "psql"],
    postgres::pgbench_sees_no_error_on_8_connections needs ["initdb", "postgres", "pgbench"],
    dns::dig_gets_answers_from_two_servers_by_udp_and_tcp needs ["dnsmasq", "dig"],
    dns::dig_gets_all_answers_when_a_server_is_killed needs ["dnsmasq", "dig"],
    passthrough::curl_sees_the_certificate_of_nginx_by_passthrough needs ["curl", "nginx"],
    passthrough::http_https_redis_and_mail_share_a_port needs ["curl", "nginx", "redis-server", "redis-cli", "grpcio"],
    checks::a_frozen_redis_is_found_by_its_check needs ["redis-server", "redis-cli"],
    checks::a_frozen_postgres_is_found_by_its_check needs ["initdb", "postgres", "psql"],
    checks::a_frozen_mariadb_is_found_by_its_check needs ["mariadb-install-db", "mariadbd", "mariadb"],
    checks::a_frozen_mail_server_is_found_by_its_check needs ["curl", "grpcio"],
    checks::a_frozen_dns_server_is_found_by_its_check needs ["dnsmasq", "dig"],
];

/// Runs all scenarios, or those whose name contains a word that was given.
pub(crate) fn run(arguments: &[String]) -> Result<bool> {
    let mut may_miss = false;
    let mut words = Vec::new();
    for argument in arguments {
        match argument.as_str() {
            "--allow-missing" => may_miss = true,
            "--help" | "-h" => {
                println!("{HELP}");
                return Ok(true);
            }
            option if option.starts_with('-') => bail!("no such option: {option}\n{HELP}"),
            word => words.push(word),
        }
    }
    process::raise_limits()?;
    let lab = Lab {
        tools: Tools::find(may_miss)?,
    };
    let (mut passed, mut failed) = (0, 0);
    for scenario in SCENARIOS {
        let words_match = words.is_empty() || words.iter().any(|word| scenario.name.contains(word));
        if !words_match {
            continue;
        }
        let name = scenario.name.replace('_', " ");
        if let Some(missing) = scenario.needs.iter().find(|tool| !lab.tools.has(tool)) {
            println!("skipped  {name}: {missing} is not installed");
            continue;
        }
        let start = Instant::now();
        let result = (scenario.run)(&lab);
        let seconds = start.elapsed().as_secs_f64();
        match result {
            Ok(()) => {
                passed += 1;
                println!("ok       {name} ({seconds:.1} s)");
            }
            Err(error) => {
                failed += 1;
                println!("FAIL     {name} ({seconds:.1} s): {error:#}");
            }
        }
    }
    println!("{passed} passed, {failed} failed");
    Ok(failed == 0)
}

const HELP: &str = "\
cargo xtask interop [--allow-missing] [WORD ...]

Runs the release build between real clients (curl, wrk, nghttp, h2load, openssl, grpcio, Autobahn,
chromium, redis-cli, psql, mariadb, dig) and real servers (python3, nginx, haproxy, grpcio,
websockets, Redis, PostgreSQL, MariaDB, dnsmasq, aiosmtpd), kills and freezes them, and prints ok
or FAIL for each scenario. With words, only the scenarios whose name contains one of them. A
program that is missing is an error; with --allow-missing the scenarios that need it are skipped.
grpcio, websockets, aiosmtpd and Autobahn come from PyPI, into the target folder. Python 2.7, which
Autobahn needs, and chromium may always be missing. For example:

    cargo xtask interop killed";
