//! What the tasks of the broker share.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};

use zibrato_admin::Liveness;
use zibrato_core::frame::{InstanceId, decode_head};
use zibrato_core::trace::Journal;

use crate::clock::Clock;
use crate::intake::own_run;
use crate::keep::{Effect, Keep};
use crate::net::{Fanout, Net, Run};
use crate::refusals::Refusals;
use crate::store::{Disk, Job, Writer};

/// Most events of marked rows that are kept, to be sent or for receivers that come late.
const EVENTS: usize = 10_000;

/// Longest topic: a level and its bar.
const TOPIC: usize = zibrato_core::limits::LEVEL + 1;
/// Longest start of an old line that a subscription may ask for.
const LINE: usize = 1024;

/// Counters of the whole broker.
#[derive(Default)]
pub(crate) struct Counters {
    pub(crate) frames_in: AtomicU64,
    pub(crate) bytes_in: AtomicU64,
    pub(crate) frames_out: AtomicU64,
    pub(crate) acks: AtomicU64,
    pub(crate) asks: AtomicU64,
    pub(crate) answered: AtomicU64,
    pub(crate) lines_in: AtomicU64,
    /// Frames of which the rows were decoded, because some are marked for tracing.
    pub(crate) traced: AtomicU64,
    /// Files of allowed identities that could not be used.
    pub(crate) bad_allowed: AtomicU64,
    /// Answers given up because the asker did not take them.
    pub(crate) broken: AtomicU64,
    /// Lines of old metrics beyond the limit.
    pub(crate) lines_over: AtomicU64,
    /// State files found damaged at the start.
    pub(crate) damaged: AtomicU64,
    /// Frames of the state file that could not be read.
    pub(crate) unreadable: AtomicU64,
}

pub(crate) fn add(counter: &AtomicU64, n: u64) {
    counter.fetch_add(n, Ordering::Relaxed);
}

pub(crate) struct Shared {
    pub(crate) boot: [u8; 16],
    pub(crate) clock: Clock,
    pub(crate) instance: InstanceId,
    pub(crate) source: String,
    pub(crate) counters: Counters,
    pub(crate) refusals: Arc<Refusals>,
    pub(crate) net: Net,
    /// Who subscribed to frames, and who to old lines.
    pub(crate) fanout: Arc<Fanout>,
    pub(crate) old_lines: Arc<Fanout>,
    pub(crate) durable: bool,
    pub(crate) liveness: Liveness,
    keep: Mutex<Keep>,
    journal: Mutex<Journal>,
    writer: Mutex<Option<Writer>>,
}

impl Shared {
    pub(crate) fn new(
        keep: Keep,
        boot: [u8; 16],
        clock: Clock,
        net: Net,
        writer: Option<Writer>,
        liveness: Liveness,
    ) -> Self {
        let source = own_source();
        let subscriptions = net.links.limits().subscriptions;
        Shared {
            boot,
            clock,
            instance: InstanceId::random(),
            journal: Mutex::new(Journal::new(&source, EVENTS)),
            source,
            counters: Counters::default(),
            refusals: net.refusals.clone(),
            net,
            fanout: Arc::new(Fanout::new(subscriptions, TOPIC)),
            old_lines: Arc::new(Fanout::new(subscriptions, LINE)),
            durable: writer.is_some(),
            liveness,
            keep: Mutex::new(keep),
            writer: Mutex::new(writer),
        }
    }

    /// Reads the allowed identities again.
    pub(crate) fn read_allowed(&self) {
        self.disconnect(self.net.guard.read_again());
    }

    /// Reads the allowed identities again where their file has changed.
    pub(crate) fn look_at_allowed(&self) {
        if let Some(read) = self.net.guard.look() {
            self.disconnect(read);
        }
    }

    /// Who is gone, or may do something else now, is disconnected; who may still come in comes again.
    fn disconnect(&self, read: Result<Vec<String>, zibrato_keys::Error>) {
        match read {
            Ok(gone) => {
                let ended = self.net.links.end_owners(|name| gone.iter().any(|g| g == name), "revoked");
                tracing::info!(changed = gone.len(), ended, "read the allowed identities again");
            }
            Err(error) => {
                tracing::error!("failed to {error}; the identities that were allowed before still are");
                add(&self.counters.bad_allowed, 1);
            }
        }
    }

    /// How many messages slow subscribers have missed, together.
    pub(crate) fn dropped(&self) -> u64 {
        self.fanout.dropped() + self.old_lines.dropped()
    }

    pub(crate) fn keep(&self) -> MutexGuard<'_, Keep> {
        // A panic under the lock would be a fault of ours; going on with what is kept serves everyone better.
        self.keep.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is told of marked rows.
    pub(crate) fn journal(&self) -> MutexGuard<'_, Journal> {
        self.journal.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends runs to all subscribers. Those who are too slow miss them.
    pub(crate) fn publish(&self, runs: &[Run]) {
        add(&self.counters.frames_out, runs.iter().map(|run| run.messages as u64).sum());
        self.fanout.publish(runs);
    }

    /// Keeps and publishes a frame of the broker's own making.
    pub(crate) fn emit(&self, level: &str, frame: Vec<u8>) {
        match decode_head(&frame) {
            Ok(head) => {
                self.keep().take(level, &head, &frame, self.clock.now());
            }
            Err(why) => tracing::error!(level, "failed to keep a frame of the broker's own: {why}"),
        }
        self.publish(&[own_run(level, &frame)]);
    }

    /// Passes on to the disk what has to be there.
    pub(crate) fn write(&self, effects: impl IntoIterator<Item = Effect>) {
        let writer = self.writer();
        for effect in effects {
            let job = match effect {
                Effect::Write(record) => Job::Write(record),
                Effect::Forget(tombstone) => Job::Forget(tombstone),
            };
            if let Some(writer) = &*writer {
                writer.write(job);
            }
        }
    }

    /// How many records may be given to the disk at the moment.
    pub(crate) fn room(&self) -> usize {
        self.writer().as_ref().map_or(0, Writer::room)
    }

    /// How the disk does.
    pub(crate) fn disk(&self) -> Disk {
        self.writer().as_ref().map(Writer::disk).unwrap_or_default()
    }

    /// Whether the last write failed, as far as that can be told without waiting.
    pub(crate) fn disk_fails(&self) -> bool {
        let writer = match self.writer.try_lock() {
            Ok(writer) => writer,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return false,
        };
        writer.as_ref().is_some_and(|writer| writer.disk().is_failing)
    }

    pub(crate) fn clear_old(&self, before: u64) {
        if let Some(writer) = &*self.writer() {
            writer.write(Job::Clear(before));
        }
    }

    pub(crate) fn take_writer(&self) -> Option<Writer> {
        self.writer().take()
    }

    fn writer(&self) -> MutexGuard<'_, Option<Writer>> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The host's name, as far as it can be a source.
fn own_source() -> String {
    let name = gethostname::gethostname().to_string_lossy().into_owned();
    if zibrato_core::limits::check_name(&name).is_ok() { name } else { "localhost".into() }
}
