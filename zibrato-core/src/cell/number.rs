use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::word::Word;
use crate::frame::Total;

/// One thread's total of one counter that is reached through a handle, or of increments that are not whole.
#[derive(Debug, Default)]
pub(crate) struct NumberCell {
    whole: AtomicU64,
    float: AtomicU64,
}

impl NumberCell {
    #[inline(always)]
    pub(crate) fn add_whole(&self, n: i64) {
        self.whole.set((self.whole.get() as i64).saturating_add(n) as u64);
    }

    #[inline]
    pub(crate) fn add_float(&self, n: f64) {
        let sum = f64::from_bits(self.float.get()) + n;
        self.float.set(sum.clamp(f64::MIN, f64::MAX).to_bits());
    }

    /// Adds from any thread.
    pub(crate) fn add_shared(&self, whole: i64, float: f64) {
        let add_whole = |old| Some((old as i64).saturating_add(whole) as u64);
        // The closures always give a value, so the updates always succeed.
        let _ = self.whole.fetch_update(Relaxed, Relaxed, add_whole);
        if float != 0.0 {
            let add = |old| Some((f64::from_bits(old) + float).clamp(f64::MIN, f64::MAX).to_bits());
            let _ = self.float.fetch_update(Relaxed, Relaxed, add);
        }
    }

    pub(crate) fn total(&self) -> Total {
        Total { whole: self.whole.get() as i64, float: f64::from_bits(self.float.get()) }
    }
}
