//! What would become of a measurement.

use crate::backend::Backend;
use crate::batch::{Batch, GaugeSummary, Measurement, Series, Summary, Value};
use crate::error::Error;
use crate::options::Options;
use crate::shard::stored;
use zibrato_core::frame::{Kind, Total};
use zibrato_core::histogram::Histogram;
use zibrato_core::trace::Trace;

/// What would become of a measurement in one backend.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Preview {
    /// The worker does not listen to its level, or leaves it out.
    LeftOut {
        /// By which option.
        why: String,
    },
    /// The backend cannot store it: it would be a dead letter.
    Refused {
        /// Why.
        why: String,
    },
    /// What would be sent.
    Sent {
        /// The text that [`render`](Backend::render) gives.
        text: String,
    },
}

/// Tells what would become of one value of a metric: an increase, a duration in seconds, or a gauge's value, at `now` in
/// nanoseconds since 1970 UTC.
///
/// # Errors
/// When the options are impossible.
pub fn preview<B: Backend>(
    options: &Options,
    backend: &B,
    level: &str,
    mut series: Series,
    value: f64,
    now: u64,
) -> Result<Preview, Error> {
    let left_out = |why: &str| Ok(Preview::LeftOut { why: why.into() });
    if !options.levels.contains(level) {
        return left_out("--levels");
    }
    let shape = options.shape()?;
    if let Some(selector) = shape.drop.iter().position(|selector| selector.matches(&series)) {
        return left_out(&format!("--drop, selector {}", selector + 1));
    }
    let kind = series.kind;
    if !shape.apply(&mut series, Some(zibrato_core::frame::InstanceId([0; 16]))) {
        return left_out("--keep");
    }
    let (series, storable) = stored(backend, series.clone(), || series);
    if let Err(why) = storable {
        return Ok(Preview::Refused { why });
    }
    let resolution = u64::try_from(backend.resolution().as_nanos()).unwrap_or(u64::MAX).max(1);
    let time = now.div_ceil(resolution).saturating_mul(resolution);
    let from = time.saturating_sub(u64::try_from(options.flush.as_nanos()).unwrap_or(u64::MAX));
    let value = value_of(kind, value, time);
    let (level, trace) = (level.into(), Trace::None);
    let measurement = Measurement { series, level, unit: None, help: None, since: from, value, trace };
    let text = backend.render(&Batch { id: 1, from, time, measurements: vec![measurement] });
    Ok(Preview::Sent { text })
}

fn value_of(kind: Kind, value: f64, time: u64) -> Value {
    let whole = value.fract() == 0.0 && value.abs() < 9e15;
    let total = if whole { Total::whole(value as i64) } else { Total { whole: 0, float: value } };
    let summary = |value: f64, sum| {
        let mut histogram = Histogram::default();
        histogram.record(value);
        Summary { sum, min: value, max: value, approximate: false, histogram }
    };
    match kind {
        Kind::Counter => Value::Counter(total),
        Kind::Updown => Value::Updown(total),
        Kind::Timer => Value::Timer(summary(value * 1e9, Total::whole((value * 1e9) as i64))),
        Kind::Distribution => Value::Distribution(summary(value, total)),
        Kind::Point => Value::Point { time, value },
        _ => Value::Gauge(GaugeSummary { last: value, statistics: None }),
    }
}
