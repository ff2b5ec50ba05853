//! What the figures were measured on.

/// Processor, cores and kernel, as far as the system tells.
pub(crate) fn describe() -> String {
    let cpuinfo = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpuinfo
        .lines()
        .find_map(|l| l.strip_prefix("model name"))
        .map(|l| l.trim_start_matches([' ', '\t', ':']));
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    format!(
        "{}, {cores} cores, {} {}, {} build",
        model.unwrap_or("unknown processor"),
        std::env::consts::OS,
        kernel.trim(),
        if cfg!(debug_assertions) { "debug" } else { "release" }
    )
}
