//! `zibrato time`: what it passes on.
#![cfg(unix)]

mod support;

use rustix::process::Signal;
use serde_json::Value;
use support::{Broker, Running, run, zibrato};

#[test]
fn passes_on_the_status_and_measures() {
    let broker = Broker::start();
    let tail = Running::start(broker.zibrato(&["tail", "--json", "--interval", "0.1"]));
    tail.err.until(|line| line.contains("listening to"));
    let failing =
        ["time", "--name", "t", "--outcome", "--", "sh", "-c", "echo out; echo err >&2; sleep 0.1; exit 3"];
    assert_eq!(run(&mut broker.zibrato(&failing)), (3, "out\n".into(), "err\n".into()));
    let line: Value = serde_json::from_str(&tail.out.next()).unwrap();
    assert_eq!((&line["kind"], &line["count"]), (&"timer".into(), &1.into()));
    assert_eq!(line["tags"]["outcome"], "error");
    assert!(line["sum"].as_f64().unwrap() >= 0.1);

    assert_eq!(run(&mut broker.zibrato(&["time", "--name", "t", "--outcome", "true"])).0, 0);
    let line: Value = serde_json::from_str(&tail.out.next()).unwrap();
    assert_eq!(line["tags"]["outcome"], "ok");
}

#[test]
fn passes_on_signals() {
    let broker = Broker::start();
    let start = |script: &str| {
        let running = Running::start(broker.zibrato(&["time", "--name", "t", "--", "sh", "-c", script]));
        assert_eq!(running.out.next(), "ready");
        running
    };
    let mut caught = start("trap 'exit 5' TERM; echo ready; while :; do sleep 0.05; done");
    caught.signal(Signal::TERM);
    assert_eq!(caught.wait().code(), Some(5));
    let mut killed = start("echo ready; exec sleep 600");
    killed.signal(Signal::INT);
    assert_eq!(killed.wait().code(), Some(130));
}

#[test]
fn a_command_that_cannot_run_ends_as_in_a_shell() {
    let broker = Broker::start();
    let (code, _, err) = run(&mut broker.zibrato(&["time", "--name", "t", "no-such-command-here"]));
    assert!(code == 127 && err.contains("no-such-command-here"), "{err}");
    let (code, _, err) = run(&mut broker.zibrato(&["time", "--name", "t", "/dev/null"]));
    assert!(code == 126 && err.contains("/dev/null"), "{err}");
    assert_eq!(run(&mut broker.zibrato(&["time", "--name", "t"])).0, 2);
}

#[test]
fn a_missing_broker_changes_no_status() {
    let nowhere = ["time", "--name", "t", "--broker", "tcp://127.0.0.1:1", "--deadline", "0.2"];
    let (code, out, err) =
        run(&mut zibrato(&[&nowhere[..], &["--", "sh", "-c", "echo out; exit 4"]].concat()));
    assert_eq!((code, out.as_str()), (4, "out\n"));
    assert!(err.contains("has acknowledged"), "{err}");
}
