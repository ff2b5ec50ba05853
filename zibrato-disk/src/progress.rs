//! How far a database was written, noted outside of it.
//!
//! SQLite takes a database without its write-ahead log for an older one, and believes it. So the number of the last
//! transaction is in the database, and, after each, in a file beside it. That file is never synchronised: after a power cut it may be
//! behind, but it is never ahead of a database from which nothing was lost.

use std::fs::{File, TryLockError};
use std::io;
use std::path::Path;

use crate::seal;

/// The number as digits, a space, its seal as digits, and the end of the line.
const LENGTH: usize = 20 + 1 + 8 + 1;

/// The file in which the number of the last transaction is noted; it is locked for as long as it is open.
#[derive(Debug)]
pub struct Progress {
    file: File,
}

impl Progress {
    /// Opens the file, and makes it where there is none; `None` while another process has it open.
    ///
    /// # Errors
    /// When it cannot be opened or locked.
    pub fn open(path: &Path) -> io::Result<Option<Progress>> {
        let file = File::options().read(true).write(true).create(true).truncate(false).open(path)?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Progress { file })),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(why)) => Err(why),
        }
    }

    /// Whether anything was ever noted.
    pub fn is_used(&self) -> bool {
        self.file.metadata().is_ok_and(|file| file.len() > 0)
    }

    /// The number that was noted; `None` where there is none, or not a sound one.
    pub fn noted(&self) -> Option<u64> {
        let mut bytes = [0; LENGTH];
        read_at_start(&self.file, &mut bytes).ok()?;
        let number: u64 = std::str::from_utf8(&bytes[..20]).ok()?.parse().ok()?;
        (bytes == line(number)).then_some(number)
    }

    /// Notes a number. Where that fails, less is known the next time, and nothing is wrong.
    pub fn note(&self, number: u64) {
        let _ = write_at_start(&self.file, &line(number));
    }
}

fn line(number: u64) -> [u8; LENGTH] {
    let digits = format!("{number:020}");
    let text = format!("{digits} {:08x}\n", seal(&[digits.as_bytes()]));
    let mut line = [0; LENGTH];
    // No number has more than 20 digits, and no seal more than 8.
    line.copy_from_slice(text.as_bytes());
    line
}

#[cfg(unix)]
fn read_at_start(file: &File, bytes: &mut [u8]) -> io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, bytes, 0)
}

#[cfg(unix)]
fn write_at_start(file: &File, bytes: &[u8]) -> io::Result<()> {
    std::os::unix::fs::FileExt::write_all_at(file, bytes, 0)
}

#[cfg(not(unix))]
fn read_at_start(mut file: &File, bytes: &mut [u8]) -> io::Result<()> {
    use std::io::{Read as _, Seek as _};
    file.rewind()?;
    file.read_exact(bytes)
}

#[cfg(not(unix))]
fn write_at_start(mut file: &File, bytes: &[u8]) -> io::Result<()> {
    use std::io::{Seek as _, Write as _};
    file.rewind()?;
    file.write_all(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_number_is_known_to_one_process_at_a_time() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("lock");
        std::fs::write(&path, "state.db\n").unwrap();
        let progress = Progress::open(&path).unwrap().unwrap();
        assert!(progress.is_used());
        assert_eq!(progress.noted(), None, "as an earlier version wrote it");
        assert!(Progress::open(&path).unwrap().is_none());
        for number in [0, 7, u64::MAX] {
            progress.note(number);
            assert_eq!(progress.noted(), Some(number));
        }
        drop(progress);
        let bytes = std::fs::read(&path).unwrap();
        for at in 0..bytes.len() {
            let mut flipped = bytes.clone();
            flipped[at] ^= 1;
            std::fs::write(&path, flipped).unwrap();
            assert_eq!(Progress::open(&path).unwrap().unwrap().noted(), None, "flipped at {at}");
        }
    }
}
