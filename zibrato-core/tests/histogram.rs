//! The histogram's error stays under one percent, and merging and subtracting lose nothing.

use proptest::collection::vec;
use proptest::prelude::*;
use zibrato_core::histogram::*;

proptest! {
    #[test]
    fn a_bucket_is_never_a_percent_off(value in 1..u64::MAX) {
        let index = index_of_whole(value);
        prop_assert!((middle(index) / value as f64 - 1.0).abs() < 0.0055, "{index}");
        if value < 1 << 53 {
            prop_assert_eq!(place_of(value as f64), Some(Place::Positive(index)));
            prop_assert_eq!(place_of(-(value as f64)), Some(Place::Negative(index)));
            prop_assert!(lower_edge(index) <= value as f64 * (1.0 + 1e-12));
            prop_assert!(lower_edge(index + 1) > value as f64 * (1.0 - 1e-12));
        }
    }

    #[test]
    fn quantiles_are_close(mut values in vec(1e-6..1e9f64, 1..300), q in 0.0..=1.0f64) {
        let mut histogram = Histogram::default();
        values.iter().for_each(|&v| assert!(histogram.record(v)));
        values.sort_by(f64::total_cmp);
        let rank = ((q * values.len() as f64).ceil() as usize).max(1) - 1;
        let quantile = histogram.quantile(q).unwrap();
        prop_assert!((quantile / values[rank] - 1.0).abs() < 0.0055);
        let (low, high) = histogram.edges().unwrap();
        prop_assert!(low <= values[0] && values[values.len() - 1] <= high);
        let squares: f64 = values.iter().map(|v| v * v).sum();
        prop_assert!((histogram.sum_of_squares() / squares - 1.0).abs() < 0.0115);
    }

    #[test]
    fn since_undoes_merge(a in vec(-1e6..1e6f64, 0..50), b in vec(-1e6..1e6f64, 0..50)) {
        let of = |values: &[f64]| {
            let mut h = Histogram::default();
            values.iter().for_each(|&v| assert!(h.record(v)));
            h
        };
        let (a, b) = (of(&a), of(&b));
        let mut both = a.clone();
        both.merge(&b);
        prop_assert_eq!(both.count(), a.count() + b.count());
        prop_assert_eq!(both.since(&a), b);
    }
}

#[test]
fn the_odd_values_have_their_places() {
    assert_eq!(place_of(0.0), Some(Place::Zero));
    assert_eq!(place_of(-0.0), Some(Place::Zero));
    assert_eq!(place_of(1e-300), Some(Place::Zero));
    assert_eq!(place_of(f64::MAX), Some(Place::Positive(HIGHEST)));
    assert_eq!(place_of(1.0), Some(Place::Positive(0)));
    assert_eq!((place_of(f64::NAN), place_of(f64::INFINITY)), (None, None));
    assert_eq!((index_of_whole(1), index_of_whole(u64::MAX)), (0, HIGHEST));
    let mut h = Histogram::default();
    assert!(!h.record(f64::NAN) && h.quantile(0.5).is_none() && h.edges().is_none());
    assert!([-3.0, 0.0, 3.0].into_iter().all(|v| h.record(v)));
    assert_eq!(h.quantile(0.5), Some(0.0));
    assert!(h.quantile(0.0).unwrap() < 0.0 && h.quantile(1.0).unwrap() > 0.0);
}
