//! The state directory: what a worker must not lose, in one SQLite file.
//!
//! | file | what it is |
//! |---|---|
//! | `state.db` (and `-wal`, `-shm`) | settled totals and the outbox |
//! | `lock` | held while a process uses the directory; the number of the last transaction, once a database was made |
//! | `state.db.damaged-*` | databases that were damaged, and moved aside |
//! | `dead-letters.jsonl` | measurements that the backend refused, and why |

mod accounts;
mod codec;
mod layout;
mod open;
mod outbox;
mod reshard;
mod salvage;
mod seal;
mod settled;
mod snapshot;
mod totals;
mod trace;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rusqlite::types::{FromSql, Value, ValueRef};
use rusqlite::{Connection, OptionalExtension};
use zibrato_disk::Progress;

use self::seal::meta_seal;
use crate::error::Error;
use crate::shard::Shard;

pub use accounts::Accounts;
pub(crate) use outbox::Attempt;
pub use reshard::{Resharded, reshard};
pub use salvage::Damage;
pub(crate) use settled::Step;
pub use snapshot::{Snapshot, SnapshotBatch, SnapshotOrigin};

/// An open state directory. Clones are the same directory; it is free for others when the last one is dropped.
#[derive(Debug, Clone)]
pub struct State(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    connection: Mutex<Connection>,
    directory: PathBuf,
    database: PathBuf,
    shard: Shard,
    /// Whether the backend is told totals.
    cumulative: AtomicBool,
    /// What was found damaged when it was opened.
    damage: Option<Damage>,
    /// Whether the outbox was not what the accounts say when it was opened.
    lacks_batches: AtomicBool,
    /// Batches that were damaged and set aside since it was opened.
    batches_lost: AtomicU64,
    /// The number of the last transaction, as this process knows it.
    written: AtomicU64,
    /// Where that is noted, too; locked for as long as it is open.
    progress: Option<Progress>,
    /// Which file the database is.
    file: Option<FileId>,
}

/// Which file it is, whatever its name.
type FileId = (u64, u64);

#[cfg(unix)]
fn file_id(path: &Path) -> Option<FileId> {
    use std::os::unix::fs::MetadataExt as _;
    std::fs::metadata(path).ok().map(|file| (file.dev(), file.ino()))
}

#[cfg(not(unix))]
fn file_id(_: &Path) -> Option<FileId> {
    None
}

impl State {
    /// A state that is only in memory, for as long as one of its clones is: for tests, in which a new
    /// [`Settler`](crate::Settler) and [`Sender`](crate::Sender) on a clone are what a restart of the process is.
    /// Only dead letters are written into `directory`.
    ///
    /// # Errors
    /// When SQLite fails.
    #[cfg(feature = "testing")]
    pub fn in_memory(directory: &Path, shard: Shard) -> Result<State, Error> {
        let failed = |why| Error::Database { doing: "make", path: ":memory:".into(), why };
        let connection = Connection::open_in_memory().map_err(failed)?;
        layout::set_up(&connection, true).map_err(failed)?;
        Ok(State(Arc::new(Inner {
            connection: Mutex::new(connection),
            directory: directory.into(),
            database: ":memory:".into(),
            shard,
            cumulative: AtomicBool::new(false),
            damage: None,
            lacks_batches: AtomicBool::new(false),
            batches_lost: AtomicU64::new(0),
            written: AtomicU64::new(0),
            progress: None,
            file: None,
        })))
    }

    /// The directory.
    pub fn directory(&self) -> &Path {
        &self.0.directory
    }

    /// Which shard it is.
    pub fn shard(&self) -> Shard {
        self.0.shard
    }

    /// What was found damaged when it was opened.
    pub fn damage(&self) -> Option<&Damage> {
        self.0.damage.as_ref()
    }

    /// Whether the outbox was something else than what was settled less what became of it when it was opened.
    pub fn lacks_batches(&self) -> bool {
        self.0.lacks_batches.load(Ordering::Relaxed)
    }

    /// How many batches were found damaged, and set aside, since it was opened.
    pub fn batches_lost(&self) -> u64 {
        self.0.batches_lost.load(Ordering::Relaxed)
    }

    /// Whether the backend is told totals, which cannot be added up.
    fn is_cumulative(&self) -> bool {
        self.0.cumulative.load(Ordering::Relaxed)
    }

    fn belong(
        &self,
        name: &'static str,
        wanted: &str,
        other: impl FnOnce(PathBuf, String) -> Error,
    ) -> Result<(), Error> {
        let found: Option<String> = meta(&self.lock(), name).map_err(self.failed("read"))?;
        match found {
            Some(found) if found == wanted => Ok(()),
            Some(found) => Err(other(self.0.directory.clone(), found)),
            None => self.transaction("write", |tx| set_meta(tx, name, wanted.to_string())),
        }
    }

    /// The backend and the shard that the directory belongs to, where it has been used.
    pub(crate) fn owner(&self) -> Result<(Option<String>, Option<String>), Error> {
        let db = self.lock();
        let read = |name| meta(&db, name).map_err(self.failed("read"));
        Ok((read("backend")?, read("shard")?))
    }

    fn lock(&self) -> MutexGuard<'_, Connection> {
        // A panic in between rolls the transaction back; the connection itself stays whole.
        self.0.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn failed(&self, doing: &'static str) -> impl Fn(rusqlite::Error) -> Error {
        let path = self.0.database.clone();
        move |why| Error::Database { doing, path: path.clone(), why }
    }

    /// Something that was read cannot be what was written.
    fn damaged(&self, why: impl Into<String>) -> Error {
        self.failed("read")(zibrato_disk::corrupt(why))
    }

    fn bad(&self, why: impl Into<String>) -> Error {
        Error::BadState { path: self.0.database.clone(), why: why.into() }
    }
}

fn meta<T: FromSql>(db: &Connection, name: &str) -> rusqlite::Result<Option<T>> {
    let found = db
        .prepare_cached("SELECT value, seal FROM meta WHERE name = ?")?
        .query_row([name], |row| Ok((row.get::<_, Value>(0)?, row.get::<_, u32>(1)?)))
        .optional()?;
    let Some((value, seal)) = found else { return Ok(None) };
    match T::column_result(ValueRef::from(&value)) {
        Ok(read) if meta_seal(name, &value) == seal => Ok(Some(read)),
        _ => Err(zibrato_disk::corrupt(format!("what is noted as {name} is not what was written"))),
    }
}

fn set_meta(db: &Connection, name: &str, value: impl Into<Value>) -> rusqlite::Result<()> {
    let value = value.into();
    db.prepare_cached("INSERT OR REPLACE INTO meta (name, value, seal) VALUES (?, ?, ?)")?
        .execute(rusqlite::params![name, value, meta_seal(name, &value)])
        .map(drop)
}

/// Times and numbers fit 63 bits; whatever does not is as large as it gets.
fn small(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// Notes for whoever asks later that something was damaged, and what became of it.
fn note_damage(db: &Connection, how: &str) -> rusqlite::Result<()> {
    let times = meta::<i64>(db, "damaged")?.unwrap_or(0);
    set_meta(db, "damaged", times.saturating_add(1))?;
    set_meta(db, "damaged_at", now())?;
    set_meta(db, "damaged_how", how.to_string())
}

/// Nanoseconds since 1970 UTC.
fn now() -> i64 {
    let now = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
    small(u64::try_from(now.as_nanos()).unwrap_or(u64::MAX))
}
