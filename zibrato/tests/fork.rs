//! A forked child does not report what its parent has counted, and does not wait for threads that it does not have.
#![cfg(unix)]
#![allow(unsafe_code, reason = "fork is unsafe to call")]

mod support;

use std::sync::atomic::{AtomicBool, AtomicI64, Ordering::Relaxed};
use std::sync::{Barrier, Mutex, MutexGuard};
use std::thread;
use std::time::{Duration, Instant};

use support::{TestBroker, wait_until};
use zibrato::{builder, count, gauge, time, updown};
use zibrato_core::frame::{Key, State};

/// There is one publisher in a process, so tests take turns.
static TURN: Mutex<()> = Mutex::new(());

fn turn() -> MutexGuard<'static, ()> {
    TURN.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// How a forked child ended that did not do what it should.
#[derive(Debug, PartialEq)]
enum Failed {
    Denied,
    Panicked,
    Hung,
    /// With this status of `waitpid`.
    Died(i32),
}

/// Runs `work` in a forked child, which must say that it is true.
fn in_child(work: impl FnOnce() -> bool) -> Result<(), Failed> {
    // SAFETY: the child only measures, installs and exits; the registry is made fit for that by fork handlers.
    let child = unsafe { libc::fork() };
    if child == 0 {
        let status = match std::panic::catch_unwind(std::panic::AssertUnwindSafe(work)) {
            Ok(true) => 0,
            Ok(false) => 1,
            Err(_) => 2,
        };
        // SAFETY: ends the child without running the parent's destructors.
        unsafe { libc::_exit(status) };
    }
    let deadline = Instant::now() + Duration::from_secs(60);
    let mut status = 0;
    // SAFETY: waits for the child just made, or ends it.
    unsafe {
        while libc::waitpid(child, &mut status, libc::WNOHANG) == 0 {
            if Instant::now() > deadline {
                libc::kill(child, libc::SIGKILL);
                libc::waitpid(child, &mut status, 0);
                return Err(Failed::Hung);
            }
            thread::sleep(Duration::from_millis(1));
        }
    }
    match (libc::WIFEXITED(status), libc::WEXITSTATUS(status)) {
        (true, 0) => Ok(()),
        (true, 1) => Err(Failed::Denied),
        (true, 2) => Err(Failed::Panicked),
        _ => Err(Failed::Died(status)),
    }
}

#[test]
fn a_forked_child_starts_at_zero_in_an_instance_of_its_own() {
    let _turn = turn();
    let broker = TestBroker::start();
    let guard = builder().broker(&broker.url).install().expect("the parent installs");
    count!("fork.count", 1000);
    broker.wait_for("fork.count", 1000);
    let child = in_child(|| {
        count!("fork.count", 5);
        let own = builder().broker(&broker.url).install();
        count!("fork.count", 2);
        own.is_ok_and(zibrato::Guard::finish)
    });
    count!("fork.count", 30);
    assert_eq!(child, Ok(()), "the child installs and ends");
    drop(guard);
    assert_eq!(broker.total("fork.count"), 1037);
}

/// What every child of the storm measures, on two threads of its own.
fn measure_in_child() {
    fn all() {
        count!("storm.child", 3);
        updown!("storm.child_updown", -1);
        drop(time!("storm.child_time"));
        zibrato::counter("storm.child_handle").tag("kind", "handle").handle().add(2);
        gauge!("storm.child_gauge", 1);
    }
    all();
    thread::spawn(all).join().expect("a child may have threads");
}

/// A thread that measures and ends, made by the system's own call: `std` holds a lock of its own whenever one of its
/// threads begins or ends, and a child that is made at that moment can start no thread (`docs/upstream`).
fn come_and_go() {
    extern "C" fn measure(_: *mut libc::c_void) -> *mut libc::c_void {
        count!("storm.short");
        std::ptr::null_mut()
    }
    let mut short = std::mem::MaybeUninit::uninit();
    // SAFETY: the thread takes and gives no pointer, and its number is there if it was made.
    unsafe {
        let made = libc::pthread_create(short.as_mut_ptr(), std::ptr::null(), measure, std::ptr::null_mut());
        assert_eq!(made, 0, "the system has threads");
        assert_eq!(libc::pthread_join(short.assume_init(), std::ptr::null_mut()), 0);
    }
}

#[test]
fn fifty_forks_while_threads_measure_read_and_ask() {
    const FORKS: i64 = 50;
    let _turn = turn();
    let (ours, theirs) = (TestBroker::start(), TestBroker::start());
    // Installed, so that the publisher reads, too, and calls back.
    let calls = AtomicI64::new(0);
    static CALLS: AtomicI64 = AtomicI64::new(0);
    let callback = zibrato::on_read(|| {
        CALLS.fetch_add(1, Relaxed);
        count!("storm.callback");
    });
    let guard = builder()
        .broker(&ours.url)
        .interval(Duration::from_millis(10))
        .install()
        .expect("the parent installs");
    let stop = AtomicBool::new(false);
    let counted = AtomicI64::new(0);
    let all_run = Barrier::new(5);
    let failed = thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                all_run.wait();
                while !stop.load(Relaxed) {
                    count!("storm.parent");
                    zibrato::counter("storm.parent_handle").handle().add(1);
                    drop(time!("storm.parent_time"));
                    counted.fetch_add(1, Relaxed);
                }
            });
        }
        // Threads that come and go, and somebody who asks.
        scope.spawn(|| {
            all_run.wait();
            while !stop.load(Relaxed) {
                come_and_go();
                calls.fetch_add(1, Relaxed);
            }
        });
        scope.spawn(|| {
            all_run.wait();
            while !stop.load(Relaxed) {
                assert!(zibrato::status().installed);
                zibrato_core::registry::census();
                drop(zibrato::on_read(|| ()));
            }
        });
        // No thread of `std` begins from here on, nor ends; that of the publisher has called back.
        all_run.wait();
        wait_until("the publisher reads", || CALLS.load(Relaxed) > 0);
        let url = &theirs.url;
        let failed = (0..FORKS).find_map(|number| {
            let child = in_child(|| {
                let was_installed = zibrato::status().installed;
                measure_in_child();
                let own = builder().broker(url).interval(Duration::from_millis(10)).install();
                measure_in_child();
                let callback = zibrato::on_read(|| count!("storm.child_callback"));
                let ends = own.is_ok_and(zibrato::Guard::finish);
                drop(callback);
                !was_installed && ends
            });
            child.err().map(|failed| (number, failed))
        });
        stop.store(true, Relaxed);
        failed
    });
    assert_eq!(failed, None, "this child failed");
    assert!(guard.finish(), "the parent ends");
    drop(callback);

    let counted = counted.into_inner();
    for name in ["storm.parent", "storm.parent_handle"] {
        assert_eq!((ours.total(name), theirs.total(name)), (counted, 0), "{name}");
    }
    assert_eq!(ours.total("storm.short"), calls.into_inner());
    assert_eq!(ours.total("storm.callback"), CALLS.load(Relaxed), "the parent's callbacks are the parent's");
    assert_eq!(theirs.total("storm.callback"), 0);
    assert_eq!(spread_count(&ours.kept(), "storm.parent_time"), counted);

    assert_eq!(theirs.total("storm.child"), FORKS * 4 * 3);
    assert_eq!(theirs.total("storm.child_handle"), FORKS * 4 * 2);
    assert_eq!(theirs.total("storm.child_updown"), -FORKS * 4);
    assert_eq!(spread_count(&theirs.kept(), "storm.child_time"), FORKS * 4);
    assert!(theirs.total("storm.child_callback") >= FORKS);
    let names: Vec<_> = ours.kept().into_iter().map(|(key, _)| key.name).collect();
    assert!(
        !names.iter().any(|name| name.starts_with("storm.child")),
        "a child's measurements are in {names:?}"
    );
}

fn spread_count(kept: &[(Key, State)], name: &str) -> i64 {
    let count = |(key, state): &(Key, State)| match state {
        State::Spread(spread) if &*key.name == name => spread.histogram.count() as i64,
        _ => 0,
    };
    kept.iter().map(count).sum()
}

#[test]
fn a_child_of_a_child_starts_at_zero_too() {
    let _turn = turn();
    let broker = TestBroker::start();
    let guard = builder().broker(&broker.url).install().expect("the parent installs");
    count!("fork.generations", 100);
    let install = || builder().broker(&broker.url).install();
    let child = in_child(|| {
        count!("fork.generations", 10);
        let own = install();
        let grandchild = in_child(|| {
            count!("fork.generations", 1);
            install().is_ok_and(zibrato::Guard::finish)
        });
        grandchild == Ok(()) && own.is_ok_and(zibrato::Guard::finish)
    });
    assert_eq!(child, Ok(()));
    // A guard of the parent's does nothing in the child, where it is dropped by accident.
    let mut guard = Some(guard);
    let child = in_child(|| {
        count!("fork.generations", 1_000);
        guard.take().is_some_and(|guard| !guard.flush(Duration::from_secs(1)) && !guard.finish())
    });
    assert_eq!(child, Ok(()));
    drop(guard);
    assert_eq!(broker.total("fork.generations"), 111);
}

#[test]
fn a_child_that_installs_nothing_sends_nothing() {
    let _turn = turn();
    let broker = TestBroker::start();
    let guard =
        builder().broker(&broker.url).interval(Duration::from_millis(10)).install().expect("installed");
    count!("fork.silent", 1);
    let child = in_child(|| {
        count!("fork.silent", 50);
        !zibrato::status().installed
            && zibrato::testing::capture(|| count!("fork.silent", 2)).1.count("fork.silent") == 2
    });
    assert_eq!(child, Ok(()));
    drop(guard);
    assert_eq!(broker.total("fork.silent"), 1);
}
