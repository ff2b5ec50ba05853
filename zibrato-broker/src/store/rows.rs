//! What is in the file, row by row: every row has a seal, so that a flipped bit is no total.

use std::path::Path;

use rusqlite::{Connection, OptionalExtension, params};
use zibrato_core::clock::Moment;
use zibrato_core::frame::{InstanceId, decode};
use zibrato_disk::seal;

use super::{APPLICATION, Loaded, SCHEMA};
use crate::clock::Anchor;
use crate::keep::{Record, RecordedFrame, Tombstone};

/// Makes the tables that are not there, and says whose and of which version they are.
pub(super) fn make_tables(db: &Connection) -> rusqlite::Result<()> {
    db.execute_batch(&format!(
        "CREATE TABLE IF NOT EXISTS frame (
             instance BLOB NOT NULL, level TEXT NOT NULL, sequence INTEGER NOT NULL, part INTEGER NOT NULL,
             retired INTEGER NOT NULL, received INTEGER NOT NULL, frame BLOB NOT NULL, seal INTEGER,
             PRIMARY KEY (instance, level, retired, sequence, part));
         CREATE TABLE IF NOT EXISTS tombstone (
             instance BLOB NOT NULL, level TEXT NOT NULL, sequence INTEGER NOT NULL, at INTEGER NOT NULL, seal INTEGER,
             PRIMARY KEY (instance, level)) WITHOUT ROWID;
         CREATE TABLE IF NOT EXISTS clock (
             one INTEGER PRIMARY KEY CHECK (one = 1), boot TEXT NOT NULL, uptime INTEGER NOT NULL,
             time INTEGER NOT NULL, seal INTEGER);
         CREATE TABLE IF NOT EXISTS progress (
             one INTEGER PRIMARY KEY CHECK (one = 1), written INTEGER NOT NULL);
         PRAGMA application_id = {APPLICATION}; PRAGMA user_version = {SCHEMA};"
    ))
}

/// Seals what a broker has written that knew no seals.
pub(super) fn seal_first(db: &Connection) -> rusqlite::Result<()> {
    db.execute_batch("BEGIN IMMEDIATE")?;
    for table in ["frame", "tombstone", "clock"] {
        let is_there = "SELECT count(*) FROM sqlite_schema WHERE name = ?1";
        // The clock came while that was the version.
        if db.query_row(is_there, [table], |row| row.get::<_, i64>(0))? > 0 {
            db.execute_batch(&format!("ALTER TABLE {table} ADD COLUMN seal INTEGER"))?;
        }
    }
    make_tables(db)?;
    let ids = db
        .prepare("SELECT rowid FROM frame")?
        .query_map([], |row| row.get(0))?
        .collect::<Result<Vec<i64>, _>>()?;
    for id in ids {
        let select = "SELECT instance, level, sequence, part, retired, received, frame, seal FROM frame WHERE rowid = ?1";
        let seal = db.prepare_cached(select)?.query_row([id], read_frame)?.0.seal();
        db.prepare_cached("UPDATE frame SET seal = ?1 WHERE rowid = ?2")?.execute(params![seal, id])?;
    }
    let mut read = db.prepare("SELECT instance, level, sequence, at, seal FROM tombstone")?;
    let tombstones = read.query_map([], read_tombstone)?.collect::<rusqlite::Result<Vec<_>>>()?;
    tombstones.iter().try_for_each(|(tombstone, _)| write_tombstone(db, tombstone))?;
    if let Some((anchor, _)) = read_anchor(db)? {
        write_anchor(db, &anchor)?;
    }
    db.execute_batch("COMMIT")
}

/// Writes all that was saved into a new file.
pub(super) fn write_new(
    new: &Path,
    frames: Vec<FrameRow>,
    tombstones: Vec<Tombstone>,
    anchor: Option<&Anchor>,
    written: u64,
) -> rusqlite::Result<()> {
    let mut db = Connection::open(new)?;
    db.pragma_update(None, "synchronous", "FULL")?;
    make_tables(&db)?;
    let transaction = db.transaction()?;
    frames.iter().try_for_each(|frame| frame.write(&transaction))?;
    tombstones.iter().try_for_each(|tombstone| write_tombstone(&transaction, tombstone))?;
    anchor.map(|anchor| write_anchor(&transaction, anchor)).transpose()?;
    write_progress(&transaction, written)?;
    transaction.commit()
}

/// A frame as it is kept, column by column.
pub(super) struct FrameRow {
    instance: Vec<u8>,
    level: String,
    sequence: i64,
    part: i64,
    retired: i64,
    received: i64,
    frame: Vec<u8>,
}

impl FrameRow {
    fn seal(&self) -> u32 {
        let FrameRow { instance, level, sequence, part, retired, received, frame } = self;
        frame_seal(instance, level, [*sequence, *part, *retired, *received], frame)
    }

    fn write(&self, db: &Connection) -> rusqlite::Result<()> {
        let FrameRow { instance, level, sequence, part, retired, received, frame } = self;
        db.prepare_cached("INSERT OR REPLACE INTO frame VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)")?
            .execute(params![instance, level, sequence, part, retired, received, frame, self.seal()])
            .map(drop)
    }

    /// Whether it is a frame, and the one that it is kept as.
    fn is_frame(&self) -> bool {
        decode(&self.frame).is_ok_and(|decoded| {
            let head = &decoded.frame.head;
            decoded.skipped.is_empty()
                && head.instance.0[..] == self.instance[..]
                && (head.sequence as i64, i64::from(head.part)) == (self.sequence, self.part)
        })
    }
}

/// Of a frame and the numbers that it is kept with: sequence, part, whether its metrics are retired, and when it came. How
/// long it was held follows from that.
fn frame_seal(instance: &[u8], level: &str, numbers: [i64; 4], frame: &[u8]) -> u32 {
    let numbers: Vec<u8> = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
    seal(&[instance, level.as_bytes(), &numbers, frame])
}

fn tombstone_seal(tombstone: &Tombstone) -> u32 {
    let Tombstone { instance, level, sequence, at } = tombstone;
    seal(&[&instance.0, level.as_bytes(), &sequence.to_le_bytes(), &at.to_le_bytes()])
}

fn anchor_seal(anchor: &Anchor) -> u32 {
    let Anchor { moment: Moment { boot, uptime }, time } = anchor;
    seal(&[boot.as_bytes(), &uptime.to_le_bytes(), &time.to_le_bytes()])
}

/// Of a row with all columns in their order: the frame, and whether it is what was written.
fn read_frame(row: &rusqlite::Row<'_>) -> rusqlite::Result<(FrameRow, bool)> {
    let frame = FrameRow {
        instance: row.get(0)?,
        level: row.get(1)?,
        sequence: row.get(2)?,
        part: row.get(3)?,
        retired: row.get(4)?,
        received: row.get(5)?,
        frame: row.get(6)?,
    };
    let sealed = row.get::<_, Option<u32>>(7)? == Some(frame.seal());
    Ok((frame, sealed))
}

pub(super) fn load(db: &Connection) -> rusqlite::Result<Loaded> {
    let mut loaded = Loaded::default();
    let mut read = db.prepare(
        "SELECT instance, level, sequence, part, retired, received, frame, seal FROM frame
         ORDER BY received, sequence, part",
    )?;
    let mut rows = read.query([])?;
    while let Some(row) = rows.next()? {
        let (frame, sealed) = read_frame(row)?;
        if !sealed {
            return Err(zibrato_disk::corrupt("a frame is not what was written"));
        }
        loaded.frames.push((frame.level, frame.received as u64, frame.frame));
    }
    let mut read = db.prepare("SELECT instance, level, sequence, at, seal FROM tombstone")?;
    for tombstone in read.query_map([], read_tombstone)? {
        let (tombstone, sealed) = tombstone?;
        if !sealed {
            return Err(zibrato_disk::corrupt("a tombstone is not what was written"));
        }
        loaded.tombstones.push(tombstone);
    }
    loaded.anchor = match read_anchor(db)? {
        Some((_, false)) => return Err(zibrato_disk::corrupt("where the clock was is not what was written")),
        anchor => anchor.map(|(anchor, _)| anchor),
    };
    Ok(loaded)
}

/// Where the clock was, and whether that is what was written.
fn read_anchor(db: &Connection) -> rusqlite::Result<Option<(Anchor, bool)>> {
    let read = |row: &rusqlite::Row<'_>| {
        let (uptime, time) = (row.get::<_, i64>(1)? as u64, row.get::<_, i64>(2)? as u64);
        let anchor = Anchor { moment: Moment { boot: row.get(0)?, uptime }, time };
        let sealed = row.get::<_, Option<u32>>(3)? == Some(anchor_seal(&anchor));
        Ok((anchor, sealed))
    };
    db.query_row("SELECT boot, uptime, time, seal FROM clock", [], read).optional()
}

/// Where the clock was, as far as that can be believed.
pub(super) fn anchor(db: &Connection) -> rusqlite::Result<Option<Anchor>> {
    Ok(read_anchor(db)?.and_then(|(anchor, sealed)| sealed.then_some(anchor)))
}

pub(super) fn write_anchor(db: &Connection, anchor: &Anchor) -> rusqlite::Result<()> {
    let Anchor { moment: Moment { boot, uptime }, time } = anchor;
    db.prepare_cached("INSERT OR REPLACE INTO clock VALUES (1, ?1, ?2, ?3, ?4)")?
        .execute(params![boot, *uptime as i64, *time as i64, anchor_seal(anchor)])
        .map(drop)
}

pub(super) fn write_progress(db: &Connection, written: u64) -> rusqlite::Result<()> {
    db.prepare_cached("INSERT OR REPLACE INTO progress VALUES (1, ?1)")?.execute([written as i64]).map(drop)
}

/// A tombstone, and whether it is what was written.
fn read_tombstone(row: &rusqlite::Row<'_>) -> rusqlite::Result<(Tombstone, bool)> {
    let level: String = row.get(1)?;
    let tombstone = Tombstone {
        instance: InstanceId(row.get(0)?),
        level: level.into(),
        sequence: row.get::<_, i64>(2)? as u64,
        at: row.get::<_, i64>(3)? as u64,
    };
    let sealed = row.get::<_, Option<u32>>(4)? == Some(tombstone_seal(&tombstone));
    Ok((tombstone, sealed))
}

pub(super) fn write_tombstone(db: &Connection, tombstone: &Tombstone) -> rusqlite::Result<()> {
    let Tombstone { instance, level, sequence, at } = tombstone;
    let seal = tombstone_seal(tombstone);
    db.prepare_cached("INSERT OR REPLACE INTO tombstone VALUES (?1, ?2, ?3, ?4, ?5)")?
        .execute(params![&instance.0[..], &**level, *sequence as i64, *at as i64, seal])
        .map(drop)
}

/// What of a damaged file is as it was written; of one without seals, what seems to be.
pub(super) fn rescue(db: &Connection) -> (Vec<FrameRow>, Vec<Tombstone>) {
    let seal = |table: &str| match db.prepare(&format!("SELECT seal FROM {table}")) {
        Ok(_) => "seal",
        Err(_) => "NULL",
    };
    let (frames_seal, tombstones_seal) = (seal("frame"), seal("tombstone"));
    let (mut frames, _): (Vec<(FrameRow, bool)>, bool) = zibrato_disk::rescue(
        db,
        &format!(
            "SELECT instance, level, sequence, part, retired, received, frame, {frames_seal} FROM frame"
        ),
        &["rowid"],
        read_frame,
        |(row, _)| (row.instance.clone(), row.level.clone(), row.sequence, row.part, row.retired),
    );
    frames.retain(|(row, sealed)| (*sealed || frames_seal == "NULL") && row.is_frame());
    let (mut tombstones, _): (Vec<(Tombstone, bool)>, bool) = zibrato_disk::rescue(
        db,
        &format!("SELECT instance, level, sequence, at, {tombstones_seal} FROM tombstone"),
        &["instance", "level"],
        read_tombstone,
        |(t, _)| (t.instance, t.level.clone()),
    );
    tombstones.retain(|(_, sealed)| *sealed || tombstones_seal == "NULL");
    (frames.into_iter().map(|(row, _)| row).collect(), tombstones.into_iter().map(|(t, _)| t).collect())
}

/// Leaves about so many tombstones, the newest.
pub(super) fn trim(db: &Connection, most: usize) -> rusqlite::Result<()> {
    db.prepare_cached(
        "DELETE FROM tombstone WHERE at < (SELECT at FROM tombstone ORDER BY at DESC LIMIT 1 OFFSET ?1)",
    )?
    .execute([most as i64])
    .map(drop)
}

pub(super) fn write_record(transaction: &rusqlite::Transaction<'_>, record: &Record) -> rusqlite::Result<()> {
    let id = &record.instance.0[..];
    transaction
        .prepare_cached("DELETE FROM frame WHERE instance = ?1 AND level = ?2 AND retired = 0")?
        .execute(params![id, &*record.level])?;
    let mut insert =
        transaction.prepare_cached("INSERT OR REPLACE INTO frame VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)")?;
    for RecordedFrame { sequence, part, received, retired, frame } in &record.frames {
        let (sequence, received) = (*sequence as i64, *received as i64);
        let numbers = [sequence, i64::from(*part), i64::from(*retired), received];
        let seal = frame_seal(id, &record.level, numbers, frame);
        insert.execute(params![id, &*record.level, sequence, part, retired, received, &frame[..], seal])?;
    }
    Ok(())
}
