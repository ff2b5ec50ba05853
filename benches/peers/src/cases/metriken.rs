//! `metriken`: one atomic, and shards of one cache line for each thread. Histograms of its grouping power 7 have an
//! error of 0.8 %.

use std::time::Instant;

use ::metriken::{
    AtomicCounterHistogram, Counter, Gauge, HistogramMetric, ShardedCounterGroup, ShardedCounterHistogram,
    metric,
};

use crate::case::{Case, Group, on_handles};

#[metric]
static A: Counter = Counter::new();
#[metric]
static B: Counter = Counter::new();
#[metric]
static GROUP: ShardedCounterGroup = ShardedCounterGroup::new(2);
#[metric]
static TIME_A: AtomicCounterHistogram = AtomicCounterHistogram::new(7, 64);
#[metric]
static TIME_B: AtomicCounterHistogram = AtomicCounterHistogram::new(7, 64);
#[metric]
static SHARDED_A: ShardedCounterHistogram = ShardedCounterHistogram::new(7, 64);
#[metric]
static SHARDED_B: ShardedCounterHistogram = ShardedCounterHistogram::new(7, 64);
#[metric]
static GAUGE_A: Gauge = Gauge::new();
#[metric]
static GAUGE_B: Gauge = Gauge::new();

pub(crate) fn cases() -> Vec<Case> {
    vec![
        Case::peer(
            Group::Counters,
            "`metriken` Counter (adjacent statics)",
            on_handles([&A, &B], |c, _| {
                c.increment();
            }),
        )
        .exact(|| A.value() + B.value()),
        Case::peer(
            Group::Counters,
            "`metriken` ShardedCounterGroup",
            on_handles([0, 1], |at, _| {
                GROUP.increment(*at);
            }),
        )
        .exact(|| GROUP.value(0).unwrap_or(0) + GROUP.value(1).unwrap_or(0))
        .sharded(),
        Case::peer(
            Group::Timers,
            "`metriken` AtomicCounterHistogram (0.8 %)",
            on_handles([&TIME_A, &TIME_B], |h, _| {
                let start = Instant::now();
                let _ = h.increment(start.elapsed().as_nanos() as u64);
            }),
        )
        .exact(|| events(&TIME_A) + events(&TIME_B))
        .distribution(),
        Case::peer(
            Group::Timers,
            "`metriken` ShardedCounterHistogram (0.8 %)",
            on_handles([&SHARDED_A, &SHARDED_B], |h, _| {
                let start = Instant::now();
                let _ = h.increment(start.elapsed().as_nanos() as u64);
            }),
        )
        .exact(|| events(&SHARDED_A) + events(&SHARDED_B))
        .sharded()
        .distribution(),
        Case::peer(
            Group::Gauges,
            "`metriken` Gauge (integers)",
            on_handles([&GAUGE_A, &GAUGE_B], |g, i| {
                g.set(i as i64);
            }),
        )
        .some(|| (GAUGE_A.value() + GAUGE_B.value()) as u64),
    ]
}

fn events(histogram: &dyn HistogramMetric) -> u64 {
    histogram.load().map_or(0, |h| h.as_slice().iter().sum())
}
