//! State directories as earlier versions wrote them.

#![allow(clippy::unwrap_used)]

mod common;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use common::*;
use zibrato_core::frame::{Gauge, Kind, Point, Row, State as Is};
use zibrato_worker::testing::{Act, Memory};
use zibrato_worker::{Batch, Error, Outcome, Rules, Shard, Snapshot, State};

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
    for version in 1..=3 {
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
        let made = restored(3);
        let directory = tempfile::tempdir().unwrap();
        {
            let db = rusqlite::Connection::open(made.path().join("state.db")).unwrap();
            db.query_row("PRAGMA wal_autocheckpoint = 0", [], |_| Ok(())).unwrap();
            db.execute_batch("PRAGMA user_version = 4; CREATE TABLE future (x)").unwrap();
            if checkpoint {
                db.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
            }
            for (name, bytes) in files(made.path()).into_iter().filter(|(name, _)| !name.ends_with("-shm")) {
                std::fs::write(directory.path().join(name), bytes).unwrap();
            }
        }
        let before = files(directory.path());
        let error = open(directory.path()).unwrap_err();
        assert!(error.to_string().contains("its layout has version 4, this program knows 3"), "{error}");
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
    let size = std::fs::metadata(samples().join("v3.db")).unwrap().len();
    let (mut random, mut told, mut exact) = (seed, 0, 0);
    for round in 0..if all { 2000 } else { 40 } {
        // An LCG is random enough to choose bytes.
        let mut next = |below: u64| {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (random >> 33) % below
        };
        let directory = restored(3);
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

/// Copies a directory in use to another, as it is for whoever comes after a kill -9.
fn killed(directory: &Path) -> tempfile::TempDir {
    let copy = tempfile::tempdir().unwrap();
    for name in ["state.db", "state.db-wal", "lock"] {
        let _ = std::fs::copy(directory.join(name), copy.path().join(name));
    }
    copy
}

/// A state of which something is changed behind SQLite's back.
fn change(directory: &Path, sql: &str) {
    let db = rusqlite::Connection::open(directory.join("state.db")).unwrap();
    assert_eq!(db.execute(sql, []).unwrap(), 1, "{sql}");
}

#[tokio::test]
async fn a_log_that_is_cut_off_is_missed_and_nothing_comes_twice() {
    // Not closed: most of its life is only in the log.
    let directory = tempfile::tempdir().unwrap();
    let backend = Memory::new();
    let mut worker = Worker::open(directory.path(), &backend, Rules::default(), NOW);
    let mut older = killed(directory.path());
    for times in 1..=3 {
        let now = NOW + times as u64 * 10 * SECOND;
        worker.merge(complete(1, times as u64, times as u64 * SECOND, rows(times)), now);
        worker.settle(now);
        worker.drain().await;
        if times == 1 {
            let db = rusqlite::Connection::open(directory.path().join("state.db")).unwrap();
            db.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(())).unwrap();
            older = killed(directory.path());
        }
    }
    assert_eq!(backend.total("requests"), 15.0);
    let sent = backend.accepted();
    let size = std::fs::metadata(directory.path().join("state.db-wal")).unwrap().len();
    for length in [None, Some(0), Some(size / 4), Some(size / 2), Some(size * 3 / 4)] {
        let copy = killed(directory.path());
        let log = copy.path().join("state.db-wal");
        match length {
            None => std::fs::remove_file(&log).unwrap(),
            Some(length) => std::fs::File::options().write(true).open(&log).unwrap().set_len(length).unwrap(),
        }
        check_that_nothing_comes_twice(copy.path(), &sent, &format!("a log of {length:?} of {size} bytes"))
            .await;
    }
    // An older copy of the database in a directory that was used since.
    let copy = killed(directory.path());
    for name in ["state.db", "state.db-wal"] {
        let _ = std::fs::remove_file(copy.path().join(name));
        let _ = std::fs::copy(older.path().join(name), copy.path().join(name));
    }
    check_that_nothing_comes_twice(copy.path(), &sent, "an older copy").await;
    let copy = killed(directory.path());
    assert_eq!(open(copy.path()).unwrap().damage(), None, "one that was only killed is whole");
}

async fn check_that_nothing_comes_twice(directory: &Path, sent: &[Batch], how: &str) {
    let state = open(directory).unwrap();
    let damage = state.damage().unwrap_or_else(|| panic!("{how}: nothing was told")).clone();
    assert!(damage.why.contains("transactions ago") && !damage.is_exact, "{how}: {damage}");
    let backend = Memory::new();
    let mut worker = Worker::on(state, &backend, Rules::default(), NOW + 50 * SECOND).unwrap();
    worker.merge(complete(1, 3, 3 * SECOND, rows(3)), NOW + 60 * SECOND);
    worker.settler.first_sights().unwrap();
    worker.settle(NOW + 60 * SECOND);
    worker.drain().await;
    let of = |batch: &Batch| {
        let counters = batch.measurements.iter().filter(|measurement| measurement.series.name == "requests");
        (batch.time, counters.cloned().collect::<Vec<_>>())
    };
    // A batch that waited then is the same as it was, and overwrites itself.
    for batch in backend.accepted().iter().map(of).filter(|(_, counters)| !counters.is_empty()) {
        assert!(sent.iter().any(|before| of(before) == batch), "{how}: {batch:?}");
    }
    drop(worker);
    assert_eq!(open(directory).unwrap().damage(), None, "{how}: it is told once");
}

#[tokio::test]
async fn what_is_noted_is_not_believed_when_it_was_changed() {
    for (sql, why) in [
        ("UPDATE since SET at = at - 1000000000000", "since when"),
        ("UPDATE meta SET value = value - 1 WHERE name = 'next_id'", "noted as next_id"),
        ("UPDATE meta SET value = 'delte' WHERE name = 'backend'", "noted as backend"),
        ("UPDATE meta SET name = 'clocks' WHERE name = 'clock'", "noted as clocks"),
    ] {
        let directory = tempfile::tempdir().unwrap();
        live(directory.path()).await;
        change(directory.path(), sql);
        let faults = Snapshot::read(directory.path()).unwrap().faults;
        assert!(faults.len() == 1 && faults[0].contains(why), "{sql}: {faults:?}");
        let levels = zibrato_core::level::Levels::default();
        let found = open(directory.path()).and_then(|state| {
            let damage = state.damage().cloned();
            zibrato_worker::Settler::new(state, &levels, Rules::default(), NOW).map(|_| damage)
        });
        match found {
            Ok(damage) => assert!(damage.is_some_and(|damage| damage.why.contains(why)), "{sql}"),
            Err(error) => assert!(error.is_damage() && error.to_string().contains(why), "{sql}: {error}"),
        }
    }
}

#[tokio::test]
async fn an_account_that_is_damaged_follows_from_the_others() {
    for account in ["settled", "accepted", "refused", "merged", "lost", "happened", "left_out"] {
        let directory = tempfile::tempdir().unwrap();
        live(directory.path()).await;
        let before = Snapshot::read(directory.path()).unwrap().accounts;
        change(directory.path(), &format!("UPDATE account SET seal = seal + 1 WHERE name = '{account}'"));
        let faults = Snapshot::read(directory.path()).unwrap().faults;
        assert_eq!(faults, [format!("the account {account} is not what was written")]);
        let state = open(directory.path()).unwrap();
        let damage = state.damage().unwrap();
        assert!(damage.is_exact, "{account}: {damage}");
        let after = state.accounts().unwrap();
        for ((name, one), (_, other)) in before.named().zip(after.named()) {
            assert!(one.is_equal(other), "{account} is damaged: {name} was {one:?}, is {other:?}");
        }
    }
}

#[tokio::test]
async fn what_is_damaged_is_never_sealed_anew() {
    // A batch that was never attempted, and one that says so but was.
    for sql in ["UPDATE outbox SET begin = begin + 1", "UPDATE outbox SET attempts = 7 - attempts"] {
        let directory = tempfile::tempdir().unwrap();
        live(directory.path()).await;
        change(directory.path(), sql);
        let backend = Memory::new();
        let rules = Rules { outbox_limit: 2, ..Rules::default() };
        let mut worker = Worker::open(directory.path(), &backend, rules, NOW + 50 * SECOND);
        for (sequence, now) in [(4, NOW + 60 * SECOND), (5, NOW + 70 * SECOND), (6, NOW + 80 * SECOND)] {
            worker.merge(complete(1, sequence, now - NOW, rows(sequence as i64)), now);
            worker.settle(now);
        }
        worker.drain().await;
        worker.settle(NOW + 90 * SECOND);
        worker.drain().await;
        assert_eq!(backend.total("requests"), 15.0, "{sql}: only what came since");
        assert!(lost(directory.path()), "{sql}");
        let state = worker.settler.state();
        assert_eq!(state.batches_lost(), 1);
        check(state);
        let (times, how) = Snapshot::read(directory.path()).unwrap().damaged;
        assert!(times == 1 && how.unwrap().contains("was damaged and set aside in"), "{sql}");
    }
    // What is forgotten because of when it was heard, or retired.
    for sql in [
        "UPDATE origin SET heard = heard + 1 WHERE id = 1",
        "UPDATE settled SET retired = 1 WHERE origin = 2 AND key = (SELECT min(key) FROM settled WHERE origin = 2)",
    ] {
        let directory = tempfile::tempdir().unwrap();
        live(directory.path()).await;
        let now = NOW + 40 * 24 * 3600 * SECOND;
        let mut worker = Worker::open(directory.path(), &Memory::new(), Rules::default(), now);
        worker.settler.run(40 * 24 * 3600 * SECOND);
        worker.merge(complete(2, 4, now - NOW, rows(4)), now);
        worker.settle(now);
        change(directory.path(), sql);
        let error = worker.settler.forget(now).unwrap_err();
        assert!(error.is_damage(), "{sql}: {error}");
    }
}

#[tokio::test]
async fn two_workers_never_write_into_one_state() {
    let directory = tempfile::tempdir().unwrap();
    let backend = Memory::new();
    let mut one = Worker::open(directory.path(), &backend, Rules::default(), NOW);
    assert!(matches!(open(directory.path()), Err(Error::InUse { .. })));
    // The lock is gone, as on a file system that has none.
    std::fs::remove_file(directory.path().join("lock")).unwrap();
    let mut other = Worker::open(directory.path(), &backend, Rules::default(), NOW);
    let frame = || complete(1, 1, SECOND, rows(1));
    one.merge(frame(), NOW + 10 * SECOND);
    other.merge(frame(), NOW + 10 * SECOND);
    let settled = [&mut one, &mut other].map(|w| w.settler.settle(&w.backend, NOW + 10 * SECOND, false));
    assert!(settled.iter().any(|settled| matches!(settled, Err(Error::InUse { .. }))), "{settled:?}");
    for worker in [&mut one, &mut other] {
        let _ = worker.sender.drain().await;
    }
    assert!(backend.total("requests") <= 5.0);
}

#[cfg(unix)]
#[test]
fn nothing_is_settled_into_a_file_that_is_gone() {
    let directory = tempfile::tempdir().unwrap();
    let backend = Memory::new();
    let mut worker = Worker::open(directory.path(), &backend, Rules::default(), NOW);
    let (file, away) = (directory.path().join("state.db"), directory.path().join("away.db"));
    std::fs::rename(&file, &away).unwrap();
    worker.merge(complete(1, 1, SECOND, rows(1)), NOW + 10 * SECOND);
    let error = worker.settler.settle(&backend, NOW + 10 * SECOND, false).unwrap_err();
    assert!(error.to_string().contains("it was removed or replaced while it is used"), "{error}");
    std::fs::rename(&away, &file).unwrap();
    assert!(matches!(worker.settle(NOW + 10 * SECOND), Outcome::Settled { batches: 1, .. }));
}

#[tokio::test]
async fn of_the_first_layout_batches_are_saved() {
    let directory = restored(1);
    // A settled total that cannot be read: there were no seals.
    change(
        directory.path(),
        "UPDATE settled SET state = x'c1' WHERE (origin, key) IN (SELECT origin, key FROM settled LIMIT 1)",
    );
    let state = open(directory.path()).unwrap();
    let damage = state.damage().unwrap().clone();
    assert_eq!((damage.batches, damage.batches_lost, damage.instances_lost), (1, 0, 2), "{damage}");
    assert!(!damage.is_exact);
    let backend = Memory::new();
    let mut worker = Worker::on(state, &backend, Rules::default(), NOW + 50 * SECOND).unwrap();
    worker.drain().await;
    assert_eq!(backend.total("requests"), 10.0, "the batch that waited");
    check(worker.settler.state());
}
