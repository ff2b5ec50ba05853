//! The command line.

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::builder::FalseyValueParser;
use reqwest::Url;

/// Which of Librato's two ways to submit is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, clap::ValueEnum)]
pub enum Api {
    /// `POST /v1/metrics`: gauges with a source; tags become part of the source.
    Metrics,
    /// `POST /v1/measurements`: tags, one of them the source.
    Measurements,
}

impl Api {
    /// The path that is posted to, below the service's address.
    pub fn path(self) -> &'static str {
        match self {
            Api::Metrics => "/v1/metrics",
            Api::Measurements => "/v1/measurements",
        }
    }
}

/// The service's address: `https://HOST`, perhaps with a port and a path, without user or password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceUrl(Url);

impl ServiceUrl {
    /// The address to post to.
    pub(crate) fn of(&self, api: Api) -> Url {
        let mut url = self.0.clone();
        let base = url.path().trim_end_matches('/').to_owned();
        url.set_path(&(base + api.path()));
        url
    }

    pub(crate) fn is_loopback(&self) -> bool {
        let host = self.0.host_str().unwrap_or_default().trim_matches(['[', ']']);
        host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
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
            return Err(bad("it has a user or a password in it: give --username and --token-file instead"));
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err(bad("it has a query or a fragment"));
        }
        Ok(ServiceUrl(url))
    }
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().ok().filter(|s| (0.1..=100.0).contains(s));
    seconds.map(Duration::from_secs_f64).ok_or_else(|| "it is no number of seconds from 0.1 to 100".into())
}

/// Where and how to submit. The token comes from `--token-file` or the environment variable `LIBRATO_TOKEN`.
#[derive(Debug, Clone, clap::Args)]
#[group(id = "librato")]
#[command(next_help_heading = "Librato")]
pub struct Options {
    /// Which of the service's two ways to submit to use
    #[arg(long, value_enum, default_value = "metrics", env = "LIBRATO_API")]
    pub api: Api,
    /// The service's address
    #[arg(long, value_name = "URL", default_value = "https://metrics-api.librato.com", env = "LIBRATO_URL")]
    pub url: ServiceUrl,
    /// The user, mostly an e-mail address
    #[arg(long, value_name = "NAME", env = "LIBRATO_USERNAME")]
    pub username: Option<String>,
    /// A file with the user's token; without one it is read from the environment variable LIBRATO_TOKEN
    #[arg(long, value_name = "FILE", env = "LIBRATO_TOKEN_FILE")]
    pub token_file: Option<PathBuf>,
    /// How long one request may take
    #[arg(long, value_name = "SECONDS", default_value = "30", value_parser = seconds, env = "LIBRATO_TIMEOUT")]
    pub timeout: Duration,
    /// Append the kind to every name (.counter, .timer, ...), for programs that use one name for metrics of
    /// several kinds
    #[arg(long, env = "LIBRATO_KIND_SUFFIX", value_parser = FalseyValueParser::new())]
    pub kind_suffix: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_addresses() {
        let metrics = |text: &str| text.parse::<ServiceUrl>().map(|u| u.of(Api::Metrics).to_string());
        assert_eq!(
            metrics("https://metrics-api.librato.com").unwrap(),
            "https://metrics-api.librato.com/v1/metrics"
        );
        assert_eq!(metrics("http://[::1]:99/base/").unwrap(), "http://[::1]:99/base/v1/metrics");
        for bad in
            ["librato.com", "ftp://h", "https://u:secret@h", "https://u@h", "https://h/?q", "https://h#f", ""]
        {
            let why = metrics(bad).unwrap_err().to_string();
            assert!(!why.contains("secret"), "{why}");
        }
        assert!("http://[::1]:99".parse::<ServiceUrl>().unwrap().is_loopback());
        assert!("http://127.0.0.1".parse::<ServiceUrl>().unwrap().is_loopback());
        assert!(!"https://example.com".parse::<ServiceUrl>().unwrap().is_loopback());
    }
}
