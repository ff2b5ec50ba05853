//! Measurements and backends for the tests.
#![allow(dead_code, unreachable_pub, reason = "each test file uses its part")]
#![allow(clippy::unwrap_used, reason = "these are tests")]

use clap::Parser;
use zibrato_json::{Json, Options};
use zibrato_worker::{Batch, GaugeSummary, Histogram, Kind, Measurement, Series, Summary, Total, Value};

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    options: Options,
}

pub fn backend(arguments: &[&str]) -> Json {
    Json::new(Cli::parse_from(["test"].iter().chain(arguments)).options).unwrap()
}

pub fn measurement(name: &str, kind: Kind, value: Value) -> Measurement {
    let tags = vec![("code".to_owned(), "200".to_owned())];
    let series = Series { name: name.into(), source: "web1".into(), tags, kind };
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

pub fn gauge(name: &str, last: f64, statistics: Option<(u64, f64, f64, f64)>) -> Measurement {
    measurement(name, Kind::Gauge, Value::Gauge(GaugeSummary { last, statistics }))
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

pub fn batch(id: u64, measurements: Vec<Measurement>) -> Batch {
    Batch { id, from: 1_795_288_460_000_000_000, time: 1_795_288_470_000_000_000, measurements }
}
