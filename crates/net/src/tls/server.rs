//! What a listener shows and demands.

use std::sync::{Arc, OnceLock};

use arc_swap::ArcSwap;
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs::Ticketer;
use rustls::server::{
    ClientHello, NoServerSessionStorage, ProducesTickets, ResolvesServerCert, WebPkiClientVerifier,
    danger::ClientCertVerifier,
};
use rustls::sign::CertifiedKey;
use rustls::version::{TLS12, TLS13};

use super::certificate::{self, provider};
use super::session::Session;
use super::shown::Certificates;
use super::{CertificatePem, ClientVerification, ShownCertificate, TlsServerSettings};

/// What a listener speaks by TLS. Shared by all workers, and with it the keys of session tickets,
/// which change every six hours.
#[derive(Debug)]
pub struct TlsServer {
    /// Taken by each handshake; no lock that another worker could hold.
    now: ArcSwap<Terms>,
    /// Made if there is no certificate, and kept.
    self_signed: OnceLock<CertificatePem>,
}

/// The terms of handshakes, until they are replaced.
#[derive(Debug)]
struct Terms {
    config: ServerConfig,
    certificates: Arc<Certificates>,
    /// To tell whether other terms verify clients in another way.
    client: Option<ClientVerification>,
}

impl TlsServer {
    /// # Errors
    /// What is wrong with `settings`, in one sentence.
    pub fn new(settings: &TlsServerSettings) -> Result<Self, String> {
        let self_signed = OnceLock::new();
        let terms = Terms::new(settings, &self_signed, new_ticketer()?)?;
        Ok(Self {
            now: ArcSwap::from_pointee(terms),
            self_signed,
        })
    }

    /// Shows other certificates from the next handshake on. Connections stay, and sessions are
    /// resumed unless clients are verified in another way now.
    ///
    /// # Errors
    /// What is wrong with `settings`, in one sentence: all stays as it was.
    pub fn replace(&self, settings: &TlsServerSettings) -> Result<(), String> {
        let before = self.now.load();
        // A session that is resumed is not verified again: a client that was revoked meanwhile
        // has to begin anew.
        let ticketer = if before.client == settings.client {
            before.config.ticketer.clone()
        } else {
            new_ticketer()?
        };
        let terms = Terms::new(settings, &self.self_signed, ticketer)?;
        self.now.store(Arc::new(terms));
        Ok(())
    }

    /// The certificates that are shown now.
    pub fn certificates(&self) -> Vec<ShownCertificate> {
        self.now.load().certificates.described().to_vec()
    }

    /// A handshake that begins now, and where it leaves the name that the client asks for.
    pub(super) fn session(&self) -> Result<(Session, Arc<Choice>), rustls::Error> {
        let terms = self.now.load();
        let choice = Arc::new(Choice::new(terms.certificates.clone()));
        let mut config = terms.config.clone();
        config.cert_resolver = choice.clone();
        Ok((Session::server(Arc::new(config))?, choice))
    }
}

impl Terms {
    fn new(
        settings: &TlsServerSettings,
        self_signed: &OnceLock<CertificatePem>,
        ticketer: Arc<dyn ProducesTickets>,
    ) -> Result<Self, String> {
        let certificates = if settings.certificates.is_empty() {
            let made = match self_signed.get() {
                Some(made) => made,
                None => {
                    let made = certificate::make_self_signed()?;
                    self_signed.get_or_init(|| made)
                }
            };
            Certificates::new(std::slice::from_ref(made))?
        } else {
            Certificates::new(&settings.certificates)?
        };
        let certificates = Arc::new(certificates);
        let versions: &[_] = if settings.is_modern {
            &[&TLS13]
        } else {
            &[&TLS13, &TLS12]
        };
        let builder = ServerConfig::builder_with_provider(provider().clone())
            .with_protocol_versions(versions)
            .map_err(|error| error.to_string())?;
        let builder = match &settings.client {
            Some(client) => builder.with_client_cert_verifier(verifier(client)?),
            None => builder.with_no_client_auth(),
        };
        let mut config = builder.with_cert_resolver(Arc::new(Choice::new(certificates.clone())));
        config.ticketer = ticketer;
        // Sessions are in tickets alone: a store would be one lock for all workers.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        if settings.http2 {
            config.alpn_protocols.push(b"h2".to_vec());
        }
        if settings.http1 {
            config.alpn_protocols.push(b"http/1.1".to_vec());
        }
        Ok(Self {
            config,
            certificates,
            client: settings.client.clone(),
        })
    }
}

fn new_ticketer() -> Result<Arc<dyn ProducesTickets>, String> {
    Ticketer::new().map_err(|error| format!("no keys for session tickets: {error}"))
}

fn verifier(client: &ClientVerification) -> Result<Arc<dyn ClientCertVerifier>, String> {
    let authorities = Arc::new(certificate::authorities(&client.ca)?);
    let mut builder = WebPkiClientVerifier::builder_with_provider(authorities, provider().clone());
    if let Some(lists) = &client.crl {
        builder = builder.with_crls(certificate::revocation_lists(lists)?);
    }
    if !client.required {
        builder = builder.allow_unauthenticated();
    }
    builder
        .build()
        .map_err(|error| format!("clients cannot be verified: {error}"))
}

/// The choice of a certificate in one handshake. Remembers the name that decided it, which rustls
/// shows to nobody else.
#[derive(Debug)]
pub(super) struct Choice {
    certificates: Arc<Certificates>,
    asked: OnceLock<Box<str>>,
}

impl Choice {
    fn new(certificates: Arc<Certificates>) -> Self {
        Self {
            certificates,
            asked: OnceLock::new(),
        }
    }

    /// The name that the client asked for.
    pub(super) fn asked(&self) -> Option<&str> {
        self.asked.get().map(|name| &**name)
    }
}

impl ResolvesServerCert for Choice {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let name = hello.server_name();
        if let Some(name) = name {
            self.asked.get_or_init(|| name.into());
        }
        Some(self.certificates.choose(name, hello.signature_schemes()))
    }
}
