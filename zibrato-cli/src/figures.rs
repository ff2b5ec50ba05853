//! What happened to a metric, over all instances that have it, as figures for people and scripts.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Serialize;
use zibrato_core::frame::{Kind, Span, Tags, Total};
use zibrato_core::ledger::{Change, Delta};
use zibrato_core::trace::Trace;

/// A metric as whoever watches sees it: the instances of one source are one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Series {
    pub(crate) name: Arc<str>,
    pub(crate) source: Arc<str>,
    pub(crate) tags: Tags,
    pub(crate) level: Arc<str>,
    pub(crate) kind: Kind,
}

impl Series {
    pub(crate) fn of(delta: &Delta) -> Series {
        Series {
            name: delta.key.name.clone(),
            source: delta.key.source.clone(),
            tags: delta.key.tags.clone(),
            level: delta.origin.level.clone(),
            kind: delta.key.kind,
        }
    }
}

/// What happened in a period.
#[derive(Debug, Default)]
pub(crate) struct Period {
    /// By metric.
    pub(crate) sums: BTreeMap<Series, Change>,
    /// Datapoints, which have times of their own, in nanoseconds since 1970 UTC.
    pub(crate) points: Vec<(Series, u64, f64)>,
}

/// Adds up what happened in a period.
pub(crate) fn add_up(deltas: Vec<Delta>) -> Period {
    let Period { mut sums, mut points } = Period::default();
    for delta in deltas {
        let mut series = Series::of(&delta);
        if let Trace::Event(event) = &delta.trace {
            // Of the points of one metric each says where it was.
            let told = [("hop", event.hop.name()), ("verdict", event.verdict.name())];
            series.tags = Tags::new(series.tags.iter().chain(told));
        }
        match delta.change {
            Change::Point { time, value } => points.push((series, time, value)),
            change => match sums.get_mut(&series) {
                Some(sum) => absorb(sum, change),
                None => drop(sums.insert(series, change)),
            },
        }
    }
    Period { sums, points }
}

/// Adds what happened later or somewhere else to the same metric.
pub(crate) fn absorb(sum: &mut Change, more: Change) {
    match (sum, more) {
        (Change::Total(sum), Change::Total(more)) => *sum = sum.plus(more),
        (
            Change::Spread { sum, histogram, span },
            Change::Spread { sum: more_sum, histogram: more_histogram, span: more_span },
        ) => {
            let known = |span: Option<Span>, edges: Option<(f64, f64)>| {
                span.or_else(|| edges.map(|(min, max)| Span { min, max }))
            };
            // Where one of both is only known by its edges, so is the whole.
            let both = known(*span, histogram.edges()).zip(known(more_span, more_histogram.edges()));
            *span = both.map(|(a, b)| Span { min: a.min.min(b.min), max: a.max.max(b.max) });
            *sum = sum.plus(more_sum);
            histogram.merge(&more_histogram);
        }
        (
            Change::Gauge { last, set_at, statistics },
            Change::Gauge { last: more_last, set_at: more_set_at, statistics: more_statistics },
        ) => {
            if more_set_at >= *set_at {
                (*last, *set_at) = (more_last, more_set_at);
            }
            *statistics = match (*statistics, more_statistics) {
                (Some(a), Some(b)) => Some((a.0 + b.0, a.1 + b.1, a.2.min(b.2), a.3.max(b.3))),
                (a, b) => a.or(b),
            };
        }
        _ => {}
    }
}

/// A figure: whole where it can be.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(untagged)]
pub(crate) enum Figure {
    Whole(i64),
    Float(f64),
}

impl Figure {
    pub(crate) fn value(self) -> f64 {
        match self {
            Figure::Whole(whole) => whole as f64,
            Figure::Float(float) => float,
        }
    }
}

impl From<Total> for Figure {
    fn from(total: Total) -> Figure {
        if total.float == 0.0 { Figure::Whole(total.whole) } else { Figure::Float(total.value()) }
    }
}

/// The figures of a change, as far as they apply; timers in seconds, everything else in its own unit.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub(crate) struct Figures {
    /// How many values there were; of a counter, what was counted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) count: Option<Figure>,
    /// Their sum; of a counter the same as its count.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) sum: Option<Figure>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) min: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) max: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) last: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) p50: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) p90: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) p99: Option<f64>,
}

impl Figures {
    pub(crate) fn of(kind: Kind, change: &Change) -> Figures {
        match change {
            Change::Total(total) => Figures {
                count: (kind == Kind::Counter).then(|| (*total).into()),
                sum: Some((*total).into()),
                ..Figures::default()
            },
            Change::Spread { sum, histogram, span } => {
                let timer = kind == Kind::Timer;
                let unit = |value: f64| if timer { value / 1e9 } else { value };
                let edges = histogram.edges().map(|(min, max)| Span { min, max });
                let span = span.or(edges);
                let inside = |value: f64| span.map_or(value, |s| value.max(s.min).min(s.max));
                let quantile = |q| histogram.quantile(q).map(|value| unit(inside(value)));
                Figures {
                    count: Some(Figure::Whole(i64::try_from(histogram.count()).unwrap_or(i64::MAX))),
                    sum: Some(if timer { Figure::Float(unit(sum.value())) } else { (*sum).into() }),
                    min: span.map(|span| unit(span.min)),
                    max: span.map(|span| unit(span.max)),
                    last: None,
                    p50: quantile(0.5),
                    p90: quantile(0.9),
                    p99: quantile(0.99),
                }
            }
            Change::Gauge { last, statistics, .. } => Figures {
                count: statistics.map(|s| Figure::Whole(i64::try_from(s.0).unwrap_or(i64::MAX))),
                sum: statistics.map(|s| Figure::Float(s.1)),
                min: statistics.map(|s| s.2),
                max: statistics.map(|s| s.3),
                last: Some(*last),
                ..Figures::default()
            },
            Change::Point { value, .. } => Figures { last: Some(*value), ..Figures::default() },
        }
    }
}

#[cfg(test)]
mod tests {
    use zibrato_core::histogram::Histogram;

    use super::*;

    fn spread(values: &[f64], known: bool) -> Change {
        let mut histogram = Histogram::default();
        values.iter().for_each(|value| assert!(histogram.record(*value)));
        let min = values.iter().copied().fold(f64::INFINITY, f64::min);
        let max = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let sum = Total::whole(values.iter().sum::<f64>() as i64);
        Change::Spread { sum, histogram, span: known.then_some(Span { min, max }) }
    }

    #[test]
    fn what_several_instances_did_is_one() {
        let mut sum = spread(&[2e9, 4e9], true);
        absorb(&mut sum, spread(&[6e9], true));
        let figures = Figures::of(Kind::Timer, &sum);
        assert_eq!((figures.count, figures.sum), (Some(Figure::Whole(3)), Some(Figure::Float(12.0))));
        assert_eq!((figures.min, figures.max), (Some(2.0), Some(6.0)));
        assert!((figures.p50.unwrap() / 4.0 - 1.0).abs() < 0.01);
        absorb(&mut sum, spread(&[100e9], false));
        assert!((Figures::of(Kind::Timer, &sum).max.unwrap() / 100.0 - 1.0).abs() < 0.02);

        let gauge = |last, set_at| Change::Gauge { last, set_at, statistics: None };
        let mut newest = gauge(1.0, 20);
        absorb(&mut newest, gauge(2.0, 10));
        assert_eq!(Figures::of(Kind::Gauge, &newest).last, Some(1.0));
    }

    #[test]
    fn whole_totals_stay_whole() {
        let figures = Figures::of(Kind::Counter, &Change::Total(Total::whole(i64::MAX)));
        let json = serde_json::to_string(&figures).unwrap();
        assert_eq!(json, r#"{"count":9223372036854775807,"sum":9223372036854775807}"#);
        let figures = Figures::of(Kind::Updown, &Change::Total(Total { whole: -3, float: 0.5 }));
        assert_eq!(serde_json::to_string(&figures).unwrap(), r#"{"sum":-2.5}"#);
    }
}
