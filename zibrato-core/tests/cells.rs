//! The shipped cells under threads, destructors, churn and hostile values. Valgrind and ThreadSanitizer run this
//! file too, so the numbers are small there.

use std::cell::RefCell;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::thread;

use zibrato_core::cell::{SampledSlot, SpreadSlot, WordCell};
use zibrato_core::frame::{Kind, Spread, State, Total};
use zibrato_core::registry::{self, Counter, Distribution, Gauge, MetricSpec, Reading, Site, Timer, Updown};

/// Reading restarts intervals and ending restarts totals for the whole process, so tests take turns.
static TURN: Mutex<()> = Mutex::new(());

fn turn() -> std::sync::MutexGuard<'static, ()> {
    TURN.lock().unwrap_or_else(|e| e.into_inner())
}

fn scale(n: u64) -> u64 {
    if std::env::var_os("ZIBRATO_SMALL").is_some() { n.div_ceil(50) } else { n }
}

fn find(readings: &[Reading], name: &str) -> Option<State> {
    readings.iter().find(|r| &*r.id.name == name).map(|r| r.state.clone())
}

fn total(name: &str) -> Total {
    match find(&registry::read(), name) {
        Some(State::Total(total)) => total,
        None => Total::default(),
        other => panic!("{name} is no total: {other:?}"),
    }
}

fn spread(name: &str) -> Spread {
    match find(&registry::read(), name) {
        Some(State::Spread(spread)) => spread,
        None => Spread::default(),
        other => panic!("{name} is no spread: {other:?}"),
    }
}

fn spec(name: &str) -> MetricSpec<'_> {
    MetricSpec { level: "info", kind: Kind::Counter, name, source: None, tags: &[], statistics: false }
}

macro_rules! count_site {
    ($name:literal) => {{
        static SITE: Site = Site::new(Kind::Counter, "info", $name, None, &[]);
        thread_local!(static CELL: WordCell = const { WordCell::new() });
        (&SITE, &CELL)
    }};
}

macro_rules! time_site {
    ($name:literal) => {{
        static SITE: Site = Site::new(Kind::Timer, "info", $name, None, &[]);
        thread_local!(static SLOT: SpreadSlot = const { SpreadSlot::new(&SITE) });
        &SLOT
    }};
}

#[test]
fn short_threads_with_a_reader_spinning_count_to_the_last_one() {
    let _turn = turn();
    let threads = scale(10_000);
    let (site, cell) = count_site!("churn.count");
    let slot = time_site!("churn.time");
    let handle = Counter::of(&spec("churn.handle"));
    let done = Arc::new(AtomicBool::new(false));
    let reader = {
        let done = done.clone();
        thread::spawn(move || {
            let mut last = 0;
            while !done.load(Relaxed) {
                let now = total("churn.count").whole;
                assert!(now >= last, "the total went back from {last} to {now}");
                last = now;
            }
        })
    };
    let cells_before = registry::census().cells;
    for _ in 0..threads / 10 {
        let batch: Vec<_> = (0..10)
            .map(|_| {
                let handle = handle.clone();
                thread::spawn(move || {
                    for i in 0..100 {
                        site.count(cell, 1);
                        Site::time(slot, i * 1000);
                        handle.add(2);
                    }
                })
            })
            .collect();
        batch.into_iter().for_each(|t| t.join().unwrap());
    }
    done.store(true, Relaxed);
    reader.join().unwrap();
    let events = threads / 10 * 10 * 100;
    assert_eq!(total("churn.count"), Total::whole(events as i64));
    assert_eq!(total("churn.handle"), Total::whole(2 * events as i64));
    let spread = spread("churn.time");
    assert_eq!(spread.histogram.count(), events);
    assert_eq!(spread.sum.whole as u64, events / 100 * (0..100).map(|i| i * 1000).sum::<u64>());
    assert_eq!(registry::census().cells, cells_before, "cells of ended threads are left");
}

struct OnDrop(fn());

impl Drop for OnDrop {
    fn drop(&mut self) {
        (self.0)();
    }
}

#[test]
fn destructors_of_thread_locals_still_measure() {
    let _turn = turn();
    fn measure() {
        let (site, cell) = count_site!("destructor.count");
        let slot = time_site!("destructor.time");
        site.count(cell, 1);
        Site::time(slot, 50);
        Counter::of(&spec("destructor.handle")).add(1);
    }
    thread_local! {
        static EARLY: RefCell<Option<OnDrop>> = const { RefCell::new(None) };
        static LATE: RefCell<Option<OnDrop>> = const { RefCell::new(None) };
    }
    let threads = scale(400) as i64;
    for i in 0..threads {
        thread::spawn(move || {
            // The order of destructors follows the order of first touches: both sides of the reaper's own.
            EARLY.with(|d| *d.borrow_mut() = Some(OnDrop(measure)));
            if i % 2 == 0 {
                measure();
            }
            LATE.with(|d| *d.borrow_mut() = Some(OnDrop(measure)));
        })
        .join()
        .unwrap();
    }
    let expected = threads * 2 + (threads + 1) / 2;
    assert_eq!(total("destructor.count").whole, expected);
    assert_eq!(total("destructor.handle").whole, expected);
    assert_eq!(spread("destructor.time").histogram.count() as i64, expected);
    assert_eq!(spread("destructor.time").sum.whole, expected * 50);
}

#[test]
fn whole_float_and_negative_increments_stay_exact() {
    let _turn = turn();
    let counter = Counter::of(&spec("exact.counter"));
    counter.add(u64::MAX >> 2);
    counter.add(3u8);
    counter.add(0);
    counter.add(0.25);
    counter.add(0.5f32);
    let refused = total("zibrato.refused").whole;
    counter.add(-1);
    counter.add(-0.5);
    counter.add(f64::NAN);
    assert_eq!(total("zibrato.refused").whole, refused + 3);
    assert_eq!(total("exact.counter"), Total { whole: (u64::MAX >> 2) as i64 + 3, float: 0.75 });
    let updown = Updown::of(&spec("exact.updown"));
    updown.add(-7);
    updown.add(2.5);
    assert_eq!(total("exact.updown"), Total { whole: -7, float: 2.5 });
    let (site, cell) = count_site!("exact.site");
    for _ in 0..3 {
        site.count(cell, u64::MAX >> 1);
    }
    assert_eq!(total("exact.site").whole, i64::MAX, "a total beyond its range stays at the end of it");
}

#[test]
fn spreads_keep_extremes_of_the_interval_and_every_value() {
    let _turn = turn();
    let timer = Timer::of(&spec("spread.timer"));
    [5, 1_000, 1 << 40, 0].into_iter().for_each(|nanos| timer.record_nanos(nanos));
    let first = spread("spread.timer");
    assert_eq!((first.histogram.count(), first.sum.whole), (4, 5 + 1_000 + (1 << 40)));
    assert_eq!(first.span.map(|s| (s.min, s.max)), Some((0.0, (1u64 << 40) as f64)));
    assert_eq!(spread("spread.timer").span, None, "the next interval has no values");
    let values = Distribution::of(&spec("spread.values"));
    [-2.5, 0.0, 1e300, 1e-300, 7.0].into_iter().for_each(|v| values.record(v));
    values.record(f64::INFINITY);
    let spread = spread("spread.values");
    assert_eq!(spread.histogram.count(), 5);
    assert_eq!(spread.span.map(|s| (s.min, s.max)), Some((-2.5, 1e300)));
    assert_eq!(spread.sum.whole, 7);
}

#[test]
fn gauges_keep_the_last_value_and_statistics_where_asked() {
    let _turn = turn();
    let gauge = Gauge::of(&spec("gauge.plain"));
    assert!(find(&registry::read(), "gauge.plain").is_none(), "a gauge that was never set says nothing");
    gauge.set(4.0);
    gauge.set(-1.5);
    gauge.set(f64::NAN);
    gauge.add(1.0);
    assert!(matches!(find(&registry::read(), "gauge.plain"), Some(State::Gauge(g)) if g.value == -0.5));
    let full = Gauge::of(&MetricSpec { statistics: true, ..spec("gauge.full") });
    [3.0, 9.0, 6.0].into_iter().for_each(|v| full.set(v));
    let Some(State::Gauge(read)) = find(&registry::read(), "gauge.full") else { panic!("no gauge") };
    let (count, sum, span) = read.statistics.unwrap();
    assert_eq!((read.value, count, sum, span.map(|s| (s.min, s.max))), (6.0, 3, 18.0, Some((3.0, 9.0))));
}

#[test]
fn a_level_that_is_off_measures_nothing() {
    let _turn = turn();
    let (site, cell) = count_site!("levels.site");
    let counter = Counter::of(&spec("levels.handle"));
    let both = || {
        if site.is_on() {
            site.count(cell, 1);
        }
        counter.add(1);
    };
    both();
    registry::set_levels("error".parse().unwrap());
    both();
    assert!(!site.is_on() && find(&registry::read(), "levels.site").is_none());
    registry::set_levels("*".parse().unwrap());
    both();
    assert_eq!((total("levels.site").whole, total("levels.handle").whole), (2, 2));
}

#[test]
fn an_end_begins_a_new_instance_at_zero() {
    let _turn = turn();
    let (site, cell) = count_site!("end.site");
    let timer = Timer::of(&spec("end.timer"));
    site.count(cell, 5);
    timer.record_nanos(100);
    let last = registry::end();
    assert!(matches!(find(&last, "end.site"), Some(State::Total(t)) if t.whole == 5));
    assert!(find(&registry::read(), "end.site").is_none(), "nothing was counted since");
    site.count(cell, 2);
    timer.record_nanos(300);
    assert_eq!(total("end.site"), Total::whole(2));
    let spread = spread("end.timer");
    assert_eq!((spread.histogram.count(), spread.sum.whole), (1, 300));
}

#[test]
fn a_retired_metric_goes_with_its_last_handle_and_returns_at_zero() {
    let _turn = turn();
    let counter = Counter::of(&spec("retire.me"));
    let other = counter.clone();
    counter.add(3);
    let first = registry::read().into_iter().find(|r| &*r.id.name == "retire.me").unwrap();
    counter.retire();
    other.add(4);
    assert_eq!(total("retire.me").whole, 7, "a handle is left");
    let worker = thread::spawn(move || other.add(10));
    worker.join().unwrap();
    registry::take_retired();
    registry::read();
    let retired = registry::take_retired();
    assert!(matches!(find(&retired, "retire.me"), Some(State::Total(t)) if t.whole == 17));
    assert!(find(&registry::read(), "retire.me").is_none());
    let again = Counter::of(&spec("retire.me"));
    again.add(1);
    let second = registry::read().into_iter().find(|r| &*r.id.name == "retire.me").unwrap();
    assert_eq!(second.state, State::Total(Total::whole(1)));
    assert!(second.born > first.born, "a metric that returns is born later");
}

#[test]
fn what_passes_the_limit_is_counted_in_one_metric() {
    let _turn = turn();
    let metrics = registry::census().metrics;
    registry::set_limit(metrics + 1);
    Counter::of(&spec("limit.last")).add(1);
    Counter::of(&spec("limit.one_too_many")).add(2);
    Counter::of(&spec("limit.two_too_many")).add(3);
    for i in 0..2_000 {
        let level = format!("level-{i}");
        Updown::of(&MetricSpec { level: &level, ..spec("limit.levels") }).add(1);
        registry::describe(&format!("limit.described.{i}"), "", "");
    }
    assert!(registry::census().metrics < metrics + 1_000, "levels make metrics without end");
    registry::set_limit(zibrato_core::limits::METRICS);
    let readings = registry::read();
    // One per level and kind, in no order: metrics that went leave their numbers to those that come.
    let overflowed = |kind| -> i64 {
        let of_kind = readings.iter().filter(|r| &*r.id.name == registry::OVERFLOW && r.id.kind == kind);
        let totals = of_kind.map(|r| match &r.state {
            State::Total(total) => total.whole,
            _ => 0,
        });
        totals.sum()
    };
    assert_eq!(overflowed(Kind::Updown), 2_000, "whatever is beyond all limits is still counted");
    assert_eq!(overflowed(Kind::Counter), 5);
    assert!(find(&registry::read(), "limit.one_too_many").is_none() && registry::census().overflowed);
    Counter::of(&spec("line\nbreak")).add(1);
    assert!(total(registry::BAD_NAME).whole >= 1);
}

#[test]
fn a_thread_reads_what_it_alone_has_measured() {
    let _turn = turn();
    let (site, cell) = count_site!("own.site");
    let events = AtomicU64::new(0);
    thread::scope(|scope| {
        let threads = [3, 5].map(|n| {
            let events = &events;
            scope.spawn(move || {
                site.count(cell, n);
                let own = registry::read_own_thread();
                assert!(matches!(find(&own, "own.site"), Some(State::Total(t)) if t.whole == n as i64));
                events.fetch_add(n, Relaxed);
            })
        });
        // A join is what ThreadSanitizer understands; the end of a scope, with a std that it did not compile, is not.
        threads.into_iter().for_each(|thread| thread.join().unwrap());
    });
    assert_eq!(total("own.site").whole as u64, events.into_inner());
}

#[test]
fn metrics_that_come_and_go_lose_nothing() {
    let _turn = turn();
    registry::set_idle(Some(std::time::Duration::ZERO));
    let (threads, rounds) = (4, scale(20_000));
    let done = Arc::new(AtomicBool::new(false));
    let reader = {
        let done = done.clone();
        thread::spawn(move || {
            let mut sum = 0;
            loop {
                let last = done.load(Relaxed);
                registry::read();
                for reading in registry::take_retired() {
                    if let ("come.and.go", State::Total(total)) = (&*reading.id.name, &reading.state) {
                        sum += total.whole;
                    }
                }
                if last {
                    return sum;
                }
            }
        })
    };
    let asks = |_| {
        thread::spawn(move || {
            for i in 0..rounds {
                let tag = ["a", "b", "c"][i as usize % 3];
                Counter::of(&MetricSpec { tags: &[("t", tag)], ..spec("come.and.go") }).add(1);
                if i % 64 == 0 {
                    thread::yield_now();
                }
            }
        })
    };
    (0..threads).map(asks).collect::<Vec<_>>().into_iter().for_each(|t| t.join().unwrap());
    // What was asked for a moment ago goes with the reading after the next.
    registry::read();
    done.store(true, Relaxed);
    let retired = reader.join().unwrap();
    registry::read();
    let late = registry::take_retired();
    let late = late.iter().filter(|r| &*r.id.name == "come.and.go").map(|r| match r.state {
        State::Total(total) => total.whole,
        _ => 0,
    });
    assert_eq!(retired + late.sum::<i64>() + total("come.and.go").whole, (threads * rounds) as i64);
    registry::set_idle(None);
}

#[test]
fn names_that_are_asked_for_again_lead_to_the_same_metric() {
    let _turn = turn();
    let pairs = [("b", "2"), ("a", "1")];
    let turned = [("a", "1"), ("b", "2")];
    for _ in 0..3 {
        Counter::of(&MetricSpec { tags: &pairs, ..spec("again") }).add(1);
        Counter::of(&MetricSpec { tags: &turned, ..spec("again") }).add(1);
        // What differs in anything is another metric.
        Counter::of(&MetricSpec { tags: &pairs[..1], ..spec("again") }).add(100);
        Counter::of(&MetricSpec { tags: &pairs, level: "debug", ..spec("again") }).add(1_000);
        Counter::of(&MetricSpec { tags: &pairs, source: Some("here"), ..spec("again") }).add(10_000);
        Updown::of(&MetricSpec { tags: &pairs, ..spec("again") }).add(-1);
    }
    let mut totals: Vec<i64> = registry::read()
        .into_iter()
        .filter(|r| &*r.id.name == "again")
        .map(|r| if let State::Total(total) = r.state { total.whole } else { 0 })
        .collect();
    totals.sort_unstable();
    assert_eq!(totals, [-3, 6, 300, 3_000, 30_000]);
    // More than a thread remembers.
    let many = scale(3_000);
    for _ in 0..2 {
        for i in 0..many {
            Counter::of(&MetricSpec { tags: &[("i", &i.to_string())], ..spec("many") }).add(1);
        }
    }
    let sums: Vec<i64> = registry::read()
        .into_iter()
        .filter(|r| &*r.id.name == "many")
        .map(|r| if let State::Total(total) = r.state { total.whole } else { 0 })
        .collect();
    assert_eq!((sums.len() as u64, sums.iter().all(|&sum| sum == 2)), (many, true));
}

#[test]
fn sampled_timers_count_every_call_and_time_some() {
    let _turn = turn();
    static CALLS: Site = Site::new(Kind::Counter, "info", "sampled.calls", None, &[]);
    thread_local!(static SAMPLED: SampledSlot = const { SampledSlot::new() });
    let slot = time_site!("sampled");
    // A call that may come after the thread's cells were folded.
    struct Late;
    impl Drop for Late {
        fn drop(&mut self) {
            // Where this comes before the thread's cells are folded it may be one to be timed.
            let _ = CALLS.sample(&SAMPLED, 16);
        }
    }
    thread_local!(static LATE: Late = const { Late });
    let (threads, calls) = (scale(1_000), 1_000);
    for _ in 0..threads {
        let call = move || {
            LATE.with(|_| ());
            for _ in 1..calls {
                let start = CALLS.sample(&SAMPLED, 16);
                if start != 0 {
                    Site::stop(slot, start);
                }
            }
        };
        thread::spawn(call).join().unwrap();
    }
    let all = (threads * calls) as f64;
    assert_eq!(total("sampled.calls").whole as f64, all);
    let share = all / spread("sampled").histogram.count() as f64;
    assert!((14.0..18.0).contains(&share), "one in {share} was timed");
}
