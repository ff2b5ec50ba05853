//! What a worker's memory knows of one instance at one level.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use super::room::{self, Room};
use super::{Horizon, Sequences, SettledEntry, SettledRow, Slacks};
use crate::frame::{Flags, Frame, Gauge, Head, Key, Point, Row, Span, Spread, State};
use crate::trace::{Event, Mark};

/// Most gaps in the sequences of an entry that are remembered.
pub(super) const GAPS: usize = 1024;
/// Most sets that are collected in parts at the same time.
const OPEN_SETS: usize = 16;
/// Most points of an entry that wait to be settled; of more, the oldest are given up.
const POINTS: usize = 100_000;
/// Most marked rows of an entry that wait to be settled; of more, no notice is taken.
const MARKS: usize = 10_000;

/// The newest row of one metric.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) sequence: u64,
    /// Without extremes: those are of an interval, and collected in `span`.
    pub(super) state: Arc<State>,
    /// Extremes of rows with sequences beyond this one count.
    pub(super) floor: u64,
    /// The extremes of all intervals since, and the lowest sequence that they are from.
    pub(super) span: Option<(Span, u64)>,
    /// When a gauge was set, as estimated on the receiver's clock.
    pub(super) set_at: u64,
    /// When the newest row of a gauge was received.
    pub(super) received: u64,
    /// Of a retired metric: when it was born, as estimated on the receiver's clock.
    pub(super) retired: Option<u64>,
}

/// A complete set of which all parts have come: what first sight may start from.
#[derive(Debug, Default)]
pub(super) struct WholeSet {
    pub(super) sequence: u64,
    /// When its last part had been received by the worker or by the broker that held it, on the worker's clock.
    pub(super) sent: u64,
    pub(super) rows: HashMap<Key, SettledRow>,
    pub(super) points: u64,
    /// What its rows cost beside those that the entry has anyway.
    held: usize,
}

#[derive(Debug, Default)]
struct OpenSet {
    parts: BTreeSet<u32>,
    rows: HashMap<Key, SettledRow>,
    points: u64,
    held: usize,
    /// Whether rows of it were not taken; then nothing can start from it.
    beyond: bool,
}

/// What first sight makes of an instance that has not been settled before.
pub(super) enum Sight<'a> {
    /// It cannot be told yet.
    Wait,
    /// All its totals count.
    Zero,
    /// Its totals count from this set.
    From(&'a WholeSet),
}

/// What became of a frame.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    pub(super) skipped: u64,
    pub(super) late: bool,
    pub(super) conflicts: u64,
    pub(super) point_repeats: u64,
    pub(super) points_lost: u64,
    /// Rows that were not taken because the instance holds its share already.
    pub(super) beyond: u64,
}

#[derive(Debug)]
pub(super) struct Entry {
    /// Whose instance it is, as its first frame said.
    pub(super) source: Arc<str>,
    /// What it costs, in bytes, about.
    pub(super) held: usize,
    pub(super) rows: HashMap<Key, Slot>,
    /// When the totals were zero, on the receiver's clock: the minimum over all frames.
    pub(super) start: u64,
    /// The newest sequence.
    pub(super) sequence: u64,
    /// The sequence of the newest complete set of which all parts have come.
    pub(super) complete: u64,
    /// Sets of which all parts have come.
    pub(super) whole: Sequences,
    /// Points that are not settled, by number.
    pub(super) points: BTreeMap<u64, (Key, Point, Option<Arc<Event>>)>,
    /// Marked rows that are not settled.
    pub(super) marks: HashMap<Key, Vec<Arc<Mark>>>,
    waiting_marks: usize,
    /// Numbers of the marked rows that have come.
    traced: Sequences,
    /// Marked rows up to this set came in an earlier life of the worker.
    traced_before: Option<u64>,
    /// When a frame last came, on the forgetting clock.
    pub(super) heard: u64,
    /// Whether a last set was announced.
    pub(super) ended: bool,
    /// How many sets have been missed, since the instance was first heard, over restarts of the worker.
    pub(super) missed: u64,
    /// Sets up to this one are not missed, or were counted in an earlier life of the worker.
    missed_before: u64,
    open: BTreeMap<u64, OpenSet>,
    first: Option<Arc<WholeSet>>,
    newest: Option<Arc<WholeSet>>,
}

impl Entry {
    /// What is known of an instance that is first heard, of which `settled` had been settled.
    pub(super) fn new(source: Arc<str>, held: usize, settled: Option<&SettledEntry>) -> Self {
        Entry {
            source,
            held,
            rows: HashMap::new(),
            start: u64::MAX,
            sequence: 0,
            complete: 0,
            whole: Sequences::default(),
            points: BTreeMap::new(),
            marks: HashMap::new(),
            waiting_marks: 0,
            traced: Sequences::default(),
            traced_before: None,
            heard: 0,
            ended: false,
            missed: settled.map_or(0, |settled| settled.missed),
            missed_before: settled.map_or(0, |settled| settled.sequence),
            open: BTreeMap::new(),
            first: None,
            newest: None,
        }
    }

    /// Merges a frame that the worker, or the broker that held it, received at `received` on the worker's clock;
    /// `settled` is what has been settled of this entry.
    pub(super) fn merge(
        &mut self,
        head: &Head,
        rows: Vec<Row>,
        received: u64,
        settled: Option<&SettledEntry>,
        room: &mut Room,
    ) -> Outcome {
        let mut outcome = Outcome::default();
        // Only durations of either clock are used, never times of both.
        self.start = self.start.min(received.saturating_sub(head.age()));
        if head.sequence > self.sequence {
            let before = self.sequence.max(self.missed_before);
            if before == 0 {
                self.missed_before = head.sequence;
            } else {
                outcome.skipped = head.sequence.saturating_sub(before + 1);
            }
            self.missed = self.missed.saturating_add(outcome.skipped);
            self.sequence = head.sequence;
        } else {
            outcome.late = !self.whole.contains(head.sequence) && !self.open.contains_key(&head.sequence);
            if outcome.late && head.sequence > self.missed_before {
                self.missed = self.missed.saturating_sub(1);
            }
        }
        let mut part = (head.is_complete() && settled.is_none()).then(WholeSet::default);
        for row in rows {
            match row.state {
                State::Point(point) => {
                    if let Some(part) = &mut part {
                        part.points = part.points.max(point.number);
                    }
                    let known = settled.is_some_and(|s| s.points.contains(point.number));
                    if known || self.points.contains_key(&point.number) {
                        outcome.point_repeats += 1;
                    } else if room.take(&mut self.held, room::ITEM + room::of_key(&row.key)) {
                        self.points.insert(point.number, (row.key, point, row.event));
                    } else {
                        outcome.beyond += 1;
                        outcome.points_lost += 1;
                    }
                }
                // Descriptions are kept by name, in the ledger.
                State::Description(_) => {}
                state => {
                    let was = settled.and_then(|s| s.rows.get(&row.key)).map_or(0, |row| row.sequence);
                    let key = part.is_some().then(|| row.key.clone());
                    let state = self.merge_row(head, row.key, state, received, was, room, &mut outcome);
                    let Some(state) = state else { continue };
                    let (Some(part), Some(key)) = (&mut part, key) else { continue };
                    if !is_settled_by_row(&state) {
                        continue;
                    }
                    let costs = room::ITEM + room::of_state(&state);
                    if room.take(&mut self.held, costs) {
                        part.held += costs;
                        part.rows.insert(key, SettledRow { sequence: head.sequence, state, retired: None });
                    } else {
                        outcome.beyond += 1;
                    }
                }
            }
        }
        let lacks_rows = outcome.beyond > 0;
        while self.points.len() > POINTS {
            self.points.pop_first();
            outcome.points_lost += 1;
        }
        self.add_part(head, part, lacks_rows, received, room);
        outcome
    }

    /// Takes note of the marked rows of a frame, and tells which have not come before.
    pub(super) fn mark(
        &mut self,
        level: &Arc<str>,
        frame: &Frame,
        settled: Option<&SettledEntry>,
        room: &mut Room,
    ) -> (Vec<Arc<Mark>>, u64) {
        let (mut news, mut lost) = (Vec::new(), 0);
        let Head { instance, sequence, .. } = frame.head;
        let before = *self.traced_before.get_or_insert(settled.map_or(0, |settled| settled.sequence));
        if sequence <= before {
            return (news, lost);
        }
        for mark in frame.rows.iter().filter_map(|row| Mark::of(instance, level, sequence, row)) {
            if !self.traced.insert(mark.number) {
                continue;
            }
            let mark = Arc::new(mark);
            if self.waiting_marks < MARKS && room.take(&mut self.held, of_mark(&mark)) {
                self.waiting_marks += 1;
                self.marks.entry(mark.key.clone()).or_default().push(mark.clone());
            } else {
                lost += 1;
            }
            news.push(mark);
        }
        self.traced.fill_lowest(GAPS);
        (news, lost)
    }

    /// Gives up the marked rows that are settled: all but those of metrics that stay to be. Tells what they had cost.
    pub(super) fn settle_marks(&mut self, open: &HashMap<&Key, ()>) -> usize {
        let mut costs = 0;
        self.marks.retain(|key, marks| {
            let stay = open.contains_key(key);
            costs += if stay { 0 } else { marks.iter().map(|mark| of_mark(mark)).sum() };
            stay
        });
        self.waiting_marks = self.marks.values().map(Vec::len).sum();
        costs
    }

    /// Merges a row, and gives its state back, as one piece of memory with the slot's where they are equal; nothing
    /// where there is no room for it.
    #[expect(clippy::too_many_arguments, reason = "they are what is known of the row")]
    fn merge_row(
        &mut self,
        head: &Head,
        key: Key,
        state: State,
        received: u64,
        settled: u64,
        room: &mut Room,
        outcome: &mut Outcome,
    ) -> Option<Arc<State>> {
        let sequence = head.sequence;
        let (state, span) = without_extremes(state);
        let on_own_clock = |at: u64| received.saturating_sub(head.sent_at.saturating_sub(at));
        let set_at = if let State::Gauge(gauge) = &state { on_own_clock(gauge.set_at) } else { 0 };
        let retired = head.flags.has(Flags::RETIRED).then(|| on_own_clock(key.born));
        let Some(slot) = self.rows.get_mut(&key) else {
            if !room.take(&mut self.held, room::of_row(&key, &state)) {
                outcome.beyond += 1;
                return None;
            }
            // A metric that was not in the newest complete set had no values before it.
            let floor = if sequence > self.complete { settled.max(self.complete) } else { settled };
            let state = Arc::new(state);
            let mut slot =
                Slot { sequence, state: state.clone(), floor, span: None, set_at, received, retired };
            slot.add_span(span, sequence);
            self.rows.insert(key, slot);
            return Some(state);
        };
        let equal = *slot.state == state;
        let more = room::of_state(&state).saturating_sub(room::of_state(&slot.state));
        if !equal && !room.take(&mut self.held, more) {
            outcome.beyond += 1;
            return None;
        }
        if sequence != slot.sequence {
            slot.add_span(span, sequence);
        } else if !equal {
            outcome.conflicts += 1;
        }
        let state = if equal { slot.state.clone() } else { Arc::new(state) };
        if sequence > slot.sequence {
            slot.sequence = sequence;
            slot.state = state.clone();
            (slot.set_at, slot.received) = (set_at, received);
            slot.retired = retired.or(slot.retired);
        }
        Some(state)
    }

    /// Notes that a part has come; `rows` is what a baseline would have of it, where one may be needed, and
    /// `lacks_rows` says that it has more.
    fn add_part(
        &mut self,
        head: &Head,
        rows: Option<WholeSet>,
        lacks_rows: bool,
        received: u64,
        room: &mut Room,
    ) {
        let sequence = head.sequence;
        if head.parts > 1 && (rows.is_some() || !self.whole.contains(sequence)) {
            let set = self.open.entry(sequence).or_default();
            set.parts.insert(head.part);
            set.beyond |= lacks_rows;
            if let Some(rows) = rows {
                set.rows.extend(rows.rows);
                set.points = set.points.max(rows.points);
                set.held += rows.held;
            }
            if set.parts.len() as u64 == u64::from(head.parts)
                && let Some(OpenSet { rows, points, held, beyond, .. }) = self.open.remove(&sequence)
            {
                let set = WholeSet { rows, points, held, ..WholeSet::default() };
                self.add_whole(head, head.is_complete().then_some(set), beyond, received, room);
            }
            while self.open.len() > OPEN_SETS {
                let dropped = self.open.pop_first().map_or(0, |(_, set)| set.held);
                room.give(&mut self.held, dropped);
            }
        } else if head.parts == 1 {
            self.add_whole(head, rows, lacks_rows, received, room);
        }
    }

    fn add_whole(
        &mut self,
        head: &Head,
        rows: Option<WholeSet>,
        lacks_rows: bool,
        received: u64,
        room: &mut Room,
    ) {
        let sequence = head.sequence;
        self.whole.insert(sequence);
        self.whole.drop_lowest(GAPS);
        if head.is_complete() {
            self.complete = self.complete.max(sequence);
            let mut dropped = 0;
            self.open.retain(|&other, set| {
                dropped += if other > sequence { 0 } else { set.held };
                other > sequence
            });
            room.give(&mut self.held, dropped);
        }
        let Some(rows) = rows else { return };
        let (newest, sent) = self.newest.as_ref().map_or((0, 0), |set| (set.sequence, set.sent));
        // A metric that such a set does not have would later seem to be a new one, whose whole total counts.
        if sequence < newest || lacks_rows {
            room.give(&mut self.held, rows.held);
            return;
        }
        let sent = if sequence == newest { sent.max(received) } else { received };
        let set = Arc::new(WholeSet { sequence, sent, ..rows });
        let first = self.first.get_or_insert_with(|| set.clone());
        if let Some(old) = self.newest.replace(set)
            && !Arc::ptr_eq(&old, first)
        {
            room.give(&mut self.held, old.held);
        }
    }

    /// What first sight makes of this entry, which has not been settled before.
    pub(super) fn sight(&self, since: Option<u64>, horizon: Option<Horizon>, slacks: &Slacks) -> Sight<'_> {
        let Some(since) = since else { return Sight::Wait };
        let mut past = self.start < since.saturating_sub(slacks.clock);
        let mut base = self.first.as_deref();
        if let Some(horizon) = horizon {
            let slack = slacks.clock.saturating_add(slacks.way);
            if self.start <= horizon.upto.saturating_add(slack) {
                // What was sent before the forgetting may have been counted then.
                past = true;
                base = self.newest.as_deref().filter(|set| set.sent > horizon.when.saturating_add(slack));
            }
        }
        match (past, base) {
            (false, _) => Sight::Zero,
            (true, Some(set)) => Sight::From(set),
            (true, None) => Sight::Wait,
        }
    }

    /// Whether a row is from before a baseline although the baseline does not have it: its metric was retired
    /// before, and was not born since the worker listens.
    pub(super) fn is_before(slot: &Slot, base: &WholeSet, since: Option<u64>, slacks: &Slacks) -> bool {
        let old = |born: u64| since.is_none_or(|since| born < since.saturating_sub(slacks.clock));
        slot.sequence <= base.sequence && slot.retired.is_none_or(old)
    }

    /// Gives up what is kept only for first sight; what that had cost.
    pub(super) fn forget_baselines(&mut self) -> usize {
        let (first, newest) = (self.first.take(), self.newest.take());
        let others = newest.filter(|newest| first.as_ref().is_none_or(|first| !Arc::ptr_eq(first, newest)));
        let mut costs = first.iter().chain(&others).map(|set| set.held).sum();
        for set in self.open.values_mut() {
            set.rows = HashMap::new();
            costs += std::mem::take(&mut set.held);
        }
        costs
    }

    /// The extremes of the values between what has been settled and a slot, if every frame in between has come.
    pub(super) fn span(&self, slot: &Slot, settled: u64) -> Option<Span> {
        let floor = slot.floor.max(settled);
        let (span, from) = slot.span?;
        (from > floor && self.whole.covers(floor + 1, slot.sequence)).then_some(span)
    }
}

impl Slot {
    fn add_span(&mut self, span: Option<Span>, sequence: u64) {
        let Some(new) = span.filter(|_| sequence > self.floor) else { return };
        self.span = Some(match self.span {
            None => (new, sequence),
            Some((old, from)) => {
                (Span { min: old.min.min(new.min), max: old.max.max(new.max) }, from.min(sequence))
            }
        });
    }
}

fn of_mark(mark: &Mark) -> usize {
    room::ITEM + room::of_key(&mark.key)
}

/// Whether a settled row must be kept for a metric with this state.
pub(super) fn is_settled_by_row(state: &State) -> bool {
    !matches!(state, State::Gauge(Gauge { statistics: None, .. }))
}

/// Takes the extremes out of a state: they belong to an interval, everything else belongs to all time.
fn without_extremes(state: State) -> (State, Option<Span>) {
    match state {
        State::Spread(Spread { sum, span, histogram }) => {
            (State::Spread(Spread { sum, span: None, histogram }), span)
        }
        State::Gauge(Gauge { value, set_at, statistics: Some((count, sum, span)) }) => {
            (State::Gauge(Gauge { value, set_at, statistics: Some((count, sum, None)) }), span)
        }
        other => (other, None),
    }
}
