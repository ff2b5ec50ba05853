//! Forgetting: at the horizon, and earlier where there is no room.

use std::collections::{BinaryHeap, HashMap};
use std::sync::Arc;

use zibrato_core::frame::InstanceId;

use super::slot::SLOT;
use super::{Effect, Keep, TOMBSTONES, Tombstone};

impl Keep {
    pub(super) fn make_room(&mut self, now: u64) {
        for (id, level) in self.crowded() {
            self.counts.evicted += 1;
            let gone = self.forget(id, &level, now).map(Effect::Forget);
            self.effects.extend(gone);
        }
    }

    /// Who has to go for want of room. The source that holds most gives first, and of its own what was heard
    /// longest ago: a source that floods the broker only displaces itself.
    fn crowded(&self) -> Vec<(InstanceId, Arc<str>)> {
        if self.slots <= self.limits.slots && self.bytes <= self.limits.bytes {
            return Vec::new();
        }
        // Down to 15/16, so that the search is not made again for every new instance.
        let most_slots = self.limits.slots - self.limits.slots / 16;
        let most_bytes = self.limits.bytes - self.limits.bytes / 16;
        let mut sources: HashMap<&str, (usize, Vec<_>)> = HashMap::new();
        for (id, slot) in self.instances.iter().flat_map(|(id, s)| s.iter().map(move |s| (*id, s))) {
            let (bytes, slots) = sources.entry(&slot.source).or_default();
            let own = slot.bytes + SLOT;
            *bytes += own;
            slots.push((slot.heard, id, slot.level.clone(), own));
        }
        for (_, slots) in sources.values_mut() {
            slots.sort_unstable_by(|a, b| (b.0, b.1, &b.2).cmp(&(a.0, a.1, &a.2)));
        }
        let mut heap: BinaryHeap<(usize, &str)> = sources.iter().map(|(name, s)| (s.0, *name)).collect();
        let (mut slots, mut bytes, mut gone) = (self.slots, self.bytes, Vec::new());
        while slots > most_slots || bytes > most_bytes {
            let Some((held, name)) = heap.pop() else { break };
            let Some((_, id, level, own)) = sources.get_mut(name).and_then(|(_, s)| s.pop()) else {
                continue;
            };
            slots -= 1;
            bytes = bytes.saturating_sub(own);
            gone.push((id, level));
            heap.push((held - own, name));
        }
        gone
    }

    pub(super) fn forget(&mut self, instance: InstanceId, level: &Arc<str>, now: u64) -> Option<Tombstone> {
        let slots = self.instances.get_mut(&instance)?;
        let at = slots.iter().position(|s| s.level == *level)?;
        let slot = slots.swap_remove(at);
        if slots.is_empty() {
            self.instances.remove(&instance);
        }
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
