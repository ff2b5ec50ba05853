//! Callbacks that sample values before each read.

mod support;

use std::panic::panic_any;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use support::{TestBroker, wait_until};
use zibrato::{Guard, builder, on_read};
use zibrato_core::frame::State;

/// There is one publisher in a process, so tests take turns.
static TURN: Mutex<()> = Mutex::new(());

fn turn() -> MutexGuard<'static, ()> {
    TURN.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

fn install(broker: &TestBroker) -> Guard {
    builder().broker(&broker.url).interval(Duration::from_millis(10)).install().expect("nothing is installed")
}

fn add_one(calls: &Arc<AtomicU64>) -> impl FnMut() + Send + 'static {
    let calls = calls.clone();
    move || {
        calls.fetch_add(1, Relaxed);
    }
}

fn gauge(broker: &TestBroker, name: &str) -> Option<f64> {
    broker.kept().into_iter().find_map(|(key, state)| match state {
        State::Gauge(gauge) if &*key.name == name => Some(gauge.value),
        _ => None,
    })
}

#[test]
fn what_is_sampled_arrives_with_its_newest_value() {
    let _turn = turn();
    let broker = TestBroker::start();
    let value = Arc::new(AtomicU64::new(3));
    let sampled = value.clone();
    // Before anything is installed, as libraries do.
    let callback = on_read(move || zibrato::gauge!("sampled.value", sampled.load(Relaxed)));
    let guard = install(&broker);
    wait_until("the value arrives", || gauge(&broker, "sampled.value") == Some(3.0));
    value.store(4, Relaxed);
    wait_until("the new value arrives", || gauge(&broker, "sampled.value") == Some(4.0));
    // The last totals are sampled, too.
    let last = Arc::new(AtomicU64::new(0));
    let counted = last.clone();
    on_read(move || {
        zibrato::count!("sampled.last");
        counted.fetch_add(1, Relaxed);
    })
    .detach();
    drop(guard);
    assert_eq!(broker.total("sampled.last") as u64, last.load(Relaxed));
    drop(callback);
}

#[test]
fn a_callback_is_called_until_its_guard_is_dropped() {
    let _turn = turn();
    let broker = TestBroker::start();
    let guard = install(&broker);
    let calls = Arc::new(AtomicU64::new(0));
    let callback = on_read(add_one(&calls));
    wait_until("it is called", || calls.load(Relaxed) > 2);
    drop(callback);
    wait_until("it is let go of", || Arc::strong_count(&calls) == 1);
    let seen = calls.load(Relaxed);
    assert!(guard.flush(Duration::from_secs(10)) && guard.flush(Duration::from_secs(10)));
    assert_eq!(calls.load(Relaxed), seen);
}

#[test]
fn callbacks_come_and_go_in_callbacks() {
    let _turn = turn();
    let broker = TestBroker::start();
    let own = Arc::new(Mutex::new(None));
    let inner = Arc::new(AtomicU64::new(0));
    let (place, counted) = (own.clone(), inner.clone());
    let callback = on_read(move || {
        on_read(add_one(&counted)).detach();
        // Its own guard: it is not called again.
        drop(place.lock().unwrap().take());
    });
    *own.lock().unwrap() = Some(callback);
    let guard = install(&broker);
    wait_until("the inner one is called", || inner.load(Relaxed) > 3);
    drop(guard);
    assert_eq!(Arc::strong_count(&inner), 2, "the outer one ran once");
}

struct PanicsWhenDropped;

impl Drop for PanicsWhenDropped {
    fn drop(&mut self) {
        panic!("on purpose, in a destructor");
    }
}

#[test]
fn one_that_panics_is_removed_and_the_others_go_on() {
    let _turn = turn();
    let broker = TestBroker::start();
    let calls = Arc::new(AtomicU64::new(0));
    let panics = Arc::new(AtomicU64::new(0));
    let (first, second, third) = (panics.clone(), panics.clone(), panics.clone());
    let callbacks = [
        on_read(add_one(&calls)),
        on_read(move || {
            first.fetch_add(1, Relaxed);
            zibrato::count!("panicking.callback");
            panic!("on purpose")
        }),
        on_read(move || {
            second.fetch_add(1, Relaxed);
            panic_any(PanicsWhenDropped)
        }),
        on_read(add_one(&calls)),
    ];
    let owned = PanicsWhenDropped;
    let guard = install(&broker);
    on_read(move || {
        let _owned = &owned;
        third.fetch_add(1, Relaxed);
        panic!("on purpose")
    })
    .detach();
    wait_until("the others are called", || calls.load(Relaxed) >= 20);
    assert_eq!(panics.load(Relaxed), 3, "each panics once");
    drop(guard);
    assert_eq!(broker.total("panicking.callback"), 1);
    drop(callbacks);
}

#[test]
fn a_slow_one_delays_only_the_publisher() {
    let _turn = turn();
    let broker = TestBroker::start();
    let (held, release) = (Arc::new(AtomicBool::new(true)), Arc::new(AtomicBool::new(false)));
    let (in_it, go) = (release.clone(), held.clone());
    let callback = on_read(move || {
        in_it.store(true, Relaxed);
        while go.load(Relaxed) {
            std::thread::sleep(Duration::from_millis(1));
        }
    });
    let guard = install(&broker);
    wait_until("the publisher is in it", || release.load(Relaxed));
    for _ in 0..1_000 {
        zibrato::count!("slow.counted");
        zibrato::counter("slow.handle").handle().add(1);
    }
    std::thread::spawn(|| zibrato::count!("slow.thread")).join().unwrap();
    assert!(!guard.flush(Duration::from_millis(1)), "the publisher is busy");
    held.store(false, Relaxed);
    drop(guard);
    drop(callback);
    let totals = ["slow.counted", "slow.handle", "slow.thread"].map(|name| broker.total(name));
    assert_eq!(totals, [1_000, 1_000, 1]);
}

/// Runs only as a process of its own, which the test below starts.
#[test]
fn panics_in_a_callback() {
    if std::env::var_os("ZIBRATO_TEST_CHILD").is_none() {
        return;
    }
    on_read(|| panic!("on purpose")).detach();
    let guard = builder().broker("tcp://127.0.0.1:1").deadline(Duration::ZERO).install().unwrap();
    for _ in 0..3 {
        guard.flush(Duration::from_secs(10));
    }
}

#[test]
fn a_panic_is_said_once_with_the_place_of_the_registration() {
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["panics_in_a_callback", "--exact", "--nocapture"])
        .env("ZIBRATO_TEST_CHILD", "1")
        .output()
        .unwrap();
    let said = String::from_utf8(child.stderr).unwrap();
    assert!(child.status.success(), "{said}");
    assert_eq!(said.matches("has panicked, and is not called any more").count(), 1, "{said}");
    assert!(said.contains("on_read.rs:"), "{said}");
}
