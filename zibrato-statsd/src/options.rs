//! The command line.

use std::time::Duration;

use clap::builder::FalseyValueParser;

use crate::address::Address;
use crate::template::Template;

/// How tags are written, and what the daemon knows beyond the original's lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, clap::ValueEnum)]
pub enum Dialect {
    /// The original's lines, without tags: `web1.requests.code_200:1|c`
    Statsd,
    /// Datadog's: `requests:1|c|#code:200,source:web1`, distributions `|d`, several values in a line
    Dogstatsd,
    /// InfluxData's Telegraf: `requests,code=200,source=web1:1|c`
    Influx,
    /// Graphite's tags, which the original passes on: `requests;code=200;source=web1:1|c`
    Graphite,
    /// Librato's: `requests#code=200,source=web1:1|c`
    Librato,
}

/// What becomes of timers and distributions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, clap::ValueEnum)]
pub enum Timers {
    /// Exact figures of each flush: the counters .count and .sum, the gauges .min .max .mean .p50 .p90 .p99
    Aggregates,
    /// Values that stand for all there were, for the daemon to make figures of
    Samples,
}

/// What becomes of updown counters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, clap::ValueEnum)]
pub enum Updown {
    /// A gauge that is raised and lowered: `users:+3|g`
    Gauge,
    /// A counter, which also counts down: `users:-3|c`
    Counter,
}

/// What is done with lines of which nobody knows whether they have arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, clap::ValueEnum)]
pub enum Delivery {
    /// They are not sent again: counts may be too low
    AtMostOnce,
    /// They are sent again: counts may be too high
    AtLeastOnce,
}

/// Where and how to send.
#[derive(Debug, Clone, clap::Args)]
#[group(id = "statsd")]
#[command(next_help_heading = "StatsD")]
pub struct Options {
    /// The daemon: udp://HOST:PORT, tcp://HOST:PORT, unix:///PATH (a stream) or unixgram:///PATH
    #[arg(long, value_name = "URL", default_value = "udp://127.0.0.1:8125", env = "STATSD_ADDRESS")]
    pub address: Address,
    /// How tags are written
    #[arg(long, value_enum, default_value = "statsd", env = "STATSD_DIALECT")]
    pub dialect: Dialect,
    /// What names are made of: {name} and {source}, and any text; without {source} it is a tag where the dialect has
    /// tags, else left out [default: {source}.{name} with the dialect statsd, {name} with others]
    #[arg(long, value_name = "TEXT", env = "STATSD_TEMPLATE")]
    pub template: Option<Template>,
    /// What timers and distributions become [default: samples with the dialect dogstatsd, aggregates with others]
    #[arg(long, value_enum, env = "STATSD_TIMERS")]
    pub timers: Option<Timers>,
    /// With --timers samples: most values that stand for those of one timer and flush
    #[arg(long, value_name = "VALUES", default_value = "100", value_parser = clap::value_parser!(u16).range(1..=10_000), env = "STATSD_SAMPLES")]
    pub samples: u16,
    /// What updown counters become [default: counter with the dialect dogstatsd, gauge with others]
    #[arg(long, value_enum, env = "STATSD_UPDOWN")]
    pub updown: Option<Updown>,
    /// With the dialect dogstatsd: send times with counters and gauges (needs Datadog's agent 7.40 or later)
    #[arg(long, env = "STATSD_TIMESTAMPS", value_parser = FalseyValueParser::new())]
    pub timestamps: bool,
    /// The largest packet that the path takes, headers included [default: as the system knows it, at most 4096]
    #[arg(long, value_name = "BYTES", value_parser = clap::value_parser!(u32).range(128..=65_535), env = "STATSD_MTU")]
    pub mtu: Option<u32>,
    /// What is done with lines of which nobody knows whether they have arrived, because StatsD has no acknowledgements
    #[arg(long, value_enum, default_value = "at-most-once", env = "STATSD_DELIVERY")]
    pub delivery: Delivery,
    /// Over a stream: keep the connection open, and so do without the confirmation that everything was read
    #[arg(long, env = "STATSD_KEEP_CONNECTION", value_parser = FalseyValueParser::new())]
    pub keep_connection: bool,
    /// How long connecting, writing and the confirmation may take, each
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = seconds, env = "STATSD_TIMEOUT")]
    pub timeout: Duration,
}

impl Options {
    pub(crate) fn timers(&self) -> Timers {
        let default = if self.dialect == Dialect::Dogstatsd { Timers::Samples } else { Timers::Aggregates };
        self.timers.unwrap_or(default)
    }

    pub(crate) fn updown(&self) -> Updown {
        let default = if self.dialect == Dialect::Dogstatsd { Updown::Counter } else { Updown::Gauge };
        self.updown.unwrap_or(default)
    }

    pub(crate) fn template(&self) -> Template {
        let default =
            if self.dialect == Dialect::Statsd { Template::source_and_name } else { Template::name };
        self.template.clone().unwrap_or_else(default)
    }
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().ok().filter(|s| (0.1..=100.0).contains(s));
    seconds.map(Duration::from_secs_f64).ok_or_else(|| "it is no number of seconds from 0.1 to 100".into())
}
