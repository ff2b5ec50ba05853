//! What has been settled: reading it back, and moving it forward.

use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension, Row, Transaction, TransactionBehavior, params};
use zibrato_core::frame::{InstanceId, decode_state, encode_state};
use zibrato_core::ledger::{EntryChange, Horizon, Origin, Settled, SettledEntry, SettledRow, Since};

use super::codec::{decode_key, decode_numbers, encode_key, encode_measurements, encode_numbers};
use super::totals::StoredTotal;
use super::{State, meta, set_meta, small};
use crate::batch::Measurement;
use crate::error::Error;
use crate::totals::Running;

/// What one transaction settles.
#[derive(Debug, Default)]
pub(crate) struct Step<'a> {
    /// What is settled from now on.
    pub(crate) entries: &'a [EntryChange],
    /// What is to be sent, in chunks that become batches of one time.
    pub(crate) chunks: &'a [Vec<Measurement>],
    /// Totals of series that are others than before.
    pub(crate) totals: &'a [Running],
    /// Beginning and time of the batches.
    pub(crate) period: (u64, u64),
    /// The forgetting clock.
    pub(crate) ran: u64,
}

/// Start, heard, sequence and points of an entry.
type StoredEntry = (u64, u64, u64, Vec<u8>);
/// Key, sequence, state and retired of a row.
pub(super) type StoredRow = (Vec<u8>, u64, Vec<u8>, Option<u64>);

impl State {
    /// What is kept but the entries, which are read one by one when they are needed.
    pub(crate) fn outline(&self) -> Result<Settled, Error> {
        let db = self.lock();
        self.read_outline(&db).map_err(self.failed("read"))
    }

    fn read_outline(&self, db: &Connection) -> rusqlite::Result<Settled> {
        let mut levels = db.prepare_cached("SELECT level, at FROM since")?;
        let pairs = levels.query_map([], |row| Ok((row.get(0)?, row.get::<_, Option<u64>>(1)?)))?;
        let since = Since::from_pairs(pairs.collect::<rusqlite::Result<Vec<_>>>()?);
        let horizon = match (meta(db, "horizon_upto")?, meta(db, "horizon_when")?) {
            (Some(upto), Some(when)) => Some(Horizon { upto, when }),
            _ => None,
        };
        let ran = meta(db, "ran")?.unwrap_or(0);
        Ok(Settled { entries: Default::default(), since, horizon, ran })
    }

    /// The time of the newest batch.
    pub(crate) fn last_time(&self) -> Result<Option<u64>, Error> {
        meta(&self.lock(), "last_time").map_err(self.failed("read"))
    }

    /// Keeps since when levels are listened to.
    pub(crate) fn save_since(&self, since: &Since) -> Result<(), Error> {
        self.transaction("write", |tx| {
            tx.execute("DELETE FROM since", [])?;
            for (level, at) in since.pairs() {
                tx.execute("INSERT INTO since (level, at) VALUES (?, ?)", params![level, at.map(small)])?;
            }
            Ok(())
        })
    }

    /// What has been settled of one instance at one level.
    pub(crate) fn recall(&self, origin: &Origin) -> Result<Option<SettledEntry>, Error> {
        let db = self.lock();
        let found = self.read_entry(&db, origin).map_err(self.failed("read"))?;
        let Some((entry, rows)) = found else { return Ok(None) };
        let (start, heard, sequence, points) = entry;
        let points = decode_numbers(&points).ok_or_else(|| self.bad("numbers of points are damaged"))?;
        let mut entry = SettledEntry { start, heard, sequence, points, ..SettledEntry::default() };
        for (key, sequence, state, retired) in rows {
            let key = decode_key(&key).ok_or_else(|| self.bad("a key is damaged"))?;
            let state = decode_state(key.kind, &state)
                .map_err(|why| self.bad(format!("the settled total of {} is damaged: {why}", key.name)))?;
            entry.rows.insert(key, SettledRow { sequence, state: Arc::new(state), retired });
        }
        Ok(Some(entry))
    }

    fn read_entry(
        &self,
        db: &Connection,
        origin: &Origin,
    ) -> rusqlite::Result<Option<(StoredEntry, Vec<StoredRow>)>> {
        let mut find = db.prepare_cached(
            "SELECT id, start, heard, sequence, points FROM origin WHERE instance = ? AND level = ?",
        )?;
        let entry = find.query_row(params![origin.instance.0, &*origin.level], |row| {
            Ok((row.get::<_, i64>(0)?, (row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?)))
        });
        let Some((id, entry)) = entry.optional()? else { return Ok(None) };
        let mut rows =
            db.prepare_cached("SELECT key, sequence, state, retired FROM settled WHERE origin = ?")?;
        let read = |row: &Row<'_>| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?));
        let rows = rows.query_map([id], read)?.collect::<rusqlite::Result<Vec<_>>>()?;
        Ok(Some((entry, rows)))
    }

    /// Writes, in one transaction, what is settled and what is to be sent for it. Returns the ids of the batches.
    pub(crate) fn settle(&self, step: &Step<'_>) -> Result<Vec<u64>, Error> {
        let chunks = step.chunks.iter().map(|chunk| encode_measurements(chunk));
        let chunks = chunks.collect::<Result<Vec<_>, _>>().map_err(|why| self.bad(why))?;
        let totals = StoredTotal::all(step.totals).map_err(|why| self.bad(why))?;
        self.transaction("write", |tx| {
            for change in step.entries {
                write_entry(tx, change)?;
            }
            let (begin, time) = step.period;
            let mut ids = Vec::with_capacity(chunks.len());
            for measurements in &chunks {
                let id = next_id(tx)?;
                ids.push(u64::try_from(id).unwrap_or(0));
                tx.prepare_cached(
                    "INSERT INTO outbox (id, begin, time, attempts, measurements) VALUES (?, ?, ?, 0, ?)",
                )?
                .execute(params![id, small(begin), small(time), measurements])?;
            }
            totals.iter().try_for_each(|total| total.write(tx))?;
            if !chunks.is_empty() {
                set_meta(tx, "last_time", small(time))?;
            }
            set_meta(tx, "ran", small(step.ran))?;
            Ok(ids)
        })
    }

    /// Instances that were last heard before `heard` on the forgetting clock: whose they are, when they started
    /// and when they were heard.
    pub(crate) fn heard_before(&self, heard: u64) -> Result<Vec<(Origin, u64, u64)>, Error> {
        let db = self.lock();
        let read = || {
            let mut find =
                db.prepare_cached("SELECT instance, level, start, heard FROM origin WHERE heard < ?")?;
            let found = find.query_map([small(heard)], |row| {
                let instance = InstanceId(row.get(0)?);
                let level: String = row.get(1)?;
                Ok((Origin { instance, level: level.into() }, row.get(2)?, row.get(3)?))
            })?;
            found.collect::<rusqlite::Result<Vec<_>>>()
        };
        read().map_err(self.failed("read"))
    }

    /// Forgets instances, and metrics that were retired before `retired`, and keeps the tombstone, in one
    /// transaction.
    pub(crate) fn forget(
        &self,
        gone: &[Origin],
        horizon: Option<Horizon>,
        retired: u64,
        ran: u64,
    ) -> Result<(), Error> {
        self.transaction("write", |tx| {
            for origin in gone {
                tx.prepare_cached("DELETE FROM origin WHERE instance = ? AND level = ?")?
                    .execute(params![origin.instance.0, &*origin.level])?;
            }
            tx.execute("DELETE FROM settled WHERE retired IS NOT NULL AND retired < ?", [small(retired)])?;
            write_horizon(tx, horizon)?;
            set_meta(tx, "ran", small(ran))
        })
    }

    pub(super) fn transaction<T>(
        &self,
        doing: &'static str,
        work: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T>,
    ) -> Result<T, Error> {
        let mut db = self.lock();
        let run = || {
            let tx = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let value = work(&tx)?;
            tx.commit()?;
            Ok(value)
        };
        run().map_err(self.failed(doing))
    }
}

pub(super) fn write_horizon(tx: &Connection, horizon: Option<Horizon>) -> rusqlite::Result<()> {
    let Some(horizon) = horizon else { return Ok(()) };
    set_meta(tx, "horizon_upto", small(horizon.upto))?;
    set_meta(tx, "horizon_when", small(horizon.when))
}

/// The next batch id: they rise for as long as the state directory lives.
pub(super) fn next_id(tx: &Connection) -> rusqlite::Result<i64> {
    let id = meta::<i64>(tx, "next_id")?.unwrap_or(1);
    set_meta(tx, "next_id", id.saturating_add(1))?;
    Ok(id)
}

fn write_entry(tx: &Connection, change: &EntryChange) -> rusqlite::Result<()> {
    let origin = &change.origin;
    let id: i64 = tx
        .prepare_cached(
            "INSERT INTO origin (instance, level, start, heard, sequence, points) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
             ON CONFLICT (instance, level) DO UPDATE SET start = ?3, heard = ?4, sequence = ?5
             RETURNING id",
        )?
        .query_row(
            params![
                origin.instance.0,
                &*origin.level,
                small(change.start),
                small(change.heard),
                small(change.sequence),
                encode_numbers(&Default::default()),
            ],
            |row| row.get(0),
        )?;
    if let Some(points) = &change.points {
        tx.prepare_cached("UPDATE origin SET points = ? WHERE id = ?")?
            .execute(params![encode_numbers(points), id])?;
    }
    let mut write = tx.prepare_cached(
        "INSERT OR REPLACE INTO settled (origin, key, sequence, state, retired) VALUES (?, ?, ?, ?, ?)",
    )?;
    for (key, row) in &change.rows {
        let mut state = Vec::new();
        encode_state(&mut state, &row.state);
        write.execute(params![id, encode_key(key), small(row.sequence), state, row.retired.map(small)])?;
    }
    Ok(())
}
