//! What a line says.

use std::collections::BTreeMap;

use zibrato_core::frame::{InstanceId, Kind, Total};
use zibrato_core::trace::{Event, Hop, Verdict};

use crate::{Format, json, text};

/// What one hop tells of one row.
#[derive(Debug, Clone, PartialEq)]
pub struct Line {
    /// When, in nanoseconds since 1970 UTC on the hop's own clock.
    pub time: u64,
    /// Which hop.
    pub hop: Hop,
    /// What became of the row.
    pub verdict: Verdict,
    /// The metric's name.
    pub metric: String,
    /// What the metric is.
    pub kind: Kind,
    /// The total of a counter or updown counter, the sum of a timer (in nanoseconds) or distribution, the value of a gauge.
    /// Either whole or a fraction.
    pub value: Total,
    /// How many values a timer or distribution has.
    pub count: Option<u64>,
    /// The metric's source.
    pub source: String,
    /// The metric's tags.
    pub tags: BTreeMap<String, String>,
    /// Its level.
    pub level: String,
    /// Who measured it.
    pub instance: InstanceId,
    /// The number of the set that the row was in.
    pub sequence: u64,
    /// The row's number, of its own within the instance.
    pub trace: u64,
    /// The source of the hop itself.
    pub by: String,
    /// The worker's backend.
    pub backend: Option<String>,
    /// The worker's batch.
    pub batch: Option<u64>,
    /// Why the row was refused or not accepted.
    pub why: Option<String>,
    /// Whether the line may have been written before.
    pub repeat: bool,
}

impl Line {
    /// What an event says.
    pub fn of(event: &Event) -> Line {
        let mark = &event.mark;
        let value = match mark.total {
            Total { float: 0.0, .. } => mark.total,
            fraction => Total { whole: 0, float: fraction.value() },
        };
        Line {
            time: event.time,
            hop: event.hop,
            verdict: event.verdict,
            metric: mark.key.name.to_string(),
            kind: mark.key.kind,
            value,
            count: mark.count,
            source: mark.key.source.to_string(),
            tags: mark.key.tags.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
            level: mark.level.to_string(),
            instance: mark.instance,
            sequence: mark.sequence,
            trace: mark.number,
            by: event.by.to_string(),
            backend: event.backend.as_deref().map(String::from),
            batch: event.batch,
            why: event.why.as_deref().map(String::from),
            repeat: false,
        }
    }

    /// The line in this form, without its end; [`parse`](crate::parse) reads it.
    pub fn written(&self, format: Format) -> String {
        match format {
            Format::Json => json::write(self),
            Format::Text => text::write(self),
        }
    }

    /// Names the line: another one of the same row has another hop, time, teller or batch.
    pub fn id(&self) -> String {
        let Line { instance, trace, time, by, .. } = self;
        let (hop, batch) = (self.hop.name(), self.batch.map(|batch| format!("-{batch}")).unwrap_or_default());
        let backend = self.backend.as_ref().map(|backend| format!("-{backend}")).unwrap_or_default();
        let level = &self.level;
        format!("{instance}-{level}-{trace}-{hop}-{time}-{by}{backend}{batch}")
    }
}
