//! Reading what is left of a database.

use std::path::Path;

use rusqlite::{Connection, OpenFlags, Row};

/// Opens a database only to read it, also while another process writes it. Where it is at rest, nothing is made
/// beside it.
///
/// # Errors
/// As SQLite has them.
pub fn open_read_only(database: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let at_rest = !crate::with_suffix(database, "-wal").exists();
    let uri = at_rest.then(|| uri(database)).flatten();
    let db = match uri {
        Some(uri) => Connection::open_with_flags(uri, flags | OpenFlags::SQLITE_OPEN_URI)?,
        None => Connection::open_with_flags(database, flags)?,
    };
    db.busy_timeout(std::time::Duration::from_secs(2))?;
    Ok(db)
}

/// The path as SQLite's URIs have it, for a file that nobody changes.
fn uri(database: &Path) -> Option<String> {
    let path = std::path::absolute(database).ok()?;
    let escaped = path.to_str()?.replace('%', "%25").replace('?', "%3f").replace('#', "%23");
    cfg!(unix).then(|| format!("file:{escaped}?mode=ro&immutable=1"))
}

/// Reads the rows of a table that may be damaged, from both ends up to where it is. `select` is a query that ends where
/// `ORDER BY` and the columns of `order` are to follow; `key` tells rows apart. Returns the rows that could be read,
/// and whether that was all of them.
pub fn rescue<T, K: std::hash::Hash + Eq>(
    db: &Connection,
    select: &str,
    order: &[&str],
    mut read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
    key: impl Fn(&T) -> K,
) -> (Vec<T>, bool) {
    let (mut found, mut seen, mut whole) = (Vec::new(), std::collections::HashSet::new(), true);
    for direction in ["ASC", "DESC"] {
        let order: Vec<String> = order.iter().map(|column| format!("{column} {direction}")).collect();
        let query = format!("{select} ORDER BY {}", order.join(", "));
        let mut run = || -> rusqlite::Result<bool> {
            let mut statement = db.prepare(&query)?;
            let mut rows = statement.query([])?;
            let mut sound = true;
            while let Some(row) = rows.next()? {
                match read(row) {
                    Ok(value) => {
                        if seen.insert(key(&value)) {
                            found.push(value);
                        }
                    }
                    // One row with a wrong type is no reason to stop.
                    Err(_) => sound = false,
                }
            }
            Ok(sound)
        };
        match run() {
            Ok(true) => return (found, whole),
            Ok(false) => return (found, false),
            Err(_) => whole = false,
        }
    }
    (found, whole)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_on_both_sides_of_a_damaged_page_are_read() {
        let directory = tempfile::tempdir().unwrap();
        let database = directory.path().join("a.db");
        {
            let db = Connection::open(&database).unwrap();
            db.execute_batch("CREATE TABLE t (id INTEGER PRIMARY KEY, x BLOB)").unwrap();
            for id in 1..=100 {
                db.execute("INSERT INTO t VALUES (?, zeroblob(300))", [id]).unwrap();
            }
        }
        let read = |db: &Connection| {
            rescue(
                db,
                "SELECT id, x FROM t",
                &["id"],
                |row| Ok((row.get::<_, i64>(0)?, row.get::<_, Vec<u8>>(1)?)),
                |r| r.0,
            )
        };
        let (rows, whole) = read(&open_read_only(&database).unwrap());
        assert_eq!((rows.len(), whole), (100, true));
        let mut bytes = std::fs::read(&database).unwrap();
        let pages = bytes.len() / 4096;
        bytes[pages / 2 * 4096..][..100].fill(0xff);
        std::fs::write(&database, bytes).unwrap();
        let (rows, whole) = read(&open_read_only(&database).unwrap());
        assert!(!whole && rows.len() > 50 && rows.len() < 100, "{}", rows.len());
        assert!(rows.iter().any(|row| row.0 == 1) && rows.iter().any(|row| row.0 == 100));
    }
}
