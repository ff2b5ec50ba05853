//! `prometheus`, registered in its default registry.

use ::prometheus::{
    Gauge, Histogram, HistogramOpts, IntCounter, IntCounterVec, Opts, register, register_int_counter_vec,
};

use crate::case::{Case, Group, on_handles};

pub(crate) const COUNTER: &str = "`prometheus` IntCounter";
pub(crate) const TIMER: &str = "`prometheus` Histogram timer (11 buckets)";

pub(crate) fn cases() -> Vec<Case> {
    match metrics() {
        Ok(metrics) => metrics,
        Err(why) => {
            eprintln!("failed to set `prometheus` up: {why}");
            Vec::new()
        }
    }
}

fn metrics() -> Result<Vec<Case>, ::prometheus::Error> {
    let counters = [IntCounter::new("p_a", "a")?, IntCounter::new("p_b", "b")?];
    let timer = |name| Histogram::with_opts(HistogramOpts::new(name, "t"));
    let timers = [timer("p_time_a")?, timer("p_time_b")?];
    let gauges = [Gauge::new("p_gauge_a", "a")?, Gauge::new("p_gauge_b", "b")?];
    for counter in &counters {
        register(Box::new(counter.clone()))?;
    }
    for timer in &timers {
        register(Box::new(timer.clone()))?;
    }
    for gauge in &gauges {
        register(Box::new(gauge.clone()))?;
    }
    let vec: IntCounterVec = register_int_counter_vec!(Opts::new("p_vec", "v"), &["k"])?;
    let (counted, timed, set, looked_up) = (counters.clone(), timers.clone(), gauges.clone(), vec.clone());
    Ok(vec![
        Case::peer(Group::Counters, COUNTER, on_handles(counters, |c, _| c.inc()))
            .exact(move || counted.iter().map(IntCounter::get).sum()),
        Case::peer(Group::Timers, TIMER, on_handles(timers, |h, _| drop(h.start_timer())))
            .exact(move || timed.iter().map(Histogram::get_sample_count).sum())
            .distribution(),
        Case::peer(Group::Gauges, "`prometheus` Gauge", on_handles(gauges, |g, i| g.set(i as f64)))
            .some(move || set.iter().map(|g| g.get() as u64).sum()),
        Case::peer(
            Group::RuntimeNames,
            "`prometheus` IntCounterVec, lookup each time",
            on_handles(["a", "b"].map(String::from), move |value, _| {
                vec.with_label_values(&[value.as_str()]).inc();
            }),
        )
        .exact(move || ["a", "b"].iter().map(|v| looked_up.with_label_values(&[*v]).get()).sum()),
    ])
}
