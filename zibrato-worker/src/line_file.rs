//! A file that has every line once and whole, also after a crash in the middle of writing.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

/// A file of lines to append to, for backends that write some: it has every line once and whole, also after a crash in
/// the middle of writing.
#[derive(Debug, Clone)]
pub struct LineFile {
    /// Where it is.
    pub path: PathBuf,
    /// How many bytes it may have before a new one is begun; any number without.
    pub most: Option<u64>,
    /// How many older files are kept, as `PATH.1` (the newest), `PATH.2` and so on.
    pub keep: u32,
}

impl LineFile {
    /// Appends a batch's lines, or what is missing of them after a crash, and waits until they are on the disk.
    ///
    /// A batch that is repeated is the same to the last byte, and no two begin alike, so what is there already is found by
    /// comparing. The file is opened anew for each, so that it may be moved away at any time.
    ///
    /// # Errors
    /// When the file cannot be read, written or renamed; then the same text is to be appended again.
    pub fn append(&self, text: &str) -> io::Result<()> {
        let mut file = open(&self.path)?;
        let mut length = file.metadata()?.len();
        let tail = tail(&mut file, length, text.len())?;
        let there = there(&tail, text.as_bytes());
        let full = self.most.is_some_and(|most| length + text.len() as u64 > most);
        let mut torn = there == 0 && tail.last().is_some_and(|&last| last != b'\n');
        if full && there == 0 && length > 0 {
            self.rotate()?;
            file = open(&self.path)?;
            (length, torn) = (0, false);
        }
        let missing = text.as_bytes().get(there..).unwrap_or_default();
        // Only a file that others have written to, or a state directory that is gone, leads here.
        let end = if torn && length > 0 { "\n" } else { "" };
        file.write_all(&[end.as_bytes(), missing].concat())?;
        file.sync_data()
    }

    fn rotate(&self) -> io::Result<()> {
        let older = |number: u32| {
            let mut path = self.path.clone().into_os_string();
            path.push(format!(".{number}"));
            PathBuf::from(path)
        };
        for number in (1..self.keep).rev() {
            if older(number).exists() {
                std::fs::rename(older(number), older(number + 1))?;
            }
        }
        if self.keep == 0 { std::fs::remove_file(&self.path) } else { std::fs::rename(&self.path, older(1)) }
    }
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).read(true).append(true).open(path)
}

/// The last bytes of a file.
fn tail(file: &mut File, length: u64, most: usize) -> io::Result<Vec<u8>> {
    file.seek(SeekFrom::Start(length.saturating_sub(most as u64)))?;
    let mut tail = Vec::new();
    // What has no length, as a device, may have no end.
    file.take(length).read_to_end(&mut tail)?;
    Ok(tail)
}

/// How many bytes of a text a file has already at its end.
fn there(tail: &[u8], text: &[u8]) -> usize {
    let after_ends = tail.iter().enumerate().filter(|(_, byte)| **byte == b'\n').map(|(at, _)| at + 1);
    let begins = std::iter::once(0).chain(after_ends).find(|&at| text.starts_with(&tail[at..]));
    begins.map_or(0, |at| tail.len() - at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_that_broke_off_anywhere_is_completed() {
        let directory = tempfile::tempdir().unwrap();
        let lines = LineFile { path: directory.path().join("l"), most: None, keep: 0 };
        let (one, two) = ("{\"batch\":1}\n{\"batch\":1}\n", "{\"batch\":2}\n{\"batch\":2,\"x\":1}\n");
        for length in 0..=two.len() {
            std::fs::write(&lines.path, one.to_owned() + &two[..length]).unwrap();
            for _ in 0..2 {
                lines.append(two).unwrap();
                assert_eq!(std::fs::read_to_string(&lines.path).unwrap(), one.to_owned() + two, "{length}");
            }
        }
    }

    #[test]
    fn what_others_left_open_is_ended() {
        let directory = tempfile::tempdir().unwrap();
        let lines = LineFile { path: directory.path().join("l"), most: None, keep: 0 };
        std::fs::write(&lines.path, "not ours").unwrap();
        lines.append("{}\n").unwrap();
        assert_eq!(std::fs::read_to_string(&lines.path).unwrap(), "not ours\n{}\n");
    }

    #[test]
    fn files_rotate_between_batches_only() {
        let directory = tempfile::tempdir().unwrap();
        let lines = LineFile { path: directory.path().join("l"), most: Some(10), keep: 2 };
        let read = |name: &str| std::fs::read_to_string(directory.path().join(name)).ok();
        for batch in 1..5 {
            lines.append(&format!("{batch}\n{batch}\n{batch}\n")).unwrap();
        }
        let is = |text: &str| Some(text.to_owned());
        assert_eq!((read("l"), read("l.1")), (is("4\n4\n4\n"), is("3\n3\n3\n")));
        assert_eq!((read("l.2"), read("l.3")), (is("2\n2\n2\n"), None));
        // The last batch once more, broken off: it stays where it was begun.
        std::fs::write(&lines.path, "4\n4").unwrap();
        lines.append("4\n4\n4\n").unwrap();
        assert_eq!((read("l"), read("l.1")), (is("4\n4\n4\n"), is("3\n3\n3\n")));
    }
}
