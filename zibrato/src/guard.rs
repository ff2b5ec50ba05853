//! Guards: what stands between the start of a measurement and its end.

use std::marker::PhantomData;
use std::time::Duration;

use zibrato_core::registry::Increment;

use crate::outcome::Outcome;

/// A timing call site, as a type: a guard for it is nothing but the start time.
pub trait TimeHere {
    /// Starts: the time in ticks, or [`OFF`].
    fn start() -> u64;
    /// Records what has passed since such a start.
    fn stop(start: u64);
}

/// One that takes durations that are known already.
pub trait RecordHere {
    /// Records a duration in nanoseconds, if the level is on.
    fn record(nanos: u64);
}

/// One of a future.
pub trait CancelHere: TimeHere {
    /// Counts a future that was dropped before its end.
    fn cancelled();
}

/// Starts at a call site.
#[inline(always)]
pub fn start<H: TimeHere>(_here: fn() -> H) -> u64 {
    H::start()
}

/// Records what has passed since such a start.
#[inline(always)]
pub fn stop<H: TimeHere>(_here: H, start: u64) {
    H::stop(start);
}

/// Records a duration at a call site.
pub fn record_duration<H: RecordHere>(_here: H, duration: Duration) {
    H::record(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX));
}

/// Nothing is measured: the level is off, the call is not one of the sample, or the guard has been finished.
pub const OFF: u64 = 0;

/// Times until it is dropped, also by unwinding.
#[derive(Debug)]
#[must_use = "a guard that is not kept times nothing"]
pub struct TimeGuard<H: TimeHere> {
    start: u64,
    here: PhantomData<fn() -> H>,
}

impl<H: TimeHere> TimeGuard<H> {
    #[doc(hidden)]
    #[inline(always)]
    pub fn start(_here: H) -> Self {
        TimeGuard { start: H::start(), here: PhantomData }
    }

    /// Ends the measurement here.
    #[inline]
    pub fn finish(self) {}

    /// Records nothing.
    #[inline]
    pub fn discard(mut self) {
        self.start = OFF;
    }
}

impl<H: TimeHere> Drop for TimeGuard<H> {
    #[inline(always)]
    fn drop(&mut self) {
        if self.start != OFF {
            H::stop(self.start);
        }
    }
}

/// Times a future: recorded when it finishes or unwinds, counted as cancelled when it is dropped half-way.
#[derive(Debug)]
#[must_use = "a guard that is not kept times nothing"]
pub struct AsyncTimeGuard<H: CancelHere> {
    start: u64,
    here: PhantomData<fn() -> H>,
}

impl<H: CancelHere> AsyncTimeGuard<H> {
    #[doc(hidden)]
    #[inline(always)]
    pub fn start(_here: H) -> Self {
        AsyncTimeGuard { start: H::start(), here: PhantomData }
    }

    /// Records the end of the future.
    #[inline]
    pub fn finish(mut self) {
        let start = std::mem::replace(&mut self.start, OFF);
        if start != OFF {
            H::stop(start);
        }
    }
}

impl<H: CancelHere> Drop for AsyncTimeGuard<H> {
    fn drop(&mut self) {
        if self.start != OFF {
            match Outcome::of_drop() {
                Outcome::Panicked => H::stop(self.start),
                _ => H::cancelled(),
            }
        }
    }
}

/// A timing call site with one metric for each outcome.
pub trait OutcomeHere {
    /// Starts: the time in ticks, or [`OFF`].
    fn start() -> u64;
    /// Records what has passed since such a start under an outcome.
    fn stop(outcome: Outcome, start: u64);
}

/// Times until it is finished with an outcome; dropped before, it records that as panicked or cancelled.
#[derive(Debug)]
#[must_use = "a guard that is not kept times nothing"]
pub struct OutcomeTimeGuard<H: OutcomeHere> {
    start: u64,
    here: PhantomData<fn() -> H>,
}

impl<H: OutcomeHere> OutcomeTimeGuard<H> {
    #[doc(hidden)]
    #[inline(always)]
    pub fn start(_here: H) -> Self {
        OutcomeTimeGuard { start: H::start(), here: PhantomData }
    }

    /// Records the end under an outcome.
    #[inline]
    pub fn finish(mut self, outcome: Outcome) {
        self.end(outcome);
    }

    fn end(&mut self, outcome: Outcome) {
        let start = std::mem::replace(&mut self.start, OFF);
        if start != OFF {
            H::stop(outcome, start);
        }
    }
}

impl<H: OutcomeHere> Drop for OutcomeTimeGuard<H> {
    fn drop(&mut self) {
        self.end(Outcome::of_drop());
    }
}

/// Counts a value under an outcome when it is finished; dropped before, under panicked or cancelled.
#[derive(Debug)]
#[must_use = "a guard that is not kept counts at once"]
pub struct OutcomeCountGuard<V: Increment + Copy, F: Fn(Outcome, V)> {
    value: Option<V>,
    count: F,
}

impl<V: Increment + Copy, F: Fn(Outcome, V)> OutcomeCountGuard<V, F> {
    #[doc(hidden)]
    pub fn start(value: V, count: F) -> Self {
        OutcomeCountGuard { value: Some(value), count }
    }

    /// Counts under an outcome.
    pub fn finish(mut self, outcome: Outcome) {
        self.end(outcome);
    }

    fn end(&mut self, outcome: Outcome) {
        if let Some(value) = self.value.take() {
            (self.count)(outcome, value);
        }
    }
}

impl<V: Increment + Copy, F: Fn(Outcome, V)> Drop for OutcomeCountGuard<V, F> {
    fn drop(&mut self) {
        self.end(Outcome::of_drop());
    }
}
