//! Lines of JSON.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use zibrato_core::frame::{InstanceId, Kind, Total};
use zibrato_core::trace::{Hop, Verdict};

use crate::Line;

/// The fields of a line, in their order. What does not apply is left out.
#[derive(Debug, Serialize, Deserialize)]
struct Object {
    time: String,
    hop: String,
    verdict: String,
    metric: String,
    kind: String,
    value: Number,
    #[serde(skip_serializing_if = "Option::is_none")]
    unit: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    count: Option<u64>,
    source: String,
    #[serde(default)]
    tags: BTreeMap<String, String>,
    level: String,
    instance: String,
    sequence: u64,
    trace: u64,
    by: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    backend: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    batch: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<String>,
    #[serde(default, skip_serializing_if = "is_false")]
    repeat: bool,
}

/// Whole numbers keep every digit.
#[derive(Debug, Serialize, Deserialize)]
#[serde(untagged)]
enum Number {
    Whole(i64),
    Float(f64),
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_false(repeat: &bool) -> bool {
    !repeat
}

/// A line as JSON, without its end.
pub(crate) fn write(line: &Line) -> String {
    // Strings and finite numbers always have a JSON form.
    serde_json::to_string(&object(line)).unwrap_or_default()
}

/// The same as a document with the time where Elasticsearch's tools look for it.
pub(crate) fn document(line: &Line) -> String {
    #[derive(Serialize)]
    struct Document {
        #[serde(rename = "@timestamp")]
        timestamp: String,
        #[serde(flatten)]
        object: Object,
    }
    let object = object(line);
    serde_json::to_string(&Document { timestamp: object.time.clone(), object }).unwrap_or_default()
}

fn object(line: &Line) -> Object {
    let value = line.value;
    Object {
        time: rfc_3339(line.time),
        hop: line.hop.name().into(),
        verdict: line.verdict.name().into(),
        metric: line.metric.clone(),
        kind: line.kind.name().into(),
        value: if value.float == 0.0 { Number::Whole(value.whole) } else { Number::Float(value.value()) },
        unit: (line.kind == Kind::Timer).then(|| "ns".into()),
        count: line.count,
        source: line.source.clone(),
        tags: line.tags.clone(),
        level: line.level.clone(),
        instance: line.instance.to_string(),
        sequence: line.sequence,
        trace: line.trace,
        by: line.by.clone(),
        backend: line.backend.clone(),
        batch: line.batch,
        why: line.why.clone(),
        repeat: line.repeat,
    }
}

/// Reads a line back; the error says what is wrong with it.
pub(crate) fn read(text: &str) -> Result<Line, String> {
    let object: Object = serde_json::from_str(text).map_err(|why| why.to_string())?;
    let unknown = |what: &str, word: &str| format!("{what} {word:?} is not known");
    let time = OffsetDateTime::parse(&object.time, &Rfc3339).map_err(|why| format!("the time: {why}"))?;
    let kinds = (0..).map_while(Kind::from_code);
    Ok(Line {
        time: u64::try_from(time.unix_timestamp_nanos())
            .map_err(|_| "the time is not after 1970".to_owned())?,
        hop: Hop::from_name(&object.hop).ok_or_else(|| unknown("hop", &object.hop))?,
        verdict: Verdict::from_name(&object.verdict).ok_or_else(|| unknown("verdict", &object.verdict))?,
        metric: object.metric,
        kind: kinds
            .into_iter()
            .find(|kind| kind.name() == object.kind)
            .ok_or_else(|| unknown("kind", &object.kind))?,
        value: match object.value {
            Number::Whole(whole) => Total { whole, float: 0.0 },
            Number::Float(float) => Total { whole: 0, float },
        },
        count: object.count,
        source: object.source,
        tags: object.tags,
        level: object.level,
        instance: instance(&object.instance).ok_or("the instance is not 32 digits of hexadecimal")?,
        sequence: object.sequence,
        trace: object.trace,
        by: object.by,
        backend: object.backend,
        batch: object.batch,
        why: object.why,
        repeat: object.repeat,
    })
}

fn instance(text: &str) -> Option<InstanceId> {
    let is_hex = text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let number = is_hex.then(|| u128::from_str_radix(text, 16).ok()).flatten()?;
    Some(InstanceId(number.to_be_bytes()))
}

/// Nanoseconds since 1970 as text.
pub(crate) fn rfc_3339(nanoseconds: u64) -> String {
    // The last of these times is in the year 2554, and every year up to 9999 has a text.
    let time = OffsetDateTime::from_unix_timestamp_nanos(nanoseconds.into()).ok();
    time.and_then(|time| time.format(&Rfc3339).ok()).unwrap_or_default()
}
