//! `zibrato tail`: print what passes a broker.

mod lines;
mod rows;

pub(crate) use rows::in_unit;

use std::collections::HashMap;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use tokio::time::{MissedTickBehavior, interval};
use zibrato_core::clock::unix_nanos;
use zibrato_core::frame::Kind;
use zibrato_core::ledger::Change;
use zibrato_core::level::Levels;

use crate::broker_option::{BrokerOption, seconds};
use crate::failure::{Failure, complain};
use crate::figures::{Figures, Period, Series, add_up};
use crate::listener::{Heard, Listener};
use crate::output::{self, Output};

/// How often frames that cannot be understood are spoken of at most.
const COMPLAIN: Duration = Duration::from_secs(10);
/// Most gauges of which the last value is remembered.
const GAUGES: usize = 100_000;

const AFTER_HELP: &str = "\
Examples:
  zibrato tail
  zibrato tail --levels error,critical --interval 10
  zibrato tail --name 'web.*' --json | jq 'select(.p99 > 0.1)'
  zibrato tail --levels '*'           also what Zibrato measures of itself

Each row or line tells what happened to a metric since the one before. With --json its keys are time,
level, kind, name, source, tags, and as they apply count, sum, min, max, last, p50, p90 and p99; timers
are in seconds. Of a counter, count and sum are what was counted.

Exit status: 0 when stopped or when nobody reads the output any more, 1 when it failed.";

/// The options of `zibrato tail`.
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Options {
    #[command(flatten)]
    broker: BrokerOption,

    /// Levels to listen to, comma-separated: * for all, !LEVEL for all but one
    #[arg(long, env = "ZIBRATO_LEVELS", default_value = "*,!zibrato", value_name = "LEVELS")]
    levels: Levels,

    /// Only metrics whose names match this pattern (*, ? and [...]); may be repeated
    #[arg(long, env = "ZIBRATO_NAME", value_name = "GLOB", value_delimiter = ',')]
    name: Vec<glob::Pattern>,

    /// Print one JSON object a line
    #[arg(long)]
    json: bool,

    /// How often to print, in seconds
    #[arg(long, env = "ZIBRATO_TAIL_INTERVAL", default_value = "1", value_name = "SECONDS", value_parser = seconds)]
    interval: Duration,

    /// Stop after so many seconds
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    seconds: Option<Duration>,
}

/// What happened to one metric.
struct Seen<'a> {
    /// When, in nanoseconds since 1970 UTC.
    time: u64,
    series: &'a Series,
    /// Of its values, empty where unknown.
    unit: &'a str,
    figures: Figures,
}

pub(crate) fn main(options: &Options) -> Result<ExitCode, Failure> {
    output::runtime()?.block_on(tail(options))
}

async fn tail(options: &Options) -> Result<ExitCode, Failure> {
    let signals = |why| Failure::To(format!("handle signals: {why}"));
    let mut stopped = std::pin::pin!(zibrato_worker::stop_signal().map_err(signals)?);
    let mut closed = std::pin::pin!(output::closed());
    let over = async {
        match options.seconds {
            Some(seconds) => tokio::time::sleep(seconds).await,
            None => std::future::pending().await,
        }
    };
    let mut over = std::pin::pin!(over);
    let brokers = options.broker.brokers()?;
    let mut tail = Tail {
        listener: Listener::start(&brokers, options.levels.clone()),
        names: options.name.clone(),
        output: Output::new(),
        rows: (!options.json).then(rows::Rows::default),
        gauges: HashMap::new(),
        brokers: vec![Hearing::Never; brokers.len()],
        bad: (0, None),
    };
    let mut tick = interval(options.interval);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    tick.tick().await;
    loop {
        tokio::select! {
            heard = tail.listener.hear() => tail.tell(heard),
            _ = tick.tick() => tail.print()?,
            () = &mut closed => return Err(Failure::OutputClosed),
            () = &mut stopped => break,
            () = &mut over => break,
        }
    }
    // What has arrived belongs to it.
    while let Ok(heard) = tokio::time::timeout(Duration::ZERO, tail.listener.hear()).await {
        tail.tell(heard);
    }
    tail.print()?;
    Ok(ExitCode::SUCCESS)
}

/// Whether a broker is heard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Hearing {
    Never,
    Heard,
    Silent,
}

struct Tail {
    listener: Listener,
    names: Vec<glob::Pattern>,
    output: Output,
    /// Of the table, if there is one.
    rows: Option<rows::Rows>,
    /// The values that were printed last: a gauge is sent also when it did not change.
    gauges: HashMap<Series, f64>,
    brokers: Vec<Hearing>,
    bad: (u64, Option<Instant>),
}

impl Tail {
    /// Says on stderr what was heard of a broker.
    fn tell(&mut self, heard: Heard) {
        let (number, now) = match heard {
            Heard::Frames => return,
            Heard::Silent(number) => (number, Hearing::Silent),
            Heard::Refused(number, why) => {
                return complain(&format!("{}: failed to {why}", self.listener.broker(number)));
            }
            Heard::Back(number) => (number, Hearing::Heard),
        };
        let broker = self.listener.broker(number);
        let Some(before) = self.brokers.get_mut(number) else { return };
        complain(&match (*before, now) {
            (Hearing::Never, Hearing::Heard) => format!("listening to {broker}"),
            (Hearing::Never, _) => format!("nothing is heard of the broker at {broker}; waiting for it"),
            (_, Hearing::Heard) => format!("the broker at {broker} is back"),
            _ => format!("the broker at {broker} is silent; waiting for it"),
        });
        *before = now;
    }

    fn print(&mut self) -> Result<(), Failure> {
        let now = unix_nanos();
        let Period { sums, points } = add_up(self.listener.settle());
        let mut text = Vec::new();
        let wanted = |series: &Series| {
            self.names.is_empty() || self.names.iter().any(|pattern| pattern.matches(&series.name))
        };
        for (series, change) in sums.iter().filter(|(series, _)| wanted(series)) {
            if is_news(&mut self.gauges, series, change) {
                let figures = Figures::of(series.kind, change);
                text.push(Seen { time: now, series, unit: self.listener.unit(&series.name), figures });
            }
        }
        for (series, time, value) in points.iter().filter(|(series, ..)| wanted(series)) {
            let figures = Figures { last: Some(*value), ..Figures::default() };
            text.push(Seen { time: *time, series, unit: self.listener.unit(&series.name), figures });
        }
        let text = match &mut self.rows {
            _ if text.is_empty() => String::new(),
            Some(rows) => rows.text(&text, output::terminal_size()),
            None => lines::text(&text),
        };
        if !text.is_empty() {
            self.output.write(&text)?;
        }
        self.complain_of_bad();
        Ok(())
    }

    fn complain_of_bad(&mut self) {
        let bad = self.listener.bad();
        let (told, when) = self.bad;
        if bad > told && when.is_none_or(|when| when.elapsed() > COMPLAIN) {
            complain(&format!("{} frames could not be understood in whole", bad - told));
            self.bad = (bad, Some(Instant::now()));
        }
    }
}

/// Whether there is anything new to say.
fn is_news(gauges: &mut HashMap<Series, f64>, series: &Series, change: &Change) -> bool {
    match change {
        Change::Total(total) => series.kind != Kind::Updown || !total.is_zero(),
        Change::Gauge { last, statistics, .. } => {
            if gauges.len() > GAUGES {
                gauges.clear();
            }
            gauges.insert(series.clone(), *last) != Some(*last) || statistics.is_some()
        }
        _ => true,
    }
}
