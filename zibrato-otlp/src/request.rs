//! Measurements as a request.

use std::collections::BTreeMap;

use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::common::v1::InstrumentationScope;
use opentelemetry_proto::tonic::metrics::v1::{Metric, ResourceMetrics, ScopeMetrics};
use zibrato_worker::{Kind, Measurement, Value};

use crate::metric::{Style, add, empty};
use crate::resource::{Place, Resources};

/// A request with measurements at a time.
pub(crate) fn request<'a>(
    measurements: impl Iterator<Item = &'a Measurement> + Clone,
    time: u64,
    resources: &Resources,
    style: Style,
) -> ExportMetricsServiceRequest {
    let mut places: BTreeMap<Place<'_>, BTreeMap<(&str, Kind), Metric>> = BTreeMap::new();
    for measurement in latest(measurements) {
        let series = &measurement.series;
        let metrics = places.entry(resources.place(series)).or_default();
        let metric = metrics.entry((&series.name, series.kind)).or_insert_with(|| empty(measurement, style));
        add(metric, measurement, time, resources, style);
    }
    let scope = InstrumentationScope {
        name: "zibrato".into(),
        version: env!("CARGO_PKG_VERSION").into(),
        ..InstrumentationScope::default()
    };
    let resource_metrics = places.into_iter().map(|(place, metrics)| ResourceMetrics {
        resource: Some(resources.resource(&place)),
        scope_metrics: vec![ScopeMetrics {
            scope: Some(scope.clone()),
            metrics: metrics.into_values().collect(),
            ..ScopeMetrics::default()
        }],
        ..ResourceMetrics::default()
    });
    ExportMetricsServiceRequest { resource_metrics: resource_metrics.collect() }
}

/// All measurements, of points of one series and time only the last.
fn latest<'a>(measurements: impl Iterator<Item = &'a Measurement> + Clone) -> Vec<&'a Measurement> {
    let points = measurements.clone().enumerate().filter_map(|(i, measurement)| match measurement.value {
        Value::Point { time, .. } => Some(((&measurement.series, time), i)),
        _ => None,
    });
    let last: BTreeMap<_, usize> = points.collect();
    let stays = |(i, measurement): &(usize, &'a Measurement)| match measurement.value {
        Value::Point { time, .. } => last.get(&(&measurement.series, time)) == Some(i),
        _ => true,
    };
    measurements.enumerate().filter(stays).map(|(_, measurement)| measurement).collect()
}
