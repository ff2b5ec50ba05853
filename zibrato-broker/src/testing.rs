//! The state file without its thread, for tests that drive [`keep`](crate::keep) by hand.

use std::path::Path;
use std::sync::Arc;

use zibrato_core::frame::InstanceId;

use crate::broker::restore;
use crate::error::Error;
use crate::keep::{Effect, Keep};
use crate::store::{Job, Store};

/// The state file of a broker.
pub struct Disk(Store);

impl Disk {
    /// Opens the state file in `directory`, and puts what it has into `keep`; `now` is in nanoseconds on the
    /// broker's clock.
    ///
    /// # Errors
    /// When the file cannot be used.
    pub fn open(directory: &Path, keep: &mut Keep, now: u64) -> Result<Disk, Error> {
        let (store, loaded) = Store::open(directory)?;
        restore(keep, loaded, now);
        Ok(Disk(store))
    }

    /// Makes the effects durable in one transaction. Returns whose records of which version were written, to be
    /// told to [`Keep::stored`].
    ///
    /// # Errors
    /// When the file cannot be written; nothing of it is there then.
    pub fn write(
        &mut self,
        effects: impl IntoIterator<Item = Effect>,
    ) -> Result<Vec<(InstanceId, Arc<str>, u64)>, rusqlite::Error> {
        let job = |effect| match effect {
            Effect::Write(record) => Job::Write(record),
            Effect::Forget(tombstone) => Job::Forget(tombstone),
        };
        let jobs: Vec<Job> = effects.into_iter().map(job).collect();
        self.0.write(&jobs)?;
        let written = jobs.into_iter().filter_map(|job| match job {
            Job::Write(record) => Some((record.instance, record.level, record.version)),
            _ => None,
        });
        Ok(written.collect())
    }

    /// Removes tombstones and retired sets that are older than `before`, in nanoseconds on the broker's clock.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn clear(&mut self, before: u64) -> Result<(), rusqlite::Error> {
        self.0.write(&[Job::Clear(before)])
    }
}
