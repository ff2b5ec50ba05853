//! What the process itself uses: CPU time, memory, file descriptors, threads.
//!
//! The names and units are those of OpenTelemetry's semantic conventions for processes, except for the two that have
//! none there, which are marked with a star. All are at level `info`.
//!
//! | metric | kind, unit | what it is | where |
//! |---|---|---|---|
//! | `process.cpu.time`, tag `cpu.mode`: `user` or `system` | counter, `s` | CPU time since the process began | unix |
//! | `process.memory.usage` | gauge, `By` | resident memory | Linux |
//! | `process.memory.virtual` | gauge, `By` | virtual memory | Linux |
//! | `process.unix.file_descriptor.count` | gauge, `{file_descriptor}` | open file descriptors | Linux, macOS |
//! | `process.unix.file_descriptor.limit` * | gauge, `{file_descriptor}` | how many there may be (the soft limit) | unix |
//! | `process.thread.count` | gauge, `{thread}` | threads | Linux |
//! | `process.start_time` * | gauge, `s` | when the process began, in seconds since 1970 UTC | Linux |
//!
//! What a system does not tell is simply not there.

#[cfg(any(target_os = "linux", target_os = "android"))]
mod linux;

use std::time::Duration;

use zibrato_core::PerProcess;
use zibrato_core::callback::Callback;

use crate::{count, describe, gauge, on_read};

/// CPU time of the process.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct CpuTime {
    user: Duration,
    system: Duration,
}

/// How much CPU time has been counted already. It is of the process, not of a callback, so that nothing is counted
/// twice where several report.
static COUNTED: PerProcess<CpuTime> =
    PerProcess::new(CpuTime { user: Duration::ZERO, system: Duration::ZERO });

/// Reports what the process uses before each read, until what it returns is dropped; see the [module](self) for the
/// metrics. For a program that installs Zibrato by itself [`Builder::process_metrics`](crate::Builder::process_metrics)
/// does the same.
///
/// The first instance of a process counts CPU time since the process began, later ones what was used after the last
/// read of the one before; a forked child counts its own.
///
/// ```
/// zibrato::process::report().detach();
/// ```
#[track_caller]
pub fn report() -> Callback {
    describe("process.cpu.time", "s", "CPU time of the process.");
    describe("process.memory.usage", "By", "Resident memory of the process.");
    describe("process.memory.virtual", "By", "Virtual memory of the process.");
    describe(
        "process.unix.file_descriptor.count",
        "{file_descriptor}",
        "Open file descriptors of the process.",
    );
    describe(
        "process.unix.file_descriptor.limit",
        "{file_descriptor}",
        "How many file descriptors the process may have open.",
    );
    describe("process.thread.count", "{thread}", "Threads of the process.");
    describe("process.start_time", "s", "When the process began, in seconds since 1970 UTC.");
    on_read(measure)
}

fn measure() {
    if let Some(cpu) = cpu_time() {
        let used = used_since_last(cpu);
        count!(tags("cpu.mode" = "user"), "process.cpu.time", used.user.as_secs_f64());
        count!(tags("cpu.mode" = "system"), "process.cpu.time", used.system.as_secs_f64());
    }
    if let Some(limit) = descriptor_limit() {
        gauge!("process.unix.file_descriptor.limit", limit);
    }
    if let Some(open) = open_descriptors() {
        gauge!("process.unix.file_descriptor.count", open);
    }
    #[cfg(any(target_os = "linux", target_os = "android"))]
    {
        let status = linux::status();
        if let Some(bytes) = status.resident {
            gauge!("process.memory.usage", bytes);
        }
        if let Some(bytes) = status.virtual_memory {
            gauge!("process.memory.virtual", bytes);
        }
        if let Some(threads) = status.threads {
            gauge!("process.thread.count", threads);
        }
        if let Some(seconds) = linux::start_time() {
            gauge!("process.start_time", seconds);
        }
    }
}

/// Never negative, also if the system's answer should fall.
fn used_since_last(now: CpuTime) -> CpuTime {
    let mut counted = COUNTED.lock();
    let last = *counted;
    *counted = CpuTime { user: now.user.max(last.user), system: now.system.max(last.system) };
    CpuTime { user: counted.user - last.user, system: counted.system - last.system }
}

#[cfg(unix)]
fn cpu_time() -> Option<CpuTime> {
    use nix::sys::resource::{UsageWho, getrusage};
    use nix::sys::time::TimeValLike;
    let usage = getrusage(UsageWho::RUSAGE_SELF).ok()?;
    let duration = |micros: i64| Duration::from_micros(u64::try_from(micros).unwrap_or(0));
    Some(CpuTime {
        user: duration(usage.user_time().num_microseconds()),
        system: duration(usage.system_time().num_microseconds()),
    })
}

#[cfg(not(unix))]
fn cpu_time() -> Option<CpuTime> {
    None
}

/// The soft limit, where there is one.
#[cfg(unix)]
fn descriptor_limit() -> Option<f64> {
    use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit};
    let (soft, _) = getrlimit(Resource::RLIMIT_NOFILE).ok()?;
    // Not a number of one type on all systems.
    (soft != RLIM_INFINITY).then_some(soft as f64)
}

#[cfg(not(unix))]
fn descriptor_limit() -> Option<f64> {
    None
}

fn open_descriptors() -> Option<u64> {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    return linux::open_descriptors();
    #[cfg(target_os = "macos")]
    return count_entries("/dev/fd");
    #[cfg(not(any(target_os = "linux", target_os = "android", target_os = "macos")))]
    return None;
}

/// The entries of a directory of descriptors, but for the one that reading it takes.
#[cfg(any(target_os = "linux", target_os = "android", target_os = "macos"))]
fn count_entries(directory: &str) -> Option<u64> {
    let entries = std::fs::read_dir(directory).ok()?;
    Some((entries.count() as u64).saturating_sub(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_time_never_falls() {
        let at = |user, system| CpuTime {
            user: Duration::from_millis(user),
            system: Duration::from_millis(system),
        };
        // Nothing but this test counts in this program.
        assert_eq!(used_since_last(at(7, 2)), at(7, 2));
        assert_eq!(used_since_last(at(5, 3)), at(0, 1));
        assert_eq!(used_since_last(at(9, 3)), at(2, 0));
    }
}
