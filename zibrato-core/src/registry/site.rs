use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicU8, AtomicU64};
use std::thread::LocalKey;

use once_cell::race::OnceRef;

use super::increment::Increment;
use super::metric::{MetricSpec, Shared};
use super::record::Sample;
use crate::cell::{
    GaugeWord, Local, SampledSlot, SpreadSlot, Thread, WordCell, counter, enlist, local, with_registry,
};
use crate::clock;
use crate::frame::Kind;
use crate::level;

/// What counts non-finite values and negative increments of counters, which are refused.
static REFUSED: Site = Site::new(Kind::Counter, level::OWN, "zibrato.refused", None, &[]);

/// Call sites that were met for the first time while their thread was inside the registry.
static WAITING: [OnceRef<'static, Site>; 16] = [const { OnceRef::new() }; 16];

pub(super) fn waiting() -> impl Iterator<Item = &'static Site> {
    WAITING.iter().filter_map(OnceRef::get)
}

/// First among the tags of a call site or a [`MetricSpec`], this marks the metric for tracing. It is no tag: none can be
/// called so.
///
/// It is there so that nothing that is passed all the time grows for what is rare.
pub const TRACE: (&str, &str) = ("\0trace", "");

/// The level is off.
const OFF: u8 = 0x80;
/// The call site is not tied to its metric yet; the processor's counter cannot be used just now; or the gauge keeps
/// more than its last value.
const LONG_WAY: u8 = 1;

/// How a gauge is set; read once, before the value is made.
#[derive(Debug, Clone, Copy)]
pub struct Way(u8);

impl Way {
    /// Whether its level is on.
    #[inline(always)]
    pub fn is_on(self) -> bool {
        self.0 & OFF == 0
    }
}

/// A place in the program that measures, known at compile time. The macros of the facade make these.
#[derive(Debug)]
pub struct Site {
    /// 0 where the shortest way may be taken, else [`OFF`] or [`LONG_WAY`].
    state: AtomicU8,
    kind: Kind,
    orphan: AtomicU64,
    gauge: GaugeWord,
    /// Not a `OnceLock`: into what that waits for, precompiled, ThreadSanitizer does not see.
    shared: OnceRef<'static, Shared>,
    level: &'static str,
    name: &'static str,
    source: Option<&'static str>,
    tags: &'static [(&'static str, &'static str)],
}

impl Site {
    /// A call site of a metric; its tags may begin with [`TRACE`].
    pub const fn new(
        kind: Kind,
        level: &'static str,
        name: &'static str,
        source: Option<&'static str>,
        tags: &'static [(&'static str, &'static str)],
    ) -> Self {
        Site {
            state: AtomicU8::new(if matches!(kind, Kind::Timer | Kind::Gauge) { LONG_WAY } else { 0 }),
            kind,
            orphan: AtomicU64::new(0),
            gauge: GaugeWord::nowhere(),
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
        cfg!(feature = "enable") && self.state.load(Relaxed) & OFF == 0
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
                Thread::Live(_) => cell.take_back(n),
                Thread::Gone => return false,
            }
            true
        });
        if listed != Some(true) {
            cell.take_back(n);
            self.count_shared(n);
            if listed.is_none() && self.shared.get().is_none() {
                let _ = WAITING
                    .iter()
                    .find(|free| free.set(self).is_ok() || free.get().is_some_and(|s| std::ptr::eq(s, self)));
            }
        }
    }

    /// Counts where there can be no cell.
    fn count_shared(&self, n: u64) {
        // The closure always gives a value, so the update always succeeds.
        let _ = self.orphan.fetch_update(Relaxed, Relaxed, |old| Some(old.saturating_add(n)));
    }

    /// Counts a call of a sampled timer, of which this is the site that counts the calls, and returns the time if
    /// the call is one to be timed: on average one in `one_in`. 0 means that it is not, or that the level is off.
    #[inline(always)]
    pub fn sample(&'static self, slot: &'static LocalKey<SampledSlot>, one_in: u32) -> u64 {
        if !self.is_on() {
            return 0;
        }
        local(slot, |slot| if slot.count() { self.look_at_call(slot, one_in) } else { 0 })
    }

    #[inline(never)]
    fn look_at_call(&'static self, slot: Local<'_, SampledSlot>, one_in: u32) -> u64 {
        let first = !slot.is_enlisted();
        if first {
            self.enlist(slot.calls(), 1);
            if !slot.is_enlisted() {
                let unlisted = slot.take_unlisted();
                if self.is_on() {
                    self.count_shared(unlisted);
                }
                return 0;
            }
            with_registry(|inner, thread| inner.remember(thread, slot));
        }
        // Threads that begin at the same time have their cells at different addresses.
        let seed = || clock::start().rotate_left(32) ^ slot.address() as u64;
        let timed = if first { slot.draw_first(one_in, seed()) } else { slot.draw(one_in) };
        if timed { clock::start() } else { 0 }
    }

    /// Starts timing: the time in ticks, 0 where the level is off.
    #[inline(always)]
    pub fn start(&'static self) -> u64 {
        let state = self.state.load(Relaxed);
        // Off first, because nothing should cost as little.
        if !cfg!(feature = "enable") || state >= OFF {
            0
        } else if state == 0 {
            counter::read()
        } else {
            self.start_the_long_way(counter::read)
        }
    }

    /// The same with the clock read when everything before is done.
    #[inline(always)]
    pub fn start_ordered(&'static self) -> u64 {
        let state = self.state.load(Relaxed);
        // Off first, because nothing should cost as little.
        if !cfg!(feature = "enable") || state >= OFF {
            0
        } else if state == 0 {
            counter::read_first()
        } else {
            self.start_the_long_way(counter::read_first)
        }
    }

    #[cold]
    #[inline(never)]
    fn start_the_long_way(&'static self, read: fn() -> u64) -> u64 {
        let tied = self.resolved();
        if !self.is_on() {
            return 0;
        }
        let start = clock::start_the_long_way(read);
        if let Some(shared) = tied
            && !clock::is_long_way()
        {
            with_registry(|_, _| self.switch(!shared.is_off()));
        }
        start
    }

    /// Records what has passed since a [`Site::start`] of the slot's call site.
    #[inline(always)]
    pub fn stop(slot: &'static LocalKey<SpreadSlot>, start: u64) {
        local(slot, |slot| stop(slot, start));
    }

    /// Records what has passed since a [`Site::start_ordered`] of the slot's call site.
    #[inline(always)]
    pub fn stop_ordered(slot: &'static LocalKey<SpreadSlot>, start: u64) {
        local(slot, |slot| stop_ordered(slot, start));
    }

    /// Records a duration in nanoseconds at the slot's call site, whose level is on.
    pub fn time(slot: &'static LocalKey<SpreadSlot>, nanos: u64) {
        local(slot, |slot| record(slot, Sample::Nanos(nanos)));
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

    /// Records a value of a distribution.
    #[inline]
    pub fn record(&'static self, value: f64) {
        if self.is_on() {
            match self.resolved() {
                Some(shared) => shared.record(value),
                None => refuse(),
            }
        }
    }

    /// Which way a gauge is to be set, for [`Site::set`].
    #[inline(always)]
    pub fn way(&self) -> Way {
        // Whoever finds the short way open also finds where it leads.
        Way(if cfg!(feature = "enable") { self.state.load(Acquire) } else { OFF })
    }

    /// Sets a gauge.
    #[inline(always)]
    pub fn set(&'static self, way: Way, value: f64) {
        if way.0 == 0 && value.is_finite() {
            self.gauge.set(value);
        } else {
            self.set_the_long_way(value);
        }
    }

    #[cold]
    #[inline(never)]
    fn set_the_long_way(&'static self, value: f64) {
        match self.resolved() {
            Some(shared) => shared.set(value),
            None => refuse(),
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
        if let Some(gauge) = shared.plain_gauge() {
            self.gauge.lead_to(gauge);
        }
        self.switch(!shared.is_off());
    }

    /// Says whether its level is on, and which way it may take. Called under the registry's lock.
    pub(super) fn switch(&self, on: bool) {
        let long_way = match self.kind {
            Kind::Timer => clock::is_long_way(),
            Kind::Gauge => self.shared.get().and_then(Shared::plain_gauge).is_none(),
            _ => false,
        };
        let state = if !on { OFF } else { u8::from(long_way) * LONG_WAY };
        self.state.store(state, Release);
    }

    pub(super) fn orphan(&self) -> u64 {
        self.orphan.load(Relaxed)
    }
}

/// Out of line, with the reading of the clock: call sites stay small, and what they are in fast.
#[inline(never)]
fn stop(slot: Local<'_, SpreadSlot>, start: u64) {
    match clock::elapsed_usually(start) {
        Some(ticks) if slot.cell().record_ticks(ticks).is_ok() => {}
        Some(ticks) => record_slowly(slot, Sample::Ticks(ticks)),
        None => stop_the_long_way(slot, start),
    }
}

#[inline(never)]
fn stop_ordered(slot: Local<'_, SpreadSlot>, start: u64) {
    match clock::elapsed_ordered_usually(start) {
        Some(ticks) if slot.cell().record_ticks(ticks).is_ok() => {}
        Some(ticks) => record_slowly(slot, Sample::Ticks(ticks)),
        None => stop_the_long_way(slot, start),
    }
}

#[cold]
#[inline(never)]
fn stop_the_long_way(slot: Local<'_, SpreadSlot>, start: u64) {
    record(slot, clock::elapsed_the_long_way(start).into());
}

fn record(slot: Local<'_, SpreadSlot>, sample: Sample) {
    if sample.record_in(slot.cell()).is_err() {
        record_slowly(slot, sample);
    }
}

/// Records where there is no cell, or no room in it.
#[cold]
#[inline(never)]
fn record_slowly(slot: Local<'_, SpreadSlot>, sample: Sample) {
    let Some(shared) = slot.site().resolved() else { return refuse() };
    if shared.is_off() {
        return;
    }
    shared.record_slowly(sample);
    with_registry(|inner, thread| {
        if let Thread::Live(thread) = thread
            && !slot.is_led()
            && let Some(cells) = inner.give_cell(thread, shared.number, shared.kind)
        {
            SpreadSlot::lead_to(slot, shared, cells);
        }
    });
}

/// Counts something that cannot be measured.
#[cold]
pub(super) fn refuse() {
    with_registry(|inner, _| _ = inner.settle_site(&REFUSED));
    REFUSED.orphan.fetch_add(1, Relaxed);
}
