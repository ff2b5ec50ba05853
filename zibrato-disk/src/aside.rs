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

/// Puts a new database, that is complete and in one file, in the place of a damaged one, which is renamed, with its `-wal`
/// and `-shm`, to `NAME.damaged-YYYYMMDDTHHMMSS` (UTC), and never onto an earlier one. `None` where there was none any more.
///
/// A process that is killed meanwhile leaves the damaged one as it was, or what [`finish_replacing`] completes.
///
/// # Errors
/// When the file cannot be renamed, or an old one cannot be removed.
pub fn replace(database: &Path, new: &Path, now: SystemTime) -> io::Result<Option<Aside>> {
    let path = free(database, &stamp(now));
    let was_there = database.exists();
    // It goes first: without its log it would be taken for an older one that is sound. Nothing is in its place until the log is
    // gone, too, because a new database must never meet the log of another one.
    rename(database, &path)?;
    companions_aside(database, &path)?;
    put_in_place(new, database)?;
    if !was_there {
        return Ok(None);
    }
    let mut earlier = damaged(database)?;
    earlier.sort();
    let removed: Vec<PathBuf> = earlier.iter().take(earlier.len().saturating_sub(KEPT)).cloned().collect();
    for file in &removed {
        for companion in COMPANIONS {
            remove(&with_suffix(file, companion))?;
        }
        remove(file)?;
    }
    Ok(Some(Aside { path, removed }))
}

/// Goes on where a process ended in [`replace`], or before: then what it was about to put in place is removed.
///
/// # Errors
/// When a file cannot be renamed or removed.
pub fn finish_replacing(database: &Path, new: &Path, now: SystemTime) -> io::Result<()> {
    if new.exists() && !database.exists() {
        // The damaged one is aside, and what belongs to it may still be here.
        let mut aside = damaged(database)?;
        aside.sort();
        let path = aside.pop().filter(|path| COMPANIONS.iter().all(|of| !with_suffix(path, of).exists()));
        companions_aside(database, &path.unwrap_or_else(|| free(database, &stamp(now))))?;
        return put_in_place(new, database);
    }
    for path in [new.to_path_buf(), with_suffix(new, "-wal"), with_suffix(new, "-shm")] {
        remove(&path)?;
    }
    Ok(())
}

fn companions_aside(database: &Path, path: &Path) -> io::Result<()> {
    for companion in COMPANIONS {
        rename(&with_suffix(database, companion), &with_suffix(path, companion))?;
    }
    Ok(())
}

fn put_in_place(new: &Path, database: &Path) -> io::Result<()> {
    std::fs::rename(new, database)?;
    // What is settled into the new one from now on must not be forgotten because a power cut brings the old one back.
    #[cfg(unix)]
    if let Some(directory) = database.parent() {
        let directory = if directory.as_os_str().is_empty() { Path::new(".") } else { directory };
        std::fs::File::open(directory)?.sync_all()?;
    }
    Ok(())
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
        let (database, new) = (directory.path().join("a.db"), directory.path().join("a.db.new"));
        let mut aside = Vec::new();
        for number in 0..7 {
            std::fs::write(&database, format!("{number}")).unwrap();
            std::fs::write(with_suffix(&database, "-wal"), format!("{number}")).unwrap();
            std::fs::write(&new, "new").unwrap();
            // Two in one second.
            let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000 + number / 2);
            aside.push(replace(&database, &new, now).unwrap().unwrap());
            assert_eq!(std::fs::read_to_string(&database).unwrap(), "new");
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
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 11);
    }

    /// What is in place, of the database and of its log.
    fn in_place(database: &Path) -> (Option<String>, Option<String>) {
        let read = |path: &Path| std::fs::read_to_string(path).ok();
        (read(database), read(&with_suffix(database, "-wal")))
    }

    #[test]
    fn whenever_it_is_killed_the_damaged_one_is_never_believed_without_its_log() {
        let old = |name: &str| Some(format!("old {name}"));
        // How many of the renames were done: of the database, of its log, of the new one.
        for done in 0..=3 {
            let directory = tempfile::tempdir().unwrap();
            let at = |name: &str| directory.path().join(name);
            let (database, new) = (at("a.db"), at("a.db.new"));
            for name in ["a.db", "a.db-wal"] {
                std::fs::write(at(name), format!("old {name}")).unwrap();
            }
            std::fs::write(&new, "new").unwrap();
            let aside = "a.db.damaged-20010909T014640";
            let steps = [
                ("a.db", aside.to_string()),
                ("a.db-wal", format!("{aside}-wal")),
                ("a.db.new", "a.db".into()),
            ];
            for (from, to) in &steps[..done] {
                std::fs::rename(at(from), at(to)).unwrap();
            }
            finish_replacing(&database, &new, SystemTime::UNIX_EPOCH).unwrap();
            assert!(!new.exists());
            let wanted = if done == 0 { (old("a.db"), old("a.db-wal")) } else { (Some("new".into()), None) };
            assert_eq!(in_place(&database), wanted, "{done}");
            if done > 0 {
                assert_eq!(in_place(&at(aside)), (old("a.db"), old("a.db-wal")), "{done}");
            }
        }
    }
}
