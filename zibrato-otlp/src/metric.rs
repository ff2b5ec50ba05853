//! Measurements as metrics.

use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::{
    AggregationTemporality, ExponentialHistogram, Gauge, Metric, Sum,
};
use zibrato_worker::{Measurement, Temporality, Value};

use crate::options::TimerUnit;
use crate::point::{Period, Scale, exponential, gauge, number, total};
use crate::resource::Resources;

/// How measurements become metrics.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Style {
    pub(crate) temporality: Temporality,
    pub(crate) timer_unit: TimerUnit,
    /// When a period began of which that is not known, in nanoseconds since 1970 UTC.
    pub(crate) began: u64,
}

impl Style {
    fn aggregation_temporality(self) -> i32 {
        match self.temporality {
            Temporality::Cumulative => AggregationTemporality::Cumulative.into(),
            Temporality::Delta => AggregationTemporality::Delta.into(),
        }
    }
}

/// A metric of the kind of a measurement, without data points.
pub(crate) fn empty(measurement: &Measurement, style: Style) -> Metric {
    let aggregation_temporality = style.aggregation_temporality();
    let data = match &measurement.value {
        Value::Counter(_) => Data::Sum(Sum { aggregation_temporality, is_monotonic: true, ..Sum::default() }),
        Value::Updown(_) => Data::Sum(Sum { aggregation_temporality, ..Sum::default() }),
        Value::Timer(_) | Value::Distribution(_) => Data::ExponentialHistogram(ExponentialHistogram {
            aggregation_temporality,
            ..ExponentialHistogram::default()
        }),
        Value::Gauge(_) | Value::Point { .. } => Data::Gauge(Gauge::default()),
    };
    let unit = match (&measurement.value, style.timer_unit) {
        (Value::Timer(_), TimerUnit::S) => "s",
        (Value::Timer(_), TimerUnit::Ns) => "ns",
        _ => measurement.unit.as_deref().unwrap_or_default(),
    };
    Metric {
        name: measurement.series.name.clone(),
        description: measurement.help.clone().unwrap_or_default(),
        unit: unit.into(),
        data: Some(data),
        ..Metric::default()
    }
}

/// Adds a measurement at a time to a metric of its kind.
pub(crate) fn add(
    metric: &mut Metric,
    measurement: &Measurement,
    time: u64,
    resources: &Resources,
    style: Style,
) {
    let attributes = resources.attributes(&measurement.series);
    let since = if measurement.since == 0 { style.began } else { measurement.since };
    let period = Period::new(since, time);
    match (&mut metric.data, &measurement.value) {
        (Some(Data::Sum(sum)), Value::Counter(value) | Value::Updown(value)) => {
            let mut point = number(total(*value), period);
            point.attributes = attributes;
            sum.data_points.push(point);
        }
        (Some(Data::Gauge(all)), Value::Gauge(value)) => {
            let mut point = gauge(value.last, time);
            point.attributes = attributes;
            all.data_points.push(point);
        }
        (Some(Data::Gauge(all)), Value::Point { time, value }) => {
            let mut point = gauge(*value, *time);
            point.attributes = attributes;
            all.data_points.push(point);
        }
        (Some(Data::ExponentialHistogram(all)), Value::Timer(summary) | Value::Distribution(summary)) => {
            let is_timer = matches!(measurement.value, Value::Timer(_));
            let scale = if is_timer { Scale::of_timers(style.timer_unit) } else { Scale::One };
            // Extremes of totals would have to be known of all time.
            let extremes = style.temporality == Temporality::Delta && !summary.approximate;
            let mut point = exponential(summary, scale, extremes, period);
            point.attributes = attributes;
            all.data_points.push(point);
        }
        // A metric was made of a measurement of the same kind.
        _ => {}
    }
}
