//! The state directory: what a worker must not lose, in one SQLite file.
//!
//! | file | what it is |
//! |---|---|
//! | `state.db` (and `-wal`, `-shm`) | settled totals and the outbox |
//! | `lock` | held while a process uses the directory |
//! | `dead-letters.jsonl` | measurements that the backend refused, and why |

mod codec;
mod outbox;
mod reshard;
mod settled;
mod totals;
mod trace;

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rusqlite::{Connection, OptionalExtension};

use crate::error::Error;
use crate::shard::Shard;

pub(crate) use outbox::Attempt;
pub use reshard::{Resharded, reshard};
pub(crate) use settled::Step;

/// Says that a file is Zibrato's: "Zibr".
const APPLICATION: i64 = 0x5a69_6272;
/// The version of the layout below.
const VERSION: i64 = 1;

const SCHEMA: &str = "
    CREATE TABLE meta (name TEXT PRIMARY KEY, value) WITHOUT ROWID;
    -- Since when each level has been listened to; NULL for one that was excluded.
    CREATE TABLE since (level TEXT PRIMARY KEY, at INTEGER) WITHOUT ROWID;
    -- Whose totals have been settled.
    CREATE TABLE origin (
        id INTEGER PRIMARY KEY, instance BLOB NOT NULL, level TEXT NOT NULL,
        start INTEGER NOT NULL, heard INTEGER NOT NULL, sequence INTEGER NOT NULL, points BLOB NOT NULL,
        UNIQUE (instance, level)
    );
    CREATE INDEX origin_heard ON origin (heard);
    -- Up to where each metric has been settled.
    CREATE TABLE settled (
        origin INTEGER NOT NULL REFERENCES origin (id) ON DELETE CASCADE,
        key BLOB NOT NULL, sequence INTEGER NOT NULL, state BLOB NOT NULL, retired INTEGER,
        PRIMARY KEY (origin, key)
    ) WITHOUT ROWID;
    CREATE INDEX settled_retired ON settled (retired) WHERE retired IS NOT NULL;
    -- Batches that the backend has not accepted yet, oldest first.
    CREATE TABLE outbox (
        id INTEGER PRIMARY KEY, begin INTEGER NOT NULL, time INTEGER NOT NULL,
        attempts INTEGER NOT NULL, measurements BLOB NOT NULL
    );
";

/// An open state directory. Clones are the same directory; it is free for others when the last one is dropped.
#[derive(Debug, Clone)]
pub struct State(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    connection: Mutex<Connection>,
    directory: PathBuf,
    database: PathBuf,
    shard: Shard,
    /// Locked for as long as it is open.
    _lock: Option<File>,
}

impl State {
    /// Opens, and where there is none makes, the state directory of a backend's worker.
    ///
    /// A database that is damaged is moved aside, with an error in the log, and a new one is begun: measuring goes
    /// on, but what was in the outbox is not sent and programs that run already count from now.
    ///
    /// # Errors
    /// When the directory cannot be used, is in use, was written by another version, or belongs to another backend
    /// or shard.
    pub fn open(directory: &Path, backend: &str, shard: Shard) -> Result<State, Error> {
        let state = State::open_any(directory, shard)?;
        state.belong("backend", backend, |path, found| Error::OtherBackend {
            path,
            found,
            wanted: backend.into(),
        })?;
        let wanted = shard.to_string();
        state.belong("shard", &wanted.clone(), |path, found| Error::OtherShard { path, found, wanted })?;
        Ok(state)
    }

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
        set_up(&connection, true).map_err(failed)?;
        connection.execute_batch(totals::SCHEMA).map_err(failed)?;
        Ok(State(Arc::new(Inner {
            connection: Mutex::new(connection),
            directory: directory.into(),
            database: ":memory:".into(),
            shard,
            _lock: None,
        })))
    }

    /// Opens a state directory of whatever backend, as this shard.
    pub(crate) fn open_any(directory: &Path, shard: Shard) -> Result<State, Error> {
        std::fs::create_dir_all(directory).map_err(Error::file("make the directory", directory))?;
        let lock = lock(directory)?;
        let database = directory.join("state.db");
        let connection = match prepare(&database) {
            Err(Error::Database { why, .. }) if is_damage(&why) => {
                let aside = move_aside(&database)?;
                tracing::error!(
                    database = %database.display(), moved_to = %aside.display(), error = %why,
                    "the state is damaged and was moved aside; batches that were not sent are lost, and programs that \
                     run already count from now"
                );
                prepare(&database)?
            }
            other => other?,
        };
        let directory = directory.to_path_buf();
        let connection = Mutex::new(connection);
        Ok(State(Arc::new(Inner { connection, directory, database, shard, _lock: Some(lock) })))
    }

    /// The directory.
    pub fn directory(&self) -> &Path {
        &self.0.directory
    }

    /// Which shard it is.
    pub fn shard(&self) -> Shard {
        self.0.shard
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

fn lock(directory: &Path) -> Result<File, Error> {
    let path = directory.join("lock");
    let file = File::options().write(true).create(true).truncate(false).open(&path);
    let file = file.map_err(Error::file("open", &path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(Error::InUse { path: directory.into() }),
        Err(TryLockError::Error(why)) => Err(Error::File { doing: "lock", path, why }),
    }
}

fn prepare(path: &Path) -> Result<Connection, Error> {
    let failed = |why| Error::Database { doing: "open", path: path.into(), why };
    let db = Connection::open(path).map_err(failed)?;
    let read = |pragma| db.pragma_query_value(None, pragma, |row| row.get::<_, i64>(0)).map_err(failed);
    let (application, version) = (read("application_id")?, read("user_version")?);
    let tables: i64 =
        db.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0)).map_err(failed)?;
    let new = tables == 0 && version == 0;
    if !new && (application != APPLICATION || version != VERSION) {
        let found = if application == APPLICATION { version } else { 0 };
        return Err(Error::OtherVersion { path: path.into(), found, known: VERSION });
    }
    set_up(&db, new).map_err(failed)?;
    db.execute_batch(totals::SCHEMA).map_err(failed)?;
    Ok(db)
}

fn set_up(db: &Connection, new: bool) -> rusqlite::Result<()> {
    db.query_row("PRAGMA journal_mode = WAL", [], |_| Ok(()))?;
    // A settled total that is on the disk must not be lost to a power cut: its batch may have been sent.
    db.execute_batch("PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON;")?;
    db.set_prepared_statement_cache_capacity(64);
    if new {
        return db.execute_batch(&format!(
            "BEGIN IMMEDIATE; PRAGMA application_id = {APPLICATION}; PRAGMA user_version = {VERSION}; {SCHEMA} COMMIT;"
        ));
    }
    let check: String = db.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
    if check == "ok" {
        return Ok(());
    }
    let code = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_CORRUPT);
    Err(rusqlite::Error::SqliteFailure(code, Some(check)))
}

fn is_damage(why: &rusqlite::Error) -> bool {
    use rusqlite::ErrorCode::{DatabaseCorrupt, NotADatabase};
    matches!(why.sqlite_error_code(), Some(DatabaseCorrupt | NotADatabase))
}

/// Renames a damaged database and what belongs to it, and returns its new name.
fn move_aside(database: &Path) -> Result<PathBuf, Error> {
    let now = std::time::UNIX_EPOCH.elapsed().unwrap_or_default().as_secs();
    let name = |suffix: &str| {
        let mut name = database.as_os_str().to_owned();
        name.push(suffix);
        PathBuf::from(name)
    };
    let aside = name(&format!(".damaged-{now}"));
    std::fs::rename(database, &aside).map_err(Error::file("move aside", database))?;
    for suffix in ["-wal", "-shm"] {
        let from = name(suffix);
        if from.exists() {
            let to = name(&format!(".damaged-{now}{suffix}"));
            std::fs::rename(&from, to).map_err(Error::file("move aside", &from))?;
        }
    }
    Ok(aside)
}
