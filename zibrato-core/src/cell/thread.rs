use std::cell::Cell;
use std::io::Write;
use std::sync::atomic::{AtomicPtr, Ordering::Relaxed};

use super::local::Local;
use super::number::NumberCell;
use super::owned::Owned;
use super::sampled::SampledSlot;
use super::spread::SpreadCell;
use super::word::WordCell;
use crate::frame::Kind;
use crate::registry::{Inner, REGISTRY, Shared, Site};

/// Where a thread is in its life with the registry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// It has not been here.
    Fresh,
    /// It has cells.
    Live,
    /// It is inside the registry right now; taking the lock again would hang.
    Busy,
    /// Its cells have been folded; destructors of other thread-locals may still measure.
    Gone,
}

thread_local! {
    static PHASE: Cell<Phase> = const { Cell::new(Phase::Fresh) };
    /// What it was before the fork that is going on.
    #[cfg(unix)]
    static FORKING: Cell<Phase> = const { Cell::new(Phase::Fresh) };
    static INDEX: Cell<usize> = const { Cell::new(usize::MAX) };
    static TABLE: Table = const { Table { cells: Cell::new(std::ptr::null()), len: Cell::new(0) } };
    static REAPER: Reaper = const { Reaper };
}

/// The calling thread's place among the registry's threads, as far as it has one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Thread {
    /// It has cells, under this number.
    Live(usize),
    /// It must not own cells any more.
    Gone,
}

/// Runs `work` under the registry's lock, or returns `None` where this thread is inside it already.
///
/// A thread that comes here for the first time joins the registry. Whatever `work` allocates may itself be
/// measured: such events find the thread busy and go to the orphans.
pub(crate) fn with_registry<R>(work: impl FnOnce(&mut Inner, Thread) -> R) -> Option<R> {
    if !cfg!(feature = "enable") {
        return None;
    }
    let phase = PHASE.get();
    let gone = match phase {
        Phase::Busy => return None,
        Phase::Gone => true,
        Phase::Live => false,
        // The first touch arms the destructor; where that is too late, the thread counts as gone.
        Phase::Fresh => REAPER.try_with(|_| ()).is_err(),
    };
    PHASE.set(Phase::Busy);
    let mut inner = REGISTRY.lock();
    let thread = match (gone, phase) {
        (true, _) => Thread::Gone,
        (_, Phase::Live) => Thread::Live(INDEX.get()),
        _ => {
            INDEX.set(inner.join());
            Thread::Live(INDEX.get())
        }
    };
    let result = work(&mut inner, thread);
    let warning = inner.warning();
    drop(inner);
    if let Some(warning) = warning {
        // Unlike `eprintln`, which panics where nobody takes it.
        let _ = writeln!(std::io::stderr(), "{warning}");
    }
    PHASE.set(if gone { Phase::Gone } else { Phase::Live });
    Some(result)
}

/// Has whatever the calling thread measures from here on go to the orphans, as it holds the registry's lock, until
/// [`end_fork`].
#[cfg(unix)]
pub(super) fn begin_fork() {
    FORKING.set(PHASE.replace(Phase::Busy));
}

/// Ends what [`begin_fork`] began.
#[cfg(unix)]
pub(super) fn end_fork() {
    PHASE.set(FORKING.get());
}

/// The cells that one thread reaches by the number of their metric.
struct Table {
    cells: Cell<*const AtomicPtr<()>>,
    len: Cell<usize>,
}

/// The calling thread's cell of a counting metric, where it has one.
#[inline(always)]
pub(crate) fn own_number(metric: &Shared) -> Option<&NumberCell> {
    debug_assert!(!matches!(metric.kind, Kind::Timer | Kind::Distribution));
    // SAFETY: cells of a metric of this kind are numbers, and while `metric` is borrowed from a handle or a call
    // site the registry keeps its cells.
    unsafe { own_cell(metric.number) }
}

/// The calling thread's cell of a timer or distribution, where it has one.
#[inline(always)]
pub(crate) fn own_spread(metric: &Shared) -> Option<&SpreadCell> {
    debug_assert!(matches!(metric.kind, Kind::Timer | Kind::Distribution));
    // SAFETY: as in `own_number`, for the other kinds.
    unsafe { own_cell(metric.number) }
}

/// Puts a counting call site's cell of the calling thread on the list, after `n` was added to it.
pub(crate) fn enlist(inner: &mut Inner, thread: usize, metric: u32, cell: Local<'_, WordCell>, n: u64) {
    // SAFETY: a thread-local without a destructor stays until its thread has ended, and before that the thread's
    // reaper makes it leave.
    unsafe { inner.roster().enlist(thread, metric, cell.address(), n) }
}

/// # Safety
/// The metric's cells are of type `T`, and the caller keeps the metric alive for `'a`.
#[inline(always)]
unsafe fn own_cell<'a, T>(metric: u32) -> Option<&'a T> {
    TABLE.with(|table| {
        if metric as usize >= table.len.get() {
            return None;
        }
        // SAFETY: the table has `len` entries and is replaced only by this thread. An entry is null or points to
        // a cell that lives until this thread ends or the metric goes, and the caller keeps the metric.
        unsafe { (*table.cells.get().add(metric as usize)).load(Relaxed).cast::<T>().as_ref() }
    })
}

/// What the registry holds for one thread.
#[derive(Debug, Default)]
pub(crate) struct ThreadCells {
    table: Vec<AtomicPtr<()>>,
    numbers: Vec<(u32, Owned<NumberCell>)>,
    spreads: Vec<(u32, Owned<SpreadCell>)>,
    slots: Vec<*const SpreadSlot>,
    sampled: Vec<*const SampledSlot>,
}

// SAFETY: what it points to belongs to its thread, and is touched by others only through the registry's lock.
unsafe impl Send for ThreadCells {}

impl ThreadCells {
    /// Adds a cell of the calling thread for a metric of this kind, and shows it in the thread's table.
    pub(crate) fn add(&mut self, metric: u32, kind: Kind) {
        if matches!(kind, Kind::Timer | Kind::Distribution) {
            let cell = Owned::new(SpreadCell::new());
            self.show(metric, cell.address());
            self.spreads.push((metric, cell));
        } else {
            let cell = Owned::new(NumberCell::default());
            self.show(metric, cell.address());
            self.numbers.push((metric, cell));
        }
    }

    fn show(&mut self, metric: u32, address: *mut ()) {
        let wanted = metric as usize + 1;
        if self.table.len() < wanted {
            let mut table: Vec<_> = Vec::with_capacity(wanted.next_power_of_two());
            table.extend(self.table.iter().map(|cell| AtomicPtr::new(cell.load(Relaxed))));
            table.resize_with(table.capacity(), AtomicPtr::default);
            TABLE.with(|own| {
                own.cells.set(table.as_ptr());
                own.len.set(table.len());
            });
            // Freed last: an allocator that measures looks into the table whenever it is called.
            drop(std::mem::replace(&mut self.table, table));
        }
        self.table[metric as usize].store(address, Relaxed);
    }

    /// Whether there is a cell of this metric.
    pub(crate) fn has(&self, metric: u32) -> bool {
        self.table.get(metric as usize).is_some_and(|cell| !cell.load(Relaxed).is_null())
    }

    /// The cells of counting metrics.
    pub(crate) fn numbers(&self) -> impl ExactSizeIterator<Item = (u32, &NumberCell)> {
        self.numbers.iter().map(|(metric, cell)| (*metric, &**cell))
    }

    /// The cells of timers and distributions.
    pub(crate) fn spreads(&self) -> impl ExactSizeIterator<Item = (u32, &SpreadCell)> {
        self.spreads.iter().map(|(metric, cell)| (*metric, &**cell))
    }

    /// Makes the ways of the calling thread to these cells, which are its own, lead nowhere.
    pub(crate) fn close(&self) {
        TABLE.with(|table| table.len.set(0));
        for slot in &self.slots {
            // SAFETY: the slot is a thread-local of this thread without a destructor, so it is still there.
            unsafe { &**slot }.cell.set(&raw const NOBODYS);
        }
        for slot in &self.sampled {
            // SAFETY: as above.
            unsafe { &**slot }.close();
        }
    }

    /// Remembers a slot of the calling thread, so that it is closed when the thread ends.
    pub(crate) fn remember(&mut self, slot: Local<'_, SampledSlot>) {
        self.sampled.push(slot.address());
    }

    /// Frees the cell of a metric that no handle reaches any more.
    pub(crate) fn remove(&mut self, metric: u32) {
        if !self.has(metric) {
            return;
        }
        self.table[metric as usize].store(std::ptr::null_mut(), Relaxed);
        take(&mut self.numbers, metric);
        take(&mut self.spreads, metric);
    }
}

fn take<T>(cells: &mut Vec<(u32, Owned<T>)>, metric: u32) {
    if let Some(at) = cells.iter().position(|(m, _)| *m == metric) {
        drop(cells.swap_remove(at));
    }
}

/// Ends the calling thread's life with the registry when its thread-locals are destroyed.
struct Reaper;

impl Drop for Reaper {
    fn drop(&mut self) {
        if PHASE.get() == Phase::Live {
            PHASE.set(Phase::Busy);
            let mut inner = REGISTRY.lock();
            let cells = inner.leave(INDEX.replace(usize::MAX));
            drop(inner);
            drop(cells);
        }
        PHASE.set(Phase::Gone);
    }
}

/// Where slots lead that lead nowhere: sparing the hot path a check.
static NOBODYS: SpreadCell = SpreadCell::nobodys();

/// One thread's way from a timing call site to its cell.
#[derive(Debug)]
pub struct SpreadSlot {
    cell: Cell<*const SpreadCell>,
    site: &'static Site,
}

impl SpreadSlot {
    /// A slot of a call site that leads nowhere yet.
    pub const fn new(site: &'static Site) -> Self {
        SpreadSlot { cell: Cell::new(&raw const NOBODYS), site }
    }

    /// Whether it leads to a cell of the thread's own.
    pub(crate) fn is_led(&self) -> bool {
        !std::ptr::eq(self.cell.get(), &raw const NOBODYS)
    }

    /// The call site.
    #[inline(always)]
    pub(crate) fn site(&self) -> &'static Site {
        self.site
    }

    /// The thread's cell, or one that has no room for anything.
    #[inline(always)]
    pub(crate) fn cell(&self) -> &SpreadCell {
        // SAFETY: it points to a static, or to a cell of this thread whose metric has a call site and so never
        // goes; the reaper leads it back to the static before it frees the cell.
        unsafe { &*self.cell.get() }
    }

    /// Leads the calling thread's slot to its cell of `metric`, which has a call site and so is kept for ever.
    pub(crate) fn lead_to(slot: Local<'_, SpreadSlot>, metric: &Shared, cells: &mut ThreadCells) {
        if let Some(cell) = own_spread(metric) {
            slot.cell.set(cell);
            cells.slots.push(slot.address());
        }
    }
}

/// In a forked child only the forking thread lives on; its number is the only one to keep.
pub(crate) fn current() -> Option<usize> {
    matches!(PHASE.get(), Phase::Live | Phase::Busy).then(|| INDEX.get()).filter(|&i| i != usize::MAX)
}
