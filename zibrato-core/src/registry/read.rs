use std::sync::Arc;

use super::metric::{Id, Metric, Sum, nothing};
use super::{Inner, site};
use crate::cell::{Order, current, with_registry};
use crate::clock::{self, Rate};
use crate::frame::{Kind, State, Tags};

/// The state of one metric, as it was when the registry was read.
#[derive(Debug, Clone, PartialEq)]
pub struct Reading {
    /// Which metric.
    pub id: Arc<Id>,
    /// When its total was zero, in nanoseconds since 1970 UTC.
    pub born: u64,
    /// Its state since then.
    pub state: State,
    /// Whether it is marked for tracing.
    pub traced: bool,
}

/// Reads every metric that is switched on. The extremes of timers, distributions and gauges begin a new interval,
/// so only one reader, the publisher, should call this; others call [`read_own_thread`].
///
/// Empty where it is called from inside the registry, by an instrumented allocator.
pub fn read() -> Vec<Reading> {
    with_registry(|inner, _| inner.read(false)).unwrap_or_default()
}

/// Reads every metric that is switched on for the last time in this instance: what is measured from here on
/// belongs to a new one, which starts at zero.
pub fn end() -> Vec<Reading> {
    with_registry(|inner, _| inner.read(true)).unwrap_or_default()
}

/// Reads what the calling thread alone has measured since it began. Gauges, which all threads share, are as they
/// are for everyone.
pub fn read_own_thread() -> Vec<Reading> {
    with_registry(|inner, _| current().map(|thread| inner.read_thread(thread))).flatten().unwrap_or_default()
}

/// Takes the last states of metrics that were retired since the last call.
pub fn take_retired() -> Vec<Reading> {
    with_registry(|inner, _| std::mem::take(&mut inner.retired)).unwrap_or_default()
}

impl Inner {
    fn read(&mut self, end: bool) -> Vec<Reading> {
        for site in site::waiting() {
            self.settle_site(site);
        }
        let now = clock::unix_nanos();
        // Asked before the cells are read: what the last handle counted before it went is then in the sums.
        let idle = self.idle;
        let goes = |slot: &mut Option<Metric>| {
            slot.as_mut().is_some_and(|metric| metric.may_go(now, idle))
                && slot.take().map(Metric::out_of_reach).is_some_and(|(metric, out)| {
                    *slot = Some(metric);
                    out
                })
        };
        let going: Vec<bool> = self.metrics.iter_mut().map(goes).collect();
        let was_long_way = clock::is_long_way();
        let rate = clock::observe(&mut self.calibration);
        if was_long_way != clock::is_long_way() {
            self.tell_sites();
        }
        let mut sums = self.sums(None, rate, true);
        let mut readings = Vec::with_capacity(sums.len() + self.descriptions.len());
        let mut gone = Vec::new();
        for ((metric, sum), going) in self.metrics.iter_mut().zip(&mut sums).zip(going) {
            let Some(metric) = metric else { continue };
            let (id, born, traced) = (metric.id.clone(), metric.born(), metric.is_traced());
            if let Some(state) = metric.state(std::mem::take(sum), rate, now, end) {
                let reading = Reading { id, born, state, traced };
                if going {
                    gone.push((metric.shared.number, reading));
                } else if !metric.shared.is_off() {
                    readings.push(reading);
                }
            } else if going {
                let state = nothing(metric.id.kind);
                gone.push((metric.shared.number, Reading { id, born, state, traced }));
            }
        }
        for (number, reading) in gone {
            self.remove(number);
            // A gauge that was not set has no value to send.
            if !matches!(&reading.state, State::Gauge(gauge) if gauge.set_at == 0) {
                self.retired.push(reading);
            }
        }
        self.describe(&mut readings);
        readings
    }

    /// Forgets the threads that stayed behind when this process was forked off, and begins a new instance.
    pub(crate) fn after_fork(&mut self) {
        for thread in (0..self.threads.len()).filter(|thread| Some(*thread) != current()) {
            self.roster.forget(thread);
            self.threads[thread] = None;
        }
        self.read(true);
        self.retired.clear();
    }

    fn read_thread(&mut self, thread: usize) -> Vec<Reading> {
        // At a rate that never changes, so that of two readings the second is never the smaller.
        let rate = clock::nominal();
        let mut sums = self.sums(Some(thread), rate, false);
        let own = |(metric, sum): (&Option<Metric>, &mut Sum)| {
            let metric = metric.as_ref()?;
            let state = match metric.id.kind {
                Kind::Counter | Kind::Updown => State::Total(sum.total),
                Kind::Timer | Kind::Distribution => {
                    let mut spread = sum.spread.take().unwrap_or_default();
                    spread.add_nanos(rate.nanos(spread.ticks));
                    State::Spread(spread.spread())
                }
                _ => {
                    let value = metric.shared.gauge.as_ref()?.value()?;
                    State::Gauge(crate::frame::Gauge { value, set_at: 0, statistics: None })
                }
            };
            Some(Reading { id: metric.id.clone(), born: metric.born(), state, traced: metric.is_traced() })
        };
        self.metrics.iter().zip(&mut sums).filter_map(own).collect()
    }

    fn sums(&self, only: Option<usize>, rate: Rate, restart: bool) -> Vec<Sum> {
        let mut sums: Vec<Sum> = Vec::new();
        sums.resize_with(self.metrics.len(), Sum::default);
        let mut add_whole = |number: u32, n: u64| {
            if let Some(sum) = sums.get_mut(number as usize) {
                sum.total.whole = sum.total.whole.saturating_add(i64::try_from(n).unwrap_or(i64::MAX));
            }
        };
        match only {
            Some(thread) => self.roster.read_thread(thread, &mut add_whole),
            None => {
                self.roster.read(&mut add_whole);
                self.sites.iter().for_each(|(site, shared)| add_whole(shared.number, site.orphan()));
            }
        }
        let threads = self.threads.iter().enumerate();
        let threads = threads.filter(|(at, _)| only.is_none_or(|thread| thread == *at));
        for cells in threads.filter_map(|(_, cells)| cells.as_ref()) {
            // Nothing but the cells is looked at, which is what there may be many of.
            for (number, cell) in cells.numbers() {
                if let Some(sum) = sums.get_mut(number as usize) {
                    sum.total = sum.total.plus(cell.total());
                }
            }
            for (number, cell) in cells.spreads() {
                if let (Some(sum), Some(metric)) = (sums.get_mut(number as usize), self.metric(number)) {
                    let order = Order(metric.shared.kind);
                    cell.read(sum.spread.get_or_insert_default(), order, rate, restart);
                }
            }
        }
        sums
    }

    /// Adds what metrics mean, once for every level at which one of that name was read.
    fn describe(&self, readings: &mut Vec<Reading>) {
        let mut described = std::collections::BTreeSet::new();
        let mut more = Vec::new();
        for id in readings.iter().map(|r| &r.id) {
            if let Some((description, born)) = self.descriptions.get(&id.name)
                && described.insert((&id.level, &id.name))
            {
                let (level, name) = (id.level.clone(), id.name.clone());
                let id = Id { level, kind: Kind::Description, name, source: None, tags: Tags::none() };
                more.push(Reading {
                    id: Arc::new(id),
                    born: *born,
                    state: State::Description(description.clone()),
                    traced: false,
                });
            }
        }
        readings.append(&mut more);
    }
}
