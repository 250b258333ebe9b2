//! A browser, without a screen.

use std::fs;
use std::process::Command;
use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::Value;

use super::Lab;
use super::balancer::Plan;
use super::client::output_of;
use super::endpoint::Endpoint;
use super::server::Server;
use super::websocket::start_echo;
use crate::process::wait_until;

/// Chromium opens a WebSocket on the HTTP/2 connection that it has, where the server says that it
/// may (RFC 8441).
pub(super) fn chromium_gets_a_page_and_a_websocket_over_http_2(lab: &Lab) -> Result<()> {
    let files = Endpoint::start(lab, Server::Nginx, "hello")?;
    fs::write(files.files().join("page.html"), PAGE)?;
    let echo = start_echo(lab)?;
    let balancer = Plan::to(&[files.address])
        .listener("tls = \"self-signed\"")
        .more(&format!(
            "[pools.echo]\nendpoints = [\"{}\"]\n\n[[routes]]\npath = \"/echo\"\npool = \"echo\"\n",
            echo.address
        ))
        .start(lab)?;
    let profile = tempfile::tempdir()?;
    let mut command = Command::new(lab.tools.path("chromium")?);
    command
        .args([
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
        ])
        .args([
            "--ignore-certificate-errors",
            "--virtual-time-budget=10000",
            "--dump-dom",
        ])
        .arg(format!("--user-data-dir={}", profile.path().display()))
        .arg(format!("https://{}/page.html", balancer.address));
    let page = output_of(&mut command)?;
    for expected in ["page by h2", "fetched hello", "echoed by websocket"] {
        ensure!(page.contains(expected), "not \"{expected}\": {page}");
    }
    let client_of = |path: &str| {
        let log = balancer.log();
        let mut lines = log
            .lines()
            .filter_map(|line| serde_json::from_str(line).ok());
        let line = lines.find(|line: &Value| line["path"] == path);
        line.map(|line| line["client"].clone())
    };
    // An exchange is logged when it is over.
    wait_until(SOON, || client_of("/echo").is_some());
    let (page, socket) = (client_of("/page.html"), client_of("/echo"));
    ensure!(
        page.is_some() && page == socket,
        "the WebSocket came on a connection of its own: {}",
        balancer.log()
    );
    Ok(())
}

const SOON: Duration = Duration::from_secs(5);

const PAGE: &str = "\
<!DOCTYPE html><title>test</title><body><script>
const say = (text) => document.body.append(text, '; ');
say('page by ' + performance.getEntriesByType('navigation')[0].nextHopProtocol);
fetch('/name').then((response) => response.text()).then((text) => say('fetched ' + text));
const socket = new WebSocket('wss://' + location.host + '/echo');
socket.onopen = () => socket.send('websocket');
socket.onmessage = (event) => say('echoed by ' + event.data);
socket.onerror = () => say('no websocket');
</script>
";
