//! What a reading costs, and what it costs those who count meanwhile.

use std::hint::black_box;
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::thread::Scope;
use std::time::{Duration, Instant};

use zibrato_core::registry::{self, Counter};

use super::{cpu, tell};
use crate::case::repeat;
use crate::round::figures;
use crate::sites::{SITES, names, pass};

const THREADS: usize = 8;
const READINGS: usize = 300;

/// Of counters at call sites; and how much slower a writer is.
pub(super) fn sites(quick: bool) {
    registry::set_installed(true);
    let over = Barrier::new(THREADS + 1);
    std::thread::scope(|scope| {
        compare("sites", || join(scope, &over, pass));
        writer(quick);
        over.wait();
    });
}

/// Of counters behind handles.
pub(super) fn handles() {
    registry::set_installed(true);
    let handles: Vec<Counter> =
        names("handle", SITES).iter().map(|name| zibrato::counter(name).handle()).collect();
    let over = Barrier::new(THREADS + 1);
    std::thread::scope(|scope| {
        compare("handles", || join(scope, &over, || handles.iter().for_each(|h| h.add(1))));
        over.wait();
    });
}

/// A thread that has counted, and stays until all is over.
fn join<'s>(scope: &'s Scope<'s, '_>, over: &'s Barrier, count: impl FnOnce() + Send + 's) {
    let (done, counted) = std::sync::mpsc::sync_channel(1);
    scope.spawn(move || {
        count();
        let _ = done.send(());
        over.wait();
    });
    let _ = counted.recv();
}

/// One thread against eight: the difference is what the seven more cost.
fn compare(kind: &str, mut join: impl FnMut()) {
    join();
    let one = reading();
    (1..THREADS).for_each(|_| join());
    let all = reading();
    tell(&format!("{kind}.whole"), all / 1e3);
    tell(&format!("{kind}.slope"), (all - one) / ((THREADS - 1) * SITES) as f64);
    tell("metric", one / SITES as f64);
}

/// The least time of a reading, in nanoseconds.
fn reading() -> f64 {
    let times = (0..READINGS).map(|_| {
        let start = Instant::now();
        drop(black_box(registry::read()));
        start.elapsed().as_nanos() as f64
    });
    figures(times.collect()).min
}

/// What the neighbour of a writer does every millisecond.
#[derive(Debug, Clone, Copy)]
enum Neighbour {
    Wakes,
    /// Is busy for as long as a reading takes, and reads nothing.
    Spins,
    Reads,
}

impl Neighbour {
    const ALL: [Neighbour; 3] = [Neighbour::Wakes, Neighbour::Spins, Neighbour::Reads];
}

/// A writer that draws a random number before each count: one that does nothing but count goes at one of two speeds,
/// and changes between them when it is interrupted.
fn writer(quick: bool) {
    const EVENTS: u64 = 20_000_000;
    let (does, over) = (AtomicUsize::new(0), AtomicBool::new(false));
    let long = Duration::from_nanos(reading() as u64);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Relaxed) {
                match Neighbour::ALL[does.load(Relaxed)] {
                    Neighbour::Wakes => {}
                    Neighbour::Spins => {
                        let start = Instant::now();
                        while start.elapsed() < long {
                            std::hint::spin_loop();
                        }
                    }
                    Neighbour::Reads => drop(black_box(registry::read())),
                }
                std::thread::sleep(Duration::from_millis(1));
            }
        });
        let mut times = Neighbour::ALL.map(|_| Vec::new());
        for _ in 0..if quick { 41 } else { 101 } {
            for neighbour in Neighbour::ALL {
                does.store(neighbour as usize, Relaxed);
                std::thread::sleep(Duration::from_millis(3));
                let start = cpu::seconds();
                let mut random = 1u64;
                repeat(EVENTS, |_| {
                    random ^= random << 13;
                    random ^= random >> 7;
                    random ^= random << 17;
                    zibrato::count!("writer");
                });
                black_box(random);
                times[neighbour as usize].push((cpu::seconds() - start) * 1e9 / EVENTS as f64);
            }
        }
        over.store(true, Relaxed);
        // Every round has dozens of readings, so the least disturbed one tells as much of them as any.
        let [wakes, spins, reads] = times.map(|times| figures(times).min);
        tell("writer.alone", wakes);
        tell("writer.beside", spins);
        tell("writer.read", reads);
        tell("writer.slowed", 100.0 * (reads / wakes - 1.0));
    });
}
