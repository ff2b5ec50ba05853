//! What the service did against what arrived.

use std::collections::HashMap;
use std::time::Duration;

use serde_json::{Value, json};
use zibrato_core::ledger::Change;

use super::tally::{ALL, Tally, Which};
use crate::figures::Series;
use crate::number;
use crate::output::{BAD, DIM, GOOD, HEADING, styled};
use crate::table::{Column, Table};

/// A figure on both sides.
struct Line {
    level: String,
    kind: &'static str,
    name: String,
    tags: String,
    figure: &'static str,
    did: i64,
    /// As a whole number, which everything is that the service counts; `None` where it is not.
    arrived: Option<i64>,
}

impl Line {
    fn is_exact(&self) -> bool {
        self.arrived == Some(self.did)
    }
}

/// All figures on both sides.
pub(super) struct Comparison(Vec<Line>);

/// Whether everything has arrived.
pub(super) fn is_exact<'a>(totals: impl Iterator<Item = (&'a Series, &'a Change)>) -> bool {
    Comparison::of(totals).exact()
}

impl Comparison {
    pub(super) fn of<'a>(totals: impl Iterator<Item = (&'a Series, &'a Change)>) -> Comparison {
        let mut arrived: HashMap<_, _> = totals.map(|(series, change)| (key(series), change)).collect();
        let mut seen = Vec::new();
        let mut lines: Vec<Line> = ALL
            .iter()
            .map(|tally| {
                let tags = tally.tag.map(|(name, value)| format!("{name}={value}")).unwrap_or_default();
                let key = (tally.level.into(), tally.kind.name(), tally.name.into(), tags);
                let came = arrived.get(&key).map_or(Some(0), |change| figure(tally, change));
                let line = Line {
                    level: tally.level.into(),
                    kind: tally.kind.name(),
                    name: tally.name.into(),
                    tags: key.3.clone(),
                    figure: tally.which.name(),
                    did: tally.did(),
                    arrived: came,
                };
                seen.push(key);
                line
            })
            .collect();
        arrived.retain(|key, _| !seen.contains(key));
        // Nothing may arrive that the service did not do.
        lines.extend(arrived.into_iter().map(|((level, kind, name, tags), _)| Line {
            level,
            kind,
            name,
            tags,
            figure: "any",
            did: 0,
            arrived: None,
        }));
        Comparison(lines)
    }

    pub(super) fn exact(&self) -> bool {
        self.0.iter().all(Line::is_exact)
    }

    pub(super) fn text(&self, ran: Duration, columns: Option<usize>) -> String {
        let mut table = Table::new([
            Column::left("LEVEL"),
            Column::left("KIND"),
            Column::left("NAME"),
            Column::left("TAGS"),
            Column::left("FIGURE"),
            Column::right("SERVICE DID"),
            Column::right("ARRIVED"),
            Column::left("DIFFERENCE"),
        ]);
        for line in &self.0 {
            let difference = match line.arrived {
                Some(arrived) if arrived == line.did => "exact".into(),
                Some(arrived) => format!("{:+}", arrived.saturating_sub(line.did)),
                None => "unexpected".into(),
            };
            table.row([
                line.level.clone(),
                line.kind.into(),
                line.name.clone(),
                line.tags.clone(),
                line.figure.into(),
                number::count(line.did as f64),
                line.arrived.map(|n| number::count(n as f64)).unwrap_or_default(),
                difference,
            ]);
        }
        let widths = table.fitted(table.widths(&[0; 8]), columns);
        let table = table.text(&widths, true, |row, column, text| match column {
            0 | 1 | 4 => styled(DIM, &text),
            7 if self.0[row].is_exact() => styled(GOOD, &text),
            7 => styled(BAD, &text),
            _ => text,
        });
        let title = styled(HEADING, "What the service did, and what arrived");
        format!("\n{title}\n\n{table}\n{}\n", self.verdict(ran))
    }

    fn verdict(&self, ran: Duration) -> String {
        let wrong = self.0.iter().filter(|line| !line.is_exact()).count();
        let (all, seconds) = (self.0.len(), number::seconds(ran.as_secs_f64()));
        if wrong > 0 {
            return format!("{} {wrong} of {all} figures are not the same", styled(BAD, "different:"));
        }
        let counted = self.0.iter().filter(|line| line.figure == Which::Count.name());
        let measurements: i64 = counted.map(|line| line.did).sum();
        format!(
            "{} all {all} figures are the same after {seconds} and {} counts",
            styled(GOOD, "exact:"),
            number::count(measurements as f64)
        )
    }

    pub(super) fn json(&self, ran: Duration) -> String {
        let metric = |line: &Line| -> Value {
            json!({
                "level": line.level,
                "kind": line.kind,
                "name": line.name,
                "tags": tags(&line.tags),
                "figure": line.figure,
                "did": line.did,
                "arrived": line.arrived,
                "exact": line.is_exact(),
            })
        };
        let metrics: Vec<Value> = self.0.iter().map(metric).collect();
        json!({ "exact": self.exact(), "seconds": ran.as_secs_f64(), "metrics": metrics }).to_string()
    }
}

type Key = (String, &'static str, String, String);

fn key(series: &Series) -> Key {
    let (level, name) = (series.level.to_string(), series.name.to_string());
    (level, series.kind.name(), name, series.tags.to_string())
}

fn tags(text: &str) -> Value {
    let pairs = text.split(',').filter_map(|pair| pair.split_once('='));
    Value::Object(pairs.map(|(name, value)| (name.into(), value.into())).collect())
}

/// The figure of a change that a tally counts; `None` where it is no whole number.
fn figure(tally: &Tally, change: &Change) -> Option<i64> {
    let whole = |value: f64| (value.fract() == 0.0 && value.abs() < 9e15).then_some(value as i64);
    match (tally.which, change) {
        (Which::Count | Which::Sum, Change::Total(total)) => whole(total.float).map(|f| total.whole + f),
        (Which::Count, Change::Spread { histogram, .. }) => i64::try_from(histogram.count()).ok(),
        (Which::Sum, Change::Spread { sum, .. }) => whole(sum.float).map(|f| sum.whole + f),
        (Which::Last, Change::Gauge { last, .. }) => whole(*last),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use zibrato_core::frame::{Kind, Tags, Total};

    use super::*;

    #[test]
    fn differences_are_shown() {
        let series = |name: &str| Series {
            name: name.into(),
            source: "demo".into(),
            tags: Tags::none(),
            level: "info".into(),
            kind: Kind::Counter,
        };
        let (words, other) = (series("index.words"), series("never.done"));
        let (three, one) = (Change::Total(Total::whole(3)), Change::Total(Total::whole(1)));
        assert!(is_exact(std::iter::empty()), "nothing was done yet");
        let comparison = Comparison::of([(&words, &three), (&other, &one)].into_iter());
        assert!(!comparison.exact());
        let text = anstream::adapter::strip_str(&comparison.text(Duration::from_secs(1), None)).to_string();
        let line = text.lines().find(|line| line.contains("index.words")).unwrap();
        assert!(line.ends_with("+3"), "{text}");
        assert!(text.contains("unexpected") && text.contains("different: 2 of 16"), "{text}");
        let json: Value = serde_json::from_str(&comparison.json(Duration::from_secs(1))).unwrap();
        assert_eq!(json["exact"], false);
    }
}
