//! What is to arrive: exactly, where an application ended in order, and within bounds, where it was killed.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use serde::Serialize;
use zibrato_core::frame::Kind;
use zibrato_core::histogram::Histogram;

use crate::application::{BATCHES_OF_CHILD, seed_of_child};
use crate::ledger::{Account, End};
use crate::witness::{LEVEL, NAME};
use crate::work::{Figure, Metric, Sample, Tally, batch, recorded};

/// One life of an application: a process, from its start to its end.
#[derive(Debug, Clone)]
pub struct Life {
    /// Which place of the fleet it has.
    pub place: usize,
    /// The source that it measures under.
    pub source: String,
    /// What its batches follow from.
    pub seed: u64,
    /// Whether it has many counters.
    pub many: bool,
    /// Whether what no broker has acknowledged is kept for the next life.
    pub spills: bool,
    /// How often it sends.
    pub interval: Duration,
    /// Whether its clock may be wrong, so that a gauge may seem old.
    pub is_off: bool,
    /// Its ledger.
    pub ledger: PathBuf,
    /// When it was killed, if it was.
    pub killed: Option<u64>,
}

/// From when to when something was wrong on the way of frames, in nanoseconds of the monotonic clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Trouble {
    /// From when.
    pub begin: u64,
    /// Until when.
    pub end: u64,
}

/// The lowest and the highest total that is right.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Range {
    /// The lowest.
    pub low: i64,
    /// The highest.
    pub high: i64,
    /// What was measured, all of it.
    pub measured: i64,
    /// What of it was measured by those whose totals are known exactly.
    pub exact: i64,
}

/// A figure of a metric, by source.
pub type Of = (String, Metric, Figure);

/// How much longer than its interval an application may have taken to send, on a busy machine.
const LATE: u64 = 1_500_000_000;

/// A life that was cut off.
#[derive(Debug, Clone, Serialize)]
pub struct Cut {
    /// Its source.
    pub source: String,
    /// Seconds between two frames.
    pub interval: f64,
    /// How many batches it measured.
    pub batches: u64,
    /// How many of them at least must have arrived.
    pub at_least: u64,
    /// How many must have arrived at every worker because a broker was seen to be handed them; `None` where nobody looked.
    pub witnessed: Option<u64>,
    /// How many did, by what a worker has settled of a counter that is in each; `None` where nobody can tell.
    pub arrived: Option<u64>,
    /// Seconds before the end that the first batch was measured that did not arrive, 0 where all did.
    pub lost_seconds: f64,
    /// When the batches were done.
    #[serde(skip)]
    pub done: Vec<u64>,
    /// When it was over.
    #[serde(skip)]
    pub over: u64,
}

/// What all lives together are to have left.
#[derive(Debug, Default)]
pub struct Truth {
    /// By source, metric and figure.
    pub ranges: BTreeMap<Of, Range>,
    /// Of figures that one life was cut off with: which totals that life had had, one after the other. There are none where
    /// several were cut off, because any sum of theirs may be right.
    pub steps: BTreeMap<Of, Option<BTreeSet<i64>>>,
    /// The values of timers and distributions by bucket; nothing where a life was cut off.
    pub spreads: BTreeMap<(String, Metric), Option<Histogram>>,
    /// The last value of gauges, by source; nothing where several lives set it, or one that was cut off.
    pub gauges: BTreeMap<(String, Metric), Option<i64>>,
    /// Lives that were cut off.
    pub cut: Vec<Cut>,
    /// How many lives there were, children included.
    pub lives: u64,
    /// How many of them ended in order.
    pub acknowledged: u64,
    /// How many ended with nobody acknowledging, and left their last totals for others to deliver.
    pub spilled: u64,
    /// Batches that were measured.
    pub batches: u64,
    /// What gauges of the life that is added were set to.
    set: BTreeMap<(String, Metric), i64>,
}

impl Truth {
    /// Adds a life; `troubles` are those on its way to a broker that lives.
    ///
    /// # Errors
    /// When its ledger cannot be read.
    pub fn add(&mut self, life: &Life, troubles: &[Trouble]) -> io::Result<()> {
        let account = Account::read(&life.ledger)?;
        self.add_account(life, life.seed, life.many, &account, troubles);
        let Some(directory) = life.ledger.parent() else { return Ok(()) };
        let Some(stem) = life.ledger.file_stem().and_then(|stem| stem.to_str()) else { return Ok(()) };
        for number in 1..=account.begun {
            let path = directory.join(format!("{stem}.child-{number}"));
            if path.exists() {
                let child = Account::read(&path)?;
                debug_assert!(child.begun <= BATCHES_OF_CHILD);
                self.add_account(life, seed_of_child(life.seed, number), false, &child, troubles);
            }
        }
        Ok(())
    }

    fn add_account(&mut self, life: &Life, seed: u64, many: bool, account: &Account, troubles: &[Trouble]) {
        self.lives += 1;
        self.batches += account.begun;
        let kept = match account.end {
            End::Acknowledged => true,
            End::Unacknowledged => life.spills,
            End::Crashed => false,
        };
        self.acknowledged += u64::from(account.end == End::Acknowledged);
        self.spilled += u64::from(account.end == End::Unacknowledged && life.spills);
        let tally = account.tally(seed, many, account.begun);
        let is_exact = kept || account.begun == 0;
        for number in 0..account.begun {
            for sample in batch(seed, number, many) {
                self.add_value(life, &sample, is_exact);
            }
        }
        self.end_gauges(life, is_exact && account.begun > 0);
        if is_exact {
            self.add_ranges(life, &tally, &tally, &tally, true);
            return;
        }
        // What it measured since its last frame may be lost: since then at the latest.
        let over = account.ending.or(life.killed).unwrap_or(account.last).max(account.last);
        let takes = life.interval.as_nanos() as u64 + LATE;
        let at_least = account.done_by(sent_by(over, takes, troubles));
        let mut now = account.tally(seed, many, at_least);
        // What the lowest tally lacks has been zero.
        for key in tally.0.keys() {
            now.0.entry(key.clone()).or_default();
        }
        let (mut low, mut high) = (now.clone(), now.clone());
        let mut steps: BTreeMap<_, BTreeSet<i64>> =
            now.0.iter().map(|(key, total)| (key.clone(), [*total].into())).collect();
        for number in at_least..account.begun {
            for sample in batch(seed, number, many) {
                let before = now.clone_of(&sample);
                now.add(std::slice::from_ref(&sample));
                for (key, first) in before {
                    let last = now.0.get(&key).copied().unwrap_or(first);
                    // Calls are counted one by one.
                    let all = if key.0.name == "chaos.calls" { first..=last } else { last..=last };
                    steps.entry(key).or_default().extend(all);
                }
            }
            for (key, total) in &now.0 {
                let lowest = low.0.entry(key.clone()).or_insert(0);
                *lowest = (*lowest).min(*total);
                let highest = high.0.entry(key.clone()).or_insert(0);
                *highest = (*highest).max(*total);
            }
        }
        self.add_ranges(life, &low, &high, &tally, false);
        for ((metric, figure), steps) in steps {
            // Of what is retired and begins anew, the beginning may be lost and the rest not.
            let is_retired = metric.name == "chaos.session";
            let of = (life.source.clone(), metric, figure);
            let alone = (!is_retired && !self.steps.contains_key(&of)).then_some(steps);
            self.steps.insert(of, alone);
        }
        self.cut.push(Cut {
            source: life.source.clone(),
            interval: life.interval.as_secs_f64(),
            batches: account.begun,
            at_least,
            witnessed: None,
            arrived: None,
            lost_seconds: 0.0,
            done: account.done.clone(),
            over,
        });
    }

    /// The range of the counter that witnesses look at, where one life alone has this source, and was cut off.
    pub fn alone(&self, source: &str) -> Option<Range> {
        let metric = Metric { level: LEVEL, kind: Kind::Counter, name: NAME.into(), tag: None };
        let of = (source.to_owned(), metric, Figure::Value);
        self.steps.get(&of)?.as_ref()?;
        self.ranges.get(&of).copied().filter(|range| range.exact == 0)
    }

    /// Adds a value to what is known by bucket, and takes note of what a gauge was set to.
    fn add_value(&mut self, life: &Life, sample: &Sample, is_exact: bool) {
        let of = (life.source.clone(), sample.metric.clone());
        match sample.metric.kind {
            Kind::Timer | Kind::Distribution => {
                let known = self.spreads.entry(of).or_insert_with(|| Some(Histogram::default()));
                match known {
                    Some(histogram) if is_exact => _ = histogram.record(recorded(sample)),
                    known => *known = None,
                }
            }
            Kind::Gauge => _ = self.set.insert(of, sample.steps),
            _ => {}
        }
    }

    /// The gauges of a life are what they were set to last.
    fn end_gauges(&mut self, life: &Life, is_exact: bool) {
        for (of, last) in std::mem::take(&mut self.set) {
            let alone = is_exact && !life.is_off && !self.gauges.contains_key(&of);
            self.gauges.insert(of, alone.then_some(last));
        }
    }

    fn add_ranges(&mut self, life: &Life, low: &Tally, high: &Tally, all: &Tally, is_exact: bool) {
        for ((metric, figure), low) in &low.0 {
            let of = |tally: &Tally| tally.0.get(&(metric.clone(), *figure)).copied().unwrap_or(*low);
            let range = self.ranges.entry((life.source.clone(), metric.clone(), *figure)).or_default();
            range.low += low;
            range.high += of(high);
            range.measured += of(all);
            range.exact += if is_exact { *low } else { 0 };
        }
    }
}

/// Until when whatever was measured must have been sent before it was `over`: sending takes so long, and no trouble came
/// meanwhile.
fn sent_by(over: u64, takes: u64, troubles: &[Trouble]) -> u64 {
    let mut time = over.saturating_sub(takes);
    let meets = |time: u64, t: &Trouble| t.begin < time.saturating_add(takes) && time < t.end;
    while let Some(trouble) = troubles.iter().find(|trouble| meets(time, trouble)) {
        let before = trouble.begin.saturating_sub(takes);
        if before == time {
            break;
        }
        time = before;
    }
    time
}

/// When all of several ways are in trouble.
pub fn together(ways: &[Vec<Trouble>]) -> Vec<Trouble> {
    let Some((first, rest)) = ways.split_first() else { return Vec::new() };
    rest.iter().fold(first.clone(), |all, way| {
        let both = |a: &Trouble, b: &Trouble| {
            let both = Trouble { begin: a.begin.max(b.begin), end: a.end.min(b.end) };
            (both.begin < both.end).then_some(both)
        };
        all.iter().flat_map(|a| way.iter().filter_map(|b| both(a, b))).collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_must_have_been_sent_met_no_trouble_on_its_way() {
        let second = 1_000_000_000;
        let trouble = |begin: u64, end: u64| Trouble { begin: begin * second, end: end * second };
        let troubles = [trouble(20, 30), trouble(15, 21), trouble(40, 50)];
        let sent_by = |over: u64| sent_by(over * second, 2 * second, &troubles) / second;
        assert_eq!(sent_by(37), 35);
        assert_eq!(sent_by(42), 38, "it began just when it was to be sent");
        assert_eq!(sent_by(41), 38, "it began while it was to be sent");
        assert_eq!(sent_by(40), 38);
        assert_eq!(sent_by(47), 38);
        assert_eq!(sent_by(32), 30);
        assert_eq!(sent_by(31), 13, "two of them");
        assert_eq!(sent_by(1), 0);
        assert_eq!(super::sent_by(4 * second, 2 * second, &[trouble(1, 5)]), 0, "it came too early");
        let both = together(&[vec![trouble(1, 5), trouble(8, 9)], vec![trouble(4, 10)]]);
        assert_eq!(both, [trouble(4, 5), trouble(8, 9)]);
    }
}
