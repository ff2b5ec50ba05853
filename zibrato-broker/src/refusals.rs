//! What was refused: counted by reason, and said at a bounded rate.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// A line a reason in this time.
const EVERY: Duration = Duration::from_secs(10);

#[derive(Default)]
struct Reason {
    count: u64,
    said: Option<(Instant, u64)>,
}

/// Counters of refused messages. Reasons are fixed words of this program, so there are few.
#[derive(Default)]
pub(crate) struct Refusals(Mutex<BTreeMap<&'static str, Reason>>);

impl Refusals {
    /// Counts a message that came in at `place` and was refused for `reason`.
    pub(crate) fn count(&self, place: &'static str, reason: &'static str, detail: impl std::fmt::Display) {
        let mut reasons = self.lock();
        let entry = reasons.entry(reason).or_default();
        entry.count += 1;
        if entry.said.is_none_or(|(at, _)| at.elapsed() >= EVERY) {
            let since = entry.count - entry.said.map_or(0, |(_, count)| count);
            entry.said = Some((Instant::now(), entry.count));
            let total = entry.count;
            drop(reasons);
            tracing::warn!(place, reason, since, total, "refused a message: {detail}");
        }
    }

    /// The counters by reason.
    pub(crate) fn counts(&self) -> Vec<(&'static str, u64)> {
        self.lock().iter().map(|(reason, entry)| (*reason, entry.count)).collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<&'static str, Reason>> {
        // Counters stay usable whatever panicked while they were held.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
