//! The registry: every metric of the process, and how its cells are read.
//!
//! There is one in a process, behind one lock. Call sites and handles come here once per thread and metric; after
//! that only readers do.

mod cache;
mod handle;
mod increment;
mod lock;
mod metric;
mod read;
mod record;
mod site;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use crate::cell::{Local, Roster, SampledSlot, Thread, ThreadCells, with_registry};
use crate::clock::{self, Calibration, Rate};
use crate::frame::{Description, Kind};
use crate::level::{self, Levels};
use crate::limits;
use crate::trace::Patterns;

pub use handle::{Counter, Distribution, Gauge, Timer, Timing, Updown};
pub use increment::Increment;
use lock::Lock;
pub(crate) use lock::Whole;
use metric::Metric;
#[doc(hidden)]
pub use metric::Shared;
pub use metric::{Id, MetricSpec};
pub use read::{Reading, end, read, read_own_thread, take_retired};
pub use site::{Site, TRACE, Way};

pub(crate) static REGISTRY: Lock<Inner> = Lock::new(Inner::new());

/// The metric that takes what comes after the limit on the number of metrics, one per level and kind.
pub const OVERFLOW: &str = "zibrato.overflow";
/// The metric that takes what has a name, source or tag that cannot be used, one per level and kind.
pub const BAD_NAME: &str = "zibrato.bad_name";

/// What the registry holds. See the module's documentation.
#[derive(Debug)]
pub(crate) struct Inner {
    metrics: Vec<Option<Metric>>,
    free: Vec<u32>,
    by_id: BTreeMap<Arc<Id>, u32>,
    roster: Roster<AtomicU64>,
    threads: Vec<Option<ThreadCells>>,
    sites: Vec<(&'static Site, &'static Arc<Shared>)>,
    levels: Levels,
    traced: Patterns,
    calibration: Option<Calibration>,
    descriptions: BTreeMap<Arc<str>, (Description, u64)>,
    retired: Vec<Reading>,
    limit: usize,
    /// After how long without a handle a metric goes, in nanoseconds.
    idle: Option<u64>,
    installed: bool,
    nobody: Nobody,
    overflowed: bool,
    bad_names: bool,
}

/// That something is measured and nobody carries it away.
#[derive(Debug)]
struct Nobody {
    since: Option<u64>,
    warned: bool,
    due: bool,
}

/// Most metrics beyond the limit that stand in for others, before one level takes them all.
const STAND_INS: usize = 256;

/// How long a program may measure before somebody is expected to carry it away, in nanoseconds.
const PATIENCE: u64 = 10_000_000_000;

impl Inner {
    const fn new() -> Self {
        Inner {
            metrics: Vec::new(),
            free: Vec::new(),
            by_id: BTreeMap::new(),
            roster: Roster::new(),
            threads: Vec::new(),
            sites: Vec::new(),
            levels: Levels::ALL,
            traced: Patterns::NONE,
            calibration: None,
            descriptions: BTreeMap::new(),
            retired: Vec::new(),
            limit: limits::METRICS,
            idle: None,
            installed: false,
            nobody: Nobody { since: None, warned: false, due: false },
            overflowed: false,
            bad_names: false,
        }
    }

    /// Notes that somebody measures, which after a while is worth a warning if nothing is installed.
    fn note_use(&mut self) {
        if cfg!(feature = "warn") && !self.installed && !self.nobody.warned {
            let now = clock::nanos();
            let due = now.saturating_sub(*self.nobody.since.get_or_insert(now)) > PATIENCE;
            (self.nobody.warned, self.nobody.due) = (due, due);
        }
    }

    /// The warning that is due, once.
    pub(crate) fn warning(&mut self) -> Option<&'static str> {
        std::mem::take(&mut self.nobody.due).then_some(
            "zibrato: this program measures, but nothing is installed that sends it; call zibrato::install() and \
             keep its guard until the end of main",
        )
    }

    /// A new thread's number.
    pub(crate) fn join(&mut self) -> usize {
        self.note_use();
        let thread = self.threads.iter().position(Option::is_none).unwrap_or(self.threads.len());
        if thread == self.threads.len() {
            self.threads.push(None);
        }
        self.threads[thread] = Some(ThreadCells::default());
        thread
    }

    /// Folds the calling thread, which ends. What comes back is to be dropped outside.
    pub(crate) fn leave(&mut self, thread: usize) -> ThreadCells {
        let cells = self.threads.get_mut(thread).and_then(Option::take).unwrap_or_default();
        // First, so that what an instrumented allocator measures meanwhile does not go to a cell already folded.
        cells.close();
        self.roster.leave(thread);
        for (number, cell) in cells.numbers() {
            if let Some(metric) = self.metric_mut(number) {
                metric.retire_number(cell);
            }
        }
        let rate = self.rate();
        for (number, cell) in cells.spreads() {
            if let Some(metric) = self.metric_mut(number) {
                metric.retire_spread(cell, rate);
            }
        }
        cells
    }

    /// The rate of late, for extremes; sums are converted when all is read.
    pub(crate) fn rate(&self) -> Rate {
        self.calibration.as_ref().map_or_else(clock::nominal, Calibration::rate)
    }

    fn metric(&self, number: u32) -> Option<&Metric> {
        self.metrics.get(number as usize)?.as_ref()
    }

    fn metric_mut(&mut self, number: u32) -> Option<&mut Metric> {
        self.metrics.get_mut(number as usize)?.as_mut()
    }

    /// The metric of this identity, made where there is none; past the limit the overflow metric of its kind.
    pub(crate) fn resolve(&mut self, spec: &MetricSpec<'_>) -> Arc<Shared> {
        let (is_traced, tags) = match spec.tags {
            [TRACE, tags @ ..] => (true, tags),
            tags => (false, tags),
        };
        let shared = match (MetricSpec { tags, ..*spec }).id() {
            Ok(id) => self.resolve_id(id, spec.statistics),
            Err(_) => {
                self.bad_names = true;
                self.resolve_id(Id::stand_in(BAD_NAME, spec.level, spec.kind), spec.statistics)
            }
        };
        if is_traced {
            shared.traced.store(true, Relaxed);
        }
        shared
    }

    fn resolve_id(&mut self, id: Id, statistics: bool) -> Arc<Shared> {
        if let Some(metric) = self.by_id.get(&id).and_then(|&number| self.metric(number)) {
            return metric.shared.clone();
        }
        let is_stand_in =
            [OVERFLOW, BAD_NAME].iter().any(|name| id == Id::stand_in(name, &id.level, id.kind));
        let last_resort = Id::stand_in(OVERFLOW, level::DEFAULT, id.kind);
        // Levels that are known only at run time must not make stand-ins without end either.
        let most = if is_stand_in { self.limit.saturating_add(STAND_INS) } else { self.limit };
        if self.by_id.len() >= most && id != last_resort {
            self.overflowed = true;
            let id = if is_stand_in { last_resort } else { Id::stand_in(OVERFLOW, &id.level, id.kind) };
            return self.resolve_id(id, statistics);
        }
        self.note_use();
        let number = self.free.pop().unwrap_or(self.metrics.len() as u32);
        if number as usize == self.metrics.len() {
            self.metrics.push(None);
        }
        let id = Arc::new(id);
        let on = self.levels.contains(&id.level);
        let mut metric = Metric::new(id.clone(), number, clock::unix_nanos(), on, statistics);
        metric.matches = self.traced.match_name(&id.name);
        let shared = metric.shared.clone();
        self.metrics[number as usize] = Some(metric);
        self.by_id.insert(id, number);
        shared
    }

    /// Whether a metric has this name; one that stands in for others has its own.
    fn is_called(&self, shared: &Shared, name: &str) -> bool {
        self.metric(shared.number).is_some_and(|metric| &*metric.id.name == name)
    }

    /// Ties a call site to its metric, once.
    pub(crate) fn settle_site(&mut self, site: &'static Site) -> &'static Shared {
        if let Some(shared) = site.shared() {
            return shared;
        }
        // A call site never goes, and neither does what it is tied to.
        let shared: &'static Arc<Shared> = Box::leak(Box::new(self.resolve(&site.spec())));
        site.tie(shared);
        self.sites.push((site, shared));
        if let Some(metric) = self.metric_mut(shared.number) {
            metric.has_site = true;
        }
        shared
    }

    pub(crate) fn roster(&mut self) -> &mut Roster<AtomicU64> {
        &mut self.roster
    }

    /// Gives the calling thread a cell for a metric that it has none for.
    pub(crate) fn give_cell(&mut self, thread: usize, number: u32, kind: Kind) -> Option<&mut ThreadCells> {
        self.metric(number)?;
        let cells = self.threads.get_mut(thread)?.as_mut()?;
        if !cells.has(number) {
            cells.add(number, kind);
        }
        Some(cells)
    }

    /// Remembers a slot of the calling thread until the thread ends.
    pub(crate) fn remember(&mut self, thread: Thread, slot: Local<'_, SampledSlot>) {
        if let Thread::Live(thread) = thread
            && let Some(Some(cells)) = self.threads.get_mut(thread)
        {
            cells.remember(slot);
        }
    }

    pub(crate) fn set_levels(&mut self, levels: Levels) {
        for metric in self.metrics.iter().flatten() {
            metric.shared.switch(levels.contains(&metric.id.level));
        }
        self.levels = levels;
        self.tell_sites();
    }

    /// Tells all call sites whether their level is on, and which way to the clock they may take.
    fn tell_sites(&self) {
        for (site, shared) in &self.sites {
            if let Some(metric) = self.metric(shared.number) {
                site.switch(self.levels.contains(&metric.id.level));
            }
        }
    }

    /// Takes out a metric that is to be retired and that neither a call site nor a handle reaches any more, so
    /// that nobody can be writing its cells.
    fn remove(&mut self, number: u32) {
        for cells in self.threads.iter_mut().flatten() {
            cells.remove(number);
        }
        if let Some(metric) = self.metrics[number as usize].take() {
            self.by_id.remove(&metric.id);
            self.free.push(number);
        }
    }
}

/// Tells all call sites that the way to the clock has changed.
pub(crate) fn tell_sites() {
    with_registry(|inner, _| inner.tell_sites());
}

/// Switches levels on and off for the whole process, at every call site and handle.
pub fn set_levels(levels: Levels) {
    with_registry(|inner, _| inner.set_levels(levels));
}

/// Marks every metric whose name matches for tracing, now and later, beside those that are marked in the program; see
/// [`trace`](crate::trace). Later patterns replace earlier ones.
pub fn set_traced(patterns: Patterns) {
    with_registry(|inner, _| {
        for metric in inner.metrics.iter_mut().flatten() {
            metric.matches = patterns.match_name(&metric.id.name);
        }
        inner.traced = patterns;
    });
}

/// Says what a metric means: its unit in UCUM notation (`s`, `By`, `{request}`; empty where there is none) and one
/// sentence for people, of which the first 255 and 1024 bytes are kept. Later calls for the same name replace earlier
/// ones; of more names than there may be metrics the rest is left out.
pub fn describe(name: &str, unit: &str, help: &str) {
    if limits::check_name(name).is_err() {
        return;
    }
    let start = |text: &str, most: usize| text[..text.floor_char_boundary(most)].into();
    let description = Description { unit: start(unit, limits::NAME), help: start(help, limits::HELP) };
    with_registry(|inner, _| {
        // As many as there may be metrics: names known only at run time must not grow this without end.
        if inner.descriptions.len() < inner.limit || inner.descriptions.contains_key(name) {
            inner.descriptions.insert(name.into(), (description, clock::unix_nanos()));
        }
    });
}

/// Sets the most metrics that the process may have, [`limits::METRICS`] unless set.
pub fn set_limit(metrics: usize) {
    with_registry(|inner, _| inner.limit = metrics);
}

/// Sets after how long a metric that is known only at run time leaves memory, counted from when its last handle
/// went. Its total is read once more; a metric of the same name that comes later starts at zero. `None`, the default,
/// keeps all.
pub fn set_idle(idle: Option<Duration>) {
    let nanos = |idle: Duration| u64::try_from(idle.as_nanos()).unwrap_or(u64::MAX);
    with_registry(|inner, _| inner.idle = idle.map(nanos));
}

/// Says whether somebody carries the readings away.
pub fn set_installed(installed: bool) {
    with_registry(|inner, _| inner.installed = installed);
}

/// What the registry holds, for people and self-checks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Census {
    /// Metrics that exist.
    pub metrics: usize,
    /// Call sites that have been passed at least once.
    pub sites: usize,
    /// Threads that have cells.
    pub threads: usize,
    /// Cells of live threads.
    pub cells: usize,
    /// Whether the limit on metrics was reached.
    pub overflowed: bool,
    /// Whether a name, source or tag was met that cannot be used.
    pub bad_names: bool,
}

/// Counts what the registry holds.
pub fn census() -> Census {
    with_registry(|inner, _| Census {
        metrics: inner.by_id.len(),
        sites: inner.sites.len(),
        threads: inner.threads.iter().flatten().count(),
        cells: inner.roster.live_cells()
            + inner.threads.iter().flatten().map(|t| t.numbers().len() + t.spreads().len()).sum::<usize>(),
        overflowed: inner.overflowed,
        bad_names: inner.bad_names,
    })
    .unwrap_or_default()
}
