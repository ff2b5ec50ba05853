//! Why a worker cannot go on.

use std::path::{Path, PathBuf};

/// Why a worker cannot start or go on. The text fits after "failed to".
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// A file or directory cannot be used.
    File {
        /// What was to be done with it.
        doing: &'static str,
        /// Which one.
        path: PathBuf,
        /// What the operating system says.
        why: std::io::Error,
    },
    /// The database of the state directory cannot be used.
    Database {
        /// What was to be done with it.
        doing: &'static str,
        /// Which one.
        path: PathBuf,
        /// What SQLite says.
        why: rusqlite::Error,
    },
    /// Another process uses the state directory.
    InUse {
        /// Which one.
        path: PathBuf,
    },
    /// The state directory was written by another version of Zibrato.
    OtherVersion {
        /// Which one.
        path: PathBuf,
        /// The version of its layout.
        found: i64,
        /// The version that this program reads.
        known: i64,
    },
    /// The state directory belongs to another backend.
    OtherBackend {
        /// Which one.
        path: PathBuf,
        /// Its backend.
        found: String,
        /// The backend of this program.
        wanted: String,
    },
    /// The state directory belongs to another shard.
    OtherShard {
        /// Which one.
        path: PathBuf,
        /// Its shard.
        found: String,
        /// The shard that was asked for.
        wanted: String,
    },
    /// Something kept in the state directory cannot be understood.
    BadState {
        /// Which one.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// An option has an impossible value.
    Option {
        /// What is wrong with it, and what to do.
        why: String,
    },
    /// The admin port cannot be served.
    Admin(zibrato_admin::Error),
    /// A part of the worker ended unexpectedly.
    Task {
        /// Which part, and how it ended.
        why: String,
    },
}

impl Error {
    /// Whether the state is damaged, rather than that it cannot be used at the moment.
    pub fn is_damage(&self) -> bool {
        matches!(self, Error::Database { why, .. } if zibrato_disk::is_damage(why))
    }

    pub(crate) fn file(doing: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Error {
        let path = path.to_path_buf();
        move |why| Error::File { doing, path, why }
    }
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Error::File { doing, path, why } => write!(f, "{doing} {}: {why}", path.display()),
            Error::Database { doing, path, why } => write!(f, "{doing} {}: {why}", path.display()),
            Error::InUse { path } => write!(
                f,
                "use the state directory {}: another process uses it; stop that one or give another --state",
                path.display()
            ),
            Error::OtherVersion { path, found, known } => write!(
                f,
                "use the state directory {}: its layout has version {found}, this program knows {known}; use the \
                 program that wrote it, or another --state",
                path.display()
            ),
            Error::OtherBackend { path, found, wanted } => write!(
                f,
                "use the state directory {}: it belongs to the backend {found}, not {wanted}; give another --state",
                path.display()
            ),
            Error::OtherShard { path, found, wanted } => write!(
                f,
                "use the state directory {}: it belongs to shard {found}, not {wanted}; give another --state, or move \
                 all shards with `zibrato state reshard`",
                path.display()
            ),
            Error::BadState { path, why } => write!(f, "read the state in {}: {why}", path.display()),
            Error::Option { why } => write!(f, "use the options: {why}"),
            Error::Admin(why) => why.fmt(f),
            Error::Task { why } => write!(f, "keep the worker going: {why}"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Error::File { why, .. } => Some(why),
            Error::Database { why, .. } => Some(why),
            Error::Admin(why) => why.source(),
            _ => None,
        }
    }
}
