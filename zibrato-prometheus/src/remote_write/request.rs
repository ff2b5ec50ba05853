//! Measurements as the series of a request.

use prost::Message as _;
use zibrato_worker::{Measurement, Summary, Value};

use super::messages::{
    BucketSpan, Histogram, Label, MetricMetadata, MetricType, Sample, TimeSeries, WriteRequest,
};
use crate::buckets::{Classic, Native, SCHEMA, Spans};
use crate::exposition::{Head, Labels, canonical_bound};
use crate::family::{Type, stem};

/// What makes a sample the end of its series. Source: `model/value` of prometheus/prometheus.
pub(super) const STALE: u64 = 0x7ff0_0000_0000_0002;

/// How measurements become series.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shape<'a> {
    pub(super) source_label: &'a str,
    pub(super) classic: Option<&'a Classic>,
    pub(super) native: bool,
}

/// What a series is at a time.
#[derive(Debug, Clone, Copy, PartialEq)]
enum At {
    /// What was measured.
    Now,
    /// Nothing yet.
    Zero,
    /// No more.
    Stale,
}

/// The series of a measurement at a time in milliseconds; with `began`, they were zero then.
pub(super) fn series(
    head: &Head,
    measurement: &Measurement,
    time: i64,
    began: Option<i64>,
    shape: Shape<'_>,
) -> Vec<TimeSeries> {
    let began = began.filter(|began| head.of != Type::Gauge && *began < time);
    let times = began.map(|began| (began, At::Zero)).into_iter().chain([(time, At::Now)]).collect::<Vec<_>>();
    all(head, measurement, &times, shape)
}

/// What ends the series of a measurement.
pub(super) fn stale(head: &Head, measurement: &Measurement, time: i64, shape: Shape<'_>) -> Vec<TimeSeries> {
    all(head, measurement, &[(time, At::Stale)], shape)
}

fn all(head: &Head, measurement: &Measurement, times: &[(i64, At)], shape: Shape<'_>) -> Vec<TimeSeries> {
    let labels = Labels::new(measurement, shape.source_label);
    let one = |ending: &str, more: Option<(&str, &str)>, value: f64| TimeSeries {
        labels: labelled(&format!("{}{ending}", head.name), &labels, more),
        samples: times.iter().map(|&(timestamp, at)| Sample { value: at.of(value), timestamp }).collect(),
        histograms: Vec::new(),
    };
    let (Value::Timer(summary) | Value::Distribution(summary)) = &measurement.value else {
        return vec![one("", None, single(&measurement.value))];
    };
    let mut all = Vec::new();
    if let Some(classic) = shape.classic {
        let bounds = classic.of(head.scale);
        let counts = bounds.count(&summary.histogram, head.scale);
        let limits = bounds.values().iter().map(|bound| canonical_bound(*bound)).chain(["+Inf".into()]);
        all.extend(limits.zip(counts).map(|(le, n)| one("_bucket", Some(("le", &le)), n as f64)));
        all.push(one("_count", None, summary.count() as f64));
        all.push(one("_sum", None, head.scale.of(summary.sum())));
    }
    if shape.native {
        let histograms = times.iter().map(|&(time, at)| native(head, summary, time, at)).collect();
        let labels = labelled(&head.name, &labels, None);
        all.push(TimeSeries { labels, samples: Vec::new(), histograms });
    }
    all
}

impl At {
    fn of(self, value: f64) -> f64 {
        match self {
            // No other value may look like the end.
            At::Now if value.is_nan() => f64::NAN,
            At::Now => value,
            At::Zero => 0.0,
            At::Stale => f64::from_bits(STALE),
        }
    }
}

fn single(value: &Value) -> f64 {
    match value {
        Value::Counter(total) | Value::Updown(total) => total.value(),
        Value::Gauge(gauge) => gauge.last,
        Value::Point { value, .. } => *value,
        // Only histograms are left, which are no single value.
        Value::Timer(summary) | Value::Distribution(summary) => summary.sum(),
    }
}

fn labelled(name: &str, labels: &Labels, more: Option<(&str, &str)>) -> Vec<Label> {
    let label = |name: &str, value: &str| Label { name: name.into(), value: value.into() };
    let own = labels.pairs.iter().map(|(name, value)| label(name, value));
    let more = more.map(|(name, value)| label(name, value));
    let mut all: Vec<Label> = own.chain([label("__name__", name)]).chain(more).collect();
    all.sort();
    all
}

fn native(head: &Head, summary: &Summary, timestamp: i64, at: At) -> Histogram {
    let sum = at.of(head.scale.of(summary.sum()));
    let native = Native::new(&summary.histogram, head.scale);
    let empty = Histogram {
        count_int: Some(0),
        sum,
        schema: SCHEMA,
        zero_threshold: native.zero_threshold,
        zero_count_int: Some(0),
        timestamp,
        ..Histogram::default()
    };
    if at != At::Now {
        return empty;
    }
    Histogram {
        count_int: Some(summary.count()),
        zero_count_int: Some(native.zero),
        negative_spans: spans(&native.negative),
        negative_deltas: native.negative.deltas,
        positive_spans: spans(&native.positive),
        positive_deltas: native.positive.deltas,
        ..empty
    }
}

fn spans(side: &Spans) -> Vec<BucketSpan> {
    side.spans.iter().map(|&(offset, length)| BucketSpan { offset, length }).collect()
}

/// What is known of a family.
pub(super) fn metadata(head: &Head) -> MetricMetadata {
    let (of, name) = match head.of {
        Type::Histogram => (MetricType::Histogram, &*head.name),
        Type::Counter => (MetricType::Counter, stem(&head.name)),
        Type::Gauge => (MetricType::Gauge, &*head.name),
    };
    MetricMetadata {
        r#type: of.into(),
        metric_family_name: name.into(),
        help: head.help.clone(),
        unit: head.unit.clone(),
    }
}

/// The body of a request.
///
/// # Errors
/// When it is larger than 4 GiB.
pub(super) fn body(request: &WriteRequest) -> Result<Vec<u8>, String> {
    let plain = request.encode_to_vec();
    snap::raw::Encoder::new().compress_vec(&plain).map_err(|why| why.to_string())
}

/// A request as text, a line for each sample.
pub(super) fn lines(request: &WriteRequest) -> String {
    let mut lines = Vec::new();
    for one in &request.timeseries {
        let value = |name: &str| one.labels.iter().find(|label| label.name == name).map_or("", |l| &l.value);
        let labels = one.labels.iter().filter(|label| label.name != "__name__");
        let labels: Vec<String> = labels.map(|label| format!("{}={:?}", label.name, label.value)).collect();
        let series = format!("{}{{{}}}", value("__name__"), labels.join(","));
        for sample in &one.samples {
            lines.push(format!("{series} {} {}\n", sample.value, sample.timestamp));
        }
        for histogram in &one.histograms {
            let Histogram { sum, schema, timestamp, .. } = histogram;
            let [count, zero] =
                [histogram.count_int, histogram.zero_count_int].map(Option::unwrap_or_default);
            let positive = pairs(&histogram.positive_spans, &histogram.positive_deltas);
            let negative = pairs(&histogram.negative_spans, &histogram.negative_deltas);
            lines.push(format!(
                "{series} {{count:{count} sum:{sum} schema:{schema} zero:{zero} positive:[{positive}] \
                 negative:[{negative}]}} {timestamp}\n"
            ));
        }
    }
    for MetricMetadata { r#type, metric_family_name, help, unit } in &request.metadata {
        let of = MetricType::try_from(*r#type).unwrap_or(MetricType::Unknown);
        lines.push(format!("# {metric_family_name} {of:?} {unit:?} {help:?}\n"));
    }
    lines.concat()
}

fn pairs(spans: &[BucketSpan], deltas: &[i64]) -> String {
    let (mut index, mut count) = (0, 0);
    let mut deltas = deltas.iter();
    let mut all = Vec::new();
    for span in spans {
        index += span.offset;
        for delta in deltas.by_ref().take(span.length as usize) {
            count += delta;
            all.push(format!("{index}:{count}"));
            index += 1;
        }
    }
    all.join(" ")
}
