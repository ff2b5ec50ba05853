//! The command line.

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use zibrato_http::{Header, ServiceUrl, Way, timeout};
use zibrato_worker::Temporality;

/// The environment variable that headers with secrets are read from; every program with OpenTelemetry knows it.
pub(crate) const HEADERS: &str = "OTEL_EXPORTER_OTLP_HEADERS";

/// What sums and histograms tell of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum TemporalityOption {
    /// Of all that happened since the series began.
    Cumulative,
    /// Of what happened since the flush before, as Datadog and Dynatrace want it.
    Delta,
}

impl From<TemporalityOption> for Temporality {
    fn from(option: TemporalityOption) -> Self {
        match option {
            TemporalityOption::Cumulative => Temporality::Cumulative,
            TemporalityOption::Delta => Temporality::Delta,
        }
    }
}

/// The unit of timers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum TimerUnit {
    /// Seconds, as OpenTelemetry's conventions say; buckets are 0.47 % off.
    S,
    /// Nanoseconds, without any loss.
    Ns,
}

/// Whether requests are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Compression {
    /// With gzip.
    Gzip,
    /// Not at all.
    None,
}

/// An attribute of all resources.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attribute {
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: String,
}

impl FromStr for Attribute {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once('=') {
            Some((name, value)) if !name.trim().is_empty() => {
                Ok(Attribute { name: name.trim().into(), value: value.trim().into() })
            }
            _ => Err("use the form NAME=VALUE".into()),
        }
    }
}

/// Where and how to send. Keys come from a file or the environment variable `OTEL_EXPORTER_OTLP_HEADERS`.
#[derive(Debug, Clone, clap::Args)]
#[group(id = "otlp")]
#[command(next_help_heading = "OTLP")]
pub struct Options {
    /// The receiver's address; /v1/metrics is appended where it is not there
    #[arg(
        long,
        value_name = "URL",
        default_value = "http://127.0.0.1:4318",
        env = "OTEL_EXPORTER_OTLP_ENDPOINT"
    )]
    pub url: ServiceUrl,
    /// More headers, comma-separated and no secrets
    #[arg(long, value_name = "NAME=VALUE", value_delimiter = ',', env = "OTLP_HEADERS")]
    pub header: Vec<Header>,
    /// A file with headers that are secrets, NAME=VALUE in each line; without one they are read from the environment
    /// variable OTEL_EXPORTER_OTLP_HEADERS
    #[arg(long, value_name = "FILE", env = "OTLP_HEADERS_FILE")]
    pub headers_file: Option<PathBuf>,
    /// Whether requests are compressed
    #[arg(long, value_enum, default_value = "gzip", env = "OTEL_EXPORTER_OTLP_COMPRESSION")]
    pub compression: Compression,
    /// How long one request may take
    #[arg(long, value_name = "SECONDS", default_value = "30", value_parser = timeout, env = "OTLP_TIMEOUT")]
    pub timeout: Duration,
    /// The way to the service.
    #[command(flatten)]
    pub way: Way,
    /// What sums and histograms tell of; not to be changed for a state directory in use
    #[arg(long, value_enum, default_value = "cumulative", env = "OTLP_TEMPORALITY")]
    pub temporality: TemporalityOption,
    /// The unit of timers
    #[arg(long, value_enum, default_value = "s", env = "OTLP_TIMER_UNIT")]
    pub timer_unit: TimerUnit,
    /// The resource attribute that has the source
    #[arg(
        long,
        value_name = "NAME",
        default_value = "host.name",
        value_parser = clap::builder::NonEmptyStringValueParser::new(),
        env = "OTLP_SOURCE_ATTRIBUTE"
    )]
    pub source_attribute: String,
    /// The attribute service.name of all resources [default: unknown_service:zibrato]
    #[arg(long, value_name = "NAME", env = "OTEL_SERVICE_NAME")]
    pub service_name: Option<String>,
    /// More attributes of all resources, comma-separated, as in deployment.environment.name=production
    #[arg(long, value_name = "NAME=VALUE", value_delimiter = ',', env = "OTEL_RESOURCE_ATTRIBUTES")]
    pub resource: Vec<Attribute>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_pairs() {
        let attribute = |name: &str, value: &str| Ok(Attribute { name: name.into(), value: value.into() });
        assert_eq!("a.b = c=d".parse(), attribute("a.b", "c=d"));
        assert_eq!("a=".parse(), attribute("a", ""));
        assert!("a".parse::<Attribute>().is_err() && "=a".parse::<Attribute>().is_err());
    }
}
