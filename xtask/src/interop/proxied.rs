//! Other proxies before and behind us, and who the client is by their word.

use anyhow::{Result, ensure};
use testkit::Pki;

use super::Lab;
use super::balancer::Plan;
use super::client::{curl, curl_tls};
use super::endpoint::Endpoint;
use super::http2::start_tls;
use super::peer::Peer;
use super::server::Server;
use crate::process::wait_until;

/// What an nginx behind us is told of the client.
const TOLD: &str = "return 200 \"$http_x_forwarded_for $http_x_forwarded_proto\\n\";";

pub(super) fn curl_and_haproxy_before_us_say_who_the_client_is(lab: &Lab) -> Result<()> {
    let pki = Pki::new();
    let server = Peer::nginx(lab, "", TOLD)?;
    let balancer = Plan::to(&[server.address])
        .listener("proxy_protocol = [\"127.0.0.1\"]")
        .listener("h2c = true")
        .start(lab)?;
    let url = format!("http://{}/", balancer.address);
    let got = curl(lab, &["--haproxy-protocol", &url])?;
    ensure!(got == "127.0.0.1 http\n", "curl: {got}");
    let got = curl(
        lab,
        &["--haproxy-protocol", "--http2-prior-knowledge", &url],
    )?;
    ensure!(got == "127.0.0.1 http\n", "curl, HTTP/2: {got}");
    ensure!(
        curl(lab, &[&url]).is_err(),
        "a connection without a header is served"
    );

    let leaf = pki.server(&["test.example"]);
    let both = leaf.cert().with_extension("both");
    let pem = [std::fs::read(leaf.cert())?, std::fs::read(leaf.key())?].concat();
    std::fs::write(&both, pem)?;
    for (send, scheme) in [
        ("send-proxy", "http"),
        ("send-proxy-v2", "http"),
        ("send-proxy-v2-ssl", "https"),
        (
            "send-proxy-v2-ssl-cn proxy-v2-options authority,crc32c",
            "https",
        ),
    ] {
        // The clients of HAProxy come from 127.0.0.9.
        let more = format!("backend us\n    server us {} {send}\n", balancer.address);
        let options = format!("ssl crt {}", both.display());
        let before = Peer::haproxy(lab, &options, "default_backend us", &more)?;
        let arguments = ["--interface", "127.0.0.9", "/"];
        let got = curl_tls(lab, &pki, before.address, &arguments)?;
        ensure!(got == format!("127.0.0.9 {scheme}\n"), "{send}: {got}");
    }
    Ok(())
}

pub(super) fn nginx_before_us_says_who_the_client_is(lab: &Lab) -> Result<()> {
    let server = Peer::nginx(lab, "", TOLD)?;
    for (trusted, told) in [
        ("127.0.0.1", "127.0.0.9, 127.0.0.1 https"),
        ("192.0.2.1", "127.0.0.1 http"),
    ] {
        let balancer = Plan::to(&[server.address])
            .listener(&format!("trusted_proxies = [\"{trusted}\"]"))
            .start(lab)?;
        let pass = format!(
            "location / {{ proxy_pass http://{}; proxy_http_version 1.1; \
             proxy_set_header X-Forwarded-For $remote_addr; \
             proxy_set_header X-Forwarded-Proto https; }}",
            balancer.address
        );
        let before = Peer::nginx(lab, "", &pass)?;
        let url = format!("http://{}/", before.address);
        let got = curl(lab, &["--interface", "127.0.0.9", &url])?;
        ensure!(got == format!("{told}\n"), "from {trusted}: {got}");
        let client = if trusted == "127.0.0.1" {
            "127.0.0.9"
        } else {
            "127.0.0.1"
        };
        let line = format!("\"client\":\"{client}");
        let is_logged = wait_until(SOON, || balancer.log().contains(&line));
        ensure!(is_logged, "not logged as {client}: {}", balancer.log());
    }
    Ok(())
}

pub(super) fn nginx_and_haproxy_behind_us_read_our_proxy_headers(lab: &Lab) -> Result<()> {
    let pki = Pki::new();
    let nginx = Peer::nginx(
        lab,
        "proxy_protocol",
        "return 200 \"$proxy_protocol_addr\\n\";",
    )?;
    let haproxy = Peer::haproxy(
        lab,
        "accept-proxy",
        "http-request return status 200 content-type text/plain lf-string \"%[src]\\n\"",
        "",
    )?;
    for peer in [&nginx, &haproxy] {
        for version in ["v1", "v2"] {
            // A check is a connection without a header, which HAProxy takes for a fault.
            let plan = Plan::to(&[peer.address]).pool(&format!("proxy_protocol = \"{version}\""));
            let balancer = start_tls(lab, &pki, plan)?;
            for from in ["127.0.0.8", "127.0.0.9"] {
                for http in ["--http1.1", "--http2"] {
                    let arguments = [http, "--interface", from, "/"];
                    let got = curl_tls(lab, &pki, balancer.address, &arguments)?;
                    ensure!(got == format!("{from}\n"), "{version} {http}: {got}");
                }
            }
        }
    }
    Ok(())
}

pub(super) fn what_is_no_proxy_is_not_believed(lab: &Lab) -> Result<()> {
    let server = Endpoint::start(lab, Server::Nginx, "hello")?;
    let balancer = Plan::to(&[server.address])
        .listener("proxy_protocol = [\"192.0.2.0/24\"]")
        .start(lab)?;
    let url = format!("http://{}/name", balancer.address);
    ensure!(
        curl(lab, &["--fail", &url])? == "hello",
        "a plain client is not served"
    );
    let got = curl(lab, &["--fail", "--haproxy-protocol", &url]);
    ensure!(got.is_err(), "a header from anybody is taken: {got:?}");
    Ok(())
}

const SOON: std::time::Duration = std::time::Duration::from_secs(5);
