//! What of a damaged database can be believed goes into a new one.
//!
//! An instance is believed if every row of it is sealed and its settled totals add up to what they did when they were
//! written. If any is not, or it is not certain that all were read, the worker listens anew from now on: an instance that
//! is older and not known counts from its next complete set. So nothing is counted twice; what happened since it was
//! last settled may be missing.

use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use rusqlite::types::{FromSql, Value};
use rusqlite::{Connection, params};
use zibrato_core::frame::decode_state;
use zibrato_core::ledger::Slacks;

use super::accounts::{self, Account, Accounts, Rescued};
use super::codec::{decode_key, decode_measurements};
use super::layout;
use super::seal::{
    OriginSeal, batch_seal, meta_seal, second_batch_seal, settled_seal, since_seal, total_seal,
};
use super::settled::write_since;
use super::{now, set_meta, small};
use crate::account::Amount;
use crate::error::Error;

/// A new database that is not in its place yet.
const NEW: &str = ".new";

/// What was found damaged, and what could be saved.
#[derive(Debug, Clone, PartialEq, Default)]
#[non_exhaustive]
pub struct Damage {
    /// Which file.
    pub path: PathBuf,
    /// What is wrong with it.
    pub why: String,
    /// Where it went; nowhere if there was no file any more.
    pub aside: Option<PathBuf>,
    /// Older damaged files that were removed.
    pub removed: Vec<PathBuf>,
    /// Instances (each level of one for itself) whose settled totals are known.
    pub instances: usize,
    /// Instances that were found, and whose settled totals are not.
    pub instances_lost: usize,
    /// Batches that will be sent.
    pub batches: usize,
    /// Batches that were found, and cannot be sent.
    pub batches_lost: usize,
    /// Whether all that was settled is known, so that every total stays exact.
    pub is_exact: bool,
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Damage { instances, instances_lost, batches, batches_lost, .. } = self;
        write!(f, "the state {} is damaged: {}; ", self.path.display(), self.why)?;
        match &self.aside {
            Some(aside) => write!(f, "it was moved aside to {} and a new one begun", aside.display())?,
            None => f.write_str("a new one was begun")?,
        }
        write!(f, " with {instances} instances and {batches} unsent batches of it")?;
        if *batches_lost > 0 {
            write!(f, "; {batches_lost} batches are lost")?;
        }
        if self.is_exact {
            return f.write_str("; all that was settled is known");
        }
        write!(
            f,
            "; {instances_lost} instances that could be read and all that could not count from now: what they counted since \
             they were last settled is not sent"
        )
    }
}

type Origins = Vec<(i64, OriginSeal, Vec<u8>, u32)>;
type Metric = (i64, Vec<u8>, i64, Vec<u8>, Option<i64>, u32);
type StoredBatch = (i64, i64, i64, i64, Vec<u8>, Vec<u8>, u32);
type StoredTotal = (Vec<u8>, i64, i64, Vec<u8>, u32);

/// What could be read.
#[derive(Default)]
struct Found {
    meta: Notes,
    since: Levels,
    origins: Vec<(OriginSeal, Amount, Vec<Metric>)>,
    origins_lost: usize,
    batches: Vec<(StoredBatch, Amount)>,
    batches_lost: usize,
    totals: Vec<StoredTotal>,
    accounts: Option<Accounts>,
    /// Whether everything that was settled was read.
    whole: bool,
}

/// Where a new database is made.
pub(super) fn new_of(database: &Path) -> PathBuf {
    let mut path = database.as_os_str().to_owned();
    path.push(NEW);
    path.into()
}

/// Puts a new database in the place of a damaged one, with what could be read of it, and with a number of the last
/// transaction that is at least `written`.
pub(super) fn replace(database: &Path, why: String, written: u64, stale: bool) -> Result<Damage, Error> {
    let failed = |why| Error::Database { doing: "save what is left of", path: database.into(), why };
    let mut found = match zibrato_disk::open_read_only(database) {
        Ok(db) => read(&db),
        // Whether batches were in there nobody knows.
        Err(_) => Found { batches_lost: usize::from(database.exists()), ..Found::default() },
    };
    if stale {
        // Whatever was settled since would be counted a second time.
        found.origins_lost += found.origins.len();
        found.origins.clear();
        found.whole = false;
    }
    let new = new_of(database);
    write(&new, &found, written, stale).map_err(failed)?;
    let mut damage = Damage {
        path: database.into(),
        why,
        instances: found.origins.len(),
        instances_lost: found.origins_lost,
        batches: found.batches.len(),
        batches_lost: found.batches_lost,
        is_exact: found.whole && found.batches_lost == 0,
        ..Damage::default()
    };
    let aside = zibrato_disk::replace(database, &new, SystemTime::now());
    if let Some(aside) = aside.map_err(Error::file("move aside", database))? {
        (damage.aside, damage.removed) = (Some(aside.path), aside.removed);
    }
    note(database, &damage).map_err(failed)?;
    Ok(damage)
}

fn read(db: &Connection) -> Found {
    // Told by its tables, because the number may be what is wrong.
    let has = |query| db.prepare(query).is_ok();
    let version = match () {
        () if has("SELECT seal FROM meta") => 3,
        () if has("SELECT seal FROM origin") => 2,
        () => 1,
    };
    let (meta, notes) = read_notes(db, version);
    let (since, levels) = read_since(db, version);
    if version < 2 {
        return Found { meta, since, ..read_first(db) };
    }
    let mut found = Found { whole: notes && levels, ..Found::default() };
    let mut whole = |part: bool| found.whole &= part;
    let accounts = Rescued::read(db);
    let (origins, all): (Origins, bool) = zibrato_disk::rescue(
        db,
        "SELECT id, instance, level, start, heard, sequence, points, missed, amount, seal FROM origin",
        &["id"],
        |row| {
            let (instance, level, start) = (row.get(1)?, row.get(2)?, row.get(3)?);
            let (heard, sequence, points, missed) = (row.get(4)?, row.get(5)?, row.get(6)?, row.get(7)?);
            let origin = OriginSeal { instance, level, start, heard, sequence, points, missed };
            Ok((row.get::<_, i64>(0)?, origin, row.get(8)?, row.get(9)?))
        },
        |row| row.0,
    );
    whole(all);
    let (metrics, all): (Vec<Metric>, bool) = zibrato_disk::rescue(
        db,
        "SELECT origin, key, sequence, state, retired, seal FROM settled",
        &["origin", "key"],
        |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?, row.get(5)?)),
        |row: &Metric| (row.0, row.1.clone()),
    );
    whole(all);
    let mut by_origin: HashMap<i64, Vec<Metric>> = HashMap::new();
    for metric in metrics {
        by_origin.entry(metric.0).or_default().push(metric);
    }
    let mut sum = Amount::default();
    for (id, origin, amount, seal) in origins {
        let metrics = by_origin.remove(&id).unwrap_or_default();
        let is_sealed = origin.instance.len() == 16 && origin.seal(&amount) == seal;
        let settled = metrics.iter().map(amount_of).sum::<Option<Amount>>();
        match (Amount::decode(&amount), settled) {
            (Some(amount), Some(settled)) if is_sealed && amount.is_equal(settled) => {
                sum = sum.plus(amount);
                found.origins.push((origin, amount, metrics));
            }
            _ => found.origins_lost += 1,
        }
    }
    let expected = accounts.as_ref().and_then(Rescued::rows);
    found.whole &= found.origins_lost == 0 && expected.is_some_and(|rows| rows.is_equal(sum));
    let (batches, all): (Vec<StoredBatch>, bool) = zibrato_disk::rescue(
        db,
        "SELECT id, begin, time, attempts, measurements, amount, seal FROM outbox",
        &["id"],
        |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?, row.get(5)?, row.get(6)?)),
        |row: &StoredBatch| row.0,
    );
    for batch in batches {
        let (id, begin, time, attempts, measurements, amount, seal) = &batch;
        let numbers = [*id, *begin, *time, *attempts];
        let is_sealed = match version {
            2 => second_batch_seal(&numbers, measurements, amount) == *seal,
            _ => batch_seal(numbers, measurements, amount) == *seal,
        };
        match Amount::decode(amount) {
            Some(amount) if is_sealed && decode_measurements(measurements).is_ok() => {
                found.batches.push((batch, amount));
            }
            _ => found.batches_lost += 1,
        }
    }
    found.batches.sort_by_key(|(batch, _)| batch.0);
    let waiting: Amount = found.batches.iter().map(|(_, amount)| *amount).sum();
    // Some may be gone without a trace.
    if found.batches_lost == 0 && !(all && accounts.as_ref().is_some_and(|accounts| accounts.agree(waiting)))
    {
        found.batches_lost = 1;
    }
    let (totals, all): (Vec<StoredTotal>, bool) = zibrato_disk::rescue(
        db,
        "SELECT series, dealt, heard, measurement, seal FROM total",
        &["series"],
        |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?)),
        |row: &StoredTotal| row.0.clone(),
    );
    let read = totals.len();
    found.totals = totals
        .into_iter()
        .filter(|(series, dealt, _, measurement, seal)| total_seal(series, *dealt, measurement) == *seal)
        .collect();
    found.whole &= all && found.totals.len() == read;
    let accounts = accounts.map(|accounts| accounts.completed(waiting));
    (found.meta, found.since, found.accounts) = (meta, since, accounts);
    found
}

type Notes = Vec<(String, Value)>;
type Levels = Vec<(String, Option<i64>)>;

/// What is noted, and whether that is all of it.
fn read_notes(db: &Connection, version: u32) -> (Notes, bool) {
    read_sealed(db, "meta", ["name", "value"], version, meta_seal)
}

/// Since when levels are listened to, and whether that is all of them.
fn read_since(db: &Connection, version: u32) -> (Levels, bool) {
    read_sealed(db, "since", ["level", "at"], version, |level, at| since_seal(level, *at))
}

/// What can be believed of a table of names, and whether that is all of it. It has seals from version 3 on.
fn read_sealed<V: FromSql>(
    db: &Connection,
    table: &str,
    [name, value]: [&str; 2],
    version: u32,
    seal_of: impl Fn(&str, &V) -> u32,
) -> (Vec<(String, V)>, bool) {
    let seal = if version < 3 { "NULL" } else { "seal" };
    let (rows, all) = zibrato_disk::rescue(
        db,
        &format!("SELECT {name}, {value}, {seal} FROM {table}"),
        &[name],
        |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)),
        |row: &(String, V, Option<u32>)| row.0.clone(),
    );
    let read = rows.len();
    let sound = |name: &str, value: &V, seal: Option<u32>| match seal {
        Some(seal) => seal_of(name, value) == seal,
        None => version < 3,
    };
    let sound: Vec<(String, V)> = rows
        .into_iter()
        .filter(|(name, value, seal)| sound(name, value, *seal))
        .map(|(name, value, _)| (name, value))
        .collect();
    let all = all && sound.len() == read;
    (sound, all)
}

/// What can be saved of version 1, which had no seals: batches that can be read. Of a settled total nobody knows whether it is
/// what was written.
fn read_first(db: &Connection) -> Found {
    let (batches, all): (Vec<StoredBatch>, bool) = zibrato_disk::rescue(
        db,
        "SELECT id, begin, time, attempts, measurements FROM outbox",
        &["id"],
        |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?, Vec::new(), 0)),
        |row: &StoredBatch| row.0,
    );
    let cumulative = read_notes(db, 1).0.contains(&("temporality".into(), Value::Text("cumulative".into())));
    let mut found = Found { batches_lost: usize::from(!all), ..Found::default() };
    for (id, begin, time, attempts, measurements, ..) in batches {
        match decode_measurements(&measurements) {
            Ok(read) => {
                let amount = Amount::all(&read, cumulative);
                let bytes = amount.encode();
                found.batches.push(((id, begin, time, attempts, measurements, bytes, 0), amount));
            }
            Err(_) => found.batches_lost += 1,
        }
    }
    found.batches.sort_by_key(|(batch, _)| batch.0);
    found.origins_lost = db.query_row("SELECT count(*) FROM origin", [], |row| row.get(0)).unwrap_or(0);
    found
}

/// What a settled metric adds to its instance; `None` if it is not what was written.
fn amount_of((_, key, sequence, state, retired, seal): &Metric) -> Option<Amount> {
    if settled_seal(key, *sequence, state, *retired) != *seal {
        return None;
    }
    Some(Amount::of_state(&decode_state(decode_key(key)?.kind, state).ok()?))
}

fn write(path: &Path, found: &Found, written: u64, stale: bool) -> rusqlite::Result<()> {
    let mut db = Connection::open(path)?;
    layout::set_up(&db, true)?;
    let now = now();
    let tx = db.transaction()?;
    for (name, value) in found.meta.iter().filter(|(name, _)| name != "schema") {
        set_meta(&tx, name, value.clone())?;
    }
    let before = super::meta::<u64>(&tx, "written").ok().flatten().unwrap_or(0);
    set_meta(&tx, "written", small(written.max(before)))?;
    // Whoever is older than now and not known is not counted from its start, and be it only a second older.
    let anew = now.saturating_add(small(Slacks::default().clock));
    if !found.whole {
        set_meta(&tx, "anew", anew)?;
    }
    for (level, at) in &found.since {
        let at = if found.whole { *at } else { at.map(|_| anew) };
        write_since(&tx, level, at)?;
    }
    let mut rows = Amount::default();
    for (origin, amount, metrics) in &found.origins {
        rows = rows.plus(*amount);
        let bytes = amount.encode();
        tx.prepare_cached(
            "INSERT INTO origin (instance, level, start, heard, sequence, points, missed, amount, seal)
             VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        )?
        .execute(params![
            origin.instance,
            origin.level,
            origin.start,
            origin.heard,
            origin.sequence,
            origin.points,
            origin.missed,
            bytes,
            origin.seal(&bytes)
        ])?;
        let id = tx.last_insert_rowid();
        for (_, key, sequence, state, retired, seal) in metrics {
            tx.prepare_cached(
                "INSERT INTO settled (origin, key, sequence, state, retired, seal) VALUES (?, ?, ?, ?, ?, ?)",
            )?
            .execute(params![id, key, sequence, state, retired, seal])?;
        }
    }
    let mut waiting = Amount::default();
    for ((id, begin, time, attempts, measurements, amount, _), is) in &found.batches {
        waiting = waiting.plus(*is);
        // Of an older state, any may have been sent since.
        let attempts = if stale { (*attempts).max(1) } else { *attempts };
        let seal = batch_seal([*id, *begin, *time, attempts], measurements, amount);
        tx.prepare_cached(
            "INSERT INTO outbox (id, begin, time, attempts, measurements, amount, seal) VALUES (?, ?, ?, ?, ?, ?, ?)",
        )?
        .execute(params![id, begin, time, attempts, measurements, amount, seal])?;
    }
    for (series, dealt, heard, measurement, seal) in &found.totals {
        tx.prepare_cached(
            "INSERT INTO total (series, dealt, heard, measurement, seal) VALUES (?, ?, ?, ?, ?)",
        )?
        .execute(params![series, dealt, heard, measurement, seal])?;
    }
    // Ids and times must be beyond all that were used, also if nobody knows which those were.
    let last = found.batches.last().map_or(0, |(batch, _)| batch.0);
    let next = super::meta::<i64>(&tx, "next_id").ok().flatten().filter(|_| !stale);
    let next = next.unwrap_or(now / 1_000_000_000).max(last + 1);
    set_meta(&tx, "next_id", next)?;
    let mut accounts = found.accounts.unwrap_or(Accounts { settled: waiting, ..Accounts::default() });
    accounts.lost = accounts.lost.plus(accounts.waiting().minus(waiting));
    accounts.baseline = accounts.baseline.plus(rows).minus(accounts.rows);
    accounts.rows = rows;
    accounts.write(&tx)?;
    tx.commit()?;
    // In one file, it is put in place by one step.
    db.query_row("PRAGMA journal_mode = DELETE", [], |_| Ok(()))?;
    accounts::get(&db, Account::Rows).map(drop)
}

/// Notes for whoever asks later that there was damage.
fn note(database: &Path, damage: &Damage) -> rusqlite::Result<()> {
    let db = Connection::open(database)?;
    super::note_damage(&db, &damage.to_string())
}
