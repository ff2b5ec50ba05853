//! Opening a state directory: whatever is in the way of believing it is found, told and moved aside.

use std::fs::{File, TryLockError};
use std::io::Write as _;
use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};

use rusqlite::Connection;
use zibrato_disk::{Header, Wal};

use super::layout::{self, APPLICATION, VERSION};
use super::salvage::{self, Damage};
use super::{Inner, State, accounts};
use crate::error::Error;
use crate::shard::Shard;

const DATABASE: &str = "state.db";

/// Why a database is not believed.
enum Unsound {
    /// It cannot be read, or not in all places.
    Damaged(String),
    /// It is whole, but of a time before batches that may have been sent.
    Stale(String),
    Failed(Error),
}

impl From<Error> for Unsound {
    fn from(why: Error) -> Unsound {
        match why {
            Error::Database { why, .. } if zibrato_disk::is_damage(&why) => Unsound::Damaged(said(&why)),
            why => Unsound::Failed(why),
        }
    }
}

/// What SQLite says is wrong, in one line.
fn said(why: &rusqlite::Error) -> String {
    why.to_string().replace('\n', " ")
}

impl State {
    /// Opens, and where there is none makes, the state directory of a backend's worker. One of an older version is
    /// brought up to date.
    ///
    /// A database that is damaged is moved aside, with an error in the log, and a new one is begun with what could be
    /// read of it: [`damage`](State::damage) tells.
    ///
    /// # Errors
    /// When the directory cannot be used, is in use, was written by a newer version, or belongs to another backend
    /// or shard.
    pub fn open(directory: &Path, backend: &str, shard: Shard) -> Result<State, Error> {
        State::open_after(directory, backend, shard, None)
    }

    /// The same, for a database that was found to be damaged while it was used, and how.
    ///
    /// # Errors
    /// As [`open`](State::open).
    #[cfg(feature = "testing")]
    pub fn open_damaged(directory: &Path, backend: &str, shard: Shard, how: &str) -> Result<State, Error> {
        State::open_after(directory, backend, shard, Some(how.into()))
    }

    /// The same, after the database was found to be damaged while it was used.
    pub(crate) fn open_after(
        directory: &Path,
        backend: &str,
        shard: Shard,
        damage: Option<String>,
    ) -> Result<State, Error> {
        let found = damage.is_some();
        match State::open_checked(directory, backend, shard, damage) {
            Err(Error::Database { why, .. }) if !found && zibrato_disk::is_damage(&why) => {
                State::open_checked(directory, backend, shard, Some(said(&why)))
            }
            opened => opened,
        }
    }

    fn open_checked(
        directory: &Path,
        backend: &str,
        shard: Shard,
        damage: Option<String>,
    ) -> Result<State, Error> {
        let state = State::open_whatever(directory, shard, damage)?;
        state.belong("backend", backend, |path, found| Error::OtherBackend {
            path,
            found,
            wanted: backend.into(),
        })?;
        let wanted = shard.to_string();
        state.belong("shard", &wanted.clone(), |path, found| Error::OtherShard { path, found, wanted })?;
        state.check_accounts()?;
        Ok(state)
    }

    /// Opens a state directory of whatever backend, as this shard.
    pub(super) fn open_any(directory: &Path, shard: Shard) -> Result<State, Error> {
        State::open_whatever(directory, shard, None)
    }

    fn open_whatever(directory: &Path, shard: Shard, damage: Option<String>) -> Result<State, Error> {
        std::fs::create_dir_all(directory).map_err(Error::file("make the directory", directory))?;
        let lock = lock(directory)?;
        let database = directory.join(DATABASE);
        let used = lock.metadata().is_ok_and(|lock| lock.len() > 0);
        salvage::finish(&database)?;
        let opened = match damage {
            None => sound(&database, used),
            Some(why) => Err(Unsound::Damaged(why)),
        };
        let (connection, damage) = match opened {
            Ok(connection) => (connection, None),
            Err(Unsound::Failed(why)) => return Err(why),
            Err(Unsound::Damaged(why)) => begin_anew(&database, why, false)?,
            Err(Unsound::Stale(why)) => begin_anew(&database, why, true)?,
        };
        if !used {
            // Without it, only a database that vanishes later would not be missed.
            let _ = (&lock).write_all(b"state.db\n");
        }
        let failed = |why| Error::Database { doing: "read", path: database.clone(), why };
        let cumulative = AtomicBool::new(accounts::is_cumulative(&connection).map_err(failed)?);
        Ok(State(Arc::new(Inner {
            connection: Mutex::new(connection),
            directory: directory.to_path_buf(),
            database,
            shard,
            cumulative,
            damage,
            _lock: Some(lock),
        })))
    }
}

fn begin_anew(database: &Path, why: String, stale: bool) -> Result<(Connection, Option<Damage>), Error> {
    let damage = salvage::replace(database, why, stale)?;
    tracing::error!("{damage}");
    for file in &damage.removed {
        tracing::warn!(file = %file.display(), "removed the oldest damaged state: five are kept");
    }
    let connection = match sound(database, false) {
        Ok(connection) => connection,
        Err(Unsound::Failed(why)) => return Err(why),
        Err(Unsound::Damaged(why) | Unsound::Stale(why)) => {
            return Err(Error::BadState {
                path: database.into(),
                why: format!("it is damaged again: {why}"),
            });
        }
    };
    Ok((connection, Some(damage)))
}

/// Opens a database, or makes one, if nothing speaks against it.
fn sound(path: &Path, used: bool) -> Result<Connection, Unsound> {
    let damaged = |why: &str| Err(Unsound::Damaged(why.to_string()));
    let read = |doing| Error::file(doing, path);
    match zibrato_disk::header(path).map_err(read("read"))? {
        Header::None if used => return damaged("it is gone"),
        Header::Empty if used => return damaged("it is empty"),
        Header::None | Header::Empty => {}
        Header::Foreign => return damaged("it is no SQLite database"),
        // Made, and not filled yet: told by the tables.
        Header::Database { application: 0, version: 0 } => {}
        Header::Database { application, .. } if application != APPLICATION => {
            return damaged("it is a database of another application");
        }
        Header::Database { version, .. } if version > VERSION => {
            let (found, known) = (version.into(), VERSION.into());
            return Err(Unsound::Failed(Error::OtherVersion { path: path.into(), found, known }));
        }
        Header::Database { .. } => {}
    }
    if zibrato_disk::check_wal(path).map_err(read("read the log of"))? == Wal::Damaged {
        return Err(Unsound::Stale("its write-ahead log is damaged in the middle".into()));
    }
    prepare(path, used)
}

fn prepare(path: &Path, used: bool) -> Result<Connection, Unsound> {
    let failed = |why| Error::Database { doing: "open", path: path.into(), why };
    let mut db = Connection::open(path).map_err(failed)?;
    let read = |pragma| db.pragma_query_value(None, pragma, |row| row.get::<_, u32>(0)).map_err(failed);
    let (application, version) = (read("application_id")?, read("user_version")?);
    let tables: i64 =
        db.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0)).map_err(failed)?;
    let new = tables == 0 && version == 0;
    if new && used {
        return Err(Unsound::Damaged("nothing is in it".into()));
    }
    if !new && (application != APPLICATION || version == 0) {
        return Err(Unsound::Damaged("it is a database of another application".into()));
    }
    layout::set_up(&db, new).map_err(failed)?;
    if !new && version < VERSION {
        layout::migrate(&mut db, version).map_err(failed)?;
        tracing::info!(database = %path.display(), from = version, to = VERSION, "brought the state's layout up to date");
    }
    layout::check_schema(&db).map_err(failed)?;
    Ok(db)
}

fn lock(directory: &Path) -> Result<File, Error> {
    let path = directory.join("lock");
    let file = File::options().read(true).write(true).create(true).truncate(false).open(&path);
    let file = file.map_err(Error::file("open", &path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(Error::InUse { path: directory.into() }),
        Err(TryLockError::Error(why)) => Err(Error::File { doing: "lock", path, why }),
    }
}
