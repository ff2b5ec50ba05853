//! `zibrato audit` over real brokers and workers: what is equal, what waits, and what was changed by hand.
#![allow(clippy::unwrap_used, reason = "these are tests")]

mod support;

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, UdpSocket};
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use serde_json::Value;
use support::{Broker, DEADLINE, Running, run, zibrato};

/// A broker, and state directories.
struct Scene {
    broker: Broker,
    directory: tempfile::TempDir,
}

impl Scene {
    fn new() -> Scene {
        Scene { broker: Broker::start(), directory: tempfile::tempdir().unwrap() }
    }

    fn state(&self, name: &str) -> std::path::PathBuf {
        self.directory.path().join(name)
    }

    fn worker(&self, name: &str, arguments: &[&str]) -> Running {
        let mut command = self.broker.zibrato(arguments);
        command.args(["--flush", "0.2", "--levels", "info", "--state"]).arg(self.state(name));
        let worker = Running::start(command);
        worker.err.until(|line| line.contains("worker starts"));
        worker
    }

    fn json(&self, name: &str) -> Running {
        let file = self.state(&format!("{name}.lines"));
        self.worker(name, &["json", "--file", file.to_str().unwrap()])
    }

    fn count(&self, name: &str, value: &str) {
        let (code, _, err) =
            run(&mut self.broker.zibrato(&["send", "counter", name, value, "--source", "s"]));
        assert_eq!(code, 0, "{err}");
    }

    fn audit(&self, states: &[&str], arguments: &[&str]) -> (i32, String) {
        let mut command = self.broker.zibrato(&["audit"]);
        command.args(arguments).arg("--state").args(states.iter().map(|name| self.state(name)));
        let (code, out, err) = run(&mut command);
        (code, out + &err)
    }

    fn json_of(&self, states: &[&str], arguments: &[&str]) -> (i32, Value) {
        let (code, text) = self.audit(states, &[arguments, &["--json"]].concat());
        (code, serde_json::from_str(&text).unwrap_or_else(|why| panic!("{why}: {text}")))
    }

    /// The worker's account, in the one state directory that is looked at.
    fn until(&self, state: &str, what: &str, so: impl Fn(&Value) -> bool) -> Value {
        let began = Instant::now();
        loop {
            let (_, all) = self.json_of(&[state], &["--metric", "jobs", "--wait", "0.1"]);
            if so(&all["workers"][0]["states"][0]) {
                return all;
            }
            assert!(began.elapsed() < DEADLINE, "{what}: {all:#}");
            std::thread::sleep(std::time::Duration::from_millis(100));
        }
    }
}

fn change(state: &Path, sql: &str) {
    let db = rusqlite::Connection::open(state.join("state.db")).unwrap();
    assert_eq!(db.execute(sql, []).unwrap(), 1, "{sql}");
}

/// The way of everything that went through, so that nothing waits.
fn all_accepted(state: &Value) -> bool {
    let counted = |of: &Value| of["counted"].as_f64().unwrap();
    counted(&state["accounts"]["settled"]) == 12.0 && counted(&state["accounts"]["accepted"]) == 12.0
}

#[test]
fn what_arrived_is_equal_and_what_was_changed_is_found_where_it_was() {
    let scene = Scene::new();
    let statsd = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = format!("udp://{}", statsd.local_addr().unwrap());
    let json = scene.json("json");
    let other = scene.worker("statsd", &["statsd", "--address", &address]);
    for _ in 0..3 {
        scene.count("jobs", "4");
    }
    scene.until("json", "everything is accepted", all_accepted);
    scene.until("statsd", "everything is accepted", all_accepted);
    let (code, text) = scene.audit(&["json", "statsd"], &["--metric", "j*"]);
    assert_eq!(code, 0, "{text}");
    for part in ["equal: 6 metrics in 2 workers", "worker json (", "worker statsd (", "  received "] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let (_, all) = scene.json_of(&["json"], &["--metric", "jobs"]);
    let metric = &all["workers"][0]["metrics"][0];
    assert_eq!(
        (metric["programs"].as_u64(), metric["sent"]["counted"].as_f64()),
        (Some(3), Some(12.0)),
        "{all:#}"
    );

    // Less is settled than was: SQLite has no reason to doubt it.
    drop(json);
    change(
        &scene.state("json"),
        "UPDATE settled SET state = x'9103' WHERE (origin, key) IN (SELECT origin, key FROM settled LIMIT 1)",
    );
    let (code, text) = scene.audit(&["json", "statsd"], &["--wait", "0.1"]);
    assert_eq!(code, 1, "{text}");
    assert!(
        text.contains("differs at settled totals:") && text.contains("is not what was written"),
        "{text}"
    );
    assert!(text.contains("differ: first at"), "{text}");
    drop(other);
    let (code, text) = scene.audit(&["statsd"], &[]);
    assert_eq!(code, 0, "its worker need not run: {text}");
    change(&scene.state("statsd"), "DELETE FROM origin WHERE id = (SELECT min(id) FROM origin)");
    let (code, text) = scene.audit(&["statsd"], &["--wait", "0.1"]);
    assert!(code == 1 && text.contains("all settled totals add up to"), "{text}");
}

#[test]
fn what_waits_is_no_loss_and_what_is_gone_from_the_outbox_is() {
    let scene = Scene::new();
    // Nobody is there.
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let url = format!("http://127.0.0.1:{port}");
    let influx = ["influx", "--url", &url, "--database", "d"];
    let worker = scene.worker("influx", &influx);
    for round in 1..=2 {
        scene.count("jobs", "4");
        scene.until("influx", "it is settled", |state| {
            state["waiting"]["counted"].as_f64() == Some(4.0 * f64::from(round))
        });
    }
    let (code, text) = scene.audit(&["influx"], &[]);
    assert_eq!(code, 0, "{text}");
    assert!(text.contains("waiting") && text.contains("2 batches, the oldest of"), "{text}");
    drop(worker);
    change(&scene.state("influx"), "DELETE FROM outbox WHERE id = (SELECT max(id) FROM outbox)");
    let (code, all) = scene.json_of(&["influx"], &[]);
    let difference = &all["workers"][0]["differences"][0];
    assert_eq!((code, difference["hop"].as_str()), (1, Some("outbox → backend")), "{all:#}");
    assert_eq!(all["verdict"], "differ");

    // What is sent while no worker runs is behind, and said to be.
    scene.count("jobs", "1");
    let (code, text) = scene.audit(&["influx"], &["--wait", "0.5", "--differing"]);
    assert_eq!(code, 1, "{text}");
    assert!(text.contains("differs at broker → worker: jobs (s, level info, instance "), "{text}");
    assert!(text.contains("the worker does not run"), "{text}");
}

#[test]
fn what_a_backend_refuses_is_no_loss_but_seen() {
    let scene = Scene::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for mut connection in listener.incoming().map_while(Result::ok) {
            // All of the request, whose end nobody announces to those who do not read its head.
            connection.set_read_timeout(Some(std::time::Duration::from_millis(200))).unwrap();
            while connection.read(&mut [0; 65_536]).is_ok_and(|length| length > 0) {}
            // As InfluxDB says that a field has another type already.
            let body = r#"{"error":"partial write: field type conflict dropped=1"}"#;
            let head = "HTTP/1.1 400 Bad Request\r\nconnection: close\r\n";
            let _ = write!(connection, "{head}content-length: {}\r\n\r\n{body}", body.len());
        }
    });
    let worker = scene.worker("influx", &["influx", "--url", &url, "--database", "d"]);
    scene.count("jobs", "4");
    let refused = |state: &Value| state["accounts"]["refused"]["counted"].as_f64() == Some(4.0);
    scene.until("influx", "it is refused", refused);
    let (code, text) = scene.audit(&["influx"], &[]);
    assert_eq!(code, 0, "{text}");
    assert!(text.contains("see dead-letters.jsonl"), "{text}");
    drop(worker);
}

#[test]
fn it_says_when_it_cannot_tell() {
    let scene = Scene::new();
    let directory = tempfile::tempdir().unwrap();
    let (code, text) = scene.audit(&["nowhere"], &[]);
    assert!(code == 2 && text.contains("there is none"), "{text}");
    let mut command = zibrato(&["audit", "--deadline", "0.2", "--broker", "tcp://127.0.0.1:1"]);
    let (code, out, _) = run(command.env("HOME", directory.path()).env_remove("XDG_STATE_HOME"));
    assert!(code == 2 && out.contains("cannot tell: not every broker has answered"), "{out}");

    // A broker that has room for one program lets the others go, and what the worker had of them cannot be told.
    let mut broker: Command = zibrato(&["broker", "--port", "0", "--state", "none", "--max-slots", "3"]);
    let broker = Running::start({
        broker.env("ZIBRATO_VERBOSE", "0");
        broker
    });
    let line = broker.err.until(|line| line.contains("broker listens"));
    let url = line.split_once("push=").unwrap().1.split_whitespace().next().unwrap().to_string();
    let state = directory.path().join("state");
    let file = directory.path().join("lines");
    let mut worker = zibrato(&["json", "--flush", "0.2", "--levels", "info", "--broker", &url]);
    let worker = Running::start({
        worker.arg("--state").arg(&state).arg("--file").arg(&file);
        worker
    });
    worker.err.until(|line| line.contains("worker starts"));
    let began = Instant::now();
    loop {
        let (code, _, err) = run(&mut zibrato(&["send", "counter", "jobs", "--broker", &url]));
        assert_eq!(code, 0, "{err}");
        let mut audit = zibrato(&["audit", "--wait", "10", "--broker", &url]);
        let (code, out, err) = run(audit.arg("--state").arg(&state));
        if code == 2 && out.contains("let go by the broker for want of room") {
            break;
        }
        assert!(began.elapsed() < DEADLINE, "{out}{err}");
    }
}

#[test]
fn a_worker_that_has_no_room_says_so() {
    let scene = Scene::new();
    let file = scene.state("lines");
    let worker = scene.worker("json", &["json", "--max-instances", "1", "--file", file.to_str().unwrap()]);
    for _ in 0..3 {
        scene.count("jobs", "4");
    }
    // It tells of itself every five seconds.
    let began = Instant::now();
    loop {
        let (code, text) = scene.audit(&["json"], &["--wait", "0.5"]);
        assert_eq!(code, 1, "{text}");
        if text.contains("has not been settled yet: a worker of this backend tells of ") {
            assert!(text.contains("frames of programs for which it had no room (--max-instances"), "{text}");
            assert!(text.contains("  json on "), "{text}");
            break;
        }
        assert!(began.elapsed() < DEADLINE, "{text}");
        std::thread::sleep(std::time::Duration::from_millis(200));
    }
    drop(worker);
}
