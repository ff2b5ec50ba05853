use std::cell::Cell;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

use crate::histogram::{HIGHEST, LOWEST, PER_OCTAVE};

/// The buckets of one side of one thread's histogram: whole octaves, from the lowest seen to the highest.
#[derive(Debug)]
pub(super) struct Window {
    /// The index of the first bucket.
    base: Cell<i32>,
    shift: i32,
    /// The same in a count of the caller's, see [`Window::shifted`].
    shifted_base: Cell<i64>,
    len: Cell<u64>,
    counts: Cell<*mut AtomicU32>,
}

// SAFETY: only the owning thread writes the fields, and only under the registry's lock; it also reads them without.
// Others read them under the lock. So no read is at the same time as a write.
unsafe impl Sync for Window {}
// SAFETY: the buckets are owned; whoever has the window may free them.
unsafe impl Send for Window {}

/// What the fast path could not do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Full {
    /// The bucket is outside the window.
    Outside,
    /// The bucket has no room for one more.
    Carry,
}

/// As many as a bucket holds.
pub(super) const FULL: u32 = i32::MAX as u32;

/// Counts one more value in a bucket, as [`Window::room`] gave it.
#[inline(always)]
pub(super) fn count_one((bucket, n): (&AtomicU32, u32)) {
    bucket.store(n, Release);
}

impl Window {
    /// No buckets yet. For [`Window::room_shifted`] indices count from `shift`.
    pub(super) const fn shifted(shift: i32) -> Self {
        Window {
            base: Cell::new(0),
            shift,
            shifted_base: Cell::new(0),
            len: Cell::new(0),
            counts: Cell::new(std::ptr::null_mut()),
        }
    }

    /// The bucket of an index and what it will hold with one more, if it has room for that. Only the owning thread
    /// calls this.
    ///
    /// Whoever counts adds the value to the sum first and to the bucket last, with [`count_one`]; readers go the
    /// other way. So a reader that sees a value counted also sees it in the sum.
    #[inline(always)]
    pub(super) fn room(&self, index: i32) -> Result<(&AtomicU32, u32), Full> {
        self.room_at(i64::from(index).wrapping_sub(self.base.get().into()) as u64)
    }

    /// The same for an index that counts from the window's shift.
    #[inline(always)]
    pub(super) fn room_shifted(&self, index: i64) -> Result<(&AtomicU32, u32), Full> {
        self.room_at(index.wrapping_sub(self.shifted_base.get()) as u64)
    }

    #[inline(always)]
    fn room_at(&self, at: u64) -> Result<(&AtomicU32, u32), Full> {
        if at >= self.len.get() {
            return Err(Full::Outside);
        }
        // SAFETY: `counts` has `len` buckets, and only this thread replaces it.
        let bucket = unsafe { &*self.counts.get().add(at as usize) };
        let n = bucket.load(Relaxed).wrapping_add(1);
        // The sign is for free where the sum is at hand.
        if (n as i32) < 0 { Err(Full::Carry) } else { Ok((bucket, n)) }
    }

    /// Empties a full bucket; the caller has booked its [`FULL`] elsewhere, under the registry's lock.
    pub(super) fn carry(&self, index: i32) {
        self.buckets().filter(|(i, _)| *i == index).for_each(|(_, bucket)| bucket.store(0, Relaxed));
    }

    /// Widens the window to the octave of `index`. Only the owning thread calls this, under the registry's lock.
    pub(super) fn grow(&self, index: i32) {
        let octave = index.clamp(LOWEST, HIGHEST).div_euclid(PER_OCTAVE) * PER_OCTAVE;
        let (base, len) = (self.base.get(), self.len.get() as i32);
        let (low, high) = if len == 0 {
            (octave, octave + PER_OCTAVE)
        } else {
            (octave.min(base), (octave + PER_OCTAVE).max(base + len))
        };
        let mut counts: Box<[AtomicU32]> = (low..high).map(|_| AtomicU32::new(0)).collect();
        for (i, old) in self.buckets() {
            counts[(i - low) as usize] = AtomicU32::new(old.load(Relaxed));
        }
        let len = counts.len() as u64;
        let old = self.raw();
        self.counts.set(Box::into_raw(counts).cast());
        self.base.set(low);
        self.shifted_base.set((low - self.shift).into());
        self.len.set(len);
        // Freed last: an allocator that measures comes here whenever it is called.
        Self::free(old);
    }

    /// The counts that are not 0, by rising index. Called under the registry's lock.
    pub(super) fn read(&self) -> impl Iterator<Item = (i32, u64)> {
        self.buckets().map(|(i, n)| (i, u64::from(n.load(Acquire)))).filter(|&(_, n)| n > 0)
    }

    fn buckets(&self) -> impl Iterator<Item = (i32, &AtomicU32)> {
        let (base, len) = (self.base.get(), self.len.get() as usize);
        let counts = self.counts.get();
        let slice: &[AtomicU32] = match len {
            0 => &[],
            // SAFETY: `counts` has `len` buckets, and is replaced only under the lock that the caller holds.
            _ => unsafe { std::slice::from_raw_parts(counts, len) },
        };
        slice.iter().enumerate().map(move |(i, n)| (base + i as i32, n))
    }

    fn raw(&self) -> *mut [AtomicU32] {
        std::ptr::slice_from_raw_parts_mut(self.counts.get(), self.len.get() as usize)
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
