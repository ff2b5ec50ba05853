//! TLS with real servers: whom the client trusts, whom it shows itself to, and proxies in between.
#![allow(clippy::unwrap_used, reason = "these are tests")]

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{self, RootCertStore, ServerConfig};
use zibrato_http::{Client, Error, Request, ServiceUrl, Way};

type Authority = CertifiedIssuer<'static, KeyPair>;

fn authority() -> Authority {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

fn signed(by: &Authority, name: &str, until: i32) -> (rcgen::Certificate, KeyPair) {
    let mut params = CertificateParams::new([name.to_owned()]).unwrap();
    params.not_before = rcgen::date_time_ymd(2020, 1, 1);
    params.not_after = rcgen::date_time_ymd(until, 1, 1);
    let key = KeyPair::generate().unwrap();
    (params.signed_by(&key, by).unwrap(), key)
}

fn file(directory: &Path, name: &str, text: &str) -> Option<PathBuf> {
    let path = directory.join(name);
    std::fs::write(&path, text).unwrap();
    Some(path)
}

/// Answers every request, over TLS; wants a certificate that `clients` has signed, if there is one.
fn serve(identity: (rcgen::Certificate, KeyPair), clients: Option<&Authority>) -> u16 {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder =
        ServerConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions().unwrap();
    let builder = match clients {
        None => builder.with_no_client_auth(),
        Some(authority) => {
            let mut roots = RootCertStore::empty();
            roots.add(authority.der().clone()).unwrap();
            let verifier =
                WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build().unwrap();
            builder.with_client_cert_verifier(verifier)
        }
    };
    let key = PrivateKeyDer::Pkcs8(identity.1.serialize_der().into());
    let config = builder.with_single_cert(vec![identity.0.der().clone()], key).unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async move {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            while let Ok((stream, _)) = listener.accept().await {
                let Ok(mut stream) = acceptor.accept(stream).await else { continue };
                let _ = stream.read(&mut [0; 4096]).await;
                let _ = stream.write_all(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n").await;
                let _ = stream.shutdown().await;
            }
        });
    });
    port
}

async fn post(url: &str, way: &Way) -> Result<u16, String> {
    let service: ServiceUrl = url.parse().unwrap();
    let client = Client::new(&service, way, Duration::from_secs(20)).unwrap();
    let request = Request::new(service.join("/write"), "text/plain", "x".into());
    client.post(request).await.map(|answer| answer.status)
}

fn trusting(directory: &Path, authority: &Authority) -> Way {
    let mut way = Way::default();
    way.ca_file = file(directory, "ca.pem", &authority.pem());
    way
}

#[tokio::test]
async fn a_private_authority_is_trusted_where_it_is_named_and_nowhere_else() {
    let (directory, ours) = (tempfile::tempdir().unwrap(), authority());
    let url = format!("https://localhost:{}", serve(signed(&ours, "localhost", 2100), None));
    let why = post(&url, &Way::default()).await.unwrap_err();
    assert!(why.starts_with("no answer from https://localhost") && why.contains("--ca-file"), "{why}");
    let mut way = trusting(directory.path(), &ours);
    assert_eq!(post(&url, &way).await, Ok(204));
    way.ca_only = true;
    assert_eq!(post(&url, &way).await, Ok(204));
    way.ca_file = file(directory.path(), "other.pem", &authority().pem());
    assert!(post(&url, &way).await.is_err());
}

#[tokio::test]
async fn expired_certificates_and_those_of_others_are_refused() {
    let (directory, ours) = (tempfile::tempdir().unwrap(), authority());
    let way = trusting(directory.path(), &ours);
    let expired = serve(signed(&ours, "localhost", 2021), None);
    let why = post(&format!("https://localhost:{expired}"), &way).await.unwrap_err();
    assert!(why.contains("expired"), "{why}");
    let other = serve(signed(&ours, "other.example.org", 2100), None);
    let why = post(&format!("https://localhost:{other}"), &way).await.unwrap_err();
    assert!(why.contains("not valid for name"), "{why}");
}

#[tokio::test]
async fn a_service_that_wants_a_certificate_gets_it() {
    let (directory, ours) = (tempfile::tempdir().unwrap(), authority());
    let url = format!("https://localhost:{}", serve(signed(&ours, "localhost", 2100), Some(&ours)));
    let mut way = trusting(directory.path(), &ours);
    let why = post(&url, &way).await.unwrap_err();
    assert!(why.contains("give --client-cert and --client-key"), "{why}");
    let (certificate, key) = signed(&ours, "worker", 2100);
    way.client_cert = file(directory.path(), "client.pem", &certificate.pem());
    way.client_key = file(directory.path(), "client.key", &key.serialize_pem());
    assert_eq!(post(&url, &way).await, Ok(204));
}

#[test]
fn files_that_cannot_be_used_are_named() {
    let directory = tempfile::tempdir().unwrap();
    let service: ServiceUrl = "https://localhost".parse().unwrap();
    let why = |way: &Way| Client::new(&service, way, Duration::from_secs(1)).unwrap_err().to_string();
    let mut way = Way::default();
    way.ca_only = true;
    assert!(why(&way).contains("give --ca-file"));
    way.ca_file = Some(directory.path().join("none.pem"));
    assert!(
        why(&way).starts_with("read the certificate authorities file ") && why(&way).contains("none.pem")
    );
    way.ca_file = file(directory.path(), "empty.pem", "nothing");
    assert!(why(&way).contains("it has no certificate"), "{}", why(&way));
    let mut way = Way::default();
    way.client_cert = file(directory.path(), "cert.pem", &authority().pem());
    assert!(why(&way).contains("give both --client-cert and --client-key"));
    way.client_key = file(directory.path(), "key.pem", &authority().pem());
    assert!(matches!(
        Client::new(&service, &way, Duration::from_secs(1)).unwrap_err(),
        Error::SecretFile { what: "client key", .. }
    ));
}

/// Does what CONNECT and other requests ask for, whatever their host is called, and tells of their first lines.
fn proxy(to: SocketAddr) -> (String, Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (tell, told) = channel();
    std::thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let mut reader = BufReader::new(client.try_clone().unwrap());
            let mut lines = Vec::new();
            loop {
                let mut line = String::new();
                if reader.read_line(&mut line).unwrap_or(0) == 0 || line == "\r\n" {
                    break;
                }
                lines.push(line);
            }
            let _ = tell.send(lines.concat());
            let mut client = client;
            let server = std::net::TcpStream::connect(to).unwrap();
            client.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").unwrap();
            let (mut up, mut down) = (client.try_clone().unwrap(), server.try_clone().unwrap());
            std::thread::spawn(move || std::io::copy(&mut up, &mut down));
            let (mut server, mut client) = (server, client);
            let _ = std::io::copy(&mut server, &mut client);
        }
    });
    (url, told)
}

#[tokio::test]
async fn a_proxy_in_between_sees_the_host_and_nothing_else() {
    let (directory, ours) = (tempfile::tempdir().unwrap(), authority());
    let port = serve(signed(&ours, "metrics.invalid", 2100), None);
    let (url, told) = proxy(SocketAddr::from(([127, 0, 0, 1], port)));
    let mut way = trusting(directory.path(), &ours);
    way.proxy = Some(url.replace("http://", "http://me:s3cr3t@").parse().unwrap());
    assert!(!format!("{way:?}").contains("s3cr3t"));
    assert_eq!(post("https://metrics.invalid", &way).await, Ok(204));
    let head = told.recv().unwrap().to_lowercase();
    assert!(head.starts_with("connect metrics.invalid:443 http/1.1\r\n"), "{head}");
    assert!(head.contains("proxy-authorization: basic "), "{head}");
    // Loopback does not go through it.
    let local = serve(signed(&ours, "localhost", 2100), None);
    assert_eq!(post(&format!("https://localhost:{local}"), &way).await, Ok(204));
    assert!(told.try_recv().is_err());
}

#[test]
fn a_proxy_is_an_address_or_none() {
    for bad in ["", "proxy:3128", "socks5://h:1", "ftp://h"] {
        assert!(bad.parse::<zibrato_http::Proxy>().is_err(), "{bad}");
    }
    assert_eq!("none".parse(), Ok(zibrato_http::Proxy::None));
}
