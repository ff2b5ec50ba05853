//! The command line.

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::builder::FalseyValueParser;
use zibrato_http::{ServiceUrl, Way, timeout};
use zibrato_worker::{BackendOptions, OpenError};

use crate::{Influx, naming};

/// The steps in which times are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, clap::ValueEnum)]
pub enum Precision {
    /// Nanoseconds.
    Ns,
    /// Microseconds.
    Us,
    /// Milliseconds.
    Ms,
    /// Seconds.
    S,
}

impl Precision {
    /// One step.
    pub fn step(self) -> Duration {
        match self {
            Precision::Ns => Duration::from_nanos(1),
            Precision::Us => Duration::from_micros(1),
            Precision::Ms => Duration::from_millis(1),
            Precision::S => Duration::from_secs(1),
        }
    }
}

/// How many servers of a cluster must have a point before a write has succeeded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, clap::ValueEnum)]
pub enum Consistency {
    /// One of them, or another that keeps it for them.
    Any,
    /// One.
    One,
    /// More than half.
    Quorum,
    /// All.
    All,
}

impl Consistency {
    /// What the server calls it.
    pub fn name(self) -> &'static str {
        match self {
            Consistency::Any => "any",
            Consistency::One => "one",
            Consistency::Quorum => "quorum",
            Consistency::All => "all",
        }
    }
}

/// What the tag is called that carries the source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceTag(String);

impl SourceTag {
    /// The tag's name.
    pub fn name(&self) -> &str {
        &self.0
    }
}

impl FromStr for SourceTag {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if naming::is_reserved(text) {
            return Err("the name is InfluxDB's own".into());
        }
        if text.is_empty() || naming::text(text) != text {
            return Err("a tag cannot be called that".into());
        }
        Ok(SourceTag(text.to_owned()))
    }
}

fn points(text: &str) -> Result<usize, String> {
    let number = text.parse().ok().filter(|number| (1..=100_000).contains(number));
    number.ok_or_else(|| "it is no number of points from 1 to 100000".into())
}

/// Where and how to write. The password and the token come from files or from the environment variables
/// `INFLUX_PASSWORD` and `INFLUX_TOKEN`.
#[derive(Debug, Clone, clap::Args)]
#[group(id = "influx")]
#[command(next_help_heading = "InfluxDB")]
pub struct Options {
    /// The server's address
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:8086", env = "INFLUX_URL")]
    pub url: ServiceUrl,
    /// InfluxDB 1: the database to write to
    #[arg(long, value_name = "NAME", env = "INFLUX_DATABASE")]
    pub database: Option<String>,
    /// InfluxDB 1: the database's retention policy, where it is not the default one
    #[arg(long, value_name = "NAME", requires = "database", env = "INFLUX_RETENTION_POLICY")]
    pub retention_policy: Option<String>,
    /// InfluxDB 1: how many servers of a cluster must have a point
    #[arg(long, value_enum, requires = "database", env = "INFLUX_CONSISTENCY")]
    pub consistency: Option<Consistency>,
    /// InfluxDB 1: the user
    #[arg(long, value_name = "NAME", requires = "database", env = "INFLUX_USERNAME")]
    pub username: Option<String>,
    /// InfluxDB 1: a file with the user's password; without one it is read from the environment variable
    /// INFLUX_PASSWORD
    #[arg(long, value_name = "FILE", requires = "username", env = "INFLUX_PASSWORD_FILE")]
    pub password_file: Option<PathBuf>,
    /// InfluxDB 2 and 3: the bucket (in InfluxDB 3: the database) to write to
    #[arg(long, value_name = "NAME", conflicts_with = "database", env = "INFLUX_BUCKET")]
    pub bucket: Option<String>,
    /// InfluxDB 2: the bucket's organisation, by name or number
    #[arg(long, value_name = "NAME", requires = "bucket", env = "INFLUX_ORG")]
    pub org: Option<String>,
    /// InfluxDB 2 and 3: a file with a token that may write; without one it is read from the environment variable
    /// INFLUX_TOKEN
    #[arg(long, value_name = "FILE", requires = "bucket", env = "INFLUX_TOKEN_FILE")]
    pub token_file: Option<PathBuf>,
    /// The steps in which times are told
    #[arg(long, value_enum, default_value = "ms", env = "INFLUX_PRECISION")]
    pub precision: Precision,
    /// What the tag is called that carries the source
    #[arg(long, value_name = "TAG", default_value = "source", env = "INFLUX_SOURCE_TAG")]
    pub source_tag: SourceTag,
    /// Write every number as a float, whole ones too
    #[arg(long, env = "INFLUX_FLOATS", value_parser = FalseyValueParser::new())]
    pub floats: bool,
    /// Most points of one request
    #[arg(long, value_name = "POINTS", default_value = "5000", value_parser = points, env = "INFLUX_BATCH")]
    pub batch: usize,
    /// Compress requests
    #[arg(long, env = "INFLUX_GZIP", value_parser = FalseyValueParser::new())]
    pub gzip: bool,
    /// How long one request may take
    #[arg(long, value_name = "SECONDS", default_value = "30", value_parser = timeout, env = "INFLUX_TIMEOUT")]
    pub timeout: Duration,
    /// The way to the service.
    #[command(flatten)]
    pub way: Way,
}

impl BackendOptions for Options {
    type Backend = Influx;
    const ABOUT: &'static str = "Write line protocol to InfluxDB, VictoriaMetrics and the like";
    const EXAMPLES: &'static str = "\
--database metrics --username zibrato --password-file /etc/zibrato/influx.password
--url https://eu.example.org --org acme --bucket metrics --token-file ~/.influx --gzip
--database metrics --dry-run           print what would be sent";

    fn open(self, worker: &zibrato_worker::Options) -> Result<Influx, OpenError> {
        let backend = Influx::new(self)?;
        if !worker.dry_run {
            backend.check_credentials()?;
        }
        Ok(backend)
    }
}
