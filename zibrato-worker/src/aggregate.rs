//! From what happened to single metrics of single instances to one measurement for each series.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::mem::discriminant;

use zibrato_core::frame::{Key, Kind};
use zibrato_core::ledger::{Change, Delta, Ledger, Origin};
use zibrato_core::trace::Trace;

use crate::backend::{Backend, Temporality};
use crate::batch::{GaugeSummary, Measurement, Summary, Value};
use crate::dead_letter::DeadLetter;
use crate::shape::Shape;
use crate::shard::{hash, measured, series_of, stored};
use crate::totals::{Advance, Totals, Touched, zero};

/// What measurements are made with.
pub(crate) struct Making<'a, B> {
    pub(crate) backend: &'a B,
    pub(crate) shape: &'a Shape,
    pub(crate) ledger: &'a Ledger,
    /// When the period began.
    pub(crate) from: u64,
}

impl<B: Backend> Making<'_, B> {
    /// The measurement of a metric, perhaps with why the backend cannot store it; `None` if it is left out.
    fn make(
        &self,
        origin: &Origin,
        key: &Key,
        value: Value,
        trace: &Trace,
    ) -> Option<(Measurement, Result<(), String>)> {
        let series = || {
            let mut series = measured(key);
            self.shape.apply(&mut series, Some(origin.instance)).then_some(series)
        };
        let (series, storable) =
            stored(self.backend, series()?, || series().unwrap_or_else(|| measured(key)));
        let described = self.ledger.description(&key.name);
        let text = |text: &str| (!text.is_empty()).then(|| text.to_string());
        let measurement = Measurement {
            series,
            level: origin.level.to_string(),
            unit: described.and_then(|described| text(&described.unit)),
            help: described.and_then(|described| text(&described.help)),
            since: self.from,
            value,
            trace: trace.clone(),
        };
        Some((measurement, storable))
    }
}

/// Measurements of a period, and those that the backend cannot store.
#[derive(Debug, Default)]
pub(crate) struct Aggregate {
    pub(crate) measurements: Vec<Measurement>,
    pub(crate) dead: Vec<DeadLetter>,
}

/// Adds up what happened by the series as the backend stores it.
pub(crate) fn aggregate<B: Backend>(deltas: &[Delta], making: &Making<'_, B>) -> Aggregate {
    let (measurements, dead) = add_all(deltas, making);
    Aggregate { measurements, dead }
}

/// The same, carried over to the totals of the series, to which belong those of `alive` metrics.
pub(crate) fn advance<'a, B: Backend>(
    deltas: &[Delta],
    alive: impl Iterator<Item = (&'a Origin, &'a Key)>,
    making: &Making<'_, B>,
    totals: &Totals,
    ran: u64,
) -> Advance {
    let dealt = |key| hash(&series_of(making.backend, key).0);
    let (measurements, dead) = add_all(deltas, making);
    let mut hashes = BTreeMap::new();
    for Delta { origin, key, .. } in deltas {
        if let Some(value) = zero(key.kind)
            && let Some((Measurement { series, .. }, Ok(()))) = making.make(origin, key, value, &Trace::None)
        {
            hashes.entry(series).or_insert_with(|| dealt(key));
        }
    }
    let happened = measurements.into_iter().map(|measurement| {
        let dealt = hashes.get(&measurement.series).copied().unwrap_or_default();
        Touched { measurement, dealt }
    });
    let alive = alive.filter_map(|(origin, key)| {
        let (measurement, storable) = making.make(origin, key, zero(key.kind)?, &Trace::None)?;
        storable.ok()?;
        Some(Touched { measurement, dealt: dealt(key) })
    });
    let mut advance = totals.advance(happened, alive, making.from, ran);
    advance.dead.extend(dead);
    advance
}

fn add_all<B: Backend>(deltas: &[Delta], making: &Making<'_, B>) -> (Vec<Measurement>, Vec<DeadLetter>) {
    let mut adder = Adder::default();
    let mut dead = Vec::new();
    // Of a gauge the value that was set last counts, whichever instance set it.
    let mut gauges = Vec::new();
    let mut add = |delta: &Delta| {
        let value = value_of(delta.key.kind, &delta.change);
        match making.make(&delta.origin, &delta.key, value, &delta.trace) {
            None => {}
            Some((measurement, Ok(()))) => adder.add(measurement),
            Some((measurement, Err(reason))) => dead.push(DeadLetter { measurement, reason }),
        }
    };
    for delta in deltas {
        if let Change::Gauge { set_at, .. } = delta.change {
            gauges.push((set_at, delta));
        } else {
            add(delta);
        }
    }
    gauges.sort_by_key(|(set_at, _)| *set_at);
    gauges.into_iter().for_each(|(_, delta)| add(delta));
    let Sums { measurements, refused } = adder.finish();
    dead.extend(refused);
    (measurements, dead)
}

fn value_of(kind: Kind, change: &Change) -> Value {
    match change {
        Change::Total(total) if kind == Kind::Counter => Value::Counter(*total),
        Change::Total(total) => Value::Updown(*total),
        Change::Spread { sum, histogram, span } => {
            let (low, high) = histogram.edges().unwrap_or((0.0, 0.0));
            let (min, max) = span.map_or((low, high), |span| (span.min, span.max));
            let summary =
                Summary { sum: *sum, min, max, approximate: span.is_none(), histogram: histogram.clone() };
            if kind == Kind::Timer { Value::Timer(summary) } else { Value::Distribution(summary) }
        }
        Change::Gauge { last, statistics, .. } => {
            Value::Gauge(GaugeSummary { last: *last, statistics: *statistics })
        }
        Change::Point { time, value } => Value::Point { time: *time, value: *value },
    }
}

/// Makes one period of measurements of several, older ones first.
pub(crate) fn merge(
    measurements: impl IntoIterator<Item = Measurement>,
    temporality: Temporality,
) -> Vec<Measurement> {
    match temporality {
        Temporality::Delta => sums(measurements),
        Temporality::Cumulative => newest(measurements),
    }
}

/// The newest total of each series, and all points.
fn newest(measurements: impl IntoIterator<Item = Measurement>) -> Vec<Measurement> {
    let mut series = BTreeMap::new();
    let mut points = Vec::new();
    for measurement in measurements {
        if let Value::Point { .. } = measurement.value {
            points.push(measurement);
        } else {
            let place = series.entry((measurement.series.clone(), kind_of(&measurement.value)));
            match place {
                Entry::Vacant(vacant) => drop(vacant.insert(measurement)),
                Entry::Occupied(mut older) => {
                    let mut trace = std::mem::take(&mut older.get_mut().trace);
                    trace.absorb(measurement.trace);
                    older.insert(Measurement { trace, ..measurement });
                }
            }
        }
    }
    series.into_values().chain(points).collect()
}

/// Adds up measurements of one or several periods, older ones first.
fn sums(measurements: impl IntoIterator<Item = Measurement>) -> Vec<Measurement> {
    let mut adder = Adder::default();
    measurements.into_iter().for_each(|measurement| adder.add(measurement));
    // What is of another kind than the rest of its series stands beside it, as it did before.
    let Sums { measurements: mut all, refused } = adder.finish();
    all.extend(refused.into_iter().map(|letter| letter.measurement));
    all
}

/// Deals measurements into batches.
pub(crate) fn chunks(measurements: Vec<Measurement>, batch_size: usize) -> Vec<Vec<Measurement>> {
    let batch_size = batch_size.max(1);
    let mut rest = measurements.into_iter();
    let chunk = || Some(rest.by_ref().take(batch_size).collect::<Vec<_>>()).filter(|chunk| !chunk.is_empty());
    std::iter::from_fn(chunk).collect()
}

#[derive(Default)]
struct Adder {
    measurements: Vec<Measurement>,
    points: Vec<Measurement>,
}

/// One measurement for each series, and what is of another kind than the rest of its series.
struct Sums {
    measurements: Vec<Measurement>,
    refused: Vec<DeadLetter>,
}

impl Adder {
    fn add(&mut self, measurement: Measurement) {
        match measurement.value {
            Value::Point { .. } => self.points.push(measurement),
            _ => self.measurements.push(measurement),
        }
    }

    /// All sums but those of changes that cancelled each other out, by series, and then the points.
    fn finish(mut self) -> Sums {
        // Those of one series stay in their order, and need no key of their own.
        self.measurements.sort_by(|one, other| one.series.cmp(&other.series));
        let mut sums: Vec<Measurement> = Vec::with_capacity(self.measurements.len());
        let mut refused = Vec::new();
        for measurement in self.measurements {
            match sums.last_mut().filter(|sum| sum.series == measurement.series) {
                None => sums.push(measurement),
                Some(sum) if !are_added(&sum.value, &measurement.value) => {
                    let reason = format!("the series has values of another kind: {}", kind_of(&sum.value));
                    refused.push(DeadLetter { measurement, reason });
                }
                Some(sum) => {
                    if measurement.level < sum.level {
                        sum.level = measurement.level;
                    }
                    sum.unit = sum.unit.take().or(measurement.unit);
                    sum.help = sum.help.take().or(measurement.help);
                    absorb(&mut sum.value, measurement.value);
                    sum.trace.absorb(measurement.trace);
                }
            }
        }
        sums.retain(|m| !matches!(m.value, Value::Updown(total) if total.is_zero()));
        sums.extend(self.points);
        Sums { measurements: sums, refused }
    }
}

pub(crate) fn kind_of(value: &Value) -> Kind {
    match value {
        Value::Counter(_) => Kind::Counter,
        Value::Updown(_) => Kind::Updown,
        Value::Timer(_) => Kind::Timer,
        Value::Distribution(_) => Kind::Distribution,
        Value::Gauge(_) => Kind::Gauge,
        Value::Point { .. } => Kind::Point,
    }
}

/// Whether two values of one series make one: those of one kind, and counters and updown counters of a backend that
/// has one series for both.
pub(crate) fn are_added(one: &Value, other: &Value) -> bool {
    let total = |value: &Value| matches!(value, Value::Counter(_) | Value::Updown(_));
    discriminant(one) == discriminant(other) || (total(one) && total(other))
}

/// Adds a later or simultaneous value.
pub(crate) fn absorb(sum: &mut Value, more: Value) {
    match (sum, more) {
        (Value::Counter(sum), Value::Counter(more))
        | (Value::Updown(sum), Value::Updown(more) | Value::Counter(more)) => {
            *sum = sum.plus(more);
        }
        (sum @ Value::Counter(_), Value::Updown(more)) => {
            let Value::Counter(total) = *sum else { return };
            *sum = Value::Updown(total.plus(more));
        }
        (Value::Timer(sum), Value::Timer(more)) | (Value::Distribution(sum), Value::Distribution(more)) => {
            sum.sum = sum.sum.plus(more.sum);
            // What is left over of a sum has no values, and so no extremes.
            if sum.count() == 0 {
                (sum.min, sum.max, sum.approximate) = (more.min, more.max, more.approximate);
            } else if more.count() > 0 {
                sum.min = sum.min.min(more.min);
                sum.max = sum.max.max(more.max);
                sum.approximate |= more.approximate;
            }
            sum.histogram.merge(&more.histogram);
        }
        (Value::Gauge(sum), Value::Gauge(more)) => {
            sum.last = more.last;
            sum.statistics = match (sum.statistics, more.statistics) {
                (Some(a), Some(b)) => Some((a.0 + b.0, a.1 + b.1, a.2.min(b.2), a.3.max(b.3))),
                (a, b) => a.or(b),
            };
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use zibrato_core::frame::Total;
    use zibrato_core::histogram::Histogram;

    use super::*;
    use crate::batch::Series;

    fn measurement(name: &str, value: Value) -> Measurement {
        let series = Series { name: name.into(), source: "s".into(), tags: vec![], kind: kind_of(&value) };
        Measurement {
            series,
            level: "info".into(),
            unit: None,
            help: None,
            since: 0,
            value,
            trace: Trace::None,
        }
    }

    #[test]
    fn values_of_one_series_become_one() {
        let summary = |values: &[f64], approximate| {
            let mut histogram = Histogram::default();
            values.iter().for_each(|v| assert!(histogram.record(*v)));
            Summary {
                sum: Total::whole(values.iter().sum::<f64>() as i64),
                min: values.iter().copied().fold(f64::MAX, f64::min),
                max: values.iter().copied().fold(f64::MIN, f64::max),
                approximate,
                histogram,
            }
        };
        let gauge = |last, statistics| Value::Gauge(GaugeSummary { last, statistics });
        let merged = sums([
            measurement("c", Value::Counter(Total::whole(2))),
            measurement("t", Value::Timer(summary(&[1.0, 5.0], false))),
            measurement("g", gauge(1.0, Some((2, 3.0, 1.0, 2.0)))),
            measurement("u", Value::Updown(Total::whole(2))),
            measurement("p", Value::Point { time: 1, value: 1.0 }),
            measurement("c", Value::Counter(Total { whole: 3, float: 0.5 })),
            measurement("t", Value::Timer(summary(&[9.0], true))),
            measurement("g", gauge(4.0, Some((1, 4.0, 4.0, 4.0)))),
            measurement("t", Value::Timer(Summary { sum: Total::whole(4), ..summary(&[], true) })),
            measurement("u", Value::Updown(Total::whole(-2))),
            measurement("p", Value::Point { time: 1, value: 1.0 }),
        ]);
        let values: Vec<&Value> = merged.iter().map(|m| &m.value).collect();
        assert_eq!(
            values,
            [
                &Value::Counter(Total { whole: 5, float: 0.5 }),
                &gauge(4.0, Some((3, 7.0, 1.0, 4.0))),
                &Value::Timer(Summary { sum: Total::whole(19), ..summary(&[1.0, 5.0, 9.0], true) }),
                &Value::Point { time: 1, value: 1.0 },
                &Value::Point { time: 1, value: 1.0 },
            ]
        );
    }

    #[test]
    fn counters_and_updown_counters_of_one_series_are_added() {
        type Make = fn(Total) -> Value;
        let (counter, updown): (Make, Make) = (Value::Counter, Value::Updown);
        for totals in [[counter, updown], [updown, counter]] {
            let of_one_series = |(value, whole): (&Make, i64)| {
                let mut measurement = measurement("a", value(Total::whole(whole)));
                measurement.series.kind = Kind::Counter;
                measurement
            };
            let merged = |wholes: [i64; 2]| sums(totals.iter().zip(wholes).map(of_one_series));
            assert_eq!(merged([5, 2])[0].value, Value::Updown(Total::whole(7)));
            assert_eq!(merged([2, -2]), []);
        }
    }

    #[test]
    fn values_of_two_kinds_are_not_mixed() {
        let mut other = measurement("a", Value::Gauge(GaugeSummary { last: 1.0, statistics: None }));
        other.series.kind = Kind::Counter;
        let mut adder = Adder::default();
        adder.add(measurement("a", Value::Counter(Total::whole(2))));
        adder.add(other);
        let Sums { measurements, refused } = adder.finish();
        assert_eq!((measurements.len(), refused.len()), (1, 1));
        assert!(refused[0].reason.ends_with("of another kind: counter"));
        let mut other = measurement("a", Value::Gauge(GaugeSummary { last: 1.0, statistics: None }));
        other.series.kind = Kind::Counter;
        let merged = sums([measurement("a", Value::Counter(Total::whole(2))), other]);
        assert_eq!(merged.len(), 2, "merging batches drops nothing");
    }
}
