//! A certificate authority for one test, and what it issues, as files.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, DnType,
    ExtendedKeyUsagePurpose, IsCa, KeyIdMethod, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256,
    PKCS_RSA_SHA256, RevokedCertParams, SanType, SerialNumber, SignatureAlgorithm, date_time_ymd,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use tempfile::TempDir;

/// A certificate authority. Its files live as long as it does.
pub struct Pki {
    issuer: CertifiedIssuer<'static, KeyPair>,
    folder: TempDir,
    issued: AtomicU64,
}

/// A certificate that a [`Pki`] has issued, and its key.
#[derive(Debug)]
pub struct Leaf {
    cert: PathBuf,
    key: PathBuf,
    serial: u64,
    pub(crate) chain: Vec<CertificateDer<'static>>,
    pub(crate) key_der: PrivateKeyDer<'static>,
}

impl Pki {
    /// A new authority.
    #[expect(clippy::new_without_default, reason = "it makes files and a key")]
    pub fn new() -> Self {
        let mut params = CertificateParams::default();
        params
            .distinguished_name
            .push(DnType::CommonName, "Test CA");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().expect("keys can be made");
        let issuer = CertifiedIssuer::self_signed(params, key).expect("the parameters are valid");
        let folder = tempfile::tempdir().expect("a directory can be made");
        let pki = Self {
            issuer,
            folder,
            issued: AtomicU64::new(0),
        };
        pki.write("ca.pem", &pki.issuer.pem());
        pki
    }

    /// PEM file with the certificate of the authority.
    pub fn ca(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    /// The folder of all files.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// A server's certificate for these names, host names or addresses, with an ECDSA key.
    pub fn server(&self, names: &[&str]) -> Leaf {
        self.issue(Self::server_params(names), &PKCS_ECDSA_P256_SHA256)
    }

    /// As [`Pki::server`], with an RSA key.
    pub fn rsa_server(&self, names: &[&str]) -> Leaf {
        self.issue(Self::server_params(names), &PKCS_RSA_SHA256)
    }

    /// As [`Pki::server`], valid until the end of the year 2001.
    pub fn expired_server(&self, names: &[&str]) -> Leaf {
        let mut params = Self::server_params(names);
        params.not_before = date_time_ymd(2001, 1, 1);
        params.not_after = date_time_ymd(2001, 12, 31);
        self.issue(params, &PKCS_ECDSA_P256_SHA256)
    }

    /// A client's certificate with this common name, and the name as an alternative name too.
    pub fn client(&self, common_name: &str) -> Leaf {
        let mut params = CertificateParams::default();
        let name = common_name.try_into().expect("the name is ASCII");
        params.subject_alt_names = vec![SanType::DnsName(name)];
        params
            .distinguished_name
            .push(DnType::CommonName, common_name);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self.issue(params, &PKCS_ECDSA_P256_SHA256)
    }

    /// PEM file with a list that revokes these.
    pub fn revoking(&self, revoked: &[&Leaf]) -> PathBuf {
        let long_ago = date_time_ymd(2001, 1, 1);
        let revoked = revoked.iter().map(|leaf| RevokedCertParams {
            serial_number: SerialNumber::from(leaf.serial),
            revocation_time: long_ago,
            reason_code: None,
            invalidity_date: None,
        });
        let params = CertificateRevocationListParams {
            this_update: long_ago,
            next_update: date_time_ymd(2100, 1, 1),
            crl_number: SerialNumber::from(1_u64),
            issuing_distribution_point: None,
            revoked_certs: revoked.collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        let list = params.signed_by(&self.issuer).and_then(|list| list.pem());
        let number = self.issued.fetch_add(1, Ordering::Relaxed);
        self.write(
            &format!("{number}.crl"),
            &list.expect("the parameters are valid"),
        )
    }

    pub(crate) fn ca_der(&self) -> CertificateDer<'static> {
        self.issuer.der().clone()
    }

    fn server_params(names: &[&str]) -> CertificateParams {
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        let mut params = CertificateParams::new(names).expect("the names are ASCII");
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params
    }

    fn issue(&self, mut params: CertificateParams, algorithm: &'static SignatureAlgorithm) -> Leaf {
        let serial = self.issued.fetch_add(1, Ordering::Relaxed) + 1;
        params.serial_number = Some(SerialNumber::from(serial));
        params.use_authority_key_identifier_extension = true;
        let key = KeyPair::generate_for(algorithm).expect("keys can be made");
        let cert = params
            .signed_by(&key, &self.issuer)
            .expect("the parameters are valid");
        Leaf {
            cert: self.write(&format!("{serial}.pem"), &cert.pem()),
            key: self.write(&format!("{serial}.key"), &key.serialize_pem()),
            serial,
            chain: vec![cert.der().clone()],
            key_der: PrivatePkcs8KeyDer::from(key.serialize_der()).into(),
        }
    }

    /// Writes a file that only its owner reads, as a key's must be.
    fn write(&self, name: &str, text: &str) -> PathBuf {
        use std::os::unix::fs::PermissionsExt;
        let path = self.folder.path().join(name);
        std::fs::write(&path, text)
            .and_then(|()| std::fs::set_permissions(&path, PermissionsExt::from_mode(0o600)))
            .expect("the directory is ours");
        path
    }
}

impl std::fmt::Debug for Pki {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pki")
            .field("folder", &self.folder)
            .finish_non_exhaustive()
    }
}

impl Leaf {
    /// PEM file with the certificate.
    pub fn cert(&self) -> &Path {
        &self.cert
    }

    /// PEM file with the key.
    pub fn key(&self) -> &Path {
        &self.key
    }

    /// Both as a table of a config file: `{ cert = "…", key = "…" }`.
    pub fn toml(&self) -> String {
        let (cert, key) = (self.cert.display(), self.key.display());
        format!("{{ cert = \"{cert}\", key = \"{key}\" }}")
    }
}
