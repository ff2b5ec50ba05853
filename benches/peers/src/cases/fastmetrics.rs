//! `fastmetrics`.

use std::time::Instant;

use ::fastmetrics::metrics::counter::Counter;
use ::fastmetrics::metrics::gauge::Gauge;
use ::fastmetrics::metrics::histogram::{Histogram, exponential_buckets};

use crate::case::{Case, Group, on_handles};

pub(crate) fn cases() -> Vec<Case> {
    let counters: [Counter<u64>; 2] = Default::default();
    let timers = [(); 2].map(|()| Histogram::new(exponential_buckets(1e-6, 10.0, 10)));
    let gauges: [Gauge<f64>; 2] = Default::default();
    let (counted, timed, set) = (counters.clone(), timers.clone(), gauges.clone());
    vec![
        Case::peer(
            Group::Counters,
            "`fastmetrics` Counter",
            on_handles(counters, |c, _| {
                c.inc();
            }),
        )
        .exact(move || counted.iter().map(Counter::total).sum()),
        Case::peer(
            Group::Timers,
            "`fastmetrics` Histogram (10 buckets)",
            on_handles(timers, |h, _| {
                let start = Instant::now();
                h.observe(start.elapsed().as_secs_f64());
            }),
        )
        .exact(move || timed.iter().map(|h| h.with_snapshot(|s| s.count())).sum())
        .distribution(),
        Case::peer(Group::Gauges, "`fastmetrics` Gauge", on_handles(gauges, |g, i| g.set(i as f64)))
            .some(move || set.iter().map(|g| g.get() as u64).sum()),
    ]
}
