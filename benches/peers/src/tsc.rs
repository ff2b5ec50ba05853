//! The processor's own counter, read as it is: what a clock costs at least.

/// One read. Where this is not x86-64 it is a read of the system's monotonic clock, and the tables say so.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
#[allow(unsafe_code, reason = "reads a register, and nothing but the intrinsic reads it as it is")]
pub(crate) fn read() -> u64 {
    // SAFETY: every x86-64 processor has the instruction, and Linux allows it to programs.
    unsafe { std::arch::x86_64::_rdtsc() }
}

#[cfg(not(target_arch = "x86_64"))]
#[inline(always)]
pub(crate) fn read() -> u64 {
    use std::sync::LazyLock;
    use std::time::Instant;
    static START: LazyLock<Instant> = LazyLock::new(Instant::now);
    START.elapsed().as_nanos() as u64
}

/// How often it ticks in a second, measured against the system's clock.
pub(crate) fn frequency() -> f64 {
    let (start, ticks) = (std::time::Instant::now(), read());
    std::thread::sleep(std::time::Duration::from_millis(100));
    let (elapsed, ticks) = (start.elapsed(), read() - ticks);
    ticks as f64 / elapsed.as_secs_f64()
}
