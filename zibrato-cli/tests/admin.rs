//! The admin ports of the broker and of workers.
#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "these are tests")]

mod support;

use std::io::Write;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;
use support::{DEADLINE, Running, run, zibrato};
use zibrato_trial::{http::request, installed};

/// A program with an admin port.
struct Program {
    running: Running,
    admin: u16,
}

impl Program {
    fn start(arguments: &[&str]) -> Program {
        Program::of(zibrato(arguments))
    }

    fn of(mut command: Command) -> Program {
        command.args(["--admin", "127.0.0.1:0"]);
        let running = Running::start(command);
        let line = running.err.until(|line| line.contains("the admin port listens"));
        let admin = line.rsplit_once(':').unwrap().1.trim().parse().unwrap();
        Program { running, admin }
    }

    fn get(&self, path: &str) -> (u16, String) {
        let answer = request(self.admin, "GET", path, &[], "").unwrap();
        (answer.status, answer.body)
    }

    fn json(&self, path: &str) -> Value {
        serde_json::from_str(&self.get(path).1).unwrap()
    }

    /// Waits until the answer is as wanted.
    fn until(&self, path: &str, wanted: impl Fn(u16, &str) -> bool) -> String {
        let begun = Instant::now();
        loop {
            let (status, body) = self.get(path);
            if wanted(status, &body) {
                return body;
            }
            assert!(begun.elapsed() < DEADLINE, "{path} answers {status}: {body}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn terminate(&mut self) {
        self.running.signal(Signal::TERM);
        assert!(self.running.wait().success());
    }
}

/// Where a broker takes frames.
fn url(broker: &Program) -> String {
    let line = broker.running.err.until(|line| line.contains("broker listens"));
    line.split_once("push=").unwrap().1.split_whitespace().next().unwrap().to_string()
}

/// The broker's port, for another at the same place.
fn port(url: &str) -> &str {
    url.rsplit_once(':').unwrap().1
}

/// Whether Prometheus' own tool is content.
fn check(metrics: &str) {
    if !installed("promtool", "apt-get install prometheus") {
        return;
    }
    let mut tool = Command::new("promtool");
    tool.args(["check", "metrics"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = tool.spawn().unwrap();
    child.stdin.take().unwrap().write_all(metrics.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let said =
        String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.is_empty(), "{said}\n{metrics}");
}

/// What is known of a part's metrics and not told.
fn untold(known: zibrato_admin::Help, metrics: &str) -> Vec<&'static str> {
    let told = |name: &str| {
        let name = name.replace('.', "_");
        metrics.contains(&format!("# TYPE {name} ")) || metrics.contains(&format!("# TYPE {name}_total "))
    };
    known.iter().map(|(name, _)| *name).filter(|name| !told(name)).collect()
}

fn value(metrics: &str, series: &str) -> f64 {
    let line =
        metrics.lines().find(|line| line.strip_prefix(series).is_some_and(|rest| rest.starts_with(' ')));
    let line = line.unwrap_or_else(|| panic!("no {series} in\n{metrics}"));
    line.rsplit_once(' ').unwrap().1.parse().unwrap()
}

#[test]
fn a_broker_and_workers_tell_how_they_are() {
    let directory = tempfile::tempdir().unwrap();
    let mut broker = Program::start(&["broker", "--port", "0", "--state", "none"]);
    let url = url(&broker);
    broker.until("/readyz", |status, _| status == 200);
    assert_eq!(broker.get("/healthz").0, 200);

    let config = directory.path().join("zibrato.toml");
    let (state, file) = (directory.path().join("state"), directory.path().join("lines"));
    let text = |bad: &str| {
        format!(
            "broker = {url:?}\nstate = {state:?}\nflush = 0.2\n[workers.lines]\nbackend = \"json\"\nfile = {file:?}\n\
             [workers.away]\nbackend = \"graphite\"\naddress = \"tcp://127.0.0.1:1\"\n{bad}"
        )
    };
    std::fs::write(&config, text("")).unwrap();
    let mut workers = Program::start(&["workers", "--config", config.to_str().unwrap()]);
    workers.until("/readyz", |status, _| status == 200);
    let send = |name: &str| {
        let (code, _, err) = run(&mut zibrato(&["send", "counter", name, "--broker", &url]));
        assert_eq!(code, 0, "{err}");
    };
    send("jobs");
    // The one backend takes it, the other does not.
    let outage = "zibrato_worker_backend_outage_seconds{backend=\"graphite\",worker=\"away\"}";
    let sent = "zibrato_worker_measurements_sent_total{backend=\"json\",worker=\"lines\"}";
    let metrics = workers.until("/metrics", |_, metrics| {
        metrics.contains(sent) && value(metrics, sent) > 0.0 && value(metrics, outage) > 0.0
    });
    check(&metrics);
    let others = [
        "bytes.sent",
        "lines.sent",
        "measurements.in.doubt",
        "packets.sent",
        "points.doubted",
        "points.rejected",
        "refused",
        "send.errors",
    ];
    // Those of other backends, and what is there only once something was refused.
    let others: Vec<String> = others.iter().map(|name| format!("zibrato.worker.{name}")).collect();
    assert_eq!(untold(zibrato_worker::METRICS, &metrics), others);
    assert!(value(&metrics, "zibrato_worker_outbox_batches{backend=\"graphite\",worker=\"away\"}") > 0.0);
    assert_eq!(value(&metrics, "zibrato_worker_brokers_heard{backend=\"json\",worker=\"lines\"}"), 1.0);
    let status = workers.json("/status");
    assert_eq!(status["workers"]["lines"]["brokers"][0]["heard"], true, "{status}");
    assert!(status["workers"]["away"]["outbox_batches"].as_u64().unwrap() > 0, "{status}");

    // A worker that cannot start is named; the others go on.
    std::fs::write(&config, text("[workers.wrong]\nbackend = \"json\"\nfile = \"/nowhere/lines\"\n"))
        .unwrap();
    workers.running.signal(Signal::HUP);
    let blocked = state.join("wrong");
    let _ = std::fs::remove_dir_all(&blocked);
    workers.until("/status", |_, status| status.contains("\"wrong\""));
    std::fs::write(&config, text("")).unwrap();
    workers.running.signal(Signal::HUP);
    workers.until("/status", |_, status| !status.contains("\"wrong\""));
    workers.until("/readyz", |status, _| status == 200);

    let metrics = broker.get("/metrics").1;
    check(&metrics);
    assert!(value(&metrics, "zibrato_broker_frames_in_total") > 0.0);
    // Of refusals, those that there were.
    let untold = untold(zibrato_broker::METRICS, &metrics);
    assert!(untold.iter().all(|name| *name == "zibrato.broker.refused"), "{untold:?}");
    assert_eq!(broker.json("/status")["durable"], false);

    // Without a broker there is nothing to do, but nothing is stuck.
    broker.terminate();
    let lacks = workers.until("/readyz", |status, _| status == 503);
    assert!(lacks.contains("lines: nothing is heard of any broker"), "{lacks}");
    assert_eq!(workers.get("/healthz").0, 200);
    let mut broker = Program::start(&["broker", "--port", port(&url), "--state", "none"]);
    workers.until("/readyz", |status, _| status == 200);
    let silences = "zibrato_worker_brokers_silences_total{backend=\"json\",worker=\"lines\"}";
    workers.until("/metrics", |_, metrics| value(metrics, silences) >= 1.0);
    workers.terminate();
    broker.terminate();
}

#[cfg(target_os = "linux")]
#[test]
fn a_broker_on_a_full_disk_is_not_ready() {
    let directory = tempfile::tempdir().unwrap();
    let Some(disk) = support::disk::Disk::mount(&directory.path().join("disk"), 2) else { return };
    let state = disk.path().join("state");
    let mut broker = Program::start(&["broker", "--port", "0", "--state", state.to_str().unwrap()]);
    let url = url(&broker);
    let send = || run(zibrato(&["send", "counter", "a", "--broker", &url]).env("ZIBRATO_DEADLINE", "1")).0;
    broker.until("/readyz", |status, _| status == 200);
    disk.fill();
    // The first of them may still find room in a file that is there.
    let lacks = broker.until("/readyz", |status, _| {
        let _ = send();
        status == 503
    });
    assert!(lacks.contains("the state file cannot be written"), "{lacks}");
    assert_eq!(broker.get("/healthz").0, 200);
    let metrics = broker.until("/metrics", |_, metrics| metrics.contains("zibrato_ready 0\n"));
    assert_eq!(value(&metrics, "zibrato_healthy"), 1.0);
    check(&metrics);
    disk.free();
    broker.until("/readyz", |status, _| status == 200);
    assert_eq!(send(), 0);
    broker.terminate();
}

#[test]
fn a_worker_by_itself_has_an_admin_port_too() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
    let mut broker = Program::start(&["broker", "--port", "0", "--state", &path("broker")]);
    let url = url(&broker);
    let (file, state) = (path("lines"), path("state"));
    let mut worker =
        Program::start(&["json", "--file", &file, "--state", &state, "--broker", &url, "--flush", "0.2"]);
    worker.until("/readyz", |status, _| status == 200);
    // A hangup, as rotations of logs send it, does not end it.
    worker.running.signal(Signal::HUP);
    worker.running.err.until(|line| line.contains("HUP"));
    let metrics = worker.until("/metrics", |_, metrics| metrics.contains("zibrato_worker_frames_total"));
    check(&metrics);
    assert!(worker.json("/status")["workers"]["json"]["state"].as_str().unwrap().ends_with("state"));
    worker.terminate();
    broker.terminate();
}

#[test]
fn nobody_is_let_in_from_elsewhere_without_consent() {
    for program in [
        &["broker", "--port", "0", "--state", "none"][..],
        &["json", "--file", "-", "--state", "/nonexistent/state"],
    ] {
        let (code, _, err) = run(zibrato(program).args(["--admin", "0.0.0.0:0"]));
        assert!(code == 1 && err.contains("--admin-insecure"), "{err}");
    }
}

#[test]
fn the_watchdog_is_fed() {
    let directory = tempfile::tempdir().unwrap();
    let place = directory.path().join("notify");
    let systemd = UnixDatagram::bind(&place).unwrap();
    systemd.set_read_timeout(Some(DEADLINE)).unwrap();
    let told = || {
        let mut bytes = [0; 100];
        let length = systemd.recv(&mut bytes).unwrap();
        String::from_utf8(bytes[..length].to_vec()).unwrap()
    };
    let file = directory.path().join("lines");
    let state = directory.path().join("state");
    let config = directory.path().join("zibrato.toml");
    std::fs::write(&config, format!("state = {state:?}\n[workers.json]\nfile = {file:?}\n")).unwrap();
    let path = |path: &Path| path.to_str().unwrap().to_owned();
    for arguments in [
        vec!["broker".to_string(), "--port=0".into(), "--state=none".into()],
        vec!["json".into(), "--file".into(), path(&file), "--state".into(), path(&state)],
        vec!["workers".into(), "--config".into(), path(&config)],
    ] {
        let mut command = zibrato(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
        command.env("NOTIFY_SOCKET", &place).env("WATCHDOG_USEC", "300000");
        let mut running = Running::start(command);
        let mut all = Vec::new();
        while all.iter().filter(|line: &&String| line.contains("WATCHDOG=1")).count() < 3
            || !all.iter().any(|line| line.contains("READY=1"))
        {
            all.push(told());
        }
        running.signal(Signal::TERM);
        while !told().contains("STOPPING=1") {}
        assert!(running.wait().success());
        // What it may have said after that belongs to nobody.
        systemd.set_nonblocking(true).unwrap();
        while systemd.recv(&mut [0; 100]).is_ok() {}
        systemd.set_nonblocking(false).unwrap();
    }
}
