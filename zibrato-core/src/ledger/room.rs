//! How much a ledger may hold in memory, and who gets it.

use std::mem::size_of;

use super::{SettledEntry, SettledRow, Shares};
use crate::frame::{Key, State, Tags};

/// What an instance costs at a level, beside its rows.
const ENTRY: usize = 2048;
/// What a row costs, beside its texts and buckets: its places in the maps of what is heard and what is settled.
const ROW: usize = 512;
/// What a text costs, beside its characters.
const TEXT: usize = 32;
/// What any one of an instance's points, or of its marked rows, costs beside its texts.
pub(super) const ITEM: usize = 256;

/// How much a [`Ledger`](super::Ledger) may hold in memory.
///
/// Whoever holds something may hold more only as long as it holds less than what is then still free. So one instance
/// that makes up names gets no more than half of the room, two a third each, and there is always room for others.
/// The same goes for the instances of one source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of all rows, about; 512 MiB by default.
    pub bytes: usize,
    /// Instances, each level of one for itself; 100,000 by default.
    pub instances: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits { bytes: 512 << 20, instances: 100_000 }
    }
}

/// What is held, and by whom.
#[derive(Debug)]
pub(super) struct Room {
    limits: Limits,
    used: usize,
    instances: Shares,
}

impl Room {
    pub(super) fn new(limits: Limits) -> Self {
        Room { limits, used: 0, instances: Shares::new(limits.instances) }
    }

    pub(super) fn used(&self) -> usize {
        self.used
    }

    fn free(&self) -> usize {
        self.limits.bytes.saturating_sub(self.used)
    }

    /// Whether most of it is used.
    pub(super) fn is_short(&self) -> bool {
        self.free() < self.limits.bytes / 4 || self.instances.free() < self.instances.places() / 4
    }

    /// Whether a source may have one instance more.
    pub(super) fn has_place(&self, source: &str) -> bool {
        self.instances.has_place(source) && self.free() > ENTRY
    }

    /// Takes a place for an instance of a source; what it then holds.
    pub(super) fn enter(&mut self, source: &str) -> usize {
        self.instances.enter(source);
        self.used += ENTRY;
        ENTRY
    }

    /// Gives back the place of an instance of a source, and what it held.
    pub(super) fn leave(&mut self, source: &str, held: usize) {
        self.instances.leave(source);
        self.used = self.used.saturating_sub(held);
    }

    /// Lets who holds `held` hold so much more, if it may.
    pub(super) fn take(&mut self, held: &mut usize, more: usize) -> bool {
        let may = more == 0 || held.saturating_add(more) <= self.free();
        if may {
            self.add(held, more);
        }
        may
    }

    /// Lets who holds `held` hold so much more, whether it may or not.
    pub(super) fn add(&mut self, held: &mut usize, more: usize) {
        *held += more;
        self.used += more;
    }

    /// Gives back what is no longer held.
    pub(super) fn give(&mut self, held: &mut usize, less: usize) {
        *held = held.saturating_sub(less);
        self.used = self.used.saturating_sub(less);
    }
}

/// What a row costs.
pub(super) fn of_row(key: &Key, state: &State) -> usize {
    ROW + of_key(key) + of_state(state)
}

/// What the texts of a key cost.
pub(super) fn of_key(key: &Key) -> usize {
    2 * TEXT + key.name.len() + key.source.len() + of_tags(&key.tags)
}

fn of_tags(tags: &Tags) -> usize {
    tags.iter().map(|(name, value)| 4 * TEXT + name.len() + value.len()).sum()
}

/// What the buckets of a state cost, as it was heard and as it is settled.
pub(super) fn of_state(state: &State) -> usize {
    match state {
        State::Spread(spread) => {
            let (positive, negative) = (&spread.histogram.positive, &spread.histogram.negative);
            2 * (positive.pairs().len() + negative.pairs().len()) * size_of::<(i32, u64)>()
        }
        _ => 0,
    }
}

/// What all rows of a settled entry cost.
pub(super) fn of_settled(entry: &SettledEntry) -> usize {
    let of = |(key, row): (&Key, &SettledRow)| of_row(key, &row.state);
    entry.rows.iter().map(of).sum()
}
