//! The outbox: batches that the backend has not accepted yet.

use std::sync::atomic::Ordering;

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::accounts::{self, Account, Accounts};
use super::codec::{decode_measurements, encode_measurements};
use super::seal::batch_seal;
use super::settled::insert_batch;
use super::{State, meta, set_meta, small};
use crate::account::Amount;
use crate::aggregate;
use crate::backend::Temporality;
use crate::batch::{Batch, Measurement};
use crate::error::Error;

/// A batch that is about to be sent; that it is, is on the disk already.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Attempt {
    /// What is to be sent.
    pub(crate) batch: Batch,
    /// How often this was begun, at least 1: of 2 and more the backend may have accepted it before.
    pub(crate) number: u64,
}

impl State {
    /// Notes what the backend is told from now on. If that was something else before, totals begin anew.
    ///
    /// # Errors
    /// When the database cannot be used, and when batches wait that were made for what the backend was told before.
    pub(crate) fn tell(&self, temporality: Temporality) -> Result<(), Error> {
        let wanted = match temporality {
            Temporality::Delta => "delta",
            Temporality::Cumulative => "cumulative",
        };
        let refused = self.transaction("write", |tx| {
            let found: Option<String> = meta(tx, "temporality")?;
            if let Some(found) = found.filter(|found| found != wanted) {
                let waiting: u64 = tx.query_row("SELECT count(*) FROM outbox", [], |row| row.get(0))?;
                if waiting > 0 {
                    return Ok(Some((found, waiting)));
                }
                tx.execute("DELETE FROM total", [])?;
            }
            set_meta(tx, "temporality", wanted.to_string()).map(|()| None)
        })?;
        let Some((found, waiting)) = refused else {
            self.0.cumulative.store(temporality == Temporality::Cumulative, Ordering::Relaxed);
            return Ok(());
        };
        let path = self.directory().display();
        let why = format!(
            "values are {wanted} now, but {waiting} batches in {path} that are not sent yet have {found} ones; go back to \
             {found} until they are sent"
        );
        Err(Error::Option { why })
    }

    /// How many batches wait.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn waiting(&self) -> Result<usize, Error> {
        let db = self.lock();
        let count = db
            .prepare_cached("SELECT count(*) FROM outbox")
            .and_then(|mut count| count.query_row([], |row| row.get(0)));
        count.map_err(self.failed("read"))
    }

    /// The oldest batch, after it was marked as being sent. One that is damaged is set aside in a file.
    pub(crate) fn attempt(&self) -> Result<Option<Attempt>, Error> {
        loop {
            let Some(Marked { batch, number, bytes, sealed }) = self.mark_oldest()? else { return Ok(None) };
            match decode_measurements(&bytes) {
                Ok(measurements) if sealed => {
                    return Ok(Some(Attempt { batch: Batch { measurements, ..batch }, number }));
                }
                Ok(_) => self.set_aside(batch.id, &bytes, "it is not what was written")?,
                Err(why) => self.set_aside(batch.id, &bytes, &why)?,
            }
        }
    }

    /// Moves a batch that cannot be read out of the way of those behind it.
    fn set_aside(&self, id: u64, bytes: &[u8], why: &str) -> Result<(), Error> {
        let path = self.directory().join(format!("damaged-batch-{id}"));
        std::fs::write(&path, bytes).map_err(Error::file("write", &path))?;
        tracing::error!(batch = id, why, file = %path.display(), "a batch is damaged and was set aside");
        self.transaction("write", |tx| {
            delete(tx, small(id))?;
            // What was in it is what is missing now; its own word for that may be damaged, too.
            let lost = Accounts::read(tx)?.waiting().minus(accounts::waiting(tx)?);
            accounts::add(tx, Account::Lost, lost)?;
            let how = format!("batch {id} was damaged and set aside in {}: {why}", path.display());
            super::note_damage(tx, &how)
        })?;
        self.0.batches_lost.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    fn mark_oldest(&self) -> Result<Option<Marked>, Error> {
        self.transaction("write", |tx| {
            let oldest = tx
                .prepare_cached(
                    "SELECT id, begin, time, attempts, measurements, amount, seal FROM outbox ORDER BY id LIMIT 1",
                )?
                .query_row([], Stored::read)
                .optional()?;
            let Some(Stored { numbers: [id, begin, time, attempts], bytes, amount, sealed }) = oldest else {
                return Ok(None);
            };
            let number = attempts.saturating_add(1);
            // One that is damaged stays so.
            if sealed {
                let seal = batch_seal([id, begin, time, number], &bytes, &amount);
                tx.prepare_cached("UPDATE outbox SET attempts = ?, seal = ? WHERE id = ?")?
                    .execute(params![number, seal, id])?;
            }
            let batch = batch_of([id, begin, time, number]);
            Ok(Some(Marked { batch, number: u64::try_from(number).unwrap_or(1), bytes, sealed }))
        })
    }

    /// Deletes a batch: all of it was accepted but what was `refused`, which is with the dead letters.
    pub(crate) fn finish(&self, id: u64, refused: Amount) -> Result<(), Error> {
        let refused = self.countable(refused);
        self.transaction("write", |tx| {
            let amount = delete(tx, small(id))?;
            accounts::add(tx, Account::Accepted, amount.minus(refused))?;
            accounts::add(tx, Account::Refused, refused)
        })
    }

    /// Leaves only these measurements of a batch, of which some others were `refused` and the rest was accepted.
    pub(crate) fn keep(&self, id: u64, measurements: &[Measurement], refused: Amount) -> Result<(), Error> {
        let kept = Amount::all(measurements, self.is_cumulative());
        let measurements = encode_measurements(measurements).map_err(|why| self.bad(why))?;
        let refused = self.countable(refused);
        self.transaction("write", |tx| {
            let Some((numbers, amount)) = find(tx, small(id))? else { return Ok(()) };
            let bytes = kept.encode();
            let seal = batch_seal(numbers, &measurements, &bytes);
            tx.prepare_cached("UPDATE outbox SET measurements = ?, amount = ?, seal = ? WHERE id = ?")?
                .execute(params![measurements, bytes, seal, small(id)])?;
            accounts::add(tx, Account::Accepted, amount.minus(kept).minus(refused))?;
            accounts::add(tx, Account::Refused, refused)
        })
    }

    /// What of an amount is counted of a backend as this one.
    fn countable(&self, amount: Amount) -> Amount {
        if self.is_cumulative() {
            Amount { datapoints: amount.datapoints, ..Amount::default() }
        } else {
            amount
        }
    }

    /// Makes one period of all batches that were never attempted, so that there are fewer; they are newer than
    /// all that were. True if anything was merged.
    pub(crate) fn merge_unsent(&self, batch_size: usize, temporality: Temporality) -> Result<bool, Error> {
        for (id, bytes, why) in self.damaged_unsent()? {
            self.set_aside(id, &bytes, &why)?;
        }
        self.transaction_with("write", |tx| {
            let batches: Vec<(Batch, Vec<u8>)> =
                read_unsent(tx)?.into_iter().map(|stored| (batch_of(stored.numbers), stored.bytes)).collect();
            let times: std::collections::BTreeSet<u64> =
                batches.iter().map(|(batch, _)| batch.time).collect();
            if times.len() < 2 {
                return Ok(Ok(false));
            }
            let mut all = Vec::new();
            for (_, bytes) in &batches {
                match decode_measurements(bytes) {
                    Ok(measurements) => all.extend(measurements),
                    Err(why) => return Ok(Err(why)),
                }
            }
            let chunks = aggregate::chunks(aggregate::merge(all, temporality), batch_size);
            // Never more than before, so the ids suffice; the newest ones are taken.
            let ids: Vec<u64> = batches.iter().map(|(batch, _)| batch.id).collect();
            let begin = batches.iter().map(|(batch, _)| batch.from).min().unwrap_or(0);
            let time = times.last().copied().unwrap_or(0);
            if chunks.len() >= ids.len() {
                return Ok(Ok(false));
            }
            let cumulative = self.is_cumulative();
            let before: Amount = batches
                .iter()
                .map(|(batch, _)| {
                    find(tx, small(batch.id)).map(|found| found.map_or(Amount::default(), |found| found.1))
                })
                .sum::<rusqlite::Result<Amount>>()?;
            let after: Amount = chunks.iter().map(|chunk| Amount::all(chunk, cumulative)).sum();
            accounts::add(tx, Account::Merged, before.minus(after))?;
            tx.execute("DELETE FROM outbox WHERE attempts = 0", [])?;
            for (id, chunk) in ids[ids.len() - chunks.len()..].iter().zip(&chunks) {
                let bytes = match encode_measurements(chunk) {
                    Ok(bytes) => bytes,
                    Err(why) => return Ok(Err(why)),
                };
                let amount = Amount::all(chunk, cumulative);
                insert_batch(tx, [small(*id), small(begin), small(time), 0], &bytes, amount)?;
            }
            Ok(Ok(true))
        })
    }

    /// Batches that were never attempted and cannot be read; what was in them must not go into others.
    fn damaged_unsent(&self) -> Result<Vec<(u64, Vec<u8>, String)>, Error> {
        let stored = read_unsent(&self.lock()).map_err(self.failed("read"))?;
        let damaged = stored.into_iter().filter_map(|stored| {
            let id = batch_of(stored.numbers).id;
            match decode_measurements(&stored.bytes) {
                Ok(_) if stored.sealed => None,
                Ok(_) => Some((id, stored.bytes, "it is not what was written".into())),
                Err(why) => Some((id, stored.bytes, why)),
            }
        });
        Ok(damaged.collect())
    }

    /// A transaction that can also fail for what it has read; then it changes nothing.
    fn transaction_with<T>(
        &self,
        doing: &'static str,
        work: impl FnOnce(&Connection) -> rusqlite::Result<Result<T, String>>,
    ) -> Result<T, Error> {
        let mut why = None;
        let result = self.transaction(doing, |tx| match work(tx)? {
            Ok(value) => Ok(value),
            Err(bad) => {
                why = Some(bad);
                Err(rusqlite::Error::ExecuteReturnedResults)
            }
        });
        match why {
            Some(why) => Err(self.bad(why)),
            None => result,
        }
    }
}

/// A batch that was marked as being sent, as it is written.
struct Marked {
    batch: Batch,
    number: u64,
    bytes: Vec<u8>,
    /// Whether it is what was written.
    sealed: bool,
}

/// A batch as it is written.
struct Stored {
    /// Id, beginning, time and how often it was attempted.
    numbers: [i64; 4],
    bytes: Vec<u8>,
    amount: Vec<u8>,
    /// Whether it is what was written.
    sealed: bool,
}

impl Stored {
    /// Of a row with id, begin, time, attempts, measurements, amount and seal.
    fn read(row: &Row<'_>) -> rusqlite::Result<Stored> {
        let numbers = [row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?];
        let (bytes, amount): (Vec<u8>, Vec<u8>) = (row.get(4)?, row.get(5)?);
        let sealed = batch_seal(numbers, &bytes, &amount) == row.get::<_, u32>(6)?;
        Ok(Stored { numbers, bytes, amount, sealed })
    }
}

/// The batch of this id, beginning and time, without what is in it.
fn batch_of(numbers: [i64; 4]) -> Batch {
    let [id, from, time, _] = numbers.map(|number| u64::try_from(number).unwrap_or(0));
    Batch { id, from, time, measurements: Vec::new() }
}

/// Id, beginning and time of a batch, how often it was attempted, and what is in it.
fn find(tx: &Connection, id: i64) -> rusqlite::Result<Option<([i64; 4], Amount)>> {
    tx.prepare_cached("SELECT id, begin, time, attempts, amount FROM outbox WHERE id = ?")?
        .query_row([id], |row| {
            let amount: Vec<u8> = row.get(4)?;
            let numbers = [row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?];
            Ok((numbers, Amount::decode(&amount).unwrap_or_default()))
        })
        .optional()
}

/// Deletes a batch, and tells what was in it.
fn delete(tx: &Connection, id: i64) -> rusqlite::Result<Amount> {
    let found = find(tx, id)?;
    tx.prepare_cached("DELETE FROM outbox WHERE id = ?")?.execute([id])?;
    Ok(found.map_or(Amount::default(), |(_, amount)| amount))
}

fn read_unsent(tx: &Connection) -> rusqlite::Result<Vec<Stored>> {
    tx.prepare_cached(
        "SELECT id, begin, time, attempts, measurements, amount, seal FROM outbox WHERE attempts = 0 ORDER BY id",
    )?
    .query_map([], Stored::read)?
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shard::Shard;
    use crate::state::Step;

    #[test]
    fn batches_of_totals_are_never_taken_for_differences() {
        let directory = tempfile::tempdir().unwrap();
        let state = State::open(directory.path(), "memory", Shard::WHOLE).unwrap();
        state.tell(Temporality::Cumulative).unwrap();
        let chunks = [Vec::new()];
        let ids = state.settle(&Step { chunks: &chunks, ..Step::default() }).unwrap();
        state.tell(Temporality::Cumulative).unwrap();
        let why = state.tell(Temporality::Delta).unwrap_err().to_string();
        assert!(why.contains("1 batches") && why.contains("go back to cumulative"), "{why}");
        state.finish(ids[0], Amount::default()).unwrap();
        state.tell(Temporality::Delta).unwrap();
        assert!(state.tell(Temporality::Cumulative).is_ok(), "and back");
    }
}
