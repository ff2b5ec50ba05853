//! Rounds of cases that take turns.

use std::hint::black_box;
use std::time::{Duration, Instant};

/// One thing to measure: its name, and what does `n` of it.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) run: fn(u64),
}

/// Minimum and median in nanoseconds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Figures {
    pub(crate) min: f64,
    pub(crate) median: f64,
}

/// The cost of one event in each case, on `threads` threads at once.
pub(crate) fn measure(cases: &[Case], rounds: usize, threads: usize) -> Vec<Figures> {
    let events: Vec<u64> = cases.iter().map(|case| calibrate(case.run)).collect();
    let mut times = vec![Vec::with_capacity(rounds); cases.len()];
    for _ in 0..rounds {
        for ((case, &n), times) in cases.iter().zip(&events).zip(&mut times) {
            let elapsed = on_threads(threads, case.run, n);
            times.push(elapsed.as_nanos() as f64 / n as f64);
        }
    }
    times.into_iter().map(figures).collect()
}

pub(crate) fn figures(mut times: Vec<f64>) -> Figures {
    times.sort_by(f64::total_cmp);
    Figures {
        min: times.first().copied().unwrap_or(0.0),
        median: times.get(times.len() / 2).copied().unwrap_or(0.0),
    }
}

/// How many events take about two milliseconds.
fn calibrate(run: fn(u64)) -> u64 {
    let mut n = 1_000;
    loop {
        let start = Instant::now();
        run(black_box(n));
        let elapsed = start.elapsed();
        if elapsed > Duration::from_millis(1) {
            return (n as f64 * 2e6 / elapsed.as_nanos() as f64) as u64 + 1;
        }
        n *= 4;
    }
}

fn on_threads(threads: usize, run: fn(u64), n: u64) -> Duration {
    if threads == 1 {
        let start = Instant::now();
        run(black_box(n));
        return start.elapsed();
    }
    let ready = std::sync::Barrier::new(threads);
    let times: Vec<Duration> = std::thread::scope(|scope| {
        let work = || {
            run(1_000);
            ready.wait();
            let start = Instant::now();
            run(black_box(n));
            start.elapsed()
        };
        let running: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        running.into_iter().filter_map(|t| t.join().ok()).collect()
    });
    times.into_iter().max().unwrap_or_default()
}
