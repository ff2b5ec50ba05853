//! Whether what was recorded is what was settled, and what was accepted.

use std::collections::BTreeMap;

use serde::Serialize;
use zibrato_core::frame::Kind;
use zibrato_core::histogram::Histogram;
use zibrato_core::level::Levels;

use crate::servers::{Series, Server, Totals};
use crate::settled::{Settled, Spread};
use crate::truth::{Range, Truth};
use crate::work::{Figure, whole};

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
    /// What the server has of all that was measured, added up by figure.
    pub accepted: BTreeMap<Figure, f64>,
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

/// Compares what a worker, or all shards of one, has settled, and what its server has, with the truth and with each other.
pub fn compare(
    worker: &str,
    truth: &Truth,
    server: &dyn Server,
    totals: &Totals,
    settled: Option<&Settled>,
) -> Comparison {
    let mut comparison = Comparison::default();
    // A list of our own, which is right.
    let levels: Levels = server.levels().parse().unwrap_or_default();
    let mut folded: BTreeMap<Folded, (Range, Option<i64>)> = BTreeMap::new();
    let mut left = settled.cloned().unwrap_or_default();
    for (of, range) in &truth.ranges {
        let (source, metric, figure) = of;
        if !levels.contains(metric.level) {
            continue;
        }
        let tag = metric.tag.as_ref().map(|(name, value)| ((*name).to_owned(), value.clone()));
        let key = (source.clone(), metric.kind, metric.name.clone(), tag.clone(), *figure);
        let (sum, settled_steps) = folded.entry(key).or_insert((Range::default(), Some(0)));
        sum.low += range.low;
        sum.high += range.high;
        let family = comparison.families.entry(family(metric.kind, &metric.name, *figure)).or_default();
        let step = step_of(&metric.name, *figure);
        family.recorded += range.measured as f64 * step;
        if settled.is_some() {
            let key = (source.clone(), metric.level.to_owned(), metric.name.clone(), tag.clone(), *figure);
            let value = left.totals.remove(&key).unwrap_or(0.0);
            family.settled += value;
            let asked = Difference {
                worker: worker.into(),
                at: "settled",
                what: text(metric.level, source, &metric.name, tag.as_ref(), *figure),
                wanted: (range.low, range.high),
                found: None,
                step,
            };
            let found = comparison.check(&asked, value);
            *settled_steps = settled_steps.zip(found).map(|(sum, found)| sum + found);
            // What was cut off must have had this total at some time.
            if let (Some(Some(steps)), Some(found)) = (truth.steps.get(of), found)
                && !steps.contains(&(found - range.exact))
                && (range.low..=range.high).contains(&found)
            {
                let at = "settled, a total that it never had";
                comparison.differences.push(Difference { at, found: Some(found), ..asked });
            }
        }
    }
    for ((source, level, name, tag, figure), value) in left.totals {
        if value != 0.0 {
            let asked = Difference {
                worker: worker.into(),
                at: "settled",
                what: text(&level, &source, &name, tag.as_ref(), figure),
                wanted: (0, 0),
                found: None,
                step: step_of(&name, figure),
            };
            comparison.check(&asked, value);
        }
    }
    if settled.is_some() {
        comparison.check_spreads(worker, truth, &levels, &left.spreads);
    }
    let mut unasked = totals.clone();
    for ((source, kind, name, tag, figure), (range, settled_steps)) in &folded {
        let tag_of = tag.as_ref().map(|(name, value)| (name.as_str(), value.as_str()));
        let address = server.address(Series { source, kind: *kind, name, tag: tag_of }, *figure);
        let value = unasked.remove(&address).unwrap_or(0.0);
        comparison.families.entry(family(*kind, name, *figure)).or_default().accepted += value;
        *comparison.accepted.entry(*figure).or_default() += value;
        let asked = Difference {
            worker: worker.into(),
            at: "accepted by the server",
            what: text("", source, name, tag.as_ref(), *figure),
            // Whatever was cut off of it before: what is settled is what is accepted.
            wanted: match settled_steps {
                Some(steps) if settled.is_some() => (*steps, *steps),
                _ => (range.low, range.high),
            },
            found: None,
            step: step_of(name, *figure),
        };
        comparison.check(&asked, value);
    }
    comparison.check_gauges(worker, truth, server, &mut unasked);
    // What nobody measured.
    for (address, value) in unasked {
        comparison.compared += 1;
        if value != 0.0 {
            let (worker, at, wanted) = (worker.into(), "at the server", (0, 0));
            let difference = Difference { worker, at, what: address, wanted, found: None, step: 1.0 };
            comparison.differences.push(difference);
        }
    }
    comparison
}

fn step_of(name: &str, figure: Figure) -> f64 {
    if figure == Figure::Count { 1.0 } else { crate::work::step(name) }
}

impl Comparison {
    /// Looks whether a total is as it should be. Gives it in steps, where it is a whole number of them.
    fn check(&mut self, asked: &Difference, value: f64) -> Option<i64> {
        self.compared += 1;
        let found = whole(value / asked.step);
        let (low, high) = asked.wanted;
        if found.is_none_or(|found| found < low || found > high) {
            self.differences.push(Difference { found, ..asked.clone() });
        }
        found
    }

    /// Values are in the buckets that they were recorded in.
    fn check_spreads(
        &mut self,
        worker: &str,
        truth: &Truth,
        levels: &Levels,
        settled: &BTreeMap<Spread, Histogram>,
    ) {
        for ((source, metric), wanted) in &truth.spreads {
            let Some(wanted) = wanted.as_ref().filter(|_| levels.contains(metric.level)) else { continue };
            let tag = metric.tag.as_ref().map(|(name, value)| ((*name).to_owned(), value.clone()));
            let of = (source.clone(), metric.level.to_owned(), metric.name.clone(), tag.clone());
            self.compared += 1;
            if settled.get(&of) != Some(wanted) {
                let count = i64::try_from(wanted.count()).unwrap_or(i64::MAX);
                self.differences.push(Difference {
                    worker: worker.into(),
                    at: "settled, in other buckets than recorded",
                    what: text(metric.level, source, &metric.name, tag.as_ref(), Figure::Count),
                    wanted: (count, count),
                    found: None,
                    step: 1.0,
                });
            }
        }
    }

    /// Gauges are what they were set to last, where one life alone has set them. Those of others are not looked at.
    fn check_gauges(&mut self, worker: &str, truth: &Truth, server: &dyn Server, unasked: &mut Totals) {
        for ((source, metric), last) in &truth.gauges {
            let series = Series { source, kind: metric.kind, name: &metric.name, tag: None };
            let Some(address) = server.gauge(series) else { continue };
            let value = unasked.remove(&address);
            if let Some(last) = last {
                let asked = Difference {
                    worker: worker.into(),
                    at: "last at the server",
                    what: text(metric.level, source, &metric.name, None, Figure::Value),
                    wanted: (*last, *last),
                    found: None,
                    step: step_of(&metric.name, Figure::Value),
                };
                self.check(&asked, value.unwrap_or(f64::NAN));
            }
        }
    }
}
