//! The program: what it acknowledged survives kill -9, what it holds survives a stop, a damaged file does not
//! stop it.
#![cfg(unix)]
#![allow(clippy::unwrap_used)] // Also in what the tests share.

mod support;

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use omq_tokio::SocketType;
use support::*;
use zibrato_core::ask::Message;

/// The real program, on ports of its own.
struct Program {
    child: Child,
    addresses: zibrato_broker::Addresses,
    lines: mpsc::Receiver<String>,
    /// What it said until it listened.
    said: String,
}

impl Program {
    fn start(state: &Path) -> Self {
        Self::start_at(0, state)
    }

    fn start_at(port: u16, state: &Path) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_zibrato-broker"))
            .args(["--port", &port.to_string(), "--state"])
            .arg(state)
            .env_remove("NOTIFY_SOCKET")
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let (said, lines) = mpsc::channel();
        std::thread::spawn(move || stderr.lines().map_while(Result::ok).for_each(|l| drop(said.send(l))));
        let mut program = Program {
            child,
            addresses: zibrato_broker::Addresses {
                port: 0,
                push: String::new(),
                publish: String::new(),
                ask: String::new(),
                legacy_in: None,
                legacy_out: None,
            },
            lines,
            said: String::new(),
        };
        program.said = program.says("broker listens");
        let line = program.said.lines().last().unwrap();
        let address = |name: &str| {
            let rest = &line[line.find(&format!("{name}=")).unwrap() + name.len() + 1..];
            rest.split_whitespace().next().unwrap().to_owned()
        };
        program.addresses.push = address("push");
        program.addresses.publish = address("publish");
        program.addresses.ask = address("ask");
        program.addresses.port = program.addresses.push.rsplit(':').next().unwrap().parse().unwrap();
        program
    }

    /// Waits for a line with these words; gives all lines up to it.
    fn says(&self, words: &str) -> String {
        let (start, mut all) = (Instant::now(), String::new());
        while let Ok(line) = self.lines.recv_timeout(DEADLINE.saturating_sub(start.elapsed())) {
            all = all + "\n" + &line;
            if line.contains(words) {
                return all;
            }
        }
        panic!("it never said {words:?}");
    }

    fn signal(&self, name: &str) {
        let status = Command::new("kill").args([name, &self.child.id().to_string()]).status().unwrap();
        assert!(status.success());
    }

    fn end(mut self, signal: &str) -> ExitStatus {
        self.signal(signal);
        let start = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(start.elapsed() < DEADLINE, "it does not end");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // Dead already, unless the test failed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

async fn kept_frames(program: &Program) -> Vec<Vec<u8>> {
    let dealer = connected(SocketType::Dealer, &program.addresses.ask).await;
    let mut frames: Vec<_> = ask(&dealer, &["info"], None).await.0.into_iter().map(|k| k.2).collect();
    frames.sort();
    frames
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_acknowledged_survives_kill_9() {
    let state = tempfile::tempdir().unwrap();
    let (mut wanted, mut port): (Vec<Vec<u8>>, u16) = (Vec::new(), 0);
    for life in 1..=3u8 {
        // From the second life on at the same ports, as a supervisor would start it.
        let program = Program::start_at(port, state.path());
        port = program.addresses.port;
        assert_eq!(kept_frames(&program).await, wanted);
        let dealer = connected(SocketType::Dealer, &program.addresses.ask).await;
        for n in 0..50 {
            let frame = last(life * 50 + n, 2, &[counter("c", i64::from(n))], 1 << 20).remove(0);
            send(&dealer, &Message::Hand { topic: b"info|".to_vec(), frame: frame.clone() }).await;
            wanted.push(frame);
        }
        for _ in 0..50 {
            assert!(matches!(receive(&dealer).await, Message::Ack { sequence: 2, .. }));
        }
        wanted.sort();
        assert!(!program.end("-KILL").success());
    }
    let program = Program::start(state.path());
    assert_eq!(kept_frames(&program).await, wanted);
    assert!(program.end("-TERM").success());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_fell_silent_survives_kill_9_and_says_how_long_it_was_held() {
    let state = tempfile::tempdir().unwrap();
    let program = Program::start(state.path());
    let push_end = connected(SocketType::Push, &program.addresses.push).await;
    let dealer = connected(SocketType::Dealer, &program.addresses.ask).await;
    push(&push_end, "info|", &complete(1, 1, 7)).await;
    let stored = |p: &serde_json::Value| p["level"] == "info" && p["silent"] == true && p["stored"] == true;
    until(&dealer, |told| told["publishers"].as_array().unwrap().iter().any(stored)).await;
    program.end("-KILL");
    let program = Program::start(state.path());
    let dealer = connected(SocketType::Dealer, &program.addresses.ask).await;
    let (kept, _) = ask(&dealer, &["info"], None).await;
    assert_eq!(kept.len(), 1);
    assert_eq!(kept[0].2, complete(1, 1, 7));
    assert!(kept[0].0 > 3_000_000_000);
}

/// Changes times in a state file, seals included.
#[cfg(target_os = "linux")]
fn set_back(state: &Path, step: i64) {
    let db = rusqlite::Connection::open(state.join("broker.sqlite")).unwrap();
    let select = "SELECT instance, level, sequence, part, retired, received, frame FROM frame";
    let seal = |row: &rusqlite::Row<'_>| {
        let (instance, level, frame): (Vec<u8>, String, Vec<u8>) = (row.get(0)?, row.get(1)?, row.get(6)?);
        let numbers = [row.get(2)?, row.get(3)?, row.get(4)?, row.get::<_, i64>(5)? - step];
        let numbers: Vec<u8> = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
        Ok(zibrato_disk::seal(&[&instance, level.as_bytes(), &numbers, &frame]))
    };
    let seal = db.query_row(select, [], seal).unwrap();
    assert_eq!(db.execute("UPDATE frame SET received = received - ?1, seal = ?2", (step, seal)).unwrap(), 1);
    let seal = |row: &rusqlite::Row<'_>| {
        let (boot, uptime, time): (String, i64, i64) = (row.get(0)?, row.get(1)?, row.get(2)?);
        Ok(zibrato_disk::seal(&[boot.as_bytes(), &uptime.to_le_bytes(), &(time - step).to_le_bytes()]))
    };
    let seal = db.query_row("SELECT boot, uptime, time FROM clock", [], seal).unwrap();
    assert_eq!(db.execute("UPDATE clock SET time = time - ?1, seal = ?2", (step, seal)).unwrap(), 1);
}

/// A broker that is started again must not take the machine's clock's word for how long it was away.
#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_was_set_meanwhile_does_not_change_how_long_a_frame_was_held() {
    const HOURS: i64 = 5 * 3600 * 1_000_000_000;
    for step in [HOURS, -HOURS] {
        let state = tempfile::tempdir().unwrap();
        let program = Program::start(state.path());
        let dealer = connected(SocketType::Dealer, &program.addresses.ask).await;
        let frame = last(1, 2, &[counter("c", 1)], 1 << 20).remove(0);
        send(&dealer, &Message::Hand { topic: b"info|".to_vec(), frame }).await;
        assert!(matches!(receive(&dealer).await, Message::Ack { .. }));
        assert!(program.end("-KILL").code().is_none());
        // As if it had been written by a clock that was then set by so much.
        set_back(state.path(), step);
        let program = Program::start(state.path());
        let dealer = connected(SocketType::Dealer, &program.addresses.ask).await;
        let (kept, _) = ask(&dealer, &["info"], None).await;
        let held = Duration::from_nanos(kept[0].0);
        assert!(held < Duration::from_secs(600), "{held:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clean_stop_keeps_also_what_lives() {
    for signal in ["-INT", "-TERM", "-QUIT"] {
        let state = tempfile::tempdir().unwrap();
        let program = Program::start(state.path());
        let push_end = connected(SocketType::Push, &program.addresses.push).await;
        let dealer = connected(SocketType::Dealer, &program.addresses.ask).await;
        push(&push_end, "info|", &complete(1, 1, 7)).await;
        until(&dealer, |told| told["levels"]["info"]["frames"] == 1).await;
        assert!(program.end(signal).success(), "{signal}");
        let program = Program::start(state.path());
        assert_eq!(kept_frames(&program).await, [complete(1, 1, 7)]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn peers_find_a_restarted_broker_again() {
    let state = tempfile::tempdir().unwrap();
    let program = Program::start(state.path());
    let port = program.addresses.port;
    let seen = subscriber(&program.addresses, &["info|"]).await;
    let push_end = connected(SocketType::Push, &program.addresses.push).await;
    push(&push_end, "info|", &complete(1, 1, 1)).await;
    assert_eq!(next(&seen).await[1], complete(1, 1, 1));
    program.end("-KILL");
    let _program = Program::start_at(port, state.path());
    let start = Instant::now();
    for n in 2.. {
        push(&push_end, "info|", &complete(1, n, n as i64)).await;
        if tokio::time::timeout(Duration::from_millis(50), next(&seen)).await.is_ok() {
            break;
        }
        assert!(start.elapsed() < DEADLINE, "nothing passes");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_file_is_moved_aside() {
    let state = tempfile::tempdir().unwrap();
    let file = state.path().join("broker.sqlite");
    std::fs::write(&file, b"this is no database, but a text that somebody put here".repeat(100)).unwrap();
    let program = Program::start(state.path());
    let dealer = connected(SocketType::Dealer, &program.addresses.ask).await;
    let frame = last(1, 1, &[counter("c", 1)], 1 << 20).remove(0);
    send(&dealer, &Message::Hand { topic: b"info|".to_vec(), frame: frame.clone() }).await;
    assert!(matches!(receive(&dealer).await, Message::Ack { .. }));
    assert!(program.end("-TERM").success());
    let names: Vec<_> = std::fs::read_dir(state.path())
        .unwrap()
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .filter(|n| n.starts_with("broker.sqlite.damaged-"))
        .collect();
    assert_eq!(names.len(), 1);

    // Damage in the middle of a good file.
    let mut bytes = std::fs::read(&file).unwrap();
    let middle = bytes.len() / 2;
    bytes[100..middle].fill(0x5a);
    std::fs::write(&file, bytes).unwrap();
    let program = Program::start(state.path());
    assert!(program.said.contains("moved aside"), "{}", program.said);
    assert_eq!(kept_frames(&program).await, [] as [Vec<u8>; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_broker_on_the_same_state_says_so_and_ends() {
    let state = tempfile::tempdir().unwrap();
    let program = Program::start(state.path());
    let second = Command::new(env!("CARGO_BIN_EXE_zibrato-broker"))
        .args(["--port", "0", "--state"])
        .arg(state.path())
        .output()
        .unwrap();
    assert!(!second.status.success());
    let said = String::from_utf8_lossy(&second.stderr).into_owned();
    assert!(said.contains("another broker has it"), "{said}");
    assert!(program.end("-TERM").success());
}

#[test]
fn without_a_state_directory_it_says_what_that_means() {
    let program = Program::start(Path::new("none"));
    assert!(program.said.contains("no state directory"), "{}", program.said);
    assert!(program.end("-TERM").success());
    assert!(!Path::new("none").exists());
}
