//! Many short threads, all kinds of measurements, a reader that never rests: exact to the last one.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::Duration;

use zibrato::{Counter, Distribution, Gauge, Timer, Updown, count, count_me, time_me};
use zibrato_core::frame::{Spread, State, Total};
use zibrato_core::registry::{self, Reading};

const THREADS: u64 = 10_000;
const EVENTS: u64 = 100;

fn state(readings: &[Reading], name: &str) -> Option<State> {
    readings.iter().find(|r| &*r.id.name == name).map(|r| r.state.clone())
}

fn total(readings: &[Reading], name: &str) -> Total {
    match state(readings, name) {
        Some(State::Total(total)) => total,
        None => Total::default(),
        other => panic!("{name} is no total: {other:?}"),
    }
}

fn spread(readings: &[Reading], name: &str) -> Spread {
    match state(readings, name) {
        Some(State::Spread(spread)) => spread,
        None => Spread::default(),
        other => panic!("{name} is no spread: {other:?}"),
    }
}

#[time_me(name = "stress.time_me")]
#[count_me(name = "stress.count_me", value = 3)]
fn attributes() {}

#[count_me(name = "stress.outcome", outcome)]
fn outcome(ok: bool) -> Result<(), ()> {
    if ok { Ok(()) } else { Err(()) }
}

struct Handles {
    counter: Counter,
    updown: Updown,
    timer: Timer,
    distribution: Distribution,
    gauge: Gauge,
}

impl Handles {
    fn new() -> Self {
        Handles {
            counter: zibrato::counter("stress.counter").handle(),
            updown: zibrato::updown("stress.updown").tag("kind", "handle").handle(),
            timer: zibrato::timer("stress.timer").handle(),
            distribution: zibrato::distribution("stress.distribution").handle(),
            gauge: zibrato::gauge("stress.gauge").with_statistics().handle(),
        }
    }
}

/// Every thread measures a counter, a timer and a handle; the rest is shared out among them.
fn measure(group: u64, i: u64, handles: &Handles) {
    count!("stress.count");
    zibrato::timing!("stress.timing", Duration::from_nanos(1000 + i));
    handles.counter.add(2);
    match group {
        0 => {
            count!("stress.count_value", i);
            count!("stress.count_float", 0.25);
            zibrato::updown!("stress.updown_site", 1 - 2 * i64::from(i.is_multiple_of(2)));
            handles.updown.add(if i.is_multiple_of(2) { 3 } else { -2 });
            handles.counter.add(0.5);
        }
        1 => {
            attributes();
            let _ = outcome(!i.is_multiple_of(4));
        }
        2 => {
            handles.timer.time(|| ());
            handles.distribution.record(i as f64 - 50.0);
            zibrato::record!("stress.record", i);
        }
        _ => {
            zibrato::gauge!("stress.gauge_site", i);
            handles.gauge.set(i as f64);
            drop(zibrato::time!("stress.time"));
        }
    }
}

#[test]
fn ten_thousand_threads_measure_to_the_last_event_while_a_reader_spins() {
    let handles = Handles::new();
    let done = AtomicBool::new(false);
    let (cells_before, threads_before) = (registry::census().cells, registry::census().threads);
    thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let (mut counted, mut timed) = (0, 0);
            while !done.load(Relaxed) {
                let readings = registry::read();
                let timings = spread(&readings, "stress.timing").histogram.count();
                let now = (total(&readings, "stress.count").whole, timings);
                assert!(counted <= now.0 && timed <= now.1, "from {counted}, {timed} back to {now:?}");
                (counted, timed) = now;
            }
        });
        let handles = &handles;
        for _ in 0..THREADS / 8 {
            let work = |thread: u64| move || (0..EVENTS).for_each(|i| measure(thread % 4, i, handles));
            let threads: Vec<_> = (0..8).map(|thread| scope.spawn(work(thread))).collect();
            threads.into_iter().for_each(|thread| thread.join().expect("no thread panics"));
        }
        done.store(true, Relaxed);
        // Unlike the end of the scope, a join waits for the destructors of thread-locals, too.
        reader.join().expect("totals never go back");
    });

    let readings = registry::read();
    let whole = |name: &str| total(&readings, name).whole;
    let count = |name: &str| spread(&readings, name).histogram.count() as i64;
    let (all, some) = ((THREADS * EVENTS) as i64, (THREADS / 4 * EVENTS) as i64);
    let sum_of_some = (THREADS / 4) as i64 * (0..EVENTS as i64).sum::<i64>();

    assert_eq!((whole("stress.count"), count("stress.timing")), (all, all));
    assert_eq!(spread(&readings, "stress.timing").sum.whole, 1000 * all + 4 * sum_of_some);
    assert_eq!(total(&readings, "stress.counter"), Total { whole: 2 * all, float: 0.5 * some as f64 });

    assert_eq!(whole("stress.count_value"), sum_of_some);
    assert_eq!(total(&readings, "stress.count_float").value(), 0.25 * some as f64);
    assert_eq!((whole("stress.updown_site"), whole("stress.updown")), (0, some / 2));

    assert_eq!((whole("stress.count_me"), count("stress.time_me")), (3 * some, some));
    let outcomes = ["ok", "error"].map(|word| {
        let is_it = |r: &&Reading| &*r.id.name == "stress.outcome" && r.id.tags.get("outcome") == Some(word);
        readings.iter().find(is_it).map(|r| r.state.clone())
    });
    assert_eq!(outcomes, [some / 4 * 3, some / 4].map(|n| Some(State::Total(Total::whole(n)))));

    for name in ["stress.timer", "stress.distribution", "stress.record", "stress.time"] {
        assert_eq!(count(name), some, "{name}");
    }
    assert_eq!(spread(&readings, "stress.distribution").sum.value(), (sum_of_some - 50 * some) as f64);
    assert_eq!(spread(&readings, "stress.record").sum.value(), sum_of_some as f64);

    let Some(State::Gauge(gauge)) = state(&readings, "stress.gauge") else { panic!("there is no gauge") };
    let (set, sum, _) = gauge.statistics.expect("it keeps statistics");
    assert_eq!((set as i64, sum), (some, sum_of_some as f64));
    assert!(matches!(state(&readings, "stress.gauge_site"), Some(State::Gauge(g)) if g.value == 99.0));

    let census = registry::census();
    assert_eq!(
        (census.cells, census.threads),
        (cells_before, threads_before),
        "cells of ended threads are left"
    );
}
