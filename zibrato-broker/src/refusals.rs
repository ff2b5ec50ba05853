//! What was refused: counted by reason and by who sent it, and said at a bounded rate.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// A line a reason in this time.
const EVERY: Duration = Duration::from_secs(10);
/// Most senders whose refusals are told apart. Where there are more, those with the fewest are forgotten.
const SENDERS: usize = 1000;

#[derive(Debug, Default)]
struct Reason {
    count: u64,
    said: Option<(Instant, u64)>,
}

#[derive(Debug, Default)]
struct State {
    reasons: BTreeMap<&'static str, Reason>,
    senders: HashMap<Box<str>, BTreeMap<&'static str, u64>>,
}

/// Counters of what was refused. Reasons are fixed words of this program, so there are few.
#[derive(Debug, Default)]
pub(crate) struct Refusals(Mutex<State>);

impl Refusals {
    /// Counts something that came in at `place` and was refused for `reason`.
    pub(crate) fn count(&self, place: &'static str, reason: &'static str, detail: impl std::fmt::Display) {
        self.count_of(place, reason, "", detail);
    }

    /// The same, where it is known whose it is: an identity, or an address.
    pub(crate) fn count_of(
        &self,
        place: &'static str,
        reason: &'static str,
        who: &str,
        detail: impl std::fmt::Display,
    ) {
        self.count_many(place, reason, who, 1, detail);
    }

    /// The same for several at once.
    pub(crate) fn count_many(
        &self,
        place: &'static str,
        reason: &'static str,
        who: &str,
        count: u64,
        detail: impl std::fmt::Display,
    ) {
        let mut state = self.lock();
        if !who.is_empty() {
            state.note(who, reason, count);
        }
        let entry = state.reasons.entry(reason).or_default();
        entry.count += count;
        if entry.said.is_none_or(|(at, _)| at.elapsed() >= EVERY) {
            let since = entry.count - entry.said.map_or(0, |(_, count)| count);
            entry.said = Some((Instant::now(), entry.count));
            let total = entry.count;
            drop(state);
            tracing::warn!(place, reason, who, since, total, "refused: {detail}");
        }
    }

    /// The counters by reason.
    pub(crate) fn counts(&self) -> Vec<(&'static str, u64)> {
        self.lock().reasons.iter().map(|(reason, entry)| (*reason, entry.count)).collect()
    }

    /// Those of whom most was refused, with how much by reason; the worst first.
    pub(crate) fn worst(&self, most: usize) -> Vec<(String, BTreeMap<&'static str, u64>)> {
        let state = self.lock();
        let mut all: Vec<_> =
            state.senders.iter().map(|(who, own)| (own.values().sum::<u64>(), who)).collect();
        all.sort_unstable_by(|a, b| b.0.cmp(&a.0).then(a.1.cmp(b.1)));
        let worst = all.into_iter().take(most);
        worst.filter_map(|(_, who)| Some((who.to_string(), state.senders.get(who)?.clone()))).collect()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Counters stay usable whatever panicked while they were held.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn note(&mut self, who: &str, reason: &'static str, count: u64) {
        if let Some(own) = self.senders.get_mut(who) {
            *own.entry(reason).or_default() += count;
            return;
        }
        if self.senders.len() >= SENDERS {
            let mut totals: Vec<u64> = self.senders.values().map(|own| own.values().sum()).collect();
            let (_, median, _) = totals.select_nth_unstable(SENDERS / 2);
            let median = *median;
            self.senders.retain(|_, own| own.values().sum::<u64>() > median);
        }
        self.senders.insert(who.into(), BTreeMap::from([(reason, count)]));
    }
}
