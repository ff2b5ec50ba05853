//! Measurements as lines: a path, a value and a time in seconds.

use zibrato_worker::{Batch, GaugeSummary, Measurement, Series, Summary, Value};

/// The lines of a measurement, each with its line end.
///
/// # Errors
/// Why it cannot be sent: carbon drops what is not finite without a word.
pub(crate) fn lines(measurement: &Measurement, batch: &Batch) -> Result<String, String> {
    let series = &measurement.series;
    let line = |suffix: &str, value: f64| line(series, suffix, value, batch.time);
    match &measurement.value {
        Value::Counter(change) | Value::Updown(change) => line(".count", change.value()),
        Value::Gauge(GaugeSummary { last, .. }) => line("", *last),
        Value::Point { time, value } => self::line(series, "", *value, *time),
        Value::Timer(summary) => figures(measurement, summary, 1e9, line),
        Value::Distribution(summary) => figures(measurement, summary, 1.0, line),
    }
}

/// A line for each figure of a timer or distribution, whose quantiles are divided by `unit`.
fn figures(
    measurement: &Measurement,
    summary: &Summary,
    unit: f64,
    line: impl Fn(&str, f64) -> Result<String, String>,
) -> Result<String, String> {
    // Timers are in seconds there.
    let statistics = measurement.statistics().ok_or("it has no statistics")?;
    let mut lines = line(".count", statistics.count as f64)? + &line(".sum", statistics.sum)?;
    // Where a program ended, a part of a sum may be left without values.
    if statistics.count > 0 {
        let figures = [(".min", statistics.min), (".max", statistics.max), (".mean", statistics.mean())];
        let quantiles = [(".p50", 0.5), (".p90", 0.9), (".p99", 0.99)];
        let quantiles = quantiles.map(|(suffix, q)| (suffix, summary.quantile(q) / unit));
        for (suffix, value) in figures.into_iter().chain(quantiles) {
            lines += &line(suffix, value)?;
        }
    }
    Ok(lines)
}

fn line(series: &Series, suffix: &str, value: f64, time: u64) -> Result<String, String> {
    if !value.is_finite() {
        return Err("its value is not finite".into());
    }
    let tags: String = series.tags.iter().map(|(name, value)| format!(";{name}={value}")).collect();
    Ok(format!("{}{suffix}{tags} {value} {}\n", series.name, time / 1_000_000_000))
}
