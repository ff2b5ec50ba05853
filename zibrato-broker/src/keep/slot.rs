//! What is kept of one level of one instance.

use std::sync::Arc;

use bytes::Bytes;
use zibrato_core::frame::{Flags, Head};

use super::Origin;

/// What an entry costs in memory besides the bytes of its frame, about.
const OVERHEAD: usize = 96;
/// What a slot costs in memory, about.
pub(super) const SLOT: usize = 600;
/// Most sets of one level of one instance that wait for parts or for a whole complete set.
const SETS: usize = 64;
/// A jump in the sequence counts for at most this many missed sets, so that one peer cannot spoil the counter.
const GAP: u64 = 1_000_000;
const SECOND: u64 = 1_000_000_000;
/// An instance is silent after three intervals; an interval is taken to lie between these.
const INTERVAL: std::ops::RangeInclusive<u64> = SECOND..=60 * SECOND;

/// One part of a set, as it came.
#[derive(Debug, Clone)]
pub(super) struct Part {
    pub(super) number: u32,
    pub(super) frame: Bytes,
    pub(super) received: u64,
}

/// All parts that are here of one sequence.
#[derive(Debug)]
pub(super) struct Set {
    pub(super) sequence: u64,
    pub(super) base: u64,
    parts: u32,
    flags: Flags,
    pub(super) held: Vec<Part>,
    /// The slot's version when the set changed last: what is on disk has a lower or equal one.
    pub(super) version: u64,
    /// Of a retired set: its place in the log, once it is whole.
    pub(super) position: Option<u64>,
}

/// The flags that all parts of a set have in common.
fn nature(flags: Flags) -> u64 {
    flags.0 & (Flags::COMPLETE.0 | Flags::LAST.0 | Flags::RETIRED.0)
}

impl Set {
    fn new(head: &Head) -> Self {
        let (sequence, base, parts) = (head.sequence, head.base, head.parts);
        Set {
            sequence,
            base,
            parts,
            flags: head.flags,
            held: Vec::with_capacity(1),
            version: 0,
            position: None,
        }
    }

    fn same_set(&self, head: &Head) -> bool {
        self.parts == head.parts && self.base == head.base && nature(self.flags) == nature(head.flags)
    }

    pub(super) fn whole(&self) -> bool {
        self.held.len() == self.parts as usize
    }

    pub(super) fn is_complete(&self) -> bool {
        self.flags.has(Flags::COMPLETE)
    }

    fn bytes(&self) -> usize {
        self.held.iter().map(|p| p.frame.len() + OVERHEAD).sum()
    }
}

/// What became of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Added {
    News,
    /// It made a retired set whole.
    Retired,
    Repeat,
    Covered,
    Conflict,
}

/// The kept state of one level of one instance.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) level: Arc<str>,
    pub(super) source: Arc<str>,
    /// Who sent of it last.
    pub(super) from: Origin,
    /// By rising sequence, without retired sets.
    pub(super) sets: Vec<Set>,
    /// By rising sequence.
    pub(super) retired: Vec<Set>,
    pub(super) highest: u64,
    pub(super) frames: u64,
    pub(super) gaps: u64,
    pub(super) heard: u64,
    pub(super) ended: bool,
    pub(super) position: Option<u64>,
    /// Rises with everything new.
    pub(super) version: u64,
    /// The version that is on disk.
    pub(super) stored: u64,
    /// The version that is on its way to the disk.
    pub(super) writing: u64,
    pub(super) bytes: usize,
    interval: u64,
    sent_at: u64,
}

impl Slot {
    pub(super) fn new(level: Arc<str>, source: Arc<str>, from: Origin) -> Self {
        Slot {
            level,
            source,
            from,
            sets: Vec::with_capacity(1),
            retired: Vec::new(),
            highest: 0,
            frames: 0,
            gaps: 0,
            heard: 0,
            ended: false,
            position: None,
            version: 0,
            stored: 0,
            writing: 0,
            bytes: 0,
            interval: *INTERVAL.start(),
            sent_at: 0,
        }
    }

    /// The sequence of the newest complete set that is here as a whole; 0 where there is none.
    pub(super) fn floor(&self) -> u64 {
        self.sets.iter().rev().find(|s| s.is_complete() && s.whole()).map_or(0, |s| s.sequence)
    }

    pub(super) fn is_silent(&self, now: u64) -> bool {
        now.saturating_sub(self.heard) > 3 * self.interval
    }

    /// Takes a frame; gives what became of it and how many sets it shows to be missing.
    pub(super) fn add(&mut self, head: &Head, frame: &[u8], own: Option<Bytes>, now: u64) -> (Added, u64) {
        self.frames += 1;
        let mut gap = 0;
        if head.sequence > self.highest {
            if self.highest > 0 {
                gap = (head.sequence - self.highest - 1).min(GAP);
            }
            self.gaps = self.gaps.saturating_add(gap);
            self.pace(head.sent_at);
            self.highest = head.sequence;
        }
        let added = self.place(head, frame, own, now);
        if matches!(added, Added::News | Added::Retired) {
            self.heard = now;
        }
        (added, gap)
    }

    /// The interval is the longest of the last ones: it rises at once and falls slowly.
    fn pace(&mut self, sent_at: u64) {
        if self.sent_at > 0 {
            let step = sent_at.saturating_sub(self.sent_at);
            let slow = self.interval - self.interval / 8;
            self.interval = step.max(slow).clamp(*INTERVAL.start(), *INTERVAL.end());
        }
        self.sent_at = self.sent_at.max(sent_at);
    }

    fn place(&mut self, head: &Head, frame: &[u8], own: Option<Bytes>, now: u64) -> Added {
        let is_retired = head.flags.has(Flags::RETIRED);
        if !is_retired && self.is_covered(head) {
            return Added::Covered;
        }
        let list = if is_retired { &mut self.retired } else { &mut self.sets };
        let at = match list.binary_search_by_key(&head.sequence, |s| s.sequence) {
            Ok(at) => at,
            Err(at) => {
                list.insert(at, Set::new(head));
                at
            }
        };
        let set = &mut list[at];
        if !set.same_set(head) {
            return Added::Conflict;
        }
        if set.held.iter().any(|p| p.number == head.part) {
            return Added::Repeat;
        }
        self.version += 1;
        set.version = self.version;
        // A copy, because the bytes that came may hold a whole receive buffer in memory.
        let kept = own.unwrap_or_else(|| Bytes::copy_from_slice(frame));
        set.held.push(Part { number: head.part, frame: kept, received: now });
        self.bytes += frame.len() + OVERHEAD;
        if !set.whole() {
            self.trim();
            return Added::News;
        }
        if is_retired {
            return Added::Retired;
        }
        self.ended |= set.flags.has(Flags::LAST);
        let (sequence, base, complete) = (set.sequence, set.base, set.is_complete());
        self.drop_sets(|s| s.sequence < sequence && (complete || (!s.is_complete() && base <= s.base)));
        Added::News
    }

    /// Whether what is here has everything that the set of `head` has, and newer.
    fn is_covered(&self, head: &Head) -> bool {
        head.sequence < self.floor()
            || !head.is_complete()
                && self.sets.iter().any(|s| {
                    !s.is_complete() && s.whole() && s.sequence > head.sequence && s.base <= head.base
                })
    }

    fn drop_sets(&mut self, gone: impl Fn(&Set) -> bool) {
        let bytes = &mut self.bytes;
        self.sets.retain(|s| {
            let gone = gone(s);
            if gone {
                *bytes -= s.bytes();
            }
            !gone
        });
    }

    /// Lets retired sets go that came before a time; gives their places in the log.
    pub(super) fn drop_retired(&mut self, before: u64) -> Vec<u64> {
        let (bytes, mut positions) = (&mut self.bytes, Vec::new());
        self.retired.retain(|s| {
            let keep = s.held.iter().any(|p| p.received >= before);
            if !keep {
                *bytes -= s.bytes();
                positions.extend(s.position);
            }
            keep
        });
        positions
    }

    /// Bounds the sets of a publisher whose sets never become whole: the oldest one that is not, goes.
    fn trim(&mut self) {
        if self.sets.len() > SETS {
            let oldest = self.sets.iter().position(|s| !s.whole()).unwrap_or(0);
            self.bytes -= self.sets.remove(oldest).bytes();
        }
    }

    /// The version that must be on disk before the set of this sequence may be acknowledged; `None` while
    /// parts are missing.
    pub(super) fn version_of(&self, sequence: u64) -> Option<u64> {
        let own = |list: &[Set]| {
            list.binary_search_by_key(&sequence, |s| s.sequence)
                .ok()
                .filter(|&at| list[at].whole())
                .map(|at| list[at].version)
        };
        own(&self.retired).or_else(|| own(&self.sets)).or_else(|| {
            // A newer complete set has all that it had, unless it is a retired one.
            let retired = self.retired.binary_search_by_key(&sequence, |s| s.sequence).is_ok();
            let newer = self.sets.iter().rev().find(|s| s.is_complete() && s.whole());
            newer.filter(|s| !retired && s.sequence > sequence).map(|s| s.version)
        })
    }

    /// Whether anything whole waits to be written although it should be on disk by now.
    pub(super) fn needs_disk(&self, now: u64) -> bool {
        if self.stored.max(self.writing) >= self.version {
            return false;
        }
        self.ended
            || self.is_silent(now)
            || self.retired.iter().any(|s| s.version > self.stored.max(self.writing) && s.whole())
    }

    /// Every part, with its set and whether that is a retired one.
    pub(super) fn parts(&self) -> impl Iterator<Item = (bool, &Set, &Part)> {
        let sets = self.sets.iter().map(|s| (false, s)).chain(self.retired.iter().map(|s| (true, s)));
        sets.flat_map(|(retired, s)| s.held.iter().map(move |p| (retired, s, p)))
    }
}
