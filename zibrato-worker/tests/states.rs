//! State directories as earlier versions wrote them.

#![allow(clippy::unwrap_used)]

mod common;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use common::*;
use zibrato_core::frame::{Gauge, Kind, Point, Row, State as Is};
use zibrato_worker::testing::{Act, Memory};
use zibrato_worker::{Error, Outcome, Rules, Shard, Snapshot, State};

fn samples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/states")
}

fn row(kind: Kind, name: &str, state: Is) -> Row {
    Row { key: key(kind, name), state, trace: None, event: None }
}

fn rows(times: i64) -> Vec<Row> {
    let gauge = Gauge { value: 2.0, set_at: 1, statistics: Some((times as u64, 2.0 * times as f64, None)) };
    let values: Vec<f64> = (1..=times).map(|n| n as f64).collect();
    vec![
        counter("requests", 5 * times),
        timer("took", &values),
        row(Kind::Gauge, "connections", Is::Gauge(gauge)),
        row(Kind::Point, "restarts", Is::Point(Point { number: times as u64, time: NOW, value: 1.0 })),
    ]
}

/// What every sample was made by: a batch that was sent, one that was refused in part and one that waits.
async fn live(directory: &Path) {
    let backend = Memory::new();
    let mut worker = Worker::open(directory, &backend, Rules::default(), NOW);
    for times in 1..=3 {
        let now = NOW + times as u64 * 10 * SECOND;
        worker.merge(complete(1, times as u64, times as u64 * SECOND, rows(times)), now);
        worker.merge(complete(2, times as u64, times as u64 * SECOND, rows(times)), now);
        assert!(matches!(worker.settle(now), Outcome::Settled { batches: 1, .. }));
        match times {
            1 => drop(worker.drain().await),
            2 => {
                backend.will([Act::Partly { refused: vec![0], retry: vec![] }]);
                worker.drain().await;
            }
            _ => {}
        }
    }
}

/// Writes the sample of the version that is current. To be done once, before the layout changes:
/// `cargo test -p zibrato-worker --test states -- --ignored`.
#[tokio::test]
#[ignore = "writes a sample"]
async fn make_a_sample() {
    let directory = tempfile::tempdir().unwrap();
    live(directory.path()).await;
    let database = directory.path().join("state.db");
    let version = {
        let db = rusqlite::Connection::open(&database).unwrap();
        db.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
        db.query_row("PRAGMA user_version", [], |row| row.get::<_, i64>(0)).unwrap()
    };
    std::fs::copy(&database, samples().join(format!("v{version}.db"))).unwrap();
}

/// A directory with a sample in it.
fn restored(version: u32) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    std::fs::copy(samples().join(format!("v{version}.db")), directory.path().join("state.db")).unwrap();
    directory
}

/// Goes on with the life of a sample, and tells what its backend has been sent of what the sample had not sent.
async fn go_on(directory: &Path) -> (Memory, State) {
    let backend = Memory::new();
    let mut worker = Worker::open(directory, &backend, Rules::default(), NOW + 50 * SECOND);
    let now = NOW + 60 * SECOND;
    for id in 1..=2 {
        // Once more what was settled, and then what is new.
        worker.merge(complete(id, 3, 3 * SECOND, rows(3)), now);
        worker.merge(complete(id, 4, 4 * SECOND, rows(4)), now);
    }
    worker.settle(now);
    worker.drain().await;
    let state = worker.settler.state().clone();
    (backend, state)
}

fn check(state: &State) {
    let accounts = state.accounts().unwrap();
    assert_eq!(state.waiting().unwrap(), 0);
    assert!(accounts.waiting().is_equal(Default::default()), "{accounts:?}");
    let snapshot = Snapshot::read(state.directory()).unwrap();
    assert!(snapshot.faults.is_empty(), "{:?}", snapshot.faults);
    let rows = snapshot.origins.iter().map(|origin| origin.found).sum();
    assert!(snapshot.origins.iter().all(|origin| origin.found.is_equal(origin.amount)));
    assert!(accounts.rows.is_equal(rows), "{accounts:?}");
}

#[tokio::test]
async fn every_older_layout_is_read_and_goes_on_exactly() {
    for version in 1..=2 {
        let directory = restored(version);
        let (backend, state) = go_on(directory.path()).await;
        assert_eq!(backend.total("requests"), 20.0, "v{version}: the batch that waited and what came since");
        assert_eq!(backend.total("took"), 4.0, "v{version}");
        check(&state);
        let accounts = state.accounts().unwrap();
        assert_eq!(accounts.rows.counted.whole, 2 * 20);
        let settled = if version == 1 { 20 } else { 40 };
        assert_eq!(accounts.settled.counted.whole, settled, "v{version}: version 1 had no accounts");
        assert_eq!(state.damage(), None);
    }
}

/// All files but the lock.
fn files(directory: &Path) -> BTreeMap<String, Vec<u8>> {
    let files = std::fs::read_dir(directory).unwrap().map(|file| {
        let file = file.unwrap();
        (file.file_name().into_string().unwrap(), std::fs::read(file.path()).unwrap())
    });
    files.filter(|(name, _)| name != "lock").collect()
}

fn open(directory: &Path) -> Result<State, Error> {
    State::open(directory, "memory", Shard::WHOLE)
}

#[test]
fn a_newer_layout_is_refused_and_left_alone() {
    // Once in the file, and once only in the log of one that was killed.
    for checkpoint in [true, false] {
        let made = restored(2);
        let directory = tempfile::tempdir().unwrap();
        {
            let db = rusqlite::Connection::open(made.path().join("state.db")).unwrap();
            db.query_row("PRAGMA wal_autocheckpoint = 0", [], |_| Ok(())).unwrap();
            db.execute_batch("PRAGMA user_version = 3; CREATE TABLE future (x)").unwrap();
            if checkpoint {
                db.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
            }
            for (name, bytes) in files(made.path()).into_iter().filter(|(name, _)| !name.ends_with("-shm")) {
                std::fs::write(directory.path().join(name), bytes).unwrap();
            }
        }
        let before = files(directory.path());
        let error = open(directory.path()).unwrap_err();
        assert!(error.to_string().contains("its layout has version 3, this program knows 2"), "{error}");
        assert!(Snapshot::read(directory.path()).is_err());
        assert!(files(directory.path()) == before, "it was changed");
    }
}

#[test]
fn what_is_no_state_is_moved_aside_and_told() {
    let foreign = |directory: &Path| {
        let other = directory.join("other.db");
        let db = rusqlite::Connection::open(&other).unwrap();
        db.execute_batch("PRAGMA application_id = 1; CREATE TABLE other (x)").unwrap();
        drop(db);
        std::fs::rename(other, directory.join("state.db")).unwrap();
    };
    type Spoil = Box<dyn Fn(&Path)>;
    let write = |text: &'static str| -> Spoil {
        Box::new(move |directory| std::fs::write(directory.join("state.db"), text.repeat(100)).unwrap())
    };
    let cases: [(Spoil, &str); 5] = [
        (write("this is no database. "), "it is no SQLite database"),
        (write(""), "it is empty"),
        (Box::new(|directory| std::fs::remove_file(directory.join("state.db")).unwrap()), "it is gone"),
        (Box::new(foreign), "it is a database of another application"),
        (
            Box::new(|directory| {
                let file = std::fs::File::options().write(true).open(directory.join("state.db")).unwrap();
                file.set_len(4096).unwrap();
            }),
            "",
        ),
    ];
    for (spoil, why) in cases {
        let directory = tempfile::tempdir().unwrap();
        drop(open(directory.path()).unwrap());
        let _ = std::fs::remove_file(directory.path().join("state.db-wal"));
        spoil(directory.path());
        let state = open(directory.path()).unwrap();
        let damage = state.damage().unwrap();
        assert!(damage.why.contains(why), "{damage}");
        assert!(!damage.is_exact);
        let named = |name: &String| name.starts_with("state.db.damaged-2");
        assert_eq!(files(directory.path()).keys().any(named), why != "it is gone", "{why}");
        let noted = Snapshot::read(directory.path()).unwrap().damaged;
        assert_eq!((noted.0, noted.1), (1, Some(damage.to_string())));
        drop(state);
        assert_eq!(open(directory.path()).unwrap().damage(), None, "it is told once");
    }
}

/// What is wrong after bytes of a database were changed at random: nothing is ever counted twice, and what may be
/// missing was told.
#[tokio::test]
async fn whatever_byte_is_flipped_nothing_comes_twice() {
    let seed = std::env::var("ZIBRATO_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(5u64);
    let all = std::env::var("ZIBRATO_FAULTS").is_ok_and(|faults| faults == "all");
    let size = std::fs::metadata(samples().join("v2.db")).unwrap().len();
    let (mut random, mut told, mut exact) = (seed, 0, 0);
    for round in 0..if all { 2000 } else { 40 } {
        // An LCG is random enough to choose bytes.
        let mut next = |below: u64| {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (random >> 33) % below
        };
        let directory = restored(2);
        let file = directory.path().join("state.db");
        let mut bytes = std::fs::read(&file).unwrap();
        match round % 5 {
            0 => bytes.truncate(next(size) as usize),
            1 => {
                let pages = size / 4096;
                let (one, other) = (next(pages - 1) + 1, next(pages - 1) + 1);
                let (one, other) = (one.min(other) as usize * 4096, one.max(other) as usize * 4096);
                if one != other {
                    let (front, back) = bytes.split_at_mut(other);
                    front[one..][..4096].swap_with_slice(&mut back[..4096]);
                }
            }
            _ => bytes[next(size) as usize] ^= 1 << next(8),
        }
        let is_changed = bytes != std::fs::read(&file).unwrap();
        std::fs::write(&file, &bytes).unwrap();
        let backend = Memory::new();
        // Damage is found when the directory is opened, or later when a row is read: then it is opened anew.
        let life = async |again: bool| -> Result<bool, Error> {
            let state = match again {
                false => open(directory.path())?,
                true => State::open_damaged(directory.path(), "memory", Shard::WHOLE, "as was found")?,
            };
            let damaged = state.damage().is_some();
            let mut worker = Worker::on(state, &backend, Rules::default(), NOW + 50 * SECOND)?;
            for (sequence, now) in [(3, NOW + 60 * SECOND), (4, NOW + 70 * SECOND), (5, NOW + 80 * SECOND)] {
                for id in 1..=2 {
                    let frame = complete(id, sequence, now - NOW, rows(sequence as i64));
                    worker.settler.merge("info", frame, at(now), &worker.backend)?;
                }
                worker.settler.first_sights()?;
                worker.settler.settle(&worker.backend, now, false)?;
                worker.sender.drain().await?;
            }
            check(worker.settler.state());
            Ok(damaged)
        };
        let context = || format!("seed {seed}, round {round}");
        let damaged = match life(false).await {
            Ok(damaged) => damaged,
            Err(Error::OtherVersion { .. } | Error::OtherBackend { .. }) => continue,
            Err(why) if why.is_damage() => {
                life(true).await.unwrap_or_else(|why| panic!("{}: {why}", context()))
            }
            Err(why) => panic!("{}: {why}", context()),
        };
        // Ten of each instance waited, five came with each of the sets 4 and 5.
        let total = backend.total("requests");
        assert!(total <= 30.0, "{}: {total} came, and 30 happened", context());
        if total < 30.0 {
            assert!(
                is_changed && damaged || lost(directory.path()),
                "{}: {total} and nothing was told",
                context()
            );
            told += 1;
        } else {
            exact += 1;
        }
    }
    println!("{exact} times everything arrived, {told} times it was told that something may be missing");
}

/// Whether a batch was set aside.
fn lost(directory: &Path) -> bool {
    files(directory).keys().any(|name| name.starts_with("damaged-batch-"))
}
