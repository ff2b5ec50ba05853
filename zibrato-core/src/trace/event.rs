use std::sync::Arc;

use crate::frame::{InstanceId, Key, Kind, Point, Row, State, Total};
use crate::limits;

/// A row that is marked for tracing: which it was, and what it said.
#[derive(Debug, Clone, PartialEq)]
pub struct Mark {
    /// Who sent it.
    pub instance: InstanceId,
    /// At which level.
    pub level: Arc<str>,
    /// In which set.
    pub sequence: u64,
    /// Its number as a traced row; each number of an instance is of one row.
    pub number: u64,
    /// Which metric.
    pub key: Key,
    /// The total of a counter or updown counter, the sum of a timer (in nanoseconds) or distribution, the value of a
    /// gauge or point.
    pub total: Total,
    /// How many values a timer or distribution has.
    pub count: Option<u64>,
}

impl Mark {
    /// The mark of a row, where it has one.
    pub fn of(instance: InstanceId, level: &Arc<str>, sequence: u64, row: &Row) -> Option<Mark> {
        let number = row.trace?;
        let (total, count) = match &row.state {
            State::Total(total) => (*total, None),
            State::Spread(spread) => (spread.sum, Some(spread.histogram.count())),
            State::Gauge(gauge) => (Total { whole: 0, float: gauge.value }, None),
            State::Point(point) => (Total { whole: 0, float: point.value }, None),
            State::Description(_) => return None,
        };
        Some(Mark { instance, level: level.clone(), sequence, number, key: row.key.clone(), total, count })
    }
}

/// What of tracing belongs to something that happened to a metric.
#[derive(Debug, Clone, PartialEq, Default)]
pub enum Trace {
    /// Nothing.
    #[default]
    None,
    /// The marked rows that it follows from.
    Marks(Vec<Arc<Mark>>),
    /// It is not a measurement at all, but a point that travels for this event.
    Event(Arc<Event>),
}

impl Trace {
    /// Most marks in one.
    pub const MARKS: usize = 1000;

    /// The marked rows, none where it is an event.
    pub fn marks(&self) -> &[Arc<Mark>] {
        if let Trace::Marks(marks) = self { marks } else { &[] }
    }

    /// Adds the marks of what is added to the same measurement, up to [`Trace::MARKS`].
    pub fn absorb(&mut self, more: Trace) {
        match (&mut *self, more) {
            (Trace::Marks(marks), Trace::Marks(more)) => {
                let room = Trace::MARKS.saturating_sub(marks.len());
                marks.extend(more.into_iter().take(room));
            }
            (Trace::None, more) => *self = more,
            _ => {}
        }
    }
}

/// Who handles a row; the number is the code on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Hop {
    /// The instance that measured has given it to its transport.
    Published = 0,
    /// A broker has received it.
    BrokerReceived = 1,
    /// A broker has passed it on to its subscribers.
    BrokerPassedOn = 2,
    /// A worker has received it.
    Received = 3,
    /// A worker has settled it.
    Settled = 4,
    /// A worker's backend has answered.
    Backend = 5,
}

impl Hop {
    /// All, in the order in which a row passes them.
    pub const ALL: [Hop; 6] =
        [Hop::Published, Hop::BrokerReceived, Hop::BrokerPassedOn, Hop::Received, Hop::Settled, Hop::Backend];

    /// The hop of a code, `None` for a code of the future.
    pub fn from_code(code: u64) -> Option<Hop> {
        Hop::ALL.into_iter().find(|hop| *hop as u64 == code)
    }

    /// The word for it.
    pub fn name(self) -> &'static str {
        match self {
            Hop::Published => "published",
            Hop::BrokerReceived => "broker_received",
            Hop::BrokerPassedOn => "broker_passed_on",
            Hop::Received => "received",
            Hop::Settled => "settled",
            Hop::Backend => "backend",
        }
    }

    /// The hop of a word.
    pub fn from_name(name: &str) -> Option<Hop> {
        Hop::ALL.into_iter().find(|hop| hop.name() == name)
    }
}

/// What became of a row at a hop; the number is the code on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Verdict {
    /// It went on; of a backend: it was accepted.
    Ok = 0,
    /// It had nothing that had not been settled before, so nothing is sent of it.
    Unchanged = 1,
    /// It was refused for good.
    Refused = 2,
    /// It was not accepted, and is sent again.
    Retry = 3,
    /// There was no room for it.
    Dropped = 4,
}

impl Verdict {
    const ALL: [Verdict; 5] =
        [Verdict::Ok, Verdict::Unchanged, Verdict::Refused, Verdict::Retry, Verdict::Dropped];

    /// The verdict of a code, `None` for a code of the future.
    pub fn from_code(code: u64) -> Option<Verdict> {
        Verdict::ALL.into_iter().find(|verdict| *verdict as u64 == code)
    }

    /// The word for it.
    pub fn name(self) -> &'static str {
        match self {
            Verdict::Ok => "ok",
            Verdict::Unchanged => "unchanged",
            Verdict::Refused => "refused",
            Verdict::Retry => "retry",
            Verdict::Dropped => "dropped",
        }
    }

    /// The verdict of a word.
    pub fn from_name(name: &str) -> Option<Verdict> {
        Verdict::ALL.into_iter().find(|verdict| verdict.name() == name)
    }
}

/// What a hop tells of a marked row.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// Which hop.
    pub hop: Hop,
    /// What became of the row.
    pub verdict: Verdict,
    /// When, in nanoseconds since 1970 UTC on the hop's own clock.
    pub time: u64,
    /// The source of the hop itself: by default its host's name.
    pub by: Arc<str>,
    /// The row.
    pub mark: Mark,
    /// The worker's backend, where the hop is a worker.
    pub backend: Option<Arc<str>>,
    /// The batch that it is in, where it is in one.
    pub batch: Option<u64>,
    /// Why it was refused or not accepted, at most [`limits::NAME`] bytes.
    pub why: Option<Arc<str>>,
}

impl Event {
    /// That a row went on at a hop; the [`Journal`](super::Journal) that takes it says by whom.
    pub fn new(hop: Hop, mark: Mark, time: u64) -> Event {
        Event { hop, verdict: Verdict::Ok, time, by: "".into(), mark, backend: None, batch: None, why: None }
    }

    /// The same with another verdict, and why, of which as much is kept as may be sent.
    pub fn with_verdict(mut self, verdict: Verdict, why: Option<&str>) -> Event {
        self.verdict = verdict;
        self.why = why.filter(|why| !why.is_empty()).map(|why| {
            let short = &why[..why.floor_char_boundary(limits::NAME)];
            if short.contains(char::is_control) {
                short.chars().map(|c| if c.is_control() { ' ' } else { c }).collect::<String>().into()
            } else {
                short.into()
            }
        });
        self
    }

    /// The point as which it travels, with this number.
    pub(super) fn into_row(self, number: u64) -> Row {
        let key = Key { kind: Kind::Point, ..self.mark.key.clone() };
        let state = State::Point(Point { number, time: self.time, value: self.mark.total.value() });
        Row { key, state, trace: None, event: Some(Arc::new(self)) }
    }
}
