//! `zibrato config`: what a configuration file means.

use std::process::ExitCode;
use std::time::UNIX_EPOCH;

use zibrato_worker::{Preview, Series};

use super::File;
use super::config::{self, Section, Source};
use crate::failure::{FAILED, Failure, complain};
use crate::labels::{level_label, name, tag};
use crate::output::{BAD, DIM, HEADING, Output, styled};

const AFTER_HELP: &str = "\
Examples:
  zibrato config check --config zibrato.toml
  zibrato config check counter web.requests 3 --tag method=GET --source web-1
  zibrato config check timer db.query 0.25 --level debug

Exit status: 0 when the file can be used, 1 when it cannot, 2 when the command line was wrong.";

/// The options of `zibrato config`.
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Options {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Explain a configuration file, and what would become of a measurement in each backend
    #[command(after_help = AFTER_HELP)]
    Check(Check),
}

#[derive(Debug, clap::Args)]
struct Check {
    /// What kind of metric it is
    #[arg(requires = "name")]
    kind: Option<Kind>,

    /// The metric's name
    #[arg(value_parser = name)]
    name: Option<String>,

    /// The increase (1 if not given), the duration in seconds, or the value
    #[arg(allow_negative_numbers = true, default_value = "1")]
    value: f64,

    /// The level it is measured at
    #[arg(long, default_value = zibrato_core::level::DEFAULT, value_parser = level_label)]
    level: String,

    /// Where it is measured
    #[arg(long, default_value = "localhost", value_parser = name)]
    source: String,

    /// A tag of the metric; may be repeated
    #[arg(long = "tag", value_name = "NAME=VALUE", value_parser = tag)]
    tags: Vec<(String, String)>,

    #[command(flatten)]
    file: File,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Kind {
    /// A total that rises
    Counter,
    /// A total that may fall
    Updown,
    /// Durations, in seconds
    Timer,
    /// Values of anything else
    Distribution,
    /// A last value
    Gauge,
}

impl Kind {
    fn of_frames(self) -> zibrato_worker::Kind {
        match self {
            Kind::Counter => zibrato_worker::Kind::Counter,
            Kind::Updown => zibrato_worker::Kind::Updown,
            Kind::Timer => zibrato_worker::Kind::Timer,
            Kind::Distribution => zibrato_worker::Kind::Distribution,
            Kind::Gauge => zibrato_worker::Kind::Gauge,
        }
    }
}

pub(crate) fn main(options: &Options) -> Result<ExitCode, Failure> {
    let Command::Check(check) = &options.command;
    let mut out = Output::new();
    let config = match config::read(&check.file.config) {
        Ok(config) => config,
        Err(problems) => {
            problems.iter().for_each(|problem| complain(&problem.to_string()));
            return Ok(ExitCode::from(FAILED));
        }
    };
    let source = &config.source;
    let count = config.sections.len();
    let plural = if count == 1 { "" } else { "s" };
    out.line(&format!("{}: {count} worker{plural} over one subscription", check.file.config.display()))?;
    let mut good = true;
    for section in &config.sections {
        out.line("")?;
        good &= explain(&mut out, section, source)?;
        if let Some((kind, name)) = check.kind.zip(check.name.as_deref()) {
            preview(&mut out, section, source, check, kind, name)?;
        }
    }
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::from(FAILED) })
}

/// Prints what a worker does, and whether it could start.
fn explain(out: &mut Output, section: &Section, source: &Source) -> Result<bool, Failure> {
    let mut worker = section.worker(source).map_err(Failure::To)?;
    let options = worker.options();
    let mut line =
        |name: &str, text: &str| out.line(&format!("  {} {text}", styled(DIM, &format!("{name:8}"))));
    let state = options.state.as_ref().map(|path| path.display().to_string()).unwrap_or_default();
    let title = format!("{} {}", styled(HEADING, &section.name), section.kind.name());
    let (broker_text, levels) = (options.broker.clone(), options.levels.to_string());
    let flush = format!("every {} s", options.flush.as_secs_f64());
    let plain = |argument: &&String| {
        !["--levels=", "--flush=", "--state="].iter().any(|known| argument.starts_with(known))
    };
    let own: Vec<&str> = section.arguments.iter().skip(1).filter(plain).map(String::as_str).collect();
    let protection = match options.brokers() {
        Ok(brokers) if brokers.iter().all(|broker| broker.security().is_plain()) => "none".to_string(),
        Ok(_) => "CURVE".to_string(),
        Err(why) => return Err(Failure::To(why.to_string())),
    };
    let opened = worker.check();
    line("worker", &title)?;
    line("brokers", &broker_text)?;
    line("security", &protection)?;
    line("levels", &levels)?;
    line("flush", &flush)?;
    line("state", &state)?;
    if !own.is_empty() {
        line("options", &own.join(" "))?;
    }
    match opened {
        Ok(()) => Ok(true),
        Err(why) => {
            line("problem", &styled(BAD, &format!("it could not start: failed to {why}")))?;
            Ok(false)
        }
    }
}

/// Prints what would become of the measurement.
fn preview(
    out: &mut Output,
    section: &Section,
    listens: &Source,
    check: &Check,
    kind: Kind,
    name: &str,
) -> Result<(), Failure> {
    let mut tags = check.tags.clone();
    tags.sort();
    let source = check.source.clone();
    let series = Series { name: name.into(), source, tags, kind: kind.of_frames() };
    let now = UNIX_EPOCH.elapsed().map_or(0, |now| u64::try_from(now.as_nanos()).unwrap_or(u64::MAX));
    let worker = section.worker(listens).map_err(Failure::To)?;
    let text = match worker.preview(&check.level, series, check.value, now) {
        Ok(Preview::LeftOut { why }) => format!("left out by {why}"),
        Ok(Preview::Refused { why }) => format!("cannot be stored: {why}"),
        Ok(Preview::Sent { text }) => text,
        Err(why) => return Err(Failure::To(why.to_string())),
    };
    out.line(&format!("  {}", styled(DIM, "sends")))?;
    text.lines().try_for_each(|line| out.line(&format!("    {line}")))
}
