//! `--broker`, which is the same for every subcommand that connects.

use std::path::PathBuf;

use zibrato_transport::{Broker, KeyFiles, parse_brokers};

use crate::failure::{Failure, complain};

/// Which brokers to connect to.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct BrokerOption {
    /// Brokers, comma-separated: tcp://HOST[:PORT]
    #[arg(long, env = "ZIBRATO_BROKER", default_value = "tcp://127.0.0.1", value_name = "URLS")]
    #[arg(value_parser = brokers)]
    broker: Brokers,

    /// Own key for CURVE, the file NAME.key_secret; goes with --broker-key
    #[arg(long, env = "ZIBRATO_KEY", value_name = "FILE")]
    key: Option<PathBuf>,

    /// The brokers' public keys, files NAME.key, comma-separated: one for all, or one for each
    #[arg(long, env = "ZIBRATO_BROKER_KEY", value_name = "FILES")]
    broker_key: Option<String>,
}

impl BrokerOption {
    /// The brokers with the keys for them; says on stderr what is not protected.
    pub(crate) fn brokers(&self) -> Result<Vec<Broker>, Failure> {
        let mut brokers = self.broker.0.clone();
        let files = KeyFiles { key: self.key.clone(), broker_key: self.broker_key.clone() };
        files.secure(&mut brokers).map_err(|why| Failure::To(why.to_string()))?;
        files.warnings(&brokers).iter().for_each(|warning| complain(warning));
        Ok(brokers)
    }

    /// Has the library send there, with the same keys.
    pub(crate) fn tell(&self, mut builder: zibrato::Builder) -> zibrato::Builder {
        builder = builder.broker(self.broker.to_string());
        if let Some(key) = &self.key {
            builder = builder.key(key);
        }
        match &self.broker_key {
            Some(files) => builder.broker_key(files),
            None => builder,
        }
    }
}

/// At least one broker.
#[derive(Debug, Clone)]
struct Brokers(Vec<Broker>);

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
