//! Since when a worker has listened to which level.

use std::collections::BTreeMap;

use crate::level::Levels;

/// Stands for every level that has no entry of its own.
const ALL: &str = "*";

/// Since when a worker has listened to each level, in nanoseconds on its own clock; kept on its disk.
///
/// A level keeps its time when it is taken away and comes back, except that a level which was excluded from "all
/// levels" begins anew.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Since(BTreeMap<String, Option<u64>>);

impl Since {
    /// What was kept: pairs of a level (or `*`) and its time, `None` where it was excluded.
    pub fn from_pairs(pairs: impl IntoIterator<Item = (String, Option<u64>)>) -> Self {
        Since(pairs.into_iter().collect())
    }

    /// What is to be kept.
    pub fn pairs(&self) -> impl Iterator<Item = (&str, Option<u64>)> {
        self.0.iter().map(|(level, at)| (&**level, *at))
    }

    /// Since when `level` has been listened to; `None` if it never was.
    pub fn get(&self, level: &str) -> Option<u64> {
        self.0.get(level).or_else(|| self.0.get(ALL)).copied().flatten()
    }

    /// Notes the start of a worker that listens to `levels`: what is new to it begins now. True if anything is.
    pub fn begin(&mut self, levels: &Levels, now: u64) -> bool {
        let before = self.clone();
        // Whatever the exclusions, a level that is wanted now and has no time begins now.
        for at in self.0.iter_mut().filter(|(level, at)| at.is_none() && levels.contains(level)).map(|e| e.1)
        {
            *at = Some(now);
        }
        if levels.is_all() {
            self.0.entry(ALL.into()).or_insert(Some(now));
            for level in levels.excluded() {
                // One that was listened to before keeps its time.
                let kept = before.get(level);
                self.0.entry(level.clone()).or_insert(kept);
            }
        } else {
            for level in levels.listed() {
                if self.get(level).is_none() {
                    self.0.insert(level.clone(), Some(now));
                }
            }
        }
        *self != before
    }

    /// Takes over what another state directory knew: the earlier time of each level.
    pub fn merge(&mut self, other: &Since) {
        for (level, at) in &other.0 {
            let own = self.0.entry(level.clone()).or_insert(*at);
            *own = match (*own, *at) {
                (Some(a), Some(b)) => Some(a.min(b)),
                (a, b) => a.or(b),
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn levels(text: &str) -> Levels {
        text.parse().unwrap()
    }

    #[test]
    fn a_level_keeps_its_time() {
        let mut since = Since::default();
        assert!(since.begin(&levels("info"), 10));
        assert!(!since.begin(&levels("info"), 20));
        assert!(since.begin(&levels("info,debug"), 30));
        assert_eq!((since.get("info"), since.get("debug"), since.get("x")), (Some(10), Some(30), None));
        assert!(since.begin(&levels("*"), 40));
        assert_eq!((since.get("info"), since.get("debug"), since.get("x")), (Some(10), Some(30), Some(40)));
        assert!(!since.begin(&levels("x"), 50));
        assert_eq!(Since::from_pairs(since.pairs().map(|(l, at)| (l.into(), at))), since);
    }

    #[test]
    fn a_level_that_was_excluded_begins_when_it_is_wanted() {
        let mut since = Since::default();
        since.begin(&levels("*,!debug"), 10);
        assert_eq!((since.get("info"), since.get("debug")), (Some(10), None));
        since.begin(&levels("*"), 20);
        assert_eq!((since.get("info"), since.get("debug")), (Some(10), Some(20)));
        since.begin(&levels("*,!debug"), 30);
        assert_eq!(since.get("debug"), Some(20), "kept: its totals are settled up to some point");
    }
}
