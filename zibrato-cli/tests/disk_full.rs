//! A worker whose state directory is on a disk that is full.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "these are tests")]

mod support;

use std::path::Path;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use support::disk::Disk;
use support::{Broker, DEADLINE, Lines, Running, run};

/// The total of a counter in lines of JSON, each batch once.
fn total(file: &Path) -> i64 {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    let lines = text.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    lines.filter(|line| line["name"] == "jobs").map(|line| line["value"].as_i64().unwrap()).sum()
}

fn until(what: &str, mut so: impl FnMut() -> bool) {
    let began = Instant::now();
    while !so() {
        assert!(began.elapsed() < DEADLINE, "{what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_full_disk_is_told_once_and_costs_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let Some(disk) = Disk::mount(&directory.path().join("disk"), 2) else { return };
    let broker = Broker::start();
    let file = directory.path().join("lines");
    let state = disk.path().join("state");
    let arguments = ["json", "--flush", "0.2", "--levels", "info"];
    let mut command = broker.zibrato(&arguments);
    command.arg("--file").arg(&file).arg("--state").arg(&state);
    let mut worker = Running::start(command);
    let count = || {
        let (code, _, err) = run(&mut broker.zibrato(&["send", "counter", "jobs", "--source", "s"]));
        assert_eq!(code, 0, "{err}");
    };
    count();
    until("the first arrives", || total(&file) == 1);
    disk.fill();
    let told = |log: &Lines| log.until(|line| line.contains("ERROR") && line.contains("nothing is settled"));
    // The first of them may still find room in a file that is there.
    let begun = Instant::now();
    let mut counted = 1;
    while begun.elapsed() < Duration::from_secs(2) {
        count();
        counted += 1;
    }
    told(&worker.err);
    disk.free();
    let again = |line: &str| {
        assert!(!line.contains("nothing is settled"), "it was told twice: {line}");
        line.contains("the state directory can be used again")
    };
    worker.err.until(again);
    count();
    until("all of it arrives", || total(&file) == counted + 1);
    worker.signal(Signal::TERM);
    assert!(worker.wait().success());
    assert_eq!(total(&file), counted + 1);
}
