use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use metrics::Key;
use zibrato_core::limits;

use crate::Counter;
use crate::bridge::append_map::AppendMap;

/// Counters that are set to what somebody else has counted. They stay as long as the recorder: one that came back
/// would count everything again.
#[derive(Debug)]
pub(super) struct Absolutes(AppendMap<(Key, String), Arc<Absolute>>);

/// One counter that is set.
#[derive(Debug)]
pub(super) struct Absolute {
    highest: AtomicU64,
    /// Keeps the metric, too.
    counter: Counter,
}

impl Absolutes {
    pub(super) fn new() -> Self {
        Absolutes(AppendMap::new(limits::METRICS))
    }

    /// The one of this key and level; `None` where there are too many.
    pub(super) fn of(&self, key: &Key, level: &str, counter: &Counter) -> Option<Arc<Absolute>> {
        let is = |(k, l): &(Key, String)| k == key && l == level;
        let make = || {
            let absolute = Absolute { highest: AtomicU64::new(0), counter: counter.clone() };
            ((key.to_retained(), level.to_string()), Arc::new(absolute))
        };
        self.0.get_or_insert(key.get_hash(), is, make).cloned()
    }
}

impl Absolute {
    /// Raises the counter to `value`, if it has not been there.
    pub(super) fn set(&self, value: u64) {
        let before = self.highest.fetch_max(value, Relaxed);
        if value > before {
            self.counter.add(value - before);
        }
    }
}
