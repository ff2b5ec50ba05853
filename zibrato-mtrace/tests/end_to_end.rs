//! A program with marked metrics, a broker, a worker, and the worker that writes down what they all tell.
#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test; helpers outside #[test] functions are not told apart")]

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use zibrato_core::trace::{Hop, Verdict};
use zibrato_mtrace::{Line, Parsed, parse};
use zibrato_trial::{Server, Traffic, until};
use zibrato_worker::{Accepted, Backend, BackendError, Batch};

/// Takes everything but one metric, and nothing at first.
struct Choosy {
    tried: bool,
}

impl Backend for Choosy {
    const NAME: &'static str = "choosy";

    fn resolution(&self) -> Duration {
        Duration::from_millis(1)
    }

    async fn send(&mut self, batch: &Batch) -> Result<Accepted, BackendError> {
        if !std::mem::replace(&mut self.tried, true) {
            return Err(BackendError::Retry {
                why: "not yet".into(),
                after: Some(Duration::from_millis(10)),
            });
        }
        let measurements = batch.measurements.iter().enumerate();
        let refused = measurements.filter(|(_, m)| m.series.name == "e2e.refused");
        let refused: Vec<_> = refused.map(|(index, _)| (index, "its name is not nice".to_owned())).collect();
        Ok(if refused.is_empty() { Accepted::All } else { Accepted::Partly { refused, retry: vec![] } })
    }

    fn render(&self, _: &Batch) -> String {
        String::new()
    }
}

fn lines(file: &Path) -> Vec<Line> {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    let read = |line: &str| match parse(line) {
        Ok(Parsed::Line(line)) => line,
        other => panic!("{line}: {other:?}"),
    };
    text.lines().filter(|line| line.ends_with('}')).map(read).collect()
}

/// The lines of each row, in the order of the way.
fn rows(lines: Vec<Line>) -> BTreeMap<(String, u64), Vec<Line>> {
    let mut rows: BTreeMap<(String, u64), Vec<Line>> = BTreeMap::new();
    for line in lines {
        rows.entry((line.metric.clone(), line.trace)).or_default().push(line);
    }
    rows.values_mut().for_each(|lines| lines.sort_by_key(|line| (line.hop, line.time)));
    rows
}

#[zibrato::time_me(name = "e2e.timer", trace)]
fn work() {
    std::thread::sleep(Duration::from_millis(2));
}

#[tokio::test(flavor = "multi_thread")]
async fn every_hop_tells_of_every_row_that_is_published() {
    let traffic = Traffic::start();
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("lines");
    let mut mtrace = Server::new(env!("CARGO_BIN_EXE_zibrato-mtrace"))
        .args(["--broker", traffic.broker(), "--flush", "0.2", "--state"])
        .arg(directory.path().join("mtrace"))
        .arg("--file")
        .arg(&file)
        .start();
    let mut options = zibrato_worker::Options::default();
    options.broker = traffic.broker().to_owned();
    options.state = Some(directory.path().join("choosy"));
    options.flush = Duration::from_millis(100);
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let shutdown = async { drop(stopped.await) };
    let worker = tokio::spawn(zibrato_worker::run(options, Choosy { tried: false }, shutdown));

    let guard = zibrato::builder()
        .broker(traffic.broker())
        .source("web1")
        .interval(Duration::from_millis(50))
        .without_environment()
        .install()
        .unwrap();
    let has = |name: &str, count: usize| {
        let said = |line: &Line| line.metric == name && line.hop == Hop::Backend;
        let lines = lines(&file);
        let found = lines.iter().filter(|line| said(line) && line.verdict != Verdict::Retry).count();
        (found >= count).then_some(()).ok_or_else(|| format!("{found} of {name}; {}", mtrace.log()))
    };
    for round in 1..=3 {
        zibrato::count!(trace, tags("path" = "/"), "e2e.counter", 10);
        zibrato::count!("e2e.unmarked");
        work();
        until("the counter was accepted", || has("e2e.counter", round));
    }
    zibrato::count!(trace, "e2e.refused");
    until("the other was refused", || has("e2e.refused", 1));
    zibrato::count!(trace, tags("path" = "/"), "e2e.counter", 10);
    tokio::task::block_in_place(|| drop(guard));
    until("the last set was accepted", || has("e2e.counter", 4));
    stop.send(()).unwrap();
    worker.await.unwrap().unwrap();
    // Its last events are in its last set.
    until("the timer was accepted", || has("e2e.timer", 3));
    mtrace.stop();

    let rows = rows(lines(&file));
    assert!(!rows.keys().any(|(name, _)| name == "e2e.unmarked"), "{rows:#?}");
    let of = |name: &str| -> Vec<&Vec<Line>> {
        rows.iter().filter(|((metric, _), _)| metric == name).map(|(_, lines)| lines).collect()
    };
    let counters = of("e2e.counter");
    assert_eq!(counters.len(), 4);
    for (lines, total) in counters.iter().zip([10, 20, 30, 40]) {
        let accepted: Vec<&Line> = lines.iter().filter(|line| line.verdict != Verdict::Retry).collect();
        let hops: Vec<Hop> = accepted.iter().map(|line| line.hop).collect();
        assert_eq!(hops, Hop::ALL, "{lines:#?}");
        for line in lines.iter() {
            assert_eq!((line.value.whole, line.count, line.source.as_str()), (total, None, "web1"));
            assert_eq!((line.level.as_str(), line.tags.get("path").map(String::as_str)), ("info", Some("/")));
            assert_eq!((line.sequence, line.instance), (lines[0].sequence, lines[0].instance));
            assert!(!line.by.is_empty() && !line.repeat);
            let is_worker = line.hop >= Hop::Received;
            assert_eq!(line.backend.as_deref(), is_worker.then_some("choosy"));
            assert_eq!(line.batch.is_some(), line.hop >= Hop::Settled);
        }
        assert!(accepted.iter().all(|line| line.verdict == Verdict::Ok));
        // One host, so one clock: the times are in the order of the way, give or take what the two sockets do.
        assert!(
            lines.windows(2).all(|pair| pair[0].hop >= Hop::BrokerReceived || pair[0].time <= pair[1].time)
        );
    }
    let retried = rows.values().flatten().filter(|line| line.verdict == Verdict::Retry).count();
    assert!(retried >= 1, "nothing was accepted at first");
    let refused = of("e2e.refused");
    let last = refused[0].last().unwrap();
    assert_eq!(
        (last.hop, last.verdict, last.why.as_deref()),
        (Hop::Backend, Verdict::Refused, Some("its name is not nice"))
    );
    assert_eq!(refused[0].len(), 6);
    let timers = of("e2e.timer");
    let counts: Vec<Option<u64>> = timers.iter().map(|lines| lines[0].count).collect();
    assert_eq!(counts.last(), Some(&Some(3)), "{timers:#?}");
    for lines in timers {
        assert!(lines.iter().all(|line| line.count == lines[0].count && line.value == lines[0].value));
        assert!(lines[0].value.whole >= 2_000_000);
    }
}
