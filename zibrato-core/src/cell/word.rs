use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// A 64-bit atomic, so that the protocol of cells can run on a model checker's atomics too.
///
/// All accesses are relaxed: each cell has one writer, and coherence of a single word is all that is needed.
pub trait Word {
    /// Reads it.
    fn get(&self) -> u64;
    /// Writes it.
    fn set(&self, value: u64);
}

impl Word for AtomicU64 {
    #[inline(always)]
    fn get(&self) -> u64 {
        self.load(Relaxed)
    }

    #[inline(always)]
    fn set(&self, value: u64) {
        self.store(value, Relaxed);
    }
}

/// The sign bit says: the owning thread has not enlisted this cell.
const UNSEEN: u64 = 1 << 63;

/// One thread's total of one counting call site.
///
/// While the sign bit is set the cell is not enlisted, and the first increment notices that by the sign of its
/// result: enlisting costs the hot path no check of its own.
#[derive(Debug)]
pub struct WordCell<W = AtomicU64>(W);

impl WordCell {
    /// A cell that is not enlisted.
    #[allow(clippy::new_without_default, reason = "a cell is only ever made in a const thread-local")]
    pub const fn new() -> Self {
        WordCell(AtomicU64::new(UNSEEN))
    }
}

impl<W: Word> WordCell<W> {
    /// A cell that is not enlisted, in a word of the caller's.
    pub fn in_word(word: W) -> Self {
        word.set(UNSEEN);
        WordCell(word)
    }

    /// Adds `n`, less than 2^63. Where it returns `true` the caller must call [`Roster::enlist`] under the lock,
    /// or [`WordCell::take_back`] where it cannot.
    ///
    /// [`Roster::enlist`]: super::Roster::enlist
    #[inline(always)]
    #[must_use]
    pub fn add(&self, n: u64) -> bool {
        (self.raise(n) as i64) < 0
    }

    #[inline(always)]
    pub(super) fn raise(&self, n: u64) -> u64 {
        let total = self.0.get().wrapping_add(n);
        self.0.set(total);
        total
    }

    /// Undoes an increment of `n` that could not be enlisted, and nothing else: where an allocator counts at the very
    /// call site that is being enlisted, the increment that began it is still in the cell.
    pub fn take_back(&self, n: u64) {
        self.0.set(self.0.get().wrapping_sub(n));
    }

    /// Starts again as not enlisted.
    pub(super) fn strike_off(&self) {
        self.0.set(UNSEEN);
    }

    pub(super) fn total(&self) -> u64 {
        self.0.get()
    }

    /// What was added since it was made or struck off, while it is not enlisted.
    pub(super) fn unlisted(&self) -> u64 {
        self.0.get() & !UNSEEN
    }

    pub(super) fn restart(&self, total: u64) {
        self.0.set(total);
    }

    /// Whether the cell was enlisted before `n` was added: its sign bit then comes from the total itself.
    pub(super) fn was_enlisted_before(&self, n: u64) -> bool {
        self.0.get().wrapping_sub(n) & UNSEEN == 0
    }
}
