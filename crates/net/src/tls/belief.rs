//! Whose certificates are believed.

use std::sync::{Arc, OnceLock};

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::verify_server_name;
use rustls::crypto::{verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{DigitallySignedStruct, Error, RootCertStore, SignatureScheme};

use super::TlsClientSettings;
use super::certificate::{self, provider};

/// How the certificate of an endpoint is judged.
///
/// # Errors
/// Why it could not be judged, in one sentence.
pub(super) fn verifier(
    settings: &TlsClientSettings,
) -> Result<Arc<dyn ServerCertVerifier>, String> {
    if settings.is_unverified {
        return Ok(Arc::new(Belief::Anybody));
    }
    let Some(pem) = &settings.ca else {
        return by_authorities(system_authorities()?).map(|verifier| verifier as _);
    };
    let given = certificate::chain(pem)?;
    let verifier = by_authorities(Arc::new(certificate::authorities(pem)?))?;
    Ok(Arc::new(Belief::Given { given, verifier }))
}

fn by_authorities(authorities: Arc<RootCertStore>) -> Result<Arc<WebPkiServerVerifier>, String> {
    WebPkiServerVerifier::builder_with_provider(authorities, provider().clone())
        .build()
        .map_err(|error| format!("endpoints cannot be verified: {error}"))
}

/// The authorities that this machine trusts, read once.
fn system_authorities() -> Result<Arc<RootCertStore>, String> {
    static FOUND: OnceLock<Arc<RootCertStore>> = OnceLock::new();
    let found = FOUND.get_or_init(|| {
        let mut store = RootCertStore::empty();
        store.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        Arc::new(store)
    });
    if found.is_empty() {
        return Err(
            "this machine has no certificates of authorities (Debian: the package \
                    ca-certificates): give one as `ca`"
                .to_owned(),
        );
    }
    Ok(found.clone())
}

/// What rustls has no verifier for.
#[derive(Debug)]
enum Belief {
    /// That it has the key of the certificate that it shows, and nothing more.
    Anybody,
    /// Certificates of the authorities given, and these very certificates: one that signed itself
    /// is no authority, and is what many endpoints have.
    Given {
        given: Vec<CertificateDer<'static>>,
        verifier: Arc<WebPkiServerVerifier>,
    },
}

impl ServerCertVerifier for Belief {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        match self {
            Self::Anybody => Ok(ServerCertVerified::assertion()),
            Self::Given { given, .. } if given.contains(end_entity) => {
                if let Some(error) = certificate::validity_error(end_entity, now) {
                    return Err(error.into());
                }
                verify_server_name(&ParsedCertificate::try_from(end_entity)?, server_name)?;
                Ok(ServerCertVerified::assertion())
            }
            Self::Given { verifier, .. } => verifier.verify_server_cert(
                end_entity,
                intermediates,
                server_name,
                ocsp_response,
                now,
            ),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &provider().signature_verification_algorithms;
        verify_tls12_signature(message, cert, dss, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &provider().signature_verification_algorithms;
        verify_tls13_signature(message, cert, dss, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        provider()
            .signature_verification_algorithms
            .supported_schemes()
    }
}
