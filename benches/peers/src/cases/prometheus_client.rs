//! `prometheus-client`.

use std::sync::atomic::AtomicU64;
use std::time::Instant;

use ::prometheus_client::encoding::text::encode;
use ::prometheus_client::metrics::counter::Counter;
use ::prometheus_client::metrics::family::Family;
use ::prometheus_client::metrics::gauge::Gauge;
use ::prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use ::prometheus_client::registry::Registry;

use crate::case::{Case, Group, on_handles};

type Labels = Vec<(String, String)>;

pub(crate) fn cases() -> Vec<Case> {
    let counters: [Counter; 2] = Default::default();
    let timers = [(); 2].map(|()| Histogram::new(exponential_buckets(1e-6, 10.0, 10)));
    let gauges: [Gauge<f64, AtomicU64>; 2] = Default::default();
    let family = Family::<Labels, Counter>::default();
    let labels = ["a", "b"].map(|value| vec![(String::from("k"), String::from(value))]);
    let (counted, timed, set) = (counters.clone(), timers.clone(), gauges.clone());
    let (looked_up, known) = (family.clone(), labels.clone());
    vec![
        Case::peer(
            Group::Counters,
            "`prometheus-client` Counter",
            on_handles(counters, |c, _| {
                c.inc();
            }),
        )
        .exact(move || counted.iter().map(Counter::get).sum()),
        Case::peer(
            Group::Timers,
            "`prometheus-client` Histogram (10 buckets)",
            on_handles(timers, |h, _| {
                let start = Instant::now();
                h.observe(start.elapsed().as_secs_f64());
            }),
        )
        .exact(move || timed.iter().map(|h| count(h.clone())).sum())
        .distribution(),
        Case::peer(
            Group::Gauges,
            "`prometheus-client` Gauge",
            on_handles(gauges, |g, i| {
                g.set(i as f64);
            }),
        )
        .some(move || set.iter().map(|g| g.get() as u64).sum()),
        Case::peer(
            Group::RuntimeNames,
            "`prometheus-client` Family, lookup each time (labels made before)",
            on_handles(labels, move |labels, _| {
                family.get_or_create(labels).inc();
            }),
        )
        .exact(move || known.iter().map(|labels| looked_up.get_or_create(labels).get()).sum()),
    ]
}

/// A histogram's count, which is only in its text.
fn count(histogram: Histogram) -> u64 {
    let (mut registry, mut text) = (Registry::default(), String::new());
    registry.register("h", "", histogram);
    if encode(&mut text, &registry).is_err() {
        return 0;
    }
    text.lines().find_map(|line| line.strip_prefix("h_count ")?.parse().ok()).unwrap_or(0)
}
