//! Sets of numbers that mostly follow each other.

/// A set of numbers from 1, kept as ranges: small as long as few are missing in between.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sequences(Vec<(u64, u64)>);

impl Sequences {
    /// A set from ranges (first and last number, both included), in any order.
    pub fn from_ranges(ranges: impl IntoIterator<Item = (u64, u64)>) -> Self {
        let mut set = Self::default();
        ranges.into_iter().for_each(|(first, last)| set.insert_range(first, last));
        set
    }

    /// The ranges by rising number; none touches the next.
    pub fn ranges(&self) -> &[(u64, u64)] {
        &self.0
    }

    /// Whether the set has no number.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The largest number, 0 where there is none.
    pub fn last(&self) -> u64 {
        self.0.last().map_or(0, |range| range.1)
    }

    /// Whether `number` is in the set.
    pub fn contains(&self, number: u64) -> bool {
        self.covers(number, number)
    }

    /// Whether all numbers from `first` to `last` are in the set; true where there are none.
    pub fn covers(&self, first: u64, last: u64) -> bool {
        if first > last {
            return true;
        }
        let after = self.0.partition_point(|range| range.0 <= first);
        after > 0 && self.0[after - 1].1 >= last
    }

    /// Adds a number; false if it was there.
    pub fn insert(&mut self, number: u64) -> bool {
        let news = !self.contains(number);
        if news {
            self.insert_range(number, number);
        }
        news
    }

    /// Adds all numbers from `first` to `last`.
    pub fn insert_range(&mut self, first: u64, last: u64) {
        if first > last {
            return;
        }
        // Whatever overlaps or touches the new range becomes one with it.
        let from = self.0.partition_point(|range| range.1.saturating_add(1) < first);
        let to = self.0.partition_point(|range| range.0 <= last.saturating_add(1));
        let joined = match self.0.get(from..to) {
            Some([]) | None => (first, last),
            Some(touched) => (first.min(touched[0].0), last.max(touched[touched.len() - 1].1)),
        };
        self.0.splice(from..to.max(from), [joined]);
    }

    /// Drops the lowest ranges until there are at most `most`.
    pub fn drop_lowest(&mut self, most: usize) {
        let excess = self.0.len().saturating_sub(most);
        self.0.drain(..excess);
    }

    /// Fills the lowest gaps until there are at most `most` ranges; returns how many numbers that adds.
    pub fn fill_lowest(&mut self, most: usize) -> u64 {
        let mut filled = 0;
        while self.0.len() > most.max(1) {
            filled += self.0[1].0 - self.0[0].1 - 1;
            self.0[1].0 = self.0[0].0;
            self.0.remove(0);
        }
        filled
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn behaves_as_a_set(ranges in prop::collection::vec((1u64..60, 0u64..8), 0..30)) {
            let mut set = Sequences::default();
            let mut model = std::collections::BTreeSet::new();
            for (first, more) in ranges {
                prop_assert_eq!(set.contains(first), model.contains(&first));
                if more == 0 {
                    prop_assert_eq!(set.insert(first), model.insert(first));
                } else {
                    set.insert_range(first, first + more);
                    model.extend(first..=first + more);
                }
                prop_assert!(set.ranges().windows(2).all(|w| w[0].1 + 1 < w[1].0));
                let all: Vec<u64> = set.ranges().iter().flat_map(|&(a, b)| a..=b).collect();
                prop_assert_eq!(all, model.iter().copied().collect::<Vec<_>>());
            }
            for first in 1..70 {
                for last in first..70 {
                    prop_assert_eq!(set.covers(first, last), (first..=last).all(|n| model.contains(&n)));
                }
            }
        }
    }

    #[test]
    fn stays_bounded() {
        let odd = Sequences::from_ranges((0..100).map(|n| (2 * n + 1, 2 * n + 1)));
        let mut dropped = odd.clone();
        dropped.drop_lowest(3);
        assert_eq!(dropped.ranges(), [(195, 195), (197, 197), (199, 199)]);
        let mut filled = odd;
        assert_eq!(filled.fill_lowest(3), 97);
        assert_eq!(filled.ranges(), [(1, 195), (197, 197), (199, 199)]);
    }
}
