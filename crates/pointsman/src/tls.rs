//! The certificates that a config names, read into what speaks TLS.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Result, anyhow};
use config::{
    CertificateFiles, Certificates, Listener, ListenerProtocol, ListenerTls, PoolTls, Snapshot,
    TlsPolicy, UpstreamProtocol,
};
use control::CertificateSource;
use net::{
    CertificatePem, ClientVerification, TlsClient, TlsClientSettings, TlsServer, TlsServerSettings,
    check_certificate,
};
use proxy::Plan;

/// By listener: what it shows and demands.
///
/// # Errors
/// A file cannot be read or used: which, where it is named, and why.
pub(crate) fn tls_servers(snapshot: &Snapshot) -> Result<Vec<Option<Arc<TlsServer>>>> {
    let server = |listener: &Listener| {
        let Some(settings) = server_settings(listener) else {
            return Ok(None);
        };
        settings
            .and_then(|settings| TlsServer::new(&settings))
            .map(|server| Some(Arc::new(server)))
            .map_err(|reason| anyhow!("TLS of listener {}: {reason}", listener.name))
    };
    snapshot.listeners.iter().map(server).collect()
}

/// By pool: how its endpoints are verified. Pools of equal settings share this, and with it sessions
/// and health checks.
///
/// # Errors
/// As [`tls_servers`].
pub(crate) fn tls_clients(snapshot: &Snapshot) -> Result<Vec<Option<Arc<TlsClient>>>> {
    let client = |pool: usize| {
        let Some(settings) = client_settings(snapshot, pool) else {
            return Ok(None);
        };
        settings
            .and_then(|settings| TlsClient::new(&settings))
            .map(|client| Some(Arc::new(client)))
            .map_err(|reason| {
                let name = &snapshot.pools[pool].settings.name;
                anyhow!("TLS of pool {name}: {reason}")
            })
    };
    let pools = &snapshot.pools;
    let mut clients: Vec<Option<Arc<TlsClient>>> = Vec::with_capacity(pools.len());
    for (index, pool) in pools.iter().enumerate() {
        let takes_http = takes_http(snapshot, index);
        let mut before = pools[..index].iter().enumerate();
        let same = before.find(|(other, settings)| {
            settings.tls == pool.tls
                && settings.protocol == pool.protocol
                && self::takes_http(snapshot, *other) == takes_http
        });
        clients.push(match same {
            Some((other, _)) => clients[other].clone(),
            None => client(index)?,
        });
    }
    Ok(clients)
}

/// Everything that comes from files, for whoever looks after them.
pub(crate) fn certificate_sources(plan: &Arc<Plan>) -> Vec<CertificateSource> {
    let mut sources = Vec::new();
    for (index, listener) in plan.snapshot.listeners.iter().enumerate() {
        if let (Some(tls), Some(server)) = (&listener.tls, &plan.tls_servers[index]) {
            let (plan, server, shown) = (plan.clone(), server.clone(), server.clone());
            sources.push(CertificateSource {
                holder: "listener",
                name: listener.name.to_string(),
                files: server_files(tls),
                read: Box::new(move || {
                    let settings = server_settings(&plan.snapshot.listeners[index]);
                    settings.map_or(Ok(()), |settings| server.replace(&settings?))
                }),
                shown: Box::new(move || shown.certificates()),
            });
        }
    }
    for (index, pool) in plan.snapshot.pools.iter().enumerate() {
        if let (Some(tls), Some(client)) = (&pool.tls, &plan.tls_clients[index]) {
            let (plan, client, shown) = (plan.clone(), client.clone(), client.clone());
            sources.push(CertificateSource {
                holder: "pool",
                name: pool.settings.name.to_string(),
                files: client_files(tls),
                read: Box::new(move || {
                    let settings = client_settings(&plan.snapshot, index);
                    settings.map_or(Ok(()), |settings| client.replace(&settings?))
                }),
                shown: Box::new(move || shown.certificate().into_iter().collect()),
            });
        }
    }
    sources
}

fn server_files(tls: &ListenerTls) -> Vec<PathBuf> {
    let mut files = Vec::new();
    if let Certificates::Files(pairs) = &tls.certificates {
        files.extend(pairs.iter().flat_map(both));
    }
    if let Some(client) = &tls.client {
        files.push(client.ca.clone());
        files.extend(client.crl.clone());
    }
    files
}

fn client_files(tls: &PoolTls) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = tls.ca.iter().cloned().collect();
    files.extend(tls.certificate.iter().flat_map(both));
    files
}

fn both(pair: &CertificateFiles) -> [PathBuf; 2] {
    [pair.cert.clone(), pair.key.clone()]
}

/// What the files of a listener hold now; `None` if it speaks no TLS.
fn server_settings(listener: &Listener) -> Option<Result<TlsServerSettings, String>> {
    let tls = listener.tls.as_ref()?;
    let read_all = || {
        let certificates = match &tls.certificates {
            Certificates::SelfSigned => Vec::new(),
            Certificates::Files(files) => files
                .iter()
                .map(read_certificate)
                .collect::<Result<_, _>>()?,
        };
        let client = match &tls.client {
            None => None,
            Some(client) => Some(ClientVerification {
                ca: read(&client.ca)?,
                crl: client.crl.as_deref().map(read).transpose()?,
                required: client.required,
            }),
        };
        Ok(TlsServerSettings {
            certificates,
            is_modern: tls.policy == TlsPolicy::Modern,
            client,
            http2: listener.http2 && listener.protocol != ListenerProtocol::Tcp,
            http1: listener.protocol != ListenerProtocol::Tcp,
        })
    };
    Some(read_all())
}

/// What the files of a pool hold now; `None` if its endpoints speak no TLS.
fn client_settings(snapshot: &Snapshot, index: usize) -> Option<Result<TlsClientSettings, String>> {
    let (pool, takes_http) = (&snapshot.pools[index], takes_http(snapshot, index));
    let PoolTls {
        ca,
        name: _,
        certificate,
        is_unverified,
    } = pool.tls.as_ref()?;
    let read_all = || {
        Ok(TlsClientSettings {
            ca: ca.as_deref().map(read).transpose()?,
            certificate: certificate.as_ref().map(read_certificate).transpose()?,
            is_unverified: *is_unverified,
            http2: takes_http && pool.protocol != UpstreamProtocol::H1,
            http1: takes_http && pool.protocol != UpstreamProtocol::H2,
        })
    };
    Some(read_all())
}

/// False if nothing leads to the pool but what is relayed, whose protocol is not ours to name.
fn takes_http(snapshot: &Snapshot, pool: usize) -> bool {
    let listeners = &snapshot.listeners;
    let relays = |route| {
        listeners
            .iter()
            .any(|listener| listener.relay == Some(route))
    };
    let routes = snapshot.routes.iter().enumerate();
    let mut leading = routes.filter(|(_, route)| route.pool == pool).peekable();
    leading.peek().is_none() || leading.any(|(index, _)| !relays(index))
}

/// Checked here, where the files have names.
fn read_certificate(files: &CertificateFiles) -> Result<CertificatePem, String> {
    let CertificateFiles { cert, key } = files;
    let pem = CertificatePem {
        cert: read(cert)?,
        key: read(key)?,
    };
    check_certificate(&pem.cert, &pem.key)
        .map_err(|reason| format!("{}, {}: {reason}", cert.display(), key.display()))?;
    Ok(pem)
}

fn read(file: &Path) -> Result<Vec<u8>, String> {
    fs::read(file).map_err(|error| format!("{} cannot be read: {error}", file.display()))
}

#[cfg(test)]
mod tests {
    use config::Outside;
    use testkit::{Leaf, Pki};

    use super::*;

    fn snapshot(pki: &Pki, leaf: &Leaf) -> Snapshot {
        parse(&format!(
            "[listeners.web]\nbind = \"127.0.0.1:0\"\ntls = {leaf}\n\
             [pools.app]\nendpoints = [\"127.0.0.1:1\"]\ntls = {{ ca = \"{}\" }}\n",
            pki.ca().display(),
            leaf = leaf.toml(),
        ))
    }

    fn parse(text: &str) -> Snapshot {
        match config::parse("test.toml", text, Outside::system(&crate::check_tls)) {
            Ok(loaded) => loaded.snapshot,
            Err(problems) => panic!("{}", problems.render(false)),
        }
    }

    #[test]
    fn an_error_names_whose_files_which_file_and_why() {
        let pki = Pki::new();
        let leaf = pki.server(&["a.example"]);
        let snapshot = snapshot(&pki, &leaf);
        assert!(tls_servers(&snapshot).is_ok() && tls_clients(&snapshot).is_ok());

        // Since they were checked, the files have changed.
        let other = pki.server(&["a.example"]);
        fs::copy(other.key(), leaf.key()).expect("files can be written");
        let error = tls_servers(&snapshot).expect_err("the key is another one's");
        let (cert, key) = (leaf.cert().display(), leaf.key().display());
        assert_eq!(
            error.to_string(),
            format!(
                "TLS of listener web: {cert}, {key}: the key does not belong to the certificate"
            )
        );
        fs::remove_file(pki.ca()).expect("files can be removed");
        let error = tls_clients(&snapshot)
            .expect_err("the file is gone")
            .to_string();
        let file = pki.ca();
        let start = format!("TLS of pool app: {} cannot be read: ", file.display());
        assert!(error.starts_with(&start), "{error}");
    }

    #[test]
    fn pools_of_equal_settings_share_them() {
        let pool = |name: &str, keys: &str| {
            format!("[pools.{name}]\nendpoints = [\"10.0.0.11:443\"]\n{keys}\n")
        };
        let same = "tls = { verify = \"off\" }";
        let text = [
            "[listeners.web]\nbind = \"127.0.0.1:0\"\n[[routes]]\npool = \"a\"\n",
            &pool("a", same),
            &pool("b", same),
            &pool("c", "tls = { verify = \"off\", name = \"other\" }"),
            &pool("d", &format!("{same}\nprotocol = \"h2\"")),
        ];
        let clients = tls_clients(&parse(&text.concat())).expect("there are no files to read");
        let clients: Vec<_> = clients.iter().flatten().map(Arc::as_ptr).collect();
        assert_eq!(clients.len(), 4);
        assert_eq!(clients[0], clients[1]);
        assert!(!clients[2..].contains(&clients[0]));
        assert_ne!(clients[2], clients[3]);
    }
}
