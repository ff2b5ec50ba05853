//! The command line.

use std::time::Duration;

use zibrato_worker::{BackendOptions, OpenError};

use crate::{Address, Graphite};

/// Where tags go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Tags {
    /// Into the path: `web1.requests.code_200.count`
    Path,
    /// Where Graphite 1.1 has them: `requests.count;code=200;source=web1`
    Series,
}

/// Where and how to send.
#[derive(Debug, Clone, clap::Args)]
#[group(id = "graphite")]
#[command(next_help_heading = "Graphite")]
pub struct Options {
    /// Where carbon listens for lines: tcp://HOST:PORT or udp://HOST:PORT
    #[arg(long, value_name = "URL", default_value = "tcp://127.0.0.1:2003", env = "GRAPHITE_ADDRESS")]
    pub address: Address,
    /// Seconds between two datapoints: the finest retention in carbon's storage-schemas.conf
    #[arg(long, value_name = "SECONDS", default_value = "60", value_parser = step, env = "GRAPHITE_STEP")]
    pub step: Duration,
    /// Where tags go
    #[arg(long, value_enum, default_value = "path", env = "GRAPHITE_TAGS")]
    pub tags: Tags,
    /// What paths are made of: {name} and {source}, and any text; without {source} it is a tag with --tags series, else
    /// left out [default: {source}.{name}, with --tags series {name}]
    #[arg(long, value_name = "TEXT", value_parser = template, env = "GRAPHITE_TEMPLATE")]
    pub template: Option<String>,
    /// How long connecting, writing and the confirmation may take, together
    #[arg(long, value_name = "SECONDS", default_value = "30", value_parser = timeout, env = "GRAPHITE_TIMEOUT")]
    pub timeout: Duration,
}

impl BackendOptions for Options {
    type Backend = Graphite;
    const ABOUT: &'static str = "Send to Graphite";
    const EXAMPLES: &'static str = "\
--address tcp://graphite.example.org:2003 --step 10
--template 'prod.{source}.{name}'
--dry-run           print what would be sent";

    fn open(self, _: &zibrato_worker::Options) -> Result<Graphite, OpenError> {
        Ok(Graphite::new(self))
    }
}

impl Options {
    /// The template, or what is meant without one.
    pub(crate) fn template(&self) -> &str {
        let default = if self.tags == Tags::Path { "{source}.{name}" } else { "{name}" };
        self.template.as_deref().unwrap_or(default)
    }
}

fn template(text: &str) -> Result<String, String> {
    let rest = text.replace("{name}", "").replace("{source}", "");
    if !text.contains("{name}") {
        return Err("it has no {name} in it, so that all metrics would be one".into());
    }
    match rest.chars().find(|&c| !(c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-'))) {
        Some(odd) => Err(format!("{odd:?} cannot be in paths; letters, digits and ._- can")),
        None => Ok(text.to_owned()),
    }
}

fn step(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().ok().filter(|seconds| (1..=86_400).contains(seconds));
    seconds.map(Duration::from_secs).ok_or_else(|| "it is no whole number of seconds from 1 to 86400".into())
}

fn timeout(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().ok().filter(|seconds| (0.1..=100.0).contains(seconds));
    seconds.map(Duration::from_secs_f64).ok_or_else(|| "it is no number of seconds from 0.1 to 100".into())
}
