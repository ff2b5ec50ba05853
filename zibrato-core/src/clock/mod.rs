//! Time: a monotonic clock anchored once to the calendar, ticks for the hot path, and a fake of both for tests.
//!
//! Durations are measured in ticks of the processor's counter where that is invariant and the kernel itself
//! trusts it, else in nanoseconds of the system's clock. Ticks are converted where totals are read, at a rate that
//! is corrected against the system's clock all the time; see [`Calibration`].

mod calibration;
mod fake;
mod moment;
mod ticks;

use std::time::{Instant, SystemTime, UNIX_EPOCH};

pub(crate) use calibration::Converted;
use once_cell::race::OnceBox;

pub use calibration::{Calibration, Rate, Verdict};
pub use fake::{Entered, Fake};
pub use moment::Moment;
pub(crate) use ticks::{
    Elapsed, elapsed, elapsed_ordered_usually, elapsed_the_long_way, elapsed_usually, is_long_way, lattice,
    nominal, observe, start_the_long_way,
};
pub use ticks::{Source, source, start, start_ordered};

/// Not a `OnceLock`, which a fork could leave half filled for ever.
static ANCHOR: OnceBox<(Instant, u64)> = OnceBox::new();

fn anchor() -> (Instant, u64) {
    *ANCHOR.get_or_init(|| {
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Box::new((Instant::now(), unix.as_nanos() as u64))
    })
}

/// Nanoseconds of a clock that never goes back; only differences mean something.
#[inline]
pub fn nanos() -> u64 {
    fake::now().unwrap_or_else(system_nanos)
}

fn system_nanos() -> u64 {
    let (start, unix) = anchor();
    unix.saturating_add(Instant::now().saturating_duration_since(start).as_nanos() as u64)
}

/// The time as frames carry it: nanoseconds since 1970 UTC, as the calendar stood when the process first asked,
/// and monotonic from there on.
pub fn unix_nanos() -> u64 {
    nanos()
}
