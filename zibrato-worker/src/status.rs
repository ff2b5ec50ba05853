//! What a worker counts about itself.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

/// What is so at present. Times are in nanoseconds since 1970 on the clock of the worker's process; 0 is never.
#[derive(Debug, Default)]
struct Gauges {
    outbox_batches: AtomicU64,
    /// The time of the oldest batch that waits.
    oldest: AtomicU64,
    /// When the backend stopped taking batches.
    outage: AtomicU64,
    /// When something was last settled, or nothing was there to settle.
    settled: AtomicU64,
}

macro_rules! status {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// What a worker has counted since it started.
        #[derive(Debug, Default)]
        pub struct Status {
            $($name: AtomicU64,)*
            backend: Mutex<Vec<(&'static str, u64)>>,
            gauges: Gauges,
        }

        /// The figures of a [`Status`] at one time.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
        #[non_exhaustive]
        pub struct Figures {
            $($(#[$doc])* pub $name: u64,)*
        }

        impl Status {
            /// What the backend had counted when it was last used.
            pub fn backend(&self) -> Vec<(&'static str, u64)> {
                self.backend.lock().unwrap_or_else(PoisonError::into_inner).clone()
            }

            pub(crate) fn set_backend(&self, counts: Vec<(&'static str, u64)>) {
                *self.backend.lock().unwrap_or_else(PoisonError::into_inner) = counts;
            }

            /// The figures now.
            pub fn figures(&self) -> Figures {
                Figures { $($name: self.$name.load(Ordering::Relaxed),)* }
            }

            $(pub(crate) fn $name(&self, more: usize) {
                self.$name.fetch_add(more as u64, Ordering::Relaxed);
            })*
        }

        impl Figures {
            /// The figures with their names.
            pub fn named(&self) -> impl Iterator<Item = (&'static str, u64)> {
                [$((stringify!($name), self.$name),)*].into_iter()
            }
        }
    };
}

status! {
    /// Batches that the backend accepted, at least partly.
    batches_sent,
    /// Measurements that the backend accepted.
    measurements_sent,
    /// Attempts that failed and are made again.
    retries,
    /// Batches that the backend refused as a whole.
    batches_refused,
    /// Measurements that became dead letters.
    dead_letters,
    /// Times of settling that wrote something.
    settlements,
    /// Times at which nothing was settled because the outbox was full.
    outbox_full,
    /// Frames that could not be decoded.
    bad_frames,
    /// Rows that could not be decoded.
    bad_rows,
    /// Times at which the state directory could not be used.
    state_failures,
    /// Questions that a broker refused.
    asks_refused,
    /// Frames of levels that were not asked for.
    other_levels,
    /// Times at which the state was damaged: moved aside and begun anew, a batch set aside, or batches missing.
    state_damaged,
    /// Instances of which the settled totals were lost by that, as far as could be read.
    state_instances_lost,
    /// Batches that were lost by that, as far as could be read.
    state_batches_lost,
    /// Messages that were no frames: wrong topic or number of parts.
    malformed,
}

impl Status {
    /// How many batches wait in the outbox.
    pub fn outbox_batches(&self) -> u64 {
        self.gauges.outbox_batches.load(Ordering::Relaxed)
    }

    /// How old the oldest batch is that waits, in seconds at `now`; 0 where none waits.
    pub fn oldest(&self, now: u64) -> f64 {
        ago(&self.gauges.oldest, now)
    }

    /// For how long the backend has taken nothing, in seconds at `now`; 0 where it takes.
    pub fn outage(&self, now: u64) -> f64 {
        ago(&self.gauges.outage, now)
    }

    /// How long ago the worker has last settled, or found nothing to settle, in seconds at `now`.
    pub fn settled(&self, now: u64) -> f64 {
        ago(&self.gauges.settled, now)
    }

    pub(crate) fn set_outbox_batches(&self, batches: u64) {
        self.gauges.outbox_batches.store(batches, Ordering::Relaxed);
        if batches == 0 {
            self.set_oldest(0);
        }
    }

    pub(crate) fn set_oldest(&self, time: u64) {
        self.gauges.oldest.store(time, Ordering::Relaxed);
    }

    pub(crate) fn set_outage(&self, since: u64) {
        self.gauges.outage.store(since, Ordering::Relaxed);
    }

    pub(crate) fn set_settled(&self, at: u64) {
        self.gauges.settled.store(at, Ordering::Relaxed);
    }
}

fn ago(time: &AtomicU64, now: u64) -> f64 {
    match time.load(Ordering::Relaxed) {
        0 => 0.0,
        time => now.saturating_sub(time) as f64 / 1e9,
    }
}
