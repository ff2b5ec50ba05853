//! What Librato documents about a submission, as checks.
//!
//! Source: the API documentation of Librato, "Measurements" (tagged) and "Metrics" (source-based), and the error
//! answers that its clients' issue threads quote.

use std::collections::{BTreeMap, HashMap};

use serde_json::value::RawValue;

use super::decimal::Decimal;
use super::store::{Figures, Series};
use crate::Api;

/// A documented rule that a request breaks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// The measurement, counted from 0 within its list; `None` when it is the request's.
    pub entry: Option<usize>,
    /// The list it is in: `gauges`, `counters` or `measurements`.
    pub list: &'static str,
    /// The parameter at fault.
    pub parameter: String,
    /// The metric's name where it has one.
    pub name: Option<String>,
    /// What is wrong with it.
    pub message: String,
}

impl std::fmt::Display for Violation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.entry {
            Some(entry) => write!(f, "{}[{entry}].{}", self.list, self.parameter)?,
            None => f.write_str(&self.parameter)?,
        }
        write!(f, " {}", self.message)?;
        if let Some(name) = &self.name {
            write!(f, " (metric {name:?})")?;
        }
        Ok(())
    }
}

/// One measurement that breaks no rule.
pub(super) struct Checked {
    pub(super) entry: usize,
    pub(super) series: Series,
    pub(super) time: u64,
    pub(super) figures: Figures,
}

/// What the checks compare with.
pub(super) struct Limits {
    /// Seconds since 1970.
    pub(super) now: u64,
    /// Most seconds that a measurement may lie back.
    pub(super) oldest: u64,
}

/// What a body turned out to be.
pub(super) struct Examined {
    pub(super) good: Vec<Checked>,
    pub(super) violations: Vec<Violation>,
    pub(super) entries: usize,
}

type Object = BTreeMap<String, Box<RawValue>>;

/// Checks a whole body.
pub(super) fn examine(api: Api, body: &[u8], limits: &Limits) -> Examined {
    let mut found = Examined { good: Vec::new(), violations: Vec::new(), entries: 0 };
    let request = |parameter: &str, message: &str| Violation {
        entry: None,
        list: "request",
        parameter: parameter.into(),
        name: None,
        message: message.into(),
    };
    let Ok(top) = serde_json::from_slice::<Object>(body) else {
        found.violations.push(request("body", "is not a JSON object"));
        return found;
    };
    let (lists, known, most): (&[&'static str], &[&str], usize) = match api {
        Api::Metrics => (&["gauges", "counters"], &["source", "measure_time"], 300),
        Api::Measurements => (&["measurements"], &["tags", "time", "period"], 999),
    };
    for parameter in top.keys().filter(|k| !lists.contains(&&***k) && !known.contains(&&***k)) {
        found.violations.push(request(parameter, "is not a known parameter"));
    }
    for &list in lists {
        let Some(raw) = top.get(list) else { continue };
        let Some(entries) = entries_of(raw.get()) else {
            found.violations.push(request(list, "is neither a list nor an object of objects"));
            continue;
        };
        for (entry, fields) in entries.into_iter().enumerate() {
            found.entries += 1;
            let mut check = Check { api, list, fields: &fields, top: &top, limits, wrong: Vec::new() };
            let checked = check.run();
            let name = fields.get("name").and_then(|n| serde_json::from_str::<String>(n.get()).ok());
            let wrong = std::mem::take(&mut check.wrong);
            match checked {
                Some((series, time, figures)) if wrong.is_empty() => {
                    found.good.push(Checked { entry, series, time, figures });
                }
                _ => found.violations.extend(wrong.into_iter().map(|(parameter, message)| Violation {
                    entry: Some(entry),
                    list,
                    parameter,
                    name: name.clone(),
                    message,
                })),
            }
        }
    }
    if found.entries == 0 {
        found.violations.push(request(lists[0], "must have at least one measurement"));
    }
    if found.entries > most {
        found.violations.push(request(lists[0], &format!("has {} measurements, over {most}", found.entries)));
    }
    let mut seen = HashMap::new();
    for checked in &found.good {
        if let Some(first) = seen.insert((&checked.series, checked.time), checked.entry) {
            found.violations.push(Violation {
                entry: Some(checked.entry),
                list: lists[0],
                parameter: "name".into(),
                name: Some(checked.series.name.clone()),
                message: format!("repeats series and time of entry {first}"),
            });
        }
    }
    found
}

fn entries_of(raw: &str) -> Option<Vec<Object>> {
    if let Ok(list) = serde_json::from_str::<Vec<Object>>(raw) {
        return Some(list);
    }
    let named = serde_json::from_str::<BTreeMap<String, Object>>(raw).ok()?;
    let with_name = |(key, mut fields): (String, Object)| {
        if !fields.contains_key("name") {
            let text = serde_json::to_string(&key).unwrap_or_default();
            if let Ok(name) = RawValue::from_string(text) {
                fields.insert("name".into(), name);
            }
        }
        fields
    };
    Some(named.into_iter().map(with_name).collect())
}

struct Check<'a> {
    api: Api,
    list: &'static str,
    fields: &'a Object,
    top: &'a Object,
    limits: &'a Limits,
    wrong: Vec<(String, String)>,
}

impl Check<'_> {
    fn run(&mut self) -> Option<(Series, u64, Figures)> {
        let statistics: &[&str] = match (self.api, self.list) {
            (Api::Metrics, "counters") => &[],
            (Api::Metrics, _) => &["count", "sum", "min", "max", "sum_squares"],
            (Api::Measurements, _) => &["count", "sum", "min", "max", "last", "stddev"],
        };
        let others: &[&str] = match self.api {
            Api::Metrics => {
                &["source", "measure_time", "period", "description", "display_name", "attributes"]
            }
            Api::Measurements => &["tags", "time", "period", "attributes"],
        };
        for key in self.fields.keys() {
            let key = &**key;
            if key != "name" && key != "value" && !statistics.contains(&key) && !others.contains(&key) {
                self.wrong(key, "is not a known parameter");
            }
        }
        let name = self.text(self.fields, "name");
        match &name {
            None => self.wrong("name", "is not present"),
            Some(name) => self.characters("name", name, 255, is_name),
        }
        let (source, tags) = match self.api {
            Api::Metrics => (self.source(), BTreeMap::new()),
            Api::Measurements => {
                let tags = self.tags();
                (tags.get("source").cloned().unwrap_or_default(), tags)
            }
        };
        let time = self.time();
        let period = self.fields.get("period").map(|p| p.get().parse::<u64>());
        if period.is_some_and(|p| !p.is_ok_and(|p| p > 0)) {
            self.wrong("period", "is not a positive integer");
        }
        let figures = self.figures(statistics)?;
        let series = Series { api: self.api, name: name?.to_lowercase(), source, tags };
        Some((series, time?, figures))
    }

    fn wrong(&mut self, parameter: &str, message: impl Into<String>) {
        self.wrong.push((parameter.into(), message.into()));
    }

    fn text(&mut self, from: &Object, key: &str) -> Option<String> {
        let raw = from.get(key)?;
        let text = serde_json::from_str(raw.get()).ok();
        if text.is_none() {
            self.wrong(key, "is not a string");
        }
        text
    }

    fn characters(&mut self, parameter: &str, text: &str, most: usize, allowed: fn(char) -> bool) {
        let length = text.chars().count();
        if length == 0 || length > most {
            self.wrong(parameter, format!("has {length} characters, not 1 to {most}"));
        } else if let Some(c) = text.chars().find(|&c| !allowed(c)) {
            self.wrong(parameter, format!("has the character {c:?}"));
        }
    }

    fn source(&mut self) -> String {
        let from = if self.fields.contains_key("source") { self.fields } else { self.top };
        let Some(source) = self.text(from, "source") else { return String::new() };
        self.characters("source", &source, 255, is_name);
        if source.eq_ignore_ascii_case("all") {
            self.wrong("source", "is reserved");
        }
        source.to_lowercase()
    }

    fn tags(&mut self) -> BTreeMap<String, String> {
        let Some(raw) = self.fields.get("tags").or_else(|| self.top.get("tags")) else {
            self.wrong("tags", "is not present");
            return BTreeMap::new();
        };
        let Ok(tags) = serde_json::from_str::<BTreeMap<String, String>>(raw.get()) else {
            self.wrong("tags", "is not an object of strings");
            return BTreeMap::new();
        };
        if tags.len() > 50 {
            self.wrong("tags", "has more than 50 names");
        }
        let mut lowered = BTreeMap::new();
        for (name, value) in tags {
            self.characters("tags", &name, 64, is_name);
            self.characters("tags", &value, 255, |c| is_name(c) || matches!(c, '?' | '\\' | '/' | ' '));
            if lowered.insert(name.to_lowercase(), value.to_lowercase()).is_some() {
                self.wrong("tags", format!("has {name:?} in two spellings"));
            }
        }
        lowered
    }

    fn time(&mut self) -> Option<u64> {
        let key = match self.api {
            Api::Metrics => "measure_time",
            Api::Measurements => "time",
        };
        let Some(raw) = self.fields.get(key).or_else(|| self.top.get(key)) else {
            return Some(self.limits.now);
        };
        let Ok(time) = raw.get().parse::<u64>() else {
            self.wrong(key, "is not an integer");
            return None;
        };
        if time + self.limits.oldest < self.limits.now {
            self.wrong(key, "is too far in the past");
        }
        Some(time)
    }

    fn number(&mut self, key: &str) -> Option<Decimal> {
        let raw = self.fields.get(key)?.get();
        let Some(number) = Decimal::parse(raw) else {
            self.wrong(key, "is not a finite number");
            return None;
        };
        if number.value().abs() > 1e126 {
            self.wrong(key, "has an exponent above 126");
            return None;
        }
        Some(if number.value().abs() < 1e-130 { Decimal::default() } else { number })
    }

    fn figures(&mut self, statistics: &[&str]) -> Option<Figures> {
        if self.fields.contains_key("value") {
            for key in statistics {
                if self.fields.contains_key(*key) {
                    self.wrong(key, "is not allowed beside value");
                }
            }
            return self.number("value").map(Figures::value);
        }
        if !(self.fields.contains_key("count") && self.fields.contains_key("sum")) {
            self.wrong("value", "is not present, nor are count and sum");
            return None;
        }
        let count = self.number("count").and_then(Decimal::whole).and_then(|n| u64::try_from(n).ok());
        if count.is_none_or(|n| n == 0) {
            self.wrong("count", "is not a positive integer");
        }
        let sum = self.number("sum")?;
        let (min, max) = (self.number("min"), self.number("max"));
        if min.zip(max).is_some_and(|(min, max)| min.value() > max.value()) {
            self.wrong("min", "is above max");
        }
        for key in ["sum_squares", "stddev"] {
            if self.number(key).is_some_and(|n| n.value() < 0.0) {
                self.wrong(key, "is below zero");
            }
        }
        self.number("last");
        Some(Figures { count, sum, min: min.map(Decimal::value), max: max.map(Decimal::value) })
    }
}

fn is_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '.' | ':' | '-' | '_')
}
