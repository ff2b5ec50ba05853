//! The command line of the scrape endpoint.

use std::net::SocketAddr;
use std::time::Duration;

use clap::builder::FalseyValueParser;

use crate::buckets::Classic;
use crate::naming::label_option;
use crate::seconds::seconds;

/// Where and how to be scraped.
#[derive(Debug, Clone, clap::Args)]
#[group(id = "prometheus")]
#[command(next_help_heading = "Prometheus")]
pub struct Options {
    /// Where to listen for scrapes
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:5590", env = "PROMETHEUS_LISTEN")]
    pub listen: SocketAddr,
    /// Seconds after which a series disappears that no running program has any more
    #[arg(long, value_name = "SECONDS", default_value = "300", value_parser = seconds, env = "PROMETHEUS_STALE")]
    pub stale: Duration,
    /// The label that has the source
    #[arg(
        long,
        value_name = "NAME",
        default_value = "source",
        value_parser = label_option,
        env = "PROMETHEUS_SOURCE_LABEL"
    )]
    pub source_label: String,
    /// Leave the times out at which totals began (_created) in OpenMetrics
    #[arg(long, env = "PROMETHEUS_NO_CREATED", value_parser = FalseyValueParser::new())]
    pub no_created: bool,
    /// The buckets of classic histograms
    #[command(flatten)]
    pub classic: Classic,
}
