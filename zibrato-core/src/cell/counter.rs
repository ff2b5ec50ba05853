//! The processor's own counter of time. It is read here because this module has all unsafe code.

use std::num::NonZeroU64;

/// No section takes so long: more than a lifetime.
const LONGEST: u64 = 1 << 62;

/// Ticks that can have passed between two readings: some, and not so many that it must be something else.
#[inline(always)]
pub(crate) fn plausible(ticks: u64) -> Option<NonZeroU64> {
    let plausible = (1..=LONGEST).contains(&ticks);
    // SAFETY: it is at least 1. The compiler would check that once more.
    plausible.then(|| unsafe { NonZeroU64::new_unchecked(ticks) })
}

/// Whether the processor has a counter that runs at one rate, whatever the processor does: on all cores, at any
/// frequency, also in deep sleep.
#[cfg(target_arch = "x86_64")]
pub(crate) fn is_invariant() -> bool {
    use std::arch::x86_64::__cpuid;

    // Intel SDM, volume 3, 18.17.1 "Invariant TSC", and AMD's programmer's manual, volume 3, CPUID 8000_0007.
    const POWER: u32 = 0x8000_0007;
    // RDTSCP, which all of them have.
    const FEATURES: u32 = 0x8000_0001;
    __cpuid(0x8000_0000).eax >= POWER
        && __cpuid(POWER).edx & (1 << 8) != 0
        && __cpuid(FEATURES).edx & (1 << 27) != 0
}

/// Reads the counter. The processor may do this a little earlier or later than the instructions around it.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
pub(crate) fn read() -> u64 {
    // SAFETY: every x86-64 processor has the instruction.
    unsafe { std::arch::x86_64::_rdtsc() }
}

/// Reads the counter when everything before is done, and before anything after is begun.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
pub(crate) fn read_first() -> u64 {
    let now = read_last();
    // SAFETY: every x86-64 processor has the instruction.
    unsafe { std::arch::x86_64::_mm_lfence() };
    now
}

/// Reads the counter when everything before is done.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
pub(crate) fn read_last() -> u64 {
    let mut core = 0;
    // SAFETY: who reads an invariant counter has asked whether the processor has the instruction.
    unsafe { std::arch::x86_64::__rdtscp(&mut core) }
}

#[cfg(not(target_arch = "x86_64"))]
pub(crate) fn is_invariant() -> bool {
    false
}

#[cfg(not(target_arch = "x86_64"))]
pub(crate) fn read() -> u64 {
    0
}

#[cfg(not(target_arch = "x86_64"))]
pub(crate) fn read_first() -> u64 {
    0
}

#[cfg(not(target_arch = "x86_64"))]
pub(crate) fn read_last() -> u64 {
    0
}
