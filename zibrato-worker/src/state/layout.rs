//! The layout of the database, and how older ones become it.

use rusqlite::{Connection, params};
use zibrato_core::frame::decode_state;

use super::accounts::{self, Accounts};
use super::codec::{decode_key, decode_measurements};
use super::seal::{OriginSeal, OutboxSeal, second_batch_seal, settled_seal, total_seal};
use super::settled::{read_since, write_since};
use super::{meta, set_meta};
use crate::account::Amount;

/// Says that a file is Zibrato's: "Zibr".
pub(super) const APPLICATION: u32 = 0x5a69_6272;
/// The version of the layout below. Samples of each are in `tests/states`.
pub(super) const VERSION: u32 = 3;

const SCHEMA: &str = "
    CREATE TABLE meta (name TEXT PRIMARY KEY, value, seal INTEGER NOT NULL DEFAULT 0) WITHOUT ROWID;
    -- Since when each level has been listened to; NULL for one that was excluded.
    CREATE TABLE since (level TEXT PRIMARY KEY, at INTEGER, seal INTEGER NOT NULL DEFAULT 0) WITHOUT ROWID;
    -- Whose totals have been settled, how many of its sets were missed, and what its settled totals add up to.
    CREATE TABLE origin (
        id INTEGER PRIMARY KEY, instance BLOB NOT NULL, level TEXT NOT NULL,
        start INTEGER NOT NULL, heard INTEGER NOT NULL, sequence INTEGER NOT NULL, points BLOB NOT NULL,
        missed INTEGER NOT NULL DEFAULT 0, amount BLOB NOT NULL DEFAULT x'', seal INTEGER NOT NULL DEFAULT 0,
        UNIQUE (instance, level)
    );
    CREATE INDEX origin_heard ON origin (heard);
    -- Up to where each metric has been settled.
    CREATE TABLE settled (
        origin INTEGER NOT NULL REFERENCES origin (id) ON DELETE CASCADE,
        key BLOB NOT NULL, sequence INTEGER NOT NULL, state BLOB NOT NULL, retired INTEGER,
        seal INTEGER NOT NULL DEFAULT 0,
        PRIMARY KEY (origin, key)
    ) WITHOUT ROWID;
    CREATE INDEX settled_retired ON settled (retired) WHERE retired IS NOT NULL;
    -- Batches that the backend has not accepted yet, oldest first, and what is in them.
    CREATE TABLE outbox (
        id INTEGER PRIMARY KEY, begin INTEGER NOT NULL, time INTEGER NOT NULL,
        attempts INTEGER NOT NULL, measurements BLOB NOT NULL,
        amount BLOB NOT NULL DEFAULT x'', seal INTEGER NOT NULL DEFAULT 0
    );
    -- Totals of series, for backends that are told totals.
    CREATE TABLE total (
        series BLOB PRIMARY KEY, dealt INTEGER NOT NULL, heard INTEGER NOT NULL, measurement BLOB NOT NULL,
        seal INTEGER NOT NULL DEFAULT 0
    ) WITHOUT ROWID;
    -- What was settled and what became of it, since the directory was made.
    CREATE TABLE account (name TEXT PRIMARY KEY, amount BLOB NOT NULL, seal INTEGER NOT NULL) WITHOUT ROWID;
";

/// What version 2 has more than version 1. The table of totals came while that was the version.
const SECOND: &str = "
    CREATE TABLE IF NOT EXISTS total (
        series BLOB PRIMARY KEY, dealt INTEGER NOT NULL, heard INTEGER NOT NULL, measurement BLOB NOT NULL
    ) WITHOUT ROWID;
    ALTER TABLE origin ADD COLUMN missed INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE origin ADD COLUMN amount BLOB NOT NULL DEFAULT x'';
    ALTER TABLE origin ADD COLUMN seal INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE settled ADD COLUMN seal INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE outbox ADD COLUMN amount BLOB NOT NULL DEFAULT x'';
    ALTER TABLE outbox ADD COLUMN seal INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE total ADD COLUMN seal INTEGER NOT NULL DEFAULT 0;
    CREATE TABLE account (name TEXT PRIMARY KEY, amount BLOB NOT NULL, seal INTEGER NOT NULL) WITHOUT ROWID;
";

/// What version 3 has more than version 2: seals over all that is noted, and over how often a batch was attempted.
const THIRD: &str = "
    ALTER TABLE meta ADD COLUMN seal INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE since ADD COLUMN seal INTEGER NOT NULL DEFAULT 0;
";

/// Sets a connection up, and makes the tables of a database that has none.
pub(super) fn set_up(db: &Connection, new: bool) -> rusqlite::Result<()> {
    db.query_row("PRAGMA journal_mode = WAL", [], |_| Ok(()))?;
    // A settled total that is on the disk must not be lost to a power cut: its batch may have been sent.
    db.execute_batch("PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON;")?;
    db.set_prepared_statement_cache_capacity(64);
    if new {
        db.execute_batch(&format!(
            "BEGIN IMMEDIATE; PRAGMA application_id = {APPLICATION}; PRAGMA user_version = {VERSION}; {SCHEMA}"
        ))?;
        Accounts::default().write(db)?;
        set_meta(db, "schema", schema(db)?)?;
        return db.execute_batch("COMMIT");
    }
    // A quick check would not find that an index has lost an instance, which would then count from its start.
    let check: String = db.query_row("PRAGMA integrity_check(1)", [], |row| row.get(0))?;
    if check == "ok" { Ok(()) } else { Err(zibrato_disk::corrupt(check.replace('\n', " "))) }
}

/// Checks that the tables are those that were made: SQLite has their definition as text, and believes it. And that all that is
/// noted is what was written: what has another name than it had would not be missed.
pub(super) fn check_schema(db: &Connection) -> rusqlite::Result<()> {
    let names: Vec<String> =
        db.prepare("SELECT name FROM meta")?.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?;
    for name in names {
        meta::<rusqlite::types::Value>(db, &name)?;
    }
    match meta::<u32>(db, "schema")? {
        Some(sealed) if sealed == schema(db)? => Ok(()),
        _ => Err(zibrato_disk::corrupt("its tables are not those that were made")),
    }
}

fn schema(db: &Connection) -> rusqlite::Result<u32> {
    let mut read = db.prepare(
        "SELECT type || name || tbl_name || coalesce(sql, '') FROM sqlite_schema ORDER BY type, name",
    )?;
    let all = read.query_map([], |row| row.get::<_, String>(0))?.collect::<Result<Vec<_>, _>>()?;
    Ok(crc32fast::hash(all.join(";").as_bytes()))
}

/// Makes the present layout of an older one, in one transaction.
pub(super) fn migrate(db: &mut Connection, from: u32) -> rusqlite::Result<()> {
    if from >= VERSION {
        return Ok(());
    }
    let tx = db.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
    if from < 2 {
        tx.execute_batch(SECOND)?;
    }
    tx.execute_batch(THIRD)?;
    seal_notes(&tx)?;
    if from < 2 {
        seal_all(&tx)?
    } else {
        seal_attempts(&tx)?
    }
    set_meta(&tx, "schema", schema(&tx)?)?;
    tx.pragma_update(None, "user_version", VERSION)?;
    tx.commit()
}

/// Seals what is noted, which had no seals before version 3.
fn seal_notes(tx: &Connection) -> rusqlite::Result<()> {
    let notes: Vec<(String, rusqlite::types::Value)> = tx
        .prepare("SELECT name, value FROM meta")?
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<Result<_, _>>()?;
    notes.into_iter().try_for_each(|(name, value)| set_meta(tx, &name, value))?;
    read_since(tx)?.into_iter().try_for_each(|(level, at, _)| write_since(tx, &level, at))
}

/// Seals how often batches were attempted together with them, of those that are what was written.
fn seal_attempts(tx: &Connection) -> rusqlite::Result<()> {
    let batches: Vec<(i64, Vec<u8>, u32)> = tx
        .prepare("SELECT id, amount, seal FROM outbox")?
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?
        .collect::<Result<_, _>>()?;
    for (id, amount, sealed) in batches {
        let batch = OutboxSeal::read(tx, id)?;
        let seal = if second_batch_seal(&batch.numbers, &batch.measurements, &amount) == sealed {
            batch.seal(&amount)
        } else {
            // What was damaged before is damaged still.
            !batch.seal(&amount)
        };
        tx.prepare_cached("UPDATE outbox SET seal = ? WHERE id = ?")?.execute(params![seal, id])?;
    }
    Ok(())
}

/// Seals rows of before there were seals, counts what is in them, and begins accounts with it.
pub(super) fn seal_all(tx: &Connection) -> rusqlite::Result<()> {
    let mut rows = Amount::default();
    let origins: Vec<i64> =
        tx.prepare("SELECT id FROM origin")?.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?;
    for id in origins {
        let amount = seal_settled(tx, id)?;
        let seal = OriginSeal::read(tx, id)?.seal(&amount.encode());
        tx.prepare_cached("UPDATE origin SET amount = ?, seal = ? WHERE id = ?")?.execute(params![
            amount.encode(),
            seal,
            id
        ])?;
        rows = rows.plus(amount);
    }
    let cumulative = accounts::is_cumulative(tx)?;
    let batches: Vec<i64> =
        tx.prepare("SELECT id FROM outbox")?.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?;
    let mut waiting = Amount::default();
    for id in batches {
        let batch = OutboxSeal::read(tx, id)?;
        // One that cannot be read is set aside when its turn comes.
        let measurements = decode_measurements(&batch.measurements).unwrap_or_default();
        let amount = Amount::all(&measurements, cumulative);
        tx.prepare_cached("UPDATE outbox SET amount = ?, seal = ? WHERE id = ?")?.execute(params![
            amount.encode(),
            batch.seal(&amount.encode()),
            id
        ])?;
        waiting = waiting.plus(amount);
    }
    let totals: Vec<(Vec<u8>, i64, Vec<u8>)> = tx
        .prepare("SELECT series, dealt, measurement FROM total")?
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?
        .collect::<Result<_, _>>()?;
    for (series, dealt, measurement) in totals {
        tx.prepare_cached("UPDATE total SET seal = ? WHERE series = ?")?
            .execute(params![total_seal(&series, dealt, &measurement), series])?;
    }
    Accounts { rows, baseline: rows, settled: waiting, ..Accounts::default() }.write(tx)
}

/// Seals the settled metrics of an instance, and adds them up.
fn seal_settled(tx: &Connection, origin: i64) -> rusqlite::Result<Amount> {
    type Metric = (Vec<u8>, i64, Vec<u8>, Option<i64>);
    let metrics: Vec<Metric> = tx
        .prepare_cached("SELECT key, sequence, state, retired FROM settled WHERE origin = ?")?
        .query_map([origin], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)))?
        .collect::<Result<_, _>>()?;
    let mut amount = Amount::default();
    for (key, sequence, state, retired) in metrics {
        let kind = decode_key(&key).ok_or_else(|| zibrato_disk::corrupt("a key cannot be read"))?.kind;
        let read = decode_state(kind, &state)
            .map_err(|why| zibrato_disk::corrupt(format!("a settled total: {why}")))?;
        amount = amount.plus(Amount::of_state(&read));
        tx.prepare_cached("UPDATE settled SET seal = ? WHERE origin = ? AND key = ?")?.execute(params![
            settled_seal(&key, sequence, &state, retired),
            origin,
            key
        ])?;
    }
    Ok(amount)
}
