//! How long to wait between two attempts.

use std::time::Duration;

const LEAST: Duration = Duration::from_millis(50);
/// Waiting longer is noticed where a broker comes back, shorter in what an idle program costs without one.
const MOST: Duration = Duration::from_secs(3);

/// Doubles from 50 ms to 3 s, each time between a half and the whole of it, so that the many clients of a
/// broker that comes back do not arrive together.
#[derive(Debug)]
pub(crate) struct Backoff {
    next: Duration,
}

impl Backoff {
    pub(crate) fn new() -> Self {
        Backoff { next: LEAST }
    }

    pub(crate) fn reset(&mut self) {
        self.next = LEAST;
    }

    pub(crate) fn delay(&mut self) -> Duration {
        let delay = jittered(self.next);
        self.next = (self.next * 2).min(MOST);
        delay
    }
}

/// Between a half and the whole of `duration`.
pub(crate) fn jittered(duration: Duration) -> Duration {
    // Without randomness (a jail without the system call) everyone waits the whole time.
    let random = getrandom::u32().unwrap_or(u32::MAX);
    duration / 2 + duration.mul_f64(f64::from(random) / f64::from(u32::MAX) / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_up_to_three_seconds_and_start_again() {
        let mut backoff = Backoff::new();
        for whole in [50, 100, 200, 400, 800, 1600, 3000, 3000].map(Duration::from_millis) {
            let delay = backoff.delay();
            assert!(whole / 2 <= delay && delay <= whole, "{delay:?} of {whole:?}");
        }
        backoff.reset();
        assert!(backoff.delay() <= LEAST);
    }
}
