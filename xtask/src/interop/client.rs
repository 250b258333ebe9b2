//! Clients that run to their end.

use std::fs;
use std::io::Write;
use std::net::SocketAddr;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use testkit::Pki;

use super::Lab;

/// What curl prints.
pub(super) fn curl(lab: &Lab, arguments: &[&str]) -> Result<String> {
    let mut command = Command::new(lab.tools.path("curl")?);
    command
        .args(["--silent", "--show-error", "--max-time", "60"])
        .args(arguments);
    output_of(&mut command)
}

/// What curl prints, as a client of `test.example` at `address` that trusts `pki`. The path comes
/// last.
pub(super) fn curl_tls(
    lab: &Lab,
    pki: &Pki,
    address: SocketAddr,
    arguments: &[&str],
) -> Result<String> {
    curl_as(lab, pki, "test.example", address, arguments)
}

/// The same as a client of `name`.
pub(super) fn curl_as(
    lab: &Lab,
    pki: &Pki,
    name: &str,
    address: SocketAddr,
    arguments: &[&str],
) -> Result<String> {
    let (path, options) = arguments.split_last().context("a path")?;
    let port = address.port();
    let ca = pki.ca();
    let resolve = format!("{name}:{port}:127.0.0.1");
    let url = format!("https://{name}:{port}{path}");
    let ca = ca.to_string_lossy();
    curl(
        lab,
        &[
            &["--cacert", &ca, "--resolve", &resolve][..],
            options,
            &[&url],
        ]
        .concat(),
    )
}

/// Has curl send a short mail to the server at `address`.
pub(super) fn curl_mail(lab: &Lab, address: SocketAddr) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let mail = folder.path().join("mail");
    fs::write(&mail, "Subject: Rain\r\n\r\nIt rains.\r\n")?;
    let url = format!("smtp://{address}/client.example");
    curl(
        lab,
        &[
            "--mail-from",
            "a@test.example",
            "--mail-rcpt",
            "b@test.example",
            "--upload-file",
            &mail.to_string_lossy(),
            &url,
        ],
    )
    .map(drop)
}

/// What `command` prints; an error if it fails.
pub(super) fn output_of(command: &mut Command) -> Result<String> {
    let output = command.stdin(Stdio::null()).output()?;
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    if !output.status.success() {
        let program = command.get_program().to_string_lossy().into_owned();
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("{program} fails: {}{printed}", said.trim());
    }
    Ok(printed)
}

/// What `command` prints, in good order or bad, when it is told `input`.
pub(super) fn talk(command: &mut Command, input: &str) -> Result<String> {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let mut stdin = child.stdin.take().context("its input is a pipe")?;
    // It may have ended before it reads.
    let _ = stdin.write_all(input.as_bytes());
    drop(stdin);
    let output = child.wait_with_output()?;
    let mut printed = String::from_utf8_lossy(&output.stdout).into_owned();
    printed += &String::from_utf8_lossy(&output.stderr);
    Ok(printed)
}
