//! TLS that is passed on as it is, and several protocols on one port.

use anyhow::{Result, ensure};
use testkit::Pki;

use super::Lab;
use super::balancer::Plan;
use super::client::{curl, curl_as, curl_mail, curl_tls};
use super::endpoint::Endpoint;
use super::http2::start_tls;
use super::peer::Peer;
use super::redis::cli;
use super::server::Server;

pub(super) fn curl_sees_the_certificate_of_nginx_by_passthrough(lab: &Lab) -> Result<()> {
    // Whoever trusts one of the two accepts nothing from the other.
    let (ours, theirs) = (Pki::new(), Pki::new());
    let leaf = theirs.server(&["origin.example", "*.origin.example"]);
    let origin = Peer::nginx(
        lab,
        "ssl http2",
        &format!(
            "ssl_certificate {}; ssl_certificate_key {}; return 200 \"$ssl_server_name\\n\";",
            leaf.cert().display(),
            leaf.key().display()
        ),
    )?;
    let app = Endpoint::start(lab, Server::Nginx, "ours")?;
    let plan = Plan::to(&[app.address])
        .listener(
            "passthrough = [{ sni = [\"origin.example\", \"*.origin.example\"], pool = \"origin\" }]",
        )
        .more(&format!(
            "\n[pools.origin]\nendpoints = [\"{}\"]\n",
            origin.address
        ));
    let balancer = start_tls(lab, &ours, plan)?;
    let address = balancer.address;
    for http in ["--http1.1", "--http2"] {
        for name in ["origin.example", "a.origin.example"] {
            let got = curl_as(lab, &theirs, name, address, &[http, "/"])?;
            ensure!(got == format!("{name}\n"), "{http}: {got}");
        }
        let got = curl_tls(lab, &ours, address, &[http, "/name"])?;
        ensure!(got == "ours", "{http}: {got}");
    }
    let crossed = curl_as(lab, &ours, "origin.example", address, &["/"]);
    ensure!(crossed.is_err(), "it is our certificate: {crossed:?}");
    Ok(())
}

pub(super) fn http_https_redis_and_mail_share_a_port(lab: &Lab) -> Result<()> {
    let pki = Pki::new();
    let app = Endpoint::start(lab, Server::Nginx, "hello")?;
    // One speaks when it is asked, the other greets its clients.
    for (server, check) in [(Server::Redis, "redis"), (Server::Smtp, "smtp")] {
        let other = Endpoint::start(lab, server, "other")?;
        let plan = Plan::to(&[app.address])
            .listener("protocol = \"detect\"\npool = \"other\"")
            .listener("timeouts = { detect = \"300ms\" }")
            .more(&format!(
                "\n[pools.other]\nendpoints = [\"{}\"]\ncheck = \"{check}\"\n",
                other.address
            ));
        let balancer = start_tls(lab, &pki, plan)?;
        let address = balancer.address;
        let url = format!("http://{address}/name");
        ensure!(curl(lab, &["--fail", &url])? == "hello", "no HTTP");
        for http in ["--http1.1", "--http2"] {
            let got = curl_tls(lab, &pki, address, &[http, "/name"])?;
            ensure!(got == "hello", "{http}: {got}");
        }
        if let Server::Redis = server {
            let got = cli(lab, address, &["PING"])?;
            ensure!(got == "PONG\n", "{got}");
        } else {
            curl_mail(lab, address)?;
        }
    }
    Ok(())
}
