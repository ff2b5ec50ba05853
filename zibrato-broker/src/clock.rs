//! The broker's clock: the time of day when its state file was made, and steady from there.

use std::time::{Instant, SystemTime};

use zibrato_core::clock::Moment;

/// A clock that never goes back, and is not stepped.
///
/// How long a frame has been held is told to workers, who conclude from it how old a program is. Had the machine's clock been set
/// forward by hours while no broker ran, programs that ended before would seem older than they are, and workers would take
/// their last totals for settled. So a broker that is started again goes on from where its clock was, by how long
/// the machine has been up since; only after the machine was started anew it asks for the time of day.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock {
    started: Instant,
    started_at: u64,
}

/// Where a broker's clock was, and when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Anchor {
    pub(crate) moment: Moment,
    /// What the broker's clock showed, in nanoseconds since 1970 UTC.
    pub(crate) time: u64,
}

impl Clock {
    /// Goes on from an earlier broker's clock, if there was one since the machine was started.
    pub(crate) fn start(earlier: Option<&Anchor>) -> Self {
        let since_1970 = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default().as_nanos() as u64;
        let went_on = earlier.zip(Moment::now()).and_then(|(earlier, now)| earlier.at(&now));
        Clock { started: Instant::now(), started_at: went_on.unwrap_or(since_1970) }
    }

    /// When it was started, in nanoseconds since 1970 UTC.
    pub(crate) fn started_at(&self) -> u64 {
        self.started_at
    }

    /// Now, in nanoseconds since 1970 UTC.
    pub(crate) fn now(&self) -> u64 {
        self.started_at + self.started.elapsed().as_nanos() as u64
    }

    /// What a later broker goes on from; `None` where the machine does not tell how long it has been up.
    pub(crate) fn anchor(&self) -> Option<Anchor> {
        Moment::now().map(|moment| Anchor { moment, time: self.now() })
    }
}

impl Anchor {
    /// What the clock shows in the same life of the machine.
    fn at(&self, now: &Moment) -> Option<u64> {
        self.time.checked_add(now.since(&self.moment)?.as_nanos() as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_goes_on_within_a_life_of_the_machine() {
        let moment = |boot: &str, uptime| Moment { boot: boot.into(), uptime };
        let anchor = Anchor { moment: moment("a", 100), time: 5000 };
        assert_eq!(anchor.at(&moment("a", 130)), Some(5030));
        assert_eq!(anchor.at(&moment("b", 130)), None, "another life");
    }
}
