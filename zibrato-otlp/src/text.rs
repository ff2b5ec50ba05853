//! A request as text, for `--dry-run`.

use std::fmt::Write as _;

use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::metrics::v1::exponential_histogram_data_point::Buckets;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value;
use opentelemetry_proto::tonic::metrics::v1::{
    AggregationTemporality, ExponentialHistogramDataPoint, NumberDataPoint,
};

use crate::resource::text_of;

/// A line for each resource, metric and data point, indented below each other.
pub(crate) fn text(request: &ExportMetricsServiceRequest) -> String {
    let mut out = String::new();
    for one in &request.resource_metrics {
        let resource = one.resource.as_ref().map_or(&[][..], |resource| &resource.attributes);
        let _ = writeln!(out, "resource {}", attributes(resource));
        for metric in one.scope_metrics.iter().flat_map(|scope| &scope.metrics) {
            let _ = write!(out, "  {} ", metric.name);
            let lines = match &metric.data {
                Some(Data::Sum(sum)) => {
                    let monotonic = if sum.is_monotonic { "monotonic " } else { "" };
                    let _ = write!(out, "{}{monotonic}sum", temporality(sum.aggregation_temporality));
                    sum.data_points.iter().map(number).collect()
                }
                Some(Data::Gauge(gauge)) => {
                    out.push_str("gauge");
                    gauge.data_points.iter().map(number).collect()
                }
                Some(Data::ExponentialHistogram(all)) => {
                    let _ = write!(out, "{}exponential histogram", temporality(all.aggregation_temporality));
                    all.data_points.iter().map(exponential).collect()
                }
                // Nothing else is made here.
                _ => Vec::new(),
            };
            let _ = writeln!(out, ", unit {:?}, {:?}", metric.unit, metric.description);
            for line in lines {
                let _ = writeln!(out, "    {line}");
            }
        }
    }
    out
}

fn temporality(of: i32) -> &'static str {
    if of == i32::from(AggregationTemporality::Cumulative) { "cumulative " } else { "delta " }
}

fn attributes(all: &[KeyValue]) -> String {
    let all: Vec<String> = all.iter().map(|one| format!("{}={:?}", one.key, text_of(one))).collect();
    format!("{{{}}}", all.join(","))
}

fn period(start: u64, time: u64) -> String {
    if start == 0 { format!("at {time}") } else { format!("from {start} to {time}") }
}

fn number(point: &NumberDataPoint) -> String {
    let value = match point.value {
        Some(Value::AsInt(value)) => value.to_string(),
        Some(Value::AsDouble(value)) => format!("{value:?}"),
        None => "nothing".into(),
    };
    let period = period(point.start_time_unix_nano, point.time_unix_nano);
    format!("{} {value} {period}", attributes(&point.attributes))
}

fn exponential(point: &ExponentialHistogramDataPoint) -> String {
    let mut text = format!("{} count {}", attributes(&point.attributes), point.count);
    for (name, value) in [("sum", point.sum), ("min", point.min), ("max", point.max)] {
        if let Some(value) = value {
            let _ = write!(text, " {name} {value}");
        }
    }
    let _ = write!(text, " scale {} zero {}", point.scale, point.zero_count);
    for (name, side) in [("positive", &point.positive), ("negative", &point.negative)] {
        if let Some(Buckets { offset, bucket_counts }) = side {
            let _ = write!(text, " {name} {offset}:{bucket_counts:?}");
        }
    }
    format!("{text} {}", period(point.start_time_unix_nano, point.time_unix_nano))
}
