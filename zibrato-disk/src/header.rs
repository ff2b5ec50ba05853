//! Whose database a file is and of which version, without opening it.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

use crate::wal;

/// How a database begins, as in <https://www.sqlite.org/fileformat2.html#the_database_header>.
const MAGIC: &[u8; 16] = b"SQLite format 3\0";

/// What is told at the beginning of a database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Header {
    /// There is no file.
    None,
    /// The file has no bytes.
    Empty,
    /// The file is no SQLite database.
    Foreign,
    /// It is one.
    Database {
        /// `PRAGMA application_id`.
        application: u32,
        /// `PRAGMA user_version`.
        version: u32,
    },
}

/// Reads the header of a database as it was last committed, from its log where that has it. Opening the database would
/// change files, which must not be done to one of a newer version.
///
/// # Errors
/// When the file cannot be read.
pub fn header(database: &Path) -> io::Result<Header> {
    let mut file = match File::open(database) {
        Ok(file) => file,
        Err(why) if why.kind() == io::ErrorKind::NotFound => return Ok(Header::None),
        Err(why) => return Err(why),
    };
    let mut start = Vec::with_capacity(100);
    file.by_ref().take(100).read_to_end(&mut start)?;
    if start.is_empty() {
        return Ok(Header::Empty);
    }
    if start.len() < 100 || !start.starts_with(MAGIC) {
        return Ok(Header::Foreign);
    }
    let newer = wal::first_page(database)?.filter(|page| page.starts_with(MAGIC));
    let page = newer.as_deref().unwrap_or(&start);
    let number = |at: usize| page[at..].first_chunk().map_or(0, |bytes| u32::from_be_bytes(*bytes));
    Ok(Header::Database { application: number(68), version: number(60) })
}

#[cfg(test)]
mod tests {
    use rusqlite::Connection;

    use super::*;

    #[test]
    fn the_newest_header_counts_also_from_the_log() {
        let directory = tempfile::tempdir().unwrap();
        let (database, copy) = (directory.path().join("a.db"), directory.path().join("b.db"));
        assert_eq!(header(&database).unwrap(), Header::None);
        let db = Connection::open(&database).unwrap();
        db.query_row("PRAGMA journal_mode = WAL", [], |_| Ok(())).unwrap();
        db.execute_batch("PRAGMA application_id = 7; PRAGMA user_version = 1; CREATE TABLE t (x)").unwrap();
        db.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
        db.execute_batch("PRAGMA user_version = 2").unwrap();
        for (from, to) in [("a.db", "b.db"), ("a.db-wal", "b.db-wal")] {
            std::fs::copy(directory.path().join(from), directory.path().join(to)).unwrap();
        }
        assert_eq!(header(&copy).unwrap(), Header::Database { application: 7, version: 2 });
        std::fs::remove_file(directory.path().join("b.db-wal")).unwrap();
        assert_eq!(header(&copy).unwrap(), Header::Database { application: 7, version: 1 });
        std::fs::write(&copy, "no database").unwrap();
        assert_eq!(header(&copy).unwrap(), Header::Foreign);
        std::fs::write(&copy, "").unwrap();
        assert_eq!(header(&copy).unwrap(), Header::Empty);
    }
}
