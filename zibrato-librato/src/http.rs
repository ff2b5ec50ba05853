//! One request over HTTP or HTTPS.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::header::{self, HeaderMap, HeaderValue};
use reqwest::{Client, Url};

use crate::options::ServiceUrl;
use crate::{Error, Token};

const CONNECT: Duration = Duration::from_secs(10);
/// Most bytes that are read of an answer.
const MOST_BYTES: usize = 256 << 10;
/// Longest wait that a service may ask for.
const MOST_WAIT: Duration = Duration::from_secs(3600);

/// The service's answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// How long the service asks to wait before the next request.
    pub(crate) wait: Option<Duration>,
    /// Its body, cut off where it is too long.
    pub(crate) body: String,
}

/// Sets up a client that trusts the system's certificate authorities.
pub(crate) fn client(url: &ServiceUrl, timeout: Duration) -> Result<Client, Error> {
    let bad = |why: &dyn std::fmt::Display| Error::Http(why.to_string());
    let mut roots = rustls::RootCertStore::empty();
    // Certificates that cannot be read are left out; with none left, an https request says what is wrong.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|why| bad(&why))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let mut client = Client::builder()
        .tls_backend_preconfigured(tls)
        .user_agent(concat!("zibrato/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(CONNECT.min(timeout))
        .timeout(timeout)
        // A redirect could carry the token to another host, and would turn the POST into a GET.
        .redirect(reqwest::redirect::Policy::none());
    if url.is_loopback() {
        client = client.no_proxy();
    }
    client.build().map_err(|why| bad(&whole(&why)))
}

/// The value of the `Authorization` header, marked as not to be shown.
pub(crate) fn authorization(username: &str, token: &Token) -> Result<HeaderValue, Error> {
    let encoded = STANDARD.encode(format!("{username}:{}", token.secret()));
    let mut value = HeaderValue::try_from(format!("Basic {encoded}"))
        .map_err(|_| Error::Http("user name and token make no header".into()))?;
    value.set_sensitive(true);
    Ok(value)
}

/// Posts JSON and reads the answer; an error is what went wrong on the way.
pub(crate) async fn post(
    client: &Client,
    url: &Url,
    authorization: &HeaderValue,
    body: String,
) -> Result<Answer, String> {
    let request = client
        .post(url.clone())
        .header(header::AUTHORIZATION, authorization.clone())
        .header(header::CONTENT_TYPE, "application/json")
        .header(header::ACCEPT, "application/json")
        .body(body);
    let mut response = request.send().await.map_err(|why| explain(why, url))?;
    let status = response.status().as_u16();
    let wait = wait_asked_for(status, response.headers(), SystemTime::now());
    let mut text = Vec::new();
    // The status has the verdict; an answer that breaks off after it is as good as a short one.
    while let Ok(Some(bytes)) = response.chunk().await {
        let room = MOST_BYTES - text.len();
        text.extend_from_slice(&bytes[..bytes.len().min(room)]);
        if text.len() == MOST_BYTES {
            break;
        }
    }
    Ok(Answer { status, wait, body: String::from_utf8_lossy(&text).into_owned() })
}

fn explain(why: reqwest::Error, url: &Url) -> String {
    let host = url.origin().ascii_serialization();
    if why.is_timeout() {
        return format!("{host} did not answer in time");
    }
    let hint = if url.scheme() == "https" && rustls_native_certs::load_native_certs().certs.is_empty() {
        " (this system has no certificate authorities: install ca-certificates or set SSL_CERT_FILE)"
    } else {
        ""
    };
    format!("no answer from {host}: {}{hint}", whole(&why.without_url()))
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

fn wait_asked_for(status: u16, headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let text = |name: &str| headers.get(name).and_then(|v| v.to_str().ok());
    // Resets are told by the service's clock, so they are compared with it where it is told too.
    let now = text("date").and_then(|d| httpdate::parse_http_date(d).ok()).unwrap_or(now);
    let retry_after = text("retry-after").map(str::trim).and_then(|asked| {
        let seconds = asked.parse().map(Duration::from_secs).ok();
        let until = || httpdate::parse_http_date(asked).ok()?.duration_since(now).ok();
        seconds.or_else(until)
    });
    let limited = matches!(status, 403 | 429 | 503);
    let reset = ["x-librato-ratelimit-agg", "x-librato-ratelimit-std"]
        .into_iter()
        .filter_map(text)
        .filter_map(|limits| {
            let number = |key: &str| -> Option<u64> {
                let mut pairs = limits.split(',').filter_map(|pair| pair.split_once('='));
                pairs.find(|(k, _)| k.trim() == key)?.1.trim().parse().ok()
            };
            let used_up = number("remaining") == Some(0);
            let reset = SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(number("reset")?))?;
            used_up.then_some(reset.duration_since(now).ok()?)
        })
        .max();
    let asked = if limited { retry_after.or(reset) } else { reset };
    asked.map(|wait| wait.min(MOST_WAIT))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wait(status: u16, pairs: &[(&'static str, &str)]) -> Option<u64> {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, HeaderValue::from_str(value).unwrap());
        }
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
        wait_asked_for(status, &headers, now).map(|w| w.as_secs())
    }

    #[test]
    fn reads_how_long_to_wait() {
        assert_eq!(wait(429, &[("retry-after", "7")]), Some(7));
        assert_eq!(wait(200, &[("retry-after", "7")]), None);
        assert_eq!(wait(503, &[("retry-after", "Sun, 09 Sep 2001 01:46:50 GMT")]), Some(10));
        assert_eq!(wait(503, &[("retry-after", "99999999")]), Some(3600));
        assert_eq!(wait(503, &[("retry-after", "soon")]), None);
        let agg = ("x-librato-ratelimit-agg", "limit=600000,remaining=599998,reset=1000000030");
        let std = ("x-librato-ratelimit-std", "reset=1000000060, remaining=0, limit=2");
        assert_eq!(wait(200, &[agg]), None);
        assert_eq!(wait(429, &[agg, std]), Some(60));
        assert_eq!(wait(200, &[agg, std]), Some(60));
        assert_eq!(wait(429, &[("retry-after", "5"), std]), Some(5));
        // By the service's own clock, which is 40 s ahead.
        assert_eq!(wait(429, &[std, ("date", "Sun, 09 Sep 2001 01:47:20 GMT")]), Some(20));
        assert_eq!(wait(429, &[("x-librato-ratelimit-agg", "nonsense,,=")]), None);
    }
}
