//! What is exposed, and the formats that it is exposed in.

mod messages;
mod negotiate;
mod number;
mod openmetrics;
mod protobuf;
mod text;

use std::sync::Arc;

use zibrato_worker::{Kind, Measurement, Value};

use crate::buckets::{Classic, Scale};
use crate::family::{FamilyKey, Type, stem};
use crate::naming::unit_word;

pub(crate) use negotiate::{Format, negotiate, takes_gzip};
pub(crate) use number::canonical_bound;

/// All series of one name.
#[derive(Debug, Clone)]
pub(crate) struct Family {
    pub(crate) head: Head,
    /// With different labels.
    pub(crate) series: Vec<Exposed>,
}

/// What is said of a family.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Head {
    /// Counters' end with `_total`.
    pub(crate) name: String,
    pub(crate) of: Type,
    pub(crate) scale: Scale,
    /// Without control characters; empty where nothing is known.
    pub(crate) help: String,
    /// An ending of the name, empty where there is none.
    pub(crate) unit: String,
}

impl Head {
    /// What is said of the family of a measurement that is exposed by this name.
    pub(crate) fn new(name: &str, key: &FamilyKey, help: Option<&str>, unit: Option<&str>) -> Head {
        let scale = if key.kind == Kind::Timer { Scale::Nanoseconds } else { Scale::One };
        let word =
            if scale == Scale::Nanoseconds { Some("seconds".into()) } else { unit.and_then(unit_word) };
        // OpenMetrics takes a unit only where the name says it, too.
        let fits =
            |word: &String| stem(name).strip_suffix(word.as_str()).is_some_and(|rest| rest.ends_with('_'));
        let fitting = word.filter(fits);
        let mut help: String =
            help.unwrap_or_default().chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        if let (None, Scale::One, Some(unit)) = (&fitting, scale, unit) {
            let unit: String = unit.chars().filter(|c| !c.is_control()).collect();
            let blank = if help.is_empty() { "" } else { " " };
            help = format!("{help}{blank}(in {unit})");
        }
        Head { name: name.into(), of: Type::of(key.kind), scale, help, unit: fitting.unwrap_or_default() }
    }
}

/// One series.
#[derive(Debug, Clone)]
pub(crate) struct Exposed {
    pub(crate) labels: Arc<Labels>,
    /// Since when totals are added up, in nanoseconds since 1970 UTC.
    pub(crate) since: u64,
    pub(crate) value: Arc<Value>,
}

/// The labels of a series.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Labels {
    /// By name.
    pub(crate) pairs: Vec<(String, String)>,
    /// As in the text formats, without braces.
    text: String,
}

impl Labels {
    /// The labels of a measurement whose series was cleaned.
    pub(crate) fn new(measurement: &Measurement, source_label: &str) -> Labels {
        let series = &measurement.series;
        let source = (!series.source.is_empty()).then(|| (source_label.to_owned(), series.source.clone()));
        let mut pairs: Vec<(String, String)> = series.tags.iter().cloned().chain(source).collect();
        pairs.sort();
        let mut text = String::new();
        for (name, value) in &pairs {
            if !text.is_empty() {
                text.push(',');
            }
            text.push_str(name);
            text.push_str("=\"");
            escape(value, true, &mut text);
            text.push('"');
        }
        Labels { pairs, text }
    }

    /// In braces, with one more label, whose value needs no escapes, at the end.
    fn with(&self, more: Option<(&str, &str)>, out: &mut String) {
        if self.text.is_empty() && more.is_none() {
            return;
        }
        out.push('{');
        out.push_str(&self.text);
        if let Some((name, value)) = more {
            if !self.text.is_empty() {
                out.push(',');
            }
            out.extend([name, "=\"", value, "\""]);
        }
        out.push('}');
    }
}

fn escape(text: &str, quotes: bool, out: &mut String) {
    for c in text.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '"' if quotes => out.push_str("\\\""),
            c => out.push(c),
        }
    }
}

/// How families are exposed.
#[derive(Debug, Clone)]
pub(crate) struct Style {
    pub(crate) classic: Classic,
    /// Whether OpenMetrics has `_created`.
    pub(crate) created: bool,
}

/// All families in a format.
pub(crate) fn render(families: &[Family], format: Format, style: &Style) -> Vec<u8> {
    match format {
        Format::OpenMetrics => openmetrics::render(families, style).into_bytes(),
        Format::Text => text::render(families, style).into_bytes(),
        Format::Protobuf => protobuf::render(families, style),
    }
}
