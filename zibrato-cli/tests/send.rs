//! `zibrato send` when something is wrong; `tail.rs` has what arrives.

mod support;

use support::{Broker, run, zibrato};

#[test]
fn fails_where_no_broker_acknowledges() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let url = format!("tcp://127.0.0.1:{}", port.min(65_000));
    let (code, out, err) =
        run(&mut zibrato(&["send", "counter", "c", "--broker", &url, "--deadline", "0.3"]));
    assert_eq!((code, out.as_str()), (1, ""));
    assert!(err.starts_with(&format!("zibrato: no broker at {url} has acknowledged")), "{err}");
}

#[test]
fn what_was_not_acknowledged_is_delivered_later() {
    let broker = Broker::start();
    let tail = support::Running::start(broker.zibrato(&["tail", "--json", "--interval", "0.1"]));
    tail.err.until(|line| line.contains("listening to"));
    let directory = tempfile::tempdir().unwrap();
    let spill = directory.path().to_str().unwrap();
    let nowhere = ["--broker", "tcp://127.0.0.1:1", "--deadline", "0.2", "--spill", spill];
    let (code, _, err) = run(&mut zibrato(&[&["send", "counter", "late", "41"], &nowhere[..]].concat()));
    assert!(code == 1 && err.contains(spill), "{err}");
    let (code, _, err) = run(&mut zibrato(&[
        "send",
        "--spilled",
        spill,
        "--broker",
        "tcp://127.0.0.1:1",
        "--deadline",
        "0.2",
    ]));
    assert!(code == 1 && err.contains("1 left"), "{err}");

    let (code, _, err) = run(&mut broker.zibrato(&["send", "--spilled", spill]));
    assert!(code == 0 && err.contains("1 file delivered, 0 left"), "{err}");
    assert!(tail.out.next().contains(r#""name":"late","source""#));
    assert_eq!(std::fs::read_dir(spill).unwrap().count(), 0);
}

#[test]
fn bad_usage_is_said_with_status_2() {
    for arguments in [
        &["send"][..],
        &["send", "counter"],
        &["send", "counter", ""],
        &["send", "counter", "c", "-1"],
        &["send", "counter", "c", "many"],
        &["send", "gauge", "g"],
        &["send", "timer", "t", "-0.5"],
        &["send", "counter", "c", "--tag", "no_value"],
        &["send", "counter", "c", "--level", "a|b"],
        &["send", "counter", "c", "--broker", "udp://x"],
        &["send", "--spilled", "x", "counter", "c"],
        &["send", "meter", "m"],
    ] {
        let (code, out, err) = run(&mut zibrato(arguments));
        assert_eq!((code, out.as_str()), (2, ""), "{arguments:?}: {err}");
        assert!(!err.is_empty(), "{arguments:?}");
    }
}

#[test]
fn an_option_wins_over_its_twin_in_the_environment() {
    let broker = Broker::start();
    let mut command = zibrato(&["send", "counter", "c", "--broker", &broker.url]);
    assert_eq!(run(command.env("ZIBRATO_BROKER", "tcp://127.0.0.1:1")).0, 0);
}
