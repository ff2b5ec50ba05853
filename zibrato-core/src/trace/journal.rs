use std::collections::VecDeque;
use std::sync::Arc;

use super::Event;
use crate::frame::{Flags, Head, InstanceId, Row};
use crate::level;
use crate::limits;
use crate::publish::{COMPLETE_EVERY, Set};

/// How long an event stays in the complete sets, so that neither a lost frame nor a worker's restart loses it.
const KEPT: u64 = 60_000_000_000;
/// So many events always make a complete set.
const FEW: usize = 100;

/// What one hop tells of the marked rows that it handles: an instance of its own, with nothing but points.
///
/// As elsewhere in the crate there is no clock and no socket in it.
#[derive(Debug)]
pub struct Journal {
    instance: InstanceId,
    source: Arc<str>,
    started_at: u64,
    sequence: u64,
    base: u64,
    completed_at: u64,
    /// The number of the newest event in the newest complete set.
    completed: u64,
    number: u64,
    rows: VecDeque<(u64, Row)>,
    fresh: usize,
    most: usize,
    dropped: u64,
}

impl Journal {
    /// An empty one; `source` is that of the hop, and `most` how many events it keeps at most.
    pub fn new(source: &str, most: usize) -> Self {
        Journal {
            instance: InstanceId::random(),
            source: source.into(),
            started_at: 0,
            sequence: 0,
            base: 0,
            completed_at: 0,
            completed: 0,
            number: 0,
            rows: VecDeque::new(),
            fresh: 0,
            most: most.max(1),
            dropped: 0,
        }
    }

    /// How many events it has taken.
    pub fn told(&self) -> u64 {
        self.number
    }

    /// How many events it had no room for.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Takes an event; false, and counted, if too many wait to be sent.
    pub fn tell(&mut self, event: Event) -> bool {
        if self.fresh >= self.most {
            self.dropped += 1;
            return false;
        }
        if self.number == 0 {
            // Nothing was told before the first event, so a receiver that is there already misses none.
            self.started_at = event.time;
        }
        self.number += 1;
        self.fresh += 1;
        let (time, by) = (event.time, self.source.clone());
        self.rows.push_back((time, Event { by, ..event }.into_row(self.number)));
        if self.rows.len() > self.most {
            self.rows.pop_front();
        }
        true
    }

    /// The set to send now, if there is anything to tell; to be called once a second. With `last` it is the end.
    pub fn set(&mut self, now: u64, last: bool) -> Option<Set> {
        let due = now.saturating_sub(self.completed_at) >= COMPLETE_EVERY.as_nanos() as u64;
        if self.number == 0 || (self.fresh == 0 && !due && !last) {
            return None;
        }
        let sent = self.rows.len() - self.fresh;
        let old =
            self.rows.iter().take(sent).take_while(|(told, _)| now.saturating_sub(*told) > KEPT).count();
        self.rows.drain(..old);
        self.sequence += 1;
        let complete = last || due || self.rows.len() <= FEW;
        let mut flags = if last { Flags::LAST } else { Flags::default() };
        let mut left_away = 0;
        if complete {
            (self.base, self.completed_at) = (self.sequence, now);
            flags = flags.with(Flags::COMPLETE);
        } else {
            let since = usize::try_from(self.number - self.completed).unwrap_or(usize::MAX);
            left_away = self.rows.len().saturating_sub(since);
        }
        if complete {
            self.completed = self.number;
        }
        self.fresh = 0;
        let head = Head {
            instance: self.instance,
            started_at: self.started_at,
            sequence: self.sequence,
            base: self.base,
            part: 0,
            parts: 1,
            sent_at: now.max(self.started_at),
            flags,
            source: self.source.to_string(),
        };
        let rows = self.rows.iter().skip(left_away).map(|(_, row)| row.clone()).collect();
        Some(Set::new(level::TRACE.into(), head, rows, limits::FRAME))
    }
}
