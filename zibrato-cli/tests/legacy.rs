//! Programs of the original Zibrato, on stock pyzmq, with the gateway and the new Librato worker.
#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "these are tests")]

mod parts;

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use parts::*;
use serde_json::Value;

/// The interpreter with what `examples/python/requirements.txt` lists, which `cargo xtask test` prepares.
fn python() -> Option<PathBuf> {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap();
    let python = target.join("python/bin/python");
    let works = Command::new(&python)
        .args(["-c", "import zmq"])
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success());
    if works {
        return Some(python);
    }
    let missing = format!("{} has no pyzmq; `cargo xtask test` installs it there", python.display());
    assert!(std::env::var_os("CI").is_none_or(|value| value != "true"), "{missing}");
    eprintln!("skipped: {missing}");
    None
}

#[test]
fn old_programs_are_counted_and_old_workers_see_the_same_bytes() {
    let Some(python) = python() else { return };
    let scene = Scene::new();
    let port = free_ports(2);
    let broker = scene.broker("broker", &["--legacy-port", &port.to_string()]);
    let mut worker = scene.worker(&[&broker]);
    let address = |port: u16| format!("tcp://127.0.0.1:{port}");
    let mut command = Command::new(python);
    command
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/parts/old_client.py"))
        .args([address(port), address(port + 1)])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    let mut client = Process::start("the old client", &mut command, &scene.path("old_client.log"));
    let mut said = String::new();
    BufReader::new(client.child.stdout.take().unwrap()).read_line(&mut said).unwrap();
    let told: Value = serde_json::from_str(&said).unwrap_or_else(|_| panic!("{}", client.log()));
    let list = |name: &str| told[name].as_array().unwrap().clone();
    let text = |value: &Value| value.as_str().unwrap().to_owned();

    let mut recorded: BTreeMap<String, Totals> = BTreeMap::new();
    let mut record = |series: &Value, figure: &str, value: &Value| {
        let totals = recorded.entry(text(&series[0])).or_default();
        totals.0.insert(format!("{}{figure}", text(&series[1])), value.as_i64().unwrap());
    };
    for counter in list("counters") {
        record(&counter, "#quarters", &counter[2]);
    }
    for timer in list("timers") {
        record(&timer, "#count", &timer[2]);
        record(&timer, "#sum", &timer[3]);
    }
    scene.until_equal(&recorded);

    // Each gauge is there once, under the time that its line had.
    let gauges = || -> BTreeMap<(String, String, u64), Option<i128>> {
        let stored = scene.endpoint.stored().into_iter();
        stored.map(|s| ((s.source, s.name, s.time), s.sum.billionths())).collect()
    };
    until("gauges at Librato's end", || {
        let arrived = gauges();
        let missing = list("gauges").into_iter().find(|gauge| {
            let key = (text(&gauge[0]), text(&gauge[1]), gauge[2].as_u64().unwrap());
            arrived.get(&key) != Some(&gauge[3].as_i64().map(i128::from))
        });
        missing.map_or(Ok(()), |gauge| Err(format!("{gauge} is missing")))
    });
    let ours = |(_, name, _): &(String, String, u64)| name == "queue" || name == "spelled.gauge";
    assert_eq!(gauges().into_keys().filter(ours).count(), list("gauges").len());

    drop(client.child.stdin.take());
    assert!(client.wait().success(), "{}", client.log());
    worker.stop();
    scene.until_equal(&recorded);
    let dead = std::fs::read_to_string(scene.path("librato/dead-letters.jsonl")).unwrap_or_default();
    assert_eq!(dead, "", "nothing is refused");
}
