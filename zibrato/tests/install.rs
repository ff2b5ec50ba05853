//! What an application sees of Zibrato, with a real broker at the other end.

mod support;

use std::sync::{Mutex, MutexGuard};
use std::thread;
use std::time::{Duration, Instant};

use support::TestBroker;
use zibrato::{InstallError, builder, count, count_me, time_me};

/// There is one publisher in a process, so tests take turns.
static TURN: Mutex<()> = Mutex::new(());

fn turn() -> MutexGuard<'static, ()> {
    TURN.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

#[time_me(name = "install.work")]
#[count_me(name = "install.calls", value = 3)]
fn work() {
    std::hint::black_box(7);
}

#[test]
fn totals_of_all_threads_arrive_to_the_last_one() {
    let _turn = turn();
    let broker = TestBroker::start();
    count!("install.before");
    let guard = builder().broker(&broker.url).interval(Duration::from_millis(20)).install().unwrap();
    let threads: Vec<_> = (0..4).map(|_| thread::spawn(|| (0..1000).for_each(|_| work()))).collect();
    threads.into_iter().for_each(|t| t.join().unwrap());
    broker.wait_for("install.calls", 12_000);
    count!("install.late", 5u8);
    drop(guard);
    assert_eq!((broker.total("install.before"), broker.total("install.late")), (1, 5));
    let timed: u64 = broker
        .kept()
        .into_iter()
        .map(|(key, state)| match state {
            zibrato_core::frame::State::Spread(s) if &*key.name == "install.work" => s.histogram.count(),
            _ => 0,
        })
        .sum();
    assert_eq!(timed, 4000);
}

#[test]
fn what_comes_after_the_end_belongs_to_a_new_instance() {
    let _turn = turn();
    let broker = TestBroker::start();
    let install = || builder().broker(&broker.url).install().unwrap();
    let first = install();
    count!("again", 10);
    drop(first);
    count!("again", 1);
    let second = install();
    assert!(zibrato::status().installed);
    assert!(matches!(builder().broker(&broker.url).install(), Err(InstallError::AlreadyInstalled)));
    drop(second);
    assert!(!zibrato::status().installed);
    assert_eq!(broker.total("again"), 11, "nothing is lost between two instances, nothing comes twice");
}

#[test]
fn an_absent_broker_costs_a_bounded_wait_and_nothing_when_spilled() {
    let _turn = turn();
    let spill = tempfile::tempdir().unwrap();
    let port = TestBroker::start().port();
    let url = format!("tcp://127.0.0.1:{port}");
    let guard =
        builder().broker(&url).spill(spill.path()).deadline(Duration::from_millis(300)).install().unwrap();
    let start = Instant::now();
    for _ in 0..10_000 {
        count!("spilled");
    }
    assert!(start.elapsed() < Duration::from_secs(1), "counting does not wait for a broker");
    drop(guard);
    assert!(start.elapsed() < Duration::from_secs(5));
    assert_eq!(std::fs::read_dir(spill.path()).unwrap().count(), 1);
    let broker = TestBroker::start_on(port);
    let next = builder().broker(&url).spill(spill.path()).install().unwrap();
    broker.wait_for("spilled", 10_000);
    drop(next);
    assert_eq!(std::fs::read_dir(spill.path()).unwrap().count(), 0, "what was delivered is removed");
}

#[test]
fn a_broker_that_comes_back_has_everything() {
    let _turn = turn();
    let broker = TestBroker::start();
    let port = broker.port();
    let guard = builder().broker(&broker.url).interval(Duration::from_millis(50)).install().unwrap();
    count!("restart", 1);
    broker.wait_for("restart", 1);
    broker.stop();
    count!("restart", 1);
    let broker = TestBroker::start_on(port);
    count!("restart", 1);
    broker.wait_for("restart", 3);
    drop(guard);
}

#[test]
fn a_level_that_is_off_is_not_sent() {
    let _turn = turn();
    let broker = TestBroker::start();
    let guard = builder().broker(&broker.url).levels("info").install().unwrap();
    count!(level = "debug", "levels.off");
    count!(level = "info", "levels.on");
    drop(guard);
    assert_eq!((broker.total("levels.off"), broker.total("levels.on")), (0, 1));
    zibrato_core::registry::set_levels(zibrato_core::level::Levels::ALL);
}

#[test]
fn a_retired_metric_is_delivered_and_returns_at_zero() {
    let _turn = turn();
    let broker = TestBroker::start();
    let guard = builder().broker(&broker.url).interval(Duration::from_millis(20)).install().unwrap();
    for n in 1..=3 {
        let counter = zibrato::counter("session").tag("id", "7").handle();
        counter.add(n);
        counter.retire();
        broker.wait_for("session", (1..=n).sum());
        let deadline = Instant::now() + Duration::from_secs(5);
        while zibrato_core::registry::read_own_thread().iter().any(|r| &*r.id.name == "session") {
            assert!(Instant::now() < deadline, "a retired metric stays in memory");
            thread::sleep(Duration::from_millis(10));
        }
    }
    drop(guard);
    assert_eq!(broker.total("session"), 6);
}

#[test]
fn what_nobody_asks_for_leaves_memory_and_its_total_does_not() {
    let _turn = turn();
    let broker = TestBroker::start();
    let idle =
        builder().broker(&broker.url).interval(Duration::from_millis(20)).idle(Duration::from_millis(60));
    let guard = idle.install().unwrap();
    let kept = zibrato::counter("visits.kept").handle();
    let is_there = |name: &str| zibrato_core::registry::read_own_thread().iter().any(|r| &*r.id.name == name);
    for n in 1..=3 {
        for page in ["a", "b"] {
            zibrato::counter("visits").tag("page", page).handle().add(n);
            zibrato::timer("visits.time").tag("page", page).handle().record(Duration::from_millis(1));
        }
        kept.add(1);
        let deadline = Instant::now() + Duration::from_secs(10);
        while is_there("visits") || is_there("visits.time") {
            assert!(Instant::now() < deadline, "an idle metric stays in memory");
            thread::sleep(Duration::from_millis(10));
        }
        assert!(is_there("visits.kept"), "a metric with a handle has left memory");
    }
    drop(guard);
    assert_eq!((broker.total("visits"), broker.total("visits.kept")), (12, 3));
    zibrato_core::registry::set_idle(None);
}

#[test]
fn a_flush_does_not_wait_for_the_interval() {
    let _turn = turn();
    let broker = TestBroker::start();
    let guard = builder().broker(&broker.url).interval(Duration::from_secs(3600)).install().unwrap();
    count!("flushed", 4);
    let deadline = Instant::now() + Duration::from_secs(10);
    // Frames that go out before the connection stands may be lost; state is repeated.
    while broker.total("flushed") != 4 {
        assert!(Instant::now() < deadline && guard.flush(Duration::from_secs(1)));
        count!("flushed", 0);
        count!("flush.tries");
        thread::sleep(Duration::from_millis(20));
    }
    drop(guard);
}
