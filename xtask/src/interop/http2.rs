//! Clients and servers of HTTP/2.

use std::fs;
use std::process::Command;

use anyhow::{Result, bail, ensure};
use testkit::Pki;

use super::Lab;
use super::balancer::{Balancer, Plan};
use super::client::{curl, curl_tls, output_of};
use super::endpoint::Endpoint;
use super::peer::Peer;
use super::server::Server;

pub(super) fn curl_speaks_every_version_to_one_server(lab: &Lab) -> Result<()> {
    let pki = Pki::new();
    let server = Endpoint::start(lab, Server::Nginx, "hello")?;
    let clear = Plan::to(&[server.address])
        .listener("h2c = true")
        .start(lab)?;
    let secure = start_tls(lab, &pki, Plan::to(&[server.address]))?;
    let print = ["--fail", "-w", " %{http_version}"];
    let url = format!("http://{}/name", clear.address);
    for (version, printed) in [
        ("--http1.1", "hello 1.1"),
        ("--http2-prior-knowledge", "hello 2"),
    ] {
        let got = curl(lab, &[&print[..], &[version, &url]].concat())?;
        ensure!(got == printed, "{version}: {got}");
    }
    for (version, printed) in [("--http1.1", "hello 1.1"), ("--http2", "hello 2")] {
        let arguments = [&print[..], &[version, "/name"]].concat();
        let got = curl_tls(lab, &pki, secure.address, &arguments)?;
        ensure!(got == printed, "{version} over TLS: {got}");
    }
    Ok(())
}

pub(super) fn curl_carries_16_mib_both_ways_over_http_2(lab: &Lab) -> Result<()> {
    let mut content = vec![0; 16 * 1024 * 1024];
    fastrand::Rng::with_seed(2).fill(&mut content);
    let folder = tempfile::tempdir()?;
    let copy = folder.path().join("copy");
    let path = copy.to_string_lossy();
    let pki = Pki::new();

    let server = Endpoint::start(lab, Server::Nginx, "files")?;
    fs::write(server.files().join("large"), &content)?;
    let balancer = start_tls(lab, &pki, Plan::to(&[server.address]))?;
    let arguments = ["--http2", "--fail", "-o", &path, "/large"];
    curl_tls(lab, &pki, balancer.address, &arguments)?;
    ensure!(fs::read(&copy)? == content, "the download differs");

    let recorder = Endpoint::start(lab, Server::Recorder, "recorder")?;
    let balancer = start_tls(lab, &pki, Plan::to(&[recorder.address]))?;
    let arguments = ["--http2", "--fail", "-T", &path, "/upload"];
    curl_tls(lab, &pki, balancer.address, &arguments)?;
    ensure!(recorder.record("upload") == content, "the upload differs");
    Ok(())
}

pub(super) fn curl_has_a_hundred_transfers_on_one_connection(lab: &Lab) -> Result<()> {
    let pki = Pki::new();
    let server = Endpoint::start(lab, Server::Nginx, "hello")?;
    fs::write(server.files().join("middle"), vec![b'x'; 300_000])?;
    let balancer = start_tls(lab, &pki, Plan::to(&[server.address]))?;
    let arguments = [
        "--http2",
        "--fail",
        "--parallel",
        "--parallel-max",
        "100",
        "-o",
        "/dev/null",
        "-w",
        "%{http_version} %{size_download} %{num_connects}\n",
        "/middle?[1-300]",
    ];
    let printed = curl_tls(lab, &pki, balancer.address, &arguments)?;
    let whole = printed.lines().filter(|line| line.starts_with("2 300000 "));
    ensure!(whole.count() == 300, "{printed}");
    let connects = printed.lines().filter(|line| line.ends_with(" 1"));
    let connects = connects.count();
    ensure!(connects <= 3, "{connects} connections");
    Ok(())
}

pub(super) fn nghttp_gets_and_posts(lab: &Lab) -> Result<()> {
    let pki = Pki::new();
    let server = Peer::nginx(
        lab,
        "",
        "return 200 \"$request_method $content_length\\n\";",
    )?;
    let folder = tempfile::tempdir()?;
    let upload = folder.path().join("upload");
    fs::write(&upload, vec![b'x'; 1_000_000])?;
    let clear = Plan::to(&[server.address])
        .listener("h2c = true")
        .start(lab)?;
    let secure = start_tls(lab, &pki, Plan::to(&[server.address]))?;
    for url in [
        format!("http://{}/", clear.address),
        format!("https://{}/", secure.address),
    ] {
        // With padding, trailers and a small window; `-y` because the name is an address.
        let nghttp = || -> Result<Command> {
            let mut command = Command::new(lab.tools.path("nghttp")?);
            command.args(["--no-verify-peer", "--padding=100", "--window-bits=10"]);
            Ok(command)
        };
        let got = output_of(nghttp()?.arg(&url))?;
        ensure!(got == "GET \n", "{url}: {got}");
        let got = output_of(nghttp()?.arg("--data").arg(&upload).arg(&url))?;
        ensure!(got == "POST 1000000\n", "{url}: {got}");
        let got = output_of(
            nghttp()?
                .args(["--trailer", "x-sum: 1", "--data"])
                .arg(&upload)
                .arg(&url),
        )?;
        ensure!(got.starts_with("POST"), "{url}: {got}");
    }
    Ok(())
}

pub(super) fn h2load_sees_no_error_on_a_hundred_streams(lab: &Lab) -> Result<()> {
    let pki = Pki::new();
    let servers = [
        Endpoint::start(lab, Server::Nginx, "1")?,
        Endpoint::start(lab, Server::Nginx, "2")?,
    ];
    let plan = || Plan::to(&servers.each_ref().map(|server| server.address));
    let clear = plan().listener("h2c = true").start(lab)?;
    let secure = start_tls(lab, &pki, plan())?;
    for (balancer, scheme) in [(&clear, "http"), (&secure, "https")] {
        h2load(lab, balancer, scheme)?;
    }
    Ok(())
}

pub(super) fn h2load_sees_no_error_before_http_2_servers(lab: &Lab) -> Result<()> {
    let pki = Pki::new();
    let leaf = pki.server(&["app.internal"]);
    let (cert, key) = (leaf.cert().display(), leaf.key().display());
    let both = format!("{cert}.both");
    fs::write(
        &both,
        [fs::read(leaf.cert())?, fs::read(leaf.key())?].concat(),
    )?;
    let ca = pki.ca();
    let tls = format!(
        "tls = {{ ca = \"{}\", name = \"app.internal\" }}",
        ca.display()
    );
    let answer = "http-request return status 200 content-type text/plain string hello";

    let nginx_h2c = Peer::nginx(lab, "http2", "return 200 hello;")?;
    let certificate = format!("ssl_certificate {cert}; ssl_certificate_key {key};");
    let nginx_tls = Peer::nginx(
        lab,
        "ssl http2",
        &format!("{certificate} return 200 hello;"),
    )?;
    let nginx_h1 = Peer::nginx(lab, "ssl", &format!("{certificate} return 200 hello;"))?;
    let haproxy_h2c = Peer::haproxy(lab, "proto h2", answer, "")?;
    let haproxy_tls = Peer::haproxy(lab, &format!("ssl crt {both} alpn h2"), answer, "")?;
    for (what, peer, pool) in [
        ("nginx, h2c", &nginx_h2c, "protocol = \"h2\"".to_owned()),
        (
            "nginx, h2 over TLS",
            &nginx_tls,
            format!("protocol = \"h2\"\n{tls}"),
        ),
        (
            "nginx, what it chooses",
            &nginx_tls,
            format!("protocol = \"auto\"\n{tls}"),
        ),
        (
            "nginx, HTTP/1.1 over TLS",
            &nginx_h1,
            format!("protocol = \"auto\"\n{tls}"),
        ),
        ("HAProxy, h2c", &haproxy_h2c, "protocol = \"h2\"".to_owned()),
        (
            "HAProxy, h2 over TLS",
            &haproxy_tls,
            format!("protocol = \"h2\"\n{tls}"),
        ),
    ] {
        let plan = Plan::to(&[peer.address]).listener("h2c = true").pool(&pool);
        let balancer = plan.start(lab)?;
        if let Err(error) = h2load(lab, &balancer, "http") {
            bail!("{what}: {error:#}");
        }
    }
    Ok(())
}

/// 10,000 requests on four connections with a hundred streams each.
fn h2load(lab: &Lab, balancer: &Balancer, scheme: &str) -> Result<()> {
    let mut command = Command::new(lab.tools.path("h2load")?);
    command
        .args(["-n", "10000", "-c", "4", "-m", "100"])
        .arg(format!("{scheme}://{}/name", balancer.address));
    let report = output_of(&mut command)?;
    let is_clean = report.contains(" 10000 succeeded, 0 failed, 0 errored, 0 timeout")
        && report.contains("status codes: 10000 2xx,");
    ensure!(is_clean, "{report}");
    Ok(())
}

/// A load balancer that shows a certificate for `test.example` and 127.0.0.1.
pub(super) fn start_tls(lab: &Lab, pki: &Pki, plan: Plan) -> Result<Balancer> {
    let leaf = pki.server(&["test.example", "127.0.0.1"]);
    plan.listener(&format!("tls = {}", leaf.toml())).start(lab)
}
