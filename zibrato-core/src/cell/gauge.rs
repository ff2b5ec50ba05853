use std::sync::atomic::{AtomicPtr, AtomicU64, Ordering::Relaxed};

use crate::frame::Span;

/// A quiet NaN that no arithmetic makes: nothing has been set.
const UNSET: u64 = 0x7ff8_dead_beef_cafe;

/// A gauge: one word for all threads, because the last writer wins anyway.
#[derive(Debug)]
pub(crate) struct GaugeCell {
    value: AtomicU64,
    statistics: Option<Statistics>,
}

/// A call site's way to the word of its gauge.
#[derive(Debug)]
pub(crate) struct GaugeWord(AtomicPtr<AtomicU64>);

/// Where a way leads that leads nowhere yet.
static NOWHERE: AtomicU64 = AtomicU64::new(UNSET);

impl GaugeWord {
    pub(crate) const fn nowhere() -> Self {
        GaugeWord(AtomicPtr::new((&raw const NOWHERE).cast_mut()))
    }

    /// Leads to a gauge that keeps nothing but its last value.
    pub(crate) fn lead_to(&self, gauge: &'static GaugeCell) {
        self.0.store((&raw const gauge.value).cast_mut(), Relaxed);
    }

    /// Sets a finite value.
    #[inline(always)]
    pub(crate) fn set(&self, value: f64) {
        // SAFETY: it points to a static, or into a gauge that stays for ever.
        unsafe { &*self.0.load(Relaxed) }.store(value.to_bits(), Relaxed);
    }
}

#[derive(Debug, Default)]
struct Statistics {
    count: AtomicU64,
    sum: AtomicU64,
    low: AtomicU64,
    high: AtomicU64,
}

impl GaugeCell {
    pub(crate) fn new(statistics: bool) -> Self {
        let statistics = statistics.then(|| Statistics {
            low: AtomicU64::new(f64::INFINITY.to_bits()),
            high: AtomicU64::new(f64::NEG_INFINITY.to_bits()),
            ..Statistics::default()
        });
        GaugeCell { value: AtomicU64::new(UNSET), statistics }
    }

    /// Whether setting it is nothing but a store.
    pub(crate) fn is_plain(&self) -> bool {
        self.statistics.is_none()
    }

    /// Sets a finite value.
    #[inline(always)]
    pub(crate) fn set(&self, value: f64) {
        self.value.store(value.to_bits(), Relaxed);
        if let Some(statistics) = &self.statistics {
            statistics.set(value);
        }
    }

    /// Adds to the value, 0 where none was set, and returns the new one.
    pub(crate) fn add(&self, n: f64) {
        let new = update(&self.value, |old| if old == UNSET { n } else { f64::from_bits(old) + n });
        if let Some(statistics) = &self.statistics {
            statistics.set(new);
        }
    }

    pub(crate) fn value(&self) -> Option<f64> {
        let bits = self.value.load(Relaxed);
        (bits != UNSET).then(|| f64::from_bits(bits))
    }

    /// The value, which is unset from here on.
    pub(crate) fn take(&self) -> Option<f64> {
        let bits = self.value.swap(UNSET, Relaxed);
        (bits != UNSET).then(|| f64::from_bits(bits))
    }

    /// Count and sum since the start, which `end` begins anew, and the extremes of the interval, which begins anew
    /// each time.
    pub(crate) fn take_statistics(&self, end: bool) -> Option<(u64, f64, Option<Span>)> {
        let s = self.statistics.as_ref()?;
        let take = |word: &AtomicU64, empty: f64| f64::from_bits(word.swap(empty.to_bits(), Relaxed));
        let total = |word: &AtomicU64| if end { word.swap(0, Relaxed) } else { word.load(Relaxed) };
        let (min, max) = (take(&s.low, f64::INFINITY), take(&s.high, f64::NEG_INFINITY));
        let span = (min <= max).then_some(Span { min, max });
        Some((total(&s.count), f64::from_bits(total(&s.sum)), span))
    }
}

impl Statistics {
    fn set(&self, value: f64) {
        self.count.fetch_add(1, Relaxed);
        update(&self.sum, |old| f64::from_bits(old) + value);
        update(&self.low, |old| f64::from_bits(old).min(value));
        update(&self.high, |old| f64::from_bits(old).max(value));
    }
}

fn update(word: &AtomicU64, to: impl Fn(u64) -> f64) -> f64 {
    let mut old = word.load(Relaxed);
    loop {
        // A sum of finite values may be none, and nobody takes one that is not finite.
        let new = to(old).clamp(f64::MIN, f64::MAX);
        match word.compare_exchange_weak(old, new.to_bits(), Relaxed, Relaxed) {
            Ok(_) => return new,
            Err(now) => old = now,
        }
    }
}
