//! Measurements, and how a backend is sent some as the kit does it.

use std::time::Duration;

use zibrato_core::frame::{Kind, Total};
use zibrato_core::histogram::Histogram;

use crate::backend::{Accepted, Backend, BackendError};
use crate::batch::{Batch, GaugeSummary, Measurement, Series, Summary, Value};

/// A measurement at level `info` from the source `web1`, without tags.
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

/// The same with these tags instead of its own.
pub fn tagged(mut measurement: Measurement, tags: &[(&str, &str)]) -> Measurement {
    measurement.series.tags = tags.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect();
    measurement
}

/// What a counter increased by.
pub fn counter(name: &str, whole: i64) -> Measurement {
    measurement(name, Kind::Counter, Value::Counter(Total::whole(whole)))
}

/// What an updown counter changed by.
pub fn updown(name: &str, whole: i64) -> Measurement {
    measurement(name, Kind::Updown, Value::Updown(Total::whole(whole)))
}

/// The last value of a gauge.
pub fn gauge(name: &str, last: f64) -> Measurement {
    measurement(name, Kind::Gauge, Value::Gauge(GaugeSummary { last, statistics: None }))
}

/// Durations in nanoseconds.
pub fn timer(name: &str, nanoseconds: &[u64]) -> Measurement {
    measurement(name, Kind::Timer, Value::Timer(summary(nanoseconds)))
}

/// Values of a distribution.
pub fn distribution(name: &str, values: &[u64]) -> Measurement {
    measurement(name, Kind::Distribution, Value::Distribution(summary(values)))
}

/// A datapoint with its own time, in nanoseconds since 1970 UTC.
pub fn point(name: &str, time: u64, value: f64) -> Measurement {
    measurement(name, Kind::Point, Value::Point { time, value })
}

/// Values with their exact sum and extremes.
pub fn summary(values: &[u64]) -> Summary {
    let mut histogram = Histogram::default();
    for &value in values {
        histogram.record(value as f64);
    }
    Summary {
        sum: Total::whole(values.iter().sum::<u64>() as i64),
        min: values.iter().copied().min().unwrap_or_default() as f64,
        max: values.iter().copied().max().unwrap_or_default() as f64,
        approximate: false,
        histogram,
    }
}

/// A batch with its series as the backend stores them.
///
/// # Panics
/// When it cannot store one.
pub fn cleaned<B: Backend>(backend: &B, mut batch: Batch) -> Batch {
    for measurement in &mut batch.measurements {
        if let Err(why) = backend.series(&mut measurement.series) {
            panic!("{:?} cannot be stored: {why}", measurement.series);
        }
    }
    batch
}

/// Connects, and sends a batch with its series as the backend stores them.
///
/// # Errors
/// What the backend says.
///
/// # Panics
/// As [`cleaned`].
pub async fn send<B: Backend>(backend: &mut B, batch: &Batch) -> Result<Accepted, BackendError> {
    let batch = cleaned(backend, batch.clone());
    backend.connect().await?;
    backend.send(&batch).await
}

/// What a retry says, and how long it asks to wait.
///
/// # Panics
/// When it is something else.
pub fn later(result: Result<Accepted, BackendError>) -> (String, Option<Duration>) {
    match result {
        Err(BackendError::Retry { why, after }) => (why, after),
        other => panic!("expected a retry, got {other:?}"),
    }
}
