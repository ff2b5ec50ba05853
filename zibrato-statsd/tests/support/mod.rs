//! Batches and backends for the tests.
#![allow(dead_code, unreachable_pub, unused_imports, reason = "each test file uses its part")]
#![allow(clippy::unwrap_used, reason = "these are tests")]

use clap::Parser;
use zibrato_statsd::{Options, Statsd};
pub use zibrato_worker::testing::*;
use zibrato_worker::{Backend, Batch, Kind, Measurement, Value, testing};

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    options: Options,
}

pub fn options(arguments: &[&str]) -> Options {
    Cli::parse_from(["test"].iter().chain(arguments)).options
}

pub fn backend(arguments: &[&str]) -> Statsd {
    Statsd::new(options(arguments)).unwrap()
}

pub fn measurement(name: &str, tags: &[(&str, &str)], kind: Kind, value: Value) -> Measurement {
    tagged(testing::measurement(name, kind, value), tags)
}

pub fn batch(id: u64, measurements: Vec<Measurement>) -> Batch {
    let time = 1_800_000_000_000_000_000;
    Batch { id, from: time - 10_000_000_000, time, measurements }
}

/// What would be sent of these.
pub fn rendered(arguments: &[&str], measurements: Vec<Measurement>) -> String {
    let backend = backend(arguments);
    backend.render(&cleaned(&backend, batch(1, measurements)))
}

/// What the backend has counted under a name.
pub fn counted(backend: &Statsd, name: &str) -> u64 {
    backend.counts().into_iter().find(|(own, _)| *own == name).unwrap().1
}
