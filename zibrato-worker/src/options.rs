//! What every worker program can be told on its command line or in its environment.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::FalseyValueParser;
use zibrato_core::ledger::Limits;
use zibrato_core::level::Levels;
use zibrato_transport::{Broker, KeyFiles};

use crate::error::Error;
use crate::settle::Rules;
use crate::shape::{AddedTag, Rename, Selector, Shape};
use crate::shard::Shard;

/// The options of every worker program. Each has a twin in the environment, which the command line overrides.
#[derive(Debug, Clone, clap::Args)]
#[non_exhaustive]
pub struct Options {
    /// Brokers to listen to, comma-separated: `tcp://HOST` or `tcp://HOST:PORT`
    #[arg(long, env = "ZIBRATO_BROKER", default_value = "tcp://127.0.0.1", value_name = "URLS")]
    pub broker: String,
    /// The worker's own key for CURVE, the file NAME.key_secret; goes with --broker-key
    #[arg(long, env = "ZIBRATO_KEY", value_name = "FILE")]
    pub key: Option<PathBuf>,
    /// The brokers' public keys, files NAME.key, comma-separated: one for all, or one for each
    #[arg(long, env = "ZIBRATO_BROKER_KEY", value_name = "FILES")]
    pub broker_key: Option<String>,
    /// Levels to listen to, comma-separated: * for all, !LEVEL for all but one
    #[arg(long, env = "ZIBRATO_LEVELS", default_value = "*", value_name = "LEVELS")]
    pub levels: Levels,
    /// Seconds between two flushes; fractions are allowed
    #[arg(long, env = "ZIBRATO_FLUSH", default_value = "10", value_name = "SECONDS", value_parser = seconds)]
    pub flush: Duration,
    /// Directory for what must not be lost [default: ~/.local/state/zibrato/NAME]
    #[arg(long, env = "ZIBRATO_STATE", value_name = "DIR")]
    pub state: Option<PathBuf>,
    /// Print exactly what would be sent, send nothing, and change nothing on disk
    #[arg(long, env = "ZIBRATO_DRY_RUN", value_parser = FalseyValueParser::new())]
    pub dry_run: bool,
    /// Log more; twice for everything
    #[arg(long, short, env = "ZIBRATO_VERBOSE", action = clap::ArgAction::Count)]
    pub verbose: u8,
    /// Share the load with other workers of the same backend: which one of how many, as in 2/8
    #[arg(long, env = "ZIBRATO_SHARD", default_value = "1/1", value_name = "I/N")]
    pub shard: Shard,
    /// How many unsent batches may wait in the state directory
    #[arg(long, env = "ZIBRATO_OUTBOX_LIMIT", default_value = "1000", value_name = "BATCHES", value_parser = some)]
    pub outbox_limit: usize,
    /// How much memory totals may take, about: a number, also with K, M or G; no one program gets more than half
    #[arg(long, env = "ZIBRATO_MAX_BYTES", default_value = "512M", value_name = "BYTES", value_parser = bytes)]
    pub max_bytes: usize,
    /// How many programs may be remembered, each level of one for itself; no one source gets more than half
    #[arg(long, env = "ZIBRATO_MAX_INSTANCES", default_value = "100000", value_name = "N", value_parser = some)]
    pub max_instances: usize,
    /// Of how many series running totals are kept, for backends that are told totals; no one source gets more than half
    #[arg(long, env = "ZIBRATO_MAX_SERIES", default_value = "1000000", value_name = "N", value_parser = some)]
    pub max_series: usize,
    /// Send only these: NAME, NAME{TAG=VALUE,...} or {TAG=VALUE,...}, where * and ? stand for others; `;` between two
    #[arg(long, env = "ZIBRATO_KEEP", value_name = "SELECTOR", value_delimiter = ';', help_heading = SHAPE)]
    pub keep: Vec<Selector>,
    /// Leave these out, in the same form
    #[arg(long, env = "ZIBRATO_DROP", value_name = "SELECTOR", value_delimiter = ';', help_heading = SHAPE)]
    pub drop: Vec<Selector>,
    /// Send under another name: FROM=TO, as in web.*=site.*; the first that fits counts; `;` between two
    #[arg(long, env = "ZIBRATO_RENAME", value_name = "FROM=TO", value_delimiter = ';', help_heading = SHAPE)]
    pub rename: Vec<Rename>,
    /// Add a tag to what has none of its name: NAME=VALUE; `;` between two
    #[arg(long, env = "ZIBRATO_TAG", value_name = "NAME=VALUE", value_delimiter = ';', help_heading = SHAPE)]
    pub tag: Vec<AddedTag>,
    /// Add a tag of this name that says which start of which program has measured
    #[arg(long, env = "ZIBRATO_INSTANCE_TAG", value_name = "NAME", value_parser = tag, help_heading = SHAPE)]
    pub instance_tag: Option<String>,
    /// The admin port, of the whole process.
    #[command(flatten)]
    pub admin: zibrato_admin::Options,
    /// What the worker is called where there are several of one backend; its state directory is then named after it.
    #[arg(skip)]
    pub name: Option<String>,
}

/// Over what changes measurements on their way, in `--help`.
const SHAPE: &str = "What is sent";

impl Default for Options {
    fn default() -> Self {
        Options {
            broker: "tcp://127.0.0.1".into(),
            key: None,
            broker_key: None,
            levels: Levels::default(),
            flush: Duration::from_secs(10),
            state: None,
            dry_run: false,
            verbose: 0,
            shard: Shard::WHOLE,
            outbox_limit: 1000,
            max_bytes: Limits::default().bytes,
            max_instances: Limits::default().instances,
            max_series: Rules::default().series,
            keep: Vec::new(),
            drop: Vec::new(),
            rename: Vec::new(),
            tag: Vec::new(),
            instance_tag: None,
            admin: zibrato_admin::Options::default(),
            name: None,
        }
    }
}

impl Options {
    /// The brokers, with the keys for them.
    ///
    /// # Errors
    /// When their addresses cannot be read, or keys are given that cannot be used.
    pub fn brokers(&self) -> Result<Vec<Broker>, Error> {
        let bad = |why: &dyn std::fmt::Display| Error::Option { why: why.to_string() };
        let mut brokers = zibrato_transport::parse_brokers(&self.broker).map_err(|why| bad(&why))?;
        self.key_files().secure(&mut brokers).map_err(|why| bad(&why))?;
        Ok(brokers)
    }

    fn key_files(&self) -> KeyFiles {
        KeyFiles { key: self.key.clone(), broker_key: self.broker_key.clone() }
    }

    /// Logs what operators should know of how the connections to brokers are protected. To be called once, at the start.
    pub fn warn_of_security(&self, brokers: &[Broker]) {
        self.key_files().warnings(brokers).iter().for_each(|warning| tracing::warn!("{warning}"));
    }

    /// What is left out, renamed and added.
    ///
    /// # Errors
    /// When series of several shards could become one.
    pub fn shape(&self) -> Result<Shape, Error> {
        if self.shard != Shard::WHOLE && !self.rename.is_empty() {
            let why = "--rename could make one series of those of several shards; leave it or --shard away";
            return Err(Error::Option { why: why.into() });
        }
        Ok(Shape {
            keep: self.keep.clone(),
            drop: self.drop.clone(),
            rename: self.rename.clone(),
            tags: self.tag.clone(),
            instance_tag: self.instance_tag.clone(),
        })
    }

    /// The state directory of the backend `name`: the one given, or one in the place for state of the service
    /// (`STATE_DIRECTORY`, from systemd) or of the user.
    ///
    /// # Errors
    /// When none is given and there is no such place.
    pub fn state_directory(&self, name: &str) -> Result<PathBuf, Error> {
        if let Some(given) = &self.state {
            return Ok(given.clone());
        }
        let name = self.name.as_deref().unwrap_or(name);
        let place = |variable| std::env::var_os(variable).filter(|value: &OsString| !value.is_empty());
        let zibrato = if let Some(service) = place("STATE_DIRECTORY") {
            PathBuf::from(service)
        } else if let Some(user) = place("XDG_STATE_HOME").or_else(|| place("LOCALAPPDATA")) {
            PathBuf::from(user).join("zibrato")
        } else if let Some(home) = place("HOME") {
            PathBuf::from(home).join(".local/state/zibrato")
        } else {
            return Err(Error::Option { why: "there is no home directory; give --state".into() });
        };
        Ok(match self.shard {
            Shard::WHOLE => zibrato.join(name),
            shard => zibrato.join(format!("{name}-{}-of-{}", shard.index(), shard.count())),
        })
    }
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.trim().parse().map_err(|_| format!("{text:?} is no number of seconds"))?;
    match Duration::try_from_secs_f64(seconds) {
        Ok(time) if time >= Duration::from_millis(10) && seconds <= 86_400.0 => Ok(time),
        _ => Err("it must be from 0.01 to 86400 seconds".into()),
    }
}

fn tag(name: &str) -> Result<String, String> {
    zibrato_core::limits::check_name(name).map_err(|why| why.to_string())?;
    Ok(name.into())
}

fn some(text: &str) -> Result<usize, String> {
    match text.trim().parse() {
        Ok(0) => Err("it must be at least 1".into()),
        Ok(number) => Ok(number),
        Err(_) => Err(format!("{text:?} is no number")),
    }
}

fn bytes(text: &str) -> Result<usize, String> {
    zibrato_core::limits::parse_bytes(text)
        .ok_or_else(|| format!("{text:?} is no size; write something like 512M or 2G"))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Program {
        #[command(flatten)]
        worker: Options,
    }

    fn parse(arguments: &[&str]) -> Result<Options, clap::Error> {
        Program::try_parse_from([&["program"], arguments].concat()).map(|program| program.worker)
    }

    #[test]
    fn variables_switch_on_what_needs_no_value() {
        let command = <Program as clap::CommandFactory>::command();
        let dry_run = command.get_arguments().find(|argument| argument.get_id() == "dry_run").unwrap();
        for (text, on) in
            [("1", true), ("true", true), ("yes", true), ("0", false), ("false", false), ("", false)]
        {
            let value = dry_run.get_value_parser().clone();
            let argument = clap::Arg::new("x").long("x").num_args(1).value_parser(value);
            let given =
                clap::Command::new("p").arg(argument).try_get_matches_from(["p", "--x", text]).unwrap();
            assert_eq!(given.get_one::<bool>("x"), Some(&on), "{text:?}");
        }
    }

    #[test]
    fn options_have_defaults_and_are_checked() {
        let options = parse(&[]).unwrap();
        assert_eq!(options.flush, Duration::from_secs(10));
        assert_eq!(options.brokers().unwrap().len(), 1);
        let arguments = ["--flush", "0.25", "--levels", " info , debug", "--shard", "2/8", "-vv"];
        let options = parse(&arguments).unwrap();
        assert_eq!((options.flush, options.verbose), (Duration::from_millis(250), 2));
        assert!(options.levels.contains("debug") && !options.levels.contains("deb"));
        assert_eq!(options.shard.to_string(), "2/8");
        for bad in [["--flush", "0"], ["--flush", "nan"], ["--flush", "-1"], ["--shard", "9/8"]] {
            assert!(parse(&bad).is_err(), "{bad:?}");
        }
        for bad in [["--outbox-limit", "0"], ["--levels", "a|b"], ["--instance-tag", ""]] {
            assert!(parse(&bad).is_err(), "{bad:?}");
        }
        assert!(parse(&["--broker", "http://x"]).unwrap().brokers().is_err());
    }
}
