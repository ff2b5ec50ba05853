//! HTTPS with the system's certificate authorities, which a test can only set for a process of its own.
#![allow(clippy::unwrap_used, reason = "these are tests")]

mod support;

use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use support::*;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls;
use zibrato_librato::{Librato, Token};
use zibrato_worker::Accepted;

/// Puts TLS before a service; returns its port and the file of the authority that signed its certificate.
fn with_tls(service: SocketAddr, directory: &Path) -> (u16, PathBuf) {
    let signed = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let file = directory.join("authority.pem");
    std::fs::write(&file, signed.cert.pem()).unwrap();
    let key = rustls::pki_types::PrivateKeyDer::Pkcs8(signed.signing_key.serialize_der().into());
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![signed.cert.der().clone()], key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind(("localhost", 0)).unwrap();
    listener.set_nonblocking(true).unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async move {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            while let Ok((stream, _)) = listener.accept().await {
                let acceptor = acceptor.clone();
                tokio::spawn(async move {
                    let Ok(mut stream) = acceptor.accept(stream).await else { return };
                    let mut inner = tokio::net::TcpStream::connect(service).await.unwrap();
                    let _ = tokio::io::copy_bidirectional(&mut stream, &mut inner).await;
                });
            }
        });
    });
    (port, file)
}

fn child(port: u16, authority: &Path) -> String {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "in_a_process_of_its_own", "--ignored", "--nocapture"])
        .env("TEST_URL", format!("https://localhost:{port}"))
        .env("SSL_CERT_FILE", authority)
        .env_remove("SSL_CERT_DIR")
        .output()
        .unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn https_trusts_the_systems_authorities_and_no_others() {
    let endpoint = endpoint();
    let directory = tempfile::tempdir().unwrap();
    let (port, authority) = with_tls(endpoint.address(), directory.path());
    let trusted = child(port, &authority);
    assert!(trusted.contains("Ok(All)"), "{trusted}");
    assert_eq!(endpoint.total("c", "web1").value.whole(), Some(7));

    let (_, other) = with_tls(endpoint.address(), tempfile::tempdir().unwrap().keep().as_path());
    let stranger = child(port, &other);
    assert!(
        stranger.contains("no answer from https://localhost") && stranger.contains("certificate"),
        "{stranger}"
    );

    let none = child(port, &directory.path().join("no-such-file"));
    assert!(none.contains("install ca-certificates or set SSL_CERT_FILE"), "{none}");
    assert_eq!(endpoint.received(), 1);
}

#[test]
#[ignore = "started by the test above with its own environment"]
fn in_a_process_of_its_own() {
    let url = std::env::var("TEST_URL").unwrap();
    let mut backend = Librato::with_token(
        options(&["--url", &url, "--username", USER]),
        Duration::from_secs(1),
        Token::new(TOKEN),
    );
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let result = runtime.block_on(send(&mut backend, &batch(now(), vec![counter("c", 7)])));
    println!("{result:?}");
    assert!(result.is_ok() == (result == Ok(Accepted::All)));
}
