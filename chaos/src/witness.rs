//! What was seen to arrive at brokers, and must not be lost any more: totals of applications that are cut off later, as
//! the way to a broker has carried them.
//!
//! How much an application may lose that is cut off while its way is in trouble cannot be told by the trouble. But what a
//! broker was handed, and had the time to pass on, has to be settled by every worker that was there.

use std::collections::BTreeMap;

use zibrato_core::frame::{State, decode};
use zibrato_core::level::of_topic;

use crate::truth::Trouble;
use crate::zmtp::parts;

/// The counter that is looked at: it counts two with every batch.
pub const NAME: &str = "chaos.both";
/// At which level.
pub const LEVEL: &str = "error";

/// How long a broker has to live on to have passed something on, and a worker to have settled it.
const TIME: u64 = 3_000_000_000;
/// How long before something it must have been well, to have been connected by then.
const BEFORE: u64 = 3_500_000_000;

/// How many batches a source has counted, by its own frame.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Seen {
    /// The source.
    pub source: String,
    /// Batches.
    pub batches: u64,
}

/// What a message of a publisher says of batches; nothing for most.
pub fn seen(message: &[u8]) -> Option<Seen> {
    let [topic, frame] = parts(message)[..] else { return None };
    if of_topic(topic)? != LEVEL {
        return None;
    }
    let decoded = decode(frame).ok()?;
    let row = decoded.frame.rows.iter().find(|row| &*row.key.name == NAME)?;
    let State::Total(total) = &row.state else { return None };
    let (source, batches) = (decoded.frame.head.source, total.value() / 2.0);
    (batches >= 0.0).then_some(Seen { source, batches: batches as u64 })
}

/// When what was handed to a broker, in nanoseconds of the monotonic clock, by source and rising time.
pub type Log = BTreeMap<String, Vec<(u64, u64)>>;

/// How many batches of a source a worker must have settled, given what one broker was handed: `broker` and `worker` are the
/// times at which these were not well, each with the ways between them, and `deaths` those at which the broker died.
pub fn settled(log: &[(u64, u64)], broker: &[Trouble], worker: &[Trouble], deaths: &[u64]) -> u64 {
    let well = |of: &[Trouble], from: u64, to: u64| of.iter().all(|t| t.end <= from || to <= t.begin);
    let is_sure = |at: u64| {
        // The broker has read it, and is asked again and again for what it keeps.
        let is_kept = well(broker, at, at + TIME) && deaths.iter().all(|death| *death < at);
        let is_passed = well(broker, at, at + TIME) && well(worker, at.saturating_sub(BEFORE), at + TIME);
        is_kept || is_passed
    };
    log.iter().filter(|(at, _)| is_sure(*at)).map(|(_, batches)| *batches).max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_handed_over_in_time_is_sure() {
        let second = 1_000_000_000;
        let log = [(10 * second, 100), (20 * second, 200), (30 * second, 300)];
        let trouble = |from: u64, to: u64| Trouble { begin: from * second, end: to * second };
        assert_eq!(settled(&log, &[], &[], &[]), 300);
        // It died with it.
        assert_eq!(settled(&log, &[trouble(31, 33)], &[], &[31 * second]), 200);
        // The worker was not there, and the broker died before it asked.
        let away = [trouble(15, 25), trouble(29, 30)];
        assert_eq!(settled(&log, &[trouble(40, 41)], &away, &[40 * second]), 100);
        assert_eq!(settled(&log, &[trouble(5, 6)], &away, &[5 * second]), 300);
    }
}
