//! `--broker`, which is the same for every subcommand that connects.

use zibrato_transport::{Broker, parse_brokers};

/// Which brokers to connect to.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct BrokerOption {
    /// Brokers, comma-separated: tcp://HOST[:PORT]
    #[arg(long, env = "ZIBRATO_BROKER", default_value = "tcp://127.0.0.1", value_name = "URLS")]
    #[arg(value_parser = brokers)]
    pub(crate) broker: Brokers,
}

/// At least one broker.
#[derive(Debug, Clone)]
pub(crate) struct Brokers(pub(crate) Vec<Broker>);

impl std::fmt::Display for Brokers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let all: Vec<String> = self.0.iter().map(ToString::to_string).collect();
        f.write_str(&all.join(","))
    }
}

fn brokers(text: &str) -> Result<Brokers, String> {
    parse_brokers(text).map(Brokers).map_err(|why| format!("failed to {why}"))
}

/// A number of seconds for an option, from 0.01 to a day.
pub(crate) fn seconds(text: &str) -> Result<std::time::Duration, String> {
    let seconds: f64 = text.trim().parse().map_err(|_| "it is no number of seconds".to_string())?;
    match std::time::Duration::try_from_secs_f64(seconds) {
        Ok(time) if (0.01..=86_400.0).contains(&seconds) => Ok(time),
        _ => Err("it must be from 0.01 to 86400 seconds".into()),
    }
}
