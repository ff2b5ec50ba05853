//! The command line of remote write.

use std::path::PathBuf;
use std::time::Duration;

use zibrato_http::{Header, ServiceUrl, Way, timeout};

use crate::buckets::Classic;
use crate::naming::label_option;
use crate::seconds::seconds;

/// The environment variable that a password is read from.
pub(super) const PASSWORD: &str = "REMOTE_WRITE_PASSWORD";
/// The environment variable that a token is read from.
pub(super) const TOKEN: &str = "REMOTE_WRITE_TOKEN";

/// As what histograms are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Histograms {
    /// Series with a few buckets, for every server.
    Classic,
    /// Native histograms, for quantiles within 2 %.
    Native,
    /// Both.
    Both,
}

/// Where and how to write. A password or a token comes from a file or the environment.
#[derive(Debug, Clone, clap::Args)]
#[group(id = "remote_write")]
#[command(next_help_heading = "Remote write")]
pub struct Options {
    /// Where to write to, with the path
    #[arg(
        long,
        value_name = "URL",
        default_value = "http://127.0.0.1:9090/api/v1/write",
        env = "REMOTE_WRITE_URL"
    )]
    pub url: ServiceUrl,
    /// The user, where the server wants one
    #[arg(long, value_name = "NAME", env = "REMOTE_WRITE_USERNAME")]
    pub username: Option<String>,
    /// A file with the user's password; without one it is read from the environment variable REMOTE_WRITE_PASSWORD
    #[arg(long, value_name = "FILE", env = "REMOTE_WRITE_PASSWORD_FILE")]
    pub password_file: Option<PathBuf>,
    /// A file with a bearer token; without one it is read from the environment variable REMOTE_WRITE_TOKEN
    #[arg(long, value_name = "FILE", env = "REMOTE_WRITE_TOKEN_FILE", conflicts_with = "username")]
    pub token_file: Option<PathBuf>,
    /// More headers, comma-separated and no secrets, as in X-Scope-OrgID=team
    #[arg(long, value_name = "NAME=VALUE", value_delimiter = ',', env = "REMOTE_WRITE_HEADERS")]
    pub header: Vec<Header>,
    /// How long one request may take
    #[arg(
        long,
        value_name = "SECONDS",
        default_value = "30",
        value_parser = timeout,
        env = "REMOTE_WRITE_TIMEOUT"
    )]
    pub timeout: Duration,
    /// The way to the service.
    #[command(flatten)]
    pub way: Way,
    /// As what timers and distributions are sent
    #[arg(long, value_enum, default_value = "both", env = "REMOTE_WRITE_HISTOGRAMS")]
    pub histograms: Histograms,
    /// Seconds after which a series is ended that no running program has any more; longer than programs' intervals
    #[arg(long, value_name = "SECONDS", default_value = "60", value_parser = seconds, env = "REMOTE_WRITE_STALE")]
    pub stale: Duration,
    /// The label that has the source
    #[arg(
        long,
        value_name = "NAME",
        default_value = "source",
        value_parser = label_option,
        env = "REMOTE_WRITE_SOURCE_LABEL"
    )]
    pub source_label: String,
    /// The buckets of classic histograms
    #[command(flatten)]
    pub classic: Classic,
}
