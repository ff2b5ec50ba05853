//! `zibrato tail` with a real broker.
#![allow(clippy::unwrap_used)] // Also outside of the functions that are marked as tests.

mod support;

use std::collections::HashMap;
use std::process::Stdio;

use serde_json::Value;
use support::{Broker, Running, run};

/// Sums of JSON lines, by kind, name and tags, until `done` says that they are whole.
fn sums(tail: &Running, done: impl Fn(&HashMap<String, f64>) -> bool) -> HashMap<String, f64> {
    let mut sums = HashMap::new();
    while !done(&sums) {
        let line: Value = serde_json::from_str(&tail.out.next()).unwrap();
        let key = format!("{} {} {}", line["kind"].as_str().unwrap(), line["name"], line["tags"]);
        *sums.entry(key).or_insert(0.0) += line["sum"].as_f64().or(line["last"].as_f64()).unwrap();
    }
    sums
}

fn listening(broker: &Broker, arguments: &[&str]) -> Running {
    let tail = Running::start(broker.zibrato(&[&["tail", "--interval", "0.1"], arguments].concat()));
    tail.err.until(|line| line.contains("listening to"));
    tail
}

#[test]
fn sees_the_exact_totals_of_what_is_sent() {
    let broker = Broker::start();
    let tail = listening(&broker, &["--json"]);
    for n in 1..=20 {
        assert_eq!(run(&mut broker.zibrato(&["send", "counter", "c", &n.to_string()])).0, 0);
    }
    for arguments in [
        ["counter", "c", "0.5", "--tag", "k=v"],
        ["updown", "u", "-3", "--tag", "k=v"],
        ["timer", "t", "0.25", "--level", "debug"],
        ["distribution", "d", "4096", "--source", "elsewhere"],
        ["gauge", "g", "-2.5", "--level", "error"],
    ] {
        let sent = run(&mut broker.zibrato(&[&["send"], &arguments[..]].concat()));
        assert_eq!(sent, (0, String::new(), String::new()));
    }
    let all = sums(&tail, |sums| sums.len() == 6 && sums.get("counter \"c\" {}") == Some(&210.0));
    assert_eq!(all["counter \"c\" {\"k\":\"v\"}"], 0.5);
    assert_eq!(all["updown \"u\" {\"k\":\"v\"}"], -3.0);
    assert_eq!((all["timer \"t\" {}"], all["distribution \"d\" {}"]), (0.25, 4096.0));
    assert_eq!(all["gauge \"g\" {}"], -2.5);
}

#[test]
fn lines_have_the_promised_keys() {
    let broker = Broker::start();
    let tail = listening(&broker, &["--json", "--levels", "info"]);
    run(&mut broker.zibrato(&["send", "counter", "not_wanted", "--level", "debug"]));
    run(&mut broker.zibrato(&["send", "timer", "t", "2", "--source", "s", "--tag", "a=b"]));
    let line: Value = serde_json::from_str(&tail.out.next()).unwrap();
    let mut keys: Vec<&str> = line.as_object().unwrap().keys().map(String::as_str).collect();
    keys.sort_unstable();
    let wanted = [
        "count", "kind", "level", "max", "min", "name", "p50", "p90", "p99", "source", "sum", "tags", "time",
    ];
    assert_eq!(keys, wanted);
    assert_eq!((&line["count"], &line["tags"]["a"]), (&1.into(), &"b".into()));
    // Where the program was read between noting the extremes and counting the value, they are the edges of its bucket.
    let min = line["min"].as_f64().unwrap();
    assert!((min - 2.0).abs() < 0.025, "{line}");
    let time = line["time"].as_str().unwrap();
    assert!(time.ends_with('Z') && time.as_bytes()[10] == b'T', "{time}");
}

#[test]
fn what_happened_before_is_not_told_again() {
    let broker = Broker::start();
    run(&mut broker.zibrato(&["send", "counter", "before", "5"]));
    let tail = listening(&broker, &["--json"]);
    run(&mut broker.zibrato(&["send", "counter", "after", "7"]));
    let line: Value = serde_json::from_str(&tail.out.next()).unwrap();
    assert_eq!((&line["name"], &line["count"]), (&"after".into(), &7.into()));
}

#[test]
fn the_table_is_filtered_by_name_and_has_no_colour_in_a_pipe() {
    let broker = Broker::start();
    let tail = listening(&broker, &["--name", "web.*"]);
    run(&mut broker.zibrato(&["send", "counter", "other"]));
    run(&mut broker.zibrato(&["send", "timer", "web.page", "0.0125"]));
    let heading = tail.out.next();
    assert!(heading.starts_with("TIME") && heading.ends_with("P99"), "{heading}");
    let row = tail.out.next();
    assert!(row.contains("web.page") && row.ends_with("12.5 ms") && !row.contains('\x1b'), "{row}");
}

#[test]
fn ends_quietly_when_nobody_reads_any_more() {
    let broker = Broker::start();
    let mut tail = broker.zibrato(&["tail", "--json", "--interval", "0.1"]);
    let mut tail = tail.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let errors = support::Lines::of(tail.stderr.take().unwrap());
    errors.until(|line| line.contains("listening to"));
    // Closed, though there is nothing to write that would tell.
    drop(tail.stdout.take());
    assert_eq!(tail.wait().unwrap().code(), Some(0));
}

#[test]
fn says_when_the_broker_is_silent_and_when_it_is_back() {
    let broker = Broker::start();
    let port = broker.port();
    let tail = listening(&broker, &["--json"]);
    drop(broker);
    tail.err.until(|line| line.contains("is silent"));
    let broker = Broker::start_at(&port);
    tail.err.until(|line| line.contains("is back"));
    run(&mut broker.zibrato(&["send", "counter", "c", "3"]));
    let all = sums(&tail, |sums| !sums.is_empty());
    assert_eq!(all["counter \"c\" {}"], 3.0);
}

#[cfg(unix)]
#[test]
fn prints_the_rest_when_it_is_stopped() {
    let broker = Broker::start();
    let mut tail = Running::start(broker.zibrato(&["tail", "--json", "--interval", "3600"]));
    tail.err.until(|line| line.contains("listening to"));
    let other = listening(&broker, &["--json"]);
    run(&mut broker.zibrato(&["send", "counter", "c", "3"]));
    // What one has printed the other has received.
    assert!(other.out.next().contains("\"count\":3"));
    tail.signal(rustix::process::Signal::TERM);
    assert_eq!(tail.wait().code(), Some(0));
    assert!(tail.out.next().contains("\"count\":3"));
}
