//! TLS with clients and with endpoints: the files, and what is asked of the other side.

use std::path::Path;

use message::FieldName;

use super::address::is_host_name;
use super::{Compiler, Contents};
use crate::raw::{
    Demand, PolicyWord, RawCertificate, RawClient, RawClientHeaders, RawListenerTls, RawPoolTls,
    SelfSigned, Sni, Switch,
};
use crate::spanned::{At, Place, WordOr};
use crate::{
    CertificateFiles, Certificates, ClientCertificateHeaders, ClientCertificates, ListenerTls,
    PoolTls, TlsFiles, TlsPolicy, units,
};

impl Compiler<'_> {
    pub(super) fn listener_tls(
        &mut self,
        raw: At<WordOr<SelfSigned, RawListenerTls>>,
    ) -> ListenerTls {
        let At { place, value } = raw;
        let raw = match value {
            WordOr::Table(raw) => raw,
            WordOr::Word(SelfSigned::SelfSigned) => {
                return ListenerTls {
                    certificates: Certificates::SelfSigned,
                    policy: TlsPolicy::default(),
                    client: None,
                    strict_sni: false,
                    hsts_seconds: None,
                };
            }
        };
        let client = raw.client.map(|client| self.client_certificates(client));
        ListenerTls {
            certificates: self.certificates(&place, raw.certificates, raw.cert, raw.key),
            policy: match raw.policy {
                None => TlsPolicy::default(),
                Some(PolicyWord::Intermediate) => TlsPolicy::Intermediate,
                Some(PolicyWord::Modern) => TlsPolicy::Modern,
            },
            strict_sni: self.strict_sni(raw.sni, client.is_some()),
            client,
            hsts_seconds: raw.hsts.map(|hsts| {
                let year = units::DURATION_MAX;
                self.duration_within(Some(hsts), "1s", "365d", year)
                    .as_secs()
            }),
        }
    }

    /// `table` is where all of them are.
    fn certificates(
        &mut self,
        table: &Place,
        certificates: Option<At<Vec<At<RawCertificate>>>>,
        cert: Option<At<String>>,
        key: Option<At<String>>,
    ) -> Certificates {
        if let (Some(list), Some(single)) = (&certificates, cert.as_ref().or(key.as_ref())) {
            self.problems
                .error(
                    single.place.clone(),
                    "`cert` and `key` stand in `certificates`, or instead of it",
                )
                .also(list.place.clone(), "add them here");
        }
        let Some(At { place, value: list }) = certificates else {
            let single = self.certificate_or_half(cert, key);
            if single.is_none() && !self.problems.has_errors_in(table) {
                self.problems
                    .error(table.clone(), "there is no certificate")
                    .help("add `cert` and `key`; tls = \"self-signed\" is for development");
            }
            return Certificates::Files(single.into_iter().collect());
        };
        if list.is_empty() {
            self.problems
                .error(place, "there is no certificate")
                .help("tls = \"self-signed\" makes one up, for development");
        }
        let certificate = |raw: At<RawCertificate>| self.certificate(raw.value.cert, raw.value.key);
        Certificates::Files(list.into_iter().map(certificate).collect())
    }

    /// A certificate has a key, and a key is for one.
    fn certificate_or_half(
        &mut self,
        cert: Option<At<String>>,
        key: Option<At<String>>,
    ) -> Option<CertificateFiles> {
        match (cert, key) {
            (Some(cert), Some(key)) => return Some(self.certificate(cert, key)),
            (None, None) => {}
            (Some(cert), None) => {
                self.problems
                    .error(cert.place, "the certificate has no `key`")
                    .help("`key` is the PEM file with its private key");
            }
            (None, Some(key)) => {
                self.problems
                    .error(key.place, "the key has no `cert`")
                    .help("`cert` is the PEM file with its certificate");
            }
        }
        None
    }

    fn certificate(&mut self, cert: At<String>, key: At<String>) -> CertificateFiles {
        let chain = self.file(&cert);
        let private = self.file(&key);
        if private.as_ref().is_some_and(|private| !private.is_private) {
            self.warn_of_readers(&key);
        }
        if let (Some(chain), Some(private)) = (chain, private) {
            let files = TlsFiles::Certificate {
                cert: &chain.bytes,
                key: &private.bytes,
            };
            match (self.outside.check_tls)(files) {
                Ok(None) => {}
                Ok(Some(warning)) => {
                    let message = format!("{}: {warning}", cert.value);
                    self.problems.warning(cert.place.clone(), message);
                }
                Err(reason) => {
                    let message = format!("{} with {}: {reason}", cert.value, key.value);
                    self.problems
                        .error(cert.place.clone(), message)
                        .also(key.place.clone(), "the key");
                }
            }
        }
        CertificateFiles {
            cert: cert.value.into(),
            key: key.value.into(),
        }
    }

    fn client_certificates(&mut self, raw: At<RawClient>) -> ClientCertificates {
        let raw = raw.value;
        let ca = self.authorities(&raw.ca);
        let crl = raw.crl.as_ref();
        let lists = crl.and_then(|crl| Some((crl, self.file(crl)?)));
        if let (Some(ca), Some((crl, lists))) = (ca, lists) {
            let files = TlsFiles::Authorities {
                ca: &ca.bytes,
                crl: Some(&lists.bytes),
            };
            self.check_authorities(crl, files);
        }
        ClientCertificates {
            ca: raw.ca.value.into(),
            crl: raw.crl.map(|crl| crl.value.into()),
            required: raw.certificate != Some(Demand::Optional),
            headers: raw
                .headers
                .map_or_else(ClientCertificateHeaders::default, |headers| {
                    self.client_headers(headers.value)
                }),
        }
    }

    fn client_headers(&mut self, raw: RawClientHeaders) -> ClientCertificateHeaders {
        let mut used: Vec<At<String>> = Vec::new();
        let mut name = |raw: Option<At<String>>| -> Option<Box<str>> {
            let place = raw.as_ref()?.place.clone();
            let name = self.header_name(raw?).to_ascii_lowercase();
            // CGI and what came after it take `_` for `-`.
            let plain = name.replace('_', "-");
            let is_known = FieldName::from_bytes(plain.as_bytes()) != FieldName::Other;
            if is_known || plain == "cookie" {
                self.problems
                    .error(place.clone(), format!("`{name}` has a meaning of its own"))
                    .help("choose a name that nobody else uses, such as \"x-client-subject\"");
            }
            if let Some(other) = used.iter().find(|other| other.value == plain) {
                self.problems
                    .error(place.clone(), format!("`{name}` carries two things"))
                    .also(other.place.clone(), "the other one");
            }
            used.push(At::new(place, plain));
            Some(name.into())
        };
        ClientCertificateHeaders {
            subject: name(raw.subject),
            san: name(raw.san),
            fingerprint: name(raw.fingerprint),
        }
    }

    /// Where clients show certificates, a connection that was opened for one host must not serve
    /// another, whose rules for clients may be different.
    fn strict_sni(&mut self, sni: Option<At<Sni>>, has_client: bool) -> bool {
        let Some(At { place, value }) = sni else {
            return has_client;
        };
        if has_client && value == Sni::Lenient {
            self.problems
                .error(place, "with `client`, `sni` is strict")
                .help("leave `sni` out");
        }
        value == Sni::Strict
    }

    pub(super) fn pool_tls(
        &mut self,
        raw: Option<At<WordOr<Switch, RawPoolTls>>>,
    ) -> Option<PoolTls> {
        let raw = match raw?.value {
            WordOr::Word(Switch::Off) => return None,
            WordOr::Word(Switch::On) => return Some(PoolTls::default()),
            WordOr::Table(raw) => raw,
        };
        if let Some(ca) = &raw.ca {
            self.authorities(ca);
        }
        let verify = raw.verify.as_ref();
        let off = verify.filter(|verify| matches!(verify.value, Switch::Off));
        if let Some(off) = off {
            self.problems
                .warning(
                    off.place.clone(),
                    "whoever answers at an endpoint's address is believed",
                )
                .help("`ca` is for certificates that your own authority issues");
        }
        Some(PoolTls {
            is_unverified: off.is_some(),
            ca: raw.ca.map(|ca| ca.value.into()),
            name: raw.name.map(|name| self.certificate_name(name)),
            certificate: self.certificate_or_half(raw.cert, raw.key),
        })
    }

    /// What a certificate is for: a host, or an IP address.
    fn certificate_name(&mut self, name: At<String>) -> Box<str> {
        let At { place, value } = name;
        if !is_host_name(&value) && value.parse::<std::net::IpAddr>().is_err() {
            let help = if value.contains('*') {
                "it is the name that is asked for, which `*` stands for in a certificate"
            } else {
                "write it as \"app.internal\", without scheme and port"
            };
            self.problems
                .error(place, format!("`{value}` is no name of a server"))
                .help(help);
        }
        value.to_ascii_lowercase().into()
    }

    /// A file with authorities.
    fn authorities(&mut self, ca: &At<String>) -> Option<Contents> {
        let contents = self.file(ca)?;
        let files = TlsFiles::Authorities {
            ca: &contents.bytes,
            crl: None,
        };
        self.check_authorities(ca, files).then_some(contents)
    }

    /// `file` is the one to blame.
    fn check_authorities(&mut self, file: &At<String>, files: TlsFiles<'_>) -> bool {
        let message = match (self.outside.check_tls)(files) {
            Ok(None) => return true,
            Ok(Some(warning)) => {
                let message = format!("{}: {warning}", file.value);
                self.problems.warning(file.place.clone(), message);
                return true;
            }
            Err(reason) => format!("{}: {reason}", file.value),
        };
        self.problems.error(file.place.clone(), message);
        false
    }

    fn file(&mut self, path: &At<String>) -> Option<Contents> {
        match (self.outside.read)(Path::new(&path.value)) {
            Ok(contents) => Some(contents),
            Err(error) => {
                let message = format!("cannot read {}: {error}", path.value);
                self.problems.error(path.place.clone(), message);
                None
            }
        }
    }
}
