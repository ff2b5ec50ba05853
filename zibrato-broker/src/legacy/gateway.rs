use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use zibrato_core::frame::{
    Flags, Head, InstanceId, Key, Kind, Point, Row, Span, Spread, State, Tags, Total, encode_set,
};
use zibrato_core::histogram::Histogram;
use zibrato_core::limits;

use super::line::{BadLine, Increment, Line, Reading};

const SECOND: u64 = 1_000_000_000;
/// How long a point stays in the sets, so that a lost frame does not lose it.
const KEPT: u64 = 30 * SECOND;
/// Most points of one level that stay.
const POINTS: usize = 20_000;
/// Most points of all levels together; the level that has most gives its oldest.
const ALL_POINTS: usize = 100_000;
/// So many new points, of one level or of all, are sent before the interval is over.
const PRESSED: usize = 5_000;
const ALL_PRESSED: usize = 20_000;
/// Most levels.
const LEVELS: usize = 256;
/// How often a large level sends a complete set.
const COMPLETE: u64 = 10 * SECOND;
/// What no metric could be made for is counted under this name.
const OVERFLOW: &str = "zibrato.overflow";

/// Adds up old lines into the frames of one instance. No clock and no sockets: the time is passed in, in
/// nanoseconds since 1970.
#[derive(Debug)]
pub struct Gateway {
    instance: InstanceId,
    source: String,
    levels: HashMap<Arc<str>, Level>,
    metrics: usize,
    /// Of all levels together.
    points: usize,
    overflowing: bool,
    over: u64,
}

#[derive(Debug)]
struct Level {
    started_at: u64,
    sequence: u64,
    base: u64,
    completed_at: u64,
    /// About how many bytes the last complete set had.
    size: usize,
    metrics: HashMap<(Kind, Arc<str>, Arc<str>), Metric>,
    points: VecDeque<Held>,
    number: u64,
    fresh: usize,
}

#[derive(Debug)]
struct Held {
    row: Row,
    came: u64,
    set: u64,
}

#[derive(Debug)]
struct Metric {
    state: State,
    /// Changed since the last complete set.
    dirty: bool,
}

impl Gateway {
    /// A gateway with all totals at zero; `source` is that of its frames, lines bring their own.
    pub fn new(instance: InstanceId, source: String) -> Self {
        Gateway {
            instance,
            source,
            levels: HashMap::new(),
            metrics: 0,
            points: 0,
            overflowing: false,
            over: 0,
        }
    }

    /// Adds a line.
    ///
    /// # Errors
    /// When there are too many levels, or a total would overflow.
    pub fn take(&mut self, line: &Line<'_>, now: u64) -> Result<(), BadLine> {
        if !self.levels.contains_key(line.level) {
            if self.levels.len() >= LEVELS {
                return Err(BadLine::TooManyLevels);
            }
            self.levels.insert(line.level.into(), Level::new(now));
        }
        let Some(level) = self.levels.get_mut(line.level) else { return Err(BadLine::TooManyLevels) };
        let counter_as = |level: &Level, increment: Increment| {
            // A counter never falls. Once one does, it goes on as an updown counter, and both add up.
            let key = (Kind::Updown, line.name.into(), line.source.into());
            let falls = match increment {
                Increment::Whole(n) => n < 0,
                Increment::Float(x) => x < 0.0,
            };
            if falls || level.metrics.contains_key(&key) { Kind::Updown } else { Kind::Counter }
        };
        let kind = match line.reading {
            Reading::Gauge(value) => {
                let before = level.points.len();
                self.over += level.add_point(line, value, now);
                self.points += level.points.len() - before;
                if self.points > ALL_POINTS {
                    let most = self.levels.values_mut().max_by_key(|level| level.points.len());
                    self.over += most.map_or(0, Level::drop_point);
                    self.points -= 1;
                }
                return Ok(());
            }
            Reading::Timer(_) => Kind::Timer,
            Reading::Counter(increment) => counter_as(level, increment),
        };
        let key = (kind, Arc::from(line.name), Arc::from(line.source));
        if let Some(metric) = level.metrics.get_mut(&key) {
            return metric.add(line.reading);
        }
        if self.metrics >= limits::METRICS {
            self.over += 1;
            if !self.overflowing {
                self.overflowing = true;
                tracing::error!(
                    "the legacy gateway has {} metrics; what is new is only counted, in {OVERFLOW}",
                    limits::METRICS
                );
            }
            let key = (Kind::Counter, Arc::from(OVERFLOW), Arc::from(self.source.as_str()));
            let metric = level.metrics.entry(key).or_insert_with(|| Metric::new(Kind::Counter));
            return metric.add(Reading::Counter(Increment::Whole(1)));
        }
        let mut metric = Metric::new(kind);
        metric.add(line.reading)?;
        level.metrics.insert(key, metric);
        self.metrics += 1;
        Ok(())
    }

    /// How many lines were only counted, because there are too many metrics, or too many values between two sets.
    pub fn over(&self) -> u64 {
        self.over
    }

    /// Whether so many points wait that they should be sent at once.
    pub fn is_pressed(&self) -> bool {
        self.levels.values().any(|l| l.fresh >= PRESSED)
            || self.levels.values().map(|l| l.fresh).sum::<usize>() >= ALL_PRESSED
    }

    /// The frames to send now, by level; to be called once a second. With `last` they end the instance.
    pub fn sets(&mut self, now: u64, last: bool) -> Vec<(Arc<str>, Vec<Vec<u8>>)> {
        let (instance, source) = (self.instance, &self.source);
        let sets = self.levels.iter_mut().map(|(name, level)| {
            let frames = level.set(instance, source, now, last);
            (name.clone(), frames)
        });
        let mut sets: Vec<_> = sets.filter(|(_, frames)| !frames.is_empty()).collect();
        self.points = self.levels.values().map(|level| level.points.len()).sum();
        sets.sort_unstable_by(|a, b| a.0.cmp(&b.0));
        sets
    }
}

impl Level {
    fn new(now: u64) -> Self {
        Level {
            started_at: now,
            sequence: 0,
            base: 0,
            completed_at: 0,
            size: 0,
            metrics: HashMap::new(),
            points: VecDeque::new(),
            number: 0,
            fresh: 0,
        }
    }

    /// Says how many points have to go that were never sent.
    fn add_point(&mut self, line: &Line<'_>, value: f64, now: u64) -> u64 {
        self.number += 1;
        let point = Point { number: self.number, time: line.time, value };
        let key = self.key(Kind::Point, line.name.into(), line.source.into());
        let row = Row { key, state: State::Point(point), trace: None, event: None };
        self.points.push_back(Held { row, came: now, set: 0 });
        self.fresh += 1;
        if self.points.len() > POINTS { self.drop_point() } else { 0 }
    }

    /// Drops the oldest point; 1 if it was never sent.
    fn drop_point(&mut self) -> u64 {
        let dropped = self.points.pop_front();
        u64::from(dropped.is_some_and(|held| held.set == 0))
    }

    fn key(&self, kind: Kind, name: Arc<str>, source: Arc<str>) -> Key {
        Key { kind, name, source, tags: Tags::none(), born: self.started_at }
    }

    /// A complete set where the level is small, every ten seconds, and at the end; else what changed since.
    fn set(&mut self, instance: InstanceId, source: &str, now: u64, last: bool) -> Vec<Vec<u8>> {
        let complete = last
            || self.base == 0
            || self.size <= limits::ALWAYS_COMPLETE
            || now.saturating_sub(self.completed_at) >= COMPLETE;
        while self.points.front().is_some_and(|p| p.set > 0 && now.saturating_sub(p.came) > KEPT) {
            self.points.pop_front();
        }
        self.sequence += 1;
        let sequence = self.sequence;
        let base = if complete { sequence } else { self.base };
        for point in self.points.iter_mut().filter(|p| p.set == 0) {
            point.set = sequence;
        }
        self.fresh = 0;
        let metrics = self.metrics.iter().filter(|(_, m)| complete || m.dirty);
        let mut rows: Vec<Row> = metrics
            .map(|((kind, name, source), metric)| {
                let key = self.key(*kind, name.clone(), source.clone());
                Row { key, state: metric.state.clone(), trace: None, event: None }
            })
            .collect();
        let points = self.points.iter().filter(|p| complete || p.set > self.base);
        rows.extend(points.map(|p| p.row.clone()));
        if rows.is_empty() && !complete {
            self.sequence -= 1;
            return Vec::new();
        }
        for metric in self.metrics.values_mut() {
            metric.dirty &= !complete;
            if let State::Spread(spread) = &mut metric.state {
                // The extremes are those of the interval that ends here.
                spread.span = None;
            }
        }
        let flags = match (complete, last) {
            (true, true) => Flags::COMPLETE.with(Flags::LAST),
            (true, false) => Flags::COMPLETE,
            _ => Flags::default(),
        };
        let head = Head {
            instance,
            started_at: self.started_at,
            sequence,
            base,
            part: 0,
            parts: 1,
            sent_at: now.max(self.started_at),
            flags,
            source: source.into(),
        };
        let frames = encode_set(&head, &rows, limits::FRAME);
        if complete {
            self.base = sequence;
            self.completed_at = now;
            self.size = frames.iter().map(Vec::len).sum();
        }
        frames
    }
}

impl Metric {
    fn new(kind: Kind) -> Self {
        let state = match kind {
            Kind::Timer => State::Spread(Spread::default()),
            _ => State::Total(Total::default()),
        };
        Metric { state, dirty: true }
    }

    fn add(&mut self, reading: Reading) -> Result<(), BadLine> {
        match (&mut self.state, reading) {
            (State::Total(total), Reading::Counter(Increment::Whole(n))) => {
                total.whole = total.whole.checked_add(n).ok_or(BadLine::Overflow)?;
            }
            (State::Total(total), Reading::Counter(Increment::Float(x))) => {
                let float = total.float + x;
                if !float.is_finite() {
                    return Err(BadLine::Overflow);
                }
                total.float = float;
            }
            (State::Spread(spread), Reading::Timer(n)) => {
                let whole = i64::try_from(n).map_err(|_| BadLine::Impossible)?;
                spread.sum.whole = spread.sum.whole.checked_add(whole).ok_or(BadLine::Overflow)?;
                record(&mut spread.histogram, n);
                let value = n as f64;
                spread.span = Some(match spread.span {
                    Some(Span { min, max }) => Span { min: min.min(value), max: max.max(value) },
                    None => Span { min: value, max: value },
                });
            }
            // Totals are only made for counters and spreads only for timers.
            _ => return Err(BadLine::UnknownType),
        }
        self.dirty = true;
        Ok(())
    }
}

fn record(histogram: &mut Histogram, nanoseconds: u64) {
    // A whole number of nanoseconds is finite, so it has a place.
    histogram.record(nanoseconds as f64);
}
