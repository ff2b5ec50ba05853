//! The units allow the system calls that the programs make.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use rustix::process::{Pid, Signal, kill_process};
use zibrato_trial::installed;

use crate::support::{DEADLINE, Running, run, zibrato};

use super::read;

/// Made only by root, which the units' programs are not: SQLite gives files to the owner of the database.
const BY_ROOT: &str = "fchown";

/// What a set of systemd's stands for.
fn set(name: &str) -> BTreeSet<String> {
    let output =
        Command::new("systemd-analyze").args(["syscall-filter", "--no-pager", name]).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let lines = text.lines().skip(1).map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let (sets, calls): (Vec<&str>, Vec<&str>) = lines.partition(|line| line.starts_with('@'));
    let mut all: BTreeSet<String> = calls.into_iter().map(String::from).collect();
    sets.into_iter().for_each(|name| all.extend(set(name)));
    all
}

/// What a unit allows.
fn allowed(unit: &str) -> BTreeSet<String> {
    let mut allowed = set("@default");
    for filter in unit.lines().filter_map(|line| line.strip_prefix("SystemCallFilter=")) {
        let (names, without) = filter.strip_prefix('~').map_or((filter, false), |names| (names, true));
        for name in names.split_whitespace() {
            if without {
                let gone = set(name);
                allowed.retain(|call| !gone.contains(call));
            } else {
                allowed.extend(set(name));
            }
        }
    }
    allowed
}

/// A program under strace, which writes its system calls into a file.
fn traced(to: &Path, arguments: &[&str]) -> Running {
    let program = zibrato(arguments);
    let mut command = Command::new("strace");
    command.args(["-f", "-qq", "-o"]).arg(to).arg(program.get_program()).args(program.get_args());
    for (name, value) in program.get_envs().filter(|(_, value)| value.is_none()) {
        assert_eq!(value, None);
        command.env_remove(name);
    }
    Running::start(command)
}

/// Ends it: strace passes no signals on, and ends when its program does.
fn end(mut running: Running) {
    let of = running.child.id();
    let children = std::fs::read_to_string(format!("/proc/{of}/task/{of}/children")).unwrap();
    for child in children.split_whitespace() {
        kill_process(Pid::from_raw(child.parse().unwrap()).unwrap(), Signal::TERM).unwrap();
    }
    assert!(running.wait().success());
}

fn calls(of: &Path) -> BTreeSet<String> {
    let text = std::fs::read_to_string(of).unwrap();
    let name = |line: &str| {
        let call = line.split_whitespace().nth(1)?;
        let (name, _) = call.split_once('(')?;
        let is_name = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        (is_name && !name.is_empty()).then(|| name.to_owned())
    };
    // The first one starts the program, and is systemd's.
    text.lines().filter_map(name).filter(|name| name != "execve").collect()
}

#[test]
fn the_system_calls_of_a_broker_and_workers_are_allowed() {
    let there = installed("strace", "apt-get install strace");
    if !there || !installed("systemd-analyze", "apt-get install systemd") {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
    let (of_broker, of_workers) = (directory.path().join("of-broker"), directory.path().join("of-workers"));
    let broker = traced(
        &of_broker,
        &[
            "broker",
            "--port",
            "0",
            "--legacy-port",
            "0",
            "--state",
            &path("broker"),
            "--admin",
            "127.0.0.1:0",
        ],
    );
    let line = broker.err.until(|line| line.contains("broker listens"));
    let url = line.split_once("push=").unwrap().1.split_whitespace().next().unwrap();
    let file = path("lines");
    let config = format!(
        "broker = {url:?}\nstate = {:?}\nflush = 0.2\n[workers.lines]\nbackend = \"json\"\nfile = {file:?}\n\
         rotate-bytes = 100\n[workers.prometheus]\nlisten = \"127.0.0.1:0\"\n[workers.away]\nbackend = \"influx\"\n\
         url = \"http://localhost:1\"\ndatabase = \"x\"\n",
        path("workers")
    );
    std::fs::write(path("zibrato.toml"), config).unwrap();
    let workers =
        traced(&of_workers, &["workers", "--config", &path("zibrato.toml"), "--admin", "127.0.0.1:0"]);
    let begun = Instant::now();
    while !std::fs::read_to_string(&file).is_ok_and(|text| text.contains("jobs")) {
        assert!(begun.elapsed() < DEADLINE);
        let (code, _, err) = run(&mut zibrato(&["send", "counter", "jobs", "--broker", url]));
        assert_eq!(code, 0, "{err}");
    }
    end(workers);
    end(broker);
    for (unit, of) in [("zibrato-broker", of_broker), ("zibrato-workers", of_workers)] {
        let allowed = allowed(&read(&format!("deploy/systemd/{unit}.service")));
        assert!(allowed.len() > 200, "{} system calls are known", allowed.len());
        let made = calls(&of);
        assert!(made.contains("fsync") || made.contains("fdatasync"), "{made:?}");
        let refused: Vec<&String> =
            made.iter().filter(|call| !allowed.contains(*call) && *call != BY_ROOT).collect();
        assert!(refused.is_empty(), "{unit} would not be allowed {refused:?}");
    }
}
