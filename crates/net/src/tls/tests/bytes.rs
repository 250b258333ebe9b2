//! Bytes after a handshake.

use super::*;

#[test]
fn a_request_and_its_answer_cross() {
    run(async {
        let authority = Authority::new();
        let server = server(&server_settings(vec![authority.issue(&["a.example"])]));
        let (mut near, mut far) = pair(&client(&authority), &server, "a.example").await;
        write_all(&mut near, b"ping").await.unwrap();
        assert_eq!(read_exactly(&mut far, 4).await, b"ping");
        write_all(&mut far, b"pong").await.unwrap();
        assert_eq!(read_exactly(&mut near, 4).await, b"pong");
        let info = far.tls().unwrap();
        assert_eq!(info.sni.as_deref(), Some("a.example"));
        assert_eq!(info.version, "TLSv1.3");
        assert!(!info.is_resumed && !info.is_http2);
    });
}
