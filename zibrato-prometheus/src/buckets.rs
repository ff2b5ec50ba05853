//! Histograms as Prometheus keeps them: native ones, and classic ones with buckets of a few bounds.

use zibrato_core::histogram::{Buckets, LOWEST, PER_OCTAVE, SCALE, middle};
use zibrato_worker::Histogram;

/// Prometheus' schema of the histogram's buckets: 64 per doubling.
pub(crate) const SCHEMA: i32 = SCALE;
/// By how many buckets nanoseconds are moved to be seconds: log2(1e9) * 64 = 1913.43, rounded. So seconds appear
/// 2^(0.43/64) = 0.47 % larger in the buckets of a native histogram than they are.
const NANOSECONDS: i32 = 1913;

/// What one unit of the histogram is in the unit that is exposed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scale {
    /// The same.
    One,
    /// A nanosecond, exposed as seconds.
    Nanoseconds,
}

impl Scale {
    fn shift(self) -> i32 {
        if self == Scale::Nanoseconds { NANOSECONDS } else { 0 }
    }

    /// A value in the unit that is exposed.
    pub(crate) fn of(self, value: f64) -> f64 {
        if self == Scale::Nanoseconds { value / 1e9 } else { value }
    }
}

/// The buckets of one side: runs of neighbours, and the difference of each bucket's count to the one before.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Spans {
    /// How many buckets are left out since the end of the run before (for the first: its index), and how many follow.
    pub(crate) spans: Vec<(i32, u32)>,
    pub(crate) deltas: Vec<i64>,
}

/// A gap of so few empty buckets is filled with zeros, which is shorter than another run.
const GAP: i32 = 2;

impl Spans {
    fn new(buckets: &Buckets, scale: Scale) -> Spans {
        let mut all = Spans::default();
        let (mut end, mut before) = (0, 0i64);
        for &(index, count) in buckets.pairs() {
            // Prometheus numbers buckets by their upper edge, and it is the upper one that belongs to them.
            let index = index + 1 - scale.shift();
            match (index - end, all.spans.last_mut()) {
                (gap @ 0..=GAP, Some((_, length))) => {
                    *length += gap as u32 + 1;
                    for _ in 0..gap {
                        all.deltas.push(-before);
                        before = 0;
                    }
                }
                (gap, _) => all.spans.push((gap, 1)),
            }
            let count = i64::try_from(count).unwrap_or(i64::MAX);
            all.deltas.push(count - before);
            (end, before) = (index + 1, count);
        }
        all
    }
}

/// A native histogram.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Native {
    pub(crate) zero_threshold: f64,
    pub(crate) zero: u64,
    pub(crate) positive: Spans,
    pub(crate) negative: Spans,
}

impl Native {
    pub(crate) fn new(histogram: &Histogram, scale: Scale) -> Native {
        Native {
            // The lower edge of the lowest bucket, so that the zero bucket touches it.
            zero_threshold: (f64::from(LOWEST - scale.shift()) / f64::from(PER_OCTAVE)).exp2(),
            zero: histogram.zero,
            positive: Spans::new(&histogram.positive, scale),
            negative: Spans::new(&histogram.negative, scale),
        }
    }
}

/// The upper bounds of a classic histogram's buckets, rising; the last one, infinity, is not among them.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Bounds(Vec<f64>);

impl Bounds {
    /// The bounds.
    pub fn values(&self) -> &[f64] {
        &self.0
    }

    /// How many values are at most each bound, and how many there are. Values count as the middle of their bucket, so a
    /// bound is at most 0.55 % off.
    pub(crate) fn count(&self, histogram: &Histogram, scale: Scale) -> Vec<u64> {
        let below = histogram.negative.pairs().iter().rev().map(|&(i, n)| (-middle(i), n));
        let zero = (histogram.zero > 0).then_some((0.0, histogram.zero));
        let above = histogram.positive.pairs().iter().map(|&(i, n)| (middle(i), n));
        let mut values = below.chain(zero).chain(above).map(|(value, n)| (scale.of(value), n)).peekable();
        let mut sum = 0u64;
        let mut counts = Vec::with_capacity(self.0.len() + 1);
        for &bound in &self.0 {
            while let Some((_, n)) = values.next_if(|(value, _)| *value <= bound) {
                sum = sum.saturating_add(n);
            }
            counts.push(sum);
        }
        counts.push(values.fold(sum, |sum, (_, n)| sum.saturating_add(n)));
        counts
    }
}

impl std::str::FromStr for Bounds {
    type Err = String;

    /// Comma-separated numbers, or `none`.
    fn from_str(text: &str) -> Result<Self, String> {
        if text.trim() == "none" {
            return Ok(Bounds::default());
        }
        let number = |text: &str| match text.trim().parse::<f64>() {
            Ok(number) if number.is_finite() => Ok(number),
            _ => Err(format!("{text:?} is no finite number; give numbers separated by commas, or none")),
        };
        let bounds = text.split(',').map(number).collect::<Result<Vec<_>, _>>()?;
        if bounds.len() > 1000 {
            return Err("there are more than 1000 buckets".into());
        }
        match bounds.windows(2).find(|pair| pair[0] >= pair[1]) {
            Some(pair) => Err(format!("{} must be larger than {} before it", pair[1], pair[0])),
            None => Ok(Bounds(bounds)),
        }
    }
}

/// Which buckets classic histograms have.
#[derive(Debug, Clone, PartialEq, clap::Args)]
pub struct Classic {
    /// Upper bounds of the classic buckets of timers, in seconds; none for no buckets
    #[arg(
        long,
        value_name = "BOUNDS",
        env = "PROMETHEUS_TIMER_BUCKETS",
        default_value = "0.00001,0.0001,0.00025,0.0005,0.001,0.0025,0.005,0.01,0.025,0.05,0.1,0.25,0.5,1,2.5,5,10,30,60"
    )]
    pub timer_buckets: Bounds,
    /// Upper bounds of the classic buckets of distributions, in their own unit; none for no buckets
    #[arg(
        long,
        value_name = "BOUNDS",
        env = "PROMETHEUS_BUCKETS",
        allow_hyphen_values = true,
        default_value = "0,1,2.5,5,10,25,50,100,250,500,1000,2500,5000,10000,100000,1000000,10000000"
    )]
    pub buckets: Bounds,
}

impl Classic {
    pub(crate) fn of(&self, scale: Scale) -> &Bounds {
        match scale {
            Scale::Nanoseconds => &self.timer_buckets,
            Scale::One => &self.buckets,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn histogram(values: &[f64]) -> Histogram {
        let mut histogram = Histogram::default();
        values.iter().for_each(|v| assert!(histogram.record(*v)));
        histogram
    }

    /// The (index, count) pairs of spans.
    fn unfold(spans: &Spans) -> Vec<(i32, i64)> {
        let (mut index, mut count, mut all) = (0, 0, Vec::new());
        let mut deltas = spans.deltas.iter();
        for &(offset, length) in &spans.spans {
            index += offset;
            for _ in 0..length {
                count += deltas.next().unwrap();
                all.push((index, count));
                index += 1;
            }
        }
        assert_eq!(deltas.next(), None);
        all.retain(|&(_, n)| n != 0);
        all
    }

    #[test]
    fn seconds_are_where_prometheus_looks_for_them() {
        for nanoseconds in [1.0, 17.0, 1e3, 123_456.0, 1e9, 3.6e12] {
            let native = Native::new(&histogram(&[nanoseconds]), Scale::Nanoseconds);
            let [(index, 1)] = unfold(&native.positive)[..] else { panic!("{native:?}") };
            let edge = |index: i32| (f64::from(index) / 64.0).exp2();
            let (low, high) = (edge(index - 1), edge(index));
            let seconds = nanoseconds / 1e9;
            assert!(low < seconds * 1.005 && seconds < high, "{seconds} is not in {low}..{high}");
            assert!(high < seconds * 1.016, "{seconds} {high}");
            assert!(native.zero_threshold < low);
        }
    }

    #[test]
    fn classic_buckets_count_what_is_below() {
        let bounds: Bounds = "-1,0,1, 2.5,1e3".parse().unwrap();
        let histogram = histogram(&[-5.0, -0.5, 0.0, 0.0, 0.9, 2.0, 999.0, 5000.0]);
        assert_eq!(bounds.count(&histogram, Scale::One), [1, 4, 5, 6, 7, 8]);
        let seconds: Bounds = "0.5,1".parse().unwrap();
        let timer = self::histogram(&[4e8, 6e8, 2e9]);
        assert_eq!(seconds.count(&timer, Scale::Nanoseconds), [1, 2, 3]);
        assert_eq!(Bounds::default().count(&timer, Scale::Nanoseconds), [3]);
    }

    #[test]
    fn bounds_are_checked() {
        assert_eq!("none".parse(), Ok(Bounds::default()));
        for bad in ["", "1,1", "2,1", "1,x", "1,inf", "nan"] {
            assert!(bad.parse::<Bounds>().is_err(), "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn spans_have_every_count(pairs in prop::collection::btree_map(-300..300i32, 1..1000u64, 0..80)) {
            let buckets = Buckets::from_pairs(pairs.clone());
            let found = unfold(&Spans::new(&buckets, Scale::One));
            let expected: Vec<(i32, i64)> = pairs.into_iter().map(|(i, n)| (i + 1, n as i64)).collect();
            prop_assert_eq!(found, expected);
        }
    }
}
