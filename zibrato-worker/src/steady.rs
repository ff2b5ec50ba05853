//! The clock that ledgers go by: the machine's, as long as that does not go back.

/// Goes on from the newest time that it has told where the machine's clock was set back, also over restarts.
///
/// A ledger compares when a program started with since when it has listened. With a clock that was set back by hours every
/// program that starts in those hours would seem to be older than the subscription, and what it counts at first would
/// be taken for what happened before.
#[derive(Debug)]
pub(crate) struct Steady {
    newest: u64,
    ahead: u64,
    slack: u64,
}

impl Steady {
    /// Goes on from a time that was told before, 0 where there is none; steps back by less than `slack` are let pass,
    /// as the ledger expects them.
    pub(crate) fn new(newest: u64, slack: u64) -> Steady {
        Steady { newest, ahead: 0, slack }
    }

    /// The time, where the machine's clock says `now`.
    pub(crate) fn at(&mut self, now: u64) -> u64 {
        let time = now.saturating_add(self.ahead);
        if time.saturating_add(self.slack) < self.newest {
            self.ahead = self.ahead.saturating_add(self.newest - time);
            return self.newest;
        }
        self.newest = self.newest.max(time);
        time
    }

    /// The newest time that it has told.
    pub(crate) fn newest(&self) -> u64 {
        self.newest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_does_not_go_back_by_more_than_the_slack() {
        let mut steady = Steady::new(0, 10);
        assert_eq!([100, 95, 200].map(|now| steady.at(now)), [100, 95, 200]);
        assert_eq!([50, 60, 300].map(|now| steady.at(now)), [200, 210, 450], "it runs ahead from then on");
        assert_eq!(Steady::new(steady.newest(), 10).at(20), 450, "and after a restart");
        assert_eq!(steady.at(295), 445);
    }
}
