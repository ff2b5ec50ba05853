use std::cell::Cell;

use super::local::Local;
use super::word::WordCell;

/// One thread's part of a sampled timing call site: how often it was called, and which call is timed next.
#[derive(Debug)]
pub struct SampledSlot {
    calls: WordCell,
    next: Cell<u64>,
    seed: Cell<u64>,
}

impl SampledSlot {
    /// A slot that is not enlisted.
    #[allow(clippy::new_without_default, reason = "a slot is only ever made in a const thread-local")]
    pub const fn new() -> Self {
        SampledSlot { calls: WordCell::new(), next: Cell::new(FIRST), seed: Cell::new(0) }
    }

    /// Counts a call, and says whether it is one to look at: it is to be timed, or the cell is not enlisted.
    #[inline(always)]
    pub(crate) fn count(&self) -> bool {
        self.calls.raise(1) == self.next.get()
    }

    /// Whether the cell is enlisted: nobody calls anything 2^63 times.
    pub(crate) fn is_enlisted(&self) -> bool {
        self.calls.total() as i64 >= 0
    }

    /// Takes what was counted in vain, while the cell could not be enlisted: by an allocator that is measured, at this
    /// very call site.
    pub(crate) fn take_unlisted(&self) -> u64 {
        let unlisted = self.calls.unlisted();
        self.calls.strike_off();
        unlisted
    }

    /// Draws the call that is timed first, and says whether it is this one, the thread's first.
    ///
    /// It is not that one always: threads that make few calls would be seen too often.
    pub(crate) fn draw_first(&self, one_in: u32, seed: u64) -> bool {
        // Not 0, from which it would never get away.
        self.seed.set(seed | 1);
        let away = self.below(u64::from(one_in));
        self.next.set(self.calls.total() + away);
        away == 0 && self.draw(one_in)
    }

    /// Draws the next call to be timed after this one: on average `one_in` further, which is at least 1.
    #[inline(always)]
    pub(crate) fn draw(&self, one_in: u32) -> bool {
        let gap = 1 + self.below(2 * u64::from(one_in) - 1);
        self.next.set(self.next.get() + gap);
        true
    }

    /// A random number below `n`, which fits in 32 bits.
    ///
    /// Marsaglia, "Xorshift RNGs", 2003, the triple (13, 7, 17). Two multiplications take its high bits, which are
    /// the better ones, and scale them.
    #[inline(always)]
    fn below(&self, n: u64) -> u64 {
        let mut x = self.seed.get();
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        self.seed.set(x);
        ((x.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 32) * n) >> 32
    }

    pub(super) fn close(&self) {
        self.next.set(FIRST);
    }
}

/// What the first call of a cell that is not enlisted counts to.
const FIRST: u64 = (1 << 63) + 1;

impl<'a> Local<'a, SampledSlot> {
    /// The cell of calls.
    pub(crate) fn calls(self) -> Local<'a, WordCell> {
        self.part(|slot| &slot.calls)
    }
}
