//! What SQLite says of damaged files.

use rusqlite::{Error, ErrorCode, ffi};

/// Whether an error says that the file is damaged, rather than that it cannot be used: SQLite says so, or there is something
/// else in it than was ever written, as columns without the names that they were given.
pub fn is_damage(why: &Error) -> bool {
    matches!(why.sqlite_error_code(), Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase))
        || matches!(
            why,
            Error::InvalidColumnType(..)
                | Error::FromSqlConversionFailure(..)
                | Error::IntegralValueOutOfRange(..)
                | Error::Utf8Error(..)
                | Error::SqlInputError { .. }
        )
}

/// The error of a file in which `what` is wrong.
pub fn corrupt(what: impl Into<String>) -> Error {
    Error::SqliteFailure(ffi::Error::new(ffi::SQLITE_CORRUPT), Some(what.into()))
}
