//! A global allocator that measures through Zibrato, which itself allocates: nothing hangs, nothing is lost.
#![allow(unsafe_code, reason = "a global allocator is unsafe to implement")]

mod support;

use std::alloc::{GlobalAlloc, Layout, System};
use std::collections::BTreeMap;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed, Ordering::SeqCst};
use std::thread;
use std::time::{Duration, Instant};

use support::TestBroker;
use zibrato::{Counter, Timer, count, gauge, record, time, updown};
use zibrato_core::frame::State;
use zibrato_core::registry;

#[global_allocator]
static ALLOCATOR: Measured = Measured;

/// Off while the test sets up and reads.
static ON: AtomicBool = AtomicBool::new(false);
static ALLOCATED: AtomicU64 = AtomicU64::new(0);
static BYTES: AtomicU64 = AtomicU64::new(0);
static FREED: AtomicU64 = AtomicU64::new(0);
/// Made by the test: making a handle in an allocator needs an allocator.
static HANDLES: OnceLock<(Counter, Timer)> = OnceLock::new();

struct Measured;

impl Measured {
    fn note<R>(bytes: usize, allocate: impl Fn() -> R) -> R {
        ALLOCATED.fetch_add(1, Relaxed);
        BYTES.fetch_add(bytes as u64, Relaxed);
        count!("allocator.calls");
        count!("allocator.bytes", bytes);
        updown!("allocator.live", 1);
        record!("allocator.sizes", bytes);
        gauge!("allocator.last", bytes);
        if let Some((counter, timer)) = HANDLES.get() {
            counter.add(1);
            timer.record_nanos(bytes as u64);
        }
        let _sampled = time!(sample = 4, "allocator.sampled");
        let _timing = time!("allocator.time");
        allocate()
    }

    fn note_freed() {
        FREED.fetch_add(1, Relaxed);
        count!("allocator.freed");
        updown!("allocator.live", -1);
    }
}

// SAFETY: it is the system's allocator; what it measures has no influence on what it returns.
unsafe impl GlobalAlloc for Measured {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if !ON.load(SeqCst) {
            // SAFETY: the caller's promises are the same.
            return unsafe { System.alloc(layout) };
        }
        // SAFETY: the caller's promises are the same.
        Measured::note(layout.size(), || unsafe { System.alloc(layout) })
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        if ON.load(SeqCst) {
            Measured::note_freed();
        }
        // SAFETY: the caller's promises are the same.
        unsafe { System.dealloc(memory, layout) }
    }
}

/// Allocates, and measures things of its own, which makes cells, tables and histograms grow.
fn work(seed: usize) {
    let mut kept = Vec::new();
    for i in 0..200 {
        kept.push(vec![0_u8; (seed * 31 + i * 97) % 5_000]);
        count!("work.calls");
        drop(time!("work.time"));
        if i % 20 == 0 {
            let name = format!("work.{}", i + seed % 3);
            let timer = zibrato::timer(&name).tag("seed", &(seed % 7).to_string()).handle();
            timer.record_nanos(1 << (i % 40));
            zibrato::counter(&name).handle().add(1);
            timer.retire();
        }
        if i % 50 == 0 {
            registry::read_own_thread();
            zibrato::describe("work.calls", "{call}", &"x".repeat(i));
        }
    }
}

#[test]
fn an_allocator_that_measures_hangs_nothing_and_loses_nothing() {
    let broker = TestBroker::start();
    let counter = zibrato::counter("allocator.handle").handle();
    let timer = zibrato::timer("allocator.timer").handle();
    assert!(HANDLES.set((counter, timer)).is_ok());
    // Values at a call site that is met for the first time inside the registry would be refused, and counted as that.
    Measured::note(0, || ());
    Measured::note_freed();
    ON.store(true, SeqCst);
    let guard = zibrato::builder().broker(&broker.url).interval(Duration::from_millis(10)).install().unwrap();
    let callback = zibrato::on_read(|| count!("allocator.read", vec![1_u8; 100].len()));
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let reader = scope.spawn(|| {
            while !stop.load(Relaxed) {
                registry::census();
                zibrato::status();
            }
        });
        for round in 0..20 {
            let threads: Vec<_> = (0..8).map(|i| scope.spawn(move || work(round * 8 + i))).collect();
            threads.into_iter().for_each(|thread| thread.join().unwrap());
            if round % 5 == 0 {
                registry::set_levels("*,!debug".parse().unwrap());
            }
        }
        stop.store(true, Relaxed);
        reader.join().unwrap();
    });
    assert!(guard.flush(Duration::from_secs(20)));
    drop(callback);
    #[cfg(unix)]
    fork();

    assert!(guard.finish());
    let mut delivered = BTreeMap::new();
    broker.kept().iter().for_each(|(key, state)| add(&mut delivered, &key.name, state));
    drop(broker);
    ON.store(false, SeqCst);
    // What was measured after the end of the instance; threads of runtimes may still be about to end.
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let mut totals = delivered.clone();
        registry::read().iter().for_each(|reading| add(&mut totals, &reading.id.name, &reading.state));
        match check(&totals) {
            Ok(()) => break,
            Err(why) => assert!(Instant::now() < deadline, "{why}"),
        }
        thread::sleep(Duration::from_millis(10));
    }
}

/// Adds the total of a counter, or the number of a distribution's values.
fn add(totals: &mut BTreeMap<String, i64>, name: &str, state: &State) {
    *totals.entry(name.into()).or_default() += match state {
        State::Total(total) => total.whole,
        State::Spread(spread) => spread.histogram.count() as i64,
        _ => 0,
    };
}

fn check(totals: &BTreeMap<String, i64>) -> Result<(), String> {
    let [allocated, bytes, freed] = [&ALLOCATED, &BYTES, &FREED].map(|n| n.load(Relaxed) as i64);
    let work = 20 * 8 * 200;
    let expected = [
        ("allocator.calls", allocated),
        ("allocator.handle", allocated),
        ("allocator.bytes", bytes),
        ("allocator.freed", freed),
        ("allocator.live", allocated - freed),
        ("allocator.time", allocated),
        ("allocator.sampled.calls", allocated),
        ("allocator.sizes", allocated),
        ("allocator.timer", allocated),
        ("work.calls", work),
        ("work.time", work),
    ];
    let wrong = expected.iter().filter(|(name, expected)| totals.get(*name) != Some(expected));
    let wrong: Vec<_> =
        wrong.map(|(name, n)| format!("{name} is {:?} instead of {n}", totals.get(*name))).collect();
    if wrong.is_empty() && allocated > 100_000 { Ok(()) } else { Err(format!("{wrong:?} of {allocated}")) }
}

#[cfg(unix)]
fn fork() {
    for _ in 0..10 {
        // SAFETY: the child only measures and exits; the registry is made fit for that by fork handlers.
        let child = unsafe { libc::fork() };
        if child == 0 {
            work(1);
            // SAFETY: ends the child without running the parent's destructors.
            unsafe { libc::_exit(0) };
        }
        let mut status = 0;
        // SAFETY: waits for the child just made.
        assert_eq!(unsafe { libc::waitpid(child, &mut status, 0) }, child);
        assert_eq!(status, 0);
    }
}
