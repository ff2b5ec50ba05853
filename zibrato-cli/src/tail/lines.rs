//! JSON lines.

use serde::{Serialize, Serializer};
use zibrato_core::frame::Tags;

use super::Seen;
use crate::figures::Figures;

#[derive(Serialize)]
struct Line<'a> {
    time: String,
    level: &'a str,
    kind: &'static str,
    name: &'a str,
    source: &'a str,
    #[serde(serialize_with = "tags")]
    tags: &'a Tags,
    #[serde(flatten)]
    figures: Figures,
}

fn tags<S: Serializer>(tags: &Tags, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(tags.iter())
}

pub(super) fn text(all: &[Seen<'_>]) -> String {
    let line = |seen: &Seen<'_>| {
        let line = Line {
            time: rfc3339(seen.time),
            level: &seen.series.level,
            kind: seen.series.kind.name(),
            name: &seen.series.name,
            source: &seen.series.source,
            tags: &seen.series.tags,
            figures: seen.figures,
        };
        // Fails only for maps with keys that are no strings.
        serde_json::to_string(&line).unwrap_or_default() + "\n"
    };
    all.iter().map(line).collect()
}

/// A time in nanoseconds since 1970 UTC, to the millisecond.
fn rfc3339(nanos: u64) -> String {
    use ::time::OffsetDateTime;
    use ::time::format_description::well_known::Rfc3339;
    let millis = i128::from(nanos / 1_000_000) * 1_000_000;
    // A u64 ends in 2554, which is in the range of both.
    let time = OffsetDateTime::from_unix_timestamp_nanos(millis).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    time.format(&Rfc3339).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use zibrato_core::frame::{Kind, Total};
    use zibrato_core::ledger::Change;

    use super::*;
    use crate::figures::Series;

    #[test]
    fn a_line_has_its_keys_in_order() {
        let series = Series {
            name: "n \"1\"".into(),
            source: "s".into(),
            tags: Tags::new([("b", "2"), ("a", "1")]),
            level: "info".into(),
            kind: Kind::Counter,
        };
        let figures = Figures::of(Kind::Counter, &Change::Total(Total::whole(5)));
        let seen = Seen { time: 1_700_000_000_123_456_789, series: &series, unit: "", figures };
        assert_eq!(
            text(&[seen]),
            concat!(
                r#"{"time":"2023-11-14T22:13:20.123Z","level":"info","kind":"counter","name":"n \"1\"","#,
                r#""source":"s","tags":{"a":"1","b":"2"},"count":5,"sum":5}"#,
                "\n"
            )
        );
    }
}
