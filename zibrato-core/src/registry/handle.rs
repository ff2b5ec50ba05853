use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use super::increment::Increment;
use super::metric::{Id, Metric, MetricSpec, Shared};
use super::record::Sample;
use super::site::refuse;
use super::{BAD_NAME, cache};
use crate::cell::with_registry;
use crate::clock;
use crate::frame::Kind;
use crate::level;

/// A metric that is reached by a name known only at run time. It stays as long as the process, unless it is retired or
/// idle, see [`set_idle`](super::set_idle); neither is it while there is a handle.
#[derive(Debug, Clone)]
struct Handle(Arc<Shared>);

impl Handle {
    /// Leads nowhere: it was asked for inside the registry. What it is given is lost, which is named once.
    fn nowhere(kind: Kind) -> Self {
        refuse();
        let id = Id::stand_in(BAD_NAME, level::DEFAULT, kind);
        Handle(Metric::new(Arc::new(id), u32::MAX, 0, false, false).shared)
    }

    fn of(spec: &MetricSpec<'_>) -> Self {
        cache::find(spec).map_or_else(|| Self::look_up(spec), Handle)
    }

    #[cold]
    fn look_up(spec: &MetricSpec<'_>) -> Self {
        let found = with_registry(|inner, _| {
            let shared = inner.resolve(spec);
            shared.ask_for();
            (inner.is_called(&shared, spec.name), shared)
        });
        let Some((is_itself, shared)) = found else { return Self::nowhere(spec.kind) };
        // What stands in for another may not have to next time.
        if is_itself {
            cache::keep(spec, &shared);
        }
        Handle(shared)
    }
}

macro_rules! handle {
    ($(#[$doc:meta])* $name:ident, $kind:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone)]
        #[must_use = "a handle measures nothing until it is used"]
        pub struct $name(Handle);

        impl $name {
            /// The handle of a metric; `spec.kind` is not looked at.
            ///
            /// It never fails: past the limit on metrics it leads to `zibrato.overflow`, and with a name, source
            /// or tag that cannot be used to `zibrato.bad_name`.
            pub fn of(spec: &MetricSpec<'_>) -> Self {
                $name(Handle::of(&MetricSpec { kind: $kind, ..*spec }))
            }

            /// Marks the metric for tracing: every hop tells of its rows from here on, see
            /// [`trace`](crate::trace).
            pub fn trace(&self) {
                self.0.0.traced.store(true, Relaxed);
            }

            /// Lets the metric go when its last handle has gone: its final total is sent once more, and its
            /// memory is freed. A metric of the same name that comes later starts at zero.
            pub fn retire(self) {
                self.0.0.retiring.store(true, Relaxed);
            }
        }
    };
}

handle! {
    /// A total that only rises.
    Counter, Kind::Counter
}
handle! {
    /// A total that may fall.
    Updown, Kind::Updown
}
handle! {
    /// A distribution of durations.
    Timer, Kind::Timer
}
handle! {
    /// A distribution of values of any unit.
    Distribution, Kind::Distribution
}
handle! {
    /// A last value.
    Gauge, Kind::Gauge
}

impl Counter {
    /// Counts `n`.
    #[inline]
    pub fn add(&self, n: impl Increment) {
        n.add_to(&self.0.0);
    }
}

impl Updown {
    /// Counts `n`, which may be negative.
    #[inline]
    pub fn add(&self, n: impl Increment) {
        n.add_to(&self.0.0);
    }
}

impl Timer {
    /// Records a duration that is already known.
    #[inline]
    pub fn record(&self, duration: Duration) {
        self.record_nanos(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX));
    }

    /// Records a duration in nanoseconds.
    #[inline]
    pub fn record_nanos(&self, nanos: u64) {
        self.0.0.record_sample(Sample::Nanos(nanos));
    }

    /// Runs `work` and records how long it took, also when it unwinds.
    #[inline]
    pub fn time<R>(&self, work: impl FnOnce() -> R) -> R {
        let _timing = self.start();
        work()
    }

    /// Starts a measurement that ends when the guard is dropped.
    #[inline]
    pub fn start(&self) -> Timing<'_> {
        Timing { timer: self, start: if self.0.0.is_off() { OFF } else { clock::start() } }
    }
}

/// Times until it is dropped, also by unwinding.
#[derive(Debug)]
#[must_use = "a guard that is not kept times nothing"]
pub struct Timing<'a> {
    timer: &'a Timer,
    start: u64,
}

/// Nothing is timed.
const OFF: u64 = 0;

impl Timing<'_> {
    /// Records nothing.
    pub fn discard(mut self) {
        self.start = OFF;
    }
}

impl Drop for Timing<'_> {
    #[inline]
    fn drop(&mut self) {
        if self.start != OFF {
            self.timer.0.0.record_sample(clock::elapsed(self.start).into());
        }
    }
}

impl Distribution {
    /// Records a finite value; others are refused and counted in `zibrato.refused`.
    #[inline]
    pub fn record(&self, value: f64) {
        self.0.0.record(value);
    }
}

impl Gauge {
    /// Sets a finite value; others are refused and counted in `zibrato.refused`.
    #[inline]
    pub fn set(&self, value: f64) {
        self.0.0.set(value);
    }

    /// Adds to the last value, 0 where there was none. Unlike the rest of the hot path this is a loop around an
    /// atomic compare-and-swap.
    pub fn add(&self, n: f64) {
        match &self.0.0.gauge {
            _ if self.0.0.is_off() => {}
            Some(gauge) if n.is_finite() => gauge.add(n),
            _ => refuse(),
        }
    }
}
