//! The CPU time of a thread, which others do not lengthen by keeping the processor busy.

/// The CPU time of this thread in seconds.
#[cfg(unix)]
pub(super) fn seconds() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

/// Where threads have no clock of their own, time is what there is.
#[cfg(not(unix))]
pub(super) fn seconds() -> f64 {
    zibrato_core::clock::unix_nanos() as f64 / 1e9
}
