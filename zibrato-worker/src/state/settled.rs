//! What has been settled: reading it back, and moving it forward.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use rusqlite::{Connection, OptionalExtension, Row, Transaction, TransactionBehavior, params};
use zibrato_core::frame::{InstanceId, decode_state, encode_state};
use zibrato_core::ledger::{EntryChange, Horizon, Origin, Settled, SettledEntry, SettledRow, Since};

use super::accounts::{self, Account};
use super::codec::{decode_key, decode_numbers, encode_key, encode_measurements, encode_numbers};
use super::seal::{OriginSeal, batch_seal, settled_seal, since_seal};
use super::totals::StoredTotal;
use super::{State, meta, set_meta, small};
use crate::account::{Amount, Moved};
use crate::batch::Measurement;
use crate::error::Error;
use crate::totals::Running;

/// What one transaction settles.
#[derive(Debug, Default)]
pub(crate) struct Step<'a> {
    /// What is settled from now on.
    pub(crate) entries: &'a [EntryChange],
    /// How much they move.
    pub(crate) moved: Moved,
    /// What became dead letters at once.
    pub(crate) dead: Amount,
    /// What is to be sent, in chunks that become batches of one time.
    pub(crate) chunks: &'a [Vec<Measurement>],
    /// Totals of series that are others than before.
    pub(crate) totals: &'a [Running],
    /// Beginning and time of the batches.
    pub(crate) period: (u64, u64),
    /// The forgetting clock.
    pub(crate) ran: u64,
    /// The newest time on the ledger's clock.
    pub(crate) clock: u64,
}

/// Key, sequence, state and retired of a row.
pub(super) type StoredRow = (Vec<u8>, u64, Vec<u8>, Option<u64>);

impl State {
    /// What is kept but the entries, which are read one by one when they are needed.
    pub(crate) fn outline(&self) -> Result<Settled, Error> {
        let db = self.lock();
        self.read_outline(&db).map_err(self.failed("read"))
    }

    fn read_outline(&self, db: &Connection) -> rusqlite::Result<Settled> {
        let since = read_since(db)?.into_iter().map(|(level, at, sealed)| match sealed {
            true => Ok((level, at.map(|at| u64::try_from(at).unwrap_or(0)))),
            false => Err(zibrato_disk::corrupt(format!(
                "since when {level} is listened to is not what was written"
            ))),
        });
        let since = Since::from_pairs(since.collect::<rusqlite::Result<Vec<_>>>()?);
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

    /// The newest time on the ledger's clock, 0 where none was kept.
    pub(crate) fn newest_time(&self) -> Result<u64, Error> {
        Ok(meta(&self.lock(), "clock").map_err(self.failed("read"))?.unwrap_or(0))
    }

    /// When instances that are not known may first count from their start: nothing of them was settled before. Later
    /// than the directory was made where it replaced a damaged one.
    pub(crate) fn anew(&self) -> Result<Option<u64>, Error> {
        meta(&self.lock(), "anew").map_err(self.failed("read"))
    }

    /// Keeps since when levels are listened to.
    pub(crate) fn save_since(&self, since: &Since) -> Result<(), Error> {
        self.transaction("write", |tx| {
            tx.execute("DELETE FROM since", [])?;
            since.pairs().try_for_each(|(level, at)| write_since(tx, level, at.map(small)))
        })
    }

    /// What has been settled of one instance at one level.
    pub(crate) fn recall(&self, origin: &Origin) -> Result<Option<SettledEntry>, Error> {
        let db = self.lock();
        let found = read_entry(&db, origin).map_err(self.failed("read"))?;
        let Some((entry, amount, sealed)) = found else { return Ok(None) };
        let whose = || format!("instance {} at level {}", origin.instance, origin.level);
        if !sealed {
            return Err(self.damaged(format!("what is settled of {} is not what was written", whose())));
        }
        let points =
            decode_numbers(&entry.points).ok_or_else(|| self.damaged("numbers of points are damaged"))?;
        let number = |number: i64| u64::try_from(number).unwrap_or(0);
        let (start, heard, sequence) = (number(entry.start), number(entry.heard), number(entry.sequence));
        let missed = number(entry.missed);
        let mut known = SettledEntry { start, heard, sequence, missed, points, ..SettledEntry::default() };
        let rows = read_rows(&db, entry.id).map_err(self.failed("read"))?;
        let mut sum = Amount::default();
        for SealedRow { row: (key, sequence, state, retired), sealed } in rows {
            let bad = || self.damaged(format!("a settled total of {} is not what was written", whose()));
            let key = decode_key(&key).filter(|_| sealed).ok_or_else(bad)?;
            let state = decode_state(key.kind, &state).map_err(|_| bad())?;
            sum = sum.plus(Amount::of_state(&state));
            known.rows.insert(key, SettledRow { sequence, state: Arc::new(state), retired });
        }
        match Amount::decode(&amount) {
            Some(amount) if amount.is_equal(sum) => Ok(Some(known)),
            _ => Err(self.damaged(format!("settled totals of {} are missing", whose()))),
        }
    }

    /// Writes, in one transaction, what is settled and what is to be sent for it. Returns the ids of the batches.
    pub(crate) fn settle(&self, step: &Step<'_>) -> Result<Vec<u64>, Error> {
        let cumulative = self.is_cumulative();
        let chunks = step.chunks.iter().map(|chunk| {
            let amount = Amount::all(chunk, cumulative);
            encode_measurements(chunk).map(|measurements| (measurements, amount))
        });
        let chunks = chunks.collect::<Result<Vec<_>, _>>().map_err(|why| self.bad(why))?;
        let waits: Amount = chunks.iter().map(|(_, amount)| *amount).sum();
        let dead = if cumulative {
            Amount { datapoints: step.dead.datapoints, ..Amount::default() }
        } else {
            step.dead
        };
        let settled = waits.plus(dead);
        let totals = StoredTotal::all(step.totals).map_err(|why| self.bad(why))?;
        self.transaction("write", |tx| {
            let Moved { entries, baseline, happened } = &step.moved;
            for (change, moved) in step.entries.iter().zip(entries) {
                write_entry(tx, change, *moved)?;
            }
            accounts::add(tx, Account::Rows, entries.iter().copied().sum())?;
            accounts::add(tx, Account::Baseline, *baseline)?;
            accounts::add(tx, Account::Happened, *happened)?;
            accounts::add(tx, Account::Settled, settled)?;
            accounts::add(tx, Account::Refused, dead)?;
            if !cumulative {
                accounts::add(tx, Account::LeftOut, happened.sums().minus(settled.sums()))?;
            }
            let (begin, time) = step.period;
            let mut ids = Vec::with_capacity(chunks.len());
            for (measurements, amount) in &chunks {
                let id = next_id(tx)?;
                ids.push(u64::try_from(id).unwrap_or(0));
                insert_batch(tx, [id, small(begin), small(time), 0], measurements, *amount)?;
            }
            totals.iter().try_for_each(|total| total.write(tx))?;
            if !chunks.is_empty() {
                set_meta(tx, "last_time", small(time))?;
            }
            set_meta(tx, "ran", small(step.ran))?;
            set_meta(tx, "clock", small(step.clock))?;
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
            let mut forgotten = Amount::default();
            for origin in gone {
                match read_entry(tx, origin)? {
                    Some((_, amount, true)) => {
                        forgotten = forgotten.plus(Amount::decode(&amount).unwrap_or_default());
                    }
                    // When it was heard may be what is wrong.
                    Some((_, _, false)) => return Err(not_as_written(origin)),
                    None => {}
                }
                tx.prepare_cached("DELETE FROM origin WHERE instance = ? AND level = ?")?
                    .execute(params![origin.instance.0, &*origin.level])?;
            }
            forgotten = forgotten.plus(forget_retired(tx, small(retired))?);
            accounts::add(tx, Account::Rows, Amount::default().minus(forgotten))?;
            write_horizon(tx, horizon)?;
            set_meta(tx, "ran", small(ran))
        })
    }

    pub(super) fn transaction<T>(
        &self,
        doing: &'static str,
        work: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T>,
    ) -> Result<T, Error> {
        self.check_file()?;
        let mut db = self.lock();
        let written = self.0.written.load(Ordering::Relaxed);
        let run = || {
            let tx = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
            if meta::<u64>(&tx, "written")?.unwrap_or(0) != written {
                return Ok(None);
            }
            let value = work(&tx)?;
            set_meta(&tx, "written", small(written.saturating_add(1)))?;
            tx.commit()?;
            Ok(Some(value))
        };
        // Whoever else has written knows nothing of what is in this one's memory: the same would be settled twice.
        let value = run().map_err(self.failed(doing))?;
        let value = value.ok_or_else(|| Error::InUse { path: self.directory().into() })?;
        self.0.written.store(written.saturating_add(1), Ordering::Relaxed);
        if let Some(progress) = &self.0.progress {
            progress.note(written.saturating_add(1));
        }
        Ok(value)
    }

    /// What is written into a file that nobody finds any more is lost with the next start, and SQLite does not mind.
    fn check_file(&self) -> Result<(), Error> {
        if self.0.file.is_none() || super::file_id(&self.0.database) == self.0.file {
            return Ok(());
        }
        let why = std::io::Error::other(
            "it was removed or replaced while it is used; put it back, or restart the worker",
        );
        Err(Error::File { doing: "write", path: self.0.database.clone(), why })
    }
}

/// Since when each level has been listened to, and whether that is what was written.
pub(super) fn read_since(db: &Connection) -> rusqlite::Result<Vec<(String, Option<i64>, bool)>> {
    let mut read = db.prepare_cached("SELECT level, at, seal FROM since")?;
    let rows = read.query_map([], |row| {
        let (level, at): (String, Option<i64>) = (row.get(0)?, row.get(1)?);
        let sealed = since_seal(&level, at) == row.get::<_, u32>(2)?;
        Ok((level, at, sealed))
    })?;
    rows.collect()
}

pub(super) fn write_since(db: &Connection, level: &str, at: Option<i64>) -> rusqlite::Result<()> {
    db.prepare_cached("INSERT OR REPLACE INTO since (level, at, seal) VALUES (?, ?, ?)")?
        .execute(params![level, at, since_seal(level, at)])
        .map(drop)
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

/// Puts a batch, of this id, beginning and time, that was attempted so often, into the outbox.
pub(super) fn insert_batch(
    tx: &Connection,
    numbers: [i64; 4],
    measurements: &[u8],
    amount: Amount,
) -> rusqlite::Result<()> {
    let amount = amount.encode();
    let seal = batch_seal(numbers, measurements, &amount);
    let [id, begin, time, attempts] = numbers;
    tx.prepare_cached(
        "INSERT INTO outbox (id, begin, time, attempts, measurements, amount, seal) VALUES (?, ?, ?, ?, ?, ?, ?)",
    )?
    .execute(params![id, begin, time, attempts, measurements, amount, seal])
    .map(drop)
}

/// What is kept of an instance at a level, and under which id.
struct StoredEntry {
    id: i64,
    start: i64,
    heard: i64,
    sequence: i64,
    points: Vec<u8>,
    missed: i64,
}

/// The entry, what its rows add up to, and whether it is what was written.
fn read_entry(db: &Connection, origin: &Origin) -> rusqlite::Result<Option<(StoredEntry, Vec<u8>, bool)>> {
    let mut find = db.prepare_cached(
        "SELECT id, start, heard, sequence, points, missed, amount, seal FROM origin WHERE instance = ? AND level = ?",
    )?;
    let entry = find.query_row(params![origin.instance.0, &*origin.level], |row| {
        let (start, heard, sequence) = (row.get(1)?, row.get(2)?, row.get(3)?);
        let entry =
            StoredEntry { id: row.get(0)?, start, heard, sequence, points: row.get(4)?, missed: row.get(5)? };
        let (amount, seal): (Vec<u8>, u32) = (row.get(6)?, row.get(7)?);
        let sealed = seal_of(origin, &entry).seal(&amount) == seal;
        Ok((entry, amount, sealed))
    });
    entry.optional()
}

fn not_as_written(origin: &Origin) -> rusqlite::Error {
    let whose = format!("instance {} at level {}", origin.instance, origin.level);
    zibrato_disk::corrupt(format!("what is settled of {whose} is not what was written"))
}

fn seal_of(origin: &Origin, entry: &StoredEntry) -> OriginSeal {
    OriginSeal {
        instance: origin.instance.0.to_vec(),
        level: origin.level.to_string(),
        start: entry.start,
        heard: entry.heard,
        sequence: entry.sequence,
        points: entry.points.clone(),
        missed: entry.missed,
    }
}

/// A settled metric, and whether it is what was written.
pub(super) struct SealedRow {
    pub(super) row: StoredRow,
    pub(super) sealed: bool,
}

impl SealedRow {
    /// Of a row that begins with key, sequence, state, retired and seal.
    fn read(row: &Row<'_>) -> rusqlite::Result<SealedRow> {
        let (key, sequence, state): (Vec<u8>, i64, Vec<u8>) = (row.get(0)?, row.get(1)?, row.get(2)?);
        let retired: Option<i64> = row.get(3)?;
        let sealed = settled_seal(&key, sequence, &state, retired) == row.get::<_, u32>(4)?;
        let number = |number: i64| u64::try_from(number).unwrap_or(0);
        Ok(SealedRow { row: (key, number(sequence), state, retired.map(number)), sealed })
    }
}

pub(super) fn read_rows(db: &Connection, origin: i64) -> rusqlite::Result<Vec<SealedRow>> {
    db.prepare_cached("SELECT key, sequence, state, retired, seal FROM settled WHERE origin = ?")?
        .query_map([origin], SealedRow::read)?
        .collect()
}

fn write_entry(tx: &Connection, change: &EntryChange, moved: Amount) -> rusqlite::Result<()> {
    let origin = &change.origin;
    let known = read_entry(tx, origin)?;
    let (known, amount) = match known {
        None => (None, Amount::default()),
        Some((_, _, false)) => return Err(not_as_written(origin)),
        Some((entry, amount, true)) => (Some(entry), Amount::decode(&amount).unwrap_or_default()),
    };
    let id = known.as_ref().map(|known| known.id);
    let points = match (&change.points, known) {
        (Some(points), _) => encode_numbers(points),
        (None, Some(known)) => known.points,
        (None, None) => encode_numbers(&Default::default()),
    };
    let (start, heard, sequence) = (small(change.start), small(change.heard), small(change.sequence));
    let entry = StoredEntry { id: 0, start, heard, sequence, points, missed: small(change.missed) };
    let amount = amount.plus(moved).encode();
    let seal = seal_of(origin, &entry).seal(&amount);
    let StoredEntry { points, missed, .. } = entry;
    let id = match id {
        Some(id) => {
            tx.prepare_cached(
                "UPDATE origin SET start = ?, heard = ?, sequence = ?, points = ?, missed = ?, amount = ?, seal = ?
                 WHERE id = ?",
            )?
            .execute(params![start, heard, sequence, points, missed, amount, seal, id])?;
            id
        }
        None => {
            tx.prepare_cached(
                "INSERT INTO origin (instance, level, start, heard, sequence, points, missed, amount, seal)
                 VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            )?
            .execute(params![
                origin.instance.0,
                &*origin.level,
                start,
                heard,
                sequence,
                points,
                missed,
                amount,
                seal
            ])?;
            tx.last_insert_rowid()
        }
    };
    let mut write = tx.prepare_cached(
        "INSERT OR REPLACE INTO settled (origin, key, sequence, state, retired, seal) VALUES (?, ?, ?, ?, ?, ?)",
    )?;
    for (key, row) in &change.rows {
        let (mut state, key) = (Vec::new(), encode_key(key));
        encode_state(&mut state, &row.state);
        let (sequence, retired) = (small(row.sequence), row.retired.map(small));
        let seal = settled_seal(&key, sequence, &state, retired);
        write.execute(params![id, key, sequence, state, retired, seal])?;
    }
    Ok(())
}

/// Forgets metrics that were retired before `retired`, of instances that are still known; returns what they were.
fn forget_retired(tx: &Connection, retired: i64) -> rusqlite::Result<Amount> {
    let rows: Vec<(i64, SealedRow)> = tx
        .prepare_cached(
            "SELECT key, sequence, state, retired, seal, origin FROM settled WHERE retired IS NOT NULL AND retired < ?",
        )?
        .query_map([retired], |row| Ok((row.get(5)?, SealedRow::read(row)?)))?
        .collect::<rusqlite::Result<_>>()?;
    let mut all = Amount::default();
    for (origin, SealedRow { row: (key, _, state, _), sealed }) in rows {
        let state = decode_key(&key).and_then(|key| decode_state(key.kind, &state).ok());
        let state = state.filter(|_| sealed);
        let state = state.ok_or_else(|| zibrato_disk::corrupt("a retired metric is not what was written"))?;
        let gone = Amount::of_state(&state);
        let (bytes, sealed): (Vec<u8>, u32) = tx
            .prepare_cached("SELECT amount, seal FROM origin WHERE id = ?")?
            .query_row([origin], |row| Ok((row.get(0)?, row.get(1)?)))?;
        let entry = OriginSeal::read(tx, origin)?;
        if entry.seal(&bytes) != sealed {
            return Err(zibrato_disk::corrupt("what is settled of an instance is not what was written"));
        }
        let left = Amount::decode(&bytes).unwrap_or_default().minus(gone).encode();
        let seal = entry.seal(&left);
        tx.prepare_cached("UPDATE origin SET amount = ?, seal = ? WHERE id = ?")?
            .execute(params![left, seal, origin])?;
        tx.prepare_cached("DELETE FROM settled WHERE origin = ? AND key = ?")?
            .execute(params![origin, key])?;
        all = all.plus(gone);
    }
    Ok(all)
}
