//! Reading lines: what this crate writes, and the older forms in all their spellings.
//!
//! Everything here is total: any text gives a line or an error.

mod collector;
mod consumer;
mod quoted;
mod shipper;

use std::collections::BTreeMap;

use zibrato_core::trace::Hop;

use crate::{Line, json};

/// A line of either kind.
#[derive(Debug, Clone, PartialEq)]
#[allow(clippy::large_enum_variant, reason = "one line at a time is looked at")]
pub enum Parsed {
    /// One of JSON, with everything.
    Line(Line),
    /// One of an older form.
    Old(OldLine),
}

/// A line of an older form. Numbers are as they stand there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OldLine {
    /// Which form.
    pub form: OldForm,
    /// Which step it tells of.
    pub step: Step,
    /// When it was logged, as it stands there.
    pub logged: String,
    /// How severe it is: `INFO`, `info`.
    pub level: String,
    /// Who logged it.
    pub class: Option<String>,
    /// The message, without quotes around it; empty where there is none.
    pub message: String,
    /// The metric's name.
    pub metric: String,
    /// Its value.
    pub value: String,
    /// The time of the value, in seconds since 1970.
    pub timestamp: String,
    /// The mark.
    pub mtrace: String,
    /// Seconds since the mark was set.
    pub elapsed: Option<String>,
    /// The metric's tags.
    pub tags: BTreeMap<String, String>,
}

impl OldLine {
    /// The value as a number; `None` where it is none, such as `None`.
    pub fn number(&self) -> Option<f64> {
        self.value.parse().ok()
    }
}

/// The older forms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OldForm {
    /// `2017-06-01 03:29:44,576 INFO zen.MetricWriter: mtrace: publishing metric …`
    Collector,
    /// `time="2017-06-01T03:29:45Z" level=info msg=sent …`
    Shipper,
    /// `INFO  [2017-06-01 03:29:45,189] …OpenTsdbWriter: mtrace=… metric=[Metric{…}]`
    Consumer,
}

/// What the older forms tell of, in the order of the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step {
    /// A collector publishes.
    Collected,
    /// A shipper has read it.
    Read,
    /// A shipper is about to send it.
    Publishing,
    /// A shipper has sent it.
    Sent,
    /// A consumer has made a line for the store of it.
    Converted,
    /// A consumer gives it to the store; also what a consumer without message tells of.
    Stored,
    /// A consumer gives it up.
    Dropped,
}

impl Step {
    /// The hop for which this crate writes it; of what is dropped it is not known.
    pub fn hop(self) -> Option<Hop> {
        Some(match self {
            Step::Collected => Hop::Published,
            Step::Read => Hop::BrokerReceived,
            Step::Publishing => Hop::BrokerPassedOn,
            Step::Sent => Hop::Received,
            Step::Converted => Hop::Settled,
            Step::Stored => Hop::Backend,
            Step::Dropped => return None,
        })
    }
}

/// Why a text is no line.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum BadLine {
    /// It has none of the forms.
    UnknownForm,
    /// It is JSON, but not of a line.
    Json {
        /// What is wrong with it.
        why: String,
    },
    /// It has one of the older forms, but something is missing.
    Incomplete {
        /// Which form.
        form: OldForm,
        /// What cannot be found.
        what: &'static str,
    },
}

impl std::fmt::Display for BadLine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            BadLine::UnknownForm => f.write_str("read the line: it has no form of a trace line"),
            BadLine::Json { why } => write!(f, "read the line of JSON: {why}"),
            BadLine::Incomplete { form, what } => write!(f, "read the {form:?} line: its {what} is missing"),
        }
    }
}

impl std::error::Error for BadLine {}

/// Reads a line of any form.
///
/// # Errors
/// When it has none of the forms, or lacks a part.
pub fn parse(text: &str) -> Result<Parsed, BadLine> {
    let text = text.trim();
    if text.starts_with('{') {
        return json::read(text).map(Parsed::Line).map_err(|why| BadLine::Json { why });
    }
    let old = if text.starts_with("time=") {
        shipper::read(text)
    } else if text.contains(collector::MARK) {
        collector::read(text)
    } else if text.contains(consumer::MARK) {
        consumer::read(text)
    } else {
        return Err(BadLine::UnknownForm);
    };
    old.map(Parsed::Old)
}

/// For what cannot be found.
fn missing(form: OldForm, what: &'static str) -> BadLine {
    BadLine::Incomplete { form, what }
}
