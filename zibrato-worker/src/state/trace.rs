//! How marks and events of tracing are written into the database, with their measurements.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use zibrato_core::frame::{InstanceId, Key, Kind, Tags, Total};
use zibrato_core::trace::{Event, Hop, Mark, Trace, Verdict};

#[derive(Serialize, Deserialize)]
pub(super) enum StoredTrace {
    Marks(Vec<StoredMark>),
    Event(Box<StoredEvent>),
}

#[derive(Serialize, Deserialize)]
pub(super) struct StoredMark {
    instance: [u8; 16],
    level: String,
    sequence: u64,
    number: u64,
    kind: u8,
    name: String,
    source: String,
    tags: Vec<(String, String)>,
    born: u64,
    total: (i64, f64),
    count: Option<u64>,
}

#[derive(Serialize, Deserialize)]
pub(super) struct StoredEvent {
    hop: u8,
    verdict: u8,
    time: u64,
    by: String,
    mark: StoredMark,
    backend: Option<String>,
    batch: Option<u64>,
    why: Option<String>,
}

/// Nothing where there is no trace: then it takes one byte.
pub(super) fn store(trace: &Trace) -> Option<StoredTrace> {
    match trace {
        Trace::None => None,
        Trace::Marks(marks) => Some(StoredTrace::Marks(marks.iter().map(|mark| store_mark(mark)).collect())),
        Trace::Event(event) => Some(StoredTrace::Event(Box::new(StoredEvent {
            hop: event.hop as u8,
            verdict: event.verdict as u8,
            time: event.time,
            by: event.by.to_string(),
            mark: store_mark(&event.mark),
            backend: event.backend.as_deref().map(String::from),
            batch: event.batch,
            why: event.why.as_deref().map(String::from),
        }))),
    }
}

/// `None` where a code is not known.
pub(super) fn restore(stored: Option<StoredTrace>) -> Option<Trace> {
    Some(match stored {
        None => Trace::None,
        Some(StoredTrace::Marks(marks)) => {
            let marks = marks.into_iter().map(|mark| restore_mark(mark).map(Arc::new));
            Trace::Marks(marks.collect::<Option<_>>()?)
        }
        Some(StoredTrace::Event(event)) => {
            let StoredEvent { hop, verdict, time, by, mark, backend, batch, why } = *event;
            Trace::Event(Arc::new(Event {
                hop: Hop::from_code(u64::from(hop))?,
                verdict: Verdict::from_code(u64::from(verdict))?,
                time,
                by: by.into(),
                mark: restore_mark(mark)?,
                backend: backend.map(Into::into),
                batch,
                why: why.map(Into::into),
            }))
        }
    })
}

fn store_mark(mark: &Mark) -> StoredMark {
    let Mark { instance, level, sequence, number, key, total, count } = mark;
    StoredMark {
        instance: instance.0,
        level: level.to_string(),
        sequence: *sequence,
        number: *number,
        kind: key.kind as u8,
        name: key.name.to_string(),
        source: key.source.to_string(),
        tags: key.tags.iter().map(|(name, value)| (name.into(), value.into())).collect(),
        born: key.born,
        total: (total.whole, total.float),
        count: *count,
    }
}

fn restore_mark(stored: StoredMark) -> Option<Mark> {
    let StoredMark { instance, level, sequence, number, kind, name, source, tags, born, total, count } =
        stored;
    let kind = Kind::from_code(u64::from(kind))?;
    let tags = if tags.is_empty() { Tags::none() } else { Tags::new(tags) };
    let key = Key { kind, name: name.into(), source: source.into(), tags, born };
    let total = Total { whole: total.0, float: total.1 };
    Some(Mark { instance: InstanceId(instance), level: level.into(), sequence, number, key, total, count })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn traces_come_back() {
        let key = Key {
            kind: Kind::Timer,
            name: "a".into(),
            source: "b".into(),
            tags: Tags::new([("c", "d")]),
            born: 5,
        };
        let total = Total { whole: i64::MAX, float: 0.5 };
        let (instance, level) = (InstanceId([7; 16]), "info".into());
        let mark = Mark { instance, level, sequence: u64::MAX, number: 3, key, total, count: Some(2) };
        let event = Event {
            by: "host".into(),
            backend: Some("json".into()),
            batch: Some(9),
            ..Event::new(Hop::Backend, mark.clone(), 11).with_verdict(Verdict::Refused, Some("bad"))
        };
        for trace in [
            Trace::None,
            Trace::Marks(vec![Arc::new(mark.clone()), Arc::new(mark)]),
            Trace::Event(Arc::new(event)),
        ] {
            let bytes = rmp_serde::to_vec(&store(&trace)).unwrap();
            assert_eq!(restore(rmp_serde::from_slice(&bytes).unwrap()), Some(trace));
        }
    }
}
