//! Whether a write-ahead log ends where it was torn, or was damaged in between.
//!
//! SQLite takes a log up to the first frame whose checksum is wrong, which is right after a crash: what follows was
//! never committed. If a byte in the middle is wrong, everything after it is forgotten without a word, and the database
//! is back where it was some transactions ago. Each commit is synchronised before the next begins, so two sound commits behind
//! an unsound frame are proof of damage. The format is that of <https://www.sqlite.org/fileformat2.html#walformat>.

use std::io;
use std::path::Path;

use crate::with_suffix;

const HEADER: usize = 32;
const FRAME: usize = 24;

/// What a write-ahead log is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wal {
    /// There is none, or nothing is in it.
    Empty,
    /// SQLite will take it for what it is: all of it, or all but a last transaction that was never committed.
    Sound,
    /// Something committed is behind something damaged.
    Damaged,
}

/// Looks at the write-ahead log of a database that no process has open.
///
/// # Errors
/// When it cannot be read.
pub fn check_wal(database: &Path) -> io::Result<Wal> {
    Ok(match read(database)? {
        Some(bytes) => Log::of(&bytes).map_or(Wal::Empty, |log| log.check()),
        None => Wal::Empty,
    })
}

/// The newest committed first page in the log.
pub(crate) fn first_page(database: &Path) -> io::Result<Option<Vec<u8>>> {
    let Some(bytes) = read(database)? else { return Ok(None) };
    Ok(Log::of(&bytes).and_then(|log| log.first_page().map(<[u8]>::to_vec)))
}

fn read(database: &Path) -> io::Result<Option<Vec<u8>>> {
    match std::fs::read(with_suffix(database, "-wal")) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(why) if why.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(why) => Err(why),
    }
}

struct Log<'a> {
    header: &'a [u8],
    frames: Vec<&'a [u8]>,
    little: bool,
}

impl<'a> Log<'a> {
    fn of(bytes: &'a [u8]) -> Option<Log<'a>> {
        let (header, rest) = bytes.split_at_checked(HEADER)?;
        let page = match number(header, 8) as usize {
            size @ 512..=65_536 if size.is_power_of_two() => size,
            // Damaged itself; 4096 is what databases are made with.
            _ => 4096,
        };
        let frames: Vec<&[u8]> = rest.chunks_exact(FRAME + page).collect();
        // The last bit of the magic number tells the order of bytes in checksums; that is this machine's.
        (!frames.is_empty()).then_some(Log { header, frames, little: number(header, 0) & 1 == 0 })
    }

    fn is_header_sound(&self) -> bool {
        number(self.header, 0) | 1 == 0x377f_0683
            && self.sum((0, 0), &self.header[..24]) == (number(self.header, 24), number(self.header, 28))
    }

    /// Whether frame `index` is sound if the one before it is.
    fn follows(&self, index: usize) -> bool {
        let frame = self.frames[index];
        let before = match index {
            0 => (number(self.header, 24), number(self.header, 28)),
            _ => stored(self.frames[index - 1]),
        };
        self.sum(self.sum(before, &frame[..8]), &frame[FRAME..]) == stored(frame)
    }

    fn salts(frame: &[u8]) -> (u32, u32) {
        (number(frame, 8), number(frame, 12))
    }

    fn commits(frame: &[u8]) -> bool {
        number(frame, 4) > 0
    }

    /// How many frames SQLite takes, committed or not.
    fn taken(&self) -> usize {
        let salts = (number(self.header, 16), number(self.header, 20));
        if !self.is_header_sound() {
            return 0;
        }
        let sound = |index: &usize| Self::salts(self.frames[*index]) == salts && self.follows(*index);
        (0..self.frames.len()).take_while(sound).count()
    }

    fn check(&self) -> Wal {
        let taken = self.taken();
        let sound = self.is_header_sound();
        let salts = match sound {
            true => (number(self.header, 16), number(self.header, 20)),
            // Those of before the log was begun anew have others.
            false => Self::salts(self.frames[0]),
        };
        let behind = (taken.max(1)..self.frames.len())
            .filter(|&index| Self::salts(self.frames[index]) == salts && self.follows(index));
        let committed = behind.filter(|&index| Self::commits(self.frames[index])).count();
        // The header is synchronised before the first commit.
        if committed >= if sound { 2 } else { 1 } { Wal::Damaged } else { Wal::Sound }
    }

    fn first_page(&self) -> Option<&'a [u8]> {
        let taken = &self.frames[..self.taken()];
        let committed = taken.iter().rposition(|frame| Self::commits(frame))?;
        let frame = taken[..=committed].iter().rev().find(|frame| number(frame, 0) == 1)?;
        Some(&frame[FRAME..])
    }

    fn sum(&self, (mut one, mut two): (u32, u32), bytes: &[u8]) -> (u32, u32) {
        let word =
            |word: &[u8; 4]| if self.little { u32::from_le_bytes(*word) } else { u32::from_be_bytes(*word) };
        for words in bytes.as_chunks::<4>().0.as_chunks::<2>().0 {
            one = one.wrapping_add(word(&words[0])).wrapping_add(two);
            two = two.wrapping_add(word(&words[1])).wrapping_add(one);
        }
        (one, two)
    }
}

fn stored(frame: &[u8]) -> (u32, u32) {
    (number(frame, 16), number(frame, 20))
}

fn number(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..).and_then(|rest| rest.first_chunk()).map_or(0, |bytes| u32::from_be_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use rusqlite::Connection;

    use super::*;

    /// A log of ten commits, and how long it was after each.
    fn log(directory: &Path) -> (std::path::PathBuf, Vec<u8>, Vec<usize>) {
        let (database, copy) = (directory.join("a.db"), directory.join("copy.db"));
        let db = Connection::open(&database).unwrap();
        db.query_row("PRAGMA journal_mode = WAL", [], |_| Ok(())).unwrap();
        db.execute_batch("PRAGMA synchronous = FULL; CREATE TABLE t (x)").unwrap();
        db.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
        let path = with_suffix(&database, "-wal");
        let mut ends = Vec::new();
        for number in 0..10 {
            db.execute("INSERT INTO t VALUES (zeroblob(?))", [number * 700]).unwrap();
            ends.push(std::fs::metadata(&path).unwrap().len() as usize);
        }
        std::fs::copy(&database, &copy).unwrap();
        (copy, std::fs::read(path).unwrap(), ends)
    }

    #[test]
    fn a_torn_end_is_no_damage_and_a_hole_is() {
        let directory = tempfile::tempdir().unwrap();
        let (database, bytes, ends) = log(directory.path());
        let check = |bytes: &[u8]| {
            std::fs::write(with_suffix(&database, "-wal"), bytes).unwrap();
            check_wal(&database).unwrap()
        };
        assert_eq!(check(&bytes), Wal::Sound);
        for length in (0..bytes.len()).step_by(997) {
            assert_ne!(check(&bytes[..length]), Wal::Damaged, "torn at {length}");
        }
        for at in (0..ends[6]).step_by(61) {
            let mut flipped = bytes.clone();
            flipped[at] ^= 0x10;
            assert_eq!(check(&flipped), Wal::Damaged, "flipped at {at}");
        }
        let mut last = bytes.clone();
        last[ends[8] + 30] ^= 1;
        assert_eq!(check(&last), Wal::Sound, "the last transaction may have been torn");
    }

    #[test]
    fn nothing_is_nothing() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(check_wal(&directory.path().join("none")).unwrap(), Wal::Empty);
    }
}
