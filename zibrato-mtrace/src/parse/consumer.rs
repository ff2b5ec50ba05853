//! `INFO  [2017-06-01 03:29:45,189] CLASS: mtrace=… elapsed=… message="…" metric=[Metric{metric='…', timestamp=…,
//! value=…, tags={tag=value, tag=value}}]`
//!
//! The message was written in four ways over time: not at all, in double quotes with a brace too few at the end, with a
//! line's end or the two characters for it inside, and in single quotes.

use std::collections::BTreeMap;

use super::{BadLine, OldForm, OldLine, Step, missing};

pub(super) const MARK: &str = "metric=[Metric{";

pub(super) fn read(text: &str) -> Result<OldLine, BadLine> {
    let lacks = |what| missing(OldForm::Consumer, what);
    let (head, metric) = text.rsplit_once(MARK).ok_or_else(|| lacks("metric"))?;
    let (level, rest) = head.split_once('[').ok_or_else(|| lacks("level"))?;
    let (logged, rest) = rest.split_once("] ").ok_or_else(|| lacks("time"))?;
    let (class, rest) = rest.split_once(": ").ok_or_else(|| lacks("class"))?;
    let rest = rest.trim_start().strip_prefix("mtrace=").ok_or_else(|| lacks("mark"))?;
    let (mtrace, rest) = rest.split_once(' ').ok_or_else(|| lacks("mark"))?;
    let rest = rest.trim_start();
    let (elapsed, rest) = match rest.strip_prefix("elapsed=") {
        Some(rest) => rest.split_once(' ').map_or((Some(rest), ""), |(elapsed, rest)| (Some(elapsed), rest)),
        None => (None, rest),
    };
    let message = rest.trim().strip_prefix("message=").unwrap_or_default();
    let message = ['"', '\''].iter().find_map(|quote| message.strip_prefix(*quote)?.strip_suffix(*quote));
    let message = message.unwrap_or_else(|| rest.trim().strip_prefix("message=").unwrap_or_default());
    let step = if message.starts_with("Converted") {
        Step::Converted
    } else if message.starts_with("Dropped") {
        Step::Dropped
    } else {
        Step::Stored
    };
    let name = metric.strip_prefix("metric='").ok_or_else(|| lacks("metric"))?;
    let (name, figures) = name.rsplit_once("', timestamp=").ok_or_else(|| lacks("timestamp"))?;
    let (timestamp, figures) = figures.split_once(", value=").ok_or_else(|| lacks("value"))?;
    let (value, tags) = figures.split_once(", tags={").ok_or_else(|| lacks("tags"))?;
    let tags = tags.trim_end().strip_suffix(']').ok_or_else(|| lacks("end"))?;
    let tags = tags.strip_suffix('}').ok_or_else(|| lacks("end"))?;
    let tags = tags.strip_suffix('}').unwrap_or(tags);
    Ok(OldLine {
        form: OldForm::Consumer,
        step,
        logged: logged.into(),
        level: level.trim().into(),
        class: Some(class.into()),
        message: message.into(),
        metric: name.into(),
        value: value.into(),
        timestamp: timestamp.into(),
        mtrace: mtrace.into(),
        elapsed: elapsed.map(Into::into),
        tags: pairs(tags),
    })
}

/// `tag=value, tag=value`, where a value may have commas.
fn pairs(text: &str) -> BTreeMap<String, String> {
    let mut pairs: Vec<(&str, String)> = Vec::new();
    for part in text.split(", ") {
        match (part.split_once('='), pairs.last_mut()) {
            (Some((name, value)), _) => pairs.push((name, value.into())),
            (None, Some((_, value))) => {
                value.push_str(", ");
                value.push_str(part);
            }
            (None, None) => {}
        }
    }
    pairs.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}
