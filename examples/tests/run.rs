//! Runs every example, as its users would.
#![allow(clippy::unwrap_used)] // Also outside of the functions that are marked as tests.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::OnceLock;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use zibrato_broker::{Broker, Config};

const DEADLINE: Duration = Duration::from_secs(60);

/// The program of an example, built if it is not there yet.
fn example(name: &str) -> Command {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    let directory = BUILT.get_or_init(|| {
        let test = std::env::current_exe().unwrap();
        let profile = test.parent().unwrap().parent().unwrap().to_path_buf();
        let all = ["bridge_metrics", "bridge_tracing", "custom_backend", "runtime", "threads", "tool", "web"];
        if !all.iter().all(|name| {
            profile.join("examples").join(name).with_extension(std::env::consts::EXE_EXTENSION).exists()
        }) {
            let mut cargo = Command::new(env!("CARGO"));
            cargo.args(["build", "--quiet", "--package", "zibrato-examples", "--examples"]);
            if profile.ends_with("release") {
                cargo.arg("--release");
            }
            assert!(cargo.status().unwrap().success());
        }
        profile.join("examples")
    });
    let mut command = Command::new(directory.join(name).with_extension(std::env::consts::EXE_EXTENSION));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("ZIBRATO_") {
            command.env_remove(name);
        }
    }
    command.stdin(Stdio::null());
    command
}

/// A broker of this process.
fn broker() -> String {
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(async {
            let broker = Broker::bind(Config { port: 0, ..Config::default() }).await.unwrap();
            sender.send(broker.addresses().push.clone()).unwrap();
            broker.run(std::future::pending()).await.unwrap();
        });
    });
    receiver.recv_timeout(DEADLINE).unwrap()
}

struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn lines(stdout: ChildStdout) -> Receiver<String> {
    let (sender, lines) = channel();
    std::thread::spawn(move || {
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    lines
}

/// Waits for a line in which all the words are.
fn wait_for(lines: &Receiver<String>, words: &[&str]) {
    wait_for_all(lines, vec![words]);
}

/// Waits until there was a line for each of these, in any order.
fn wait_for_all(lines: &Receiver<String>, mut wanted: Vec<&[&str]>) {
    let until = Instant::now() + DEADLINE;
    while !wanted.is_empty() {
        let rest = until.saturating_duration_since(Instant::now());
        let line = lines.recv_timeout(rest).unwrap_or_else(|_| panic!("no line has {wanted:?}"));
        wanted.retain(|words| !words.iter().all(|word| line.contains(word)));
    }
}

#[test]
fn what_the_programs_measure_reaches_the_custom_backend() {
    let url = broker();
    let state = tempfile::tempdir().unwrap();
    let mut worker = example("custom_backend");
    worker.args(["--broker", &url, "--levels", "info", "--flush", "0.2", "--state"]).arg(state.path());
    let mut worker = Running(worker.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap());
    let log = BufReader::new(worker.0.stderr.take().unwrap());
    let mut log = log.lines().map_while(Result::ok);
    assert!(log.any(|line| line.contains("the broker is heard")));
    std::thread::spawn(move || log.for_each(drop));
    let printed = lines(worker.0.stdout.take().unwrap());

    let threads = example("threads").arg("50").env("ZIBRATO_BROKER", &url).output().unwrap();
    assert!(threads.status.success() && threads.stderr.is_empty(), "{threads:?}");
    wait_for(&printed, &["info counter factors.checked", "outcome=ok", ": 50"]);

    let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
    let tool = example("tool").args([manifest, "no-such-file"]).env("ZIBRATO_BROKER", &url).output().unwrap();
    assert_eq!(tool.status.code(), Some(1));
    let out = String::from_utf8(tool.stdout).unwrap();
    let words = out.split_whitespace().next().unwrap();
    wait_for(&printed, &["info counter words.words", &format!(": {words}")]);

    let metrics = example("bridge_metrics").arg("50").env("ZIBRATO_BROKER", &url).output().unwrap();
    assert!(metrics.status.success() && metrics.stderr.is_empty(), "{metrics:?}");
    wait_for(&printed, &["info counter mailer.messages", "domain=example.org", ": 25"]);

    let tracing = example("bridge_tracing").arg("30").env("ZIBRATO_BROKER", &url).output().unwrap();
    assert!(tracing.status.success() && tracing.stderr.is_empty(), "{tracing:?}");
    wait_for(&printed, &["info timer bridge_tracing::request", "route=/users", "status=200", ": 9 x"]);

    let runtime = example("runtime")
        .arg("1")
        .env("ZIBRATO_BROKER", &url)
        .env("ZIBRATO_INTERVAL", "0.1")
        .output()
        .unwrap();
    assert!(runtime.status.success());
    let process: &[&str] = &["info counter process.cpu.time", "cpu.mode=user"];
    let workers: &[&str] = &["info gauge tokio.worker.count", "runtime=main", ": 2"];
    wait_for_all(&printed, vec![process, workers, &["info gauge runtime.queue"]]);

    let mut web = example("web");
    web.args(["127.0.0.1:0", "3"]).env("ZIBRATO_BROKER", &url);
    let mut web = Running(web.stdout(Stdio::piped()).spawn().unwrap());
    let said = lines(web.0.stdout.take().unwrap()).recv_timeout(DEADLINE).unwrap();
    let address = said.strip_prefix("listening on http://").unwrap();
    assert!(get(address, "/square/12").ends_with("144\n"));
    assert!(get(address, "/square/dozen").starts_with("HTTP/1.1 400"));
    assert!(get(address, "/slow").ends_with("done at last\n"));
    assert!(web.0.wait().unwrap().success());
    wait_for(&printed, &["info timer web.square", "outcome=ok", ": 1 x"]);
}

fn get(address: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn the_tool_works_without_a_broker() {
    let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
    let tool = example("tool").arg(manifest).env("ZIBRATO_BROKER", "tcp://127.0.0.1:1").output().unwrap();
    assert!(tool.status.success());
    assert!(String::from_utf8(tool.stderr).unwrap().contains("no broker"));
}
