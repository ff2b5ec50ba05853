//! Looking into a state directory without touching it, also while a worker uses it.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use rusqlite::types::Value;
use rusqlite::{Connection, params};
use zibrato_core::frame::{InstanceId, Key, State as Is, decode_state};
use zibrato_core::ledger::Since;

use super::accounts::Accounts;
use super::codec::{decode_key, decode_measurements};
use super::layout::VERSION;
use super::seal::{OriginSeal, batch_seal, meta_seal, settled_seal};
use super::settled::read_since;
use crate::account::Amount;
use crate::error::Error;
use crate::shard::Shard;

/// What a state directory has at one moment.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Snapshot {
    /// The directory.
    pub directory: PathBuf,
    /// Whose it is, where it has been used.
    pub backend: Option<String>,
    /// Which part of the load is its; all where it does not say.
    pub shard: Shard,
    /// Whether the backend is told totals, which cannot be added up.
    pub is_cumulative: bool,
    /// Since when it listens to which level.
    pub since: Since,
    /// The time of its newest batch, in nanoseconds since 1970 UTC.
    pub last_time: Option<u64>,
    /// What is settled.
    pub origins: Vec<SnapshotOrigin>,
    /// What waits to be sent, oldest first.
    pub batches: Vec<SnapshotBatch>,
    /// What was settled and what became of it.
    pub accounts: Accounts,
    /// How often a damaged state was replaced, and what was told of the last time.
    pub damaged: (u64, Option<String>),
    /// What is not as it was written; nothing where all is well.
    pub faults: Vec<String>,
}

/// What is settled of one instance at one level.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct SnapshotOrigin {
    /// The instance.
    pub instance: InstanceId,
    /// The level.
    pub level: String,
    /// The newest set that is settled.
    pub sequence: u64,
    /// How many of its sets never came.
    pub missed: u64,
    /// Each metric with the sequence at which it was last settled, and its total.
    pub rows: Vec<(Key, u64, Is)>,
    /// What the totals must add up to.
    pub amount: Amount,
    /// What they add up to.
    pub found: Amount,
}

/// A batch that waits.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct SnapshotBatch {
    /// Its number.
    pub id: u64,
    /// Its time, in nanoseconds since 1970 UTC.
    pub time: u64,
    /// How often it was sent.
    pub attempts: u64,
    /// What is in it.
    pub amount: Amount,
    /// The same by name of the series.
    pub by_name: BTreeMap<String, Amount>,
}

impl Snapshot {
    /// Reads a state directory at one moment.
    ///
    /// # Errors
    /// When there is none, it cannot be read, or another version wrote it.
    pub fn read(directory: &Path) -> Result<Snapshot, Error> {
        let database = directory.join("state.db");
        let failed = |why| Error::Database { doing: "read", path: database.clone(), why };
        let bad = |why: &str| Error::BadState { path: database.clone(), why: why.into() };
        match zibrato_disk::header(&database).map_err(Error::file("read", &database))? {
            zibrato_disk::Header::None => return Err(bad("there is none")),
            zibrato_disk::Header::Database { version, .. } if version != VERSION && version > 0 => {
                let (found, known) = (version.into(), VERSION.into());
                return Err(Error::OtherVersion { path: database, found, known });
            }
            _ => {}
        }
        let mut db = zibrato_disk::open_read_only(&database).map_err(failed)?;
        // One transaction, so that all of it is of one moment.
        let tx = db.transaction().map_err(failed)?;
        read(&tx, directory).map_err(failed)
    }
}

fn read(db: &Connection, directory: &Path) -> rusqlite::Result<Snapshot> {
    let (notes, mut faults) = read_notes(db)?;
    let text = |name: &str| match notes.get(name) {
        Some(Value::Text(text)) => Some(text.clone()),
        _ => None,
    };
    let number = |name: &str| match notes.get(name) {
        Some(Value::Integer(number)) => u64::try_from(*number).ok(),
        _ => None,
    };
    let since = read_since(db)?;
    for (level, ..) in since.iter().filter(|(.., sealed)| !sealed) {
        faults.push(format!("since when {level} is listened to is not what was written"));
    }
    let since = since.into_iter().map(|(level, at, _)| (level, at.map(|at| u64::try_from(at).unwrap_or(0))));
    let (accounts, wrong) = Accounts::read_any(db)?;
    faults.extend(wrong.into_iter().map(|name| format!("the account {name} is not what was written")));
    let mut snapshot = Snapshot {
        directory: directory.into(),
        backend: text("backend"),
        shard: text("shard").and_then(|shard| shard.parse().ok()).unwrap_or(Shard::WHOLE),
        is_cumulative: text("temporality").is_some_and(|is| is == "cumulative"),
        since: Since::from_pairs(since),
        last_time: number("last_time"),
        origins: Vec::new(),
        batches: Vec::new(),
        accounts,
        damaged: (number("damaged").unwrap_or(0), text("damaged_how")),
        faults,
    };
    let mut ids = db.prepare("SELECT id, amount, seal FROM origin ORDER BY id")?;
    let ids = ids.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
    for id in ids {
        let (id, amount, seal): (i64, Vec<u8>, u32) = id?;
        let origin = OriginSeal::read(db, id)?;
        read_origin(db, id, origin, (&amount, seal), &mut snapshot)?;
    }
    read_batches(db, &mut snapshot)?;
    Ok(snapshot)
}

/// What is noted, and what of it is not what was written.
fn read_notes(db: &Connection) -> rusqlite::Result<(HashMap<String, Value>, Vec<String>)> {
    let (mut notes, mut faults) = (HashMap::new(), Vec::new());
    let mut read = db.prepare("SELECT name, value, seal FROM meta")?;
    let mut rows = read.query([])?;
    while let Some(row) = rows.next()? {
        let (name, value): (String, Value) = (row.get(0)?, row.get(1)?);
        if meta_seal(&name, &value) != row.get::<_, u32>(2)? {
            faults.push(format!("what is noted as {name} is not what was written"));
        }
        notes.insert(name, value);
    }
    Ok((notes, faults))
}

fn read_origin(
    db: &Connection,
    id: i64,
    origin: OriginSeal,
    (amount, seal): (&[u8], u32),
    snapshot: &mut Snapshot,
) -> rusqlite::Result<()> {
    let instance = <[u8; 16]>::try_from(&*origin.instance).unwrap_or_default();
    let whose = format!("instance {} at level {}", InstanceId(instance), origin.level);
    if origin.seal(amount) != seal {
        snapshot.faults.push(format!("what is settled of {whose} is not what was written"));
    }
    let (mut rows, mut found) = (Vec::new(), Amount::default());
    let mut metrics =
        db.prepare_cached("SELECT key, sequence, state, retired, seal FROM settled WHERE origin = ?")?;
    let mut metrics = metrics.query(params![id])?;
    while let Some(row) = metrics.next()? {
        let (key, sequence, state): (Vec<u8>, i64, Vec<u8>) = (row.get(0)?, row.get(1)?, row.get(2)?);
        let read = decode_key(&key).and_then(|key| Some((decode_state(key.kind, &state).ok()?, key)));
        let Some((is, read)) = read else {
            snapshot.faults.push(format!("a settled metric of {whose} cannot be read"));
            continue;
        };
        if settled_seal(&key, sequence, &state, row.get(3)?) != row.get::<_, u32>(4)? {
            snapshot
                .faults
                .push(format!("the settled total of {} of {whose} is not what was written", read.name));
        }
        found = found.plus(Amount::of_state(&is));
        rows.push((read, u64::try_from(sequence).unwrap_or(0), is));
    }
    snapshot.origins.push(SnapshotOrigin {
        instance: InstanceId(instance),
        level: origin.level,
        sequence: u64::try_from(origin.sequence).unwrap_or(0),
        missed: u64::try_from(origin.missed).unwrap_or(0),
        rows,
        amount: Amount::decode(amount).unwrap_or_default(),
        found,
    });
    Ok(())
}

fn read_batches(db: &Connection, snapshot: &mut Snapshot) -> rusqlite::Result<()> {
    let mut batches =
        db.prepare("SELECT id, begin, time, attempts, measurements, amount, seal FROM outbox ORDER BY id")?;
    let mut batches = batches.query([])?;
    while let Some(row) = batches.next()? {
        let numbers = [row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?];
        let bytes: Vec<u8> = row.get(4)?;
        let amount: Vec<u8> = row.get(5)?;
        let measurements = decode_measurements(&bytes);
        if batch_seal(numbers, &bytes, &amount) != row.get::<_, u32>(6)? || measurements.is_err() {
            snapshot.faults.push(format!("batch {} is not what was written", numbers[0]));
        }
        let mut by_name: BTreeMap<String, Amount> = BTreeMap::new();
        for measurement in measurements.unwrap_or_default() {
            let sum = by_name.entry(measurement.series.name.clone()).or_default();
            *sum = sum.plus(Amount::all(std::slice::from_ref(&measurement), snapshot.is_cumulative));
        }
        snapshot.batches.push(SnapshotBatch {
            id: u64::try_from(numbers[0]).unwrap_or(0),
            time: u64::try_from(numbers[2]).unwrap_or(0),
            attempts: u64::try_from(numbers[3]).unwrap_or(0),
            amount: Amount::decode(&amount).unwrap_or_default(),
            by_name,
        });
    }
    Ok(())
}
