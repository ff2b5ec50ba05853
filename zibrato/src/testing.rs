//! Tests of what a piece of code measures.
//!
//! Totals live in cells of the measuring thread, so what a test measures on its own thread can be told from what
//! tests beside it measure.

use std::time::Duration;

use zibrato_core::frame::{Kind, State, Total};
use zibrato_core::registry::{Reading, read_own_thread};

pub use zibrato_core::clock::Fake as FakeClock;

/// What was measured between [`capture`]'s start and end.
#[derive(Debug, Clone, Default)]
pub struct Captured {
    readings: Vec<Reading>,
}

/// Runs `work` and returns its result with what it measured on this thread, whatever other threads measure
/// meanwhile. Levels that are off are not captured, nor is what `work` lets other threads do; gauges, which all
/// threads share, are captured when their value changed.
///
/// ```
/// use zibrato::testing::capture;
///
/// #[zibrato::count_me(name = "greetings", tags(tone = "polite"))]
/// fn greet() -> &'static str {
///     "good evening"
/// }
///
/// let (text, captured) = capture(greet);
/// assert_eq!((text, captured.count("greetings")), ("good evening", 1));
/// assert_eq!(captured.with_tag("tone", "rude").count("greetings"), 0);
/// ```
pub fn capture<R>(work: impl FnOnce() -> R) -> (R, Captured) {
    let before = read_own_thread();
    let result = work();
    (result, Captured { readings: difference(&before, read_own_thread()) })
}

fn difference(before: &[Reading], after: Vec<Reading>) -> Vec<Reading> {
    let gained = |mut reading: Reading| {
        if let Some(old) = before.iter().find(|old| old.id == reading.id && old.born == reading.born) {
            reading.state = match (reading.state, &old.state) {
                (State::Gauge(now), State::Gauge(old)) if now.value == old.value => return None,
                (now, old) => now.since(old)?,
            };
        }
        // Metrics that other threads have made meanwhile are there too, with nothing of this thread's in them.
        let is_nothing = match &reading.state {
            State::Total(total) => total.is_zero(),
            State::Spread(spread) => spread.histogram.count() == 0,
            _ => false,
        };
        (!is_nothing).then_some(reading)
    };
    after.into_iter().filter_map(gained).collect()
}

impl Captured {
    /// Only what was measured under this tag.
    pub fn with_tag(&self, name: &str, value: &str) -> Captured {
        self.only(|reading| reading.id.tags.get(name) == Some(value))
    }

    /// Only what was measured at this level.
    pub fn at_level(&self, level: &str) -> Captured {
        self.only(|reading| &*reading.id.level == level)
    }

    fn only(&self, keep: impl Fn(&Reading) -> bool) -> Captured {
        Captured { readings: self.readings.iter().filter(|r| keep(r)).cloned().collect() }
    }

    /// The names of everything that was measured, sorted.
    pub fn names(&self) -> Vec<&str> {
        let mut names: Vec<_> = self.readings.iter().map(|r| &*r.id.name).collect();
        names.sort_unstable();
        names.dedup();
        names
    }

    /// By how much the counters and updown counters of this name changed, rounded towards zero. Whole increments are
    /// exact, also beyond 2^53.
    pub fn count(&self, name: &str) -> i64 {
        let total = self.total(name);
        let floor = total.float.floor();
        let whole = total.whole.saturating_add(floor as i64);
        if whole < 0 && total.float > floor { whole + 1 } else { whole }
    }

    /// The same with fractions.
    pub fn value(&self, name: &str) -> f64 {
        self.total(name).value()
    }

    fn total(&self, name: &str) -> Total {
        self.states(name).fold(Total::default(), |sum, state| match state {
            State::Total(total) => sum.plus(*total),
            _ => sum,
        })
    }

    /// How many durations or values were recorded under this name.
    pub fn recorded(&self, name: &str) -> u64 {
        self.states(name).map(|s| if let State::Spread(s) = s { s.histogram.count() } else { 0 }).sum()
    }

    /// The sum of the durations of the timers of this name.
    pub fn time(&self, name: &str) -> Duration {
        let timers = self.readings.iter().filter(|r| r.id.kind == Kind::Timer && &*r.id.name == name);
        Duration::from_nanos(
            timers.map(|r| if let State::Spread(s) = &r.state { s.sum.whole as u64 } else { 0 }).sum(),
        )
    }

    /// The sum of the values of the distributions of this name.
    pub fn sum(&self, name: &str) -> f64 {
        let spreads = self.readings.iter().filter(|r| r.id.kind == Kind::Distribution && &*r.id.name == name);
        spreads.map(|r| if let State::Spread(s) = &r.state { s.sum.value() } else { 0.0 }).sum()
    }

    /// The value to which a gauge of this name was set.
    pub fn gauge(&self, name: &str) -> Option<f64> {
        self.states(name).find_map(|s| if let State::Gauge(g) = s { Some(g.value) } else { None })
    }

    fn states(&self, name: &str) -> impl Iterator<Item = &State> {
        self.readings.iter().filter(move |r| &*r.id.name == name).map(|r| &r.state)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_other_threads_begin_to_measure_meanwhile_is_not_captured() {
        let ((), captured) = capture(|| {
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    crate::timer("capture.elsewhere").handle().record_nanos(1);
                    crate::counter("capture.elsewhere").handle().add(1);
                });
            });
            crate::counter("capture.here").handle().add(1);
        });
        assert!(captured.names().contains(&"capture.here"));
        assert!(!captured.names().contains(&"capture.elsewhere"), "{:?}", captured.names());
    }
}
