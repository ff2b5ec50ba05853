//! Data points.

use opentelemetry_proto::tonic::metrics::v1::exponential_histogram_data_point::Buckets;
use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value as Number;
use opentelemetry_proto::tonic::metrics::v1::{ExponentialHistogramDataPoint, NumberDataPoint};
use zibrato_core::histogram::{self, LOWEST, PER_OCTAVE, SCALE};
use zibrato_worker::{Summary, Total};

use crate::options::TimerUnit;

/// By how many buckets nanoseconds are moved to be seconds: log2(1e9) * 64 = 1913.43, rounded. So seconds appear
/// 2^(0.43/64) = 0.47 % larger in the buckets than they are.
const NANOSECONDS: i32 = 1913;

/// From when to when, in nanoseconds since 1970 UTC.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Period {
    pub(crate) start: u64,
    pub(crate) time: u64,
}

impl Period {
    /// A period that begins before it ends, also where another host's clock has told its beginning.
    pub(crate) fn new(since: u64, time: u64) -> Period {
        Period { start: since.min(time.saturating_sub(1)), time }
    }
}

/// What the unit of a histogram becomes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scale {
    One,
    NanosecondsToSeconds,
}

impl Scale {
    pub(crate) fn of_timers(unit: TimerUnit) -> Scale {
        if unit == TimerUnit::S { Scale::NanosecondsToSeconds } else { Scale::One }
    }

    fn shift(self) -> i32 {
        if self == Scale::One { 0 } else { NANOSECONDS }
    }

    fn of(self, value: f64) -> f64 {
        if self == Scale::One { value } else { value / 1e9 }
    }
}

/// A total, an integer where it is one.
pub(crate) fn total(total: Total) -> Number {
    if total.float == 0.0 { Number::AsInt(total.whole) } else { Number::AsDouble(total.value()) }
}

/// A data point of a gauge.
pub(crate) fn gauge(value: f64, time: u64) -> NumberDataPoint {
    number(Number::AsDouble(value), Period { start: 0, time })
}

/// A data point of a sum or a gauge.
pub(crate) fn number(value: Number, period: Period) -> NumberDataPoint {
    NumberDataPoint {
        start_time_unix_nano: period.start,
        time_unix_nano: period.time,
        value: Some(value),
        ..NumberDataPoint::default()
    }
}

/// A data point of an exponential histogram; `extremes` where the summary's are of the period.
pub(crate) fn exponential(
    summary: &Summary,
    scale: Scale,
    extremes: bool,
    period: Period,
) -> ExponentialHistogramDataPoint {
    let histogram = &summary.histogram;
    let extreme = |value| (extremes && summary.count() > 0).then(|| scale.of(value));
    ExponentialHistogramDataPoint {
        start_time_unix_nano: period.start,
        time_unix_nano: period.time,
        count: summary.count(),
        // The data model has none where values are negative, because it could fall, nor where there are no values.
        sum: (histogram.negative.is_empty() && summary.count() > 0).then(|| scale.of(summary.sum())),
        scale: SCALE,
        zero_count: histogram.zero,
        positive: buckets(&histogram.positive, scale),
        negative: buckets(&histogram.negative, scale),
        min: extreme(summary.min),
        max: extreme(summary.max),
        // The lower edge of the lowest bucket.
        zero_threshold: (f64::from(LOWEST - scale.shift()) / f64::from(PER_OCTAVE)).exp2(),
        ..ExponentialHistogramDataPoint::default()
    }
}

/// All buckets of one side from the first that has values to the last; `None` where none has.
fn buckets(side: &histogram::Buckets, scale: Scale) -> Option<Buckets> {
    let pairs = side.pairs();
    let (first, last) = (pairs.first()?.0, pairs.last()?.0);
    // Indices differ by 2^13 at most.
    let mut bucket_counts = vec![0; (last - first) as usize + 1];
    for &(index, count) in pairs {
        bucket_counts[(index - first) as usize] = count;
    }
    Some(Buckets { offset: first - scale.shift(), bucket_counts })
}

#[cfg(test)]
mod tests {
    use zibrato_worker::Histogram;

    use super::*;

    fn summary(values: &[f64]) -> Summary {
        let mut histogram = Histogram::default();
        values.iter().for_each(|v| assert!(histogram.record(*v)));
        let sum = Total { whole: 0, float: values.iter().sum() };
        Summary { sum, min: -1.0, max: 1e9, approximate: false, histogram }
    }

    #[test]
    fn buckets_are_those_of_the_cells() {
        let point = exponential(&summary(&[0.0, 1.5, 1.5, 2.5]), Scale::One, false, Period::new(1, 2));
        let positive = point.positive.unwrap();
        assert_eq!((positive.offset, positive.bucket_counts.len()), (37, 48));
        assert_eq!((positive.bucket_counts[0], positive.bucket_counts[47]), (2, 1));
        assert_eq!((point.count, point.zero_count, point.negative, point.min), (4, 1, None, None));
        assert_eq!((point.sum, point.scale, point.zero_threshold), (Some(5.5), 6, 2f64.powi(-64)));
    }

    #[test]
    fn seconds_are_near_where_they_belong() {
        for nanoseconds in [1.0, 1e3, 123_456.0, 1e9, 3.6e12] {
            let scale = Scale::NanosecondsToSeconds;
            let point = exponential(&summary(&[nanoseconds]), scale, true, Period::new(1, 2));
            let low = (f64::from(point.positive.unwrap().offset) / 64.0).exp2();
            let seconds = nanoseconds / 1e9;
            assert!(low < seconds * 1.005 && seconds < low * 1.011, "{seconds} {low}");
            assert_eq!((point.sum, point.max), (Some(seconds), Some(1.0)));
        }
    }

    #[test]
    fn negative_values_have_no_sum() {
        let point = exponential(&summary(&[-1.5, 2.0]), Scale::One, false, Period::new(1, 2));
        assert_eq!((point.sum, point.negative.unwrap().bucket_counts), (None, vec![1]));
    }

    #[test]
    fn a_period_begins_before_it_ends() {
        assert_eq!(Period::new(5, 9).start, 5);
        assert_eq!(Period::new(9, 9).start, 8);
        assert_eq!(Period::new(10, 9).start, 8);
    }
}
