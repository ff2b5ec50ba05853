//! One program that measures, every backend at once, and each server asked what it has.
//!
//! The servers are the real ones. Between them and the workers are bad days: connections that break, answers that are
//! lost, servers that are away for longer than an outbox holds, workers that are killed. Afterwards each total is to be
//! what was recorded.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "these are tests")]

#[path = "../support/mod.rs"]
mod support;

mod places;

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use places::Place;
use support::disk::Disk;
use support::{Broker, Running, zibrato};
use zibrato::count;
use zibrato_trial::until;

/// How long a bad day lasts.
const DAY: Duration = Duration::from_secs(3);
/// How long servers are away: with flushes of 0.3 s, much longer than an outbox of 3 batches holds.
const AWAY: Duration = Duration::from_secs(60);

/// What the program measures, and its own account of it.
struct Program {
    guard: zibrato::Guard,
    calls: i64,
    bytes: i64,
}

impl Program {
    fn start(broker: &str) -> Program {
        let builder = zibrato::builder().without_environment().broker(broker).source("everywhere");
        let builder = builder.trace("everywhere.calls");
        let guard = builder.interval(Duration::from_millis(100)).install().unwrap();
        Program { guard, calls: 0, bytes: 0 }
    }

    fn work(&mut self) {
        for n in 1..=100u64 {
            count!("everywhere.calls");
            count!("everywhere.bytes", n * 1_000);
            zibrato::timing!("everywhere.time", Duration::from_micros(n));
            self.calls += 1;
            self.bytes += n as i64 * 1_000;
        }
        zibrato::gauge!("everywhere.temperature", 21.5);
    }

    fn work_for(&mut self, time: Duration) {
        let began = Instant::now();
        while began.elapsed() < time {
            self.work();
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// The workers, all in one process.
struct Workers {
    command: Box<dyn Fn() -> Command>,
    running: Option<Running>,
}

impl Workers {
    fn start(directory: &Path, broker: &str, places: &[Box<dyn Place>]) -> Workers {
        let file = directory.join("zibrato.toml");
        let state = directory.join("state");
        let mut text = format!(
            "broker = {broker:?}\nstate = {state:?}\nflush = 0.3\noutbox-limit = 3\nlevels = \"info\"\n"
        );
        for place in places {
            text += &format!("\n[workers.{}]\n{}\n", place.name(), place.section());
        }
        let traces = directory.join("traces");
        text += &format!("\n[workers.mtrace]\nfile = {traces:?}\nlevels = \"mtrace\"\n");
        std::fs::write(&file, text).unwrap();
        let command = move || zibrato(&["workers", "--config", file.to_str().unwrap()]);
        let mut workers = Workers { command: Box::new(command), running: None };
        workers.run();
        workers
    }

    fn run(&mut self) {
        self.running = Some(Running::start((self.command)()));
    }

    fn kill(&mut self) {
        let mut running = self.running.take().unwrap();
        running.child.kill().unwrap();
        running.wait();
    }
}

fn until_equal(day: &str, places: &[Box<dyn Place>], program: &Program) {
    for place in places {
        until(&format!("{day}: what {} has", place.name()), || {
            for (name, recorded) in [("everywhere.calls", program.calls), ("everywhere.bytes", program.bytes)]
            {
                let total = place.total(name)?;
                if total != recorded as f64 {
                    return Err(format!("{total} of {recorded} {name}"));
                }
            }
            Ok(())
        });
    }
}

/// Whether a row was traced until the backend of a worker had accepted it.
fn traced(directory: &Path, worker: &str) -> Result<(), String> {
    let text = std::fs::read_to_string(directory.join("traces")).map_err(|why| why.to_string())?;
    let lines = text.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    let accepted = |line: &serde_json::Value| {
        let backend = line["backend"].as_str().unwrap_or_default();
        line["hop"] == "backend" && line["verdict"] == "ok" && backend.ends_with(&format!("/{worker}"))
    };
    let is_there = { lines }.any(|line| accepted(&line) && line["metric"] == "everywhere.calls");
    if is_there { Ok(()) } else { Err("no row was accepted".into()) }
}

#[test]
fn every_server_has_what_was_recorded_whatever_happens() {
    let Some(mut places) = places::all() else { return };
    let directory = tempfile::tempdir().unwrap();
    let disk = Disk::mount(&directory.path().join("state"), 64);
    let names: Vec<&str> = places.iter().map(|place| place.name()).collect();
    let broker = Broker::start();
    let mut workers = Workers::start(directory.path(), &broker.url, &places);
    // What a worker that begins hears of older programs does not count, so it is there before.
    for place in &places {
        place.until_listening(directory.path());
    }
    let mut program = Program::start(&broker.url);
    program.work_for(DAY);
    until_equal("a good day", &places, &program);

    // From here on, those that acknowledge nothing cannot have it exactly.
    places.retain(|place| place.acknowledges());
    for place in &places {
        place.proxy().inspect(|proxy| proxy.reset_after(1_500));
    }
    program.work_for(DAY);
    places.iter().filter_map(|place| place.proxy()).for_each(|proxy| proxy.pass());
    until_equal("connections were reset", &places, &program);

    places.iter().filter_map(|place| place.proxy()).for_each(|proxy| proxy.lose_answers());
    program.work_for(DAY);
    places.iter().filter_map(|place| place.proxy()).for_each(|proxy| proxy.pass());
    until_equal("answers were lost", &places, &program);

    places.iter().filter_map(|place| place.proxy()).for_each(|proxy| proxy.slow(2_000));
    program.work_for(DAY);
    places.iter().filter_map(|place| place.proxy()).for_each(|proxy| proxy.pass());
    until_equal("answers were slow", &places, &program);

    places.iter_mut().for_each(|place| place.stop());
    program.work_for(AWAY);
    places.iter_mut().for_each(|place| place.start());
    program.work_for(DAY / 3);
    until_equal("servers were away", &places, &program);

    workers.kill();
    program.work_for(DAY / 3);
    workers.run();
    program.work_for(DAY / 3);
    workers.kill();
    workers.run();
    program.work();
    until_equal("workers were killed", &places, &program);

    // Whose secret is wrong is refused with the next connection.
    for place in &places {
        place.secret(false);
        place.proxy().inspect(|proxy| proxy.refuse());
    }
    program.work_for(DAY / 3);
    places.iter().filter_map(|place| place.proxy()).for_each(|proxy| proxy.pass());
    program.work_for(DAY);
    places.iter().for_each(|place| place.secret(true));
    until_equal("credentials were refused", &places, &program);

    if let Some(disk) = &disk {
        disk.fill();
        program.work_for(DAY);
        disk.free();
        until_equal("the disk was full", &places, &program);
    }
    for name in &names {
        until(&format!("what was traced as far as {name}"), || traced(directory.path(), name));
    }
    assert!(program.guard.finish());
}
