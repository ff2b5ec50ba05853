//! A snapshot of ten thousand metrics on eight threads, and its frames.

use std::hint::black_box;
use std::sync::Barrier;

use zibrato_core::clock;
use zibrato_core::publish::Publisher;
use zibrato_core::registry::{self, Counter};

use super::cpu::seconds as cpu_time;
use super::tell;
use crate::round::figures;
use crate::sites::names;

const METRICS: usize = 10_000;
const THREADS: usize = 8;
const ROUNDS: usize = 15;

pub(super) fn run() {
    registry::set_installed(true);
    registry::set_limit(2 * METRICS);
    let handles: Vec<Counter> = names("service.module.metric", METRICS)
        .iter()
        .map(|name| zibrato::counter(name).tag("method", "get").handle())
        .collect();
    let (counted, over) = (Barrier::new(THREADS), Barrier::new(THREADS));
    let count = || handles.iter().for_each(|handle| handle.add(1));
    std::thread::scope(|scope| {
        for _ in 1..THREADS {
            scope.spawn(|| {
                count();
                counted.wait();
                over.wait();
            });
        }
        count();
        counted.wait();
        let mut publisher = Publisher::new("host");
        let mut bytes = 0;
        let mut times: Vec<f64> = (0..ROUNDS)
            .map(|_| {
                count();
                let start = cpu_time();
                bytes = publish(&mut publisher);
                (cpu_time() - start) * 1e3
            })
            .collect();
        tell("snapshot.first", times.remove(0));
        tell("snapshot.median", figures(times).median);
        tell("snapshot.bytes", bytes as f64);
        over.wait();
    });
}

/// What the publisher's thread does at each interval, but for sending; the bytes that came of it.
fn publish(publisher: &mut Publisher) -> usize {
    let readings = registry::read();
    let retired = registry::take_retired();
    let now = clock::unix_nanos();
    let sets = [publisher.retire(retired, now), publisher.collect(readings, now)];
    let frames = sets.iter().flatten().flat_map(|set| black_box(set.frames(now)));
    frames.map(|frame| frame.len()).sum()
}
