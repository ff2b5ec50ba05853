//! Opening a state directory: whatever is in the way of believing it is found, told and moved aside.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use rusqlite::Connection;
use zibrato_disk::{Header, Progress, Wal};

use super::layout::{self, APPLICATION, VERSION};
use super::salvage::{self, Damage};
use super::{Inner, State, accounts, file_id, meta};
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
        let lock = directory.join("lock");
        let progress = Progress::open(&lock).map_err(Error::file("lock", &lock))?;
        let progress = progress.ok_or_else(|| Error::InUse { path: directory.into() })?;
        let database = directory.join(DATABASE);
        let known = Known { used: progress.is_used(), written: progress.noted().unwrap_or(0) };
        let new = salvage::new_of(&database);
        zibrato_disk::finish_replacing(&database, &new, SystemTime::now())
            .map_err(Error::file("put in place", &new))?;
        let opened = match damage {
            None => sound(&database, known),
            Some(why) => Err(Unsound::Damaged(why)),
        };
        let (connection, damage) = match opened {
            Ok(connection) => (connection, None),
            Err(Unsound::Failed(why)) => return Err(why),
            Err(Unsound::Damaged(why)) => begin_anew(&database, why, known, false)?,
            Err(Unsound::Stale(why)) => begin_anew(&database, why, known, true)?,
        };
        let failed = |why| Error::Database { doing: "read", path: database.clone(), why };
        let cumulative = AtomicBool::new(accounts::is_cumulative(&connection).map_err(failed)?);
        let written = meta::<u64>(&connection, "written").map_err(failed)?.unwrap_or(0);
        // Without it, a database that vanishes later would not be missed.
        progress.note(written);
        Ok(State(Arc::new(Inner {
            connection: Mutex::new(connection),
            directory: directory.to_path_buf(),
            shard,
            cumulative,
            damage,
            lacks_batches: AtomicBool::new(false),
            batches_lost: AtomicU64::new(0),
            written: AtomicU64::new(written),
            progress: Some(progress),
            file: file_id(&database),
            database,
        })))
    }
}

/// What the file beside the database knows of it.
#[derive(Clone, Copy)]
struct Known {
    /// Whether there was one.
    used: bool,
    /// The number of its last transaction, or of an earlier one.
    written: u64,
}

fn begin_anew(
    database: &Path,
    why: String,
    known: Known,
    stale: bool,
) -> Result<(Connection, Option<Damage>), Error> {
    let damage = salvage::replace(database, why, known.written, stale)?;
    tracing::error!("{damage}");
    for file in &damage.removed {
        tracing::warn!(file = %file.display(), "removed the oldest damaged state: five are kept");
    }
    let connection = match sound(database, known) {
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
fn sound(path: &Path, known: Known) -> Result<Connection, Unsound> {
    let used = known.used;
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
    prepare(path, known)
}

fn prepare(path: &Path, known: Known) -> Result<Connection, Unsound> {
    let failed = |why| Error::Database { doing: "open", path: path.into(), why };
    let mut db = Connection::open(path).map_err(failed)?;
    let read = |pragma| db.pragma_query_value(None, pragma, |row| row.get::<_, u32>(0)).map_err(failed);
    let (application, version) = (read("application_id")?, read("user_version")?);
    let tables: i64 =
        db.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0)).map_err(failed)?;
    let new = tables == 0 && version == 0;
    if new && known.used {
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
    let written = meta::<u64>(&db, "written").map_err(failed)?.unwrap_or(0);
    if written < known.written {
        return Err(Unsound::Stale(format!(
            "it is as it was {} transactions ago: its write-ahead log is gone or was cut off, or it is an older copy",
            known.written - written
        )));
    }
    Ok(db)
}
