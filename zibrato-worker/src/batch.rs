//! What is sent: measurements of one period.

use zibrato_core::frame::{Kind, Total};
use zibrato_core::histogram::Histogram;
use zibrato_core::trace::Trace;

/// What a backend stores values under.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Series {
    /// The metric's name.
    pub name: String,
    /// Where it was measured.
    pub source: String,
    /// Pairs of name and value, sorted by name.
    pub tags: Vec<(String, String)>,
    /// What the metric is.
    pub kind: Kind,
}

/// Measurements that are sent in one request; each series occurs once, except for points.
#[derive(Debug, Clone, PartialEq)]
pub struct Batch {
    /// Unique and rising within a state directory: a repeat has the same.
    pub id: u64,
    /// When the period began, in nanoseconds since 1970 UTC; 0 where that is not known.
    pub from: u64,
    /// The time of all measurements but points, in nanoseconds since 1970 UTC: when the period ended, rounded up
    /// to a multiple of the backend's resolution. Later for every batch of a series than for the one before.
    pub time: u64,
    /// What is sent, at most [`batch_size`](crate::Backend::batch_size).
    pub measurements: Vec<Measurement>,
}

/// What happened to one series during a period.
#[derive(Debug, Clone, PartialEq)]
pub struct Measurement {
    /// Which series, as [`Backend::series`](crate::Backend::series) has left it.
    pub series: Series,
    /// The level that it was measured at, the alphabetically first where a series has several.
    pub level: String,
    /// The unit in UCUM notation where the program described one. Timers are always in nanoseconds.
    pub unit: Option<String>,
    /// What it means, in a sentence for people, where the program described it.
    pub help: Option<String>,
    /// Since when `value` is added up, in nanoseconds since 1970 UTC: the batch's `from`, or where the backend is told
    /// totals, when the series' total was zero. Without meaning for gauges and points.
    pub since: u64,
    /// What happened.
    pub value: Value,
    /// What of tracing belongs to it; nothing for backends to look at, but for one that writes events down.
    pub trace: Trace,
}

impl Measurement {
    /// Count, sum, extremes and sum of squares of a timer, distribution or gauge with statistics; timers in
    /// seconds. `None` for everything else.
    pub fn statistics(&self) -> Option<Statistics> {
        match &self.value {
            Value::Timer(summary) => Some(summary.in_seconds()),
            Value::Distribution(summary) => Some(summary.statistics()),
            Value::Gauge(GaugeSummary { statistics: Some((count, sum, min, max)), .. }) => {
                Some(Statistics { count: *count, sum: *sum, min: *min, max: *max, sum_of_squares: None })
            }
            _ => None,
        }
    }
}

/// What happened to a series during a period.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// The increase.
    Counter(Total),
    /// The change, perhaps negative.
    Updown(Total),
    /// The durations, in nanoseconds.
    Timer(Summary),
    /// The values, in their own unit.
    Distribution(Summary),
    /// The last value.
    Gauge(GaugeSummary),
    /// One datapoint with its own time.
    Point {
        /// Its time, in nanoseconds since 1970 UTC.
        time: u64,
        /// Its value.
        value: f64,
    },
}

/// The values of a timer or distribution during a period. There is at least one, except where a program ended and a
/// part of a sum is left over: then the count is 0, and so are the extremes.
#[derive(Debug, Clone, PartialEq)]
pub struct Summary {
    /// The exact sum.
    pub sum: Total,
    /// The smallest value.
    pub min: f64,
    /// The largest value.
    pub max: f64,
    /// Whether `min` and `max` are edges of histogram buckets (at most 1.1 % off) because a frame was missed.
    pub approximate: bool,
    /// All values, at most 0.55 % off each; their number is exact.
    pub histogram: Histogram,
}

impl Summary {
    /// How many values there are.
    pub fn count(&self) -> u64 {
        self.histogram.count()
    }

    /// The sum as one number.
    pub fn sum(&self) -> f64 {
        self.sum.value()
    }

    /// The value below which the fraction `q` (0 to 1) of all values lies, within 0.55 % and never beyond the
    /// smallest or largest value.
    pub fn quantile(&self, q: f64) -> f64 {
        self.histogram.quantile(q).map_or(self.min, |value| value.max(self.min).min(self.max))
    }

    /// The sum of the squares of all values, within 1.1 %.
    pub fn sum_of_squares(&self) -> f64 {
        self.histogram.sum_of_squares()
    }

    /// The figures in the unit of the values.
    pub fn statistics(&self) -> Statistics {
        Statistics {
            count: self.count(),
            sum: self.sum(),
            min: self.min,
            max: self.max,
            sum_of_squares: Some(self.sum_of_squares()),
        }
    }

    /// The figures of a timer in seconds.
    pub fn in_seconds(&self) -> Statistics {
        let own = self.statistics();
        Statistics {
            count: own.count,
            sum: own.sum / 1e9,
            min: own.min / 1e9,
            max: own.max / 1e9,
            sum_of_squares: own.sum_of_squares.map(|squares| squares / 1e18),
        }
    }
}

/// What a backend without histograms stores of a summary.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Statistics {
    /// How many values.
    pub count: u64,
    /// Their sum.
    pub sum: f64,
    /// The smallest.
    pub min: f64,
    /// The largest.
    pub max: f64,
    /// The sum of their squares; not known of gauges.
    pub sum_of_squares: Option<f64>,
}

impl Statistics {
    /// The mean, 0 when there are no values.
    pub fn mean(&self) -> f64 {
        if self.count == 0 { 0.0 } else { self.sum / self.count as f64 }
    }
}

/// A gauge during a period.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct GaugeSummary {
    /// The value that was set last.
    pub last: f64,
    /// How often it was set in the period, the sum of what it was set to, the smallest and the largest; kept only
    /// for gauges that were asked for it, and only in periods in which they were set.
    pub statistics: Option<(u64, f64, f64, f64)>,
}
