//! Running totals of series, for backends that are told totals.

use rusqlite::{Connection, params};

use super::codec::{decode_measurements, encode_measurements, encode_series};
use super::seal::total_seal;
use super::{State, small};
use crate::batch::Series;
use crate::error::Error;
use crate::totals::Running;

/// A total as it is written.
pub(super) struct StoredTotal {
    pub(super) series: Vec<u8>,
    pub(super) dealt: u64,
    pub(super) heard: u64,
    pub(super) measurement: Vec<u8>,
    /// Whether it is what was written.
    pub(super) sealed: bool,
}

impl StoredTotal {
    pub(super) fn all(totals: &[Running]) -> Result<Vec<StoredTotal>, String> {
        let store = |running: &Running| {
            Ok(StoredTotal {
                series: encode_series(&running.measurement.series),
                dealt: running.dealt,
                heard: running.heard,
                measurement: encode_measurements(std::slice::from_ref(&running.measurement))?,
                sealed: true,
            })
        };
        totals.iter().map(store).collect()
    }

    pub(super) fn write(&self, db: &Connection) -> rusqlite::Result<()> {
        // A hash has all 64 bits, which SQLite has with a sign.
        db.prepare_cached(
            "INSERT OR REPLACE INTO total (series, dealt, heard, measurement, seal) VALUES (?, ?, ?, ?, ?)",
        )?
        .execute(params![
            self.series,
            self.dealt.cast_signed(),
            small(self.heard),
            self.measurement,
            self.seal()
        ])
        .map(drop)
    }

    fn seal(&self) -> u32 {
        total_seal(&self.series, self.dealt.cast_signed(), &self.measurement)
    }

    pub(super) fn read_all(db: &Connection) -> rusqlite::Result<Vec<StoredTotal>> {
        let mut read =
            db.prepare("SELECT series, dealt, heard, measurement, seal FROM total ORDER BY series")?;
        let totals = read.query_map([], |row| {
            let total = StoredTotal {
                series: row.get(0)?,
                dealt: row.get::<_, i64>(1)?.cast_unsigned(),
                heard: row.get(2)?,
                measurement: row.get(3)?,
                sealed: true,
            };
            let sealed = total.seal() == row.get::<_, u32>(4)?;
            Ok(StoredTotal { sealed, ..total })
        })?;
        totals.collect()
    }
}

impl State {
    /// The totals of all series.
    pub(crate) fn totals(&self) -> Result<Vec<Running>, Error> {
        let stored = StoredTotal::read_all(&self.lock()).map_err(self.failed("read"))?;
        let restore = |stored: StoredTotal| {
            if !stored.sealed {
                return Err(self.damaged("the total of a series is not what was written"));
            }
            let measurements = decode_measurements(&stored.measurement)
                .map_err(|why| self.damaged(format!("the total of a series cannot be read: {why}")))?;
            let (heard, dealt) = (stored.heard, stored.dealt);
            Ok(measurements.into_iter().next().map(|measurement| Running { measurement, heard, dealt }))
        };
        stored.into_iter().filter_map(|stored| restore(stored).transpose()).collect()
    }

    /// Keeps when series were heard, and forgets those that were not since `oldest` on the forgetting clock.
    pub(crate) fn forget_totals<'a>(
        &self,
        heard: impl Iterator<Item = (&'a Series, u64)>,
        oldest: u64,
    ) -> Result<(), Error> {
        self.transaction("write", |tx| {
            let mut update =
                tx.prepare_cached("UPDATE total SET heard = ?1 WHERE series = ?2 AND heard < ?1")?;
            for (series, heard) in heard {
                update.execute(params![small(heard), encode_series(series)])?;
            }
            tx.execute("DELETE FROM total WHERE heard < ?", [small(oldest)]).map(drop)
        })
    }
}
