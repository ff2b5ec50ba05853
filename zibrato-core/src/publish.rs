//! From readings to sets of frames: what an instance sends, and when.
//!
//! There is no clock, thread or socket in here: whoever drives it says what time it is and carries the sets away.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use crate::frame::{Flags, Head, InstanceId, Key, Row, State, encode_set};
use crate::limits;
use crate::registry::Reading;
use crate::trace::Mark;

/// How often a complete set is sent at least.
pub const COMPLETE_EVERY: Duration = Duration::from_secs(10);

/// One set: the state of some or all metrics of one level, under one sequence number.
#[derive(Debug, Clone, PartialEq)]
pub struct Set {
    /// The level.
    pub level: Arc<str>,
    /// The head of all its frames, but for the parts and the time of sending.
    pub head: Head,
    /// Its rows.
    pub rows: Vec<Row>,
    frame: usize,
}

impl Set {
    pub(crate) fn new(level: Arc<str>, head: Head, rows: Vec<Row>, frame: usize) -> Self {
        Set { level, head, rows, frame }
    }

    /// The marks of the rows that are traced.
    pub fn marks(&self) -> impl Iterator<Item = Mark> {
        self.rows.iter().filter_map(|row| Mark::of(self.head.instance, &self.level, self.head.sequence, row))
    }

    /// Its frames, stamped as sent at `now`. A set that is sent again is stamped again and keeps its sequence.
    pub fn frames(&self, now: u64) -> Vec<Vec<u8>> {
        let head = Head { sent_at: now.max(self.head.started_at), ..self.head.clone() };
        encode_set(&head, &self.rows, self.frame)
    }
}

/// What one instance has sent, and so what it has to send next.
///
/// ```
/// use zibrato_core::{publish::Publisher, registry};
///
/// let mut publisher = Publisher::new("my-host");
/// let now = zibrato_core::clock::unix_nanos();
/// for set in publisher.collect(registry::read(), now) {
///     for frame in set.frames(now) {
///         println!("{} bytes of level {}", frame.len(), set.level);
///     }
/// }
/// ```
#[derive(Debug)]
pub struct Publisher {
    instance: InstanceId,
    source: Arc<str>,
    levels: BTreeMap<Arc<str>, Level>,
    traced: u64,
    sizes: Sizes,
}

/// From how many bytes on a set is split, and a level no longer always sent as a whole.
#[derive(Debug, Clone, Copy)]
struct Sizes {
    frame: usize,
    always_complete: usize,
}

#[derive(Debug)]
struct Level {
    started_at: u64,
    sequence: u64,
    base: u64,
    complete_at: u64,
    /// The bytes of the newest complete set; a small level always sends complete ones.
    bytes: usize,
    known: HashMap<Key, Known>,
    sizes: Sizes,
}

/// What of a metric was sent last, in short.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Known {
    latest: Digest,
    /// It was another one since the newest complete set, even if it is the same again by now.
    changed: bool,
}

/// A state in short: it differs whenever the state does, extremes of an interval aside.
type Digest = (u64, u64);

fn digest(state: &State) -> Digest {
    match state {
        State::Total(total) => (total.whole as u64, total.float.to_bits()),
        // A sum may have been read ahead of the count; the flag tells an empty spread from one never sent.
        State::Spread(spread) => {
            (spread.histogram.count(), (spread.sum.whole as u64 ^ spread.sum.float.to_bits()) | 1 << 63)
        }
        State::Gauge(gauge) => {
            (gauge.value.to_bits(), gauge.set_at ^ gauge.statistics.map_or(0, |s| s.0) << 32)
        }
        State::Point(point) => (point.number, point.time),
        State::Description(d) => {
            let hash = |text: &str| {
                text.bytes()
                    .fold(0xcbf2_9ce4_8422_2325_u64, |h, b| (h ^ u64::from(b)).wrapping_mul(0x100_0000_01b3))
            };
            (hash(&d.unit), hash(&d.help))
        }
    }
}

/// Stands for the number of a marked row before it has one.
const UNNUMBERED: u64 = 0;

/// Whether nothing has happened to a metric yet.
fn is_nothing(state: &State) -> bool {
    match state {
        State::Total(total) => total.is_zero(),
        State::Spread(spread) => spread.histogram.count() == 0 && spread.sum.is_zero(),
        _ => false,
    }
}

impl Publisher {
    /// A new instance, of which nothing has been sent. `source` is that of all metrics that name none.
    pub fn new(source: &str) -> Self {
        Publisher {
            instance: InstanceId::random(),
            source: source.into(),
            levels: BTreeMap::new(),
            traced: 0,
            sizes: Sizes { frame: limits::FRAME, always_complete: limits::ALWAYS_COMPLETE },
        }
    }

    /// The same with this id, which no instance must have had before.
    pub fn with_instance(self, instance: InstanceId) -> Self {
        Publisher { instance, ..self }
    }

    /// The same with other sizes than [`limits::FRAME`], from which on a set is split, and
    /// [`limits::ALWAYS_COMPLETE`], from which on not every set of a level is complete.
    pub fn with_sizes(self, frame: usize, always_complete: usize) -> Self {
        Publisher { sizes: Sizes { frame, always_complete }, ..self }
    }

    /// Its id.
    pub fn instance(&self) -> InstanceId {
        self.instance
    }

    /// How many rows have been numbered as traced.
    pub fn traced(&self) -> u64 {
        self.traced
    }

    /// The sets to send at this interval: for each level that has changed, or whose complete set is due, one.
    ///
    /// A set holds what has changed since the newest complete set; it is complete where
    /// [`COMPLETE_EVERY`] has passed, or where the whole level fits [`limits::ALWAYS_COMPLETE`] bytes.
    pub fn collect(&mut self, readings: Vec<Reading>, now: u64) -> Vec<Set> {
        let mut sets = Vec::new();
        for (name, mut rows) in self.by_level(readings) {
            let level = self.levels.entry(name.clone()).or_insert_with(|| Level::new(&rows, now, self.sizes));
            let due = now.saturating_sub(level.complete_at) >= COMPLETE_EVERY.as_nanos() as u64;
            let changed = rows
                .iter()
                .any(|row| level.known.get(&row.key).map(|k| k.latest) != Some(digest(&row.state)));
            if !changed && !due {
                continue;
            }
            let complete = due || level.bytes <= level.sizes.always_complete;
            level.number(&mut rows, &mut self.traced);
            let set = level.next(&name, self.instance, &self.source, rows, complete, Flags::default(), now);
            sets.push(set);
        }
        sets
    }

    /// The last sets: one complete set for every level that was ever used. After them this instance has ended.
    pub fn finish(&mut self, readings: Vec<Reading>, now: u64) -> Vec<Set> {
        let mut by_level = self.by_level(readings);
        for name in self.levels.keys() {
            by_level.entry(name.clone()).or_default();
        }
        let sets = by_level.into_iter().map(|(name, mut rows)| {
            let level = self.levels.entry(name.clone()).or_insert_with(|| Level::new(&rows, now, self.sizes));
            level.number(&mut rows, &mut self.traced);
            level.next(&name, self.instance, &self.source, rows, true, Flags::LAST, now)
        });
        sets.collect()
    }

    /// The sets with the final states of metrics that were retired. They are to be handed over like last sets,
    /// because no later set has those metrics.
    pub fn retire(&mut self, readings: Vec<Reading>, now: u64) -> Vec<Set> {
        let sets = self.by_level(readings).into_iter().map(|(name, mut rows)| {
            let level = self.levels.entry(name.clone()).or_insert_with(|| Level::new(&rows, now, self.sizes));
            level.number(&mut rows, &mut self.traced);
            for row in &rows {
                level.known.remove(&row.key);
            }
            level.sequence += 1;
            level.set(&name, self.instance, &self.source, rows, Flags::RETIRED, now)
        });
        sets.collect()
    }

    fn by_level(&self, readings: Vec<Reading>) -> BTreeMap<Arc<str>, Vec<Row>> {
        let mut levels: BTreeMap<Arc<str>, Vec<Row>> = BTreeMap::new();
        for Reading { id, born, state, traced } in readings {
            let source = id.source.clone().unwrap_or_else(|| self.source.clone());
            let key = Key { kind: id.kind, name: id.name.clone(), source, tags: id.tags.clone(), born };
            levels.entry(id.level.clone()).or_default().push(Row {
                key,
                state,
                trace: traced.then_some(UNNUMBERED),
                event: None,
            });
        }
        levels
    }
}

impl Level {
    fn new(rows: &[Row], now: u64, sizes: Sizes) -> Self {
        let totals = rows.iter().filter(|row| !matches!(row.state, State::Description(_)));
        Level {
            started_at: totals.map(|row| row.key.born).min().unwrap_or(now),
            sequence: 0,
            base: 0,
            complete_at: 0,
            bytes: 0,
            known: HashMap::new(),
            sizes,
        }
    }

    /// Numbers the marked rows that say something new; the others are as good as not marked this time.
    fn number(&self, rows: &mut [Row], traced: &mut u64) {
        for row in rows.iter_mut().filter(|row| row.trace.is_some()) {
            let news = match self.known.get(&row.key) {
                Some(known) => known.latest != digest(&row.state),
                None => !is_nothing(&row.state),
            };
            *traced += u64::from(news);
            row.trace = news.then_some(*traced);
        }
    }

    #[allow(clippy::too_many_arguments, reason = "the head of a set has this many sides")]
    fn next(
        &mut self,
        name: &Arc<str>,
        instance: InstanceId,
        source: &Arc<str>,
        mut rows: Vec<Row>,
        complete: bool,
        flags: Flags,
        now: u64,
    ) -> Set {
        self.sequence += 1;
        let mut flags = flags;
        if complete {
            (self.base, self.complete_at) = (self.sequence, now);
            flags = flags.with(Flags::COMPLETE);
            self.known.clear();
        }
        for row in &rows {
            let latest = digest(&row.state);
            let known = self.known.get(&row.key).copied();
            let changed = !complete && known.is_none_or(|k| k.changed || k.latest != latest);
            self.known.insert(row.key.clone(), Known { latest, changed });
        }
        if !complete {
            rows.retain(|row| self.known.get(&row.key).is_none_or(|k| k.changed));
        }
        let set = self.set(name, instance, source, rows, flags, now);
        if complete {
            self.bytes = set.frames(now).iter().map(Vec::len).sum();
        }
        set
    }

    fn set(
        &self,
        name: &Arc<str>,
        instance: InstanceId,
        source: &Arc<str>,
        rows: Vec<Row>,
        flags: Flags,
        now: u64,
    ) -> Set {
        let head = Head {
            instance,
            started_at: self.started_at,
            sequence: self.sequence,
            base: self.base,
            part: 0,
            parts: 1,
            sent_at: now.max(self.started_at),
            flags,
            source: source.to_string(),
        };
        Set { level: name.clone(), head, rows, frame: self.sizes.frame }
    }
}
