use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicI32, AtomicPtr, AtomicU32};

use crate::histogram::{HIGHEST, LOWEST, PER_OCTAVE};

/// The buckets of one side of one thread's histogram: whole octaves, from the lowest seen to the highest.
#[derive(Debug)]
pub(super) struct Window {
    base: AtomicI32,
    len: AtomicU32,
    counts: AtomicPtr<AtomicU32>,
}

/// What the fast path could not do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Full {
    /// The bucket is outside the window.
    Outside,
    /// The bucket has no room for one more.
    Carry,
}

/// Counts one more value in a bucket that [`Window::room`] gave.
#[inline(always)]
pub(super) fn count_one((bucket, n): (&AtomicU32, u32)) {
    bucket.store(n + 1, Release);
}

impl Window {
    pub(super) const fn new() -> Self {
        Window {
            base: AtomicI32::new(0),
            len: AtomicU32::new(0),
            counts: AtomicPtr::new(std::ptr::null_mut()),
        }
    }

    /// The bucket of an index and what it holds, if it has room for one more. Only the owning thread calls this.
    ///
    /// Whoever counts adds the value to the sum first and to the bucket last, with [`count_one`]; readers go the
    /// other way. So a reader that sees a value counted also sees it in the sum.
    #[inline(always)]
    pub(super) fn room(&self, index: i32) -> Result<(&AtomicU32, u32), Full> {
        let at = index.wrapping_sub(self.base.load(Relaxed)) as u32;
        if at >= self.len.load(Relaxed) {
            return Err(Full::Outside);
        }
        // SAFETY: `counts` has `len` buckets, and only this thread replaces it.
        let bucket = unsafe { &*self.counts.load(Relaxed).add(at as usize) };
        let n = bucket.load(Relaxed);
        if n == u32::MAX {
            return Err(Full::Carry);
        }
        Ok((bucket, n))
    }

    /// Empties a full bucket; the caller has booked its `u32::MAX` elsewhere, under the registry's lock.
    pub(super) fn carry(&self, index: i32) {
        self.buckets().filter(|(i, _)| *i == index).for_each(|(_, bucket)| bucket.store(0, Relaxed));
    }

    /// Widens the window to the octave of `index`. Only the owning thread calls this, under the registry's lock.
    pub(super) fn grow(&self, index: i32) {
        let octave = index.clamp(LOWEST, HIGHEST).div_euclid(PER_OCTAVE) * PER_OCTAVE;
        let (base, len) = (self.base.load(Relaxed), self.len.load(Relaxed) as i32);
        let (low, high) = if len == 0 {
            (octave, octave + PER_OCTAVE)
        } else {
            (octave.min(base), (octave + PER_OCTAVE).max(base + len))
        };
        let mut counts: Box<[AtomicU32]> = (low..high).map(|_| AtomicU32::new(0)).collect();
        for (i, old) in self.buckets() {
            counts[(i - low) as usize] = AtomicU32::new(old.load(Relaxed));
        }
        let len = counts.len() as u32;
        let old = self.raw();
        self.counts.store(Box::into_raw(counts).cast(), Relaxed);
        self.base.store(low, Relaxed);
        self.len.store(len, Relaxed);
        // Freed last: an allocator that measures comes here whenever it is called.
        Self::free(old);
    }

    /// The counts that are not 0, by rising index. Called under the registry's lock.
    pub(super) fn read(&self) -> impl Iterator<Item = (i32, u64)> {
        self.buckets().map(|(i, n)| (i, u64::from(n.load(Acquire)))).filter(|&(_, n)| n > 0)
    }

    fn buckets(&self) -> impl Iterator<Item = (i32, &AtomicU32)> {
        let (base, len) = (self.base.load(Relaxed), self.len.load(Relaxed) as usize);
        let counts = self.counts.load(Relaxed);
        let slice: &[AtomicU32] = match len {
            0 => &[],
            // SAFETY: `counts` has `len` buckets, and is replaced only under the lock that the caller holds.
            _ => unsafe { std::slice::from_raw_parts(counts, len) },
        };
        slice.iter().enumerate().map(move |(i, n)| (base + i as i32, n))
    }

    fn raw(&self) -> *mut [AtomicU32] {
        std::ptr::slice_from_raw_parts_mut(self.counts.load(Relaxed), self.len.load(Relaxed) as usize)
    }

    fn free(counts: *mut [AtomicU32]) {
        if !counts.is_empty() {
            // SAFETY: it came out of a boxed slice of this length in `grow`, and nobody reads it: the owner is
            // here, and readers wait for the lock.
            drop(unsafe { Box::from_raw(counts) });
        }
    }
}

impl Drop for Window {
    fn drop(&mut self) {
        Self::free(self.raw());
    }
}
