//! Whether what was recorded is what was settled, and what was accepted.

use std::collections::BTreeMap;

use serde::Serialize;
use zibrato_core::frame::Kind;
use zibrato_core::level::Levels;

use crate::servers::{Series, Server, Totals};
use crate::settled::Key;
use crate::truth::{Range, Truth};
use crate::work::{Figure, steps_of};

/// Where totals differ.
#[derive(Debug, Clone, Serialize)]
pub struct Difference {
    /// Which worker.
    pub worker: String,
    /// Where: what it has settled, or what its server has.
    pub at: &'static str,
    /// The series and the figure.
    pub what: String,
    /// What is to be there; of what was cut off, from the least to the most.
    pub wanted: (i64, i64),
    /// What is there, in the same steps; `None` where it is no whole number of them.
    pub found: Option<i64>,
    /// How large a step is.
    pub step: f64,
}

impl std::fmt::Display for Difference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Difference { worker, at, what, wanted: (low, high), found, step } = self;
        write!(f, "{worker}, {at}: {what} is ")?;
        match found {
            Some(steps) => write!(f, "{}", *steps as f64 * step)?,
            None => write!(f, "no multiple of {step}")?,
        }
        write!(f, ", recorded was {}", *low as f64 * step)?;
        if low != high { write!(f, " to {}", *high as f64 * step) } else { Ok(()) }
    }
}

/// Totals of a family of metrics, over all sources and tags, as one worker has them.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Family {
    /// What was recorded, also by those that were cut off.
    pub recorded: f64,
    /// What the worker has settled.
    pub settled: f64,
    /// What its server has accepted.
    pub accepted: f64,
}

/// What came of comparing one worker's.
#[derive(Debug, Default)]
pub struct Comparison {
    /// What differs.
    pub differences: Vec<Difference>,
    /// How many figures were compared.
    pub compared: usize,
    /// By family.
    pub families: BTreeMap<String, Family>,
}

/// A series over all levels that a worker listens to, and a figure of it.
type Folded = (String, Kind, String, Option<(String, String)>, Figure);

fn family(kind: Kind, name: &str, figure: Figure) -> String {
    let name = if name.starts_with("chaos.many.") { "chaos.many.*" } else { name };
    let figure = match figure {
        Figure::Value => "",
        Figure::Count => " (count)",
        Figure::Sum => " (sum)",
    };
    format!("{} {name}{figure}", kind.name())
}

fn text(level: &str, source: &str, name: &str, tag: Option<&(String, String)>, figure: Figure) -> String {
    let tag = tag.map(|(name, value)| format!("{{{name}={value}}}")).unwrap_or_default();
    format!("{source} {name}{tag} {figure:?} {level}").trim_end().to_lowercase()
}

/// Compares what a worker, or all shards of one, has settled, and what its server has, with the truth.
pub fn compare(
    worker: &str,
    truth: &Truth,
    server: &dyn Server,
    totals: &Totals,
    settled: Option<&BTreeMap<Key, f64>>,
) -> Comparison {
    let mut comparison = Comparison::default();
    // A list of our own, which is right.
    let levels: Levels = server.levels().parse().unwrap_or_default();
    let mut folded: BTreeMap<Folded, Range> = BTreeMap::new();
    let mut left = settled.cloned().unwrap_or_default();
    for ((source, metric, figure), range) in &truth.ranges {
        if !levels.contains(metric.level) {
            continue;
        }
        let tag = metric.tag.as_ref().map(|(name, value)| ((*name).to_owned(), value.clone()));
        let key = (source.clone(), metric.kind, metric.name.clone(), tag.clone(), *figure);
        let sum = folded.entry(key).or_default();
        sum.low += range.low;
        sum.high += range.high;
        let family = comparison.families.entry(family(metric.kind, &metric.name, *figure)).or_default();
        let step = step_of(&metric.name, *figure);
        family.recorded += range.measured as f64 * step;
        if settled.is_some() {
            let key = (source.clone(), metric.level.to_owned(), metric.name.clone(), tag.clone(), *figure);
            let value = left.remove(&key).unwrap_or(0.0);
            family.settled += value;
            let what = text(metric.level, source, &metric.name, tag.as_ref(), *figure);
            comparison.check(worker, "settled", &metric.name, *figure, what, *range, value);
        }
    }
    for ((source, level, name, tag, figure), value) in left {
        if value != 0.0 {
            let what = text(&level, &source, &name, tag.as_ref(), figure);
            comparison.check(worker, "settled", &name, figure, what, Range::default(), value);
        }
    }
    for ((source, kind, name, tag, figure), range) in &folded {
        let tag_of = tag.as_ref().map(|(name, value)| (name.as_str(), value.as_str()));
        let address = server.address(Series { source, kind: *kind, name, tag: tag_of }, *figure);
        let value = totals.get(&address).copied().unwrap_or(0.0);
        comparison.families.entry(family(*kind, name, *figure)).or_default().accepted += value;
        let what = text("", source, name, tag.as_ref(), *figure);
        comparison.check(worker, "accepted by the server", name, *figure, what, *range, value);
    }
    comparison
}

fn step_of(name: &str, figure: Figure) -> f64 {
    if figure == Figure::Count { 1.0 } else { crate::work::step(name) }
}

impl Comparison {
    #[expect(clippy::too_many_arguments, reason = "these are the parts of one difference")]
    fn check(
        &mut self,
        worker: &str,
        at: &'static str,
        name: &str,
        figure: Figure,
        what: String,
        range: Range,
        value: f64,
    ) {
        self.compared += 1;
        let found = steps_of(name, figure, value);
        if found.is_none_or(|found| found < range.low || found > range.high) {
            let (wanted, step) = ((range.low, range.high), step_of(name, figure));
            self.differences.push(Difference { worker: worker.into(), at, what, wanted, found, step });
        }
    }
}
