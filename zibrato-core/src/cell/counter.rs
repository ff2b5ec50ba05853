//! The processor's own counter of time. It is read here because this module has all unsafe code.

/// Whether the processor has a counter that runs at one rate, whatever the processor does: on all cores, at any
/// frequency, also in deep sleep.
#[cfg(target_arch = "x86_64")]
pub(crate) fn is_invariant() -> bool {
    use std::arch::x86_64::__cpuid;

    // Intel SDM, volume 3, 18.17.1 "Invariant TSC", and AMD's programmer's manual, volume 3, CPUID 8000_0007.
    const POWER: u32 = 0x8000_0007;
    __cpuid(0x8000_0000).eax >= POWER && __cpuid(POWER).edx & (1 << 8) != 0
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
pub(crate) fn read_ordered() -> u64 {
    use std::arch::x86_64::{_mm_lfence, _rdtsc};

    // SAFETY: every x86-64 processor has the instructions.
    unsafe {
        _mm_lfence();
        let now = _rdtsc();
        _mm_lfence();
        now
    }
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
pub(crate) fn read_ordered() -> u64 {
    0
}
