//! Rows: the state of one metric.

use std::sync::Arc;

use crate::histogram::Histogram;
use crate::trace::Event;

/// What a metric is; the number is its code on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Kind {
    /// A total that never falls.
    Counter = 0,
    /// A total that may fall.
    Updown = 1,
    /// Durations, in nanoseconds.
    Timer = 2,
    /// Values of any unit.
    Distribution = 3,
    /// A last value.
    Gauge = 4,
    /// Single datapoints with times of their own.
    Point = 5,
    /// What a metric means: help and unit.
    Description = 6,
}

impl Kind {
    /// The kind of a code, `None` for a code of the future.
    pub fn from_code(code: u64) -> Option<Kind> {
        use Kind::*;
        [Counter, Updown, Timer, Distribution, Gauge, Point, Description]
            .into_iter()
            .find(|k| *k as u64 == code)
    }

    /// The word for it, in lower case.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Counter => "counter",
            Kind::Updown => "updown",
            Kind::Timer => "timer",
            Kind::Distribution => "distribution",
            Kind::Gauge => "gauge",
            Kind::Point => "point",
            Kind::Description => "description",
        }
    }
}

impl std::fmt::Display for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// Tags of a metric: pairs of name and value, sorted by name, each name once.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Tags(Arc<[(Arc<str>, Arc<str>)]>);

impl Tags {
    /// No tags.
    pub fn none() -> Self {
        Self::default()
    }

    /// Tags from pairs in any order; of two with one name the later one stays.
    pub fn new<N: Into<Arc<str>>, V: Into<Arc<str>>>(pairs: impl IntoIterator<Item = (N, V)>) -> Self {
        let mut all: Vec<(Arc<str>, Arc<str>)> =
            pairs.into_iter().map(|(n, v)| (n.into(), v.into())).collect();
        all.reverse();
        all.sort_by(|a, b| a.0.cmp(&b.0));
        all.dedup_by(|next, kept| next.0 == kept.0);
        Tags(all.into())
    }

    /// The pairs by rising name.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &str)> {
        self.0.iter().map(|(n, v)| (&**n, &**v))
    }

    /// The value of a tag.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.iter().find(|(n, _)| *n == name).map(|(_, v)| v)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl std::fmt::Display for Tags {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (i, (name, value)) in self.iter().enumerate() {
            write!(f, "{}{name}={value}", if i > 0 { "," } else { "" })?;
        }
        Ok(())
    }
}

impl std::fmt::Debug for Tags {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{{{self}}}")
    }
}

/// What identifies a metric within its instance and level.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// What it is.
    pub kind: Kind,
    /// Its name.
    pub name: Arc<str>,
    /// Its source; decoded rows always have one, the frame's where they name none.
    pub source: Arc<str>,
    /// Its tags.
    pub tags: Tags,
    /// When its total was zero, in nanoseconds since 1970 UTC on the sender's clock; a metric that returns
    /// after it was retired has a later one.
    pub born: u64,
}

/// A sum that keeps whole increments exact: its value is `whole + float`.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Total {
    /// The sum of all whole increments.
    pub whole: i64,
    /// The sum of all other increments.
    pub float: f64,
}

impl Total {
    /// A whole total.
    pub fn whole(whole: i64) -> Self {
        Total { whole, float: 0.0 }
    }

    /// The sum as one number; exact up to 2^53.
    pub fn value(self) -> f64 {
        self.whole as f64 + self.float
    }

    /// What has been added since an earlier state.
    pub fn since(self, earlier: Total) -> Total {
        Total { whole: self.whole.saturating_sub(earlier.whole), float: self.float - earlier.float }
    }

    /// Both together.
    pub fn plus(self, other: Total) -> Total {
        // Floats saturate too: nobody takes a total that is not finite.
        let float = (self.float + other.float).clamp(f64::MIN, f64::MAX);
        Total { whole: self.whole.saturating_add(other.whole), float }
    }

    /// Whether it is exactly nothing.
    pub fn is_zero(self) -> bool {
        self.whole == 0 && self.float == 0.0
    }
}

impl std::fmt::Display for Total {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.float == 0.0 { write!(f, "{}", self.whole) } else { write!(f, "{}", self.value()) }
    }
}

/// Smallest and largest value of the interval before the frame was sent.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Span {
    /// The smallest.
    pub min: f64,
    /// The largest.
    pub max: f64,
}

/// The state of a timer (in nanoseconds) or a distribution (in its own unit).
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Spread {
    /// The sum of all values since the start; how many there are is the histogram's count.
    pub sum: Total,
    /// Extremes of the last interval, `None` when it had no values.
    pub span: Option<Span>,
    /// All values since the start.
    pub histogram: Histogram,
}

impl Spread {
    /// The values that have come since an earlier state of the same metric, with the present interval's extremes.
    pub fn since(&self, earlier: &Spread) -> Spread {
        Spread {
            sum: self.sum.since(earlier.sum),
            span: self.span,
            histogram: self.histogram.since(&earlier.histogram),
        }
    }
}

/// The state of a gauge.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Gauge {
    /// The value that was set last.
    pub value: f64,
    /// When, in nanoseconds since 1970 UTC on the sender's clock.
    pub set_at: u64,
    /// How often it was set and the sum of what it was set to, since the start, and the extremes of the last
    /// interval; kept only where asked for.
    pub statistics: Option<(u64, f64, Option<Span>)>,
}

/// One datapoint of a collector or a gateway.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Point {
    /// Its number within its instance and level, from 1.
    pub number: u64,
    /// Its own time, in nanoseconds since 1970 UTC.
    pub time: u64,
    /// Its value.
    pub value: f64,
}

/// What a metric means. The row's key has the name, no tags, and the kind [`Kind::Description`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Description {
    /// The unit in UCUM notation, as OTLP has it (`s`, `By`, `{request}`); empty where unknown.
    pub unit: Arc<str>,
    /// One sentence for people.
    pub help: Arc<str>,
}

/// What a row says.
#[derive(Debug, Clone, PartialEq)]
pub enum State {
    /// Of a counter or an updown counter: the total since the start.
    Total(Total),
    /// Of a timer or a distribution.
    Spread(Spread),
    /// Of a gauge.
    Gauge(Gauge),
    /// A datapoint.
    Point(Point),
    /// What a metric means.
    Description(Description),
}

impl State {
    /// What a total or a spread has gained since an earlier state, `None` where that is nothing at all; other
    /// states have no past and stay as they are.
    pub fn since(self, earlier: &State) -> Option<State> {
        match (self, earlier) {
            (State::Total(now), State::Total(earlier)) => {
                Some(now.since(*earlier)).filter(|rest| !rest.is_zero()).map(State::Total)
            }
            (State::Spread(now), State::Spread(earlier)) => {
                Some(now.since(earlier)).filter(|rest| rest.histogram.count() > 0).map(State::Spread)
            }
            (state, _) => Some(state),
        }
    }
}

/// The state of one metric.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// Which metric.
    pub key: Key,
    /// Its state.
    pub state: State,
    /// Its number as a traced row, where it is marked for tracing.
    pub trace: Option<u64>,
    /// What a hop tells of another row, where this one is a point that travels for it.
    pub event: Option<Arc<Event>>,
}
