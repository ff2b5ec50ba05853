//! `fast-telemetry`: shards for 16 threads, more than there are.

use std::sync::Arc;
use std::time::Instant;

use ::fast_telemetry::{Counter, Distribution, DynamicCounter, GaugeF64, Histogram, SampledTimer};

use crate::case::{Case, Group, on_handles};

const SHARDS: usize = 16;

pub(crate) fn cases() -> Vec<Case> {
    let two = || [(); 2];
    let counters = two().map(|()| Arc::new(Counter::new(SHARDS)));
    let distributions = two().map(|()| Arc::new(Distribution::new(SHARDS)));
    let histograms = two().map(|()| Arc::new(Histogram::with_latency_buckets(SHARDS)));
    let sampled = two().map(|()| Arc::new(SampledTimer::with_latency_buckets(SHARDS, 16)));
    let gauges = two().map(|()| Arc::new(GaugeF64::new()));
    let dynamic = Arc::new(DynamicCounter::new(SHARDS));
    let series = ["a", "b"].map(|value| dynamic.series(&[("kept", value)]));
    let recorded = Recorded {
        counters: counters.clone(),
        distributions: distributions.clone(),
        histograms: histograms.clone(),
        sampled: sampled.clone(),
        gauges: gauges.clone(),
        dynamic: dynamic.clone(),
    };
    let recorded = |of: fn(&Recorded) -> u64| {
        let recorded = recorded.clone();
        move || of(&recorded)
    };
    vec![
        Case::peer(Group::Counters, "`fast-telemetry` Counter", on_handles(counters, |c, _| c.inc()))
            .exact(recorded(|r| r.counters.iter().map(|c| c.sum() as u64).sum()))
            .sharded(),
        Case::peer(
            Group::Timers,
            "`fast-telemetry` Distribution (factors of two)",
            on_handles(distributions, |d, _| {
                let start = Instant::now();
                d.record(start.elapsed().as_nanos() as u64);
            }),
        )
        .exact(recorded(|r| r.distributions.iter().map(|d| d.count()).sum()))
        .sharded()
        .distribution(),
        Case::peer(
            Group::Timers,
            "`fast-telemetry` Histogram",
            on_handles(histograms, |h, _| {
                let start = Instant::now();
                h.record(start.elapsed().as_nanos() as u64);
            }),
        )
        .exact(recorded(|r| r.histograms.iter().map(|h| h.count()).sum()))
        .sharded()
        .distribution(),
        Case::peer(
            Group::Timers,
            "`fast-telemetry` SampledTimer, 1 in 16 timed",
            on_handles(sampled, |t, _| drop(t.start())),
        )
        .exact(recorded(|r| r.sampled.iter().map(|t| t.calls()).sum()))
        .sharded(),
        Case::peer(Group::Gauges, "`fast-telemetry` GaugeF64", on_handles(gauges, |g, i| g.set(i as f64)))
            .some(recorded(|r| r.gauges.iter().map(|g| g.get() as u64).sum())),
        Case::peer(
            Group::RuntimeNames,
            "`fast-telemetry` DynamicCounter, kept series",
            on_handles(series, |s, _| s.inc()),
        )
        .exact(recorded(|r| ["a", "b"].iter().map(|v| r.dynamic.get(&[("kept", v)]) as u64).sum()))
        .sharded(),
        Case::peer(
            Group::RuntimeNames,
            "`fast-telemetry` DynamicCounter, lookup each time",
            on_handles(["a", "b"].map(|v| (v.to_string(), dynamic.clone())), |(value, dynamic), _| {
                dynamic.inc(&[("k", value)]);
            }),
        )
        .exact(recorded(|r| ["a", "b"].iter().map(|v| r.dynamic.get(&[("k", v)]) as u64).sum()))
        .sharded(),
    ]
}

/// What the library has at the end.
#[derive(Clone)]
struct Recorded {
    counters: [Arc<Counter>; 2],
    distributions: [Arc<Distribution>; 2],
    histograms: [Arc<Histogram>; 2],
    sampled: [Arc<SampledTimer>; 2],
    gauges: [Arc<GaugeF64>; 2],
    dynamic: Arc<DynamicCounter>,
}
