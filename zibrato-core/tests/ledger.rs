//! Merging and settling: whatever happens to frames on their way, the totals come out.

use proptest::prelude::*;
use zibrato_core::frame::*;
use zibrato_core::histogram::Histogram;
use zibrato_core::ledger::*;
use zibrato_core::level::Levels;

const SECOND: u64 = 1_000_000_000;
const NOW: u64 = 1_000_000 * SECOND;
const ID: InstanceId = InstanceId([7; 16]);

/// A ledger of a worker that has listened since `since`.
fn ledger(since: u64) -> Ledger {
    let mut ledger = Ledger::new(Settled::default(), Slacks::default(), HORIZON);
    ledger.since_mut().begin(&Levels::default(), since);
    ledger
}

fn key(kind: Kind, name: &str) -> Key {
    Key { kind, name: name.into(), source: "here".into(), tags: Tags::none(), born: 0 }
}

fn counter(name: &str, total: i64) -> Row {
    Row { key: key(Kind::Counter, name), state: State::Total(Total::whole(total)), trace: None, event: None }
}

fn timer(values: &[f64], interval: &[f64]) -> Row {
    let mut histogram = Histogram::default();
    values.iter().for_each(|v| assert!(histogram.record(*v)));
    let span = interval
        .iter()
        .copied()
        .reduce(f64::min)
        .map(|min| Span { min, max: interval.iter().copied().fold(min, f64::max) });
    let sum = Total::whole(values.iter().sum::<f64>() as i64);
    let state = State::Spread(Spread { sum, span, histogram });
    Row { key: key(Kind::Timer, "t"), state, trace: None, event: None }
}

/// A set sent `age` after the start; on a clock that has nothing to do with the receiver's.
fn head(sequence: u64, age: u64, complete: bool) -> Head {
    Head {
        instance: ID,
        started_at: 5 * SECOND,
        sequence,
        base: if complete { sequence } else { sequence - 1 },
        part: 0,
        parts: 1,
        sent_at: 5 * SECOND + age,
        flags: if complete { Flags::COMPLETE } else { Flags(0) },
        source: "here".into(),
    }
}

fn complete(sequence: u64, age: u64, rows: Vec<Row>) -> Frame {
    Frame { head: head(sequence, age, true), rows }
}

fn at(now: u64) -> Arrival {
    Arrival { now, held: 0 }
}

/// Settles, and gives the added totals by name.
fn totals(ledger: &mut Ledger) -> Vec<(String, i64)> {
    let deltas = ledger.settle(0).commit().deltas;
    let total = |delta: Delta| match delta.change {
        Change::Total(total) => (delta.key.name.to_string(), total.whole),
        other => panic!("no total: {other:?}"),
    };
    deltas.into_iter().map(total).collect()
}

fn one(name: &str, total: i64) -> Vec<(String, i64)> {
    vec![(name.into(), total)]
}

#[test]
fn a_younger_instance_counts_from_zero_and_each_count_once() {
    let mut ledger = ledger(NOW - 100 * SECOND);
    ledger.merge("info", complete(1, SECOND, vec![counter("a", 5)]), at(NOW));
    assert_eq!(totals(&mut ledger), one("a", 5));
    assert_eq!(totals(&mut ledger), []);
    ledger.merge("info", complete(3, 3 * SECOND, vec![counter("a", 9)]), at(NOW));
    ledger.merge("info", complete(2, 2 * SECOND, vec![counter("a", 6)]), at(NOW));
    assert_eq!(totals(&mut ledger), one("a", 4));
    assert_eq!((ledger.counts().gaps, ledger.counts().late), (1, 1));
}

#[test]
fn a_settlement_that_is_dropped_has_never_been() {
    let mut ledger = ledger(NOW - 100 * SECOND);
    ledger.merge("info", complete(1, SECOND, vec![counter("a", 5)]), at(NOW));
    assert_eq!(ledger.settle(0).settlement().deltas.len(), 1);
    assert_eq!(totals(&mut ledger), one("a", 5));
}

#[test]
fn one_name_at_two_levels_is_two_totals() {
    let mut ledger = ledger(NOW - 100 * SECOND);
    ledger.merge("info", complete(1, SECOND, vec![counter("a", 5)]), at(NOW));
    ledger.merge("debug", complete(1, SECOND, vec![counter("a", 7)]), at(NOW));
    assert_eq!(totals(&mut ledger), [("a".to_string(), 7), ("a".to_string(), 5)]);
}

#[test]
fn an_older_instance_counts_from_its_first_whole_set() {
    let mut ledger = ledger(NOW);
    let old = 100 * SECOND;
    let changed = Frame { head: head(4, old, false), rows: vec![counter("a", 3)] };
    ledger.merge("info", changed, at(NOW));
    assert_eq!(totals(&mut ledger), [], "no baseline yet");
    let part = |part, rows| {
        let mut frame = complete(5, old, rows);
        (frame.head.part, frame.head.parts) = (part, 2);
        frame
    };
    ledger.merge("info", part(1, vec![counter("b", 10)]), at(NOW));
    assert_eq!(totals(&mut ledger), [], "not whole yet");
    ledger.merge("info", complete(6, old, vec![counter("a", 7), counter("b", 12)]), at(NOW));
    ledger.merge("info", part(0, vec![counter("a", 5)]), at(NOW));
    ledger.merge("info", complete(7, old, vec![counter("a", 8), counter("b", 12), counter("c", 2)]), at(NOW));
    assert_eq!(totals(&mut ledger), [("a".to_string(), 1), ("c".to_string(), 2)]);
}

#[test]
fn a_first_sight_is_kept_before_anything_is_settled() {
    let mut first = ledger(NOW);
    first.merge("info", complete(5, 100 * SECOND, vec![counter("a", 5)]), at(NOW));
    let change = first.first_sights().commit().entries;
    assert_eq!(change.len(), 1);
    assert!(first.first_sights().settlement().entries.is_empty());
    // A crash: only what was committed is left.
    let mut second = Ledger::new(first.settled().clone(), Slacks::default(), HORIZON);
    second.merge("info", complete(9, 104 * SECOND, vec![counter("a", 15)]), at(NOW));
    assert_eq!(totals(&mut second), one("a", 10));
    first.merge("info", complete(9, 104 * SECOND, vec![counter("a", 15)]), at(NOW));
    assert_eq!(totals(&mut first), one("a", 10));
}

#[test]
fn a_held_frame_is_as_much_older() {
    let mut ledger = ledger(NOW - 100 * SECOND);
    let held = Arrival { now: NOW, held: 200 * SECOND };
    ledger.merge("info", complete(1, SECOND, vec![counter("a", 5)]), held);
    assert_eq!(totals(&mut ledger), [], "it began and was held before the worker listened");
    ledger.merge("debug", complete(1, SECOND, vec![counter("a", 5)]), at(NOW));
    assert_eq!(totals(&mut ledger), one("a", 5));
    let too_old = Arrival { now: NOW, held: HORIZON + 1 };
    let merged = ledger.merge("debug", complete(2, SECOND, vec![counter("a", 9)]), too_old);
    assert_eq!(merged, Merged::TooOld);
    assert_eq!((totals(&mut ledger), ledger.counts().too_old), (vec![], 1));
}

#[test]
fn a_metric_retired_before_the_first_sight_is_settled_unless_it_was_born_since() {
    let retired = |sequence, born| {
        let mut frame = Frame { head: head(sequence, 100 * SECOND, false), rows: vec![counter("r", 50)] };
        frame.head.flags = Flags::RETIRED;
        frame.rows[0].key.born = 5 * SECOND + born;
        frame
    };
    let mut ledger = ledger(NOW - 50 * SECOND);
    ledger.merge("info", retired(4, 0), at(NOW));
    ledger.merge("info", retired(5, 60 * SECOND), at(NOW));
    ledger.merge("info", complete(6, 100 * SECOND, vec![counter("a", 1)]), at(NOW));
    assert_eq!(totals(&mut ledger), one("r", 50));
    ledger.merge("info", retired(4, 0), at(NOW));
    ledger.merge("info", retired(5, 60 * SECOND), at(NOW));
    assert_eq!(totals(&mut ledger), []);
    let gone: Vec<_> = ledger.settled().entries.values().flat_map(|e| e.rows.values()).collect();
    assert_eq!(gone.iter().filter(|row| row.retired.is_some()).count(), 2);
}

#[test]
fn extremes_are_exact_while_every_frame_comes() {
    let mut ledger = ledger(NOW - 100 * SECOND);
    ledger.merge("info", complete(1, SECOND, vec![timer(&[10.0, 30.0], &[10.0, 30.0])]), at(NOW));
    ledger.merge("info", complete(2, SECOND, vec![timer(&[10.0, 30.0, 5.5], &[5.5])]), at(NOW));
    ledger.merge("info", complete(3, SECOND, vec![timer(&[10.0, 30.0, 5.5], &[])]), at(NOW));
    let spread = |ledger: &mut Ledger| match ledger.settle(0).commit().deltas.remove(0).change {
        Change::Spread { sum, histogram, span } => (sum.whole, histogram.count(), span),
        other => panic!("{other:?}"),
    };
    assert_eq!(spread(&mut ledger), (45, 3, Some(Span { min: 5.5, max: 30.0 })));
    let all = [10.0, 30.0, 5.5, 2.0, 9.0];
    ledger.merge("info", complete(4, SECOND, vec![timer(&all[..4], &[2.0])]), at(NOW));
    ledger.merge("info", complete(6, SECOND, vec![timer(&all, &[9.0])]), at(NOW));
    assert_eq!(spread(&mut ledger), (11, 2, None), "set 5 may have had others");
    let later = [10.0, 30.0, 5.5, 2.0, 9.0, 7.0];
    ledger.merge("info", complete(5, SECOND, vec![timer(&all, &[9.0])]), at(NOW));
    ledger.merge("info", complete(7, SECOND, vec![timer(&later, &[7.0])]), at(NOW));
    assert_eq!(spread(&mut ledger), (7, 1, Some(Span { min: 7.0, max: 7.0 })), "an old frame has no say");
}

#[test]
fn half_an_event_waits_for_the_other_half_but_not_for_ever() {
    let mut ledger = ledger(NOW - 100 * SECOND);
    let with_sum = |sum: i64| {
        let mut row = timer(&[10.0, 30.0], &[]);
        if let State::Spread(spread) = &mut row.state {
            spread.sum = Total::whole(sum);
        }
        row
    };
    let told = |ledger: &mut Ledger| -> Vec<(i64, u64)> {
        let deltas = ledger.settle(0).commit().deltas;
        let figures = |delta: Delta| match delta.change {
            Change::Spread { sum, histogram, .. } => (sum.whole, histogram.count()),
            other => panic!("{other:?}"),
        };
        deltas.into_iter().map(figures).collect()
    };
    ledger.merge("info", complete(1, SECOND, vec![with_sum(10)]), at(NOW));
    assert_eq!(told(&mut ledger), [(10, 2)]);
    ledger.merge("info", complete(2, SECOND, vec![with_sum(40)]), at(NOW));
    assert_eq!(told(&mut ledger), []);
    let mut last = complete(3, SECOND, vec![with_sum(40)]);
    last.head.flags = Flags::COMPLETE.with(Flags::LAST);
    ledger.merge("info", last, at(NOW));
    assert_eq!(told(&mut ledger), [(30, 0)]);
    assert_eq!(told(&mut ledger), []);
}

#[test]
fn points_come_once() {
    let point = |number, value| Row {
        key: key(Kind::Point, "p"),
        state: State::Point(Point { number, time: NOW, value }),
        trace: None,
        event: None,
    };
    let mut ledger = ledger(NOW - 100 * SECOND);
    let values = |ledger: &mut Ledger| -> Vec<f64> {
        let deltas = ledger.settle(0).commit().deltas;
        let value = |d: &Delta| if let Change::Point { value, .. } = d.change { value } else { f64::NAN };
        deltas.iter().map(value).collect()
    };
    ledger.merge("info", complete(1, SECOND, vec![point(1, 1.0), point(2, 2.0)]), at(NOW));
    ledger.merge("info", complete(3, SECOND, vec![point(2, 2.0), point(4, 4.0)]), at(NOW));
    assert_eq!(values(&mut ledger), [1.0, 2.0, 4.0]);
    ledger.merge("info", complete(2, SECOND, vec![point(3, 3.0), point(1, 1.0)]), at(NOW));
    assert_eq!(values(&mut ledger), [3.0]);
    assert_eq!(ledger.counts().point_repeats, 2);
    let mut older = self::ledger(NOW);
    older.merge("info", complete(1, 99 * SECOND, vec![point(1, 1.0), point(2, 2.0)]), at(NOW));
    older.merge("info", complete(2, 99 * SECOND, vec![point(3, 3.0)]), at(NOW));
    assert_eq!(values(&mut older), [3.0]);
}

#[test]
fn gauges_are_told_while_they_are_heard() {
    let gauge = |value, statistics| Row {
        key: key(Kind::Gauge, "g"),
        state: State::Gauge(Gauge { value, set_at: 6 * SECOND, statistics }),
        trace: None,
        event: None,
    };
    let mut ledger = ledger(NOW - 100 * SECOND);
    let told = |ledger: &mut Ledger, fresh| {
        let deltas = ledger.settle(fresh).commit().deltas;
        deltas.into_iter().map(|delta| delta.change).collect::<Vec<_>>()
    };
    ledger.merge("info", complete(1, 3 * SECOND, vec![gauge(2.5, None)]), at(NOW));
    let set_at = NOW - 2 * SECOND;
    let change = |last, statistics| vec![Change::Gauge { last, set_at, statistics }];
    assert_eq!(told(&mut ledger, 0), change(2.5, None));
    assert_eq!(told(&mut ledger, 0), []);
    ledger.merge("info", complete(2, 3 * SECOND, vec![gauge(2.5, None)]), at(NOW));
    assert_eq!(told(&mut ledger, 0), change(2.5, None), "unchanged, but heard");
    ledger.merge("info", complete(3, 3 * SECOND, vec![gauge(2.5, None)]), at(NOW));
    assert_eq!(told(&mut ledger, NOW), [], "too long ago to be what it is now");
    let span = Some(Span { min: 1.0, max: 4.0 });
    ledger.merge("info", complete(4, 3 * SECOND, vec![gauge(3.0, Some((3, 8.0, span)))]), at(NOW));
    assert_eq!(told(&mut ledger, 0), change(3.0, Some((3, 8.0, 1.0, 4.0))));
    ledger.merge("info", complete(5, 3 * SECOND, vec![gauge(6.0, Some((4, 14.0, None)))]), at(NOW));
    assert_eq!(told(&mut ledger, 0), change(6.0, Some((1, 6.0, 6.0, 6.0))));
    ledger.merge("info", complete(6, 3 * SECOND, vec![]), at(NOW));
    assert_eq!(told(&mut ledger, 0), [], "it is no longer there");
}

#[test]
fn oddities_are_counted() {
    let mut ledger = ledger(NOW - 100 * SECOND);
    ledger.merge("info", complete(1, SECOND, vec![counter("a", 5)]), at(NOW));
    ledger.merge("info", complete(1, SECOND, vec![counter("a", 5)]), at(NOW));
    assert_eq!(ledger.counts().conflicts, 0);
    ledger.merge("info", complete(1, SECOND, vec![counter("a", 6)]), at(NOW));
    assert_eq!(ledger.counts().conflicts, 1);
    assert_eq!(totals(&mut ledger), one("a", 5));
    ledger.merge("info", complete(2, SECOND, vec![counter("a", 4)]), at(NOW));
    assert_eq!((totals(&mut ledger), ledger.counts().backwards), (vec![], 1));
    ledger.merge("info", complete(3, SECOND, vec![counter("a", 8)]), at(NOW));
    assert_eq!(totals(&mut ledger), one("a", 3));
}

#[test]
fn missed_sets_are_counted_by_instance_and_level_and_over_restarts() {
    let missed = |ledger: &Ledger| ledger.settled().entries.values().next().map(|entry| entry.missed);
    let mut first = ledger(NOW - 100 * SECOND);
    let merge = |ledger: &mut Ledger, sequence: u64, total: i64| {
        ledger.merge("info", complete(sequence, SECOND, vec![counter("a", total)]), at(NOW));
        totals(ledger)
    };
    // Whatever was before it was first heard is not missed.
    merge(&mut first, 7, 1);
    merge(&mut first, 10, 2);
    assert_eq!(missed(&first), Some(2));
    merge(&mut first, 9, 2);
    merge(&mut first, 9, 2);
    merge(&mut first, 11, 3);
    assert_eq!(missed(&first), Some(1), "one came late");
    let levels: Vec<_> =
        first.level_counts().map(|(level, counts)| (level, counts.frames, counts.gaps)).collect();
    assert_eq!(levels, [("info", 5, 2)]);
    let mut second = Ledger::new(first.settled().clone(), Slacks::default(), HORIZON);
    merge(&mut second, 14, 4);
    assert_eq!(missed(&second), Some(3), "two were sent while nobody listened");
}

#[test]
fn an_updown_total_that_came_back_is_settled_by_its_sequence() {
    let updown = |total| Row {
        key: key(Kind::Updown, "u"),
        state: State::Total(Total::whole(total)),
        trace: None,
        event: None,
    };
    let mut first = ledger(NOW - 100 * SECOND);
    first.merge("info", complete(1, SECOND, vec![updown(5)]), at(NOW));
    assert_eq!(totals(&mut first), one("u", 5));
    first.merge("info", complete(3, SECOND, vec![updown(5)]), at(NOW));
    assert_eq!(totals(&mut first), []);
    let mut second = Ledger::new(first.settled().clone(), Slacks::default(), HORIZON);
    second.merge("info", complete(2, SECOND, vec![updown(-7)]), at(NOW));
    assert_eq!(totals(&mut second), []);
    second.merge("info", complete(4, SECOND, vec![updown(-7)]), at(NOW));
    assert_eq!(totals(&mut second), one("u", -12));
}

#[test]
fn what_was_forgotten_counts_anew_from_a_fresh_set() {
    let mut ledger = ledger(NOW - 100 * SECOND);
    ledger.merge("info", complete(1, SECOND, vec![counter("a", 5)]), at(NOW));
    assert_eq!(totals(&mut ledger), one("a", 5));
    ledger.run(HORIZON);
    let candidates: Vec<_> = ledger.in_memory().collect();
    assert_eq!(ledger.forgettable(candidates.clone(), NOW), (vec![], None));
    ledger.run(1);
    let later = NOW + HORIZON;
    let (gone, horizon) = ledger.forgettable(candidates, later);
    assert_eq!((gone.len(), horizon), (1, Some(Horizon { upto: NOW - SECOND, when: later })));
    ledger.forget(&gone, horizon);
    assert!(ledger.is_empty());
    // A late repeat of what had been counted.
    ledger.merge("info", complete(1, SECOND, vec![counter("a", 5)]), Arrival { now: later, held: SECOND });
    ledger.merge(
        "info",
        complete(2, 2 * SECOND, vec![counter("a", 6)]),
        Arrival { now: later, held: SECOND },
    );
    ledger.merge("info", complete(3, HORIZON, vec![counter("a", 7)]), at(later));
    assert_eq!(totals(&mut ledger), [], "this could be from before the forgetting");
    let fresh = later + 100 * SECOND;
    ledger.merge("info", complete(9, HORIZON + 100 * SECOND, vec![counter("a", 9)]), at(fresh));
    assert_eq!(totals(&mut ledger), []);
    ledger.merge("info", complete(10, HORIZON + 101 * SECOND, vec![counter("a", 11)]), at(fresh));
    assert_eq!(totals(&mut ledger), one("a", 2));
}

#[test]
fn absurd_sequences_are_survived() {
    let mut ledger = ledger(NOW - 100 * SECOND);
    for id in 1..=3 {
        for sequence in [1, u64::MAX] {
            let mut frame = complete(sequence, SECOND, vec![counter("a", 1), timer(&[1.0], &[1.0])]);
            frame.head.instance = InstanceId([id; 16]);
            ledger.merge("info", frame, at(NOW));
        }
    }
    assert_eq!(ledger.counts().gaps, u64::MAX);
    assert_eq!(ledger.settle(0).commit().deltas.len(), 6);
}

#[test]
fn what_was_retired_long_ago_leaves_nothing_behind() {
    let mut ledger = ledger(NOW - 100 * SECOND);
    for sequence in 1..=50 {
        let mut frame = Frame { head: head(2 * sequence, SECOND, false), rows: vec![counter("r", 5)] };
        frame.head.flags = Flags::RETIRED;
        frame.rows[0].key.born = sequence;
        ledger.merge("info", frame, at(NOW));
        // The instance lives on.
        ledger.merge("info", complete(2 * sequence + 1, SECOND, vec![counter("a", 1)]), at(NOW));
        totals(&mut ledger);
        ledger.run(SECOND);
        let ran = ledger.settled().ran;
        ledger.forget_retired(ran.saturating_sub(10 * SECOND));
    }
    let rows = &ledger.settled().entries.values().next().unwrap().rows;
    assert_eq!(rows.len(), 11, "those of the last ten seconds, and the one that lives");
}

#[test]
fn memory_is_released_and_recalled() {
    let mut ledger = ledger(NOW - 100 * SECOND);
    let mut last = complete(1, SECOND, vec![counter("a", 5)]);
    last.head.flags = Flags::COMPLETE.with(Flags::LAST);
    ledger.merge("info", last.clone(), at(NOW));
    ledger.release(1000);
    assert_eq!(totals(&mut ledger), one("a", 5), "what is not settled stays");
    let origin = ledger.origin(ID, "info");
    let entry = ledger.settled().entries[&origin].clone();
    ledger.release(1000);
    assert!(!ledger.knows(&origin) && ledger.is_empty());
    ledger.recall(origin, entry);
    ledger.merge("info", last, at(NOW));
    assert_eq!(totals(&mut ledger), []);
}

/// What an instance did by the time of each set: totals of some metrics.
fn history() -> impl Strategy<Value = Vec<(Vec<i64>, bool)>> {
    prop::collection::vec((prop::collection::vec(0i64..3, 4), any::<bool>()), 1..20).prop_map(|steps| {
        let mut totals = vec![0; 4];
        let sum = |(step, whole): (Vec<i64>, bool)| {
            totals.iter_mut().zip(step).for_each(|(total, more)| *total += more);
            (totals.clone(), whole)
        };
        steps.into_iter().map(sum).collect()
    })
}

/// The frames of all sets, split into parts.
fn frames(history: &[(Vec<i64>, bool)]) -> Vec<Frame> {
    let mut frames = Vec::new();
    let (mut base, mut base_totals) = (0, vec![0; 4]);
    for (i, (totals, complete)) in history.iter().enumerate() {
        let sequence = i as u64 + 1;
        let rows: Vec<Row> = (0..4)
            .filter(|&m| *complete || totals[m] != base_totals[m])
            .map(|m| counter(&format!("m{m}"), totals[m]))
            .collect();
        if *complete {
            (base, base_totals) = (sequence, totals.clone());
        }
        let parts: Vec<Vec<Row>> = rows.chunks(2).map(<[Row]>::to_vec).collect();
        let parts = if parts.is_empty() { vec![vec![]] } else { parts };
        for (part, rows) in parts.iter().enumerate() {
            let mut head = head(sequence, sequence * SECOND, *complete);
            (head.part, head.parts, head.base) = (part as u32, parts.len() as u32, base);
            frames.push(Frame { head, rows: rows.clone() });
        }
    }
    frames
}

proptest! {
    #[test]
    fn any_order_any_repeats_any_losses_and_restarts_give_the_totals(
        history in history(),
        moves in prop::collection::vec((any::<prop::sample::Index>(), 0u8..4), 0..80),
    ) {
        let all = frames(&history);
        let mut ledger = ledger(NOW - 1000 * SECOND);
        let mut sums = [0i64; 4];
        let mut settle = |ledger: &mut Ledger| {
            for (name, more) in totals(ledger) {
                assert!(more > 0);
                sums[name[1..].parse::<usize>().unwrap()] += more;
            }
        };
        for (index, what) in moves {
            ledger.merge("info", index.get(&all).clone(), at(NOW));
            match what {
                0 => settle(&mut ledger),
                1 => ledger = Ledger::new(ledger.settled().clone(), Slacks::default(), HORIZON),
                _ => {}
            }
        }
        // In the end comes what a broker keeps: the last complete set, and the changed-only set after it.
        let last = history.iter().rposition(|(_, complete)| *complete).map_or(0, |at| at as u64 + 1);
        let newest = history.len() as u64;
        for frame in all.iter().filter(|f| f.head.sequence == last || f.head.sequence == newest) {
            ledger.merge("info", frame.clone(), at(NOW));
        }
        settle(&mut ledger);
        prop_assert_eq!(&sums[..], &history[history.len() - 1].0[..]);
        prop_assert_eq!(ledger.counts().conflicts, 0);
        prop_assert_eq!(ledger.counts().backwards, 0);
    }

    #[test]
    fn an_older_instance_loses_one_common_complete_set(
        history in history(),
        moves in prop::collection::vec((any::<prop::sample::Index>(), 0u8..4), 0..80),
    ) {
        let mut history = history;
        history[0].1 = true;
        let mut all = frames(&history);
        all.iter_mut().for_each(|frame| frame.head.sent_at += 5000 * SECOND);
        let mut ledger = ledger(NOW - 1000 * SECOND);
        let mut sums = [0i64; 4];
        let mut settle = |ledger: &mut Ledger, early: bool| {
            if early {
                let _ = ledger.first_sights().commit();
                return;
            }
            for (name, more) in totals(ledger) {
                sums[name[1..].parse::<usize>().unwrap()] += more;
            }
        };
        for (index, what) in moves {
            ledger.merge("info", index.get(&all).clone(), at(NOW));
            match what {
                0 => settle(&mut ledger, false),
                1 => ledger = Ledger::new(ledger.settled().clone(), Slacks::default(), HORIZON),
                2 => settle(&mut ledger, true),
                _ => {}
            }
        }
        let last = history.iter().rposition(|(_, complete)| *complete).map_or(0, |at| at as u64 + 1);
        let newest = history.len() as u64;
        for frame in all.iter().filter(|f| f.head.sequence == last || f.head.sequence == newest) {
            ledger.merge("info", frame.clone(), at(NOW));
        }
        settle(&mut ledger, false);
        let end = &history[history.len() - 1].0;
        let fits = history.iter().filter(|(_, complete)| *complete).any(|(base, _)| {
            (0..4).all(|m| sums[m] == end[m] - base[m])
        });
        prop_assert!(fits, "recorded {:?}, settled {:?}", end, sums);
    }
}
