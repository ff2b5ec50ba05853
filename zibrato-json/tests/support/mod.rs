//! Measurements and backends for the tests.
#![allow(dead_code, unreachable_pub, unused_imports, reason = "each test file uses its part")]
#![allow(clippy::unwrap_used, reason = "these are tests")]

use clap::Parser;
use zibrato_json::{Json, Options};
pub use zibrato_worker::testing::summary;
use zibrato_worker::{Batch, GaugeSummary, Kind, Measurement, Total, Value, testing};

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    options: Options,
}

pub fn backend(arguments: &[&str]) -> Json {
    Json::new(Cli::parse_from(["test"].iter().chain(arguments)).options).unwrap()
}

pub fn measurement(name: &str, kind: Kind, value: Value) -> Measurement {
    testing::tagged(testing::measurement(name, kind, value), &[("code", "200")])
}

pub fn counter(name: &str, whole: i64) -> Measurement {
    measurement(name, Kind::Counter, Value::Counter(Total::whole(whole)))
}

pub fn gauge(name: &str, last: f64, statistics: Option<(u64, f64, f64, f64)>) -> Measurement {
    measurement(name, Kind::Gauge, Value::Gauge(GaugeSummary { last, statistics }))
}

pub fn batch(id: u64, measurements: Vec<Measurement>) -> Batch {
    Batch { id, from: 1_795_288_460_000_000_000, time: 1_795_288_470_000_000_000, measurements }
}
