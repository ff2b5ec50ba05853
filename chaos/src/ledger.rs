//! What an application has measured, by its own account: a file that is written to before and after each batch, so that
//! the truth is known whatever becomes of the application, and of everything that is under test.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::Path;

use crate::clock::monotonic;
use crate::work::{Tally, batch};

/// A ledger that is being written.
#[derive(Debug)]
pub struct Ledger(File);

impl Ledger {
    /// A new file.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn create(path: &Path) -> io::Result<Ledger> {
        File::options().create_new(true).append(true).open(path).map(Ledger)
    }

    // One write each, which is in the page cache, and so survives the process, when it returns.
    fn line(&mut self, what: char, number: u64) -> io::Result<()> {
        self.0.write_all(format!("{what} {number} {}\n", monotonic()).as_bytes())
    }

    /// A batch is about to be measured.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn begin(&mut self, number: u64) -> io::Result<()> {
        self.line('b', number)
    }

    /// The batch has been measured.
    ///
    /// # Errors
    /// As [`begin`](Ledger::begin).
    pub fn done(&mut self, number: u64) -> io::Result<()> {
        self.line('d', number)
    }

    /// The application is about to end in order.
    ///
    /// # Errors
    /// As [`begin`](Ledger::begin).
    pub fn ending(&mut self) -> io::Result<()> {
        self.line('e', 0)
    }

    /// It has ended, and a broker has acknowledged the last totals, or none has.
    ///
    /// # Errors
    /// As [`begin`](Ledger::begin).
    pub fn ended(&mut self, acknowledged: bool) -> io::Result<()> {
        self.line('a', u64::from(acknowledged))
    }
}

/// How an application's life ended, by its own account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// A broker has acknowledged its last totals.
    Acknowledged,
    /// None has.
    Unacknowledged,
    /// It says nothing of an end.
    Crashed,
}

/// A ledger that was read.
#[derive(Debug, Clone)]
pub struct Account {
    /// When each batch was done, by its number from 0.
    pub done: Vec<u64>,
    /// How many batches were begun: as many as were done, or one more.
    pub begun: u64,
    /// When something was written last.
    pub last: u64,
    /// When the end was begun.
    pub ending: Option<u64>,
    /// How it ended.
    pub end: End,
}

impl Account {
    /// Reads a file; one that is not there yet is of an application that has measured nothing.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn read(path: &Path) -> io::Result<Account> {
        let text = match std::fs::read_to_string(path) {
            Err(why) if why.kind() == io::ErrorKind::NotFound => String::new(),
            other => other?,
        };
        let mut account = Account { done: Vec::new(), begun: 0, last: 0, ending: None, end: End::Crashed };
        for line in text.lines() {
            let mut words = line.split(' ');
            let (Some(what), Some(Ok(number)), Some(Ok(time))) =
                (words.next(), words.next().map(str::parse::<u64>), words.next().map(str::parse::<u64>))
            else {
                continue;
            };
            account.last = time;
            match what {
                "b" => account.begun = number + 1,
                "d" => account.done.push(time),
                "e" => account.ending = Some(time),
                "a" if number == 1 => account.end = End::Acknowledged,
                _ => account.end = End::Unacknowledged,
            }
        }
        Ok(account)
    }

    /// How many batches were done at a time.
    pub fn done_by(&self, time: u64) -> u64 {
        self.done.partition_point(|done| *done <= time) as u64
    }

    /// The totals of the first so many batches.
    pub fn tally(&self, seed: u64, many: bool, batches: u64) -> Tally {
        let mut tally = Tally::default();
        (0..batches).for_each(|number| tally.add(&batch(seed, number, many)));
        tally
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("ledger");
        let mut ledger = Ledger::create(&path).unwrap();
        ledger.begin(0).unwrap();
        ledger.done(0).unwrap();
        ledger.begin(1).unwrap();
        let account = Account::read(&path).unwrap();
        assert_eq!((account.begun, account.done.len(), account.end), (2, 1, End::Crashed));
        assert_eq!((account.done_by(0), account.done_by(account.last)), (0, 1));
        ledger.done(1).unwrap();
        ledger.ending().unwrap();
        ledger.ended(true).unwrap();
        assert_eq!(Account::read(&path).unwrap().end, End::Acknowledged);
        assert_eq!(Account::read(&directory.path().join("none")).unwrap().begun, 0);
    }
}
