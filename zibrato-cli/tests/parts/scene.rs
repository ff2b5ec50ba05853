//! What the tests are played with: a place on the disk, Librato's end, brokers and workers.

use std::collections::BTreeMap;
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering::Relaxed};

use tempfile::TempDir;
use zibrato_librato::endpoint::{Config, Endpoint};

use super::application::{Application, Plan, Totals};
use super::process::Process;
use super::until;

/// Seconds between two flushes of the workers.
const FLUSH: &str = "0.5";

/// A directory for all state and logs, which stays when the test fails, and Librato's end.
pub struct Scene {
    directory: Option<TempDir>,
    pub endpoint: Endpoint,
    probes: AtomicU16,
}

/// A broker: its place, and its process while it runs.
pub struct Broker {
    port: u16,
    command: Vec<String>,
    log: PathBuf,
    process: Option<Process>,
}

/// A Librato worker: its place, and its process while it runs.
pub struct Worker {
    command: Vec<String>,
    log: PathBuf,
    process: Option<Process>,
}

impl Scene {
    pub fn new() -> Scene {
        Scene {
            directory: Some(tempfile::tempdir().unwrap()),
            endpoint: Endpoint::start(Config::default()).unwrap(),
            probes: AtomicU16::new(0),
        }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.as_ref().unwrap().path().join(name)
    }

    fn text(&self, name: &str) -> String {
        self.path(name).to_str().unwrap().into()
    }

    /// A broker that runs, on ports of its own.
    pub fn broker(&self, name: &str, more: &[&str]) -> Broker {
        let port = free_ports(3);
        let mut command: Vec<String> =
            ["broker", "--port", &port.to_string(), "--state", &self.text(name)].map(Into::into).into();
        command.extend(more.iter().map(|&m| m.into()));
        let mut broker = Broker { port, command, log: self.path(&format!("{name}.log")), process: None };
        broker.start();
        broker
    }

    /// A worker that runs and listens: a program that it is shown has been counted.
    pub fn worker(&self, brokers: &[&Broker]) -> Worker {
        let command = ["librato", "--broker", &urls(brokers), "--levels", "info,debug", "--flush", FLUSH]
            .into_iter()
            .chain(["--state", &self.text("librato"), "--url", &self.endpoint.url()])
            .chain(["--username", "me@example.com", "--verbose"])
            .map(Into::into)
            .collect();
        let mut worker = Worker { command, log: self.path("librato.log"), process: None };
        worker.start();
        self.until_listening(brokers, &mut worker);
        worker
    }

    /// Waits until a new program is counted.
    pub fn until_listening(&self, brokers: &[&Broker], worker: &mut Worker) {
        let name = format!("probe-{}", self.probes.fetch_add(1, Relaxed));
        let mut probe = self.application(&name, brokers, Plan { threads: 1, bursts: 1, calls: 1 });
        probe.finish();
        let totals = probe.ended().totals;
        until("a first program", || {
            worker.assert_runs();
            self.differences([(&*name, &totals)])
        });
    }

    pub fn application(&self, source: &str, brokers: &[&Broker], plan: Plan) -> Application {
        Application::start(source, &urls(brokers), plan, &self.path(&format!("{source}.log")))
    }

    /// What Librato's end has other than was recorded, by source.
    pub fn differences<'a>(
        &self,
        recorded: impl IntoIterator<Item = (&'a str, &'a Totals)>,
    ) -> Result<(), String> {
        let arrived = self.endpoint.totals();
        let differences: Vec<String> = recorded
            .into_iter()
            .flat_map(|(source, totals)| totals.0.iter().map(move |(name, total)| (source, name, *total)))
            .filter_map(|(source, name, recorded)| {
                let (series, figure) = name.split_once('#').unwrap_or((name, "value"));
                let total = arrived.get(&(series.to_owned(), source.to_owned())).copied().unwrap_or_default();
                let arrived = match figure {
                    "count" => Some(i128::from(total.count)),
                    "sum" => total.sum.billionths(),
                    "quarters" => total.value.billionths().map(|billionths| billionths / 250_000_000),
                    _ => total.value.whole(),
                };
                let text = arrived.map_or("no exact number".into(), |n| n.to_string());
                (arrived != Some(i128::from(recorded)))
                    .then(|| format!("{source} recorded {recorded} for {name}, {text} arrived"))
            })
            .collect();
        match differences.len() {
            0 => Ok(()),
            count => Err(format!("{count} differ:\n{}\n", differences[..count.min(20)].join("\n"))),
        }
    }

    /// Waits until Librato's end has all that was recorded, and has not been sent anything it may not be sent.
    pub fn until_equal(&self, recorded: &BTreeMap<String, Totals>) {
        until("totals at Librato's end", || {
            self.differences(recorded.iter().map(|(source, totals)| (&**source, totals)))
        });
        assert_eq!(self.endpoint.violations(), Vec::<String>::new());
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        if std::thread::panicking()
            && let Some(directory) = self.directory.take()
        {
            let directory = directory.keep();
            eprintln!("state and logs are in {}", directory.display());
            for log in std::fs::read_dir(&directory).into_iter().flatten().flatten() {
                if log.path().extension().is_some_and(|e| e == "log") {
                    let text = std::fs::read_to_string(log.path()).unwrap_or_default();
                    let lines: Vec<&str> = text.lines().collect();
                    let end = lines[lines.len().saturating_sub(40)..].join("\n");
                    eprintln!("--- end of {}\n{end}", log.path().display());
                }
            }
        }
    }
}

impl Broker {
    pub fn url(&self) -> String {
        format!("tcp://127.0.0.1:{}", self.port)
    }

    /// Starts it where it was, and waits until it listens.
    pub fn start(&mut self) {
        let process =
            self.process.insert(Process::start("the broker", &mut zibrato(&self.command), &self.log));
        // The port for publishers is the last to be opened.
        until("the broker", || {
            process.assert_runs();
            TcpStream::connect(("127.0.0.1", self.port)).map(drop).map_err(|why| why.to_string())
        });
    }

    /// As `kill -9` does.
    pub fn kill(&mut self) {
        self.process.take().unwrap().kill();
    }
}

impl Worker {
    pub fn start(&mut self) {
        self.process = Some(Process::start("the worker", &mut zibrato(&self.command), &self.log));
    }

    /// As `kill -9` does.
    pub fn kill(&mut self) {
        self.process.take().unwrap().kill();
    }

    /// Ends it as a service manager does.
    pub fn stop(&mut self) {
        self.process.take().unwrap().terminate();
    }

    pub fn assert_runs(&mut self) {
        self.process.as_mut().unwrap().assert_runs();
    }
}

/// The program of this package, with nothing said in its environment but the token.
fn zibrato(arguments: &[String]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_zibrato"));
    let said = std::env::vars_os().map(|(name, _)| name).filter(|name| {
        name.to_str().is_some_and(|name| name.starts_with("ZIBRATO_") || name.starts_with("LIBRATO_"))
    });
    for name in said {
        command.env_remove(name);
    }
    command.args(arguments).env("LIBRATO_TOKEN", "tok").stdin(Stdio::null()).stdout(Stdio::null());
    command
}

fn urls(brokers: &[&Broker]) -> String {
    brokers.iter().map(|broker| broker.url()).collect::<Vec<_>>().join(",")
}

/// The first of so many ports in a row that nobody listens on. They are below those that the system gives to
/// outgoing connections, so that none of these takes one while its broker is down.
pub fn free_ports(count: u16) -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let spread = std::process::id() as u16 % 1000 * 16;
    for _ in 0..1000 {
        let first = 12_000 + (spread + NEXT.fetch_add(count, Relaxed)) % 20_000;
        let ports: Result<Vec<_>, _> =
            (first..first + count).map(|port| TcpListener::bind(("127.0.0.1", port))).collect();
        if ports.is_ok() {
            return first;
        }
    }
    panic!("there are no free ports");
}
