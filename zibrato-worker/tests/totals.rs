//! Backends that are told totals, and what a worker leaves out, renames and adds.
#![allow(clippy::unwrap_used, reason = "these are tests")]

mod common;

use std::collections::BTreeMap;

use common::*;
use zibrato_worker::testing::{Act, Memory};
use zibrato_worker::*;

/// What a batch has, by name: the total, or how many values.
fn totals(batch: &Batch) -> BTreeMap<&str, f64> {
    let total = |value: &Value| match value {
        Value::Counter(total) | Value::Updown(total) => total.value(),
        Value::Timer(summary) | Value::Distribution(summary) => summary.count() as f64,
        Value::Gauge(gauge) => gauge.last,
        Value::Point { value, .. } => *value,
    };
    batch.measurements.iter().map(|m| (&*m.series.name, total(&m.value))).collect()
}

fn newest(backend: &Memory) -> Batch {
    backend.accepted().last().cloned().unwrap()
}

#[tokio::test]
async fn totals_go_on_when_programs_end_and_workers_restart() {
    let directory = tempfile::tempdir().unwrap();
    let backend = Memory::new().cumulative();
    let mut worker = Worker::open(directory.path(), &backend, Rules::default(), NOW);
    worker.merge(complete(1, 1, SECOND, vec![counter("a", 5), counter("idle", 0), timer("t", &[7.0])]), NOW);
    worker.merge(complete(2, 1, SECOND, vec![counter("a", 100)]), NOW);
    worker.settle(NOW);
    worker.drain().await;
    assert_eq!(totals(&newest(&backend)), BTreeMap::from([("a", 105.0), ("idle", 0.0), ("t", 1.0)]));
    let since = newest(&backend).measurements[0].since;
    assert!(since > 0 && since < NOW);

    // The second one has ended, and the first one is heard without anything new.
    worker.merge(
        complete(1, 2, 2 * SECOND, vec![counter("a", 5), counter("idle", 0), timer("t", &[7.0])]),
        NOW,
    );
    worker.settle(NOW + 10 * SECOND);
    worker.drain().await;
    assert_eq!(totals(&newest(&backend)), BTreeMap::from([("a", 105.0), ("idle", 0.0), ("t", 1.0)]));
    assert_eq!(worker.settle(NOW + 20 * SECOND), Outcome::Nothing, "nobody was heard");

    drop(worker);
    let mut worker = Worker::open(directory.path(), &backend, Rules::default(), NOW + 30 * SECOND);
    let restored = worker.settler.restored().unwrap();
    assert_eq!(totals(&restored), BTreeMap::from([("a", 105.0), ("idle", 0.0), ("t", 1.0)]));
    assert_eq!(restored.time, NOW + 10 * SECOND);
    worker.merge(complete(3, 1, SECOND, vec![counter("a", 1), timer("t", &[9.0, 9.0])]), NOW + 30 * SECOND);
    worker.settle(NOW + 30 * SECOND);
    worker.drain().await;
    let last = newest(&backend);
    assert_eq!(totals(&last), BTreeMap::from([("a", 106.0), ("t", 3.0)]), "only what is heard");
    assert!(last.measurements.iter().all(|m| m.since == since));
    let Value::Timer(summary) = &last.measurements[1].value else { panic!("{last:?}") };
    assert_eq!(summary.sum(), 25.0);
    assert!((6.9..=7.0).contains(&summary.min) && (9.0..=9.1).contains(&summary.max));
}

#[tokio::test]
async fn of_unsent_totals_the_newest_count() {
    let directory = tempfile::tempdir().unwrap();
    let backend = Memory::new().cumulative();
    let rules = Rules { outbox_limit: 3, ..Rules::default() };
    let mut worker = Worker::open(directory.path(), &backend, rules, NOW);
    backend.will([Act::Fail(None)]);
    for n in 1..8 {
        worker.merge(complete(1, n, n * SECOND, vec![counter("a", n as i64), counter("b", 2)]), NOW);
        worker.settle(NOW + n * SECOND);
        if n == 1 {
            worker.drain().await;
        }
    }
    while worker.drain().await != Sent::Nothing {}
    let seen: Vec<f64> = backend.accepted().iter().map(|batch| totals(batch)["a"]).collect();
    assert!(seen.is_sorted() && seen.len() < 7 && seen.last() == Some(&7.0), "{seen:?}");
    assert_eq!(totals(&newest(&backend))["b"], 2.0);
}

#[tokio::test]
async fn totals_of_programs_that_are_gone_are_forgotten_after_the_horizon() {
    let directory = tempfile::tempdir().unwrap();
    let backend = Memory::new().cumulative();
    let rules = Rules { horizon: 100 * SECOND, ..Rules::default() };
    let mut worker = Worker::open(directory.path(), &backend, rules, NOW);
    worker.merge(complete(1, 1, SECOND, vec![counter("gone", 5), counter("stays", 1)]), NOW);
    worker.settle(NOW);
    for n in 1..5 {
        worker.settler.run(40 * SECOND);
        worker.merge(complete(2, n, n * SECOND, vec![counter("stays", 1)]), NOW);
        worker.settle(NOW + n * 40 * SECOND);
    }
    worker.settler.forget(NOW + 160 * SECOND).unwrap();
    assert_eq!(totals(&worker.settler.restored().unwrap()), BTreeMap::from([("stays", 2.0)]));
    worker.merge(complete(3, 1, SECOND, vec![counter("gone", 1)]), NOW + 200 * SECOND);
    worker.settle(NOW + 200 * SECOND);
    worker.drain().await;
    let last = newest(&backend);
    assert_eq!(totals(&last)["gone"], 1.0);
    assert!(last.measurements[0].since >= NOW + 160 * SECOND, "it began anew");
}

#[tokio::test]
async fn a_shape_may_change_and_nothing_is_counted_twice() {
    for backend in [Memory::new(), Memory::new().cumulative()] {
        let directory = tempfile::tempdir().unwrap();
        let mut worker = Worker::open(directory.path(), &backend, Rules::default(), NOW);
        let step = |worker: &mut Worker, n: u64| {
            let rows = vec![counter("web.a", n as i64), counter("db.b", 10 * n as i64)];
            worker.merge(complete(1, n, n * SECOND, rows), NOW);
            worker.settle(NOW + n * SECOND)
        };
        step(&mut worker, 1);
        worker.settler.set_shape(Shape {
            drop: vec!["db.*".parse().unwrap()],
            rename: vec!["web.*=site.*".parse().unwrap()],
            tags: vec!["env=prod".parse().unwrap()],
            ..Shape::default()
        });
        step(&mut worker, 2);
        worker.settler.set_shape(Shape::default());
        step(&mut worker, 3);
        worker.drain().await;
        let seen: Vec<BTreeMap<String, f64>> = backend
            .accepted()
            .iter()
            .map(|batch| totals(batch).into_iter().map(|(name, total)| (name.to_string(), total)).collect())
            .collect();
        let is = |pairs: &[(&str, f64)]| {
            pairs.iter().map(|(n, v)| (n.to_string(), *v)).collect::<BTreeMap<_, _>>()
        };
        assert_eq!(seen[0], is(&[("web.a", 1.0), ("db.b", 10.0)]));
        assert_eq!(seen[1], is(&[("site.a", 1.0)]));
        let past = if backend.temporality() == Temporality::Cumulative { 1.0 } else { 0.0 };
        assert_eq!(
            seen[2],
            is(&[("web.a", 1.0 + past), ("db.b", 10.0 + 10.0 * past)]),
            "what was dropped is gone"
        );
        let tags = &backend.accepted()[1].measurements[0].series.tags;
        assert_eq!(*tags, [("env".to_string(), "prod".to_string())]);
    }
}

#[test]
fn renames_are_not_shared_out() {
    let mut options = Options::default();
    options.rename = vec!["a=b".parse().unwrap()];
    assert!(options.shape().is_ok());
    options.shard = "1/2".parse().unwrap();
    assert!(options.shape().unwrap_err().to_string().contains("--rename"));
}

#[tokio::test]
async fn one_source_leaves_places_for_the_series_of_others() {
    let directory = tempfile::tempdir().unwrap();
    let backend = Memory::new().cumulative();
    let rules = Rules { series: 20, ..Rules::default() };
    let mut worker = Worker::open(directory.path(), &backend, rules, NOW);
    let rows = (0..50).map(|n| counter(&format!("made.up.{n:02}"), 1)).collect();
    worker.merge(complete(1, 1, SECOND, rows), NOW);
    let settled = Outcome::Settled { batches: 1, measurements: 10, dead: 0, beyond: 40 };
    assert_eq!(worker.settle(NOW), settled);

    let mut other = counter("a", 7);
    other.key.source = "there".into();
    worker.merge(complete(2, 1, SECOND, vec![other]), NOW + SECOND);
    worker.settle(NOW + SECOND);
    worker.drain().await;
    assert_eq!(totals(&newest(&backend)).get("a"), Some(&7.0));
}
