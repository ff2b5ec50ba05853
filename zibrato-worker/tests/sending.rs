//! What the sender does with every answer of a backend.

#![allow(clippy::unwrap_used)]

mod common;

use std::time::Duration;

use common::*;
use zibrato_worker::testing::{Act, Memory};
use zibrato_worker::{Outcome, Rules, Sent};

/// A worker with three measurements in its outbox.
fn three(directory: &std::path::Path, backend: &Memory) -> Worker {
    let mut worker = Worker::open(directory, backend, Rules::default(), NOW);
    let rows = vec![counter("a", 1), counter("b", 2), counter("c", 3)];
    worker.merge(complete(1, 1, SECOND, rows), NOW);
    assert_eq!(worker.settle(NOW), Outcome::Settled { batches: 1, measurements: 3, dead: 0, beyond: 0 });
    worker
}

fn letters(directory: &std::path::Path) -> Vec<serde_json::Value> {
    let text = std::fs::read_to_string(directory.join("dead-letters.jsonl")).unwrap_or_default();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[tokio::test]
async fn a_failure_keeps_the_batch_and_obeys_the_service() {
    let (directory, backend) = (tempfile::tempdir().unwrap(), Memory::new());
    let mut worker = three(directory.path(), &backend);
    backend.will([Act::Fail(None), Act::Fail(Some(Duration::from_secs(99))), Act::AcceptAndFail]);
    assert!(matches!(worker.drain().await, Sent::Later(wait) if wait <= Duration::from_millis(500)));
    assert_eq!(worker.drain().await, Sent::Later(Duration::from_secs(99)));
    assert!(matches!(worker.drain().await, Sent::Later(_)));
    assert_eq!(worker.drain().await, Sent::Nothing);
    let requests = backend.requests();
    assert_eq!(requests.len(), 4);
    assert!(requests.windows(2).all(|pair| pair[0] == pair[1]), "every repeat is the same");
    assert_eq!((backend.total("a"), backend.total("c")), (1.0, 3.0));
    assert_eq!(backend.connects(), 4, "it connects anew after a failure");
    let figures = worker.status.figures();
    assert_eq!((figures.retries, figures.batches_sent, figures.measurements_sent), (3, 1, 3));
}

#[tokio::test]
async fn a_batch_whose_sending_was_cut_off_is_told_to_be_in_doubt() {
    let (directory, backend) = (tempfile::tempdir().unwrap(), Memory::new());
    let mut worker = three(directory.path(), &backend);
    backend.will([Act::Fail(None), Act::AcceptAndFail]);
    assert!(matches!(worker.drain().await, Sent::Later(_)));
    assert!(matches!(worker.drain().await, Sent::Later(_)));
    assert!(backend.doubts().is_empty(), "it has said itself that it failed");
    let id = backend.requests()[0].id;
    drop(worker);
    let mut worker = Worker::open(directory.path(), &backend, Rules::default(), NOW);
    backend.will([Act::Fail(None)]);
    assert!(matches!(worker.drain().await, Sent::Later(_)));
    assert_eq!(worker.drain().await, Sent::Nothing);
    assert_eq!(backend.doubts(), [id], "it is told once, by the worker that does not know");
    assert_eq!(worker.status.backend(), [("memory_requests", 4)]);
}

#[tokio::test]
async fn without_a_connection_nothing_is_attempted() {
    let (directory, backend) = (tempfile::tempdir().unwrap(), Memory::new());
    let mut worker = three(directory.path(), &backend);
    backend.will_not_connect(2);
    assert!(matches!(worker.drain().await, Sent::Later(_)));
    assert!(matches!(worker.drain().await, Sent::Later(_)));
    assert!(backend.requests().is_empty());
    assert_eq!(worker.drain().await, Sent::Nothing);
    assert_eq!(backend.accepted().len(), 1);
}

#[tokio::test]
async fn a_refused_batch_is_buried_and_the_next_one_sent() {
    let (directory, backend) = (tempfile::tempdir().unwrap(), Memory::new());
    let mut worker = three(directory.path(), &backend);
    worker.merge(complete(1, 2, 2 * SECOND, vec![counter("a", 11)]), NOW);
    worker.settle(NOW + 10 * SECOND);
    backend.will([Act::Refuse("not like that".into())]);
    assert_eq!(worker.drain().await, Sent::Nothing);
    assert_eq!(backend.total("a"), 10.0);
    let letters = letters(directory.path());
    assert_eq!(letters.len(), 3);
    assert!(letters.iter().all(|letter| letter["reason"] == "not like that"));
    let figures = worker.status.figures();
    assert_eq!((figures.batches_refused, figures.dead_letters, figures.batches_sent), (1, 3, 1));
}

#[tokio::test]
async fn one_bad_measurement_takes_no_others_with_it() {
    let (directory, backend) = (tempfile::tempdir().unwrap(), Memory::new());
    let mut worker = three(directory.path(), &backend);
    // Indices beyond the batch, and listed twice, are a backend's mistake, and do no harm.
    backend.will([Act::Partly { refused: vec![1, 99], retry: vec![2, 2, 7] }]);
    assert!(matches!(worker.drain().await, Sent::Later(_)));
    assert_eq!(worker.settler.state().waiting().unwrap(), 1);
    drop(worker);
    let mut worker = Worker::open(directory.path(), &backend, Rules::default(), NOW);
    assert_eq!(worker.drain().await, Sent::Nothing);
    assert_eq!((backend.total("a"), backend.total("b"), backend.total("c")), (1.0, 0.0, 3.0));
    let requests = backend.requests();
    assert_eq!((requests[1].id, requests[1].time), (requests[0].id, requests[0].time));
    assert_eq!(requests[1].measurements, requests[0].measurements[2..]);
    let letters = letters(directory.path());
    assert_eq!(letters.len(), 1);
    assert_eq!((&letters[0]["name"], &letters[0]["value"]), (&"b".into(), &2.0.into()));
}

#[tokio::test]
async fn a_part_that_needs_no_repeat_is_done() {
    let (directory, backend) = (tempfile::tempdir().unwrap(), Memory::new());
    let mut worker = three(directory.path(), &backend);
    backend.will([Act::Partly { refused: vec![0], retry: vec![] }]);
    assert_eq!(worker.drain().await, Sent::Nothing);
    assert_eq!((backend.total("a"), backend.total("b"), letters(directory.path()).len()), (0.0, 2.0, 1));
}

#[tokio::test]
async fn what_was_accepted_is_not_sent_again_because_the_disk_failed() {
    let (directory, backend) = (tempfile::tempdir().unwrap(), Memory::new());
    let mut worker = three(directory.path(), &backend);
    let db = rusqlite::Connection::open(directory.path().join("state.db")).unwrap();
    for (number, event) in ["UPDATE OF measurements", "DELETE"].into_iter().enumerate() {
        let trouble = "BEGIN SELECT RAISE(ABORT, 'disk full'); END";
        db.execute_batch(&format!("CREATE TRIGGER trouble BEFORE {event} ON outbox {trouble}")).unwrap();
        backend.will([Act::Partly { refused: vec![0], retry: vec![1] }]);
        for _ in 0..2 {
            assert!(worker.sender.drain().await.is_err());
        }
        assert_eq!(backend.requests().len(), number + 1, "it was sent once");
        db.execute_batch("DROP TRIGGER trouble").unwrap();
        if number == 0 {
            worker.sender.step().await.unwrap();
        }
    }
    assert_eq!(worker.drain().await, Sent::Nothing);
    let requests = backend.requests();
    let sizes: Vec<usize> = requests.iter().map(|batch| batch.measurements.len()).collect();
    assert_eq!(sizes, [3, 1], "only what was to be sent again was");
    assert_eq!(letters(directory.path()).len(), 2, "each is there once");
}

#[tokio::test]
async fn a_damaged_batch_is_set_aside_and_the_next_one_sent() {
    let (directory, backend) = (tempfile::tempdir().unwrap(), Memory::new());
    drop(three(directory.path(), &backend));
    let db = rusqlite::Connection::open(directory.path().join("state.db")).unwrap();
    db.execute("UPDATE outbox SET measurements = x'c1c1'", []).unwrap();
    drop(db);
    let mut worker = Worker::open(directory.path(), &backend, Rules::default(), NOW + SECOND);
    worker.merge(complete(1, 2, 2 * SECOND, vec![counter("a", 5)]), NOW + SECOND);
    worker.settle(NOW + 2 * SECOND);
    assert_eq!(worker.drain().await, Sent::Nothing);
    assert_eq!(backend.total("a"), 4.0, "the increase after the damaged batch");
    let aside = std::fs::read_dir(directory.path()).unwrap().flatten();
    let aside = aside.filter(|e| e.file_name().to_string_lossy().starts_with("damaged-batch-"));
    assert_eq!(aside.count(), 1);
}
