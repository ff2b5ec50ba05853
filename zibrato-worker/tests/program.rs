//! A worker as a process: signals, systemd, and death.
#![cfg(unix)]
#![allow(clippy::unwrap_used)]

mod common;

use std::io::{BufRead, BufReader};
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use clap::Parser;
use common::*;
use zibrato_broker::{Broker, Config};
use zibrato_core::frame::encode_set;
use zibrato_core::limits;
use zibrato_transport::Push;
use zibrato_worker::*;

const LONG: Duration = Duration::from_secs(60);

/// Prints until when counters increased, their name, and by how much.
struct Lines;

impl Backend for Lines {
    const NAME: &'static str = "lines";

    async fn send(&mut self, batch: &Batch) -> Result<Accepted, BackendError> {
        print!("{}", self.render(batch));
        Ok(Accepted::All)
    }

    fn render(&self, batch: &Batch) -> String {
        let line = |m: &Measurement| match &m.value {
            Value::Counter(increase) => Some(format!("{} {} {increase}\n", batch.time, m.series.name)),
            _ => None,
        };
        batch.measurements.iter().filter_map(line).collect()
    }
}

#[derive(clap::Parser)]
struct Arguments {
    #[command(flatten)]
    worker: Options,
}

/// What the process of the other test runs: this test program, asked for just this.
#[test]
#[ignore = "is the process of the other test"]
fn worker_process() {
    // Everything comes from the environment.
    let arguments = Arguments::parse_from(["lines"]);
    let end = main_with(arguments.worker, Lines);
    std::process::exit(if end == std::process::ExitCode::SUCCESS { 0 } else { 1 });
}

struct Process {
    child: Child,
    lines: mpsc::Receiver<String>,
}

impl Process {
    fn start(broker: u16, state: &Path, notify: &Path, flush: &str) -> Process {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "worker_process", "--ignored", "--nocapture", "-q"])
            .env("ZIBRATO_BROKER", format!("tcp://127.0.0.1:{broker}"))
            .env("ZIBRATO_LEVELS", "info")
            .env("ZIBRATO_FLUSH", flush)
            .env("ZIBRATO_STATE", state)
            .env("NOTIFY_SOCKET", notify)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let out = BufReader::new(child.stdout.take().unwrap());
        let (sender, lines) = mpsc::channel();
        std::thread::spawn(move || out.lines().map_while(Result::ok).all(|line| sender.send(line).is_ok()));
        Process { child, lines }
    }

    fn signal(&self, name: &str) {
        let kill = Command::new("kill").args([&format!("-{name}"), &self.child.id().to_string()]).status();
        assert!(kill.unwrap().success());
    }

    fn wait(&mut self) -> std::process::ExitStatus {
        let deadline = Instant::now() + LONG;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < deadline, "the process does not end");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn it_tells_systemd_ends_on_signals_and_survives_being_killed() {
    // Never dropped: a socket that receives while its runtime ends may spin for ever.
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let runtime = std::mem::ManuallyDrop::new(runtime);
    let _inside = runtime.enter();
    let config = Config { port: 0, head_start: Duration::ZERO, ..Config::default() };
    let broker = runtime.block_on(Broker::bind(config)).unwrap();
    let port = broker.addresses().port;
    runtime.spawn(broker.run(std::future::pending()));
    let directory = tempfile::tempdir().unwrap();
    let notify = directory.path().join("notify");
    let systemd = UnixDatagram::bind(&notify).unwrap();
    systemd.set_read_timeout(Some(LONG)).unwrap();
    let push = Push::start(&format!("tcp://127.0.0.1:{port}").parse().unwrap());
    let (mut total, mut increases) = (0, std::collections::BTreeMap::new());
    for signal in ["INT", "KILL", "TERM", "KILL", "QUIT"] {
        let state = directory.path().join("state");
        let mut process = Process::start(port, &state, &notify, "0.1");
        let mut told = [0; 100];
        let length = systemd.recv(&mut told).unwrap();
        assert_eq!(&told[..length], b"READY=1\n");
        total += 5;
        let frame = complete(1, total as u64, total as u64, vec![counter("a", total)]);
        for bytes in encode_set(&frame.head, &frame.rows, limits::FRAME) {
            push.offer("info|", bytes.into());
        }
        while increases.values().sum::<i64>() < total {
            let line = process.lines.recv_timeout(LONG).unwrap();
            let parts: Vec<&str> = line.split(' ').collect();
            if parts.len() != 3 || parts[1] != "a" {
                // The test program has something to say as well.
                continue;
            }
            // What is printed again, because it was killed before it knew, is the same.
            let increase = parts[2].parse::<i64>().unwrap();
            let before = increases.insert(parts[0].to_owned(), increase);
            assert!(before.is_none_or(|before| before == increase), "{line}");
        }
        assert_eq!(increases.values().sum::<i64>(), total);
        process.signal(signal);
        let status = process.wait();
        assert_eq!(status.success(), signal != "KILL", "{signal}: {status}");
        if signal != "KILL" {
            let length = systemd.recv(&mut told).unwrap();
            assert_eq!(&told[..length], b"STOPPING=1\n");
        }
    }
}
