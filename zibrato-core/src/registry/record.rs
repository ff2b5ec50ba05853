use std::num::NonZeroU64;

use super::metric::Shared;
use super::site::refuse;
use crate::cell::{NoRoom, SpreadCell, Thread, own_number, own_spread, with_registry};
use crate::clock::{self, Elapsed};
use crate::frame::Kind;

/// One value of a timer or a distribution.
#[derive(Debug, Clone, Copy)]
pub(super) enum Sample {
    Ticks(NonZeroU64),
    Nanos(u64),
    Value(f64),
}

impl From<Elapsed> for Sample {
    fn from(elapsed: Elapsed) -> Self {
        match elapsed {
            // Where the clock has gone back it was no time, but it was.
            Elapsed::Ticks(ticks) => Sample::Ticks(NonZeroU64::new(ticks).unwrap_or(NonZeroU64::MIN)),
            Elapsed::Nanos(nanos) => Sample::Nanos(nanos),
        }
    }
}

impl Sample {
    #[inline(always)]
    pub(super) fn record_in(self, cell: &SpreadCell) -> Result<(), NoRoom> {
        match self {
            Sample::Ticks(ticks) => cell.record_ticks(ticks),
            Sample::Nanos(nanos) => cell.record_nanos(nanos),
            Sample::Value(value) => cell.record(value),
        }
    }
}

impl Shared {
    #[inline]
    pub(super) fn add_whole(&self, n: i64) {
        if self.is_off() {
            return;
        }
        match own_number(self) {
            Some(cell) => cell.add_whole(n),
            None => self.add_slowly(n, 0.0),
        }
    }

    #[inline]
    pub(super) fn add_float(&self, n: f64) {
        if self.is_off() {
            return;
        }
        match own_number(self) {
            _ if !n.is_finite() || (n < 0.0 && self.kind == Kind::Counter) => refuse(),
            Some(cell) => cell.add_float(n),
            None => self.add_slowly(0, n),
        }
    }

    #[cold]
    #[inline(never)]
    fn add_slowly(&self, whole: i64, float: f64) {
        let given = with_registry(|inner, thread| match thread {
            Thread::Live(thread) => inner.give_cell(thread, self.number, self.kind).is_some(),
            Thread::Gone => false,
        });
        match own_number(self).filter(|_| given == Some(true)) {
            Some(cell) => {
                cell.add_whole(whole);
                cell.add_float(float);
            }
            None => self.orphan.add_shared(whole, float),
        }
    }

    #[inline]
    pub(super) fn record(&self, value: f64) {
        if !value.is_finite() {
            refuse();
        } else {
            self.record_sample(Sample::Value(value));
        }
    }

    #[inline]
    pub(super) fn record_sample(&self, sample: Sample) {
        if self.is_off() {
            return;
        }
        match own_spread(self).map(|cell| sample.record_in(cell)) {
            Some(Ok(())) => {}
            _ => self.record_slowly(sample),
        }
    }

    /// Records where there is no cell, or no room in it.
    #[cold]
    #[inline(never)]
    pub(super) fn record_slowly(&self, sample: Sample) {
        let recorded = with_registry(|inner, thread| {
            if let Thread::Live(thread) = thread {
                inner.give_cell(thread, self.number, self.kind);
            }
            let rate = inner.rate();
            let Some(metric) = inner.metric_mut(self.number) else { return false };
            let gone = SpreadCell::new();
            let cell = own_spread(self).filter(|_| matches!(thread, Thread::Live(_))).unwrap_or(&gone);
            // The first try may find no room; after room was made there is some.
            if let Err(no_room) = sample.record_in(cell) {
                cell.make_room(no_room, metric.retired_spread());
                let _ = sample.record_in(cell);
            }
            if thread == Thread::Gone {
                metric.retire_spread(&gone, rate);
            }
            true
        });
        if recorded != Some(true)
            && let Some(orphans) = &self.orphans
        {
            match sample {
                Sample::Ticks(ticks) => orphans.record_nanos(clock::nominal().nanos(ticks.get())),
                Sample::Nanos(nanos) => orphans.record_nanos(nanos),
                Sample::Value(value) => orphans.record(value),
            }
        }
    }

    #[inline]
    pub(super) fn set(&self, value: f64) {
        match &self.gauge {
            _ if self.is_off() => {}
            Some(gauge) if value.is_finite() => gauge.set(value),
            _ => refuse(),
        }
    }
}
