//! What `send` and `time` can be told about a metric beside its name.

use std::time::Duration;

use zibrato_core::{level, limits};

use crate::broker_option::{BrokerOption, seconds};
use crate::failure::Failure;

/// Level, source and tags of what is measured, and where it goes.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Labels {
    /// Level to measure at
    #[arg(long, env = "ZIBRATO_LEVEL", default_value = level::DEFAULT, value_parser = level_label)]
    pub(crate) level: String,

    /// Source of the metric [default: the host's name]
    #[arg(long, env = "ZIBRATO_SOURCE", value_parser = name)]
    pub(crate) source: Option<String>,

    /// A tag of the metric; may be repeated
    #[arg(long = "tag", value_name = "NAME=VALUE", value_parser = tag)]
    pub(crate) tags: Vec<(String, String)>,

    #[command(flatten)]
    pub(crate) broker: BrokerOption,

    /// How many seconds to wait for a broker's acknowledgement
    #[arg(long, env = "ZIBRATO_DEADLINE", default_value = "3", value_name = "SECONDS", value_parser = seconds)]
    pub(crate) deadline: Duration,

    /// Directory for what no broker acknowledged, for `zibrato send --spilled` [default: it is lost]
    #[arg(long, env = "ZIBRATO_SPILL", value_name = "DIR")]
    pub(crate) spill: Option<std::path::PathBuf>,
}

impl Labels {
    /// Whether so many more tags have room beside those that were given.
    pub(crate) fn check_tags(&self, more: usize) -> Result<(), Failure> {
        match self.tags.len() + more <= limits::TAGS {
            true => Ok(()),
            false => Err(Failure::Usage(format!("a metric has at most {} tags", limits::TAGS))),
        }
    }

    /// Adds a tag, as if it had been given after all others.
    pub(crate) fn with_tag(mut self, name: &str, value: &str) -> Labels {
        self.tags.push((name.into(), value.into()));
        self
    }
}

/// The name of a metric or a source.
pub(crate) fn name(text: &str) -> Result<String, String> {
    limits::check_name(text).map_err(|why| why.to_string())?;
    Ok(text.into())
}

pub(crate) fn level_label(text: &str) -> Result<String, String> {
    limits::check_level(text).map_err(|why| why.to_string())?;
    Ok(text.into())
}

pub(crate) fn tag(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("write it as NAME=VALUE")?;
    for part in [name, value] {
        limits::check_name(part).map_err(|why| format!("{part:?}: {why}"))?;
    }
    Ok((name.into(), value.into()))
}
