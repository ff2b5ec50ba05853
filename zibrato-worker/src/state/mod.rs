//! The state directory: what a worker must not lose, in one SQLite file.
//!
//! | file | what it is |
//! |---|---|
//! | `state.db` (and `-wal`, `-shm`) | settled totals and the outbox |
//! | `lock` | held while a process uses the directory; not empty once a database was made |
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

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rusqlite::{Connection, OptionalExtension};

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
    /// Locked for as long as it is open.
    _lock: Option<File>,
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
            _lock: None,
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
        let db = self.lock();
        let found: Option<String> = meta(&db, name).map_err(self.failed("read"))?;
        match found {
            Some(found) if found == wanted => Ok(()),
            Some(found) => Err(other(self.0.directory.clone(), found)),
            None => set_meta(&db, name, wanted).map_err(self.failed("write")),
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

fn meta<T: rusqlite::types::FromSql>(db: &Connection, name: &str) -> rusqlite::Result<Option<T>> {
    db.prepare_cached("SELECT value FROM meta WHERE name = ?")?.query_row([name], |row| row.get(0)).optional()
}

fn set_meta(db: &Connection, name: &str, value: impl rusqlite::ToSql) -> rusqlite::Result<()> {
    db.prepare_cached("INSERT OR REPLACE INTO meta (name, value) VALUES (?, ?)")?
        .execute(rusqlite::params![name, value])
        .map(drop)
}

/// Times and numbers fit 63 bits; whatever does not is as large as it gets.
fn small(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
