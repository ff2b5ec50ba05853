//! The histogram: exponential buckets of OTLP and of Prometheus native histograms at scale 6.
//!
//! Bucket `i` holds the values from 2^(i/64) up to 2^((i+1)/64), so its middle is at most 0.55 % away from
//! anything in it. Values that are 0, or closer to it than 2^-64, have a bucket of their own, and negative
//! values have buckets of their own side. (Where a value is exactly a power of two, OTLP puts it into the bucket
//! below; its data model allows either.)
//!
//! Source: the OpenTelemetry metrics data model, "Exponential buckets" and "All Scales: Use the Logarithm
//! Function", here with a look-up table in the logarithm's place.

use std::num::NonZeroU64;

/// Buckets per doubling of the value.
pub const PER_OCTAVE: i32 = 64;
/// The scale of OTLP and the schema of Prometheus that the buckets follow.
pub const SCALE: i32 = 6;
/// The lowest bucket index; what is smaller counts as zero.
pub const LOWEST: i32 = -64 * PER_OCTAVE;
/// The highest bucket index; what is larger is counted there.
pub const HIGHEST: i32 = 64 * PER_OCTAVE - 1;

/// Fractions (in units of 2^-64) at which the buckets of one octave begin: 2^(i/64) - 1, rounded up.
#[rustfmt::skip]
const STARTS: [u64; 64] = [
    0x0000000000000000, 0x02c9a3e778060ee7, 0x059b0d31585743af, 0x0874518759bc808d,
    0x0b5586cf9890f62a, 0x0e3ec32d3d1a2021, 0x11301d0125b50a4f, 0x1429aaea92ddfb35,
    0x172b83c7d517adce, 0x1a35beb6fcb753cc, 0x1d4873168b9aa781, 0x2063b88628cd63b9,
    0x2387a6e75623866d, 0x26b4565e27cdd258, 0x29e9df51fdee12c3, 0x2d285a6e4030b401,
    0x306fe0a31b7152df, 0x33c08b26416ff4ca, 0x371a7373aa9caa72, 0x3a7db34e59ff6ea2,
    0x3dea64c12342235c, 0x4160a21f72e29f85, 0x44e086061892d032, 0x486a2b5c13cd013d,
    0x4bfdad5362a271d5, 0x4f9b2769d2ca6ad4, 0x5342b569d4f81df1, 0x56f4736b527da66f,
    0x5ab07dd48542958d, 0x5e76f15ad21486ea, 0x6247eb03a5584b20, 0x6623882552224913,
    0x6a09e667f3bcc909, 0x6dfb23c651a2ef23, 0x71f75e8ec5f73dd3, 0x75feb564267c8bf7,
    0x7a11473eb0186d7e, 0x7e2f336cf4e62106, 0x82589994cce128ad, 0x868d99b4492ec80f,
    0x8ace5422aa0db5bb, 0x8f1ae991577362ba, 0x93737b0cdc5e4f46, 0x97d829fde4e4f8ba,
    0x9c49182a3f0901c8, 0xa0c667b5de564b2a, 0xa5503b23e255c8b5, 0xa9e6b5579fdbf43f,
    0xae89f995ad3ad5e9, 0xb33a2b84f15faf6c, 0xb7f76f2fb5e46eab, 0xbcc1e904bc1d2248,
    0xc199bdd85529c223, 0xc67f12e57d14b4a3, 0xcb720dcef9069151, 0xd072d4a07897b8d1,
    0xd5818dcfba48725e, 0xda9e603db3285709, 0xdfc97337b9b5eb97, 0xe502ee78b3ff6274,
    0xea4afa2a490d9859, 0xefa1bee615a27772, 0xf50765b6e4540675, 0xfa7c1819e90d82ea,
];

/// For each 128th of an octave the bucket in which it begins. A 128th is narrower than any bucket, so one
/// comparison with the next bucket's start finds the bucket of any fraction.
const FIRST: [u8; 128] = {
    let mut first = [0; 128];
    let mut slot = 0;
    let mut bucket = 0;
    while slot < 128 {
        while bucket + 1 < 64 && STARTS[bucket + 1] <= (slot as u64) << 57 {
            bucket += 1;
        }
        first[slot] = bucket as u8;
        slot += 1;
    }
    first
};

/// The same edges for whole values of another unit, so that these need not be converted before they are counted.
///
/// An octave of theirs has 64 edges too, only not at its own beginning: all are shifted by the same fraction of a
/// bucket.
#[derive(Debug)]
pub(crate) struct Lattice {
    /// The 128ths of an octave. They are narrower than any bucket, so that there is at most one edge in each.
    slots: [Slot; 128],
    /// The histogram's index of what is before the first edge of octave 0.
    offset: i32,
}

/// What is known of a 128th of an octave; together, because they are looked at together.
#[derive(Debug, Clone, Copy)]
struct Slot {
    /// The fraction at which its edge is; none that a value reaches where it has no edge.
    edge: u64,
    /// How many edges are before.
    before: i64,
}

impl Lattice {
    /// No edges at all, for a cell that nothing is recorded in.
    pub(crate) const NONE: Lattice = Lattice { slots: [Slot { edge: u64::MAX, before: 0 }; 128], offset: 0 };

    /// The edges for values of which one makes `unit` of the histogram's own.
    pub(crate) fn new(unit: f64) -> Self {
        let shift = -unit.log2() * f64::from(PER_OCTAVE);
        let (whole, part) = (shift.floor(), shift - shift.floor());
        let edges: [u64; 64] = std::array::from_fn(|i| {
            let fraction = ((i as f64 + part) / f64::from(PER_OCTAVE)).exp2() - 1.0;
            if part == 0.0 { STARTS[i] } else { (fraction * 2f64.powi(64)) as u64 }
        });
        let slot = |slot: usize| {
            let before = edges.partition_point(|&edge| edge <= (slot as u64) << 57);
            Slot { edge: edges.get(before).copied().unwrap_or(u64::MAX), before: before as i64 }
        };
        Lattice { slots: std::array::from_fn(slot), offset: -(whole as i32) - 1 }
    }

    /// The histogram's bucket of a value.
    pub(crate) fn index(&self, value: NonZeroU64) -> i32 {
        self.relative_index(value) as i32 + self.offset
    }

    /// The same counted from the lattice's own beginning, which is [`Lattice::offset`] further.
    #[inline(always)]
    pub(crate) fn relative_index(&self, value: NonZeroU64) -> i64 {
        let octave = value.ilog2();
        // The bits behind the leading one come to the top, and itself to the bottom, where it does not matter.
        let fraction = value.get().rotate_right(octave);
        let slot = self.slots[(fraction >> 57) as usize];
        i64::from(octave) * i64::from(PER_OCTAVE) + slot.before + i64::from(fraction >= slot.edge)
    }

    /// What a relative index lacks.
    pub(crate) const fn offset(&self) -> i32 {
        self.offset
    }
}

#[inline(always)]
fn within_octave(fraction: u64) -> i32 {
    let bucket = FIRST[(fraction >> 57) as usize] as usize;
    // The mask keeps the last bucket's look-ahead inside the table; STARTS[0] is 0, so it must not count.
    let next = STARTS[(bucket + 1) & 63];
    bucket as i32 + (next != 0 && fraction >= next) as i32
}

/// The bucket of a whole value of at least 1; 0 is taken as 1.
#[inline]
pub fn index_of_whole(value: u64) -> i32 {
    let value = value | (value == 0) as u64;
    let octave = value.ilog2();
    let fraction = (value << (63 - octave)) << 1;
    octave as i32 * PER_OCTAVE + within_octave(fraction)
}

/// Where a value is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// It is 0 or too close to it.
    Zero,
    /// In the bucket of this index, on the positive side.
    Positive(i32),
    /// In the bucket of this index, on the negative side.
    Negative(i32),
}

/// Where a finite value is counted; what is not finite has no place.
#[inline]
pub fn place_of(value: f64) -> Option<Place> {
    if !value.is_finite() {
        return None;
    }
    let bits = value.to_bits();
    let octave = ((bits >> 52) & 0x7ff) as i32 - 1023;
    if octave < -64 {
        return Some(Place::Zero);
    }
    let index = (octave * PER_OCTAVE + within_octave(bits << 12)).min(HIGHEST);
    Some(if value < 0.0 { Place::Negative(index) } else { Place::Positive(index) })
}

/// The lower edge of a bucket.
pub fn lower_edge(index: i32) -> f64 {
    (f64::from(index) / f64::from(PER_OCTAVE)).exp2()
}

/// The middle of a bucket: whatever is in it is at most 0.55 % away.
pub fn middle(index: i32) -> f64 {
    (lower_edge(index) + lower_edge(index + 1)) / 2.0
}

/// How many values each bucket of one side has, by rising index; empty buckets are left out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Buckets(Vec<(i32, u64)>);

impl Buckets {
    /// Buckets from (index, count) pairs in any order; pairs of one index are added up.
    pub fn from_pairs(pairs: impl IntoIterator<Item = (i32, u64)>) -> Self {
        let mut all: Vec<_> = pairs.into_iter().filter(|&(_, n)| n > 0).collect();
        all.sort_unstable_by_key(|&(i, _)| i);
        all.dedup_by(|next, kept| {
            let same = next.0 == kept.0;
            if same {
                kept.1 = kept.1.saturating_add(next.1);
            }
            same
        });
        Buckets(all)
    }

    /// The (index, count) pairs by rising index; no count is 0.
    pub fn pairs(&self) -> &[(i32, u64)] {
        &self.0
    }

    /// How many values all buckets have together.
    pub fn count(&self) -> u64 {
        self.0.iter().fold(0, |sum: u64, &(_, n)| sum.saturating_add(n))
    }

    /// Whether no bucket has a value.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn add(&mut self, index: i32, n: u64) {
        match self.0.binary_search_by_key(&index, |&(i, _)| i) {
            Ok(at) => self.0[at].1 = self.0[at].1.saturating_add(n),
            Err(at) => self.0.insert(at, (index, n)),
        }
    }

    fn merge(&mut self, other: &Buckets) {
        if !other.is_empty() {
            let own = std::mem::take(&mut self.0);
            *self = Self::from_pairs(own.into_iter().chain(other.0.iter().copied()));
        }
    }

    fn since(&self, earlier: &Buckets) -> Buckets {
        let mut old = earlier.0.iter().peekable();
        let rest = self.0.iter().filter_map(|&(i, n)| {
            while old.next_if(|o| o.0 < i).is_some() {}
            let before = old.next_if(|o| o.0 == i).map_or(0, |o| o.1);
            (n > before).then(|| (i, n - before))
        });
        Buckets(rest.collect())
    }
}

/// A distribution of values, whatever their unit: how many fell into each bucket.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Histogram {
    /// Values that are 0 or closer to it than 2^-64.
    pub zero: u64,
    /// Values above 0.
    pub positive: Buckets,
    /// Values below 0, by the index of their magnitude.
    pub negative: Buckets,
}

impl Histogram {
    /// Counts a value once; what is not finite is refused with `false`.
    pub fn record(&mut self, value: f64) -> bool {
        match place_of(value) {
            Some(Place::Zero) => self.zero = self.zero.saturating_add(1),
            Some(Place::Positive(i)) => self.positive.add(i, 1),
            Some(Place::Negative(i)) => self.negative.add(i, 1),
            None => return false,
        }
        true
    }

    /// How many values there are.
    pub fn count(&self) -> u64 {
        self.zero.saturating_add(self.positive.count()).saturating_add(self.negative.count())
    }

    /// Adds all values of another histogram.
    pub fn merge(&mut self, other: &Histogram) {
        self.zero = self.zero.saturating_add(other.zero);
        self.positive.merge(&other.positive);
        self.negative.merge(&other.negative);
    }

    /// The values that have come since an earlier state of this same histogram.
    pub fn since(&self, earlier: &Histogram) -> Histogram {
        Histogram {
            zero: self.zero.saturating_sub(earlier.zero),
            positive: self.positive.since(&earlier.positive),
            negative: self.negative.since(&earlier.negative),
        }
    }

    /// The value below which the fraction `q` (0 to 1) of all values lies, within 0.55 %; `None` when empty.
    pub fn quantile(&self, q: f64) -> Option<f64> {
        let count = self.count();
        if count == 0 || q.is_nan() {
            return None;
        }
        let rank = ((q.clamp(0.0, 1.0) * count as f64).ceil() as u64).clamp(1, count);
        let mut seen = 0u64;
        self.middles()
            .find(|&(_, n)| {
                seen = seen.saturating_add(n);
                seen >= rank
            })
            .map(|(value, _)| value)
    }

    /// The smallest and the largest value that the buckets allow, `None` when empty.
    pub fn edges(&self) -> Option<(f64, f64)> {
        let zero = (self.zero > 0).then_some(0.0);
        let low = self.negative.0.last().map(|&(i, _)| -lower_edge(i + 1));
        let low = low.or(zero).or_else(|| self.positive.0.first().map(|&(i, _)| lower_edge(i)))?;
        let high = self.positive.0.last().map(|&(i, _)| lower_edge(i + 1));
        let high = high.or(zero).or_else(|| self.negative.0.first().map(|&(i, _)| -lower_edge(i)))?;
        Some((low, high))
    }

    /// The sum of the squares of all values, within 1.1 %.
    pub fn sum_of_squares(&self) -> f64 {
        self.middles().map(|(value, n)| value * value * n as f64).sum()
    }

    fn middles(&self) -> impl Iterator<Item = (f64, u64)> {
        let below = self.negative.0.iter().rev().map(|&(i, n)| (-middle(i), n));
        let zero = (self.zero > 0).then_some((0.0, self.zero));
        below.chain(zero).chain(self.positive.0.iter().map(|&(i, n)| (middle(i), n)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lattice_finds_the_bucket_of_the_converted_value() {
        for unit in [1.0, 0.5, 0.476_190_7, 1.0 / 3.0, 41.666_667, 0.999_999, 2f64.powi(-3), 1.3] {
            let lattice = Lattice::new(unit);
            let mut value = 1u64;
            while value < 1 << 62 {
                let found = lattice.index(NonZeroU64::new(value).unwrap());
                let exact = value as f64 * unit;
                let (low, high) = (lower_edge(found), lower_edge(found + 1));
                // Where it is as good as on the edge either bucket is right.
                assert!(
                    low <= exact * (1.0 + 1e-12) && exact * (1.0 - 1e-12) <= high,
                    "{value} x {unit} is not between {low} and {high}"
                );
                value += 1 + value / 97;
            }
        }
    }

    #[test]
    fn without_conversion_it_is_the_histograms_own() {
        let lattice = Lattice::new(1.0);
        for value in (1..100_000u64).chain((0..62).map(|e| 1 << e)) {
            assert_eq!(lattice.index(NonZeroU64::new(value).unwrap()), index_of_whole(value), "{value}");
        }
    }
}
