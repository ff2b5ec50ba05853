//! A batch as lines of line protocol.
//!
//! The name of a field begins with the kind, so that two kinds of one name never meet in a field, where they would overwrite
//! one another or be of two types.

use std::fmt::Write as _;
use std::ops::Range;
use std::time::Duration;

use zibrato_worker::{Batch, Measurement, Statistics, Summary, Total, Value};

/// How lines are written.
#[derive(Debug, Clone)]
pub(crate) struct Form {
    /// The step in which times are told.
    pub(crate) step: Duration,
    /// What the tag is called that carries the source.
    pub(crate) source_tag: String,
    /// Whether whole numbers are floats, too.
    pub(crate) floats: bool,
}

/// What is to be sent of a batch, and what could not be.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    text: String,
    /// Where each line is, with its end.
    places: Vec<Range<usize>>,
    /// Which of the batch's measurements each line is.
    pub(crate) indices: Vec<usize>,
    pub(crate) refused: Vec<(usize, String)>,
}

impl Lines {
    pub(crate) fn of(batch: &Batch, form: &Form) -> Lines {
        let mut lines =
            Lines { text: String::with_capacity(batch.measurements.len() * 128), ..Lines::default() };
        for (index, measurement) in batch.measurements.iter().enumerate() {
            let begin = lines.text.len();
            if write(&mut lines.text, measurement, batch.time, form) {
                lines.places.push(begin..lines.text.len());
                lines.indices.push(index);
            } else {
                lines.text.truncate(begin);
                lines.refused.push((index, "it is not a finite number".into()));
            }
        }
        lines
    }

    /// The body of a request with some of the lines.
    pub(crate) fn body(&self, part: &[usize]) -> String {
        if part.len() == self.places.len() {
            return self.text.clone();
        }
        part.iter().map(|&line| &self.text[self.places[line].clone()]).collect()
    }

    /// All of it.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }
}

/// Writes one line; false where there is a number that line protocol cannot say.
fn write(out: &mut String, measurement: &Measurement, time: u64, form: &Form) -> bool {
    let Measurement { series, value, .. } = measurement;
    escape(out, &series.name, &[',', ' ']);
    if !series.source.is_empty() {
        tag(out, &form.source_tag, &series.source);
    }
    for (name, value) in &series.tags {
        tag(out, name, value);
    }
    let mut fields = Fields { out, kind: series.kind.name(), floats: form.floats, first: true, finite: true };
    let mut time = time;
    match value {
        Value::Counter(total) | Value::Updown(total) => fields.total(*total),
        Value::Timer(summary) => fields.summary(summary, summary.in_seconds(), 1e9),
        Value::Distribution(summary) => fields.summary(summary, summary.statistics(), 1.0),
        Value::Gauge(gauge) => {
            fields.float("", gauge.last);
            if let Some((count, sum, min, max)) = gauge.statistics {
                fields.whole("_count", count.try_into().unwrap_or(i64::MAX));
                fields.float("_sum", sum);
                fields.float("_min", min);
                fields.float("_max", max);
            }
        }
        Value::Point { time: own, value } => {
            fields.float("", *value);
            time = *own;
        }
    }
    let finite = fields.finite;
    // A step is from 1 ns to 1 s, and a String takes all that is written.
    let _ = writeln!(out, " {}", time / form.step.as_nanos() as u64);
    finite
}

struct Fields<'a> {
    out: &'a mut String,
    kind: &'static str,
    floats: bool,
    first: bool,
    finite: bool,
}

impl Fields<'_> {
    fn name(&mut self, statistic: &str) {
        self.out.push(if self.first { ' ' } else { ',' });
        self.first = false;
        self.out.push_str(self.kind);
        self.out.push_str(statistic);
        self.out.push('=');
    }

    fn whole(&mut self, statistic: &str, number: i64) {
        self.name(statistic);
        let _ = if self.floats { write!(self.out, "{number}") } else { write!(self.out, "{number}i") };
    }

    fn float(&mut self, statistic: &str, number: f64) {
        self.finite &= number.is_finite();
        self.name(statistic);
        // As many digits as tell it from every other float, with an exponent where it is long.
        let _ = write!(self.out, "{number:?}");
    }

    /// Whole increments and others apart, so that neither field ever changes its type.
    fn total(&mut self, total: Total) {
        if self.floats && total.float != 0.0 {
            return self.float("", total.value());
        }
        self.whole("", total.whole);
        if total.float != 0.0 {
            self.float("_float", total.float);
        }
    }

    fn summary(&mut self, summary: &Summary, statistics: Statistics, unit: f64) {
        let Statistics { count, sum, min, max, sum_of_squares } = statistics;
        self.whole("_count", count.try_into().unwrap_or(i64::MAX));
        self.float("_sum", sum);
        if count == 0 {
            return;
        }
        self.float("_min", min);
        self.float("_max", max);
        self.float("_mean", statistics.mean());
        for (name, q) in [("_p50", 0.5), ("_p90", 0.9), ("_p99", 0.99)] {
            self.float(name, summary.quantile(q) / unit);
        }
        if let Some(squares) = sum_of_squares {
            self.float("_sum_squares", squares);
        }
    }
}

fn tag(out: &mut String, name: &str, value: &str) {
    const SPECIAL: [char; 3] = [',', '=', ' '];
    out.push(',');
    escape(out, name, &SPECIAL);
    out.push('=');
    escape(out, value, &SPECIAL);
}

fn escape(out: &mut String, text: &str, special: &[char]) {
    if !text.contains(special) {
        return out.push_str(text);
    }
    for character in text.chars() {
        if special.contains(&character) {
            out.push('\\');
        }
        out.push(character);
    }
}
