//! `time="…" level=info msg=sent elapsed=1 metric="…" mtrace=… tags=map[tag:value tag:value] timestamp=… value=… `

use std::collections::BTreeMap;

use super::{BadLine, OldForm, OldLine, Step, missing, quoted};

pub(super) fn read(text: &str) -> Result<OldLine, BadLine> {
    let lacks = |what| missing(OldForm::Shipper, what);
    let mut fields = fields(text);
    let mut take = |name: &'static str| fields.remove(name).ok_or_else(|| lacks(name));
    let message = take("msg")?;
    let step = match message.as_str() {
        "metric read from redis" => Step::Read,
        "publishing" => Step::Publishing,
        "sent" => Step::Sent,
        _ => return Err(lacks("step")),
    };
    let (logged, level, metric) = (take("time")?, take("level")?, take("metric")?);
    let (value, timestamp, mtrace) = (take("value")?, take("timestamp")?, take("mtrace")?);
    let tags = take("tags")?;
    let tags = tags.strip_prefix("map[").and_then(|tags| tags.strip_suffix(']'));
    let tags = pairs(tags.ok_or_else(|| lacks("tags"))?);
    let elapsed = fields.remove("elapsed");
    let (form, class) = (OldForm::Shipper, None);
    Ok(OldLine { form, step, logged, level, class, message, metric, value, timestamp, mtrace, elapsed, tags })
}

/// The fields by name; of what is no field no notice is taken.
fn fields(text: &str) -> BTreeMap<&str, String> {
    let mut fields = BTreeMap::new();
    let mut rest = text.trim();
    while let Some((name, after)) = rest.split_once('=') {
        let (value, more) = if let Some(read) = quoted::read(after) {
            read
        } else if after.starts_with("map[")
            && let Some(end) = after.rfind(']')
        {
            // Blanks stand between tags and in them; what comes behind has no bracket.
            (after[..=end].to_owned(), &after[end + 1..])
        } else {
            let end = after.find(' ').unwrap_or(after.len());
            (after[..end].to_owned(), &after[end..])
        };
        fields.insert(name.trim(), value);
        rest = more.trim_start();
    }
    fields
}

/// `tag:value tag:value`, where a value may have blanks.
fn pairs(text: &str) -> BTreeMap<String, String> {
    let mut pairs: Vec<(&str, String)> = Vec::new();
    for word in text.split(' ') {
        match (word.split_once(':'), pairs.last_mut()) {
            (Some((name, value)), _) if !name.is_empty() => pairs.push((name, value.into())),
            (_, Some((_, value))) => {
                value.push(' ');
                value.push_str(word);
            }
            (_, None) => {}
        }
    }
    pairs.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}
