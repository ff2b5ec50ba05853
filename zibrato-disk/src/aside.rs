//! Moving a damaged file out of the way.

use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use time::UtcDateTime;

use crate::with_suffix;

/// How many damaged files of one name are kept; of more, the oldest are removed.
const KEPT: usize = 5;
/// What belongs to a database.
const COMPANIONS: [&str; 2] = ["-wal", "-shm"];

/// Where a damaged file went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Aside {
    /// Its new path; `-wal` and `-shm` are beside it under the names that SQLite gives them.
    pub path: PathBuf,
    /// Earlier damaged files that were removed, because there were more than five.
    pub removed: Vec<PathBuf>,
}

/// Renames a damaged database, with its `-wal` and `-shm`, to `NAME.damaged-YYYYMMDDTHHMMSS` (UTC), and never onto
/// an earlier one.
///
/// # Errors
/// When the file cannot be renamed, or an old one cannot be removed.
pub fn move_aside(database: &Path, now: SystemTime) -> io::Result<Aside> {
    let path = free(database, &stamp(now));
    // What belongs to it goes first: a new database must never meet the log of another one.
    for companion in COMPANIONS {
        rename(&with_suffix(database, companion), &with_suffix(&path, companion))?;
    }
    rename(database, &path)?;
    let mut earlier = damaged(database)?;
    earlier.sort();
    let removed: Vec<PathBuf> = earlier.iter().take(earlier.len().saturating_sub(KEPT)).cloned().collect();
    for file in &removed {
        for companion in COMPANIONS {
            remove(&with_suffix(file, companion))?;
        }
        remove(file)?;
    }
    Ok(Aside { path, removed })
}

/// A name that is not taken.
fn free(database: &Path, stamp: &str) -> PathBuf {
    let mut number = 1;
    loop {
        // Names of one second sort by number, too.
        let more = if number == 1 { String::new() } else { format!("-{number}") };
        let path = with_suffix(database, &format!(".damaged-{stamp}{more}"));
        if !path.exists() && COMPANIONS.iter().all(|companion| !with_suffix(&path, companion).exists()) {
            return path;
        }
        number += 1;
    }
}

/// The damaged files that were moved aside, without what belongs to them.
fn damaged(database: &Path) -> io::Result<Vec<PathBuf>> {
    let start = with_suffix(database, ".damaged-");
    let (Some(directory), Some(start)) = (database.parent(), start.file_name()) else {
        return Ok(Vec::new());
    };
    let (directory, start) =
        (if directory.as_os_str().is_empty() { Path::new(".") } else { directory }, start.to_string_lossy());
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if name.starts_with(&*start) && !COMPANIONS.iter().any(|companion| name.ends_with(companion)) {
            found.push(path);
        }
    }
    Ok(found)
}

fn rename(from: &Path, to: &Path) -> io::Result<()> {
    match std::fs::rename(from, to) {
        Err(why) if why.kind() != io::ErrorKind::NotFound => Err(why),
        _ => Ok(()),
    }
}

fn remove(file: &Path) -> io::Result<()> {
    match std::fs::remove_file(file) {
        Err(why) if why.kind() != io::ErrorKind::NotFound => Err(why),
        _ => Ok(()),
    }
}

fn stamp(now: SystemTime) -> String {
    let now = UtcDateTime::from(now);
    let (date, time) =
        ((now.year(), u8::from(now.month()), now.day()), (now.hour(), now.minute(), now.second()));
    format!("{:04}{:02}{:02}T{:02}{:02}{:02}", date.0, date.1, date.2, time.0, time.1, time.2)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn nothing_is_overwritten_and_the_oldest_go() {
        let directory = tempfile::tempdir().unwrap();
        let database = directory.path().join("a.db");
        let mut aside = Vec::new();
        for number in 0..7 {
            std::fs::write(&database, format!("{number}")).unwrap();
            std::fs::write(with_suffix(&database, "-wal"), format!("{number}")).unwrap();
            // Two in one second.
            let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000 + number / 2);
            aside.push(move_aside(&database, now).unwrap());
        }
        let name = |number: usize| aside[number].path.file_name().unwrap().to_str().unwrap().to_string();
        assert_eq!(name(0), "a.db.damaged-20010909T014640");
        assert_eq!(name(1), "a.db.damaged-20010909T014640-2");
        assert_eq!(aside[5].removed, [aside[0].path.clone()]);
        assert_eq!(aside[6].removed, [aside[1].path.clone()]);
        for (number, aside) in aside.iter().enumerate().skip(2) {
            assert_eq!(std::fs::read_to_string(&aside.path).unwrap(), number.to_string());
            let log = with_suffix(&aside.path, "-wal");
            assert_eq!(std::fs::read_to_string(log).unwrap(), number.to_string());
        }
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 10);
    }
}
