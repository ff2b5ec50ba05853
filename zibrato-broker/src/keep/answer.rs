//! What a worker is told of what is kept: looked up piece by piece, when it is to be sent.
//!
//! An answer that is on its way to somebody who reads slowly holds nothing but names, or every such reader would keep alive
//! what everybody else has sent anew since.

use std::collections::HashSet;
use std::sync::Arc;

use zibrato_core::ask::Cursor;
use zibrato_core::frame::InstanceId;

use super::slot::{Part, Set, Slot};
use super::{Keep, Kept};

/// Most bytes of frames in a piece, unless one alone has more, and most frames.
const BYTES: usize = 128 << 10;
const FRAMES: usize = 256;
/// Most instances that are looked at for a piece.
const LOOKED_AT: usize = 1024;
/// So often an instance that changes between two pieces is told again from the start; then all of it is one piece.
const AGAIN: usize = 3;

/// An answer that is on its way.
#[derive(Debug)]
pub struct Answer {
    levels: Vec<String>,
    /// Where the next answer begins.
    pub cursor: Cursor,
    /// Everything of these instances.
    all: Vec<InstanceId>,
    /// Then the states of these, where what talks is asked for.
    states: Option<Vec<(InstanceId, Arc<str>)>>,
    /// Then what has a place in the log from here on, but for states where they have been told.
    log: Option<u64>,
    current: Option<Current>,
}

/// What is being told.
#[derive(Debug)]
struct Current {
    instance: InstanceId,
    /// A level and what of it, where it is not everything.
    only: Option<(Arc<str>, Only)>,
    /// How many of its frames have been told, of which version.
    told: usize,
    version: u64,
    again: usize,
}

#[derive(Debug, Clone, Copy)]
enum Only {
    /// The sets that are not retired, and retired ones that have no place in the log, because parts are missing.
    State,
    /// The retired set of this sequence.
    Retired(u64),
}

impl Keep {
    /// Begins the answer to a worker: everything of its levels (all, where none is named), or with a cursor of this life
    /// only what ended, fell silent or was retired beyond it, and the state of what is `talking` if that is asked for.
    pub fn begin_answer(&self, levels: &[String], cursor: Option<Cursor>, talking: bool) -> Answer {
        let known = cursor.filter(|c| c.boot == self.boot);
        let all = match known {
            None => self.instances.keys().copied().collect(),
            Some(_) => Vec::new(),
        };
        let states = known.filter(|_| talking).map(|cursor| self.states_beyond(cursor.position, levels));
        let log = known.map(|cursor| cursor.position.saturating_add(1));
        let cursor = Cursor { boot: self.boot, position: self.position };
        Answer { levels: levels.to_vec(), cursor, all, states, log, current: None }
    }

    /// What has no place in the log, or one beyond this one: it may begin to talk again, and lose that, before it is told.
    fn states_beyond(&self, position: u64, levels: &[String]) -> Vec<(InstanceId, Arc<str>)> {
        let levels: HashSet<&str> = levels.iter().map(String::as_str).collect();
        let slots = self.instances.iter().flat_map(|(id, slots)| slots.iter().map(move |slot| (id, slot)));
        slots
            .filter(|(_, slot)| slot.position.is_none_or(|own| own > position))
            .filter(|(_, slot)| levels.is_empty() || levels.contains(&*slot.level))
            .map(|(id, slot)| (*id, slot.level.clone()))
            .collect()
    }

    /// The next frames of an answer, which may be none for once; `None` at its end. What has been forgotten since it
    /// began is not among them, and of what has changed the new.
    pub fn go_on(&self, answer: &mut Answer) -> Option<Vec<Kept>> {
        let (mut kept, mut bytes) = (Vec::new(), 0);
        for _ in 0..LOOKED_AT {
            if answer.current.is_none() {
                answer.current = self.next_of(answer);
            }
            let Answer { levels, current, .. } = answer;
            let Some(now) = current else { return (!kept.is_empty()).then_some(kept) };
            let slots = self.instances.get(&now.instance).into_iter().flatten();
            let wanted = |slot: &&Slot| {
                now.only.as_ref().is_none_or(|(level, _)| slot.level == *level)
                    && (levels.is_empty() || levels.iter().any(|l| **l == *slot.level))
            };
            let slots: Vec<&Slot> = slots.filter(wanted).collect();
            let version = slots.iter().map(|slot| slot.version).sum();
            if now.told > 0 && now.version != version {
                (now.told, now.again) = (0, now.again + 1);
            }
            now.version = version;
            let at_once = now.again >= AGAIN;
            for (slot, part) in frames(&slots, now.only.as_ref().map(|(_, only)| *only)).skip(now.told) {
                let is_full = kept.len() >= FRAMES || bytes + part.frame.len() > BYTES;
                if is_full && !kept.is_empty() && !at_once {
                    return Some(kept);
                }
                bytes += part.frame.len();
                now.told += 1;
                let (level, received) = (slot.level.clone(), part.received);
                kept.push(Kept { level, received, frame: part.frame.clone() });
            }
            *current = None;
        }
        Some(kept)
    }

    fn next_of(&self, answer: &mut Answer) -> Option<Current> {
        let (instance, only) = if let Some(instance) = answer.all.pop() {
            (instance, None)
        } else if let Some((instance, level)) = answer.states.as_mut().and_then(Vec::pop) {
            (instance, Some((level, Only::State)))
        } else {
            // What gets a new place meanwhile is told to whoever asks next.
            let (from, last) = (answer.log.as_mut()?, answer.cursor.position);
            let untold = |retired: Option<u64>| answer.states.is_none() || retired.is_some();
            let (place, (instance, level, retired)) =
                self.log.range(*from..).find(|(place, entry)| **place > last || untold(entry.2))?;
            if *place > last {
                return None;
            }
            *from = place.saturating_add(1);
            (*instance, Some((level.clone(), retired.map_or(Only::State, Only::Retired))))
        };
        Some(Current { instance, only, told: 0, version: 0, again: 0 })
    }
}

/// The frames of slots, or only some of them.
fn frames<'a>(slots: &'a [&'a Slot], only: Option<Only>) -> impl Iterator<Item = (&'a Slot, &'a Part)> {
    slots.iter().flat_map(move |slot| {
        let sets: &[Set] = if matches!(only, Some(Only::Retired(_))) { &[] } else { &slot.sets };
        let wanted = move |set: &&Set| match only {
            None => true,
            Some(Only::State) => set.position.is_none(),
            Some(Only::Retired(sequence)) => set.sequence == sequence,
        };
        let retired = slot.retired.iter().filter(wanted);
        sets.iter().chain(retired).flat_map(|set| &set.held).map(move |part| (*slot, part))
    })
}
