//! What a ledger holds in memory is bounded, and shared fairly.

use proptest::prelude::*;
use zibrato_core::frame::*;
use zibrato_core::histogram::Histogram;
use zibrato_core::ledger::*;
use zibrato_core::level::Levels;

const SECOND: u64 = 1_000_000_000;
const NOW: u64 = 1_000_000 * SECOND;

/// A ledger of a worker that has listened since `since`.
fn ledger(limits: Limits, since: u64) -> Ledger {
    let mut ledger = Ledger::new(Settled::default(), Slacks::default(), HORIZON).with_limits(limits);
    ledger.since_mut().begin(&Levels::default(), since);
    ledger
}

fn row(kind: Kind, name: &str, state: State) -> Row {
    let key = Key { kind, name: name.into(), source: "here".into(), tags: Tags::none(), born: 0 };
    Row { key, state, trace: None, event: None }
}

fn counter(name: &str, total: i64) -> Row {
    row(Kind::Counter, name, State::Total(Total::whole(total)))
}

fn frame(instance: u64, source: &str, sequence: u64, age: u64, rows: Vec<Row>) -> Frame {
    let mut id = [0; 16];
    id[..8].copy_from_slice(&instance.to_be_bytes());
    let head = Head {
        instance: InstanceId(id),
        started_at: 5 * SECOND,
        sequence,
        base: sequence,
        part: 0,
        parts: 1,
        sent_at: 5 * SECOND + age,
        flags: Flags::COMPLETE,
        source: source.into(),
    };
    Frame { head, rows }
}

fn at(now: u64) -> Arrival {
    Arrival { now, held: 0 }
}

/// The totals that were settled, by name.
fn settle(ledger: &mut Ledger) -> Vec<(String, i64)> {
    let deltas = ledger.settle(0).commit().deltas;
    let total = |delta: Delta| match delta.change {
        Change::Total(total) => (delta.key.name.to_string(), total.whole),
        other => panic!("no total: {other:?}"),
    };
    deltas.into_iter().map(total).collect()
}

#[test]
fn who_makes_up_names_leaves_room_for_others() {
    let limits = Limits { bytes: 1 << 20, ..Limits::default() };
    let mut ledger = ledger(limits, NOW - 1000 * SECOND);
    let mut taken = 0u64;
    for sequence in 1..200 {
        let rows = (0..100).map(|n| counter(&format!("made.up.{sequence}.{n}"), 1)).collect();
        match ledger.merge("info", frame(1, "bad", sequence, SECOND, rows), at(NOW)) {
            Merged::Taken { beyond } => taken += 100 - beyond,
            other => panic!("{other:?}"),
        }
    }
    assert!(ledger.bytes() <= limits.bytes, "{}", ledger.bytes());
    assert!(taken > 100 && ledger.counts().rows_beyond == 19_900 - taken, "{taken}");
    // Everybody else has what they need, and keeps it.
    for good in 2..50 {
        let rows = vec![counter("a", 5), counter("b", 7)];
        assert_eq!(
            ledger.merge("info", frame(good, "good", 1, SECOND, rows), at(NOW)),
            Merged::Taken { beyond: 0 }
        );
    }
    let settled = settle(&mut ledger);
    assert_eq!(settled.iter().filter(|(name, total)| name == "b" && *total == 7).count(), 48);
    // What it had before, it keeps.
    let rows = vec![counter("made.up.1.0", 3), counter("one.more", 1)];
    assert_eq!(
        ledger.merge("info", frame(1, "bad", 200, SECOND, rows), at(NOW)),
        Merged::Taken { beyond: 1 }
    );
    assert_eq!(settle(&mut ledger), [("made.up.1.0".into(), 2)]);
}

#[test]
fn a_metric_that_found_no_room_has_its_whole_total_later() {
    let mut ledger = ledger(Limits { bytes: 64 << 10, ..Limits::default() }, NOW - 1000 * SECOND);
    let others: Vec<Row> = (0..30).map(|n| counter(&format!("a{n:02}"), 1)).collect();
    let _ = ledger.merge("info", frame(1, "big", 1, SECOND, others.clone()), at(NOW));
    for n in 0..10 {
        let _ = ledger.merge("info", frame(10 + n, "fill", 1, SECOND, others.clone()), at(NOW));
    }
    let late = |total| frame(1, "big", 2, SECOND, vec![counter("late", total)]);
    assert_eq!(ledger.merge("info", late(4), at(NOW)), Merged::Taken { beyond: 1 });
    settle(&mut ledger);
    // The others have ended.
    for n in 0..10 {
        let mut last = frame(10 + n, "fill", 2, SECOND, others.clone());
        last.head.flags = Flags::COMPLETE.with(Flags::LAST);
        let _ = ledger.merge("info", last, at(NOW));
    }
    settle(&mut ledger);
    ledger.release(0);
    let again = frame(1, "big", 3, SECOND, vec![counter("late", 9)]);
    assert_eq!(ledger.merge("info", again, at(NOW)), Merged::Taken { beyond: 0 });
    assert_eq!(settle(&mut ledger), [("late".into(), 9)]);
}

#[test]
fn an_old_instance_counts_from_no_set_that_was_not_taken_whole() {
    // Its history before the subscription must not be taken for news because there was no room for its baseline.
    let mut ledger = ledger(Limits { bytes: 16 << 10, ..Limits::default() }, NOW - 10 * SECOND);
    let rows: Vec<Row> = (0..40).map(|n| counter(&format!("a{n:02}"), 1000)).collect();
    for sequence in 1..5 {
        let merged = ledger.merge("info", frame(1, "old", sequence, 5000 * SECOND, rows.clone()), at(NOW));
        assert!(matches!(merged, Merged::Taken { beyond: 1.. }), "{merged:?}");
        assert!(ledger.first_sights().commit().entries.is_empty());
        assert_eq!(settle(&mut ledger), []);
    }
}

#[test]
fn one_sources_instances_leave_room_for_others() {
    let limits = Limits { instances: 1000, ..Limits::default() };
    let mut ledger = ledger(limits, NOW - 1000 * SECOND);
    for instance in 0..5000 {
        let _ = ledger.merge("info", frame(instance, "bad", 1, SECOND, vec![counter("a", 1)]), at(NOW));
    }
    assert_eq!((ledger.len(), ledger.counts().frames_beyond), (500, 4500));
    let good = frame(9000, "good", 1, SECOND, vec![counter("a", 1)]);
    assert_eq!(ledger.merge("info", good, at(NOW)), Merged::Taken { beyond: 0 });
}

#[test]
fn instances_that_wait_for_ever_are_dropped_when_room_is_short() {
    let limits = Limits { instances: 100, ..Limits::default() };
    let mut ledger = ledger(limits, NOW - 10 * SECOND);
    for (source, instance) in [("a", 0), ("b", 100), ("c", 200), ("d", 300), ("e", 400)]
        .iter()
        .flat_map(|(source, first)| (0..50).map(move |n| (*source, first + n)))
    {
        let mut old = frame(instance, source, 2, 5000 * SECOND, vec![counter("a", 1)]);
        (old.head.flags, old.head.base) = (Flags(0), 1);
        let _ = ledger.merge("info", old, at(NOW));
    }
    assert!(ledger.is_short_of_room() && ledger.len() > 75, "{}", ledger.len());
    ledger.run(100 * SECOND);
    ledger.release(60 * SECOND);
    assert_eq!((ledger.len(), ledger.bytes()), (0, 0));
}

fn spread(values: &[f64]) -> State {
    let mut histogram = Histogram::default();
    values.iter().for_each(|v| assert!(histogram.record(*v)));
    State::Spread(Spread { sum: Total::whole(1), span: None, histogram })
}

proptest! {
    /// Whatever was taken is given back: nothing is held when nobody is left.
    #[test]
    fn what_is_held_is_given_back(
        bytes in 4096usize..100_000,
        steps in prop::collection::vec((0u64..4, 0u64..8, 0u8..8, 0usize..40, any::<bool>()), 1..60),
    ) {
        let mut ledger = ledger(Limits { bytes, instances: 6 }, NOW - 50 * SECOND);
        for (n, (instance, sequence, what, many, old)) in steps.into_iter().enumerate() {
            let age = if old { 5000 * SECOND } else { SECOND };
            let mut rows: Vec<Row> = (0..many).map(|m| counter(&format!("c{m}"), n as i64)).collect();
            rows.extend((0..many / 4).map(|m| {
                let values: Vec<f64> = (0..=n % 7).map(|v| 1.5f64.powi(v as i32)).collect();
                row(Kind::Timer, &format!("t{m}"), spread(&values))
            }));
            rows.extend((0..many as u64 / 4).map(|m| {
                row(Kind::Point, "p", State::Point(Point { number: m + 1, time: 1, value: 1.0 }))
            }));
            let mut frame = frame(instance, if instance < 2 { "x" } else { "y" }, sequence + 1, age, rows);
            match what {
                0 => (frame.head.parts, frame.head.part) = (3, (n % 3) as u32),
                1 => frame.head.flags = Flags::RETIRED,
                2 => (frame.head.flags, frame.head.base) = (Flags(0), sequence),
                3 => { ledger.first_sights().commit(); }
                4 => { ledger.settle(0).commit(); }
                5 => { ledger.run(30 * SECOND); ledger.release(50 * SECOND); }
                _ => {}
            }
            let _ = ledger.merge("info", frame, at(NOW));
            prop_assert!(ledger.bytes() <= bytes + 4096, "{} of {bytes}", ledger.bytes());
        }
        ledger.settle(0).commit();
        ledger.run(2 * HORIZON);
        let gone: Vec<_> = ledger.in_memory().map(|(origin, ..)| origin).collect();
        ledger.forget(&gone, None);
        prop_assert_eq!((ledger.len(), ledger.bytes()), (0, 0));
    }
}
