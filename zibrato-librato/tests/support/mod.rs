//! Batches, backends and endpoints for the tests.
#![allow(dead_code, unreachable_pub, reason = "each test file uses its part")]
#![allow(clippy::unwrap_used, reason = "these are tests")]

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clap::Parser;
use zibrato_librato::endpoint::{Config, Endpoint};
use zibrato_librato::{Librato, Options, Token};
use zibrato_worker::{
    Accepted, Backend, BackendError, Batch, GaugeSummary, Histogram, Kind, Measurement, Series, Summary,
    Total, Value,
};

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    options: Options,
}

pub const USER: &str = "me@example.com";
pub const TOKEN: &str = "tok";

pub fn options(arguments: &[&str]) -> Options {
    Cli::parse_from(["test"].iter().chain(arguments)).options
}

pub fn endpoint() -> Endpoint {
    Endpoint::start(Config::default()).unwrap()
}

pub fn backend(endpoint: &Endpoint, more: &[&str]) -> Librato {
    let url = endpoint.url();
    let mut arguments = vec!["--url", &url, "--username", USER];
    arguments.extend(more);
    Librato::with_token(options(&arguments), Duration::from_secs(10), Token::new(TOKEN))
}

pub fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

pub fn series(name: &str, source: &str, kind: Kind) -> Series {
    Series { name: name.into(), source: source.into(), tags: Vec::new(), kind }
}

pub fn measurement(series: Series, value: Value) -> Measurement {
    Measurement {
        series,
        level: "info".into(),
        unit: None,
        help: None,
        since: 0,
        value,
        trace: Default::default(),
    }
}

pub fn counter(name: &str, whole: i64) -> Measurement {
    measurement(series(name, "web1", Kind::Counter), Value::Counter(Total::whole(whole)))
}

pub fn timer(name: &str, nanoseconds: &[u64]) -> Measurement {
    measurement(series(name, "web1", Kind::Timer), Value::Timer(summary(nanoseconds)))
}

pub fn gauge(name: &str, last: f64) -> Measurement {
    measurement(series(name, "web1", Kind::Gauge), Value::Gauge(GaugeSummary { last, statistics: None }))
}

pub fn point(name: &str, time: u64, value: f64) -> Measurement {
    measurement(series(name, "web1", Kind::Point), Value::Point { time, value })
}

pub fn summary(values: &[u64]) -> Summary {
    let mut histogram = Histogram::default();
    values.iter().for_each(|&v| assert!(histogram.record(v as f64)));
    Summary {
        sum: Total::whole(values.iter().sum::<u64>() as i64),
        min: values.iter().copied().min().unwrap_or_default() as f64,
        max: values.iter().copied().max().unwrap_or_default() as f64,
        approximate: false,
        histogram,
    }
}

pub fn batch(seconds: u64, measurements: Vec<Measurement>) -> Batch {
    let time = seconds * 1_000_000_000;
    Batch { id: seconds, from: time - 10_000_000_000, time, measurements }
}

/// Cleans a batch's series as the kit does.
pub fn cleaned(backend: &Librato, mut batch: Batch) -> Batch {
    batch.measurements.iter_mut().for_each(|m| backend.series(&mut m.series).unwrap());
    batch
}

pub async fn send(backend: &mut Librato, batch: &Batch) -> Result<Accepted, BackendError> {
    let batch = cleaned(backend, batch.clone());
    backend.connect().await?;
    backend.send(&batch).await
}

/// What a retry says, and how long it asks to wait.
pub fn later(result: Result<Accepted, BackendError>) -> (String, Option<Duration>) {
    match result {
        Err(BackendError::Retry { why, after }) => (why, after),
        other => panic!("expected a retry, got {other:?}"),
    }
}
