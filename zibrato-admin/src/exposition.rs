//! A program's own metrics in Prometheus' text format, version 0.0.4.
//!
//! Source: Prometheus, "Exposition formats", "Text-based format", and "Metric and label naming".

use std::collections::BTreeMap;
use std::fmt::Write as _;

use zibrato_core::frame::{Kind, Row, State};

/// Names of metrics, as they are told at level `zibrato`, and what they mean: a sentence without a period.
pub type Help = &'static [(&'static str, &'static str)];

#[derive(Default)]
struct Family {
    kind: &'static str,
    help: &'static str,
    samples: BTreeMap<String, f64>,
}

/// Totals and gauges as text; rows of other kinds are left out. The sources are left out, too: whoever scrapes knows whom
/// it asks.
pub fn exposition(rows: &[Row], help: Help) -> String {
    let mut families: BTreeMap<String, Family> = BTreeMap::new();
    for row in rows {
        let (kind, value) = match (&row.state, row.key.kind) {
            (State::Total(total), Kind::Counter) => ("counter", total.value()),
            (State::Total(total), _) => ("gauge", total.value()),
            (State::Gauge(gauge), _) => ("gauge", gauge.value),
            _ => continue,
        };
        let family = families.entry(metric_name(&row.key.name, row.key.kind)).or_default();
        // A name has one kind; who broke that rule would spoil the whole answer.
        if family.kind.is_empty() {
            family.kind = kind;
            family.help = help.iter().find(|(name, _)| **name == *row.key.name).map_or("", |(_, help)| help);
        }
        if family.kind == kind {
            let pairs =
                row.key.tags.iter().map(|(name, value)| format!("{}=\"{}\"", label(name), escaped(value)));
            let labels = pairs.collect::<Vec<_>>().join(",");
            family.samples.insert(labels, value);
        }
    }
    let mut out = String::new();
    for (name, Family { kind, help, samples }) in families {
        // Writing into a `String` cannot fail.
        if !help.is_empty() {
            let _ = writeln!(out, "# HELP {name} {}.", help.replace('\\', "\\\\").replace('\n', "\\n"));
        }
        let _ = writeln!(out, "# TYPE {name} {kind}");
        for (labels, value) in samples {
            let _ = match &*labels {
                "" => writeln!(out, "{name} {value}"),
                labels => writeln!(out, "{name}{{{labels}}} {value}"),
            };
        }
    }
    out
}

/// A metric's name as Prometheus has it: `zibrato.broker.frames.in`, a counter, is `zibrato_broker_frames_in_total`.
pub fn metric_name(name: &str, kind: Kind) -> String {
    let name = label(name);
    if kind == Kind::Counter && !name.ends_with("_total") { name + "_total" } else { name }
}

/// Only what may be in a name.
fn label(name: &str) -> String {
    let fits = |(index, c): (usize, char)| match c {
        c if c.is_ascii_alphabetic() || c == '_' || c.is_ascii_digit() && index > 0 => c,
        _ => '_',
    };
    name.chars().enumerate().map(fits).collect()
}

fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use zibrato_core::frame::{Gauge, Key, Tags, Total};

    use super::*;

    fn row(kind: Kind, name: &str, tags: Tags, state: State) -> Row {
        let key = Key { kind, name: name.into(), source: "s".into(), tags, born: 0 };
        Row { key, state, trace: None, event: None }
    }

    #[test]
    fn rows_become_families() {
        let total = |n| State::Total(Total::whole(n));
        let gauge = State::Gauge(Gauge { value: 0.5, set_at: 1, statistics: None });
        let rows = [
            row(Kind::Counter, "a.b", Tags::new([("why", "q\"\\\n")]), total(2)),
            row(Kind::Gauge, "g-1", Tags::none(), gauge),
            row(Kind::Counter, "a.b", Tags::new([("why", "x"), ("1.b", "y")]), total(3)),
            row(Kind::Counter, "g-1", Tags::none(), total(4)),
        ];
        let text = exposition(&rows, &[("a.b", "What it\nis")]);
        let wanted = "\
# HELP a_b_total What it\\nis.
# TYPE a_b_total counter
a_b_total{_.b=\"y\",why=\"x\"} 3
a_b_total{why=\"q\\\"\\\\\\n\"} 2
# TYPE g_1 gauge
g_1 0.5
# TYPE g_1_total counter
g_1_total 4
";
        assert_eq!(text, wanted.replace("_.b", "__b"));
    }
}
