use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::thread::LocalKey;
use std::time::Duration;

use super::metric::{MetricSpec, Shared};
use crate::cell::{
    NoRoom, SpreadCell, SpreadSlot, Thread, WordCell, enlist, own_number, own_spread, with_registry,
};
use crate::clock;
use crate::frame::Kind;
use crate::level;

/// What counts non-finite values and negative increments of counters, which are refused.
static REFUSED: Site = Site::new(Kind::Counter, level::OWN, "zibrato.refused", None, &[]);

/// Call sites that were met for the first time while their thread was inside the registry.
static WAITING: [OnceLock<&'static Site>; 16] = [const { OnceLock::new() }; 16];

pub(super) fn waiting() -> impl Iterator<Item = &'static Site> {
    WAITING.iter().filter_map(|site| site.get().copied())
}

/// A place in the program that measures, known at compile time. The macros of the facade make these.
#[derive(Debug)]
pub struct Site {
    off: AtomicBool,
    kind: Kind,
    orphan: AtomicU64,
    shared: OnceLock<Arc<Shared>>,
    level: &'static str,
    name: &'static str,
    source: Option<&'static str>,
    tags: &'static [(&'static str, &'static str)],
}

impl Site {
    /// A call site of a metric.
    pub const fn new(
        kind: Kind,
        level: &'static str,
        name: &'static str,
        source: Option<&'static str>,
        tags: &'static [(&'static str, &'static str)],
    ) -> Self {
        Site {
            off: AtomicBool::new(false),
            kind,
            orphan: AtomicU64::new(0),
            shared: OnceLock::new(),
            level,
            name,
            source,
            tags,
        }
    }

    /// Whether its level is switched on; one load.
    #[inline(always)]
    pub fn is_on(&self) -> bool {
        !self.off.load(Relaxed)
    }

    /// Counts `n`, less than 2^63, in this thread's cell of this very call site. Whether the level is on the caller
    /// has asked [`Site::is_on`] already.
    #[inline(always)]
    pub fn count(&'static self, cell: &'static LocalKey<WordCell>, n: u64) {
        if cell.with(|cell| cell.add(n)) {
            self.enlist(cell, n);
        }
    }

    #[cold]
    #[inline(never)]
    fn enlist(&'static self, cell: &'static LocalKey<WordCell>, n: u64) {
        let listed = with_registry(|inner, thread| {
            let shared = inner.settle_site(self);
            match thread {
                Thread::Live(thread) if !shared.is_off() => enlist(inner, thread, shared.number, cell, n),
                Thread::Live(_) => cell.with(WordCell::take_back),
                Thread::Gone => return false,
            }
            true
        });
        if listed != Some(true) {
            cell.with(WordCell::take_back);
            self.orphan.fetch_add(n, Relaxed);
            if listed.is_none() && self.shared.get().is_none() {
                let _ = WAITING.iter().find(|free| {
                    free.set(self).is_ok() || free.get().is_some_and(|s| std::ptr::eq(*s, self))
                });
            }
        }
    }

    /// Records a duration in nanoseconds through this thread's slot of this very call site.
    #[inline(never)]
    pub fn time(&'static self, slot: &'static LocalKey<SpreadSlot>, nanos: u64) {
        let no_room = slot.with(|slot| slot.cell().map(|cell| cell.record_nanos(nanos)));
        match no_room {
            Some(Ok(())) => {}
            _ => self.time_slowly(slot, nanos),
        }
    }

    #[cold]
    #[inline(never)]
    fn time_slowly(&'static self, slot: &'static LocalKey<SpreadSlot>, nanos: u64) {
        let Some(shared) = self.resolved() else { return refuse() };
        if shared.is_off() {
            return;
        }
        shared.record_slowly(Sample::Nanos(nanos));
        with_registry(|inner, thread| {
            if let Thread::Live(thread) = thread
                && slot.with(|slot| slot.cell().is_none())
                && let Some(cells) = inner.give_cell(thread, shared.number, shared.kind)
            {
                SpreadSlot::lead_to(slot, shared, cells);
            }
        });
    }

    /// Adds to a counter or updown counter whatever a call site's value turns out to be.
    #[inline]
    pub fn add(&'static self, value: impl Increment) {
        if self.is_on() {
            match self.resolved() {
                Some(shared) => value.add_to(shared),
                None => refuse(),
            }
        }
    }

    /// Records a value of a distribution, or a duration of a timer in nanoseconds.
    #[inline]
    pub fn record(&'static self, value: f64) {
        if self.is_on() {
            match self.resolved() {
                Some(shared) => shared.record(value),
                None => refuse(),
            }
        }
    }

    /// Sets a gauge.
    #[inline]
    pub fn set(&'static self, value: f64) {
        if self.is_on() {
            match self.resolved() {
                Some(shared) => shared.set(value),
                None => refuse(),
            }
        }
    }

    #[inline]
    fn resolved(&'static self) -> Option<&'static Arc<Shared>> {
        self.shared.get().or_else(|| self.resolve_now())
    }

    /// `None` only where the call site is met for the first time inside the registry.
    #[cold]
    fn resolve_now(&'static self) -> Option<&'static Arc<Shared>> {
        with_registry(|inner, _| drop(inner.settle_site(self)));
        self.shared.get()
    }

    pub(super) fn spec(&self) -> MetricSpec<'static> {
        let Site { level, kind, name, source, tags, .. } = *self;
        MetricSpec { level, kind, name, source, tags, statistics: false }
    }

    pub(super) fn shared(&self) -> Option<Arc<Shared>> {
        self.shared.get().cloned()
    }

    pub(super) fn tie(&self, shared: &Arc<Shared>) {
        // The caller holds the registry's lock and found it empty, so it can be set.
        let _ = self.shared.set(shared.clone());
        self.off.store(shared.is_off(), Relaxed);
    }

    pub(super) fn switch(&self, on: bool) {
        self.off.store(!on, Relaxed);
    }

    pub(super) fn orphan(&self) -> u64 {
        self.orphan.load(Relaxed)
    }
}

/// Counts something that cannot be measured.
#[cold]
fn refuse() {
    with_registry(|inner, _| drop(inner.settle_site(&REFUSED)));
    REFUSED.orphan.fetch_add(1, Relaxed);
}

/// One value of a timer or a distribution.
#[derive(Debug, Clone, Copy)]
enum Sample {
    Nanos(u64),
    Value(f64),
}

impl Sample {
    fn record_in(self, cell: &SpreadCell) -> Result<(), NoRoom> {
        match self {
            Sample::Nanos(nanos) => cell.record_nanos(nanos),
            Sample::Value(value) => cell.record(value),
        }
    }
}

impl Shared {
    /// The metric of a handle that was asked for inside the registry: it is off.
    fn nowhere(kind: Kind) -> Arc<Shared> {
        let id = super::Id::stand_in(super::BAD_NAME, level::DEFAULT, kind);
        super::Metric::new(Arc::new(id), u32::MAX, 0, false, false).shared
    }

    #[inline]
    fn add_whole(&self, n: i64) {
        match own_number(self) {
            _ if self.is_off() => {}
            Some(cell) => cell.add_whole(n),
            None => self.add_slowly(n, 0.0),
        }
    }

    #[inline]
    fn add_float(&self, n: f64) {
        match own_number(self) {
            _ if self.is_off() => {}
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
    fn record(&self, value: f64) {
        if !value.is_finite() {
            refuse();
        } else {
            self.record_sample(Sample::Value(value));
        }
    }

    #[inline]
    fn record_sample(&self, sample: Sample) {
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
    fn record_slowly(&self, sample: Sample) {
        let recorded = with_registry(|inner, thread| {
            if let Thread::Live(thread) = thread {
                inner.give_cell(thread, self.number, self.kind);
            }
            let Some(metric) = inner.metric_mut(self.number) else { return false };
            let gone = SpreadCell::new();
            let cell = own_spread(self).filter(|_| matches!(thread, Thread::Live(_))).unwrap_or(&gone);
            // The first try may find no room; after room was made there is some.
            if let Err(no_room) = sample.record_in(cell) {
                cell.make_room(no_room, metric.retired_spread());
                let _ = sample.record_in(cell);
            }
            if thread == Thread::Gone {
                metric.retire_spread(&gone);
            }
            true
        });
        if recorded != Some(true)
            && let Some(orphans) = &self.orphans
        {
            match sample {
                Sample::Nanos(nanos) => orphans.record_nanos(nanos),
                Sample::Value(value) => orphans.record(value),
            }
        }
    }

    #[inline]
    fn set(&self, value: f64) {
        match &self.gauge {
            _ if self.is_off() => {}
            Some(gauge) if value.is_finite() => gauge.set(value),
            _ => refuse(),
        }
    }
}

mod sealed {
    pub trait Sealed {}
}

/// A number by which a counter can go up: any integer or float.
///
/// Whole increments stay exact integers; a negative or non-finite one is refused by a counter and counted in
/// `zibrato.refused`, an updown counter takes negative ones.
pub trait Increment: sealed::Sealed {
    #[doc(hidden)]
    fn add_to(self, metric: &Shared);

    /// Counts at a call site, in its own cell where the increment is whole.
    #[doc(hidden)]
    fn count(self, site: &'static Site, cell: &'static LocalKey<WordCell>);
}

macro_rules! whole_increments {
    ($($number:ty),*) => { $(
        impl sealed::Sealed for $number {}
        impl Increment for $number {
            #[inline]
            fn add_to(self, metric: &Shared) {
                // What is beyond the range of a total is taken as its end.
                let n = i64::try_from(self).unwrap_or(i64::MAX);
                if n < 0 && metric.kind == Kind::Counter { refuse() } else { metric.add_whole(n) }
            }

            #[inline(always)]
            fn count(self, site: &'static Site, cell: &'static LocalKey<WordCell>) {
                match u64::try_from(i64::try_from(self).unwrap_or(i64::MAX)) {
                    Ok(n) => site.count(cell, n),
                    Err(_) => refuse(),
                }
            }
        }
    )* };
}

whole_increments!(u8, u16, u32, u64, usize, u128, i8, i16, i32, i64, isize);

impl sealed::Sealed for f64 {}
impl Increment for f64 {
    #[inline]
    fn add_to(self, metric: &Shared) {
        metric.add_float(self);
    }

    fn count(self, site: &'static Site, _: &'static LocalKey<WordCell>) {
        site.add(self);
    }
}

impl sealed::Sealed for f32 {}
impl Increment for f32 {
    #[inline]
    fn add_to(self, metric: &Shared) {
        metric.add_float(f64::from(self));
    }

    fn count(self, site: &'static Site, _: &'static LocalKey<WordCell>) {
        site.add(self);
    }
}

/// A metric that is reached by a name known only at run time. It stays as long as the process, unless
/// [`Handle::retire`] says otherwise.
#[derive(Debug)]
struct Handle(Arc<Shared>);

impl Handle {
    fn of(spec: &MetricSpec<'_>) -> Self {
        let found = with_registry(|inner, _| {
            let shared = inner.resolve(spec);
            shared.handles.fetch_add(1, Relaxed);
            shared.retiring.store(false, Relaxed);
            shared
        });
        Handle(found.unwrap_or_else(|| Shared::nowhere(spec.kind)))
    }
}

impl Clone for Handle {
    fn clone(&self) -> Self {
        self.0.handles.fetch_add(1, Relaxed);
        Handle(self.0.clone())
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        // Release, so that whoever finds no handle left also finds everything measured through it.
        self.0.handles.fetch_sub(1, std::sync::atomic::Ordering::Release);
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
        Timing { timer: self, start: (!self.0.0.is_off()).then(clock::nanos) }
    }
}

/// Times until it is dropped, also by unwinding.
#[derive(Debug)]
#[must_use = "a guard that is not kept times nothing"]
pub struct Timing<'a> {
    timer: &'a Timer,
    start: Option<u64>,
}

impl Timing<'_> {
    /// Records nothing.
    pub fn discard(mut self) {
        self.start = None;
    }
}

impl Drop for Timing<'_> {
    fn drop(&mut self) {
        if let Some(start) = self.start {
            self.timer.record_nanos(clock::nanos().saturating_sub(start));
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
