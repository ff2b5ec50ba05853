//! What the figures were measured on.

use std::fs::read_to_string;

use crate::tsc;

/// Processor, cores, kernel, compiler and clock, as far as the system tells.
pub(crate) fn describe() -> String {
    let cpuinfo = read_to_string("/proc/cpuinfo").unwrap_or_default();
    let field = |name: &str| {
        let line = cpuinfo.lines().find(|line| line.split(':').next().is_some_and(|n| n.trim() == name))?;
        Some(line.split_once(':')?.1.trim())
    };
    let line = |path| read_to_string(path).unwrap_or_default().trim().to_string();
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let virtual_machine = field("flags").is_some_and(|f| f.split(' ').any(|flag| flag == "hypervisor"));
    let clock = match line("/sys/devices/system/clocksource/clocksource0/current_clocksource") {
        clock if clock.is_empty() => "unknown".into(),
        clock => clock,
    };
    let counter = if cfg!(target_arch = "x86_64") {
        format!(", its counter at {:.2} GHz", tsc::frequency() / 1e9)
    } else {
        " without a time stamp counter, for which the system's clock stands in".into()
    };
    format!(
        "{}{counter}; {cores} cores{}; {} {}, clocksource {clock}; {}, {} build, no LTO.",
        field("model name").unwrap_or("unknown processor"),
        if virtual_machine { " of a virtual machine" } else { "" },
        std::env::consts::OS,
        line("/proc/sys/kernel/osrelease"),
        env!("RUSTC_VERSION"),
        if cfg!(debug_assertions) { "DEBUG" } else { "release" },
    )
}
