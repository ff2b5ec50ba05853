//! Where a service is, and how long it is waited for.

use std::str::FromStr;
use std::time::Duration;

use reqwest::Url;

/// A service's address: `https://HOST`, perhaps with a port and a path, without user, password or query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceUrl(Url);

impl ServiceUrl {
    /// The address itself.
    pub fn url(&self) -> &Url {
        &self.0
    }

    /// The address of a path (which begins with `/`) below this one.
    pub fn join(&self, path: &str) -> Url {
        let mut url = self.0.clone();
        let base = url.path().trim_end_matches('/').to_owned();
        url.set_path(&(base + path));
        url
    }

    /// Whether it is on this host.
    pub fn is_loopback(&self) -> bool {
        let host = self.0.host_str().unwrap_or_default().trim_matches(['[', ']']);
        host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
    }
}

impl std::fmt::Display for ServiceUrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// Why an address cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadUrl(String);

impl std::fmt::Display for BadUrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for BadUrl {}

impl FromStr for ServiceUrl {
    type Err = BadUrl;

    fn from_str(text: &str) -> Result<Self, BadUrl> {
        let bad = |why: &str| BadUrl(format!("{why}; use the form https://HOST[:PORT][/PATH]"));
        let url = Url::parse(text).map_err(|why| bad(&format!("it is no URL ({why})")))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(bad("it is neither http nor https"));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(bad("it has a user or a password in it: give each by the option for it instead"));
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err(bad("it has a query or a fragment"));
        }
        Ok(ServiceUrl(url))
    }
}

/// Reads how long one request may take, in seconds; for an option `--timeout`.
///
/// # Errors
/// When it is no number from 0.1 to 100.
pub fn timeout(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().ok().filter(|s| (0.1..=100.0).contains(s));
    seconds.map(Duration::from_secs_f64).ok_or_else(|| "it is no number of seconds from 0.1 to 100".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_addresses() {
        let joined = |text: &str| text.parse::<ServiceUrl>().map(|u| u.join("/v1/metrics").to_string());
        assert_eq!(joined("https://h.example.com").unwrap(), "https://h.example.com/v1/metrics");
        assert_eq!(joined("http://[::1]:99/base/").unwrap(), "http://[::1]:99/base/v1/metrics");
        for bad in
            ["example.com", "ftp://h", "https://u:secret@h", "https://u@h", "https://h/?q", "https://h#f", ""]
        {
            let why = joined(bad).unwrap_err().to_string();
            assert!(!why.contains("secret"), "{why}");
        }
        assert!("http://[::1]:99".parse::<ServiceUrl>().unwrap().is_loopback());
        assert!("http://127.0.0.1".parse::<ServiceUrl>().unwrap().is_loopback());
        assert!(!"https://example.com".parse::<ServiceUrl>().unwrap().is_loopback());
    }

    #[test]
    fn reads_timeouts() {
        assert_eq!(timeout("0.5"), Ok(Duration::from_millis(500)));
        for bad in ["0", "-1", "nan", "101", "soon", ""] {
            assert!(timeout(bad).is_err(), "{bad:?}");
        }
    }
}
