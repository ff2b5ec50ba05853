//! Values that stand for all that a histogram has.

use zibrato_core::histogram::middle;
use zibrato_worker::Summary;

/// A value, and how many it stands for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Sample {
    pub(crate) value: f64,
    pub(crate) weight: u64,
}

/// At most `most` values that stand for as many each, or for one more: the daemons that take no notice of the rate when
/// they make percentiles and means then still make the right ones.
///
/// The weights add up to the count.
pub(crate) fn even(summary: &Summary, most: u64) -> Vec<Sample> {
    let count = summary.count();
    let number = count.min(most.max(1));
    if number == 0 {
        return Vec::new();
    }
    let mut samples = Vec::with_capacity(number as usize);
    let mut buckets = buckets(summary);
    let (mut before, mut reached, mut value) = (0u64, 0u64, 0.0);
    for i in 0..number {
        // Those that stand for one more are spread evenly, too.
        let end = (u128::from(i + 1) * u128::from(count) / u128::from(number)) as u64;
        let weight = end - before;
        // The value in the middle of those that it stands for.
        let rank = before + weight.div_ceil(2);
        while reached < rank {
            let Some((middle, n)) = buckets.next() else { break };
            (value, reached) = (middle, reached + n);
        }
        samples.push(Sample { value, weight });
        before = end;
    }
    correct(&mut samples, summary);
    samples
}

/// One value of each bucket, which stands for all in it: for daemons that take notice of the rate.
pub(crate) fn weighted(summary: &Summary) -> Vec<Sample> {
    let mut samples: Vec<Sample> = buckets(summary).map(|(value, weight)| Sample { value, weight }).collect();
    correct(&mut samples, summary);
    samples
}

/// The smallest and the largest value are known, where they stand for themselves alone.
fn exact_ends(samples: &mut [Sample], summary: &Summary) {
    if let Some(first) = samples.first_mut().filter(|first| first.weight == 1) {
        first.value = summary.min;
    }
    if let Some(last) = samples.last_mut().filter(|last| last.weight == 1) {
        last.value = summary.max;
    }
}

/// Moves all values that are not at an end by the same fraction, so that they come nearer to the exact sum; by no more
/// than they may be off.
fn correct(samples: &mut [Sample], summary: &Summary) {
    const MOST: f64 = 0.0055;
    exact_ends(samples, summary);
    let is_end = |value: f64| value == summary.min || value == summary.max;
    let part = |inner: bool| -> f64 {
        let chosen = samples.iter().filter(|sample| is_end(sample.value) != inner);
        chosen.map(|sample| sample.value * sample.weight as f64).sum()
    };
    let (inner, ends) = (part(true), part(false));
    let factor = (summary.sum() - ends) / inner;
    if factor.is_finite() {
        let factor = factor.clamp(1.0 - MOST, 1.0 + MOST);
        for sample in samples.iter_mut().filter(|sample| !is_end(sample.value)) {
            sample.value *= factor;
        }
    }
    for sample in samples {
        // Not `clamp`, which panics where the extremes are crossed.
        sample.value = sample.value.max(summary.min).min(summary.max);
    }
}

/// The middles of the buckets and how many values they have, from the smallest on.
fn buckets(summary: &Summary) -> impl Iterator<Item = (f64, u64)> {
    let histogram = &summary.histogram;
    let below = histogram.negative.pairs().iter().rev().map(|&(index, n)| (-middle(index), n));
    let zero = (histogram.zero > 0).then_some((0.0, histogram.zero));
    below.chain(zero).chain(histogram.positive.pairs().iter().map(|&(index, n)| (middle(index), n)))
}

/// The rate of a value that stands for `weight`, as text that a daemon's `1 / rate` makes exactly that again; `None` for
/// 1, and where floats cannot say it.
pub(crate) fn rate(weight: u64) -> Option<String> {
    let rate = 1.0 / weight as f64;
    (weight > 1 && 1.0 / rate == weight as f64).then(|| rate.to_string())
}

/// Weights that add up to `weight` and have exact [`rate`]s.
pub(crate) fn exact_weights(mut weight: u64) -> Vec<u64> {
    let mut parts = Vec::new();
    while weight > 0 {
        let mut part = weight;
        // A power of two always is exact, so this ends.
        while part > 1 && rate(part).is_none() {
            part -= 1;
        }
        parts.push(part);
        weight -= part;
    }
    parts
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use zibrato_worker::{Histogram, Total};

    use super::*;

    fn summary(values: &[u64]) -> Summary {
        let mut histogram = Histogram::default();
        values.iter().for_each(|&v| assert!(histogram.record(v as f64)));
        Summary {
            sum: Total::whole(values.iter().sum::<u64>() as i64),
            min: values.iter().copied().min().unwrap_or_default() as f64,
            max: values.iter().copied().max().unwrap_or_default() as f64,
            approximate: false,
            histogram,
        }
    }

    #[test]
    fn few_values_are_sent_as_they_are() {
        let samples = even(&summary(&[10, 20, 330]), 100);
        assert!(samples.iter().all(|sample| sample.weight == 1));
        let values: Vec<f64> = samples.iter().map(|sample| sample.value).collect();
        assert_eq!((values[0], values[2]), (10.0, 330.0));
        assert!((values[1] - 20.0).abs() < 1e-9, "{values:?}");
        assert_eq!(even(&summary(&[]), 100), []);
        let one = even(&summary(&[7]), 100);
        assert_eq!(one, [Sample { value: 7.0, weight: 1 }]);
    }

    #[test]
    fn nearly_every_weight_has_an_exact_rate_and_all_have_parts() {
        for weight in (1..100_000).chain([1 << 40, (1 << 40) + 1, 123_456_789_012]) {
            let parts = exact_weights(weight);
            assert_eq!(parts.iter().sum::<u64>(), weight);
            assert!(parts.len() <= 3, "{weight}: {parts:?}");
            for part in parts.into_iter().filter(|&part| part > 1) {
                let read: f64 = rate(part).unwrap().parse().unwrap();
                assert_eq!(1.0 / read, part as f64);
                assert!(!rate(part).unwrap().contains('e'));
            }
        }
    }

    proptest! {
        #[test]
        fn samples_stand_for_all_values(values in prop::collection::vec(1u64..1_000_000, 1..400), most in 1u64..150) {
            let summary = summary(&values);
            let mut sorted = values.clone();
            sorted.sort_unstable();
            for samples in [even(&summary, most), weighted(&summary)] {
                prop_assert_eq!(samples.iter().map(|sample| sample.weight).sum::<u64>(), values.len() as u64);
                prop_assert!(samples.iter().all(|s| s.value >= summary.min && s.value <= summary.max));
                prop_assert!(samples.is_sorted_by(|a, b| a.value <= b.value));
            }
            let even = even(&summary, most);
            prop_assert!(even.len() as u64 <= most);
            let weights = even.iter().map(|sample| sample.weight);
            prop_assert!(weights.clone().max().unwrap() - weights.min().unwrap() <= 1);
            let mut before = 0;
            for sample in &even {
                let own = &sorted[before..before + sample.weight as usize];
                before += own.len();
                prop_assert!(sample.value >= own[0] as f64 * 0.98 && sample.value <= own[own.len() - 1] as f64 * 1.02);
            }
            let sum: f64 = weighted(&summary).iter().map(|s| s.value * s.weight as f64).sum();
            prop_assert!((sum / summary.sum() - 1.0).abs() < 6e-3, "{} is not {}", sum, summary.sum());
        }
    }
}
