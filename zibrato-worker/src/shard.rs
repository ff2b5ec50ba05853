//! Shares of the load: which series are a worker's own.

use std::collections::HashMap;

use zibrato_core::frame::{Key, Kind, Row};

use crate::backend::Backend;
use crate::batch::Series;

/// One of several workers that share the series of one backend; written `2/8`, counted from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shard {
    index: u32,
    count: u32,
}

impl Shard {
    /// The only one.
    pub const WHOLE: Shard = Shard { index: 1, count: 1 };

    /// Shard `index` (from 1) of `count`; `None` where there is no such one.
    pub fn new(index: u32, count: u32) -> Option<Shard> {
        (1..=count).contains(&index).then_some(Shard { index, count })
    }

    /// Its number, from 1.
    pub fn index(self) -> u32 {
        self.index
    }

    /// How many there are.
    pub fn count(self) -> u32 {
        self.count
    }

    /// Whether a series, as the backend stores it, is this shard's.
    pub fn has(self, series: &Series) -> bool {
        self.count == 1 || self.has_hash(hash(series))
    }

    pub(crate) fn has_hash(self, hash: u64) -> bool {
        hash % u64::from(self.count) == u64::from(self.index - 1)
    }
}

impl std::fmt::Display for Shard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.index, self.count)
    }
}

impl std::str::FromStr for Shard {
    type Err = String;

    fn from_str(text: &str) -> Result<Shard, String> {
        text.split_once('/')
            .and_then(|(index, count)| Shard::new(index.trim().parse().ok()?, count.trim().parse().ok()?))
            .ok_or_else(|| format!("{text:?} is no shard; write which one of how many, as in 2/8"))
    }
}

/// FNV-1a with a final mix: the same on every machine and in every version, because it decides who has settled
/// what. The kind is left out: where a backend tells kinds apart, nothing is lost by keeping them together.
pub(crate) fn hash(series: &Series) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325u64;
    let mut add = |text: &str| {
        // No byte of UTF-8 is 255, so it ends each text.
        for byte in text.bytes().chain([255]) {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    };
    add(&series.name);
    add(&series.source);
    for (name, value) in &series.tags {
        add(name);
        add(value);
    }
    hash ^= hash >> 33;
    hash = hash.wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash ^ hash >> 33
}

/// The series of a metric as the backend stores it, or as it was measured with why it cannot be stored.
pub(crate) fn series_of<B: Backend>(backend: &B, key: &Key) -> (Series, Result<(), String>) {
    stored(backend, measured(key), || measured(key))
}

/// The series of a metric as it was measured.
pub(crate) fn measured(key: &Key) -> Series {
    Series {
        name: key.name.to_string(),
        source: key.source.to_string(),
        tags: key.tags.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect(),
        kind: key.kind,
    }
}

/// A series as the backend stores it, or as it was, once more, with why it cannot be stored.
pub(crate) fn stored<B: Backend>(
    backend: &B,
    mut series: Series,
    again: impl FnOnce() -> Series,
) -> (Series, Result<(), String>) {
    match backend.series(&mut series) {
        Ok(()) => {
            series.tags.sort();
            (series, Ok(()))
        }
        Err(why) => (again(), Err(why)),
    }
}

/// Deals rows to shards.
#[derive(Debug)]
pub(crate) struct Dealer {
    shard: Shard,
    /// Whether metrics (`born` does not count) are this shard's.
    known: HashMap<Key, bool>,
    /// Most of them.
    most: usize,
}

/// Most metrics that a dealer remembers; then it begins anew.
const KNOWN: usize = 1_000_000;

impl Dealer {
    pub(crate) fn new(shard: Shard) -> Self {
        Dealer { shard, known: HashMap::new(), most: KNOWN }
    }

    fn find(&self, key: &Key) -> Option<bool> {
        if self.shard == Shard::WHOLE || key.kind == Kind::Description {
            return Some(true);
        }
        self.known.get(&Key { born: 0, ..key.clone() }).copied()
    }

    /// Whether all rows can be dealt without asking the backend.
    pub(crate) fn knows(&self, rows: &[Row]) -> bool {
        rows.iter().all(|row| self.find(&row.key).is_some())
    }

    /// Asks the backend about metrics that are not known yet.
    pub(crate) fn learn<B: Backend>(&mut self, rows: &[Row], backend: &B) {
        // Before the first of them: what is forgotten in between would be dealt to every shard.
        if self.known.len() + rows.len() > self.most && !self.knows(rows) {
            self.known.clear();
        }
        for row in rows {
            if self.find(&row.key).is_none() {
                let mine = self.shard.has(&series_of(backend, &row.key).0);
                self.known.insert(Key { born: 0, ..row.key.clone() }, mine);
            }
        }
    }

    /// Takes rows of other shards out; the rows must be [known](Dealer::knows).
    pub(crate) fn deal(&self, rows: &mut Vec<Row>) {
        if self.shard != Shard::WHOLE {
            rows.retain(|row| self.find(&row.key).unwrap_or(true));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_are_written_as_fractions() {
        assert_eq!("2/8".parse(), Ok(Shard { index: 2, count: 8 }));
        assert_eq!("2/8".parse::<Shard>().map(|s| s.to_string()), Ok("2/8".into()));
        for bad in ["", "2", "0/2", "3/2", "1/0", "-1/2", "a/b"] {
            assert!(bad.parse::<Shard>().is_err(), "{bad}");
        }
    }

    #[test]
    fn every_series_has_one_shard_and_shards_are_of_similar_size() {
        let mut sizes = [0; 5];
        for i in 0..5000 {
            let series = Series {
                name: format!("requests.{}", i % 50),
                source: format!("host-{}", i / 50),
                tags: vec![("a".into(), "b".into())],
                kind: Kind::Counter,
            };
            let mine: Vec<u32> =
                (1..=5).filter(|&index| Shard::new(index, 5).is_some_and(|s| s.has(&series))).collect();
            assert_eq!(mine.len(), 1);
            sizes[mine[0] as usize - 1] += 1;
        }
        assert!(sizes.iter().all(|&n| (800..1200).contains(&n)), "{sizes:?}");
    }

    #[test]
    fn what_is_forgotten_is_learned_anew_and_not_dealt_to_everybody() {
        let row = |name: String| Row {
            key: Key {
                kind: Kind::Counter,
                name: name.into(),
                source: "s".into(),
                tags: Default::default(),
                born: 0,
            },
            state: zibrato_core::frame::State::Total(Default::default()),
            trace: None,
            event: None,
        };
        let backend = crate::testing::Memory::new();
        let mut dealers = [1, 2].map(|index| {
            let shard = Shard::new(index, 2).unwrap();
            Dealer { most: 10, ..Dealer::new(shard) }
        });
        for round in 0..20 {
            let rows: Vec<Row> = (0..7).map(|n| row(format!("m{}", round * 5 + n))).collect();
            let mut dealt = 0;
            for dealer in &mut dealers {
                dealer.learn(&rows, &backend);
                assert!(dealer.knows(&rows) && dealer.known.len() <= 10);
                let mut own = rows.clone();
                dealer.deal(&mut own);
                dealt += own.len();
            }
            assert_eq!(dealt, rows.len(), "each row is dealt once");
        }
    }

    #[test]
    fn the_hash_is_settled_for_all_time() {
        let series = Series {
            name: "requests".into(),
            source: "web-1".into(),
            tags: vec![("method".into(), "GET".into())],
            kind: Kind::Counter,
        };
        assert_eq!(hash(&series), 6_554_871_845_390_636_102);
    }
}
