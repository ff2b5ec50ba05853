//! Merging: from frames, in whatever order and however often they come, to what happened in a period.
//!
//! A [`Ledger`] holds the newest row of every metric, and what has been settled of it. [`Ledger::settle`] tells
//! the difference and moves the settled side forward, which a worker writes to its disk together with what it is
//! about to send. Nothing here reads a clock or touches a socket or disk: time comes in with the [`Arrival`].

mod difference;
mod entry;
mod room;
mod sequences;
mod settle;
mod settled;
mod shares;
mod since;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use crate::frame::{Description, Flags, Frame, State};
use crate::level::TRACE;
use crate::trace::Mark;
use entry::Entry;
use room::Room;

pub use difference::Change;
pub use room::Limits;
pub use sequences::Sequences;
pub use settle::{Delta, EntryChange, Settlement, Settling};
pub use settled::{Horizon, Origin, Settled, SettledEntry, SettledRow};
pub use shares::Shares;
pub use since::Since;

/// Most descriptions that are kept.
const DESCRIPTIONS: usize = 100_000;
/// Most levels of which anything is merged.
const LEVELS: usize = 1000;

/// By how much times may be wrong, in nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slacks {
    /// How far the worker's own clock may be stepped; only instances older than the subscription by more than
    /// this are taken as settled at first sight.
    pub clock: u64,
    /// The longest way of a frame.
    pub way: u64,
}

impl Default for Slacks {
    fn default() -> Self {
        Slacks { clock: 20_000_000_000, way: 20_000_000_000 }
    }
}

/// How long totals are kept of an instance that is no longer heard, in nanoseconds: 7 days.
pub const HORIZON: u64 = 7 * 24 * 3600 * 1_000_000_000;

/// When and how a frame came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arrival {
    /// When, in nanoseconds on the receiver's clock.
    pub now: u64,
    /// How long a broker had held it, in nanoseconds; 0 for a frame that was passed on at once.
    pub held: u64,
}

/// What became of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Merged {
    /// It was merged, as far as there was room for its rows.
    Taken {
        /// How many of its rows were not taken because the instance holds its share already.
        beyond: u64,
    },
    /// It was refused because it had been held for too long.
    TooOld,
    /// It was refused because there is no room for one more instance.
    NoRoom,
}

/// What has been counted since the ledger was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Counts {
    /// Frames merged.
    pub frames: u64,
    /// Frames refused because they had been held for too long.
    pub too_old: u64,
    /// Sequences that were passed over when a newer one came.
    pub gaps: u64,
    /// Frames that came after a newer one, and were not repeats.
    pub late: u64,
    /// Rows that had the key and sequence of another one, and other contents.
    pub conflicts: u64,
    /// Points that came again.
    pub point_repeats: u64,
    /// Points given up because too many waited.
    pub points_lost: u64,
    /// Marked rows of which no more was told, because too many waited.
    pub marks_lost: u64,
    /// Totals that never fall, but fell; they are passed over until they are back.
    pub backwards: u64,
    /// Rows that were not taken because their instance holds its share of the [room](Limits) already. Totals are
    /// right again once one is taken.
    pub rows_beyond: u64,
    /// Frames of instances for which there is no room.
    pub frames_beyond: u64,
}

/// What has been counted of one level since the ledger was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct LevelCounts {
    /// Frames merged.
    pub frames: u64,
    /// Sequences that were passed over when a newer one came.
    pub gaps: u64,
}

/// The totals of all instances, as far as they have been heard, and as far as they have been settled.
#[derive(Debug)]
pub struct Ledger {
    entries: HashMap<Origin, Entry>,
    dirty: BTreeSet<Origin>,
    settled: Settled,
    descriptions: HashMap<Arc<str>, Description>,
    levels: BTreeMap<Arc<str>, LevelCounts>,
    slacks: Slacks,
    horizon: u64,
    oldest: u64,
    counts: Counts,
    room: Room,
    tracing: bool,
    received: Vec<Arc<Mark>>,
}

impl Ledger {
    /// A ledger that continues from what has been settled; `horizon` as [`HORIZON`].
    pub fn new(settled: Settled, slacks: Slacks, horizon: u64) -> Self {
        Ledger {
            entries: HashMap::new(),
            dirty: BTreeSet::new(),
            settled,
            descriptions: HashMap::new(),
            levels: BTreeMap::new(),
            slacks,
            horizon,
            oldest: HORIZON,
            counts: Counts::default(),
            room: Room::new(Limits::default()),
            tracing: false,
            received: Vec::new(),
        }
    }

    /// The same, but refusing frames that a broker has held for longer than `oldest` nanoseconds; [`HORIZON`] by
    /// default, which is as long as brokers hold them.
    pub fn with_oldest(self, oldest: u64) -> Self {
        Ledger { oldest, ..self }
    }

    /// The same, with other [limits](Limits) than the default ones; to be told before anything is merged.
    pub fn with_limits(self, limits: Limits) -> Self {
        Ledger { room: Room::new(limits), ..self }
    }

    /// About how many bytes are held in memory.
    pub fn bytes(&self) -> usize {
        self.room.used()
    }

    /// Whether most of the room is used.
    pub fn is_short_of_room(&self) -> bool {
        self.room.is_short()
    }

    /// Whether to take notice of rows that are marked for tracing; not unless set. Then
    /// [`take_received`](Ledger::take_received) must be called after each frame.
    pub fn set_tracing(&mut self, on: bool) {
        self.tracing = on;
    }

    /// The marked rows that have come since the last call, repeats aside.
    pub fn take_received(&mut self) -> Vec<Arc<Mark>> {
        std::mem::take(&mut self.received)
    }

    /// What has been settled.
    pub fn settled(&self) -> &Settled {
        &self.settled
    }

    /// Since when each level has been listened to; to be told before frames of a level are merged.
    pub fn since_mut(&mut self) -> &mut Since {
        &mut self.settled.since
    }

    /// What has been counted.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// What has been counted, by level.
    pub fn level_counts(&self) -> impl Iterator<Item = (&str, LevelCounts)> {
        self.levels.iter().map(|(level, counts)| (&**level, *counts))
    }

    /// How many instances, each level of one for itself, are in memory.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether no instance is in memory.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// What the metrics of a name mean.
    pub fn description(&self, name: &str) -> Option<&Description> {
        self.descriptions.get(name)
    }

    /// The shared form of whose totals these are.
    pub fn origin(&mut self, instance: crate::frame::InstanceId, level: &str) -> Origin {
        let level = match self.levels.get_key_value(level) {
            Some((level, _)) => level.clone(),
            None => {
                let level: Arc<str> = level.into();
                if self.levels.len() < LEVELS {
                    self.levels.insert(level.clone(), LevelCounts::default());
                }
                level
            }
        };
        Origin { instance, level }
    }

    /// Whether anything is in memory of an instance: what was heard or what was settled.
    pub fn knows(&self, origin: &Origin) -> bool {
        self.entries.contains_key(origin) || self.settled.entries.contains_key(origin)
    }

    /// Whether there is room for an instance of a source that is not in memory.
    pub fn has_room_for(&self, source: &str) -> bool {
        self.room.has_place(source)
    }

    /// Puts what had been settled of an instance back into memory, before its next frame is merged.
    pub fn recall(&mut self, origin: Origin, entry: SettledEntry) {
        self.settled.entries.insert(origin, entry);
    }

    /// Merges a frame that came under `level`.
    pub fn merge(&mut self, level: &str, frame: Frame, arrival: Arrival) -> Merged {
        if arrival.held > self.oldest {
            self.counts.too_old += 1;
            return Merged::TooOld;
        }
        let origin = self.origin(frame.head.instance, level);
        let is_known = self.entries.contains_key(&origin);
        if !is_known && (!self.has_room_for(&frame.head.source) || !self.levels.contains_key(level)) {
            self.counts.frames_beyond += 1;
            return Merged::NoRoom;
        }
        for row in &frame.rows {
            if let State::Description(description) = &row.state
                && self.descriptions.get(&row.key.name) != Some(description)
                && (self.descriptions.len() < DESCRIPTIONS || self.descriptions.contains_key(&row.key.name))
            {
                self.descriptions.insert(row.key.name.clone(), description.clone());
            }
        }
        let settled = self.settled.entries.get_mut(&origin);
        let ran = self.settled.ran;
        let settled = settled.map(|settled| {
            settled.heard = ran;
            &*settled
        });
        let room = &mut self.room;
        let entry = self.entries.entry(origin.clone()).or_insert_with(|| {
            let source: Arc<str> = frame.head.source.as_str().into();
            let mut held = room.enter(&source);
            // What was recalled is there, whether there is room for it or not.
            room.add(&mut held, settled.map_or(0, room::of_settled));
            Entry::new(source, held, settled)
        });
        entry.heard = ran;
        if self.tracing && frame.head.flags.has(Flags::TRACED) && &*origin.level != TRACE {
            let (received, lost) = entry.mark(&origin.level, &frame, settled, room);
            self.received.extend(received);
            self.counts.marks_lost += lost;
        }
        let Frame { head, rows } = frame;
        entry.ended |= head.flags.has(Flags::LAST);
        let received = arrival.now.saturating_sub(arrival.held);
        let outcome = entry.merge(&head, rows, received, settled, room);
        if let Some(counts) = self.levels.get_mut(&origin.level) {
            counts.frames += 1;
            counts.gaps = counts.gaps.saturating_add(outcome.skipped);
        }
        self.dirty.insert(origin);
        self.counts.frames += 1;
        self.counts.gaps = self.counts.gaps.saturating_add(outcome.skipped);
        self.counts.late += u64::from(outcome.late);
        self.counts.conflicts += outcome.conflicts;
        self.counts.point_repeats += outcome.point_repeats;
        self.counts.points_lost += outcome.points_lost;
        self.counts.rows_beyond += outcome.beyond;
        Merged::Taken { beyond: outcome.beyond }
    }

    /// Moves the forgetting clock on; to be called only for time in which every broker answered.
    pub fn run(&mut self, elapsed: u64) {
        self.settled.ran = self.settled.ran.saturating_add(elapsed);
    }

    /// Whether an instance that was heard at `heard` on the forgetting clock is to be forgotten.
    fn is_past_horizon(&self, heard: u64) -> bool {
        self.settled.ran.saturating_sub(heard) > self.horizon
    }

    /// Which of `candidates` (instances with when they started, and were heard on the forgetting clock, as last
    /// written to the disk) are to be forgotten at `now`, and the tombstone that then stands for them.
    pub fn forgettable(
        &self,
        candidates: impl IntoIterator<Item = (Origin, u64, u64)>,
        now: u64,
    ) -> (Vec<Origin>, Option<Horizon>) {
        let mut horizon = self.settled.horizon;
        let mut gone = Vec::new();
        for (origin, start, heard) in candidates {
            let newer = self.settled.entries.get(&origin);
            let (start, heard) = newer.map_or((start, heard), |entry| (entry.start, entry.heard.max(heard)));
            if self.is_past_horizon(heard) && !self.dirty.contains(&origin) {
                let upto = horizon.map_or(start, |horizon| horizon.upto.max(start));
                horizon = Some(Horizon { upto, when: now });
                gone.push(origin);
            }
        }
        (gone, horizon)
    }

    /// The instances in memory that have been settled, as [`forgettable`](Ledger::forgettable) takes them.
    pub fn in_memory(&self) -> impl Iterator<Item = (Origin, u64, u64)> {
        self.settled.entries.iter().map(|(origin, entry)| (origin.clone(), entry.start, entry.heard))
    }

    /// Forgets instances, once their tombstone is on the disk.
    pub fn forget(&mut self, gone: &[Origin], horizon: Option<Horizon>) {
        for origin in gone {
            self.settled.entries.remove(origin);
            if let Some(entry) = self.entries.remove(origin) {
                self.room.leave(&entry.source, entry.held);
            }
        }
        self.settled.horizon = horizon;
        // What could never be settled leaves nothing behind: whenever it is heard again, it is as old as before.
        let settled = &self.settled;
        let (dirty, horizon, room) = (&mut self.dirty, self.horizon, &mut self.room);
        self.entries.retain(|origin, entry| {
            let keep =
                settled.entries.contains_key(origin) || settled.ran.saturating_sub(entry.heard) <= horizon;
            if !keep {
                dirty.remove(origin);
                room.leave(&entry.source, entry.held);
            }
            keep
        });
    }

    /// Frees the memory of metrics that were retired before `retired` on the forgetting clock, and of which frames
    /// are refused by now.
    pub fn forget_retired(&mut self, retired: u64) {
        for (origin, settled) in &mut self.settled.entries {
            let mut less = 0;
            settled.rows.retain(|key, row| {
                let stays = row.retired.is_none_or(|at| at >= retired);
                less += if stays { 0 } else { room::of_row(key, &row.state) };
                stays
            });
            if let Some(entry) = self.entries.get_mut(origin) {
                self.room.give(&mut entry.held, less);
            }
        }
    }

    /// Frees the memory of instances that are settled and have not been heard for `idle` nanoseconds of the
    /// forgetting clock, or have ended. What has been settled of them must be on a disk, to be
    /// [recalled](Ledger::recall) from. When [room is short](Ledger::is_short_of_room), also of those that wait for
    /// their first complete set.
    pub fn release(&mut self, idle: u64) {
        let ran = self.settled.ran;
        let (entries, dirty, room) = (&mut self.entries, &self.dirty, &mut self.room);
        self.settled.entries.retain(|origin, settled| {
            let ended = entries.get(origin).is_none_or(|entry| entry.ended);
            let keep = dirty.contains(origin) || (!ended && ran.saturating_sub(settled.heard) <= idle);
            if !keep && let Some(entry) = entries.remove(origin) {
                room.leave(&entry.source, entry.held);
            }
            keep
        });
        if !self.room.is_short() {
            return;
        }
        let (settled, dirty, room, counts) =
            (&self.settled, &mut self.dirty, &mut self.room, &mut self.counts);
        self.entries.retain(|origin, entry| {
            let keep = settled.entries.contains_key(origin) || ran.saturating_sub(entry.heard) <= idle;
            if !keep {
                dirty.remove(origin);
                counts.points_lost += entry.points.len() as u64;
                room.leave(&entry.source, entry.held);
            }
            keep
        });
    }
}
