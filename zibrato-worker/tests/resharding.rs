//! Moving the state of some workers to another number of workers.
#![allow(clippy::unwrap_used)]

mod common;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use common::*;
use tokio::sync::Mutex;
use zibrato_core::frame::Frame;
use zibrato_core::level::Levels;
use zibrato_worker::testing::{Act, Memory};
use zibrato_worker::*;

struct Shards {
    directory: tempfile::TempDir,
    backend: Memory,
}

impl Shards {
    fn paths(&self, count: u32) -> Vec<PathBuf> {
        (1..=count).map(|index| self.directory.path().join(format!("{index}-of-{count}"))).collect()
    }

    fn open(&self, count: u32, now: u64) -> Vec<(Settler, Sender<Memory>)> {
        let paths = self.paths(count);
        let open = |(path, index): (&PathBuf, u32)| {
            let shard = Shard::new(index, count).unwrap();
            let state = State::open(path, Memory::NAME, shard).unwrap();
            let backend = Arc::new(Mutex::new(self.backend.clone()));
            let sender = Sender::new(backend, state.clone(), Arc::default());
            (Settler::new(state, &Levels::default(), Rules::default(), now).unwrap(), sender)
        };
        paths.iter().zip(1..).map(open).collect()
    }

    fn reshard(&self, from: u32, to: u32) -> Result<Resharded, Error> {
        let (old, new) = (self.paths(from), self.paths(to));
        let old: Vec<&Path> = old.iter().map(PathBuf::as_path).collect();
        let new: Vec<&Path> = new.iter().map(PathBuf::as_path).collect();
        reshard(&old, &new, &self.backend)
    }
}

fn frame(sequence: u64, age: u64) -> Frame {
    let rows = (0..30).map(|n| counter(&format!("m{n}"), sequence as i64 * (n + 1))).collect();
    complete(1, sequence, age, rows)
}

fn merge_all(workers: &mut [(Settler, Sender<Memory>)], frame: &Frame, now: u64, backend: &Memory) {
    for (settler, _) in workers {
        settler.merge("info", frame.clone(), at(now), backend).unwrap();
    }
}

async fn flush(workers: &mut [(Settler, Sender<Memory>)], now: u64, backend: &Memory) {
    for (settler, sender) in workers {
        settler.settle(backend, now, false).unwrap();
        sender.drain().await.unwrap();
    }
}

#[tokio::test]
async fn totals_stay_exact_with_an_outbox_in_between() {
    let shards = Shards { directory: tempfile::tempdir().unwrap(), backend: Memory::new() };
    let backend = shards.backend.clone();
    let mut workers = shards.open(2, NOW);
    merge_all(&mut workers, &frame(1, SECOND), NOW + SECOND, &backend);
    flush(&mut workers, NOW + SECOND, &backend).await;
    // The next period stays in the outboxes; one of them was attempted.
    merge_all(&mut workers, &frame(2, 2 * SECOND), NOW + 2 * SECOND, &backend);
    backend.will([Act::AcceptAndFail, Act::Fail(None)]);
    flush(&mut workers, NOW + 2 * SECOND, &backend).await;
    let error = shards.reshard(2, 3).unwrap_err();
    assert!(matches!(error, Error::InUse { .. }), "{error}");
    drop(workers);
    let moved = shards.reshard(2, 3).unwrap();
    assert_eq!(moved, Resharded { instances: 1, metrics: 30, batches: 2 });
    assert_eq!(shards.reshard(2, 3).unwrap(), Resharded::default(), "again changes nothing");
    let old = State::open(&shards.paths(2)[0], Memory::NAME, Shard::new(1, 2).unwrap()).unwrap_err();
    assert!(old.to_string().contains("belongs to shard moved"), "{old}");
    let mut workers = shards.open(3, NOW + 3 * SECOND);
    merge_all(&mut workers, &frame(2, 2 * SECOND), NOW + 3 * SECOND, &backend);
    merge_all(&mut workers, &frame(3, 3 * SECOND), NOW + 3 * SECOND, &backend);
    flush(&mut workers, NOW + 3 * SECOND, &backend).await;
    // The repeat of the batch whose answer was lost has its old time, so it overwrites itself.
    let mut stored = std::collections::BTreeMap::new();
    for batch in backend.accepted() {
        for Measurement { series, value, .. } in batch.measurements {
            let Value::Counter(total) = value else { panic!("{value:?}") };
            stored.insert((series, batch.time), total.whole);
        }
    }
    for n in 0..30 {
        let name = format!("m{n}");
        let total: i64 = stored.iter().filter(|((series, _), _)| series.name == name).map(|(_, v)| v).sum();
        assert_eq!(total, 3 * (n + 1), "{name}");
    }
}

#[test]
fn an_older_instance_must_be_settled_by_all_or_none() {
    let shards = Shards { directory: tempfile::tempdir().unwrap(), backend: Memory::new() };
    let backend = shards.backend.clone();
    let mut workers = shards.open(2, NOW);
    merge_all(&mut workers[..1], &frame(1, 1000 * SECOND), NOW, &backend);
    assert_eq!(workers[0].0.first_sights().unwrap(), 1);
    drop(workers);
    let error = shards.reshard(2, 1).unwrap_err();
    assert!(error.to_string().contains("is settled in other shards but not here"), "{error}");
    let mut workers = shards.open(2, NOW);
    merge_all(&mut workers, &frame(2, 1000 * SECOND), NOW, &backend);
    assert_eq!(workers[1].0.first_sights().unwrap(), 1);
    drop(workers);
    assert_eq!(shards.reshard(2, 1).unwrap().metrics, 30);
}

#[test]
fn all_shards_of_the_backend_must_be_given() {
    let shards = Shards { directory: tempfile::tempdir().unwrap(), backend: Memory::new() };
    drop(shards.open(2, NOW));
    let paths = shards.paths(2);
    let new = shards.directory.path().join("new");
    let error = reshard(&[&paths[0]], &[&new], &shards.backend).unwrap_err();
    assert!(error.to_string().contains("its shard is 1/2; give each"), "{error}");
    let error = reshard(&[&paths[0], &paths[1]], &[&paths[0]], &shards.backend).unwrap_err();
    assert!(matches!(error, Error::Option { .. }), "{error}");
    let error = reshard(&[&paths[0], &shards.directory.path().join("none")], &[&new], &shards.backend);
    assert!(matches!(error, Err(Error::BadState { .. })));
}

#[test]
fn what_is_damaged_is_not_moved() {
    for sql in [
        "UPDATE origin SET sequence = sequence + 1",
        "UPDATE settled SET sequence = sequence + 1 WHERE key = (SELECT min(key) FROM settled)",
        "UPDATE outbox SET time = time + 1",
    ] {
        let shards = Shards { directory: tempfile::tempdir().unwrap(), backend: Memory::new() };
        let backend = shards.backend.clone();
        let mut workers = shards.open(2, NOW);
        merge_all(&mut workers, &frame(1, SECOND), NOW + SECOND, &backend);
        for (settler, _) in &mut workers {
            settler.settle(&backend, NOW + SECOND, false).unwrap();
        }
        drop(workers);
        let db = rusqlite::Connection::open(shards.paths(2)[0].join("state.db")).unwrap();
        assert_eq!(db.execute(sql, []).unwrap(), 1, "{sql}");
        drop(db);
        let error = shards.reshard(2, 1).unwrap_err().to_string();
        assert!(error.contains("is not what was written; run its worker once"), "{sql}: {error}");
    }
}
