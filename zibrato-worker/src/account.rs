//! Amounts: what accounts are kept of, from settling to the backend's answer.

use rmp::{decode as de, encode as en};
use zibrato_core::frame::{Gauge, State, Total};
use zibrato_core::ledger::{Change, EntryChange, Settlement};

use crate::batch::{Measurement, Value};

/// How much something is, in numbers that stay the same when measurements are added up: of a series, of instances, or
/// of several periods. Only the number of datapoints falls then.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Amount {
    /// Datapoints: what happened to one series in one period.
    pub datapoints: u64,
    /// What counters and updown counters changed by.
    pub counted: Total,
    /// Values of timers and distributions, points, and how often gauges were set that keep statistics.
    pub values: u64,
    /// The sum of those values, of timers in nanoseconds.
    pub sum: Total,
}

/// By how much sums of fractions may differ that were added in another order, of the larger one.
const ROUNDING: f64 = 1e-6;

impl Amount {
    /// Of a measurement.
    pub(crate) fn of(measurement: &Measurement) -> Amount {
        let one = Amount { datapoints: 1, ..Amount::default() };
        match &measurement.value {
            Value::Counter(total) | Value::Updown(total) => Amount { counted: *total, ..one },
            Value::Timer(summary) | Value::Distribution(summary) => {
                Amount { values: summary.count(), sum: summary.sum, ..one }
            }
            Value::Gauge(gauge) => one.with_statistics(gauge.statistics),
            Value::Point { value, .. } => Amount { values: 1, sum: fraction(*value), ..one },
        }
    }

    /// Of what a backend that is told totals is sent: only datapoints can be added up.
    pub(crate) fn all(measurements: &[Measurement], cumulative: bool) -> Amount {
        if cumulative {
            return Amount { datapoints: measurements.len() as u64, ..Amount::default() };
        }
        measurements.iter().map(Amount::of).sum()
    }

    /// Of what happened to a metric; of no datapoint yet.
    pub(crate) fn of_change(change: &Change) -> Amount {
        let none = Amount::default();
        match change {
            Change::Total(total) => Amount { counted: *total, ..none },
            Change::Spread { sum, histogram, .. } => Amount { values: histogram.count(), sum: *sum, ..none },
            Change::Gauge { statistics, .. } => none.with_statistics(*statistics),
            Change::Point { value, .. } => Amount { values: 1, sum: fraction(*value), ..none },
        }
    }

    /// Of a settled total. Gauges and points are not what is added up there.
    pub fn of_state(state: &State) -> Amount {
        match state {
            State::Total(total) => Amount { counted: *total, ..Amount::default() },
            State::Spread(spread) => {
                Amount { values: spread.histogram.count(), sum: spread.sum, ..Amount::default() }
            }
            State::Gauge(Gauge { .. }) | State::Point(_) | State::Description(_) => Amount::default(),
        }
    }

    fn with_statistics(self, statistics: Option<(u64, f64, f64, f64)>) -> Amount {
        let Some((count, sum, ..)) = statistics else { return self };
        Amount { values: count, sum: fraction(sum), ..self }
    }

    /// Both together.
    pub fn plus(self, more: Amount) -> Amount {
        Amount {
            datapoints: self.datapoints.wrapping_add(more.datapoints),
            counted: add(self.counted, more.counted),
            values: self.values.wrapping_add(more.values),
            sum: add(self.sum, more.sum),
        }
    }

    /// What is left when `less` is taken away; below zero, the numbers wrap around, as they do in an account that is
    /// wrong.
    pub fn minus(self, less: Amount) -> Amount {
        Amount {
            datapoints: self.datapoints.wrapping_sub(less.datapoints),
            counted: subtract(self.counted, less.counted),
            values: self.values.wrapping_sub(less.values),
            sum: subtract(self.sum, less.sum),
        }
    }

    /// Whether both are the same, but for the rounding of fractions that were added in another order.
    pub fn is_equal(self, other: Amount) -> bool {
        self.datapoints == other.datapoints
            && self.values == other.values
            && is_near(self.counted, other.counted)
            && is_near(self.sum, other.sum)
    }

    /// The same without the number of datapoints.
    pub fn sums(self) -> Amount {
        Amount { datapoints: 0, ..self }
    }

    pub(crate) fn encode(self) -> Vec<u8> {
        let mut out = Vec::with_capacity(32);
        // Writing into a `Vec` cannot fail, so the results are dropped.
        let _ = en::write_array_len(&mut out, 6);
        let _ = en::write_uint(&mut out, self.datapoints);
        let _ = en::write_sint(&mut out, self.counted.whole);
        let _ = en::write_f64(&mut out, self.counted.float);
        let _ = en::write_uint(&mut out, self.values);
        let _ = en::write_sint(&mut out, self.sum.whole);
        let _ = en::write_f64(&mut out, self.sum.float);
        out
    }

    pub(crate) fn decode(mut bytes: &[u8]) -> Option<Amount> {
        let input = &mut bytes;
        if de::read_array_len(input).ok()? < 6 {
            return None;
        }
        let datapoints = de::read_int(input).ok()?;
        let counted = Total { whole: de::read_int(input).ok()?, float: de::read_f64(input).ok()? };
        let values = de::read_int(input).ok()?;
        let sum = Total { whole: de::read_int(input).ok()?, float: de::read_f64(input).ok()? };
        Some(Amount { datapoints, counted, values, sum })
    }
}

impl std::iter::Sum for Amount {
    fn sum<I: Iterator<Item = Amount>>(amounts: I) -> Amount {
        amounts.fold(Amount::default(), Amount::plus)
    }
}

fn fraction(value: f64) -> Total {
    Total { whole: 0, float: value }
}

// Unlike those of a series, these wrap around: then they stay comparable whatever the total is.
fn add(one: Total, other: Total) -> Total {
    let float = (one.float + other.float).clamp(f64::MIN, f64::MAX);
    Total { whole: one.whole.wrapping_add(other.whole), float }
}

fn subtract(one: Total, other: Total) -> Total {
    let float = (one.float - other.float).clamp(f64::MIN, f64::MAX);
    Total { whole: one.whole.wrapping_sub(other.whole), float }
}

fn is_near(one: Total, other: Total) -> bool {
    let most = one.float.abs().max(other.float.abs()).max(1.0);
    one.whole == other.whole && (one.float - other.float).abs() <= most * ROUNDING
}

/// What a settlement moves.
#[derive(Debug, Default)]
pub(crate) struct Moved {
    /// What each of its changes adds to the settled totals of its instance.
    pub(crate) entries: Vec<Amount>,
    /// What of that was there before the worker was: it is settled and never happened.
    pub(crate) baseline: Amount,
    /// All of what happened.
    pub(crate) happened: Amount,
}

impl Moved {
    pub(crate) fn by(settlement: &Settlement) -> Moved {
        let mut all = Moved::default();
        let mut deltas = settlement.deltas.iter().peekable();
        for entry in &settlement.entries {
            let mut moved = Amount::default();
            // Both are in the order of instances.
            while let Some(delta) = deltas.next_if(|delta| delta.origin == entry.origin) {
                let amount = Amount::of_change(&delta.change);
                all.happened = all.happened.plus(amount);
                if matches!(delta.change, Change::Total(_) | Change::Spread { .. }) {
                    moved = moved.plus(amount);
                }
            }
            if entry.first {
                let known = first(entry);
                all.baseline = all.baseline.plus(known.minus(moved));
                moved = known;
            }
            all.entries.push(moved);
        }
        all
    }
}

/// All that is settled of an instance that had not been settled before.
fn first(entry: &EntryChange) -> Amount {
    let mut rows = std::collections::HashMap::with_capacity(entry.rows.len());
    for (key, row) in &entry.rows {
        rows.insert(key, Amount::of_state(&row.state));
    }
    rows.into_values().sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_come_back_and_are_compared_without_their_rounding() {
        let amount = Amount {
            datapoints: 3,
            counted: Total { whole: i64::MIN, float: 0.1 },
            values: u64::MAX,
            sum: Total { whole: 5, float: -1e300 },
        };
        assert_eq!(Amount::decode(&amount.encode()), Some(amount));
        assert_eq!(Amount::decode(&amount.encode()[..20]), None);
        let third = Amount { counted: fraction(1.0 / 3.0), ..Amount::default() };
        let other = Amount { counted: fraction(1.0 / 3.0 + 1e-12), ..Amount::default() };
        assert!(third.is_equal(other) && !third.is_equal(Amount::default()));
        assert_eq!(amount.minus(amount.plus(third)).plus(amount).datapoints, 3);
    }
}
