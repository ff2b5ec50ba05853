//! What the kernel tells of a process in `/proc`.

use std::fs;

use nix::unistd::{SysconfVar, sysconf};
use zibrato_core::PerProcess;

/// Some lines of `/proc/self/status`, sizes in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Status {
    pub(super) resident: Option<u64>,
    pub(super) virtual_memory: Option<u64>,
    pub(super) threads: Option<u64>,
}

pub(super) fn status() -> Status {
    fs::read_to_string("/proc/self/status").map(|text| parse_status(&text)).unwrap_or_default()
}

fn parse_status(text: &str) -> Status {
    let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    let number = |name: &str| field(name)?.trim().parse().ok();
    let bytes = |name: &str| {
        let kibibytes: u64 = field(name)?.trim().strip_suffix(" kB")?.trim_end().parse().ok()?;
        kibibytes.checked_mul(1024)
    };
    Status { resident: bytes("VmRSS"), virtual_memory: bytes("VmSize"), threads: number("Threads") }
}

pub(super) fn open_descriptors() -> Option<u64> {
    let directory = "/proc/self/fd";
    // Since Linux 6.2 the size is the number of descriptors, so that a program with very many need not list them.
    match fs::metadata(directory).ok()?.len() {
        0 => super::count_entries(directory),
        open => Some(open),
    }
}

/// In seconds since 1970 UTC. It does not change, so it is read once in each process.
pub(super) fn start_time() -> Option<f64> {
    static START: PerProcess<Option<f64>> = PerProcess::new(None);
    if let Some(known) = *START.lock() {
        return Some(known);
    }
    let ticks_per_second = sysconf(SysconfVar::CLK_TCK).ok()??;
    let booted = parse_boot_time(&fs::read_to_string("/proc/stat").ok()?)?;
    let ticks = parse_start_ticks(&fs::read_to_string("/proc/self/stat").ok()?)?;
    let start = booted as f64 + ticks as f64 / ticks_per_second as f64;
    *START.lock() = Some(start);
    Some(start)
}

/// In seconds since 1970 UTC, of `/proc/stat`.
fn parse_boot_time(text: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix("btime ")?.trim().parse().ok())
}

/// In clock ticks since the system booted, of `/proc/self/stat`.
fn parse_start_ticks(text: &str) -> Option<u64> {
    // The second field is the program's name in parentheses, and may have any character in it.
    let (_, rest) = text.rsplit_once(')')?;
    rest.split_ascii_whitespace().nth(19)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_in_what_the_kernel_writes() {
        let text = "Name:\tVmRSS: 7 kB\nVmPeak:\t    3000 kB\nVmSize:\t    2928 kB\nVmRSS:\t    1800 kB\nThreads:\t12\n";
        let status =
            Status { resident: Some(1800 << 10), virtual_memory: Some(2928 << 10), threads: Some(12) };
        assert_eq!(parse_status(text), status);
        assert_eq!(
            parse_status("Threads:\tmany\nVmSize:\t18446744073709551615 kB\nVmRSS: 4 MB\n"),
            Status::default()
        );
        let stat =
            "11097 (a) R b) R 11094 11094 3595 0 -1 4194304 102 0 0 0 0 0 0 0 20 0 1 0 1229982 3133440 418";
        assert_eq!(parse_start_ticks(stat), Some(1_229_982));
        assert_eq!(parse_start_ticks("11097 (short) R 1"), None);
        assert_eq!(parse_boot_time("cpu 1 2\nbtime 1795305000\n"), Some(1_795_305_000));
    }
}
