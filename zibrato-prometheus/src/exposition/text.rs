//! The text format, version 0.0.4.
//!
//! Source: Prometheus, "Exposition formats", "Text-based format".

use std::fmt::Write as _;

use zibrato_worker::Value;

use super::{Exposed, Family, Head, Style, escape, number};
use crate::family::Type;

pub(super) fn render(families: &[Family], style: &Style) -> String {
    let mut out = String::with_capacity(64 * families.len());
    for Family { head, series } in families {
        if !head.help.is_empty() {
            let _ = write!(out, "# HELP {} ", head.name);
            escape(&head.help, false, &mut out);
            out.push('\n');
        }
        let _ = writeln!(out, "# TYPE {} {}", head.name, head.of.name());
        for one in series {
            if head.of == Type::Histogram {
                histogram(head, one, style, number::bound, &["_sum", "_count"], &mut out);
            } else {
                sample(&head.name, "", one, None, &number::single(&one.value), &mut out);
            }
        }
    }
    out
}

/// One line.
pub(super) fn sample(
    name: &str,
    ending: &str,
    one: &Exposed,
    label: Option<(&str, &str)>,
    value: &str,
    out: &mut String,
) {
    out.push_str(name);
    out.push_str(ending);
    one.labels.with(label, out);
    out.push(' ');
    out.push_str(value);
    out.push('\n');
}

/// The lines of a classic histogram: its buckets, then these.
pub(super) fn histogram(
    head: &Head,
    one: &Exposed,
    style: &Style,
    bound: fn(f64) -> String,
    endings: &[&str],
    out: &mut String,
) {
    let (Value::Timer(summary) | Value::Distribution(summary)) = &*one.value else { return };
    let bounds = style.classic.of(head.scale);
    let counts = bounds.count(&summary.histogram, head.scale);
    let limits = bounds.values().iter().map(|value| bound(*value)).chain(std::iter::once("+Inf".into()));
    for (limit, count) in limits.zip(counts) {
        sample(&head.name, "_bucket", one, Some(("le", &limit)), &count.to_string(), out);
    }
    for ending in endings {
        let value = match *ending {
            "_count" => summary.count().to_string(),
            _ => number::float(head.scale.of(summary.sum())),
        };
        sample(&head.name, ending, one, None, &value, out);
    }
}
