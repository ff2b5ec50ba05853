//! A measurement as a line of JSON.

use std::collections::BTreeMap;

use serde::Serialize;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use zibrato_worker::{Batch, Measurement, Statistics, Summary, Total, Value};

/// The fields of a line, in their order. What a kind does not have is left out.
#[derive(Debug, Default, Serialize)]
struct Line<'a> {
    batch: u64,
    time: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<String>,
    name: &'a str,
    kind: &'static str,
    source: &'a str,
    tags: BTreeMap<&'a str, &'a str>,
    level: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    unit: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<Number>,
    #[serde(skip_serializing_if = "Option::is_none")]
    count: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sum: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    min: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mean: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    p50: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    p90: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    p99: Option<f64>,
}

/// Whole numbers keep every digit.
#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Number {
    Whole(i64),
    Float(f64),
}

/// A measurement's line, with its end.
pub(crate) fn line(batch: &Batch, measurement: &Measurement) -> String {
    let Measurement { series, value, .. } = measurement;
    let mut line = Line {
        batch: batch.id,
        time: rfc_3339(batch.time),
        from: (batch.from > 0).then(|| rfc_3339(batch.from)),
        name: &series.name,
        kind: series.kind.name(),
        source: &series.source,
        tags: series.tags.iter().map(|(name, value)| (&**name, &**value)).collect(),
        level: &measurement.level,
        unit: measurement.unit.as_deref(),
        ..Line::default()
    };
    if let Some(statistics) = measurement.statistics() {
        line.figures(statistics);
    }
    match value {
        Value::Counter(total) | Value::Updown(total) => line.value = Some(number(*total)),
        Value::Gauge(gauge) => line.value = Some(Number::Float(gauge.last)),
        Value::Timer(summary) => {
            line.unit = Some("s");
            line.quantiles(summary, 1e9);
        }
        Value::Distribution(summary) => line.quantiles(summary, 1.0),
        Value::Point { time, value } => {
            line.time = rfc_3339(*time);
            line.from = None;
            line.value = Some(Number::Float(*value));
        }
    }
    // Strings and numbers always have a JSON form; a number that is not finite is null.
    serde_json::to_string(&line).unwrap_or_default() + "\n"
}

impl Line<'_> {
    fn figures(&mut self, statistics: Statistics) {
        self.count = Some(statistics.count);
        self.sum = Some(statistics.sum);
        if statistics.count > 0 {
            self.min = Some(statistics.min);
            self.max = Some(statistics.max);
            self.mean = Some(statistics.mean());
        }
    }

    fn quantiles(&mut self, summary: &Summary, unit: f64) {
        if summary.count() > 0 {
            let quantile = |q| Some(summary.quantile(q) / unit);
            (self.p50, self.p90, self.p99) = (quantile(0.5), quantile(0.9), quantile(0.99));
        }
    }
}

fn number(total: Total) -> Number {
    if total.float == 0.0 { Number::Whole(total.whole) } else { Number::Float(total.value()) }
}

/// Nanoseconds since 1970 as text.
fn rfc_3339(nanoseconds: u64) -> String {
    // The last of these times is in the year 2554, and every year up to 9999 has a text.
    let time = OffsetDateTime::from_unix_timestamp_nanos(nanoseconds.into()).ok();
    time.and_then(|time| time.format(&Rfc3339).ok()).unwrap_or_default()
}
