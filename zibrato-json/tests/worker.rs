//! The program, from frames to what `jq` reads.
#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "these are tests")]

use std::collections::HashSet;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use zibrato_trial::{Instance, Server, Setup, Traffic, installed, until};

fn worker(traffic: &Traffic, state: &Path) -> Setup {
    Server::new(env!("CARGO_BIN_EXE_zibrato-json"))
        .args(["--broker", traffic.broker(), "--levels", "info", "--flush", "0.2", "--state"])
        .arg(state)
}

/// What a program of jq's makes of all lines.
fn jq(program: &str, text: &[u8]) -> String {
    let mut jq = Command::new("jq")
        .args(["-c", "-s", program])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // What jq does not want to read it complains about.
    let _ = jq.stdin.take().unwrap().write_all(text);
    let output = jq.wait_with_output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    String::from_utf8(output.stdout).unwrap().trim().to_owned() + &errors
}

/// What has been measured, or what there is of it.
fn has_all(text: &[u8], traffic: &Traffic) -> Result<(), String> {
    let totals = traffic.totals();
    let sum = |select: &str, field: &str| {
        jq(&format!("map(select({select} and .source==\"web1\").{field}) | add // 0"), text)
    };
    let found = [
        sum(".name==\"trial.requests\"", "value"),
        sum(".name==\"trial.hits\" and .tags.code==\"200\"", "value"),
        sum(".name==\"trial.users\"", "value"),
        sum(".name==\"trial.latency\" and .unit==\"s\"", "count"),
        sum(".name==\"trial.sizes\"", "count"),
        jq("map(select(.name==\"trial.temperature\").value) | last", text),
    ];
    let wanted = [
        totals.requests().to_string(),
        totals.hits().to_string(),
        totals.users.to_string(),
        totals.latencies.len().to_string(),
        totals.sizes.len().to_string(),
        format!("{:?}", totals.temperature),
    ];
    if found == wanted { Ok(()) } else { Err(format!("{found:?} is not {wanted:?}")) }
}

fn measure(app: &mut Instance, rounds: usize) {
    for _ in 0..rounds {
        app.measure();
        app.publish();
    }
}

#[test]
fn a_file_has_every_line_once_though_the_worker_is_killed() {
    if !installed("jq", "apt-get install jq") {
        return;
    }
    let (traffic, directory) = (Traffic::start(), tempfile::tempdir().unwrap());
    let file = directory.path().join("lines");
    let mut worker = worker(&traffic, &directory.path().join("state")).arg("--file").arg(&file).start();
    let read = || std::fs::read(&file).unwrap_or_default();
    traffic.until_heard(|| (!read().is_empty()).then_some(()).ok_or("no line".to_owned()));
    let mut app = traffic.instance("web1");
    for _ in 0..3 {
        measure(&mut app, 20);
        until("something was written", || {
            app.publish();
            has_all(&read(), &traffic)
        });
        measure(&mut app, 20);
        worker.kill();
        worker.start();
    }
    until("all was written", || {
        app.publish();
        has_all(&read(), &traffic)
    });
    worker.stop();
    let text = String::from_utf8(read()).unwrap();
    assert!(text.ends_with('\n'));
    let lines: HashSet<&str> = text.lines().collect();
    assert_eq!(lines.len(), text.lines().count(), "a line is there twice");
    assert_eq!(jq("length", text.as_bytes()), lines.len().to_string());
}

#[test]
fn a_full_disk_costs_nothing() {
    if !installed("jq", "apt-get install jq") {
        return;
    }
    let (traffic, directory) = (Traffic::start(), tempfile::tempdir().unwrap());
    let file = directory.path().join("lines");
    // A disk that is always full.
    std::os::unix::fs::symlink("/dev/full", &file).unwrap();
    let mut worker = worker(&traffic, &directory.path().join("state")).arg("--file").arg(&file).start();
    traffic.until_heard(|| {
        let log = worker.log();
        log.contains("cannot be written: No space left").then_some(()).ok_or(log)
    });
    let mut app = traffic.instance("web1");
    measure(&mut app, 20);
    std::fs::remove_file(&file).unwrap();
    until("all was written", || {
        app.publish();
        has_all(&std::fs::read(&file).unwrap_or_default(), &traffic)
    });
    worker.stop();
    let log = worker.log();
    assert_eq!(log.matches("the backend does not take").count(), 1, "{log}");
    assert_eq!(log.matches("takes batches again").count(), 1, "{log}");
}

#[test]
fn standard_output_is_for_pipes() {
    if !installed("jq", "apt-get install jq") {
        return;
    }
    let (traffic, directory) = (Traffic::start(), tempfile::tempdir().unwrap());
    // Log lines go elsewhere.
    let script = format!("exec {} \"$@\" 2> log > out", env!("CARGO_BIN_EXE_zibrato-json"));
    let state = directory.path().join("state");
    let mut worker = Server::new("sh")
        .args(["-c", &script, "sh", "--broker", traffic.broker(), "--levels", "info", "--flush", "0.2"])
        .arg("--state")
        .arg(state)
        .start();
    let out = worker.directory().join("out");
    let read = || std::fs::read(&out).unwrap_or_default();
    traffic.until_heard(|| (!read().is_empty()).then_some(()).ok_or("no line".to_owned()));
    let mut app = traffic.instance("web1");
    measure(&mut app, 20);
    until("all was written", || {
        app.publish();
        has_all(&read(), &traffic)
    });
    worker.stop();
}
