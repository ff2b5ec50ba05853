//! Panics in every place where somebody else's code runs. After each of them the totals are right, no lock is poisoned,
//! and everything measures on.

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind, panic_any};
use std::pin::{Pin, pin};
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};
use std::thread;

use zibrato::testing::{Captured, FakeClock, capture};
use zibrato::{count, count_me, gauge, record, time, time_me, timing, updown};
use zibrato_core::frame::State;
use zibrato_core::registry;

/// The hook that prints panics is the whole process's, so tests take turns.
static TURN: Mutex<()> = Mutex::new(());

fn turn() -> MutexGuard<'static, ()> {
    TURN.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// What `work` measures although it panics, after which everything still measures.
fn measured(work: impl FnOnce()) -> Captured {
    let (panicked, captured) = capture(|| catch_unwind(AssertUnwindSafe(work)).is_err());
    assert!(panicked, "it was to panic");
    still_measures();
    captured
}

/// Everything that takes a lock or has state of its own, on this thread and on another one.
fn still_measures() {
    fn all() {
        let ((), captured) = capture(|| {
            count!("after.count", 2);
            drop(time!("after.time"));
            gauge!("after.gauge", 1.5 + f64::from(next()));
            zibrato::counter("after.handle").handle().add(1);
            zibrato::timer("after.timer").handle().record_nanos(5);
            let short = zibrato::counter(&format!("after.{}", next())).handle();
            short.add(3);
            short.retire();
        });
        assert_eq!((captured.count("after.count"), captured.count("after.handle")), (2, 1));
        assert_eq!((captured.recorded("after.time"), captured.recorded("after.timer")), (1, 1));
        assert!(captured.gauge("after.gauge").is_some());
    }
    fn next() -> u32 {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        NEXT.fetch_add(1, Relaxed) as u32
    }
    all();
    thread::spawn(all).join().expect("the other thread measures");
    registry::read();
    assert!(zibrato::status().metrics > 0);
}

fn on_purpose<T>() -> T {
    panic!("on purpose")
}

fn outcome(captured: &Captured, name: &str) -> [u64; 4] {
    ["ok", "error", "panicked", "cancelled"].map(|word| {
        let tagged = captured.with_tag("outcome", word);
        tagged.recorded(name) + tagged.count(name) as u64
    })
}

fn poll_once<F: Future + ?Sized>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

#[time_me(name = "body.time")]
#[time_me(name = "body.time_outcome", outcome)]
#[count_me(name = "body.count")]
#[count_me(name = "body.count_outcome", outcome)]
fn body() -> Result<(), String> {
    count!("body.inside");
    on_purpose()
}

#[test]
fn in_the_body() {
    let _turn = turn();
    let captured = measured(|| drop(body()));
    assert_eq!((captured.recorded("body.time"), captured.count("body.count")), (1, 1));
    assert_eq!(outcome(&captured, "body.time_outcome"), [0, 0, 1, 0]);
    assert_eq!(outcome(&captured, "body.count_outcome"), [0, 0, 1, 0]);
    assert_eq!(captured.count("body.inside"), 1);
}

#[count_me(name = "value.attribute", value = on_purpose::<u64>())]
#[count_me(name = "value.first")]
fn value() {
    count!("value.body");
}

#[count_me(name = "value.outcome", outcome, value = on_purpose::<i32>())]
fn value_with_outcome() {
    count!("value.body");
}

#[count_me(name = "value.future", value = on_purpose::<u64>())]
async fn value_of_future() {
    count!("value.body");
}

#[test]
fn in_the_expression_of_a_value() {
    let _turn = turn();
    for work in [
        value,
        value_with_outcome,
        || {
            let _ = poll_once(pin!(value_of_future()));
        },
        || count!("value.count", on_purpose::<u64>()),
        || count!("value.count", on_purpose::<f64>()),
        || updown!("value.updown", on_purpose::<i32>()),
        || gauge!("value.gauge", on_purpose::<f64>()),
        || record!("value.record", on_purpose::<u8>()),
        || timing!("value.timing", on_purpose()),
    ] {
        let captured = measured(work);
        let only: Vec<_> = captured.names().into_iter().filter(|name| *name != "value.first").collect();
        assert!(only.is_empty(), "what has no value is not measured: {only:?}");
    }
    // Twice at the same call site: the first time it is not enlisted yet.
    for i in 0..4 {
        let place = || count!("value.sometimes", if i % 2 == 0 { on_purpose() } else { 7_u64 });
        match i % 2 {
            0 => drop(measured(place)),
            _ => assert_eq!(capture(place).1.count("value.sometimes"), 7),
        }
    }
}

#[test]
fn in_a_timed_closure_and_around_guards() {
    let _turn = turn();
    let clock = FakeClock::at(1_000);
    let timer = zibrato::timer("closure.timer").handle();
    let captured = measured(|| {
        let _entered = clock.enter();
        timer.time(|| {
            clock.advance(std::time::Duration::from_secs(1));
            on_purpose()
        })
    });
    assert_eq!(captured.time("closure.timer"), std::time::Duration::from_secs(1));
    let captured = measured(|| {
        let _scope = time!("closure.scope");
        let _handle = timer.start();
        let discarded = time!("closure.discarded");
        discarded.discard();
        on_purpose()
    });
    assert_eq!((captured.recorded("closure.scope"), captured.recorded("closure.timer")), (1, 1));
    assert_eq!(captured.recorded("closure.discarded"), 0);
    // A capture that does not come back.
    measured(|| drop(capture(on_purpose::<u8>)));
    // The clock is the real one again.
    let now = zibrato_core::clock::unix_nanos();
    assert!(now > 1_000_000_000_000);
}

/// Measures when it is dropped.
struct Measures;

impl Drop for Measures {
    fn drop(&mut self) {
        count!("unwinding.count");
        drop(time!("unwinding.time"));
        zibrato::counter("unwinding.handle").handle().add(1);
        zibrato::distribution(if thread::panicking() { "unwinding.new" } else { "calm.new" })
            .handle()
            .record(1.0);
        let _ = ends_well();
    }
}

#[time_me(name = "unwinding.outcome", outcome)]
fn ends_well() -> Result<(), ()> {
    Ok(())
}

#[test]
fn destructors_measure_while_the_thread_unwinds() {
    let _turn = turn();
    let captured = measured(|| {
        let _measures = (Measures, Measures);
        on_purpose()
    });
    for name in ["unwinding.count", "unwinding.handle"] {
        assert_eq!(captured.count(name), 2, "{name}");
    }
    assert_eq!((captured.recorded("unwinding.time"), captured.recorded("unwinding.new")), (2, 2));
    assert_eq!(outcome(&captured, "unwinding.outcome"), [2, 0, 0, 0], "these calls ended well");
}

/// Panics when it is dropped.
struct Panics;

impl Drop for Panics {
    fn drop(&mut self) {
        if !thread::panicking() {
            on_purpose()
        }
    }
}

#[time_me(name = "local.time", outcome)]
fn local_panics() {
    let _panics = Panics;
}

#[time_me(name = "argument.time", outcome)]
fn argument_panics(_panics: Panics) {}

#[test]
fn in_destructors_of_locals_and_arguments() {
    let _turn = turn();
    assert_eq!(outcome(&measured(local_panics), "local.time"), [0, 0, 1, 0]);
    let captured = measured(|| argument_panics(Panics));
    assert_eq!(
        outcome(&captured, "argument.time").iter().sum::<u64>(),
        1,
        "counted once, whatever it is called"
    );
}

async fn pending_once() {
    let mut polled = false;
    poll_fn(move |_| if std::mem::replace(&mut polled, true) { Poll::Ready(()) } else { Poll::Pending })
        .await;
}

#[time_me(name = "future.time")]
#[time_me(name = "future.outcome", outcome)]
#[count_me(name = "future.calls")]
#[count_me(name = "future.ends", outcome)]
async fn future(at: u32) -> Result<(), ()> {
    let _panics = (at == 2).then_some(Panics);
    for step in 0..2 {
        if step == at {
            on_purpose()
        }
        pending_once().await;
    }
    Ok(())
}

#[test]
fn in_futures() {
    let _turn = turn();
    // At the first poll, at the second one, and in the destructor of a local.
    for at in 0..3 {
        let captured = measured(|| {
            let mut future = pin!(future(at));
            while poll_once(future.as_mut()).is_pending() {}
        });
        assert_eq!(captured.count("future.calls"), 1, "at {at}");
        assert_eq!(captured.recorded("future.time"), 1, "at {at}");
        for name in ["future.outcome", "future.ends"] {
            assert_eq!(outcome(&captured, name), [0, 0, 1, 0], "{name} at {at}");
        }
    }
    // Dropped half-way, with a local that panics as it goes.
    let captured = measured(|| {
        let mut future = Box::pin(future(2));
        assert!(poll_once(future.as_mut()).is_pending());
        drop(future);
    });
    assert_eq!(outcome(&captured, "future.outcome"), [0, 0, 1, 0]);
    assert_eq!(captured.recorded("future.time") + captured.count("future.time.cancelled") as u64, 1);
}

/// A number of somebody else's.
struct Strange;

impl zibrato::__private::Number for Strange {
    fn number(self) -> f64 {
        on_purpose()
    }
}

#[test]
fn in_a_number_of_somebody_else() {
    let _turn = turn();
    let captured = measured(|| gauge!("strange.gauge", Strange));
    assert_eq!(captured.gauge("strange.gauge"), None);
    let captured = measured(|| record!("strange.record", Strange));
    assert_eq!(captured.recorded("strange.record"), 0);
}

#[test]
fn a_panic_hook_may_measure() {
    let _turn = turn();
    let old = std::panic::take_hook();
    std::panic::set_hook(Box::new(|info| {
        count!("hook.count");
        let _timing = time!("hook.time");
        let place = info.location().map_or("", |location| location.file());
        zibrato::counter("hook.handle").tag("file", place).handle().add(1);
        zibrato::status();
    }));
    let threads: Vec<_> = (0..50)
        .map(|i| {
            thread::spawn(move || {
                if i % 2 == 0 {
                    count!("hook.before");
                }
                let _timing = time!("hook.body");
                panic_any(i)
            })
        })
        .collect();
    threads.into_iter().for_each(|thread| drop(thread.join().unwrap_err()));
    std::panic::set_hook(old);
    let readings = registry::read();
    let state = |name: &str| readings.iter().find(|r| &*r.id.name == name).map(|r| r.state.clone());
    for (name, expected) in [("hook.count", 50), ("hook.handle", 50), ("hook.before", 25)] {
        assert!(matches!(state(name), Some(State::Total(total)) if total.whole == expected), "{name}");
    }
    for name in ["hook.time", "hook.body"] {
        assert!(matches!(state(name), Some(State::Spread(s)) if s.histogram.count() == 50), "{name}");
    }
    still_measures();
}

/// Panics and catches that when its thread ends.
struct PanicsAtTheEnd;

impl Drop for PanicsAtTheEnd {
    fn drop(&mut self) {
        let caught = catch_unwind(|| {
            let _timing = time!("end.time");
            count!("end.count");
            zibrato::counter("end.handle").handle().add(1);
            on_purpose::<()>()
        });
        assert!(caught.is_err());
        count!("end.after");
    }
}

#[test]
fn in_destructors_of_thread_locals() {
    let _turn = turn();
    thread_local! {
        static EARLY: Cell<Option<PanicsAtTheEnd>> = const { Cell::new(None) };
        static LATE: Cell<Option<PanicsAtTheEnd>> = const { Cell::new(None) };
    }
    let cells = registry::census().cells;
    for _ in 0..20 {
        thread::spawn(|| {
            // The order of destructors follows the order of first touches: both sides of the registry's own.
            EARLY.set(Some(PanicsAtTheEnd));
            count!("end.count");
            LATE.set(Some(PanicsAtTheEnd));
        })
        .join()
        .unwrap();
    }
    // Fewer where threads of other tests have ended meanwhile.
    assert!(registry::census().cells <= cells);
    let readings = registry::read();
    let state = |name: &str| readings.iter().find(|r| &*r.id.name == name).map(|r| r.state.clone());
    for (name, expected) in [("end.count", 60), ("end.handle", 40), ("end.after", 40)] {
        assert!(matches!(state(name), Some(State::Total(total)) if total.whole == expected), "{name}");
    }
    assert!(matches!(state("end.time"), Some(State::Spread(s)) if s.histogram.count() == 40));
    still_measures();
}

#[test]
fn in_the_middle_of_everything_on_many_threads() {
    let _turn = turn();
    let counter = zibrato::counter("many.handle").handle();
    thread::scope(|scope| {
        let threads: Vec<_> = (0..200)
            .map(|i| {
                let counter = counter.clone();
                scope.spawn(move || {
                    for n in 0..=i % 7 {
                        count!("many.count");
                        counter.add(1);
                        let _timing = time!("many.time");
                        assert!(n < i % 7, "on purpose");
                    }
                })
            })
            .collect();
        threads.into_iter().for_each(|thread| drop(thread.join().unwrap_err()));
    });
    let expected: i64 = (0..200).map(|i| i % 7 + 1).sum();
    let readings = registry::read();
    for reading in readings.iter().filter(|r| r.id.name.starts_with("many.")) {
        match &reading.state {
            State::Total(total) => assert_eq!(total.whole, expected, "{}", reading.id.name),
            State::Spread(spread) => assert_eq!(spread.histogram.count() as i64, expected),
            other => panic!("{other:?}"),
        }
    }
    still_measures();
}

/// Runs only as a process of its own, which the test below starts.
#[test]
fn aborts_at_the_end_of_a_thread() {
    if std::env::var_os("ZIBRATO_TEST_CHILD").is_none() {
        return;
    }
    struct Aborts;
    impl Drop for Aborts {
        fn drop(&mut self) {
            count!("abort.count");
            let _timing = time!("abort.time");
            on_purpose()
        }
    }
    thread_local!(static ABORTS: Aborts = const { Aborts });
    let _ = thread::spawn(|| ABORTS.with(|_| count!("abort.count"))).join();
}

#[test]
fn an_uncaught_panic_of_a_thread_local_ends_the_process_and_does_not_hang() {
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["aborts_at_the_end_of_a_thread", "--exact", "--nocapture"])
        .env("ZIBRATO_TEST_CHILD", "1")
        .output()
        .unwrap();
    // As the standard library has it, with and without Zibrato.
    assert!(!child.status.success());
    assert!(String::from_utf8_lossy(&child.stderr).contains("thread local panicked on drop"));
}
