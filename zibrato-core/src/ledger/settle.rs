//! Settling: what happened since the last time, and what is settled from now on.

use std::collections::HashMap;
use std::sync::Arc;

use super::difference::{self, Change, Difference};
use super::entry::{Entry, Sight, WholeSet, is_settled_by_row};
use super::{Ledger, Origin, Sequences, SettledEntry, SettledRow, room};
use crate::frame::{Key, Kind, State};
use crate::trace::{Mark, Trace};

/// What happened to one metric of one instance since it was last settled.
#[derive(Debug, Clone, PartialEq)]
pub struct Delta {
    /// Whose metric.
    pub origin: Origin,
    /// Which metric.
    pub key: Key,
    /// What happened.
    pub change: Change,
    /// What of tracing belongs to it.
    pub trace: Trace,
}

/// What is settled from now on of one instance at one level.
#[derive(Debug, Clone, PartialEq)]
pub struct EntryChange {
    /// Whose totals.
    pub origin: Origin,
    /// Whether nothing had been settled of it before.
    pub first: bool,
    /// When its totals were zero, as estimated on the worker's clock.
    pub start: u64,
    /// When it was last heard, on the forgetting clock.
    pub heard: u64,
    /// The newest set that is settled.
    pub sequence: u64,
    /// How many of its sets have never come, since it was first heard.
    pub missed: u64,
    /// The metrics of which something else is settled than before; where one is listed twice, the later counts.
    pub rows: Vec<(Key, SettledRow)>,
    /// The points that are settled, where they are others than before.
    pub points: Option<Sequences>,
    /// Metrics that stay to be settled.
    open: Vec<Key>,
    /// Whether this is only the baseline of first sight.
    baseline: bool,
}

/// A step of settling: what is to be sent, and what is settled by sending it.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Settlement {
    /// What happened, by origin and key.
    pub deltas: Vec<Delta>,
    /// What is settled from now on, by origin.
    pub entries: Vec<EntryChange>,
    /// Marked rows in which nothing was that had not been settled before.
    pub unchanged: Vec<Arc<Mark>>,
}

/// A settlement that the ledger has not made its own yet: first it goes to the disk, then it is
/// [committed](Settling::commit). Dropped, it has never been.
#[must_use = "a settlement that is not committed has never been"]
#[derive(Debug)]
pub struct Settling<'a> {
    ledger: &'a mut Ledger,
    settlement: Settlement,
}

impl Settling<'_> {
    /// The settlement.
    pub fn settlement(&self) -> &Settlement {
        &self.settlement
    }

    /// The ledger as it is before.
    pub fn ledger(&self) -> &Ledger {
        self.ledger
    }

    /// The metrics, but gauges and retired ones, of the instances that were heard since they were last settled.
    pub fn alive(&self) -> impl Iterator<Item = (&Origin, &Key)> {
        let entries = self.settlement.entries.iter();
        let entries =
            entries.filter_map(|change| Some((&change.origin, self.ledger.entries.get(&change.origin)?)));
        entries.flat_map(|(origin, entry)| {
            let rows =
                entry.rows.iter().filter(|(key, slot)| key.kind != Kind::Gauge && slot.retired.is_none());
            rows.map(move |(key, _)| (origin, key))
        })
    }

    /// Makes it so.
    pub fn commit(self) -> Settlement {
        let Settling { ledger, settlement } = self;
        for change in &settlement.entries {
            ledger.commit(change);
        }
        settlement
    }
}

impl Ledger {
    /// What has happened since the last settlement. Gauges are told of instances that were heard in the meantime,
    /// with values that were received after `fresh` (nanoseconds on the receiver's clock).
    pub fn settle(&mut self, fresh: u64) -> Settling<'_> {
        let mut settlement = Settlement::default();
        let mut backwards = 0;
        for origin in &self.dirty {
            let Some(entry) = self.entries.get(origin) else { continue };
            let old = self.settled.entries.get(origin);
            let since = self.settled.since.get(&origin.level);
            let base = match old {
                Some(_) => None,
                None => match entry.sight(since, self.settled.horizon, &self.slacks) {
                    // It stays: the next complete set settles it.
                    Sight::Wait => continue,
                    Sight::Zero => None,
                    Sight::From(base) => Some(base),
                },
            };
            let mut change = self.entry_change(origin, entry, old, base);
            let first_delta = settlement.deltas.len();
            let points = old.map(|old| &old.points).or(change.points.as_ref()).cloned().unwrap_or_default();
            let mut settled_points = points.clone();
            for (&number, (key, point, event)) in &entry.points {
                if settled_points.insert(number) {
                    let change = Change::Point { time: point.time, value: point.value };
                    let trace = event.clone().map_or(Trace::None, Trace::Event);
                    settlement.deltas.push(Delta { origin: origin.clone(), key: key.clone(), change, trace });
                }
            }
            settled_points.fill_lowest(super::entry::GAPS);
            if settled_points != points || base.is_some() {
                change.points = Some(settled_points);
            }
            let heard = entry.sequence > old.map_or(0, |old| old.sequence);
            for (key, slot) in &entry.rows {
                let was = old
                    .and_then(|old| old.rows.get(key))
                    .or_else(|| base.and_then(|base| base.rows.get(key)));
                if was.is_none() && base.is_some_and(|base| Entry::is_before(slot, base, since, &self.slacks))
                {
                    continue;
                }
                let was_state = was.map(|was| &*was.state);
                let was_sequence = was.map_or(0, |was| was.sequence);
                let mut delta = None;
                let mut state = None;
                match &*slot.state {
                    State::Gauge(gauge) => {
                        let current = slot.sequence >= entry.complete && slot.received > fresh;
                        if heard && current {
                            let span = slot.span.map(|span| span.0);
                            delta = Some(difference::gauge(gauge, slot.set_at, was_state, span));
                            state = is_settled_by_row(&slot.state).then(|| slot.state.clone());
                        }
                    }
                    _ if slot.sequence <= was_sequence => {}
                    _ => {
                        let span = entry.span(slot, was_sequence);
                        match difference::difference(key, &slot.state, was_state, span) {
                            // A total that may fall can come back to where it was: then the sequence tells.
                            Difference::Same if key.kind == Kind::Updown => state = Some(slot.state.clone()),
                            Difference::Same => {}
                            Difference::Half(new, settled) if entry.ended || slot.retired.is_some() => {
                                (delta, state) = (Some(new), Some(settled));
                            }
                            Difference::Half(..) => change.open.push(key.clone()),
                            Difference::Backwards => {
                                backwards += 1;
                                change.open.push(key.clone());
                            }
                            Difference::New(new, settled) => (delta, state) = (Some(new), Some(settled)),
                        }
                    }
                }
                if let Some(change) = delta {
                    let trace = entry.marks.get(key).cloned().map_or(Trace::None, Trace::Marks);
                    settlement.deltas.push(Delta { origin: origin.clone(), key: key.clone(), change, trace });
                }
                let retired = was.and_then(|was| was.retired);
                let retires = slot.retired.is_some() && retired.is_none();
                if let Some(state) = state.or_else(|| was.filter(|_| retires).map(|was| was.state.clone())) {
                    let sequence = slot.sequence.max(was_sequence);
                    let retired = if retires { Some(self.settled.ran) } else { retired };
                    change.rows.push((key.clone(), SettledRow { sequence, state, retired }));
                }
            }
            let deltas = &mut settlement.deltas[first_delta..];
            deltas.sort_by(|a, b| a.key.cmp(&b.key));
            for (key, marks) in &entry.marks {
                let is_told = deltas.binary_search_by(|delta| delta.key.cmp(key)).is_ok();
                if !is_told && !change.open.contains(key) {
                    settlement.unchanged.extend(marks.iter().cloned());
                }
            }
            settlement.entries.push(change);
        }
        self.counts.backwards += backwards;
        Settling { ledger: self, settlement }
    }

    /// Takes instances that are older than the subscription as settled, as soon as one complete set of them has
    /// come; to be committed at once, so that a crash cannot move the point from which they count.
    pub fn first_sights(&mut self) -> Settling<'_> {
        let mut settlement = Settlement::default();
        for origin in self.dirty.iter().filter(|origin| !self.settled.entries.contains_key(origin)) {
            let Some(entry) = self.entries.get(origin) else { continue };
            let since = self.settled.since.get(&origin.level);
            if let Sight::From(base) = entry.sight(since, self.settled.horizon, &self.slacks) {
                let mut change = self.entry_change(origin, entry, None, Some(base));
                (change.baseline, change.sequence) = (true, 0);
                settlement.entries.push(change);
            }
        }
        Settling { ledger: self, settlement }
    }

    /// The change that settles nothing more than a baseline does, if there is one.
    fn entry_change(
        &self,
        origin: &Origin,
        entry: &Entry,
        old: Option<&SettledEntry>,
        base: Option<&WholeSet>,
    ) -> EntryChange {
        let mut rows = Vec::new();
        let mut points = None;
        if let Some(base) = base {
            let since = self.settled.since.get(&origin.level);
            rows.extend(base.rows.iter().map(|(key, row)| (key.clone(), row.clone())));
            let before = entry.rows.iter().filter(|(key, slot)| {
                !base.rows.contains_key(key)
                    && is_settled_by_row(&slot.state)
                    && Entry::is_before(slot, base, since, &self.slacks)
            });
            rows.extend(before.map(|(key, slot)| {
                let retired = slot.retired.map(|_| self.settled.ran);
                (key.clone(), SettledRow { sequence: slot.sequence, state: slot.state.clone(), retired })
            }));
            points = Some(Sequences::from_ranges([(1, base.points)]));
        }
        EntryChange {
            origin: origin.clone(),
            first: old.is_none(),
            start: old.map_or(entry.start, |old| old.start.min(entry.start)),
            heard: self.settled.ran,
            sequence: entry.sequence.max(old.map_or(0, |old| old.sequence)),
            missed: entry.missed,
            rows,
            points,
            open: Vec::new(),
            baseline: false,
        }
    }

    fn commit(&mut self, change: &EntryChange) {
        let settled = self.settled.entries.entry(change.origin.clone()).or_default();
        (settled.start, settled.heard, settled.sequence) = (change.start, change.heard, change.sequence);
        settled.missed = change.missed;
        settled.rows.extend(change.rows.iter().cloned());
        if let Some(points) = &change.points {
            settled.points = points.clone();
        }
        let Some(entry) = self.entries.get_mut(&change.origin) else { return };
        let mut less = entry.forget_baselines();
        entry.points.retain(|number, (key, ..)| {
            let stays = !settled.points.contains(*number);
            less += if stays { 0 } else { room::ITEM + room::of_key(key) };
            stays
        });
        if change.baseline {
            self.room.give(&mut entry.held, less);
            return;
        }
        let open: HashMap<&Key, ()> = change.open.iter().map(|key| (key, ())).collect();
        less += entry.settle_marks(&open);
        entry.rows.retain(|key, slot| {
            if !open.contains_key(key) {
                (slot.floor, slot.span) = (slot.sequence, None);
            }
            // Of a retired metric nothing more will come.
            let stays = slot.retired.is_none() || open.contains_key(key);
            if !stays && !settled.rows.contains_key(key) {
                less += room::of_row(key, &slot.state);
            }
            stays
        });
        self.room.give(&mut entry.held, less);
        self.dirty.remove(&change.origin);
    }
}
