//! The disk: one SQLite file, written by one thread in grouped transactions.
//!
//! What is asked for while a transaction is being written goes into the next one, so the number of
//! synchronisations does not rise with the number of instances that end at once.

mod rows;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use rusqlite::{Connection, ErrorCode, OptionalExtension, params};
use zibrato_admin::Loop;
use zibrato_core::frame::InstanceId;
use zibrato_disk::{Header, Progress, Wal};

use self::rows::{
    anchor, load, make_tables, rescue, seal_first, trim, write_anchor, write_new, write_progress,
    write_record, write_tombstone,
};
use crate::clock::{Anchor, Clock};
use crate::error::Error;
use crate::keep::{Record, TOMBSTONES, Tombstone};

/// The file's name in the state directory.
pub(crate) const FILE: &str = "broker.sqlite";
/// The file that is locked while a broker uses the directory; the number of the last transaction is in it.
const LOCK: &str = "broker.lock";
/// Most jobs of one transaction.
const GROUP: usize = 1000;
/// A transaction takes no more jobs once it has so many bytes.
const GROUP_BYTES: usize = 32 << 20;
/// Jobs that may wait for the disk.
const WAITING: usize = 10_000;
const SCHEMA: u32 = 2;
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
    /// The number of the last transaction.
    written: u64,
    /// Where that is noted, too.
    progress: Arc<Progress>,
    /// How often it was damaged while it was used.
    damaged: Arc<AtomicU64>,
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
    damaged: Arc<AtomicU64>,
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
    /// How often the file was damaged while it was used.
    pub(crate) damaged: u64,
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
        let lock = Progress::open(&directory.join(LOCK)).map_err(|e| failed(e.into()))?;
        let lock = Arc::new(lock.ok_or_else(|| Error::StateInUse { file: file.clone() })?);
        zibrato_disk::finish_replacing(&file, &new_of(&file), SystemTime::now())
            .map_err(|e| failed(e.into()))?;
        let opened = Self::try_open(&file, &lock).or_else(|why| match why {
            OpenError::Damaged(why) => Self::begin_anew(&file, &lock, &why),
            why => Err(why),
        });
        opened.map_err(|why| match why {
            OpenError::InUse => Error::StateInUse { file: file.clone() },
            OpenError::Other(source) => failed(source),
            OpenError::Damaged(why) => failed(why.into()),
        })
    }

    /// Moves a damaged file aside. Frames are whole by themselves and are merged, so each that can be read is of use.
    fn begin_anew(
        file: &Path,
        progress: &Arc<Progress>,
        why: &rusqlite::Error,
    ) -> Result<(Store, Loaded), OpenError> {
        let other = |why: std::io::Error| OpenError::Other(why.into());
        let damaged = zibrato_disk::open_read_only(file).ok();
        let (frames, tombstones) = damaged.as_ref().map(rescue).unwrap_or_default();
        let anchor = damaged.and_then(|db| anchor(&db).ok().flatten());
        let (saved, buried) = (frames.len(), tombstones.len());
        let new = new_of(file);
        // What could be read is on the disk before anything is moved.
        write_new(&new, frames, tombstones, anchor.as_ref(), progress.noted().unwrap_or(0))?;
        let aside = zibrato_disk::replace(file, &new, SystemTime::now()).map_err(other)?;
        let moved = aside
            .as_ref()
            .map_or("it is gone".into(), |aside| format!("it was moved aside to {}", aside.path.display()));
        tracing::error!(
            "the state file {} is damaged: {}; {moved}, and {saved} frames and {buried} tombstones of it go on in a \
             new one; programs that have ended and are not among them are not known any more",
            file.display(),
            why.to_string().replace('\n', " "),
        );
        for removed in aside.iter().flat_map(|aside| &aside.removed) {
            tracing::warn!(file = %removed.display(), "removed the oldest damaged state: five are kept");
        }
        let (store, loaded) = Self::try_open(file, progress)?;
        Ok((store, Loaded { damaged: 1, ..loaded }))
    }

    fn try_open(file: &Path, progress: &Arc<Progress>) -> Result<(Store, Loaded), OpenError> {
        let damaged = |what: &str| Err(OpenError::Damaged(zibrato_disk::corrupt(what)));
        let other = |why: std::io::Error| OpenError::Other(why.into());
        let known = progress.noted().unwrap_or(0);
        match zibrato_disk::header(file).map_err(other)? {
            Header::None | Header::Empty if known > 0 => return damaged("it is gone or empty"),
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
        let version: u32 = db.query_row("PRAGMA user_version", [], |row| row.get(0))?;
        if version == 1 {
            seal_first(&db)?;
        }
        make_tables(&db)?;
        let written = db.query_row("SELECT written FROM progress", [], |row| row.get(0)).optional()?;
        let written = u64::try_from(written.unwrap_or(0i64)).unwrap_or(0);
        if written < known {
            return damaged(&format!(
                "it is as it was {} transactions ago: its write-ahead log is gone or was cut off, or it is an older copy",
                known - written
            ));
        }
        let loaded = load(&db)?;
        let tombstones = TOMBSTONES;
        trim(&db, tombstones)?;
        let (file, progress) = (file.into(), progress.clone());
        let store = Store {
            db,
            file,
            written,
            progress,
            damaged: Arc::default(),
            tombstones,
            buried: 0,
            clock: None,
        };
        Ok((store, loaded))
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
        let damaged = self.damaged.clone();
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
        Ok(Writer { jobs, waiting, failures, damaged, thread })
    }

    /// Writes once more into a new file, if the file turned out to be damaged.
    fn write_anew(&mut self, group: &[Job], why: rusqlite::Error) -> rusqlite::Result<()> {
        if !zibrato_disk::is_damage(&why) {
            return Err(why);
        }
        // Closed first, so that nothing is written into what is moved aside.
        self.db = Connection::open_in_memory()?;
        match Self::begin_anew(&self.file, &self.progress, &why) {
            Ok((store, _)) => {
                let damaged = self.damaged.clone();
                *self = Store { tombstones: self.tombstones, clock: self.clock, damaged, ..store };
            }
            Err(_) => return Err(why),
        }
        self.damaged.fetch_add(1, Ordering::Relaxed);
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
                    write_tombstone(&transaction, t)?;
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
        let written = self.written.saturating_add(1);
        write_progress(&transaction, written)?;
        transaction.commit()?;
        self.progress.note(written);
        self.written = written;
        self.buried = if many { 0 } else { buried };
        Ok(())
    }
}

fn new_of(file: &Path) -> PathBuf {
    file.with_extension("sqlite.new")
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
            damaged: self.damaged.load(Ordering::Relaxed),
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
    use crate::keep::RecordedFrame;

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

    /// A frame of one counter, and the record that keeps it.
    fn record(id: u8, total: i64) -> Record {
        use zibrato_core::frame::{Flags, Head, Key, Kind, Row, State, Tags, Total, encode_set};
        let key =
            Key { kind: Kind::Counter, name: "c".into(), source: "s".into(), tags: Tags::none(), born: 0 };
        let row = Row { key, state: State::Total(Total::whole(total)), trace: None, event: None };
        let head = Head {
            instance: InstanceId([id; 16]),
            started_at: 1,
            sequence: 7,
            base: 7,
            part: 0,
            parts: 1,
            sent_at: 2,
            flags: Flags::COMPLETE.with(Flags::LAST),
            source: "s".into(),
        };
        let frame = encode_set(&head, &[row], 1 << 20).remove(0);
        let frame = RecordedFrame { sequence: 7, part: 0, received: 9, retired: false, frame: frame.into() };
        Record { instance: InstanceId([id; 16]), level: "info".into(), version: 1, frames: vec![frame] }
    }

    #[test]
    fn no_frame_that_is_not_what_was_written_is_given_to_anybody() {
        let directory = tempfile::tempdir().unwrap();
        let (mut store, _) = Store::open(directory.path()).unwrap();
        let group: Vec<Job> = (1..=3).map(|id| Job::Write(record(id, 1_000_003))).collect();
        store.write(&group).unwrap();
        drop(store);
        let file = directory.path().join(FILE);
        let good = std::fs::read(&file).unwrap();
        let (_, loaded) = Store::open(directory.path()).unwrap();
        let whole: Vec<Vec<u8>> = loaded.frames.iter().map(|(.., frame)| frame.clone()).collect();
        assert_eq!(whole.len(), 3);
        // A bit of the total of the second, of which nothing else doubts the bytes.
        let at = good.windows(whole[1].len()).position(|bytes| bytes == whole[1]).unwrap();
        let total = whole[1].windows(4).position(|bytes| bytes == 1_000_003u32.to_be_bytes()).unwrap();
        for bit in 0..8 {
            let directory = tempfile::tempdir().unwrap();
            let mut bytes = good.clone();
            bytes[at + total + 3] ^= 1 << bit;
            std::fs::write(directory.path().join(FILE), bytes).unwrap();
            let (_, loaded) = Store::open(directory.path()).unwrap();
            let kept: Vec<&Vec<u8>> = loaded.frames.iter().map(|(.., frame)| frame).collect();
            assert_eq!((loaded.damaged, kept), (1, vec![&whole[0], &whole[2]]));
            let (_, loaded) = Store::open(directory.path()).unwrap();
            assert_eq!((loaded.damaged, loaded.frames.len()), (0, 2), "it is told once");
        }
    }

    #[test]
    fn a_file_without_seals_is_read_and_gets_them() {
        let directory = tempfile::tempdir().unwrap();
        let (mut store, _) = Store::open(directory.path()).unwrap();
        store.write(&[Job::Write(record(1, 5))]).unwrap();
        drop(store);
        // As the version before wrote it.
        let db = Connection::open(directory.path().join(FILE)).unwrap();
        db.execute_batch(
            "ALTER TABLE frame DROP COLUMN seal; ALTER TABLE tombstone DROP COLUMN seal; DROP TABLE clock;
             DROP TABLE progress; PRAGMA user_version = 1;",
        )
        .unwrap();
        drop(db);
        std::fs::remove_file(directory.path().join(LOCK)).unwrap();
        for _ in 0..2 {
            let (_, loaded) = Store::open(directory.path()).unwrap();
            assert_eq!((loaded.damaged, loaded.frames.len()), (0, 1));
        }
    }

    #[test]
    fn a_log_that_is_gone_is_missed() {
        let directory = tempfile::tempdir().unwrap();
        let (mut store, _) = Store::open(directory.path()).unwrap();
        store.write(&[Job::Write(record(1, 5))]).unwrap();
        let copy = tempfile::tempdir().unwrap();
        for name in [FILE, LOCK] {
            std::fs::copy(directory.path().join(name), copy.path().join(name)).unwrap();
        }
        let (_, loaded) = Store::open(copy.path()).unwrap();
        assert_eq!((loaded.damaged, loaded.frames.len()), (1, 0), "it was only in the log");
    }

    #[test]
    fn what_was_saved_is_there_whenever_it_is_killed_while_a_damaged_file_is_replaced() {
        let directory = tempfile::tempdir().unwrap();
        let (mut store, _) = Store::open(directory.path()).unwrap();
        store.write(&[Job::Write(record(1, 5))]).unwrap();
        drop(store);
        // Killed after the new one was written and the damaged one was moved.
        let file = directory.path().join(FILE);
        std::fs::rename(&file, new_of(&file)).unwrap();
        std::fs::write(directory.path().join("broker.sqlite.damaged-20010909T014640"), "damaged").unwrap();
        let (_, loaded) = Store::open(directory.path()).unwrap();
        assert_eq!(loaded.frames.len(), 1);
    }
}
