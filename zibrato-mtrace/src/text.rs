//! The older forms of lines, in the spellings that the tools take which read them.
//!
//! | hop | form |
//! |---|---|
//! | published | collector, `publishing metric` |
//! | broker received, passed on | shipper, `metric read from redis`, `publishing` |
//! | received by a worker | shipper, `sent` |
//! | settled | consumer, `Converted metric` |
//! | backend | consumer, `Publishing metric` |
//!
//! What is refused or dropped is a consumer's `Dropped bad metric`.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use time::OffsetDateTime;
use zibrato_core::trace::{Hop, Verdict};

use crate::Line;
use crate::parse::Step;

/// A line in the form of its hop, without its end.
pub(crate) fn write(line: &Line) -> String {
    match Step::of(line.hop, line.verdict) {
        Step::Collected => collector(line),
        Step::Read => shipper(line, "\"metric read from redis\""),
        Step::Publishing => shipper(line, "publishing"),
        Step::Sent => shipper(line, "sent"),
        Step::Converted => {
            let (metric, seconds) = (clean(&line.metric), seconds(line));
            let mut put = format!("Converted metric. Output_string=\"put {metric} {seconds} {}", value(line));
            // The mark's own tag has one value there, so that it makes no series of its own.
            for (name, value) in consumers_tags(line) {
                let value = if name == "mtrace" { "1" } else { &value };
                let _ = write!(put, " {name}={value}");
            }
            consumer(line, &format!("{put}\\n\""))
        }
        Step::Stored => consumer(line, "Publishing metric"),
        Step::Dropped => consumer(line, "Dropped bad metric"),
    }
}

fn collector(line: &Line) -> String {
    let tags: Vec<String> =
        tags(line).iter().map(|(name, value)| format!("{}: {}", quoted(name), quoted(value))).collect();
    format!(
        "{} {} zen.MetricWriter: mtrace: publishing metric {} {} {} {{{}}}",
        date(line),
        severity(line),
        line.metric,
        value(line),
        seconds(line),
        tags.join(", ")
    )
}

fn shipper(line: &Line, message: &str) -> String {
    let tags: Vec<String> =
        tags(line).iter().map(|(name, value)| format!("{}:{}", clean(name), clean(value))).collect();
    // A value is quoted where it needs it; what else is in a name is escaped.
    let metric = line.metric.replace('\\', "\\\\").replace('"', "\\\"");
    let level = if severity(line) == "INFO" { "info" } else { "warning" };
    let time = OffsetDateTime::from_unix_timestamp(seconds(line)).ok();
    let time = time.and_then(|t| t.format(&time::format_description::well_known::Rfc3339).ok());
    format!(
        "time=\"{}\" level={level} msg={message} elapsed=0 metric=\"{metric}\" mtrace={} tags=map[{}] timestamp={} value={} ",
        time.unwrap_or_default(),
        line.trace,
        tags.join(" "),
        seconds(line),
        value(line),
    )
}

fn consumer(line: &Line, message: &str) -> String {
    let tags: Vec<String> =
        consumers_tags(line).iter().map(|(name, value)| format!("{name}={value}")).collect();
    let number = line.value.value();
    format!(
        "{:5} [{}] org.zenoss.app.consumer.metric.impl.OpenTsdbWriter: mtrace={} elapsed=0 message=\"{message}\" \
         metric=[Metric{{metric='{}', timestamp={}, value={number:?}, tags={{{}}}}}]",
        severity(line),
        date(line),
        line.trace,
        line.metric,
        seconds(line),
        tags.join(", "),
    )
}

fn consumers_tags(line: &Line) -> BTreeMap<String, String> {
    tags(line).into_iter().map(|(name, value)| (clean(&name), clean(&value))).collect()
}

/// The metric's tags, and what the older forms have only as tags.
fn tags(line: &Line) -> BTreeMap<String, String> {
    let mut tags = line.tags.clone();
    let hex = line.instance.to_string();
    let uuid = [0..8, 8..12, 12..16, 16..20, 20..32].map(|part| hex.get(part).unwrap_or_default()).join("-");
    let mut own = |name: &str, value: String| drop(tags.insert(name.into(), value));
    own("mtrace", line.trace.to_string());
    own("contextUUID", uuid);
    own("device", line.source.clone());
    own("key", format!("{}/{}", line.level, line.sequence));
    if let Some(backend) = &line.backend {
        own("backend", backend.clone());
    }
    if let Some(batch) = line.batch {
        own("batch", batch.to_string());
    }
    if line.verdict != Verdict::Ok {
        own("verdict", line.verdict.name().into());
    }
    if let Some(why) = &line.why {
        own("why", why.clone());
    }
    tags
}

fn severity(line: &Line) -> &'static str {
    match line.verdict {
        Verdict::Ok | Verdict::Unchanged => "INFO",
        Verdict::Retry | Verdict::Refused | Verdict::Dropped => "WARN",
    }
}

fn seconds(line: &Line) -> i64 {
    i64::try_from(line.time / 1_000_000_000).unwrap_or(i64::MAX)
}

/// `2017-06-01 03:29:44,576`, in UTC.
fn date(line: &Line) -> String {
    let Ok(time) = OffsetDateTime::from_unix_timestamp(seconds(line)) else { return String::new() };
    let milliseconds = line.time / 1_000_000 % 1000;
    let (hour, minute, second) = time.to_hms();
    let (year, month, day) = (time.year(), u8::from(time.month()), time.day());
    format!("{year}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02},{milliseconds:03}")
}

/// Whole numbers have no decimals.
fn value(line: &Line) -> String {
    if line.value.float == 0.0 { line.value.whole.to_string() } else { format!("{:?}", line.value.value()) }
}

/// As it is stored: `-` for whatever is no letter, digit or one of `_./-`.
pub(crate) fn clean(text: &str) -> String {
    text.chars().map(|c| if c.is_alphanumeric() || "_./-".contains(c) { c } else { '-' }).collect()
}

/// As Python shows a text.
fn quoted(text: &str) -> String {
    let quote = if text.contains('\'') && !text.contains('"') { '"' } else { '\'' };
    let mut quoted = String::from(quote);
    for c in text.chars() {
        if c == quote || c == '\\' {
            quoted.push('\\');
        }
        quoted.push(c);
    }
    quoted.push(quote);
    quoted
}

impl Step {
    /// Which of the older steps stands for a hop.
    pub(crate) fn of(hop: Hop, verdict: Verdict) -> Step {
        match (hop, verdict) {
            (Hop::Settled | Hop::Backend, Verdict::Refused | Verdict::Dropped) => Step::Dropped,
            (Hop::Published, _) => Step::Collected,
            (Hop::BrokerReceived, _) => Step::Read,
            (Hop::BrokerPassedOn, _) => Step::Publishing,
            (Hop::Received, _) => Step::Sent,
            (Hop::Settled, _) => Step::Converted,
            (Hop::Backend, _) => Step::Stored,
        }
    }
}
