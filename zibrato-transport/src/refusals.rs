//! What went wrong between the ends of protected connections, over all connections of one end.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};

/// Connections that were refused by either side, or ended because what came was not what its sender encrypted.
#[derive(Debug, Default)]
pub(crate) struct Refusals {
    count: AtomicU64,
    newest: Mutex<Option<String>>,
}

impl Refusals {
    pub(crate) fn count(&self) -> u64 {
        self.count.load(Relaxed)
    }

    #[cfg_attr(not(feature = "curve"), allow(dead_code))]
    pub(crate) fn add(&self, why: &str) {
        self.count.fetch_add(1, Relaxed);
        *self.newest.lock().unwrap_or_else(PoisonError::into_inner) = Some(why.into());
    }

    /// Why the newest was, if there is one that was not taken.
    pub(crate) fn take(&self) -> Option<String> {
        self.newest.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}
