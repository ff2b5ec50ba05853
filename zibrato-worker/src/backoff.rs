//! How long to wait before the next attempt.

use std::time::Duration;

const FIRST: Duration = Duration::from_millis(500);
const LONGEST: Duration = Duration::from_secs(60);

/// Twice as long after every failure, up to a minute, with a random part so that many workers do not come back at
/// the same moment.
#[derive(Debug, Default)]
pub(crate) struct Backoff {
    failures: u32,
}

impl Backoff {
    /// After a failure: how long to wait, at least `asked`.
    pub(crate) fn failed(&mut self, asked: Option<Duration>) -> Duration {
        let longest = FIRST.saturating_mul(1 << self.failures.min(16)).min(LONGEST);
        self.failures += 1;
        // Without randomness all wait equally long, which is no worse than no jitter.
        let random = f64::from(getrandom::u32().unwrap_or(u32::MAX)) / f64::from(u32::MAX);
        let wait = longest.mul_f64(0.5 + 0.5 * random);
        match asked {
            Some(asked) => asked.max(wait),
            None => wait,
        }
    }

    pub(crate) fn succeeded(&mut self) {
        self.failures = 0;
    }

    pub(crate) fn failures(&self) -> u32 {
        self.failures
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_a_minute_and_begin_anew() {
        let mut backoff = Backoff::default();
        for step in 0..40 {
            let longest = FIRST.saturating_mul(1 << step.min(16)).min(LONGEST);
            let wait = backoff.failed(None);
            assert!(wait <= longest && wait >= longest / 2, "{step}: {wait:?}");
        }
        assert_eq!(backoff.failed(Some(Duration::from_secs(600))), Duration::from_secs(600));
        backoff.succeeded();
        assert!(backoff.failed(Some(Duration::ZERO)) <= FIRST);
    }
}
