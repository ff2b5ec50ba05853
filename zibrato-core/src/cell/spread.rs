use std::num::NonZeroU64;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicU32, AtomicU64};

use super::window::{FULL, Full, Window, count_one};
use super::word::Word;
use crate::clock::{self, Rate};
use crate::frame::{Kind, Span, Spread, Total};
use crate::histogram::{Buckets, Histogram, Lattice, PER_OCTAVE, Place, index_of_whole, place_of};

/// How a kind's values are kept as words that compare like the values themselves.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Order(pub(crate) Kind);

impl Order {
    #[inline(always)]
    fn of_float(value: f64) -> u64 {
        let bits = value.to_bits();
        if bits >> 63 == 0 { bits | 1 << 63 } else { !bits }
    }

    fn value(self, word: u64) -> f64 {
        match self.0 {
            Kind::Timer => word as f64,
            _ if word >> 63 == 1 => f64::from_bits(word & !(1 << 63)),
            _ => f64::from_bits(!word),
        }
    }
}

/// One thread's part of a timer or distribution.
#[derive(Debug)]
pub(crate) struct SpreadCell {
    ticks: Ticks,
    whole: AtomicU64,
    float: AtomicU64,
    low: AtomicU64,
    high: AtomicU64,
    zero: AtomicU64,
    positive: Window,
    negative: Window,
}

/// The part of a timer that was measured in ticks. They stay ticks until they are read.
#[derive(Debug)]
struct Ticks {
    sum: AtomicU64,
    low: AtomicU64,
    high: AtomicU64,
    lattice: &'static Lattice,
}

/// A bucket that has no room: the caller takes the registry's lock and calls [`SpreadCell::make_room`].
#[derive(Debug, Clone, Copy)]
pub(crate) struct NoRoom {
    place: Place,
    full: Full,
}

impl SpreadCell {
    pub(crate) fn new() -> Self {
        Self::of(clock::lattice())
    }

    /// The cell of those that have none: it has no room for anything.
    pub(super) const fn nobodys() -> Self {
        static NONE: Lattice = Lattice::NONE;
        Self::of(&NONE)
    }

    const fn of(lattice: &'static Lattice) -> Self {
        SpreadCell {
            ticks: Ticks {
                sum: AtomicU64::new(0),
                low: AtomicU64::new(u64::MAX),
                high: AtomicU64::new(0),
                lattice,
            },
            whole: AtomicU64::new(0),
            float: AtomicU64::new(0),
            low: AtomicU64::new(u64::MAX),
            high: AtomicU64::new(0),
            zero: AtomicU64::new(0),
            positive: Window::shifted(lattice.offset()),
            negative: Window::shifted(0),
        }
    }

    /// Records a duration of at least one tick. Only the owning thread calls this.
    #[inline(always)]
    pub(crate) fn record_ticks(&self, ticks: NonZeroU64) -> Result<(), NoRoom> {
        let lattice = self.ticks.lattice;
        let bucket = self.positive.room_shifted(lattice.relative_index(ticks)).map_err(|full| {
            let place = Place::Positive(lattice.index(ticks));
            NoRoom { place, full }
        })?;
        let ticks = ticks.get();
        // It may wrap: readers take differences.
        self.ticks.sum.set(self.ticks.sum.get().wrapping_add(ticks));
        stretch(&self.ticks.low, &self.ticks.high, ticks);
        count_one(bucket);
        Ok(())
    }

    /// Records a duration in nanoseconds. Only the owning thread calls this.
    #[inline]
    pub(crate) fn record_nanos(&self, nanos: u64) -> Result<(), NoRoom> {
        let index = index_of_whole(nanos);
        let bucket =
            self.positive.room(index).map_err(|full| NoRoom { place: Place::Positive(index), full })?;
        self.whole.set(self.whole.get().saturating_add(nanos));
        stretch(&self.low, &self.high, nanos);
        count_one(bucket);
        Ok(())
    }

    /// Records a finite value. Only the owning thread calls this.
    pub(crate) fn record(&self, value: f64) -> Result<(), NoRoom> {
        let Some(place) = place_of(value) else { return Ok(()) };
        let bucket = match place {
            Place::Zero => None,
            Place::Positive(i) => Some(self.positive.room(i).map_err(|full| NoRoom { place, full })?),
            Place::Negative(i) => Some(self.negative.room(i).map_err(|full| NoRoom { place, full })?),
        };
        let is_whole = value.fract() == 0.0 && value.abs() < (1u64 << 53) as f64;
        // What the whole part has no room for goes to the other.
        match (self.whole.get() as i64).checked_add(value as i64).filter(|_| is_whole) {
            Some(whole) => self.whole.set(whole as u64),
            None => {
                let sum = f64::from_bits(self.float.get()) + value;
                self.float.set(sum.clamp(f64::MIN, f64::MAX).to_bits());
            }
        }
        stretch(&self.low, &self.high, Order::of_float(value));
        match bucket {
            Some(bucket) => count_one(bucket),
            None => self.zero.store(self.zero.get() + 1, Release),
        }
        Ok(())
    }

    /// Makes room for a value that found none, so that it can be recorded again. What a full bucket had is booked
    /// in `retired`. Only the owning thread calls this, under the registry's lock.
    pub(crate) fn make_room(&self, no_room: NoRoom, retired: &mut Spread) {
        let (window, side, index) = match no_room.place {
            Place::Positive(i) => (&self.positive, &mut retired.histogram.positive, i),
            Place::Negative(i) => (&self.negative, &mut retired.histogram.negative, i),
            Place::Zero => return,
        };
        match no_room.full {
            Full::Outside => window.grow(index),
            Full::Carry => {
                let full = (index, u64::from(FULL));
                *side = Buckets::from_pairs(side.pairs().iter().copied().chain([full]));
                window.carry(index);
            }
        }
    }

    /// Adds this thread's part to `sum`; with `restart` the extremes begin a new interval. Called under the lock.
    pub(crate) fn read(&self, sum: &mut Gathered, order: Order, rate: Rate, restart: bool) {
        // Counts first: what has been counted is in the sum and the extremes already, see `Window::room`.
        sum.zero += self.zero.load(Acquire);
        sum.positive.extend(self.positive.read());
        sum.negative.extend(self.negative.read());
        if let Some((low, high)) = extremes(&self.low, &self.high, restart) {
            sum.stretch(order.value(low), order.value(high));
        }
        if let Some((low, high)) = extremes(&self.ticks.low, &self.ticks.high, restart) {
            // Outwards, so that the mean is between them.
            sum.stretch(rate.nanos(low) as f64, rate.nanos_up(high) as f64);
        }
        sum.ticks = sum.ticks.wrapping_add(self.ticks.sum.get());
        let whole = self.whole.get();
        let whole = match order.0 {
            // A sum of durations that is beyond the range of a total is taken as its end.
            Kind::Timer => i64::try_from(whole).unwrap_or(i64::MAX),
            _ => whole as i64,
        };
        sum.total = sum.total.plus(Total { whole, float: f64::from_bits(self.float.get()) });
    }
}

#[inline(always)]
fn stretch(low: &AtomicU64, high: &AtomicU64, word: u64) {
    if word < low.get() {
        low.set(word);
    }
    if word > high.get() {
        high.set(word);
    }
}

/// The extremes, which with `restart` begin a new interval.
fn extremes(low: &AtomicU64, high: &AtomicU64, restart: bool) -> Option<(u64, u64)> {
    let low = if restart { low.swap(u64::MAX, Relaxed) } else { low.get() };
    let high = if restart { high.swap(0, Relaxed) } else { high.get() };
    (low <= high).then_some((low, high))
}

/// A sum of cells in the making.
#[derive(Debug, Default)]
pub(crate) struct Gathered {
    total: Total,
    /// A part of the sum that is still to be converted.
    pub(crate) ticks: u64,
    span: Option<Span>,
    zero: u64,
    positive: Vec<(i32, u64)>,
    negative: Vec<(i32, u64)>,
}

impl Gathered {
    fn stretch(&mut self, min: f64, max: f64) {
        let span = self.span.get_or_insert(Span { min, max });
        *span = Span { min: span.min.min(min), max: span.max.max(max) };
    }

    pub(crate) fn add(&mut self, spread: &Spread) {
        self.total = self.total.plus(spread.sum);
        self.zero += spread.histogram.zero;
        self.positive.extend(spread.histogram.positive.pairs());
        self.negative.extend(spread.histogram.negative.pairs());
        if let Some(span) = spread.span {
            self.stretch(span.min, span.max);
        }
    }

    pub(crate) fn add_nanos(&mut self, nanos: u64) {
        let whole = i64::try_from(nanos).unwrap_or(i64::MAX);
        self.total = self.total.plus(Total { whole, float: 0.0 });
    }

    /// The sum, without what is in ticks.
    pub(crate) fn spread(self) -> Spread {
        let histogram = Histogram {
            zero: self.zero,
            positive: Buckets::from_pairs(self.positive),
            negative: Buckets::from_pairs(self.negative),
        };
        Spread { sum: self.total, span: self.span, histogram }
    }
}

/// What is recorded where no lock may be taken: while this thread is inside the registry (an instrumented
/// allocator). Count and sum are exact, buckets are a whole octave wide, and there are no extremes.
#[derive(Debug)]
pub(crate) struct Orphans {
    whole: AtomicU64,
    float: AtomicU64,
    other: AtomicU64,
    octaves: [AtomicU32; 128],
}

impl Orphans {
    pub(crate) fn new() -> Self {
        Orphans {
            whole: AtomicU64::new(0),
            float: AtomicU64::new(0),
            other: AtomicU64::new(0),
            octaves: [const { AtomicU32::new(0) }; 128],
        }
    }

    pub(crate) fn record_nanos(&self, nanos: u64) {
        // The closure always gives a value, so the update always succeeds.
        let _ = self.whole.fetch_update(Relaxed, Relaxed, |old| Some(old.saturating_add(nanos)));
        self.count(index_of_whole(nanos));
    }

    pub(crate) fn record(&self, value: f64) {
        let add = |old| Some((f64::from_bits(old) + value).clamp(f64::MIN, f64::MAX).to_bits());
        // The closure always gives a value, so the update always succeeds.
        let _ = self.float.fetch_update(Relaxed, Relaxed, add);
        match place_of(value) {
            Some(Place::Positive(i)) => self.count(i),
            _ => drop(self.other.fetch_add(1, Relaxed)),
        }
    }

    fn count(&self, index: i32) {
        let octave = (index.div_euclid(PER_OCTAVE) + 64).clamp(0, 127);
        self.octaves[octave as usize].fetch_add(1, Relaxed);
    }

    pub(crate) fn read(&self, sum: &mut Gathered) {
        // Only durations are kept here as whole numbers.
        let whole = i64::try_from(self.whole.get()).unwrap_or(i64::MAX);
        sum.total = sum.total.plus(Total { whole, float: f64::from_bits(self.float.get()) });
        sum.zero += self.other.get();
        for (octave, n) in
            self.octaves.iter().enumerate().map(|(o, n)| (o, n.load(Relaxed))).filter(|(_, n)| *n > 0)
        {
            sum.positive.push(((octave as i32 - 64) * PER_OCTAVE + PER_OCTAVE / 2, u64::from(n)));
        }
    }
}
