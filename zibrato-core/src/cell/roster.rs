use super::word::{Word, WordCell};

/// Which thread's counting cells belong to which metric, and what ended threads have left behind.
///
/// It is plain data: whoever owns it keeps it under a lock, and enlists, reads and strikes off only under that
/// lock. That is the whole protocol, and the model in `tests/model.rs` checks it on all interleavings.
#[derive(Debug)]
pub struct Roster<W> {
    threads: Vec<Vec<(u32, *const WordCell<W>)>>,
    retired: Vec<u64>,
}

// SAFETY: the pointers are only followed under the owner's lock, and a thread strikes its cells off under that
// same lock before they go away.
unsafe impl<W: Sync> Send for Roster<W> {}

impl<W> Roster<W> {
    /// A roster of no threads.
    pub const fn new() -> Self {
        Roster { threads: Vec::new(), retired: Vec::new() }
    }
}

impl<W> Default for Roster<W> {
    fn default() -> Self {
        Self::new()
    }
}

impl<W: Word> Roster<W> {
    /// Puts a cell on the list after [`WordCell::add`] of `n` has said so, or folds a full one.
    ///
    /// # Safety
    /// `cell` belongs to the calling thread, which calls [`Roster::leave`] with the same `thread` before the
    /// cell goes away.
    pub unsafe fn enlist(&mut self, thread: usize, metric: u32, cell: *const WordCell<W>, n: u64) {
        // SAFETY: the caller's own cell is alive.
        let own = unsafe { &*cell };
        if own.was_enlisted_before(n) {
            self.retire(metric, own.total());
            own.restart(0);
            return;
        }
        if self.threads.len() <= thread {
            self.threads.resize_with(thread + 1, Vec::new);
        }
        self.threads[thread].push((metric, cell));
        // What an allocator that is measured has added meanwhile at the same call site is in it too.
        own.restart(own.unlisted());
    }

    /// Ends a thread: its totals stay, its cells are struck off and start again as not enlisted.
    pub fn leave(&mut self, thread: usize) {
        for (metric, cell) in self.threads.get_mut(thread).map(std::mem::take).unwrap_or_default() {
            // SAFETY: the cell is on the list, so it is alive.
            let cell = unsafe { &*cell };
            let total = cell.total();
            cell.strike_off();
            self.retire(metric, total);
        }
    }

    /// Strikes off the cells of a thread without touching them: in a forked child the thread does not exist.
    pub fn forget(&mut self, thread: usize) {
        self.threads.get_mut(thread).map(std::mem::take);
    }

    /// Calls `with` for every metric and total: of ended threads, and of each cell on the list.
    pub fn read(&self, mut with: impl FnMut(u32, u64)) {
        self.retired
            .iter()
            .enumerate()
            .filter(|(_, n)| **n != 0)
            .for_each(|(metric, &n)| with(metric as u32, n));
        for &(metric, cell) in self.threads.iter().flatten() {
            // SAFETY: the cell is on the list, so it is alive.
            with(metric, unsafe { &*cell }.total());
        }
    }

    /// Calls `with` for every cell of one thread.
    pub fn read_thread(&self, thread: usize, mut with: impl FnMut(u32, u64)) {
        for &(metric, cell) in self.threads.get(thread).into_iter().flatten() {
            // SAFETY: the cell is on the list, so it is alive.
            with(metric, unsafe { &*cell }.total());
        }
    }

    /// How many cells are on the list.
    pub fn live_cells(&self) -> usize {
        self.threads.iter().map(Vec::len).sum()
    }

    fn retire(&mut self, metric: u32, n: u64) {
        let metric = metric as usize;
        if self.retired.len() <= metric {
            self.retired.resize(metric + 1, 0);
        }
        self.retired[metric] = self.retired[metric].saturating_add(n);
    }
}
