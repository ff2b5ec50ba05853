//! From frames through the state directory to the backend, by hand.

#![allow(clippy::unwrap_used)]

mod common;

use std::path::Path;
use std::time::Duration;

use common::*;
use proptest::prelude::*;
use zibrato_worker::testing::{Act, Memory};
use zibrato_worker::*;

fn settled(batches: usize, measurements: usize) -> Outcome {
    Outcome::Settled { batches, measurements, dead: 0, beyond: 0 }
}

#[tokio::test]
async fn what_is_settled_is_sent_once_also_over_restarts() {
    let directory = tempfile::tempdir().unwrap();
    let backend = Memory::new();
    let mut worker = Worker::open(directory.path(), &backend, Rules::default(), NOW);
    worker.merge(complete(1, 1, SECOND, vec![counter("a", 5), timer("t", &[7.0, 9.0])]), NOW);
    assert_eq!(worker.settle(NOW), settled(1, 2));
    drop(worker);
    let mut worker = Worker::open(directory.path(), &backend, Rules::default(), NOW + SECOND);
    worker.merge(complete(1, 1, SECOND, vec![counter("a", 5), timer("t", &[7.0, 9.0])]), NOW);
    worker.merge(complete(1, 3, 3 * SECOND, vec![counter("a", 8), timer("t", &[7.0, 9.0])]), NOW);
    assert_eq!(worker.settle(NOW + 10 * SECOND), settled(1, 1));
    assert_eq!(worker.settle(NOW + 20 * SECOND), Outcome::Nothing);
    assert_eq!(worker.drain().await, Sent::Nothing);
    assert_eq!((backend.total("a"), backend.total("t")), (8.0, 2.0));
    let batches = backend.accepted();
    assert_eq!(
        batches.iter().map(|b| (b.id, b.time)).collect::<Vec<_>>(),
        [(1, NOW), (2, NOW + 10 * SECOND)]
    );
    assert_eq!((batches[0].from, batches[1].from), (0, NOW));
    assert_eq!(worker.status.figures().measurements_sent, 3);
}

#[test]
fn programs_count_from_zero_after_the_clock_was_set_back() {
    const HOURS: u64 = 3 * 3600 * SECOND;
    let directory = tempfile::tempdir().unwrap();
    let backend = Memory::new();
    let mut worker = Worker::open(directory.path(), &backend, Rules::default(), NOW);
    worker.merge(complete(1, 1, SECOND, vec![counter("a", 1)]), NOW + SECOND);
    assert_eq!(worker.settle(NOW + SECOND), settled(1, 1));
    let back = NOW - HOURS;
    worker.merge(complete(2, 1, SECOND, vec![counter("a", 2)]), back);
    assert_eq!(worker.settle(back + SECOND), settled(1, 1), "while it runs");
    drop(worker);
    let mut worker = Worker::open(directory.path(), &backend, Rules::default(), back - HOURS);
    worker.merge(complete(3, 1, SECOND, vec![counter("a", 4)]), back - HOURS);
    assert_eq!(worker.settle(back - HOURS + SECOND), settled(1, 1), "and when it starts again");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(worker.drain());
    assert_eq!(backend.total("a"), 7.0);
}

#[test]
fn series_are_added_up_as_the_backend_stores_them() {
    let directory = tempfile::tempdir().unwrap();
    let backend = Memory::new();
    let mut worker = Worker::open(directory.path(), &backend, Rules::default(), NOW);
    worker.merge(complete(1, 1, SECOND, vec![counter("A", 5), counter("a", 1), counter("b", 2)]), NOW);
    worker.merge(complete(2, 1, SECOND, vec![counter("a", 10), counter("not storable", 3)]), NOW);
    let other = complete(2, 1, SECOND, vec![counter("a", 100)]);
    worker.settler.merge("debug", other, at(NOW), &backend).unwrap();
    assert_eq!(worker.settle(NOW), Outcome::Settled { batches: 1, measurements: 2, dead: 1, beyond: 0 });
    let letters = std::fs::read_to_string(directory.path().join("dead-letters.jsonl")).unwrap();
    assert!(
        letters.contains("a name must not have blanks") && letters.contains("\"value\":3.0"),
        "{letters}"
    );
    tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(worker.drain());
    assert_eq!((backend.total("a"), backend.total("b")), (116.0, 2.0));
    let batch = &backend.accepted()[0];
    assert_eq!(
        (batch.measurements[0].level.as_str(), batch.measurements[1].level.as_str()),
        ("debug", "info")
    );
}

#[test]
fn times_advance_by_the_resolution_whatever_the_clock_does() {
    let directory = tempfile::tempdir().unwrap();
    let backend = Memory::new().with_resolution(Duration::from_secs(10));
    let mut worker = Worker::open(directory.path(), &backend, Rules::default(), NOW);
    let mut total = 0;
    let mut step = |worker: &mut Worker, now, force| {
        total += 1;
        worker.merge(complete(1, total, total * SECOND, vec![counter("a", total as i64)]), now);
        worker.settler.settle(&backend, now, force).unwrap()
    };
    assert_eq!(step(&mut worker, NOW + 1, false), settled(1, 1));
    assert_eq!(step(&mut worker, NOW + 2, false), Outcome::TooEarly { until: NOW + 2 + 10 * SECOND });
    assert_eq!(step(&mut worker, NOW + 10 * SECOND, false), Outcome::TooEarly { until: NOW + 20 * SECOND });
    assert_eq!(step(&mut worker, NOW + 11 * SECOND, false), settled(1, 1));
    assert_eq!(step(&mut worker, NOW + 11 * SECOND, true), settled(1, 1));
    drop(worker);
    // The clock is set back by an hour.
    let mut worker = Worker::open(directory.path(), &backend, Rules::default(), NOW);
    assert_eq!(step(&mut worker, NOW - 3600 * SECOND, false), settled(1, 1));
    assert_eq!(step(&mut worker, NOW - 3599 * SECOND, false), settled(1, 1));
    tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(worker.drain());
    let times: Vec<u64> = backend.accepted().iter().map(|b| (b.time - NOW) / SECOND).collect();
    assert_eq!(times, [10, 20, 30, 40, 50]);
    assert_eq!(backend.total("a"), total as f64);
}

#[tokio::test]
async fn large_periods_become_several_batches_of_one_time() {
    let directory = tempfile::tempdir().unwrap();
    let backend = Memory::new().with_batch_size(3);
    let mut worker = Worker::open(directory.path(), &backend, Rules::default(), NOW);
    let rows = (1..8).map(|n| counter(&format!("m{n}"), n)).collect();
    worker.merge(complete(1, 1, SECOND, rows), NOW);
    assert_eq!(worker.settle(NOW), settled(3, 7));
    worker.drain().await;
    let sizes: Vec<_> = backend.accepted().iter().map(|b| (b.time, b.measurements.len())).collect();
    assert_eq!(sizes, [(NOW, 3), (NOW, 3), (NOW, 1)]);
    assert_eq!(backend.total("m7"), 7.0);
}

#[tokio::test]
async fn a_full_outbox_merges_what_was_never_attempted_and_then_waits() {
    let directory = tempfile::tempdir().unwrap();
    let backend = Memory::new();
    let rules = Rules { outbox_limit: 3, ..Rules::default() };
    let mut worker = Worker::open(directory.path(), &backend, rules, NOW);
    backend.will((0..5).map(|_| Act::Fail(None)));
    let mut total = 0;
    let mut step = |worker: &mut Worker| {
        total += 1;
        let now = NOW + total * SECOND;
        worker.merge(complete(1, total, total * SECOND, vec![counter("a", total as i64)]), now);
        worker.settle(now)
    };
    assert_eq!(step(&mut worker), settled(1, 1));
    assert!(matches!(worker.drain().await, Sent::Later(_)));
    assert_eq!(step(&mut worker), settled(1, 1));
    assert_eq!(step(&mut worker), settled(1, 1));
    assert_eq!(worker.settler.state().waiting().unwrap(), 3);
    assert_eq!(step(&mut worker), settled(1, 1), "two batches that were not attempted became one");
    assert_eq!(worker.settler.state().waiting().unwrap(), 3);
    drop(worker);
    let mut worker = Worker::open(directory.path(), &backend, Rules { outbox_limit: 1, ..rules }, NOW);
    assert_eq!(step(&mut worker), Outcome::Full);
    assert_eq!(worker.settler.state().waiting().unwrap(), 2);
    backend.will([]);
    while worker.drain().await != Sent::Nothing {}
    assert_eq!(step(&mut worker), settled(1, 1));
    worker.drain().await;
    assert_eq!(backend.total("a"), total as f64);
    let first = &backend.requests()[0];
    assert!(
        backend.requests().iter().filter(|b| b.id == first.id).all(|b| b == first),
        "repeats are the same"
    );
    let times: Vec<u64> = backend.accepted().iter().map(|b| b.time).collect();
    assert!(times.is_sorted_by(|a, b| a < b), "{times:?}");
}

#[test]
fn a_state_directory_has_one_user_one_backend_and_one_shard() {
    let directory = tempfile::tempdir().unwrap();
    let state = State::open(directory.path(), "librato", Shard::WHOLE).unwrap();
    let error = State::open(directory.path(), "librato", Shard::WHOLE).unwrap_err();
    assert!(matches!(error, Error::InUse { .. }), "{error}");
    drop(state);
    let error = State::open(directory.path(), "statsd", Shard::WHOLE).unwrap_err();
    assert!(matches!(error, Error::OtherBackend { .. }), "{error}");
    let error = State::open(directory.path(), "librato", "1/2".parse().unwrap()).unwrap_err();
    assert!(error.to_string().contains("belongs to shard 1/1, not 1/2"), "{error}");
    State::open(directory.path(), "librato", Shard::WHOLE).unwrap();
}

/// What a power cut leaves: the files as they are now.
fn crash(directory: &Path) -> tempfile::TempDir {
    let copy = tempfile::tempdir().unwrap();
    for file in std::fs::read_dir(directory).unwrap() {
        let file = file.unwrap();
        std::fs::copy(file.path(), copy.path().join(file.file_name())).unwrap();
    }
    copy
}

#[derive(Debug, Clone)]
enum Move {
    Publish { instance: usize, add: i64, lost: bool },
    Replay(prop::sample::Index),
    FirstSights,
    Settle,
    Send,
    Backend(Act),
    Crash,
}

fn moves() -> impl Strategy<Value = Move> {
    let act = prop_oneof![
        Just(Act::AcceptAndFail),
        Just(Act::Fail(None)),
        Just(Act::Partly { refused: vec![], retry: vec![0] }),
    ];
    prop_oneof![
        6 => (0usize..3, 0i64..5, any::<bool>())
            .prop_map(|(instance, add, lost)| Move::Publish { instance, add, lost }),
        2 => any::<prop::sample::Index>().prop_map(Move::Replay),
        1 => Just(Move::FirstSights),
        3 => Just(Move::Settle),
        3 => Just(Move::Send),
        2 => act.prop_map(Move::Backend),
        2 => Just(Move::Crash),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    #[test]
    fn totals_are_exact_through_losses_repeats_crashes_and_outages(
        moves in prop::collection::vec(moves(), 1..60),
        limit in 1usize..4,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let rules = Rules { outbox_limit: limit, ..Rules::default() };
        let backend = Memory::new().with_batch_size(2);
        let mut directory = tempfile::tempdir().unwrap();
        let mut worker = Worker::open(directory.path(), &backend, rules, NOW);
        let (mut now, mut totals, mut sequences) = (NOW, [0i64; 3], [0u64; 3]);
        let mut sent = Vec::new();
        // Three instances with three metrics each, two of which are one series; younger than the worker.
        let frame = |instance: usize, sequence: u64, total: i64, now: u64| {
            let rows = vec![counter("Same", total), counter("same", 2 * total), counter("other", total)];
            complete(instance as u8, sequence, now - NOW, rows)
        };
        for step in moves {
            now += SECOND;
            match step {
                Move::Publish { instance, add, lost } => {
                    totals[instance] += add;
                    sequences[instance] += 1;
                    let frame = frame(instance, sequences[instance], totals[instance], now);
                    sent.push(frame.clone());
                    if !lost {
                        worker.merge(frame, now);
                    }
                }
                Move::Replay(index) => {
                    if !sent.is_empty() {
                        worker.merge(index.get(&sent).clone(), now);
                    }
                }
                Move::FirstSights => {
                    worker.settler.first_sights().unwrap();
                }
                Move::Settle => {
                    worker.settle(now);
                }
                Move::Send => {
                    runtime.block_on(worker.sender.step()).unwrap();
                }
                Move::Backend(act) => backend.will([act]),
                Move::Crash => {
                    let left = crash(directory.path());
                    drop(worker);
                    directory = left;
                    worker = Worker::open(directory.path(), &backend, rules, now);
                }
            }
        }
        for instance in 0..3 {
            if sequences[instance] > 0 {
                worker.merge(frame(instance, sequences[instance], totals[instance], now), now);
            }
        }
        // The outbox may be full: then settling and sending take turns.
        for _ in 0..200 {
            now += SECOND;
            runtime.block_on(worker.sender.step()).unwrap();
            worker.settle(now);
        }
        let all: i64 = totals.iter().sum();
        prop_assert_eq!(backend.total("same"), 3.0 * all as f64);
        prop_assert_eq!(backend.total("other"), all as f64);
    }
}
