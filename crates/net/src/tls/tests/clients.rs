//! Certificates of clients.

use rcgen::string::Ia5String;
use rcgen::{
    CertificateRevocationListParams, DistinguishedName, DnType, KeyIdMethod, RevokedCertParams,
    SanType, SerialNumber, date_time_ymd,
};

use super::*;

/// A server that verifies clients.
fn verifying(ca: &Authority, crl: Option<Vec<u8>>, required: bool) -> Arc<TlsServer> {
    let mut settings = server_settings(vec![ca.issue(&["a.example"])]);
    settings.client = Some(ClientVerification {
        ca: ca.pem(),
        crl,
        required,
    });
    server(&settings)
}

fn showing(ca: &Authority, certificate: Option<CertificatePem>) -> Arc<TlsClient> {
    let settings = TlsClientSettings {
        certificate,
        ..client_settings(ca)
    };
    Arc::new(TlsClient::new(&settings).unwrap())
}

/// Why the server refuses.
async fn refusal(client: &Arc<TlsClient>, server: &Arc<TlsServer>) -> String {
    let (_, far) = shake_hands(client, server, "a.example").await;
    far.expect_err("was accepted").to_string()
}

fn person(names: Vec<SanType>, serial: u64) -> rcgen::CertificateParams {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CountryName, "DE");
    params
        .distinguished_name
        .push(DnType::OrganizationName, "Müller, Söhne");
    params.distinguished_name.push(DnType::CommonName, "alice");
    params.subject_alt_names = names;
    params.serial_number = Some(SerialNumber::from(serial));
    params
}

#[test]
fn a_client_is_described_by_what_it_showed_also_when_it_comes_back() {
    run(async {
        let ca = Authority::new();
        let names = vec![
            SanType::DnsName("a.example".try_into().unwrap()),
            SanType::URI("spiffe://x/y, DNS:admin\u{7}".try_into().unwrap()),
            SanType::IpAddress([10, 0, 0, 1].into()),
            SanType::Rfc822Name(Ia5String::try_from("alice@a.example").unwrap()),
        ];
        let shown = ca.sign(&person(names, 1), &KeyPair::generate().unwrap());
        let server = verifying(&ca, None, true);
        let client = showing(&ca, Some(shown));
        for is_resumed in [false, true] {
            let (mut near, mut far) = pair(&client, &server, "a.example").await;
            let info = far.tls().unwrap();
            assert_eq!(info.is_resumed, is_resumed);
            let identity = info.client.as_ref().unwrap();
            assert_eq!(
                &*identity.subject,
                r"CN=alice,O=M\c3\bcller\2c S\c3\b6hne,C=DE"
            );
            assert_eq!(identity.common_name.as_deref(), Some("alice"));
            assert_eq!(
                &*identity.san,
                r"DNS:a.example, URI:spiffe://x/y\2c\20DNS:admin\07, IP:10.0.0.1, email:alice@a.example"
            );
            assert_eq!(identity.fingerprint.len(), 64);
            write_all(&mut far, b"!").await.unwrap();
            read_exactly(&mut near, 1).await;
        }
    });
}

#[test]
fn a_certificate_is_demanded_if_it_is_required_and_only_asked_for_if_not() {
    run(async {
        let ca = Authority::new();
        let nobody = showing(&ca, None);
        assert_eq!(
            refusal(&nobody, &verifying(&ca, None, true)).await,
            "the peer showed no certificate"
        );
        let optional = verifying(&ca, None, false);
        let (_near, far) = pair(&nobody, &optional, "a.example").await;
        assert!(far.tls().unwrap().client.is_none());
        // One that is shown has to be good.
        let stranger = showing(&ca, Some(Authority::named("another").issue(&["client"])));
        assert!(
            refusal(&stranger, &optional)
                .await
                .starts_with("the issuer of the certificate is not trusted")
        );
    });
}

#[test]
fn a_client_that_was_revoked_is_refused_also_with_a_session() {
    run(async {
        let ca = Authority::new();
        let [alice, bob] = [1, 2].map(|serial| {
            let key = KeyPair::generate().unwrap();
            showing(&ca, Some(ca.sign(&person(Vec::new(), serial), &key)))
        });
        let mut settings = server_settings(vec![ca.issue(&["a.example"])]);
        let mut verification = ClientVerification {
            ca: ca.pem(),
            crl: Some(revoking(&ca, 7)),
            required: true,
        };
        settings.client = Some(verification.clone());
        let server = server(&settings);
        for client in [&alice, &bob] {
            let (mut near, mut far) = pair(client, &server, "a.example").await;
            write_all(&mut far, b"!").await.unwrap();
            read_exactly(&mut near, 1).await;
        }
        verification.crl = Some(revoking(&ca, 1));
        settings.client = Some(verification);
        server.replace(&settings).unwrap();
        assert_eq!(
            refusal(&alice, &server).await,
            "the certificate has been revoked"
        );
        pair(&bob, &server, "a.example").await;
    });
}

/// A revocation list with one certificate on it.
fn revoking(ca: &Authority, serial: u64) -> Vec<u8> {
    let params = CertificateRevocationListParams {
        this_update: date_time_ymd(2024, 1, 1),
        next_update: date_time_ymd(2100, 1, 1),
        crl_number: SerialNumber::from(1),
        issuing_distribution_point: None,
        revoked_certs: vec![RevokedCertParams {
            serial_number: SerialNumber::from(serial),
            revocation_time: date_time_ymd(2024, 1, 1),
            reason_code: None,
            invalidity_date: None,
        }],
        key_identifier_method: KeyIdMethod::Sha256,
    };
    params.signed_by(&ca.0).unwrap().pem().unwrap().into_bytes()
}

#[test]
fn files_that_do_not_hold_what_they_should_are_called_by_what_is_missing() {
    let ca = Authority::new();
    let good = ca.issue(&["a.example"]);
    let with = |client| {
        let mut settings = server_settings(vec![good.clone()]);
        settings.client = Some(client);
        TlsServer::new(&settings).unwrap_err()
    };
    assert_eq!(
        with(ClientVerification {
            ca: b"nothing".to_vec(),
            crl: None,
            required: true
        }),
        "there is no certificate in it (-----BEGIN CERTIFICATE-----)"
    );
    assert_eq!(
        with(ClientVerification {
            ca: ca.pem(),
            crl: Some(ca.pem()),
            required: true
        }),
        "there is no revocation list in it (-----BEGIN X509 CRL-----)"
    );
}
