//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use clap::builder::FalseyValueParser;
use zibrato_http::{ServiceUrl, Way, timeout};
use zibrato_worker::{BackendOptions, OpenError};

use crate::Json;

/// Where lines go: to a file, to an HTTP endpoint, or, with neither, to standard output.
#[derive(Debug, Clone, clap::Args)]
#[group(id = "json")]
#[command(next_help_heading = "JSON")]
pub struct Options {
    /// Append to this file
    #[arg(long, value_name = "FILE", env = "JSON_FILE")]
    pub file: Option<PathBuf>,
    /// Begin a new file before one is larger than this
    #[arg(long, value_name = "BYTES", env = "JSON_ROTATE_BYTES")]
    pub rotate_bytes: Option<u64>,
    /// How many older files to keep, as FILE.1, FILE.2 and so on
    #[arg(long, value_name = "NUMBER", default_value = "5", env = "JSON_ROTATE_KEEP")]
    pub rotate_keep: u32,
    /// Post to this address
    #[arg(long, value_name = "URL", conflicts_with = "file", env = "JSON_URL")]
    pub url: Option<ServiceUrl>,
    /// A file with the token for the endpoint; without one it is read from the environment variable JSON_TOKEN
    #[arg(long, value_name = "FILE", env = "JSON_TOKEN_FILE")]
    pub token_file: Option<PathBuf>,
    /// Compress what is posted
    #[arg(long, env = "JSON_GZIP", value_parser = FalseyValueParser::new())]
    pub gzip: bool,
    /// How long one request may take
    #[arg(long, value_name = "SECONDS", default_value = "30", value_parser = timeout, env = "JSON_TIMEOUT")]
    pub timeout: Duration,
    /// The way to the service.
    #[command(flatten)]
    pub way: Way,
}

impl BackendOptions for Options {
    type Backend = Json;
    const ABOUT: &'static str = "Write lines of JSON to standard output, a file or an HTTP endpoint";
    const EXAMPLES: &'static str = "\
| jq 'select(.kind == \"counter\")'
--file /var/log/zibrato.jsonl --rotate-bytes 100000000
--url https://logs.example.org/bulk --gzip";

    fn open(self, _: &zibrato_worker::Options) -> Result<Json, OpenError> {
        Ok(Json::new(self)?)
    }
}
