//! Measurements, backends and answers for the tests.
#![allow(dead_code, unreachable_pub, reason = "each test file uses its part")]
#![allow(clippy::unwrap_used, reason = "these are tests")]

use std::time::{Duration, UNIX_EPOCH};

use clap::Parser;
use serde_json::Value as Json;
use zibrato_influx::{Influx, Options};
use zibrato_worker::{
    Accepted, Backend as _, BackendError, Batch, GaugeSummary, Histogram, Kind, Measurement, Series, Summary,
    Total, Value,
};

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    options: Options,
}

pub fn options(arguments: &[&str]) -> Options {
    Cli::parse_from(["test"].iter().chain(arguments)).options
}

pub fn backend(arguments: &[&str]) -> Influx {
    Influx::new(options(arguments)).unwrap()
}

/// A backend for the writer of a database, whose password is in a file.
pub fn writer(port: u16, directory: &tempfile::TempDir, more: &[&str]) -> Influx {
    let file = directory.path().join("password");
    std::fs::write(&file, zibrato_trial::Influx::PASSWORD).unwrap();
    let url = format!("http://127.0.0.1:{port}");
    let mut arguments = vec!["--url", &url, "--username", zibrato_trial::Influx::WRITER];
    arguments.extend(["--password-file", file.to_str().unwrap()]);
    if !more.contains(&"--database") {
        arguments.extend(["--database", "metrics"]);
    }
    arguments.extend(more);
    backend(&arguments)
}

pub fn measurement(name: &str, kind: Kind, value: Value) -> Measurement {
    let series = Series { name: name.into(), source: "web1".into(), tags: Vec::new(), kind };
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
    measurement(name, Kind::Counter, Value::Counter(Total::whole(whole)))
}

pub fn gauge(name: &str, last: f64) -> Measurement {
    measurement(name, Kind::Gauge, Value::Gauge(GaugeSummary { last, statistics: None }))
}

pub fn timer(name: &str, nanoseconds: &[u64]) -> Measurement {
    measurement(name, Kind::Timer, Value::Timer(summary(nanoseconds)))
}

pub fn point(name: &str, time: u64, value: f64) -> Measurement {
    measurement(name, Kind::Point, Value::Point { time, value })
}

pub fn tagged(mut measurement: Measurement, tags: &[(&str, &str)]) -> Measurement {
    measurement.series.tags = tags.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect();
    measurement
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

/// Nanoseconds since 1970, in whole seconds.
pub fn now() -> u64 {
    UNIX_EPOCH.elapsed().unwrap().as_secs() * 1_000_000_000
}

pub fn batch(time: u64, measurements: Vec<Measurement>) -> Batch {
    Batch { id: time, from: time - 10_000_000_000, time, measurements }
}

/// Cleans a batch's series as the kit does, connects, and sends.
pub async fn send(backend: &mut Influx, batch: &Batch) -> Result<Accepted, BackendError> {
    let mut batch = batch.clone();
    batch.measurements.iter_mut().for_each(|m| backend.series(&mut m.series).unwrap());
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

/// What was refused, where nothing is left to be sent again.
pub fn refused(result: Result<Accepted, BackendError>) -> Vec<(usize, String)> {
    match result {
        Ok(Accepted::Partly { refused, retry }) if retry.is_empty() => refused,
        other => panic!("expected some to be refused, got {other:?}"),
    }
}

/// The rows of a query's first result, each with the names of its columns; tags of `GROUP BY` included.
pub fn rows(answer: &str) -> Vec<Json> {
    let answer: Json = serde_json::from_str(answer).unwrap();
    let mut rows = Vec::new();
    for series in answer["results"][0]["series"].as_array().into_iter().flatten() {
        for values in series["values"].as_array().unwrap() {
            let mut row = series["tags"].as_object().cloned().unwrap_or_default();
            for (column, value) in
                series["columns"].as_array().unwrap().iter().zip(values.as_array().unwrap())
            {
                row.insert(column.as_str().unwrap().into(), value.clone());
            }
            rows.push(Json::Object(row));
        }
    }
    rows
}

/// The only value of a query, `Null` where there is none.
pub fn value(answer: &str, column: &str) -> Json {
    rows(answer).first().map_or(Json::Null, |row| row[column].clone())
}
