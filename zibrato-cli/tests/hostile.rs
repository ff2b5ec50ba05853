//! Whoever makes up names and programs takes no worker down, and nothing from others.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "these are tests")]

mod support;

use std::collections::HashMap;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use support::{Broker, DEADLINE, Running};
use zibrato::count;
use zibrato_core::frame::*;
use zibrato_core::limits;
use zibrato_transport::Push;

/// What the worker may take, of which it is told that 16 MiB are for totals.
const MEMORY: u64 = 200 << 20;

/// Everything that was ever counted under each name, from lines of JSON.
fn totals(file: &Path) -> HashMap<String, i64> {
    let mut totals = HashMap::new();
    for line in std::fs::read_to_string(file).unwrap_or_default().lines() {
        // The last line may not be whole yet.
        let Ok(line) = serde_json::from_str::<serde_json::Value>(line) else { continue };
        if let (Some(name), Some(value)) = (line["name"].as_str(), line["value"].as_i64()) {
            *totals.entry(name.to_string()).or_default() += value;
        }
    }
    totals
}

/// The most memory that a process had, in bytes.
fn peak(process: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() << 10
}

fn head(instance: InstanceId, sequence: u64) -> Head {
    Head {
        instance,
        started_at: 1,
        sequence,
        base: sequence,
        part: 0,
        parts: 1,
        sent_at: 1 + sequence,
        flags: Flags::COMPLETE,
        source: "hostile".into(),
    }
}

fn counter(name: String) -> Row {
    let tags = Tags::new((0..4).map(|tag| (format!("tag{tag}"), name.clone())));
    let key = Key { kind: Kind::Counter, name: name.into(), source: "hostile".into(), tags, born: 1 };
    Row { key, state: State::Total(Total::whole(1)), trace: None, event: None }
}

/// Offers a frame until it is taken.
async fn push(push: &Push, head: &Head, rows: &[Row]) {
    for frame in encode_set(head, rows, limits::FRAME) {
        while !push.offer("info|", frame.clone().into()) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}

/// One program with a new metric in every frame, and thousands that say one thing each.
async fn attack(broker: &str) {
    let to = Push::start(&broker.parse().unwrap());
    let one = InstanceId::random();
    for sequence in 1..3000 {
        let name = |n| format!("hostile.{sequence:0180}.{n}");
        push(&to, &head(one, sequence), &(0..20).map(|n| counter(name(n))).collect::<Vec<_>>()).await;
        push(&to, &head(InstanceId::random(), 1), &[counter("hostile.one".into())]).await;
    }
    to.close(DEADLINE).await;
}

#[test]
fn a_worker_stays_within_its_memory_and_serves_the_others() {
    let directory = tempfile::tempdir().unwrap();
    let broker = Broker::start();
    let file = directory.path().join("lines");
    let mut command =
        broker.zibrato(&["json", "--flush", "0.2", "--max-bytes", "16M", "--max-instances", "1000"]);
    command.arg("--file").arg(&file).arg("--state").arg(directory.path().join("state"));
    let mut worker = Running::start(command);
    worker.err.until(|line| line.contains("the broker is heard"));

    let builder = zibrato::builder().without_environment().broker(&broker.url).source("good");
    let guard = builder.interval(Duration::from_millis(100)).install().unwrap();
    let url = broker.url.clone();
    let attack = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(attack(&url));
        runtime.shutdown_background();
    });
    let mut calls = 0;
    while !attack.is_finished() {
        count!("good.calls");
        calls += 1;
        std::thread::sleep(Duration::from_millis(2));
    }
    attack.join().unwrap();
    assert!(guard.finish());

    let until = Instant::now() + DEADLINE;
    loop {
        let totals = totals(&file);
        let (good, beyond) = (totals.get("good.calls"), totals.get("zibrato.worker.rows.beyond"));
        if good == Some(&calls) && beyond.is_some_and(|&rows| rows > 0) {
            break;
        }
        assert!(Instant::now() < until, "{good:?} instead of {calls}, {beyond:?} rows beyond");
        std::thread::sleep(Duration::from_millis(100));
    }
    worker.err.until(|line| line.contains("no room for more of one instance") && line.contains("hostile"));
    let peak = peak(worker.child.id());
    println!("the worker took {} MiB", peak >> 20);
    assert!(peak < MEMORY, "{peak} bytes");
    worker.signal(Signal::TERM);
    assert!(worker.wait().success());
}
