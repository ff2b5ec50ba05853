//! How much a sender may send in a second.

use std::sync::{Mutex, PoisonError};

/// What a sender may save up, in seconds' worth.
const BURST: f64 = 2.0;

/// A limit in frames and one in bytes; `None` is none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Rates {
    pub(crate) frames: Option<u64>,
    pub(crate) bytes: Option<u64>,
}

#[derive(Debug)]
struct Left {
    frames: f64,
    bytes: f64,
    at: u64,
}

/// What a sender has left.
#[derive(Debug)]
pub(crate) struct Rate {
    rates: Rates,
    left: Mutex<Left>,
}

impl Rate {
    pub(crate) fn new(rates: Rates) -> Rate {
        let full = |rate: Option<u64>| rate.unwrap_or_default() as f64 * BURST;
        let left = Left { frames: full(rates.frames), bytes: full(rates.bytes), at: 0 };
        Rate { rates, left: Mutex::new(left) }
    }

    pub(crate) fn rates(&self) -> Rates {
        self.rates
    }

    /// Whether as much is left at `now` as can be saved up.
    pub(crate) fn is_full(&self, now: u64) -> bool {
        let left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        let seconds = now.saturating_sub(left.at) as f64 / 1e9;
        let is_full = |left: f64, rate: Option<u64>| {
            rate.is_none_or(|rate| left + seconds * rate as f64 >= rate as f64 * BURST)
        };
        is_full(left.frames, self.rates.frames) && is_full(left.bytes, self.rates.bytes)
    }

    /// Takes a frame of so many bytes at `now`, in nanoseconds, if there is enough left.
    pub(crate) fn take(&self, bytes: usize, now: u64) -> bool {
        let mut left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        let seconds = now.saturating_sub(left.at) as f64 / 1e9;
        left.at = left.at.max(now);
        let more = |left: f64, rate: Option<u64>| match rate {
            Some(rate) => (left + seconds * rate as f64).min(rate as f64 * BURST),
            None => f64::INFINITY,
        };
        left.frames = more(left.frames, self.rates.frames);
        left.bytes = more(left.bytes, self.rates.bytes);
        let bytes = bytes as f64;
        // A frame that is larger than all that can be saved up passes when that much is there.
        let full = self.rates.bytes.map_or(0.0, |rate| rate as f64 * BURST);
        if left.frames < 1.0 || left.bytes < bytes.min(full) {
            return false;
        }
        left.frames -= 1.0;
        left.bytes -= bytes;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_beyond_a_rate_is_refused_until_there_is_some_left() {
        const SECOND: u64 = 1_000_000_000;
        let rate = Rate::new(Rates { frames: Some(10), bytes: Some(1000) });
        let taken = |bytes, now| (0..100).filter(|_| rate.take(bytes, now)).count();
        assert_eq!(taken(1, SECOND), 20);
        assert_eq!(taken(1, SECOND), 0);
        assert_eq!(taken(1, 2 * SECOND), 10);
        assert_eq!(taken(500, 10 * SECOND), 4);
        assert_eq!(taken(5000, 20 * SECOND), 1);
        assert_eq!(taken(1, 21 * SECOND), 0);
        assert!(!rate.is_full(24 * SECOND) && rate.is_full(25 * SECOND));
        let none = Rate::new(Rates::default());
        assert!((0..100).all(|_| none.take(1 << 20, 0)));
    }
}
