//! Measurements, backends and answers for the tests.
#![allow(dead_code, unreachable_pub, unused_imports, reason = "each test file uses its part")]
#![allow(clippy::unwrap_used, reason = "these are tests")]

use std::time::UNIX_EPOCH;

use clap::Parser;
use serde_json::Value as Json;
use zibrato_influx::{Influx, Options};
pub use zibrato_worker::testing::*;
use zibrato_worker::{Accepted, BackendError, Batch, Measurement};

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

/// Nanoseconds since 1970, in whole seconds.
pub fn now() -> u64 {
    UNIX_EPOCH.elapsed().unwrap().as_secs() * 1_000_000_000
}

pub fn batch(time: u64, measurements: Vec<Measurement>) -> Batch {
    Batch { id: time, from: time - 10_000_000_000, time, measurements }
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
