//! What a worker's disk knows: up to where each instance's totals have been settled.

use std::collections::HashMap;
use std::sync::Arc;

use super::{Sequences, Since};
use crate::frame::{InstanceId, Key, State};

/// Whose totals: they are kept per instance and level.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Origin {
    /// The instance.
    pub instance: InstanceId,
    /// The level.
    pub level: Arc<str>,
}

impl std::fmt::Display for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.instance, self.level)
    }
}

/// Up to where one metric has been settled.
#[derive(Debug, Clone, PartialEq)]
pub struct SettledRow {
    /// The sequence of the set that `state` was in; older rows change nothing.
    pub sequence: u64,
    /// The totals that have been settled, without extremes.
    pub state: Arc<State>,
    /// When the metric was heard to be retired, on the forgetting clock.
    pub retired: Option<u64>,
}

/// Up to where the totals of one instance at one level have been settled.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct SettledEntry {
    /// When its totals were zero, as estimated on the worker's clock.
    pub start: u64,
    /// When it was last heard, on the forgetting clock.
    pub heard: u64,
    /// The newest set that has been settled.
    pub sequence: u64,
    /// How many of its sets have never come, since it was first heard: totals healed, but not the time in which things
    /// happened, nor extremes.
    pub missed: u64,
    /// By metric; gauges without statistics, points and descriptions have none.
    pub rows: HashMap<Key, SettledRow>,
    /// Numbers of the points that have been settled, or given up.
    pub points: Sequences,
}

/// The tombstone of all instances that have been forgotten.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Horizon {
    /// The latest start of an instance that was forgotten, on the worker's clock.
    pub upto: u64,
    /// When the last one was forgotten, on the worker's clock.
    pub when: u64,
}

impl Horizon {
    /// The horizon after both.
    pub fn latest(a: Option<Horizon>, b: Option<Horizon>) -> Option<Horizon> {
        match (a, b) {
            (Some(a), Some(b)) => Some(Horizon { upto: a.upto.max(b.upto), when: a.when.max(b.when) }),
            (a, b) => a.or(b),
        }
    }
}

/// What a worker must not lose; everything else it is told again.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Settled {
    /// By instance and level.
    pub entries: HashMap<Origin, SettledEntry>,
    /// Since when it has listened.
    pub since: Since,
    /// What was forgotten.
    pub horizon: Option<Horizon>,
    /// The forgetting clock: for how long the worker has run while every broker answered, in nanoseconds.
    pub ran: u64,
}
