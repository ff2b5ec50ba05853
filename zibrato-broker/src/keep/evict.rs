//! Forgetting: at the horizon, and earlier where there is no room.

use std::collections::HashMap;
use std::sync::Arc;

use zibrato_core::frame::InstanceId;

use super::slot::{SLOT, Slot};
use super::{Effect, Keep, Limits, Sender, TOMBSTONES, Tombstone, delist};

/// A pair that may have to go.
struct Held {
    sender: Arc<str>,
    connection: u64,
    source: Arc<str>,
    heard: u64,
    instance: InstanceId,
    level: Arc<str>,
    bytes: usize,
}

/// What is shared out at each depth: among senders, among the connections of one, among the sources of one.
const DEPTHS: usize = 3;

impl Keep {
    pub(super) fn make_room(&mut self, now: u64) {
        if self.slots <= self.limits.slots && self.bytes <= self.limits.bytes {
            return;
        }
        let held = self.instances.iter().flat_map(|(id, slots)| slots.iter().map(|s| held(*id, s))).collect();
        // Well below, so that the search is not made again for every new instance.
        let Limits { slots, bytes, .. } = self.limits;
        let (held, by_bytes) = shed(held, bytes - bytes / 16, |held| held.bytes);
        let (_, by_slots) = shed(held, slots - slots / 16, |_| 1);
        by_bytes.into_iter().chain(by_slots).for_each(|held| self.evict(held, now));
    }

    /// The same for one sender that has too many instances.
    pub(super) fn make_room_of(&mut self, sender: &Arc<str>, now: u64) {
        let Some(Sender { instances, most }) = self.senders.get(sender) else { return };
        let slots = instances.keys().filter_map(|id| Some((*id, self.instances.get(id)?)));
        let own = slots.flat_map(|(id, slots)| slots.iter().map(move |s| (id, s)));
        let held = own.filter(|(_, s)| s.from.sender == *sender).map(|(id, s)| held(id, s)).collect();
        let (_, gone) = shed(held, most - most / 4, |_| 1);
        gone.into_iter().for_each(|held| self.evict(held, now));
    }

    fn evict(&mut self, held: Held, now: u64) {
        self.counts.evicted += 1;
        *self.shed.entry(held.sender).or_default() += 1;
        let gone = self.forget(held.instance, &held.level, now).map(Effect::Forget);
        self.effects.extend(gone);
    }

    pub(super) fn forget(&mut self, instance: InstanceId, level: &Arc<str>, now: u64) -> Option<Tombstone> {
        let slots = self.instances.get_mut(&instance)?;
        let at = slots.iter().position(|s| s.level == *level)?;
        let slot = slots.swap_remove(at);
        if slots.is_empty() {
            self.instances.remove(&instance);
        }
        delist(&mut self.senders, &slot.from, instance);
        self.slots -= 1;
        self.bytes -= slot.bytes + SLOT;
        for position in slot.position.into_iter().chain(slot.retired.iter().filter_map(|s| s.position)) {
            self.log.remove(&position);
        }
        if let Some(counts) = self.levels.get_mut(level) {
            counts.instances -= 1;
        }
        let tombstone = Tombstone { instance, level: level.clone(), sequence: slot.highest, at: now };
        self.bury(tombstone.clone());
        Some(tombstone)
    }

    pub(super) fn bury(&mut self, tombstone: Tombstone) {
        let graves = self.tombstones.entry(tombstone.instance).or_default();
        graves.retain(|t| {
            let same = t.level == tombstone.level;
            self.buried -= usize::from(same);
            !same
        });
        graves.push(tombstone);
        self.buried += 1;
    }

    /// Tombstones stay for another horizon, and no more of them than there is room for.
    pub(super) fn clear_tombstones(&mut self, now: u64) {
        let mut oldest = now.saturating_sub(self.limits.horizon);
        if self.buried > TOMBSTONES {
            let mut times: Vec<u64> = self.tombstones.values().flatten().map(|t| t.at).collect();
            times.sort_unstable();
            oldest = oldest.max(times[self.buried - TOMBSTONES * 15 / 16 - 1] + 1);
        } else if self.buried == 0 {
            return;
        }
        self.tombstones.retain(|_, graves| {
            let before = graves.len();
            graves.retain(|t| t.at >= oldest);
            self.buried -= before - graves.len();
            !graves.is_empty()
        });
    }
}

fn held(instance: InstanceId, slot: &Slot) -> Held {
    Held {
        sender: slot.from.sender.clone(),
        connection: slot.from.connection,
        source: slot.source.clone(),
        heard: slot.heard,
        instance,
        level: slot.level.clone(),
        bytes: slot.bytes + SLOT,
    }
}

/// Who has to go so that the rest costs no more than `target`, after those who stay. Whoever holds most gives first, and
/// of its own what was heard longest ago: who floods the broker only displaces itself.
fn shed(held: Vec<Held>, target: usize, cost: fn(&Held) -> usize) -> (Vec<Held>, Vec<Held>) {
    let all: usize = held.iter().map(cost).sum();
    let (mut stay, mut gone) = (Vec::new(), Vec::new());
    share(held, all.saturating_sub(target), 0, cost, &mut stay, &mut gone);
    (stay, gone)
}

/// Lets at least `excess` go, if there is as much.
fn share(
    mut held: Vec<Held>,
    excess: usize,
    depth: usize,
    cost: fn(&Held) -> usize,
    stay: &mut Vec<Held>,
    gone: &mut Vec<Held>,
) -> usize {
    let mut shed = 0;
    if excess == 0 {
        stay.extend(held);
    } else if depth == DEPTHS {
        held.sort_unstable_by(|a, b| (a.heard, a.instance, &a.level).cmp(&(b.heard, b.instance, &b.level)));
        for held in held {
            if shed < excess {
                shed += cost(&held);
                gone.push(held);
            } else {
                stay.push(held);
            }
        }
    } else {
        let mut groups: HashMap<(Arc<str>, u64, Arc<str>), Vec<Held>> = HashMap::new();
        for held in held {
            // The groups of one depth differ in one of these; the others are the same in all of them.
            let key = match depth {
                0 => (held.sender.clone(), 0, "".into()),
                1 => ("".into(), held.connection, "".into()),
                _ => ("".into(), 0, held.source.clone()),
            };
            groups.entry(key).or_default().push(held);
        }
        let mut groups: Vec<_> = groups
            .into_values()
            .map(|group| {
                let oldest = group.iter().map(|h| (h.heard, h.instance)).min();
                (group.iter().map(cost).sum::<usize>(), oldest, group)
            })
            .collect();
        // The largest first; of equal ones the one that has the oldest.
        groups.sort_unstable_by(|a, b| b.0.cmp(&a.0).then(a.1.cmp(&b.1)));
        let all: usize = groups.iter().map(|g| g.0).sum();
        let share_each = cap(groups.iter().rev().map(|g| g.0), groups.len(), all.saturating_sub(excess));
        for (own, _, group) in groups {
            let beyond = own.saturating_sub(share_each).min(excess.saturating_sub(shed));
            shed += share(group, beyond, depth + 1, cost, stay, gone);
        }
    }
    shed
}

/// What each of `count` holders, by rising `sizes`, may have so that together they have no more than `target`.
fn cap(sizes: impl Iterator<Item = usize>, count: usize, target: usize) -> usize {
    let (mut left, mut holders) = (target, count);
    for size in sizes {
        if size > left / holders {
            return left / holders;
        }
        left -= size;
        holders -= 1;
    }
    usize::MAX
}
