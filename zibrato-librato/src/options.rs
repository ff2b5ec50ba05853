//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use clap::builder::FalseyValueParser;
use zibrato_http::{ServiceUrl, Way, timeout};

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
    #[arg(long, value_name = "SECONDS", default_value = "30", value_parser = timeout, env = "LIBRATO_TIMEOUT")]
    pub timeout: Duration,
    /// The way to the service.
    #[command(flatten)]
    pub way: Way,
    /// Append the kind to every name (.counter, .timer, ...), for programs that use one name for metrics of
    /// several kinds
    #[arg(long, env = "LIBRATO_KIND_SUFFIX", value_parser = FalseyValueParser::new())]
    pub kind_suffix: bool,
}
