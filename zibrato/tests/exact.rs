//! Counters beyond 2^53 stay exact, from the call site to what a worker settles.

use std::sync::{Mutex, MutexGuard};

use zibrato::testing::capture;
use zibrato::{count, updown};
use zibrato_core::clock::unix_nanos;
use zibrato_core::frame::{State, Total, decode};
use zibrato_core::ledger::{Arrival, Change, HORIZON, Ledger, Merged, Settled, Slacks};
use zibrato_core::level::Levels;
use zibrato_core::publish::Publisher;
use zibrato_core::registry;

/// A publisher sends what all tests have counted, so they take turns.
static TURN: Mutex<()> = Mutex::new(());

fn turn() -> MutexGuard<'static, ()> {
    TURN.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// From here on not every whole number is a float.
const BIG: i64 = 1 << 53;

/// What a worker has settled of a counter, over a publisher, frames and a ledger.
struct Worker {
    publisher: Publisher,
    ledger: Ledger,
    settled: Total,
}

impl Worker {
    fn new() -> Self {
        let mut ledger = Ledger::new(Settled::default(), Slacks::default(), HORIZON);
        ledger.since_mut().begin(&Levels::default(), 0);
        Worker { publisher: Publisher::new("here"), ledger, settled: Total::default() }
    }

    fn settled(&mut self, name: &str) -> Total {
        let now = unix_nanos();
        let readings = registry::read();
        for set in self.publisher.collect(readings, now) {
            for bytes in set.frames(now) {
                let decoded = decode(&bytes).expect("a good frame");
                assert!(decoded.skipped.is_empty());
                let merged = self.ledger.merge(&set.level, decoded.frame, Arrival { now, held: 0 });
                assert_eq!(merged, Merged::Taken { beyond: 0 });
            }
        }
        for delta in self.ledger.settle(0).commit().deltas {
            match delta.change {
                Change::Total(added) if &*delta.key.name == name => self.settled = self.settled.plus(added),
                _ => {}
            }
        }
        self.settled
    }
}

fn total(name: &str) -> Total {
    let found = registry::read().into_iter().find(|r| &*r.id.name == name);
    match found.map(|r| r.state) {
        Some(State::Total(total)) => total,
        other => panic!("{name} is no total: {other:?}"),
    }
}

#[test]
fn single_increments_count_beyond_the_whole_numbers_of_floats() {
    let _turn = turn();
    let mut worker = Worker::new();
    let by_name = zibrato::counter("exact.handle").handle();
    let name_less = zibrato::updown("exact.updown").handle();
    let ((), captured) = capture(|| {
        count!("exact.site", BIG);
        by_name.add(BIG);
        name_less.add(-BIG);
        updown!("exact.updown_site", -BIG);
        for _ in 0..3 {
            count!("exact.site");
            by_name.add(1u8);
            name_less.add(-1);
            updown!("exact.updown_site", -1);
        }
    });
    for (name, expected) in [
        ("exact.site", BIG + 3),
        ("exact.handle", BIG + 3),
        ("exact.updown", -BIG - 3),
        ("exact.updown_site", -BIG - 3),
    ] {
        assert_eq!(total(name), Total::whole(expected), "{name}");
        assert_eq!(captured.count(name), expected, "{name}");
    }
    assert_eq!(worker.settled("exact.site"), Total::whole(BIG + 3));
    for n in 4..10 {
        count!("exact.site");
        assert_eq!(worker.settled("exact.site"), Total::whole(BIG + n));
    }
    // On another thread, whose share is folded when it ends.
    std::thread::spawn(|| count!("exact.site", BIG | 1)).join().unwrap();
    assert_eq!(worker.settled("exact.site"), Total::whole(2 * BIG + 10));
}

#[test]
fn fractions_leave_whole_increments_exact() {
    let _turn = turn();
    let mut worker = Worker::new();
    let ((), captured) = capture(|| {
        count!("exact.mixed", BIG + 1);
        count!("exact.mixed", 0.25);
        count!("exact.mixed", 0.5);
        count!("exact.mixed", 1);
    });
    assert_eq!(worker.settled("exact.mixed"), Total { whole: BIG + 2, float: 0.75 });
    assert_eq!(captured.count("exact.mixed"), BIG + 2);
    let falls = zibrato::updown("exact.falls").handle();
    let ((), captured) = capture(|| {
        falls.add(-BIG - 1);
        falls.add(0.25);
    });
    assert_eq!(captured.count("exact.falls"), -BIG, "towards zero");
}

#[test]
fn a_total_stays_at_the_end_of_its_range() {
    let _turn = turn();
    let mut worker = Worker::new();
    let counter = zibrato::counter("exact.full").handle();
    let updown = zibrato::updown("exact.empty").handle();
    for _ in 0..3 {
        count!("exact.full_site", i64::MAX);
        counter.add(i64::MAX);
        updown.add(i64::MIN);
        std::thread::spawn(|| count!("exact.full_site", u64::MAX)).join().unwrap();
        let (counter, updown) = (counter.clone(), updown.clone());
        std::thread::spawn(move || {
            counter.add(u64::MAX);
            updown.add(i64::MIN);
        })
        .join()
        .unwrap();
        let totals = ["exact.full_site", "exact.full", "exact.empty"].map(|name| total(name).whole);
        assert_eq!(totals, [i64::MAX, i64::MAX, i64::MIN]);
    }
    assert_eq!(worker.settled("exact.full"), Total::whole(i64::MAX));
    count!("exact.full_site");
    counter.add(1);
    assert_eq!(worker.settled("exact.full"), Total::whole(i64::MAX), "nothing more, nothing less");
    assert_eq!(total("exact.full_site"), Total::whole(i64::MAX));
    let ((), captured) = capture(|| count!("exact.once", u128::MAX));
    assert_eq!(captured.count("exact.once"), i64::MAX);
}

/// Measures when it is dropped: late enough to have no cell of its own any more.
struct Last(fn());

impl Drop for Last {
    fn drop(&mut self) {
        (self.0)();
    }
}

#[test]
fn what_threads_count_as_they_end_stays_within_the_range_too() {
    let _turn = turn();
    thread_local!(static LAST: Last = const {
        Last(|| {
            count!("exact.late_site", i64::MAX);
            zibrato::counter("exact.late").handle().add(i64::MAX);
            zibrato::timer("exact.late_timer").handle().record_nanos(u64::MAX);
            zibrato::distribution("exact.late_values").handle().record(9e15);
        })
    });
    for _ in 0..3 {
        std::thread::spawn(|| {
            // Touched before the first measurement, it goes after the registry's own.
            LAST.with(|_| ());
            count!("exact.early");
        })
        .join()
        .unwrap();
        assert_eq!(total("exact.late_site").whole, i64::MAX);
        assert_eq!(total("exact.late").whole, i64::MAX);
    }
}

#[test]
fn sums_of_values_stay_within_the_range_of_a_total() {
    let _turn = turn();
    let sum = |name: &str| {
        let found = registry::read().into_iter().find(|r| &*r.id.name == name);
        match found.map(|r| r.state) {
            Some(State::Spread(spread)) => spread.sum,
            other => panic!("{name} is no spread: {other:?}"),
        }
    };
    let values = zibrato::distribution("exact.values").handle();
    let durations = zibrato::timer("exact.durations").handle();
    for _ in 0..1_100 {
        // The largest whole numbers that are summed as such.
        values.record((BIG - 1) as f64);
        durations.record_nanos(BIG as u64);
    }
    assert_eq!(sum("exact.durations").whole, i64::MAX);
    let expected = 1_100.0 * (BIG - 1) as f64;
    let summed = sum("exact.values").value();
    assert!((summed / expected - 1.0).abs() < 1e-9, "{summed} instead of {expected}");
}
