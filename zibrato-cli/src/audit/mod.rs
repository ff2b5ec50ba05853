//! `zibrato audit`: ask a running system whether anything was lost, and where.

mod compare;
mod live;
mod sent;
mod show;
mod workers;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use futures::future::join_all;
use serde_json::{Value, json};
use tokio::time::Instant;
use zibrato_core::clock::unix_nanos;
use zibrato_worker::Snapshot;

use self::compare::{Found, Metric, Report, compare};
use self::sent::{Questions, Sent};
use self::workers::Group;
use crate::broker_option::{BrokerOption, seconds};
use crate::failure::{Failure, complain};
use crate::output::{self, Output};

/// How often workers are looked at again while they are behind.
const LOOK_AGAIN: Duration = Duration::from_millis(500);
/// Exit statuses; that of a wrong command line is the same as that of not knowing.
const DIFFER: u8 = 1;
const CANNOT_TELL: u8 = 2;

const AFTER_HELP: &str = "\
Examples:
  zibrato audit                              this machine's broker and workers
  zibrato audit --metric 'web.*'             by metric
  zibrato audit --state /var/lib/zibrato-json/json --json | jq .verdict

State directories are only read, and may be in use. Nothing is called lost that may be on its way:
what was sent when the audit began must be settled within --wait.

Exit status: 0 when all is equal, 1 when something differs, 2 when that cannot be told.";

/// The options of `zibrato audit`.
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Options {
    #[command(flatten)]
    broker: BrokerOption,

    /// State directories of workers [default: those where workers put them]
    #[arg(long, num_args = 1.., value_name = "DIR")]
    state: Vec<PathBuf>,

    /// How many seconds workers have to settle what was sent when the audit began; at least two of their --flush
    #[arg(long, default_value = "25", value_name = "SECONDS", value_parser = seconds)]
    wait: Duration,

    /// How many seconds to wait for the answer of a broker
    #[arg(long, env = "ZIBRATO_DEADLINE", default_value = "5", value_name = "SECONDS", value_parser = seconds)]
    deadline: Duration,

    /// List metrics of this name; * and ? stand for any text and any character
    #[arg(long, value_name = "PATTERN", value_parser = glob::Pattern::new)]
    metric: Option<glob::Pattern>,

    /// List the metrics that differ
    #[arg(long)]
    differing: bool,

    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Everything that was asked of brokers.
struct Brokers {
    names: Vec<String>,
    questions: Vec<Questions>,
    told: Vec<Option<Value>>,
}

impl Brokers {
    /// What they keep; `None` where one has not told all.
    async fn sent(&mut self, deadline: Duration) -> Option<Sent> {
        let (mut sent, mut whole) = (Sent::default(), true);
        for questions in &mut self.questions {
            whole &= questions.sent(&mut sent, Instant::now() + deadline).await;
        }
        whole.then_some(sent)
    }

    /// How many programs were let go for want of room.
    fn evicted(&self) -> u64 {
        self.told.iter().flatten().filter_map(|told| told.get("evicted")?.as_u64()).sum()
    }
}

pub(crate) fn main(options: &Options) -> Result<ExitCode, Failure> {
    output::runtime()?.block_on(audit(options))
}

async fn audit(options: &Options) -> Result<ExitCode, Failure> {
    let addresses = options.broker.brokers()?;
    let mut brokers = Brokers {
        names: addresses.iter().map(ToString::to_string).collect(),
        questions: addresses.iter().map(Questions::start).collect(),
        told: Vec::new(),
    };
    let deadline = Instant::now() + options.deadline;
    brokers.told = join_all(brokers.questions.iter_mut().map(|questions| questions.info(deadline))).await;
    let directories = if options.state.is_empty() { workers::find() } else { options.state.clone() };
    let before = match brokers.told.iter().all(Option::is_some) {
        true => brokers.sent(options.deadline).await,
        false => None,
    };
    let until = Instant::now() + options.wait;
    let (groups, unread, after) = loop {
        let (groups, unread) = read(&directories);
        let Some(before) = &before else { break (groups, unread, None) };
        let behind = groups.iter().any(|group| compare(group, before, before).is_behind());
        if !behind || Instant::now() >= until {
            // After the workers were read, so that what they have is in it.
            break (groups, unread, brokers.sent(options.deadline).await);
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    };
    for why in &unread {
        complain(&format!("failed to {why}"));
    }
    let known = before.as_ref().zip(after.as_ref());
    let reports: Vec<Report> = groups
        .iter()
        .map(|group| match known {
            Some((before, after)) => compare(group, before, after),
            // Then at least its accounts can be checked.
            None => compare(group, &Sent::default(), &Sent::default()),
        })
        .collect();
    let verdict = Verdict::of(&brokers, &reports, known.is_some(), unread.len(), groups.is_empty());
    print(options, &brokers, &groups, &reports, &verdict)?;
    Ok(verdict.code())
}

/// Reads state directories; those that cannot be read are told.
fn read(directories: &[PathBuf]) -> (Vec<Group>, Vec<String>) {
    let (mut snapshots, mut unread) = (Vec::new(), Vec::new());
    for directory in directories {
        match Snapshot::read(directory) {
            Ok(snapshot) => snapshots.push(snapshot),
            Err(why) => unread.push(why.to_string()),
        }
    }
    (Group::of(snapshots), unread)
}

/// What it comes to.
#[derive(Debug)]
enum Verdict {
    Equal(String),
    Differ(String),
    CannotTell(String),
}

impl Verdict {
    fn of(brokers: &Brokers, reports: &[Report], asked: bool, unread: usize, none: bool) -> Verdict {
        let differences = reports.iter().flat_map(|report| &report.differences);
        if let Some(first) = differences.clone().next() {
            let more = differences.count() - 1;
            let more = if more > 0 { format!(", and {more} more") } else { String::new() };
            return Verdict::Differ(format!("first at {}: {}{more}", first.hop, first.what));
        }
        let alone: usize = reports.iter().map(|report| report.alone).sum();
        let (compared, unknown) = (
            reports.iter().map(|report| report.metrics.len()).sum::<usize>(),
            reports.iter().map(|report| report.count(Found::Unknown)).sum::<usize>(),
        );
        match () {
            () if !asked => Verdict::CannotTell("not every broker has answered".into()),
            () if none && unread == 0 => {
                Verdict::CannotTell("no state directory of a worker was found; give --state".into())
            }
            () if unread > 0 => Verdict::CannotTell(format!("{unread} state directories cannot be read")),
            () if brokers.evicted() > 0 && alone > 0 => Verdict::CannotTell(format!(
                "{} programs were let go by the broker for want of room: whether their last totals were settled is not known",
                brokers.evicted()
            )),
            () if unknown > 0 => Verdict::CannotTell(format!(
                "{unknown} metrics may be those of shards whose state directories were not given"
            )),
            () => Verdict::Equal(format!(
                "{compared} metrics in {} worker{}",
                reports.len(),
                if reports.len() == 1 { "" } else { "s" }
            )),
        }
    }

    fn word(&self) -> (&'static str, &str) {
        match self {
            Verdict::Equal(what) => ("equal", what),
            Verdict::Differ(what) => ("differ", what),
            Verdict::CannotTell(what) => ("cannot tell", what),
        }
    }

    fn code(&self) -> ExitCode {
        match self {
            Verdict::Equal(_) => ExitCode::SUCCESS,
            Verdict::Differ(_) => ExitCode::from(DIFFER),
            Verdict::CannotTell(_) => ExitCode::from(CANNOT_TELL),
        }
    }
}

fn print(
    options: &Options,
    brokers: &Brokers,
    groups: &[Group],
    reports: &[Report],
    verdict: &Verdict,
) -> Result<(), Failure> {
    let wanted = |metric: &&Metric| {
        let differs = metric.found >= Found::Behind;
        match &options.metric {
            Some(pattern) => pattern.matches(&metric.key.name) && (differs || !options.differing),
            None => differs && options.differing,
        }
    };
    let listed = options.metric.is_some() || options.differing;
    let (word, what) = verdict.word();
    let mut output = Output::new();
    let workers = || groups.iter().zip(reports);
    if options.json {
        let brokers = brokers.names.iter().zip(&brokers.told).map(|(name, told)| {
            let of = |key: &str| told.as_ref().and_then(|told| told.get(key)).cloned().unwrap_or_default();
            json!({
                "broker": name,
                "answers": told.is_some(),
                "frames_in": of("frames_in"),
                "frames_out": of("frames_out"),
                "frames_dropped": of("frames_dropped"),
                "refused": told.as_ref().map(show::refused),
                "missed": told.as_ref().map(show::gaps),
                "instances": of("instances"),
                "ended": of("ended"),
                "expired": of("expired"),
                "evicted": of("evicted"),
            })
        });
        let workers = workers()
            .map(|(group, report)| show::worker_json(group, report, report.metrics.iter().filter(wanted)));
        let all = json!({
            "verdict": word.replace(' ', "_"),
            "why": what,
            "brokers": brokers.collect::<Vec<_>>(),
            "workers": workers.collect::<Vec<_>>(),
        });
        return output.line(&all.to_string());
    }
    for (name, told) in brokers.names.iter().zip(&brokers.told) {
        output.write(&show::broker(name, told.as_ref()))?;
    }
    for (group, report) in workers() {
        output.write("\n")?;
        output.write(&show::worker(group, report, unix_nanos()))?;
        if listed {
            output.write("\n")?;
            output.write(&show::metrics(group, report.metrics.iter().filter(wanted)))?;
        }
    }
    output.write("\n")?;
    output.write(&show::verdict(&format!("{word}: {what}"), matches!(verdict, Verdict::Equal(_))))
}
