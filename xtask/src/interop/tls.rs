//! TLS with clients and with servers, as OpenSSL sees it.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use testkit::{Leaf, Pki};

use super::Lab;
use super::balancer::Plan;
use super::client::{curl, curl_tls, talk};
use super::endpoint::Endpoint;
use super::http2::start_tls;
use super::peer::Peer;
use super::server::Server;
use crate::process::wait_until;

pub(super) fn openssl_gets_the_versions_that_the_policy_allows(lab: &Lab) -> Result<()> {
    let pki = Pki::new();
    let server = Endpoint::start(lab, Server::Nginx, "hello")?;
    let leaf = pki.server(&["test.example"]);
    let (cert, key) = (leaf.cert().display(), leaf.key().display());
    for (policy, version, agreed) in [
        ("intermediate", "-tls1_1", None),
        ("intermediate", "-tls1_2", Some("TLSv1.2")),
        ("intermediate", "-tls1_3", Some("TLSv1.3")),
        ("modern", "-tls1_1", None),
        ("modern", "-tls1_2", None),
        ("modern", "-tls1_3", Some("TLSv1.3")),
    ] {
        let keys = format!("cert = \"{cert}\", key = \"{key}\", policy = \"{policy}\"");
        let balancer = Plan::to(&[server.address])
            .listener(&format!("tls = {{ {keys} }}"))
            .start(lab)?;
        // OpenSSL itself refuses old versions, unless it is told that nothing matters.
        let options = [version, "-cipher", "DEFAULT@SECLEVEL=0"];
        let got = s_client(lab, &pki, balancer.address, "test.example", &options)?;
        let is_answered = got.contains("HTTP/1.1 200");
        ensure!(is_answered == agreed.is_some(), "{policy} {version}: {got}");
        if let Some(agreed) = agreed {
            let line = format!("New, {agreed}, ");
            ensure!(got.contains(&line), "{policy} {version}: {got}");
        }
    }
    Ok(())
}

pub(super) fn openssl_gets_the_certificate_of_the_name_it_asks_for(lab: &Lab) -> Result<()> {
    let pki = Pki::new();
    let server = Endpoint::start(lab, Server::Nginx, "hello")?;
    let leaves = [
        pki.server(&["a.example"]),
        pki.server(&["*.b.example"]),
        pki.rsa_server(&["both.example"]),
        pki.server(&["both.example"]),
    ];
    let tables: Vec<String> = leaves.iter().map(Leaf::toml).collect();
    let keys = format!("tls = {{ certificates = [{}] }}", tables.join(", "));
    let balancer = Plan::to(&[server.address]).listener(&keys).start(lab)?;
    for (asked, options, shown, key) in [
        ("a.example", &[][..], "a.example", "id-ecPublicKey"),
        ("x.b.example", &[], "*.b.example", "id-ecPublicKey"),
        ("unknown.example", &[], "a.example", "id-ecPublicKey"),
        ("both.example", &[], "both.example", "id-ecPublicKey"),
        (
            "both.example",
            &["-sigalgs", "rsa_pss_rsae_sha256"],
            "both.example",
            "rsaEncryption",
        ),
    ] {
        let got = s_client(lab, &pki, balancer.address, asked, options)?;
        ensure!(got.contains("Verify return code: 0"), "{asked}: {got}");
        let details = describe(lab, &got)?;
        ensure!(
            details.contains(&format!("DNS:{shown}")),
            "{asked}: {details}"
        );
        ensure!(details.contains(key), "{asked} {options:?}: {details}");
    }
    Ok(())
}

pub(super) fn openssl_resumes_sessions(lab: &Lab) -> Result<()> {
    let pki = Pki::new();
    let server = Endpoint::start(lab, Server::Nginx, "hello")?;
    let balancer = start_tls(lab, &pki, Plan::to(&[server.address]))?;
    for version in ["-tls1_2", "-tls1_3"] {
        let session = pki.folder().join(format!("session{version}"));
        let session = session.to_string_lossy();
        let first = [version, "-sess_out", &session];
        let got = s_client(lab, &pki, balancer.address, "test.example", &first)?;
        ensure!(got.contains("New, TLSv1."), "{version}: {got}");
        let second = [version, "-sess_in", &session];
        let got = s_client(lab, &pki, balancer.address, "test.example", &second)?;
        ensure!(got.contains("Reused, TLSv1."), "{version}: {got}");
        ensure!(got.contains("HTTP/1.1 200"), "{version}: {got}");
    }
    Ok(())
}

pub(super) fn openssl_and_curl_show_certificates_of_clients(lab: &Lab) -> Result<()> {
    let pki = Pki::new();
    let server = Peer::nginx(lab, "", "return 200 \"$http_x_subject|$http_x_san\\n\";")?;
    let leaf = pki.server(&["test.example"]);
    let (alice, mallory) = (pki.client("alice"), pki.client("mallory"));
    let crl = pki.revoking(&[&mallory]);
    let (cert, key, ca) = (leaf.cert().display(), leaf.key().display(), pki.ca());
    for demand in ["required", "optional"] {
        let client = format!(
            "client = {{ ca = \"{}\", crl = \"{}\", certificate = \"{demand}\", \
             headers = {{ subject = \"x-subject\", san = \"x-san\" }} }}",
            ca.display(),
            crl.display()
        );
        let balancer = Plan::to(&[server.address])
            .listener(&format!(
                "tls = {{ cert = \"{cert}\", key = \"{key}\", {client} }}"
            ))
            .start(lab)?;
        for version in ["-tls1_2", "-tls1_3"] {
            let ask = |leaf: Option<&Leaf>| -> Result<String> {
                let files = leaf.map(|leaf| (path(leaf.cert()), path(leaf.key())));
                let mut options = vec![version];
                if let Some((cert, key)) = &files {
                    options.extend(["-cert", cert, "-key", key]);
                }
                s_client(lab, &pki, balancer.address, "test.example", &options)
            };
            let got = ask(Some(&alice))?;
            let is_told = got.contains("CN=alice|DNS:alice");
            ensure!(is_told, "{demand} {version}: {got}");
            let got = ask(Some(&mallory))?;
            ensure!(
                !got.contains("HTTP/1.1 200"),
                "{demand} {version}, revoked: {got}"
            );
            let got = ask(None)?;
            let is_answered = got.contains("HTTP/1.1 200") && got.contains("\n|\n");
            ensure!(
                is_answered == (demand == "optional"),
                "{demand} {version}, none: {got}"
            );
        }
        let (cert, key) = (path(alice.cert()), path(alice.key()));
        let arguments = ["--http2", "--cert", &cert, "--key", &key, "/"];
        let got = curl_tls(lab, &pki, balancer.address, &arguments)?;
        ensure!(got == "CN=alice|DNS:alice\n", "curl: {got}");
    }
    Ok(())
}

pub(super) fn openssl_sees_a_new_certificate_and_no_failed_handshake(lab: &Lab) -> Result<()> {
    let pki = Pki::new();
    let server = Endpoint::start(lab, Server::Nginx, "hello")?;
    let folder = tempfile::tempdir()?;
    let (cert, key) = (folder.path().join("cert"), folder.path().join("key"));
    let install = |leaf: &Leaf| -> Result<()> {
        std::fs::copy(leaf.cert(), &cert)?;
        std::fs::copy(leaf.key(), &key)?;
        Ok(())
    };
    install(&pki.server(&["test.example", "old.example"]))?;
    let (shown, its) = (cert.display(), key.display());
    let balancer = Plan::to(&[server.address])
        .listener(&format!("tls = {{ cert = \"{shown}\", key = \"{its}\" }}"))
        .start(lab)?;
    let shows = |name: &str| -> Result<bool> {
        let got = s_client(lab, &pki, balancer.address, "test.example", &[])?;
        ensure!(got.contains("HTTP/1.1 200"), "a handshake failed: {got}");
        Ok(describe(lab, &got)?.contains(name))
    };
    ensure!(
        shows("DNS:old.example")?,
        "the first certificate is not shown"
    );
    install(&pki.server(&["test.example", "new.example"]))?;
    let mut failure = None;
    let is_new = wait_until(RELOAD_PATIENCE, || match shows("DNS:new.example") {
        Ok(is_new) => is_new,
        Err(error) => {
            failure = Some(error);
            true
        }
    });
    if let Some(error) = failure {
        return Err(error);
    }
    ensure!(
        is_new,
        "the new certificate is not shown within {RELOAD_PATIENCE:?}"
    );
    Ok(())
}

pub(super) fn only_verified_servers_get_requests(lab: &Lab) -> Result<()> {
    let (pki, other) = (Pki::new(), Pki::new());
    let leaf = pki.server(&["app.internal"]);
    let (cert, key) = (leaf.cert().display(), leaf.key().display());
    let ca = pki.ca();
    let options = format!(
        "ssl_certificate {cert}; ssl_certificate_key {key}; ssl_client_certificate {}; \
         ssl_verify_client on; return 200 \"$ssl_client_s_dn $ssl_server_name\\n\";",
        ca.display()
    );
    let server = Peer::nginx(lab, "ssl", &options)?;
    let ours = pki.client("pointsman");
    let shown = format!(
        "cert = \"{}\", key = \"{}\"",
        ours.cert().display(),
        ours.key().display()
    );
    let (ca, others) = (pki.ca(), other.ca());
    for (what, tls, is_served) in [
        (
            "all right",
            format!("ca = \"{}\", name = \"app.internal\"", ca.display()),
            true,
        ),
        (
            "another authority",
            format!("ca = \"{}\", name = \"app.internal\"", others.display()),
            false,
        ),
        (
            "another name",
            format!("ca = \"{}\", name = \"b.internal\"", ca.display()),
            false,
        ),
        (
            "the system's authorities",
            "name = \"app.internal\"".to_owned(),
            false,
        ),
        (
            "not verified",
            "name = \"app.internal\", verify = \"off\"".to_owned(),
            true,
        ),
    ] {
        let plan = Plan::to(&[server.address])
            .pool(&format!("tls = {{ {tls}, {shown} }}\ncheck = \"off\""));
        let balancer = plan.start_unchecked(lab)?;
        let url = format!("http://{}/", balancer.address);
        let got = curl(lab, &["-w", "%{http_code}", &url])?;
        let expected = "CN=pointsman app.internal\n200";
        ensure!((got == expected) == is_served, "{what}: {got}");
        ensure!(
            is_served || got.ends_with("502") || got.ends_with("503"),
            "{what}: {got}"
        );
    }
    Ok(())
}

pub(super) fn plain_http_is_redirected_to_https(lab: &Lab) -> Result<()> {
    let server = Endpoint::start(lab, Server::Nginx, "hello")?;
    let balancer = Plan::to(&[server.address])
        .listener("redirect = { https = 8443 }")
        .start(lab)?;
    let url = format!("http://{}/name?a=b", balancer.address);
    let print = "%{http_code} %{redirect_url}";
    let got = curl(
        lab,
        &[
            "-o",
            "/dev/null",
            "-w",
            print,
            "-H",
            "Host: shop.example",
            &url,
        ],
    )?;
    let (status, place) = got.split_once(' ').context("two words")?;
    ensure!(["301", "308"].contains(&status), "{got}");
    ensure!(place == "https://shop.example:8443/name?a=b", "{got}");
    Ok(())
}

/// What `openssl s_client` prints when it asks for `name`, sends a request and reads the answer.
fn s_client(
    lab: &Lab,
    pki: &Pki,
    address: SocketAddr,
    name: &str,
    options: &[&str],
) -> Result<String> {
    let mut command = Command::new(lab.tools.path("openssl")?);
    command
        .args(["s_client", "-connect", &address.to_string()])
        .args(["-servername", name, "-ign_eof", "-CAfile"])
        .arg(pki.ca())
        .args(options);
    let request = format!("GET /name HTTP/1.1\r\nHost: {name}\r\nConnection: close\r\n\r\n");
    talk(&mut command, &request)
}

/// What OpenSSL says about the first certificate in `text`.
fn describe(lab: &Lab, text: &str) -> Result<String> {
    let mut command = Command::new(lab.tools.path("openssl")?);
    command.args(["x509", "-noout", "-text"]);
    talk(&mut command, text)
}

fn path(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

/// Certificates are looked at every ten seconds.
const RELOAD_PATIENCE: std::time::Duration = std::time::Duration::from_secs(20);
