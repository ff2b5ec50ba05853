//! A batch as the text of its measurements.

use std::collections::HashMap;
use std::fmt::Write as _;

use zibrato_core::frame::Kind;
use zibrato_core::histogram::{Buckets, Histogram, middle};
use zibrato_worker::{Batch, GaugeSummary, Measurement, Summary, Value};

use crate::naming::{SOURCE_TAG, fnv_1a};
use crate::{Api, number};

/// One measurement of a request.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    /// The metric's name.
    pub(crate) name: String,
    /// Seconds since 1970.
    pub(crate) time: u64,
    /// A hash of what the service stores it under.
    pub(crate) key: u64,
    pub(crate) kind: Kind,
    /// Its JSON.
    pub(crate) json: String,
    /// The batch's measurements that are in it: one, or the points of one series within one second.
    pub(crate) indices: Vec<usize>,
}

/// What is to be sent of a batch, and what the service could not take.
#[derive(Debug, Default)]
pub(crate) struct Payload {
    pub(crate) entries: Vec<Entry>,
    pub(crate) refused: Vec<(usize, String)>,
}

const NOT_A_NUMBER: &str = "it is not a finite number, or its magnitude is above 1e126";

/// Writes a batch's measurements; `period` is in seconds.
pub(crate) fn payload(batch: &Batch, api: Api, period: u64) -> Payload {
    let mut payload = Payload::default();
    let mut seen: HashMap<u64, Kind> = HashMap::new();
    for (time, indices) in by_second(batch) {
        let first = &batch.measurements[indices[0]];
        let fields = match &first.value {
            Value::Point { .. } => points(indices.iter().map(|&i| &batch.measurements[i]), api),
            Value::Counter(total) | Value::Updown(total) => value(number::total(*total)),
            Value::Timer(summary) if summary.count() == 0 => continue,
            Value::Distribution(summary) if summary.count() == 0 => continue,
            Value::Timer(summary) => spread(summary, number::seconds(summary.sum), 1e9, api),
            Value::Distribution(summary) => spread(summary, number::total(summary.sum), 1.0, api),
            Value::Gauge(gauge) => gauge_fields(gauge, api),
        };
        let Some(fields) = fields else {
            payload.refused.extend(indices.into_iter().map(|i| (i, NOT_A_NUMBER.to_owned())));
            continue;
        };
        let (head, key) = head(first, time, period, api);
        let kind = first.series.kind;
        let first_kind = *seen.entry(key).or_insert(kind);
        if first_kind != kind {
            let why = same_name(kind, first_kind);
            payload.refused.extend(indices.into_iter().map(|i| (i, why.clone())));
            continue;
        }
        let json = format!("{{{head},{fields}}}");
        payload.entries.push(Entry { name: first.series.name.clone(), time, key, kind, json, indices });
    }
    payload
}

/// Why two kinds of one name cannot both be sent.
pub(crate) fn same_name(kind: Kind, other: Kind) -> String {
    format!(
        "a {other} has the same name, source and time, and the service would store this {kind} over it: \
         rename one of them or use --kind-suffix"
    )
}

/// The body of a request.
pub(crate) fn body<'a>(entries: impl Iterator<Item = &'a Entry>, api: Api) -> String {
    let list = match api {
        Api::Metrics => "gauges",
        Api::Measurements => "measurements",
    };
    let mut body = format!("{{\"{list}\":[");
    for (i, entry) in entries.enumerate() {
        if i > 0 {
            body.push(',');
        }
        body.push_str(&entry.json);
    }
    body.push_str("]}");
    body
}

/// The measurements with their times in seconds; points of one series and second together.
fn by_second(batch: &Batch) -> Vec<(u64, Vec<usize>)> {
    let mut groups: Vec<(u64, Vec<usize>)> = Vec::with_capacity(batch.measurements.len());
    let mut points = HashMap::new();
    for (i, measurement) in batch.measurements.iter().enumerate() {
        let Value::Point { time, .. } = measurement.value else {
            groups.push((batch.time / 1_000_000_000, vec![i]));
            continue;
        };
        let second = time / 1_000_000_000;
        let group = *points.entry((&measurement.series, second)).or_insert(groups.len());
        match groups.get_mut(group) {
            Some((_, indices)) => indices.push(i),
            None => groups.push((second, vec![i])),
        }
    }
    groups
}

fn head(measurement: &Measurement, time: u64, period: u64, api: Api) -> (String, u64) {
    let series = &measurement.series;
    let mut stored_under = format!("\"name\":{}", text(&series.name));
    match api {
        Api::Metrics => {
            if !series.source.is_empty() {
                let _ = write!(stored_under, ",\"source\":{}", text(&series.source));
            }
            let _ = write!(stored_under, ",\"measure_time\":{time}");
        }
        Api::Measurements => {
            let source = (SOURCE_TAG, &*series.source);
            let own = series.tags.iter().map(|(name, value)| (&**name, &**value));
            let tags: Vec<String> = std::iter::once(source)
                .filter(|(_, source)| !source.is_empty())
                .chain(own)
                .map(|(name, value)| format!("{}:{}", text(name), text(value)))
                .collect();
            let _ = write!(stored_under, ",\"tags\":{{{}}},\"time\":{time}", tags.join(","));
        }
    }
    let key = fnv_1a(stored_under.as_bytes());
    (format!("{stored_under},\"period\":{period}{}", shown(measurement, api)), key)
}

/// What the service shows with a metric; it takes note of it when the metric is new to it.
fn shown(measurement: &Measurement, api: Api) -> String {
    let unit = match measurement.value {
        Value::Timer(_) => Some("s"),
        _ => measurement.unit.as_deref(),
    };
    let mut shown = String::new();
    if let (Api::Metrics, Some(help)) = (api, &measurement.help) {
        let _ = write!(shown, ",\"description\":{}", text(help));
    }
    if let (Some(unit), Some(_)) = (unit, measurement.unit.as_ref().or(measurement.help.as_ref())) {
        let _ = write!(shown, ",\"attributes\":{{\"display_units_short\":{}}}", text(unit));
    }
    shown
}

fn text(text: &str) -> String {
    // A string always has a JSON form.
    serde_json::to_string(text).unwrap_or_default()
}

fn value(number: Option<String>) -> Option<String> {
    Some(format!("\"value\":{}", number?))
}

struct Figures {
    count: u64,
    sum: Option<String>,
    min: f64,
    max: f64,
    /// The sum of the squared distances from the mean, where known, and the mean.
    spread: Option<(f64, f64)>,
    last: Option<f64>,
}

fn figures(figures: Figures, api: Api) -> Option<String> {
    let Figures { count, sum, min, max, .. } = figures;
    let (min, max) = (number::float(min)?, number::float(max)?);
    let mut fields = format!("\"count\":{count},\"sum\":{},\"min\":{min},\"max\":{max}", sum?);
    match (api, figures.spread) {
        (Api::Metrics, Some((squares, mean))) => {
            let squares = number::float(squares + mean * mean * count as f64)?;
            let _ = write!(fields, ",\"sum_squares\":{squares}");
        }
        (Api::Measurements, Some((squares, _))) => {
            let deviation = number::float((squares / count as f64).sqrt())?;
            let _ = write!(fields, ",\"stddev\":{deviation}");
        }
        (_, None) => {}
    }
    if let (Api::Measurements, Some(last)) = (api, figures.last) {
        let _ = write!(fields, ",\"last\":{}", number::float(last)?);
    }
    Some(fields)
}

fn spread(summary: &Summary, sum: Option<String>, unit: f64, api: Api) -> Option<String> {
    let count = summary.count();
    let mean = summary.sum() / count as f64;
    let squares = if summary.min == summary.max { 0.0 } else { squares_around(&summary.histogram, mean) };
    figures(
        Figures {
            count,
            sum,
            min: summary.min / unit,
            max: summary.max / unit,
            spread: Some((squares / unit / unit, mean / unit)),
            last: None,
        },
        api,
    )
}

/// The sum of the squared distances of all values from their mean, each value at most 0.55 % off. Around the mean and
/// not around 0, so that the service's difference of sum_squares and sum² / count is not all rounding.
fn squares_around(histogram: &Histogram, mean: f64) -> f64 {
    let side = |buckets: &Buckets, sign: f64| -> f64 {
        buckets.pairs().iter().map(|&(i, n)| (sign * middle(i) - mean).powi(2) * n as f64).sum()
    };
    side(&histogram.positive, 1.0) + side(&histogram.negative, -1.0) + mean * mean * histogram.zero as f64
}

fn gauge_fields(gauge: &GaugeSummary, api: Api) -> Option<String> {
    match gauge.statistics {
        Some((count, sum, min, max)) if count > 0 => figures(
            Figures { count, sum: number::float(sum), min, max, spread: None, last: Some(gauge.last) },
            api,
        ),
        _ => value(number::float(gauge.last)),
    }
}

fn points<'a>(points: impl Iterator<Item = &'a Measurement>, api: Api) -> Option<String> {
    let values: Vec<f64> = points
        .filter_map(|m| match m.value {
            Value::Point { value, .. } => Some(value),
            _ => None,
        })
        .collect();
    if let [single] = values[..] {
        return value(number::float(single));
    }
    let sum: f64 = values.iter().sum();
    let mean = sum / values.len() as f64;
    figures(
        Figures {
            count: values.len() as u64,
            sum: number::float(sum),
            min: values.iter().copied().fold(f64::INFINITY, f64::min),
            max: values.iter().copied().fold(f64::NEG_INFINITY, f64::max),
            spread: Some((values.iter().map(|v| (v - mean).powi(2)).sum(), mean)),
            last: values.last().copied(),
        },
        api,
    )
}
