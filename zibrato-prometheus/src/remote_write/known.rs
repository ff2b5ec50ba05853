//! Which series were sent, to tell when they begin and when they end.

use std::collections::HashMap;

use zibrato_worker::{Batch, GaugeSummary, Measurement, Series, Trace, Value};

/// All series that are there.
#[derive(Debug, Default)]
pub(super) struct Known {
    series: HashMap<Series, Seen>,
    /// Of the newest batch.
    time: u64,
}

#[derive(Debug)]
struct Seen {
    /// The newest batch that had it; 0 where another process sent it.
    time: u64,
    /// With which batch it began.
    first: u64,
}

impl Known {
    /// What another process has sent.
    pub(super) fn restore(&mut self, totals: &Batch) {
        for measurement in &totals.measurements {
            self.series.insert(measurement.series.clone(), Seen { time: 0, first: 0 });
        }
    }

    /// Takes note of a batch, which may be a repeat; gives the series that no batch has had for longer than `stale`, in
    /// nanoseconds.
    pub(super) fn note(&mut self, batch: &Batch, stale: u64) -> Vec<Measurement> {
        let mut ended = Vec::new();
        if batch.time > self.time {
            let before = self.time.min(batch.time.saturating_sub(stale));
            self.series.retain(|series, seen| {
                let there = seen.time == 0 || seen.time >= before;
                if !there {
                    ended.push(last(series));
                }
                there
            });
            self.time = batch.time;
        }
        for measurement in &batch.measurements {
            // A point is there once: nothing ends after it.
            if matches!(measurement.value, Value::Point { .. }) {
                continue;
            }
            match self.series.get_mut(&measurement.series) {
                Some(seen) => seen.time = seen.time.max(batch.time),
                None => {
                    let seen = Seen { time: batch.time, first: batch.time };
                    self.series.insert(measurement.series.clone(), seen);
                }
            }
        }
        ended
    }

    /// When a measurement's total was zero, in milliseconds since 1970, if nobody was told before: if the series began
    /// since the batch before, and this is its first batch.
    pub(super) fn began(&self, batch: &Batch, measurement: &Measurement) -> Option<i64> {
        let first = self.series.get(&measurement.series).is_some_and(|seen| seen.first == batch.time);
        let is_new = first && batch.from > 0 && measurement.since > batch.from;
        is_new.then_some((measurement.since / 1_000_000) as i64)
    }
}

/// A measurement of a series, of which only the shape counts.
fn last(series: &Series) -> Measurement {
    use zibrato_worker::{Histogram, Kind, Summary, Total};
    let summary = || Summary {
        sum: Total::default(),
        min: 0.0,
        max: 0.0,
        approximate: false,
        histogram: Histogram::default(),
    };
    let value = match series.kind {
        Kind::Timer => Value::Timer(summary()),
        Kind::Distribution => Value::Distribution(summary()),
        _ => Value::Gauge(GaugeSummary { last: 0.0, statistics: None }),
    };
    Measurement {
        series: series.clone(),
        level: String::new(),
        unit: None,
        help: None,
        since: 0,
        value,
        trace: Trace::None,
    }
}
