//! Batches and backends for the tests.
#![allow(dead_code, unreachable_pub, reason = "each test file uses its part")]
#![allow(clippy::unwrap_used, reason = "these are tests")]

use clap::Parser;
use zibrato_statsd::{Options, Statsd};
use zibrato_worker::{
    Accepted, Backend, BackendError, Batch, GaugeSummary, Histogram, Kind, Measurement, Series, Summary,
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

pub fn backend(arguments: &[&str]) -> Statsd {
    Statsd::new(options(arguments)).unwrap()
}

pub fn measurement(name: &str, tags: &[(&str, &str)], kind: Kind, value: Value) -> Measurement {
    let tags = tags.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect();
    let series = Series { name: name.into(), source: "web-1".into(), tags, kind };
    Measurement {
        series,
        level: "info".into(),
        unit: None,
        help: None,
        value,
        since: 0,
        trace: Default::default(),
    }
}

pub fn counter(name: &str, whole: i64) -> Measurement {
    measurement(name, &[], Kind::Counter, Value::Counter(Total::whole(whole)))
}

pub fn updown(name: &str, whole: i64) -> Measurement {
    measurement(name, &[], Kind::Updown, Value::Updown(Total::whole(whole)))
}

pub fn gauge(name: &str, last: f64) -> Measurement {
    measurement(name, &[], Kind::Gauge, Value::Gauge(GaugeSummary { last, statistics: None }))
}

pub fn timer(name: &str, nanoseconds: &[u64]) -> Measurement {
    measurement(name, &[], Kind::Timer, Value::Timer(summary(nanoseconds)))
}

pub fn distribution(name: &str, values: &[u64]) -> Measurement {
    measurement(name, &[], Kind::Distribution, Value::Distribution(summary(values)))
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
    let time = 1_800_000_000_000_000_000;
    Batch { id, from: time - 10_000_000_000, time, measurements }
}

/// Cleans a batch's series as the kit does.
pub fn cleaned(backend: &Statsd, mut batch: Batch) -> Batch {
    batch.measurements.iter_mut().for_each(|m| backend.series(&mut m.series).unwrap());
    batch
}

/// What would be sent of these.
pub fn rendered(arguments: &[&str], measurements: Vec<Measurement>) -> String {
    let backend = backend(arguments);
    backend.render(&cleaned(&backend, batch(1, measurements)))
}

pub async fn send(backend: &mut Statsd, batch: &Batch) -> Result<Accepted, BackendError> {
    let batch = cleaned(backend, batch.clone());
    backend.connect().await?;
    backend.send(&batch).await
}

/// What the backend has counted under a name.
pub fn counted(backend: &Statsd, name: &str) -> u64 {
    backend.counts().into_iter().find(|(own, _)| *own == name).unwrap().1
}
