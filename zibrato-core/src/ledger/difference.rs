//! The difference between two states of one metric.

use std::sync::Arc;

use crate::frame::{Gauge, Key, Kind, Span, Spread, State, Total};
use crate::histogram::Histogram;

/// What happened to one metric of one instance.
#[derive(Debug, Clone, PartialEq)]
pub enum Change {
    /// Of a counter or an updown counter: what was added.
    Total(Total),
    /// Of a timer or a distribution: the values. At least one, except where an instance or metric ends and a part of
    /// its sum is left over.
    Spread {
        /// Their sum.
        sum: Total,
        /// Their distribution.
        histogram: Histogram,
        /// Their extremes, `None` where only the histogram's edges are known.
        span: Option<Span>,
    },
    /// Of a gauge.
    Gauge {
        /// The value that was set last.
        last: f64,
        /// When it was set, in nanoseconds as estimated on the receiver's clock.
        set_at: u64,
        /// How often it was set, the sum of the values, the smallest and the largest; `None` where it was not set
        /// or where that is not kept.
        statistics: Option<(u64, f64, f64, f64)>,
    },
    /// One datapoint.
    Point {
        /// Its own time, in nanoseconds since 1970 UTC.
        time: u64,
        /// Its value.
        value: f64,
    },
}

/// What follows from the newest state and the one that has been settled.
pub(super) enum Difference {
    /// Nothing happened.
    Same,
    /// A sum without its value is half an event. The next state has the other half, so it can wait.
    Half(Change, Arc<State>),
    /// A total fell that must not.
    Backwards,
    /// Something happened, and then this state is settled.
    New(Change, Arc<State>),
}

/// Compares two states; not for gauges, which are told also when they did not change.
pub(super) fn difference(key: &Key, new: &Arc<State>, old: Option<&State>, span: Option<Span>) -> Difference {
    match (&**new, old) {
        (State::Total(new_total), old) => {
            let old = if let Some(State::Total(old)) = old { *old } else { Total::default() };
            let mut total = *new_total;
            if key.kind == Kind::Counter {
                if total.whole < old.whole {
                    return Difference::Backwards;
                }
                // Fractions are summed in varying order: a last bit may fall without anything being wrong.
                total.float = total.float.max(old.float);
            }
            let added = total.since(old);
            match added.is_zero() {
                true => Difference::Same,
                false if total == *new_total => Difference::New(Change::Total(added), new.clone()),
                false => Difference::New(Change::Total(added), Arc::new(State::Total(total))),
            }
        }
        (State::Spread(spread), old) => {
            let nothing = Spread::default();
            let old = if let Some(State::Spread(old)) = old { old } else { &nothing };
            let histogram = spread.histogram.since(&old.histogram);
            let (count, before) = (spread.histogram.count(), old.histogram.count());
            let sum = spread.sum.since(old.sum);
            if before.checked_add(histogram.count()) != Some(count)
                || (key.kind == Kind::Timer && sum.whole < 0)
            {
                return Difference::Backwards;
            }
            if count == before {
                let change = Change::Spread { sum, histogram, span: None };
                return if sum.is_zero() { Difference::Same } else { Difference::Half(change, new.clone()) };
            }
            let span = span.filter(|span| fits(*span, &histogram, key.kind));
            Difference::New(Change::Spread { sum, histogram, span }, new.clone())
        }
        _ => Difference::Same,
    }
}

/// Whether extremes are those of a histogram's values: an event that was half recorded when the frame was made may
/// be in one and not in the other.
fn fits(span: Span, histogram: &Histogram, kind: Kind) -> bool {
    if kind == Kind::Timer {
        // Durations are counted in ticks and told in whole nanoseconds, so that a short one may seem to be in the
        // bucket beside its own.
        let near = |value: f64, edge: f64| (value - edge).abs() <= edge * (BUCKET + 0.003) + 1.0;
        return histogram.edges().is_some_and(|(low, high)| near(span.min, low) && near(span.max, high));
    }
    let mut ends = Histogram::default();
    ends.record(span.min) && ends.record(span.max) && ends.edges() == histogram.edges()
}

/// How much wider than its lower edge a bucket ends: 2^(1/64) - 1.
const BUCKET: f64 = 0.010_889_286;

/// What a gauge's state says of the time since another state.
pub(super) fn gauge(new: &Gauge, set_at: u64, old: Option<&State>, span: Option<Span>) -> Change {
    let statistics = new.statistics.and_then(|(count, sum, _)| {
        let (old_count, old_sum) = match old {
            Some(State::Gauge(Gauge { statistics: Some((count, sum, _)), .. })) => (*count, *sum),
            _ => (0, 0.0),
        };
        let times = count.checked_sub(old_count).filter(|times| *times > 0)?;
        let Span { min, max } = span.unwrap_or(Span { min: new.value, max: new.value });
        Some((times, sum - old_sum, min.min(new.value), max.max(new.value)))
    });
    Change::Gauge { last: new.value, set_at, statistics }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extremes_of_short_durations_fit_their_buckets_though_rounded() {
        // In ticks of 0.476 ns, told as whole nanoseconds.
        for ticks in 30..10_000 {
            let nanos = f64::from(ticks) * 0.476_190_476;
            let mut histogram = Histogram::default();
            histogram.record(nanos);
            let span = Span { min: nanos.floor(), max: nanos.ceil() };
            assert!(fits(span, &histogram, Kind::Timer), "{nanos}");
            let others = Span { min: nanos.floor() * 0.9 - 2.0, max: nanos.ceil() };
            assert!(!fits(others, &histogram, Kind::Timer), "{nanos}");
        }
    }

    #[test]
    fn extremes_of_other_values_are_in_the_very_buckets() {
        let mut histogram = Histogram::default();
        for value in [3.0, 250.0] {
            histogram.record(value);
        }
        assert!(fits(Span { min: 3.0, max: 250.0 }, &histogram, Kind::Distribution));
        assert!(!fits(Span { min: 3.1, max: 250.0 }, &histogram, Kind::Distribution));
    }
}
