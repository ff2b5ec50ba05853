//! What an instance sends: sets that together always give a receiver the newest state.

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::collection::vec;
use proptest::prelude::*;
use zibrato_core::frame::{Flags, Frame, Key, Kind, State, Tags, Total, decode};
use zibrato_core::publish::{COMPLETE_EVERY, Publisher, Set};
use zibrato_core::registry::{Id, Reading};

const SECOND: u64 = 1_000_000_000;

fn reading(level: &str, name: &str, total: i64) -> Reading {
    let id =
        Id { level: level.into(), kind: Kind::Counter, name: name.into(), source: None, tags: Tags::none() };
    Reading { id: Arc::new(id), born: 5 * SECOND, state: State::Total(Total::whole(total)), traced: false }
}

fn frames(set: &Set, now: u64) -> Vec<Frame> {
    set.frames(now).iter().map(|bytes| decode(bytes).expect("our own frame").frame).collect()
}

#[test]
fn a_small_level_always_sends_complete_sets_and_is_quiet_when_nothing_changes() {
    let mut publisher = Publisher::new("host");
    let now = 10 * SECOND;
    let first = publisher.collect(vec![reading("info", "a", 1), reading("debug", "b", 2)], now);
    assert_eq!(first.len(), 2);
    assert!(first.iter().all(|set| set.head.is_complete() && set.head.sequence == 1));
    assert_eq!(
        first[0].head.started_at,
        5 * SECOND,
        "the level's totals were zero when its first metric was born"
    );
    let same = vec![reading("info", "a", 1), reading("debug", "b", 2)];
    assert!(publisher.collect(same.clone(), now + SECOND).is_empty());
    let due = publisher.collect(same, now + COMPLETE_EVERY.as_nanos() as u64);
    assert_eq!(due.len(), 2, "a complete set comes from time to time all the same");
    let frame = &frames(&due[0], 99 * SECOND)[0];
    assert_eq!((frame.head.sequence, frame.head.base, frame.head.sent_at), (2, 2, 99 * SECOND));
}

#[test]
fn a_large_level_sends_what_changed_since_its_complete_set_in_parts() {
    let mut publisher = Publisher::new("host");
    let many = |changed: i64| -> Vec<Reading> {
        (0..25_000).map(|i| reading("info", &format!("{i:0>40}"), if i < changed { 2 } else { 1 })).collect()
    };
    let first = publisher.collect(many(0), 10 * SECOND).remove(0);
    let parts = frames(&first, 10 * SECOND);
    assert!(parts.len() > 1 && parts.iter().all(|f| f.head.parts as usize == parts.len()));
    let second = publisher.collect(many(3), 11 * SECOND).remove(0);
    assert!(!second.head.is_complete() && second.head.base == 1);
    assert_eq!(second.rows.len(), 3);
    let third = publisher.collect(many(4), 12 * SECOND).remove(0);
    assert_eq!(third.rows.len(), 4, "what changed before is repeated until the next complete set");
    assert!(publisher.collect(many(4), 13 * SECOND).is_empty());
    assert!(publisher.collect(many(4), 20 * SECOND).remove(0).head.is_complete());
}

#[test]
fn an_end_sends_last_sets_of_every_level_and_a_retired_metric_its_own() {
    let mut publisher = Publisher::new("host");
    publisher.collect(vec![reading("info", "a", 1), reading("debug", "b", 1)], 10 * SECOND);
    let retired = publisher.retire(vec![reading("info", "a", 4)], 11 * SECOND);
    assert_eq!((retired.len(), retired[0].head.flags, retired[0].head.sequence), (1, Flags::RETIRED, 2));
    let last = publisher.finish(vec![reading("debug", "b", 7)], 12 * SECOND);
    assert_eq!(
        last.iter().map(|set| (&*set.level, set.rows.len())).collect::<Vec<_>>(),
        [("debug", 1), ("info", 0)]
    );
    assert!(last.iter().all(|set| set.head.flags.has(Flags::LAST) && set.head.is_complete()));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Rule 2: whoever has a complete set and the newest set after it has everything, whatever was lost between.
    #[test]
    fn any_complete_set_and_the_newest_set_give_the_present_state(
        steps in vec((0..1_500usize, 1..20i64), 1..20), lost in any::<u64>()
    ) {
        let mut publisher = Publisher::new("host");
        let mut totals = vec![1i64; 1_500];
        let mut newest_complete: Option<Set> = None;
        for (i, (metric, n)) in steps.into_iter().enumerate() {
            totals[metric] += n;
            let readings = totals.iter().enumerate().map(|(m, t)| reading("info", &format!("{m:0>30}"), *t)).collect();
            let sets = publisher.collect(readings, (10 + i as u64) * SECOND);
            let Some(set) = sets.into_iter().next() else { continue };
            let complete = set.head.is_complete();
            // The very set that the receiver's complete one is based on must have come; others may be lost.
            if !complete && newest_complete.as_ref().map(|c| c.head.sequence) == Some(set.head.base) && lost >> i & 1 == 0 {
                let mut got: BTreeMap<Key, State> = BTreeMap::new();
                for row in newest_complete.iter().flat_map(|s| &s.rows).chain(&set.rows) {
                    got.insert(row.key.clone(), row.state.clone());
                }
                // Names rise with the numbers, so the states are in the order of the totals.
                let states: Vec<State> = got.into_values().collect();
                let expected: Vec<State> = totals.iter().map(|t| State::Total(Total::whole(*t))).collect();
                prop_assert_eq!(states, expected);
            }
            if complete {
                newest_complete = Some(set);
            }
        }
    }
}

#[test]
fn a_changed_only_set_has_what_changed_and_changed_back() {
    let mut publisher = Publisher::new("host").with_sizes(1 << 20, 0);
    let level = |total| vec![reading("info", "back", total), reading("info", "still", 1)];
    let names = |sets: Vec<Set>| -> Vec<(String, State)> {
        sets.into_iter().flat_map(|s| s.rows).map(|r| (r.key.name.to_string(), r.state)).collect()
    };
    assert!(publisher.collect(level(3), 10 * SECOND)[0].head.is_complete());
    let back = |total| vec![("back".to_string(), State::Total(Total::whole(total)))];
    assert_eq!(names(publisher.collect(level(5), 11 * SECOND)), back(5));
    assert_eq!(names(publisher.collect(level(3), 12 * SECOND)), back(3), "a receiver may have merged 5");
    assert!(publisher.collect(level(3), 13 * SECOND).is_empty());
}
