//! Ends of instances, retired metrics and forks, while other threads measure.
#![allow(unsafe_code, reason = "fork is unsafe to call")]

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;

use zibrato_core::frame::{Kind, State};
use zibrato_core::registry::{self, Counter, Gauge, MetricSpec, Reading, Timer, Updown};

/// Ends are of the whole process, so tests take turns.
static TURN: Mutex<()> = Mutex::new(());

fn turn() -> std::sync::MutexGuard<'static, ()> {
    TURN.lock().unwrap_or_else(|e| e.into_inner())
}

fn spec(name: &str) -> MetricSpec<'_> {
    MetricSpec { level: "info", kind: Kind::Counter, name, source: None, tags: &[], statistics: false }
}

fn state(readings: Vec<Reading>, name: &str) -> Option<State> {
    readings.into_iter().find(|r| &*r.id.name == name).map(|r| r.state)
}

fn whole(readings: Vec<Reading>, name: &str) -> Option<i64> {
    match state(readings, name)? {
        State::Total(total) => Some(total.whole),
        other => panic!("{name} is no total: {other:?}"),
    }
}

#[test]
fn nothing_falls_between_two_instances() {
    let _turn = turn();
    let counter = Counter::of(&spec("between"));
    let stop = AtomicBool::new(false);
    let (counted, mut seen) = thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let mut n = 0;
            while !stop.load(Relaxed) {
                counter.add(1);
                n += 1;
            }
            n
        });
        let ends = std::iter::from_fn(|| Some(whole(registry::end(), "between").unwrap_or(0)));
        let seen: i64 = ends.filter(|&counted| counted > 0).take(200).sum();
        stop.store(true, Relaxed);
        (writer.join().unwrap(), seen)
    });
    seen += whole(registry::end(), "between").unwrap_or(0);
    assert_eq!(seen, counted);
}

#[test]
fn an_updown_counter_is_told_when_it_returns_to_zero_in_a_later_instance() {
    let _turn = turn();
    let open = Updown::of(&spec("open"));
    open.add(3);
    assert_eq!(whole(registry::end(), "open"), Some(3));
    assert_eq!(whole(registry::read(), "open"), None, "nothing happened in this instance");
    open.add(5);
    assert_eq!(whole(registry::read(), "open"), Some(5));
    open.add(-5);
    assert_eq!(whole(registry::read(), "open"), Some(0));
    assert_eq!(whole(registry::end(), "open"), Some(0));
}

#[test]
fn statistics_of_a_gauge_start_at_zero_with_each_instance() {
    let _turn = turn();
    let gauge = Gauge::of(&MetricSpec { statistics: true, ..spec("level") });
    gauge.set(2.0);
    gauge.set(4.0);
    let statistics = |readings| match state(readings, "level") {
        Some(State::Gauge(gauge)) => gauge.statistics.map(|(count, sum, _)| (count, sum)),
        _ => None,
    };
    assert_eq!(statistics(registry::end()), Some((2, 6.0)));
    gauge.set(1.0);
    assert_eq!(statistics(registry::end()), Some((1, 1.0)));
}

#[test]
fn a_retired_metric_has_what_its_last_handle_counted() {
    const ROUNDS: i64 = 20_000;
    let _turn = turn();
    let done = AtomicBool::new(false);
    let mut seen: i64 = 0;
    thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..ROUNDS {
                let counter = Counter::of(&spec("short"));
                counter.add(1);
                counter.retire();
            }
            done.store(true, Relaxed);
        });
        while !done.load(Relaxed) {
            registry::read();
            seen += registry::take_retired().into_iter().filter_map(|r| whole(vec![r], "short")).sum::<i64>();
        }
    });
    let left = registry::read();
    seen += registry::take_retired().into_iter().filter_map(|r| whole(vec![r], "short")).sum::<i64>();
    assert_eq!(seen + whole(left, "short").unwrap_or(0), ROUNDS);
}

#[test]
fn one_absurd_value_does_not_make_a_metric_that_nobody_takes() {
    let _turn = turn();
    let (counter, timer) = (Counter::of(&spec("absurd.count")), Timer::of(&spec("absurd.time")));
    counter.add(u64::MAX);
    counter.add(1);
    counter.add(f64::MAX);
    counter.add(f64::MAX);
    timer.record(std::time::Duration::MAX);
    timer.record_nanos(1);
    let readings = registry::read();
    match state(readings.clone(), "absurd.count") {
        Some(State::Total(total)) => assert_eq!((total.whole, total.float), (i64::MAX, f64::MAX)),
        other => panic!("{other:?}"),
    }
    match state(readings, "absurd.time") {
        Some(State::Spread(spread)) => {
            assert_eq!((spread.sum.whole, spread.histogram.count()), (i64::MAX, 2))
        }
        other => panic!("{other:?}"),
    }
    registry::end();
}

#[cfg(unix)]
#[test]
fn a_child_forked_while_threads_wait_for_the_registry_can_use_it() {
    use std::time::{Duration, Instant};
    let _turn = turn();
    zibrato_core::cell::fork::watch();
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while !stop.load(Relaxed) {
                    registry::census();
                }
            });
        }
        let hung = (0..50).find(|_| {
            // SAFETY: the child only uses the registry, whose fork handlers make it fit for that, and exits.
            let child = unsafe { libc::fork() };
            if child == 0 {
                registry::read();
                // SAFETY: ends the child without running the parent's destructors.
                unsafe { libc::_exit(0) };
            }
            let deadline = Instant::now() + Duration::from_secs(20);
            let mut status = 0;
            // SAFETY: waits for the child just made, or ends it.
            unsafe {
                while libc::waitpid(child, &mut status, libc::WNOHANG) == 0 {
                    if Instant::now() > deadline {
                        libc::kill(child, libc::SIGKILL);
                        libc::waitpid(child, &mut status, 0);
                        return true;
                    }
                    thread::yield_now();
                }
            }
            false
        });
        stop.store(true, Relaxed);
        assert_eq!(hung, None, "a child waits for a thread that it does not have");
    });
}
