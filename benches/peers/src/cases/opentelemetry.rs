//! `opentelemetry` with its SDK, a periodic reader and an exporter that keeps what it is given. Bound instruments
//! are behind an experimental feature.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use ::opentelemetry::KeyValue;
use ::opentelemetry::metrics::MeterProvider;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::metrics::data::{AggregatedMetrics, MetricData, ResourceMetrics};
use opentelemetry_sdk::metrics::exporter::PushMetricExporter;
use opentelemetry_sdk::metrics::{PeriodicReader, SdkMeterProvider, Temporality};

use crate::case::{Case, Group, on_handles};

pub(crate) const BOUND_TIMER: &str = "`opentelemetry` histogram, bound";

/// Keeps how many events each metric has.
#[derive(Clone, Default)]
struct Keep(Arc<Mutex<HashMap<String, u64>>>);

impl Keep {
    fn of(&self, metric: &str) -> u64 {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(metric).copied().unwrap_or(0)
    }
}

impl PushMetricExporter for Keep {
    async fn export(&self, metrics: &ResourceMetrics) -> OTelSdkResult {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for metric in metrics.scope_metrics().flat_map(|scope| scope.metrics()) {
            let events = match metric.data() {
                AggregatedMetrics::U64(MetricData::Sum(sum)) => sum.data_points().map(|p| p.value()).sum(),
                AggregatedMetrics::F64(MetricData::Histogram(h)) => h.data_points().map(|p| p.count()).sum(),
                AggregatedMetrics::F64(MetricData::Gauge(g)) => {
                    g.data_points().map(|p| p.value() as u64).sum()
                }
                _ => 0,
            };
            kept.insert(metric.name().into(), events);
        }
        Ok(())
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
        Ok(())
    }

    fn temporality(&self) -> Temporality {
        Temporality::Cumulative
    }
}

pub(crate) fn cases() -> Vec<Case> {
    let keep = Keep::default();
    let reader = PeriodicReader::builder(keep.clone()).with_interval(Duration::from_secs(3_600)).build();
    let provider = SdkMeterProvider::builder().with_reader(reader).build();
    let meter = provider.meter("bench");
    let recorded = |prefix: &'static str| {
        let (keep, provider) = (keep.clone(), provider.clone());
        move || {
            if let Err(why) = provider.force_flush() {
                eprintln!("failed to collect from `opentelemetry`: {why}");
            }
            ["a", "b"].iter().map(|end| keep.of(&format!("{prefix}{end}"))).sum()
        }
    };
    let counter = |name: &'static str| meter.u64_counter(name).build();
    let histogram = |name: &'static str| meter.f64_histogram(name).build();
    let gauge = |name: &'static str| meter.f64_gauge(name).build();
    let attribute = [KeyValue::new("k", "v")];
    let (of_gauge, of_names) = (attribute.clone(), attribute.clone());
    vec![
        Case::peer(
            Group::Counters,
            "`opentelemetry` add(1, &[])",
            on_handles(["plain_a", "plain_b"].map(counter), |c, _| c.add(1, &[])),
        )
        .exact(recorded("plain_")),
        Case::peer(
            Group::Counters,
            "`opentelemetry` add(1), bound",
            on_handles(["bound_a", "bound_b"].map(|name| counter(name).bind(&attribute)), |c, _| c.add(1)),
        )
        .exact(recorded("bound_")),
        Case::peer(
            Group::Timers,
            "`opentelemetry` histogram, &[]",
            on_handles(["time_a", "time_b"].map(histogram), |h, _| {
                let start = Instant::now();
                h.record(start.elapsed().as_secs_f64(), &[]);
            }),
        )
        .exact(recorded("time_"))
        .distribution(),
        Case::peer(
            Group::Timers,
            BOUND_TIMER,
            on_handles(
                ["bound_time_a", "bound_time_b"].map(|name| histogram(name).bind(&attribute)),
                |h, _| {
                    let start = Instant::now();
                    h.record(start.elapsed().as_secs_f64());
                },
            ),
        )
        .exact(recorded("bound_time_"))
        .distribution(),
        Case::peer(
            Group::Gauges,
            "`opentelemetry` record(v, &[])",
            on_handles(["gauge_a", "gauge_b"].map(gauge), |g, i| g.record(i as f64, &[])),
        )
        .some(recorded("gauge_")),
        Case::peer(
            Group::Gauges,
            "`opentelemetry` record(v), bound",
            on_handles(["bound_gauge_a", "bound_gauge_b"].map(|name| gauge(name).bind(&of_gauge)), |g, i| {
                g.record(i as f64);
            }),
        )
        .some(recorded("bound_gauge_")),
        Case::peer(
            Group::RuntimeNames,
            "`opentelemetry` add(1) with an attribute (made before)",
            on_handles(["attribute_a", "attribute_b"].map(counter), move |c, _| c.add(1, &of_names)),
        )
        .exact(recorded("attribute_")),
    ]
}
