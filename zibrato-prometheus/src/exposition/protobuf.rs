//! The protobuf format: messages with their length before them.

use prost::Message as _;
use zibrato_worker::{Summary, Value};

use super::messages::{
    Bucket, BucketSpan, Counter, Gauge, Histogram, LabelPair, Metric, MetricFamily, MetricType, Timestamp,
};
use super::{Exposed, Family, Head, Style};
use crate::buckets::{Native, SCHEMA, Spans};
use crate::family::Type;

pub(super) fn render(families: &[Family], style: &Style) -> Vec<u8> {
    let mut out = Vec::new();
    for family in families {
        // A `Vec` grows, which is the only thing that could go wrong.
        let _ = message(family, style).encode_length_delimited(&mut out);
    }
    out
}

fn message(family: &Family, style: &Style) -> MetricFamily {
    let Family { head, series } = family;
    let text = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    let of = match head.of {
        Type::Histogram => MetricType::Histogram,
        Type::Counter => MetricType::Counter,
        Type::Gauge => MetricType::Gauge,
    };
    MetricFamily {
        name: Some(head.name.clone()),
        help: text(&head.help),
        r#type: Some(of.into()),
        metric: series.iter().map(|one| metric(head, one, style)).collect(),
        unit: text(&head.unit),
    }
}

fn metric(head: &Head, one: &Exposed, style: &Style) -> Metric {
    let label =
        |(name, value): &(String, String)| LabelPair { name: Some(name.clone()), value: Some(value.clone()) };
    let mut metric = Metric { label: one.labels.pairs.iter().map(label).collect(), ..Metric::default() };
    let created_timestamp = (one.since > 0).then_some(Timestamp {
        // Both fit: a u64 of nanoseconds has less than 2^35 seconds.
        seconds: (one.since / 1_000_000_000) as i64,
        nanos: (one.since % 1_000_000_000) as i32,
    });
    match &*one.value {
        Value::Counter(total) => {
            metric.counter = Some(Counter { value: Some(total.value()), created_timestamp });
        }
        Value::Updown(total) => metric.gauge = Some(Gauge { value: Some(total.value()) }),
        Value::Gauge(gauge) => metric.gauge = Some(Gauge { value: Some(gauge.last) }),
        Value::Point { value, .. } => metric.gauge = Some(Gauge { value: Some(*value) }),
        Value::Timer(summary) | Value::Distribution(summary) => {
            metric.histogram = Some(Histogram { created_timestamp, ..histogram(head, summary, style) });
        }
    }
    metric
}

fn histogram(head: &Head, summary: &Summary, style: &Style) -> Histogram {
    let bounds = style.classic.of(head.scale);
    let counts = bounds.count(&summary.histogram, head.scale);
    let bucket = |(&bound, count)| Bucket { cumulative_count: Some(count), upper_bound: Some(bound) };
    let native = Native::new(&summary.histogram, head.scale);
    Histogram {
        sample_count: Some(summary.count()),
        sample_sum: Some(head.scale.of(summary.sum())),
        bucket: bounds.values().iter().zip(counts).map(bucket).collect(),
        schema: Some(SCHEMA),
        zero_threshold: Some(native.zero_threshold),
        zero_count: Some(native.zero),
        negative_span: spans(&native.negative),
        negative_delta: native.negative.deltas,
        positive_span: spans(&native.positive),
        positive_delta: native.positive.deltas,
        created_timestamp: None,
    }
}

fn spans(side: &Spans) -> Vec<BucketSpan> {
    let span = |&(offset, length): &(i32, u32)| BucketSpan { offset: Some(offset), length: Some(length) };
    side.spans.iter().map(span).collect()
}
