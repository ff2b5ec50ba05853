//! `zibrato send`: measure something from a shell.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::ValueEnum;

use crate::failure::{FAILED, Failure, complain};
use crate::labels::{Labels, name};
use crate::measure::{Amount, Measured, deliver};

const AFTER_HELP: &str = "\
Examples:
  zibrato send counter deploys
  zibrato send counter mails 12 --level debug --tag queue=urgent
  zibrato send updown seats_free -2
  zibrato send gauge temperature 21.5 --source attic
  zibrato send timer import 3.75
  zibrato send --spilled /var/spool/zibrato

Exit status: 0 when a broker has acknowledged it, 1 when none has within the deadline, 2 when the
command line was wrong.";

/// The options of `zibrato send`.
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Options {
    /// What kind of metric it is
    #[arg(required_unless_present = "spilled")]
    kind: Option<Kind>,

    /// The metric's name
    #[arg(required_unless_present = "spilled", value_parser = name)]
    name: Option<String>,

    /// By how much to count (1 if not given), the duration in seconds, or the value
    #[arg(allow_negative_numbers = true)]
    value: Option<String>,

    /// Deliver what other programs have left in this directory because no broker acknowledged it
    #[arg(long, value_name = "DIR", conflicts_with_all = ["kind", "name", "value"])]
    spilled: Option<PathBuf>,

    #[command(flatten)]
    labels: Labels,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
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

pub(crate) fn main(options: &Options) -> Result<ExitCode, Failure> {
    let labels = &options.labels;
    if let Some(directory) = &options.spilled {
        return send_spilled(directory, labels);
    }
    // clap has made sure that both are there.
    let (Some(kind), Some(name)) = (options.kind, &options.name) else {
        return Err(Failure::Usage("a kind and a name are needed".into()));
    };
    let measured = measured(kind, options.value.as_deref()).map_err(Failure::Usage)?;
    Ok(if deliver(name, labels, measured)? { ExitCode::SUCCESS } else { ExitCode::from(FAILED) })
}

fn measured(kind: Kind, value: Option<&str>) -> Result<Measured, String> {
    let amount = || value.map_or(Ok(Amount::Whole(1)), amount);
    let needed = |what: &str| {
        let value = value.ok_or_else(|| format!("this kind needs a value: {what}"))?;
        number(value)
    };
    Ok(match kind {
        Kind::Counter => match amount()? {
            Amount::Whole(n) if n >= 0 => Measured::Count(Amount::Whole(n)),
            Amount::Float(n) if n >= 0.0 => Measured::Count(Amount::Float(n)),
            _ => return Err("a counter never falls; `zibrato send updown` is for what does".into()),
        },
        Kind::Updown => Measured::Change(amount()?),
        Kind::Timer => {
            let seconds = needed("the duration in seconds")?;
            let time = Duration::try_from_secs_f64(seconds);
            Measured::Duration(time.map_err(|_| format!("{seconds} s is no duration"))?)
        }
        Kind::Distribution => Measured::Value(needed("the number to record")?),
        Kind::Gauge => Measured::Gauge(needed("the number to set it to")?),
    })
}

fn amount(text: &str) -> Result<Amount, String> {
    match text.trim().parse() {
        Ok(whole) => Ok(Amount::Whole(whole)),
        Err(_) => number(text).map(Amount::Float),
    }
}

fn number(text: &str) -> Result<f64, String> {
    let number: Option<f64> = text.trim().parse().ok();
    number.filter(|n| n.is_finite()).ok_or_else(|| format!("{text:?} is no number"))
}

fn send_spilled(directory: &std::path::Path, labels: &Labels) -> Result<ExitCode, Failure> {
    let failed = |why: String| Failure::To(format!("deliver what is in {}: {why}", directory.display()));
    std::fs::read_dir(directory).map_err(|why| failed(why.to_string()))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|why| failed(why.to_string()))?;
    let brokers = labels.broker.brokers()?;
    let done = runtime.block_on(zibrato::spill::deliver(directory, &brokers, labels.deadline));
    complain(&format!("{} delivered, {} left in {}", files(done.delivered), done.left, directory.display()));
    if done.left > 0 {
        let brokers: Vec<String> = brokers.iter().map(ToString::to_string).collect();
        return Err(failed(format!("no broker at {} has acknowledged all of it", brokers.join(","))));
    }
    Ok(ExitCode::SUCCESS)
}

fn files(number: usize) -> String {
    format!("{number} {}", if number == 1 { "file" } else { "files" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_read_as_their_kind_has_them() {
        assert_eq!(measured(Kind::Counter, None), Ok(Measured::Count(Amount::Whole(1))));
        let large = i64::MAX.to_string();
        assert_eq!(measured(Kind::Counter, Some(&large)), Ok(Measured::Count(Amount::Whole(i64::MAX))));
        assert_eq!(measured(Kind::Counter, Some("0.5")), Ok(Measured::Count(Amount::Float(0.5))));
        assert_eq!(measured(Kind::Updown, Some("-3")), Ok(Measured::Change(Amount::Whole(-3))));
        let duration = Duration::from_millis(1500);
        assert_eq!(measured(Kind::Timer, Some("1.5")), Ok(Measured::Duration(duration)));
        assert_eq!(measured(Kind::Gauge, Some("-3.5")), Ok(Measured::Gauge(-3.5)));
        for (kind, bad) in [
            (Kind::Counter, Some("-1")),
            (Kind::Counter, Some("nan")),
            (Kind::Updown, Some("inf")),
            (Kind::Timer, Some("-1")),
            (Kind::Timer, None),
            (Kind::Gauge, Some("")),
        ] {
            assert!(measured(kind, bad).is_err(), "{kind:?} {bad:?}");
        }
    }
}
