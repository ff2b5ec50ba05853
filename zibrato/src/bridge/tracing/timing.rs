use zibrato_core::clock;

/// Which time of a span is recorded.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Timed {
    /// From when it was made until it is closed; the time that a future waits is in it. Nothing is done when the span
    /// is entered and left.
    #[default]
    Life,
    /// From when it was first entered until it is closed. A span that was never entered is not recorded.
    SinceEntered,
    /// While it was entered, on at least one thread: of a future, the time of its polls alone. It reads the clock
    /// whenever the span is entered and left. A span that was never entered is not recorded.
    Busy,
}

/// The time of one span so far.
#[derive(Debug)]
pub(super) struct Timing {
    timed: Timed,
    /// When it began, or was entered; 0 where it has not been.
    since: u64,
    busy: u64,
    /// How often it is entered now.
    depth: u32,
    was_entered: bool,
}

impl Timing {
    pub(super) fn new(timed: Timed) -> Self {
        let since = if timed == Timed::Life { clock::nanos() } else { 0 };
        Timing { timed, since, busy: 0, depth: 0, was_entered: false }
    }

    pub(super) fn enter(&mut self) {
        if self.depth == 0 && (self.timed == Timed::Busy || !self.was_entered) {
            self.since = clock::nanos();
        }
        self.depth = self.depth.saturating_add(1);
        self.was_entered = true;
    }

    pub(super) fn exit(&mut self) {
        self.depth = self.depth.saturating_sub(1);
        if self.depth == 0 && self.timed == Timed::Busy {
            self.busy = self.busy.saturating_add(self.elapsed());
        }
    }

    /// How long it took in nanoseconds, now that it is closed; `None` where it never began.
    pub(super) fn close(&self) -> Option<u64> {
        match self.timed {
            Timed::Life => Some(self.elapsed()),
            _ if !self.was_entered => None,
            Timed::SinceEntered => Some(self.elapsed()),
            // Whoever forgets a guard, or drops the span before it, leaves it entered.
            Timed::Busy if self.depth > 0 => Some(self.busy.saturating_add(self.elapsed())),
            Timed::Busy => Some(self.busy),
        }
    }

    fn elapsed(&self) -> u64 {
        clock::nanos().saturating_sub(self.since)
    }
}
