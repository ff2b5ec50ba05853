//! Moving settled totals and outboxes from one number of shards to another.

use std::collections::BTreeMap;
use std::path::Path;

use rusqlite::{Connection, params};
use zibrato_core::frame::InstanceId;
use zibrato_core::ledger::{Horizon, Sequences, Slacks};

use super::codec::{decode_key, decode_numbers, encode_numbers};
use super::seal::{OriginSeal, batch_seal};
use super::settled::{SealedRow, StoredRow, next_id, read_rows, write_horizon, write_since};
use super::totals::StoredTotal;
use super::{State, layout, meta, set_meta, small};
use crate::backend::Backend;
use crate::error::Error;
use crate::shard::{Shard, series_of};

const HOUR: u64 = 3600 * 1_000_000_000;
/// The owner of a new directory that is not complete yet.
const PREPARING: &str = "preparing";
/// The owner of a new directory that is complete, while old ones may still be in use.
const PREPARED: &str = "prepared";
/// The owner of an old directory.
const MOVED: &str = "moved";

/// What has been moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Resharded {
    /// Instances, each level of one for itself.
    pub instances: usize,
    /// Settled metrics.
    pub metrics: usize,
    /// Batches that had not been sent.
    pub batches: usize,
}

#[derive(Default)]
struct Everything {
    origins: BTreeMap<(InstanceId, String), Moved>,
    since: zibrato_core::ledger::Since,
    horizon: Option<Horizon>,
    ran: u64,
    /// The newest time on a ledger's clock.
    clock: u64,
    anew: Option<u64>,
    last_time: Option<u64>,
    temporality: Option<String>,
    /// Time and index of the old shard, and what is in the outbox.
    batches: Vec<(u64, usize, StoredBatch)>,
    totals: Vec<StoredTotal>,
}

#[derive(Default)]
struct Moved {
    start: u64,
    /// How long ago it was heard, on the forgetting clock.
    silent: u64,
    sequence: u64,
    points: Sequences,
    missed: u64,
    /// By old shard.
    known: Vec<usize>,
    /// With the index of the new shard.
    rows: Vec<(usize, StoredRow)>,
}

struct StoredBatch {
    begin: i64,
    attempts: i64,
    measurements: Vec<u8>,
}

/// Moves the state of all workers of a backend, which must be stopped, into new directories for another number of
/// workers. The old directories are left as they were but can no longer be used.
///
/// Nothing is settled twice or left out by this. After a crash the same call goes on where it stopped.
///
/// # Errors
/// When a directory is in use, belongs to another backend, the old ones are not all shards there are, a new one is
/// used already, or an instance has been settled by some of the old workers and not yet by others: then all of them
/// have to run once more for a few seconds.
pub fn reshard<B: Backend>(old: &[&Path], new: &[&Path], backend: &B) -> Result<Resharded, Error> {
    if old.is_empty() || new.is_empty() {
        return Err(Error::Option { why: "old and new state directories must be given".into() });
    }
    if let Some(both) = new.iter().find(|path| old.contains(path)) {
        let why =
            format!("{} is an old and a new state directory; the new ones must be others", both.display());
        return Err(Error::Option { why });
    }
    if let Some(none) = old.iter().find(|path| !path.join("state.db").exists()) {
        return Err(Error::BadState { path: none.to_path_buf(), why: "there is none".into() });
    }
    let old = old.iter().map(|path| State::open_any(path, Shard::WHOLE)).collect::<Result<Vec<_>, _>>()?;
    let new = new.iter().map(|path| State::open_any(path, Shard::WHOLE)).collect::<Result<Vec<_>, _>>()?;
    let name = |index: usize| Shard::new(index as u32 + 1, new.len() as u32).unwrap_or(Shard::WHOLE);
    let mut done = Resharded::default();
    let owners = new.iter().map(|state| Ok(state.owner()?.1)).collect::<Result<Vec<_>, Error>>()?;
    let prepared = |(index, owner): (usize, &Option<String>)| {
        owner.as_deref() == Some(PREPARED) || *owner == Some(name(index).to_string())
    };
    if !owners.iter().enumerate().all(prepared) {
        check_old::<B>(&old)?;
        for (state, owner) in new.iter().zip(&owners) {
            if !matches!(owner.as_deref(), None | Some(PREPARING | PREPARED)) {
                return Err(state.bad("it is used already; give a new directory"));
            }
        }
        let everything = gather(&old, backend, new.len())?;
        for (index, state) in new.iter().enumerate() {
            write(state, index, new.len(), &everything, B::NAME)?;
        }
        done.instances = everything.origins.len();
        done.metrics = everything.origins.values().map(|moved| moved.rows.len()).sum();
        done.batches = everything.batches.len();
        for state in &new {
            state.own(PREPARED)?;
        }
    }
    // From here on the new directories are what counts.
    for state in &old {
        state.own(MOVED)?;
    }
    for (index, state) in new.iter().enumerate() {
        state.own(&name(index).to_string())?;
    }
    Ok(done)
}

fn check_old<B: Backend>(old: &[State]) -> Result<(), Error> {
    let count = old.len() as u32;
    let mut found = Vec::new();
    for state in old {
        let (backend, shard) = state.owner()?;
        if backend.as_deref() != Some(B::NAME) {
            return Err(Error::OtherBackend {
                path: state.directory().into(),
                found: backend.unwrap_or_else(|| "nobody".into()),
                wanted: B::NAME.into(),
            });
        }
        let shard = shard.unwrap_or_default();
        match shard.parse::<Shard>() {
            Ok(parsed) if parsed.count() == count && !found.contains(&parsed) => found.push(parsed),
            _ => {
                let why = format!(
                    "its shard is {shard}; give each of the {count} old shards once, and all of them"
                );
                return Err(Error::BadState { path: state.directory().into(), why });
            }
        }
    }
    Ok(())
}

fn gather<B: Backend>(old: &[State], backend: &B, count: usize) -> Result<Everything, Error> {
    let mut all = Everything::default();
    for state in old {
        let outline = state.outline()?;
        all.since.merge(&outline.since);
        all.horizon = Horizon::latest(all.horizon, outline.horizon);
        all.ran = all.ran.max(outline.ran);
        all.clock = all.clock.max(state.newest_time()?);
        all.anew = all.anew.max(state.anew()?);
        all.last_time = all.last_time.max(state.last_time()?);
        let temporality = meta(&state.lock(), "temporality").map_err(state.failed("read"))?;
        all.temporality = all.temporality.take().or(temporality);
    }
    for (index, state) in old.iter().enumerate() {
        let ran = state.outline()?.ran;
        let (origins, batches) = state.read_all().map_err(state.failed("read"))?;
        let totals = StoredTotal::read_all(&state.lock()).map_err(state.failed("read"))?;
        if totals.iter().any(|total| !total.sealed) {
            return Err(state.damaged("the total of a series is not what was written"));
        }
        // As long ago as it was, on the clock of all.
        let heard = |total: &StoredTotal| all.ran.saturating_sub(ran.saturating_sub(total.heard));
        all.totals.extend(totals.into_iter().map(|total| StoredTotal { heard: heard(&total), ..total }));
        all.batches.extend(batches.into_iter().map(|(time, batch)| (time, index, batch)));
        for ((instance, level), (start, heard, sequence, points, missed), rows) in origins {
            let points = decode_numbers(&points).ok_or_else(|| state.bad("numbers of points are damaged"))?;
            let silent = ran.saturating_sub(heard);
            let origin = (InstanceId(instance), level);
            let moved =
                all.origins.entry(origin).or_insert_with(|| Moved { start, silent, ..Moved::default() });
            moved.start = moved.start.min(start);
            moved.silent = moved.silent.min(silent);
            moved.sequence = moved.sequence.max(sequence);
            moved.missed = moved.missed.max(missed);
            points.ranges().iter().for_each(|(first, last)| moved.points.insert_range(*first, *last));
            moved.known.push(index);
            for row in rows {
                let key = decode_key(&row.0).ok_or_else(|| state.bad("a key is damaged"))?;
                let series = series_of(backend, &key).0;
                let owner = (0..count).find(|to| {
                    Shard::new(*to as u32 + 1, count as u32).is_some_and(|shard| shard.has(&series))
                });
                moved.rows.push((owner.unwrap_or(0), row));
            }
        }
    }
    all.batches.sort_by_key(|(time, index, _)| (*time, *index));
    check_settled(&all, old)?;
    Ok(all)
}

/// An instance that is older than the subscription has to be settled by all shards or by none: where one has taken
/// its baseline and another has not, the other one's metrics would count from zero.
fn check_settled(all: &Everything, old: &[State]) -> Result<(), Error> {
    let slacks = Slacks::default();
    for ((instance, level), moved) in &all.origins {
        let before = |since: u64| moved.start < since.saturating_sub(slacks.clock);
        let forgotten =
            |horizon: Horizon| moved.start <= horizon.upto.saturating_add(slacks.clock + slacks.way);
        let past = all.since.get(level).is_none_or(before) || all.horizon.is_some_and(forgotten);
        // Of one that has been silent for an hour, all brokers have told everything.
        if past && moved.silent < HOUR && moved.known.len() < old.len() {
            let missing = (0..old.len()).find(|index| !moved.known.contains(index)).unwrap_or(0);
            return Err(Error::BadState {
                path: old[missing].directory().into(),
                why: format!(
                    "instance {instance} at level {level} is settled in other shards but not here; let all workers run \
                     once more for a minute, then stop them and try again"
                ),
            });
        }
    }
    Ok(())
}

fn write(state: &State, index: usize, count: usize, all: &Everything, backend: &str) -> Result<(), Error> {
    state.transaction("write", |tx| {
        tx.execute_batch("DELETE FROM settled; DELETE FROM origin; DELETE FROM outbox; DELETE FROM since; DELETE FROM meta WHERE name != 'schema'; DELETE FROM total; DELETE FROM account;")?;
        set_meta(tx, "backend", backend.to_string())?;
        set_meta(tx, "shard", PREPARING.to_string())?;
        set_meta(tx, "ran", small(all.ran))?;
        set_meta(tx, "clock", small(all.clock))?;
        all.anew.map(|anew| set_meta(tx, "anew", small(anew))).transpose()?;
        if let Some(temporality) = &all.temporality {
            set_meta(tx, "temporality", temporality.clone())?;
        }
        write_horizon(tx, all.horizon)?;
        if let Some(time) = all.last_time {
            set_meta(tx, "last_time", small(time))?;
        }
        for (level, at) in all.since.pairs() {
            write_since(tx, level, at.map(small))?;
        }
        for ((instance, level), moved) in &all.origins {
            write_origin(tx, index, *instance, level, moved, all.ran)?;
        }
        if let Some(shard) = Shard::new(index as u32 + 1, count as u32) {
            let own = all.totals.iter().filter(|total| shard.has_hash(total.dealt));
            own.into_iter().try_for_each(|total| total.write(tx))?;
        }
        // A batch stays whole, because a repeat has to be the same; its times are before all that will follow.
        for (time, _, batch) in all.batches.iter().filter(|(_, from, _)| from % count == index) {
            tx.execute(
                "INSERT INTO outbox (id, begin, time, attempts, measurements) VALUES (?, ?, ?, ?, ?)",
                params![next_id(tx)?, batch.begin, small(*time), batch.attempts, batch.measurements],
            )?;
        }
        // Accounts begin anew with what there is.
        layout::seal_all(tx)
    })
}

fn write_origin(
    tx: &Connection,
    index: usize,
    instance: InstanceId,
    level: &str,
    moved: &Moved,
    ran: u64,
) -> rusqlite::Result<()> {
    tx.prepare_cached(
        "INSERT INTO origin (instance, level, start, heard, sequence, points, missed) VALUES (?, ?, ?, ?, ?, ?, ?)",
    )?
    .execute(params![
        instance.0,
        level,
        small(moved.start),
        small(ran.saturating_sub(moved.silent)),
        small(moved.sequence),
        encode_numbers(&moved.points),
        small(moved.missed),
    ])?;
    let id = tx.last_insert_rowid();
    for (_, (key, sequence, state, retired)) in moved.rows.iter().filter(|(owner, _)| *owner == index) {
        tx.prepare_cached(
            "INSERT INTO settled (origin, key, sequence, state, retired) VALUES (?, ?, ?, ?, ?)",
        )?
        .execute(params![id, key, small(*sequence), state, retired.map(small)])?;
    }
    Ok(())
}

/// Whose, then start, heard, sequence, points and how many sets were missed, then the rows.
type StoredOrigin = (([u8; 16], String), (u64, u64, u64, Vec<u8>, u64), Vec<StoredRow>);

impl State {
    fn own(&self, shard: &str) -> Result<(), Error> {
        self.transaction("write", |tx| set_meta(tx, "shard", shard.to_string()))
    }

    #[allow(clippy::type_complexity)]
    fn read_all(&self) -> rusqlite::Result<(Vec<StoredOrigin>, Vec<(u64, StoredBatch)>)> {
        let db = self.lock();
        // All of it is sealed anew, so it must be what was written.
        let whole = |sealed: bool, what: &str| match sealed {
            true => Ok(()),
            false => Err(zibrato_disk::corrupt(format!(
                "{what} is not what was written; run its worker once, which repairs it"
            ))),
        };
        let mut ids = db.prepare("SELECT id, amount, seal FROM origin ORDER BY id")?;
        let mut found = Vec::new();
        let mut cursor = ids.query([])?;
        while let Some(row) = cursor.next()? {
            let (id, amount, seal): (i64, Vec<u8>, u32) = (row.get(0)?, row.get(1)?, row.get(2)?);
            let origin = OriginSeal::read(&db, id)?;
            whole(origin.seal(&amount) == seal, "what is settled of an instance")?;
            let rows = read_rows(&db, id)?;
            whole(rows.iter().all(|row| row.sealed), "a settled total")?;
            let number = |number: i64| u64::try_from(number).unwrap_or(0);
            let OriginSeal { instance, level, start, heard, sequence, points, missed } = origin;
            let instance = <[u8; 16]>::try_from(instance)
                .map_err(|_| zibrato_disk::corrupt("an instance is not what was written"))?;
            let entry = (number(start), number(heard), number(sequence), points, number(missed));
            found.push((
                (instance, level),
                entry,
                rows.into_iter().map(|SealedRow { row, .. }| row).collect(),
            ));
        }
        let mut batches = db.prepare(
            "SELECT id, begin, time, attempts, measurements, amount, seal FROM outbox ORDER BY id",
        )?;
        let batches = batches.query_map([], |row| {
            let numbers = [row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?];
            let (measurements, amount): (Vec<u8>, Vec<u8>) = (row.get(4)?, row.get(5)?);
            whole(batch_seal(numbers, &measurements, &amount) == row.get::<_, u32>(6)?, "a batch")?;
            let [_, begin, time, attempts] = numbers;
            Ok((u64::try_from(time).unwrap_or(0), StoredBatch { begin, attempts, measurements }))
        })?;
        Ok((found, batches.collect::<rusqlite::Result<Vec<_>>>()?))
    }
}
