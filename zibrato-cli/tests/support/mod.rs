//! The program under test, and a broker for it.
#![allow(dead_code, unreachable_pub)] // Every test file uses another part of it.
#![allow(clippy::unwrap_used)] // It is for tests only.

#[cfg(target_os = "linux")]
pub mod disk;

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

/// Longer than anything takes on a busy machine; reached only when something is wrong.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// The program, without what the environment of the tests may say.
pub fn zibrato(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_zibrato"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("ZIBRATO_") {
            command.env_remove(name);
        }
    }
    command.args(arguments).stdin(Stdio::null());
    command
}

/// A broker at a free port.
pub struct Broker {
    child: Child,
    pub url: String,
    _log: Lines,
}

impl Broker {
    pub fn start() -> Broker {
        Broker::start_at("0")
    }

    pub fn start_at(port: &str) -> Broker {
        Broker::started(zibrato(&["broker", "--port", port, "--state", "none"]))
    }

    /// One with more options.
    pub fn start_with(options: &[&str]) -> Broker {
        Broker::started(zibrato(&[&["broker", "--port", "0", "--state", "none"], options].concat()))
    }

    fn started(mut command: Command) -> Broker {
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let log = Lines::of(child.stderr.take().unwrap());
        let line = log.until(|line| line.contains("broker listens"));
        let url = line.split_once("push=").unwrap().1.split_whitespace().next().unwrap().to_string();
        Broker { child, url, _log: log }
    }

    pub fn port(&self) -> String {
        self.url.rsplit_once(':').unwrap().1.to_string()
    }

    /// The program, told of this broker.
    pub fn zibrato(&self, arguments: &[&str]) -> Command {
        let mut command = zibrato(arguments);
        command.env("ZIBRATO_BROKER", &self.url);
        command
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Lines as they come.
pub struct Lines(Receiver<String>);

impl Lines {
    pub fn of(from: impl Read + Send + 'static) -> Lines {
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(from).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Lines(lines)
    }

    pub fn next(&self) -> String {
        self.0.recv_timeout(DEADLINE).expect("no line came")
    }

    /// The next line that is as wanted.
    pub fn until(&self, wanted: impl Fn(&str) -> bool) -> String {
        let mut others = Vec::new();
        loop {
            match self.0.recv_timeout(DEADLINE) {
                Ok(line) if wanted(&line) => return line,
                Ok(line) => others.push(line),
                Err(why) => panic!("it is not among these lines ({why}):\n{}", others.join("\n")),
            }
        }
    }
}

/// A program that runs beside the test, and is gone after it.
pub struct Running {
    pub child: Child,
    pub out: Lines,
    pub err: Lines,
}

impl Running {
    pub fn start(mut command: Command) -> Running {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let out = Lines::of(child.stdout.take().unwrap());
        let err = Lines::of(child.stderr.take().unwrap());
        Running { child, out, err }
    }

    pub fn wait(&mut self) -> ExitStatus {
        let until = Instant::now() + DEADLINE;
        while Instant::now() < until {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("the program does not end");
    }

    #[cfg(unix)]
    pub fn signal(&self, signal: rustix::process::Signal) {
        let id = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(id, signal).unwrap();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Exit code, stdout and stderr.
pub fn run(command: &mut Command) -> (i32, String, String) {
    let output = command.output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}
