//! What a worker counts about itself.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

macro_rules! status {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// What a worker has counted since it started.
        #[derive(Debug, Default)]
        pub struct Status {
            $($name: AtomicU64,)*
            backend: Mutex<Vec<(&'static str, u64)>>,
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
    /// Frames of levels that were not asked for.
    other_levels,
    /// Times at which the state was damaged, moved aside and begun anew.
    state_damaged,
    /// Instances of which the settled totals were lost by that, as far as could be read.
    state_instances_lost,
    /// Batches that were lost by that, as far as could be read.
    state_batches_lost,
    /// Messages that were no frames: wrong topic or number of parts.
    malformed,
}
