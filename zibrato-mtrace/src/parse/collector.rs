//! `2017-06-01 03:29:44,576 INFO zen.MetricWriter: mtrace: publishing metric NAME VALUE TIME {'tag': 'value'}`

use std::collections::BTreeMap;

use super::{BadLine, OldForm, OldLine, Step, missing, quoted};

pub(super) const MARK: &str = ": mtrace: publishing metric ";

pub(super) fn read(text: &str) -> Result<OldLine, BadLine> {
    let lacks = |what| missing(OldForm::Collector, what);
    let (head, rest) = text.split_once(MARK).ok_or_else(|| lacks("mark"))?;
    let mut words = head.splitn(4, ' ');
    let (date, time) = words.next().zip(words.next()).ok_or_else(|| lacks("time"))?;
    let (level, class) = words.next().zip(words.next()).ok_or_else(|| lacks("level"))?;
    // A name may have a brace in it, so the tags begin at the first one that they can begin at.
    let braces = rest.match_indices(" {").map(|(at, _)| at);
    let found = braces.into_iter().find_map(|at| Some((&rest[..at], dict(rest.get(at + 1..)?)?)));
    let (figures, tags) = found.ok_or_else(|| lacks("tags"))?;
    let mut words = figures.rsplitn(3, ' ');
    let (timestamp, value) = words.next().zip(words.next()).ok_or_else(|| lacks("value"))?;
    let metric = words.next().filter(|name| !name.is_empty()).ok_or_else(|| lacks("metric"))?;
    Ok(OldLine {
        form: OldForm::Collector,
        step: Step::Collected,
        logged: format!("{date} {time}"),
        level: level.into(),
        class: Some(class.into()),
        message: "publishing".into(),
        metric: metric.into(),
        value: value.into(),
        timestamp: timestamp.into(),
        mtrace: tags.get("mtrace").cloned().unwrap_or_default(),
        elapsed: None,
        tags,
    })
}

/// A dictionary of texts as Python shows it, to the end of the line.
fn dict(text: &str) -> Option<BTreeMap<String, String>> {
    let mut rest = text.strip_prefix('{')?.trim_start();
    let mut tags = BTreeMap::new();
    while !rest.starts_with('}') {
        let (name, after) = item(rest)?;
        let (value, after) = item(after.trim_start().strip_prefix(':')?.trim_start())?;
        tags.insert(name, value);
        rest = after.trim_start();
        match rest.strip_prefix(',') {
            Some(more) => rest = more.trim_start(),
            None if rest.starts_with('}') => {}
            None => return None,
        }
    }
    rest.strip_prefix('}')?.trim().is_empty().then_some(tags)
}

/// A text in quotes, perhaps with Python 2's `u` before it, or a bare word such as `None`.
fn item(text: &str) -> Option<(String, &str)> {
    if let Some(read) = quoted::read(text.strip_prefix('u').unwrap_or(text)) {
        return Some(read);
    }
    let end = text.find([',', '}', ':'])?;
    let word = text[..end].trim();
    let is_word = !word.is_empty() && !word.contains(['\'', '"', '{']);
    is_word.then(|| (word.to_owned(), &text[end..]))
}
