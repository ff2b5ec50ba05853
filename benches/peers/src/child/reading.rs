//! What a reading costs, and what it costs those who count meanwhile.

use std::hint::black_box;
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
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

fn writer(quick: bool) {
    const EVENTS: u64 = 20_000_000;
    let (reads, over) = (AtomicBool::new(false), AtomicBool::new(false));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Relaxed) {
                if reads.load(Relaxed) {
                    drop(black_box(registry::read()));
                }
                std::thread::sleep(Duration::from_millis(1));
            }
        });
        let time = |with| {
            reads.store(with, Relaxed);
            std::thread::sleep(Duration::from_millis(3));
            let start = cpu::seconds();
            repeat(EVENTS, |_| zibrato::count!("writer"));
            (cpu::seconds() - start) * 1e9 / EVENTS as f64
        };
        time(true);
        let rounds: Vec<(f64, f64)> =
            (0..if quick { 41 } else { 101 }).map(|_| (time(false), time(true))).collect();
        over.store(true, Relaxed);
        let (alone, read): (Vec<f64>, Vec<f64>) = rounds.iter().copied().unzip();
        let (alone, read) = (figures(alone), figures(read));
        tell("writer.alone", alone.min);
        tell("writer.read", read.min);
        // Not of medians: where a thread counts nothing else, the processor has a fast and a slow way to do it, and
        // changes between them when it is interrupted. Every round has a dozen readings or more.
        tell("writer.slowed", 100.0 * (read.min / alone.min - 1.0));
    });
}
