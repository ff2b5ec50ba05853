use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Acquire, Ordering::Relaxed};

use crate::cell::{AnyCell, Gathered, GaugeCell, NumberCell, Order, Orphans, SpreadCell};
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
    /// Its tags, each name once.
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
    /// How many handles there are.
    pub(crate) handles: AtomicUsize,
    /// Whether the metric goes when the last handle has gone.
    pub(crate) retiring: AtomicBool,
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
    born: u64,
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

impl Sum {
    pub(crate) fn add(&mut self, cell: &AnyCell, kind: Kind, rate: Rate, restart: bool) {
        match cell {
            AnyCell::Number(cell) => self.total = self.total.plus(cell.total()),
            AnyCell::Spread(cell) => {
                cell.read(self.spread.get_or_insert_default(), Order(kind), rate, restart)
            }
        }
    }
}

impl Metric {
    pub(crate) fn new(id: Arc<Id>, number: u32, born: u64, on: bool, statistics: bool) -> Self {
        let shared = Shared {
            number,
            kind: id.kind,
            off: AtomicBool::new(!on),
            handles: AtomicUsize::new(0),
            retiring: AtomicBool::new(false),
            orphan: NumberCell::default(),
            orphans: matches!(id.kind, Kind::Timer | Kind::Distribution).then(|| Box::new(Orphans::new())),
            gauge: (id.kind == Kind::Gauge).then(|| GaugeCell::new(statistics)),
        };
        Metric {
            id,
            shared: Arc::new(shared),
            has_site: false,
            born,
            retired: Retired::default(),
            baseline: None,
            shown: false,
            converted: Converted::default(),
            seen: (f64::NAN, 0),
        }
    }

    /// Folds a cell of a thread that ends.
    pub(crate) fn retire(&mut self, cell: &AnyCell, rate: Rate) {
        match cell {
            AnyCell::Number(cell) => self.retired.total = self.retired.total.plus(cell.total()),
            AnyCell::Spread(cell) => self.retire_spread(cell, rate),
        }
    }

    /// Folds what a thread measured that must not own cells any more.
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

    pub(crate) fn born(&self) -> u64 {
        self.born
    }

    /// Whether it was to be retired and nothing reaches it any more. What was measured through its handles is in
    /// whatever is read after this.
    pub(crate) fn may_go(&self) -> bool {
        !self.has_site && self.shared.handles.load(Acquire) == 0 && self.shared.retiring.load(Relaxed)
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
