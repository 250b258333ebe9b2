//! Real clients and servers while nothing is broken, and a graceful end.

use std::collections::BTreeSet;
use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use rustix::process::Signal;

use super::Lab;
use super::balancer::Balancer;
use super::client::curl;
use super::endpoint::Endpoint;
use super::server::Server;
use crate::http;
use crate::process::wait_until;

pub(super) fn curl_gets_files_from_python_and_nginx_behind_one_address(lab: &Lab) -> Result<()> {
    let endpoints = [
        Endpoint::start(lab, Server::Python, "python 1")?,
        Endpoint::start(lab, Server::Python, "python 2")?,
        Endpoint::start(lab, Server::Nginx, "nginx 1")?,
        Endpoint::start(lab, Server::Nginx, "nginx 2")?,
    ];
    let balancer = Balancer::start(lab, &endpoints.each_ref(), "")?;
    let mut seen = BTreeSet::new();
    for _ in 0..40 {
        seen.insert(curl(
            lab,
            &["--fail", &format!("http://{}/name", balancer.address)],
        )?);
    }
    ensure!(seen.len() == 4, "only these were reached: {seen:?}");
    let missing = curl(
        lab,
        &[
            "-w",
            "%{http_code}",
            "-o",
            "/dev/null",
            &format!("http://{}/missing", balancer.address),
        ],
    )?;
    ensure!(missing == "404", "a missing file gave {missing}");
    Ok(())
}

pub(super) fn curl_downloads_and_uploads_64_mib_byte_by_byte(lab: &Lab) -> Result<()> {
    let mut content = vec![0; 64 * 1024 * 1024];
    fastrand::Rng::with_seed(1).fill(&mut content);
    let folder = tempfile::tempdir()?;

    let server = Endpoint::start(lab, Server::Nginx, "files")?;
    fs::write(server.files().join("large"), &content)?;
    let balancer = Balancer::start(lab, &[&server], "")?;
    let copy = folder.path().join("copy");
    let url = format!("http://{}/large", balancer.address);
    curl(lab, &["--fail", "-o", &copy.to_string_lossy(), &url])?;
    ensure!(fs::read(&copy)? == content, "the download differs");

    let recorder = Endpoint::start(lab, Server::Recorder, "recorder")?;
    let balancer = Balancer::start(lab, &[&recorder], "")?;
    let url = format!("http://{}/upload", balancer.address);
    curl(lab, &["--fail", "-T", &copy.to_string_lossy(), &url])?;
    ensure!(recorder.record("upload") == content, "the upload differs");
    Ok(())
}

pub(super) fn wrk_sees_no_error_on_64_connections(lab: &Lab) -> Result<()> {
    let endpoints = [
        Endpoint::start(lab, Server::Nginx, "1")?,
        Endpoint::start(lab, Server::Nginx, "2")?,
    ];
    let balancer = Balancer::start(lab, &endpoints.each_ref(), "")?;
    let url = format!("http://{}/name", balancer.address);
    let output = Command::new(lab.tools.path("wrk")?)
        .args(["-t", "1", "-c", "64", "-d", "2s", &url])
        .output()?;
    let report = String::from_utf8_lossy(&output.stdout);
    // wrk prints a line only for errors that there were.
    ensure!(
        output.status.success() && report.contains("requests in"),
        "wrk failed: {report}"
    );
    ensure!(
        !report.contains("Socket errors") && !report.contains("Non-2xx"),
        "{report}"
    );
    Ok(())
}

pub(super) fn an_upgraded_connection_carries_bytes_both_ways(lab: &Lab) -> Result<()> {
    let recorder = Endpoint::start(lab, Server::Recorder, "recorder")?;
    let balancer = Balancer::start(lab, &[&recorder], "")?;
    let mut stream = TcpStream::connect(balancer.address)?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    stream.write_all(
        b"GET /socket HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
          Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    )?;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream
            .read_exact(&mut byte)
            .context("waiting for the head")?;
        head.push(byte[0]);
    }
    ensure!(
        head.starts_with(b"HTTP/1.1 101 "),
        "{}",
        head.escape_ascii()
    );
    for message in [&b"a frame"[..], &[0xff; 100_000]] {
        stream.write_all(message)?;
        let mut echo = vec![0; message.len()];
        stream
            .read_exact(&mut echo)
            .context("waiting for the echo")?;
        ensure!(echo == message, "the echo differs");
    }
    Ok(())
}

pub(super) fn sigterm_lets_the_request_in_hand_finish(lab: &Lab) -> Result<()> {
    drain(lab, Signal::TERM)
}

pub(super) fn ctrl_c_lets_the_request_in_hand_finish(lab: &Lab) -> Result<()> {
    drain(lab, Signal::INT)
}

fn drain(lab: &Lab, signal: Signal) -> Result<()> {
    let recorder = Endpoint::start(lab, Server::Recorder, "recorder")?;
    let mut balancer = Balancer::start(lab, &[&recorder], "")?;
    let address = balancer.address;
    let request = thread::spawn(move || http::get(address, "/slow"));
    let has_begun = || !recorder.record("slow").is_empty();
    ensure!(
        wait_until(Duration::from_secs(5), has_begun),
        "the request did not arrive"
    );

    balancer.program.signal(signal)?;
    let refuses = || TcpStream::connect(address).is_err();
    ensure!(
        wait_until(Duration::from_millis(500), refuses),
        "it still accepts connections"
    );
    let Ok(answer) = request.join() else {
        bail!("the client panicked");
    };
    let answer = answer.context("the request in hand")?;
    ensure!(
        answer.status == 200 && answer.body == b"done\n",
        "status {}",
        answer.status
    );

    let mut status = None;
    wait_until(Duration::from_secs(5), || {
        status = balancer.program.child().try_wait().ok().flatten();
        status.is_some()
    });
    let status = status.context("it still runs 5 s after its last request")?;
    ensure!(status.success(), "it ended with {status}");
    Ok(())
}
