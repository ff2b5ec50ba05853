//! Batch by batch, to a receiver that checks them.
#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "these are tests")]

use clap::Parser;
use zibrato_otlp::{Options, Otlp};
use zibrato_trial::otlp::{Receiver, Step};
use zibrato_worker::{
    Accepted, Backend as _, BackendError, Batch, GaugeSummary, Histogram, Kind, Measurement, Series, Summary,
    Total, Trace, Value,
};

const SECOND: u64 = 1_000_000_000;
const TIME: u64 = 1_795_289_340 * SECOND;

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    options: Options,
}

fn options(arguments: &[&str]) -> Options {
    Cli::parse_from(["test"].iter().chain(arguments)).options
}

fn measurement(name: &str, kind: Kind, value: Value) -> Measurement {
    let tags = vec![("code".into(), "200".into()), ("run".into(), "7".into())];
    Measurement {
        series: Series { name: name.into(), source: "web1".into(), tags, kind },
        level: "info".into(),
        unit: Some("By".into()),
        help: Some("What it is.".into()),
        since: TIME - 60 * SECOND,
        value,
        trace: Trace::None,
    }
}

fn counter(name: &str, whole: i64) -> Measurement {
    measurement(name, Kind::Counter, Value::Counter(Total::whole(whole)))
}

fn summary(values: &[f64]) -> Summary {
    let mut histogram = Histogram::default();
    values.iter().for_each(|&v| assert!(histogram.record(v)));
    let sum = Total { whole: 0, float: values.iter().sum() };
    Summary { sum, min: -2.0, max: 4.0, approximate: false, histogram }
}

fn batch(seconds: u64, measurements: Vec<Measurement>) -> Batch {
    let time = TIME + seconds * SECOND;
    Batch { id: time, from: time - 10 * SECOND, time, measurements }
}

struct Sender(Otlp);

impl Sender {
    fn new(receiver: &Receiver, more: &[&str]) -> Sender {
        Sender(Otlp::new(options(&[&["--url", &receiver.url()], more].concat()), Some("run")).unwrap())
    }

    fn send(&mut self, batch: &Batch) -> Result<Accepted, BackendError> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(self.0.send(batch))
    }
}

#[test]
fn every_kind_is_what_the_data_model_asks_for() {
    let receiver = Receiver::start();
    let more =
        ["--service-name", "shop", "--resource", "a=b,service.name=x,host.name=y", "--header", "X-Team=red"];
    let mut sender = Sender::new(&receiver, &more);
    let gauge = |last| Value::Gauge(GaugeSummary { last, statistics: None });
    let mut timer = measurement("timer", Kind::Timer, Value::Timer(summary(&[0.0, 5e8, 2e9])));
    timer.series.tags.clear();
    let point = |value| measurement("point", Kind::Point, Value::Point { time: TIME, value });
    let all = vec![
        counter("a", i64::MAX),
        measurement("a", Kind::Gauge, gauge(f64::NAN)),
        measurement("updown", Kind::Updown, Value::Updown(Total { whole: -3, float: 0.5 })),
        measurement("gauge", Kind::Gauge, gauge(2.5)),
        timer,
        measurement("signed", Kind::Distribution, Value::Distribution(summary(&[-2.0, 0.0, 4.0]))),
        measurement("huge", Kind::Distribution, Value::Distribution(summary(&[1e-300, 1e-19, f64::MAX]))),
        point(1.0),
        point(2.0),
        counter(&"x".repeat(300), 1),
    ];
    assert_eq!(sender.send(&batch(0, all)), Ok(Accepted::All));
    assert_eq!(receiver.seen().violations, Vec::<String>::new());
    assert!(receiver.seen().heads[0].contains("\r\nx-team: red\r\n"));
    let code = [("code", "200")];
    let stored = |name: &str| receiver.stored("web1", name, &code).unwrap();
    assert_eq!((stored("updown").number, stored("gauge").number, stored("point").number), (-2.5, 2.5, 2.0));
    assert_eq!(stored("gauge").unit, "By");
    assert_eq!((stored("signed").histogram.sum, stored("signed").histogram.negative.len()), (None, 1));
    assert_eq!((stored("huge").histogram.zero, stored("huge").histogram.count), (1, 3));
    let timer = receiver.seen().streams.iter().find(|((_, name, _), _)| name == "timer").unwrap().1.clone();
    assert_eq!((timer.unit.as_str(), timer.histogram.sum, timer.histogram.zero), ("s", Some(2.5), 1));
    let seen = receiver.seen();
    let (resource, ..) = seen.streams.keys().find(|(_, name, _)| name == "gauge").unwrap();
    let resource: Vec<String> = resource.iter().map(|(name, value)| format!("{name}={value}")).collect();
    assert_eq!(resource, ["a=b", "host.name=web1", "service.instance.id=7", "service.name=shop"]);
}

#[test]
fn bad_data_points_take_no_good_ones_with_them() {
    let receiver = Receiver::start();
    let mut sender = Sender::new(&receiver, &[]);
    receiver.script([Step::Poison("c13")]);
    let some = |seconds| batch(seconds, (0..40).map(|i| counter(&format!("c{i}"), i)).collect());
    let refused = vec![(13, "answered 400: poisoned".to_owned())];
    assert_eq!(sender.send(&some(0)), Ok(Accepted::Partly { refused, retry: vec![] }));
    assert_eq!(receiver.seen().streams.len(), 39);
    // A partial success does not say what is meant: totals are sent again to find out.
    let receiver = Receiver::start();
    let mut sender = Sender::new(&receiver, &[]);
    receiver.script([Step::Reject("c7")]);
    let refused = vec![(7, "rejected 1 data points: no c7".to_owned())];
    assert_eq!(sender.send(&some(0)), Ok(Accepted::Partly { refused, retry: vec![] }));
    assert_eq!(receiver.seen().streams.len(), 39);
    assert_eq!(receiver.seen().violations, Vec::<String>::new());
    // Deltas are not: they would count twice.
    let receiver = Receiver::start();
    let mut sender = Sender::new(&receiver, &["--temporality", "delta"]);
    receiver.script([Step::Reject("c7")]);
    assert_eq!(sender.send(&some(0)), Ok(Accepted::All));
    assert_eq!(receiver.seen().heads.len(), 1);
    assert_eq!(sender.0.counts(), [("points_rejected", 1), ("points_doubted", 0)]);
    sender.0.in_doubt(&some(0));
    assert_eq!(sender.0.counts()[1], ("points_doubted", 40));
}

#[test]
fn a_body_that_is_too_large_is_sent_in_parts() {
    let receiver = Receiver::start();
    let mut sender = Sender::new(&receiver, &[]);
    receiver.script([Step::AtMost(3)]);
    let all = batch(0, (0..40).map(|i| counter(&format!("c{i}"), i)).collect());
    assert_eq!(sender.send(&all), Ok(Accepted::All));
    assert_eq!(receiver.seen().streams.len(), 40);
    assert_eq!(receiver.seen().violations, Vec::<String>::new());
}

#[test]
fn keys_come_from_a_file_and_are_shown_to_nobody() {
    let (receiver, directory) = (Receiver::start(), tempfile::tempdir().unwrap());
    let file = directory.path().join("headers");
    let path = file.to_str().unwrap();
    let why = Otlp::new(options(&["--headers-file", path]), None).unwrap_err().to_string();
    assert!(why.starts_with("read the headers of ") && why.contains("No such file"), "{why}");
    std::fs::write(&file, "api-key=s3cr3t-k3y\nAuthorization=Bearer%20t0ken-t0ken\n").unwrap();
    let mut sender = Sender::new(&receiver, &["--headers-file", path]);
    receiver.script([Step::Answer(403, "")]);
    let one = batch(0, vec![counter("a", 1)]);
    match sender.send(&one) {
        Err(BackendError::Retry { why, .. }) => {
            assert!(why.ends_with("answered 403: check the keys"), "{why}")
        }
        other => panic!("{other:?}"),
    }
    let head = receiver.seen().heads[0].clone();
    assert!(head.contains("\r\napi-key: s3cr3t-k3y\r\n"), "{head}");
    assert!(
        head.contains("\r\nauthorization: bearer t0ken-t0ken\r\n") && head.contains("content-encoding: gzip"),
        "{head}"
    );
    assert!(!format!("{:?}", sender.0).contains("s3cr3t-k3y"));
    assert!(!sender.0.render(&one).contains("s3cr3t-k3y"));
}

#[test]
fn a_dry_run_shows_every_data_point() {
    let backend = Otlp::idle(options(&["--url", "https://otel.example.org/base"]), Some("run"));
    let timer = measurement("t", Kind::Timer, Value::Timer(summary(&[5e8])));
    assert_eq!(
        backend.render(&batch(0, vec![counter("a", 7), timer])),
        "POST https://otel.example.org/base/v1/metrics\n\
         resource {host.name=\"web1\",service.instance.id=\"7\",service.name=\"unknown_service:zibrato\"}\n\
         \x20 a cumulative monotonic sum, unit \"By\", \"What it is.\"\n\
         \x20   {code=\"200\"} 7 from 1795289280000000000 to 1795289340000000000\n\
         \x20 t cumulative exponential histogram, unit \"s\", \"What it is.\"\n\
         \x20   {code=\"200\"} count 1 sum 0.5 scale 6 zero 0 positive -64:[1] \
         from 1795289280000000000 to 1795289340000000000\n"
    );
    let whole = Otlp::idle(options(&["--url", "https://otel.example.org/v1/metrics"]), None);
    assert!(whole.render(&batch(0, vec![])).starts_with("POST https://otel.example.org/v1/metrics\n"));
}
