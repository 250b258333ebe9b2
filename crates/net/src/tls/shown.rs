//! The certificates of a listener, by the names they are for.

use std::collections::HashMap;
use std::sync::Arc;

use rustls::sign::CertifiedKey;
use rustls::{SignatureAlgorithm, SignatureScheme};

use super::{CertificatePem, ShownCertificate, certificate};

/// At least one certificate.
#[derive(Debug)]
pub(super) struct Certificates {
    /// By name in lower case; a wildcard as the certificate has it, `*.a.example`.
    by_name: HashMap<String, Vec<Arc<CertifiedKey>>>,
    /// For clients that ask for no name, or for one that no certificate has.
    default: Vec<Arc<CertifiedKey>>,
    described: Vec<ShownCertificate>,
}

impl Certificates {
    /// Certificates for one name, with keys of several kinds, stand side by side.
    ///
    /// # Errors
    /// What is wrong with which of them.
    pub(super) fn new(pems: &[CertificatePem]) -> Result<Self, String> {
        let mut by_name: HashMap<String, Vec<Arc<CertifiedKey>>> = HashMap::new();
        let mut described = Vec::with_capacity(pems.len());
        let mut first: Option<Arc<CertifiedKey>> = None;
        for (index, pem) in pems.iter().enumerate() {
            let (key, shown) = certificate::read(pem).map_err(|reason| match pems.len() {
                1 => reason,
                count => format!("certificate {} of {count}: {reason}", index + 1),
            })?;
            let key = Arc::new(key);
            for name in &shown.names {
                by_name.entry(name.clone()).or_default().push(key.clone());
            }
            first.get_or_insert(key);
            described.push(shown);
        }
        let first = first.ok_or("there is no certificate")?;
        by_name.values_mut().for_each(|keys| prefer_short(keys));
        // The certificate that shares a name with the first is its sibling with another key.
        let default = described[0]
            .names
            .first()
            .and_then(|name| by_name.get(name));
        let default = default.map_or_else(|| vec![first], Clone::clone);
        Ok(Self {
            by_name,
            default,
            described,
        })
    }

    /// What they say of themselves.
    pub(super) fn described(&self) -> &[ShownCertificate] {
        &self.described
    }

    /// The certificate for a client that asks for `name`, in lower case, and can verify `schemes`:
    /// one for this very name, else one with a wildcard for it, else the first.
    pub(super) fn choose(
        &self,
        name: Option<&str>,
        schemes: &[SignatureScheme],
    ) -> Arc<CertifiedKey> {
        let keys = name
            .and_then(|name| self.named(name))
            .unwrap_or(&self.default);
        let usable = |key: &&Arc<CertifiedKey>| key.key.choose_scheme(schemes).is_some();
        // If the client can verify none, the handshake fails with the alert that says so.
        keys.iter().find(usable).unwrap_or(&keys[0]).clone()
    }

    fn named(&self, name: &str) -> Option<&Vec<Arc<CertifiedKey>>> {
        self.by_name.get(name).or_else(|| {
            // A wildcard stands for one label (RFC 9525 §6.3).
            let (_, parent) = name.split_once('.')?;
            self.by_name.get(&format!("*.{parent}"))
        })
    }
}

/// ECDSA before RSA: a signature costs a twentieth, and all that can verify both are fine with it.
fn prefer_short(keys: &mut [Arc<CertifiedKey>]) {
    keys.sort_by_key(|key| match key.key.algorithm() {
        SignatureAlgorithm::ECDSA => 0,
        SignatureAlgorithm::RSA => 2,
        _ => 1,
    });
}
