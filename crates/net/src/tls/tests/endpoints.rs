//! Which endpoints are believed, and what is said of the others.

use rcgen::date_time_ymd;

use super::*;

/// Why a client that believes `ca` refuses an endpoint that shows `shown`.
async fn refusal(ca: &Authority, shown: CertificatePem, name: &str) -> String {
    let server = server(&server_settings(vec![shown]));
    let (near, _) = shake_hands(&client(ca), &server, name).await;
    let error = near.expect_err("was believed");
    assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    error.to_string()
}

#[test]
fn each_reason_not_to_believe_an_endpoint_is_a_sentence() {
    run(async {
        let ca = Authority::new();
        assert_eq!(
            refusal(&ca, ca.issue(&["a.example", "*.b.example"]), "b.example").await,
            "the certificate is for a.example, *.b.example, not for b.example"
        );
        assert_eq!(
            refusal(&ca, ca.issue(&["a.example"]), "127.0.0.1").await,
            "the certificate is for a.example, not for 127.0.0.1"
        );
        assert_eq!(
            refusal(&ca, ca.issue(&[]), "a.example").await,
            "the certificate is for no name at all, not for a.example"
        );
        assert_eq!(
            refusal(
                &ca,
                Authority::named("another").issue(&["a.example"]),
                "a.example"
            )
            .await,
            "the issuer of the certificate is not trusted: give its certificate as `ca`"
        );
        assert_eq!(
            refusal(&ca, Authority::new().issue(&["a.example"]), "a.example").await,
            "the certificate is not signed with the key of the trusted issuer that it names"
        );
        let dated = |from, until| {
            let mut params = CertificateParams::new(vec!["a.example".to_owned()]).unwrap();
            (params.not_before, params.not_after) = (from, until);
            ca.sign(&params, &KeyPair::generate().unwrap())
        };
        let old = dated(date_time_ymd(2020, 1, 1), date_time_ymd(2021, 1, 1));
        assert_eq!(
            refusal(&ca, old, "a.example").await,
            "the certificate expired on Fri, 01 Jan 2021 00:00:00 GMT"
        );
        let early = dated(date_time_ymd(2990, 1, 1), date_time_ymd(2991, 1, 1));
        assert_eq!(
            refusal(&ca, early, "a.example").await,
            "the certificate is not valid before Fri, 01 Jan 2990 00:00:00 GMT"
        );
    });
}

#[test]
fn names_and_addresses_in_certificates_are_believed() {
    run(async {
        let ca = Authority::new();
        let shown = ca.issue(&["a.example", "*.b.example", "127.0.0.1", "::1"]);
        let server = server(&server_settings(vec![shown]));
        for name in ["a.example", "x.b.example", "127.0.0.1", "::1"] {
            pair(&client(&ca), &server, name).await;
        }
    });
}

#[test]
fn a_certificate_that_is_given_itself_is_believed_for_its_names() {
    run(async {
        let made = super::super::certificate::make_self_signed().unwrap();
        let server = server(&server_settings(vec![made.clone()]));
        let settings = TlsClientSettings {
            ca: Some(made.cert),
            ..TlsClientSettings::default()
        };
        let client = Arc::new(TlsClient::new(&settings).unwrap());
        pair(&client, &server, "localhost").await;
        let (near, _) = shake_hands(&client, &server, "a.example").await;
        let reason = near.unwrap_err().to_string();
        assert!(reason.ends_with("not for a.example"), "{reason}");
    });
}

#[test]
fn everybody_is_believed_only_without_verification() {
    run(async {
        let ca = Authority::new();
        let server = server(&server_settings(vec![ca.issue(&["a.example"])]));
        let of_the_system = TlsClient::new(&TlsClientSettings::default());
        if let Ok(client) = of_the_system {
            let (near, _) = shake_hands(&Arc::new(client), &server, "a.example").await;
            near.expect_err("the authority is not one of the system");
        }
        let settings = TlsClientSettings {
            is_unverified: true,
            ..TlsClientSettings::default()
        };
        let client = Arc::new(TlsClient::new(&settings).unwrap());
        pair(&client, &server, "b.example").await;
    });
}

#[test]
fn an_endpoint_without_tls_is_called_so() {
    run(async {
        let (near, mut far) = sockets().await;
        write_all(&mut far, b"HTTP/1.1 400 Bad Request\r\n\r\n")
            .await
            .unwrap();
        let error = connect_tls(near, &client(&Authority::new()), "a.example").await;
        assert_eq!(error.unwrap_err().to_string(), "what arrived is not TLS");

        let (near, far) = sockets().await;
        drop(far);
        let error = connect_tls(near, &client(&Authority::new()), "a.example").await;
        assert_eq!(
            error.unwrap_err().to_string(),
            "the peer closed the connection during the TLS handshake"
        );
    });
}

#[test]
fn a_name_that_is_none_is_refused_before_anything_is_sent() {
    run(async {
        let (near, _far) = sockets().await;
        let error = connect_tls(near, &client(&Authority::new()), "no name").await;
        assert_eq!(
            error.unwrap_err().to_string(),
            "no name is neither a host name nor an address"
        );
    });
}

#[test]
fn certificates_and_keys_are_checked_to_belong_together() {
    let ca = Authority::new();
    let good = ca.issue(&["a.example", "B.example", "10.0.0.1"]);
    let other = ca.issue(&["a.example"]);
    let checked = check_certificate(&good.cert, &good.key).unwrap();
    assert_eq!(checked.names, ["a.example", "b.example", "10.0.0.1"]);
    assert!(checked.not_after > SystemTime::now());
    for (cert, key, reason) in [
        (
            &good.cert,
            &other.key,
            "the key does not belong to the certificate",
        ),
        (
            &good.key,
            &good.key,
            "there is no certificate in it (-----BEGIN CERTIFICATE-----)",
        ),
        (
            &good.cert,
            &good.cert,
            "there is no private key in it (-----BEGIN PRIVATE KEY-----)",
        ),
        (
            &good.cert,
            &b"-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n"
                .to_vec(),
            "the key is encrypted: keys are read without a password",
        ),
    ] {
        assert_eq!(check_certificate(cert, key).unwrap_err(), reason);
    }
    let torn = &good.cert[..good.cert.len() / 2];
    let reason = check_certificate(torn, &good.key).unwrap_err();
    assert!(
        reason.starts_with("the certificate is not valid PEM"),
        "{reason}"
    );
}

#[test]
fn the_end_of_a_certificate_is_told_of_two_weeks_before() {
    let now = SystemTime::now();
    let day = std::time::Duration::from_secs(24 * 3600);
    let warning = |not_after| {
        let certificate = ShownCertificate {
            names: Vec::new(),
            not_after,
        };
        certificate.expiry_warning(now)
    };
    assert_eq!(warning(now + 15 * day), None);
    for (not_after, expected) in [
        (now + 12 * day, "the certificate expires in 12 days"),
        (now + day, "the certificate expires in a day"),
        (now + day / 2, "the certificate expires in less than a day"),
        (
            now - 3 * day,
            "the certificate expired 3 days ago: whoever verifies it refuses it",
        ),
    ] {
        assert_eq!(warning(not_after).as_deref(), Some(expected));
    }
}
