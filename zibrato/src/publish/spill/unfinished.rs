//! Files that a process was writing when it was killed.

use std::fs::File;
use std::path::Path;
use std::time::Duration;

use super::{ENDING, files, records};

/// How they end.
pub(super) const ENDING_BEFORE: &str = "unfinished";
/// How old they are at least. Whoever writes one has it locked, but for a moment.
const LEFT: Duration = Duration::from_secs(60);

/// Gives those that are whole their names, and removes the others, unless somebody is still writing them.
pub(super) fn clear_up(directory: &Path) {
    for path in files(directory, ENDING_BEFORE) {
        if !is_left(&path) {
            continue;
        }
        // Whatever fails here is tried again by whoever reads the directory next.
        let _ = match std::fs::read(&path).is_ok_and(|bytes| records::is_whole(&bytes)) {
            true => std::fs::rename(&path, path.with_extension(ENDING)),
            false => std::fs::remove_file(&path),
        };
    }
}

fn is_left(path: &Path) -> bool {
    let Ok(file) = File::open(path) else { return false };
    let modified = file.metadata().and_then(|file| file.modified());
    modified.is_ok_and(|at| at.elapsed().is_ok_and(|age| age > LEFT)) && file.try_lock().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::SystemTime;

    #[test]
    fn what_was_left_is_kept_where_it_is_whole_and_removed_where_not() {
        let directory = tempfile::tempdir().unwrap();
        let whole = records::written(None, std::iter::empty());
        let make = |name: &str, bytes: &[u8], age: u64| {
            let path = directory.path().join(name);
            std::fs::write(&path, bytes).unwrap();
            let file = File::options().write(true).open(&path).unwrap();
            file.set_modified(SystemTime::now() - Duration::from_secs(age)).unwrap();
            file
        };
        make("whole.unfinished", &whole, 3_600);
        make("half.unfinished", &whole[..whole.len() / 2], 3_600);
        make("empty.unfinished", &[], 3_600);
        make("young.unfinished", &[], 0);
        let held = make("held.unfinished", &[], 3_600);
        held.try_lock().unwrap();
        clear_up(directory.path());
        let mut names: Vec<_> = std::fs::read_dir(directory.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        assert_eq!(names, ["held.unfinished", "whole.zibrato", "young.unfinished"]);
    }
}
