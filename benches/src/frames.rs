//! Frames encoded, decoded and merged.

use std::sync::Arc;
use std::time::Instant;

use zibrato_core::frame::{Kind, Spread, State, Tags, Total, decode, decode_head};
use zibrato_core::histogram::Histogram;
use zibrato_core::ledger::{Arrival, Ledger, Settled, Slacks};
use zibrato_core::publish::Publisher;
use zibrato_core::registry::{Id, Reading};

fn readings(metrics: usize, timers: bool, total: i64) -> Vec<Reading> {
    let mut histogram = Histogram::default();
    for i in 0..200 {
        histogram.record(1e3 * 1.05f64.powi(i));
    }
    let reading = |i| {
        let timer = timers && i % 4 == 0;
        let id = Id {
            level: "info".into(),
            kind: if timer { Kind::Timer } else { Kind::Counter },
            name: format!("service.module.metric_{i}").into(),
            source: None,
            tags: Tags::new([("method", "get")]),
        };
        let state = if timer {
            State::Spread(Spread { sum: Total::whole(total), span: None, histogram: histogram.clone() })
        } else {
            State::Total(Total::whole(total))
        };
        Reading { id: Arc::new(id), born: 1, state, traced: false }
    };
    (0..metrics).map(reading).collect()
}

pub(crate) fn run(rounds: usize) {
    println!("### Frames of one instance\n");
    println!(
        "| set | bytes | encoded/s | heads read/s | decoded/s | merged/s | rows merged/s |\n|---|---|---|---|---|---|---|"
    );
    for (name, metrics, timers) in [
        ("10 counters", 10, false),
        ("100 metrics, every 4th a timer", 100, true),
        ("1,000 counters", 1_000, false),
    ] {
        let mut publisher = Publisher::new("host");
        let sets = publisher.collect(readings(metrics, timers, 1), 10_000_000_000);
        let Some(set) = sets.into_iter().next() else { continue };
        let frames = set.frames(11_000_000_000);
        let bytes: usize = frames.iter().map(Vec::len).sum();
        let repeat = (200_000 / metrics).max(10);
        let per_second = |work: &mut dyn FnMut()| {
            let times = (0..rounds).map(|_| {
                let start = Instant::now();
                (0..repeat).for_each(|_| work());
                start.elapsed().as_secs_f64() / repeat as f64
            });
            1.0 / median(times.collect())
        };
        let encoded = per_second(&mut || drop(std::hint::black_box(set.frames(11_000_000_000))));
        let heads =
            per_second(&mut || frames.iter().for_each(|f| drop(std::hint::black_box(decode_head(f)))));
        let decoded = per_second(&mut || frames.iter().for_each(|f| drop(std::hint::black_box(decode(f)))));
        let mut ledger = Ledger::new(Settled::default(), Slacks::default(), u64::MAX);
        let mut sequence = 1;
        let merged = per_second(&mut || {
            for frame in frames.iter().filter_map(|f| decode(f).ok()) {
                let mut frame = frame.frame;
                (frame.head.sequence, frame.head.base) = (sequence, sequence);
                ledger.merge("info", frame, Arrival { now: 12_000_000_000, held: 0 });
            }
            sequence += 1;
        });
        println!(
            "| {name} | {bytes} | {encoded:.0} | {heads:.0} | {decoded:.0} | {merged:.0} | {:.0} |",
            merged * metrics as f64
        );
    }
    println!("\nMerging includes decoding.\n");
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times.get(times.len() / 2).copied().unwrap_or(f64::NAN)
}
