//! How endpoints are spoken to, and which of them are believed.

use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use rustls::sign::SingleCertAndKey;

use super::certificate::{self, provider};
use super::session::Session;
use super::{ShownCertificate, TlsClientSettings, belief, explain};

/// How endpoints of a pool are spoken to by TLS. Shared by all workers, and with it the sessions
/// that can be resumed.
#[derive(Debug)]
pub struct TlsClient {
    /// Taken by each handshake; no lock that another worker could hold.
    pub(super) terms: ArcSwap<Terms>,
}

/// The terms of handshakes, until they are replaced.
#[derive(Debug)]
pub(super) struct Terms {
    pub(super) config: Arc<ClientConfig>,
    pub(super) certificate: Option<ShownCertificate>,
}

impl TlsClient {
    /// # Errors
    /// What is wrong with `settings`, in one sentence.
    pub fn new(settings: &TlsClientSettings) -> Result<Self, String> {
        Ok(Self {
            terms: ArcSwap::from_pointee(Terms::new(settings)?),
        })
    }

    /// Verifies, and is verified, in another way from the next handshake on. Connections stay;
    /// sessions begin anew.
    ///
    /// # Errors
    /// What is wrong with `settings`, in one sentence: all stays as it was.
    pub fn replace(&self, settings: &TlsClientSettings) -> Result<(), String> {
        self.terms.store(Arc::new(Terms::new(settings)?));
        Ok(())
    }

    /// The certificate that is shown now, if there is one.
    pub fn certificate(&self) -> Option<ShownCertificate> {
        self.terms.load().certificate.clone()
    }

    /// A handshake with an endpoint whose certificate is for `name`.
    pub(super) fn session(&self, name: &str) -> Result<Session, String> {
        let name = ServerName::try_from(name.to_owned())
            .map_err(|_| format!("{name} is neither a host name nor an address"))?;
        let config = self.terms.load().config.clone();
        Session::client(config, name).map_err(|error| explain::sentence(&error))
    }
}

impl Terms {
    fn new(settings: &TlsClientSettings) -> Result<Self, String> {
        let builder = ClientConfig::builder_with_provider(provider().clone())
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?
            .dangerous()
            .with_custom_certificate_verifier(belief::verifier(settings)?);
        let (mut config, certificate) = match &settings.certificate {
            Some(pem) => {
                let (key, shown) = certificate::read(pem)?;
                let shows = Arc::new(SingleCertAndKey::from(key));
                (builder.with_client_cert_resolver(shows), Some(shown))
            }
            None => (builder.with_no_client_auth(), None),
        };
        if settings.http2 {
            config.alpn_protocols.push(b"h2".to_vec());
        }
        if settings.http1 {
            config.alpn_protocols.push(b"http/1.1".to_vec());
        }
        Ok(Self {
            config: Arc::new(config),
            certificate,
        })
    }
}
