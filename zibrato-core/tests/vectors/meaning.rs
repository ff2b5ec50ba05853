//! What the bytes mean, as the file says it.

use std::collections::BTreeMap;

use serde::Serialize;
use zibrato_core::frame::{Row, State, Total};

use crate::hex;

#[derive(Serialize)]
pub(crate) struct FrameVector {
    pub(crate) name: &'static str,
    pub(crate) topic: String,
    pub(crate) hex: String,
    /// Whether encoding what is below gives these very bytes.
    pub(crate) exact: bool,
    pub(crate) head: HeadMeaning,
    pub(crate) rows: Vec<RowMeaning>,
    pub(crate) skipped: Vec<String>,
}

#[derive(Serialize)]
pub(crate) struct HeadMeaning {
    pub(crate) instance: String,
    pub(crate) started_at: u64,
    pub(crate) sequence: u64,
    pub(crate) base: u64,
    pub(crate) part: u32,
    pub(crate) parts: u32,
    pub(crate) sent_at: u64,
    pub(crate) flags: Vec<&'static str>,
    pub(crate) source: String,
}

#[derive(Serialize)]
pub(crate) struct RowMeaning {
    pub(crate) kind: &'static str,
    pub(crate) name: String,
    pub(crate) source: String,
    pub(crate) tags: BTreeMap<String, String>,
    pub(crate) born: u64,
    pub(crate) trace: Option<u64>,
    pub(crate) event: Option<EventMeaning>,
    pub(crate) state: StateMeaning,
}

#[derive(Serialize)]
pub(crate) struct EventMeaning {
    pub(crate) hop: &'static str,
    pub(crate) verdict: &'static str,
    pub(crate) instance: String,
    pub(crate) level: String,
    pub(crate) sequence: u64,
    pub(crate) trace: u64,
    pub(crate) kind: &'static str,
    pub(crate) total: TotalMeaning,
    pub(crate) count: Option<u64>,
    pub(crate) batch: Option<u64>,
    pub(crate) backend: Option<String>,
    pub(crate) why: Option<String>,
}

#[derive(Serialize)]
#[serde(untagged)]
pub(crate) enum StateMeaning {
    Total(TotalMeaning),
    Spread {
        sum: TotalMeaning,
        min: Option<f64>,
        max: Option<f64>,
        zero: u64,
        positive: Vec<(i32, u64)>,
        negative: Vec<(i32, u64)>,
        count: u64,
    },
    Gauge {
        value: f64,
        set_at: u64,
        statistics: Option<StatisticsMeaning>,
    },
    Point {
        number: u64,
        time: u64,
        value: f64,
    },
    Description {
        unit: String,
        help: String,
    },
}

#[derive(Serialize)]
pub(crate) struct TotalMeaning {
    pub(crate) whole: i64,
    pub(crate) float: f64,
}

#[derive(Serialize)]
pub(crate) struct StatisticsMeaning {
    pub(crate) count: u64,
    pub(crate) sum: f64,
    pub(crate) min: Option<f64>,
    pub(crate) max: Option<f64>,
}

#[derive(Serialize)]
pub(crate) struct RefusedFrame {
    pub(crate) name: &'static str,
    pub(crate) hex: String,
    pub(crate) why: String,
}

#[derive(Serialize)]
pub(crate) struct AskVector {
    pub(crate) name: &'static str,
    pub(crate) parts: Vec<String>,
    #[serde(flatten)]
    pub(crate) message: MessageMeaning,
}

#[derive(Serialize)]
#[serde(tag = "word", rename_all = "lowercase")]
pub(crate) enum MessageMeaning {
    Hand { topic: String, frame: String },
    Ack { instance: String, level: String, sequence: u64 },
    Ask { id: u64, levels: Vec<String>, cursor: Option<CursorMeaning>, talking: bool },
    Kept { id: u64, index: u64, held: u64, topic: String, frame: String },
    Done { id: u64, count: u64, cursor: CursorMeaning },
    Info { id: u64 },
    Told { id: u64, json: String },
    Refused { why: String },
}

#[derive(Serialize)]
pub(crate) struct CursorMeaning {
    pub(crate) boot: String,
    pub(crate) position: u64,
}

#[derive(Serialize)]
pub(crate) struct RefusedAsk {
    pub(crate) name: &'static str,
    pub(crate) parts: Vec<String>,
}

#[derive(Serialize)]
pub(crate) struct BeatVector {
    pub(crate) name: &'static str,
    pub(crate) topic: &'static str,
    pub(crate) hex: String,
    pub(crate) version: u64,
    pub(crate) boot: String,
    pub(crate) sent_at: u64,
}

#[derive(Serialize)]
pub(crate) struct PlaceVector {
    pub(crate) value: f64,
    pub(crate) side: &'static str,
    pub(crate) index: Option<i32>,
    pub(crate) lower: Option<f64>,
    pub(crate) upper: Option<f64>,
}

#[derive(Serialize)]
pub(crate) struct QuantileVector {
    pub(crate) values: Vec<f64>,
    pub(crate) zero: u64,
    pub(crate) positive: Vec<(i32, u64)>,
    pub(crate) negative: Vec<(i32, u64)>,
    pub(crate) quantiles: Vec<(f64, f64)>,
}

#[derive(Serialize)]
pub(crate) struct NameVector {
    pub(crate) text: String,
    pub(crate) as_name: bool,
    pub(crate) as_level: bool,
}

pub(crate) fn meaning(row: &Row) -> RowMeaning {
    let total = |t: Total| TotalMeaning { whole: t.whole, float: t.float };
    let state = match &row.state {
        State::Total(t) => StateMeaning::Total(total(*t)),
        State::Spread(s) => StateMeaning::Spread {
            sum: total(s.sum),
            min: s.span.map(|s| s.min),
            max: s.span.map(|s| s.max),
            zero: s.histogram.zero,
            positive: s.histogram.positive.pairs().to_vec(),
            negative: s.histogram.negative.pairs().to_vec(),
            count: s.histogram.count(),
        },
        State::Gauge(g) => StateMeaning::Gauge {
            value: g.value,
            set_at: g.set_at,
            statistics: g.statistics.map(|(count, sum, span)| StatisticsMeaning {
                count,
                sum,
                min: span.map(|s| s.min),
                max: span.map(|s| s.max),
            }),
        },
        State::Point(p) => StateMeaning::Point { number: p.number, time: p.time, value: p.value },
        State::Description(d) => {
            StateMeaning::Description { unit: d.unit.to_string(), help: d.help.to_string() }
        }
    };
    RowMeaning {
        kind: row.key.kind.name(),
        name: row.key.name.to_string(),
        source: row.key.source.to_string(),
        tags: row.key.tags.iter().map(|(n, v)| (n.into(), v.into())).collect(),
        born: row.key.born,
        trace: row.trace,
        event: row.event.as_ref().map(|event| EventMeaning {
            hop: event.hop.name(),
            verdict: event.verdict.name(),
            instance: hex(event.mark.instance.0),
            level: event.mark.level.to_string(),
            sequence: event.mark.sequence,
            trace: event.mark.number,
            kind: event.mark.key.kind.name(),
            total: total(event.mark.total),
            count: event.mark.count,
            batch: event.batch,
            backend: event.backend.as_deref().map(String::from),
            why: event.why.as_deref().map(String::from),
        }),
        state,
    }
}
