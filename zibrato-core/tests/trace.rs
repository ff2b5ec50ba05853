//! Marks: which metrics have one, which rows get a number, and how a journal carries what hops tell.

#![allow(clippy::unwrap_used, reason = "a test; helpers outside #[test] functions are not told apart")]

use std::sync::Arc;

use zibrato_core::frame::{Flags, Frame, InstanceId, Kind, State, Tags, Total, decode};
use zibrato_core::ledger::{Arrival, Ledger, Merged, Settled, Slacks};
use zibrato_core::level::{self, Levels};
use zibrato_core::publish::{Publisher, Set};
use zibrato_core::registry::{self, Counter, Id, MetricSpec, Reading, Site, TRACE};
use zibrato_core::trace::{Event, Hop, Journal, Mark, Patterns, Trace};

const SECOND: u64 = 1_000_000_000;

fn reading(name: &str, total: i64, traced: bool) -> Reading {
    let (level, name) = ("info".into(), name.into());
    let id = Id { level, kind: Kind::Counter, name, source: None, tags: Tags::none() };
    Reading { id: Arc::new(id), born: 5 * SECOND, state: State::Total(Total::whole(total)), traced }
}

fn numbers(set: &Set) -> Vec<(String, Option<u64>)> {
    set.rows.iter().map(|row| (row.key.name.to_string(), row.trace)).collect()
}

fn frames(set: &Set, now: u64) -> Vec<Frame> {
    set.frames(now).iter().map(|bytes| decode(bytes).expect("our own frame").frame).collect()
}

#[test]
fn only_rows_that_say_something_new_are_numbered_and_a_set_keeps_its_numbers() {
    let mut publisher = Publisher::new("host");
    let mut collect = |a, b, at: u64| {
        publisher.collect(vec![reading("a", a, true), reading("b", b, false)], at * SECOND).pop()
    };
    let first = collect(0, 1, 10).unwrap();
    assert_eq!(numbers(&first), [("a".into(), None), ("b".into(), None)], "nothing has happened to a yet");
    assert!(!frames(&first, 0)[0].head.flags.has(Flags::TRACED));
    let second = collect(1, 1, 11).unwrap();
    assert_eq!(numbers(&second), [("a".into(), Some(1)), ("b".into(), None)]);
    assert_eq!(
        second.marks().map(|mark| (mark.sequence, mark.number, mark.total.whole)).collect::<Vec<_>>(),
        [(2, 1, 1)]
    );
    let (once, again) = (&frames(&second, 0)[0], &frames(&second, 99 * SECOND)[0]);
    assert!(once.head.flags.has(Flags::TRACED));
    assert_eq!(once.rows, again.rows);
    assert_eq!(numbers(&collect(1, 2, 12).unwrap()), [("a".into(), None), ("b".into(), None)]);
    assert_eq!(numbers(&collect(3, 2, 13).unwrap())[0].1, Some(2));
    let retired = publisher.retire(vec![reading("a", 4, true)], 14 * SECOND);
    assert_eq!(numbers(&retired[0])[0].1, Some(3));
    let last = publisher.finish(vec![reading("a", 5, true)], 15 * SECOND);
    assert_eq!((numbers(&last[0])[0].1, publisher.traced()), (Some(4), 4));
}

#[test]
fn metrics_are_marked_by_call_site_handle_and_pattern() {
    static MARKED: Site = Site::new(Kind::Counter, "info", "trace.site", None, &[TRACE, ("a", "b")]);
    static PLAIN: Site = Site::new(Kind::Counter, "info", "trace.plain", None, &[("a", "b")]);
    MARKED.add(1u64);
    PLAIN.add(1u64);
    let spec = |name| MetricSpec {
        level: "info",
        kind: Kind::Counter,
        name,
        source: None,
        tags: &[],
        statistics: false,
    };
    Counter::of(&spec("trace.handle")).trace();
    let _before = Counter::of(&spec("trace.pattern.before"));
    registry::set_traced(Patterns::from("trace.pattern.*"));
    let _after = Counter::of(&spec("trace.pattern.after"));
    let traced = |name: &str| {
        let readings = registry::read();
        let found = readings.iter().find(|reading| &*reading.id.name == name).unwrap();
        (found.traced, found.id.tags.len())
    };
    assert_eq!(traced("trace.site"), (true, 1), "the mark is no tag");
    assert_eq!(traced("trace.plain"), (false, 1));
    assert!(traced("trace.handle").0 && traced("trace.pattern.before").0 && traced("trace.pattern.after").0);
    registry::set_traced(Patterns::NONE);
    assert!(!traced("trace.pattern.before").0 && traced("trace.handle").0, "what the program marked stays");
}

#[test]
fn all_levels_are_all_but_that_of_events() {
    let levels = |text: &str| text.parse::<Levels>().unwrap();
    assert!(!levels("*").contains(level::TRACE) && !levels("*,!debug").contains(level::TRACE));
    assert!(levels("mtrace").contains(level::TRACE) && !levels("mtrace").contains("info"));
    let both = levels("*,mtrace");
    assert!(both.contains(level::TRACE) && both.contains("info"));
    assert_eq!(both.to_string(), "*,mtrace");
    assert_eq!(levels(&both.to_string()), both);
}

fn mark(number: u64) -> Mark {
    let mut publisher = Publisher::new("host").with_instance(InstanceId([7; 16]));
    let set = publisher.collect(vec![reading("a", number as i64, true)], 10 * SECOND).remove(0);
    Mark { number, ..set.marks().next().unwrap() }
}

#[test]
fn events_come_once_each_whatever_is_lost_and_too_many_are_counted() {
    let mut ledger = Ledger::new(Settled::default(), Slacks::default(), u64::MAX);
    ledger.since_mut().begin(&"mtrace".parse().unwrap(), SECOND);
    let mut journal = Journal::new("host", 500);
    assert!(journal.set(SECOND, false).is_none(), "nothing to tell");
    let mut got = Vec::new();
    for second in 100..140u64 {
        for i in 0..10 {
            assert!(journal.tell(Event::new(Hop::Published, mark(second * 10 + i), second * SECOND)));
        }
        let set = journal.set(second * SECOND, second == 139).unwrap();
        // Two in three are lost.
        if second % 3 == 0 {
            for frame in frames(&set, second * SECOND) {
                ledger.merge(level::TRACE, frame, Arrival { now: second * SECOND, held: 0 });
            }
        }
        for delta in ledger.settle(0).commit().deltas {
            let Trace::Event(event) = &delta.trace else { panic!("{delta:?}") };
            assert_eq!((&*event.by, &event.mark.key.name), ("host", &delta.key.name));
            assert_eq!(event.mark.key.kind, Kind::Counter);
            got.push(event.mark.number);
        }
    }
    // In any order: what was in a complete set that was lost comes with the next one.
    got.sort_unstable();
    let all: Vec<u64> = (1000..1390).collect();
    assert_eq!(got, all, "the last set was lost");
    let told =
        (0..600).filter(|&i| journal.tell(Event::new(Hop::Published, mark(i + 1), 140 * SECOND))).count();
    assert_eq!((told, journal.dropped()), (500, 100));
    assert!(journal.set(141 * SECOND, false).unwrap().rows.len() <= 500);
    assert!(journal.set(142 * SECOND, false).is_none(), "nothing new");
    journal.tell(Event::new(Hop::Published, mark(1), 300 * SECOND));
    assert_eq!(journal.set(300 * SECOND, false).unwrap().rows.len(), 1, "old ones go");
}

#[test]
fn a_settlement_names_the_marked_rows_that_it_follows_from() {
    let mut ledger = Ledger::new(Settled::default(), Slacks::default(), u64::MAX);
    ledger.set_tracing(true);
    ledger.since_mut().begin(&Levels::ALL, SECOND);
    let mut publisher = Publisher::new("host");
    let mut sent = |a: i64, at: u64| {
        let set =
            publisher.collect(vec![reading("a", a, true), reading("b", a, false)], at * SECOND).remove(0);
        frames(&set, at * SECOND).remove(0)
    };
    let arrival = Arrival { now: 20 * SECOND, held: 0 };
    let (first, second, third) = (sent(1, 10), sent(2, 11), sent(3, 12));
    let merge = |ledger: &mut Ledger, frame: &Frame| {
        assert_eq!(ledger.merge("info", frame.clone(), arrival), Merged::Taken { beyond: 0 });
        ledger.take_received().iter().map(|mark| mark.number).collect::<Vec<_>>()
    };
    assert_eq!(merge(&mut ledger, &first), [1]);
    assert_eq!(merge(&mut ledger, &third), [3]);
    assert_eq!(merge(&mut ledger, &third), [0; 0], "a repeat");
    let numbers = |marks: &[Arc<Mark>]| marks.iter().map(|mark| mark.number).collect::<Vec<_>>();
    let settled = ledger.settle(0).commit();
    assert_eq!(settled.deltas.len(), 2);
    assert_eq!(
        (numbers(settled.deltas[0].trace.marks()), &settled.deltas[1].trace),
        (vec![1, 3], &Trace::None)
    );
    assert!(settled.unchanged.is_empty());
    assert_eq!(merge(&mut ledger, &second), [2], "late");
    let settled = ledger.settle(0).commit();
    assert_eq!((settled.deltas.len(), numbers(&settled.unchanged)), (0, vec![2]));
    assert!(ledger.settle(0).commit().unchanged.is_empty(), "told once");

    // After a restart, what was settled is not told again.
    let mut again = Ledger::new(ledger.settled().clone(), Slacks::default(), u64::MAX);
    again.set_tracing(true);
    assert_eq!(merge(&mut again, &third), [0; 0]);
    assert_eq!(merge(&mut again, &sent(4, 13)), [4]);
}
