//! State directories as earlier versions wrote them.

#![allow(clippy::unwrap_used)]

mod common;

use std::path::{Path, PathBuf};

use common::*;
use zibrato_core::frame::{Gauge, Kind, Point, Row, State as Is};
use zibrato_worker::testing::{Act, Memory};
use zibrato_worker::{Outcome, Rules};

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
