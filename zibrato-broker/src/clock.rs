//! The broker's clock: the time of day at its start, and monotonic from there.

use std::time::{Instant, SystemTime};

/// A clock that never goes back.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock {
    started: Instant,
    started_at: u64,
}

impl Clock {
    pub(crate) fn start() -> Self {
        let since_1970 = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
        Clock { started: Instant::now(), started_at: since_1970.as_nanos() as u64 }
    }

    /// When it was started, in nanoseconds since 1970 UTC.
    pub(crate) fn started_at(&self) -> u64 {
        self.started_at
    }

    /// Now, in nanoseconds since 1970 UTC.
    pub(crate) fn now(&self) -> u64 {
        self.started_at + self.started.elapsed().as_nanos() as u64
    }
}
