use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use crate::cell::{Gathered, GaugeCell, NumberCell, Order, Orphans, SpreadCell};
use crate::clock::{Converted, Rate};
use crate::frame::{Kind, Spread, State, Tags, Total};
use crate::limits::{self, BadName};

/// What makes a metric the one that it is within the process.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Id {
    /// Its level.
    pub level: Arc<str>,
    /// What it is.
    pub kind: Kind,
    /// Its name.
    pub name: Arc<str>,
    /// Its source, where it is not the process's.
    pub source: Option<Arc<str>>,
    /// Its tags.
    pub tags: Tags,
}

impl Id {
    pub(crate) fn stand_in(name: &str, level: &str, kind: Kind) -> Self {
        let level = if limits::check_level(level).is_ok() { level } else { crate::level::DEFAULT };
        Id { level: level.into(), kind, name: name.into(), source: None, tags: Tags::none() }
    }
}

/// A metric as a call site or a handle asks for it.
#[derive(Debug, Clone, Copy)]
pub struct MetricSpec<'a> {
    /// Its level.
    pub level: &'a str,
    /// What it is.
    pub kind: Kind,
    /// Its name.
    pub name: &'a str,
    /// Its source, where it is not the process's.
    pub source: Option<&'a str>,
    /// Its tags, each name once; they may begin with [`TRACE`](super::TRACE).
    pub tags: &'a [(&'a str, &'a str)],
    /// Whether a gauge keeps count, sum and extremes; other kinds take no notice.
    pub statistics: bool,
}

impl MetricSpec<'_> {
    pub(crate) fn id(&self) -> Result<Id, BadName> {
        limits::check_level(self.level)?;
        limits::check_name(self.name)?;
        self.source.map_or(Ok(()), limits::check_name)?;
        if self.tags.len() > limits::TAGS {
            return Err(BadName::TooLong { limit: limits::TAGS });
        }
        self.tags.iter().try_for_each(|(n, v)| limits::check_name(n).and_then(|()| limits::check_name(v)))?;
        Ok(Id {
            level: self.level.into(),
            kind: self.kind,
            name: self.name.into(),
            source: self.source.map(Into::into),
            tags: Tags::new(self.tags.iter().copied()),
        })
    }
}

/// The part of a metric that call sites and handles reach without the lock.
#[derive(Debug)]
#[doc(hidden)]
pub struct Shared {
    pub(crate) number: u32,
    pub(crate) kind: Kind,
    off: AtomicBool,
    /// A handle was asked for since the last reading.
    asked_for: AtomicBool,
    /// Whether the metric goes when the last handle has gone.
    pub(crate) retiring: AtomicBool,
    /// Whether a call site or a handle has marked the metric for tracing.
    pub(crate) traced: AtomicBool,
    /// What threads without cells of their own have counted.
    pub(crate) orphan: NumberCell,
    /// The same for timers and distributions.
    pub(crate) orphans: Option<Box<Orphans>>,
    pub(crate) gauge: Option<GaugeCell>,
}

impl Shared {
    #[inline(always)]
    pub(crate) fn is_off(&self) -> bool {
        !cfg!(feature = "enable") || self.off.load(Relaxed)
    }

    /// Notes that a handle was asked for, which also means that the metric is not to be retired.
    #[inline]
    pub(super) fn ask_for(&self) {
        // Looked at first, so that threads that ask for one metric all the time do not take the line from each
        // other.
        if !self.asked_for.load(Relaxed) {
            self.asked_for.store(true, Relaxed);
        }
        if self.retiring.load(Relaxed) {
            self.retiring.store(false, Relaxed);
        }
    }

    /// Its gauge, where it keeps nothing but the last value.
    pub(crate) fn plain_gauge(&self) -> Option<&GaugeCell> {
        self.gauge.as_ref().filter(|gauge| gauge.is_plain())
    }

    pub(crate) fn switch(&self, on: bool) {
        self.off.store(!on, Relaxed);
    }
}

/// A metric, under the registry's lock.
#[derive(Debug)]
pub(crate) struct Metric {
    pub(crate) id: Arc<Id>,
    pub(crate) shared: Arc<Shared>,
    pub(crate) has_site: bool,
    /// Whether a pattern has marked it for tracing.
    pub(crate) matches: bool,
    born: u64,
    /// When it last had a handle, as far as readers have seen.
    asked_for: u64,
    /// What ended threads have left, except for the counting call sites, whose share is in the roster.
    retired: Retired,
    /// The state at which the present instance began, where that was not zero.
    baseline: Option<State>,
    /// It has had a state of its own in the present instance, and so is read from then on, also at zero.
    shown: bool,
    /// The part of a timer's sum that was measured in ticks.
    converted: Converted,
    /// The gauge's last value read, and when it was seen first.
    seen: (f64, u64),
}

#[derive(Debug, Default)]
struct Retired {
    total: Total,
    spread: Spread,
    /// The part of the spread's sum that is in ticks.
    ticks: u64,
}

/// What the cells of a metric add up to.
#[derive(Debug, Default)]
pub(crate) struct Sum {
    pub(crate) total: Total,
    pub(crate) spread: Option<Box<Gathered>>,
}

impl Metric {
    pub(crate) fn new(id: Arc<Id>, number: u32, born: u64, on: bool, statistics: bool) -> Self {
        let shared = Shared {
            number,
            kind: id.kind,
            off: AtomicBool::new(!on),
            asked_for: AtomicBool::new(true),
            retiring: AtomicBool::new(false),
            traced: AtomicBool::new(false),
            orphan: NumberCell::default(),
            orphans: matches!(id.kind, Kind::Timer | Kind::Distribution).then(|| Box::new(Orphans::new())),
            gauge: (id.kind == Kind::Gauge).then(|| GaugeCell::new(statistics)),
        };
        Metric {
            id,
            shared: Arc::new(shared),
            has_site: false,
            matches: false,
            born,
            asked_for: born,
            retired: Retired::default(),
            baseline: None,
            shown: false,
            converted: Converted::default(),
            seen: (f64::NAN, 0),
        }
    }

    /// Folds a counting cell of a thread that ends.
    pub(crate) fn retire_number(&mut self, cell: &NumberCell) {
        self.retired.total = self.retired.total.plus(cell.total());
    }

    /// Folds a cell of a thread that ends, or what it measured when it could not have cells any more.
    pub(crate) fn retire_spread(&mut self, cell: &SpreadCell, rate: Rate) {
        let mut spread = Gathered::default();
        cell.read(&mut spread, Order(self.id.kind), rate, false);
        self.retired.ticks = self.retired.ticks.wrapping_add(spread.ticks);
        spread.add(&self.retired.spread);
        self.retired.spread = spread.spread();
    }

    pub(crate) fn retired_spread(&mut self) -> &mut Spread {
        &mut self.retired.spread
    }

    /// The state since the present instance began; `None` where it has none of its own yet. With `end` the next
    /// instance begins at the very state that is returned, so that nothing measured meanwhile is between the two.
    pub(crate) fn state(&mut self, sum: Sum, rate: Rate, now: u64, end: bool) -> Option<State> {
        let whole = self.whole_state(sum, rate, now, end);
        let next = if end && self.id.kind != Kind::Gauge { whole.clone() } else { None };
        let state = whole.and_then(|whole| match &self.baseline {
            None => Some(whole),
            Some(baseline) => whole.since(baseline).or_else(|| self.shown.then(|| nothing(self.id.kind))),
        });
        // Threads that end change the order in which floats are added, so a sum that only rises may fall by its
        // last bit, and a receiver would refuse one below zero.
        let state = state.map(|state| match state {
            State::Total(total) if self.id.kind == Kind::Counter => {
                State::Total(Total { float: total.float.max(0.0), ..total })
            }
            state => state,
        });
        self.shown |= state.is_some();
        if end {
            (self.baseline, self.born, self.shown, self.seen) = (next, now, false, (f64::NAN, 0));
        }
        state
    }

    /// The state since the process began.
    fn whole_state(&mut self, mut sum: Sum, rate: Rate, now: u64, end: bool) -> Option<State> {
        match self.id.kind {
            Kind::Counter | Kind::Updown => {
                let all = [self.retired.total, self.shared.orphan.total()];
                Some(State::Total(all.into_iter().fold(sum.total, Total::plus)))
            }
            Kind::Timer | Kind::Distribution => {
                let mut spread = sum.spread.take().unwrap_or_default();
                spread.add(&self.retired.spread);
                let ticks = spread.ticks.wrapping_add(self.retired.ticks);
                spread.add_nanos(self.converted.nanos(ticks, rate));
                if let Some(orphans) = &self.shared.orphans {
                    orphans.read(&mut spread);
                }
                self.retired.spread.span = None;
                Some(State::Spread(spread.spread()))
            }
            Kind::Gauge => {
                let gauge = self.shared.gauge.as_ref()?;
                let statistics = gauge.take_statistics(end);
                let value = if end { gauge.take() } else { gauge.value() }?;
                if value != self.seen.0 {
                    self.seen = (value, now);
                }
                Some(State::Gauge(crate::frame::Gauge { value, set_at: self.seen.1, statistics }))
            }
            Kind::Point | Kind::Description => None,
        }
    }

    pub(crate) fn is_traced(&self) -> bool {
        self.matches || self.shared.traced.load(Relaxed)
    }

    pub(crate) fn born(&self) -> u64 {
        self.born
    }

    /// Whether it may go: no call site and no handle reaches it, and it is to be retired, or that is so for longer
    /// than `idle`.
    pub(crate) fn may_go(&mut self, now: u64, idle: Option<u64>) -> bool {
        let has_handle = Arc::strong_count(&self.shared) > 1;
        if has_handle || self.shared.asked_for.swap(false, Relaxed) {
            self.asked_for = now;
        }
        let is_idle = idle.is_some_and(|idle| now.saturating_sub(self.asked_for) >= idle);
        !has_handle && !self.has_site && (is_idle || self.shared.retiring.load(Relaxed))
    }

    /// The metric out of reach of what threads remember of it, and whether that was so: a handle may have been had
    /// meanwhile. If it was, no handle can be had from here on, and what was measured through those that there were
    /// is in whatever is read after this.
    pub(crate) fn out_of_reach(mut self) -> (Self, bool) {
        match Arc::try_unwrap(self.shared) {
            Ok(shared) => {
                self.shared = Arc::new(shared);
                (self, true)
            }
            Err(shared) => {
                self.shared = shared;
                (self, false)
            }
        }
    }
}

/// The state of a metric of this kind to which nothing has happened.
pub(super) fn nothing(kind: Kind) -> State {
    match kind {
        Kind::Timer | Kind::Distribution => State::Spread(Spread::default()),
        Kind::Gauge => State::Gauge(crate::frame::Gauge { value: 0.0, set_at: 0, statistics: None }),
        _ => State::Total(Total::default()),
    }
}
