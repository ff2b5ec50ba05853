//! Zibrato itself.

mod counters;
mod gauges;
mod names;
mod timers;

pub(crate) use counters::COUNT_ME;
pub(crate) use gauges::{GAUGE, GAUGE_HANDLE};
pub(crate) use names::{HANDLE, LOOKUP};
pub(crate) use timers::{SAMPLED, TIME_ME};
use zibrato_core::frame::State;
use zibrato_core::registry;

use crate::case::Case;

pub(crate) fn cases() -> Vec<Case> {
    // Nobody carries the readings away, and that is meant.
    registry::set_installed(true);
    registry::set_levels("*,!debug".parse().unwrap_or_default());
    [counters::cases(), timers::cases(), gauges::cases(), names::cases()].into_iter().flatten().collect()
}

/// How many events the metrics of these names have together.
fn recorded(names: [&'static str; 2]) -> impl Fn() -> u64 {
    move || {
        let readings = registry::read();
        let of_names = readings.iter().filter(|r| names.contains(&&*r.id.name));
        let events = of_names.map(|reading| match &reading.state {
            State::Total(total) => total.whole as u64 + total.float as u64,
            State::Spread(spread) => spread.histogram.count(),
            State::Gauge(gauge) => gauge.statistics.map_or(1, |s| s.0),
            _ => 0,
        });
        events.sum()
    }
}
