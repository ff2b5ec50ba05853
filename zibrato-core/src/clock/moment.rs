use std::time::Duration;

/// A time by the machine's own clock, which begins when it is started, goes on while it sleeps, and is set by nobody: what
/// is written down with one has an age for later processes, also where the calendar was set meanwhile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Moment {
    /// Which start of the machine it was; see proc_sys_kernel(5).
    pub boot: String,
    /// Nanoseconds since then; see proc_uptime(5).
    pub uptime: u64,
}

impl Moment {
    /// Now; `None` where the system does not tell.
    #[cfg(target_os = "linux")]
    pub fn now() -> Option<Moment> {
        let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?.trim().to_string();
        let uptime = std::fs::read_to_string("/proc/uptime").ok()?;
        let seconds: f64 = uptime.split_whitespace().next()?.parse().ok()?;
        let uptime = Duration::try_from_secs_f64(seconds).ok()?.as_nanos().try_into().ok()?;
        Some(Moment { boot, uptime }).filter(|moment| !moment.boot.is_empty())
    }

    /// Now; `None` where the system does not tell.
    #[cfg(not(target_os = "linux"))]
    pub fn now() -> Option<Moment> {
        None
    }

    /// How long after another one this is; `None` if the machine was started again between them.
    ///
    /// ```
    /// use std::time::Duration;
    /// use zibrato_core::clock::Moment;
    ///
    /// let at = |uptime| Moment { boot: "a".into(), uptime };
    /// assert_eq!(at(5_000_000_000).since(&at(2_000_000_000)), Some(Duration::from_secs(3)));
    /// assert_eq!(at(2).since(&at(5)), None);
    /// ```
    pub fn since(&self, earlier: &Moment) -> Option<Duration> {
        let uptime = self.uptime.checked_sub(earlier.uptime).filter(|_| self.boot == earlier.boot)?;
        Some(Duration::from_nanos(uptime))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_tells_how_long_ago_within_a_life_of_the_machine() {
        let at = |boot: &str, uptime| Moment { boot: boot.into(), uptime };
        assert_eq!(at("a", 130).since(&at("a", 100)), Some(Duration::from_nanos(30)));
        assert_eq!(at("a", 130).since(&at("b", 100)), None, "another life");
        assert_eq!(at("a", 99).since(&at("a", 100)), None, "it does not go back");
        #[cfg(target_os = "linux")]
        assert!(Moment::now().zip(Moment::now()).is_some_and(|(one, next)| next.since(&one).is_some()));
    }
}
