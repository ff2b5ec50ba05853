//! Measurements as lines.

use zibrato_worker::{GaugeSummary, Measurement, Summary, Total, Value};

use crate::naming::Form;
use crate::number::{float, milliseconds, total};
use crate::options::{Dialect, Options, Timers, Updown};
use crate::samples::{Sample, even, exact_weights, rate, weighted};

/// Lines that stay together, in one packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Unit {
    /// One line or two, without the last line end.
    pub(crate) text: String,
    /// Whether the daemon has the same in the end when it gets this twice.
    pub(crate) repeatable: bool,
}

/// A measurement as lines, each at most `longest` bytes long.
///
/// # Errors
/// Why it cannot be sent.
pub(crate) fn encode(
    measurement: &Measurement,
    time: u64,
    options: &Options,
    longest: usize,
) -> Result<Vec<Unit>, String> {
    let form = Form::new(&measurement.series, options.dialect);
    let mut lines = Lines { form, options, time: time / 1_000_000_000, longest, units: Vec::new() };
    match &measurement.value {
        Value::Counter(increase) => lines.count("", total(*increase))?,
        Value::Updown(change) if options.updown() == Updown::Counter => lines.count("", total(*change))?,
        Value::Updown(change) => lines.change(*change)?,
        Value::Gauge(GaugeSummary { last, .. }) => lines.gauge("", *last)?,
        Value::Point { time, value } => {
            lines.time = time / 1_000_000_000;
            lines.gauge("", *value)?;
        }
        Value::Timer(summary) => {
            lines.summary(summary, &Unity { per: 1e6, kind: "ms", sum: milliseconds })?
        }
        Value::Distribution(summary) => {
            let kind = if options.dialect == Dialect::Dogstatsd { "d" } else { "ms" };
            lines.summary(summary, &Unity { per: 1.0, kind, sum: total })?;
        }
    }
    match lines.units.iter().find(|unit| unit.text.len() > longest) {
        Some(unit) => Err(format!("its line has {} bytes, and a packet takes {longest}", unit.text.len())),
        None => Ok(lines.units),
    }
}

/// How the values of a summary are written.
struct Unity {
    /// What a value is divided by.
    per: f64,
    /// The type of a line with values.
    kind: &'static str,
    /// Writes an exact sum.
    sum: fn(Total) -> Option<String>,
}

impl Unity {
    /// Nanoseconds have six decimals as milliseconds.
    fn text(&self, value: f64) -> Option<String> {
        let value = value / self.per;
        float(if self.per == 1.0 { value } else { (value * 1e6).round() / 1e6 })
    }
}

struct Lines<'a> {
    form: Form,
    options: &'a Options,
    /// In seconds since 1970.
    time: u64,
    longest: usize,
    units: Vec<Unit>,
}

const NOT_FINITE: &str = "its value is not finite";

impl Lines<'_> {
    fn line(&self, suffix: &str, values: &str, kind: &str, rate: Option<&str>) -> String {
        let Form { name, head, tail } = &self.form;
        let rate = rate.map(|rate| format!("|@{rate}")).unwrap_or_default();
        let is_timed = self.options.timestamps
            && self.options.dialect == Dialect::Dogstatsd
            && matches!(kind, "c" | "g")
            && self.time > 0;
        let time = if is_timed { format!("|T{}", self.time) } else { String::new() };
        format!("{name}{suffix}{head}:{values}|{kind}{rate}{tail}{time}")
    }

    fn add(&mut self, text: String, repeatable: bool) {
        self.units.push(Unit { text, repeatable });
    }

    /// A counter that rises by this; nothing where that is 0.
    fn count(&mut self, suffix: &str, increase: Option<String>) -> Result<(), String> {
        let increase = increase.ok_or(NOT_FINITE)?;
        if increase != "0" {
            self.add(self.line(suffix, &increase, "c", None), false);
        }
        Ok(())
    }

    /// A gauge that is changed by this; nothing where that is 0.
    fn change(&mut self, change: Total) -> Result<(), String> {
        if self.options.dialect == Dialect::Dogstatsd {
            return Err("Datadog's gauges cannot be raised and lowered; use --updown counter".into());
        }
        let change = total(change).ok_or(NOT_FINITE)?;
        if change != "0" {
            let sign = if change.starts_with('-') { "" } else { "+" };
            self.add(self.line("", &format!("{sign}{change}"), "g", None), false);
        }
        Ok(())
    }

    /// A gauge that is set. With a sign in front all but Datadog's daemons take it as a change, so that a value below 0
    /// comes after a 0, in the same packet.
    fn gauge(&mut self, suffix: &str, value: f64) -> Result<(), String> {
        let value = float(value).ok_or(NOT_FINITE)?;
        let mut text = self.line(suffix, &value, "g", None);
        if value.starts_with('-') && self.options.dialect != Dialect::Dogstatsd {
            text = format!("{}\n{text}", self.line(suffix, "0", "g", None));
        }
        self.add(text, true);
        Ok(())
    }

    fn summary(&mut self, summary: &Summary, unity: &Unity) -> Result<(), String> {
        match self.options.timers() {
            Timers::Aggregates => self.aggregates(summary, unity),
            Timers::Samples => self.samples(summary, unity),
        }
    }

    fn aggregates(&mut self, summary: &Summary, unity: &Unity) -> Result<(), String> {
        let count = summary.count();
        self.count(".count", Some(count.to_string()))?;
        self.count(".sum", (unity.sum)(summary.sum))?;
        if count == 0 {
            // A part of a sum that a program left when it ended.
            return Ok(());
        }
        let quantiles =
            [(".p50", 0.5), (".p90", 0.9), (".p99", 0.99)].map(|(name, q)| (name, summary.quantile(q)));
        let mean = summary.sum() / count as f64;
        let figures = [(".min", summary.min), (".max", summary.max), (".mean", mean)];
        for (suffix, value) in figures.into_iter().chain(quantiles) {
            let value = unity.text(value).and_then(|text| text.parse().ok()).ok_or(NOT_FINITE)?;
            self.gauge(suffix, value)?;
        }
        Ok(())
    }

    fn samples(&mut self, summary: &Summary, unity: &Unity) -> Result<(), String> {
        let dogstatsd = self.options.dialect == Dialect::Dogstatsd;
        if summary.min < 0.0 && !dogstatsd {
            return Err("StatsD takes no values below 0 as timers; use --timers aggregates".into());
        }
        let most = u64::from(self.options.samples);
        let samples = if dogstatsd { weighted(summary) } else { even(summary, most) };
        let mut pending: Option<(u64, Vec<String>)> = None;
        for (value, weight) in samples.into_iter().flat_map(exact) {
            let value = unity.text(value).ok_or(NOT_FINITE)?;
            match &mut pending {
                Some((own, values)) if *own == weight && dogstatsd => values.push(value),
                _ => {
                    self.values(pending.take(), unity);
                    pending = Some((weight, vec![value]));
                }
            }
        }
        self.values(pending, unity);
        Ok(())
    }

    /// Values of one weight, in as many lines as they need.
    fn values(&mut self, values: Option<(u64, Vec<String>)>, unity: &Unity) {
        let Some((weight, values)) = values else { return };
        let rate = rate(weight);
        let around = self.line("", "", unity.kind, rate.as_deref()).len();
        let mut text = String::new();
        for value in values {
            if !text.is_empty() && around + text.len() + 1 + value.len() > self.longest {
                self.add(self.line("", &text, unity.kind, rate.as_deref()), false);
                text.clear();
            }
            if !text.is_empty() {
                text.push(':');
            }
            text += &value;
        }
        self.add(self.line("", &text, unity.kind, rate.as_deref()), false);
    }
}

fn exact(sample: Sample) -> impl Iterator<Item = (f64, u64)> {
    exact_weights(sample.weight).into_iter().map(move |weight| (sample.value, weight))
}
