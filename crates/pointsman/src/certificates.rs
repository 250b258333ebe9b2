//! What a config cannot see of the certificates that it names.

use std::time::SystemTime;

use config::TlsFiles;
use net::{ClientVerification, TlsServer, TlsServerSettings, check_certificate};

/// Looks into the files of a config, as `config::CheckTls` wants it.
///
/// # Errors
/// What is wrong with the files, in one sentence.
pub fn check_tls(files: TlsFiles<'_>) -> Result<Option<String>, String> {
    match files {
        TlsFiles::Certificate { cert, key } => {
            let certificate = check_certificate(cert, key)?;
            Ok(certificate.expiry_warning(SystemTime::now()))
        }
        TlsFiles::Authorities { ca, crl } => {
            let client = ClientVerification {
                ca: ca.to_vec(),
                crl: crl.map(<[u8]>::to_vec),
                required: true,
            };
            // Only a server has a use for both.
            let settings = TlsServerSettings {
                certificates: Vec::new(),
                is_modern: false,
                client: Some(client),
                http2: false,
                http1: false,
            };
            TlsServer::new(&settings).map(|_| None)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use testkit::Pki;

    use super::*;

    fn certificate(cert: &Path, key: &Path) -> Result<Option<String>, String> {
        let [cert, key] = [cert, key].map(|file| fs::read(file).expect("it can be read"));
        check_tls(TlsFiles::Certificate {
            cert: &cert,
            key: &key,
        })
    }

    #[test]
    fn a_certificate_and_its_key_belong_together() {
        let pki = Pki::new();
        let (shop, api) = (pki.server(&["shop.example"]), pki.server(&["api.example"]));
        assert_eq!(certificate(shop.cert(), shop.key()), Ok(None));
        let error = certificate(shop.cert(), api.key()).expect_err("the key is another one's");
        assert!(error.contains("does not belong"), "{error}");
        let error = certificate(shop.key(), shop.key()).expect_err("there is no certificate");
        assert!(error.contains("no certificate"), "{error}");
    }

    #[test]
    fn authorities_and_their_lists_are_read() {
        let pki = Pki::new();
        let client = pki.client("alice");
        let read = |file: &Path| fs::read(file).expect("it can be read");
        let (ca, crl) = (read(&pki.ca()), read(&pki.revoking(&[&client])));
        let check = |ca: &[u8], crl| check_tls(TlsFiles::Authorities { ca, crl });
        assert_eq!(check(&ca, None), Ok(None));
        assert_eq!(check(&ca, Some(&crl)), Ok(None));
        assert!(check(b"", None).is_err());
        assert!(check(&ca, Some(&ca)).is_err());
    }

    #[test]
    fn a_certificate_that_has_expired_is_no_error() {
        let pki = Pki::new();
        let old = pki.expired_server(&["old.example"]);
        let told = certificate(old.cert(), old.key()).expect("it can be read");
        assert!(told.is_some_and(|told| told.contains("expired")));
    }
}
