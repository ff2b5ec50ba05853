//! The disk: one SQLite file, written by one thread in grouped transactions.
//!
//! What is asked for while a transaction is being written goes into the next one, so the number of
//! synchronisations does not rise with the number of instances that end at once.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rusqlite::{Connection, ErrorCode, params};
use zibrato_admin::Loop;
use zibrato_core::frame::InstanceId;

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
    /// How many files were damaged and moved aside.
    pub(crate) damaged: u64,
}

/// The state file, not yet written to by a thread.
pub(crate) struct Store {
    db: Connection,
    /// Most tombstones that are kept, as in memory.
    tombstones: usize,
    /// Those that were written since there were at most so many.
    buried: usize,
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
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => OpenError::Damaged(error),
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => OpenError::InUse,
            _ => OpenError::Other(error.into()),
        }
    }
}

impl Store {
    /// Opens the state file in `directory` and reads everything; a damaged file is moved aside.
    pub(crate) fn open(directory: &Path, now: u64) -> Result<(Store, Loaded), Error> {
        let file = directory.join(FILE);
        let failed =
            |source: Box<dyn std::error::Error + Send + Sync>| Error::State { file: file.clone(), source };
        std::fs::create_dir_all(directory).map_err(|e| failed(e.into()))?;
        let why = match Self::try_open(&file) {
            Ok(opened) => return Ok(opened),
            Err(OpenError::InUse) => return Err(Error::StateInUse { file }),
            Err(OpenError::Other(source)) => return Err(failed(source)),
            Err(OpenError::Damaged(why)) => why,
        };
        let moved = directory.join(format!("{FILE}.damaged-{}", now / 1_000_000_000));
        std::fs::rename(&file, &moved).map_err(|e| failed(e.into()))?;
        for companion in ["-wal", "-shm"] {
            // They belong to the damaged file; where there are none, nothing is to be moved.
            let name = |base: &Path| PathBuf::from(format!("{}{companion}", base.display()));
            let _ = std::fs::rename(name(&file), name(&moved));
        }
        tracing::error!(file = %file.display(), moved = %moved.display(), "the state file is damaged ({why}); \
            it was moved aside, and what it held of ended programs is not known any more");
        match Self::try_open(&file) {
            Ok((store, loaded)) => Ok((store, Loaded { damaged: 1, ..loaded })),
            Err(OpenError::InUse) => Err(Error::StateInUse { file }),
            Err(OpenError::Damaged(e)) => Err(failed(e.into())),
            Err(OpenError::Other(source)) => Err(failed(source)),
        }
    }

    fn try_open(file: &Path) -> Result<(Store, Loaded), OpenError> {
        let db = Connection::open(file)?;
        db.busy_timeout(Duration::ZERO)?;
        // One process at a time: the lock is held from the first write until the end.
        db.pragma_update(None, "locking_mode", "EXCLUSIVE")?;
        db.pragma_update(None, "journal_mode", "WAL")?;
        db.pragma_update(None, "synchronous", "FULL")?;
        db.execute_batch("BEGIN EXCLUSIVE; COMMIT;")?;
        let version: u32 = db.query_row("PRAGMA user_version", [], |r| r.get(0))?;
        if version > SCHEMA {
            return Err(OpenError::Other(
                format!("it was written by a newer version (schema {version})").into(),
            ));
        }
        let sound: String = db.query_row("PRAGMA quick_check(1)", [], |r| r.get(0))?;
        if sound != "ok" {
            let code = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_CORRUPT);
            return Err(OpenError::Damaged(rusqlite::Error::SqliteFailure(code, Some(sound))));
        }
        db.execute_batch(&format!(
            "CREATE TABLE IF NOT EXISTS frame (
                 instance BLOB NOT NULL, level TEXT NOT NULL, sequence INTEGER NOT NULL, part INTEGER NOT NULL,
                 retired INTEGER NOT NULL, received INTEGER NOT NULL, frame BLOB NOT NULL,
                 PRIMARY KEY (instance, level, retired, sequence, part));
             CREATE TABLE IF NOT EXISTS tombstone (
                 instance BLOB NOT NULL, level TEXT NOT NULL, sequence INTEGER NOT NULL, at INTEGER NOT NULL,
                 PRIMARY KEY (instance, level)) WITHOUT ROWID;
             PRAGMA user_version = {SCHEMA};"
        ))?;
        let mut loaded = Loaded::default();
        let mut read =
            db.prepare("SELECT level, received, frame FROM frame ORDER BY received, sequence, part")?;
        let mut rows = read.query([])?;
        while let Some(row) = rows.next()? {
            loaded.frames.push((row.get(0)?, row.get::<_, i64>(1)? as u64, row.get(2)?));
        }
        drop(rows);
        drop(read);
        let tombstones = TOMBSTONES;
        trim(&db, tombstones)?;
        let mut read = db.prepare("SELECT instance, level, sequence, at FROM tombstone")?;
        let mut rows = read.query([])?;
        while let Some(row) = rows.next()? {
            let level: String = row.get(1)?;
            loaded.tombstones.push(Tombstone {
                instance: InstanceId(row.get(0)?),
                level: level.into(),
                sequence: row.get::<_, i64>(2)? as u64,
                at: row.get::<_, i64>(3)? as u64,
            });
        }
        drop(rows);
        drop(read);
        Ok((Store { db, tombstones, buried: 0 }, loaded))
    }

    /// Starts the thread; `told` is called on it after every transaction.
    pub(crate) fn start(
        mut self,
        writes: Loop,
        told: impl Fn(Vec<Written>) + Send + 'static,
    ) -> std::io::Result<Writer> {
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
                    self.write(&group)
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
        transaction.commit()?;
        self.buried = if many { 0 } else { buried };
        Ok(())
    }
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
        let (mut store, _) = Store::open(directory.path(), 1).unwrap();
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
        let (_, loaded) = Store::open(directory.path(), 1).unwrap();
        assert!((100..=160).contains(&loaded.tombstones.len()), "{}", loaded.tombstones.len());
        assert!(loaded.tombstones.contains(&tombstone(999)), "the newest stay");
    }
}
