//! From frames through a broker and the worker kit to the service.
#![allow(clippy::unwrap_used, reason = "these are tests")]

mod support;

use std::io::Read as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use clap::Parser;
use support::*;
use tokio::runtime::Runtime;
use tokio::sync::oneshot;
use zibrato_broker::{Broker, Config};
use zibrato_core::frame::{Flags, Head, InstanceId, Key, Row, Spread, State, Tags, encode_set};
use zibrato_librato::endpoint::{Endpoint, Script};
use zibrato_transport::Push;
use zibrato_worker::{Histogram, Kind, Total};

/// Much longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(60);

struct Running {
    address: String,
    stop: oneshot::Sender<()>,
    /// Its own, and let go without waiting: a socket that receives while its runtime ends may spin for ever.
    _runtime: Forgotten,
}

struct Forgotten(Option<Runtime>);

impl Drop for Forgotten {
    fn drop(&mut self) {
        self.0.take().unwrap().shutdown_background();
    }
}

async fn broker() -> Running {
    let config = Config { port: 0, head_start: Duration::ZERO, ..Config::default() };
    let runtime = Runtime::new().unwrap();
    let broker = runtime.spawn(Broker::bind(config)).await.unwrap().unwrap();
    let address = format!("tcp://127.0.0.1:{}", broker.addresses().port);
    let (stop, stopped) = oneshot::channel::<()>();
    runtime.spawn(broker.run(async move { drop(stopped.await) }));
    Running { address, stop, _runtime: Forgotten(Some(runtime)) }
}

/// A program that measures, by hand.
struct App {
    push: Push,
    instance: InstanceId,
    born: u64,
    sequence: u64,
    calls: i64,
    nanoseconds: i64,
    times: Histogram,
}

impl App {
    fn start(broker: &str) -> App {
        App {
            push: Push::start(&broker.parse().unwrap()),
            instance: InstanceId::random(),
            born: nanoseconds(),
            sequence: 0,
            calls: 0,
            nanoseconds: 0,
            times: Histogram::default(),
        }
    }

    fn measure(&mut self, duration: u64) {
        self.calls += 1;
        self.nanoseconds += duration as i64;
        assert!(self.times.record(duration as f64));
    }

    /// Sends what it has measured since the start, as every interval does.
    fn publish(&mut self) {
        let tags = Tags::new([("code", "200")]);
        let spread =
            Spread { sum: Total::whole(self.nanoseconds), span: None, histogram: self.times.clone() };
        let rows = [
            self.row(Kind::Counter, "app::calls", tags.clone(), State::Total(Total::whole(self.calls))),
            // Another spelling of the same name is the same series at Librato.
            self.row(Kind::Counter, "App::Calls", tags, State::Total(Total::whole(self.calls * 10))),
            self.row(Kind::Timer, "app::time", Tags::none(), State::Spread(spread)),
        ];
        self.offer(&rows);
    }

    fn row(&self, kind: Kind, name: &str, tags: Tags, state: State) -> Row {
        Row {
            key: Key { kind, name: name.into(), source: "Web-1".into(), tags, born: self.born },
            state,
            trace: None,
            event: None,
        }
    }

    fn offer(&mut self, rows: &[Row]) {
        self.sequence += 1;
        let head = Head {
            instance: self.instance,
            started_at: self.born,
            sequence: self.sequence,
            base: self.sequence,
            part: 0,
            parts: 1,
            sent_at: nanoseconds(),
            flags: Flags::COMPLETE,
            source: "Web-1".into(),
        };
        for frame in encode_set(&head, rows, 1 << 20) {
            self.push.offer("info|", frame.into());
        }
    }

    /// Sends a counter that stands for its being there.
    fn probe(&mut self) {
        self.calls += 1;
        let state = State::Total(Total::whole(self.calls));
        self.offer(&[self.row(Kind::Counter, "probe", Tags::none(), state)]);
    }

    /// Publishes, as often as it takes, until the service has all of it.
    async fn until_arrived(&mut self, endpoint: &Endpoint) {
        let began = Instant::now();
        while !arrived(endpoint, self) {
            assert!(began.elapsed() < PATIENCE, "it stayed at {:#?}", endpoint.totals());
            self.publish();
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

fn nanoseconds() -> u64 {
    std::time::UNIX_EPOCH.elapsed().unwrap().as_nanos() as u64
}

fn arrived(endpoint: &Endpoint, app: &App) -> bool {
    let calls = endpoint.total("app::calls", "web-1:code-200").value.whole();
    let time = endpoint.total("app::time", "web-1");
    calls == Some(i128::from(app.calls * 11))
        && time.count == app.times.count()
        && time.sum.billionths() == Some(app.nanoseconds.into())
}

/// Waits until the worker counts programs from their start: one that begins then is counted in full.
async fn until_subscribed(endpoint: &Endpoint, broker: &str) {
    let mut probe = App::start(broker);
    let began = Instant::now();
    while endpoint.received() == 0 {
        assert!(began.elapsed() < PATIENCE, "the worker sends nothing");
        probe.probe();
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn totals_are_exact_whatever_the_service_answers() {
    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        worker: zibrato_worker::Options,
    }
    let (endpoint, broker, directory) = (endpoint(), broker().await, tempfile::tempdir().unwrap());
    let state = directory.path().to_str().unwrap();
    let arguments =
        ["t", "--broker", &broker.address, "--levels", "info", "--flush", "0.2", "--state", state];
    let options = Cli::parse_from(arguments).worker;
    let (stop, stopped) = oneshot::channel::<()>();
    let worker =
        tokio::spawn(zibrato_worker::run(
            options,
            backend(&endpoint, &[]),
            async move { drop(stopped.await) },
        ));

    until_subscribed(&endpoint, &broker.address).await;
    endpoint.script("lose,503,ok,429:1,ok,close,ok,400#0,limit:1,ok,lose,401".parse::<Script>().unwrap());
    let mut app = App::start(&broker.address);
    let began = Instant::now();
    while endpoint.steps_left() > 0 {
        assert!(began.elapsed() < PATIENCE, "{} steps are left", endpoint.steps_left());
        (0..100).for_each(|i| app.measure(1_000_000 * i + 7));
        app.publish();
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    app.until_arrived(&endpoint).await;

    // The end flushes what has come since, and nothing is counted twice after it.
    stop.send(()).unwrap();
    worker.await.unwrap().unwrap();
    assert!(arrived(&endpoint, &app));
    assert_eq!(endpoint.violations(), Vec::<String>::new());
    assert!(endpoint.overwritten() > 0, "the lost answers have not been repeated");
    broker.stop.send(()).unwrap();
}

fn program(broker: &str, endpoint: &Endpoint, state: &Path, more: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_zibrato-librato"));
    command
        .args(["--broker", broker, "--levels", "info", "--flush", "0.2"])
        .args(["--state", state.to_str().unwrap(), "-vv"])
        .args(more)
        .env("LIBRATO_URL", endpoint.url())
        .env_remove("LIBRATO_TOKEN")
        .env_remove("LIBRATO_USERNAME")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// Reads both outputs to their end.
fn output(mut child: Child) -> std::thread::JoinHandle<(bool, String)> {
    std::thread::spawn(move || {
        let mut errors = child.stderr.take().unwrap();
        let reader = std::thread::spawn(move || {
            let mut text = Vec::new();
            errors.read_to_end(&mut text).unwrap();
            text
        });
        let mut text = Vec::new();
        if let Some(mut printed) = child.stdout.take() {
            printed.read_to_end(&mut text).unwrap();
        }
        let ok = child.wait().unwrap().success();
        text.extend(reader.join().unwrap());
        (ok, String::from_utf8_lossy(&text).into_owned())
    })
}

#[cfg(unix)]
fn quit(id: u32) {
    assert!(Command::new("kill").args(["-QUIT", &id.to_string()]).status().unwrap().success());
}

#[cfg(unix)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_program_delivers_ends_on_quit_and_keeps_its_secret() {
    let (endpoint, broker, directory) = (secretive(), broker().await, tempfile::tempdir().unwrap());
    let child = program(&broker.address, &endpoint, directory.path(), &["--username", USER])
        .env("LIBRATO_TOKEN", SECRET)
        .spawn()
        .unwrap();
    let id = child.id();
    let output = output(child);
    until_subscribed(&endpoint, &broker.address).await;
    endpoint.script("401,503,slow:0.1".parse::<Script>().unwrap());
    let mut app = App::start(&broker.address);
    (0..1000).for_each(|i| app.measure(i));
    app.until_arrived(&endpoint).await;
    quit(id);
    let (ok, text) = tokio::task::spawn_blocking(|| output.join().unwrap()).await.unwrap();
    assert!(ok, "{text}");
    assert!(text.contains("answered 401"), "{text}");
    assert!(!text.contains(SECRET) && !text.contains(ENCODED), "{text}");
    assert!(arrived(&endpoint, &app));
    assert_eq!(endpoint.violations(), Vec::<String>::new());
    broker.stop.send(()).unwrap();
}

const SECRET: &str = "s3cr3t-t0ken";
const ENCODED: &str = "czNjcjN0LXQwa2Vu";

fn secretive() -> Endpoint {
    let config = zibrato_librato::endpoint::Config { token: SECRET.into(), ..Default::default() };
    Endpoint::start(config).unwrap()
}

#[cfg(unix)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dry_run_prints_requests_and_sends_none() {
    let (endpoint, broker, directory) = (endpoint(), broker().await, tempfile::tempdir().unwrap());
    let mut child = program(&broker.address, &endpoint, directory.path(), &["--dry-run"]).spawn().unwrap();
    let mut printed = child.stdout.take().unwrap();
    let (lines, mut seen) = tokio::sync::mpsc::unbounded_channel();
    let reader = std::thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok(n @ 1..) = printed.read(&mut buffer) {
            let _ = lines.send(String::from_utf8_lossy(&buffer[..n]).into_owned());
        }
    });
    let mut probe = App::start(&broker.address);
    let mut text = String::new();
    let began = Instant::now();
    while !(text.contains("{\"gauges\":[{\"name\":\"probe\",\"source\":\"web-1\",") && text.ends_with("]}\n"))
    {
        assert!(began.elapsed() < PATIENCE, "it printed {text:?}");
        probe.probe();
        while let Ok(more) = seen.try_recv() {
            text += &more;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(text.starts_with(&format!("POST {}/v1/metrics\n", endpoint.url())), "{text}");
    quit(child.id());
    let (ok, log) = tokio::task::spawn_blocking(move || output(child).join().unwrap()).await.unwrap();
    assert!(ok, "{log}");
    reader.join().unwrap();
    assert_eq!(endpoint.received(), 0);
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
    broker.stop.send(()).unwrap();
}

#[test]
fn missing_credentials_end_the_program_with_a_reason() {
    let (endpoint, directory) = (endpoint(), tempfile::tempdir().unwrap());
    let said = |more: &[&str]| {
        let child = program("tcp://127.0.0.1:1", &endpoint, directory.path(), more).spawn().unwrap();
        let (ok, text) = output(child).join().unwrap();
        assert!(!ok);
        text
    };
    assert!(said(&[]).contains("failed to log in: no user name; give --username or set LIBRATO_USERNAME"));
    assert!(said(&["--username", "me"]).contains("no token; give --token-file or set LIBRATO_TOKEN"));
    let missing = said(&["--username", "me", "--token-file", "/nowhere/token"]);
    assert!(missing.contains("failed to read the token file /nowhere/token"), "{missing}");
    let url = said(&["--url", "https://me:hunter2@example.com"]);
    assert!(url.contains("a user or a password"), "{url}");
}
