//! What is on disk survives a disk that fails and a process that is killed, at every write and every synchronisation.
//!
//! The shipped program runs under `strace`, which lets the Nth call of a kind fail, or kills the process at it. A few of all
//! places are tried, chosen by `ZIBRATO_SEED`; all of them with `ZIBRATO_FAULTS=all`.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "these are tests")]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use support::{Broker, DEADLINE, run, zibrato};

/// What is done to a program.
#[derive(Debug, Clone, Copy)]
struct Fault {
    call: &'static str,
    what: &'static str,
    /// At which call, from 1; of each thread.
    when: usize,
    /// Whether all that follow fail, too.
    stays: bool,
}

/// Calls by which a file or a directory is changed, and at how many of each a short life is looked at.
const CALLS: [(&str, usize); 6] =
    [("pwrite64", 80), ("fdatasync", 6), ("fsync", 16), ("write", 6), ("ftruncate", 3), ("openat", 16)];
const WHATS: [&str; 3] = ["error=EIO", "error=ENOSPC", "signal=KILL"];

impl Fault {
    fn is_killing(self) -> bool {
        self.what.starts_with("signal")
    }

    fn all() -> Vec<Fault> {
        let mut all = Vec::new();
        for (call, most) in CALLS {
            for what in WHATS {
                for stays in [false, true] {
                    // Who is killed stays so.
                    if stays && what.starts_with("signal") {
                        continue;
                    }
                    all.extend((1..=most).map(|when| Fault { call, what, when, stays }));
                }
            }
        }
        all
    }

    /// All, or so many of them.
    fn some(most: usize) -> Vec<Fault> {
        Fault::some_of(&CALLS.map(|(call, _)| call), most)
    }

    /// All of these calls, or so many of them.
    fn some_of(calls: &[&str], most: usize) -> Vec<Fault> {
        let mut all = Fault::all();
        all.retain(|fault| calls.contains(&fault.call));
        if std::env::var("ZIBRATO_FAULTS").is_ok_and(|faults| faults == "all") {
            return all;
        }
        let seed = std::env::var("ZIBRATO_SEED").ok().and_then(|seed| seed.parse().ok());
        let mut random: u64 = seed.unwrap_or_else(|| u64::from(std::process::id()));
        println!("ZIBRATO_SEED={random}");
        let mut some = Vec::new();
        for _ in 0..most {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            some.push(all.swap_remove((random >> 33) as usize % all.len()));
        }
        some
    }

    /// The command under a tracer that does it to calls on these files.
    fn inflict(self, command: &Command, files: &[PathBuf], log: &Path) -> Command {
        let Fault { call, what, when, stays } = self;
        let mut strace = Command::new("strace");
        // The tracer is a grandchild, so that the child is the program.
        strace.args(["-D", "-f", "-y", "-qq", "-o"]).arg(log);
        for file in files {
            strace.arg("-P").arg(file);
        }
        let more = if stays { "+" } else { "" };
        strace
            .arg("-e")
            .arg(format!("trace={call}"))
            .arg("-e")
            .arg(format!("inject={call}:{what}:when={when}{more}"));
        strace.arg("-e").arg("signal=none").arg(command.get_program()).args(command.get_args());
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => strace.env(name, value),
                None => strace.env_remove(name),
            };
        }
        strace
    }
}

/// How many calls were failed, by call, fault and file, and the last of its kind that was.
#[derive(Default)]
struct Tally(BTreeMap<(&'static str, &'static str, String), (usize, usize)>);

impl Tally {
    /// Notes what a tracer has logged, and tells whether anything failed.
    fn add(&mut self, fault: Fault, log: &Path) -> bool {
        let text = std::fs::read_to_string(log).unwrap_or_default();
        // Of a call at which the process was killed no result is known.
        let is_failed =
            |line: &&str| line.contains("(INJECTED)") || (fault.is_killing() && line.ends_with("= ?"));
        let failed: Vec<&str> = text.lines().filter(is_failed).collect();
        for line in &failed {
            // As `12 pwrite64(9</tmp/x/state/state.db-wal>, …`, or with a name in quotation marks.
            let file =
                line.split(if line.contains("open") { ['"'; 2] } else { ['<', '>'] }).nth(1).unwrap_or("?");
            let file = file.rsplit('/').next().unwrap_or(file);
            let (times, last) = self.0.entry((fault.call, fault.what, file.into())).or_default();
            (*times, *last) = (*times + 1, fault.when.max(*last));
        }
        !failed.is_empty()
    }
}

/// Does something for each fault, and goes on where one of them fails; all that failed are told at the end.
fn each(what: &str, faults: Vec<Fault>, mut trial: impl FnMut(Fault, &mut Tally)) {
    let (began, mut tally, mut failed) = (Instant::now(), Tally::default(), Vec::new());
    let count = faults.len();
    for fault in faults {
        let run = std::panic::AssertUnwindSafe(|| trial(fault, &mut tally));
        if std::panic::catch_unwind(run).is_err() {
            failed.push(fault);
        }
    }
    println!("{what}: {count} lives in {} s", began.elapsed().as_secs());
    for ((call, fault, file), (times, last)) in &tally.0 {
        println!("{what}: {call} {fault} {file}: {times}, the last at {last}");
    }
    assert!(failed.is_empty(), "{what}: {failed:?}");
}

fn is_installed() -> bool {
    let installed =
        Command::new("strace").arg("-V").stdout(Stdio::null()).status().is_ok_and(|status| status.success());
    assert!(installed || std::env::var_os("CI").is_none(), "strace is not installed: cargo xtask servers");
    if !installed {
        println!("skipped: strace is not installed");
    }
    installed
}

/// A program whose log goes to a file.
struct Logged {
    child: Child,
    log: PathBuf,
}

impl Logged {
    fn start(mut command: Command, log: PathBuf) -> Logged {
        let file = File::options().create(true).append(true).open(&log).unwrap();
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(file).spawn().unwrap();
        Logged { child, log }
    }

    fn text(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap()
    }

    fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// Waits until its log has a text, or it has ended.
    fn until(&mut self, text: &str) -> bool {
        let until = Instant::now() + DEADLINE;
        while !self.text().contains(text) {
            if self.has_ended() {
                return false;
            }
            assert!(Instant::now() < until, "{text}: {}", self.text());
            std::thread::sleep(Duration::from_millis(10));
        }
        true
    }

    /// Asks it to end, and waits until it has.
    fn stop(mut self) -> String {
        if !self.has_ended() {
            let _ = kill_process(Pid::from_child(&self.child), Signal::TERM);
        }
        let until = Instant::now() + DEADLINE;
        while !self.has_ended() {
            assert!(Instant::now() < until, "it does not end: {}", self.text());
            std::thread::sleep(Duration::from_millis(10));
        }
        self.text()
    }
}

impl Drop for Logged {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The total in lines of JSON, each of which must be whole and there once.
fn total(file: &Path) -> i64 {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
    let lines = whole.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    lines.filter(|line| line["name"] == "jobs").map(|line| line["value"].as_i64().unwrap()).sum()
}

fn until(what: &str, so: impl Fn() -> bool) {
    let until = Instant::now() + DEADLINE;
    while !so() {
        assert!(Instant::now() < until, "{what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_worker_loses_nothing_by_a_failing_disk_and_nothing_comes_twice() {
    if !is_installed() {
        return;
    }
    each("worker", Fault::some(8), |fault, tally| {
        let broker = Broker::start();
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        let (state, lines) = (at("state"), at("lines"));
        let command = || {
            let mut command = broker.zibrato(&["json", "--flush", "0.1", "--levels", "info", "--file"]);
            command.arg(&lines).arg("--state").arg(&state);
            command
        };
        let files = ["state.db", "state.db-wal", "state.db-shm", "lock"];
        let mut files: Vec<PathBuf> = files.iter().map(|name| state.join(name)).collect();
        files.push(lines.clone());
        let count = || {
            let (code, _, err) = run(&mut broker.zibrato(&["send", "counter", "jobs", "4", "--source", "s"]));
            assert_eq!(code, 0, "{err}");
        };
        let mut worker = Logged::start(fault.inflict(&command(), &files, &at("strace")), at("log"));
        worker.until("worker starts");
        for sent in [4, 8] {
            count();
            // As long as it may take, or as it is worth to wait for one that cannot.
            let patience = Instant::now() + Duration::from_secs(1);
            while total(&lines) < sent && Instant::now() < patience && !worker.has_ended() {
                std::thread::sleep(Duration::from_millis(20));
            }
        }
        let said = worker.stop();
        // One thread may have come to the Nth call, and another not: then it is over in between.
        let told = said.matches("nothing is settled until").count();
        let over = said.matches("the state directory can be used again").count();
        assert!(told <= over + 1, "{fault:?}: it was told {told} times: {said}");
        let injected = tally.add(fault, &at("strace"));
        if injected
            && fault.stays
            && matches!(fault.call, "pwrite64" | "fdatasync")
            && fault.what == "error=EIO"
        {
            assert!(said.contains("ERROR") || said.contains("WARN"), "{fault:?}: nothing was told: {said}");
        }

        let mut worker = Logged::start(command(), at("log-after"));
        assert!(worker.until("worker starts"), "{fault:?}: {}", worker.text());
        until(&format!("{fault:?}: everything arrives: {said}{}", worker.text()), || total(&lines) >= 8);
        let mut audit = broker.zibrato(&["audit", "--wait", "20", "--state"]);
        let (code, out, err) = run(audit.arg(&state));
        assert_eq!(code, 0, "{fault:?}: {out}{err}{said}");
        worker.stop();
        assert_eq!(total(&lines), 8, "{fault:?}: {said}");
    });
}

#[test]
fn what_a_broker_acknowledged_is_there() {
    if !is_installed() {
        return;
    }
    each("broker", Fault::some(5), |fault, tally| {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        let (state, lines) = (at("state"), at("lines"));
        let command = || {
            let mut command = zibrato(&["broker", "--port", "0", "--state"]);
            command.arg(&state);
            command
        };
        let files = ["broker.sqlite", "broker.sqlite-wal", "broker.sqlite-journal", "broker.lock"];
        let files: Vec<PathBuf> = files.iter().map(|name| state.join(name)).collect();
        let mut broker = Logged::start(fault.inflict(&command(), &files, &at("strace")), at("log"));
        let url = |broker: &Logged| {
            let text = broker.text();
            let (_, rest) = text.split_once("push=").unwrap();
            rest.split_whitespace().next().unwrap().to_string()
        };
        let mut acknowledged = 0;
        if broker.until("broker listens") {
            let address = url(&broker);
            for _ in 0..3 {
                let send = ["send", "counter", "jobs", "4", "--source", "s", "--deadline", "1"];
                let (code, _, _) = run(zibrato(&send).env("ZIBRATO_BROKER", &address));
                acknowledged += if code == 0 { 4 } else { 0 };
            }
        }
        let said = broker.stop();
        tally.add(fault, &at("strace"));
        let mut broker = Logged::start(command(), at("log-after"));
        assert!(broker.until("broker listens"), "{fault:?}: {}", broker.text());
        let mut worker = zibrato(&["json", "--flush", "0.1", "--levels", "info", "--file"]);
        worker.arg(&lines).arg("--state").arg(at("worker")).env("ZIBRATO_BROKER", url(&broker));
        let worker = Logged::start(worker, at("log-worker"));
        until(&format!("{fault:?}: {acknowledged} arrive: {said}"), || total(&lines) >= acknowledged);
        worker.stop();
        assert!(total(&lines) <= 12, "{fault:?}: {}", total(&lines));
    });
}

#[test]
fn what_a_program_said_it_kept_is_delivered() {
    if !is_installed() {
        return;
    }
    for (call, when) in [("fsync", 1), ("fsync", 2), ("rename", 1)] {
        for what in WHATS {
            let broker = Broker::start();
            let directory = tempfile::tempdir().unwrap();
            let spill = directory.path().join("spill");
            let mut send = zibrato(&["send", "counter", "jobs", "4", "--source", "s", "--deadline", "0.3"]);
            send.env("ZIBRATO_BROKER", "tcp://127.0.0.1:1").env("ZIBRATO_SPILL", &spill);
            let fault = Fault { call, what, when, stays: false };
            let log = directory.path().join("strace");
            let said = fault.inflict(&send, &[], &log).output().unwrap();
            let err = String::from_utf8(said.stderr).unwrap();
            if what != "signal=KILL" && std::fs::read_to_string(&log).unwrap().contains("INJECTED") {
                assert!(err.contains("failed to"), "{fault:?}: {err}");
            }
            let lines = directory.path().join("lines");
            let mut worker = broker.zibrato(&["json", "--flush", "0.1", "--levels", "info", "--file"]);
            worker.arg(&lines).arg("--state").arg(directory.path().join("worker"));
            let mut worker = Logged::start(worker, directory.path().join("log"));
            worker.until("worker starts");
            let is_kept = std::fs::read_dir(&spill).is_ok_and(|files| {
                files.flatten().any(|file| file.path().extension().is_some_and(|e| e == "zibrato"))
            });
            let (code, _, err) = run(broker.zibrato(&["send", "--spilled"]).arg(&spill));
            assert_eq!(code, 0, "{fault:?}: {err}");
            if is_kept {
                until(&format!("{fault:?}: it arrives"), || total(&lines) == 4);
            }
            worker.stop();
            assert_eq!(total(&lines), if is_kept { 4 } else { 0 }, "{fault:?}");
        }
    }
}

/// A busy disk takes seconds to synchronise; a program that ends meanwhile takes what it keeps with it.
#[test]
fn a_slow_disk_is_waited_for() {
    if !is_installed() {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let spill = directory.path().join("spill");
    let mut send =
        zibrato(&["send", "counter", "jobs", "--broker", "tcp://127.0.0.1:1", "--deadline", "0.2"]);
    send.env("ZIBRATO_SPILL", &spill);
    let fault = Fault { call: "fsync", what: "delay_enter=2000000", when: 1, stays: false };
    let said = fault.inflict(&send, &[], &directory.path().join("strace")).output().unwrap();
    let files: Vec<PathBuf> = std::fs::read_dir(&spill).unwrap().map(|file| file.unwrap().path()).collect();
    assert!(matches!(&files[..], [file] if file.extension().is_some_and(|e| e == "zibrato")), "{files:?}");
    let err = String::from_utf8(said.stderr).unwrap();
    assert!(err.contains(files[0].to_str().unwrap()), "{err}");
}

/// Calls on files to which lines are appended.
const LINE_CALLS: [&str; 3] = ["openat", "write", "fdatasync"];

/// Refuses everything for good, as InfluxDB does a field that has another type already.
fn refusing_server() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for mut connection in listener.incoming().map_while(Result::ok) {
            connection.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
            while connection.read(&mut [0; 65_536]).is_ok_and(|length| length > 0) {}
            let body = r#"{"error":"partial write: field type conflict dropped=1"}"#;
            let head = "HTTP/1.1 400 Bad Request\r\nconnection: close\r\n";
            let _ = write!(connection, "{head}content-length: {}\r\n\r\n{body}", body.len());
        }
    });
    url
}

/// What dead letters add up to, those that are there twice once: a line that was broken off is followed by itself.
fn buried(file: &Path) -> i64 {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    let lines: BTreeSet<&str> = text.lines().collect();
    let whole = lines.iter().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    whole.filter(|line| line["name"] == "jobs").map(|line| line["value"].as_f64().unwrap() as i64).sum()
}

#[test]
fn every_measurement_that_was_refused_is_with_the_dead_letters() {
    if !is_installed() {
        return;
    }
    let url = refusing_server();
    each("dead letters", Fault::some_of(&LINE_CALLS, 3), |fault, tally| {
        let broker = Broker::start();
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        let letters = at("state").join("dead-letters.jsonl");
        let command = || {
            let mut command = broker.zibrato(&["influx", "--url", &url, "--database", "d"]);
            command.args(["--flush", "0.1", "--levels", "info", "--state"]).arg(at("state"));
            command
        };
        let files = std::slice::from_ref(&letters);
        let mut worker = Logged::start(fault.inflict(&command(), files, &at("strace")), at("log"));
        assert!(worker.until("worker starts"), "{fault:?}: {}", worker.text());
        for sent in [4, 8] {
            let (code, _, err) = run(&mut broker.zibrato(&["send", "counter", "jobs", "4", "--source", "s"]));
            assert_eq!(code, 0, "{err}");
            let patience = Instant::now() + Duration::from_secs(2);
            while buried(&letters) < sent && Instant::now() < patience && !worker.has_ended() {
                std::thread::sleep(Duration::from_millis(20));
            }
        }
        let said = worker.stop();
        tally.add(fault, &at("strace"));
        let mut worker = Logged::start(command(), at("log-after"));
        assert!(worker.until("worker starts"), "{fault:?}: {}", worker.text());
        until(&format!("{fault:?}: all is there: {said}"), || buried(&letters) == 8);
        worker.stop();
        let (code, out, err) =
            run(broker.zibrato(&["audit", "--json", "--wait", "20", "--state"]).arg(at("state")));
        assert_eq!(code, 0, "{fault:?}: {out}{err}{said}");
        let all: serde_json::Value = serde_json::from_str(&out).unwrap();
        let refused = &all["workers"][0]["states"][0]["accounts"]["refused"]["counted"];
        assert_eq!(refused.as_f64(), Some(8.0), "{fault:?}: {all:#}");
    });
}

#[test]
fn an_mtrace_file_has_every_line_once_and_whole() {
    if !is_installed() {
        return;
    }
    let broker = Broker::start();
    let program = zibrato::builder().without_environment().broker(&broker.url).source("s").trace("traced");
    let program = program.interval(Duration::from_millis(100)).install().unwrap();
    let mut counted = 0;
    each("mtrace", Fault::some_of(&LINE_CALLS, 3), |fault, tally| {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        let lines = at("lines");
        let command = || {
            let mut command = broker.zibrato(&["mtrace", "--flush", "0.1", "--file"]);
            command.arg(&lines).arg("--state").arg(at("state"));
            command
        };
        // The rows that were sent, by their totals.
        let sent = || {
            let text = std::fs::read_to_string(&lines).unwrap_or_default();
            let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole).to_owned();
            let all: Vec<&str> = whole.lines().collect();
            let once: BTreeSet<&str> = all.iter().copied().collect();
            assert_eq!(all.len(), once.len(), "{fault:?}: a line came twice: {whole}");
            let rows = all.iter().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
            let rows = rows.filter(|row| row["metric"] == "traced" && row["hop"] == "published");
            rows.map(|row| row["value"].as_i64().unwrap()).collect::<BTreeSet<i64>>()
        };
        let mut worker =
            Logged::start(fault.inflict(&command(), std::slice::from_ref(&lines), &at("strace")), at("log"));
        assert!(worker.until("worker starts"), "{fault:?}: {}", worker.text());
        let mut count = || {
            zibrato::counter("traced").handle().add(1);
            counted += 1;
            assert!(program.flush(Duration::from_secs(30)), "no broker takes it");
            counted
        };
        // The worker takes what a program told before for known, so it has to tell until one is heard.
        let earlier = count();
        let is_known = || sent().iter().any(|total| *total > earlier);
        let began = Instant::now();
        while !is_known() && !worker.has_ended() {
            if fault.stays && began.elapsed() > Duration::from_secs(2) {
                break;
            }
            assert!(began.elapsed() < DEADLINE, "{fault:?}: {}", worker.text());
            count();
            std::thread::sleep(Duration::from_millis(100));
        }
        let is_known = is_known();
        let mut wanted = BTreeSet::new();
        for _ in 0..2 {
            wanted.insert(count());
            let patience = Instant::now() + Duration::from_secs(1);
            while !wanted.is_subset(&sent()) && Instant::now() < patience && !worker.has_ended() {
                std::thread::sleep(Duration::from_millis(20));
            }
        }
        let said = worker.stop();
        tally.add(fault, &at("strace"));
        let mut worker = Logged::start(command(), at("log-after"));
        assert!(worker.until("worker starts"), "{fault:?}: {}", worker.text());
        let (later, began) = (count(), Instant::now());
        while !sent().iter().any(|total| *total >= later) {
            assert!(began.elapsed() < DEADLINE, "{fault:?}: it does not go on: {said}{}", worker.text());
            count();
            std::thread::sleep(Duration::from_millis(100));
        }
        worker.stop();
        let missing: Vec<i64> = wanted.difference(&sent()).copied().collect();
        assert!(missing.is_empty() || !is_known, "{fault:?}: {missing:?} are missing: {said}");
    });
}
