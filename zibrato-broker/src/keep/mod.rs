//! What the broker keeps: per instance and level the newest state, raw, until the horizon.
//!
//! No clocks, sockets, disks or threads: the time is passed in (nanoseconds since 1970 on the broker's own
//! clock), and what has to be written comes out as a [`Record`]. The rules are those of `docs/design.md`:
//!
//! - a whole complete set covers everything before it; a whole changed-only set covers older changed-only sets
//!   that were not based on an older complete set; nothing else is thrown away;
//! - retired sets are kept beside, because no later set has their rows;
//! - an instance gets a new place in the log when it ends and when it falls silent, so that an answer to a
//!   [`Cursor`] need not repeat everything;
//! - what ended or fell silent is on disk before it is acknowledged;
//! - what is forgotten leaves a [`Tombstone`].

mod answer;
mod evict;
mod slot;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use bytes::Bytes;
use zibrato_core::ask::Cursor;
use zibrato_core::frame::{Head, InstanceId};

pub use answer::Answer;
use slot::{Added, SLOT, Slot};

/// How much is kept, and for how long.
#[derive(Debug, Clone)]
pub struct Limits {
    /// How long an instance that is not heard of is kept, in nanoseconds; 7 days by default.
    pub horizon: u64,
    /// Most (instance, level) pairs; 200,000 by default.
    pub slots: usize,
    /// Most bytes of frames; 512 MiB by default.
    pub bytes: usize,
    /// Most instances of one sender, unless its [`Origin`] says otherwise; 100,000 by default.
    pub instances: usize,
    /// Whether ended and silent instances are written to a disk. Without one, an acknowledgement only says
    /// that the set is in memory.
    pub durable: bool,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            horizon: 7 * 86_400 * 1_000_000_000,
            slots: 200_000,
            bytes: 512 << 20,
            instances: 100_000,
            durable: true,
        }
    }
}

/// Who sent a frame. Where there is no room, whoever holds most gives first: of all senders, of its connections, and of
/// the sources that came over the connection.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Origin {
    /// The sender: an identity or an address; empty for the broker itself and for what was read from the disk.
    pub sender: Arc<str>,
    /// The connection, for as long as it lasts.
    pub connection: u64,
    /// Most instances of the sender; [`Limits::instances`] where `None`.
    pub instances: Option<usize>,
}

/// What became of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    /// It is kept.
    News,
    /// It was here already.
    Repeat,
    /// Newer sets have everything that it has.
    Late,
    /// It contradicts a part of the same set that came earlier; the earlier one stays.
    Conflict,
    /// It belongs to what has been forgotten, and is refused.
    Forgotten,
}

/// Where a set that was handed over stands.
#[derive(Debug)]
pub enum Handed {
    /// Parts are missing.
    Partial,
    /// It is as durable as it will be: acknowledge it.
    Stored,
    /// It is on its way to the disk: acknowledge it when this version of the slot is stored.
    Pending(u64),
    /// Write this, then acknowledge.
    Write(Record),
}

/// What has to be on disk of one level of one instance.
#[derive(Debug, Clone)]
pub struct Record {
    /// Whose.
    pub instance: InstanceId,
    /// Of which level.
    pub level: Arc<str>,
    /// To be given back to [`Keep::stored`].
    pub version: u64,
    /// The frames; those that are not retired replace all that are on the disk, retired ones are added.
    pub frames: Vec<RecordedFrame>,
}

/// One frame of a [`Record`].
#[derive(Debug, Clone)]
pub struct RecordedFrame {
    /// The set's sequence.
    pub sequence: u64,
    /// The part's number.
    pub part: u32,
    /// When it came, on the broker's clock.
    pub received: u64,
    /// Whether the set is a retired one.
    pub retired: bool,
    /// The frame.
    pub frame: Bytes,
}

/// What is left of something forgotten: frames up to this sequence are refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tombstone {
    /// Whose.
    pub instance: InstanceId,
    /// Of which level.
    pub level: Arc<str>,
    /// The highest sequence that had been heard.
    pub sequence: u64,
    /// When it was forgotten, on the broker's clock.
    pub at: u64,
}

/// What has to be done to the disk.
#[derive(Debug)]
pub enum Effect {
    /// Write a record.
    Write(Record),
    /// Remove everything of an instance's level and remember the tombstone.
    Forget(Tombstone),
}

/// One frame of an answer.
#[derive(Debug, Clone)]
pub struct Kept {
    /// The level.
    pub level: Arc<str>,
    /// When it came, on the broker's clock.
    pub received: u64,
    /// The frame.
    pub frame: Bytes,
}

/// Counters of one level.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LevelCounts {
    /// Instances that are kept.
    pub instances: usize,
    /// Frames taken in.
    pub frames: u64,
    /// Bytes taken in.
    pub bytes: u64,
    /// Sets that had not come when a later one did.
    pub gaps: u64,
}

/// What has happened so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Frames that were here already.
    pub repeats: u64,
    /// Frames that newer sets cover.
    pub late: u64,
    /// Frames that contradict an earlier part of their set.
    pub conflicts: u64,
    /// Frames of what has been forgotten.
    pub forgotten: u64,
    /// (instance, level) pairs that ended.
    pub ended: u64,
    /// Times at which a pair fell silent that had not ended.
    pub silences: u64,
    /// Pairs forgotten at the horizon.
    pub expired: u64,
    /// Pairs forgotten earlier, for want of room.
    pub evicted: u64,
}

/// One (instance, level) as tools show it.
#[derive(Debug, Clone)]
pub struct Listed {
    /// Whose.
    pub instance: InstanceId,
    /// Its source.
    pub source: Arc<str>,
    /// The level.
    pub level: Arc<str>,
    /// The highest sequence heard.
    pub sequence: u64,
    /// Frames taken in.
    pub frames: u64,
    /// Sets that had not come when a later one did.
    pub gaps: u64,
    /// Nanoseconds since something new was heard.
    pub quiet: u64,
    /// Whether it ended.
    pub ended: bool,
    /// Whether it has been silent for three intervals.
    pub silent: bool,
    /// Whether all that is kept of it is on the disk.
    pub stored: bool,
}

/// Most levels whose counters are kept when they have no instance.
const LEVELS: usize = 1024;
/// Most tombstones; the oldest go first.
pub(crate) const TOMBSTONES: usize = 100_000;

/// A place in the log: a slot, or one retired set of it.
type LogEntry = (InstanceId, Arc<str>, Option<u64>);

/// The memory of the broker.
#[derive(Debug)]
pub struct Keep {
    limits: Limits,
    boot: [u8; 16],
    position: u64,
    instances: HashMap<InstanceId, Vec<Slot>>,
    slots: usize,
    bytes: usize,
    log: BTreeMap<u64, LogEntry>,
    tombstones: HashMap<InstanceId, Vec<Tombstone>>,
    buried: usize,
    levels: HashMap<Arc<str>, LevelCounts>,
    counts: Counts,
    senders: HashMap<Arc<str>, Sender>,
    /// How many pairs of each sender had to go since it was asked.
    shed: HashMap<Arc<str>, u64>,
    /// Made between two ticks.
    effects: Vec<Effect>,
}

/// What is kept of one sender.
#[derive(Debug, Default)]
struct Sender {
    /// With how many levels of each.
    instances: HashMap<InstanceId, u32>,
    most: usize,
}

impl Keep {
    /// An empty memory; `boot` is random with every start.
    pub fn new(boot: [u8; 16], limits: Limits) -> Self {
        Keep {
            limits,
            boot,
            position: 0,
            instances: HashMap::new(),
            slots: 0,
            bytes: 0,
            log: BTreeMap::new(),
            tombstones: HashMap::new(),
            buried: 0,
            levels: HashMap::new(),
            counts: Counts::default(),
            senders: HashMap::new(),
            shed: HashMap::new(),
            effects: Vec::new(),
        }
    }

    /// Takes a frame in.
    pub fn take(&mut self, level: &str, head: &Head, frame: &[u8], now: u64) -> Taken {
        self.take_own(level, head, frame, None, &Origin::default(), now)
    }

    /// The same; `own` is the frame in an allocation that holds little else, which is kept instead of a copy.
    pub fn take_own(
        &mut self,
        level: &str,
        head: &Head,
        frame: &[u8],
        own: Option<Bytes>,
        from: &Origin,
        now: u64,
    ) -> Taken {
        let taken = self.place(level, head, frame, own, from, now).0;
        // A flood does not wait for the next tick.
        let Limits { slots, bytes, .. } = self.limits;
        if self.slots > slots + slots / 8 || self.bytes > bytes + bytes / 8 {
            self.make_room(now);
        }
        if self.senders.get(&from.sender).is_some_and(Sender::is_over) {
            self.make_room_of(&from.sender, now);
        }
        taken
    }

    fn place(
        &mut self,
        level: &str,
        head: &Head,
        frame: &[u8],
        own: Option<Bytes>,
        from: &Origin,
        now: u64,
    ) -> (Taken, u64) {
        let slots = self.instances.entry(head.instance).or_insert_with(|| Vec::with_capacity(1));
        let at = match slots.iter().position(|s| *s.level == *level) {
            Some(at) => at,
            None => {
                let buried = self.tombstones.get(&head.instance).into_iter().flatten();
                if buried.into_iter().any(|t| *t.level == *level && t.sequence >= head.sequence) {
                    if slots.is_empty() {
                        self.instances.remove(&head.instance);
                    }
                    self.counts.forgotten += 1;
                    return (Taken::Forgotten, 0);
                }
                let level = counted_level(&mut self.levels, level);
                self.levels.entry(level.clone()).or_default().instances += 1;
                slots.push(Slot::new(level, head.source.as_str().into(), from.clone()));
                enlist(&mut self.senders, &self.limits, from, head.instance);
                self.slots += 1;
                self.bytes += SLOT;
                slots.len() - 1
            }
        };
        let slot = &mut slots[at];
        if slot.from != *from {
            let before = std::mem::replace(&mut slot.from, from.clone());
            delist(&mut self.senders, &before, head.instance);
            enlist(&mut self.senders, &self.limits, from, head.instance);
        }
        let (ended, bytes) = (slot.ended, slot.bytes);
        let (added, gap) = slot.add(head, frame, own, now);
        self.bytes = self.bytes + slot.bytes - bytes;
        if let Some(counts) = self.levels.get_mut(&slot.level) {
            counts.frames += 1;
            counts.bytes += frame.len() as u64;
            counts.gaps = counts.gaps.saturating_add(gap);
        }
        let taken = match added {
            Added::News | Added::Retired => Taken::News,
            Added::Repeat => Taken::Repeat,
            Added::Covered => Taken::Late,
            Added::Conflict => Taken::Conflict,
        };
        match taken {
            Taken::Repeat => self.counts.repeats += 1,
            Taken::Late => self.counts.late += 1,
            Taken::Conflict => self.counts.conflicts += 1,
            _ => {}
        }
        if added == Added::Retired {
            self.position += 1;
            if let Ok(i) = slot.retired.binary_search_by_key(&head.sequence, |s| s.sequence) {
                slot.retired[i].position = Some(self.position);
            }
            self.log.insert(self.position, (head.instance, slot.level.clone(), Some(head.sequence)));
        } else if taken == Taken::News {
            if slot.ended && !ended {
                self.counts.ended += 1;
            }
            if let Some(old) = slot.position.take() {
                self.log.remove(&old);
            }
            if slot.ended {
                self.position += 1;
                slot.position = Some(self.position);
                self.log.insert(self.position, (head.instance, slot.level.clone(), None));
            }
        }
        (taken, gap)
    }

    /// Takes back a frame that had been written to the disk.
    pub fn restore(&mut self, level: &str, head: &Head, frame: &[u8], received: u64) {
        let (_, gap) = self.place(level, head, frame, None, &Origin::default(), received);
        let slots = self.instances.get_mut(&head.instance).into_iter().flatten();
        if let Some(slot) = slots.into_iter().find(|s| *s.level == *level) {
            slot.stored = slot.version;
            slot.gaps -= gap;
            if let Some(counts) = self.levels.get_mut(&slot.level) {
                counts.frames -= 1;
                counts.bytes -= frame.len() as u64;
                counts.gaps -= gap;
            }
        }
    }

    /// Takes back a tombstone.
    pub fn restore_tombstone(&mut self, tombstone: Tombstone) {
        self.bury(tombstone);
    }

    /// After everything has been restored: counts start at zero, and all that was restored has its place in
    /// the log, so that an answer without a cursor need not be repeated when it is found to be silent.
    pub fn restored(&mut self) {
        self.counts = Counts::default();
        for (id, slots) in &mut self.instances {
            for slot in slots.iter_mut().filter(|s| s.position.is_none()) {
                self.position += 1;
                slot.position = Some(self.position);
                self.log.insert(self.position, (*id, slot.level.clone(), None));
            }
        }
    }

    /// Where the set of this sequence stands on its way to being durable, after it has been taken.
    pub fn handed(&mut self, instance: InstanceId, level: &str, sequence: u64) -> Handed {
        let durable = self.limits.durable;
        let Some(slot) = self.slot(instance, level) else { return Handed::Partial };
        match slot.version_of(sequence) {
            None => Handed::Partial,
            Some(version) if !durable || version <= slot.stored => Handed::Stored,
            Some(version) if version <= slot.writing => Handed::Pending(version),
            Some(_) => Handed::Write(record(instance, slot)),
        }
    }

    /// Notes that a record has been written (`true`), or could not be.
    pub fn stored(&mut self, instance: InstanceId, level: &str, version: u64, written: bool) {
        if let Some(slot) = self.slot(instance, level) {
            if written {
                slot.stored = slot.stored.max(version);
            } else {
                slot.writing = slot.stored;
            }
        }
    }

    fn slot(&mut self, instance: InstanceId, level: &str) -> Option<&mut Slot> {
        self.instances.get_mut(&instance)?.iter_mut().find(|s| *s.level == *level)
    }

    /// Lets time pass: gives places in the log to whoever has fallen silent, forgets what is past the horizon
    /// or the limits. To be called about once a second; gives at most `writes` records to write.
    pub fn tick(&mut self, now: u64, writes: usize) -> Vec<Effect> {
        let mut effects = std::mem::take(&mut self.effects);
        let writes = effects.len().saturating_add(writes);
        let mut expired = Vec::new();
        let oldest = now.saturating_sub(self.limits.horizon);
        for (id, slots) in &mut self.instances {
            for slot in slots {
                if slot.heard < oldest {
                    expired.push((*id, slot.level.clone()));
                    continue;
                }
                let bytes = slot.bytes;
                for position in slot.drop_retired(oldest) {
                    self.log.remove(&position);
                }
                self.bytes -= bytes - slot.bytes;
                if slot.position.is_none() && slot.is_silent(now) {
                    self.position += 1;
                    slot.position = Some(self.position);
                    self.log.insert(self.position, (*id, slot.level.clone(), None));
                    self.counts.silences += 1;
                }
                if self.limits.durable && effects.len() < writes && slot.needs_disk(now) {
                    effects.push(Effect::Write(record(*id, slot)));
                }
            }
        }
        self.counts.expired += expired.len() as u64;
        for (id, level) in expired {
            effects.extend(self.forget(id, &level, now).map(Effect::Forget));
        }
        self.make_room(now);
        effects.append(&mut self.effects);
        self.clear_tombstones(now);
        effects
    }

    /// Everything that is not on disk yet, for a clean stop.
    pub fn unstored(&mut self) -> Vec<Record> {
        let mut records = Vec::new();
        for (id, slots) in &mut self.instances {
            for slot in slots.iter_mut().filter(|s| self.limits.durable && s.stored < s.version) {
                records.push(record(*id, slot));
            }
        }
        records
    }

    /// The answer to a worker at once; see [`begin_answer`](Self::begin_answer).
    pub fn answer(&self, levels: &[String], cursor: Option<Cursor>, talking: bool) -> (Vec<Kept>, Cursor) {
        let mut answer = self.begin_answer(levels, cursor, talking);
        let mut kept = Vec::new();
        while let Some(mut more) = self.go_on(&mut answer) {
            kept.append(&mut more);
        }
        (kept, answer.cursor)
    }

    /// How many pairs of each sender had to go for want of room since this was asked last.
    pub fn take_shed(&mut self) -> HashMap<Arc<str>, u64> {
        std::mem::take(&mut self.shed)
    }

    /// What has happened so far.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// Counters by level.
    pub fn levels(&self) -> impl Iterator<Item = (&str, LevelCounts)> {
        self.levels.iter().map(|(level, counts)| (&**level, *counts))
    }

    /// How many instances are kept.
    pub fn instances(&self) -> usize {
        self.instances.len()
    }

    /// How many (instance, level) pairs are kept.
    pub fn slots(&self) -> usize {
        self.slots
    }

    /// About how many bytes are kept.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// The newest place in the log.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// The pairs that were heard last, at most `most`.
    pub fn newest(&self, now: u64, most: usize) -> Vec<Listed> {
        let slots = self.instances.iter().flat_map(|(id, slots)| slots.iter().map(move |s| (*id, s)));
        let mut all: Vec<(InstanceId, &Slot)> = slots.collect();
        let order = |(id, s): &(InstanceId, &Slot)| (std::cmp::Reverse(s.heard), *id);
        if all.len() > most {
            all.select_nth_unstable_by_key(most, order);
            all.truncate(most);
        }
        all.sort_unstable_by_key(order);
        all.into_iter()
            .map(|(instance, s)| Listed {
                instance,
                source: s.source.clone(),
                level: s.level.clone(),
                sequence: s.highest,
                frames: s.frames,
                gaps: s.gaps,
                quiet: now.saturating_sub(s.heard),
                ended: s.ended,
                silent: s.is_silent(now),
                stored: s.stored >= s.version,
            })
            .collect()
    }
}

impl Sender {
    fn is_over(&self) -> bool {
        self.instances.len() > self.most.saturating_add(self.most / 8)
    }
}

/// Counts a level of an instance for its sender; what has none is not counted.
fn enlist(senders: &mut HashMap<Arc<str>, Sender>, limits: &Limits, from: &Origin, id: InstanceId) {
    if from.sender.is_empty() {
        return;
    }
    let sender = senders.entry(from.sender.clone()).or_default();
    sender.most = from.instances.unwrap_or(limits.instances);
    *sender.instances.entry(id).or_default() += 1;
}

fn delist(senders: &mut HashMap<Arc<str>, Sender>, from: &Origin, id: InstanceId) {
    let Some(sender) = senders.get_mut(&from.sender) else { return };
    if let Some(levels) = sender.instances.get_mut(&id) {
        *levels -= 1;
        if *levels == 0 {
            sender.instances.remove(&id);
        }
    }
    if sender.instances.is_empty() {
        senders.remove(&from.sender);
    }
}

/// The shared name of a level. Where there are very many, the counters of those without instances go.
fn counted_level(levels: &mut HashMap<Arc<str>, LevelCounts>, level: &str) -> Arc<str> {
    if let Some((known, _)) = levels.get_key_value(level) {
        return known.clone();
    }
    if levels.len() >= LEVELS {
        levels.retain(|_, counts| counts.instances > 0);
    }
    level.into()
}

fn record(instance: InstanceId, slot: &mut Slot) -> Record {
    slot.writing = slot.version;
    let frames = slot
        .parts()
        .filter(|(retired, set, _)| !retired || set.version > slot.stored)
        .map(|(retired, set, part)| RecordedFrame {
            sequence: set.sequence,
            part: part.number,
            received: part.received,
            retired,
            frame: part.frame.clone(),
        })
        .collect();
    Record { instance, level: slot.level.clone(), version: slot.version, frames }
}
