//! When a file was written, so that its age can be told by a clock that nobody sets.

use std::time::Duration;

/// A time on the clock of the machine, which begins with its start and goes on while it sleeps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Moment {
    /// Another one after each start of the machine.
    pub(super) boot: String,
    /// Nanoseconds since then.
    pub(super) uptime: u64,
}

impl Moment {
    /// Now; `None` where the system has no such clock.
    #[cfg(target_os = "linux")]
    pub(super) fn now() -> Option<Moment> {
        let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?.trim().to_string();
        let uptime = std::fs::read_to_string("/proc/uptime").ok()?;
        let seconds: f64 = uptime.split_whitespace().next()?.parse().ok()?;
        let uptime = Duration::try_from_secs_f64(seconds).ok()?.as_nanos().try_into().ok()?;
        Some(Moment { boot, uptime }).filter(|moment| !moment.boot.is_empty())
    }

    /// Now; `None` where the system has no such clock.
    #[cfg(not(target_os = "linux"))]
    pub(super) fn now() -> Option<Moment> {
        None
    }

    /// How long ago this was; `None` if the machine was started again since.
    pub(super) fn elapsed(&self, now: Option<&Moment>) -> Option<Duration> {
        let now = now.filter(|now| now.boot == self.boot)?;
        now.uptime.checked_sub(self.uptime).map(Duration::from_nanos)
    }
}
