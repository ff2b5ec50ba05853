/// How long a tick takes, as a fixed-point number of nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate(u64);

/// Binary places of a [`Rate`].
const PLACES: u32 = 40;

impl Rate {
    /// A tick is a nanosecond.
    pub const NANOS: Rate = Rate(1 << PLACES);

    /// The rate at which `ticks` take `nanos`. `None` where that cannot be: one of them is 0, or a tick would take
    /// more than about four hours.
    pub fn of(ticks: u64, nanos: u64) -> Option<Rate> {
        let rate = (u128::from(nanos) << PLACES).checked_div(u128::from(ticks))?;
        u64::try_from(rate).ok().filter(|&rate| rate > 0).map(Rate)
    }

    /// How many nanoseconds a tick takes.
    pub fn nanos_per_tick(self) -> f64 {
        self.0 as f64 / (1u64 << PLACES) as f64
    }

    /// Ticks in nanoseconds, rounded down.
    pub fn nanos(self, ticks: u64) -> u64 {
        u64::try_from(self.scaled(ticks) >> PLACES).unwrap_or(u64::MAX)
    }

    /// Ticks in nanoseconds, rounded up.
    pub fn nanos_up(self, ticks: u64) -> u64 {
        u64::try_from(self.scaled(ticks).div_ceil(1 << PLACES)).unwrap_or(u64::MAX)
    }

    /// Nanoseconds in ticks, rounded down.
    pub fn ticks(self, nanos: u64) -> u64 {
        u64::try_from((u128::from(nanos) << PLACES) / u128::from(self.0)).unwrap_or(u64::MAX)
    }

    fn scaled(self, ticks: u64) -> u128 {
        u128::from(ticks) * u128::from(self.0)
    }

    /// How far apart two rates are, as a share of this one.
    fn apart(self, other: Rate) -> f64 {
        (self.nanos_per_tick() - other.nanos_per_tick()).abs() / self.nanos_per_tick()
    }
}

/// A running total of ticks in nanoseconds. Each part is converted at the rate of its time, once: a later rate
/// changes nothing that was read before, so that the total never goes back.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Converted {
    ticks: u64,
    scaled: u128,
}

impl Converted {
    /// The total in nanoseconds, now that there are `ticks` in all. They may wrap.
    pub(crate) fn nanos(&mut self, ticks: u64, rate: Rate) -> u64 {
        let new = ticks.wrapping_sub(self.ticks);
        // It goes back in a forked child, where the cells of the other threads do not exist.
        if new >> 63 == 0 {
            self.scaled = self.scaled.saturating_add(rate.scaled(new));
        }
        self.ticks = ticks;
        u64::try_from(self.scaled >> PLACES).unwrap_or(u64::MAX)
    }
}

/// What became of a comparison of the two clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Too little time has passed since the last one.
    TooSoon,
    /// The rate is that of the time since the last comparison.
    Adjusted,
    /// The clocks have gone apart, as after a pause of the whole machine: that time is not counted.
    Skipped,
    /// They have gone apart several times in a row: the counter does not keep time.
    GivenUp,
}

/// The rate of a counter, followed against a clock that is disciplined.
///
/// Time is passed in, so that it can be tested without waiting.
///
/// ```
/// use zibrato_core::clock::{Calibration, Rate, Verdict};
///
/// const SECOND: u64 = 1_000_000_000;
/// let half = Rate::of(2, 1).expect("both are more than 0");
/// let mut calibration = Calibration::new(half, 0, 0);
/// // 50 parts in a million slow.
/// assert_eq!(calibration.observe(2 * SECOND - 100_000, SECOND), Verdict::Adjusted);
/// assert_eq!(calibration.rate().nanos(2 * SECOND - 100_000), SECOND - 1);
/// ```
#[derive(Debug)]
pub struct Calibration {
    rate: Rate,
    ticks: u64,
    nanos: u64,
    strikes: u8,
}

/// The shortest time over which the clocks are compared, in nanoseconds: reading both takes some tens.
const SHORTEST: u64 = 100_000_000;
/// What no crystal does. A clock that is being disciplined runs at most 500 parts in a million wrong, and the first
/// rate may be as far off.
const FAR: f64 = 2e-3;
/// So many times in a row is no accident.
const STRIKES: u8 = 5;

impl Calibration {
    /// A counter that was at `ticks` when the clock was at `nanos`.
    pub fn new(rate: Rate, ticks: u64, nanos: u64) -> Self {
        Calibration { rate, ticks, nanos, strikes: 0 }
    }

    /// The rate of late.
    pub fn rate(&self) -> Rate {
        self.rate
    }

    /// Compares the counter, now at `ticks`, with the clock, now at `nanos`.
    pub fn observe(&mut self, ticks: u64, nanos: u64) -> Verdict {
        let passed = nanos.saturating_sub(self.nanos);
        if passed < SHORTEST && ticks >= self.ticks {
            return Verdict::TooSoon;
        }
        let rate = ticks.checked_sub(self.ticks).and_then(|ticks| Rate::of(ticks, passed));
        (self.ticks, self.nanos) = (ticks, nanos);
        match rate.filter(|&rate| self.rate.apart(rate) <= FAR) {
            Some(rate) => {
                (self.rate, self.strikes) = (rate, 0);
                Verdict::Adjusted
            }
            None if self.strikes + 1 < STRIKES => {
                self.strikes += 1;
                Verdict::Skipped
            }
            None => {
                self.strikes = STRIKES - 1;
                Verdict::GivenUp
            }
        }
    }
}
