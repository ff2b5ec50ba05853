//! One request over HTTP or HTTPS.

use std::io::Write as _;
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use reqwest::Url;
use reqwest::header::{self, HeaderMap, HeaderValue};

use crate::{Answer, Error, ServiceUrl, Way};

const CONNECT: Duration = Duration::from_secs(10);
/// Most bytes that are read of an answer.
const MOST_BYTES: usize = 256 << 10;

/// What is to be posted.
#[derive(Debug, Clone)]
pub struct Request {
    url: Url,
    content_type: &'static str,
    headers: HeaderMap,
    body: Vec<u8>,
    gzip: bool,
}

impl Request {
    /// A request with a body of this type, not compressed.
    pub fn new(url: Url, content_type: &'static str, body: Vec<u8>) -> Request {
        Request { url, content_type, headers: HeaderMap::new(), body, gzip: false }
    }

    /// The same with one more header; its name in lower case.
    pub fn header(mut self, name: &'static str, value: HeaderValue) -> Request {
        self.headers.append(name, value);
        self
    }

    /// The same with more headers.
    pub fn headers(mut self, headers: &HeaderMap) -> Request {
        self.headers.extend(headers.clone());
        self
    }

    /// The same with its body compressed, or not.
    pub fn gzip(self, gzip: bool) -> Request {
        Request { gzip, ..self }
    }
}

/// Posts. Follows no redirects, and asks no proxy for what is on this host.
#[derive(Debug, Clone)]
pub struct Client(reqwest::Client);

impl Client {
    /// A client for one service; a request may take as long as `timeout`.
    ///
    /// # Errors
    /// When it cannot be set up, as where a file of its way cannot be used.
    pub fn new(service: &ServiceUrl, way: &Way, timeout: Duration) -> Result<Client, Error> {
        let bad = |why: &dyn std::fmt::Display| Error::Client { why: why.to_string() };
        let tls = way.tls()?;
        let client = reqwest::Client::builder()
            .tls_backend_preconfigured(tls)
            .user_agent(concat!("zibrato/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(CONNECT.min(timeout))
            .timeout(timeout)
            // A redirect could carry the secret to another host, and would turn the POST into a GET.
            .redirect(reqwest::redirect::Policy::none());
        way.apply(client, service.is_loopback())?.build().map(Client).map_err(|why| bad(&whole(&why)))
    }

    /// Posts and reads the answer, whatever its status.
    ///
    /// # Errors
    /// What went wrong on the way, in a sentence with the host in it.
    pub async fn post(&self, request: Request) -> Result<Answer, String> {
        let Request { url, content_type, headers, mut body, gzip } = request;
        let host = url.clone();
        let mut post = self.0.post(url).header(header::CONTENT_TYPE, content_type).headers(headers);
        if gzip {
            body = compress(&body).map_err(|why| format!("failed to compress a request: {why}"))?;
            post = post.header(header::CONTENT_ENCODING, "gzip");
        }
        let mut response = post.body(body).send().await.map_err(|why| explain(why, &host))?;
        let status = response.status().as_u16();
        let headers = std::mem::take(response.headers_mut());
        let mut text = Vec::new();
        // The status has the verdict; an answer that breaks off after it is as good as a short one.
        while let Ok(Some(bytes)) = response.chunk().await {
            let room = MOST_BYTES - text.len();
            text.extend_from_slice(&bytes[..bytes.len().min(room)]);
            if text.len() == MOST_BYTES {
                break;
            }
        }
        Ok(Answer::new(status, headers, String::from_utf8_lossy(&text).into_owned()))
    }
}

fn compress(body: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(body.len() / 4), Compression::fast());
    encoder.write_all(body)?;
    encoder.finish()
}

fn explain(why: reqwest::Error, url: &Url) -> String {
    let host = url.origin().ascii_serialization();
    if why.is_timeout() {
        return format!("{host} did not answer in time");
    }
    let why = whole(&why.without_url());
    format!("no answer from {host}: {why}{}", hint(&why, url))
}

/// What to do about it, where that can be known.
fn hint(why: &str, url: &Url) -> &'static str {
    if why.contains("UnknownIssuer") {
        if rustls_native_certs::load_native_certs().certs.is_empty() {
            return " (this system has no certificate authorities: install ca-certificates or set SSL_CERT_FILE, or give \
                    --ca-file)";
        }
        return " (if it should be trusted, give the certificate of its authority with --ca-file)";
    }
    if why.contains("CertificateRequired") || why.contains("HandshakeFailure") {
        return " (it may want a certificate of ours: give --client-cert and --client-key)";
    }
    if url.scheme() == "https" && rustls_native_certs::load_native_certs().certs.is_empty() {
        return " (this system has no certificate authorities: install ca-certificates or set SSL_CERT_FILE)";
    }
    ""
}

/// An error with its causes.
fn whole(why: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(why), |e| e.source()).map(ToString::to_string);
    let mut texts: Vec<String> = Vec::new();
    for cause in causes {
        if !texts.iter().any(|t| t.contains(&cause)) {
            texts.push(cause);
        }
    }
    texts.join(": ")
}
