use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread::LocalKey;

use once_cell::race::OnceRef;

use super::increment::Increment;
use super::metric::{MetricSpec, Shared};
use super::record::Sample;
use crate::cell::{Local, SampledSlot, SpreadSlot, Thread, WordCell, enlist, local, with_registry};
use crate::clock::{self, Elapsed};
use crate::frame::Kind;
use crate::level;

/// What counts non-finite values and negative increments of counters, which are refused.
static REFUSED: Site = Site::new(Kind::Counter, level::OWN, "zibrato.refused", None, &[]);

/// Call sites that were met for the first time while their thread was inside the registry.
static WAITING: [OnceRef<'static, Site>; 16] = [const { OnceRef::new() }; 16];

pub(super) fn waiting() -> impl Iterator<Item = &'static Site> {
    WAITING.iter().filter_map(OnceRef::get)
}

/// A place in the program that measures, known at compile time. The macros of the facade make these.
#[derive(Debug)]
pub struct Site {
    off: AtomicBool,
    kind: Kind,
    orphan: AtomicU64,
    /// Not a `OnceLock`: into what that waits for, precompiled, ThreadSanitizer does not see.
    shared: OnceRef<'static, Shared>,
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
            shared: OnceRef::new(),
            level,
            name,
            source,
            tags,
        }
    }

    /// Whether its level is switched on; one load.
    #[inline(always)]
    pub fn is_on(&self) -> bool {
        cfg!(feature = "enable") && !self.off.load(Relaxed)
    }

    /// Counts `n`, less than 2^63, in this thread's cell of this very call site. Whether the level is on the caller
    /// has asked [`Site::is_on`] already.
    #[inline(always)]
    pub fn count(&'static self, cell: &'static LocalKey<WordCell>, n: u64) {
        local(cell, |cell| {
            if cell.add(n) {
                self.enlist(cell, n);
            }
        });
    }

    #[cold]
    #[inline(never)]
    fn enlist(&'static self, cell: Local<'_, WordCell>, n: u64) {
        let listed = with_registry(|inner, thread| {
            let shared = inner.settle_site(self);
            match thread {
                Thread::Live(thread) if !shared.is_off() => enlist(inner, thread, shared.number, cell, n),
                Thread::Live(_) => cell.take_back(),
                Thread::Gone => return false,
            }
            true
        });
        if listed != Some(true) {
            cell.take_back();
            self.orphan.fetch_add(n, Relaxed);
            if listed.is_none() && self.shared.get().is_none() {
                let _ = WAITING
                    .iter()
                    .find(|free| free.set(self).is_ok() || free.get().is_some_and(|s| std::ptr::eq(s, self)));
            }
        }
    }

    /// Counts a call of a sampled timer, of which this is the site that counts the calls, and returns the time if
    /// the call is one to be timed: on average one in `one_in`. 0 means that it is not.
    #[inline(always)]
    pub fn sample(&'static self, slot: &'static LocalKey<SampledSlot>, one_in: u32) -> u64 {
        local(slot, |slot| if slot.count() { self.look_at_call(slot, one_in) } else { 0 })
    }

    #[inline(never)]
    fn look_at_call(&'static self, slot: Local<'_, SampledSlot>, one_in: u32) -> u64 {
        let first = !slot.is_enlisted();
        if first {
            self.enlist(slot.calls(), 1);
            if !slot.is_enlisted() {
                return 0;
            }
            with_registry(|inner, thread| inner.remember(thread, slot));
        }
        let now = clock::start();
        // Threads that begin at the same time have their cells at different addresses.
        let seed = now.rotate_left(32) ^ slot.address() as u64;
        if slot.draw(one_in, first, seed) { now } else { 0 }
    }

    /// Records what has passed since a [`clock::start`], through this thread's slot of this very call site.
    #[inline(always)]
    pub fn stop(&'static self, slot: &'static LocalKey<SpreadSlot>, start: u64) {
        local(slot, |slot| self.stop_in(slot, start));
    }

    /// Out of line, with the reading of the clock: call sites stay small, and what they are in fast.
    #[inline(never)]
    fn stop_in(&'static self, slot: Local<'_, SpreadSlot>, start: u64) {
        self.record_elapsed(slot, clock::elapsed(start));
    }

    /// Records what has passed since a [`clock::start_ordered`], through this thread's slot of this very call
    /// site.
    #[inline(always)]
    pub fn stop_ordered(&'static self, slot: &'static LocalKey<SpreadSlot>, start: u64) {
        local(slot, |slot| self.stop_ordered_in(slot, start));
    }

    #[inline(never)]
    fn stop_ordered_in(&'static self, slot: Local<'_, SpreadSlot>, start: u64) {
        self.record_elapsed(slot, clock::elapsed_ordered(start));
    }

    #[inline(always)]
    fn record_elapsed(&'static self, slot: Local<'_, SpreadSlot>, elapsed: Elapsed) {
        let Elapsed::Ticks(ticks) = elapsed else { return self.record_slowly(slot, elapsed.into()) };
        match slot.cell().map(|cell| cell.record_ticks(ticks)) {
            Some(Ok(())) => {}
            _ => self.record_slowly(slot, elapsed.into()),
        }
    }

    /// Records a duration in nanoseconds through this thread's slot of this very call site.
    pub fn time(&'static self, slot: &'static LocalKey<SpreadSlot>, nanos: u64) {
        local(slot, |slot| match slot.cell().map(|cell| cell.record_nanos(nanos)) {
            Some(Ok(())) => {}
            _ => self.record_slowly(slot, Sample::Nanos(nanos)),
        });
    }

    #[cold]
    #[inline(never)]
    fn record_slowly(&'static self, slot: Local<'_, SpreadSlot>, sample: Sample) {
        let Some(shared) = self.resolved() else { return refuse() };
        if shared.is_off() {
            return;
        }
        shared.record_slowly(sample);
        with_registry(|inner, thread| {
            if let Thread::Live(thread) = thread
                && slot.cell().is_none()
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
    fn resolved(&'static self) -> Option<&'static Shared> {
        self.shared.get().or_else(|| self.resolve_now())
    }

    /// `None` only where the call site is met for the first time inside the registry.
    #[cold]
    fn resolve_now(&'static self) -> Option<&'static Shared> {
        with_registry(|inner, _| _ = inner.settle_site(self));
        self.shared.get()
    }

    pub(super) fn spec(&self) -> MetricSpec<'static> {
        let Site { level, kind, name, source, tags, .. } = *self;
        MetricSpec { level, kind, name, source, tags, statistics: false }
    }

    pub(super) fn shared(&self) -> Option<&'static Shared> {
        self.shared.get()
    }

    /// Ties it to its metric, which stays for ever from here on.
    pub(super) fn tie(&self, shared: &'static Shared) {
        // The caller holds the registry's lock and found it empty, so it can be set.
        let _ = self.shared.set(shared);
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
pub(super) fn refuse() {
    with_registry(|inner, _| _ = inner.settle_site(&REFUSED));
    REFUSED.orphan.fetch_add(1, Relaxed);
}
