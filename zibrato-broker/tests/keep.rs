//! The rules of what is kept, on the real code under loss, repetition, disorder, parts and restarts.
#![allow(clippy::unwrap_used)] // Also in what the tests share.

mod support;

use std::collections::{BTreeMap, BTreeSet};

use proptest::collection::vec;
use proptest::prelude::*;
use support::counter;
use zibrato_broker::keep::{Effect, Handed, Keep, Kept, Limits, Origin, Record, Taken};
use zibrato_core::ask::Cursor;
use zibrato_core::frame::{Flags, Head, InstanceId, Row, decode, decode_head, encode_head, encode_set};

const SECOND: u64 = 1_000_000_000;
const INSTANCE: InstanceId = InstanceId([5; 16]);

/// What a publisher does in one step.
#[derive(Debug, Clone)]
enum Step {
    /// Counts on some metrics.
    Count(Vec<u8>),
    /// Sends a set, split into parts of about so many rows.
    Send { complete: bool, split: usize },
    /// Retires a metric.
    Retire(u8),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        3 => vec(0..6u8, 1..4).prop_map(Step::Count),
        4 => (prop::bool::weighted(0.4), 1..4usize).prop_map(|(complete, split)| Step::Send { complete, split }),
        1 => (0..6u8).prop_map(Step::Retire),
    ];
    vec(step, 1..40)
}

/// The frames that a correct publisher sends, in order, and the metrics that it retired at some sequence.
fn publish(steps: &[Step]) -> (Vec<Vec<u8>>, BTreeMap<String, u64>) {
    let (mut sequence, mut base, mut frames) = (0, 0, Vec::new());
    let mut totals: BTreeMap<String, (i64, bool)> = BTreeMap::new();
    let mut retired = BTreeMap::new();
    let mut generation = 0;
    for step in steps {
        let (flags, rows, split): (_, Vec<Row>, _) = match step {
            Step::Count(metrics) => {
                for m in metrics {
                    let name = totals.keys().find(|k| k.starts_with(&format!("m{m}."))).cloned();
                    let name = name.unwrap_or_else(|| {
                        generation += 1;
                        format!("m{m}.{generation}")
                    });
                    let total = totals.entry(name).or_default();
                    *total = (total.0 + 1, true);
                }
                continue;
            }
            Step::Retire(m) => {
                let Some(name) = totals.keys().find(|k| k.starts_with(&format!("m{m}."))).cloned() else {
                    continue;
                };
                let total = totals.remove(&name).unwrap();
                retired.insert(name.clone(), sequence + 1);
                (Flags::RETIRED, vec![counter(&name, total.0)], 9)
            }
            Step::Send { complete, split } => {
                let rows =
                    totals.iter().filter(|(_, t)| *complete || t.1).map(|(n, t)| counter(n, t.0)).collect();
                if *complete {
                    totals.values_mut().for_each(|t| t.1 = false);
                }
                (if *complete { Flags::COMPLETE } else { Flags::default() }, rows, *split)
            }
        };
        sequence += 1;
        if flags == Flags::COMPLETE {
            base = sequence;
        }
        let head_size = 128 + 4;
        let head = Head {
            instance: INSTANCE,
            started_at: 1,
            sequence,
            base,
            part: 0,
            parts: 1,
            sent_at: 1 + sequence * SECOND,
            flags,
            source: "host".into(),
        };
        frames.extend(encode_set(&head, &rows, head_size + split * 16));
    }
    (frames, retired)
}

/// The newest row of every metric, by sequence.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Merged(BTreeMap<String, (u64, i64)>);

impl Merged {
    fn add(&mut self, frame: &[u8]) {
        let sequence = decode_head(frame).unwrap().sequence;
        for (name, total) in support::totals(frame) {
            let newest = self.0.entry(name).or_default();
            *newest = (*newest).max((sequence, total));
        }
    }

    fn of<'a>(frames: impl IntoIterator<Item = &'a [u8]>) -> Self {
        let mut merged = Merged::default();
        frames.into_iter().for_each(|f| merged.add(f));
        merged
    }
}

fn take(keep: &mut Keep, frame: &[u8], now: u64) -> Taken {
    keep.take("info", &decode_head(frame).unwrap(), frame, now)
}

fn answer(keep: &Keep, cursor: Option<Cursor>) -> (Vec<Kept>, Cursor) {
    keep.answer(&[], cursor, false)
}

fn merged(kept: &[Kept]) -> Merged {
    Merged::of(kept.iter().map(|k| &k.frame[..]))
}

/// Deliveries: which frames arrive, in which order, how often.
fn deliver(frames: &[Vec<u8>], order: &[(u32, u8)]) -> Vec<Vec<u8>> {
    let mut arriving: Vec<(u32, &Vec<u8>)> = Vec::new();
    for (n, frame) in frames.iter().enumerate() {
        let (delay, fate) = order[n % order.len()];
        // Of ten, two are lost, one comes twice, and a delay overtakes.
        let copies = [1, 1, 0, 1, 2, 1, 1, 0, 1, 1][usize::from(fate) % 10];
        (0..copies).for_each(|copy| arriving.push((n as u32 * 10 + delay * (1 + copy), frame)));
    }
    arriving.sort_by_key(|a| a.0);
    arriving.into_iter().map(|a| a.1.clone()).collect()
}

/// What a correct receiver knows of: everything, but where a metric was retired and its retired set did not
/// arrive, a newer complete set may have displaced it.
fn required(arrived: &[Vec<u8>], retired: &BTreeMap<String, u64>) -> Merged {
    let mut all = Merged::of(arrived.iter().map(|f| &f[..]));
    all.0.retain(|name, newest| retired.get(name).is_none_or(|at| newest.0 == *at));
    all
}

fn includes(have: &Merged, required: &Merged) -> Result<(), TestCaseError> {
    for (name, newest) in &required.0 {
        prop_assert_eq!(have.0.get(name), Some(newest), "{}", name);
    }
    Ok(())
}

/// The disk, as the records change it.
#[derive(Default)]
struct Disk {
    frames: BTreeMap<(bool, u64, u32), (u64, Vec<u8>)>,
}

impl Disk {
    fn write(&mut self, record: &Record) {
        self.frames.retain(|k, _| k.0);
        for f in &record.frames {
            self.frames.insert((f.retired, f.sequence, f.part), (f.received, f.frame.to_vec()));
        }
    }

    fn apply(&mut self, keep: &mut Keep, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Write(record) => {
                    self.write(&record);
                    keep.stored(record.instance, &record.level, record.version, true);
                }
                Effect::Forget(_) => self.frames.clear(),
            }
        }
    }

    fn load(&self) -> Keep {
        let mut keep = Keep::new([2; 16], Limits::default());
        for (received, frame) in self.frames.values() {
            keep.restore("info", &decode_head(frame).unwrap(), frame, *received);
        }
        keep.restored();
        keep
    }
}

fn orders() -> impl Strategy<Value = Vec<(u32, u8)>> {
    vec((0..60u32, any::<u8>()), 7..20)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(debug_assertions) { 400 } else { 4000 }))]

    /// Whatever is lost, doubled, late or split: an answer merges to the newest of everything received.
    #[test]
    fn an_answer_merges_to_the_newest_of_everything_received(steps in steps(), order in orders()) {
        let (frames, retired) = publish(&steps);
        let arrived = deliver(&frames, &order);
        let mut keep = Keep::new([1; 16], Limits::default());
        for (n, frame) in arrived.iter().enumerate() {
            take(&mut keep, frame, n as u64);
            includes(&merged(&answer(&keep, None).0), &required(&arrived[..=n], &retired))?;
        }
        let kept = answer(&keep, None).0;
        let all = Merged::of(arrived.iter().map(|f| &f[..]));
        // Never more than was received.
        for (name, newest) in merged(&kept).0 {
            prop_assert!(all.0[&name].0 >= newest.0);
        }
        let overhead = |frames: usize, slots: usize| 96 * frames + 600 * slots;
        let bytes: usize = kept.iter().map(|k| k.frame.len()).sum();
        prop_assert_eq!(keep.bytes(), bytes + overhead(kept.len(), keep.slots()));
    }

    /// Once a whole complete set is here and nothing is lost, what is kept is that set, the newest changed-only
    /// set, and the retired ones.
    #[test]
    fn little_is_kept_of_a_publisher_that_is_heard(steps in steps()) {
        let (frames, retired) = publish(&steps);
        let mut keep = Keep::new([1; 16], Limits::default());
        for frame in &frames {
            take(&mut keep, frame, 1);
        }
        let heads = answer(&keep, None).0.into_iter().map(|k| decode_head(&k.frame).unwrap());
        let sets: BTreeSet<u64> = heads.map(|h| h.sequence).collect();
        prop_assert!(sets.len() <= 2 + retired.len(), "{:?}", sets);
    }

    /// A worker that asked once, heard nothing since, and asks again with its cursor, has everything: of a publisher that
    /// talks if it asks for that, too, and after it fell silent in any case.
    #[test]
    fn a_cursor_misses_nothing_once_it_is_quiet(steps in steps(), order in orders(), at in any::<prop::sample::Index>()) {
        let (frames, retired) = publish(&steps);
        let arrived = deliver(&frames, &order);
        let mut keep = Keep::new([1; 16], Limits::default());
        let at = at.index(arrived.len() + 1);
        let mut now = SECOND;
        for frame in &arrived[..at] {
            take(&mut keep, frame, now);
        }
        let (first, cursor) = answer(&keep, None);
        for frame in &arrived[at..] {
            now += SECOND;
            take(&mut keep, frame, now);
            keep.tick(now, 99);
        }
        let (meanwhile, _) = keep.answer(&[], Some(cursor), true);
        includes(&merged(&[first.clone(), meanwhile].concat()), &required(&arrived, &retired))?;
        keep.tick(now + 100 * SECOND, 99);
        let (second, _) = answer(&keep, Some(cursor));
        let have = merged(&[first, second].concat());
        includes(&have, &required(&arrived, &retired))?;
        // And an answer without a cursor has no less than both.
        prop_assert_eq!(answer(&keep, Some(Cursor { boot: [9; 16], ..cursor })).0.len(), answer(&keep, None).0.len());
    }

    /// What fell silent or was acknowledged is there after a restart.
    #[test]
    fn a_restart_finds_what_was_silent_or_acknowledged(steps in steps(), order in orders(), hand in any::<bool>()) {
        let (frames, retired) = publish(&steps);
        let arrived = deliver(&frames, &order);
        let mut keep = Keep::new([1; 16], Limits::default());
        let mut disk = Disk::default();
        let mut acknowledged = Vec::new();
        for (n, frame) in arrived.iter().enumerate() {
            take(&mut keep, frame, n as u64);
            let head = decode_head(frame).unwrap();
            if hand && head.flags.has(Flags::RETIRED) {
                match keep.handed(INSTANCE, "info", head.sequence) {
                    Handed::Write(record) => {
                        disk.write(&record);
                        keep.stored(INSTANCE, "info", record.version, true);
                        acknowledged.push(frame.clone());
                    }
                    Handed::Stored => acknowledged.push(frame.clone()),
                    other => prop_assert!(false, "{:?}", other),
                }
            }
        }
        includes(&merged(&answer(&disk.load(), None).0), &Merged::of(acknowledged.iter().map(|f| &f[..])))?;
        let effects = keep.tick(100 * SECOND, 99);
        disk.apply(&mut keep, effects);
        let again = disk.load();
        includes(&merged(&answer(&again, None).0), &required(&arrived, &retired))?;
        prop_assert_eq!(answer(&again, None).0.len(), answer(&keep, None).0.len());
        prop_assert_eq!(again.bytes(), keep.bytes());
        // Nothing new: nothing to write.
        prop_assert!(keep.tick(101 * SECOND, 99).is_empty());
        prop_assert!(disk.load().tick(102 * SECOND, 99).is_empty());
    }

    /// Any heads at all, from anyone: no panic, and the counts stay true.
    #[test]
    fn any_heads_are_taken_without_a_panic(
        heads in vec((0..3u8, 1..6u64, 0..6u64, 0..3u32, 1..4u32, 0..8u64, 0..3usize), 1..60)
    ) {
        let mut keep = Keep::new([1; 16], Limits { bytes: 4000, slots: 4, ..Limits::default() });
        for (n, (id, sequence, base, part, parts, flags, level)) in heads.into_iter().enumerate() {
            let head = Head {
                instance: InstanceId([id; 16]),
                started_at: 0,
                sequence,
                base: if flags & 1 == 1 { sequence } else { base.min(sequence - 1) },
                part: part.min(parts - 1),
                parts,
                sent_at: sequence,
                flags: Flags(flags),
                source: format!("host{id}"),
            };
            let frame = &encode_set(&head, &[counter("c", 1)], 1 << 20)[0];
            let level = ["a", "b", "c"][level];
            keep.take(level, &head, frame, n as u64);
            keep.handed(head.instance, level, sequence);
            keep.tick(n as u64, 99);
            prop_assert!(keep.slots() <= 4 && keep.bytes() <= 4000);
            let per_level: usize = keep.levels().map(|(_, c)| c.instances).sum();
            prop_assert_eq!(per_level, keep.slots());
        }
        // Everything passes the horizon in the end, and nothing is left over.
        keep.tick(Limits::default().horizon * 2, 99);
        prop_assert_eq!((keep.slots(), keep.bytes(), keep.instances()), (0, 0, 0));
        prop_assert_eq!(answer(&keep, None).0.len(), 0);
    }
}

fn frame(instance: u8, sequence: u64, flags: Flags, part: u32, parts: u32) -> (Head, Vec<u8>) {
    let head = Head { part, parts, ..support::head(instance, sequence, flags) };
    let mut bytes = Vec::new();
    zibrato_core::frame::encode_head(&mut bytes, &head, 1);
    zibrato_core::frame::encode_row(&mut bytes, &counter(&format!("c{part}"), sequence as i64), "host");
    assert_eq!(decode(&bytes).unwrap().frame.head, head);
    (head, bytes)
}

fn give(keep: &mut Keep, frame: &(Head, Vec<u8>), now: u64) -> Taken {
    keep.take("info", &frame.0, &frame.1, now)
}

#[test]
fn an_acknowledgement_needs_all_parts_and_the_disk() {
    let mut keep = Keep::new([1; 16], Limits::default());
    let end = Flags::COMPLETE.with(Flags::LAST);
    let id = InstanceId([1; 16]);
    give(&mut keep, &frame(1, 3, end, 0, 2), 1);
    assert!(matches!(keep.handed(id, "info", 3), Handed::Partial));
    assert!(keep.tick(2, 99).is_empty());
    give(&mut keep, &frame(1, 3, end, 1, 2), 1);
    let Handed::Write(record) = keep.handed(id, "info", 3) else { panic!() };
    assert_eq!(record.frames.len(), 2);
    assert!(matches!(keep.handed(id, "info", 3), Handed::Pending(_)));
    keep.stored(id, "info", record.version, false);
    let Handed::Write(record) = keep.handed(id, "info", 3) else { panic!("a failed write is tried again") };
    keep.stored(id, "info", record.version, true);
    assert!(matches!(keep.handed(id, "info", 3), Handed::Stored));
    assert!(matches!(keep.handed(id, "debug", 3), Handed::Partial));
    // An older set is covered by what is stored.
    assert_eq!(give(&mut keep, &frame(1, 2, end, 0, 1), 1), Taken::Late);
    assert!(matches!(keep.handed(id, "info", 2), Handed::Stored));
}

#[test]
fn a_set_that_was_pushed_and_ended_is_written_without_being_handed_over() {
    let mut keep = Keep::new([1; 16], Limits::default());
    give(&mut keep, &frame(1, 3, Flags::COMPLETE.with(Flags::LAST), 0, 1), 1);
    assert!(matches!(&keep.tick(2, 99)[..], [Effect::Write(_)]));
    assert_eq!(keep.counts().ended, 1);
}

#[test]
fn parts_that_contradict_each_other_are_conflicts() {
    let mut keep = Keep::new([1; 16], Limits::default());
    give(&mut keep, &frame(1, 3, Flags::COMPLETE, 0, 2), 1);
    assert_eq!(give(&mut keep, &frame(1, 3, Flags::COMPLETE, 1, 3), 1), Taken::Conflict);
    assert_eq!(give(&mut keep, &frame(1, 3, Flags::COMPLETE, 0, 2), 1), Taken::Repeat);
    assert_eq!(give(&mut keep, &frame(1, 3, Flags::COMPLETE, 1, 2), 1), Taken::News);
    assert_eq!(keep.counts().conflicts, 1);
}

#[test]
fn past_the_horizon_a_tombstone_refuses_what_is_old() {
    let limits = Limits { horizon: 100 * SECOND, ..Limits::default() };
    let mut keep = Keep::new([1; 16], limits.clone());
    give(&mut keep, &frame(1, 7, Flags::COMPLETE, 0, 1), SECOND);
    let effects = keep.tick(102 * SECOND, 99);
    let Some(Effect::Forget(tombstone)) = effects.into_iter().next() else { panic!() };
    assert_eq!((keep.instances(), keep.counts().expired), (0, 1));
    assert_eq!(give(&mut keep, &frame(1, 7, Flags::COMPLETE, 0, 1), 103 * SECOND), Taken::Forgotten);
    assert_eq!(keep.counts().forgotten, 1);
    assert_eq!(keep.instances(), 0);
    // Also after a restart; but one that goes on is taken.
    let mut again = Keep::new([2; 16], limits);
    again.restore_tombstone(tombstone);
    assert_eq!(give(&mut again, &frame(1, 6, Flags::COMPLETE, 0, 1), 103 * SECOND), Taken::Forgotten);
    assert_eq!(give(&mut again, &frame(1, 8, Flags::COMPLETE, 0, 1), 103 * SECOND), Taken::News);
    // The tombstone itself stays for one more horizon.
    let mut later = Keep::new([2; 16], Limits { horizon: 100 * SECOND, ..Limits::default() });
    give(&mut later, &frame(1, 7, Flags::COMPLETE, 0, 1), SECOND);
    later.tick(102 * SECOND, 99);
    later.tick(203 * SECOND, 99);
    assert_eq!(give(&mut later, &frame(1, 7, Flags::COMPLETE, 0, 1), 204 * SECOND), Taken::News);
}

#[test]
fn retired_sets_of_a_living_instance_pass_the_horizon_by_themselves() {
    let mut keep = Keep::new([1; 16], Limits { horizon: 100 * SECOND, ..Limits::default() });
    give(&mut keep, &frame(1, 1, Flags::RETIRED, 0, 1), SECOND);
    give(&mut keep, &frame(1, 2, Flags::RETIRED, 0, 1), 50 * SECOND);
    give(&mut keep, &frame(1, 3, Flags::COMPLETE, 0, 1), 101 * SECOND);
    keep.tick(102 * SECOND, 99);
    let (kept, _) = answer(&keep, None);
    let sequences: BTreeSet<u64> = kept.iter().map(|k| decode_head(&k.frame).unwrap().sequence).collect();
    assert_eq!(sequences, [2, 3].into());
    assert_eq!(answer(&keep, Some(Cursor { boot: [1; 16], position: 0 })).0.len(), 1);
}

#[test]
fn who_has_a_cursor_is_told_the_state_of_what_talks_where_that_is_asked_for() {
    let mut keep = Keep::new([1; 16], Limits::default());
    let ended = Flags::COMPLETE.with(Flags::LAST);
    give(&mut keep, &frame(1, 9, ended, 0, 1), SECOND);
    give(&mut keep, &frame(2, 1, Flags::RETIRED, 0, 1), SECOND);
    give(&mut keep, &frame(2, 2, Flags::COMPLETE, 0, 1), SECOND);
    let told = |kept: &[Kept]| -> Vec<(u8, u64)> {
        let heads = kept.iter().map(|kept| decode_head(&kept.frame).unwrap());
        let mut told: Vec<_> = heads.map(|head| (head.instance.0[0], head.sequence)).collect();
        told.sort();
        told
    };
    let cursor = answer(&keep, None).1;
    give(&mut keep, &frame(2, 3, Flags::COMPLETE, 0, 1), SECOND);
    assert_eq!(told(&keep.answer(&[], Some(cursor), false).0), []);
    assert_eq!(told(&keep.answer(&[], Some(cursor), true).0), [(2, 3)]);
    assert_eq!(told(&keep.answer(&["debug".into()], Some(cursor), true).0), []);
    give(&mut keep, &frame(2, 4, Flags::RETIRED, 0, 1), SECOND);
    give(&mut keep, &frame(3, 5, ended, 0, 1), SECOND);
    assert_eq!(told(&keep.answer(&[], Some(cursor), false).0), [(2, 4), (3, 5)]);
    assert_eq!(told(&keep.answer(&[], Some(cursor), true).0), [(2, 3), (2, 4), (3, 5)]);
    for talking in [false, true] {
        assert_eq!(told(&keep.answer(&["debug".into()], Some(cursor), talking).0), [], "{talking}");
    }
    // A retired set that is not whole has no place in the log either.
    give(&mut keep, &frame(2, 5, Flags::RETIRED, 0, 2), SECOND);
    assert_eq!(told(&keep.answer(&[], Some(cursor), true).0), [(2, 3), (2, 4), (2, 5), (3, 5)]);
}

#[test]
fn what_talks_again_while_an_answer_is_on_its_way_is_told() {
    let mut keep = Keep::new([1; 16], Limits::default());
    let (complete, changed) = (frame(1, 1, Flags::COMPLETE, 0, 1), frame(1, 2, Flags::default(), 0, 1));
    let cursor = answer(&keep, None).1;
    give(&mut keep, &complete, SECOND);
    keep.tick(100 * SECOND, 99);
    let mut answer = keep.begin_answer(&[], Some(cursor), true);
    give(&mut keep, &changed, 100 * SECOND);
    let mut told = Vec::new();
    while let Some(piece) = keep.go_on(&mut answer) {
        told.extend(piece.iter().map(|kept| kept.frame.to_vec()));
    }
    assert_eq!(told, [complete.1, changed.1]);
}

#[test]
fn an_answer_has_all_of_an_instance_that_goes_on_meanwhile() {
    let mut keep = Keep::new([1; 16], Limits::default());
    let mut sequence = 0;
    let mut send = |keep: &mut Keep, flags| {
        sequence += 1;
        give(keep, &frame(1, sequence, flags, 0, 1), SECOND);
    };
    (0..1_000).for_each(|_| send(&mut keep, Flags::RETIRED));
    // Between any two pieces there are more sets, or one in the place of all.
    (0..50).for_each(|_| send(&mut keep, Flags::default()));
    let mut answer = keep.begin_answer(&[], None, false);
    let mut told = BTreeSet::new();
    let mut pieces = 0;
    while let Some(piece) = keep.go_on(&mut answer) {
        told.extend(piece.iter().map(|kept| decode_head(&kept.frame).unwrap().sequence));
        pieces += 1;
        match pieces % 2 {
            1 => send(&mut keep, Flags::COMPLETE),
            _ => (0..50).for_each(|_| send(&mut keep, Flags::default())),
        }
    }
    let missing: Vec<u64> = (1..=1_000).filter(|sequence| !told.contains(sequence)).collect();
    assert!(missing.is_empty() && pieces > 3, "{pieces} pieces lack {missing:?}");
}

#[test]
fn a_source_that_floods_displaces_itself() {
    let mut keep = Keep::new([1; 16], Limits { slots: 32, ..Limits::default() });
    let quiet = frame(200, 1, Flags::COMPLETE.with(Flags::LAST), 0, 1);
    let quiet = (Head { source: "quiet".into(), ..quiet.0 }, quiet.1);
    give(&mut keep, &quiet, 0);
    for n in 0..100 {
        give(&mut keep, &frame(n, 1, Flags::COMPLETE, 0, 1), 1 + u64::from(n));
        keep.tick(1 + u64::from(n), 99);
    }
    assert!(keep.slots() <= 32);
    assert!(keep.counts().evicted >= 69);
    let kept = answer(&keep, None).0;
    assert!(kept.iter().any(|k| k.frame == quiet.1));
    assert!(kept.iter().any(|k| decode_head(&k.frame).unwrap().instance == InstanceId([99; 16])));
}

#[test]
fn a_flood_does_not_wait_for_the_next_tick() {
    let mut keep = Keep::new([1; 16], Limits { bytes: 100_000, ..Limits::default() });
    for n in 0..10_000u32 {
        let (mut head, bytes) = frame(0, 1, Flags::COMPLETE, 0, 1);
        head.instance.0[..4].copy_from_slice(&n.to_be_bytes());
        give(&mut keep, &(head, bytes), u64::from(n));
        assert!(keep.bytes() < 114_000);
    }
    // The disk is told of everyone who had to go.
    let gone = keep.tick(20_000, 0).into_iter().filter(|e| matches!(e, Effect::Forget(_))).count();
    assert_eq!((gone as u64, gone + keep.slots()), (keep.counts().evicted, 10_000));
}

#[test]
fn gaps_are_counted_per_instance_and_level() {
    let mut keep = Keep::new([1; 16], Limits::default());
    for sequence in [5, 6, 9, 8] {
        give(&mut keep, &frame(1, sequence, Flags::COMPLETE, 0, 1), 1);
    }
    let listed = keep.newest(2, 10);
    assert_eq!((listed[0].gaps, listed[0].sequence, listed[0].frames), (2, 9, 4));
    assert_eq!(keep.levels().next().unwrap().1.gaps, 2);
}

#[test]
fn a_slow_publisher_is_not_taken_for_silent() {
    let mut keep = Keep::new([1; 16], Limits::default());
    let mut now = 0;
    for sequence in 1..5 {
        let (mut head, bytes) = frame(1, sequence, Flags::COMPLETE, 0, 1);
        now = sequence * 10 * SECOND;
        head.sent_at = now;
        give(&mut keep, &(head, bytes), now);
    }
    keep.tick(now + 25 * SECOND, 99);
    assert_eq!((keep.position(), keep.counts().silences), (0, 0));
    keep.tick(now + 31 * SECOND, 99);
    assert_eq!((keep.position(), keep.counts().silences), (1, 1));
    keep.tick(now + 32 * SECOND, 99);
    assert_eq!((keep.position(), keep.counts().silences), (1, 1));
    // It comes back, and ends: that is no silence.
    let (mut head, bytes) = frame(1, 5, Flags::COMPLETE.with(Flags::LAST), 0, 1);
    now += 40 * SECOND;
    head.sent_at = now;
    give(&mut keep, &(head, bytes), now);
    keep.tick(now + 100 * SECOND, 99);
    assert_eq!((keep.counts().silences, keep.counts().ended), (1, 1));
}

#[test]
fn who_floods_displaces_only_itself() {
    let mut keep = Keep::new([1; 16], Limits { slots: 100, ..Limits::default() });
    let from = |sender: &str, connection| Origin { sender: sender.into(), connection, instances: None };
    let head = |n: u64, source: String| {
        let mut instance = [0; 16];
        instance[..8].copy_from_slice(&n.to_be_bytes());
        let base = Head { source, instance: InstanceId(instance), ..frame(0, 1, Flags::COMPLETE, 0, 1).0 };
        let mut bytes = Vec::new();
        encode_head(&mut bytes, &base, 0);
        (base, bytes)
    };
    let take = |keep: &mut Keep, n, source: &str, from: &Origin| {
        let (head, bytes) = head(n, source.into());
        keep.take_own("info", &head, &bytes, None, from, n);
    };
    // Two of one address, over connections of their own, and one of another.
    for n in 0..10 {
        take(&mut keep, n, "good", &from("a", 1));
        take(&mut keep, 100 + n, "good", &from("b", 2));
    }
    // The flood has a source for each instance, so that no source has many.
    for n in 1000..50_000 {
        take(&mut keep, n, &format!("s{n}"), &from("a", 3));
    }
    assert!(keep.slots() <= 113, "{}", keep.slots());
    let (kept, _) = keep.answer(&[], None, false);
    let good = kept.iter().filter(|k| decode_head(&k.frame).unwrap().source == "good");
    assert_eq!(good.count(), 20);
    let shed = keep.take_shed();
    assert_eq!(shed.keys().map(|k| &**k).collect::<Vec<_>>(), ["a"]);
}

#[test]
fn a_sender_has_no_more_instances_than_it_may() {
    let mut keep = Keep::new([1; 16], Limits { instances: 80, ..Limits::default() });
    let few = Origin { sender: "few".into(), connection: 1, instances: Some(8) };
    let many = Origin { sender: "many".into(), connection: 2, instances: None };
    for n in 0..200u8 {
        let at = |instance, level: &str, from: &Origin, keep: &mut Keep| {
            let head = Head { instance: InstanceId([instance; 16]), ..frame(0, 1, Flags::COMPLETE, 0, 1).0 };
            let mut bytes = Vec::new();
            encode_head(&mut bytes, &head, 0);
            keep.take_own(level, &head, &bytes, None, from, u64::from(n));
        };
        if n < 100 {
            at(n, "info", &few, &mut keep);
            // Another level of the same instance is no other instance.
            at(n, "error", &few, &mut keep);
        } else {
            at(n, "info", &many, &mut keep);
        }
    }
    let (kept, _) = keep.answer(&["info".into()], None, false);
    let ids = kept.iter().map(|k| decode_head(&k.frame).unwrap().instance.0[0]);
    let (few, many): (Vec<_>, Vec<_>) = ids.partition(|id| *id < 100);
    assert!(few.len() <= 9 && few.contains(&99), "{few:?}");
    assert!((60..=90).contains(&many.len()) && many.contains(&199), "{many:?}");
}
