//! The disk: one SQLite file, written by one thread in grouped transactions.
//!
//! What is asked for while a transaction is being written goes into the next one, so the number of
//! synchronisations does not rise with the number of instances that end at once.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use rusqlite::{Connection, ErrorCode, OptionalExtension, params};
use zibrato_admin::Loop;
use zibrato_core::frame::{InstanceId, decode};
use zibrato_disk::{Header, Wal};

use crate::clock::{Anchor, Clock};
use crate::error::Error;
use crate::keep::{Record, RecordedFrame, TOMBSTONES, Tombstone};

/// The file's name in the state directory.
pub(crate) const FILE: &str = "broker.sqlite";
/// Most jobs of one transaction.
const GROUP: usize = 1000;
/// A transaction takes no more jobs once it has so many bytes.
const GROUP_BYTES: usize = 32 << 20;
/// Jobs that may wait for the disk.
const WAITING: usize = 10_000;
const SCHEMA: u32 = 1;
/// Says that a file is the broker's: "ZibB". Files of before it was said have 0.
const APPLICATION: u32 = 0x5a69_6242;
/// A line about failing writes in this time.
const SAY_EVERY: Duration = Duration::from_secs(10);

/// What the thread is asked to do.
pub(crate) enum Job {
    Write(Record),
    Forget(Tombstone),
    /// Tombstones and retired sets older than this are of no use any more.
    Clear(u64),
}

impl Job {
    fn size(&self) -> usize {
        match self {
            Job::Write(record) => record.frames.iter().map(|f| f.frame.len()).sum(),
            _ => 0,
        }
    }
}

/// Told after a transaction: whose record of which version, and whether it is on the disk.
pub(crate) struct Written {
    pub(crate) instance: InstanceId,
    pub(crate) level: Arc<str>,
    pub(crate) version: u64,
    pub(crate) ok: bool,
}

/// What had been written, as [`Store::open`] finds it.
#[derive(Default)]
pub(crate) struct Loaded {
    pub(crate) frames: Vec<(String, u64, Vec<u8>)>,
    pub(crate) tombstones: Vec<Tombstone>,
    /// Where the clock was when the file was last written.
    pub(crate) anchor: Option<Anchor>,
    /// How many files were damaged and moved aside.
    pub(crate) damaged: u64,
}

/// The state file, not yet written to by a thread.
pub(crate) struct Store {
    db: Connection,
    file: PathBuf,
    /// Most tombstones that are kept, as in memory.
    tombstones: usize,
    /// Those that were written since there were at most so many.
    buried: usize,
    /// Written down with everything else, once it is known.
    clock: Option<Clock>,
}

/// The writing thread.
pub(crate) struct Writer {
    jobs: mpsc::Sender<Job>,
    waiting: Arc<AtomicUsize>,
    /// Transactions that failed, and whether the last one did.
    failures: Arc<(AtomicU64, AtomicBool)>,
    thread: JoinHandle<()>,
}

/// How the disk does.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Disk {
    /// Records that wait.
    pub(crate) waiting: usize,
    /// Transactions that failed.
    pub(crate) failures: u64,
    /// Whether the last one did.
    pub(crate) is_failing: bool,
}

enum OpenError {
    Damaged(rusqlite::Error),
    InUse,
    Other(Box<dyn std::error::Error + Send + Sync>),
}

impl From<rusqlite::Error> for OpenError {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            _ if zibrato_disk::is_damage(&error) => OpenError::Damaged(error),
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => OpenError::InUse,
            _ => OpenError::Other(error.into()),
        }
    }
}

impl Store {
    /// Opens the state file in `directory` and reads everything. A damaged file is moved aside, and what can be read of
    /// it goes into a new one.
    pub(crate) fn open(directory: &Path) -> Result<(Store, Loaded), Error> {
        let file = directory.join(FILE);
        let failed =
            |source: Box<dyn std::error::Error + Send + Sync>| Error::State { file: file.clone(), source };
        std::fs::create_dir_all(directory).map_err(|e| failed(e.into()))?;
        let opened = Self::try_open(&file).or_else(|why| match why {
            OpenError::Damaged(why) => Self::begin_anew(&file, &why),
            why => Err(why),
        });
        opened.map_err(|why| match why {
            OpenError::InUse => Error::StateInUse { file: file.clone() },
            OpenError::Other(source) => failed(source),
            OpenError::Damaged(why) => failed(why.into()),
        })
    }

    /// Moves a damaged file aside. Frames are whole by themselves and are merged, so each that can be read is of use.
    fn begin_anew(file: &Path, why: &rusqlite::Error) -> Result<(Store, Loaded), OpenError> {
        let other = |why: std::io::Error| OpenError::Other(why.into());
        let aside = zibrato_disk::move_aside(file, SystemTime::now()).map_err(other)?;
        let damaged = zibrato_disk::open_read_only(&aside.path).ok();
        let (frames, tombstones) = damaged.as_ref().map(rescue).unwrap_or_default();
        let anchor = damaged.and_then(|db| anchor(&db).ok().flatten());
        let (mut store, _) = Self::try_open(file)?;
        let (saved, buried) = (frames.len(), tombstones.len());
        store.put_back(frames, tombstones, anchor.as_ref())?;
        tracing::error!(
            "the state file {} is damaged: {}; it was moved aside to {}, and {saved} frames and {buried} tombstones of it go on in a \
             new one; programs that have ended and are not among them are not known any more",
            file.display(),
            why.to_string().replace('\n', " "),
            aside.path.display()
        );
        for removed in &aside.removed {
            tracing::warn!(file = %removed.display(), "removed the oldest damaged state: five are kept");
        }
        let loaded = load(&store.db)?;
        Ok((store, Loaded { damaged: 1, ..loaded }))
    }

    fn put_back(
        &mut self,
        frames: Vec<FrameRow>,
        tombstones: Vec<Tombstone>,
        anchor: Option<&Anchor>,
    ) -> rusqlite::Result<()> {
        let transaction = self.db.transaction()?;
        for (instance, level, sequence, part, retired, received, frame) in frames {
            transaction
                .prepare_cached("INSERT OR REPLACE INTO frame VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)")?
                .execute(params![instance, level, sequence, part, retired, received, frame])?;
        }
        for t in tombstones {
            transaction
                .prepare_cached("INSERT OR REPLACE INTO tombstone VALUES (?1, ?2, ?3, ?4)")?
                .execute(params![&t.instance.0[..], &*t.level, t.sequence as i64, t.at as i64])?;
        }
        anchor.map(|anchor| write_anchor(&transaction, anchor)).transpose()?;
        transaction.commit()
    }

    fn try_open(file: &Path) -> Result<(Store, Loaded), OpenError> {
        let damaged = |what: &str| Err(OpenError::Damaged(zibrato_disk::corrupt(what)));
        let other = |why: std::io::Error| OpenError::Other(why.into());
        match zibrato_disk::header(file).map_err(other)? {
            Header::Foreign => return damaged("it is no SQLite database"),
            Header::Database { version, .. } if version > SCHEMA => {
                return Err(OpenError::Other(
                    format!("it was written by a newer version (schema {version})").into(),
                ));
            }
            Header::Database { application, .. } if application != 0 && application != APPLICATION => {
                return damaged("it is a database of another application");
            }
            _ => {}
        }
        if zibrato_disk::check_wal(file).map_err(other)? == Wal::Damaged {
            return damaged("its write-ahead log is damaged in the middle");
        }
        let db = Connection::open(file)?;
        db.busy_timeout(Duration::ZERO)?;
        // One process at a time: the lock is held from the first write until the end.
        db.pragma_update(None, "locking_mode", "EXCLUSIVE")?;
        db.pragma_update(None, "journal_mode", "WAL")?;
        db.pragma_update(None, "synchronous", "FULL")?;
        db.execute_batch("BEGIN EXCLUSIVE; COMMIT;")?;
        // A quick check would not look at the index by which frames are replaced.
        let sound: String = db.query_row("PRAGMA integrity_check(1)", [], |r| r.get(0))?;
        if sound != "ok" {
            return damaged(&sound);
        }
        db.execute_batch(&format!(
            "CREATE TABLE IF NOT EXISTS frame (
                 instance BLOB NOT NULL, level TEXT NOT NULL, sequence INTEGER NOT NULL, part INTEGER NOT NULL,
                 retired INTEGER NOT NULL, received INTEGER NOT NULL, frame BLOB NOT NULL,
                 PRIMARY KEY (instance, level, retired, sequence, part));
             CREATE TABLE IF NOT EXISTS tombstone (
                 instance BLOB NOT NULL, level TEXT NOT NULL, sequence INTEGER NOT NULL, at INTEGER NOT NULL,
                 PRIMARY KEY (instance, level)) WITHOUT ROWID;
             CREATE TABLE IF NOT EXISTS clock (
                 one INTEGER PRIMARY KEY CHECK (one = 1), boot TEXT NOT NULL, uptime INTEGER NOT NULL,
                 time INTEGER NOT NULL);
             PRAGMA application_id = {APPLICATION}; PRAGMA user_version = {SCHEMA};"
        ))?;
        let tombstones = TOMBSTONES;
        trim(&db, tombstones)?;
        let loaded = load(&db)?;
        Ok((Store { db, file: file.into(), tombstones, buried: 0, clock: None }, loaded))
    }

    /// Starts the thread; `told` is called on it after every transaction.
    pub(crate) fn start(
        mut self,
        clock: Clock,
        writes: Loop,
        told: impl Fn(Vec<Written>) + Send + 'static,
    ) -> std::io::Result<Writer> {
        self.clock = Some(clock);
        let (jobs, queue) = mpsc::channel::<Job>();
        let waiting = Arc::new(AtomicUsize::new(0));
        let done = waiting.clone();
        let failures: Arc<(AtomicU64, AtomicBool)> = Arc::default();
        let failed = failures.clone();
        let run = move || {
            let mut said: Option<Instant> = None;
            while let Ok(first) = queue.recv() {
                let mut size = first.size();
                let mut group = vec![first];
                while group.len() < GROUP && size < GROUP_BYTES {
                    let Ok(job) = queue.try_recv() else { break };
                    size += job.size();
                    group.push(job);
                }
                done.fetch_sub(group.len(), Ordering::Relaxed);
                let result = {
                    let _working = writes.working();
                    self.write(&group).or_else(|why| self.write_anew(&group, why))
                };
                failed.0.fetch_add(u64::from(result.is_err()), Ordering::Relaxed);
                failed.1.store(result.is_err(), Ordering::Relaxed);
                if let Err(error) = &result
                    && said.is_none_or(|at| at.elapsed() >= SAY_EVERY)
                {
                    said = Some(Instant::now());
                    tracing::error!(
                        "failed to write the state file: {error}; what ended is not acknowledged"
                    );
                }
                let written = group.into_iter().filter_map(|job| match job {
                    Job::Write(r) => Some(Written {
                        instance: r.instance,
                        level: r.level,
                        version: r.version,
                        ok: result.is_ok(),
                    }),
                    _ => None,
                });
                told(written.collect());
            }
        };
        let thread = std::thread::Builder::new().name("zibrato-state".into()).spawn(run)?;
        Ok(Writer { jobs, waiting, failures, thread })
    }

    /// Writes once more into a new file, if the file turned out to be damaged.
    fn write_anew(&mut self, group: &[Job], why: rusqlite::Error) -> rusqlite::Result<()> {
        if !zibrato_disk::is_damage(&why) {
            return Err(why);
        }
        // Closed first, so that nothing is written into what is moved aside.
        self.db = Connection::open_in_memory()?;
        match Self::begin_anew(&self.file, &why) {
            Ok((store, _)) => *self = Store { tombstones: self.tombstones, clock: self.clock, ..store },
            Err(_) => return Err(why),
        }
        self.write(group)
    }

    pub(crate) fn write(&mut self, group: &[Job]) -> rusqlite::Result<()> {
        let transaction = self.db.transaction()?;
        for job in group {
            match job {
                Job::Write(record) => write_record(&transaction, record)?,
                Job::Forget(t) => {
                    let id = &t.instance.0[..];
                    transaction
                        .prepare_cached("DELETE FROM frame WHERE instance = ?1 AND level = ?2")?
                        .execute(params![id, &*t.level])?;
                    transaction
                        .prepare_cached("INSERT OR REPLACE INTO tombstone VALUES (?1, ?2, ?3, ?4)")?
                        .execute(params![id, &*t.level, t.sequence as i64, t.at as i64])?;
                }
                Job::Clear(before) => {
                    transaction
                        .prepare_cached("DELETE FROM tombstone WHERE at < ?1")?
                        .execute(params![*before as i64])?;
                    transaction
                        .prepare_cached("DELETE FROM frame WHERE retired = 1 AND received < ?1")?
                        .execute(params![*before as i64])?;
                }
            }
        }
        let buried = self.buried + group.iter().filter(|job| matches!(job, Job::Forget(_))).count();
        // Now and then, because it looks at all of them.
        let many = buried > self.tombstones / 2;
        if many {
            trim(&transaction, self.tombstones)?;
        }
        if let Some(anchor) = self.clock.and_then(|clock| clock.anchor()) {
            write_anchor(&transaction, &anchor)?;
        }
        transaction.commit()?;
        self.buried = if many { 0 } else { buried };
        Ok(())
    }
}

/// A frame as it is kept, column by column.
type FrameRow = (Vec<u8>, String, i64, i64, i64, i64, Vec<u8>);

fn load(db: &Connection) -> rusqlite::Result<Loaded> {
    let mut loaded = Loaded::default();
    let mut read =
        db.prepare("SELECT level, received, frame FROM frame ORDER BY received, sequence, part")?;
    let mut rows = read.query([])?;
    while let Some(row) = rows.next()? {
        loaded.frames.push((row.get(0)?, row.get::<_, i64>(1)? as u64, row.get(2)?));
    }
    let mut read = db.prepare("SELECT instance, level, sequence, at FROM tombstone")?;
    let rows = read.query_map([], tombstone)?;
    loaded.tombstones = rows.collect::<rusqlite::Result<_>>()?;
    loaded.anchor = anchor(db)?;
    Ok(loaded)
}

fn anchor(db: &Connection) -> rusqlite::Result<Option<Anchor>> {
    let read = |row: &rusqlite::Row<'_>| {
        let (uptime, time) = (row.get::<_, i64>(1)? as u64, row.get::<_, i64>(2)? as u64);
        Ok(Anchor { boot: row.get(0)?, uptime, time })
    };
    db.query_row("SELECT boot, uptime, time FROM clock", [], read).optional()
}

fn write_anchor(transaction: &rusqlite::Transaction<'_>, anchor: &Anchor) -> rusqlite::Result<()> {
    let Anchor { boot, uptime, time } = anchor;
    transaction
        .prepare_cached("INSERT OR REPLACE INTO clock VALUES (1, ?1, ?2, ?3)")?
        .execute(params![boot, *uptime as i64, *time as i64])
        .map(drop)
}

fn tombstone(row: &rusqlite::Row<'_>) -> rusqlite::Result<Tombstone> {
    let level: String = row.get(1)?;
    Ok(Tombstone {
        instance: InstanceId(row.get(0)?),
        level: level.into(),
        sequence: row.get::<_, i64>(2)? as u64,
        at: row.get::<_, i64>(3)? as u64,
    })
}

/// What of a damaged file is as it was written.
fn rescue(db: &Connection) -> (Vec<FrameRow>, Vec<Tombstone>) {
    let (mut frames, _): (Vec<FrameRow>, bool) = zibrato_disk::rescue(
        db,
        "SELECT instance, level, sequence, part, retired, received, frame FROM frame",
        &["rowid"],
        |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?, row.get(5)?, row.get(6)?)),
        |row: &FrameRow| (row.0.clone(), row.1.clone(), row.2, row.3, row.4),
    );
    frames.retain(|(instance, _, sequence, part, .., frame)| {
        decode(frame).is_ok_and(|decoded| {
            let head = &decoded.frame.head;
            decoded.skipped.is_empty()
                && head.instance.0[..] == instance[..]
                && (head.sequence as i64, i64::from(head.part)) == (*sequence, *part)
        })
    });
    let (tombstones, _) = zibrato_disk::rescue(
        db,
        "SELECT instance, level, sequence, at FROM tombstone",
        &["instance", "level"],
        tombstone,
        |t| (t.instance, t.level.clone()),
    );
    (frames, tombstones)
}

/// Leaves about so many tombstones, the newest.
fn trim(db: &Connection, most: usize) -> rusqlite::Result<()> {
    db.prepare_cached(
        "DELETE FROM tombstone WHERE at < (SELECT at FROM tombstone ORDER BY at DESC LIMIT 1 OFFSET ?1)",
    )?
    .execute([most as i64])
    .map(drop)
}

fn write_record(transaction: &rusqlite::Transaction<'_>, record: &Record) -> rusqlite::Result<()> {
    let id = &record.instance.0[..];
    transaction
        .prepare_cached("DELETE FROM frame WHERE instance = ?1 AND level = ?2 AND retired = 0")?
        .execute(params![id, &*record.level])?;
    let mut insert =
        transaction.prepare_cached("INSERT OR REPLACE INTO frame VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)")?;
    for RecordedFrame { sequence, part, received, retired, frame } in &record.frames {
        let (sequence, received) = (*sequence as i64, *received as i64);
        insert.execute(params![id, &*record.level, sequence, part, retired, received, &frame[..]])?;
    }
    Ok(())
}

impl Writer {
    /// Asks for something to be written; the answer comes through the function given at the start.
    pub(crate) fn write(&self, job: Job) {
        self.waiting.fetch_add(1, Ordering::Relaxed);
        // The thread only ends when this sender is gone.
        let _ = self.jobs.send(job);
    }

    /// How many more jobs the disk should be given at the moment.
    pub(crate) fn room(&self) -> usize {
        WAITING.saturating_sub(self.waiting.load(Ordering::Relaxed))
    }

    /// How it does.
    pub(crate) fn disk(&self) -> Disk {
        let (failures, is_failing) = &*self.failures;
        Disk {
            waiting: self.waiting.load(Ordering::Relaxed),
            failures: failures.load(Ordering::Relaxed),
            is_failing: is_failing.load(Ordering::Relaxed),
        }
    }

    /// Waits until everything has been written.
    pub(crate) fn finish(self) {
        drop(self.jobs);
        if self.thread.join().is_err() {
            tracing::error!("the thread that writes the state file panicked");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tombstones_do_not_fill_the_disk() {
        let directory = tempfile::tempdir().unwrap();
        let (mut store, _) = Store::open(directory.path()).unwrap();
        store.tombstones = 100;
        let tombstone = |at: u64| Tombstone {
            instance: InstanceId(u128::from(at).to_be_bytes()),
            level: "info".into(),
            sequence: 1,
            at,
        };
        for round in 0..100 {
            let group: Vec<Job> = (0..10).map(|n| Job::Forget(tombstone(round * 10 + n))).collect();
            store.write(&group).unwrap();
        }
        drop(store);
        let (_, loaded) = Store::open(directory.path()).unwrap();
        assert!((100..=160).contains(&loaded.tombstones.len()), "{}", loaded.tombstones.len());
        assert!(loaded.tombstones.contains(&tombstone(999)), "the newest stay");
    }

    #[test]
    fn a_file_that_is_damaged_while_it_is_used_goes_on_in_a_new_one() {
        let directory = tempfile::tempdir().unwrap();
        let (mut store, _) = Store::open(directory.path()).unwrap();
        let tombstone = |id: u8| Tombstone {
            instance: InstanceId([id; 16]),
            level: "info".into(),
            sequence: 1,
            at: id.into(),
        };
        store.write(&[Job::Forget(tombstone(1))]).unwrap();
        store.db.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
        // What SQLite says when it comes to a bad page.
        let group = [Job::Forget(tombstone(2))];
        store.write_anew(&group, zibrato_disk::corrupt("as the test says")).unwrap();
        drop(store);
        let (_, loaded) = Store::open(directory.path()).unwrap();
        assert_eq!(loaded.tombstones, [tombstone(1), tombstone(2)], "what was there could be read");
        assert_eq!(loaded.damaged, 0);
        let full =
            rusqlite::Error::SqliteFailure(rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_FULL), None);
        let (mut store, _) = Store::open(directory.path()).unwrap();
        assert!(store.write_anew(&group, full).is_err(), "a full disk is no damage");
    }
}
